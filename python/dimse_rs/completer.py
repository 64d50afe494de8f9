"""Awaiting calls of the core on an event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final, TypeAlias, TypeVar
from weakref import WeakValueDictionary, ref

from . import _core

# A call of the core that may wait takes `then=(completions, token)` in place of blocking. It gives
# (outcome,) when the outcome is there already, else None; then the outcome is put into
# `completions` under the token later, by a thread of the core:
#
#     task:   wait -> core.call(then=(completions, token)) -> None -> a future for the token
#     core:   outcome into completions; call_soon_threadsafe, unless one is under way
#     loop:   _drain -> take all outcomes -> set their futures -> the tasks go on
#
# One wake-up of the loop takes all outcomes that have come until then, so a burst of responses
# costs one `call_soon_threadsafe`, which writes to a pipe, and not one for each. The core lets the
# next wake-up out when `take` has emptied the pile, so none is lost between the two.
#
# Nothing keeps the loop alive from outside: the core has the loop's bound method and a weak
# reference to the completer, and a completer belongs to one loop and goes with its last user.

__all__ = ["Completer", "Then"]

_GLANCE: Final = 0.1
"""Seconds between two checks whether the requests that items are awaited for were cancelled."""

T = TypeVar("T")
Then: TypeAlias = tuple[_core.Completions, int]
"""Where the core puts the outcome of a call, and under which token."""


class Completer:
    """Awaits calls of the core on one event loop; `Completer.here()` is for the running loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve a loop; private, use `here`."""
        self._loop = loop
        self._tokens = count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._wanted: dict[asyncio.Timeout, _core.Operation] = {}
        self._looking = False
        self._taken: deque[tuple[int, Any, BaseException | None]] = deque()
        # Weak: a waiting future holds the task that holds its association. The core would keep all
        # of that alive, and so itself.
        me = ref(self)
        self._completions = _core.Completions(loop.call_soon_threadsafe, lambda: _drain(me))

    @staticmethod
    def here() -> Completer:
        """Give the completer of the running loop; it lives while it is referenced.

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

        Cancelling the task ends the waiting, not the call: an invocation or a queue can be asked
        again, a message still leaves, an association that is being made is aborted. An outcome that
        comes in the moment of the cancellation is lost, as everywhere in asyncio.

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
                future.exception()  # looked at, so that asyncio does not log it as never retrieved
            raise
        finally:
            if self._waiting.pop(token, None) is not None:
                self._completions.cancel(token)
            del future  # frame and error would keep each other: see `dimse.run.emitted`

    def begin(self, call: Callable[[Then], object]) -> None:
        """Make a call of the core and drop its outcome."""
        call((self._completions, next(self._tokens)))

    async def unless_cancelled(
        self, given: Awaitable[T], operation: _core.Operation, instead: T
    ) -> T:
        """Await the user's next item until the peer sends C-CANCEL or the association ends.

        The item is then cancelled, at most `_GLANCE` later, and `instead` is given: an asynchronous
        generator cleans up at once, not when it is collected as garbage.
        """
        try:
            # `asyncio.timeout` tells its own cancellation from that of the task; `_look` sets it
            # off. One timer looks after all awaited items of the loop: a task and a future for
            # each would cost more than the items.
            async with asyncio.timeout(None) as timeout:
                self._wanted[timeout] = operation
                if not self._looking:
                    self._looking = True
                    self._loop.call_later(_GLANCE, self._look)
                try:
                    return await given
                finally:
                    self._wanted.pop(timeout, None)
        except TimeoutError:
            if timeout.expired():
                return instead
            raise  # the user's item raised it

    def _look(self) -> None:
        """Cancel the items whose requests were cancelled."""
        for timeout, operation in tuple(self._wanted.items()):
            if operation.cancelled:
                del self._wanted[timeout]
                timeout.reschedule(self._loop.time())
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
                    continue  # its task was cancelled
                if error is None:
                    future.set_result(value)
                else:
                    future.set_exception(error)
        finally:
            if self._taken:  # KeyboardInterrupt came in between: the rest is set later
                self._loop.call_soon(self._drain)


_completers: WeakValueDictionary[asyncio.AbstractEventLoop, Completer] = WeakValueDictionary()


def _drain(completer: ref[Completer]) -> None:
    alive = completer()
    if alive is not None:
        alive._drain()
