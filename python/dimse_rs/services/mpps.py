"""Modality Performed Procedure Step, both ways, with Retrieve and Notification (PS3.4 Annex F).

`created`, `changed` and `selected` are the rules, pure functions over data sets; `Mpps`, the SCP,
applies them to the storage of the user. `PerformedStep` is the SCU, the side of the modality.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dimse_rs import log
from dimse_rs.datasets import data_set_of, is_uid, name_of, new_uid, quietly
from dimse_rs.errors import DecodeError, StatusError
from dimse_rs.sop_class import (
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepNotification,
    ModalityPerformedProcedureStepRetrieve,
)
from dimse_rs.status import (
    ATTRIBUTES_NOT_SUPPORTED,
    DUPLICATE_SOP_INSTANCE,
    INVALID_ATTRIBUTE_VALUE,
    INVALID_SOP_INSTANCE,
    MISSING_ATTRIBUTE,
    MISSING_ATTRIBUTE_VALUE,
    NO_SUCH_ATTRIBUTE,
    NO_SUCH_SOP_INSTANCE,
    PROCESSING_FAILURE,
)

from ._sequences import items_of

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

    from dimse_rs import Association, AttributesRequest, DatasetRequest, Handlers, Response

__all__ = ["Mpps", "MppsEvent", "PerformedStep", "changed", "created", "from_worklist"]
__all__ += ["notify", "selected"]

_logger = log.get(log.SERVER)

IN_PROGRESS: Final = "IN PROGRESS"
COMPLETED: Final = "COMPLETED"
DISCONTINUED: Final = "DISCONTINUED"

NO_LONGER: Final = 0xA710
_NO_LONGER_TEXT: Final = "Performed Procedure Step Object may no longer be updated"

# PS3.4 Table F.7.2-1, a row of the table for each: type 1 at N-CREATE; type 2 at N-CREATE, made
# empty when a modality leaves the attribute out; type 1 in the final state, of the step and of each
# of its series; not allowed in N-SET.
_TYPE_1: Final = (
    "ScheduledStepAttributesSequence",
    "PerformedProcedureStepID",
    "PerformedStationAETitle",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "PerformedProcedureStepStatus",
    "Modality",
)
_TYPE_2: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "ReferencedPatientSequence",
    "PerformedStationName",
    "PerformedLocation",
    "PerformedProcedureStepDescription",
    "PerformedProcedureTypeDescription",
    "ProcedureCodeSequence",
    "PerformedProcedureStepEndDate",
    "PerformedProcedureStepEndTime",
    "StudyID",
    "PerformedProtocolCodeSequence",
    "PerformedSeriesSequence",
)
_FINAL: Final = (
    "PerformedProcedureStepEndDate",
    "PerformedProcedureStepEndTime",
    "PerformedSeriesSequence",
)
_FINAL_SERIES: Final = ("SeriesInstanceUID", "ProtocolName")
_FIXED: Final = (
    "ScheduledStepAttributesSequence",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "ReferencedPatientSequence",
    "PerformedProcedureStepID",
    "PerformedStationAETitle",
    "PerformedStationName",
    "PerformedLocation",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "Modality",
    "StudyID",
)


class MppsEvent(IntEnum):
    """How a step has changed: Event Type IDs of MPPS Notification (PS3.4 Table F.9.2-1)."""

    IN_PROGRESS = 1
    COMPLETED = 2
    DISCONTINUED = 3
    UPDATED = 4
    DELETED = 5


OnChange: TypeAlias = Callable[[str, "Dataset", MppsEvent], object]
"""Called with the SOP Instance UID, the step as it is now, and how the step has changed."""


# ---- the rules


@quietly
def created(attributes: Dataset) -> Dataset:
    """Make a step of the attributes of an N-CREATE, which may leave out those of type 2.

    Raises:
        StatusError: 0120, 0121 or 0106, with the attributes at fault.

    Source: PS3.4 F.7.2.1.
    """
    _check_present(attributes, _TYPE_1)
    for item in items_of(attributes, "ScheduledStepAttributesSequence", INVALID_ATTRIBUTE_VALUE):
        _check_present(item, ("StudyInstanceUID",))
    if _status_of(attributes) != IN_PROGRESS:
        raise _invalid(attributes, "PerformedProcedureStepStatus", f"is not {IN_PROGRESS}")
    step = data_set_of(attributes)
    _fill(step, _TYPE_2)
    return step


@quietly
def changed(step: Dataset, modifications: Dataset, *, lenient: bool = False) -> Dataset:
    """Make the step that an N-SET turns a step into; the given step stays as it is.

    Args:
        step: before the N-SET.
        modifications: the Modification List.
        lenient: allow attributes that were not created, and DISCONTINUED without a series, as
            modalities send them against the rules.

    Raises:
        StatusError: 0110 with Error ID A710 when the step is final; 0105 for attributes that were
            not created; 0106 for a value that is not allowed or may not change; 0120 or 0121 when
            a final state lacks an attribute that it requires.

    Source: PS3.4 F.7.2.2.
    """
    if _status_of(step) != IN_PROGRESS:
        raise StatusError(PROCESSING_FAILURE, _NO_LONGER_TEXT, elements={"ErrorID": NO_LONGER})
    unknown = [int(e.tag) for e in modifications if e.tag not in step and e.tag != 0x00080005]
    if unknown and not lenient:
        raise StatusError(
            NO_SUCH_ATTRIBUTE,
            f"{_name_of(unknown[0])} was not created",
            elements={"AttributeIdentifierList": unknown},
        )
    # A fixed attribute may be repeated; only another value is refused.
    for keyword in _FIXED:
        known = keyword in modifications and keyword in step
        if known and modifications[keyword].value != step[keyword].value:
            raise _invalid(modifications, keyword, "may not be changed")
    # Sequences are replaced whole, because nothing identifies the items of two sequences.
    merged = data_set_of(step)
    merged.update(modifications)
    if _status_of(merged) not in (IN_PROGRESS, COMPLETED, DISCONTINUED):
        raise _invalid(modifications, "PerformedProcedureStepStatus", "is no state")
    if _status_of(merged) != IN_PROGRESS:
        # Checked of the step and not of the N-SET: earlier ones may have set a part.
        seriesless = lenient and _status_of(merged) == DISCONTINUED
        _check_present(merged, _FINAL[:-1] if seriesless else _FINAL)
        for item in items_of(merged, "PerformedSeriesSequence", INVALID_ATTRIBUTE_VALUE):
            _check_present(item, _FINAL_SERIES)
    charset = _combined(_charset(step), _charset(modifications))
    if charset:
        merged.SpecificCharacterSet = charset
    return merged


@quietly
def selected(step: Dataset, attributes: Sequence[int]) -> tuple[int, Dataset]:
    """Select attributes of a step for an N-GET; an empty list selects all.

    Returns:
        The status, 0001 when the step lacks an attribute of the list, and the attributes it has.

    Source: PS3.4 F.8.2.1.
    """
    from dimse_rs.encoding.library import Dataset

    if not attributes:
        return 0, step  # encoded by the caller; a step that is stored never changes
    found = Dataset()
    charset = _charset(step)
    if charset:
        found.SpecificCharacterSet = charset
    for tag in attributes:
        if tag in step:
            found.add(step[tag])
    return (0 if all(tag in step for tag in attributes) else ATTRIBUTES_NOT_SUPPORTED), found


def _check_present(dataset: Dataset, keywords: Sequence[str]) -> None:
    missing = [keyword for keyword in keywords if keyword not in dataset]
    if missing:
        raise StatusError(
            MISSING_ATTRIBUTE,
            f"{missing[0]} is missing",
            elements={"AttributeIdentifierList": [_tag(keyword) for keyword in missing]},
        )
    empty = [keyword for keyword in keywords if dataset[keyword].is_empty]
    if empty:
        raise StatusError(
            MISSING_ATTRIBUTE_VALUE, f"{empty[0]} has no value", dataset=_only(dataset, empty)
        )


def _invalid(dataset: Dataset, keyword: str, why: str) -> StatusError:
    return StatusError(
        INVALID_ATTRIBUTE_VALUE, f"{keyword} {why}", dataset=_only(dataset, [keyword])
    )


def _only(dataset: Dataset, keywords: Sequence[str]) -> Dataset:
    from dimse_rs.encoding.library import Dataset

    part = Dataset()
    if charset := _charset(dataset):
        part.SpecificCharacterSet = charset
    for keyword in keywords:
        part.add(dataset[keyword])
    return part


def _fill(dataset: Dataset, keywords: Sequence[str]) -> None:
    for keyword in keywords:
        if keyword not in dataset:
            setattr(dataset, keyword, [] if keyword.endswith("Sequence") else None)


def _status_of(dataset: Dataset) -> str:
    return str(dataset.get("PerformedProcedureStepStatus") or "").strip()


def _charset(dataset: Dataset) -> list[str]:
    value = dataset.get("SpecificCharacterSet") or []
    # pydicom gives a single value as text, several as a list.
    return [value] if isinstance(value, str) else [str(one) for one in value]


def _combined(one: list[str], other: list[str]) -> list[str]:
    """Give a character set that holds the text of both.

    The values are decoded by now, each with the character set that came with it, so that another
    one may encode them.
    """
    if one == other or not one or not other:
        return one or other
    return ["ISO_IR 192"]


def _tag(keyword: str) -> int:
    from dimse_rs.encoding.library import tag_for_keyword

    return int(tag_for_keyword(keyword) or 0)


def _name_of(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


# ---- the SCP


class Mpps:
    """Keeps performed procedure steps: a service of MPPS and MPPS Retrieve for a `Server`.

    Attributes:
        steps: by SOP Instance UID.
    """

    def __init__(
        self,
        steps: MutableMapping[str, Dataset] | None = None,
        *,
        on_change: OnChange | None = None,
        lenient: bool = False,
    ) -> None:
        """Keep the steps there; default in memory, for as long as the process lives.

        Args:
            steps: read and written by one thread at a time. The data set of a step never changes:
                a changed step is another data set under the same UID.
            on_change: called before the peer is answered, in the order of the changes. An exception
                is logged, and changes neither step nor answer.
            lenient: allow N-SETs of attributes that N-CREATE had not, and DISCONTINUED without a
                series, as modalities send them (against PS3.4 F.7.2.2).
        """
        self.steps: MutableMapping[str, Dataset] = {} if steps is None else steps
        self._on_change = on_change
        self._lenient = lenient
        # Held while a change is applied and `on_change` runs, so that the calls come in the order
        # of the changes.
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        """Show how many steps there are."""
        return f"<Mpps {len(self.steps)} steps>"

    def register(self, handlers: Handlers) -> None:
        """Add handlers of N-CREATE, N-SET and N-GET."""
        handlers.n_create(ModalityPerformedProcedureStep)(self._create)
        handlers.n_set(ModalityPerformedProcedureStep)(self._set)
        handlers.n_get(ModalityPerformedProcedureStepRetrieve)(self._get)

    def _create(self, request: DatasetRequest) -> None:
        uid = request.instance_uid
        if not is_uid(uid):
            raise StatusError(INVALID_SOP_INSTANCE)
        with self._lock:
            self._check_new(uid)  # so that a duplicate is refused before its data set is decoded
        step = created(request.dataset)  # decoded and copied without the lock
        with self._lock:
            self._check_new(uid)  # again: another request may have created the step meanwhile
            self.steps[uid] = step
            self._tell(uid, step, MppsEvent.IN_PROGRESS)

    def _set(self, request: DatasetRequest) -> None:
        with self._lock:
            self._step(request.instance_uid)
        modifications = request.modifications  # decoded without the lock
        with self._lock:
            before = self._step(request.instance_uid)
            step = changed(before, modifications, lenient=self._lenient)
            self.steps[request.instance_uid] = step
            event = {
                COMPLETED: MppsEvent.COMPLETED,
                DISCONTINUED: MppsEvent.DISCONTINUED,
            }.get(_status_of(step), MppsEvent.UPDATED)
            self._tell(request.instance_uid, step, event)

    def _get(self, request: AttributesRequest) -> tuple[int, Dataset]:
        with self._lock:
            return selected(self._step(request.instance_uid), request.attributes)

    def _check_new(self, uid: str) -> None:
        if uid in self.steps:
            raise StatusError(DUPLICATE_SOP_INSTANCE)

    def _step(self, uid: str) -> Dataset:
        step = self.steps.get(uid)
        if step is None:
            raise StatusError(NO_SUCH_SOP_INSTANCE)
        return step

    def _tell(self, uid: str, step: Dataset, event: MppsEvent) -> None:
        if self._on_change is None:
            return
        # The change is made, and the peer would repeat an N-CREATE or N-SET that failed.
        try:
            self._on_change(uid, step, event)
        except Exception:
            _logger.exception("on_change failed", extra={"code": "handler-failed"})


def notify(association: Association, instance_uid: str, event: MppsEvent) -> Response:
    """Notify a peer of a change of a step (MPPS Notification); this side is the SCP.

    Args:
        association: one that the peer asked for, or one of ours with the context
            `Context(ModalityPerformedProcedureStepNotification, scu=False, scp=True)`.
        instance_uid: of the step.
        event: how the step has changed.

    Raises:
        As `Association.n_event_report`.

    Source: PS3.4 F.9.
    """
    return association.n_event_report(
        int(event), sop_class=ModalityPerformedProcedureStepNotification, instance_uid=instance_uid
    )


# ---- the SCU


class PerformedStep:
    """A step that this side performs and reports: `start`, then `complete` or `discontinue`.

    Attributes:
        instance_uid: SOP Instance UID of the step.
        response: the last response; None before the first request.
    """

    def __init__(self, association: Association, instance_uid: str) -> None:
        """Go on with a step that was started before, perhaps on another association."""
        self._association = association
        self.instance_uid = instance_uid
        self.response: Response | None = None

    @classmethod
    @quietly
    def start(
        cls,
        association: Association,
        attributes: Dataset | Mapping[str, Any],
        *,
        instance_uid: str | None = None,
    ) -> PerformedStep:
        """Report that a step has started (N-CREATE).

        Args:
            association: with a context for `ModalityPerformedProcedureStep`.
            attributes: of the step, see `from_worklist`. State, start (now), AE title of this side
                and the attributes of type 2 (without a value) are added when they are left out.
            instance_uid: default a new one.

        Raises:
            StatusError: the peer refused the step.
            As `Association.n_create`.

        Source: PS3.4 F.7.2.1.
        """
        uid = instance_uid or new_uid()
        now = datetime.now()
        step = data_set_of(attributes)
        _default(
            step,
            PerformedProcedureStepStatus=IN_PROGRESS,
            PerformedProcedureStepStartDate=now.strftime("%Y%m%d"),
            PerformedProcedureStepStartTime=now.strftime("%H%M%S"),
            PerformedStationAETitle=association.titles[0],
            PerformedProcedureStepID=now.strftime("%Y%m%d%H%M%S"),
        )
        _fill(step, _TYPE_2)
        started = cls(association, uid)
        started.response = association.n_create(
            step, sop_class=ModalityPerformedProcedureStep, instance_uid=uid
        )
        return started

    def __repr__(self) -> str:
        """Show the step, and where it is reported."""
        return f"<PerformedStep {self.instance_uid} on {self._association}>"

    def update(self, attributes: Dataset | Mapping[str, Any]) -> Response:
        """Change attributes while the step is in progress (N-SET); sequences are replaced whole.

        Raises:
            StatusError: the peer refused the change.
            As `Association.n_set`.

        Source: PS3.4 F.7.2.2.
        """
        self.response = self._association.n_set(
            attributes, sop_class=ModalityPerformedProcedureStep, instance_uid=self.instance_uid
        )
        return self.response

    def complete(self, attributes: Dataset | Mapping[str, Any]) -> Response:
        """Report that the step is completed.

        Args:
            attributes: with Performed Series Sequence, one item a series, with `SeriesInstanceUID`
                and `ProtocolName`. Without an end date or time, the step ends now.

        Raises:
            As `update`.
        """
        return self._end(COMPLETED, attributes)

    def discontinue(self, attributes: Dataset | Mapping[str, Any]) -> Response:
        """Report that the step was discontinued; the arguments are those of `complete`.

        There has to be a series, even one without instances (PS3.4 Table F.7.2-1).

        Raises:
            As `update`.
        """
        return self._end(DISCONTINUED, attributes)

    @quietly
    def _end(self, state: str, attributes: Dataset | Mapping[str, Any]) -> Response:
        now = datetime.now()
        changes = data_set_of(attributes)
        changes.PerformedProcedureStepStatus = state
        _default(
            changes,
            PerformedProcedureStepEndDate=now.strftime("%Y%m%d"),
            PerformedProcedureStepEndTime=now.strftime("%H%M%S"),
        )
        return self.update(changes)


@quietly
def from_worklist(item: Dataset) -> Dataset:
    """Give the attributes that a step takes over from the worklist item that it performs.

    Args:
        item: a response of a Modality Worklist query.

    Returns:
        Attributes for `PerformedStep.start`: the patient, the modality, and the item of Scheduled
        Step Attributes Sequence. The station adds attributes of its own.

    Raises:
        DecodeError: one of these values cannot be decoded; the message has its tag and keyword.

    Source: PS3.4 F.7.2.1, PS3.17 J.
    """
    from dimse_rs.encoding.library import Dataset

    steps = "ScheduledProcedureStepSequence"
    found = _element(item, steps) if steps in item else None
    if found is not None and found.VR != "SQ":
        what = f"{name_of(_tag(steps))} cannot be decoded: no sequence, its VR is {found.VR}"
        raise DecodeError(what, section="PS3.5 7.5")
    scheduled = next(iter((found and found.value) or ()), Dataset())
    related = Dataset()
    for source, keywords in (
        (item, "StudyInstanceUID ReferencedStudySequence AccessionNumber RequestedProcedureID"),
        (item, "RequestedProcedureDescription"),
        (scheduled, "ScheduledProcedureStepID ScheduledProcedureStepDescription"),
        (scheduled, "ScheduledProtocolCodeSequence"),
    ):
        _take(related, source, keywords.split())
    attributes = Dataset()
    patient = "SpecificCharacterSet PatientName PatientID PatientBirthDate PatientSex"
    for keyword in patient.split():
        if keyword in item:
            attributes.add(_element(item, keyword))
    if "Modality" in scheduled:
        attributes.add(_element(scheduled, "Modality"))
    attributes.ScheduledStepAttributesSequence = [related]
    return attributes


def _element(source: Dataset, keyword: str) -> DataElement:
    """Decode an element that is there, to the last item: later it would fail while it is sent."""
    try:
        element = source[keyword]
        for item in element.value if element.VR == "SQ" else ():
            for _ in item.iterall():
                pass
        return element
    except Exception as error:  # pydicom's texts have values in them
        fault = type(error).__name__
    raise DecodeError(f"{name_of(_tag(keyword))} cannot be decoded: {fault}", section="PS3.5 7")


def _take(target: Dataset, source: Dataset, keywords: Sequence[str]) -> None:
    for keyword in keywords:
        if keyword in source:
            target.add(_element(source, keyword))
    _fill(target, keywords)


def _default(dataset: Dataset, **values: str) -> None:
    for keyword, value in values.items():
        if keyword not in dataset:
            setattr(dataset, keyword, value)
