"""Service logic is written once, as generators; this runs them on a blocking association.

A generator yields what it wants of the association and is sent what came of it:

    invocation = yield Send(message, within)   a request leaves; responses come from `invocation`
    response = yield Receive(invocation)       the next response, None after the final one
    bulk = yield SendFiles(paths, ...)         files leave undecoded
    results = yield Results(bulk)              the results that are there, None after the last
    yield Answer(operation, command, data)     a response leaves
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from . import log
from .status import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from . import _core

__all__ = ["Answer", "Receive", "Results", "Send", "SendFiles", "Step", "log_message", "run"]

_logger = log.get(log.DIMSE)

WAKE = 3600.0
"""Seconds to wait for the next result: results always come, deadlines are the core's."""

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Send:
    """A request to be sent; `within` is how many seconds a response may take, 0 for ever."""

    message: _core.Message
    within: float


@dataclass(slots=True, eq=False)
class Receive:
    """The next response to a request."""

    invocation: _core.Invocation


@dataclass(slots=True, eq=False)
class SendFiles:
    """Part 10 files to be sent as they are."""

    paths: Sequence[str | PathLike[str]]
    priority: int
    within: float


@dataclass(slots=True, eq=False)
class Results:
    """The next results of files being sent."""

    bulk: _core.Bulk


@dataclass(slots=True, eq=False)
class Answer:
    """A response to a request of the peer."""

    operation: _core.Operation
    command: dict[str, Any]
    data: Buffer | None = None


Step: TypeAlias = Send | Receive | SendFiles | Results | Answer


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


def _carry_out(core: _core.Association, step: Step) -> Any:
    if isinstance(step, Send):
        log_message(core, "<<", step.message)
        return core.invoke(step.message, step.within)
    if isinstance(step, Receive):
        response = step.invocation.next()
        if response is not None:
            log_message(core, ">>", response)
        return response
    if isinstance(step, SendFiles):
        return core.send_files(step.paths, priority=step.priority, within=step.within)
    if isinstance(step, Results):
        return step.bulk.next(WAKE)
    log_answer(step.operation, step.command["Status"])
    return step.operation.respond(step.command, step.data)


def log_message(core: _core.Association, arrow: str, message: _core.Message) -> None:
    """Log a message in one line, `>>` received and `<<` sent; its command set at DEBUG."""
    if not _logger.isEnabledFor(logging.INFO):
        return
    calling, called = core.titles
    number = message.message_id or message.responding_to
    status = "" if message.status is None else f" {Status(message.status)}"
    what = f"{message.name} {number}{status}"
    _logger.info("%s<-%s(%d) %s %s", called, calling, core.id, arrow, what)
    _logger.debug("%s", message.command)


def log_answer(operation: _core.Operation, status: int) -> None:
    """Log a response of ours in one line."""
    if not _logger.isEnabledFor(logging.INFO):
        return
    request = operation.message
    calling, called = operation.association.titles
    name = (request.name or "").replace("-RQ", "-RSP")
    what = f"{name} {request.message_id} {Status(status)}"
    _logger.info("%s<-%s(%d) << %s", called, calling, operation.association.id, what)
