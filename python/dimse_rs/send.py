"""Sending many files: look at them, plan the associations, send, and account for each file."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Final

from . import _core, log, threads
from .contexts import Contexts, FileInfo, Plan, expand, plan
from .datasets import in_a_file
from .dimse.bulk import Sending
from .dimse.run import run
from .dimse.steps import SendFiles
from .encoding.repair import repair as repair_file
from .errors import DecodeError, DimseError, NoPresentationContext, StatusError
from .records import dataclass, field
from .send_report import SendReport, SendResult, Skipped
from .sop_class import MediaStorageDirectoryStorage
from .status import Status

if TYPE_CHECKING:
    from .association import Association
    from .settings import Peer

__all__ = ["SendReport", "SendResult", "Skipped", "send"]

_logger = log.get(log.ASSOCIATION)

_DICOMDIR: Final = "DICOMDIR"
_DIRECTORY: Final = "a directory of instances, not one of them"

REASSOCIATE: Final = 3
"""Associations in a row that may end without any answer, before the remaining files fail."""


def send(
    way: Way,
    paths: Iterable[str | PathLike[str]] | str | PathLike[str],
    on_result: Callable[[SendResult], object] | None,
    on_event: Callable[[Mapping[str, Any]], object] | None,
) -> SendReport:
    """Carry out `AE.send`."""
    if way.associations < 1:
        raise ValueError(f"associations is at least 1, not {way.associations}")
    if way.reassociate < 0:
        raise ValueError(f"reassociate is 0 or more, not {way.reassociate}")
    found = _look_at(_named(paths), way.recurse, way.repair)
    readable = tuple(file for file in found.order if isinstance(file, FileInfo))
    plans = plan(readable) if way.contexts is None else [Plan(expand(way.contexts), readable)]
    account = _Account(way, found.repaired, on_result, on_event)
    account.tell(event="progress", total=len(found.order))
    for file in found.order:
        if isinstance(file, SendResult):
            account.add(file)
    started = time.perf_counter()
    jobs = [part for whole in plans if whole.files for part in _split(whole, way.associations)]
    if way.associations == 1 or len(jobs) < 2:
        for job in jobs:
            account.run(job)
    else:
        _run_together(account, jobs, way.associations)
    seconds = time.perf_counter() - started
    results = tuple(account.results[file.path] for file in found.order)
    return SendReport(results, seconds, tuple(found.skipped))


def look_at(
    paths: Iterable[str | PathLike[str]], *, recurse: bool = True
) -> list[FileInfo | SendResult]:
    """Look at files, and search folders, as `AE.send` does before it sends.

    Returns:
        In order, a description of each file, or a result with the reason why it cannot be sent.

    Raises:
        ValueError: a path is empty.
    """
    return _look_at(_named(paths), recurse, False).order


def _named(paths: Iterable[str | PathLike[str]] | str | PathLike[str]) -> list[Path]:
    """Make paths of the arguments.

    Raises:
        ValueError: there are no paths, or an empty one, which would mean the current folder.
    """
    given = [paths] if isinstance(paths, (str, PathLike)) else list(paths)
    if not given:
        raise ValueError("no paths: there is nothing to send")
    if "" in given:
        raise ValueError('"" is no path; the current folder is "."')
    return [Path(path) for path in given]


@dataclass
class _Found:
    repair: bool = False
    order: list[FileInfo | SendResult] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)
    repaired: dict[Path, tuple[str, ...]] = field(default_factory=dict)

    def skip(self, path: Path, reason: str) -> None:
        """Keep a path that is not sent, with the reason."""
        _logger.info("skipped %s: %s", path, reason, extra={"code": "skipped"})
        self.skipped.append(Skipped(path, reason))

    def fail(self, path: Path, problem: DimseError | OSError) -> None:
        """Keep a file that cannot be sent, with the reason."""
        error = problem if isinstance(problem, DimseError) else _unreadable(path, problem)
        self.order.append(SendResult(path, error=error))


def _look_at(paths: Iterable[Path], recurse: bool, repair: bool) -> _Found:
    found = _Found(repair)
    for path in paths:
        if os.path.isdir(path):
            for inside in _files_in(path, recurse, found):
                _look_at_file(inside, found, searched=True)
        else:
            _look_at_file(path, found, searched=False)
    return found


def _files_in(folder: Path, recurse: bool, found: _Found) -> Iterator[Path]:
    def unreadable(problem: OSError) -> None:
        found.fail(Path(problem.filename or folder), problem)

    for where, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        for name in folders if recurse else ():
            inside = Path(where, name)
            if inside.is_symlink():  # it may lead to a folder above, and so in a circle
                found.skip(inside, "a link to a folder: those are not followed")
        if not recurse:
            folders.clear()
        for name in sorted(names):
            yield Path(where, name)


def _look_at_file(path: Path, found: _Found, *, searched: bool) -> None:
    # A file is sent once, however often it is met. One that is named has a result even where a
    # search passes it over.
    if not searched and path in found.skipped:
        found.skipped = [skipped for skipped in found.skipped if skipped != path]
    elif path in found.seen:
        return
    found.seen.add(path)
    try:
        if searched and not stat.S_ISREG(path.stat().st_mode):
            found.skip(path, "not a regular file")
            return
        file = FileInfo._of(path, _core.probe(path))
    except (DecodeError, OSError) as problem:
        _look_again(path, found, problem, searched=searched)
        return
    if searched and file.sop_class == MediaStorageDirectoryStorage:
        found.skip(path, _DIRECTORY)
        return
    found.order.append(file)


def _look_again(
    path: Path, found: _Found, problem: DecodeError | OSError, *, searched: bool
) -> None:
    """Decide on a file that cannot be sent: it is repaired, passed over, or a failure."""
    if isinstance(problem, OSError) or not found.repair or (searched and path.name == _DICOMDIR):
        pass
    else:
        try:
            mended = repair_file(path)
            with in_a_file(mended.content) as spooled:
                facts = _core.probe(spooled)
        except DecodeError as failed:
            _logger.debug("%s", failed, extra={"code": "unrepaired"})
        except OSError as failed:
            problem = failed
        else:
            found.repaired[path] = mended.done
            found.order.append(FileInfo._of(path, facts))
            return
    if not searched or isinstance(problem, OSError):
        found.fail(path, problem)
    elif path.name == _DICOMDIR:
        found.skip(path, _DIRECTORY)
    elif problem.message.startswith(f"{path}: not a DICOM file"):
        found.skip(path, problem.message.removeprefix(f"{path}: "))
    else:  # it looks like an instance, and is a damaged one
        found.fail(path, problem)


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
    """

    associate: Callable[..., Association]
    peer: Peer
    associations: int = 1
    recurse: bool = True
    repair: bool = False
    contexts: Contexts | None = None
    reassociate: int = REASSOCIATE
    check: bool = True


