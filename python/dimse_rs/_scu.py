"""The invoking side of the services, generators over `_drive`: no socket, no thread, no sleep."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _core
from ._drive import Receive, Results, Send, SendFiles, Step
from ._uids import SOPClass, TransferSyntax, is_uid
from .errors import DecodeError, NoPresentationContext, RemoteProtocolError, StatusError
from .sop_class import Verification
from .status import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

    from .association import AcceptedContext
    from .settings import Timeouts

__all__ = ["c_echo", "c_store_data_set", "c_store_file"]

C_ECHO_RQ = 0x0030
C_STORE_RQ = 0x0001


def c_echo(
    contexts: Sequence[AcceptedContext], message_id: int, timeouts: Timeouts
) -> Generator[Step, Any, Status]:
    """C-ECHO (PS3.7 9.1.5)."""
    context = _context(contexts, Verification)
    request = _core.Message(
        context.id,
        {
            "CommandField": C_ECHO_RQ,
            "AffectedSOPClassUID": Verification,
            "MessageID": message_id,
        },
    )
    response = yield from _one_response(request, timeouts.dimse)
    return _checked(response, "C-ECHO")


def c_store_file(
    path: Path,
    contexts: Sequence[AcceptedContext],
    message_id: int,
    timeouts: Timeouts,
    priority: int,
) -> Generator[Step, Any, Status]:
    """C-STORE of a Part 10 file, undecoded when its transfer syntax was accepted (PS3.7 9.1.1)."""
    sop_class, sop_instance, syntax, _ = _core.probe(path)
    if _match(contexts, sop_class, syntax) is None:
        from .datasets import convert

        context = convertible(contexts, sop_class, syntax)
        data = convert(path, context.transfer_syntax)
        request = _store_request(context, message_id, sop_class, sop_instance, priority, data)
        return _checked((yield from _one_response(request, timeouts.store)), "C-STORE")
    bulk = yield SendFiles([path], priority, timeouts.store)
    while (results := (yield Results(bulk))) is not None:
        for _, _, message, error in results:
            if error is not None:
                raise error
            if message is not None:
                return _checked(message, "C-STORE")
    raise RemoteProtocolError(f"no response for {path}")


def c_store_data_set(
    dataset: Dataset,
    contexts: Sequence[AcceptedContext],
    message_id: int,
    timeouts: Timeouts,
    priority: int,
) -> Generator[Step, Any, Status]:
    """C-STORE of a pydicom data set, in its own transfer syntax when that was accepted."""
    from .datasets import stored_syntax, to_bytes

    sop_class = str(dataset.get("SOPClassUID", ""))
    sop_instance = str(dataset.get("SOPInstanceUID", ""))
    for uid, name in (
        (sop_class, "SOP Class UID (0008,0016)"),
        (sop_instance, "SOP Instance UID (0008,0018)"),
    ):
        if not is_uid(uid):
            raise DecodeError(f"the data set has no valid {name}", section="PS3.4 B.2.1")
    syntax = stored_syntax(dataset)
    context = None if syntax is None else _match(contexts, sop_class, syntax)
    if context is None:
        context = convertible(contexts, sop_class, syntax)
    data = to_bytes(dataset, context.transfer_syntax)
    request = _store_request(context, message_id, sop_class, sop_instance, priority, data)
    return _checked((yield from _one_response(request, timeouts.store)), "C-STORE")


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


def _one_response(request: _core.Message, within: float) -> Generator[Step, Any, _core.Message]:
    invocation = yield Send(request, within)
    response: _core.Message | None = yield Receive(invocation)
    if response is None:
        raise RemoteProtocolError("the operation ended without a response")
    return response


def _checked(response: _core.Message, service: str) -> Status:
    """Turn a response into its status; a failure is raised with the whole response on it."""
    status = Status(response.status or 0, service)
    if status.category == "failure":
        from .association import Response

        whole = Response(response)
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
    offered = ", ".join(c.transfer_syntax.name or c.transfer_syntax for c in of_class)
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
