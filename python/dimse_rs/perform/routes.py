"""Which requests the core answers by itself, and which it queues for handlers."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from dimse_rs import _core
from dimse_rs.fields import C_STORE_RQ, FIRST_N_SERVICE
from dimse_rs.records import dataclass
from dimse_rs.sop_class import SOP_CLASSES

if TYPE_CHECKING:
    from dimse_rs.handlers import Handlers
    from dimse_rs.storage import Storage

__all__ = ["Routes", "Spool", "routes_of"]


@dataclass(frozen=True, slots=True)
class Routes:
    """The ways that requests of a peer take.

    Attributes:
        service: of the core, which routes them.
        queue: whether any goes to handlers; else no thread has to wait for them.
        spool: where large instances wait for a handler.
        lenient_roles: whether a C-GET takes instances without the SCP role too.
    """

    service: _core.Service
    queue: bool
    spool: Spool | None
    lenient_roles: bool


class Spool:
    """A temporary folder for large instances, removed with this object at the latest."""

    def __init__(self) -> None:
        """Make the folder."""
        from tempfile import mkdtemp

        path = mkdtemp(prefix="dimse-rs-")
        self._path = path
        self.folder: _core.Folder = _core.Folder(path, "temporary")
        self._remove = weakref.finalize(self, _remove, path, os.getpid())

    def remove(self) -> None:
        """Remove the folder and all files in it."""
        self._remove()

    def remove_if_empty(self) -> None:
        """Remove the folder, unless requests that are still referenced have files in it."""
        with suppress(OSError):
            os.rmdir(self._path)


def routes_of(
    handlers: Handlers,
    *,
    storage: Storage | None = None,
    queued: Iterable[int] = (),
    events: _core.Events | None = None,
    lenient_roles: bool = False,
    hold_releases: bool = False,
) -> Routes:
    """Make the routes for handlers, and the temporary folder if instances may come to them.

    Args:
        handlers: the user's functions.
        storage: a folder for the instances that no handler is for.
        queued: Command Fields that are queued without a handler too.
        events: receives the events of the associations.
        lenient_roles: take the instances of a C-GET without the SCP role too.
        hold_releases: have the answers to releases wait for a function of the user.
    """
    fields = dict.fromkeys((*handlers.fields(), *queued))
    spool = Spool() if C_STORE_RQ in fields else None
    service = _core.Service(
        sink=_sink(storage),
        handled={field: _classes(handlers, field, every=field in queued) for field in fields},
        spool=None if spool is None else spool.folder,
        events=events,
        lenient_roles=lenient_roles,
        hold_releases=hold_releases,
    )
    return Routes(service, bool(fields), spool, lenient_roles)


def _sink(storage: Storage | None) -> _core.Sink | None:
    if storage is None:
        return None
    # Whatever was negotiated goes to the folder, also classes that are unknown here: only those
    # that are known to be of another service are named.
    others = [str(uid) for uid in tuple(SOP_CLASSES.values()) if not uid.is_storage]
    within = None if storage.on_stored is None else storage.on_stored_timeout
    return _core.Sink(storage.core, but=others, verdict_within=within)


def _classes(handlers: Handlers, field: int, *, every: bool) -> list[str] | None:
    """List the classes whose requests are queued; None for all."""
    # The SOP class of an N-service may differ from the abstract syntax of its context, as with the
    # meta SOP classes of print: `Performer.steps` looks at both.
    if every or field >= FIRST_N_SERVICE:
        return None
    classes = handlers.classes(field)
    return None if classes is None else [str(uid) for uid in classes]


def _remove(folder: str, owner: int) -> None:
    """Remove a folder with its files; in a forked child do nothing: the folder is the parent's."""
    if os.getpid() == owner:
        from shutil import rmtree

        rmtree(folder, ignore_errors=True)
