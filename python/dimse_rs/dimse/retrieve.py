"""The performing side of C-GET and C-MOVE: sends what a handler gives, and counts the outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from dimse_rs import _core, log
from dimse_rs.callables import described, is_code, is_data_set
from dimse_rs.contexts import FileInfo, plan
from dimse_rs.datasets import uid_of
from dimse_rs.errors import DimseError, StatusError
from dimse_rs.records import dataclass, field
from dimse_rs.settings import Peer, PeerLike, look_up, peer_of
from dimse_rs.sop_class import WithoutBulkData
from dimse_rs.status import CANCEL, CANNOT_UNDERSTAND, PENDING, SUCCESS, Status

from . import scp, scu
from .bulk import Outcome, Sending
from .steps import END, Answer, Ask, Dial, Release, Run, SendFiles, Step

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

    from dimse_rs.contexts import Contexts
    from dimse_rs.settings import Peer, PeersByTitle, Timeouts

    from .calls import AssociationFacts
    from .requests import Handler, RetrieveRequest


__all__ = ["Node", "Retrieve", "Unreadable", "c_get", "c_move", "uid_of"]


class Node(Protocol):
    """The server, as its performer uses it.

    Attributes:
        destinations: addresses for C-MOVE, by AE title.
        any_destination: whether handlers are asked about other titles too.
    """

    destinations: PeersByTitle
    any_destination: bool

    def association_of(self, core: _core.Association) -> AssociationFacts:
        """Give the association that handlers get, for one of the core."""

    def dial(self, peer: Peer, contexts: Contexts, wait: bool) -> Any:
        """Associate with a destination; without `wait`, give an awaitable."""


# A retrieval is one request, many C-STOREs in the other direction or to another node, and pending
# responses that say how far it is (PS3.4 C.4.2, C.4.3).
#
#     _retrieve
#       _performed: ask the handler; make a `Retrieve` of its answer (`_drained`), with a count
#         _over_the_same (C-GET): batches of files over the association of the request
#         _over_others (C-MOVE): all files are looked at, contexts are planned, and each part goes
#           over an association of its own: `Dial`, `Run`, `Release`
#           _send (both): `SendFiles` until every file has an outcome; files that need another
#             transfer syntax go one by one (`_convert`); each outcome is counted
#       final response: counters, status, and the UIDs that failed
#
# The counters. The first pending response has to have the total, so the total has to
# be known before the first instance goes out: a handler that gives a generator without a count is
# drained first. Instances that were announced and never given count as failed. After a
# C-CANCEL nothing more is begun, and what was not begun remains.
#
# A file that fails never ends the retrieval: it counts as failed, and the error is logged.

_logger = log.get(log.SERVER)

_UNABLE_TO_PERFORM: Final = 0xA702
_WARNING: Final = 0xB000
_DESTINATION_UNKNOWN: Final = 0xA801

_AT_ONCE: Final = 64
"""Files that are taken from the user's iterator before the outcomes of the batch are waited for."""

_GLANCE: Final = 0.1
"""Seconds between two checks for a C-CANCEL; also the longest that a batch is collected."""

_LARGEST: Final = 0xFFFF
"""A counter has 16 bits (R-557): larger numbers are sent as this."""


