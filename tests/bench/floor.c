/* The floor under a C-STORE transfer on this machine: what the kernel alone costs.
 *
 * One process reads files and sends them over one loopback TCP connection, each as its length and then frames with
 * a 12-byte header, as P-DATA-TF PDUs have; another writes each file and answers it with one small frame, which the
 * sender awaits before the next file. No protocol, no parsing, no rename.
 *
 * usage: floor FRAME_BYTES OUTPUT_FOLDER FILE...      prints the seconds of the transfer
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 12, ANSWER = 148, BUFFER = 1 << 20 };

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

static void receive(int from, size_t frame, const char *folder, int files) {
    struct input in = {.from = from, .data = malloc(BUFFER)};
    char answer[ANSWER] = {4};
    for (int number = 0; number < files; number++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%d", folder, number);
        int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        check(file >= 0, path);
        uint64_t left;
        need(&in, sizeof left);
        memcpy(&left, in.data + in.begin, sizeof left);
        in.begin += sizeof left;
        while (left > 0) {
            size_t rest = left < frame - HEADER ? (size_t)left : frame - HEADER;
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
        close(file);
        send_all(from, answer, ANSWER);
    }
}

static void transmit(int to, size_t frame, char **paths, int files) {
    struct input answers = {.from = to, .data = malloc(BUFFER)};
    char *buffer = malloc(BUFFER);
    for (int number = 0; number < files; number++) {
        int file = open(paths[number], O_RDONLY);
        struct stat status;
        check(file >= 0 && fstat(file, &status) == 0, paths[number]);
        uint64_t left = (uint64_t)status.st_size;
        size_t used = sizeof left;
        memcpy(buffer, &left, sizeof left);
        while (left > 0) {
            size_t rest = left < frame - HEADER ? (size_t)left : frame - HEADER;
            left -= rest;
            if (used + HEADER + rest > BUFFER) {
                send_all(to, buffer, used);
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
        send_all(to, buffer, used);
        close(file);
        need(&answers, ANSWER);
        answers.begin += ANSWER;
    }
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

int main(int count, char **words) {
    if (count < 4) {
        fprintf(stderr, "usage: floor FRAME_BYTES OUTPUT_FOLDER FILE...\n");
        return 2;
    }
    size_t frame = strtoul(words[1], NULL, 10);
    check(frame > HEADER && frame + HEADER <= BUFFER, "FRAME_BYTES");
    int files = count - 3, on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    check(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0, "listen");
    getsockname(listener, (struct sockaddr *)&address, &size);

    pid_t receiver = fork();
    check(receiver >= 0, "fork");
    if (receiver == 0) {
        int from = accept(listener, NULL, NULL);
        check(from >= 0, "accept");
        setsockopt(from, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        receive(from, frame, words[2], files);
        return 0;
    }
    int to = socket(AF_INET, SOCK_STREAM, 0);
    check(connect(to, (struct sockaddr *)&address, size) == 0, "connect");
    setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    double start = now();
    transmit(to, frame, words + 3, files);
    printf("%.6f\n", now() - start);
    int result = 0;
    waitpid(receiver, &result, 0);
    return result == 0 ? 0 : 1;
}
