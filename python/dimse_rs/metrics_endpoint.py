"""The metrics of a server over HTTP, for Prometheus.

serve_metrics(server, port=9100)
"""

from __future__ import annotations

import socket
import socketserver
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from . import log

if TYPE_CHECKING:
    from .aio_server import AsyncServer
    from .server import Server

__all__ = ["MetricsEndpoint", "serve_metrics"]

_logger = log.get(log.SERVER)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_TURN: Final = 0.25
"""Seconds in which the endpoint notices that it is to stop."""

_AT_ONCE: Final = 8
"""Requests that are answered at once; one more is hung up on."""

_PATIENCE: Final = 5.0
"""Seconds that a client may be silent."""


class MetricsEndpoint:
    """An HTTP server with one page, `/metrics`, on a thread of its own; see `serve_metrics`.

    Attributes:
        host: where it listens.
        port: likewise.
    """

    def __init__(self, server: Server | AsyncServer, host: str, port: int) -> None:
        """Bind and serve.

        Raises:
            OSError: the address cannot be bound.
        """
        self._http = _http_server(server, host, port)
        name, self.port = self._http.server_address[:2]
        self.host = str(name)
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(_TURN,), name="dimse-metrics", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """What to point Prometheus at."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/metrics"

    def close(self) -> None:
        """Stop serving. Harmless when it has stopped."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        """Give itself: it serves already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


def serve_metrics(
    server: Server | AsyncServer, host: str = "127.0.0.1", port: int = 0
) -> MetricsEndpoint:
    """Serve `server.metrics()` to Prometheus as `http://HOST:PORT/metrics`.

    It closes with the server. There is no access control and no TLS: bind it where only those can
    reach it who may know how busy the server is.

    Args:
        server: one that was started.
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


def _http_server(server: Server | AsyncServer, host: str, port: int) -> socketserver.TCPServer:
    # Not with the module: it brings the whole of `email` along.
    from http.server import BaseHTTPRequestHandler

    class Page(BaseHTTPRequestHandler):
        server_version, sys_version = "dimse_rs", ""
        timeout = _PATIENCE

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404)
                return
            body = server.metrics().prometheus().encode()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            _logger.debug("metrics: " + format, *args, extra={"code": "metrics"})

    class Pages(socketserver.ThreadingTCPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        allow_reuse_address = True
        daemon_threads = True
        free = threading.Semaphore(_AT_ONCE)

        def process_request(self, request: Any, client_address: Any) -> None:
            if self.free.acquire(blocking=False):
                super().process_request(request, client_address)
            else:
                self.shutdown_request(request)

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            try:
                super().process_request_thread(request, client_address)
            finally:
                self.free.release()

        def handle_error(self, request: Any, client_address: Any) -> None:
            _logger.debug("metrics: not answered", exc_info=True, extra={"code": "metrics"})

    return Pages((host, port), Page)
