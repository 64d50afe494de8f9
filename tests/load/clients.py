"""The other side: raw sockets and prepared bytes, so that the server is what is measured.

usage: clients.py idle  PORT TITLE COUNT SECONDS         so many associations that say nothing, then
                                                         a C-ECHO on each
       clients.py store PORT TITLE COUNT SECONDS BYTES   so many associations that store at once
       clients.py rate  PORT TITLE COUNT SECONDS         associate + echo + release, so many at once
       clients.py slow  PORT TITLE COUNT                 peers that dribble: half into a proposal,
                                                         half into a message
       clients.py stuck PORT TITLE COUNT                 peers that ask and never read
       clients.py echo  PORT TITLE SECONDS               a peer that behaves: how long it waits
`slow` and `stuck` print {"event": "ready"} when all are in place, and go on until they are killed;
`idle` prints it too; the others print what they saw when they are done.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self

from tests.load.node import all_descriptors
from tests.support import wire

HERE = "127.0.0.1"
OPENING = 128
"""Connections that are opened at once: less than any server's backlog."""
NO_PORT_YET = 24
"""IP_BIND_ADDRESS_NO_PORT: the kernel picks a port that is free towards this server."""
RETRY = 0.2
DRIBBLE = 0.5
"""Seconds between two bytes of a peer that dribbles."""
WINDOW = 2048
"""Receive buffer of a peer that never reads, in bytes."""

ECHO = wire.as_commands(1, wire.echo_rq())
RELEASE = wire.pdu(wire.RELEASE_RQ, bytes(4))


def proposal(title: str) -> bytes:
    """An A-ASSOCIATE-RQ as a modality sends it: Verification and Storage."""
    return wire.associate_rq(
        title.encode(),
        wire.item(0x10, wire.APPLICATION_CONTEXT),
        wire.context(1, wire.VERIFICATION, [wire.IMPLICIT]),
        wire.context(3, wire.SECONDARY_CAPTURE, [wire.EXPLICIT]),
        wire.user_information(max_length=0),
        calling=b"LOAD",
    )


