"""Taking the reports of storage commitment to those who asked: one event loop for all, on a thread.

A peer that does not answer costs a connection that waits, and neither a thread nor another's turn.
Reports go at once on the association that asked; what cannot be told there stands in the line of
its destination, in the order of the requests, and goes with the next association to it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Final, TypeAlias

from dimse_rs import log, threads
from dimse_rs.aio._run import run
from dimse_rs.aio.threads import Threads
from dimse_rs.completer import Completer
from dimse_rs.contexts import Context
from dimse_rs.errors import DimseError
from dimse_rs.fields import N_EVENT_REPORT_RQ
from dimse_rs.settings import find_peer
from dimse_rs.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydicom.dataset import Dataset

    from dimse_rs.ae import AE
    from dimse_rs.dimse.calls import AssociationFacts
    from dimse_rs.settings import Peer, PeersByTitle

__all__ = ["Courier", "Transaction"]

_logger = log.get(log.SERVER)

AT_ONCE: Final = 4
"""Transactions whose instances are looked up at once."""

TURN: Final = 1.0
"""Seconds that the thread waits for the next transaction when there is none."""

Report: TypeAlias = "tuple[int, Dataset | None]"
"""Event Type ID and event information."""

_numbers = count()


@dataclass(slots=True, eq=False)
class Transaction:
    """A request for commitment, until its report was taken or given up.

    Attributes:
        uid: Transaction UID.
        references: SOP Class and SOP Instance UIDs.
        calling: AE title that asked.
        called: the one that it has called, which reports.
        association: the one that it came on.
        attempts: associations of ours that were tried for the report.
        due: when the next one may be tried.
        refused: an association was had, and the report was not taken on it.
        report: once the instances were looked up.
    """

    uid: str
    references: list[tuple[str, str]]
    calling: str
    called: str
    association: AssociationFacts | None
    attempts: int = 0
    due: float = 0.0
    refused: bool = False
    report: Report = (0, None)
    number: int = field(default_factory=lambda: next(_numbers))


class _Line:
    """What waits for one destination."""

    def __init__(self) -> None:
        self.waiting: list[Transaction] = []
        self.grown = asyncio.Event()

    def in_order(self) -> list[Transaction]:
        """Give what may go: as it was asked for, and last what the peer has refused before."""
        now = time.monotonic()
        may_go = [one for one in self.waiting if not one.refused or one.due <= now]
        return sorted(may_go, key=lambda one: (one.refused, one.number))


class Courier:
    """Has reports made, and takes them there."""

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
            judge: looks the instances up; on a thread, it may take its time.
            over: told when a report was taken or given up.
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
        self._threads = Threads()
        self._lines: dict[tuple[str, str], _Line] = {}
        self._lock = Lock()
        self._inbox: list[Transaction] = []
        self._wake: Callable[[], object] | None = None
        self._runs = False

    def take(
        self, uid: str, references: list[tuple[str, str]], association: AssociationFacts
    ) -> None:
        """Report on what was asked on an association; returns at once. From any thread."""
        transaction = Transaction(uid, references, *association.titles, association)
        with self._lock:
            self._inbox.append(transaction)
            if self._wake is not None:
                with suppress(RuntimeError):  # the loop ended by a fault: there will be another
                    self._wake()
        threads.keep_trying(self._has_thread)

    # ---- its thread

    def _has_thread(self) -> bool:
        with self._lock:
            if self._inbox and not self._runs:
                self._runs = threads.started("dimse-commitment", self._run)
            return self._runs or not self._inbox

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException:
            _logger.exception("commitment reports are lost", extra={"code": "commitment"})
        finally:
            with self._lock:
                self._runs, self._wake = False, None
            threads.keep_trying(self._has_thread)

    async def _serve(self) -> None:
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        self._completer = Completer.here()
        self._free = asyncio.Semaphore(AT_ONCE)
        self._lines.clear()
        tasks: set[asyncio.Task[None]] = set()
        with self._lock:
            self._wake = lambda: loop.call_soon_threadsafe(arrived.set)
        while True:
            arrived.clear()
            with self._lock:
                taken, self._inbox = self._inbox, []
            for transaction in taken:
                task = loop.create_task(self._deliver(transaction))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            del taken
            try:
                async with asyncio.timeout(TURN):
                    await arrived.wait()
            except TimeoutError:
                with self._lock:
                    if not tasks and not self._inbox:
                        self._wake = None
                        return

    # ---- a transaction

    async def _deliver(self, transaction: Transaction) -> None:
        """Have a report made and take it there, or give it up; nobody hears of what it raises."""
        try:
            async with self._free:
                transaction.report = await self._threads.call(self._judge, transaction)
            if await self._is_told_at_once(transaction):
                self._over(transaction)
            else:
                await self._stand_in_line(transaction)
        except Exception:
            _logger.exception("a commitment report failed", extra={"code": "commitment"})
            self._over(transaction)

    async def _is_told_at_once(self, transaction: Transaction) -> bool:
        association, transaction.association = transaction.association, None
        if association is None or not association.is_established:
            return False
        try:
            await self._tell(association, transaction)
        except DimseError as error:
            _logger.info("%s: not reported on the same association: %s", association, error)
            return False
        return True

    async def _tell(self, association: AssociationFacts, transaction: Transaction) -> None:
        """Send a report, whatever kind of server the association is of."""
        event, information = transaction.report
        steps = association._service(
            N_EVENT_REPORT_RQ,
            StorageCommitmentPushModel,
            StorageCommitmentPushModelInstance,
            information,
            EventTypeID=event,
        )
        await run(association._core, steps, self._completer)

    # ---- a destination

    async def _stand_in_line(self, transaction: Transaction) -> None:
        where = transaction.calling, transaction.called
        line = self._lines.get(where)
        if line is not None:
            line.waiting.append(transaction)
            line.grown.set()
            return
        line = self._lines[where] = _Line()
        line.waiting.append(transaction)
        try:
            while line.waiting:
                line.grown.clear()
                await self._go(*where, line)
                if line.waiting and (wait := self._wait(line)) > 0:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await line.grown.wait()
        finally:
            del self._lines[where]
            for left in line.waiting:  # by a fault of ours
                self._over(left)

    @staticmethod
    def _wait(line: _Line) -> float:
        return min(one.due for one in line.waiting) - time.monotonic()

    async def _go(self, calling: str, called: str, line: _Line) -> None:
        """Associate with a destination once, and tell it what waits."""
        due = [one for one in line.waiting if one.due <= time.monotonic()]
        found = await self._threads.call(self._find, calling)
        if found is None:
            self._failed(line, due, "its address could not be looked up")
            return
        [peer] = found
        if peer is None:
            for transaction in due:
                self._give_up(line, transaction, "it is not among the peers")
            return
        untold = set(due)
        try:
            ae = replace(self._ae, title=called)
            context = Context(StorageCommitmentPushModel, scu=False, scp=True)
            async with ae.associate_async(peer, contexts=context) as association:
                await self._tell_all(association, peer, line, untold)
        except DimseError as error:
            # After the first was tried it is the end that failed, and nothing is lost by that.
            if untold == set(due):
                _logger.info("commitment report to %s: %s", peer, error)
                self._failed(line, due, str(error))

    def _find(self, calling: str) -> tuple[Peer | None] | None:
        """Look an address up; None when the user's mapping or function failed at that."""
        try:
            return (find_peer(self._peers, calling),)
        except BaseException:  # sys.exit() too: it must not take the others along
            _logger.exception("peers= failed", extra={"code": "handler-failed"})
            return None

    async def _tell_all(
        self, association: AssociationFacts, peer: Peer, line: _Line, untold: set[Transaction]
    ) -> None:
        for number, transaction in enumerate(line.in_order()):
            if number and not association.is_established:
                return  # the others have the next association
            try:
                await self._tell(association, transaction)
            except DimseError as error:
                _logger.info("commitment report to %s: %s", peer, error)
                transaction.refused = True
                self._failed(line, [transaction], str(error))
            else:
                self._leave(line, transaction)
            untold.discard(transaction)

    def _failed(self, line: _Line, transactions: Iterable[Transaction], why: str) -> None:
        """Count an attempt, and have the next one in its time, if there is one."""
        for transaction in transactions:
            transaction.attempts += 1
            if transaction.attempts >= self._attempts:
                self._give_up(line, transaction, why)
            else:
                delay = self._delay * 2 ** (transaction.attempts - 1)
                transaction.due = time.monotonic() + delay

    def _give_up(self, line: _Line, transaction: Transaction, why: str) -> None:
        _logger.error(
            "storage commitment %s not reported to %s: %s",
            transaction.uid,
            transaction.calling,
            why,
            extra={"code": "commitment"},
        )
        self._leave(line, transaction)

    def _leave(self, line: _Line, transaction: Transaction) -> None:
        line.waiting.remove(transaction)
        self._over(transaction)
