"""The presentation contexts that a server accepts because of its services and handlers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from dimse_rs import _core
from dimse_rs.contexts import any_storage
from dimse_rs.fields import C_GET_RQ, C_STORE_RQ, N_EVENT_REPORT_RQ, SERVICE_OF
from dimse_rs.handlers import Handlers
from dimse_rs.registry import classes_of
from dimse_rs.sop_class import (
    ALL_STORAGE,
    MEMBERS,
    SOP_CLASSES,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    Verification,
)
from dimse_rs.storage import Storage

__all__ = ["implied_contexts", "policy_for_unknown"]

# Commands and queries carry no pixel data for which a compressed syntax would pay.
_UNCOMPRESSED: Final = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)


def implied_contexts(handlers: Handlers, storage: Storage | None) -> list[_core.SupportedContext]:
    """List the contexts to accept.

    Storage takes any transfer syntax in the sender's order: an opaque store must not turn senders
    of compressed instances into senders of raw ones. For the other classes our order decides
    (E-36).
    """
    classes: dict[str, None] = {str(Verification): None}
    # A C-GET SCP is the user of storage: requestors may take the other role (PS3.4 C.5.3.1).
    reversed_: set[str] = set()
    if C_GET_RQ in handlers.fields():
        reversed_.update(_plain(ALL_STORAGE))
        classes.update(dict.fromkeys(_plain(ALL_STORAGE)))
    if storage is not None:
        classes.update(dict.fromkeys(_plain(storage.sop_classes)))
    for field in handlers.fields():
        of_handlers = handlers.classes(field)
        if of_handlers is None:
            of_handlers = [*classes_of(SERVICE_OF[field]), *handlers.named(field)]
        classes.update(dict.fromkeys(_plain(of_handlers)))
        classes.update(dict.fromkeys(_print_meta(of_handlers)))
        # The provider of a service may associate to report an event (PS3.4 J.3.3).
        if field == N_EVENT_REPORT_RQ:
            reversed_.update(_plain(of_handlers))
    return [
        _core.SupportedContext(uid, scp=uid in reversed_)
        if any_storage(uid)
        else _core.SupportedContext(
            uid, _plain(_UNCOMPRESSED), own_order=True, scp=uid in reversed_
        )
        for uid in classes
    ]


def policy_for_unknown(handlers: Handlers, storage: Storage | None, *, any_: bool) -> str | None:
    """Say which storage classes are accepted that are not supported by name (PS3.4 B.4.1.2).

    Args:
        handlers: those of the server.
        storage: takes what it says itself.
        any_: whether handlers of C-STORE take classes that no peer announces.
    """
    if storage is not None:
        return storage.unknown_policy
    every = C_STORE_RQ in handlers.fields() and handlers.classes(C_STORE_RQ) is None
    return ("any" if any_ else "announced") if every else None


def _print_meta(classes: Iterable[str]) -> list[str]:
    """List the print meta classes with one of these as a member: peers propose them (PS3.4 H.3)."""
    served = set(classes)
    return [
        str(meta)
        for meta, members in MEMBERS.items()
        if SOP_CLASSES[meta].service == "print" and served.intersection(members)
    ]


def _plain(uids: Iterable[str]) -> list[str]:
    return [str(uid) for uid in uids]
