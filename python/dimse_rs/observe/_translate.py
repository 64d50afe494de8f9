"""From events of the core to events for programs, and to records of the log, by their kind.

`_kinds` has the events and the record of each kind. This file has the reverse: the kinds of the
core to be followed for an event of some name, and for the loggers at their present levels. The core
makes only events that a follower asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from dimse_rs import log

from ._kinds import KINDS

if TYPE_CHECKING:
    from dimse_rs import _core

__all__ = ["MOST", "SOURCES", "events_of", "log_event", "wanted_by_logs"]

MOST: Final = 100_000
"""Events that wait for a follower at most; beyond it the newest are lost, and counted."""


def _sources() -> Iterator[tuple[str, tuple[str, ...]]]:
    made = dict.fromkeys(name for kind in KINDS.values() for name in kind.makes)
    for name in made:
        of = (kind.follow for kind in KINDS.values() if name in kind.makes)
        yield name, tuple(followed for names in of for followed in names)
    audited = (kind.follow for kind in KINDS.values() if kind.audited)
    yield "audit", tuple(followed for names in audited for followed in names)


SOURCES: Final[Mapping[str, tuple[str, ...]]] = dict(_sources())
"""The kinds of the core to be followed, by the name of an event for programs."""


def events_of(event: _core.EventFacts) -> Iterator[dict[str, Any]]:
    """Make the events for programs of an event of the core."""
    return KINDS[event.kind](event).events()


def log_event(event: _core.EventFacts) -> None:
    """Log an event of the core."""
    KINDS[event.kind](event).record()


# Logger, level, and the kinds of the core that the logger takes at that level. A P-DATA-TF and its
# steps are kinds of their own: they are made only for TRACE, since a study has thousands.
_DEBUGGING: Final = (
    (log.PDU, logging.DEBUG, ("pdu",)),
    (log.PDU, log.TRACE, ("data-pdu",)),
    (log.UL, logging.DEBUG, ("state",)),
    (log.UL, log.TRACE, ("data-state",)),
    (log.DIMSE, logging.DEBUG, ("message",)),
)
_SERVING: Final = (
    (log.SERVER, logging.WARNING, ("problem",)),
    (log.SERVER, logging.INFO, ("associated", "stored", "ended")),
    (log.SERVER, logging.DEBUG, ("connected", "suboperation")),
)


def wanted_by_logs(*, server: bool = False) -> list[str]:
    """List the kinds of the core that the loggers take at their present levels."""
    table = (*_SERVING, *_DEBUGGING) if server else _DEBUGGING
    return [
        name
        for logger, level, names in table
        if logging.getLogger(logger).isEnabledFor(level)
        for name in names
    ]
