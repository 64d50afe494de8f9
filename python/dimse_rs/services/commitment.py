"""Storage Commitment, Push Model, both ways (PS3.4 Annex J).

`Commitment` is the SCP; `CommitmentReports` and `commit` are the SCU. A report comes on the
association that the SCU asked on, or on another one that the SCP asks for, with the roles reversed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dimse_rs import Handlers, SOPClass, log
from dimse_rs.callables import check_face, check_function, is_data_set, name_of
from dimse_rs.datasets import instance_uids, is_uid, new_uid, quietly
from dimse_rs.errors import DecodeError, DimseTimeout, StatusError
from dimse_rs.settings import PeerLike, PeersByTitle, check_peers
from dimse_rs.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance
from dimse_rs.status import (
    DUPLICATE_TRANSACTION_UID,
    INVALID_ARGUMENT_VALUE,
    NO_SUCH_ACTION_TYPE,
    NO_SUCH_ARGUMENT,
    NO_SUCH_EVENT_TYPE,
    NO_SUCH_SOP_INSTANCE,
    PROCESSING_FAILURE,
    RESOURCE_LIMITATION,
    Status,
)

from ._sequences import items_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dimse_rs import AE, ActionRequest, Association, AsyncAssociation, EventRequest

    from ._async_reports import Transaction

__all__ = ["Commitment", "CommitmentReport", "CommitmentReports", "commit", "commit_async"]

_logger = log.get(log.SERVER)

REQUEST: Final = 1
"""Action Type ID of a request (PS3.4 J.3.2)."""
ALL_COMMITTED: Final = 1
SOME_FAILED: Final = 2
"""Event Type IDs of a report (PS3.4 J.3.3)."""


_TURN: Final = 0.2
"""Seconds between two looks at Ctrl-C and at the association, while a report is waited for."""

IsStored: TypeAlias = Callable[[SOPClass, str], "bool | int"]
"""Whether an instance is safely stored; if not, perhaps the Failure Reason (PS3.3 C.14.1)."""


# ---- the SCP


class Commitment:
    """Commits itself to instances that are safely stored: a service for a `Server`.

    A request is answered as soon as it is understood. Then the instances are looked up, and the
    result is reported: at once on the same association if that lives, else on an association of
    ours, in the order of the requests. A peer that does not answer delays no report to another
    peer. Reports that are outstanding when the process ends are lost.
    """

    def __init__(
        self,
        is_stored: IsStored,
        *,
        peers: PeersByTitle | None = None,
        ae: AE | None = None,
        attempts: int = 6,
        delay: float = 5.0,
        most: int = 1000,
    ) -> None:
        """Keep the settings.

        Args:
            is_stored: called for each instance with its SOP Class and SOP Instance UID, on a thread
                of its own; gives True, False, or a failure reason such as 0x0119.
            peers: addresses for reports when the association of the request is over: by the AE
                title of the SCU, or a function that gives the address of a title, or None. Looked
                up for each attempt.
            ae: settings for associations that this side requests; their calling title is the title
                that the SCU has called.
            attempts: associations that are tried for a report.
            delay: seconds to the second attempt; each further delay is twice as long.
            most: reports that may be outstanding; further requests are refused with 0213.

        Raises:
            ValueError: a title, an address or a number is not allowed.
            TypeError: `is_stored` does not take these two arguments, or is asynchronous.
        """
        from dimse_rs import AE

        from ._async_reports import Reporter

        if attempts < 1:
            raise ValueError(f"attempts is at least 1, not {attempts}")
        check_function("is_stored", is_stored, "a SOP Class", "a SOP Instance UID")
        self._is_stored = is_stored
        self._most = most
        self._outstanding: set[str] = set()
        self._lock = threading.Lock()
        self._reporter = Reporter(
            self._judged,
            self._over,
            check_peers({} if peers is None else peers),
            ae if ae is not None else AE(),
            attempts=attempts,
            delay=delay,
        )

    def __repr__(self) -> str:
        """Show the function, and how many reports wait to be delivered."""
        return (
            f"<Commitment {name_of(self._is_stored)}, {len(self._outstanding)} reports outstanding>"
        )

    def register(self, handlers: Handlers) -> None:
        """Add a handler of N-ACTION."""
        handlers.n_action(StorageCommitmentPushModel)(self._requested)

    @property
    def outstanding(self) -> frozenset[str]:
        """Transaction UIDs whose report no peer has taken yet, and that is not given up."""
        with self._lock:
            return frozenset(self._outstanding)

    def _requested(self, request: ActionRequest) -> None:
        if request.instance_uid != StorageCommitmentPushModelInstance:
            raise StatusError(NO_SUCH_SOP_INSTANCE)
        if request.action_type != REQUEST:
            raise StatusError(NO_SUCH_ACTION_TYPE)
        uid, references = _read_request(request.dataset)
        # A transaction is known by its UID until its report is out: the same UID again would make
        # two reports that the SCU cannot tell apart.
        with self._lock:
            if uid in self._outstanding:
                raise StatusError(DUPLICATE_TRANSACTION_UID)
            if len(self._outstanding) >= self._most:
                raise StatusError(RESOURCE_LIMITATION, "too many reports outstanding")
            self._outstanding.add(uid)
        # After the response: the SCU learns from it that a report will come.
        association = request.association
        request.afterwards(lambda: self._reporter.report(uid, references, association))

    def _over(self, transaction: Transaction) -> None:
        with self._lock:
            self._outstanding.discard(transaction.uid)

    @quietly
    def _judged(self, transaction: Transaction) -> tuple[int, Dataset]:
        from dimse_rs.encoding.library import Dataset

        committed, failed = [], []
        for sop_class, instance in transaction.references:
            item = Dataset()
            item.ReferencedSOPClassUID = sop_class
            item.ReferencedSOPInstanceUID = instance
            reason = self._reason(sop_class, instance)
            if reason is None:
                committed.append(item)
            else:
                item.FailureReason = reason
                failed.append(item)
        report = Dataset()
        report.TransactionUID = transaction.uid
        if committed:
            report.ReferencedSOPSequence = committed
        if failed:
            report.FailedSOPSequence = failed
        return SOME_FAILED if failed else ALL_COMMITTED, report

    def _reason(self, sop_class: str, instance: str) -> int | None:
        """Give the reason why an instance is not committed; None when it is."""
        try:
            answer = self._is_stored(SOPClass.of(sop_class), instance)
            if isinstance(answer, bool):
                return None if answer else NO_SUCH_SOP_INSTANCE
            return Status(answer)
        except BaseException:  # sys.exit() too: it must not take other reports along
            _logger.exception("is_stored failed", extra={"code": "handler-failed"})
            return PROCESSING_FAILURE


def _read_request(dataset: Dataset) -> tuple[str, list[tuple[str, str]]]:
    """Read transaction UID and references.

    Raises:
        StatusError: 0114 when a UID or a reference is missing, 0115 when it is malformed or comes
            twice.
    """
    uid = str(dataset.get("TransactionUID") or "")
    if not uid:
        raise StatusError(NO_SUCH_ARGUMENT, "(0008,1195) is missing")
    if not is_uid(uid):
        raise StatusError(INVALID_ARGUMENT_VALUE, "(0008,1195) is no UID")
    references = _references(dataset, "ReferencedSOPSequence")
    if not references:
        raise StatusError(NO_SUCH_ARGUMENT, "(0008,1199) is missing or empty")
    if not all(is_uid(part) for reference in references for part in reference):
        raise StatusError(INVALID_ARGUMENT_VALUE, "(0008,1199) has an item without its UIDs")
    if len({instance for _, instance in references}) != len(references):
        raise StatusError(INVALID_ARGUMENT_VALUE, "(0008,1199) has an instance twice")
    return uid, references


def _references(dataset: Dataset, keyword: str) -> list[tuple[str, str]]:
    return [
        (str(item.get("ReferencedSOPClassUID", "")), str(item.get("ReferencedSOPInstanceUID", "")))
        for item in items_of(dataset, keyword, INVALID_ARGUMENT_VALUE)
    ]


# ---- the SCU


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """The result of a request for commitment.

    Attributes:
        transaction_uid: of the request.
        committed: SOP Instance UIDs that the peer has committed itself to.
        failed: SOP Instance UIDs that the peer has refused, each with the reason.
        missing: SOP Instance UIDs of the request that the report does not name.
    """

    transaction_uid: str
    committed: tuple[str, ...]
    failed: Mapping[str, Status] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every instance was committed."""
        return not self.failed and not self.missing


