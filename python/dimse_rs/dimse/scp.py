"""The performing side of the services, as generators: what becomes of a handler's answer."""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dimse_rs import log
from dimse_rs.callables import described, gives, is_data_set, status_and_elements
from dimse_rs.errors import LimitExceeded, LocalProtocolError, StatusError
from dimse_rs.fields import FIRST_N_SERVICE, N_GET_RQ, SERVICE_OF
from dimse_rs.observe._narrate import log_answer
from dimse_rs.status import (
    CANCEL,
    CANNOT_UNDERSTAND,
    OUT_OF_RESOURCES,
    PENDING,
    PROCESSING_FAILURE,
    RESOURCE_LIMITATION,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
    UNRECOGNIZED_OPERATION,
    Status,
    is_defined,
)

from .scu import data_set_of
from .steps import END, Answer, Ask, Close, Next, Step

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from typing_extensions import Buffer

    from dimse_rs import _core

    from .requests import Handler, Request

__all__ = [
    "Failed",
    "answer_at_once",
    "ask",
    "closing",
    "extra_of",
    "failure_of",
    "final",
    "many_matches",
    "mistake",
    "one_answer",
    "pair_of",
    "refusal_of",
    "response",
    "status_of",
    "unserved_of",
]

# How a request is answered. `Performer.steps` picks the generator:
#
#     one_answer     C-ECHO, C-STORE, N-services   ask -> _read_answer -> final
#     many_matches   C-FIND                        ask -> items_of -> (next_of -> _match)* -> final
#     retrieve.c_get, retrieve.c_move              ask -> items_of -> sub-operations -> final
#
# Every request ends in one final response or in an abort of its association. Each stage turns a
# fault into `Failed`, which carries the response that the peer gets for it:
# - the handler raised: its StatusError, else a failure (`_failed`);
# - its answer is not one for this service (`mistake`), or a status that the service does not define
#   (`status_of`);
# - the answer cannot be encoded or sent (`_unsendable`).
# What is raised beside `Failed` is a fault of this package or the end of the association;
# `Performer._conclude` answers for the former.
#
# The identifiers of a response (Message ID, SOP class, SOP instance, context) come from its
# request: the core copies them.

_logger = log.get(log.SERVER)

T = TypeVar("T")

_COMMENT_LENGTH: Final = 64
"""Characters of an Error Comment, VR LO (PS3.7 C.4)."""

# What `Operation.respond` raises for a command or data set that is no response.
_UNSENDABLE: Final = (LocalProtocolError, KeyError, TypeError, ValueError, OverflowError)

# Elements that a response with a data set repeats from its request (PS3.7 10.1).
_ECHOED: Final = ("ActionTypeID", "EventTypeID")

# What handlers may raise. SystemExit and KeyboardInterrupt are among them: either would end the
# thread that serves the request. CancelledError is not: a cancelled task has to end.
_OF_USERS: Final = (Exception, SystemExit, KeyboardInterrupt)

_IN_FLIGHT: Final = 32
"""Pending responses sent in a row before one is waited for: a slow peer slows the handler down."""


