/* The floor under a C-STORE transfer on this machine: what the kernel alone costs.
 *
 * One process reads files and sends them over loopback TCP connections, each file as its length and then frames with
 * a 12-byte header, as P-DATA-TF PDUs have; another writes each file and answers it with one small frame, which the
 * sender awaits before the next file. No protocol, no parsing. Each connection has a thread at either end, and takes its
 * turn at the files.
 *
 * MODE fast: a file is written under its name. MODE durable: it is written under another name, synced, renamed, and
 * the folder is synced before the answer, as our SCP does in the mode of that name.
 *
 * usage: floor MODE CONNECTIONS FRAME_BYTES OUTPUT_FOLDER FILE...      prints the seconds of the transfer
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 12, ANSWER = 148, BUFFER = 1 << 20, MOST = 64 };

static void check(int good, const char *what) {
    if (!good) {
        perror(what);
        exit(1);
    }
}

static void send_all(int to, const char *data, size_t length) {
    while (length > 0) {
        ssize_t sent = send(to, data, length, 0);
        check(sent > 0, "send");
        data += sent;
        length -= (size_t)sent;
    }
}

/* A read buffer: `need` makes at least so many bytes available at `data + begin`. */
struct input {
    int from;
    size_t begin, end;
    char *data;
};

static void need(struct input *in, size_t length) {
    while (in->end - in->begin < length) {
        if (in->begin + length > BUFFER || in->begin == in->end) {
            memmove(in->data, in->data + in->begin, in->end - in->begin);
            in->end -= in->begin;
            in->begin = 0;
        }
        ssize_t got = read(in->from, in->data + in->end, BUFFER - in->end);
        check(got > 0, "read");
        in->end += (size_t)got;
    }
}

/* What all threads of a process share. */
static struct {
    int durable, connections, files, folder;
    size_t frame;
    char **paths;
} job;

/* One end of one connection: it has the files `number`, `number + connections` and so on. */
struct end {
    int socket, number;
    pthread_t thread;
};

static void keep(int file, const char *written, const char *name) {
    check(fdatasync(file) == 0, "fdatasync");
    check(renameat2(job.folder, written, job.folder, name, RENAME_NOREPLACE) == 0, "rename");
    check(fsync(job.folder) == 0, "fsync");
}

static void *receive(void *argument) {
    struct end *end = argument;
    struct input in = {.from = end->socket, .data = malloc(BUFFER)};
    char answer[ANSWER] = {4};
    for (int number = end->number; number < job.files; number += job.connections) {
        char name[32], written[32];
        snprintf(name, sizeof name, "%d", number);
        snprintf(written, sizeof written, job.durable ? ".%d.part" : "%d", number);
        int file = openat(job.folder, written, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        check(file >= 0, written);
        uint64_t left;
        need(&in, sizeof left);
        memcpy(&left, in.data + in.begin, sizeof left);
        in.begin += sizeof left;
        while (left > 0) {
            size_t rest = left < job.frame - HEADER ? (size_t)left : job.frame - HEADER;
            left -= rest;
            need(&in, HEADER);
            in.begin += HEADER;
            while (rest > 0) {
                need(&in, 1);
                size_t part = in.end - in.begin < rest ? in.end - in.begin : rest;
                check(write(file, in.data + in.begin, part) == (ssize_t)part, "write");
                in.begin += part;
                rest -= part;
            }
        }
        if (job.durable) keep(file, written, name);
        close(file);
        send_all(end->socket, answer, ANSWER);
    }
    return NULL;
}

static void *transmit(void *argument) {
    struct end *end = argument;
    struct input answers = {.from = end->socket, .data = malloc(BUFFER)};
    char *buffer = malloc(BUFFER);
    for (int number = end->number; number < job.files; number += job.connections) {
        int file = open(job.paths[number], O_RDONLY);
        struct stat status;
        check(file >= 0 && fstat(file, &status) == 0, job.paths[number]);
        uint64_t left = (uint64_t)status.st_size;
        size_t used = sizeof left;
        memcpy(buffer, &left, sizeof left);
        while (left > 0) {
            size_t rest = left < job.frame - HEADER ? (size_t)left : job.frame - HEADER;
            left -= rest;
            if (used + HEADER + rest > BUFFER) {
                send_all(end->socket, buffer, used);
                used = 0;
            }
            memset(buffer + used, 4, HEADER);
            used += HEADER;
            while (rest > 0) {
                ssize_t got = read(file, buffer + used, rest);
                check(got > 0, "read");
                used += (size_t)got;
                rest -= (size_t)got;
            }
        }
        send_all(end->socket, buffer, used);
        close(file);
        need(&answers, ANSWER);
        answers.begin += ANSWER;
    }
    return NULL;
}

static void run(struct end *ends, void *(*work)(void *)) {
    for (int number = 0; number < job.connections; number++) {
        ends[number].number = number;
        check(pthread_create(&ends[number].thread, NULL, work, &ends[number]) == 0, "thread");
    }
    for (int number = 0; number < job.connections; number++) pthread_join(ends[number].thread, NULL);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

int main(int count, char **words) {
    if (count < 6) {
        fprintf(stderr, "usage: floor fast|durable CONNECTIONS FRAME_BYTES OUTPUT_FOLDER FILE...\n");
        return 2;
    }
    job.durable = strcmp(words[1], "durable") == 0;
    job.connections = atoi(words[2]);
    job.frame = strtoul(words[3], NULL, 10);
    job.paths = words + 5;
    job.files = count - 5;
    check(job.connections > 0 && job.connections <= MOST, "CONNECTIONS");
    check(job.frame > HEADER && job.frame + HEADER <= BUFFER, "FRAME_BYTES");
    job.folder = open(words[4], O_RDONLY | O_DIRECTORY);
    check(job.folder >= 0, words[4]);
    struct end ends[MOST] = {0};
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    check(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, MOST) == 0, "listen");
    getsockname(listener, (struct sockaddr *)&address, &size);

    pid_t receiver = fork();
    check(receiver >= 0, "fork");
    for (int number = 0; number < job.connections; number++) {
        /* Both go in the order of the connections: the backlog is a queue. */
        int end = receiver == 0 ? accept(listener, NULL, NULL) : socket(AF_INET, SOCK_STREAM, 0);
        check(end >= 0, "accept");
        if (receiver != 0) check(connect(end, (struct sockaddr *)&address, size) == 0, "connect");
        setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        ends[number].socket = end;
    }
    if (receiver == 0) {
        run(ends, receive);
        return 0;
    }
    double start = now();
    run(ends, transmit);
    printf("%.6f\n", now() - start);
    int result = 0;
    waitpid(receiver, &result, 0);
    return result == 0 ? 0 : 1;
}
