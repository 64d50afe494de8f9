"""Daemon threads of ours, and what becomes of one that cannot be started at the moment.

"can't start new thread" is a limit that is reached, or memory that is short, for a while: whoever
needed the thread tells it once, and tries again until there is one.
"""

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

_logger = log.get(log.SERVER)

P = ParamSpec("P")
T = TypeVar("T")

AGAIN: Final = 0.1
"""Seconds between two attempts."""


def start(name: str, function: Callable[..., object], *args: object) -> threading.Thread:
    """Start a daemon thread.

    Raises:
        RuntimeError, MemoryError: there is none to be had now.
    """
    thread = threading.Thread(target=function, args=args, name=name, daemon=True)
    thread.start()
    return thread


def started(name: str, function: Callable[..., object], *args: object) -> bool:
    """Start a daemon thread; False when there is none to be had now, which is logged once."""
    try:
        start(name, function, *args)
    except (RuntimeError, MemoryError) as error:
        _trials.tell(name, error)
        return False
    _trials.tell(name, None)
    return True


def stand_by() -> None:
    """Be able to `keep_trying`: for what starts, and cannot fail later.

    Raises:
        RuntimeError, MemoryError: there is no thread to be had now.
    """
    _trials.stand_by()


def keep_trying(attempt: Callable[[], bool]) -> None:
    """Call this now, and every tenth of a second until it gives True.

    Raises:
        RuntimeError, MemoryError: once was not enough, and nothing stands by.
    """
    if not attempt():
        _trials.put(attempt)


def weakly(method: Callable[P, T]) -> Callable[P, T | None]:
    """Call a method while its object lives: a thread of ours must not keep a server alive."""
    alive = WeakMethod(method)

    def call(*args: P.args, **kwargs: P.kwargs) -> T | None:
        bound: Callable[P, T] | None = alive()
        return None if bound is None else bound(*args, **kwargs)

    return call


class _Trials:
    """One thread that tries again; it is started before anything depends on it, and stays."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._attempts: list[Callable[[], bool]] = []
        self._stands_by = False
        self._short = False

    def stand_by(self) -> None:
        """Start the thread, unless it was.

        Raises:
            RuntimeError, MemoryError: there is none to be had now.
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

    def tell(self, name: str, error: BaseException | None) -> None:
        """Log the first failure of some, and that it is over."""
        with self._changed:
            if self._short == (error is not None):
                return
            self._short = error is not None
        with suppress(Exception):  # of a log handler of the user's
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
            del attempts, failed  # or what they hold would be kept until the next shortage

    @staticmethod
    def _succeeds(attempt: Callable[[], bool]) -> bool:
        try:
            return attempt()
        except Exception:
            _logger.exception("an attempt failed", extra={"code": "threads"})
            return True


_trials = _Trials()


def _forget() -> None:
    """Begin anew: the threads of a parent do not come along into a forked child."""
    global _trials
    _trials = _Trials()


os.register_at_fork(after_in_child=_forget)
