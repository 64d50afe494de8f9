"""Answering a peer's requests on an event loop, each in a task of its own."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from weakref import ref

from dimse_rs import threads
from dimse_rs.completer import Completer
from dimse_rs.dimse import scp
from dimse_rs.encoding.quiet import hush
from dimse_rs.observe._narrate import log_message
from dimse_rs.perform.performer import Performer

from ._run import run
from .threads import Threads

if TYPE_CHECKING:
    from dimse_rs import _core

# The life of a request on an event loop, where `Performer` has threads:
#
#     _pull: a free place (semaphore), then next_operation -> _take: a task
#       -> _serve_one: log, then `run` the generator; the deadline is `asyncio.timeout`
#       -> _conclude, by _serve_one or, when the task was cancelled before it began, by _served
#
# A coroutine can be cancelled, so a handler past its deadline is. A plain function on a thread
# cannot: it keeps its thread, `Threads.busy` stays up, and when as many are lost as may run at
# once, requests are refused.
#
# `stop` may come from any thread, and `_conclude` runs when a loop is torn down: nothing there may
# need a running loop.

__all__ = ["AsyncPerformer"]

_TURN = 1.0
"""Seconds after which the task of an association checks whether the association has ended."""


class AsyncPerformer(Performer):
    """Pulls requests from the core and has handlers answer them, each in a task."""

    _pulling: asyncio.Task[None] | None = None
    _tasks: set[asyncio.Task[None]]

    def start(self) -> None:
        """Start to pull, on the running loop.

        Raises:
            RuntimeError, MemoryError: the system has no thread left.
        """
        if self._routes.queue:
            threads.stand_by()
            self._tasks = set()
            self._threads = Threads()
            self._loop = asyncio.get_running_loop()
            self._pulling = self._loop.create_task(_pull(ref(self), self.service))

    def stop(self) -> None:
        """Stop pulling; requests that are being served go on. From any thread."""
        if self._pulling is not None:
            with suppress(RuntimeError):  # the loop was closed, and its tasks with it
                self._loop.call_soon_threadsafe(self._pulling.cancel)

    @property
    def busy(self) -> int:
        """How many handlers run now."""
        return 0 if self._pulling is None else len(self._tasks)

    def _take(
        self, operation: _core.Operation | None, completer: Completer, free: asyncio.Semaphore
    ) -> bool:
        """Start the task of an operation; False when no operation will come any more."""
        if operation is None:
            free.release()
            if is_over := self._is_over():
                self._gone()
            return not is_over
        task = asyncio.get_running_loop().create_task(self._serve_one(operation, completer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(partial(self._served, operation))
        task.add_done_callback(lambda _: free.release())
        return True

    def _served(self, operation: _core.Operation, task: asyncio.Task[None]) -> None:
        """Make sure that an operation is over, also when its task was cancelled before it began."""
        error = None if task.cancelled() else task.exception()
        self._conclude(operation, error)

    async def _serve_one(self, operation: _core.Operation, completer: Completer) -> None:
        hush()  # sets a context variable: tasks have a context each, and threads copy that
        error: BaseException | None = None
        deadline: asyncio.Timeout | None = None
        try:
            log_message(operation.association, ">>", operation.message)
            # This request has a place, so fewer than `most` others are being served. With as many
            # threads busy, some are held by handlers whose requests were answered long ago.
            if self._threads.busy >= self._most:
                self._refuse(operation)
                return
            async with asyncio.timeout(self._timeouts.handler or None) as deadline:
                await run(operation.association, self.steps(operation), completer, self._threads)
        except (asyncio.CancelledError, GeneratorExit):  # GeneratorExit: the loop was closed
            self._answer_for(operation, scp.failure_of(operation.message.field), "stopped", "")
            raise
        except BaseException as raised:
            if isinstance(raised, TimeoutError) and deadline is not None and deadline.expired():
                self._answer_overdue(operation)
            else:
                error = raised
        self._conclude(operation, error)

    def _abort(self, association: _core.Association) -> None:
        try:
            completer = Completer.here()
        except RuntimeError:  # the loop was closed
            super()._abort(association)
        else:
            completer.begin(lambda then: association.abort(then=then))


async def _pull(me: ref[AsyncPerformer], service: _core.Service) -> None:
    """Pull operations for a performer; while waiting, keep neither of them alive."""
    completer = Completer.here()
    performer = me()
    if performer is None:
        return
    free = asyncio.Semaphore(performer._most)
    turn = None if performer._node is not None else _TURN
    take = threads.weakly(performer._take)
    del performer
    await free.acquire()
    while take(
        await completer.wait(lambda then: service.next_operation(turn, then=then)), completer, free
    ):
        await free.acquire()
