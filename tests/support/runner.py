"""Plays a case against a node and says what went otherwise than it must."""

from __future__ import annotations

import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import Self

from tests.support import wire
from tests.support.script import (
    Aborted,
    Accepted,
    Alive,
    Answered,
    Beside,
    Case,
    Closed,
    Crowd,
    Deaf,
    Drip,
    Echoes,
    Flood,
    Gone,
    HangUp,
    Largest,
    Rejected,
    Released,
    Repeat,
    Step,
    Wait,
    Within,
)

NARROW = 4096
"""Receive buffer, in bytes, of a peer that does not read: it is full soon."""


@dataclass(frozen=True)
class Target:
    """The node under test, and the deadlines it is set to, in seconds.

    Attributes:
        slack: seconds for what has to happen at once, on a busy machine.
    """

    host: str
    port: int
    called: bytes
    artim: float
    progress: float
    idle: float
    write: float = 60.0
    handler: float = 0.0
    slack: float = 3.0


class Unexpected(AssertionError):
    """The node did something else."""


def play(target: Target, case_: Case) -> None:
    """Play a case, and then see that a well-behaved peer is served.

    Raises:
        Unexpected: the node did something else than the case says.
    """
    for number, script in enumerate(case_.scripts):
        try:
            deaf = any(isinstance(step, Deaf) for step in script)
            with Peer(target, receive_buffer=NARROW if deaf else 0) as peer:
                for step in script:
                    peer.step(step)
        except (Unexpected, OSError) as problem:
            where = f"script {number}: " if len(case_.scripts) > 1 else ""
            raise Unexpected(f"{where}{problem}") from None
    try:
        probe(target)
    except (Unexpected, OSError) as problem:
        raise Unexpected(f"and then for a good peer: {problem}") from None


def probe(target: Target) -> None:
    """A well-behaved peer: associate, C-ECHO, release."""
    with Peer(target) as peer:
        peer.step(wire.associate_rq(target.called, calling=b"PROBE"))
        peer.step(Accepted())
        peer.step(Alive())


