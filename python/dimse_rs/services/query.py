"""Query/Retrieve and Modality Worklist over the storage of the user (PS3.4 Annexes C and K).

`hierarchy` and `matching` read the identifier, the storage of the user finds and gives instances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from copy import deepcopy
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from dimse_rs import Retrieve, Unreadable
from dimse_rs.callables import check_face, check_function, described, name_of
from dimse_rs.datasets import data_set_of, quietly, read, stored_syntax, uid_of
from dimse_rs.sop_class import ModalityWorklist, WithoutBulkData

from .hierarchy import MODELS, Find, check_find
from .matching import QUERY, WORKLIST, Matcher, Rules

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dimse_rs import (
        Association,
        AsyncAssociation,
        FindRequest,
        Handlers,
        Model,
        Request,
        RetrieveRequest,
        Status,
    )

__all__ = ["Archive", "QueryRetrieve", "Schedule", "worklist", "worklist_async"]

Instance: TypeAlias = "str | PathLike[str] | Dataset | bytes"
"""A Part 10 file by its path, a pydicom data set, or a Part 10 file as bytes."""

Item: TypeAlias = "Dataset | Mapping[str, Any]"
"""A worklist item: a data set, or keywords with values."""

Items: TypeAlias = "Iterable[Item | None] | Callable[[], Iterable[Item | None]]"
"""Worklist items, or a function that gives the present ones; None stands for no item."""

# Attributes that an instance without bulk data lacks (PS3.4 Z.1.2): at the top level, in repeating
# groups (60xx and 50xx, the tag of group 6000 or 5000 stands for all), and in the items of Waveform
# Sequence.
_BULK: Final = frozenset((0x7FE00010, 0x7FE00008, 0x7FE00009, 0x00287FE0, 0x56000020, 0x00420011))
_REPEATING_BULK: Final = frozenset((0x60003000, 0x50003000, 0x5000200C))
_WAVEFORMS: Final = 0x54000100
_WAVEFORM_DATA: Final = 0x54001010


class Archive(Protocol):
    """The storage behind a `QueryRetrieve`; `services.index.Index` is one in memory."""

    def found(self, asked: Find) -> Iterable[Dataset]:
        """Give the response identifiers of the matches, one by one as they are found.

        A C-CANCEL takes effect between two of them. A search that may find nothing for long calls
        `asked.cancelled()`, which is true after a C-CANCEL and when the association is over.
        """

    def retrieve(
        self, identifier: Dataset, model: Model, *, relational: bool = False
    ) -> Sequence[Instance]:
        """Give the instances that an identifier names; `hierarchy.check_retrieve` reads it."""


class QueryRetrieve:
    """Finds, gets and moves the instances of a storage: a service for a `Server`.

    C-MOVE also needs `Server(destinations=...)`. Relational queries, combined date-time matching
    and other options are served on associations that agreed to them: `Server(extended=...)`.
    """

    def __init__(
        self, archive: Archive, models: Iterable[Model] | None = None, *, pending: float = 0.5
    ) -> None:
        """Keep the storage.

        Args:
            archive: such as an `Index`.
            models: default all models with levels: Patient Root, Study Root, Patient/Study Only,
                Composite Instance Root and without bulk data.
            pending: seconds between two Pending responses of a retrieval.

        Raises:
            TypeError: the storage neither finds nor retrieves.
        """
        if not (hasattr(archive, "found") or hasattr(archive, "retrieve")):
            raise TypeError(
                f"archive= finds and retrieves, as an Index does; not {described(archive)}"
            )
        self._archive = archive
        self._models = tuple(MODELS if models is None else models)
        self._pending = pending

    def __repr__(self) -> str:
        """Show the storage, and how many models are served."""
        return f"<QueryRetrieve {self._archive!r}, {len(self._models)} models>"

    def register(self, handlers: Handlers) -> None:
        """Add handlers of C-FIND, C-GET and C-MOVE, for the classes that the models have."""
        for model in self._models:
            if model.find is not None:
                handlers.c_find(model)(partial(self._find, model))
            if model.get is not None:
                handlers.c_get(model)(partial(self._retrieve, model))
            if model.move is not None:
                handlers.c_move(model)(partial(self._retrieve, model))

    def _find(self, model: Model, request: FindRequest) -> Iterator[tuple[Status, Dataset]]:
        agreed = _agreed(request)
        relational = bool(getattr(agreed, "relational", False))
        asked = check_find(
            request.identifier, model, relational=relational, rules=_rules(agreed, QUERY)
        )
        asked = replace(asked, cancelled=lambda: request.cancelled)
        return ((asked.matcher.pending, answer) for answer in self._archive.found(asked))

    def _retrieve(self, model: Model, request: RetrieveRequest) -> Retrieve:
        relational = bool(getattr(_agreed(request), "relational", False))
        instances = self._archive.retrieve(request.identifier, model, relational=relational)
        sent: Iterable[Any] = instances
        if model == WithoutBulkData:
            sent = map(_small, instances)
        return Retrieve(len(instances), sent, self._pending)


class Schedule:
    """Answers Modality Worklist queries from scheduled items: a service for a `Server`."""

    def __init__(self, items: Items) -> None:
        """Keep the items.

        Args:
            items: one data set for each scheduled procedure step, or a function that gives them,
                called for each query. Where the next item may take long, give None in between: a
                C-CANCEL takes effect there. For a folder of files there is `Worklist`.

        Raises:
            TypeError: `items` can be neither iterated over nor called without arguments.
        """
        if callable(items):
            check_function("items", items)
        elif not isinstance(items, Iterable):
            raise TypeError(f"items= is an iterable or a function, not {described(items)}")
        self._items = items

    def __repr__(self) -> str:
        """Show the function, or how many items there are."""
        return (
            f"<Schedule {name_of(self._items) if callable(self._items) else _count(self._items)}>"
        )

    def register(self, handlers: Handlers) -> None:
        """Add a handler of C-FIND."""
        handlers.c_find(ModalityWorklist)(self._find)

    def _find(self, request: FindRequest) -> Iterator[tuple[Status, Dataset]]:
        matcher = Matcher(request.identifier, _rules(_agreed(request), WORKLIST))
        items = self._items() if callable(self._items) else self._items
        return _matching(matcher, items, request)


def _matching(
    matcher: Matcher, items: Iterable[Item | None], request: Request
) -> Iterator[tuple[Status, Dataset]]:
    """Answer for the items that match, until the query is cancelled; None is no item."""
    for given in items:
        if request.cancelled:
            return
        item = data_set_of(given) if isinstance(given, Mapping) else given
        if item is not None and matcher.matches(item):
            yield matcher.pending, matcher.respond(item)


def _count(items: Iterable[Any]) -> str:
    return f"{len(items)} items" if isinstance(items, Sized) else type(items).__name__


def _agreed(request: Request) -> Any:
    """Give the options that were agreed for the class in extended negotiation, or None."""
    return getattr(request.association, "extended", {}).get(request.sop_class)


def _rules(agreed: Any, base: Rules) -> Rules:
    if agreed is None or isinstance(agreed, bytes):
        return base
    return Rules(
        unknown_matches=base.unknown_matches,
        combined_datetime=base.combined_datetime or agreed.combined_datetime,
        timezone=agreed.timezone,
        empty_values=agreed.empty_values,
        multiple_values=agreed.multiple_values,
    )


def _small(instance: Instance) -> Dataset | Unreadable:
    """Leave bulk data out; an instance that cannot be read fails alone.

    It runs while the retrieval goes on, one instance at a time: reading all of them before the
    first is sent would keep them all in memory.
    """
    try:
        return without_bulk_data(instance)
    except Exception as error:  # pydicom raises whatever comes up while it reads
        return Unreadable(uid_of(instance), error)


@quietly
def without_bulk_data(instance: Instance) -> Dataset:
    """Read an instance and leave its bulk data out (PS3.4 Z.1.2)."""
    from dimse_rs.encoding.library import Dataset, ExplicitVRLittleEndian

    # A copy of a data set in memory, which the archive may give again.
    small = data_set_of(instance) if isinstance(instance, Dataset) else read(instance)
    for tag in list(small.keys()):
        repeating = tag & 0xFF00FFFF if tag.group & 1 == 0 else 0
        if tag in _BULK or repeating in _REPEATING_BULK:
            del small[tag]
    if _WAVEFORMS in small:
        waveforms = [data_set_of(item) for item in small[_WAVEFORMS].value]
        for item in waveforms:
            item.pop(_WAVEFORM_DATA, None)
        small.WaveformSequence = waveforms
    if (syntax := stored_syntax(instance if isinstance(instance, Dataset) else small)) is not None:
        small.file_meta = deepcopy(getattr(instance, "file_meta", None) or small.file_meta)
        # An encapsulated syntax is Explicit VR Little Endian but for the pixel data (PS3.5 A.4),
        # which is gone.
        if syntax.encapsulated:
            small.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return small


def worklist(association: Association, **keys: Any) -> list[Dataset]:
    """Query a Modality Worklist.

    Args:
        association: with a context for `ModalityWorklist`.
        **keys: matching keys by keyword, of the item and of its scheduled step: `PatientID="1"`,
            `Modality="CT"`, `ScheduledProcedureStepStartDate="20260101-"`. Other usual attributes
            are returned as well.

    Returns:
        The items; the scheduled step is in `ScheduledProcedureStepSequence`.

    Raises:
        TypeError: an `AsyncAssociation`, which is for `worklist_async`.
        As `Association.c_find`.

    Source: PS3.4 K.4.1, Table K.6-1.
    """
    check_face(association, "worklist_async(...)")
    found = association.c_find(_of_worklist(keys), model=ModalityWorklist)
    items: list[Dataset] = list(found)
    return items


async def worklist_async(association: AsyncAssociation, **keys: Any) -> list[Dataset]:
    """Query a Modality Worklist on an event loop: see `worklist`."""
    check_face(association, "worklist(...)", asynchronous=True)
    found = association.c_find(_of_worklist(keys), model=ModalityWorklist)
    return [item async for item in found]


@quietly
def _of_worklist(keys: dict[str, Any]) -> Dataset:
    """Make the identifier of a query of the worklist."""
    steps = {key: keys.pop(key, None) for key in _STEP_KEYS}
    identifier = data_set_of(dict.fromkeys(_ITEM_KEYS) | keys)
    identifier.ScheduledProcedureStepSequence = [data_set_of(steps)]
    for keyword in _ITEM_SEQUENCES:
        identifier.setdefault(keyword, [])
    return identifier


_STEP_KEYS: Final = (
    "ScheduledStationAETitle",
    "ScheduledProcedureStepStartDate",
    "ScheduledProcedureStepStartTime",
    "Modality",
    "ScheduledPerformingPhysicianName",
    "ScheduledProcedureStepDescription",
    "ScheduledProcedureStepID",
    "ScheduledStationName",
    "ScheduledProcedureStepLocation",
    "ScheduledProtocolCodeSequence",
)
_ITEM_KEYS: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientWeight",
    "MedicalAlerts",
    "Allergies",
    "PregnancyStatus",
    "AccessionNumber",
    "ReferringPhysicianName",
    "RequestingPhysician",
    "AdmissionID",
    "StudyInstanceUID",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "RequestedProcedurePriority",
)
_ITEM_SEQUENCES: Final = ("RequestedProcedureCodeSequence", "ReferencedStudySequence")
