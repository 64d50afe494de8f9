"""Modality Performed Procedure Step, both ways, with Retrieve and Notification (PS3.4 Annex F).

`created`, `changed` and `selected`, of `_step_rules`, are the rules; `Mpps`, the SCP, applies them
to the storage of the user. `PerformedStep` is the SCU, the side of the modality.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from dimse_rs import log
from dimse_rs.callables import check_face
from dimse_rs.datasets import data_set_of, is_uid, name_of, new_uid, quietly
from dimse_rs.errors import DecodeError, StatusError
from dimse_rs.sop_class import (
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepNotification,
    ModalityPerformedProcedureStepRetrieve,
)
from dimse_rs.status import (
    DUPLICATE_SOP_INSTANCE,
    INVALID_SOP_INSTANCE,
    NO_SUCH_SOP_INSTANCE,
)

from ._step_rules import (
    COMPLETED,
    DISCONTINUED,
    IN_PROGRESS,
    NO_LONGER as NO_LONGER,
    TYPE_2,
    changed,
    created,
    fill,
    selected,
    status_of,
    tag_of,
)

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

    from dimse_rs import (
        Association,
        AsyncAssociation,
        AttributesRequest,
        DatasetRequest,
        Handlers,
        Response,
    )

__all__ = ["Mpps", "MppsEvent", "PerformedStep", "changed", "created", "from_worklist"]
__all__ += ["notify", "notify_async", "selected"]

_logger = log.get(log.SERVER)


class MppsEvent(IntEnum):
    """How a step has changed: Event Type IDs of MPPS Notification (PS3.4 Table F.9.2-1)."""

    IN_PROGRESS = 1
    COMPLETED = 2
    DISCONTINUED = 3
    UPDATED = 4
    DELETED = 5


OnChange: TypeAlias = Callable[[str, "Dataset", MppsEvent], object]
"""Called with the SOP Instance UID, the step as it is now, and how the step has changed."""


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
            }.get(status_of(step), MppsEvent.UPDATED)
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
        TypeError: an `AsyncAssociation`, which is for `notify_async`.
        As `Association.n_event_report`.

    Source: PS3.4 F.9.
    """
    check_face(association, "notify_async(...)")
    return association.n_event_report(
        int(event), sop_class=ModalityPerformedProcedureStepNotification, instance_uid=instance_uid
    )


async def notify_async(
    association: AsyncAssociation, instance_uid: str, event: MppsEvent
) -> Response:
    """Notify a peer of a change of a step on an event loop: see `notify`."""
    check_face(association, "notify(...)", asynchronous=True)
    return await association.n_event_report(
        int(event), sop_class=ModalityPerformedProcedureStepNotification, instance_uid=instance_uid
    )


# ---- the SCU


