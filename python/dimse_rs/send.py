"""Sending many files: look at them, plan the associations, send, and account for each file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from os import PathLike
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Final

from . import log, threads
from .accounting import Account
from .contexts import Contexts, FileInfo, Plan, expand, plan
from .dimse.bulk import Sending
from .dimse.run import run
from .dimse.steps import WAKE, SendFiles
from .encoding.repair import repair as repair_file
from .errors import (
    DecodeError,
    DimseError,
    NoPresentationContext,
    SendingCancelled,
    StatusError,
)
from .finding import look, look_at as look_at, named, unreadable_file
from .records import dataclass, field
from .retrying import Backoff, delay_before
from .send_report import SendInterrupted, SendReport, SendResult, Skipped
from .status import Status

if TYPE_CHECKING:
    from .association import Association
    from .dimse.bulk import Outcome
    from .settings import Peer

__all__ = ["SendReport", "SendResult", "Skipped", "send"]

_logger = log.get(log.ASSOCIATION)

REASSOCIATE: Final = 3
"""Associations in a row that may end without any answer, before the remaining files fail."""

_TURN: Final = 0.1
"""Seconds between two looks at whether a sending is cancelled."""

_GRACE: Final = 5.0
"""Seconds that the files on their way have to be answered when a sending is cancelled."""

_LAST: Final = 1.0
"""Seconds that are waited after Ctrl-C for the results of what was aborted."""


def send(
    way: Way,
    paths: Iterable[str | PathLike[str]] | str | PathLike[str],
    on_result: Callable[[SendResult], object] | None,
    on_event: Callable[[Mapping[str, Any]], object] | None,
) -> SendReport:
    """Carry out `AE.send`."""
    way.check_numbers()
    found = look(named(paths), way.recurse, way.repair)
    account = Account(found, way.resume, on_result, on_event)
    started = time.perf_counter()
    try:
        _send_all(account, way)
    except KeyboardInterrupt as interrupt:
        raise SendInterrupted(account.report(time.perf_counter() - started)) from interrupt
    return account.report(time.perf_counter() - started)


def _send_all(account: Account, way: Way) -> None:
    """Send the files, and those that failed for a while again, as often as is allowed."""
    files = account.begin()
    for number in range(1, way.retries + 2):
        account.is_last = number > way.retries
        _send_once(_Sender(way, account), way, files)
        files = account.postponed()
        if not files or way.is_cancelled():
            break
        seconds, why = delay_before(number, way.backoff), account.why_postponed()
        account.tell(event="retry", files=len(files), retry=number, seconds=seconds, why=why)
        what = (way.peer, len(files), why, seconds)
        text = "%s: %d files failed, first %s; trying again in %.1f s"
        _logger.warning(text, *what, extra={"code": "retry"})
        if way.wait(seconds):
            break
    account.settle()


def _send_once(sender: _Sender, way: Way, files: Sequence[FileInfo]) -> None:
    plans = plan(files) if way.contexts is None else [Plan(expand(way.contexts), tuple(files))]
    jobs = [part for whole in plans if whole.files for part in _split(whole, way.associations)]
    if way.associations == 1 or len(jobs) < 2:
        for job in jobs:
            sender.run(job)
    else:
        _run_together(sender, jobs, way.associations)


def _split(whole: Plan, parts: int) -> list[Plan]:
    """Cut a plan into parts of about the same number of bytes, keeping the order."""
    if parts == 1 or len(whole.files) < parts:
        return [whole]
    share = max(1, whole.size // parts)
    cut: list[list[FileInfo]] = [[]]
    filled = 0
    for index, file in enumerate(whole.files):
        left = len(whole.files) - index  # each remaining part gets a file at least
        if cut[-1] and len(cut) < parts and (filled >= share or left <= parts - len(cut)):
            cut.append([])
            filled = 0
        cut[-1].append(file)
        filled += file.size
    return [Plan(whole.contexts, tuple(files)) for files in cut]


@dataclass(frozen=True, slots=True)
class Way:
    """How files are sent: the arguments of `AE.send`.

    Attributes:
        associate: asks the peer for an association with `contexts`.
        peer: for messages.
        associations: most associations at once.
        recurse: whether folders inside folders are searched.
        repair: whether files that cannot be sent as they are, are repaired.
        contexts: to be proposed; None plans contexts from the files.
        reassociate: associations in a row that may end before their time without any answer; 0
            never associates again.
        check: whether files that are cut short are refused.
        retries: how often files are sent again that failed for a while.
        backoff: before the first retry.
        cancel: cancels the sending when it is set, by any of its owners.
        resume: the report of an earlier sending; what was stored then is not sent.
    """

    associate: Callable[..., Association]
    peer: Peer
    associations: int = 1
    recurse: bool = True
    repair: bool = False
    contexts: Contexts | None = None
    reassociate: int = REASSOCIATE
    check: bool = True
    retries: int = 0
    backoff: Backoff = 0.0
    cancel: tuple[Event, ...] = ()
    resume: SendReport | None = None

    def check_numbers(self) -> None:
        """Check the arguments before anything is looked at.

        Raises:
            ValueError: a number is not allowed.
        """
        if self.associations < 1:
            raise ValueError(f"associations is at least 1, not {self.associations}")
        for name, number in (("reassociate", self.reassociate), ("retries", self.retries)):
            if number < 0:
                raise ValueError(f"{name} is 0 or more, not {number}")
        if not callable(self.backoff) and not self.backoff >= 0:
            raise ValueError(f"backoff is a number of seconds or a function, not {self.backoff}")

    def is_cancelled(self) -> bool:
        """Whether the sending is to end."""
        return any(event.is_set() for event in self.cancel)

    def wait(self, seconds: float) -> bool:
        """Wait; return earlier, with True, when the sending is cancelled."""
        # In turns: several events cannot be waited for at once, and Ctrl-C is to be heard.
        end = time.monotonic() + seconds
        while not self.is_cancelled():
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, _TURN))
        return True


class _Sender:
    """Runs jobs, each over one association at a time, and gives results to the account."""

    def __init__(self, way: Way, account: Account) -> None:
        self._way = way
        self._account = account
        self._live: set[Association] = set()
        self._stopped = False

    def stop(self) -> None:
        """Abort the associations that live, and let no further one begin."""
        self._stopped = True
        for association in tuple(self._live):
            association.abort()

    def _is_over(self) -> bool:
        return self._stopped or self._way.is_cancelled()

    def run(self, job: Plan) -> None:
        """Send the files of one association, and the files that its end leaves over further ones.

        Only files of which no byte was sent are left: the peer may have stored any other.
        """
        unfruitful = 0  # associations in a row without an answer
        while job.files and not self._is_over():
            left = self._run_once(job)
            if self._is_over():
                return  # files without a result are for the report
            unfruitful = 0 if left.answered else unfruitful + 1
            most = self._way.reassociate
            if left.error is not None and (unfruitful > most or not most):
                self._not_sent(left.files, left.error)
                return
            # In the order of the files: outcomes come from the thread that reads ahead and from the
            # association, in either order.
            unsent = set(left.files)
            job = Plan(job.contexts, tuple(file for file in job.files if file in unsent))
            if job.files:
                what = (self._way.peer, left.error, len(job.files))
                text = "%s ended before its time, %s: associating again for %d files"
                _logger.warning(text, *what, extra={"code": "reassociate"})

    def _run_once(self, job: Plan) -> _Left:
        """Send files over one association; give the files that its end left unsent."""
        left = _Left()
        try:
            association = self._associate(job.contexts)
        except SendingCancelled:
            return left
        except DimseError as error:
            self._not_sent(job.files, error)
            return left
        self._live.add(association)
        try:
            if self._stopped:  # while it was made, so that `stop` could not abort it
                association.abort()
            peer = str(self._way.peer)
            self._account.tell(event="associated", peer=peer, contexts=_told(association))
            self._send(association, job.files, left)
        except BaseException:
            association.abort()
            raise
        finally:
            self._live.discard(association)
        if association.is_established:
            try:
                association.release()
            except DimseError as error:
                # A release that fails changes no result: every file has its answer.
                told = log.of(association._core, "unreleased")
                _logger.warning("%s was not released: %s", association, error, extra=told)
        return left

    def _associate(self, contexts: Contexts) -> Association:
        """Ask for an association, and give up waiting for it when the sending is cancelled.

        Raises:
            SendingCancelled: it was.
            DimseError: there is no association.
        """
        if not self._way.cancel:
            return self._way.associate(contexts=contexts)
        asking = _Asking(partial(self._way.associate, contexts=contexts))
        try:
            threads.start("dimse-associate", asking.ask)
        except (RuntimeError, MemoryError):
            asking.ask()  # no thread can be started now: cancelling waits for the association
        try:
            while not asking.over.wait(_TURN):
                if self._is_over():
                    raise SendingCancelled
        except BaseException:
            asking.leave()
            raise
        return asking.given()

    def _send(self, association: Association, files: Sequence[FileInfo], left: _Left) -> None:
        repaired = self._account.repaired
        singly = [file for file in files if file.path in repaired]
        files = [file for file in files if file.path not in repaired]
        core, within = association._core, association._timeouts.store
        sending = Sending(
            SendFiles([file.path for file in files], 0, within, check=self._way.check)
        )
        try:
            run(core, sending.begin())
        except DimseError as over:
            left.add(files, over)
            left.add(singly, over)
            return
        within = _TURN if self._way.cancel else WAKE
        ends: float | None = None
        try:
            while (outcomes := run(core, sending.outcomes(within))) is not None:
                self._take(outcomes, files, singly, left)
                if not self._way.is_cancelled():
                    continue
                if ends is None:
                    sending.stop()
                    ends = time.monotonic() + _GRACE
                elif time.monotonic() > ends:
                    association.abort()
        except KeyboardInterrupt:
            association.abort()
            self._take_last(association, sending, files)
            raise
        for file in singly:
            if self._is_over():
                return
            self._send_singly(association, file, left)

    def _take(
        self,
        outcomes: Iterable[Outcome],
        files: Sequence[FileInfo],
        singly: list[FileInfo],
        left: _Left,
    ) -> None:
        """Account for outcomes: results, files to be sent singly, and files that are left."""
        for sent in outcomes:
            file = files[sent.index]
            if sent.status is not None:
                left.answered = True
                self._add(_result(file, status=sent.status, comment=sent.comment, sent=True))
            elif sent.convertible:
                singly.append(file)
            elif not sent.begun and sent.error and not isinstance(sent.error, DecodeError):
                left.add([file], sent.error)
            else:
                self._add(_result(file, error=sent.error, sent=sent.begun))

    def _take_last(
        self, association: Association, sending: Sending, files: Sequence[FileInfo]
    ) -> None:
        """Take the results of files that were on their way at Ctrl-C: they may be stored."""
        end = time.monotonic() + _LAST
        # Python raises KeyboardInterrupt as a call returns, and drops what the call returned: the
        # last outcomes are asked for once more, and those that were accounted for are left out.
        outcomes: list[Outcome] | None = sending.last()
        with suppress(Exception):
            while outcomes is not None and time.monotonic() < end:
                new = [one for one in outcomes if not self._account.has(files[one.index].path)]
                self._take(new, files, [], _Left())
                outcomes = run(association._core, sending.outcomes(_TURN))

    def _add(self, result: SendResult) -> None:
        self._account.add(result)

    def _not_sent(self, files: Iterable[FileInfo], error: DimseError) -> None:
        for file in files:
            self._add(_result(file, error=error))

    def _send_singly(self, association: Association, file: FileInfo, left: _Left) -> None:
        """Send a file that was repaired, or whose transfer syntax the peer did not accept."""
        done = self._account.repaired.get(file.path, ())
        # Asked before the request: on an association that is over, no byte of the file has left.
        alive = association.is_established
        try:
            instance = repair_file(file.path).content if done else file.path
            status = association.c_store(instance, check=self._way.check)
        except StatusError as error:
            left.answered = True
            result = _result(file, status=error.status, comment=error.comment, sent=True)
        except (NoPresentationContext, DecodeError) as error:
            result = _result(file, error=error)
        except DimseError as error:
            if not alive:
                left.add([file], error)
                return
            result = _result(file, error=error, sent=True)
        except OSError as problem:
            result = _result(file, error=unreadable_file(file.path, problem))
        else:
            left.answered = True
            result = _result(file, status=status, sent=True)
        self._add(replace(result, repaired=done if result.bytes else ()))


class _Asking:
    """An association that is asked for on a thread of its own, which may be left behind."""

    def __init__(self, associate: Callable[[], Association]) -> None:
        self.over = Event()
        self._associate = associate
        self._lock = Lock()
        self._left = False
        self._association: Association | None = None
        self._error: BaseException | None = None

    def ask(self) -> None:
        association: Association | None = None
        try:
            association = self._associate()
        except BaseException as error:
            self._error = error
        with self._lock:
            self._association = association
            left = self._left
        if left and association is not None:
            association.abort()
        self.over.set()

    def leave(self) -> None:
        """Abort the association, now or when it is made."""
        with self._lock:
            self._left = True
            association = self._association
        if association is not None:
            association.abort()

    def given(self) -> Association:
        if self._error is not None:
            raise self._error
        assert self._association is not None  # noqa: S101 - it is one or the other
        return self._association


@dataclass(slots=True)
class _Left:
    """The files that the end of an association left unsent.

    Attributes:
        files: of which no byte was sent.
        error: the end of the association.
        answered: whether the peer answered any file on it.
    """

    files: list[FileInfo] = field(default_factory=list)
    error: DimseError | None = None
    answered: bool = False

    def add(self, files: Iterable[FileInfo], error: DimseError) -> None:
        """Keep files that were not sent, with the reason."""
        self.files += files
        self.error = error


def _result(
    file: FileInfo,
    *,
    status: Status | None = None,
    comment: str = "",
    error: DimseError | None = None,
    sent: bool = False,
) -> SendResult:
    return SendResult(
        file.path,
        file.sop_class,
        file.sop_instance,
        file.transfer_syntax,
        status,
        comment,
        error,
        file.size if sent else 0,
    )


def _told(association: Association) -> list[dict[str, str]]:
    return [
        {"class": str(context.sop_class), "syntax": str(context.transfer_syntax)}
        for context in association.accepted
    ]


def _run_together(sender: _Sender, jobs: Sequence[Plan], together: int) -> None:
    """Carry jobs out on threads, daemons, so that Ctrl-C need not wait for a connection."""
    waiting = SimpleQueue[Plan]()
    for job in jobs:
        waiting.put(job)
    failures: list[BaseException] = []

    def work() -> None:
        while True:
            try:
                job = waiting.get_nowait()
            except Empty:
                return
            try:
                sender.run(job)
            except BaseException as failure:  # of a callback: raised to the caller of `send`
                failures.append(failure)
                sender.stop()

    running: list[Thread] = []
    try:
        for number in range(min(together, len(jobs))):
            try:
                running.append(threads.start(f"dimse-send-{number}", work))
            except (RuntimeError, MemoryError):
                break  # no thread can be started now: the running ones do its share
        if not running:
            work()
        for thread in running:
            while thread.is_alive():
                thread.join(0.1)  # not for longer: a waiting thread does not hear Ctrl-C
    except BaseException as failure:
        sender.stop()
        end = time.monotonic() + _LAST
        for thread in running if isinstance(failure, KeyboardInterrupt) else ():
            thread.join(max(0.0, end - time.monotonic()))  # it has results of what was aborted
        raise
    if failures:
        raise failures[0]
