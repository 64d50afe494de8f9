"""What is played: scripts of steps, and the case that they make up. Data only.

A script is data: bytes are sent, the other steps below send slowly, wait, hang up, or name what the
node has to do next. Everything has a bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, TypeAlias

from tests.support import wire

MEMORY = 8 << 20
"""Bytes that a node may take for one case: buffers, and what its allocator keeps of them."""

Within: TypeAlias = Literal["now", "progress", "idle", "write", "handler"]
"""Which deadline has to pass first."""


class HangUp(Enum):
    """How the peer's side of the connection ends."""

    FIN = "half-closes"
    RST = "resets"


@dataclass(frozen=True)
class Drip:
    """Bytes sent slowly, `size` at a time; stops when the node closes."""

    data: bytes
    every: float
    size: int = 1


@dataclass(frozen=True)
class Flood:
    """The same bytes again and again, until the node says something or closes."""

    chunk: bytes
    most: int


@dataclass(frozen=True)
class Repeat:
    """The same bytes, so many times."""

    chunk: bytes
    times: int


@dataclass(frozen=True)
class Deaf:
    """The same bytes again and again, reading nothing, until no more can be sent."""

    chunk: bytes


@dataclass(frozen=True)
class Crowd:
    """So many other connections, which say nothing until the script is over.

    They come before this one, which is opened anew for that, or behind it.
    """

    size: int
    behind: bool = False


@dataclass(frozen=True)
class Beside:
    """What another peer does meanwhile, on a connection of its own."""

    script: tuple[Step, ...]


@dataclass(frozen=True)
class Echoes:
    """So many C-ECHO on this association, a few at a time, with every message id in turn."""

    count: int
    at_once: int = 32


@dataclass(frozen=True)
class Wait:
    """Silence, as part of the case."""

    seconds: float


@dataclass(frozen=True)
class Accepted:
    """A-ASSOCIATE-AC, with this result for each context.

    Without sub-items of the type `absent`; `window` is the most operations that it may offer.
    """

    results: tuple[tuple[int, int], ...] = ((1, 0),)
    absent: int = 0
    window: int = 0


@dataclass(frozen=True)
class Rejected:
    """A-ASSOCIATE-RJ."""

    result: int
    source: int
    reason: int


@dataclass(frozen=True)
class Aborted:
    """A-ABORT, and then a close as soon as we close, unless we do not."""

    source: int
    reason: int
    within: Within = "now"
    we_close: bool = True


@dataclass(frozen=True)
class Answered:
    """A DIMSE response, behind any number of `pending` ones if so; the association goes on.

    C000 stands for any Cxxx: the standard leaves the digits to the node.
    """

    status: int
    message_id: int = 1
    field: int = wire.C_STORE_RQ
    context: int = 1
    pending: bool = False
    within: Within = "now"


@dataclass(frozen=True)
class Released:
    """A-RELEASE-RP, and then a close as soon as we close, unless we do not."""

    we_close: bool = True


@dataclass(frozen=True)
class Largest:
    """From here on no P-DATA-TF of the node is longer than this."""

    length: int


@dataclass(frozen=True)
class Closed:
    """The node closes without another byte."""

    within: Literal["now", "artim"] = "now"


@dataclass(frozen=True)
class Gone:
    """The node closes, whatever it said before that and we did not read."""

    within: Within = "now"


@dataclass(frozen=True)
class Alive:
    """C-ECHO and release work as ever on this association."""

    context: int = 1


Step: TypeAlias = (
    bytes
    | HangUp
    | Drip
    | Flood
    | Repeat
    | Deaf
    | Crowd
    | Beside
    | Echoes
    | Wait
    | Accepted
    | Rejected
    | Aborted
    | Answered
    | Released
    | Largest
    | Closed
    | Gone
    | Alive
)


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        id: the case in robustness terms: a letter, a number, and which variant.
        what: what the peer does.
        scripts: what is played, each on a connection of its own.
        code: `record.code` of the one line that each script leaves in the log; "a|b" is either,
            "a+b" both, empty none.
        stores: SOP Instance UIDs that are stored when it is over, and no others, each with its data
            set, of which our own node changes no byte; an empty one is not compared.
        hint: what the line must say.
        noise: lines may also be fewer, and of any code, but are never errors.
        needs: what the node must be set up for, beyond storage of Secondary Capture.
        memory: bytes that the node may take for it, at most.
        many: it sends so many messages that nobody wants a line of debugging for each.
        slow: it takes longer than a test may.
    """

    id: str
    what: str
    scripts: tuple[tuple[Step, ...], ...]
    code: str = ""
    stores: Mapping[bytes, bytes] = field(default_factory=dict)
    hint: str = ""
    noise: bool = False
    needs: frozenset[str] = frozenset()
    memory: int = MEMORY
    many: bool = False
    slow: bool = False

    @property
    def connections(self) -> int:
        """How many it makes."""
        steps = [step for script in self.scripts for step in script]
        beside = sum(isinstance(step, Beside) for step in steps)
        crowds = sum(step.size for step in steps if isinstance(step, Crowd))
        return len(self.scripts) + beside + crowds

    @property
    def timed(self) -> bool:
        """Whether it waits for a deadline of the node to pass."""
        steps = (step for script in self.scripts for step in script)
        return any(getattr(step, "within", "now") != "now" for step in steps)


def case(
    id_: str,
    what: str,
    *script: Step,
    scripts: Iterable[Sequence[Step]] = (),
    code: str = "",
    stores: Mapping[bytes, bytes] | None = None,
    hint: str = "",
    noise: bool = False,
    needs: Iterable[str] = (),
    memory: int = MEMORY,
    many: bool = False,
    slow: bool = False,
) -> Case:
    """A row of the table: one script, or several."""
    all_ = tuple(tuple(one) for one in scripts) or (script,)
    needed = frozenset(needs)
    return Case(id_, what, all_, code, stores or {}, hint, noise, needed, memory, many, slow)
