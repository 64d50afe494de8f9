"""The vocabulary of the service generators: what a generator asks its runner to do."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, TypeAlias

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
    "Hang",
    "Next",
    "Receive",
    "ReceiveMany",
    "Results",
    "Run",
    "Send",
    "SendFiles",
    "Step",
]


WAKE: Final = 3600.0
"""Seconds to wait for the next result: results always come, deadlines are the core's."""


END: Final = object()
"""What `Next` gives after the last item."""


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
