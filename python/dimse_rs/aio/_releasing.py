"""`AsyncServer(on_release=)`: the function is called in a task for each release."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import ref

from dimse_rs.completer import Completer
from dimse_rs.perform.releasing import Releasing

from .threads import SHARED

if TYPE_CHECKING:
    from dimse_rs import _core

__all__ = ["AsyncReleasing"]


class AsyncReleasing(Releasing):
    """Calls the function for releases: an `async` one on the loop, any other on a thread."""

    _pulling: asyncio.Task[None] | None = None
    _tasks: set[asyncio.Task[None]]

    def start(self) -> None:
        """Start to call the function, on the running loop."""
        self._tasks = set()  # the loop itself holds tasks weakly
        self._free = asyncio.Semaphore(self._most)
        self._loop = asyncio.get_running_loop()
        self._pulling = self._loop.create_task(_pull(ref(self), self._service))

    def stop(self) -> None:
        """Call the function no more; releases that wait are answered. From any thread."""
        self._service.close_releases()
        if self._pulling is not None:
            with suppress(RuntimeError):  # the loop was closed, and its tasks with it
                self._loop.call_soon_threadsafe(self._pulling.cancel)

    def take(self, held: _core.HeldRelease) -> None:
        """Start the task of a release."""
        task = self._loop.create_task(self._serve_one(held))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_one(self, held: _core.HeldRelease) -> None:
        deadline: asyncio.Timeout | None = None
        try:
            async with asyncio.timeout(self._within or None) as deadline, self._free:
                if held.association.ended is None:
                    await self._call(held)
        except (asyncio.CancelledError, GeneratorExit):  # the loop ends
            raise
        except BaseException as error:
            if isinstance(error, TimeoutError) and deadline is not None and deadline.expired():
                self._overdue(held)
            else:
                self._failed(held, error)
        finally:
            held.let_go()

    async def _call(self, held: _core.HeldRelease) -> None:
        association = self._association_of(held.association)
        if inspect.iscoroutinefunction(self._function):
            await self._function(association)
            return
        answer = await SHARED.call(self._function, association)
        if inspect.isawaitable(answer):
            await answer


async def _pull(me: ref[AsyncReleasing], service: _core.Service) -> None:
    """Pull releases for their tasks; while waiting, keep the server they are for not alive."""
    completer = Completer.here()
    while True:
        held = await completer.wait(lambda then: service.next_release(None, then=then))
        releasing = me()
        if held is None or releasing is None:
            return  # the server stops; a release that is dropped is answered
        releasing.take(held)
        del held, releasing  # this frame would keep them until the next comes
