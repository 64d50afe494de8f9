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
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from dimse_rs import log
from dimse_rs.observe._narrate import log_answer, log_message

from .steps import (
    END,
    Answer,
    Ask,
    Close,
    Dial,
    Emit,
    Hang,
    Next,
    Receive,
    ReceiveMany,
    Results,
    Run,
    Send,
    SendFiles,
    Step,
)

if TYPE_CHECKING:
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


T = TypeVar("T")


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
        part_of=None if step.part_of is None else step.part_of.cancellation,
        check=step.check,
    )
