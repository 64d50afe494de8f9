"""The blocking runner: carries the steps of `dimse.steps` out on the calling thread."""

from __future__ import annotations

import logging
from collections.abc import Generator
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
    Next,
    Receive,
    ReceiveMany,
    Release,
    Results,
    Run,
    Send,
    SendFiles,
    Step,
)

if TYPE_CHECKING:
    from dimse_rs import _core

__all__ = ["close", "emitted", "invoke", "log_responses", "run", "send_files"]

_logger = log.get(log.DIMSE)

T = TypeVar("T")


def run(core: _core.Association, steps: Generator[Step, Any, T]) -> T:
    """Carry out a generator that emits nothing, blocking; give what it returns."""
    pump = emitted(core, steps)
    try:
        value = next(pump)
    except StopIteration as stop:
        result: T = stop.value
        return result
    pump.close()
    raise TypeError(f"{value!r} is emitted, and has no caller")


# `aio._run.advance` is the same loop with `await`: a change here belongs there too.
def emitted(core: _core.Association, steps: Generator[Step, Any, T]) -> Generator[Any, None, T]:
    """Carry out a generator, blocking; give the values that it emits as they come."""
    outcome: Any = None
    failure: BaseException | None = None
    try:
        while True:
            try:
                step = steps.send(outcome) if failure is None else steps.throw(failure)
            except StopIteration as stop:
                result: T = stop.value
                return result
            outcome, failure = None, None
            if isinstance(step, Emit):
                yield step.value
                continue
            try:
                outcome = _carry_out(core, step)
            except BaseException as error:  # Ctrl-C too: the generator decides what is undone
                failure = error
    finally:
        # The traceback of an error that leaves here has this frame in it. If the frame kept the
        # error, both, and the request and its spooled file with them, would wait for the
        # garbage collector.
        failure = None
        steps.close()


def _carry_out(core: _core.Association, step: Step) -> Any:
    match step:  # those of bulk transfers first: the cases are tried in order
        case ReceiveMany():
            return log_responses(core, step.invocation.next_many())
        case Next():
            return next(step.items, END)
        case Results():
            return step.bulk.next(step.within)
        case Answer():
            step.operation.respond(step.command, step.data, wait=step.wait)
            return log_answer(step.operation, step.command["Status"], step.after)
        case Send():
            return invoke(core, step)
        case Receive():
            response = step.invocation.next()
            if response is not None:
                log_message(core, ">>", response)
            return response
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
        case Release():
            return step.association.abort() if step.abort else step.association.release()
        case _:
            raise TypeError(f"{step!r} has no place here")


# ---- the parts of a step that never wait, for both runners


def log_responses(core: _core.Association, responses: list[_core.Message]) -> list[_core.Message]:
    """Log responses, and give them back."""
    if _logger.isEnabledFor(logging.INFO):
        for response in responses:
            log_message(core, ">>", response)
    return responses


def close(items: Any) -> None:
    """Close an iterator of the user, unless a thread runs it: there it is closed when it yields."""
    if getattr(items, "gi_running", False):
        return
    if (end := getattr(items, "close", None)) is not None:
        end()


def invoke(core: _core.Association, step: Send) -> _core.Invocation:
    """Log a request, then send it: the other way round its response could be logged before it.

    An error of the sending is raised to the caller.
    """
    log_message(core, "<<", step.message)
    return core.invoke(step.message, step.within, step.again, step.into)


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