class Failed(Exception):
    """The operation ends with this response."""

    def __init__(
        self,
        status: int,
        comment: str = "",
        dataset: Dataset | None = None,
        elements: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep the elements and the data set of the response."""
        super().__init__(status)
        self.command: dict[str, Any] = {**response(status, comment), **(elements or {})}
        self.dataset = dataset


def one_answer(request: Request, handler: Handler) -> Generator[Step, Any, None]:
    """Ask the handler and send its one response: C-ECHO, C-STORE and the N-services."""
    try:
        yield from _one_answer(request, handler)
    finally:
        request.answered()


def _one_answer(request: Request, handler: Handler) -> Generator[Step, Any, None]:
    try:
        try:
            answer = yield from ask(request, handler)
            status, elements, dataset = _read_answer(request, answer)
            command = response(status) | elements
        except Failed as failed:
            command, dataset = failed.command, failed.dataset
        data = None if dataset is None else _encoded(request, dataset)
    except Failed as failed:  # from `_encoded`
        command, data = failed.command, None
    if data is not None:
        command.update({k: v for k in _ECHOED if (v := request._message.get(k)) is not None})
    if instance := request.assigned_uid:
        command["AffectedSOPInstanceUID"] = instance
    yield from final(request, command, data)


def final(
    request: Request,
    command: dict[str, Any],
    data: Buffer | None = None,
    after: int = 0,
) -> Generator[Step, Any, None]:
    """Send the final response; when it cannot be sent, a failure in its place.

    Args:
        request: to be answered.
        command: elements of the response.
        data: its encoded data set.
        after: how many pending responses went before, for the log.
    """
    # First: the peer may send its next request as soon as it has the response, and that request
    # needs the memory that this one had reserved.
    request.release()
    if request._operation.association.ended is not None:
        return  # the handler may have aborted the association
    try:
        yield Answer(request._operation, command, data, after=after)
    except _UNSENDABLE as error:
        if request._operation.answered:  # the deadline of handlers has passed, with a failure
            raise
        failed = _unsendable(request, error)
        yield Answer(request._operation, failed.command)


def many_matches(request: Request, handler: Handler) -> Generator[Step, Any, None]:
    """Ask the handler of a C-FIND, and send a pending response for each data set it gives."""
    opened: list[Any] = []
    command, sent = yield from closing(opened, _matches(request, handler, opened))
    yield from final(request, command, after=sent)


def _matches(
    request: Request, handler: Handler, opened: list[Any]
) -> Generator[Step, Any, tuple[dict[str, Any], int]]:
    """Send the matches; give the final response, and how many matches were sent."""
    sent = 0
    try:
        answer = yield from ask(request, handler)
        items = items_of(request, answer)
        opened.append(items)
        while not request.cancelled:
            item = yield from next_of(request, items)
            if item is END:
                break
            status, data = _match(request, item)
            sent += 1
            try:
                yield Answer(
                    request._operation, response(status), data, wait=sent % _IN_FLIGHT == 0
                )
            except _UNSENDABLE as error:  # such as an empty identifier
                if request._operation.answered:  # the deadline of handlers has passed
                    raise
                raise _unsendable(request, error) from error
    except Failed as failed:
        return failed.command, sent
    return response(CANCEL if request.cancelled else SUCCESS), sent


def _match(request: Request, item: Any) -> tuple[int, Buffer]:
    """Read an item of a C-FIND handler: a data set, or a pending status and a data set."""
    status, dataset = int(PENDING), item
    if isinstance(item, tuple):
        status, dataset = pair_of(request, item)
    return status, _encoded(request, dataset)


def pair_of(request: Request, pair: tuple[Any, ...]) -> tuple[int, Any]:
    """Read an item that is a pair: a pending status and a data set or an instance.

    Raises:
        Failed: a final status and None end the operation with that status; any other pair is a
            mistake of the handler.
    """
    read = status_and_elements(pair[0]) if len(pair) == 2 else None
    if read is None or not 0 <= read[0] <= 0xFFFF:
        raise mistake(request, pair)
    status, elements = Status(read[0]), read[1]
    if pair[1] is None and status.is_final:
        raise Failed(status_of(request, status), elements=_sendable(elements))
    if pair[1] is None or status.category != "pending":
        raise mistake(request, pair)
    return status, pair[1]


def ask(request: Request, handler: Handler) -> Generator[Step, Any, Any]:
    """Call the handler; an error of the handler becomes `Failed`."""
    try:
        return (yield Ask(handler, request))
    except _OF_USERS as error:
        raise _failed(request, error) from error


def items_of(request: Request, answer: Any) -> Any:
    """Give an iterator over the answer of a handler of C-FIND, C-GET or C-MOVE.

    Raises:
        Failed: the answer is a status, or cannot be iterated over.
    """
    if answer is None:
        return iter(())
    if isinstance(answer, int) and not isinstance(answer, bool):
        raise Failed(status_of(request, answer))
    if hasattr(answer, "__aiter__"):
        return aiter(answer)
    single = isinstance(answer, (str, bytes, bytearray, memoryview)) or is_data_set(answer)
    if single or not isinstance(answer, Iterable):
        raise mistake(request, answer)
    return iter(answer)


def next_of(request: Request, items: Any) -> Generator[Step, Any, Any]:
    """Give the user's next item, END after the last; an error of the iterator becomes `Failed`."""
    try:
        return (yield Next(request._operation, items))
    except _OF_USERS as error:
        raise _failed(request, error) from error


# A handler that is a generator holds resources of the user, such as a database cursor, and cleans
# up when it is closed. Closing is a step, as the clean-up may wait and an asynchronous generator is
# closed by `await`. A `finally` could not carry that step out: see GeneratorExit in `dimse.steps`.
def closing(opened: list[Any], steps: Generator[Step, Any, T]) -> Generator[Step, Any, T]:
    """Carry steps out, then close the user's iterators that they have put into `opened`."""
    try:
        outcome = yield from steps
    except GeneratorExit:
        raise
    except BaseException:
        yield from _closed(opened)
        raise
    yield from _closed(opened)
    return outcome


def _closed(opened: list[Any]) -> Generator[Step, Any, None]:
    for items in opened:
        try:
            yield Close(items)
        except _OF_USERS:
            extra = {"code": "handler-failed"}
            _logger.exception("a handler failed when it was closed", extra=extra)


def _failed(request: Request, error: BaseException) -> Failed:
    if isinstance(error, StatusError):
        code = int(error.status)
        if not error.status.is_final:
            return mistake(request, code)
        if not _is_defined(request, code):
            extra = extra_of(request, "handler-status")
            _logger.warning("%s", _undefined(request, code), extra=extra)
        return Failed(code, error.comment, error.dataset, error.elements)
    if isinstance(error, LimitExceeded):
        extra = extra_of(request, "limit")
        _logger.warning("%s: %s", request, error, extra=extra)
        return Failed(refusal_of(request.field), f"over the limit: {error.limit}")
    if error is request.unreadable:  # the peer has sent it so
        extra = extra_of(request, "undecodable")
        _logger.warning("%s: %s", request, error, extra=extra)
        return Failed(failure_of(request.field), "data set cannot be read")
    extra = extra_of(request, "handler-failed")
    _logger.error("%s: the handler failed", request, exc_info=error, extra=extra)
    return Failed(failure_of(request.field), "handler failed")


def status_of(request: Request, status: int) -> int:
    """Check a handler's final status.

    Raises:
        Failed: the number is no final status, or not one that the service defines (PS3.4).
    """
    if not (0 <= status <= 0xFFFF and Status(status).is_final):
        raise mistake(request, status)
    if not _is_defined(request, status):
        _logger.error("%s", _undefined(request, status), extra=extra_of(request, "handler-status"))
        raise Failed(failure_of(request.field), "handler gave no valid status")
    return int(status)


def _is_defined(request: Request, status: int) -> bool:
    return is_defined(status, SERVICE_OF[request.field], request.sop_class.service)


def _undefined(request: Request, status: int) -> str:
    service = request.sop_class.service
    return f"{request}: the handler gave {Status(status, service)}, which {service} does not define"


def mistake(request: Request, answer: object) -> Failed:
    """Log what a handler gave and what its service takes; give the response for it."""
    if isinstance(answer, Coroutine):  # of a handler that is not declared `async`: never awaited
        answer.close()
    _logger.error(
        "%s: got %s; %s",
        request,
        described(answer),
        gives(request.field),
        extra=extra_of(request, "handler-status"),
    )
    return Failed(failure_of(request.field), "handler gave no valid status")


def _read_answer(
    request: Request, answer: Any
) -> tuple[int, dict[str, Any], Dataset | Mapping[str, Any] | None]:
    """Read the answer of a handler with one response: None, a status, a data set, or both.

    Returns:
        The status, elements that go with it, and the data set.
    """
    field = request.field
    is_pair = field >= FIRST_N_SERVICE and isinstance(answer, tuple) and len(answer) == 2
    given, dataset = answer if is_pair else (answer, None)
    read = (SUCCESS, {}) if answer is None else status_and_elements(given)
    if read is None and not is_pair and is_data_set(answer):
        read, dataset = (SUCCESS, {}), answer
    if read is None or Status(read[0] & 0xFFFF).category == "cancel":
        raise mistake(request, answer)
    code = status_of(request, read[0])
    if dataset is not None and (field < FIRST_N_SERVICE or not is_data_set(dataset)):
        raise mistake(request, answer)
    if field == N_GET_RQ and not dataset and Status(code).category != "failure":
        extra = extra_of(request, "handler-status")
        _logger.error("%s: the handler gave no data set (PS3.7 10.1.2)", request, extra=extra)
        raise Failed(PROCESSING_FAILURE, "no attributes")
    return code, _sendable(read[1]), dataset


def _sendable(elements: dict[str, Any]) -> dict[str, Any]:
    """Make the elements that a handler gave with its status fit for a response."""
    if "ErrorComment" in elements:
        elements["ErrorComment"] = _default_repertoire(str(elements["ErrorComment"]))
    return elements


def _encoded(request: Request, dataset: Any) -> Buffer:
    """Encode a data set for the request's context; bytes count as encoded for it already."""
    if not is_data_set(dataset):
        try:
            return memoryview(dataset)
        except TypeError:
            raise mistake(request, dataset) from None
    from dimse_rs.datasets import to_bytes

    try:
        if isinstance(dataset, Mapping):
            dataset = data_set_of(dataset)
        return to_bytes(dataset, request.context.transfer_syntax)
    except Exception as error:
        raise _unsendable(request, error) from error


def _unsendable(request: Request, error: BaseException) -> Failed:
    _logger.error(
        "%s: what the handler gave cannot be sent",
        request,
        exc_info=error,
        extra=extra_of(request, "handler-failed"),
    )
    return Failed(failure_of(request.field), "response cannot be sent")


def response(status: int, comment: str = "") -> dict[str, Any]:
    """Build the elements of a response beside the identifiers of its request."""
    command: dict[str, Any] = {"Status": int(status)}
    if comment:
        command["ErrorComment"] = _default_repertoire(comment)
    return command


def extra_of(request: Request, code: str) -> dict[str, Any]:
    """Give the attributes of a log record about a request."""
    return log.of(request._operation.association, code)


def answer_at_once(operation: _core.Operation, status: int, comment: str) -> None:
    """Send a final response without a handler, and without waiting until it has left.

    Raises:
        LocalProtocolError: a final response was sent before.
        AssociationError, TransportError: the association is over.
    """
    operation.respond(response(status, comment), wait=False)
    log_answer(operation, status)


def refusal_of(field: int) -> int:
    """Give the status for a lack of resources: A700 for C-services, 0213 for N-services."""
    return OUT_OF_RESOURCES if field < FIRST_N_SERVICE else RESOURCE_LIMITATION


def failure_of(field: int) -> int:
    """Give the failure for a fault here: C000 for C-services, 0110 for N-services (PS3.7 C)."""
    return CANNOT_UNDERSTAND if field < FIRST_N_SERVICE else PROCESSING_FAILURE


def unserved_of(field: int) -> int:
    """Give the failure where no handler is: 0122 for C-services, 0211 for N-services."""
    return SOP_CLASS_NOT_SUPPORTED if field < FIRST_N_SERVICE else UNRECOGNIZED_OPERATION


def _default_repertoire(text: str) -> str:
    """Fit a text into (0000,0902): 64 characters of the default repertoire, no backslash."""
    kept = "".join(c if " " <= c <= "~" and c != "\\" else "?" for c in text)
    return kept[:_COMMENT_LENGTH]