@dataclass(frozen=True, slots=True)
class Retrieve:
    """The answer of a C-GET or C-MOVE handler that knows how many instances there are.

    Attributes:
        count: how many.
        instances: paths of Part 10 files, pydicom data sets, or Part 10 files as bytes. An
            attribute `sop_instance` of a path names the instance where the file cannot be read.
        pending: seconds between two Pending responses; 0 sends one after each instance.
        destination: address for a C-MOVE, in place of that in `Server(destinations=...)`; the
            called AE title is the one that the request names.
    """

    count: int
    instances: Iterable[Any]
    pending: float = 0.5
    destination: PeerLike | None = None

    def __post_init__(self) -> None:
        """Check the count.

        Raises:
            TypeError, ValueError: it is no number, or below 0.
        """
        if not is_code(self.count):
            raise TypeError(f"Retrieve.count is a number, not {described(self.count)}")
        if self.count < 0:
            raise ValueError(f"Retrieve.count is 0 or more, not {self.count}")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for an instance that cannot be made: it counts as failed, the others are sent."""

    SOPInstanceUID: str
    error: Exception


@dataclass(slots=True)
class _Tally:
    """The counters of the sub-operations, and the time of the last pending response."""

    total: int
    interval: float
    completed: int = 0
    failed: int = 0
    warning: int = 0
    failed_uids: list[str] = field(default_factory=list)
    reported: float = field(default_factory=time.monotonic)

    @property
    def remaining(self) -> int:
        return max(0, self.total - self.completed - self.failed - self.warning)

    def count(self, status: Status) -> None:
        if status.category == "success":
            self.completed += 1
        elif status.category == "warning":
            self.warning += 1

    def fail(self, uid: str) -> None:
        self.failed += 1
        if uid:
            self.failed_uids.append(uid)

    def counters(self, *, remaining: bool) -> dict[str, Any]:
        counts = {
            "NumberOfCompletedSuboperations": self.completed,
            "NumberOfFailedSuboperations": self.failed,
            "NumberOfWarningSuboperations": self.warning,
        }
        if remaining:
            counts["NumberOfRemainingSuboperations"] = self.remaining
        return {keyword: min(count, _LARGEST) for keyword, count in counts.items()}

    @property
    def is_due(self) -> bool:
        return time.monotonic() - self.reported >= self.interval

    def status(self, *, cancelled: bool) -> int:
        """Give the final status (R-559)."""
        if cancelled:
            return CANCEL
        if not self.failed and not self.warning:
            return SUCCESS
        return _WARNING if self.completed or self.warning else _UNABLE_TO_PERFORM


@dataclass(slots=True)
class _Job:
    """A retrieval being performed."""

    request: RetrieveRequest
    timeouts: Timeouts
    tally: _Tally
    priority: int
    spool: TemporaryDirectory[str] | None = None
    spooled: int = 0
    comment: str = ""

    @property
    def operation(self) -> _core.Operation:
        """The request in the core."""
        return self.request._operation

    @property
    def checks(self) -> bool:
        """Whether an instance without pixel data is one that is cut short."""
        return self.request.sop_class not in tuple(WithoutBulkData)

    def as_path(self, instance: Any) -> Generator[Step, Any, Path | None]:
        """Give the path of an instance; one in memory is written to a file first.

        None when that fails: the instance has then been counted as failed.
        """
        if isinstance(instance, (str, PathLike)):
            return instance if isinstance(instance, Path) else Path(instance)
        try:
            return cast("Path", (yield Ask(self._spooled, instance)))
        except Exception as error:
            from dimse_rs.datasets import uid_in

            _report(self, type(instance).__name__, error)
            self.tally.fail(uid_in(instance, "SOPInstanceUID"))
            return None

    def _spooled(self, instance: Any) -> Path:
        if self.spool is None:
            from tempfile import TemporaryDirectory

            self.spool = TemporaryDirectory(prefix="dimse-rs-", ignore_cleanup_errors=True)
        if isinstance(instance, Unreadable):
            raise instance.error
        self.spooled += 1
        path = Path(self.spool.name, f"{self.spooled}.dcm")
        if is_data_set(instance):
            from dimse_rs.datasets import write

            made = scu.data_set_of(instance) if isinstance(instance, Mapping) else instance
            write(path, made, check=self.checks)
        else:
            path.write_bytes(instance)
        return path

    def sent(self, paths: Sequence[Path]) -> None:
        """Remove the files that were written for sending."""
        if self.spool is not None:
            for path in paths:
                if path.parent == Path(self.spool.name):
                    with suppress(OSError):  # removed with the folder then
                        path.unlink(missing_ok=True)

    def pending(self, *, done: bool = False) -> Generator[Step, Any, None]:
        """Send a pending response, if one is due by time or by one more outcome."""
        due = self.tally.is_due if self.tally.interval else done
        if due and not self.request.cancelled:
            self.tally.reported = time.monotonic()
            command = scp.response(PENDING) | self.tally.counters(remaining=True)
            yield Answer(self.operation, command, wait=False)


def c_get(
    request: RetrieveRequest, handler: Handler, timeouts: Timeouts
) -> Generator[Step, Any, None]:
    """Perform C-GET: send the instances over the association that asked (PS3.4 C.4.3)."""
    return _retrieve(request, handler, timeouts, lambda job, _, items: _over_the_same(job, items))


def c_move(
    request: RetrieveRequest,
    handler: Handler,
    timeouts: Timeouts,
    node: Node | None,
) -> Generator[Step, Any, None]:
    """Perform C-MOVE: send the instances to a destination (PS3.4 C.4.2)."""
    title = request.destination
    try:
        peer = yield from _destination(request, node)
        if peer is None and not (node is not None and node.any_destination):
            raise _unknown(title)
    except scp.Failed as failed:
        yield from scp.final(request, failed.command)
        return

    def send(job: _Job, answer: Retrieve, items: Any) -> Generator[Step, Any, None]:
        named = _address_of(request, answer.destination) or peer
        if node is None or named is None:
            raise _unknown(title)
        return _over_others(job, items, partial(node.dial, named))

    yield from _retrieve(request, handler, timeouts, send)


def _destination(request: RetrieveRequest, node: Node | None) -> Generator[Step, Any, Peer | None]:
    """Look the destination up; an error of the user's mapping or function becomes `Failed`."""
    if node is None:
        return None
    peers, title = node.destinations, request.destination
    found = yield from scp.ask(request, lambda _: look_up(peers, title))
    return _address_of(request, found)


