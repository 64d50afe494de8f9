"""Waiting for the core from an event loop: what a blocking call would give, as an await."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final, TypeAlias, TypeVar
from weakref import WeakValueDictionary, ref

from . import _core

__all__ = ["Completer", "Then"]

_GLANCE: Final = 0.1
"""Seconds between two looks whether peers still want what they asked for."""

T = TypeVar("T")
Then: TypeAlias = tuple[_core.Completions, int]


class Completer:
    """Awaits calls of the core on one event loop; `Completer.here()` is that of the running one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve a loop; private, use `here`."""
        self._loop = loop
        self._tokens = count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._wanted: dict[asyncio.Timeout, _core.Operation] = {}
        self._looking = False
        self._taken: deque[tuple[int, Any, BaseException | None]] = deque()
        # Weak: the core must not keep alive what keeps the core's end alive.
        me = ref(self)
        self._completions = _core.Completions(loop.call_soon_threadsafe, lambda: _drain(me))

    @staticmethod
    def here() -> Completer:
        """Give the one of the running loop. It lives while somebody has it.

        Raises:
            RuntimeError: no loop is running, or this process was forked.
        """
        loop = asyncio.get_running_loop()
        completer = _completers.get(loop)
        if completer is None:
            completer = _completers[loop] = Completer(loop)
        return completer

    async def wait(self, call: Callable[[Then], T]) -> T:
        """Await a call of the core: `await completer.wait(lambda then: core.release(then=then))`.

        Cancelled, it ends the waiting, not what is waited for: an invocation or a queue can be
        asked again, a message still leaves; but an association that is being made is aborted. What
        came in the very moment is lost, as everywhere in asyncio.

        Returns:
            What the call would have given, had it blocked.

        Raises:
            DimseError: what the call would have raised.
            RuntimeError: this process was forked.
        """
        token = next(self._tokens)
        there: Any = call((self._completions, token))
        if there is not None:
            result: T = there[0]
            return result
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting[token] = future
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                future.exception()  # nobody will look at it: asyncio is not to complain
            raise
        finally:
            if self._waiting.pop(token, None) is not None:
                self._completions.cancel(token)

    def begin(self, call: Callable[[Then], object]) -> None:
        """Have a call of the core done of which nobody awaits the outcome."""
        call((self._completions, next(self._tokens)))

    async def unless_cancelled(
        self, given: Awaitable[T], operation: _core.Operation, instead: T
    ) -> T:
        """Await what the user gives, for as long as the peer wants it.

        When the peer sends C-CANCEL or goes, what waits is cancelled: a generator cleans up then,
        not when it is collected as garbage. `_GLANCE` is how soon.
        """
        try:
            async with asyncio.timeout(None) as left:
                self._wanted[left] = operation
                if not self._looking:
                    self._looking = True
                    self._loop.call_later(_GLANCE, self._look)
                try:
                    return await given
                finally:
                    self._wanted.pop(left, None)
        except TimeoutError:
            if left.expired():
                return instead
            raise

    def _look(self) -> None:
        """End the waits of those who are not wanted any more."""
        for left, operation in tuple(self._wanted.items()):
            if operation.cancelled:
                del self._wanted[left]
                left.reschedule(self._loop.time())
        self._looking = bool(self._wanted)
        if self._looking:
            self._loop.call_later(_GLANCE, self._look)

    def _drain(self) -> None:
        self._taken.extend(self._completions.take())
        try:
            while self._taken:
                token, value, error = self._taken.popleft()
                future = self._waiting.pop(token, None)
                if future is None or future.done():
                    continue
                if error is None:
                    future.set_result(value)
                else:
                    future.set_exception(error)
        finally:
            if self._taken:  # Ctrl-C came in between: the rest is not forgotten
                self._loop.call_soon(self._drain)


_completers: WeakValueDictionary[asyncio.AbstractEventLoop, Completer] = WeakValueDictionary()


def _drain(completer: ref[Completer]) -> None:
    alive = completer()
    if alive is not None:
        alive._drain()
