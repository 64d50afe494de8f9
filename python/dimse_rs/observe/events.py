"""`Events`: what happens on an association or a server, as an iterator for programs.

A program follows some kinds of events; the core makes only events that some follower takes. The
core queues them for each follower, up to `MOST`, and the iterator takes them from there: a slow
follower delays neither the network nor another follower. No event holds values of data sets beyond
UIDs, or the name of a user, except those for `audit`; command sets hold what peers put there.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Literal,
    NotRequired,
    Protocol,
    Self,
    TypeAlias,
    TypedDict,
    TypeVar,
    get_args,
    overload,
)

from dimse_rs import _core

from ._translate import MOST, SOURCES, events_of
from .audit import Audit

if TYPE_CHECKING:
    from types import TracebackType

    from ._auditor import Auditor

__all__ = ["Event", "Events", "Kind"]

Kind: TypeAlias = Literal[
    "connected",
    "associated",
    "negotiated",
    "rejected",
    "pdu",
    "state",
    "message",
    "suboperation",
    "stored",
    "refused",
    "denied",
    "released",
    "aborted",
    "error",
    "ended",
    "audit",
    "lost",
]
"""The values of `event["event"]`, which are the names to follow events by."""

USUAL: Final[tuple[Kind, ...]] = (
    "associated",
    "rejected",
    "stored",
    "refused",
    "denied",
    "released",
    "aborted",
    "error",
)
"""The kinds that are followed when none is named; `dimse storescp --json` prints these."""


class Connected(TypedDict):
    """A transport connection is open, after the TLS handshake if there is one.

    `tls` has `version`, `cipher_suite`, and `subject` and `sha256` of the peer's certificate.
    """

    event: Literal["connected"]
    association: int
    peer: str
    tls: Mapping[str, str | None] | None


class Associated(TypedDict):
    """An association was established; the contexts are those that were accepted."""

    event: Literal["associated"]
    peer: str
    calling: str
    called: str
    contexts: list[dict[str, str]]


class Negotiated(TypedDict):
    """An association was established; with all that was negotiated.

    Each context has `id`, `class`, `result` in the words of PS3.8 Table 9-18, `syntax`, and the
    roles `scu` and `scp` of this end. `window` is what this end may invoke, and perform.
    """

    event: Literal["negotiated"]
    association: int
    peer: str
    calling: str
    called: str
    contexts: list[dict[str, Any]]
    max_length: int
    window: tuple[int, int]
    implementation: str | None
    warnings: list[str]


class Rejected(TypedDict):
    """An association was rejected, by this node or by the peer (PS3.8 9.3.4)."""

    event: Literal["rejected"]
    result: int
    source: int
    reason: int
    hint: str
    code: str
    why: str
    calling: str
    called: str
    peer: str


class Pdu(TypedDict):
    """A PDU was sent or received.

    `items` is the content of an A-ASSOCIATE-RQ, -AC or -RJ or of an A-ABORT; None for others.
    """

    event: Literal["pdu"]
    association: int
    peer: str
    direction: Literal["sent", "received"]
    type: str
    length: int
    items: Mapping[str, Any] | None


# `from` and `class` are keywords of Python: types with such keys are written as calls.
State = TypedDict(
    "State",
    {
        "event": Literal["state"],
        "association": int,
        "peer": str,
        "from": str,
        "on": str,
        "action": str,
        "to": str,
    },
)
"""A step of the state machine, in the names of PS3.8 Table 9-10."""


class Message(TypedDict):
    """A message was sent or received: its command set by keyword, the length of its data set."""

    event: Literal["message"]
    association: int
    peer: str
    direction: Literal["sent", "received"]
    type: str
    context: int
    command: Mapping[str, Any]
    bytes: int


SubOperation = TypedDict(
    "SubOperation",
    {
        "event": Literal["suboperation"],
        "association": int,
        "peer": str,
        "direction": Literal["sent", "received"],
        "of": int,
        "class": str,
        "uid": str,
        "status": int | None,
        "why": str,
    },
)
"""A C-STORE of a retrieval is over; `of` is the Message ID of the C-GET or C-MOVE.

A server reports those that it performs, also when it sends them to another node. The requestor of
a C-GET, and the destination of a C-MOVE, report those that they receive.
"""

Stored = TypedDict(
    "Stored",
    {
        "event": Literal["stored", "refused"],
        "uid": str,
        "class": str,
        "syntax": str,
        "path": str | None,
        "bytes": int,
        "calling": str,
        "status": int,
        "association": int,
        "peer": str,
        "study": str | None,
        "series": str | None,
        "why": NotRequired[str],
        "kept": NotRequired[str],
        "identical": NotRequired[bool],
        "oddities": NotRequired[list[str]],
    },
)
"""An instance was stored, or was refused, with the reason in `why`.

