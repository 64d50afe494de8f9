"""The invoking side of the services, as generators: from the arguments of a call to its result."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from dimse_rs import _core
from dimse_rs.datasets import check_data_set, data_set_of
from dimse_rs.encoding.quiet import quietly
from dimse_rs.errors import DecodeError, NoPresentationContext, RemoteProtocolError, StatusError
from dimse_rs.fields import (
    C_CANCEL_RQ,
    C_ECHO_RQ,
    C_FIND_RQ,
    C_GET_RQ,
    C_MOVE_RQ,
    C_STORE_RQ,
    N_CREATE_RQ,
    N_EVENT_REPORT_RQ,
)
from dimse_rs.records import dataclass
from dimse_rs.registry import allows
from dimse_rs.responses import Received, Response
from dimse_rs.sop_class import SOPClass, TransferSyntax, Verification
from dimse_rs.status import Status
from dimse_rs.uids import is_uid

from .bulk import Sending
from .steps import Ask, Emit, Receive, ReceiveMany, Send, SendFiles, Step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pydicom.dataset import Dataset

    from dimse_rs.contexts import AcceptedContext
    from dimse_rs.encoding.gate import Room
    from dimse_rs.settings import Limits, Timeouts

__all__ = [
    "Call",
    "Level",
    "Outgoing",
    "Receiver",
    "Storing",
    "c_echo",
    "c_find",
    "c_retrieve",
    "c_store_converted",
    "c_store_data_set",
    "c_store_file",
    "cancel_of",
    "check_data_set",
    "data_set_of",
    "n_service",
]

Level: TypeAlias = Literal["PATIENT", "STUDY", "SERIES", "IMAGE"]
"""The Query/Retrieve Levels (PS3.4 C.3)."""


# How an operation with many responses ends. `Call` is shared by the generator, which fills it, and
# by `Responses`, which reads it and may cancel:
#
# - final response: `call.final`; a failure is raised, after all values were emitted;
# - `cancel()`: C-CANCEL leaves once, at a time of the caller's choice. The peer answers the request
#   with FE00 as soon as it likes, and until then matches go on to come: they are emitted;
# - the caller leaves the loop: C-CANCEL too, but the generator is closed. Responses that still come
#   are dropped by the core, which keeps the operation's place until the final one;
# - FE00 without a C-CANCEL: the peer has broken off, so it is raised like a failure;
# - the association ends: its error is raised by the step that waits.

_UNABLE_TO_PERFORM: Final = 0xA702


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a request is made from, whatever its service.

    Attributes:
        contexts: accepted presentation contexts, of which one carries the request.
        message_id: of the request.
        timeouts: how long its responses may take.
        limits: what decoding its responses, or converting its instance, may take.
    """

    contexts: Sequence[AcceptedContext]
    message_id: int
    timeouts: Timeouts
    limits: Limits


@dataclass(frozen=True, slots=True)
class Receiver:
    """What takes the instances of one C-GET: the core or a function.

    Attributes:
        folder: the core writes into it, without Python; None for a function.
        handler: is called with each `StoreRequest`; None for a folder.
    """

    folder: _core.Folder | None = None
    handler: Callable[[Any], Any] | None = None


@dataclass(slots=True, eq=False)
class Call:
    """The state of an operation with many responses; shared with its iterator.

    Attributes:
        request: once it was made.
        final: the final response, once it has come.
        pending: status of the latest match of a C-FIND.
        cancelled: whether a C-CANCEL was sent.
        receiver: of a C-GET under way, where its instances go; None leaves them to handlers.
    """

    request: _core.Message | None = None
    final: Response | None = None
    pending: int | None = None
    cancelled: bool = False
    receiver: Receiver | None = None

    def __str__(self) -> str:
        """Show the request and how far it is."""
        if self.request is None:
            return "not begun"
        what = f"{self.request.name} {self.request.message_id}"
        if self.final is not None:
            return f"{what}, {self.final.status}"
        return f"{what}, {'cancelled' if self.cancelled else 'under way'}"


def c_echo(outgoing: Outgoing, again: int = 0) -> Generator[Step, Any, Status]:
    """C-ECHO (PS3.7 9.1.5)."""
    context = _context(outgoing.contexts, Verification)
    request = _core.Message(
        context.id,
        {
            "CommandField": C_ECHO_RQ,
            "AffectedSOPClassUID": Verification,
            "MessageID": outgoing.message_id,
        },
    )
    response = yield from _one_response(request, outgoing.timeouts.dimse, again)
    return _checked(response, "C-ECHO")