class PerformedStep:
    """A step that this side performs and reports: `start`, then `complete` or `discontinue`.

    On an event loop the names end in `_async`: `await PerformedStep.start_async(association, ...)`,
    `await step.complete_async(...)`.

    Attributes:
        instance_uid: SOP Instance UID of the step.
        response: the last response; None before the first request.
    """

    def __init__(self, association: Association | AsyncAssociation, instance_uid: str) -> None:
        """Go on with a step that was started before, perhaps on another association."""
        self._association: Any = association
        self.instance_uid = instance_uid
        self.response: Response | None = None

    @classmethod
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
            TypeError: an `AsyncAssociation`, which is for `start_async`.
            As `Association.n_create`.

        Source: PS3.4 F.7.2.1.
        """
        check_face(association, "PerformedStep.start_async(...)")
        started, step = cls(association, instance_uid or new_uid()), _begun(association, attributes)
        started.response = association.n_create(
            step, sop_class=ModalityPerformedProcedureStep, instance_uid=started.instance_uid
        )
        return started

    @classmethod
    async def start_async(
        cls,
        association: AsyncAssociation,
        attributes: Dataset | Mapping[str, Any],
        *,
        instance_uid: str | None = None,
    ) -> PerformedStep:
        """Report that a step has started, on an event loop: see `start`."""
        check_face(association, "PerformedStep.start(...)", asynchronous=True)
        started, step = cls(association, instance_uid or new_uid()), _begun(association, attributes)
        started.response = await association.n_create(
            step, sop_class=ModalityPerformedProcedureStep, instance_uid=started.instance_uid
        )
        return started

    def __repr__(self) -> str:
        """Show the step, and where it is reported."""
        return f"<PerformedStep {self.instance_uid} on {self._association}>"

    def update(self, attributes: Dataset | Mapping[str, Any]) -> Response:
        """Change attributes while the step is in progress (N-SET); sequences are replaced whole.

        Raises:
            StatusError: the peer refused the change.
            TypeError: the step is on an `AsyncAssociation`, which is for `update_async`.
            As `Association.n_set`.

        Source: PS3.4 F.7.2.2.
        """
        return self._set("update_async", attributes)

    async def update_async(self, attributes: Dataset | Mapping[str, Any]) -> Response:
        """Change attributes on an event loop: see `update`."""
        return await self._set_async("update", attributes)

    def complete(self, attributes: Dataset | Mapping[str, Any]) -> Response:
        """Report that the step is completed.

        Args:
            attributes: with Performed Series Sequence, one item a series, with `SeriesInstanceUID`
                and `ProtocolName`. Without an end date or time, the step ends now.

        Raises:
            As `update`.
        """
        return self._set("complete_async", _over(COMPLETED, attributes))

    async def complete_async(self, attributes: Dataset | Mapping[str, Any]) -> Response:
        """Report on an event loop that the step is completed: see `complete`."""
        return await self._set_async("complete", _over(COMPLETED, attributes))

    def discontinue(self, attributes: Dataset | Mapping[str, Any]) -> Response:
        """Report that the step was discontinued; the arguments are those of `complete`.

        There has to be a series, even one without instances (PS3.4 Table F.7.2-1).

        Raises:
            As `update`.
        """
        return self._set("discontinue_async", _over(DISCONTINUED, attributes))

    async def discontinue_async(self, attributes: Dataset | Mapping[str, Any]) -> Response:
        """Report on an event loop that the step was discontinued: see `discontinue`."""
        return await self._set_async("discontinue", _over(DISCONTINUED, attributes))

    def _set(self, twin: str, changes: Dataset | Mapping[str, Any]) -> Response:
        check_face(self._association, f"{twin}(...)")
        response: Response = self._association.n_set(
            changes, sop_class=ModalityPerformedProcedureStep, instance_uid=self.instance_uid
        )
        self.response = response
        return response

    async def _set_async(self, twin: str, changes: Dataset | Mapping[str, Any]) -> Response:
        check_face(self._association, f"{twin}(...)", asynchronous=True)
        response: Response = await self._association.n_set(
            changes, sop_class=ModalityPerformedProcedureStep, instance_uid=self.instance_uid
        )
        self.response = response
        return response


@quietly
def _begun(
    association: Association | AsyncAssociation, attributes: Dataset | Mapping[str, Any]
) -> Dataset:
    """Make the data set of an N-CREATE, with what is left out."""
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
    fill(step, TYPE_2)
    return step


@quietly
def _over(state: str, attributes: Dataset | Mapping[str, Any]) -> Dataset:
    """Make the modification list that ends a step."""
    now = datetime.now()
    changes = data_set_of(attributes)
    changes.PerformedProcedureStepStatus = state
    _default(
        changes,
        PerformedProcedureStepEndDate=now.strftime("%Y%m%d"),
        PerformedProcedureStepEndTime=now.strftime("%H%M%S"),
    )
    return changes


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
        what = f"{name_of(tag_of(steps))} cannot be decoded: no sequence, its VR is {found.VR}"
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
    raise DecodeError(f"{name_of(tag_of(keyword))} cannot be decoded: {fault}", section="PS3.5 7")


def _take(target: Dataset, source: Dataset, keywords: Sequence[str]) -> None:
    for keyword in keywords:
        if keyword in source:
            target.add(_element(source, keyword))
    fill(target, keywords)


def _default(dataset: Dataset, **values: str) -> None:
    for keyword, value in values.items():
        if keyword not in dataset:
            setattr(dataset, keyword, value)
