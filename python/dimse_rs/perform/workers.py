"""Threads for the user's functions: one more than are busy, up to a cap, and their deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Generic, TypeVar

from dimse_rs import log, threads
from dimse_rs.records import dataclass

# How many threads there are. One idle thread pulls; when it gets an operation and no other thread
# is idle, it starts the next one before it serves. So there is always a thread that waits for the
# queue, up to the cap. Further operations wait in the core, where the peer's C-CANCEL and the end
# of the association still reach them. An idle thread ends when another one is idle too.
#
# Deadlines. Python cannot stop a thread. An operation past its deadline is answered by the thread
# of `_watch`, and its own thread counts as lost until the handler returns. While all threads are
# lost, `_watch` pulls operations itself and refuses them: peers get an answer, not silence.

__all__ = ["Callbacks", "Workers"]

_logger = log.get(log.SERVER)

Work = TypeVar("Work")

TURN: Final = 0.5
"""Seconds after which an idle thread checks whether to end."""


@dataclass(frozen=True, slots=True)
class Callbacks(Generic[Work]):
    """The functions that the threads call and keep alive: use `threads.weakly` for methods.

    Attributes:
        serve: runs the handler and answers. An error that it raises ends no thread.
        overdue: answers for a handler that is past its deadline.
        refuse: answers an operation while every thread is past its deadline.
        over: asked by an idle thread; anything but False says that no operation will come.
        gone: called by the last thread when it ends.
    """

    serve: Callable[[Work], object]
    overdue: Callable[[Work], object] | None = None
    refuse: Callable[[Work], object] | None = None
    over: Callable[[], bool | None] | None = None
    gone: Callable[[], object] | None = None


class Workers(Generic[Work]):
    """Pulls operations and has them served.

    Args:
        pull: gives the next operation; None when none comes within so many seconds.
        most: how many are served at once.
        deadline: seconds that each may take; 0 is no deadline.
        callbacks: what is done with an operation.
        name: of the threads.
    """

    def __init__(
        self,
        pull: Callable[[float], Work | None],
        most: int,
        deadline: float,
        callbacks: Callbacks[Work],
        *,
        name: str = "dimse-worker",
    ) -> None:
        """Keep the settings; `start` starts the first thread."""
        self._pull = pull
        self._most = most
        self._deadline = deadline
        self._callbacks = callbacks
        self._name = name
        self._changed = threading.Condition()
        self._stopping = False
        self._threads = 0
        self._idle = 0
        self._named = 0
        # When each operation is due. All have the same time, so the earliest comes first.
        self._due: dict[Work, float] = {}
        self._lost: set[Work] = set()

    def start(self) -> None:
        """Start the first thread, and that of the deadlines.

        Raises:
            RuntimeError, MemoryError: the system has no thread left.
        """
        threads.stand_by()
        with self._changed:
            if not self._add():
                raise RuntimeError("can't start new thread")
        overdue, refuse = self._callbacks.overdue, self._callbacks.refuse
        if self._deadline and overdue and refuse:
            try:
                threads.start("dimse-deadline", self._watch, overdue, refuse)
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """End the idle threads now, and the busy ones when their operation is done."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    @property
    def busy(self) -> int:
        """How many operations are being served now."""
        return self._threads - self._idle

    def _add(self) -> bool:
        """Start a thread and count it; False when the system has none left."""
        if not threads.started(f"{self._name}-{self._named + 1}", self._work):
            return False
        self._threads += 1
        self._idle += 1
        self._named += 1
        return True

    def _has_spare(self) -> bool:
        """Have an idle thread, if the cap allows one more; False when none could be started."""
        with self._changed:
            wanted = self._idle == 0 and self._threads < self._most and not self._stopping
            return not wanted or self._add()

    def _work(self) -> None:
        while True:
            operation = self._pull(TURN)
            if operation is None and self._is_over():
                self.stop()
            with self._changed:
                if operation is None:
                    if self._stopping or self._idle > 1:
                        self._threads -= 1
                        self._idle -= 1
                        if self._threads == 0 and self._callbacks.gone is not None:
                            self._callbacks.gone()
                        return
                    continue
                self._begin(operation)
            try:
                self._callbacks.serve(operation)
            except BaseException:  # such as the error of a log handler
                with suppress(BaseException):
                    _logger.exception("a thread goes on after this", extra={"code": "worker"})
            finally:
                with self._changed:
                    self._end(operation)
            del operation  # this frame would keep its spooled file until the next operation

    def _is_over(self) -> bool:
        over = self._callbacks.over
        return over is not None and over() is not False

    def _begin(self, operation: Work) -> None:
        self._idle -= 1
        # Without a spare thread this operation is served nevertheless. Further ones wait in the
        # core until a thread can be started, which `keep_trying` sees to.
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
            # Outside the lock: both call into the core and may log.
            for operation in late:
                overdue(operation)
            if none_left and (waiting := self._pull(TURN)) is not None:
                refuse(waiting)
