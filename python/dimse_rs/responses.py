"""`Response`: the response of a peer, with all its elements (PS3.7 9.3, 10.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from .records import dataclass, field
from .sop_class import SOPClass, TransferSyntax
from .status import Status

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from . import _core

__all__ = ["Received", "Response"]


@dataclass(frozen=True, slots=True)
class Received:
    """How many instances of a C-GET were stored and refused on this side.

    The peer counts for itself. The numbers are of an association: of C-GETs that are outstanding on
    it at once they count all instances.

    Attributes:
        stored: instances answered with Success or a warning.
        reasons: for each reason to refuse, how many instances.
    """

    stored: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def refused(self) -> int:
        """Instances answered with a failure."""
        return sum(self.reasons.values())

    def since(self, before: Received) -> Received:
        """Subtract an earlier count."""
        reasons = {why: n - before.reasons.get(why, 0) for why, n in self.reasons.items()}
        return Received(
            self.stored - before.stored, {why: count for why, count in reasons.items() if count}
        )

    def plus(self, other: Received | None) -> Received:
        """Add two counts."""
        if other is None:
            return self
        reasons = Counter(self.reasons) + Counter(other.reasons)
        return Received(self.stored + other.stored, dict(reasons))

    def __str__(self) -> str:
        """Show the counts in a line."""
        why = "; ".join(f"{count} with {reason}" for reason, count in self.reasons.items())
        return f"{self.stored} stored here, {self.refused} refused{why and f': {why}'}"


class Response:
    """A response as received. Elements that the response does not have are empty or None.

    Attributes:
        message: the message of the core; its `command` holds every element by keyword.
        transfer_syntax: how the data set is encoded.
        received: of a C-GET, the instances stored and refused here until now; else None.
    """

    def __init__(
        self,
        message: _core.Message,
        transfer_syntax: str = "",
        service: str = "",
    ) -> None:
        """Wrap a received message; nothing is decoded yet."""
        self.message = message
        self.transfer_syntax: TransferSyntax = TransferSyntax.of(transfer_syntax)
        self._service = service
        self._dataset: Dataset | None = None
        self.received: Received | None = None

    @property
    def status(self) -> Status:
        """(0000,0900)."""
        return Status(self.message.status or 0, self._service)

    @property
    def comment(self) -> str:
        """Error Comment (0000,0902)."""
        return self.message.get("ErrorComment") or ""

    @property
    def error_id(self) -> int | None:
        """Error ID (0000,0903)."""
        return _int(self.message.get("ErrorID"))

    @property
    def offending_elements(self) -> tuple[int, ...]:
        """Offending Element (0000,0901), as tags."""
        return tuple(self.message.get("OffendingElement") or ())

    @property
    def attribute_identifiers(self) -> tuple[int, ...]:
        """Attribute Identifier List (0000,1005), as tags."""
        return tuple(self.message.get("AttributeIdentifierList") or ())

    @property
    def sop_class(self) -> SOPClass:
        """Affected SOP Class UID (0000,0002)."""
        return SOPClass.of(self.message.sop_class or "")

    @property
    def instance_uid(self) -> str:
        """Affected SOP Instance UID (0000,1000); that of an N-CREATE the peer may have assigned."""
        return self.message.sop_instance or ""

    @property
    def action_type(self) -> int | None:
        """Action Type ID (0000,1008)."""
        return _int(self.message.get("ActionTypeID"))

    @property
    def event_type(self) -> int | None:
        """Event Type ID (0000,1002)."""
        return _int(self.message.get("EventTypeID"))

    @property
    def remaining(self) -> int | None:
        """Sub-operations that are still to be done; None when the response has no such counter."""
        return _int(self.message.get("NumberOfRemainingSuboperations"))

    @property
    def completed(self) -> int:
        """Sub-operations that succeeded."""
        return _int(self.message.get("NumberOfCompletedSuboperations")) or 0

    @property
    def failed(self) -> int:
        """Sub-operations that failed."""
        return _int(self.message.get("NumberOfFailedSuboperations")) or 0

    @property
    def warning(self) -> int:
        """Sub-operations that succeeded with a warning."""
        return _int(self.message.get("NumberOfWarningSuboperations")) or 0

    @property
    def counts(self) -> bool:
        """Whether the response counts completed, failed or warning sub-operations."""
        return any(self.message.get(keyword) is not None for keyword in _COUNTERS)

    @property
    def failed_uids(self) -> tuple[str, ...]:
        """Failed SOP Instance UID List (0008,0058) of a final C-GET or C-MOVE response."""
        if self.data is None:
            return ()
        value = self._decoded().get("FailedSOPInstanceUIDList") or ()
        return (str(value),) if isinstance(value, str) else tuple(str(uid) for uid in value)

    @property
    def data(self) -> _core.Payload | None:
        """The encoded data set, a buffer; None when there is none."""
        return self.message.data

    @property
    def dataset(self) -> Dataset | None:
        """The data set, decoded on first use by pydicom; None when there is none.

        Raises:
            DecodeError: pydicom cannot read it.
        """
        return None if self.data is None else self._decoded()

    def _decoded(self) -> Dataset:
        if self._dataset is None:
            from .datasets import from_bytes

            self._dataset = from_bytes(self.message.data or b"", self.transfer_syntax)
        return self._dataset

    @property
    def command(self) -> Mapping[str, Any]:
        """Every command element by keyword."""
        return self.message.command

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what the message says: the message itself is of the core, and of this process.

        A `StatusError` has its response with it when it leaves a worker process.
        """
        data = self.message.data
        said = _Said(dict(self.command), None if data is None else bytes(data))
        return _restored, (said, str(self.transfer_syntax), self._service, self.received)

    def __repr__(self) -> str:
        """Show the command set, but no values of the data set."""
        return f"Response({dict(self.command)})"


@dataclass(frozen=True, slots=True)
class _Said:
    """What a message said in another process: all that `Response` reads of one."""

    command: dict[str, Any]
    data: bytes | None

    def get(self, keyword: str) -> Any:
        return self.command.get(keyword)

    @property
    def status(self) -> int | None:
        return self.command.get("Status")

    @property
    def sop_class(self) -> Any:
        return self.get("AffectedSOPClassUID") or self.get("RequestedSOPClassUID")

    @property
    def sop_instance(self) -> Any:
        return self.get("AffectedSOPInstanceUID") or self.get("RequestedSOPInstanceUID")


def _restored(said: Any, syntax: str, service: str, received: Received | None) -> Response:
    response = Response(said, syntax, service)
    response.received = received
    return response


_COUNTERS: Final = (
    "NumberOfCompletedSuboperations",
    "NumberOfFailedSuboperations",
    "NumberOfWarningSuboperations",
)


def _int(value: Any) -> int | None:
    return None if value is None else int(value)
