"""`AsyncServer`: a server whose handlers are served on an event loop."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dimse_rs.aio._deciding import AsyncDeciding
from dimse_rs.aio._performer import AsyncPerformer
from dimse_rs.aio.association import AsyncAssociation
from dimse_rs.aio.threads import SHARED
from dimse_rs.callables import is_asynchronous
from dimse_rs.dimse.requests import Handler
from dimse_rs.errors import LocalProtocolError
from dimse_rs.handlers import Handlers
from dimse_rs.observe.events import Events, Kind
from dimse_rs.observe.metrics import Metrics
from dimse_rs.perform.deciding import Deciding

from .blocking import Server

if TYPE_CHECKING:
    from dimse_rs import _core
    from dimse_rs.ae import AE
    from dimse_rs.storage import Storage

__all__ = ["AsyncServer"]


class AsyncServer(Handlers):
    """A node that accepts associations on a port, for asyncio: `Server` with `await`.

    Handlers may be `async` functions and asynchronous generators, which run on the loop; others run
    on threads. `request.association` is an `AsyncAssociation`. Use it in `async with`, or call
    `start` and `stop`.
    """

    def __init__(
        self,
        ae: AE | None = None,
        host: str = "127.0.0.1",
        port: int = 11112,
        **settings: Any,
    ) -> None:
        """Keep the settings, those of `Server`; nothing is bound until `start`.

        Raises:
            TypeError, ValueError: as `Server` does.
        """
        super().__init__()
        self._server = _LoopServer(ae, host, port, **settings)
        self._by_field = self._server._by_field

    @property
    def ae(self) -> AE:
        """Title, timeouts and limits."""
        return self._server.ae

    @property
    def host(self) -> str:
        """Where it listens, once started; until then what it was told."""
        return self._server.host

    @property
    def port(self) -> int:
        """The port, once started; until then what it was told."""
        return self._server.port

    async def start(self) -> Self:
        """Bind and accept.

        Raises:
            OSError: the address cannot be bound.
            LocalProtocolError: it was started before.
        """
        if not self._server.is_started:
            await SHARED.call(self._server._load)  # it may take a second
        self._server.start()
        return self

    async def stop(self, grace: float = 5.0, patience: float = 0.0) -> None:
        """Stop accepting, let requests in progress be answered, then abort what is left.

        Args:
            grace: how many seconds requests in progress have.
            patience: before that, how many seconds peers may go on and release by themselves.
        """
        await SHARED.call(self._server.stop, grace, patience)

    async def wait(self) -> None:
        """Wait until `stop` is called.

        Raises:
            LocalProtocolError: it was not started.
        """
        if not self._server.is_started:
            raise LocalProtocolError("the server was not started")
        async for _ in self.events("lost"):
            pass

    def events(self, *kinds: Kind, timeout: float | None = None) -> Events:
        """Follow what happens, `async for event in ...`: see `Server.events`."""
        return self._server.events(*kinds, timeout=timeout)

    def metrics(self) -> Metrics:
        """Give what the server does now, and what it counted: see `Server.metrics`.

        Raises:
            LocalProtocolError: it was not started.
        """
        return self._server.metrics()

    def _check_running(self) -> None:
        self._server._check_running()

    def _on_stop(self, close: Callable[[], object]) -> None:
        self._server._on_stop(close)

    async def __aenter__(self) -> Self:
        """Start, unless it was."""
        return self if self._server.is_started else await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    if not TYPE_CHECKING:  # for checkers there is no such name

        def __getattr__(self, name: str) -> Any:
            """Name what pynetdicom's attributes are called here."""
            from dimse_rs.hints import refuse

            return refuse(self, "Server", name)

    def __repr__(self) -> str:
        """Show where it listens and as whom."""
        return repr(self._server).replace("_LoopServer", type(self).__name__)

    def _add(self, field: int, sop_classes: tuple[str, ...], handler: Handler) -> Handler:
        return self._server._add(field, sop_classes, handler)


class _LoopServer(Server):
    """A server whose requests are served by tasks."""

    _performer_kind = AsyncPerformer
    _asynchronous = True
    _association_kind = AsyncAssociation

    def _check_on_stored(self, storage: Storage) -> None:
        """Take both kinds: an `async` one runs on the loop, any other on a thread."""

    def _make_deciding(self, service: _core.Service, storage: Storage) -> Deciding:
        if storage.on_stored is not None and is_asynchronous(storage.on_stored):
            return AsyncDeciding(service, storage)
        return Deciding(service, storage)
