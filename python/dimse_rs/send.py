"""Sending many files: look at them, plan the associations, send, and account for every one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, walk
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Final

from . import _core, _threads, log
from .contexts import Contexts, FileInfo, Plan, expand, plan
from .errors import DecodeError, DimseError, NoPresentationContext, StatusError
from .sop_class import MediaStorageDirectoryStorage
from .status import Status

if TYPE_CHECKING:
    from .ae import AE
    from .association import Association
    from .identity import UserIdentity
    from .settings import Peer

__all__ = ["SendReport", "SendResult", "send"]

_logger = log.get(log.ASSOCIATION)

_MAGIC_OFFSET: Final = 128
_WAKE: Final = 3600.0


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of one file.

    Attributes:
        path: the file.
        sop_class: its SOP Class UID; empty when it could not be read.
        sop_instance: its SOP Instance UID; empty when it could not be read.
        transfer_syntax: how it is stored; empty when it could not be read.
        status: the peer's answer, None when there is none.
        comment: the Error Comment of the answer.
        error: why there is no answer.
        bytes: length of the data set that was sent; 0 when it was not.
    """

    path: Path
    sop_class: str = ""
    sop_instance: str = ""
    transfer_syntax: str = ""
    status: Status | None = None
    comment: str = ""
    error: DimseError | None = None
    bytes: int = 0

    @property
    def ok(self) -> bool:
        """Whether the peer stored it: success or warning."""
        return self.category in ("ok", "warning")

    @property
    def category(self) -> str:
        """One of ok, warning, failed (answered so, or unanswered) and not-sent."""
        if self.status is not None:
            return {"success": "ok", "warning": "warning"}.get(self.status.category, "failed")
        return "not-sent" if self.bytes == 0 else "failed"


@dataclass(frozen=True)
class SendReport:
    """What became of all files, in the order in which they were found.

    Attributes:
        results: one for each file.
        seconds: from the first connection to the last release.
        skipped: what a searched folder held that is no DICOM instance.
    """

    results: tuple[SendResult, ...]
    seconds: float
    skipped: tuple[Path, ...] = ()

    @property
    def bytes(self) -> int:
        """Length of all data sets that were sent."""
        return sum(result.bytes for result in self.results)

    @property
    def failures(self) -> tuple[SendResult, ...]:
        """Files that the peer did not store."""
        return tuple(result for result in self.results if not result.ok)

    @property
    def warnings(self) -> tuple[SendResult, ...]:
        """Files that the peer stored with a warning."""
        return tuple(result for result in self.results if result.category == "warning")

    def raise_for_failures(self) -> None:
        """Raise the first failure, if any, with how many there are.

        Raises:
            DimseError: the error of the first file that was not stored; a `StatusError` when the
                peer answered with a failure.
        """
        failures = self.failures
        if not failures:
            return
        first = failures[0]
        text = f"{len(failures)} of {len(self.results)} files not stored, first {first.path}"
        if first.error is not None:
            first.error.add_note(text)
            raise first.error
        error = StatusError(Status(0) if first.status is None else first.status, first.comment)
        error.add_note(text)
        raise error


def send(
    ae: AE,
    peer: Peer,
    paths: Iterable[str | PathLike[str]] | str | PathLike[str],
    *,
    associations: int,
    recurse: bool,
    contexts: Contexts | None,
    max_ops_invoked: int,
    identity: UserIdentity | None,
    on_result: Callable[[SendResult], object] | None,
    on_event: Callable[[Mapping[str, Any]], object] | None,
) -> SendReport:
    """Carry out `AE.send`."""
    if associations < 1:
        raise ValueError(f"associations is at least 1, not {associations}")
    given = [paths] if isinstance(paths, (str, PathLike)) else list(paths)
    found = _look_at(map(Path, given), recurse)
    readable = [file for file in found.order if isinstance(file, FileInfo)]
    plans = plan(readable) if contexts is None else [Plan(expand(contexts), tuple(readable))]
    account = _Account(ae, peer, max_ops_invoked, identity, on_result, on_event)
    account.tell(event="progress", total=len(found.order))
    for file in found.order:
        if isinstance(file, SendResult):
            account.add(file)
    started = time.perf_counter()
    jobs = [part for whole in plans if whole.files for part in _split(whole, associations)]
    if associations == 1 or len(jobs) < 2:
        for job in jobs:
            account.run(job)
    else:
        _run_together(account, jobs, associations)
    seconds = time.perf_counter() - started
    results = tuple(account.results[file.path] for file in found.order)
    return SendReport(results, seconds, tuple(found.skipped))


def look_at(
    paths: Iterable[str | PathLike[str]], *, recurse: bool = True
) -> list[FileInfo | SendResult]:
    """Look at files, and search folders, as `AE.send` does before it sends.

    Returns:
        In order, what each file is, or a result with the reason why it cannot be sent.
    """
    return _look_at(map(Path, paths), recurse).order


@dataclass
class _Found:
    order: list[FileInfo | SendResult] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)


def _look_at(paths: Iterable[Path], recurse: bool) -> _Found:
    found = _Found()
    for path in paths:
        if path.is_dir():
            for inside in _files_in(path, recurse):
                _look_at_file(inside, found, searched=True)
        else:
            _look_at_file(path, found, searched=False)
    return found


def _files_in(folder: Path, recurse: bool) -> Iterator[Path]:
    for where, folders, names in walk(folder):
        folders.sort()
        if not recurse:
            folders.clear()
        for name in sorted(names):
            yield Path(where, name)


