"""Daemon threads of the package, and a second chance for those that cannot be started now."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, ParamSpec, TypeVar
from weakref import WeakMethod

from . import log

__all__ = ["keep_trying", "stand_by", "start", "started", "weakly"]

# "can't start new thread" means that a limit of the system is reached or memory is short, most
# often for a while. A server that gave up then would stay deaf when the shortage is over. So a
# thread that cannot be started is logged once, and one thread, which was started in good time
# (`stand_by`), tries again until there are threads.

_logger = log.get(log.SERVER)

P = ParamSpec("P")
T = TypeVar("T")

AGAIN: Final = 0.1
"""Seconds between two attempts."""


def start(name: str, function: Callable[..., object], *args: object) -> threading.Thread:
    """Start a daemon thread.

    Raises:
        RuntimeError, MemoryError: the system has no thread left.
    """
    thread = threading.Thread(target=function, args=args, name=name, daemon=True)
    thread.start()
    return thread


def started(name: str, function: Callable[..., object], *args: object) -> bool:
    """Start a daemon thread; False when the system has none left, which is logged once."""
    try:
        start(name, function, *args)
    except (RuntimeError, MemoryError) as error:
        _trials.report(name, error)
        return False
    _trials.report(name, None)
    return True


def stand_by() -> None:
    """Start the thread that tries again, unless it runs.

    A server calls this when it starts and may fail; `keep_trying` cannot fail from then on.

    Raises:
        RuntimeError, MemoryError: the system has no thread left.
    """
    _trials.stand_by()


def keep_trying(attempt: Callable[[], bool]) -> None:
    """Call this now, and every tenth of a second until it gives True.

    Raises:
        RuntimeError, MemoryError: the first call gave False, and `stand_by` was not called.
    """
    if not attempt():
        _trials.put(attempt)


def weakly(method: Callable[P, T]) -> Callable[P, T | None]:
    """Give a function that calls a method while its object lives, and gives None afterwards.

    For threads, which would keep a server alive whose last reference is gone.
    """
    alive = WeakMethod(method)

    def call(*args: P.args, **kwargs: P.kwargs) -> T | None:
        bound: Callable[P, T] | None = alive()
        return None if bound is None else bound(*args, **kwargs)

    return call


class _Trials:
    """One thread that calls failed attempts again; it is started in good time, and stays."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._attempts: list[Callable[[], bool]] = []
        self._stands_by = False
        self._short = False

    def stand_by(self) -> None:
        """Start the thread, unless it runs.

        Raises:
            RuntimeError, MemoryError: the system has no thread left.
        """
        with self._changed:
            if not self._stands_by:
                start("dimse-threads", self._run)
                self._stands_by = True

    def put(self, attempt: Callable[[], bool]) -> None:
        self.stand_by()
        with self._changed:
            self._attempts.append(attempt)
            self._changed.notify()

    def report(self, name: str, error: BaseException | None) -> None:
        """Log the first failure of a shortage, and the end of the shortage."""
        with self._changed:
            if self._short == (error is not None):
                return
            self._short = error is not None
        with suppress(Exception):  # an error of a log handler
            if error is None:
                _logger.warning("threads can be started again", extra={"code": "threads"})
            else:
                what = "%s: no thread can be started: %s; trying again"
                _logger.error(what, name, error, extra={"code": "threads"})

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._attempts)
                attempts, self._attempts = self._attempts, []
            time.sleep(AGAIN)
            failed = [attempt for attempt in attempts if not self._succeeds(attempt)]
            with self._changed:
                self._attempts += failed
            del attempts, failed  # this frame would keep what they hold until the next shortage

    @staticmethod
    def _succeeds(attempt: Callable[[], bool]) -> bool:
        try:
            return attempt()
        except Exception:
            _logger.exception("an attempt failed", extra={"code": "threads"})
            return True


_trials = _Trials()


def _forget() -> None:
    """Begin anew in a forked child: threads do not survive a fork."""
    global _trials
    _trials = _Trials()


os.register_at_fork(after_in_child=_forget)
