"""Sending the reports of storage commitment, on one event loop for all destinations (PS3.4 J.3.3).

A destination that does not answer occupies a connection, and neither a thread nor the turn of
another destination. A report goes at once on the association that asked; a report that cannot be
sent there joins the queue of its destination, and goes with the next association to it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Final, TypeAlias

from dimse_rs import (
    Context,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    log,
)
from dimse_rs.aio import AsyncAssociation, Background, Threads
from dimse_rs.errors import DimseError
from dimse_rs.settings import find_peer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydicom.dataset import Dataset

    from dimse_rs import AE, Association, Peer
    from dimse_rs.settings import PeersByTitle

__all__ = ["Reporter", "Transaction"]

_logger = log.get(log.SERVER)

AT_ONCE: Final = 4
"""Transactions whose instances are looked up at once."""

Report: TypeAlias = "tuple[int, Dataset | None]"
"""Event Type ID and event information."""

_numbers = count()


@dataclass(slots=True, eq=False)
class Transaction:
    """A request for commitment, until the peer took its report or the report was given up.

    Attributes:
        uid: Transaction UID.
        references: SOP Class and SOP Instance UIDs.
        calling: AE title of the SCU, which asked.
        called: AE title that the SCU has called, which reports.
        association: the one that the request came on, until it was tried for the report.
        attempts: associations of ours that were tried for the report.
        due: when the next association may be tried.
        refused: the peer accepted an association and refused the report on it.
        report: once the instances were looked up.
        number: place of the request among all requests.
    """

    uid: str
    references: list[tuple[str, str]]
    calling: str
    called: str
    association: Association | AsyncAssociation | None
    attempts: int = 0
    due: float = 0.0
    refused: bool = False
    report: Report = (0, None)
    number: int = field(default_factory=lambda: next(_numbers))


class _Queue:
    """Transactions whose reports wait for one destination."""

    def __init__(self) -> None:
        self.waiting: list[Transaction] = []
        self.grown = asyncio.Event()

    def in_order(self) -> list[Transaction]:
        """Give what may go now in the order of the requests, refused reports last.

        A peer that refuses one report, and perhaps aborts because of it, still gets the others.
        """
        now = time.monotonic()
        may_go = [one for one in self.waiting if not one.refused or one.due <= now]
        return sorted(may_go, key=lambda one: (one.refused, one.number))


class Reporter:
    """Has reports made, and sends them."""

    def __init__(
        self,
        judge: Callable[[Transaction], Report],
        over: Callable[[Transaction], None],
        peers: PeersByTitle,
        ae: AE,
        *,
        attempts: int,
        delay: float,
    ) -> None:
        """Start nothing yet.

        Args:
            judge: looks the instances up; called on a thread, where it may take its time.
            over: called when the peer took a report, or a report was given up.
            peers: where associations of ours go.
            ae: settings for them.
            attempts: how many of them a report has.
            delay: seconds to the second; each further delay is twice as long.
        """
        self._judge = judge
        self._over = over
        self._peers = peers
        self._ae = ae
        self._attempts = attempts
        self._delay = delay
        # Two sets of threads: functions of the user's that hang in one must not keep the other,
        # `peers=`, from being called.
        self._judging = Threads(AT_ONCE)
        self._finding = Threads()
        self._background = Background("dimse-commitment")
        # By calling and called title. Of the loop alone, as everything below `report` is.
        self._queues: dict[tuple[str, str], _Queue] = {}

    def report(
        self,
        uid: str,
        references: list[tuple[str, str]],
        association: Association | AsyncAssociation,
    ) -> None:
        """Report on a request that came on an association; returns at once. From any thread."""
        transaction = Transaction(uid, references, *association.titles, association)
        self._background.start(self._deliver, transaction)

    # ---- a transaction

    async def _deliver(self, transaction: Transaction) -> None:
        """Have a report made and send it, or give it up."""
        try:
            transaction.report = await self._judging.call(self._judge, transaction)
            if await self._sent_at_once(transaction):
                self._over(transaction)
            else:
                await self._enqueue(transaction)
        except Exception:
            _logger.exception("a commitment report failed", extra={"code": "commitment"})
            self._over(transaction)

    async def _sent_at_once(self, transaction: Transaction) -> bool:
        """Report on the association that asked; whether the peer took the report there."""
        # Taken out: a transaction may wait for hours, and would keep the association alive.
        association, transaction.association = transaction.association, None
        if association is None or not association.is_established:
            return False
        try:
            await self._send(AsyncAssociation.of(association), transaction)
        except DimseError as error:
            _logger.info("%s: not reported on the same association: %s", association, error)
            return False
        return True

    @staticmethod
    async def _send(association: AsyncAssociation, transaction: Transaction) -> None:
        event, information = transaction.report
        await association.n_event_report(
            event,
            information,
            sop_class=StorageCommitmentPushModel,
            instance_uid=StorageCommitmentPushModelInstance,
        )

    # ---- a destination

    async def _enqueue(self, transaction: Transaction) -> None:
        """Put a report into the queue of its destination; the first one there works it off."""
        where = transaction.calling, transaction.called
        queue = self._queues.get(where)
        if queue is not None:
            queue.waiting.append(transaction)
            queue.grown.set()
            return
        queue = self._queues[where] = _Queue()
        queue.waiting.append(transaction)
        try:
            while queue.waiting:
                queue.grown.clear()
                await self._associate(*where, queue)
                if queue.waiting and (wait := self._wait(queue)) > 0:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await queue.grown.wait()
        finally:
            del self._queues[where]
            for left in queue.waiting:  # only after an error in this module
                self._over(left)

    @staticmethod
    def _wait(queue: _Queue) -> float:
        return min(one.due for one in queue.waiting) - time.monotonic()

    async def _associate(self, calling: str, called: str, queue: _Queue) -> None:
        """Associate with a destination once, and send what waits for it."""
        due = [one for one in queue.waiting if one.due <= time.monotonic()]
        found = await self._finding.call(self._find, calling)
        if found is None:
            self._failed(queue, due, "its address could not be looked up")
            return
        [peer] = found
        if peer is None:
            for transaction in due:
                self._give_up(queue, transaction, "it is not among the peers")
            return
        untried = set(due)
        try:
            ae = replace(self._ae, title=called)
            # The roles are reversed: we ask for the association and are the SCP (PS3.4 J.3.3).
            context = Context(StorageCommitmentPushModel, scu=False, scp=True)
            async with ae.associate_async(peer, contexts=context) as association:
                await self._send_all(association, peer, queue, untried)
        except DimseError as error:
            # Once a report was tried, what failed is the end of the association, and that loses
            # nothing: each report that was tried has its own account.
            if untried == set(due):
                _logger.info("commitment report to %s: %s", peer, error)
                self._failed(queue, due, str(error))

    def _find(self, calling: str) -> tuple[Peer | None] | None:
        """Look an address up; None when the user's mapping or function failed at that."""
        try:
            return (find_peer(self._peers, calling),)
        except BaseException:  # sys.exit() too: it must not take other reports along
            _logger.exception("peers= failed", extra={"code": "handler-failed"})
            return None

    async def _send_all(
        self, association: AsyncAssociation, peer: Peer, queue: _Queue, untried: set[Transaction]
    ) -> None:
        for number, transaction in enumerate(queue.in_order()):
            if number and not association.is_established:
                return  # the others have the next association
            try:
                await self._send(association, transaction)
            except DimseError as error:
                _logger.info("commitment report to %s: %s", peer, error)
                transaction.refused = True
                self._failed(queue, [transaction], str(error))
            else:
                self._leave(queue, transaction)
            untried.discard(transaction)

    def _failed(self, queue: _Queue, transactions: Iterable[Transaction], why: str) -> None:
        """Count an attempt; say when the next one is due, or give the report up."""
        for transaction in transactions:
            transaction.attempts += 1
            if transaction.attempts >= self._attempts:
                self._give_up(queue, transaction, why)
            else:
                delay = self._delay * 2 ** (transaction.attempts - 1)
                transaction.due = time.monotonic() + delay

    def _give_up(self, queue: _Queue, transaction: Transaction, why: str) -> None:
        _logger.error(
            "storage commitment %s not reported to %s: %s",
            transaction.uid,
            transaction.calling,
            why,
            extra={"code": "commitment"},
        )
        self._leave(queue, transaction)

    def _leave(self, queue: _Queue, transaction: Transaction) -> None:
        queue.waiting.remove(transaction)
        self._over(transaction)