def _address_of(request: RetrieveRequest, address: PeerLike | None) -> Peer | None:
    try:
        return peer_of(address, request.destination)
    except ValueError as error:
        extra = scp.extra_of(request, "destination")
        _logger.error("%s: %s", request, error, extra=extra)
        raise scp.Failed(CANNOT_UNDERSTAND, "destination has no valid address") from error


def _unknown(title: str) -> scp.Failed:
    return scp.Failed(_DESTINATION_UNKNOWN, f"unknown destination {title}")


def _retrieve(
    request: RetrieveRequest,
    handler: Handler,
    timeouts: Timeouts,
    send: Callable[[_Job, Retrieve, Any], Generator[Step, Any, None]],
) -> Generator[Step, Any, None]:
    opened: list[Any] = []
    steps = _performed(request, handler, timeouts, send, opened)
    command, data = yield from scp.closing(opened, steps)
    yield from scp.final(request, command, data)


def _performed(
    request: RetrieveRequest,
    handler: Handler,
    timeouts: Timeouts,
    send: Callable[[_Job, Retrieve, Any], Generator[Step, Any, None]],
    opened: list[Any],
) -> Generator[Step, Any, tuple[dict[str, Any], bytes | None]]:
    """Send the instances; give the final response for the caller to send."""
    job = None
    try:
        answer = yield from scp.ask(request, handler)
        if not isinstance(answer, Retrieve):
            answer = yield from _drained(request, answer, opened)
        items = scp.items_of(request, answer.instances)
        opened.append(items)
        tally = _Tally(answer.count, answer.pending)
        job = _Job(request, timeouts, tally, request._message.get("Priority") or 0)
        yield from send(job, answer, items)
        # Instances that were announced and never given could not be sent.
        cancelled = request.cancelled
        if not cancelled:
            tally.failed += tally.remaining
        command = scp.response(tally.status(cancelled=cancelled), job.comment)
        command |= tally.counters(remaining=cancelled)
    except scp.Failed as failed:
        command = failed.command
        if job is not None:
            command |= job.tally.counters(remaining=False)
    finally:
        if job is not None and job.spool is not None:
            job.spool.cleanup()
    return command, None if job is None else _failed_list(request, job.tally.failed_uids)


