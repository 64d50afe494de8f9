"""Waiting for the core from an event loop: what a blocking call would give, as an await."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, TypeAlias, TypeVar
from weakref import WeakValueDictionary, ref

from . import _core

__all__ = ["Completer", "Then"]

T = TypeVar("T")
Then: TypeAlias = tuple[_core.Completions, int]


class Completer:
    """Awaits calls of the core on one event loop; `Completer.here()` is that of the running one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve a loop; private, use `here`."""
        self._loop = loop
        self._tokens = count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
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