`association` is the number that `ended` has too. `study` and `series` are the UIDs of the data set;
None when it has none, and of a refused one.

A stored one has `kept` when there was an earlier version, `identical` when the same bytes were
stored already, and `oddities` when it is complete but not well formed: a list with the first of
each kind, a short code, the element and the offset in the (inflated) data set, as in
`trailing-zeros at offset 8412` and `repeated-element (0010,0020) at offset 92`.
"""


Denied = TypedDict(
    "Denied",
    {
        "event": Literal["denied"],
        "service": str,
        "class": str,
        "uid": str | None,
        "status": int,
        "calling": str,
        "peer": str,
    },
)
"""A request that `Server(allow=...)` does not permit was answered with a failure."""


class Released(TypedDict):
    """The association was released, or this node aborted it.

    `stored` counts the C-STOREs that were answered with Success or a warning, from a `Storage` or
    by a handler.
    """

    event: Literal["released", "aborted"]
    stored: int
    calling: str
    peer: str


class Error(TypedDict):
    """The association failed; or none can be accepted, and `calling` and `peer` are missing."""

    event: Literal["error"]
    code: str
    message: str
    calling: str
    peer: str


class Ended(TypedDict):
    """The connection is closed; `code` and `why` say why, and `stored` counts as in `Released`."""

    event: Literal["ended"]
    association: int
    peer: str
    calling: str
    called: str
    code: str
    why: str
    stored: int
    messages: int


class Lost(TypedDict):
    """So many events are missing here: the follower was too slow."""

    event: Literal["lost"]
    count: int


Event: TypeAlias = (
    Connected
    | Associated
    | Negotiated
    | Rejected
    | Pdu
    | State
    | Message
    | SubOperation
    | Stored
    | Denied
    | Released
    | Error
    | Ended
    | Audit
    | Lost
)


E_co = TypeVar("E_co", covariant=True)

if TYPE_CHECKING:

    class Follow(Protocol):
        """The type of `events`: an iterator of one kind has the keys of that kind, or is `lost`."""

        @overload
        def __call__(
            self, kind: Literal["connected"], /, *, timeout: float | None = None
        ) -> Events[Connected | Lost]: ...
        @overload
        def __call__(
            self, kind: Literal["associated"], /, *, timeout: float | None = None
        ) -> Events[Associated | Lost]: ...
        @overload
        def __call__(
            self, kind: Literal["negotiated"], /, *, timeout: float | None = None
        ) -> Events[Negotiated | Lost]: ...
        @overload
        def __call__(
            self, kind: Literal["rejected"], /, *, timeout: float | None = None
        ) -> Events[Rejected | Lost]: ...
        @overload
        def __call__(
            self, kind: Literal["pdu"], /, *, timeout: float | None = None
        ) -> Events[Pdu | Lost]: ...
        @overload
        def __call__(
            self, kind: Literal["state"], /, *, timeout: float | None = None
        ) -> Events[State | Lost]: ...
        @overload
        def __call__(
            self, kind: Literal["message"], /, *, timeout: float | None = None
        ) -> Events[Message | Lost]: ...
        @overload
        def __call__(
            self, kind: Literal["suboperation"], /, *, timeout: float | None = None
        ) -> Events[SubOperation | Lost]: ...
        @overload
        def __call__(
            self, kind: Literal["stored", "refused"], /, *, timeout: float | None = None
        ) -> Events[Stored | Lost]: ...
        @overload
        def __call__(
            self, kind: Literal["denied"], /, *, timeout: float | None = None
        ) -> Events[Denied | Lost]: ...
        @overload
        def __call__(
            self, kind: Literal["released", "aborted"], /, *, timeout: float | None = None
        ) -> Events[Released | Lost]: ...
        @overload
        def __call__(
            self, kind: Literal["error"], /, *, timeout: float | None = None
        ) -> Events[Error | Lost]: ...
        @overload
        def __call__(
            self, kind: Literal["ended"], /, *, timeout: float | None = None
        ) -> Events[Ended | Lost]: ...
        @overload
        def __call__(
            self, kind: Literal["audit"], /, *, timeout: float | None = None
        ) -> Events[Audit | Lost]: ...
        @overload
        def __call__(self, *kinds: Kind, timeout: float | None = None) -> Events[Event]: ...

    def follows(method: Callable[..., Events[Event]]) -> Follow:
        """Give a method `events` this type."""


class Events(Generic[E_co]):
    """An iterator over events, in the order in which they happen, for `for` or `async for`.

    Passed to `AE.associate(events=...)` it follows that association from its beginning, also when
    the association fails. `Association.events` and `Server.events` give an iterator that follows
    from now on. It ends after the last event of the association or of the server.

    An iterator that is 100,000 events behind loses the newest ones; an event `lost` stands in their
    place, with their number.
    """

    def __init__(self, *kinds: Kind, timeout: float | None = None) -> None:
        """Follow these kinds of events, of the association that it is passed to.

        Args:
            kinds: names of events, see `Kind`; default associated, stored, refused, denied,
                rejected, released, aborted (by this node) and error.
            timeout: end when no event came for so many seconds; iterating may go on later.

        Raises:
            ValueError: no such kind, or `audit`, which only servers have.
        """
        # The hub has its follower before an association has the hub: no event can be missed.
        self._hub: _core.Events | None = _core.Events()
        self._begin(self._hub.follow, kinds, timeout, None)

    @classmethod
    def _of(
        cls,
        follow: Callable[[list[str], int], _core.Follower],
        kinds: tuple[Kind, ...],
        timeout: float | None = None,
        auditor: Auditor | None = None,
    ) -> Self:
        """Follow an association that exists, or a server."""
        self = cls.__new__(cls)
        self._hub = None
        self._begin(follow, kinds, timeout, auditor)
        return self

    def _begin(
        self,
        follow: Callable[[list[str], int], _core.Follower],
        kinds: tuple[Kind, ...],
        timeout: float | None,
        auditor: Auditor | None,
    ) -> None:
        # Only a server knows the titles and the address that identify the node in audit messages.
        if "audit" in kinds and auditor is None:
            raise ValueError("only servers have audit events: Server.events('audit')")
        for kind in kinds:
            if kind not in get_args(Kind):
                raise ValueError(f"no such event: {kind!r}, but {', '.join(get_args(Kind))}")
        # `lost` always: an iterator with a gap must say so.
        self._kinds = frozenset((*(kinds or USUAL), "lost"))
        self._timeout = timeout
        self._auditor = auditor
        self._waiting: deque[Any] = deque()
        names = {name for kind in self._kinds for name in SOURCES[kind]}
        self._follower = follow(sorted(names), MOST)

    def _give(self) -> _core.Events:
        """Give the hub to which the association sends its events, once.

        Raises:
            ValueError: an association has it already.
        """
        hub, self._hub = self._hub, None
        if hub is None:
            raise ValueError("an Events follows one association: make another one")
        return hub

    def close(self) -> None:
        """Follow no more; the iterator still gives the events that have come."""
        self._follower.close()

    def __iter__(self) -> Self:
        """Give itself."""
        return self

    def __next__(self) -> E_co:
        """Wait for the next event."""
        begun = time.monotonic()
        # One event of the core makes none, one or several events here: hence queue and loop.
        while not self._waiting:
            if not self._take(self._follower.next(self._patience(begun)), begun):
                raise StopIteration
        event: E_co = self._waiting.popleft()
        return event

    def __aiter__(self) -> Self:
        """Give itself."""
        return self

    async def __anext__(self) -> E_co:
        """Wait for the next event."""
        from dimse_rs.completer import Completer

        begun = time.monotonic()
        while not self._waiting:
            batch = await Completer.here().wait(
                lambda then: self._follower.next(self._patience(begun), then=then)
            )
            if not self._take(batch, begun):
                raise StopAsyncIteration
        event: E_co = self._waiting.popleft()
        return event

    def _patience(self, begun: float) -> float | None:
        if self._timeout is None:
            return None
        return max(0.0, begun + self._timeout - time.monotonic())

    def _take(self, batch: list[_core.EventFacts] | None, begun: float) -> bool:
        """Keep the events of the kinds that are followed; False ends the iteration."""
        if batch is None:
            return False
        for fact in batch:
            for event in events_of(fact):
                if event["event"] in self._kinds:
                    self._waiting.append(event)
            if self._auditor is not None:
                # In the order of the core's events, so that audit stands among the others.
                self._waiting.extend(self._auditor.take(fact))
        # An empty batch comes when the wait has run out: the end, if that is for the timeout.
        return bool(self._waiting or batch) or self._patience(begun) != 0

    def __enter__(self) -> Self:
        """Use the iterator in a `with` block, which ends the following."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Follow no more."""
        self.close()