def _drained(
    request: RetrieveRequest, answer: Any, opened: list[Any]
) -> Generator[Step, Any, Retrieve]:
    """Drain the iterator of a handler: the first pending response has to carry their number.

    Handlers written for pynetdicom give other items before the first instance: for C-MOVE the
    address of the destination, then how many instances will come.
    """
    ready = isinstance(answer, Sequence) and not isinstance(answer, (str, bytes))
    if ready and not any(isinstance(one, tuple) for one in answer):
        return Retrieve(len(answer), answer)
    items = scp.items_of(request, answer)
    opened.append(items)
    known: list[Any] = []
    count = destination = None
    while not request.cancelled:
        item = yield from scp.next_of(request, items)
        first = not known and count is None
        if first and is_code(item):
            count = item
        elif first and destination is None and request.destination and _is_address(item):
            if item[0] is None:
                raise _unknown(request.destination)
            destination = item
        elif (instance := _instance(request, item)) is END:
            break
        else:
            known.append(instance)
    return Retrieve(max(count or 0, len(known)), known, destination=destination)


def _is_address(item: Any) -> bool:
    """Whether an item is host and port; (None, None) means an unknown destination."""
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], (str, type(None)))


def _instance(request: RetrieveRequest, item: Any) -> Any:
    """Read an item of a handler: an instance, or Pending and an instance; END for a final status.

    Raises:
        scp.Failed: the item is a failure and None, or any other pair.
    """
    if not isinstance(item, tuple):
        return item  # anything that is no instance fails when it is written
    try:
        _, item = scp.pair_of(request, item)
    except scp.Failed as failed:
        if failed.command["Status"] in (SUCCESS, CANCEL):
            return END
        raise
    return item


def _next(request: RetrieveRequest, items: Any) -> Any:
    item = yield from scp.next_of(request, items)
    return _instance(request, item)


def _failed_list(request: RetrieveRequest, uids: list[str]) -> bytes | None:
    """Encode the Failed SOP Instance UID List; None when no instance failed (R-558)."""
    if not uids:
        return None
    from dimse_rs.datasets import to_bytes
    from dimse_rs.encoding.library import Dataset

    identifier = Dataset()
    identifier.FailedSOPInstanceUIDList = uids
    return to_bytes(identifier, request.context.transfer_syntax)


def _over_the_same(job: _Job, items: Any) -> Generator[Step, Any, None]:
    """Send over the association of the request, while the user's iterator gives instances."""
    more = True
    most = 1
    while more and not job.request.cancelled:
        paths: list[Path] = []
        failed = None
        until = time.monotonic() + _GLANCE
        while more and len(paths) < most and time.monotonic() < until:
            try:
                item = yield from _next(job.request, items)
            except scp.Failed as failure:
                failed = failure
                break
            if item is END:
                more = False
            elif (path := (yield from job.as_path(item))) is not None:
                paths.append(path)
            yield from job.pending()
        if paths:
            yield from _send(job, job.request.association, paths, None)
        if failed is not None:  # the instances before it have been sent
            raise failed
        most = _AT_ONCE


