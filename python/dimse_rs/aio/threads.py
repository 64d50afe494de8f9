"""Threads on which an event loop calls functions of the user that may wait."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from dimse_rs import threads

# Not `asyncio.to_thread`. Its pool has few threads, which the whole program shares, and
# `asyncio.run` and the interpreter wait for them at their end: one function that never returns
# would hold the other functions up, and the end of the process.
#
# Hand-over. `call` makes a future on the loop and puts a job into the queue; a thread runs the job
# and hands the outcome over by `call_soon_threadsafe`, which runs `_settle` on the loop. The future
# belongs to the loop: no thread touches it, except to ask whether it was cancelled. A cancelled
# task gives up waiting, but a function that has begun runs to its end, and its outcome is dropped.

__all__ = ["SHARED", "Threads"]

T = TypeVar("T")

TURN: Final = 1.0
"""Seconds that an idle thread waits for the next function."""


class Threads:
    """Daemon threads that start when functions come, and end when they are idle.

    Attributes:
        busy: functions that run or wait for a thread.
    """

    def __init__(self, most: int | None = None) -> None:
        """Start nothing yet.

        Args:
            most: threads at once; further functions wait their turn. Default as many as there are
                functions.
        """
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._changed = threading.Lock()
        self._most = most
        self._threads = 0
        # Idle threads less waiting functions: below zero, threads are missing. A thread counts as
        # idle before it has taken its next function, so that no further thread is started for a
        # function that finds one about to be free.
        self._spare = 0
        self.busy: int = 0

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """Call a function on a thread; give its result, or raise its error.

        When the system has no thread left, the function waits until there is one.

        Raises:
            RuntimeError, MemoryError: there is none for the very first function of the process.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        context = contextvars.copy_context()
        self._submit(partial(self._carry_out, future, partial(context.run, function, *args)))
        try:
            return await future
        finally:
            del future  # frame and error would keep each other: see `dimse.run.emitted`

    def _carry_out(self, future: asyncio.Future[T], function: Callable[[], T]) -> None:
        """Call a function, on a thread, and hand the outcome over to the loop of its future."""
        outcome: T | None = None
        error: BaseException | None = None
        try:
            if not future.cancelled():  # while the function waited for a thread
                outcome = function()
        except StopIteration as stop:  # a future takes no StopIteration
            error = RuntimeError("the function raised StopIteration")
            error.__cause__ = stop
        except BaseException as failure:
            error = failure
        # Before the outcome is seen: the task may call its next function on this thread.
        with self._changed:
            self.busy -= 1
            self._spare += 1
        with suppress(RuntimeError):  # the loop was closed meanwhile
            future.get_loop().call_soon_threadsafe(_settle, future, outcome, error)
        del future, outcome, error  # as in `call`

    def _submit(self, job: Callable[[], None]) -> None:
        threads.stand_by()
        with self._changed:
            self.busy += 1
            self._spare -= 1
            self._jobs.put(job)
        threads.keep_trying(self._has_enough)

    def _has_enough(self) -> bool:
        """Start the threads that are missing; False when the system has none left."""
        with self._changed:
            while self._spare < 0 and (self._most is None or self._threads < self._most):
                if not threads.started("dimse-aio", self._work):
                    return False
                self._threads += 1
                self._spare += 1
            return True

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=TURN)
            except Empty:
                with self._changed:
                    try:
                        # `_submit` counts on this thread until `_spare` says otherwise: a job may
                        # have come since the time-out.
                        job = self._jobs.get_nowait()
                    except Empty:
                        self._threads -= 1
                        self._spare -= 1
                        return
            job()
            del job  # this frame would keep what it holds until the next job


def _settle(future: asyncio.Future[Any], outcome: Any, error: BaseException | None) -> None:
    if future.done():
        return  # the task that awaited it was cancelled
    if error is None:
        future.set_result(outcome)
    else:
        future.set_exception(error)


SHARED: Final = Threads()
