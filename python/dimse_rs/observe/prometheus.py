"""The metrics of a server over HTTP, for Prometheus: `serve_metrics(server, port=9100)`.

One thread serves all clients, with non-blocking sockets and a selector: however many clients
connect and stay silent, the page costs one thread and few descriptors. Not `http.server`: that has
a thread for each client, and reads headers without a deadline.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self
from weakref import ref

from dimse_rs import log, threads
from dimse_rs.records import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable

    from .metrics import Metrics

__all__ = ["MetricsEndpoint", "serve_metrics"]

_logger = log.get(log.SERVER)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_AT_ONCE: Final = 64
"""Clients at once; one more takes the place of the oldest one."""

_PATIENCE: Final = 5.0
"""Seconds that a client has to send its whole request and to take the whole answer."""

_LONGEST: Final = 16_384
"""Most bytes of a request."""

_BACK_OFF: Final = 0.5
"""Seconds that accepting rests when there are no descriptors left."""

_OF_THE_PEER: Final = (BlockingIOError, InterruptedError, ConnectionError)
"""Errors of `accept` that concern one client, not this node."""


class Measured(Protocol):
    """The part of `Server` and `AsyncServer` that the endpoint uses."""

    def metrics(self) -> Metrics:
        """Give the present metrics."""

    def _check_running(self) -> None:
        """Raise LocalProtocolError unless the server runs."""

    def _on_stop(self, function: Callable[[], object]) -> None:
        """Call a function when the server stops."""


@dataclass(slots=True, eq=False)
class _Client:
    """A connection: the request as far as received, then the rest of the answer."""

    socket: socket.socket
    due: float
    request: bytearray = field(default_factory=bytearray)
    answer: memoryview | None = None


class MetricsEndpoint:
    """An HTTP server with one page, `/metrics`, on one thread for all clients; see `serve_metrics`.

    Attributes:
        host: the address that it listens on.
        port: the port that it listens on.
    """

    def __init__(self, server: Measured, host: str, port: int) -> None:
        """Bind and serve.

        Raises:
            OSError: the address cannot be bound.
            RuntimeError, MemoryError: no thread can be started now.
        """
        self._over = False
        self._clients: dict[_Client, None] = {}  # in the order in which they came
        self._rests_until: float | None = None
        self._failing = False
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with ExitStack() as opening:
            self._listening = opening.enter_context(
                socket.create_server((host, port), family=family)
            )
            self._selector = opening.enter_context(selectors.DefaultSelector())
            self._woken, self._waker = map(opening.enter_context, socket.socketpair())
            for one in (self._listening, self._woken, self._waker):
                one.setblocking(False)
            name, number = self._listening.getsockname()[:2]
            self.host: str = str(name)
            self.port: int = number
            self._selector.register(self._listening, selectors.EVENT_READ)
            self._selector.register(self._woken, selectors.EVENT_READ)
            # The page must not keep the server alive: it ends when the server is garbage.
            self._server = ref(server, lambda _: self._stop())
            opened = opening.pop_all()
        try:
            self._thread = threads.start("dimse-metrics", self._run, opened)
        except BaseException:
            opened.close()
            raise

    @property
    def url(self) -> str:
        """The address of the page, to be configured in Prometheus."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/metrics"

    def close(self) -> None:
        """Stop serving. Harmless when the endpoint has stopped."""
        self._stop()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _stop(self) -> None:
        self._over = True
        with suppress(OSError):  # the socket is closed, or holds a byte already
            self._waker.send(b"\0")

    def __enter__(self) -> Self:
        """Give the endpoint, which serves already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    # ---- on its thread

    def _run(self, opened: ExitStack) -> None:
        with opened:
            while not self._over:
                ready = self._selector.select(self._wait())
                for key, _ in ready:
                    if key.fileobj is self._listening:
                        self._accept()
                    elif key.data in self._clients:
                        self._go_on(key.data)
                self._end_late_ones()
            for client in list(self._clients):
                self._drop(client)

    def _wait(self) -> float | None:
        """Give the seconds until a client is late, or accepting begins again; None for neither."""
        # All clients have the same time, so the one that came first is late first.
        due = [client.due for client in self._clients][:1]
        if self._rests_until is not None:
            due.append(self._rests_until)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listening.accept()
            except _OF_THE_PEER as error:
                if isinstance(error, BlockingIOError):
                    return
                continue
            except OSError as error:  # no descriptors: the client waits in the kernel's queue
                self._rest(error)
                return
            self._failing = False
            # With all places taken the oldest client goes: silent clients must not keep Prometheus
            # out.
            if len(self._clients) >= _AT_ONCE:
                self._drop(next(iter(self._clients)))
            accepted.setblocking(False)
            client = _Client(accepted, time.monotonic() + _PATIENCE)
            self._clients[client] = None
            self._selector.register(accepted, selectors.EVENT_READ, client)
            # The request is often there already: that saves a turn of the selector.
            self._go_on(client)

    def _rest(self, error: OSError) -> None:
        """Pause accepting for a moment; log that once, not at each attempt."""
        if not self._failing:
            _logger.error("metrics: cannot accept: %s", error, extra={"code": "metrics"})
        self._failing = True
        self._selector.unregister(self._listening)
        self._rests_until = time.monotonic() + _BACK_OFF

    def _end_late_ones(self) -> None:
        now = time.monotonic()
        while self._clients and (first := next(iter(self._clients))).due <= now:
            self._drop(first)
        if self._rests_until is not None and self._rests_until <= now:
            self._selector.register(self._listening, selectors.EVENT_READ)
            self._rests_until = None

    def _go_on(self, client: _Client) -> None:
        """Read or write as much as is possible without waiting."""
        try:
            if client.answer is None and not self._read(client):
                return
            while client.answer:
                client.answer = client.answer[client.socket.send(client.answer) :]
            client.socket.shutdown(socket.SHUT_WR)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        except Exception:  # of `metrics()`: an error there must not end the page
            _logger.exception("metrics: not answered", extra={"code": "metrics"})
        self._drop(client)

    def _read(self, client: _Client) -> bool:
        """Read on; whether the request is complete, and has its answer."""
        received = client.socket.recv(_LONGEST)
        client.request += received
        ended = b"\r\n\r\n" in client.request or b"\n\n" in client.request
        if not (ended or len(client.request) >= _LONGEST):
            if not received:
                raise ConnectionResetError
            return False
        client.answer = memoryview(self._answer(bytes(client.request) if ended else b""))
        self._selector.modify(client.socket, selectors.EVENT_WRITE, client)
        return True

    def _answer(self, request: bytes) -> bytes:
        line = request.partition(b"\n")[0].strip().decode("ascii", "replace")
        method, _, rest = line.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        server = self._server()
        content, kind = "", CONTENT_TYPE
        if server is None or not rest:
            status = "400 Bad Request" if server else "503 Service Unavailable"
        elif method not in ("GET", "HEAD"):
            status = "405 Method Not Allowed"
        elif path != "/metrics":
            status = "404 Not Found"
        else:
            status, content = "200 OK", server.metrics().prometheus()
        _logger.debug("metrics: %r: %s", line[:100], status, extra={"code": "metrics"})
        if not content:
            content, kind = status + "\n", "text/plain"
        body = content.encode()
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            "Allow: GET, HEAD\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (b"" if method == "HEAD" else body)

    def _drop(self, client: _Client) -> None:
        del self._clients[client]
        self._selector.unregister(client.socket)
        client.socket.close()


def serve_metrics(server: Measured, host: str = "127.0.0.1", port: int = 0) -> MetricsEndpoint:
    """Serve `server.metrics()` to Prometheus as `http://HOST:PORT/metrics`.

    The page closes with the server. It has neither access control nor TLS: bind it to an address
    that only the monitoring can reach.

    Args:
        server: a server that was started.
        host: address to bind to.
        port: 0 takes a free one, see `port` of what is returned.

    Raises:
        LocalProtocolError: the server was not started, or has stopped.
        OSError: the address cannot be bound.
    """
    server._check_running()
    endpoint = MetricsEndpoint(server, host, port)
    server._on_stop(endpoint.close)
    _logger.info("metrics at %s", endpoint.url, extra={"code": "metrics"})
    return endpoint
