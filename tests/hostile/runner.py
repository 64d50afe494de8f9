"""Plays a case against a node and says what went otherwise than it must.

A script is data: bytes are sent, the other steps below send slowly, wait, hang up, or name what the
node has to do next. Everything has a bound.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Self, TypeAlias

from tests.hostile import wire

SLACK = 3.0
"""Seconds for what has to happen at once, on a busy machine."""


class HangUp(Enum):
    """How the peer's side of the connection ends."""

    FIN = "half-closes"
    RST = "resets"


@dataclass(frozen=True)
class Drip:
    """Bytes sent slowly, `size` at a time; stops when the node closes."""

    data: bytes
    every: float
    size: int = 1


@dataclass(frozen=True)
class Flood:
    """The same bytes again and again, until the node says something or closes."""

    chunk: bytes
    most: int


@dataclass(frozen=True)
class Wait:
    """Silence, as part of the case."""

    seconds: float


@dataclass(frozen=True)
class Accepted:
    """A-ASSOCIATE-AC, with this result for each context."""

    results: tuple[tuple[int, int], ...] = ((1, 0),)


@dataclass(frozen=True)
class Rejected:
    """A-ASSOCIATE-RJ."""

    result: int
    source: int
    reason: int


@dataclass(frozen=True)
class Aborted:
    """A-ABORT, and then a close as soon as we close, unless we do not."""

    source: int
    reason: int
    within: Literal["now", "progress", "idle"] = "now"
    we_close: bool = True


@dataclass(frozen=True)
class Answered:
    """A DIMSE response; the association goes on."""

    status: int
    message_id: int = 1
    field: int = wire.C_STORE_RQ
    context: int = 1


@dataclass(frozen=True)
class Released:
    """A-RELEASE-RP, and then a close as soon as we close, unless we do not."""

    we_close: bool = True


@dataclass(frozen=True)
class Largest:
    """From here on no P-DATA-TF of the node is longer than this."""

    length: int


@dataclass(frozen=True)
class Closed:
    """The node closes without another byte."""

    within: Literal["now", "artim"] = "now"


@dataclass(frozen=True)
class Alive:
    """C-ECHO and release work as ever on this association."""

    context: int = 1


