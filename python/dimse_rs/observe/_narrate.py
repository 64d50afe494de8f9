"""The log of an association that this side requested.

The core hands events to a follower, when a logger takes them. A thread logs them as they come, so
that the log shows at which step a silent peer is. Other lines, such as those of `log_message`, are
logged by the calls themselves, on other threads: each of them has the follower's earlier events
logged first (`catch_up`), so that the lines stand in the order of what happened.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from dimse_rs import _core, log, threads
from dimse_rs.errors import DimseError, LocalProtocolError
from dimse_rs.status import PENDING, PENDING_WARNING, Status

from ._translate import MOST, log_event, wanted_by_logs

if TYPE_CHECKING:
    from types import TracebackType

    from .events import Events

__all__ = ["Narrated", "catch_up", "log_answer", "log_message"]

_logger = log.get(log.DIMSE)

_narrators: Final[dict[int, _Narrator]] = {}
os.register_at_fork(after_in_child=_narrators.clear)  # a child has none of their threads


class _Narrator:
    """Logs the events of a follower in order, on the thread that asks for it first."""

    def __init__(self, follower: _core.Follower) -> None:
        self.association = 0
        self._follower = follower
        self._lock = threading.RLock()  # a log handler of the user's may use the association
        # Without a thread the events are logged when the next call catches up.
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
        """Log the events that have come."""
        # Under the lock to the last record: the thread and a call may both take events, and records
        # have to keep the order of the events.
        with self._lock:
            while batch := self._follower.take():
                for event in batch:
                    # The follower is older than the association, which has its number later.
                    if not self.association and event.association:
                        self.association = event.association
                        _narrators[event.association] = self
                    log_event(event)
            # Here too, not only in `_run`: the thread may never have started.
            if self._follower.over:
                _narrators.pop(self.association, None)


def catch_up(association: int) -> None:
    """Log the events of an association that have come, if it is logged at all."""
    if (narrator := _narrators.get(association)) is not None:
        narrator.catch_up()


class Narrated:
    """The followers of an association while it is being established: the user's, and the log.

    Attributes:
        events: the hub for the core; None when there is no follower yet.
    """

    def __init__(self, events: Events[Any] | None) -> None:
        """Take the user's `Events`, if any.

        Raises:
            ValueError: these events are of another association.
        """
        self.events = None if events is None else events._give()
        self._narrator: _Narrator | None = None

    def __enter__(self) -> Self:
        """Follow for the log, if a logger takes any of the events."""
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
        """Log the events so far, before `associate` returns or raises."""
        never_begun = isinstance(error, Exception) and (
            not isinstance(error, DimseError) or isinstance(error, LocalProtocolError)
        )
        if never_begun and self.events is not None:
            self.events.close()
        if self._narrator is not None:
            self._narrator.catch_up()


def log_message(core: _core.Association, arrow: str, message: _core.Message) -> None:
    """Log a message in one line, `>>` received and `<<` sent; a pending response below INFO."""
    level = _level_of(message.status)
    if not _logger.isEnabledFor(level):
        return
    titles = core.titles
    number = message.message_id or message.responding_to
    status = "" if message.status is None else f" {Status(message.status)}"
    what = f"{message.name} {number}{status}"
    about = log.of(core, "message")
    catch_up(core.id)
    called, calling = titles.called, titles.calling
    _logger.log(level, "%s<-%s(%d) %s %s", called, calling, core.id, arrow, what, extra=about)


def log_answer(operation: _core.Operation, status: int, after: int = 0) -> None:
    """Log a response of ours in one line, with the number of pending ones before it.

    Called after the response was sent, since it may come too late and then is not sent at all.
    """
    level = _level_of(status)
    if not _logger.isEnabledFor(level):
        return
    request = operation.message
    titles = operation.association.titles
    name = (request.name or "").replace("-RQ", "-RSP")
    what = f"{name} {request.message_id} {Status(status)}" + (f" after {after}" if after else "")
    core = operation.association
    about = log.of(core, "message")
    catch_up(core.id)
    called, calling = titles.called, titles.calling
    _logger.log(level, "%s<-%s(%d) << %s", called, calling, core.id, what, extra=about)


def _level_of(status: int | None) -> int:
    """Give the level of a message: there may be thousands of pending responses, so below INFO."""
    return logging.DEBUG if status in (PENDING, PENDING_WARNING) else logging.INFO