def _look_at_file(path: Path, found: _Found, *, searched: bool) -> None:
    if not searched and path in found.skipped:  # but it is named: then it has a result
        found.skipped.remove(path)
    elif path in found.seen:  # met twice is sent once: a result belongs to a path
        return
    found.seen.add(path)
    try:
        sop_class, sop_instance, syntax, size = _core.probe(path)
    except (DecodeError, OSError) as problem:
        error = problem if isinstance(problem, DimseError) else _unreadable(path, problem)
        if searched and not _may_be_instance(path):
            _logger.info("skipped %s: %s", path, error.message, extra={"code": "skipped"})
            found.skipped.append(path)
        else:
            found.order.append(SendResult(path, error=error))
        return
    if searched and sop_class == MediaStorageDirectoryStorage:
        found.skipped.append(path)
        return
    found.order.append(FileInfo(path, sop_class, sop_instance, syntax, size))


def _may_be_instance(path: Path) -> bool:
    """Whether a file that cannot be sent looks like one that should have been."""
    if path.name == "DICOMDIR":
        return False
    try:
        with path.open("rb") as file:
            file.seek(_MAGIC_OFFSET)
            return file.read(4) == b"DICM"
    except OSError:
        return True


def _split(whole: Plan, parts: int) -> list[Plan]:
    """Cut a plan into parts of about the same number of bytes, keeping the order."""
    if parts == 1 or len(whole.files) < parts:
        return [whole]
    share = max(1, whole.size // parts)
    cut: list[list[FileInfo]] = [[]]
    filled = 0
    for index, file in enumerate(whole.files):
        left = len(whole.files) - index
        if cut[-1] and len(cut) < parts and (filled >= share or left <= parts - len(cut)):
            cut.append([])
            filled = 0
        cut[-1].append(file)
        filled += file.size
    return [Plan(whole.contexts, tuple(files)) for files in cut]


class _Account:
    """Runs jobs and keeps one result for each file."""

    def __init__(
        self,
        ae: AE,
        peer: Peer,
        max_ops_invoked: int,
        identity: UserIdentity | None,
        on_result: Callable[[SendResult], object] | None,
        on_event: Callable[[Mapping[str, Any]], object] | None,
    ) -> None:
        self.results: dict[Path, SendResult] = {}
        self._ae = ae
        self._peer = peer
        self._max_ops_invoked = max_ops_invoked
        self._identity = identity
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
        """Abort what runs and let nothing more begin."""
        self._stopped = True
        for association in tuple(self._live):
            association.abort()

    def run(self, job: Plan) -> None:
        """Send the files of one association."""
        if self._stopped:
            return
        try:
            association = self._ae.associate(
                self._peer,
                contexts=job.contexts,
                max_ops_invoked=self._max_ops_invoked,
                identity=self._identity,
            )
        except DimseError as error:
            self._not_sent(job.files, error)
            return
        self._live.add(association)
        try:
            if self._stopped:  # meanwhile: what was not there yet could not be aborted
                association.abort()
            self.tell(event="associated", peer=str(self._peer), contexts=_told(association))
            self._send(association, job.files)
        except BaseException:
            association.abort()
            raise
        finally:
            self._live.discard(association)
        if association.is_established:
            try:
                association.release()
            except DimseError as error:
                # Every file has its answer: a bad farewell changes none of them.
                told = log.of(association._core, "unreleased")
                _logger.warning("%s was not released: %s", association, error, extra=told)

    def _send(self, association: Association, files: Sequence[FileInfo]) -> None:
        try:
            bulk = association.send_files([file.path for file in files])
        except DimseError as over:
            self._not_sent(files, over)
            return
        convert: list[FileInfo] = []
        while (results := bulk.next(_WAKE)) is not None:
            for index, begun, message, error in results:
                file = files[index]
                if message is not None:
                    status = Status(message.status or 0, "C-STORE")
                    comment = message.get("ErrorComment") or ""
                    self.add(_result(file, status=status, comment=comment, sent=True))
                elif isinstance(error, NoPresentationContext):
                    convert.append(file)
                else:
                    self.add(_result(file, error=error, sent=begun is not None))
        for file in convert:
            self._send_converted(association, file)

    def _not_sent(self, files: Iterable[FileInfo], error: DimseError) -> None:
        for file in files:
            self.add(_result(file, error=error))

    def _send_converted(self, association: Association, file: FileInfo) -> None:
        """Send a file whose own transfer syntax the peer did not accept."""
        alive = association.is_established
        try:
            status = association.c_store(file.path)
        except StatusError as error:
            self.add(_result(file, status=error.status, comment=error.comment, sent=True))
        except (NoPresentationContext, DecodeError) as error:
            self.add(_result(file, error=error))
        except DimseError as error:
            self.add(_result(file, error=error, sent=alive))
        except OSError as problem:
            self.add(_result(file, error=_unreadable(file.path, problem)))
        else:
            self.add(_result(file, status=status, sent=True))


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
    """Carry jobs out on so many threads; daemons, so that Ctrl-C need not wait for a connection."""
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
            except BaseException as failure:  # of a callback: raised where `send` was called
                failures.append(failure)
                account.stop()

    threads: list[Thread] = []
    try:
        for number in range(min(together, len(jobs))):
            try:
                threads.append(_threads.start(f"dimse-send-{number}", work))
            except (RuntimeError, MemoryError):
                break  # there is none to be had: those that there are do its share
        if not threads:
            work()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.1)  # in turns, for Ctrl-C
    except BaseException:
        account.stop()
        raise
    if failures:
        raise failures[0]
