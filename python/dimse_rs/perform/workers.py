"""Threads that run the user's functions: one more than are busy, up to a cap; and their deadline.

No thread can be made to stop. One whose handler is past the deadline has its request answered for
it and counts as lost until it comes back; while all are lost, requests are refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Generic, TypeVar

from dimse_rs import log, threads

__all__ = ["Workers"]

_logger = log.get(log.SERVER)

Work = TypeVar("Work")

TURN: Final = 0.5
"""Seconds after which an idle thread sees whether it is still needed."""


class Workers(Generic[Work]):
    """Pulls operations, or what else there is to do, and has them served.

    Its threads keep what they call alive: give `weakly` what is not to be.

    Args:
        pull: gives the next one, or None when there is none within so many seconds.
        most: how many are served at once.
        deadline: seconds that each may take; 0 is no deadline.
        serve: runs the handler and answers. What it raises all the same ends no thread.
        overdue: answers for a handler that is past its deadline, if there is one.
        refuse: answers when there is no thread left, likewise.
        over: tells an idle thread that nothing more will come, by anything but False.
        gone: called by the last thread when it goes.
        name: of the threads.
    """

    def __init__(
        self,
        pull: Callable[[float], Work | None],
        most: int,
        deadline: float,
        *,
        serve: Callable[[Work], object],
        overdue: Callable[[Work], object] | None = None,
        refuse: Callable[[Work], object] | None = None,
        over: Callable[[], bool | None] | None = None,
        gone: Callable[[], object] | None = None,
        name: str = "dimse-worker",
    ) -> None:
        """Keep the settings; `start` starts the first thread."""
        self._pull = pull
        self._most = most
        self._deadline = deadline
        self._serve = serve
        self._overdue = overdue
        self._refuse = refuse
        self._over = over
        self._gone = gone
        self._name = name
        self._changed = threading.Condition()
        self._stopping = False
        self._threads = 0
        self._idle = 0
        self._named = 0
        # When each is due, the earliest first: all have the same time.
        self._due: dict[Work, float] = {}
        self._lost: set[Work] = set()

    def start(self) -> None:
        """Start to serve.

        Raises:
            RuntimeError, MemoryError: there are no threads to be had now.
        """
        threads.stand_by()
        with self._changed:
            if not self._add():
                raise RuntimeError("can't start new thread")
        if self._deadline and self._overdue and self._refuse:
            try:
                threads.start("dimse-deadline", self._watch, self._overdue, self._refuse)
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """Let the idle threads go; those that are busy go when they are done."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    @property
    def busy(self) -> int:
        """How many are being served now."""
        return self._threads - self._idle

    def _add(self) -> bool:
        """Start a thread, and count it when it is there; False when there is none to be had."""
        if not threads.started(f"{self._name}-{self._named + 1}", self._work):
            return False
        self._threads += 1
        self._idle += 1
        self._named += 1
        return True

    def _has_spare(self) -> bool:
        """Have a thread wait for the next operation, if there may be one; False if that failed."""
        with self._changed:
            wanted = self._idle == 0 and self._threads < self._most and not self._stopping
            return not wanted or self._add()

    def _work(self) -> None:
        while True:
            operation = self._pull(TURN)
            if operation is None and self._over is not None and self._over() is not False:
                self.stop()
            with self._changed:
                if operation is None:
                    if self._stopping or self._idle > 1:
                        self._threads -= 1
                        self._idle -= 1
                        if self._threads == 0 and self._gone is not None:
                            self._gone()
                        return
                    continue
                self._begin(operation)
            try:
                self._serve(operation)
            except BaseException:  # perhaps of a log handler of the user's
                with suppress(BaseException):
                    _logger.exception("a thread goes on after this", extra={"code": "worker"})
            finally:
                with self._changed:
                    self._end(operation)
            del operation  # or it would keep its spooled file until the next one comes

    def _begin(self, operation: Work) -> None:
        self._idle -= 1
        # Without one, whoever is served is served; the others wait until a thread can be started.
        threads.keep_trying(self._has_spare)
        if self._deadline:
            self._due[operation] = time.monotonic() + self._deadline
            self._changed.notify_all()

    def _end(self, operation: Work) -> None:
        self._idle += 1
        self._due.pop(operation, None)
        self._lost.discard(operation)

    def _watch(self, overdue: Callable[[Work], object], refuse: Callable[[Work], object]) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                now = time.monotonic()
                late = [operation for operation, due in self._due.items() if due <= now]
                for operation in late:
                    del self._due[operation]
                    self._lost.add(operation)
                none_left = len(self._lost) >= self._most
                if not late and not none_left:
                    first = next(iter(self._due.values()), None)
                    self._changed.wait(None if first is None else first - now)
            for operation in late:
                overdue(operation)
            if none_left and (waiting := self._pull(TURN)) is not None:
                refuse(waiting)
