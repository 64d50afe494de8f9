"""What the core tells: as events for users, and as records for the log. `_kinds` has each kind."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from dimse_rs import log

from ._kinds import KINDS

if TYPE_CHECKING:
    from dimse_rs import _core

__all__ = ["SOURCES", "events_of", "log_event", "wanted_by_logs"]


def _sources() -> Iterator[tuple[str, tuple[str, ...]]]:
    made = dict.fromkeys(name for kind in KINDS.values() for name in kind.makes)
    for name in made:
        of = (kind.follow for kind in KINDS.values() if name in kind.makes)
        yield name, tuple(followed for names in of for followed in names)
    audited = (kind.follow for kind in KINDS.values() if kind.audited)
    yield "audit", tuple(followed for names in audited for followed in names)


SOURCES: Final[Mapping[str, tuple[str, ...]]] = dict(_sources())
"""What the core is asked for, by the name of an event that users ask for."""


def events_of(told: _core.Told) -> Iterator[dict[str, Any]]:
    """Turn what the core tells into events."""
    return KINDS[told.kind](told).events()


def log_event(told: _core.Told) -> None:
    """Log what the core tells."""
    KINDS[told.kind](told).record()


# Below the level, and what is wanted for it.
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
    """Give what the core has to tell for the levels at which its loggers stand now."""
    table = (*_SERVING, *_DEBUGGING) if server else _DEBUGGING
    return [
        name
        for logger, level, names in table
        if logging.getLogger(logger).isEnabledFor(level)
        for name in names
    ]
