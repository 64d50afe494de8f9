"""An event loop on a thread of its own, for work that goes on after a request was answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any, Final, TypeAlias

from dimse_rs import log, threads

__all__ = ["Background"]

_logger = log.get(log.SERVER)

TURN: Final = 1.0
"""Seconds that the thread waits for the next task when there is none."""

Task: TypeAlias = Callable[[], Coroutine[Any, Any, object]]


class Background:
    """Runs coroutines on one event loop, on a daemon thread.

    A task that waits for a peer costs neither a thread nor the turn of another task. The thread
    starts with the first task and ends when there has been none for a second; the next task starts
    it again, on a new loop: what a task keeps beyond its own end must not belong to a loop. Tasks
    that run when the process ends are lost.
    """

    def __init__(self, name: str) -> None:
        """Start nothing yet.

        Args:
            name: of the thread, and in the log.
        """
        self._name = name
        # Held for moments only, and never while a task runs: any thread may come with a task.
        self._lock = Lock()
        self._new: list[Task] = []
        self._wake: Callable[[], object] | None = None
        self._runs = False

    def start(self, function: Callable[..., Coroutine[Any, Any, object]], *args: Any) -> None:
        """Have a coroutine function run as a task; returns at once. From any thread.

        What the task raises is logged. Where the process can start no thread at the moment, the
        task waits until one starts.

        Args:
            function: called on the loop.
            args: what the function is called with.

        Raises:
            RuntimeError, MemoryError: the process could not start any thread of this package yet.
        """
        with self._lock:
            self._new.append(partial(function, *args))
            if self._wake is not None:
                with suppress(RuntimeError):  # the loop ended by a fault: another one follows
                    self._wake()
        threads.keep_trying(self._has_thread)

    def _has_thread(self) -> bool:
        """See that a thread runs when there are tasks; False when none can be started now."""
        with self._lock:
            if self._new and not self._runs:
                self._runs = threads.started(self._name, self._run)
            return self._runs or not self._new

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException:
            _logger.exception("%s: tasks are lost", self._name, extra={"code": "background"})
        finally:
            with self._lock:
                self._runs, self._wake = False, None
            threads.keep_trying(self._has_thread)

    async def _serve(self) -> None:
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        running: set[asyncio.Task[None]] = set()  # the loop itself holds tasks weakly
        with self._lock:
            self._wake = lambda: loop.call_soon_threadsafe(arrived.set)
        while True:
            # Cleared before the list is taken: a task that comes in between wakes the loop again.
            arrived.clear()
            with self._lock:
                taken, self._new = self._new, []
            for function in taken:
                task = loop.create_task(self._carry_out(function))
                running.add(task)
                task.add_done_callback(running.discard)
            del taken
            try:
                async with asyncio.timeout(TURN):
                    await arrived.wait()
            except TimeoutError:
                with self._lock:
                    # Under the lock, so that `start` sees either a thread that takes its task, or
                    # none and no way to wake one.
                    if not running and not self._new:
                        self._wake = None
                        return

    async def _carry_out(self, function: Task) -> None:
        try:
            await function()
        except Exception:
            _logger.exception("%s: a task failed", self._name, extra={"code": "background"})