@dataclass(frozen=True, slots=True)
class Storing:
    """How an instance is sent.

    Attributes:
        priority: value of (0000,0700).
        check: whether what can be seen to be cut short is refused.
        room: reserves the memory that a conversion takes, or raises `LimitExceeded`.
    """

    priority: int = 0
    check: bool = True
    room: Room | None = None


def c_store_file(path: Path, outgoing: Outgoing, how: Storing) -> Generator[Step, Any, Status]:
    """C-STORE of a Part 10 file, undecoded when its transfer syntax was accepted (PS3.7 9.1.1)."""
    within = outgoing.timeouts.store
    sending = Sending(SendFiles([path], how.priority, within, check=how.check))
    while (outcomes := (yield from sending.outcomes())) is not None:
        for sent in outcomes:
            if sent.response is not None:
                return _checked(sent.response, "C-STORE")
            if not sent.convertible or sent.info is None:
                raise (
                    sent.unreadable or sent.error or RemoteProtocolError(f"no response for {path}")
                )
            return (yield from c_store_converted(path, sent.info, outgoing, how))
    raise RemoteProtocolError(f"no response for {path}")


def c_store_converted(
    path: Path, file: _core.FileFacts, outgoing: Outgoing, how: Storing
) -> Generator[Step, Any, Status]:
    """C-STORE of a Part 10 file in another transfer syntax, where its own was not accepted."""
    context = convertible(outgoing.contexts, file.sop_class, file.transfer_syntax)
    held: list[_core.Reserved] = []
    try:
        data = yield Ask(lambda path: _converted(path, context, outgoing.limits, how, held), path)
        request = _store_request(
            context, outgoing.message_id, file.sop_class, file.sop_instance, how.priority, data
        )
        return _checked((yield from _one_response(request, outgoing.timeouts.store)), "C-STORE")
    finally:
        for reserved in held:
            reserved.release()


def _converted(
    path: Path,
    context: AcceptedContext,
    limits: Limits,
    how: Storing,
    held: list[_core.Reserved],
) -> bytes:
    from dimse_rs.datasets import convert
    from dimse_rs.encoding.gate import memory_of, scan_file

    if how.room is not None:  # the file, the data set, and what it is encoded to
        held.append(how.room(memory_of(scan_file(path, limits), 3)))
    return convert(path, context.transfer_syntax, check=how.check, limits=limits)


def c_store_data_set(
    dataset: Dataset, outgoing: Outgoing, how: Storing
) -> Generator[Step, Any, Status]:
    """C-STORE of a pydicom data set, in its own transfer syntax when that was accepted."""
    from dimse_rs.datasets import convert, stored_syntax, uid_in

    sop_class, sop_instance = uid_in(dataset, "SOPClassUID"), uid_in(dataset, "SOPInstanceUID")
    for uid, name in (
        (sop_class, "SOP Class UID (0008,0016)"),
        (sop_instance, "SOP Instance UID (0008,0018)"),
    ):
        if not is_uid(uid):
            raise DecodeError(f"the data set has no valid {name}", section="PS3.4 B.2.1")
    syntax = stored_syntax(dataset)
    context = None if syntax is None else _match(outgoing.contexts, sop_class, syntax)
    if context is None:
        context = convertible(outgoing.contexts, sop_class, syntax)
    data = convert(dataset, context.transfer_syntax, check=how.check)
    request = _store_request(
        context, outgoing.message_id, sop_class, sop_instance, how.priority, data
    )
    return _checked((yield from _one_response(request, outgoing.timeouts.store)), "C-STORE")


def c_find(
    call: Call,
    outgoing: Outgoing,
    identifier: Dataset | Mapping[str, Any],
    *,
    sop_class: str,
    level: Level | None,
    priority: int,
    raw: bool,
) -> Generator[Step, Any, None]:
    """C-FIND (PS3.7 9.1.2): emits each match, decoded unless `raw`."""
    context = _context(outgoing.contexts, sop_class)
    query = _encoded(identifier, level, context)
    call.request = _composite_request(C_FIND_RQ, context, outgoing.message_id, priority, query)
    invocation = yield Send(call.request, outgoing.timeouts.dimse)
    if not raw:
        from dimse_rs.datasets import from_bytes

        decode = from_bytes
    syntax = context.transfer_syntax
    while responses := (yield ReceiveMany(invocation)):
        for message in responses:
            if message.status not in (0xFF00, 0xFF01):
                _finish(call, Response(message, syntax, "C-FIND"))
            elif (data := message.data) is not None:
                call.pending = message.status
                yield Emit(data if raw else decode(data, syntax, limits=outgoing.limits))
    _check_finished(call)


