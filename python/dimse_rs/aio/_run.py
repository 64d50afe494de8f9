"""The runner for event loops: carries the steps of `dimse.steps` out with `await`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from dimse_rs.dimse.run import close, invoke, log_responses, send_files
from dimse_rs.dimse.steps import (
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
from dimse_rs.observe._narrate import log_answer, log_message
from dimse_rs.records import dataclass

from .threads import SHARED, Threads

if TYPE_CHECKING:
    from dimse_rs import _core
    from dimse_rs.completer import Completer

__all__ = ["advance", "run"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# Iterators over what is in memory: their next item never waits.
_READY: Final[tuple[type[Any], ...]] = (type(iter([])), type(iter(())))


@dataclass(frozen=True, slots=True)
class _Ended(Generic[T_co]):
    """The end of a generator, with what it returned."""

    value: T_co


async def run(
    core: _core.Association,
    steps: Generator[Step, Any, T],
    completer: Completer,
    threads: Threads = SHARED,
) -> T:
    """Carry out a generator that emits nothing; give what it returns.

    Functions of the user that are not asynchronous are called on `threads`.
    """
    reached = await advance(core, steps, completer, threads)
    if isinstance(reached, Emit):
        raise TypeError(f"{reached.value!r} is emitted, and has no caller")
    return reached.value


# `dimse.run.emitted` is the same loop without `await`: a change here belongs there too.
#
# Not an asynchronous generator: `aclose` of one that is awaiting raises RuntimeError, and one that
# is dropped needs a task of the loop to clean up. `AsyncResponses` is closed by other tasks than
# the one that iterates, and dropped.
async def advance(
    core: _core.Association,
    steps: Generator[Step, Any, T],
    completer: Completer,
    threads: Threads = SHARED,
) -> Emit | _Ended[T]:
    """Carry steps out until the generator emits a value or ends."""
    outcome: Any = None
    failure: BaseException | None = None
    try:
        while True:
            try:
                step = steps.send(outcome) if failure is None else steps.throw(failure)
            except StopIteration as stop:
                return _Ended(stop.value)
            outcome, failure = None, None
            if isinstance(step, Emit):
                return step
            try:
                outcome = await _carry_out(core, step, completer, threads)
            except BaseException as error:  # a cancelled task too: the generator cleans up
                failure = error
    finally:
        failure = None  # see `dimse.run.emitted`: frame and error would keep each other


async def _carry_out(
    core: _core.Association, step: Step, completer: Completer, threads: Threads
) -> Any:
    match step:
        case ReceiveMany():
            invocation = step.invocation
            responses = await completer.wait(lambda then: invocation.next_many(then=then))
            return log_responses(core, responses)
        case Next():
            return await _next(step, completer, threads)
        case Results():
            bulk, within = step.bulk, step.within
            return await completer.wait(lambda then: bulk.next(within, then=then))
        case Answer():
            return await _answer(step, completer)
        case Send():
            return invoke(core, step)
        case Receive():
            invocation = step.invocation
            response = await completer.wait(lambda then: invocation.next(then=then))
            if response is not None:
                log_message(core, ">>", response)
            return response
        case Ask():
            return await _ask(step, threads)
        case SendFiles():
            return send_files(core, step)
        case Dial():
            return await step.dial(False)
        case Run():
            return await run(step.core, step.steps, completer, threads)
        case Close():
            return await _close(step.items, threads)
        case Release():
            association = step.association
            return await (association.abort() if step.abort else association.release())
        case _:
            raise TypeError(f"{step!r} has no place here")


async def _answer(step: Answer, completer: Completer) -> None:
    operation, command, data = step.operation, step.command, step.data
    if step.wait:
        await completer.wait(lambda then: operation.respond(command, data, then=then))
    else:
        operation.respond(command, data, wait=False)
    log_answer(operation, command["Status"], step.after)


async def _ask(step: Ask, threads: Threads) -> Any:
    """Call the user's function: on the loop if it is asynchronous, else on a thread."""
    function = step.function
    if inspect.iscoroutinefunction(function):
        return await function(step.argument)
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        return function(step.argument)  # makes a generator, and runs nothing of the user's yet
    answer = await threads.call(function, step.argument)
    return (await answer) if inspect.isawaitable(answer) else answer


async def _next(step: Next, completer: Completer, threads: Threads) -> Any:
    items = step.items
    if isinstance(items, _READY):
        return next(items, END)
    if hasattr(items, "__anext__"):
        return await completer.unless_cancelled(anext(items, END), step.operation, END)
    lent = _Lent(items)
    try:
        return await threads.call(lent.next)
    except asyncio.CancelledError:
        lent.left = True
        raise


# A task that is cancelled, at the deadline of handlers or when the server stops, goes on while the
# thread is still inside the user's `next`. A running generator cannot be closed by another thread,
# and the `Close` that follows leaves it alone (`dimse.run.close`): so the thread closes it when it
# has yielded.
class _Lent:
    """An iterator of the user in the hands of a thread.

    `left` is set when the task that lent it out no longer waits.
    """

    def __init__(self, items: Any) -> None:
        self._items = items
        self.left = False

    def next(self) -> Any:
        item = next(self._items, END)
        if self.left:
            close(self._items)
        return item


async def _close(items: Any, threads: Threads) -> None:
    if (end := getattr(items, "aclose", None)) is not None:
        await end()
    elif not isinstance(items, _READY) and hasattr(items, "close"):
        await threads.call(close, items)