class Peer:
    """One connection to the node, which never blocks: while it sends it also listens."""

    def __init__(self, target: Target, *, receive_buffer: int = 0) -> None:
        """Connect; `receive_buffer` in bytes, 0 for what the system gives."""
        self._target = target
        # From here on, as the node's deadlines may run before we know that we are connected.
        self._opened = time.monotonic()
        self._socket = self._connect(receive_buffer)
        self._heard = bytearray()
        self._ended = ""
        self._ended_after = 0.0
        self._sendable = True
        self._others: list[socket.socket] = []
        self._largest = 1 << 32

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        for other in self._others:
            other.close()

    def _connect(self, receive_buffer: int = 0) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._target.host else socket.AF_INET
        made = socket.socket(family)
        try:
            if receive_buffer:
                # Before it connects: shrunk later, the kernel drops what it had promised to take,
                # the node's window updates with it.
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            made.settimeout(self._target.slack)
            made.connect((self._target.host, self._target.port))
        except OSError:
            made.close()
            raise
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setblocking(False)
        return made

    def step(self, step: Step) -> None:
        match step:
            case bytes():
                self._send(step)
            case Drip(data, every, size):
                for at in range(0, len(data), size):
                    if self._ended or not self._sendable:
                        return
                    self._send(data[at : at + size])
                    self._listen(every)
            case Flood(chunk, most):
                sent = 0
                while not self._heard and not self._ended and self._sendable:
                    if sent >= most:
                        raise Unexpected(f"took {sent} bytes without a word")
                    self._send(chunk)
                    sent += len(chunk)
            case Repeat(chunk, times):
                for _ in range(times):
                    self._send(chunk)
            case Deaf(chunk):
                while self._sendable and self._send_deaf(chunk):
                    pass
            case Crowd(size, behind):
                crowd = [self._connect() for _ in range(size)]
                if not behind:
                    crowd[-1], self._socket = self._socket, crowd[-1]
                self._others += crowd
            case Beside(script):
                with Peer(self._target) as other:
                    for one in script:
                        other.step(one)
            case Echoes(count, at_once):
                self._echoes(count, at_once)
            case Wait(seconds):
                until = time.monotonic() + seconds
                while (left := until - time.monotonic()) > 0 and not self._ended:
                    self._listen(left)
            case HangUp.FIN:
                self._socket.shutdown(socket.SHUT_WR)
            case HangUp.RST:
                self._socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                self._socket.close()
            case Accepted():
                self._accepted(step)
            case Rejected(result, source, reason):
                self._expect(wire.RJ, bytes([0, result, source, reason]), self._target.slack)
                self._closes_after_us()
            case Aborted(source, reason, within, we_close):
                self._expect(wire.ABORT, bytes([0, 0, source, reason]), self._bound(within))
                if we_close:
                    self._closes_after_us()
            case Answered():
                self._answered(step)
            case Largest(length):
                self._largest = length
            case Released(we_close):
                self._expect(wire.RELEASE_RP, bytes(4), self._target.slack)
                if we_close:
                    self._closes_after_us()
            case Closed(within):
                self._closed(within)
            case Gone(within):
                until = time.monotonic() + self._bound(within)
                while not self._ended:
                    if (left := until - time.monotonic()) <= 0:
                        raise Unexpected("is still there")
                    self._listen(left)
                    self._heard.clear()
            case Alive(context):
                self._send(wire.as_commands(context, wire.echo_rq(4711)))
                self._answered(Answered(0, 4711, wire.C_ECHO_RQ, context))
                self._send(wire.pdu(wire.RELEASE_RQ, bytes(4)))
                self.step(Released())

    def _bound(self, within: Within) -> float:
        after = 0.0 if within == "now" else float(getattr(self._target, within))
        return self._target.slack + after

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        until = time.monotonic() + 10 * self._target.slack
        while view and self._sendable:
            left = until - time.monotonic()
            if left <= 0:
                raise Unexpected("does not read")
            listen = [] if self._ended else [self._socket]
            readable, writable, _ = select.select(listen, [self._socket], [], left)
            if readable:
                self._take()
            if writable:
                try:
                    view = view[self._socket.send(view) :]
                except BlockingIOError:
                    pass
                except (BrokenPipeError, ConnectionResetError):
                    self._sendable = False

    def _send_deaf(self, data: bytes) -> bool:
        """Send without reading; False when no byte goes out for as long as the node may wait."""
        view = memoryview(data)
        while view:
            writable = select.select([], [self._socket], [], self._bound("write"))[1]
            if not writable:
                return False
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                pass
            except OSError:
                self._sendable = False
                return False
        return True

    def _echoes(self, count: int, at_once: int) -> None:
        for first in range(0, count, at_once):
            ids = [one % 65_536 for one in range(first, min(first + at_once, count))]
            self._send(b"".join(wire.as_commands(1, wire.echo_rq(one)) for one in ids))
            for one in ids:
                self._answered(Answered(0, one, wire.C_ECHO_RQ))

    def _take(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except ConnectionResetError:
            self._end("reset")
            return
        if data:
            self._heard += data
        else:
            self._end("closed")

    def _end(self, how: str) -> None:
        self._ended, self._ended_after = how, time.monotonic() - self._opened

    def _listen(self, seconds: float) -> None:
        if not self._ended and select.select([self._socket], [], [], max(seconds, 0))[0]:
            self._take()

    def _pdu(self, within: float) -> tuple[int, bytes]:
        until = time.monotonic() + within
        while True:
            if len(self._heard) >= 6:
                kind, _, length = struct.unpack_from(">BBI", self._heard)
                if len(self._heard) >= 6 + length:
                    body = bytes(self._heard[6 : 6 + length])
                    del self._heard[: 6 + length]
                    if kind == wire.DATA and length > self._largest:
                        raise Unexpected(f"sent a P-DATA-TF of {length}, not {self._largest} bytes")
                    return kind, body
            left = until - time.monotonic()
            if self._ended:
                after = f", after {bytes(self._heard)!r}" if self._heard else ""
                raise Unexpected(f"{self._ended} instead of answering{after}")
            if left <= 0:
                raise Unexpected(f"no answer within {within:g} s")
            self._listen(left)

    def _expect(self, kind: int, body: bytes, within: float) -> None:
        found = self._pdu(within)
        if found != (kind, body):
            raise Unexpected(f"sent {_shown(*found)}, not {_shown(kind, body)}")

    def _accepted(self, wanted: Accepted) -> None:
        kind, body = self._pdu(self._target.slack)
        if kind != wire.AC:
            raise Unexpected(f"sent {_shown(kind, body)}, not A-ASSOCIATE-AC")
        found: dict[int, int] = {}
        at = 68
        while at < len(body):
            item, _, length = struct.unpack_from(">BBH", body, at)
            if item == 0x21:
                found[body[at + 4]] = body[at + 6]
            # Sub-items of user information are gone through like items.
            at += 4 if item == 0x50 else 4 + length
            if wanted.absent and item == wanted.absent:
                raise Unexpected(f"answered with a sub-item {item:02X}H")
            if wanted.window and item == 0x53:
                windows = struct.unpack_from(">HH", body, at - 4)
                if not all(0 < one <= wanted.window for one in windows):
                    raise Unexpected(f"offered a window of {windows}")
        if found != dict(wanted.results):
            raise Unexpected(f"answered the contexts {found}, not {dict(wanted.results)}")

    def _answered(self, wanted: Answered) -> None:
        command = b""
        while True:
            kind, body = self._pdu(self._bound(wanted.within))
            if kind != wire.DATA:
                raise Unexpected(f"sent {_shown(kind, body)}, not a response")
            length, id_, control = struct.unpack_from(">IBB", body)
            if wanted.pending and not control & wire.COMMAND:
                continue  # a match
            if length != len(body) - 4 or id_ != wanted.context or not control & wire.COMMAND:
                expected = f"a response on context {wanted.context}"
                raise Unexpected(f"sent {_shown(kind, body)}, not {expected}")
            command += body[6:]
            if not control & wire.LAST:
                continue
            elements = wire.read_command(command)
            facts = [wire.number_of(elements, number) for number in (0x0100, 0x0120, 0x0900)]
            if not wanted.pending or facts[2] not in wire.PENDING:
                break
            command = b""
        if wanted.status == 0xC000 and facts[2] is not None and facts[2] >> 12 == 0xC:
            facts[2] = 0xC000
        if facts != [wanted.field | wire.RESPONSE, wanted.message_id, wanted.status]:
            shown = ", ".join("none" if fact is None else f"{fact:04X}" for fact in facts)
            expected = f"status not {wanted.status:04X}"
            raise Unexpected(f"answered (field, message, status) {shown}; {expected}")

    def _closed(self, within: str) -> None:
        if within == "artim":
            earliest, latest = self._target.artim * 0.8, self._target.artim + self._target.slack
        else:
            earliest, latest = 0.0, time.monotonic() - self._opened + self._target.slack
        while not self._ended and time.monotonic() - self._opened < latest:
            self._listen(self._opened + latest - time.monotonic())
        if self._heard:
            raise Unexpected(f"sent {_told(self._heard)} instead of just closing")
        if not self._ended:
            raise Unexpected(f"still open after {time.monotonic() - self._opened:.0f} s")
        if self._ended_after < earliest:
            raise Unexpected(f"closed after {self._ended_after:.1f} s already")
        if self._ended_after > latest:
            raise Unexpected(f"closed after {self._ended_after:.1f} s only")

    def _closes_after_us(self) -> None:
        """It is over for both: the node waits for our close, then closes, and says no more."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return
        until = time.monotonic() + self._target.slack
        while not self._ended and (left := until - time.monotonic()) > 0:
            self._listen(left)
        if self._heard:
            raise Unexpected(f"sent {_told(self._heard)} after its last word")
        if not self._ended:
            raise Unexpected("does not close after we did")


NAMES = ["?", "RQ", "AC", "RJ", "P-DATA", "RELEASE-RQ", "RELEASE-RP", "ABORT"]


def _shown(kind: int, body: bytes) -> str:
    name = NAMES[kind] if kind < len(NAMES) else f"{kind:02X}H"
    if kind not in (wire.RJ, wire.ABORT):
        return name
    codes = body[1:4] if kind == wire.RJ else body[2:4]
    return f"{name}({','.join(str(code) for code in codes)})"


def _told(heard: bytearray) -> str:
    """What somebody says who should have said nothing."""
    kind, _, length = struct.unpack_from(">BBI", bytes(heard[:6]).ljust(6, b"\0"))
    return _shown(kind, bytes(heard[6 : 6 + length]))
