"""What a `Proxy` does to the bytes of a connection: Toxiproxy's toxics, and those of DICOM.

A `Toxic` is what a test adds; for each connection it makes a `Filter`, through which the chunks of
one direction go. A filter waits with `pipe.sleep`, which ends when the connection does, and ends
the connection by raising `Cut`.
"""

from __future__ import annotations

import random
import struct
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Literal, Protocol, Self, TypeAlias

from . import wire

__all__ = ["Cut", "Filter", "Pipe", "Stream", "Toxic"]

Stream: TypeAlias = Literal["upstream", "downstream"]
"""From the client to the server, or from the server to the client."""

_LONGEST: Final = 16 << 20
"""Bytes of a PDU that is held back to be looked at; a longer one passes as it comes."""


class Cut(Exception):
    """The connection ends here.

    Attributes:
        reset: by a TCP reset.
    """

    def __init__(self, *, reset: bool = False) -> None:
        """Say how."""
        super().__init__()
        self.reset = reset


class Pipe(Protocol):
    """One direction of a connection, as filters see it."""

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            Cut: the connection has ended meanwhile.
        """


class Filter:
    """Lets everything pass; subclasses do not."""

    def __init__(self, pipe: Pipe) -> None:
        """Begin with a connection."""
        self.pipe = pipe

    def feed(self, chunk: bytes, came: float) -> Iterator[bytes]:
        """Give what passes of a chunk, which came at this time of `time.monotonic`."""
        yield chunk

    def end(self) -> Iterator[bytes]:
        """Give what was held back, before the end of the stream passes."""
        yield from ()


class Toxic:
    """A fault that a proxy has until it is removed; in `with` until the end of the block.

    Attributes:
        name: the name of the method that added it.
        stream: the direction that it concerns.
    """

    def __init__(
        self,
        name: str,
        stream: Stream,
        make: Callable[[Pipe], Filter],
        remove: Callable[[Toxic], None],
    ) -> None:
        """Keep all; `Proxy` makes toxics."""
        if stream not in ("upstream", "downstream"):
            raise ValueError(f"a stream is upstream or downstream, not {stream!r}")
        self.name = name
        self.stream = stream
        self.make = make
        self._remove = remove

    def remove(self) -> None:
        """Take it away; connections go on without it."""
        self._remove(self)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take it away."""
        self.remove()

    def __repr__(self) -> str:
        """Show name and stream."""
        return f"<Toxic {self.name} {self.stream}>"


# ---- Toxiproxy's


def latency(seconds: float, jitter: float, seed: int) -> Callable[[Pipe], Filter]:
    """Delay every chunk, which does not slow down a stream."""
    chance = random.Random(seed)  # noqa: S311 - a test is to be repeatable

    class Latency(Filter):
        def feed(self, chunk: bytes, came: float) -> Iterator[bytes]:
            late = max(0.0, seconds + chance.uniform(-jitter, jitter))
            self.pipe.sleep(came + late - time.monotonic())
            yield chunk

    return Latency


def bandwidth(bytes_per_second: float) -> Callable[[Pipe], Filter]:
    """Let so many bytes pass in a second, in steps of a twentieth."""
    step = max(1, int(bytes_per_second / 20))

    class Bandwidth(Filter):
        def feed(self, chunk: bytes, came: float) -> Iterator[bytes]:
            for at in range(0, len(chunk), step):
                piece = chunk[at : at + step]
                self.pipe.sleep(len(piece) / bytes_per_second)
                yield piece

    return Bandwidth


def slow_close(seconds: float) -> Callable[[Pipe], Filter]:
    """Delay the end of the stream."""

    class SlowClose(Filter):
        def end(self) -> Iterator[bytes]:
            self.pipe.sleep(seconds)
            yield from ()

    return SlowClose


def timeout(seconds: float) -> Callable[[Pipe], Filter]:
    """Let nothing pass, and close the connection after so many seconds without a byte."""

    class Timeout(Filter):
        def feed(self, chunk: bytes, came: float) -> Iterator[bytes]:
            if seconds:
                self.pipe.sleep(came + seconds - time.monotonic())
                raise Cut
            yield from ()

    return Timeout


