"""A TCP proxy with a fault: what networks, firewalls and dying machines do to a connection.

It knows bytes and nothing of DICOM. One proxy carries one connection, with one fault.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal, Self, TypeAlias

__all__ = ["KINDS", "Fault", "Kind", "Proxy", "Way"]

Way: TypeAlias = Literal["request", "answer"]
"""From the requestor to the acceptor, or back."""

Kind: TypeAlias = Literal["reset", "close", "drop", "split", "merge", "delay", "none"]
"""
reset, close: both connections end so, when byte N is reached.
drop: this way nothing passes from byte N on; nobody is told.
split: every byte is a segment of its own.
merge: bytes wait for those that come next, as long as some come.
delay: byte N is late.
"""

KINDS: Final[tuple[Kind, ...]] = ("reset", "close", "drop")
"""Faults that a session cannot survive."""

LATE: Final = 0.05
"""Seconds that `delay` and `merge` keep bytes back."""

PATIENCE: Final = 20.0
"""Seconds after which a proxy gives up: no session lasts that long."""


@dataclass(frozen=True)
class Fault:
    """What happens to the bytes of one way.

    Attributes:
        kind: what happens.
        way: to which bytes; `split` and `merge` concern both ways.
        at: so many bytes pass unharmed.
    """

    kind: Kind = "none"
    way: Way = "request"
    at: int = 0


class Proxy:
    """Listens on a free port and carries the first connection to the target.

    Attributes:
        port: where it listens.
        passed: bytes that came from either side.
        reached: the fault has happened.
    """

    def __init__(self, target: int, fault: Fault | None = None) -> None:
        self._target = target
        self._fault = fault or Fault()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(PATIENCE)
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._stop, self._stopped = socket.socketpair()
        self._failure: BaseException | None = None
        self.port: int = self._listening.getsockname()[1]
        self.passed: dict[Way, int] = {"request": 0, "answer": 0}
        self.reached = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until both ends have closed; by then nothing is left that could be carried."""
        self._thread.join(PATIENCE)
        self._stop.close()
        self._thread.join(PATIENCE)
        self._stopped.close()
        if self._failure is not None:
            raise self._failure
        assert not self._thread.is_alive(), "a connection through the proxy is still open"

    def _run(self) -> None:
        try:
            with self._listening:
                near, _ = self._listening.accept()
            far = socket.create_connection(("127.0.0.1", self._target), PATIENCE)
            with near, far:
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._carry({near: ("request", far), far: ("answer", near)})
        except BaseException as failure:
            self._failure = failure

    def _carry(self, ends: dict[socket.socket, tuple[Way, socket.socket]]) -> None:
        held: dict[socket.socket, bytes] = {}
        open_ = set(ends)
        until = time.monotonic() + PATIENCE
        while open_ and time.monotonic() < until:
            wait = LATE if held else 1.0
            readable, _, _ = select.select([*open_, self._stopped], [], [], wait)
            if self._stopped in readable:
                return
            if not readable:
                for end, data in held.items():
                    _send(ends[end][1], data)
                held = {}
            for end in readable:
                way, other = ends[end]
                data = _receive(end)
                if not data:
                    _send(other, held.pop(end, b""))
                    _half_close(other)
                    open_.discard(end)
                    continue
                if self._fault.kind == "merge":
                    held[end] = held.get(end, b"") + data
                    self.passed[way] += len(data)
                    continue
                for piece in self._pieces(way, data):
                    _send(other, piece)
                if self.reached and self._fault.kind in ("reset", "close"):
                    self._hang_up(ends)
                    return

    def _pieces(self, way: Way, data: bytes) -> Iterator[bytes]:
        """What passes of these bytes, in which segments."""
        fault, before = self._fault, self.passed[way]
        self.passed[way] += len(data)
        if fault.kind == "split":
            yield from (data[at : at + 1] for at in range(len(data)))
            return
        if fault.way != way or fault.kind == "none" or before + len(data) <= fault.at:
            yield data
            return
        unharmed = max(0, fault.at - before)
        yield data[:unharmed]
        if fault.kind == "delay":
            if not self.reached:
                time.sleep(LATE)  # the fault itself
            yield data[unharmed:]
        self.reached = True

    def _hang_up(self, ends: dict[socket.socket, tuple[Way, socket.socket]]) -> None:
        if self._fault.kind == "reset":
            for end in ends:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _receive(end: socket.socket) -> bytes:
    try:
        return end.recv(1 << 16)
    except OSError:
        return b""


def _send(end: socket.socket, data: bytes) -> None:
    with suppress(OSError):  # it is gone, and its own side will be read to the end
        end.sendall(data)


def _half_close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_WR)