Step: TypeAlias = (
    bytes
    | HangUp
    | Drip
    | Flood
    | Wait
    | Accepted
    | Rejected
    | Aborted
    | Answered
    | Released
    | Largest
    | Closed
    | Alive
)


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        id: the case in robustness terms: a letter, a number, and which variant.
        what: what the peer does.
        scripts: what is played, each on a connection of its own.
        code: `record.code` of the one line that each script leaves in the log; "a|b" is either,
            "a+b" both, empty none.
        stores: SOP Instance UIDs that are stored when it is over, and no others.
        hint: what the line must say.
        noise: lines may also be fewer, and of any code, but are never errors.
        needs: what the node must be set up for, if not for everything.
    """

    id: str
    what: str
    scripts: tuple[tuple[Step, ...], ...]
    code: str = ""
    stores: frozenset[bytes] = frozenset()
    hint: str = ""
    noise: bool = False
    needs: frozenset[str] = frozenset()


def case(
    id_: str,
    what: str,
    *script: Step,
    scripts: Iterable[Sequence[Step]] = (),
    code: str = "",
    stores: Iterable[bytes] = (),
    hint: str = "",
    noise: bool = False,
    needs: Iterable[str] = (),
) -> Case:
    """A row of the table: one script, or several."""
    all_ = tuple(tuple(one) for one in scripts) or (script,)
    return Case(id_, what, all_, code, frozenset(stores), hint, noise, frozenset(needs))


@dataclass(frozen=True)
class Target:
    """The node under test, and the deadlines it is set to, in seconds."""

    host: str
    port: int
    called: bytes
    artim: float
    progress: float
    idle: float


class Unexpected(AssertionError):
    """The node did something else."""


def play(target: Target, case_: Case) -> None:
    """Play a case, and then see that a well-behaved peer is served.

    Raises:
        Unexpected: the node did something else than the case says.
    """
    for number, script in enumerate(case_.scripts):
        try:
            with Peer(target) as peer:
                for step in script:
                    peer.step(step)
        except Unexpected as problem:
            where = f", script {number}" if len(case_.scripts) > 1 else ""
            raise Unexpected(f"{case_.id} ({case_.what}){where}: {problem}") from None
    probe(target)


def probe(target: Target) -> None:
    """A well-behaved peer: associate, C-ECHO, release."""
    with Peer(target) as peer:
        peer.step(wire.associate_rq(target.called, calling=b"PROBE"))
        peer.step(Accepted())
        peer.step(Alive())


class Peer:
    """One connection to the node, which never blocks: while it sends it also listens."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._socket = socket.create_connection((target.host, target.port), SLACK)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._opened = time.monotonic()
        self._heard = bytearray()
        self._ended = ""
        self._sendable = True
        self._largest = 1 << 32

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

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
            case Accepted(results):
                self._accepted(dict(results))
            case Rejected(result, source, reason):
                self._expect(wire.RJ, bytes([0, result, source, reason]), SLACK)
                self._closes_after_us()
            case Aborted(source, reason, within, we_close):
                self._expect(wire.ABORT, bytes([0, 0, source, reason]), self._bound(within))
                if we_close:
                    self._closes_after_us()
            case Answered(status, message_id, field, context):
                self._answered(status, message_id, field, context)
            case Largest(length):
                self._largest = length
            case Released(we_close):
                self._expect(wire.RELEASE_RP, bytes(4), SLACK)
                if we_close:
                    self._closes_after_us()
            case Closed(within):
                self._closed(within)
            case Alive(context):
                self._send(wire.as_commands(context, wire.echo_rq(4711)))
                self._answered(0, 4711, wire.C_ECHO_RQ, context)
                self._send(wire.pdu(wire.RELEASE_RQ, bytes(4)))
                self.step(Released())

    def _bound(self, within: str) -> float:
        extra = {"now": 0.0, "progress": self._target.progress, "idle": self._target.idle}
        return extra[within] + SLACK

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        until = time.monotonic() + 10 * SLACK
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

    def _take(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except ConnectionResetError:
            self._ended = "reset"
            return
        if data:
            self._heard += data
        else:
            self._ended = "closed"

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
                raise Unexpected(
                    f"{self._ended} instead of answering, after {bytes(self._heard)!r}"
                )
            if left <= 0:
                raise Unexpected(f"no answer within {within:g} s")
            self._listen(left)

    def _expect(self, kind: int, body: bytes, within: float) -> None:
        found = self._pdu(within)
        if found != (kind, body):
            raise Unexpected(f"sent {_shown(*found)}, not {_shown(kind, body)}")

    def _accepted(self, results: dict[int, int]) -> None:
        kind, body = self._pdu(SLACK)
        if kind != wire.AC:
            raise Unexpected(f"sent {_shown(kind, body)}, not A-ASSOCIATE-AC")
        found: dict[int, int] = {}
        at = 68
        while at < len(body):
            item, _, length = struct.unpack_from(">BBH", body, at)
            if item == 0x21:
                found[body[at + 4]] = body[at + 6]
            at += 4 + length
        if found != results:
            raise Unexpected(f"answered the contexts {found}, not {results}")

    def _answered(self, status: int, message_id: int, field: int, context: int) -> None:
        command = b""
        while True:
            kind, body = self._pdu(SLACK)
            if kind != wire.DATA:
                raise Unexpected(f"sent {_shown(kind, body)}, not a response")
            length, id_, control = struct.unpack_from(">IBB", body)
            if length != len(body) - 4 or id_ != context or not control & wire.COMMAND:
                raise Unexpected(f"sent {_shown(kind, body)}, not a response on context {context}")
            command += body[6:]
            if control & wire.LAST:
                break
        found = wire.read_command(command)
        facts = [wire.number_of(found, number) for number in (0x0100, 0x0120, 0x0900)]
        if facts != [field | wire.RESPONSE, message_id, status]:
            shown = ", ".join("none" if fact is None else f"{fact:04X}" for fact in facts)
            raise Unexpected(f"answered (field, message, status) {shown}; status not {status:04X}")

    def _closed(self, within: str) -> None:
        if within == "artim":
            earliest, latest = self._target.artim * 0.8, self._target.artim + SLACK
        else:
            earliest, latest = 0.0, time.monotonic() - self._opened + SLACK
        while not self._ended and time.monotonic() - self._opened < latest:
            self._listen(self._opened + latest - time.monotonic())
        after = time.monotonic() - self._opened
        if self._heard:
            raise Unexpected(f"sent {bytes(self._heard[:32])!r} instead of just closing")
        if not self._ended:
            raise Unexpected(f"still open after {after:.1f} s")
        if after < earliest:
            raise Unexpected(f"closed after {after:.1f} s already")

    def _closes_after_us(self) -> None:
        """It is over for both: the node waits for our close, then closes, and says no more."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return
        until = time.monotonic() + SLACK
        while not self._ended and (left := until - time.monotonic()) > 0:
            self._listen(left)
        if self._heard:
            raise Unexpected(f"sent {bytes(self._heard[:32])!r} after its last word")
        if not self._ended:
            raise Unexpected("does not close after we did")


def _shown(kind: int, body: bytes) -> str:
    names = ["?", "RQ", "AC", "RJ", "P-DATA", "RELEASE-RQ", "RELEASE-RP", "ABORT"]
    name = names[kind] if kind < len(names) else f"{kind:02X}H"
    codes = body[1:4] if kind == wire.RJ else body[2:4] if kind == wire.ABORT else body[:24]
    return f"{name} {tuple(codes)}"