def c_retrieve(
    call: Call,
    outgoing: Outgoing,
    identifier: Dataset | Mapping[str, Any],
    *,
    sop_class: str,
    level: Level | None,
    priority: int,
    destination: str | None = None,
    received: Callable[[], Received] = Received,
) -> Generator[Step, Any, None]:
    """C-MOVE to a destination, or C-GET without one (PS3.7 9.1.4, 9.1.3): emits each response.

    What the peer counts in a C-GET is compared with what this side has `received`.
    """
    context = _context(outgoing.contexts, sop_class)
    getting = destination is None
    query = _encoded(identifier, level, context)
    field = C_GET_RQ if getting else C_MOVE_RQ
    call.request = _composite_request(
        field, context, outgoing.message_id, priority, query, destination
    )
    before = received()
    folder = None if call.receiver is None else call.receiver.folder
    invocation = yield Send(call.request, outgoing.timeouts.retrieve, into=folder)
    service = "C-GET" if getting else "C-MOVE"
    try:
        while responses := (yield ReceiveMany(invocation)):
            for message in responses:
                response = Response(message, context.transfer_syntax, service)
                if getting:
                    response.received = received().since(before)
                if response.status.is_final:
                    _finish(call, response)
                    _check_received(response)
                yield Emit(response)
    finally:
        # Now, not when it is deleted: after Ctrl-C a traceback may keep it for long, and its folder
        # takes instances as long as it is open.
        invocation.close()
    _check_finished(call)


def n_service(
    field: int,
    outgoing: Outgoing,
    *,
    sop_class: str,
    instance_uid: str | None,
    dataset: Dataset | Mapping[str, Any] | None = None,
    values: Mapping[str, Any] | None = None,
    context_class: str | None = None,
) -> Generator[Step, Any, Response]:
    """One of the six N-services (PS3.7 10.1)."""
    if dataset is not None:
        check_data_set(dataset)
    # N-EVENT-REPORT and N-CREATE name the Affected SOP Class, the others the Requested one.
    role = "Affected" if field in (N_EVENT_REPORT_RQ, N_CREATE_RQ) else "Requested"
    context = _context_for(outgoing.contexts, sop_class, context_class, field != N_EVENT_REPORT_RQ)
    command: dict[str, Any] = {
        "CommandField": field,
        f"{role}SOPClassUID": sop_class,
        "MessageID": outgoing.message_id,
        f"{role}SOPInstanceUID": instance_uid,
        **(values or {}),
    }
    data = None if dataset is None else _encoded(dataset, None, context)
    request = _core.Message(context.id, command, data)
    message = yield from _one_response(request, outgoing.timeouts.dimse)
    service = SOPClass.of(sop_class).service
    response = Response(message, context.transfer_syntax, service)
    if response.status.category == "failure":
        raise StatusError(response.status, response.comment, response)
    return response


def cancel_of(request: _core.Message) -> _core.Message:
    """Make the C-CANCEL of a request (PS3.7 9.3.2.3)."""
    command = {
        "CommandField": C_CANCEL_RQ,
        "MessageIDBeingRespondedTo": request.message_id,
    }
    return _core.Message(request.context_id, command)


def _finish(call: Call, response: Response) -> None:
    call.final = response
    status = response.status
    # A Cancel status without a C-CANCEL: the peer has broken the operation off (PS3.7 9.3.2.3).
    if status.category == "failure" or (status.category == "cancel" and not call.cancelled):
        raise StatusError(status, response.comment, response)


def _check_received(response: Response) -> None:
    """Compare the final counts of a C-GET with what was stored here.

    Raises:
        StatusError: the peer counts more.
    """
    received = response.received
    if received is None:
        return
    counted = response.completed + response.warning
    if response.status.category == "success" and not response.counts:
        counted = received.stored + received.refused  # without counters Success stands for all
    if received.stored < counted:
        comment = f"the peer counts {counted} instances; {received}"
        raise StatusError(Status(_UNABLE_TO_PERFORM, "C-GET"), comment, response)


def _check_finished(call: Call) -> None:
    if call.final is None:
        raise RemoteProtocolError("the operation ended without a final response")


