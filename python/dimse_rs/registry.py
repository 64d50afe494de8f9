"""Questions to the table of SOP Classes, and private classes for it (PS3.4, PS3.7 10.1).

Knows no UID itself: the table is `sop_class`, generated from the registry (PS3.6 A).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from .sop_class import MEMBERS, SOP_CLASSES
from .uids import is_uid

if TYPE_CHECKING:
    from .sop_class import SOPClass

__all__ = ["DIMSE_SERVICES", "allows", "classes_of", "register"]

# PS3.7 7.5; C-CANCEL is a message, not a service.
DIMSE_SERVICES: Final = (
    "C-ECHO",
    "C-STORE",
    "C-FIND",
    "C-GET",
    "C-MOVE",
    "N-EVENT-REPORT",
    "N-GET",
    "N-SET",
    "N-ACTION",
    "N-CREATE",
    "N-DELETE",
)

_lock: Final = threading.Lock()


def allows(context_class: str, command_class: str) -> bool:
    """Whether a DIMSE-N command may name a class on a context of another one, or of the same.

    They are the same, but for the contexts in `sop_class.MEMBERS`: on that of a print meta class a
    command names a member, on any of UPS the class Push. A DIMSE-C command names the context's.

    Args:
        context_class: the abstract syntax of the presentation context.
        command_class: the Affected or Requested SOP Class UID of the command.

    Source: PS3.7 10.1, PS3.4 H.3.2.2 and CC.3.1.1.
    """
    return command_class in MEMBERS.get(context_class, (context_class,))


def classes_of(service: str, *, retired: bool = False) -> tuple[SOPClass, ...]:
    """List the SOP Classes that have a DIMSE service; private ones come last.

    Args:
        service: a name of `DIMSE_SERVICES`, such as "C-FIND".
        retired: whether those that the standard has retired are listed too.

    Raises:
        ValueError: there is no such service.

    Source: PS3.4.
    """
    if service not in DIMSE_SERVICES:
        raise ValueError(f"{service!r} is no DIMSE service: {', '.join(DIMSE_SERVICES)}")
    with _lock:
        known = tuple(SOP_CLASSES.values())
    return tuple(uid for uid in known if service in uid.dimse and (retired or not uid.retired))


def register(sop_class: SOPClass) -> SOPClass:
    """Add a private SOP Class to the table: `SOPClass.of` and `classes_of` then know it.

    For the life of the process, from any thread. The lists made beforehand stay as they are:
    `ALL_STORAGE`, and what an `AE` or a service was given.

    Args:
        sop_class: its UID with keyword, name, service and DIMSE services.

    Returns:
        The class in the table: the one given, or an equal one that was added before.

    Raises:
        ValueError: not a UID, a name that is no DIMSE service, or the UID has another entry; the
            standard's are never replaced.
    """
    if not is_uid(sop_class):
        raise ValueError(f"{str(sop_class)!r} is not a UID (PS3.5 9.1)")
    if not set(sop_class.dimse) <= set(DIMSE_SERVICES):
        raise ValueError(f"{sop_class.dimse!r} has more than DIMSE services: {DIMSE_SERVICES}")
    with _lock:
        known = SOP_CLASSES.setdefault(str(sop_class), sop_class)
    if any(getattr(known, fact) != getattr(sop_class, fact) for fact in known.__slots__):
        raise ValueError(f"{known!r} is in the table already, with other facts")
    return known
