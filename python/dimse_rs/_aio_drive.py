"""The steps of `_drive`, carried out on an event loop."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from . import log
from ._aio_threads import SHARED, Threads
from ._drive import (
    END,
    Answer,
    Ask,
    Dial,
    Hang,
    Next,
    Receive,
    ReceiveMany,
    Results,
    Run,
    Send,
    SendFiles,
    Step,
    log_answer,
    log_message,
    send_files,
)

if TYPE_CHECKING:
    from . import _core
    from ._aio import Completer

__all__ = ["carry_out", "run"]

_dimse = log.get(log.DIMSE)

T = TypeVar("T")

# Iterators over what is in memory: their next item never waits.
_READY: Final[tuple[type[Any], ...]] = (type(iter([])), type(iter(())))


async def run(
    core: _core.Association,
    steps: Generator[Step, Any, T],
    completer: Completer,
    threads: Threads = SHARED,
) -> T:
    """Carry a generator out on an association; gives what it returns.

    Functions of the user's that are not asynchronous are called on `threads`.
    """
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
            outcome = await carry_out(core, step, completer, threads)
        except BaseException as error:
            failure = error


async def carry_out(
    core: _core.Association, step: Step, completer: Completer, threads: Threads = SHARED
) -> Any:
    """Carry out one step, other than `Emit`."""
    match step:
        case Receive():
            invocation = step.invocation
            response = await completer.wait(lambda then: invocation.next(then=then))
            if response is not None:
                log_message(core, ">>", response)
            return response
        case Send():
            log_message(core, "<<", step.message)
            return core.invoke(step.message, step.within, step.again)
        case ReceiveMany():
            invocation = step.invocation
            responses = await completer.wait(lambda then: invocation.next_many(then=then))
            if _dimse.isEnabledFor(logging.INFO):
                for response in responses:
                    log_message(core, ">>", response)
            return responses
        case SendFiles():
            return send_files(core, step)
        case Results():
            bulk, within = step.bulk, step.within
            return await completer.wait(lambda then: bulk.next(within, then=then))
        case Answer():
            return await _answer(step, completer)
        case Ask():
            return await _ask(step, threads)
        case Next():
            return await _next(step.items, threads)
        case Dial():
            return await step.dial(False)
        case Run():
            return await run(step.core, step.steps, completer, threads)
        case Hang():
            return await step.association.release()
        case _:
            raise TypeError(f"{step!r} has no place here")


async def _answer(step: Answer, completer: Completer) -> None:
    log_answer(step.operation, step.command["Status"])
    operation, command, data = step.operation, step.command, step.data
    if step.wait:
        await completer.wait(lambda then: operation.respond(command, data, then=then))
    else:
        operation.respond(command, data, wait=False)


async def _ask(step: Ask, threads: Threads) -> Any:
    """Call the user's function; one that is not asynchronous may wait, so it has a thread."""
    function = step.function
    if inspect.iscoroutinefunction(function):
        return await function(step.argument)
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        return function(step.argument)
    answer = await threads.call(function, step.argument)
    return (await answer) if inspect.isawaitable(answer) else answer


async def _next(items: Any, threads: Threads) -> Any:
    if hasattr(items, "__anext__"):
        return await anext(items, END)
    if isinstance(items, _READY):
        return next(items, END)
    return await threads.call(next, items, END)
