"""Jobs that are done later, and again until they succeed; no protocol."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Final, TypeAlias

from . import log

__all__ = ["Later"]

_logger = log.get(log.SERVER)

THREADS: Final = 4
"""Jobs that run at once: one that waits for a dead peer does not hold up the others."""

Job: TypeAlias = Callable[[], float | None]
"""Gives the seconds after which it wants to be called again; None when it is done."""


class Later:
    """A few daemon threads that do jobs when they are due, and go when there are none left."""

    def __init__(self, name: str) -> None:
        """Start nothing yet."""
        self._name = name
        self._jobs: list[tuple[float, int, Job]] = []
        self._numbers = itertools.count()
        self._threads = 0
        self._changed = threading.Condition()

    def put(self, job: Job, delay: float = 0.0) -> None:
        """Have a job done after so many seconds; returns at once."""
        with self._changed:
            heapq.heappush(self._jobs, (time.monotonic() + delay, next(self._numbers), job))
            if self._threads < THREADS:
                self._threads += 1
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
            self._changed.notify_all()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                again = job()
            except Exception:
                _logger.exception("%s: a job failed", self._name)
                continue
            if again is not None:
                self.put(job, again)

    def _next(self) -> Job | None:
        """Wait for the first job that is due; None when there is none left."""
        with self._changed:
            while self._jobs:
                wait = self._jobs[0][0] - time.monotonic()
                if wait <= 0:
                    return heapq.heappop(self._jobs)[2]
                self._changed.wait(wait)
            self._threads -= 1
            return None