class CommitmentReports:
    """Asks for commitment and receives the reports: a service for an association and a server.

    The association that asks receives reports with `handlers=Handlers([reports])`. A peer that
    reports later connects to us, so that a `Server` at the address that the peer has for our AE
    title takes `services=[reports]`.
    """

    def __init__(self, on_report: Callable[[CommitmentReport], object] | None = None) -> None:
        """Wait for nothing yet.

        Args:
            on_report: called with each report, also those of transactions that this object did not
                ask for, which are refused without such a function. An exception refuses the report.
        """
        self._on_report = on_report
        self._asked: dict[str, tuple[str, ...]] = {}
        self._reports: dict[str, CommitmentReport] = {}
        self._changed = threading.Condition()
        self._waiters: set[Callable[[], object]] = set()

    def __repr__(self) -> str:
        """Show how many reports are to come, and how many have come."""
        return (
            f"<CommitmentReports {len(self._asked)} asked, {len(self._reports)} to be waited for>"
        )

    def register(self, handlers: Handlers) -> None:
        """Add a handler of N-EVENT-REPORT."""
        handlers.n_event_report(StorageCommitmentPushModel)(self._reported)

    def ask(self, association: Association, instances: Iterable[Any]) -> str:
        """Ask for commitment (N-ACTION).

        Args:
            association: with a context for `StorageCommitmentPushModel`.
            instances: pairs of SOP Class and SOP Instance UID, paths of Part 10 files, pydicom data
                sets, or results of `AE.send`, of which those count that were sent.

        Returns:
            The transaction UID, for `wait`.

        Raises:
            StatusError: the peer refused the request.
            ValueError: there are no instances.
            TypeError: an `AsyncAssociation`, which is for `ask_async`.
            As `Association.n_action`.

        Source: PS3.4 J.3.2.
        """
        check_face(association, "ask_async(...)")
        request = _request_for(instances)
        with self._expecting(request) as uid:
            association.n_action(
                REQUEST,
                request,
                sop_class=StorageCommitmentPushModel,
                instance_uid=StorageCommitmentPushModelInstance,
            )
        return uid

    async def ask_async(self, association: AsyncAssociation, instances: Iterable[Any]) -> str:
        """Ask for commitment on an event loop: see `ask`."""
        import asyncio

        check_face(association, "ask(...)", asynchronous=True)
        request = await asyncio.to_thread(_request_for, instances)  # it may read files
        with self._expecting(request) as uid:
            await association.n_action(
                REQUEST,
                request,
                sop_class=StorageCommitmentPushModel,
                instance_uid=StorageCommitmentPushModelInstance,
            )
        return uid

    @contextmanager
    def _expecting(self, request: Dataset) -> Iterator[str]:
        """Expect the report of a request, which may come before the response to the request."""
        uid = str(request.TransactionUID)
        with self._changed:
            items = request.ReferencedSOPSequence
            self._asked[uid] = tuple(str(item.ReferencedSOPInstanceUID) for item in items)
        try:
            yield uid
        except BaseException:
            self.forget(uid)
            raise

    def wait(
        self, uid: str, timeout: float = 60.0, *, association: Association | None = None
    ) -> CommitmentReport:
        """Wait for the report of a transaction, and forget the transaction.

        Args:
            uid: the transaction UID that `ask` gave.
            timeout: seconds. After a timeout, wait again or `forget` the transaction.
            association: stop waiting when this association ends, for peers that report on no other.

        Raises:
            DimseTimeout: no report came in time.
            AssociationError, TransportError: the association ended before.
            KeyError: there is no such transaction, or its report was given before.
            TypeError: an `AsyncAssociation`, which is for `wait_async`.

        Source: PS3.4 J.3.3.
        """
        check_face(association, "wait_async(...)")
        deadline = time.monotonic() + timeout
        with self._changed:
            while not self._has_come(uid, association):
                self._changed.wait(_turn(uid, deadline, timeout))
            return self._reports.pop(uid)

    async def wait_async(
        self,
        uid: str,
        timeout: float = 60.0,  # noqa: ASYNC109 - the arguments are those of `wait`
        *,
        association: AsyncAssociation | None = None,
    ) -> CommitmentReport:
        """Wait for the report of a transaction on an event loop: see `wait`."""
        import asyncio

        check_face(association, "wait(...)", asynchronous=True)
        deadline = time.monotonic() + timeout
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        wake = partial(loop.call_soon_threadsafe, woken.set)
        try:
            while True:
                with self._changed:
                    woken.clear()
                    self._waiters.add(wake)
                    if self._has_come(uid, association):
                        return self._reports.pop(uid)
                turn = _turn(uid, deadline, timeout)
                with suppress(TimeoutError):
                    async with asyncio.timeout(turn):
                        await woken.wait()
        finally:
            with self._changed:
                self._waiters.discard(wake)

    def _has_come(self, uid: str, association: Association | AsyncAssociation | None) -> bool:
        """Whether a report has come; the lock is held.

        Raises:
            KeyError: it will not come, since there is no such transaction.
            AssociationError, TransportError: the association is over, and the report did not come.
        """
        if uid in self._reports:
            return True
        if uid not in self._asked:
            raise KeyError(uid)
        if association is not None and association.ended is not None:
            raise association.ended
        return False

    def forget(self, uid: str) -> None:
        """Forget a transaction; its report, should one come, is refused."""
        with self._changed:
            self._asked.pop(uid, None)
            self._reports.pop(uid, None)

    def _reported(self, request: EventRequest) -> None:
        if request.event_type not in (ALL_COMMITTED, SOME_FAILED):
            raise StatusError(NO_SUCH_EVENT_TYPE)
        dataset = request.dataset
        uid = str(dataset.get("TransactionUID") or "")
        with self._changed:
            asked = self._asked.get(uid)
        if asked is None and self._on_report is None:
            raise StatusError(INVALID_ARGUMENT_VALUE, "unknown transaction")
        report = _report_of(uid, dataset, asked or ())
        if self._on_report is not None:
            self._on_report(report)
        # After the response, which the peer must have before a caller of `wait` releases the
        # association.
        request.afterwards(lambda: self._take(uid, report))

    def _take(self, uid: str, report: CommitmentReport) -> None:
        with self._changed:
            if self._asked.pop(uid, None) is not None:
                self._reports[uid] = report
                self._changed.notify_all()
                for wake in self._waiters:
                    with suppress(RuntimeError):  # that loop was closed
                        wake()


