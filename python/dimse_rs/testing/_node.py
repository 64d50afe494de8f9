"""What all servers of the kit have: a free port, an address, an end, and waiting for what comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from dimse_rs import AE, Peer, Server, Timeouts

__all__ = ["PATIENCE", "Came", "Node"]

PATIENCE: Final = 10.0
"""Seconds that a test waits for something, unless it says how long."""

_GRACE: Final = 1.0
"""Seconds that requests in progress have when a server of a test stops."""

# A test waits for silence or for a failure at times: its peer shall not be so patient.
_TIMEOUTS: Final = Timeouts(artim=10, acse=10, release=5, write=10, dimse=20, store=20, progress=5)

T = TypeVar("T")
R = TypeVar("R")


async def on_a_thread(function: Callable[..., R], *args: object) -> R:
    """Call a function that waits, from an event loop that goes on meanwhile."""
    from dimse_rs.aio import Threads  # only now: a test without an event loop needs no asyncio

    return await Threads().call(function, *args)


class Came(Generic[T]):
    """A list that grows on other threads, and that a test waits for."""

    def __init__(self) -> None:
        """Start empty."""
        self._items: list[T] = []
        self._changed = threading.Condition()

    def add(self, item: T) -> None:
        """Add what came."""
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget all of it."""
        with self._changed:
            self._items.clear()

    def all(self) -> list[T]:
        """Give a copy."""
        with self._changed:
            return list(self._items)

    def wait(self, enough: Callable[[list[T]], bool], timeout: float) -> list[T]:
        """Wait until the list is enough; give a copy of the list, which may not be enough."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not enough(self._items):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return list(self._items)

    def __len__(self) -> int:
        """Count what came."""
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        """Give what has come until now."""
        return iter(self.all())


class Node:
    """A server for tests, on a free port of 127.0.0.1, that answers to any called title.

    Use it in `with` or `async with`, or call `start` and `stop`. The server runs on threads of its
    own: a test on an event loop uses it as well, and awaits the methods that end in `_async`.

    Attributes:
        server: the `Server`: its events, its metrics.
    """

    def __init__(
        self, ae: AE | str, *, host: str = "127.0.0.1", port: int = 0, **settings: Any
    ) -> None:
        """Make the server.

        Args:
            ae: the AE title; or an AE, for TLS, deadlines and limits of its own.
            host: the address to listen on.
            port: 0 takes a free one.
            settings: further settings of `Server`.
        """
        own = AE(ae, timeouts=_TIMEOUTS) if isinstance(ae, str) else ae
        self.server: Server = Server(own, host, port, any_called=True, **settings)

    @property
    def ae_title(self) -> str:
        """The AE title."""
        return self.server.ae.title

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self.server.host

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before the start."""
        return self.server.port

    @property
    def peer(self) -> Peer:
        """Where it is, for `AE.associate`, `AE.send` and `destinations`."""
        return Peer(self.ae_title, self.host, self.port)

    @property
    def address(self) -> str:
        """The same as text, as `parse_peer` reads it."""
        return str(self.peer)

    def start(self) -> Self:
        """Listen.

        Raises:
            LocalProtocolError: it was started before.
        """
        self.server.start()
        return self

    def stop(self) -> None:
        """Stop; associations that are still there are aborted after a second."""
        self.server.stop(_GRACE)

    def __enter__(self) -> Self:
        """Start, unless it was started."""
        return self if self.server.is_started else self.start()

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
        return await on_a_thread(self.__enter__)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        await on_a_thread(self.stop)

    def __repr__(self) -> str:
        """Show the address."""
        where = self.address if self.server.is_started else f"{self.ae_title}, not started"
        return f"<{type(self).__name__} {where}>"
