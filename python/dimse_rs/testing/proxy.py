"""`Proxy`: a TCP proxy with faults, for what networks do to a connection.

The toxics have the names that they have in Toxiproxy; lengths are in bytes and times in seconds.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from types import TracebackType
from typing import Any, Final, Protocol, Self

from dimse_rs import Peer, parse_peer
from dimse_rs.settings import PeerLike

from . import toxics
from ._node import on_a_thread
from .toxics import Cut, Filter, Pipe, Stream, Toxic

__all__ = ["Proxy"]

_TURN: Final = 0.05
"""Seconds between two looks at the end of a connection, where nothing else wakes a thread."""

_AHEAD: Final = 64
"""Chunks of a direction that are read before they have passed."""

_CONNECT: Final = 10.0


class _HasPeer(Protocol):
    @property
    def peer(self) -> Peer: ...


class _Pipe:
    """One direction of a connection: a thread reads, another one lets pass what passes."""

    def __init__(
        self, link: _Link, source: socket.socket, sink: socket.socket, stream: Stream
    ) -> None:
        self._link = link
        self._source = source
        self._sink = sink
        self._stream = stream
        self._chunks: Queue[tuple[float, bytes]] = Queue(_AHEAD)
        self._filters: dict[Toxic, Filter] = {}

    def sleep(self, seconds: float) -> None:
        """Wait; see `toxics.Pipe`."""
        if seconds > 0 and self._link.over.wait(seconds):
            raise Cut

    def read(self) -> None:
        """Read to the end of the stream; an empty chunk is the end."""
        data = b"?"
        while data and not self._link.over.is_set():
            try:
                data = self._source.recv(1 << 16)
            except OSError:
                data = b""
            chunk = time.monotonic(), data
            while not self._link.over.is_set():
                with suppress(Full):
                    self._chunks.put(chunk, timeout=_TURN)
                    break

    def write(self) -> None:
        """Let chunks pass, through the toxics that there are when each of them comes."""
        try:
            while not self._link.over.is_set():
                try:
                    came, chunk = self._chunks.get(timeout=_TURN)
                except Empty:
                    continue
                filters = self._present()
                for piece in _through(filters, chunk, came):
                    self._link.proxy.count(self._stream, len(piece))
                    self._sink.sendall(piece)
                if not chunk:
                    with suppress(OSError):
                        self._sink.shutdown(socket.SHUT_WR)
                    return
        except Cut as cut:
            self._link.cut(reset=cut.reset)
        except OSError:
            self._link.cut()
        finally:
            self._link.written()

    def _present(self) -> list[Filter]:
        """Give the filters of the toxics of this direction, one for each connection."""
        present = [toxic for toxic in self._link.proxy.toxics if toxic.stream == self._stream]
        self._filters = {toxic: self._filters.get(toxic) or toxic.make(self) for toxic in present}
        return list(self._filters.values())


def _through(filters: list[Filter], chunk: bytes, came: float) -> Iterator[bytes]:
    """Send a chunk through filters, one behind the other; the empty chunk is the end."""
    if not filters:
        yield chunk
        return
    first, rest = filters[0], filters[1:]
    pieces = first.feed(chunk, came) if chunk else first.end()
    for piece in pieces:
        if piece:
            yield from _through(rest, piece, came)
    if not chunk:
        yield from _through(rest, b"", came)


class _Link:
    """A connection and its counterpart."""

    def __init__(self, proxy: Proxy, near: socket.socket, far: socket.socket) -> None:
        self.proxy = proxy
        self.over = threading.Event()
        self._ends = near, far
        self._lock = threading.Lock()
        self._writing = 2
        for end in self._ends:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pipes = (
            _Pipe(self, near, far, "upstream"),
            _Pipe(self, far, near, "downstream"),
        )

    def cut(self, *, reset: bool = False) -> None:
        """End both connections."""
        with self._lock:
            if self.over.is_set():
                return
            self.over.set()
        for end in self._ends:
            with suppress(OSError):
                if reset:
                    linger = struct.pack("ii", 1, 0)
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                # Wakes the thread that reads: a close alone would not, nor reset before it wakes.
                end.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
            end.close()

    def written(self) -> None:
        """Count a direction that is over; when both are, close."""
        with self._lock:
            self._writing -= 1
            both = self._writing == 0
        if both:
            self.cut()


class Proxy:
    """Carries connections to a target, on a free port of 127.0.0.1, with faults.

    Each method of a toxic adds it and gives it: `toxic.remove()` takes it away, and so does the end
    of `with proxy.latency(1):`. A toxic concerns the answers of the server, `stream="downstream"`,
    or what the client sends, `stream="upstream"`; connections that are there have it too. Several
    work one behind the other. Use the proxy in `with` or `async with`, or call `start` and `stop`.

    Attributes:
        passed: bytes that have passed, by stream.
        connections: how many came.
    """

    def __init__(self, target: PeerLike | _HasPeer, *, seed: int = 0) -> None:
        """Name the target.

        Args:
            target: a server of the kit, or an address as for `AE.associate`.
            seed: of what varies by chance, so that a test can be repeated.
        """
        where: Any = getattr(target, "peer", target)
        self.target: Peer = parse_peer(where)
        self.port: int = 0
        self.passed: dict[Stream, int] = {"upstream": 0, "downstream": 0}
        self.connections: int = 0
        self._seed = seed
        self._toxics: tuple[Toxic, ...] = ()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._links: set[_Link] = set()
        self._threads: list[threading.Thread] = []
        self._stopped = False

    # ---- toxics

    @property
    def toxics(self) -> tuple[Toxic, ...]:
        """The toxics that there are now."""
        return self._toxics

    def clear(self) -> None:
        """Remove all toxics."""
        with self._lock:
            self._toxics = ()

    def _add(self, name: str, stream: Stream, make: Callable[[Pipe], Filter]) -> Toxic:
        toxic = Toxic(name, stream, make, self._remove)
        with self._lock:
            self._toxics = (*self._toxics, toxic)
        return toxic

    def _remove(self, toxic: Toxic) -> None:
        with self._lock:
            self._toxics = tuple(one for one in self._toxics if one is not toxic)

    def latency(
        self, seconds: float, jitter: float = 0.0, *, stream: Stream = "downstream"
    ) -> Toxic:
        """Delay all bytes by so many seconds, give or take `jitter`."""
        _check(seconds=seconds, jitter=jitter)
        return self._add("latency", stream, toxics.latency(seconds, jitter, self._seed))

    def bandwidth(self, bytes_per_second: float, *, stream: Stream = "downstream") -> Toxic:
        """Let so many bytes pass in a second."""
        if bytes_per_second <= 0:
            raise ValueError(f"bytes_per_second is above 0: not {bytes_per_second!r}")
        return self._add("bandwidth", stream, toxics.bandwidth(bytes_per_second))

    def slow_close(self, seconds: float, *, stream: Stream = "downstream") -> Toxic:
        """Delay the end of the connection by so many seconds."""
        _check(seconds=seconds)
        return self._add("slow_close", stream, toxics.slow_close(seconds))

    def timeout(self, seconds: float = 0.0, *, stream: Stream = "downstream") -> Toxic:
        """Let nothing pass, and close so many seconds after the next byte; 0 never closes."""
        _check(seconds=seconds)
        return self._add("timeout", stream, toxics.timeout(seconds))

    def reset_peer(self, seconds: float = 0.0, *, stream: Stream = "downstream") -> Toxic:
        """Reset the connection so many seconds after the next byte, which does not pass."""
        _check(seconds=seconds)
        return self._add("reset_peer", stream, toxics.reset_peer(seconds))

    def slicer(
        self,
        size: int,
        variation: int = 0,
        pause: float = 0.0,
        *,
        stream: Stream = "downstream",
    ) -> Toxic:
        """Let pieces of so many bytes pass, give or take `variation`, with pauses in between."""
        if not 0 <= variation < size:
            raise ValueError(
                f"size is above variation, which is from 0 up: not {size}, {variation}"
            )
        _check(pause=pause)
        return self._add("slicer", stream, toxics.slicer(size, variation, pause, self._seed))

    def limit_data(self, count: int, *, stream: Stream = "downstream") -> Toxic:
        """Close each connection after so many bytes."""
        _check(count=count)
        return self._add("limit_data", stream, toxics.limit_data(count))

    def truncated_pdu(self, at: int = 1, *, stream: Stream = "downstream") -> Toxic:
        """Let half of the n-th P-DATA-TF pass, counted over all connections, and close."""
        return self._add("truncated_pdu", stream, toxics.truncated_pdu(at))

    def wrong_length(self, at: int = 1, by: int = 1, *, stream: Stream = "downstream") -> Toxic:
        """Have the n-th P-DATA-TF, counted over all connections, say a length that is wrong."""
        return self._add("wrong_length", stream, toxics.wrong_length(at, by))

    def lost_last_fragment(self, at: int = 1, *, stream: Stream = "downstream") -> Toxic:
        """Lose the last fragment of the n-th data set, counted over all connections."""
        return self._add("lost_last_fragment", stream, toxics.lost_last_fragment(at))

    def count(self, stream: Stream, length: int) -> None:
        """Count bytes that pass; private."""
        with self._lock:
            self.passed[stream] += length

    # ---- where it is, and its life

    @property
    def peer(self) -> Peer:
        """Where it is, with the title of the target."""
        return Peer(self.target.ae_title, "127.0.0.1", self.port)

    @property
    def address(self) -> str:
        """The same as text, as `parse_peer` reads it."""
        return str(self.peer)

    def start(self) -> Self:
        """Listen."""
        if self._listener is not None:
            raise RuntimeError("a proxy starts once; make another one")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._spawn([lambda: self._accept(self._listener)])
        return self

    def stop(self) -> None:
        """Close the port and all connections."""
        if self._listener is None:
            return
        with self._lock:
            self._stopped = True
            links = list(self._links)
        with suppress(OSError):  # wakes the thread that accepts
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in links:
            link.cut()
        for thread in self._threads:
            thread.join(_CONNECT)

    def __enter__(self) -> Self:
        """Start, unless it was started."""
        return self.start() if self._listener is None else self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    async def __aenter__(self) -> Self:
        """Start, unless it was started."""
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        await on_a_thread(self.stop)

    def __repr__(self) -> str:
        """Show the addresses and the toxics."""
        names = ", ".join(toxic.name for toxic in self._toxics) or "no toxics"
        return f"<Proxy {self.port} to {self.target}, {names}>"

    # ---- on its threads

    def _spawn(self, functions: Iterable[Callable[[], None]]) -> None:
        alive = [thread for thread in self._threads if thread.is_alive()]
        new = [
            threading.Thread(target=function, name="dicom-proxy", daemon=True)
            for function in functions
        ]
        self._threads = alive + new
        for thread in new:
            thread.start()

    def _accept(self, listener: socket.socket | None) -> None:
        assert listener is not None  # noqa: S101 - `start` has made it
        while True:
            try:
                near, _ = listener.accept()
            except OSError:  # closed by `stop`
                return
            try:
                where = self.target.host, self.target.port
                far = socket.create_connection(where, _CONNECT)
                far.settimeout(None)
            except OSError:  # the target is down: so is the proxy
                near.close()
                continue
            link = _Link(self, near, far)
            with self._lock:
                self.connections += 1
                # Links that are over are forgotten here: a session has many.
                self._links = {one for one in self._links if not one.over.is_set()} | {link}
                stopped = self._stopped
            if stopped:
                link.cut()
                return
            self._spawn(function for pipe in link.pipes for function in (pipe.read, pipe.write))


def _check(**numbers: float) -> None:
    for name, number in numbers.items():
        if number < 0:
            raise ValueError(f"{name} is from 0 up: not {number!r}")