class Peer:
    """An association by hand, as a task."""

    def __init__(self, socket_: socket.socket) -> None:
        self.socket = socket_
        self.loop = asyncio.get_running_loop()

    @classmethod
    async def connect(cls, port: int, *, receive_buffer: int = 0) -> Self:
        """Open a connection; `receive_buffer` is set before, for it bounds the window offered."""
        socket_ = socket.socket()
        socket_.setblocking(False)
        if receive_buffer:
            socket_.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        socket_.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().sock_connect(socket_, (HERE, port))
        except BaseException:
            socket_.close()
            raise
        return cls(socket_)

    async def associate(self, title: str) -> None:
        """Propose and be accepted."""
        await self.send(proposal(title))
        await self.expect(wire.AC)

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            await self.loop.sock_sendall(self.socket, part)

    async def read(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            more = await self.loop.sock_recv(self.socket, count - len(found))
            if not more:
                raise ConnectionResetError("the server closed the connection")
            found += more
        return found

    async def expect(self, kind: int) -> bytes:
        found, _, length = struct.unpack(">BBI", await self.read(6))
        body = await self.read(length)
        if found != kind:
            raise ConnectionError(f"PDU {found} instead of {kind}: {body[:40]!r}")
        return body

    async def status(self) -> int:
        """The status of a response that comes in one PDU."""
        status = wire.number_of(wire.read_command((await self.expect(wire.DATA))[6:]), 0x0900)
        assert status is not None
        return status

    async def echo(self) -> None:
        await self.send(ECHO)
        if await self.status() != 0:
            raise ConnectionError("C-ECHO failed")

    async def release(self) -> None:
        await self.send(RELEASE)
        await self.expect(wire.RELEASE_RP)
        self.socket.close()


def say(**what: object) -> None:
    """Tell who started this program."""
    print(json.dumps(what), flush=True)


async def crowd(port: int, title: str, count: int) -> list[Peer]:
    """Open so many associations."""
    gate = asyncio.Semaphore(OPENING)

    async def one() -> Peer:
        async with gate:
            peer = await Peer.connect(port)
            await peer.associate(title)
            return peer

    return await asyncio.gather(*(one() for _ in range(count)))


async def idle(port: int, title: str, count: int, seconds: float) -> None:
    """Say nothing for a while; then see that everybody is still there."""
    begun = time.monotonic()
    peers = await crowd(port, title, count)
    say(event="ready", seconds=time.monotonic() - begun)
    await asyncio.sleep(seconds)
    begun = time.monotonic()
    for peer in peers:
        await peer.echo()
    say(event="answered", count=len(peers), seconds=time.monotonic() - begun)


class Instances:
    """C-STORE requests that differ in their UID alone; all but their beginning is shared."""

    def __init__(self, size: int) -> None:
        pixels = wire.data_element(0x7FE0, 0x0010, b"OB", bytes(size))
        self._data = lambda uid: wire.data_set(uid, pixels)
        whole = wire.as_data(3, self._data(self._uid(0, 0)))
        step = len(wire.as_data(3, bytes(16000), last=False))
        self._rest = whole[step:]
        self.size = len(self._data(self._uid(0, 0)))

    @staticmethod
    def _uid(who: int, number: int) -> bytes:
        return b"1.2.840.9.1%05d.1%08d" % (who, number)

    def request(self, who: int, number: int) -> tuple[bytes, bytes]:
        """What differs, and the rest."""
        uid = self._uid(who, number)
        command = wire.as_commands(3, wire.store_rq(uid, 1 + number % 60_000))
        head = self._data(uid)[:16000]
        return command + wire.as_data(3, head, last=not self._rest), self._rest


async def store(port: int, title: str, count: int, seconds: float, size: int) -> None:
    """Store on all associations until the time is over; say what the slowest and fastest did."""
    peers = await crowd(port, title, count)
    instances = Instances(size)
    say(event="ready")
    begun = time.monotonic()
    done = [0] * count
    worst = 0.0
    statuses: dict[int, int] = {}

    async def one(who: int, peer: Peer) -> None:
        nonlocal worst
        while (sent := time.monotonic()) < begun + seconds:
            await peer.send(*instances.request(who, done[who]))
            status = await peer.status()
            statuses[status] = statuses.get(status, 0) + 1
            if (now := time.monotonic()) < begun + seconds:
                done[who] += status == 0
            worst = max(worst, now - sent)
        await peer.release()

    await asyncio.gather(*(one(who, peer) for who, peer in enumerate(peers)))
    say(
        event="stored",
        least=min(done),
        most=max(done),
        total=sum(done),
        size=instances.size,
        worst=worst,
        failed=sum(many for status, many in statuses.items() if status != 0),
    )


def _again_and_again(port: int, title: str, who: int, until: float) -> list[int]:
    """Associate, echo and release with blocking calls, the cheapest there are; count by second."""
    asked, counts = proposal(title), [0]
    begun = time.monotonic()
    while (now := time.monotonic()) < until:
        with socket.socket() as peer:
            # An address of its own each, or the ports that the last minute used would run out.
            peer.setsockopt(socket.IPPROTO_IP, NO_PORT_YET, 1)
            peer.bind((f"127.0.0.{2 + who}", 0))
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Not Python's timeout: with that the socket does not block, and gives parts of a PDU.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 30, 0))
            peer.connect((HERE, port))
            for request, kind in ((asked, wire.AC), (ECHO, wire.DATA), (RELEASE, wire.RELEASE_RP)):
                peer.sendall(request)
                header = peer.recv(6, socket.MSG_WAITALL)
                if len(header) < 6 or header[0] != kind:
                    raise ConnectionError(f"{header!r} instead of PDU {kind}")
                peer.recv(int.from_bytes(header[2:]), socket.MSG_WAITALL)
        second = int(now - begun)
        counts += [0] * (second + 1 - len(counts))
        counts[second] += 1
    return counts


def rate(port: int, title: str, count: int, seconds: float) -> None:
    """Do so from as many processes."""
    until = time.monotonic() + seconds
    with multiprocessing.get_context("fork").Pool(count) as pool:
        counts = pool.starmap(_again_and_again, [(port, title, who, until) for who in range(count)])
    by_second = [sum(column) for column in zip(*counts, strict=False)]
    say(event="done", total=sum(map(sum, counts)), by_second=by_second)


async def _for_ever(
    one: Callable[[int], Awaitable[None]], count: int, ready: asyncio.Event
) -> None:
    async def again(who: int) -> None:
        while True:
            with contextlib.suppress(OSError):  # thrown out: try again, as such peers do
                await one(who)
            await asyncio.sleep(RETRY)

    async with asyncio.TaskGroup() as group:
        for who in range(count):
            group.create_task(again(who))
        await ready.wait()
        say(event="ready")


class Roll:
    """Who has been in place at least once."""

    def __init__(self, count: int) -> None:
        self._missing = set(range(count))
        self.complete = asyncio.Event()

    def here(self, who: int) -> None:
        self._missing.discard(who)
        if not self._missing:
            self.complete.set()


async def slow(port: int, title: str, count: int) -> None:
    """Dribble into a proposal that never ends, or into a data set."""
    roll = Roll(count)
    beginning = Instances(1 << 20).request(0, 0)

    async def one(who: int) -> None:
        peer = await Peer.connect(port)
        try:
            if who % 2:
                await peer.associate(title)
                head, _ = beginning
                await peer.send(head[:-8000])
                rest = head[-8000:]
            else:
                rest = proposal(title)
            roll.here(who)
            for at in range(len(rest) - 1):
                await peer.send(rest[at : at + 1])
                await asyncio.sleep(DRIBBLE)
        finally:
            peer.socket.close()

    await _for_ever(one, count, roll.complete)


async def stuck(port: int, title: str, count: int) -> None:
    """Ask for ever and never read an answer."""
    roll = Roll(count)
    many = ECHO * 100

    async def one(who: int) -> None:
        peer = await Peer.connect(port, receive_buffer=WINDOW)
        try:
            await peer.associate(title)
            while True:
                try:
                    async with asyncio.timeout(1):
                        await peer.send(many)
                except TimeoutError:
                    roll.here(who)
                    break
            await _thrown_out(peer)
        finally:
            peer.socket.close()

    await _for_ever(one, count, roll.complete)


async def _thrown_out(peer: Peer) -> None:
    """Wait until the server gives up, without reading: an error of the socket says so."""
    while not peer.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        await asyncio.sleep(1)
        peer.socket.send(b"")


async def echo(port: int, title: str, seconds: float) -> None:
    """Echo on one association, and associate, echo and release, fifty times a second each."""
    until = time.monotonic() + seconds
    standing, whole = [], []
    peer = await Peer.connect(port)
    await peer.associate(title)

    async def timed(what: Callable[[], Awaitable[Any]]) -> float:
        begun = time.perf_counter()
        await what()
        return time.perf_counter() - begun

    async def new() -> None:
        other = await Peer.connect(port)
        await other.associate(title)
        await other.echo()
        await other.release()

    while time.monotonic() < until:
        standing.append(await timed(peer.echo))
        whole.append(await timed(new))
        await asyncio.sleep(0.02)
    await peer.release()
    say(event="echoed", standing=spread(standing), whole=spread(whole))


def spread(seconds: list[float]) -> dict[str, float]:
    """Median, 99th percentile and maximum, in milliseconds."""
    ordered = sorted(seconds)
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    last = len(ordered) - 1
    return {name: ordered[round(last * share)] * 1e3 for name, share in at.items()}


def main() -> None:
    """Run one of them."""
    all_descriptors()
    what, port, title, *rest = sys.argv[1:]
    numbers = [float(word) if "." in word else int(word) for word in rest]
    if what == "rate":
        rate(int(port), title, *numbers)
        return
    task = {"idle": idle, "store": store, "slow": slow, "stuck": stuck, "echo": echo}[what]
    asyncio.run(task(int(port), title, *numbers))


if __name__ == "__main__":
    main()
