"""Threads on which an event loop calls functions of the user that may wait."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from dimse_rs import threads

# Not `asyncio.to_thread`. Its pool has few threads, which the whole program shares, and
# `asyncio.run` and the interpreter wait for them at their end: one function that never returns
# would hold the other functions up, and the end of the process.
#
# Hand-over. `call` makes a future on the loop and puts a job into the queue; a thread runs the job
# and hands the outcome over by `call_soon_threadsafe`, which runs `settle` on the loop. The future
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
        # Idle threads, less the functions that wait for one: below zero, threads are missing. It
        # counts a thread as idle before it has taken its next function, so that a function finds
        # the thread which is about to be free, and no further thread is started for it.
        self._spare = 0
        self.busy = 0

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """Call a function on a thread; give its result, or raise its error.

        When the system has no thread left, the function waits until there is one.

        Raises:
            RuntimeError, MemoryError: there is none for the very first function of the process.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()

        def settle(outcome: Any, error: BaseException | None) -> None:
            if future.done():
                return  # the task that awaited it was cancelled
            if error is None:
                future.set_result(outcome)
            else:
                future.set_exception(error)

        def job() -> None:
            outcome: Any = None
            error: BaseException | None = None
            try:
                if not future.cancelled():  # while it waited for a thread
                    outcome = context.run(function, *args)
            except StopIteration as stop:  # no future takes one
                error = RuntimeError("the function raised StopIteration")
                error.__cause__ = stop
            except BaseException as failure:
                error = failure
            # Before the outcome is seen: the task may call its next function on this thread.
            with self._changed:
                self.busy -= 1
                self._spare += 1
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(settle, outcome, error)

        self._submit(job)
        return await future

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


SHARED: Final = Threads()
