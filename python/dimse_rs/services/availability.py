"""Instance Availability Notification, both ways (PS3.4 Annex R)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dimse_rs.callables import check_face, check_function, name_of
from dimse_rs.datasets import data_set_of, is_uid, new_uid, quietly
from dimse_rs.errors import StatusError
from dimse_rs.sop_class import InstanceAvailabilityNotification, ModalityPerformedProcedureStep
from dimse_rs.status import (
    INVALID_ATTRIBUTE_VALUE,
    INVALID_SOP_INSTANCE,
    MISSING_ATTRIBUTE,
    MISSING_ATTRIBUTE_VALUE,
)

from ._sequences import items_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dimse_rs import Association, AsyncAssociation, DatasetRequest, Handlers, Response

__all__ = ["InstanceAvailability", "notify_availability", "notify_availability_async"]


AVAILABILITIES: Final = ("ONLINE", "NEARLINE", "OFFLINE", "UNAVAILABLE")
"""Values of (0008,0056) (PS3.3 C.4.23)."""

# PS3.4 Table R.3.2-1, attributes of type 1 by sequence. Referenced Performed Procedure Step
# Sequence (0008,1111) is type 2: the sender does not always know the step.
_SERIES: Final = "ReferencedSeriesSequence"
_INSTANCES: Final = "ReferencedSOPSequence"
_OF_SERIES: Final = ("SeriesInstanceUID", _INSTANCES)
_OF_INSTANCE: Final = (
    "ReferencedSOPClassUID",
    "ReferencedSOPInstanceUID",
    "InstanceAvailability",
    "RetrieveAETitle",
)

OnNotice: TypeAlias = Callable[[str, "Dataset"], object]
"""Called with the SOP Instance UID of a notification and its data set."""


class InstanceAvailability:
    """Receives notifications of available instances: a service for a `Server`."""

    def __init__(self, on_notice: OnNotice) -> None:
        """Keep the function.

        Args:
            on_notice: called with each notification before the peer is answered; an exception
                answers the peer as in any handler.

        Raises:
            TypeError: `on_notice` does not take these two arguments, or is asynchronous.
        """
        check_function("on_notice", on_notice, "a SOP Instance UID", "a data set")
        self._on_notice = on_notice

    def __repr__(self) -> str:
        """Show the function."""
        return f"<InstanceAvailability {name_of(self._on_notice)}>"

    def register(self, handlers: Handlers) -> None:
        """Add a handler of N-CREATE."""
        handlers.n_create(InstanceAvailabilityNotification)(self._notified)

    def _notified(self, request: DatasetRequest) -> None:
        # All is checked before the function is called: it need not expect half a notification.
        if not is_uid(request.instance_uid):
            raise StatusError(INVALID_SOP_INSTANCE)
        notice = request.dataset
        _check(notice, ("StudyInstanceUID", _SERIES))
        for series in items_of(notice, _SERIES, INVALID_ATTRIBUTE_VALUE):
            _check(series, _OF_SERIES)
            for instance in items_of(series, _INSTANCES, INVALID_ATTRIBUTE_VALUE):
                _check(instance, _OF_INSTANCE)
                if instance.InstanceAvailability not in AVAILABILITIES:
                    raise StatusError(
                        INVALID_ATTRIBUTE_VALUE, "InstanceAvailability has no such value"
                    )
        self._on_notice(request.instance_uid, notice)


def _check(dataset: Dataset, keywords: Iterable[str]) -> None:
    for keyword in keywords:
        if keyword not in dataset:
            raise StatusError(MISSING_ATTRIBUTE, f"{keyword} is missing")
        if dataset[keyword].is_empty:
            raise StatusError(MISSING_ATTRIBUTE_VALUE, f"{keyword} has no value")


def notify_availability(
    association: Association,
    study: str,
    instances: Iterable[tuple[str, str, str]],
    *,
    retrieve_ae_title: str,
    availability: str = "ONLINE",
    performed_step: str | None = None,
) -> Response:
    """Notify a peer that instances of a study are available, or no longer.

    Args:
        association: with a context for `InstanceAvailabilityNotification`.
        study: Study Instance UID.
        instances: of each instance its Series Instance UID, SOP Class UID and SOP Instance UID.
        retrieve_ae_title: AE title that the instances can be retrieved from.
        availability: ONLINE, NEARLINE, OFFLINE or UNAVAILABLE.
        performed_step: SOP Instance UID of the performed procedure step of the instances, if known.

    Raises:
        ValueError: there are no instances, or there is no such availability.
        TypeError: an `AsyncAssociation`, which is for `notify_availability_async`.
        As `Association.n_create`.

    Source: PS3.4 R.3.2.
    """
    check_face(association, "notify_availability_async(...)")
    notice = _notice(study, instances, retrieve_ae_title, availability, performed_step)
    return association.n_create(
        notice, sop_class=InstanceAvailabilityNotification, instance_uid=new_uid()
    )


async def notify_availability_async(
    association: AsyncAssociation,
    study: str,
    instances: Iterable[tuple[str, str, str]],
    *,
    retrieve_ae_title: str,
    availability: str = "ONLINE",
    performed_step: str | None = None,
) -> Response:
    """Notify a peer on an event loop: see `notify_availability`."""
    check_face(association, "notify_availability(...)", asynchronous=True)
    notice = _notice(study, instances, retrieve_ae_title, availability, performed_step)
    return await association.n_create(
        notice, sop_class=InstanceAvailabilityNotification, instance_uid=new_uid()
    )


@quietly
def _notice(
    study: str,
    instances: Iterable[tuple[str, str, str]],
    retrieve_ae_title: str,
    availability: str,
    performed_step: str | None,
) -> Dataset:
    from dimse_rs.encoding.library import Dataset

    if availability not in AVAILABILITIES:
        raise ValueError(f"{availability!r} is not one of {', '.join(AVAILABILITIES)}")
    by_series: dict[str, list[Dataset]] = {}
    for series, sop_class, uid in instances:
        item = _item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=uid)
        item.InstanceAvailability = availability
        item.RetrieveAETitle = retrieve_ae_title
        by_series.setdefault(series, []).append(item)
    if not by_series:
        raise ValueError("no instances to notify the peer of")
    notice = Dataset()
    notice.StudyInstanceUID = study
    notice.ReferencedPerformedProcedureStepSequence = (
        []
        if performed_step is None
        else [
            _item(
                ReferencedSOPClassUID=str(ModalityPerformedProcedureStep),
                ReferencedSOPInstanceUID=performed_step,
                PerformedWorkitemCodeSequence=[],
            )
        ]
    )
    notice.ReferencedSeriesSequence = [
        _item(SeriesInstanceUID=series, ReferencedSOPSequence=items)
        for series, items in by_series.items()
    ]
    return notice


def _item(**values: Any) -> Dataset:
    return data_set_of(values)
