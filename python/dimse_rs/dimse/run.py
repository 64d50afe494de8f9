"""Service logic is written once, as generators; this runs them on a blocking association.

A generator yields what it wants done and is sent what came of it:

    invocation = yield Send(message, within)   a request leaves; responses come from `invocation`
    response = yield Receive(invocation)       the next response, None after the final one
    responses = yield ReceiveMany(invocation)  those that are there, at least one; none after that
    bulk = yield SendFiles(paths, ...)         files leave undecoded
    results = yield Results(bulk)              the results that are there, None after the last
    yield Answer(operation, command, data)     a response leaves
    answer = yield Ask(handler, request)       a function of the user's is called
    item = yield Next(operation, items)        the next item of the user's, END after the last
    yield Close(items)                         the user's iterator is left
    association = yield Dial(...)              another association, for sub-operations
    yield Run(association, steps)              steps carried out on it
    yield Hang(association)                    and its release, or its abort
    yield Emit(value)                          the caller gets a value

"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from dimse_rs import log
from dimse_rs.observe._narrate import catch_up
from dimse_rs.status import PENDING, PENDING_WARNING, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from dimse_rs import _core

__all__ = [
    "END",
    "Answer",
    "Ask",
    "Close",
    "Dial",
    "Emit",
    "Hang",
    "Next",
    "Receive",
    "ReceiveMany",
    "Results",
    "Run",
    "Send",
    "SendFiles",
    "Step",
    "emitted",
    "invoke",
    "log_answer",
    "log_message",
    "run",
]

_logger = log.get(log.DIMSE)

WAKE: Final = 3600.0
"""Seconds to wait for the next result: results always come, deadlines are the core's."""

END: Final = object()
"""What `Next` gives after the last item."""

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Send:
    """A request to be sent; `within` is how many seconds a response may take, 0 for ever.

    It is sent `again` as often, as long as nothing fails; `Receive` gives the last response.
    """

    message: _core.Message
    within: float
    again: int = 0


@dataclass(slots=True, eq=False)
class Receive:
    """The next response to a request."""

    invocation: _core.Invocation


@dataclass(slots=True, eq=False)
class ReceiveMany:
    """The next responses to a request: all that are there."""

    invocation: _core.Invocation


@dataclass(slots=True, eq=False)
class SendFiles:
    """Part 10 files to be sent as they are, until what they are part of is cancelled.

    `check`: only those that are whole.
    """

    paths: Sequence[str | PathLike[str]]
    priority: int
    within: float
    move_originator: tuple[str, int] | None = None
    part_of: _core.Operation | None = None
    check: bool = True


@dataclass(slots=True, eq=False)
class Results:
    """The next results of files being sent, waiting at most `within` seconds."""

    bulk: _core.Bulk
    within: float = WAKE


@dataclass(slots=True, eq=False)
class Answer:
    """A response to a request of the peer; `wait`: until it has left; `after` how many pending."""

    operation: _core.Operation
    command: dict[str, Any]
    data: Buffer | None = None
    wait: bool = True
    after: int = 0


@dataclass(slots=True, eq=False)
class Ask:
    """A call of the user's function; what it raises is raised here."""

    function: Callable[[Any], Any]
    argument: Any


@dataclass(slots=True, eq=False)
class Next:
    """The next item of the user's iterator; END, too, when the operation ends meanwhile."""

    operation: _core.Operation
    items: Any


@dataclass(slots=True, eq=False)
class Close:
    """The end of the user's iterator, if it is a generator: it cleans up."""

    items: Any


@dataclass(slots=True, eq=False)
class Dial:
    """Another association: `dial` makes it, blocking or not as the runner wants."""

    dial: Callable[[bool], Any]


@dataclass(slots=True, eq=False)
class Run:
    """Steps to be carried out on another association; gives what they return."""

    core: _core.Association
    steps: Generator[Step, Any, Any]


@dataclass(slots=True, eq=False)
class Hang:
    """The end of an association that was dialled."""

    association: Any
    abort: bool = False


@dataclass(slots=True, eq=False)
class Emit:
    """A value for the caller."""

    value: Any


Step: TypeAlias = (
    Send
    | Receive
    | ReceiveMany
    | SendFiles
    | Results
    | Answer
    | Ask
    | Next
    | Close
    | Dial
    | Run
    | Hang
    | Emit
)