def reset_peer(seconds: float) -> Callable[[Pipe], Filter]:
    """Reset the connection so many seconds after the next byte, which does not pass."""

    class ResetPeer(Filter):
        def feed(self, chunk: bytes, came: float) -> Iterator[bytes]:
            self.pipe.sleep(came + seconds - time.monotonic())
            raise Cut(reset=True)
            yield

    return ResetPeer


def slicer(size: int, variation: int, pause: float, seed: int) -> Callable[[Pipe], Filter]:
    """Let small pieces pass, one by one."""
    chance = random.Random(seed)  # noqa: S311 - a test is to be repeatable

    class Slicer(Filter):
        def feed(self, chunk: bytes, came: float) -> Iterator[bytes]:
            at = 0
            while at < len(chunk):
                length = max(1, size + chance.randint(-variation, variation))
                yield chunk[at : at + length]
                at += length
                if pause:
                    self.pipe.sleep(pause)

    return Slicer


def limit_data(count: int) -> Callable[[Pipe], Filter]:
    """Close the connection after so many bytes."""

    class LimitData(Filter):
        left = count

        def feed(self, chunk: bytes, came: float) -> Iterator[bytes]:
            if self.left:
                yield chunk[: self.left]
            self.left -= min(self.left, len(chunk))
            if not self.left:
                raise Cut

    return LimitData


# ---- DICOM's


class _Count:
    """Counts over all connections, from 1 on."""

    def __init__(self, at: int) -> None:
        if at < 1:
            raise ValueError(f"at is counted from 1: not {at}")
        self._at = at
        self._count = 0
        self._lock = threading.Lock()

    def hit(self) -> bool:
        """Count one; whether this is the one."""
        with self._lock:
            self._count += 1
            return self._count == self._at


class _Pdus(Filter):
    """Hands whole P-DATA-TF PDUs to `data`; everything else passes as it is."""

    def __init__(self, pipe: Pipe) -> None:
        super().__init__(pipe)
        self._held = bytearray()
        self._blind = False

    def feed(self, chunk: bytes, came: float) -> Iterator[bytes]:
        if self._blind:
            yield chunk
            return
        self._held += chunk
        while len(self._held) >= 6:
            kind, _, length = struct.unpack_from(">BBI", self._held)
            if not 1 <= kind <= 7 or length > _LONGEST:  # TLS, or no DICOM at all
                self._blind = True
                yield from self.end()
                return
            if len(self._held) < 6 + length:
                return
            pdu = bytes(self._held[: 6 + length])
            del self._held[: 6 + length]
            if kind == wire.DATA:
                yield from self.data(pdu)
            else:
                yield pdu

    def end(self) -> Iterator[bytes]:
        yield bytes(self._held)
        self._held.clear()

    def data(self, pdu: bytes) -> Iterator[bytes]:
        """Give what passes of a P-DATA-TF."""
        yield pdu


def truncated_pdu(at: int) -> Callable[[Pipe], Filter]:
    """Let half of a P-DATA-TF pass, and close the connection."""
    count = _Count(at)

    class TruncatedPdu(_Pdus):
        def data(self, pdu: bytes) -> Iterator[bytes]:
            if not count.hit():
                yield pdu
                return
            yield pdu[: len(pdu) // 2]
            raise Cut

    return TruncatedPdu


def wrong_length(at: int, by: int) -> Callable[[Pipe], Filter]:
    """Change what a P-DATA-TF says of its length."""
    count = _Count(at)

    class WrongLength(_Pdus):
        def data(self, pdu: bytes) -> Iterator[bytes]:
            if count.hit():
                claimed = max(0, len(pdu) - 6 + by)
                pdu = pdu[:2] + struct.pack(">I", claimed & 0xFFFFFFFF) + pdu[6:]
            yield pdu

    return WrongLength


def lost_last_fragment(at: int) -> Callable[[Pipe], Filter]:
    """Lose the last fragment of a data set; what follows passes."""
    count = _Count(at)

    class LostLastFragment(_Pdus):
        def data(self, pdu: bytes) -> Iterator[bytes]:
            kept = b""
            lost = False
            for context, control, fragment in wire.pdvs(pdu[6:]):
                if control & (wire.LAST | wire.COMMAND) == wire.LAST and count.hit():
                    lost = True
                    continue
                kept += wire.pdv(context, control, fragment)
            if not lost:
                yield pdu
            elif kept:
                yield wire.pdu(wire.DATA, kept)

    return LostLastFragment
