"""What the core tells of an association of ours, in the log: only while its loggers want that.

A thread logs what comes, so that a peer that is silent is seen to be. Whoever logs a line of its
own on the association has what came before logged first: `catch_up`.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from dimse_rs import _core, threads
from dimse_rs.errors import DimseError, LocalProtocolError

from ._translate import log_event, wanted_by_logs
from .events import MOST, Events

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Narrated", "catch_up"]

_narrators: Final[dict[int, _Narrator]] = {}
os.register_at_fork(after_in_child=_narrators.clear)  # their threads did not come along


class _Narrator:
    """Logs what a follower gets, in order, on whatever thread."""

    def __init__(self, follower: _core.Follower) -> None:
        self.association = 0
        self._follower = follower
        self._lock = threading.RLock()  # a log handler of the user's may call the association
        # Without one it is told when a call of the user's catches up.
        with suppress(RuntimeError, MemoryError):
            threads.keep_trying(lambda: threads.started("dimse-log", self._run))

    def _run(self) -> None:
        try:
            while not self._follower.over:
                self._follower.ready()
                self.catch_up()
        finally:
            _narrators.pop(self.association, None)

    def catch_up(self) -> None:
        """Log what came."""
        with self._lock:
            while batch := self._follower.take():
                for association, kind, facts in batch:
                    if not self.association and association:
                        self.association = association
                        _narrators[association] = self
                    log_event(association, kind, facts)
            if self._follower.over:
                _narrators.pop(self.association, None)


def catch_up(association: int) -> None:
    """Log what came on an association, if that is logged at all."""
    if (narrator := _narrators.get(association)) is not None:
        narrator.catch_up()


class Narrated:
    """An association being made: where its events go, and its story in the log.

    Attributes:
        events: for the core; None when nobody follows, yet.
    """

    def __init__(self, events: Events | None) -> None:
        """Follow it for the log, if the loggers want that.

        Raises:
            ValueError: these events are of another association.
        """
        self.events = None if events is None else events._give()
        self._narrator: _Narrator | None = None

    def __enter__(self) -> Self:
        """Begin to log."""
        if names := wanted_by_logs():
            self.events = self.events or _core.Events()
            self._narrator = _Narrator(self.events.follow(names, MOST))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Log what came of it so far, before anybody says that it is made, or failed."""
        never_begun = isinstance(error, Exception) and (
            not isinstance(error, DimseError) or isinstance(error, LocalProtocolError)
        )
        if never_begun and self.events is not None:
            self.events.close()
        if self._narrator is not None:
            self._narrator.catch_up()