def _over_others(
    job: _Job, items: Any, dial: Callable[[Any, bool], Any]
) -> Generator[Step, Any, None]:
    """Look at all files, plan the contexts, and send over associations with the destination."""
    files: list[FileInfo] = []
    while not job.request.cancelled:
        item = yield from _next(job.request, items)
        if item is END:
            break
        path = yield from job.as_path(item)
        if path is None:
            continue
        try:
            files.append(FileInfo._of(path, (yield Ask(_core.probe, path))))
        except Exception as error:
            _report(job, path, error)
            job.tally.fail(uid_of(path))
    calling = job.operation.association.titles.calling
    originator = _core.MoveOriginator(calling, job.request.message_id)
    for part in plan(files):
        if job.request.cancelled:
            return
        try:
            association = yield Dial(partial(dial, part.contexts))
        except Exception as error:
            why = error.message if isinstance(error, DimseError) else type(error).__name__
            job.comment = f"destination: {why}"
            extra = scp.extra_of(job.request, "destination")
            _logger.warning("%s: %s", job.request, error, extra=extra)
            for file in part.files:
                job.tally.fail(file.sop_instance)
            continue
        paths = [file.path for file in part.files]
        try:
            yield Run(association._core, _send(job, association, paths, originator))
        except GeneratorExit:  # no step any more: the association is aborted when it is dropped
            raise
        except BaseException:  # abort: a release would wait for the destination
            with suppress(Exception):
                yield Release(association, abort=True)
            raise
        with suppress(Exception):  # it may have ended: then the outcomes have been failures
            yield Release(association)


def _send(
    job: _Job,
    association: AssociationFacts,
    paths: Sequence[Path],
    originator: _core.MoveOriginator | None,
) -> Generator[Step, Any, None]:
    # `part_of`: the core sees a C-CANCEL before this generator can, and begins no further file.
    sending = Sending(SendFiles(paths, job.priority, job.timeouts.store, originator, job.operation))
    try:
        while True:
            try:
                outcomes = yield from sending.outcomes(_GLANCE)
            except Exception as failure:  # the association is over: none of the rest can be sent
                for index in sending.left:
                    _fail(job, paths[index], None, failure)
                break
            if outcomes is None:
                break
            for sent in outcomes:
                path = paths[sent.index]
                if sent.status is not None:
                    _count(job, path, sent, sent.status)
                elif job.request.cancelled:
                    pass  # not begun: counted as remaining
                elif sent.convertible and sent.info is not None:
                    yield from _convert(job, association, path, sent.info)
                else:
                    _fail(job, path, sent.info, sent.error)
                yield from job.pending(done=True)
            yield from job.pending()
    finally:
        sending.stop()
    job.sent(paths)


def _count(job: _Job, path: Path, sent: Outcome, status: Status) -> None:
    """Count an instance that the peer has answered for."""
    if status.category == "failure":
        _fail(job, path, sent.info, StatusError(status, sent.comment))
        return
    _emit_outcome(job, sent.info, status)
    job.tally.count(status)


def _fail(job: _Job, path: Path, file: _core.FileFacts | None, error: BaseException | None) -> None:
    """Count an instance that was not stored."""
    _emit_outcome(job, file, error.status if isinstance(error, StatusError) else None, error)
    _report(job, path, error)
    job.tally.fail(file.sop_instance if file else uid_of(path))


def _convert(
    job: _Job, association: AssociationFacts, path: Path, file: _core.FileFacts
) -> Generator[Step, Any, None]:
    """Send a file whose own transfer syntax the peer did not accept."""
    how = scu.Storing(job.priority, job.checks, job.operation.reserve)
    try:
        status = yield from scu.c_store_converted(path, file, association._outgoing(), how)
    except Exception as error:
        _fail(job, path, file, error)
    else:
        _emit_outcome(job, file, status)
        job.tally.count(status)


def _emit_outcome(
    job: _Job,
    file: _core.FileFacts | None,
    status: Status | None,
    error: BaseException | None = None,
) -> None:
    """Emit the event for the outcome of an instance."""
    sop_class, uid = (file.sop_class, file.sop_instance) if file else ("", "")
    why = "" if error is None else str(error)
    job.operation.tell_sub_operation(sop_class, uid, None if status is None else int(status), why)


def _report(job: _Job, what: Path | str, error: BaseException | None) -> None:
    extra = scp.extra_of(job.request, "sub-operation")
    # The text of any other error, such as pydicom's, may hold values of the data set.
    ours = error is None or isinstance(error, DimseError | OSError)
    why = error if ours else type(error).__name__
    _logger.warning("%s: %s not sent: %s", job.request, what, why, extra=extra)
