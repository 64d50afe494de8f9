"""The steps of the DIMSE services: what a service generator asks its runner to do.

A service is written once, as a generator, for blocking callers and for event loops. The generator
yields a step and is sent the outcome:

    invocation = yield Send(message, within)   a request leaves; responses come from `invocation`
    response = yield Receive(invocation)       the next response, None after the final one
    responses = yield ReceiveMany(invocation)  the responses that have come, [] after the final one
    bulk = yield SendFiles(paths, ...)         files leave undecoded
    results = yield Results(bulk)              the results that have come, None after the last
    yield Answer(operation, command, data)     a response leaves
    answer = yield Ask(handler, request)       a function of the user is called
    item = yield Next(operation, items)        the user's next item, END after the last
    yield Close(items)                         the user's iterator is closed
    association = yield Dial(...)              another association, for sub-operations
    yield Run(association, steps)              steps are carried out on that association
    yield Release(association)                 that association is released or aborted
    yield Emit(value)                          the caller gets a value
"""

# A generator of steps has no socket, thread or event loop. What has to be done is data that the
# generator yields; `dimse.run` does it for callers that block, `aio._run` for tasks of an event
# loop. Which request is made, which response is the last, and what a handler's answer means are
# decided in one place, `dimse.scu`, `dimse.scp` and `dimse.retrieve`, and hold for both.
#
# What a generator has to keep to:
# - A step that fails raises its error at the `yield`. The generator may handle the error like that
#   of any call: a C-MOVE goes on with the next destination when a `Dial` has failed.
# - Whatever may wait is a step. The code between two steps runs on the event loop, where it holds
#   every other task up.
# - A generator may be closed at any `yield`, when its caller has left the loop. GeneratorExit is
#   raised there, no runner is left, and a further `yield` would be an error: clean-up that needs
#   steps belongs into `except BaseException`, behind an `except GeneratorExit: raise`.
# - Only calls with many responses may `Emit`. Their caller decides when the next step is taken, so
#   a slow caller slows the peer down.

from __future__ import annotations

from collections.abc import Callable, Generator
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dimse_rs.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from dimse_rs import _core

__all__ = [
    "END",
    "WAKE",
    "Answer",
    "Ask",
    "Close",
    "Dial",
    "Emit",
    "Next",
    "Receive",
    "ReceiveMany",
    "Release",
    "Results",
    "Run",
    "Send",
    "SendFiles",
    "Step",
]


WAKE: Final = 3600.0
"""Seconds to wait for the next result: results always come, deadlines are the core's."""

END: Final = object()
"""Outcome of `Next` after the last item."""


@dataclass(slots=True, eq=False)
class Send:
    """A request to be sent.

    Attributes:
        message: the request.
        within: how many seconds each response may take; 0 is no limit.
        again: how many more times the core sends the request, each time after a response, until
            one fails. `Receive` gives the last response.
        into: of a C-GET, the folder of its instances, until the invocation is closed.
    """

    message: _core.Message
    within: float
    again: int = 0
    into: _core.Folder | None = None


@dataclass(slots=True, eq=False)
class Receive:
    """The next response to a request."""

    invocation: _core.Invocation


@dataclass(slots=True, eq=False)
class ReceiveMany:
    """All responses to a request that have come, at least one; none after the final one."""

    invocation: _core.Invocation


@dataclass(slots=True, eq=False)
class SendFiles:
    """Part 10 files to be sent undecoded.

    Attributes:
        paths: of the files.
        priority: value of (0000,0700).
        within: how many seconds each response may take.
        move_originator: the C-MOVE that the files are sent for.
        part_of: the request whose sub-operations these are; its C-CANCEL ends the sending.
        check: whether a file that is cut short is refused.
    """

    paths: Sequence[str | PathLike[str]]
    priority: int
    within: float
    move_originator: _core.MoveOriginator | None = None
    part_of: _core.Operation | None = None
    check: bool = True


@dataclass(slots=True, eq=False)
class Results:
    """The results of files being sent that have come; [] when none came within `within` seconds."""

    bulk: _core.Bulk
    within: float = WAKE


@dataclass(slots=True, eq=False)
class Answer:
    """A response to a request of the peer.

    Attributes:
        operation: the request.
        command: elements of the response beside the identifiers of its request.
        data: the encoded data set.
        wait: whether the step lasts until the response has left.
        after: how many pending responses went before, for the log.
    """

    operation: _core.Operation
    command: dict[str, Any]
    data: Buffer | None = None
    wait: bool = True
    after: int = 0


@dataclass(slots=True, eq=False)
class Ask:
    """A call of a function of the user; an error of the function is raised at the `yield`."""

    function: Callable[[Any], Any]
    argument: Any


@dataclass(slots=True, eq=False)
class Next:
    """The next item of the user's iterator; also END when the operation ends meanwhile."""

    operation: _core.Operation
    items: Any


@dataclass(slots=True, eq=False)
class Close:
    """The end of the user's iterator; a generator cleans up."""

    items: Any


@dataclass(slots=True, eq=False)
class Dial:
    """Another association: `dial(True)` blocks, `dial(False)` gives an awaitable."""

    dial: Callable[[bool], Any]


@dataclass(slots=True, eq=False)
class Run:
    """Steps to be carried out on another association; the outcome is what they return."""

    core: _core.Association
    steps: Generator[Step, Any, Any]


@dataclass(slots=True, eq=False)
class Release:
    """The end of an association that was dialled: its release, or its abort."""

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
    | Release
    | Emit
)