class _Account:
    """Runs jobs and keeps one result for each file.

    Each thread runs one job at a time, over one association at a time. Results and callbacks are
    under one lock: a callback of the user's is not called from two threads at once.
    """

    def __init__(
        self,
        way: Way,
        repaired: Mapping[Path, tuple[str, ...]],
        on_result: Callable[[SendResult], object] | None,
        on_event: Callable[[Mapping[str, Any]], object] | None,
    ) -> None:
        self.results: dict[Path, SendResult] = {}
        self._peer = way.peer
        self._way = way
        self._repaired = repaired
        self._on_result = on_result
        self._on_event = on_event
        self._lock = Lock()
        self._live: set[Association] = set()
        self._stopped = False

    def add(self, result: SendResult) -> None:
        with self._lock:
            self.results[result.path] = result
            if self._on_result is not None:
                self._on_result(result)

    def tell(self, **event: Any) -> None:
        if self._on_event is not None:
            with self._lock:
                self._on_event(event)

    def stop(self) -> None:
        """Abort the associations that live, and let no further one begin."""
        self._stopped = True
        for association in tuple(self._live):
            association.abort()

    def run(self, job: Plan) -> None:
        """Send the files of one association, and the files that its end leaves over further ones.

        Only files of which no byte was sent are left: the peer may have stored any other.
        """
        unfruitful = 0  # associations in a row without an answer
        while job.files and not self._stopped:
            left = self._run_once(job)
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
                what = (self._peer, left.error, len(job.files))
                text = "%s ended before its time, %s: associating again for %d files"
                _logger.warning(text, *what, extra={"code": "reassociate"})

    def _run_once(self, job: Plan) -> _Left:
        """Send files over one association; give the files that its end left unsent."""
        left = _Left()
        try:
            association = self._way.associate(contexts=job.contexts)
        except DimseError as error:
            self._not_sent(job.files, error)
            return left
        self._live.add(association)
        try:
            if self._stopped:  # while it was made, so that `stop` could not abort it
                association.abort()
            self.tell(event="associated", peer=str(self._peer), contexts=_told(association))
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

    def _send(self, association: Association, files: Sequence[FileInfo], left: _Left) -> None:
        singly = [file for file in files if file.path in self._repaired]
        files = [file for file in files if file.path not in self._repaired]
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
        while (outcomes := run(core, sending.outcomes())) is not None:
            for sent in outcomes:
                file = files[sent.index]
                if sent.status is not None:
                    left.answered = True
                    self.add(_result(file, status=sent.status, comment=sent.comment, sent=True))
                elif sent.convertible:
                    singly.append(file)
                elif not sent.begun and sent.error and not isinstance(sent.error, DecodeError):
                    left.add([file], sent.error)
                else:
                    self.add(_result(file, error=sent.error, sent=sent.begun))
        for file in singly:
            self._send_singly(association, file, left)

    def _not_sent(self, files: Iterable[FileInfo], error: DimseError) -> None:
        for file in files:
            self.add(_result(file, error=error))

    def _send_singly(self, association: Association, file: FileInfo, left: _Left) -> None:
        """Send a file that was repaired, or whose transfer syntax the peer did not accept."""
        done = self._repaired.get(file.path, ())
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
            result = _result(file, error=_unreadable(file.path, problem))
        else:
            left.answered = True
            result = _result(file, status=status, sent=True)
        self.add(replace(result, repaired=done if result.bytes else ()))


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


def _unreadable(path: Path, problem: OSError) -> DecodeError:
    return DecodeError(f"{path}: {problem.strerror or problem}")


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


def _run_together(account: _Account, jobs: Sequence[Plan], together: int) -> None:
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
                account.run(job)
            except BaseException as failure:  # of a callback: raised to the caller of `send`
                failures.append(failure)
                account.stop()

    senders: list[Thread] = []
    try:
        for number in range(min(together, len(jobs))):
            try:
                senders.append(threads.start(f"dimse-send-{number}", work))
            except (RuntimeError, MemoryError):
                break  # no thread can be started now: the running ones do its share
        if not senders:
            work()
        for sender in senders:
            while sender.is_alive():
                sender.join(0.1)  # not for longer: a waiting thread does not hear Ctrl-C
    except BaseException:
        account.stop()
        raise
    if failures:
        raise failures[0]