def _turn(uid: str, deadline: float, timeout: float) -> float:
    """Give the seconds until the next look: the end of the association and Ctrl-C wake no one.

    Raises:
        DimseTimeout: the time is over.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        what = f"no commitment report for {uid} after {timeout:g} s"
        raise DimseTimeout("dimse", timeout, message=what)
    return min(left, _TURN)


@quietly
def _request_for(instances: Iterable[Any]) -> Dataset:
    """Make the action information of a request, with a new transaction UID.

    Raises:
        ValueError: there are no instances.
        DecodeError: an instance has no UIDs.
    """
    from dimse_rs.encoding.library import Dataset

    references = dict(pair for one in instances if (pair := _reference(one)) is not None)
    if not references:
        raise ValueError("no instances to ask commitment for")
    request = Dataset()
    request.TransactionUID = new_uid()
    items = []
    for instance, sop_class in references.items():
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class
        item.ReferencedSOPInstanceUID = instance
        items.append(item)
    request.ReferencedSOPSequence = items
    return request


def _report_of(uid: str, dataset: Dataset, asked: tuple[str, ...]) -> CommitmentReport:
    for keyword in ("FailedSOPSequence", "ReferencedSOPSequence"):
        for reference in _references(dataset, keyword):
            if not all(map(is_uid, reference)):
                what = f"{keyword} has an item without its UIDs"
                raise StatusError(INVALID_ARGUMENT_VALUE, what)
    failed = {
        str(item.get("ReferencedSOPInstanceUID", "")): Status(
            item.get("FailureReason") or PROCESSING_FAILURE, "storage-commitment"
        )
        for item in items_of(dataset, "FailedSOPSequence", INVALID_ARGUMENT_VALUE)
    }
    committed = [instance for _, instance in _references(dataset, "ReferencedSOPSequence")]
    # An instance in both lists counts as failed: a modality deletes what is committed.
    named = {*failed, *committed}
    return CommitmentReport(
        uid,
        tuple(instance for instance in committed if instance not in failed),
        failed,
        tuple(instance for instance in asked if instance not in named),
    )


def _reference(instance: Any) -> tuple[str, str] | None:
    """Give SOP Instance UID and SOP Class UID; None for a file that was not sent."""
    if isinstance(instance, tuple):
        sop_class, uid = instance
    elif isinstance(instance, (str, PathLike)) or is_data_set(instance):
        sop_class, uid = instance_uids(instance)
    else:
        if not instance.ok:
            return None
        sop_class, uid = instance.sop_class, instance.sop_instance
    if not is_uid(str(uid)) or not is_uid(str(sop_class)):
        what = type(instance).__name__  # no values: they may be a patient's
        raise DecodeError(f"a {what} without SOP Class and SOP Instance UID", section="PS3.4 J.3.2")
    return str(uid), str(sop_class)


def commit(
    ae: AE, peer: PeerLike, instances: Iterable[Any], *, timeout: float = 60.0
) -> CommitmentReport:
    """Ask for commitment and wait for the report, on one association.

    For peers that report on the association of the request. For others use `CommitmentReports`.

    Args:
        ae: our settings.
        peer: as for `AE.associate`.
        instances: as for `CommitmentReports.ask`, such as `report.results` of `AE.send`.
        timeout: seconds to wait for the report.

    Raises:
        As `AE.associate`, `CommitmentReports.ask` and `CommitmentReports.wait`.
    """
    reports = CommitmentReports()
    with ae.associate(
        peer, contexts=StorageCommitmentPushModel, handlers=Handlers([reports])
    ) as association:
        uid = reports.ask(association, instances)
        return reports.wait(uid, timeout, association=association)


async def commit_async(
    ae: AE,
    peer: PeerLike,
    instances: Iterable[Any],
    *,
    timeout: float = 60.0,  # noqa: ASYNC109 - the arguments are those of `commit`
) -> CommitmentReport:
    """Ask for commitment and wait for the report on an event loop: see `commit`."""
    reports = CommitmentReports()
    async with ae.associate_async(
        peer, contexts=StorageCommitmentPushModel, handlers=Handlers([reports])
    ) as association:
        uid = await reports.ask_async(association, instances)
        return await reports.wait_async(uid, timeout, association=association)
