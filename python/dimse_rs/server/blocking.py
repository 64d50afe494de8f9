"""`Server`: accepts associations and answers their requests, with calls that block."""

from __future__ import annotations

from types import TracebackType
from typing import Self, Unpack

from dimse_rs import _core
from dimse_rs.ae import AE
from dimse_rs.association import Association
from dimse_rs.callables import is_asynchronous
from dimse_rs.errors import LocalProtocolError
from dimse_rs.handlers import BlockingHandlers
from dimse_rs.perform.performer import Performer
from dimse_rs.storage import Storage

from .base import BaseServer
from .settings import ServerSettings

__all__ = ["Server"]

_TURN = 0.2
"""Seconds between two looks of `wait`: not on every system a signal ends a wait without timeout."""


class Server(BaseServer, BlockingHandlers):
    """A node that accepts associations on a port.

    The server binds to 127.0.0.1 and answers to its own AE title alone, unless the settings say
    otherwise. C-ECHO is answered without a handler.

    Use it as a context manager, or call `start` and `stop`. Handlers are added before it starts, by
    the decorators of `Handlers`. A server that no variable refers to any more closes its port, as a
    socket does, with a ResourceWarning.
    """

    _performer_kind = Performer
    _association_kind = Association
    _asynchronous = False

    def __init__(
        self,
        ae: AE | None = None,
        host: str = "127.0.0.1",
        port: int = 11112,
        **settings: Unpack[ServerSettings],
    ) -> None:
        """Keep the settings; nothing is bound until `start`.

        Args:
            ae: title, timeouts, limits, PDU size and TLS.
            host: address or name to bind to; "0.0.0.0" or "::" for every interface.
            port: 0 takes a free one, see `port` after `start`.
            settings: the keywords that `ServerSettings` explains: any_called, called, calling,
                allow, accept, verify_identity, require_identity and passcode_in_clear for which
                peers are admitted; services, supported, unknown and extended for what is
                supported; destinations and any_destination for where C-MOVE sends to; on_release
                for the end of an association; max_associations, max_ops_performed and max_handlers
                for how much is served at once.

        Raises:
            ValueError: a title, a number or an option is not allowed, there are two `Storage`s, or
                two services for the same requests.
            TypeError: no such setting; `Storage(on_stored=)` or `destinations` is `async`, which an
                `AsyncServer` can call; or a function takes other arguments.
        """
        super().__init__(ae, host, port, settings)

    def start(self) -> Self:
        """Bind and accept.

        Raises:
            OSError: the address cannot be bound.
            TlsError: the certificate, its key or another file of `AE.tls` is not in order.
            LocalProtocolError: the server was started before.
            RuntimeError, MemoryError: no thread can be started now.
        """
        self._start()
        return self

    def stop(self, grace: float = 5.0, patience: float = 0.0) -> None:
        """Stop accepting, let requests in progress be answered, then abort the remaining peers.

        Returns when everything is over and logged, for every thread that calls it. Harmless when
        the server was never started.

        Args:
            grace: how many seconds requests in progress have. Handlers that do not return by then
                keep their thread.
            patience: before that, how many seconds peers may go on and release by themselves.

        Raises:
            RuntimeError: the server was started before this process was forked, and runs in the
                parent.
        """
        self._stop(grace, patience)

    def wait(self) -> None:
        """Wait until `stop` is called, from another thread or a signal handler, or for Ctrl-C.

        Raises:
            LocalProtocolError: the server was not started.
            RuntimeError: the server was started before this process was forked, and runs in the
                parent.
        """
        if self._listener is None:
            raise LocalProtocolError("the server was not started")
        # A forked child has a copy of the server, but none of its threads: it would wait for ever.
        _core.check_process()
        while not self._stopping.wait(_TURN):
            pass

    def _check_on_stored(self, storage: Storage) -> None:
        if storage.on_stored is not None and is_asynchronous(storage.on_stored):
            raise TypeError(
                "Storage(on_stored=) is `async def`, which only an AsyncServer can call; a Server "
                "calls a plain function on a thread"
            )

    def __enter__(self) -> Self:
        """Start the server, unless it was started."""
        return self if self._listener is not None else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.stop()
