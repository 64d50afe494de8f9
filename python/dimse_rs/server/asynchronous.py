"""`AsyncServer`: a server whose handlers are served on an event loop."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from dimse_rs.aio._deciding import AsyncDeciding
from dimse_rs.aio._performer import AsyncPerformer
from dimse_rs.aio._releasing import AsyncReleasing
from dimse_rs.aio.association import AsyncAssociation
from dimse_rs.aio.threads import SHARED
from dimse_rs.callables import is_asynchronous
from dimse_rs.errors import LocalProtocolError
from dimse_rs.perform.deciding import Deciding

from .base import BaseServer
from .settings import AsyncServerSettings

if TYPE_CHECKING:
    from dimse_rs import _core
    from dimse_rs.ae import AE
    from dimse_rs.storage import Storage

__all__ = ["AsyncServer"]


class AsyncServer(BaseServer):
    """A node that accepts associations on a port, for asyncio: `Server` with `await`.

    Handlers may be `async` functions and asynchronous generators, which run on the loop; others run
    on threads. `request.association` is an `AsyncAssociation`. Use the server in `async with`, or
    call `start` and `stop`.
    """

    _performer_kind = AsyncPerformer
    _association_kind = AsyncAssociation
    _releasing_kind = AsyncReleasing
    _asynchronous = True

    def __init__(
        self,
        ae: AE | None = None,
        host: str = "127.0.0.1",
        port: int = 11112,
        **settings: Unpack[AsyncServerSettings],
    ) -> None:
        """Keep the settings; nothing is bound until `start`.

        Args:
            ae: as of `Server`.
            host: as of `Server`.
            port: as of `Server`.
            settings: the keywords that `ServerSettings` explains; functions may be `async`.

        Raises:
            TypeError, ValueError: as `Server` does.
        """
        super().__init__(ae, host, port, settings)

    async def start(self) -> Self:
        """Bind and accept.

        Raises:
            OSError: the address cannot be bound.
            TlsError: the certificate, its key or another file of `AE.tls` is not in order.
            LocalProtocolError: the server was started before.
            RuntimeError, MemoryError: no thread can be started now.
        """
        if not self.is_started:
            await SHARED.call(self._load)  # an import of pydicom takes up to a second
        # Here, not on that thread: the performer and the admission take the running loop as theirs.
        self._start()
        return self

    async def stop(self, grace: float = 5.0, patience: float = 0.0) -> None:
        """Stop accepting, let requests in progress be answered, then abort the remaining peers.

        Args:
            grace: how many seconds requests in progress have.
            patience: before that, how many seconds peers may go on and release by themselves.
        """
        # On a thread: `_stop` waits for requests in progress, whose handlers need the loop.
        await SHARED.call(self._stop, grace, patience)

    async def wait(self) -> None:
        """Wait until `stop` is called.

        Raises:
            LocalProtocolError: the server was not started.
        """
        if not self.is_started:
            raise LocalProtocolError("the server was not started")
        # Hardly an event is of this kind: the iteration ends with the server.
        async for _ in self.events("lost"):
            pass

    def _check_on_stored(self, storage: Storage) -> None:
        """Take every function: an `async` one runs on the loop, any other on a thread."""

    def _make_deciding(self, service: _core.Service, storage: Storage) -> Deciding:
        if storage.on_stored is not None and is_asynchronous(storage.on_stored):
            return AsyncDeciding(service, storage)
        return Deciding(service, storage)

    async def __aenter__(self) -> Self:
        """Start the server, unless it was started."""
        return self if self.is_started else await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server."""
        await self.stop()