def run(core: _core.Association, steps: Generator[Step, Any, T]) -> T:
    """Carry a generator out on an association, blocking; gives what it returns."""
    outcome: Any = None
    failure: BaseException | None = None
    while True:
        try:
            step = steps.send(outcome) if failure is None else steps.throw(failure)
        except StopIteration as stop:
            result: T = stop.value
            return result
        outcome, failure = None, None
        try:
            outcome = _carry_out(core, step)
        except BaseException as error:
            failure = error


def emitted(core: _core.Association, steps: Generator[Step, Any, Any]) -> Iterator[Any]:
    """Carry a generator out, blocking, and give the values that it emits as they come."""
    outcome: Any = None
    failure: BaseException | None = None
    try:
        while True:
            try:
                step = steps.send(outcome) if failure is None else steps.throw(failure)
            except StopIteration:
                return
            outcome, failure = None, None
            if isinstance(step, Emit):
                yield step.value
                continue
            try:
                outcome = _carry_out(core, step)
            except BaseException as error:
                failure = error
    finally:
        steps.close()


def _carry_out(core: _core.Association, step: Step) -> Any:
    if isinstance(step, Receive):
        response = step.invocation.next()
        if response is not None:
            log_message(core, ">>", response)
        return response
    if isinstance(step, ReceiveMany):
        responses = step.invocation.next_many()
        if _logger.isEnabledFor(logging.INFO):
            for response in responses:
                log_message(core, ">>", response)
        return responses
    if isinstance(step, Next):
        return next(step.items, END)
    return step.bulk.next(step.within) if isinstance(step, Results) else _begin(core, step)


def _begin(core: _core.Association, step: Step) -> Any:
    match step:
        case Send():
            return invoke(core, step)
        case Answer():
            step.operation.respond(step.command, step.data, wait=step.wait)
            return log_answer(step.operation, step.command["Status"], step.after)
        case Ask():
            return step.function(step.argument)
        case SendFiles():
            return send_files(core, step)
        case Dial():
            return step.dial(True)
        case Run():
            return run(step.core, step.steps)
        case Close():
            return close(step.items)
        case Hang():
            return step.association.abort() if step.abort else step.association.release()
        case _:
            raise TypeError(f"{step!r} has no place here")


def close(items: Any) -> None:
    """Let a generator of the user's clean up; one that runs on another thread is left to that."""
    if getattr(items, "gi_running", False):
        return
    if (end := getattr(items, "close", None)) is not None:
        end()


def invoke(core: _core.Association, step: Send) -> _core.Invocation:
    """Log a request and send it: in the log it has to stand before its response.

    The caller gets an error when it cannot be sent.
    """
    log_message(core, "<<", step.message)
    return core.invoke(step.message, step.within, step.again)


def send_files(core: _core.Association, step: SendFiles) -> _core.Bulk:
    """Begin to send files."""
    return core.send_files(
        step.paths,
        priority=step.priority,
        within=step.within,
        move_originator=step.move_originator,
        part_of=step.part_of,
        check=step.check,
    )


def log_message(core: _core.Association, arrow: str, message: _core.Message) -> None:
    """Log a message in one line, `>>` received and `<<` sent; a pending response below INFO."""
    level = _level_of(message.status)
    if not _logger.isEnabledFor(level):
        return
    calling, called = core.titles
    number = message.message_id or message.responding_to
    status = "" if message.status is None else f" {Status(message.status)}"
    what = f"{message.name} {number}{status}"
    told = log.of(core, "message")
    catch_up(core.id)
    _logger.log(level, "%s<-%s(%d) %s %s", called, calling, core.id, arrow, what, extra=told)


def log_answer(operation: _core.Operation, status: int, after: int = 0) -> None:
    """Log a response of ours in one line, with the pending ones before it; those below INFO.

    After it was sent: it may have been too late for it.
    """
    level = _level_of(status)
    if not _logger.isEnabledFor(level):
        return
    request = operation.message
    calling, called = operation.association.titles
    name = (request.name or "").replace("-RQ", "-RSP")
    what = f"{name} {request.message_id} {Status(status)}" + (f" after {after}" if after else "")
    core = operation.association
    told = log.of(core, "message")
    catch_up(core.id)
    _logger.log(level, "%s<-%s(%d) << %s", called, calling, core.id, what, extra=told)


def _level_of(status: int | None) -> int:
    """Give the level of a message: there may be as many pending ones as a peer has patients."""
    return logging.DEBUG if status in (PENDING, PENDING_WARNING) else logging.INFO
