"""Look-ups in the table of SOP Classes, and private classes in it (PS3.4, PS3.7 10.1).

The table is `sop_class`, generated from the registry (PS3.6 A); no UID is written here.
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

# `classes_of` iterates over a table to which another thread may add.
_lock: Final = threading.Lock()


def allows(context_class: str, command_class: str) -> bool:
    """Whether a DIMSE-N command may name a class on a context of another one, or of the same.

    The two classes are the same, but for the contexts in `sop_class.MEMBERS`: on a context of a
    print meta class a command names a member, on a context of any UPS class the class UPS Push. A
    DIMSE-C command always names the class of its context.

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
        retired: list the classes too that the standard has retired.

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

    The entry stays for the life of the process, and any thread may add one. Lists that were made
    before do not change: `ALL_STORAGE`, and those in an `AE` or a service.

    Args:
        sop_class: its UID with keyword, name, service and DIMSE services.

    Returns:
        The class in the table: the one given, or an equal one that was added before.

    Raises:
        ValueError: not a UID, a name that is no DIMSE service, or the UID has another entry, which
            is never replaced.
    """
    if not is_uid(sop_class):
        raise ValueError(f"{str(sop_class)!r} is not a UID (PS3.5 9.1)")
    if not set(sop_class.dimse) <= set(DIMSE_SERVICES):
        raise ValueError(f"{sop_class.dimse!r} has more than DIMSE services: {DIMSE_SERVICES}")
    # Of two threads with the same UID the first adds the class; the second one gets it to compare.
    with _lock:
        known = SOP_CLASSES.setdefault(str(sop_class), sop_class)
    if any(getattr(known, fact) != getattr(sop_class, fact) for fact in known.__slots__):
        raise ValueError(f"{known!r} is in the table already, with other facts")
    return known
