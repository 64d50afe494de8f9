"""`Receiver`: a storage SCP that takes anything from any peer and keeps it for the test."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from dimse_rs import AE, SOPClass, Status, StatusError, StoreRequest, TransferSyntax
from dimse_rs.datasets import quietly, read

from ._node import PATIENCE, Came, Node, on_a_thread

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["Arrival", "Receiver"]

_SUCCESS: Final = 0x0000

_TURN: Final = 0.1
"""Seconds between two looks at the sender, while its answer is delayed."""


@dataclass(eq=False)
class Arrival:
    """A C-STORE request that came to a `Receiver`.

    Attributes:
        sop_class: Affected SOP Class UID.
        instance_uid: Affected SOP Instance UID.
        transfer_syntax: how the data set was encoded.
        calling: the calling AE title.
        association: the number of its association, as in events.
        status: how the request was answered.
        data: the data set as it came, without file meta information.
        part10: the instance as a Part 10 file, its data set as it came.
    """

    sop_class: SOPClass
    instance_uid: str
    transfer_syntax: TransferSyntax
    calling: str
    association: int
    status: Status
    data: bytes = field(repr=False)
    part10: bytes = field(repr=False)

    @cached_property
    @quietly
    def dataset(self) -> Dataset:
        """The instance as a pydicom data set, with file meta information.

        Raises:
            DecodeError: pydicom cannot read it.
        """
        return read(self.part10)

    @property
    def kept(self) -> bool:
        """Whether the sender was answered with Success or a warning."""
        return self.status.category != "failure"

    def __repr__(self) -> str:
        """Show class, instance and status; nothing of a patient."""
        name = self.sop_class.name or self.sop_class
        return f"<Arrival {name} {self.instance_uid} {self.status:04X}>"


def part10_of(dataset: Dataset) -> bytes:
    """Encode a data set with file meta information as a Part 10 file."""
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


class Receiver(Node):
    """A storage SCP for tests: takes every storage class, private ones too, in every encoding.

    What came is in `arrivals`, and decoded in `instances`. `answer` has it refuse, warn or be slow.
    """

    def __init__(self, ae: AE | str = "RECEIVER", **settings: Any) -> None:
        """Make the receiver.

        Args:
            ae: the AE title; or an AE, for TLS, deadlines and limits of its own.
            settings: further settings of `Server`, such as `services` or `accept`.
        """
        super().__init__(ae, unknown=True, **settings)
        self._came: Came[Arrival] = Came()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self.answer()
        self.server.c_store(self._store)

    def answer(
        self, status: int = _SUCCESS, *, every: int = 1, delay: float = 0.0, comment: str = ""
    ) -> None:
        """Say how the C-STOREs from now on are answered; without arguments Success at once.

        Args:
            status: the status; a failure status is one for an instance that is not kept.
            every: the status is for each n-th request from now on, the others get Success.
            delay: seconds before each answer.
            comment: Error Comment of the status.

        Raises:
            ValueError: a status, number or delay out of range.
        """
        if every < 1 or not 0 <= delay < 3600:
            raise ValueError(f"every is from 1 up, delay 0 to 3600 s: not {every}, {delay}")
        with self._lock:
            self._status, self._comment = Status(status), comment
            self._every, self._delay, self._asked = every, delay, 0

    def _decide(self) -> tuple[Status, str, float]:
        """Give status, comment and delay of the next request."""
        with self._lock:
            self._asked += 1
            if self._asked % self._every:
                return Status(_SUCCESS), "", self._delay
            return self._status, self._comment, self._delay

    def _store(self, request: StoreRequest[Any]) -> None:
        status, comment, delay = self._decide()
        arrival = self._arrived(request, status)
        until = time.monotonic() + delay
        while not request.cancelled and (left := until - time.monotonic()) > 0:
            if self._stopping.wait(min(left, _TURN)):
                break
        if arrival is not None:
            self._keep(arrival)
        if status != _SUCCESS:
            raise StatusError(status, comment)

    def _arrived(self, request: StoreRequest[Any], status: Status) -> Arrival | None:
        """Take an instance over from its request; None when nothing is to be kept in memory."""
        return Arrival(
            sop_class=request.sop_class,
            instance_uid=request.instance_uid,
            transfer_syntax=request.transfer_syntax,
            calling=request.peer.ae_title,
            association=request.association.number,
            status=status,
            data=bytes(request.data),
            part10=request.part10(),
        )

    def _keep(self, arrival: Arrival) -> None:
        self._came.add(arrival)

    def stop(self) -> None:
        """Stop; associations that are still there are aborted after a second."""
        self._stopping.set()
        super().stop()

    @property
    def arrivals(self) -> list[Arrival]:
        """All requests that came, refused ones too, in the order of their answers."""
        return self._came.all()

    @property
    def instances(self) -> list[Dataset]:
        """The instances that were answered with Success or a warning, as pydicom data sets."""
        return [arrival.dataset for arrival in self._came if arrival.kept]

    def wait_for(self, count: int = 1, timeout: float = PATIENCE) -> list[Dataset]:
        """Wait until so many instances have come that were not refused.

        Args:
            count: how many since the beginning, or since `clear`.
            timeout: seconds.

        Returns:
            All instances that have come, at least `count`.

        Raises:
            TimeoutError: fewer came in time; the message says how many, and what was refused.
        """

        def kept(arrivals: list[Arrival]) -> list[Arrival]:
            return [arrival for arrival in arrivals if arrival.kept]

        found = self._came.wait(lambda arrivals: len(kept(arrivals)) >= count, timeout)
        if len(kept(found)) < count:
            refused = len(found) - len(kept(found))
            raise TimeoutError(
                f"{len(kept(found))} of {count} instances came to {self.address} within "
                f"{timeout:g} s, and {refused} were refused"
            )
        return [arrival.dataset for arrival in kept(found)]

    async def wait_for_async(self, count: int = 1, timeout: float = PATIENCE) -> list[Dataset]:  # noqa: ASYNC109 - as `wait_for`
        """Do as `wait_for`, from an event loop that goes on meanwhile."""
        return await on_a_thread(self.wait_for, count, timeout)

    def clear(self) -> None:
        """Forget what came; later requests are answered with Success at once."""
        self._came.clear()
        self.answer()

    def __len__(self) -> int:
        """Count the instances that were not refused."""
        return sum(arrival.kept for arrival in self._came)

    def __bool__(self) -> bool:
        """Be true: an empty receiver is one too."""
        return True
