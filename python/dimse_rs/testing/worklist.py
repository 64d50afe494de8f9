"""`WorklistServer`: a modality worklist with performed procedure steps, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from dimse_rs import AE, Mpps, MppsEvent, Schedule
from dimse_rs.datasets import data_set_of, quietly

from ._node import PATIENCE, Came, Node, on_a_thread
from .instances import made_uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["WorklistServer"]

_STEP: Final = {
    "Modality": "CT",
    "ScheduledStationAETitle": "CT1",
    "ScheduledProcedureStepStartDate": "20260101",
    "ScheduledProcedureStepStartTime": "120000",
    "ScheduledPerformingPhysicianName": "",
    "ScheduledProcedureStepDescription": "A step",
    "ScheduledProcedureStepID": "S1",
    "ScheduledStationName": "",
    "ScheduledProcedureStepLocation": "",
}
_ITEM: Final = {
    "PatientName": "Test^Patient",
    "PatientID": "TEST",
    "PatientBirthDate": "19700101",
    "PatientSex": "O",
    "AccessionNumber": "A1",
    "ReferringPhysicianName": "",
    "RequestedProcedureID": "P1",
    "RequestedProcedureDescription": "A procedure",
}


class WorklistServer(Node):
    """A modality worklist for tests, which takes MPPS too.

    Attributes:
        steps: the performed procedure steps as they are now, by SOP Instance UID.
    """

    def __init__(self, ae: AE | str = "WORKLIST", **settings: Any) -> None:
        """Make the worklist, empty.

        Args:
            ae: the AE title; or an AE, for TLS, deadlines and limits of its own.
            settings: further settings of `Server`.
        """
        self._items: list[Dataset] = []
        self._changes: Came[tuple[str, Dataset, MppsEvent]] = Came()
        self.steps: dict[str, Dataset] = {}
        services = [
            Schedule(lambda: list(self._items)),
            Mpps(self.steps, on_change=lambda *change: self._changes.add(change)),
            *settings.pop("services", ()),
        ]
        super().__init__(ae, services=services, **settings)

    @quietly
    def add(self, item: Dataset | Mapping[str, Any] | None = None, /, **attributes: Any) -> Dataset:
        """Schedule a procedure step.

        Args:
            item: a whole item, as a data set or as keywords; taken as it is.
            attributes: or keywords of the item and of its one scheduled step, which replace what
                would be there: `add(PatientID="7", Modality="MR")`. Each item gets a Study Instance
                UID of its own.

        Returns:
            The item.

        Raises:
            DecodeError: a keyword that the data dictionary does not have, or no value for it.
            TypeError: an item and keywords.
        """
        if item is not None:
            if attributes:
                raise TypeError("an item, or keywords to make one: not both")
            made = data_set_of(item)
        else:
            step = {name: attributes.pop(name, value) for name, value in _STEP.items()}
            study = made_uid("worklist", len(self._items))
            made = data_set_of(
                {"StudyInstanceUID": study, **_ITEM, **attributes}
                | {"ScheduledProcedureStepSequence": [step]}
            )
        self._items.append(made)
        return made

    @property
    def items(self) -> list[Dataset]:
        """The scheduled items."""
        return list(self._items)

    def wait_for(
        self, event: MppsEvent = MppsEvent.COMPLETED, count: int = 1, timeout: float = PATIENCE
    ) -> list[Dataset]:
        """Wait until so many performed steps were started, completed or discontinued.

        Args:
            event: which change.
            count: how many since the beginning, or since `clear`.
            timeout: seconds.

        Returns:
            The steps as they were after each such change.

        Raises:
            TimeoutError: fewer in time.
        """

        def those(changes: list[tuple[str, Dataset, MppsEvent]]) -> list[Dataset]:
            return [step for _, step, change in changes if change == event]

        found = those(self._changes.wait(lambda changes: len(those(changes)) >= count, timeout))
        if len(found) < count:
            what = event.name.lower().replace("_", " ")
            raise TimeoutError(
                f"{len(found)} of {count} performed steps were {what} at {self.address} within "
                f"{timeout:g} s"
            )
        return found

    async def wait_for_async(
        self,
        event: MppsEvent = MppsEvent.COMPLETED,
        count: int = 1,
        timeout: float = PATIENCE,  # noqa: ASYNC109 - as `wait_for`
    ) -> list[Dataset]:
        """Do as `wait_for`, from an event loop that goes on meanwhile."""
        return await on_a_thread(self.wait_for, event, count, timeout)

    def clear(self) -> None:
        """Forget all items, and the performed steps."""
        self._items.clear()
        self.steps.clear()
        self._changes.clear()