@quietly
def _encoded(
    identifier: Dataset | Mapping[str, Any], level: Level | None, context: AcceptedContext
) -> bytes:
    from dimse_rs.datasets import to_bytes

    check_data_set(identifier)
    if level is not None and identifier.get("QueryRetrieveLevel") != level:
        identifier = data_set_of(identifier)
        identifier.QueryRetrieveLevel = level
    elif isinstance(identifier, Mapping):
        identifier = data_set_of(identifier)
    return to_bytes(identifier, context.transfer_syntax)


def _composite_request(
    field: int,
    context: AcceptedContext,
    message_id: int,
    priority: int,
    identifier: bytes,
    destination: str | None = None,
) -> _core.Message:
    command = {
        "CommandField": field,
        "AffectedSOPClassUID": context.sop_class,
        "MessageID": message_id,
        "Priority": priority,
        "MoveDestination": destination,
    }
    return _core.Message(context.id, command, identifier)


def _context_for(
    contexts: Sequence[AcceptedContext], sop_class: str, context_class: str | None, scu: bool
) -> AcceptedContext:
    """Find the context of an N-service: of its class, or of a class that includes it (R-319)."""
    may = [context for context in contexts if (context.scu if scu else context.scp)]
    for context in may:
        if context.sop_class == (context_class or sop_class):
            return context
    if context_class is None:
        for context in may:
            if allows(context.sop_class, sop_class):
                return context
    raise NoPresentationContext(SOPClass.of(context_class or sop_class))


def _store_request(
    context: AcceptedContext,
    message_id: int,
    sop_class: str,
    sop_instance: str,
    priority: int,
    data: bytes,
) -> _core.Message:
    return _core.Message(
        context.id,
        {
            "CommandField": C_STORE_RQ,
            "AffectedSOPClassUID": sop_class,
            "MessageID": message_id,
            "Priority": priority,
            "AffectedSOPInstanceUID": sop_instance,
        },
        data,
    )


def _one_response(
    request: _core.Message, within: float, again: int = 0
) -> Generator[Step, Any, _core.Message]:
    invocation = yield Send(request, within, again)
    response: _core.Message | None = yield Receive(invocation)
    if response is None:
        raise RemoteProtocolError("the operation ended without a response")
    return response


def _checked(response: _core.Message, service: str) -> Status:
    """Give the status of a response; raise a failure, with the whole response on the error."""
    status = Status(response.status or 0, service)
    if status.category == "failure":
        whole = Response(response, service=service)
        raise StatusError(status, whole.comment, whole)
    return status


def _context(contexts: Sequence[AcceptedContext], sop_class: str) -> AcceptedContext:
    for context in contexts:
        if context.sop_class == sop_class and context.scu:
            return context
    raise NoPresentationContext(SOPClass.of(sop_class))


def _match(
    contexts: Sequence[AcceptedContext], sop_class: str, syntax: str
) -> AcceptedContext | None:
    for context in contexts:
        if context.sop_class == sop_class and context.transfer_syntax == syntax and context.scu:
            return context
    return None


def convertible(
    contexts: Sequence[AcceptedContext], sop_class: str, syntax: str | None
) -> AcceptedContext:
    """Find a context of the class into whose transfer syntax a data set can be converted.

    Raises:
        NoPresentationContext: the class was not accepted, or only in syntaxes that need a codec.
    """
    of_class = [c for c in contexts if c.sop_class == sop_class and c.scu]
    stored = None if syntax is None else TransferSyntax.of(syntax)
    for context in of_class:
        if context.transfer_syntax.convertible and (stored is None or stored.convertible):
            return context
    named = SOPClass.of(sop_class)
    if not of_class:
        raise NoPresentationContext(named, stored or "")
    # Contexts of a class may have the same syntax: it is proposed once with each, the peer chooses.
    offered = ", ".join(
        dict.fromkeys(c.transfer_syntax.name or c.transfer_syntax for c in of_class)
    )
    have = (stored.name or stored) if stored else "its own syntax"
    raise NoPresentationContext(
        named,
        stored or "",
        message=(
            f"the peer accepted {named.name or named} only in {offered}, the instance is in {have}"
            " (PS3.8 7.1.1.13)"
        ),
        hint=(
            "compressed pixel data is not decoded or encoded here: transcode the file first,"
            " for example with pydicom's Dataset.decompress()"
        ),
    )
