"""`ScriptedPeer`: an SCP that misbehaves as it is asked to, or as a script says.

It stands on sockets and on `wire` alone, since a server by the rules could not break them. Without
instructions it accepts everything, answers every request with Success, and keeps nothing but what
it heard.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias

from dimse_rs import Model, Peer

from . import wire
from ._node import PATIENCE, Came, on_a_thread
from .connection import Connection, Heard

__all__ = ["Proposed", "Script", "ScriptedPeer", "Service"]

Service: TypeAlias = Literal[
    "C-ECHO",
    "C-STORE",
    "C-FIND",
    "C-GET",
    "C-MOVE",
    "N-EVENT-REPORT",
    "N-GET",
    "N-SET",
    "N-ACTION",
    "N-CREATE",
    "N-DELETE",
]
"""The services whose requests can be counted."""

Script: TypeAlias = Callable[[Connection], object]
"""Plays one connection."""

At: TypeAlias = int | Collection[int] | None
"""Which requests, counted from 1 since the beginning or `clear`; None is every one."""

_FIELDS: Final[dict[int, str]] = {
    0x0001: "C-STORE",
    0x0010: "C-GET",
    0x0020: "C-FIND",
    0x0021: "C-MOVE",
    0x0030: "C-ECHO",
    0x0100: "N-EVENT-REPORT",
    0x0110: "N-GET",
    0x0120: "N-SET",
    0x0130: "N-ACTION",
    0x0140: "N-CREATE",
    0x0150: "N-DELETE",
}

_ROLES, _WINDOW = 0x54, 0x53

Ending: TypeAlias = Literal["", "abort", "close", "reset"]


@dataclass(frozen=True)
class Proposed:
    """An A-ASSOCIATE-RQ that came.

    Attributes:
        calling: the calling AE title.
        called: the called AE title.
        contexts: abstract syntax and transfer syntaxes of each context, by its id.
        window: operations that the requestor would have outstanding; 0 is no limit.
    """

    calling: str
    called: str
    contexts: dict[int, tuple[str, tuple[str, ...]]]
    window: int
    user: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)


@dataclass
class _Plan:
    """What becomes of one request."""

    status: int = 0
    delay: float = 0.0
    copies: int = 1
    ending: Ending = ""
    group: int = 0


@dataclass
class _Rule:
    """A change of the plan of some requests."""

    change: Callable[[_Plan], None]
    at: frozenset[int] | None
    service: Service | None
    counted: int = 0

    def apply(self, name: str, plan: _Plan) -> None:
        if self.service not in (None, name):
            return
        self.counted += 1
        if self.at is None or self.counted in self.at:
            self.change(plan)


class ScriptedPeer:
    """An SCP on a free port of 127.0.0.1 that does what bad peers do.

    Each method below adds to what it does; `clear` makes it well-behaved again. Requests are
    counted from 1 over all associations, so that a program that tries again gets past a fault. Use
    it in `with` or `async with`, or call `start` and `stop`.
    """

    def __init__(self, ae_title: str = "PEER", *, receive_buffer: int = 0) -> None:
        """Make the peer.

        Args:
            ae_title: of its address; it answers to any.
            receive_buffer: bytes that the kernel keeps of what a script has not read; 0 for its own
                choice.
        """
        self.ae_title = ae_title
        self._receive_buffer = receive_buffer
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._sockets: set[socket.socket] = set()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._failures: list[BaseException] = []
        self._played = threading.Condition(self._lock)
        self._scripts: deque[Script] = deque()
        self._playing = 0
        self._heard: Came[Heard] = Came()
        self._proposals: Came[Proposed] = Came()
        self.port: int = 0
        self.clear()

    # ---- what it does

    def clear(self) -> None:
        """Be well-behaved from now on, count from 1, and forget what was heard."""
        with self._lock:
            self._rules: list[_Rule] = []
            self._rejection: tuple[int, int, int] | None = None
            self._rejections: int | None = None
            self._refusals: dict[str, int] = {}
            self._silent = False
        self._heard.clear()
        self._proposals.clear()

    def reject(
        self, result: int = 1, source: int = 1, reason: int = 1, *, times: int | None = None
    ) -> None:
        """Reject associations with A-ASSOCIATE-RJ.

        Args:
            result: 1 is permanent, 2 transient.
            source: 1 is the service-user, 2 and 3 the provider (ACSE, presentation).
            reason: (1,1,3) is an unknown calling, (1,1,7) an unknown called AE title, (2,3,2) the
                local limit (PS3.8 Table 9-21).
            times: how many associations; default every one.
        """
        with self._lock:
            self._rejection, self._rejections = (result, source, reason), times

    def refuse(self, *sop_classes: str | Model, result: int = 3) -> None:
        """Refuse the presentation contexts of these classes.

        Args:
            sop_classes: classes or models.
            result: 1 is user rejection, 2 no reason, 3 abstract syntax not supported, 4 transfer
                syntaxes not supported (PS3.8 Table 9-18).
        """
        classes = [
            str(uid)
            for one in sop_classes
            for uid in ([one] if isinstance(one, str) else list(one))
        ]
        with self._lock:
            self._refusals |= dict.fromkeys(classes, result)

    def never_associate(self) -> None:
        """Take connections and never answer an A-ASSOCIATE-RQ."""
        with self._lock:
            self._silent = True

    def abort(self, at: At = None, *, service: Service | None = None) -> None:
        """Abort in place of an answer."""
        self._end("abort", at, service)

    def close(self, at: At = None, *, service: Service | None = None, reset: bool = False) -> None:
        """Close the connection in place of an answer, or reset it."""
        self._end("reset" if reset else "close", at, service)

    def _end(self, ending: Ending, at: At, service: Service | None) -> None:
        def change(plan: _Plan) -> None:
            plan.ending = ending

        self._add(change, at, service)

    def answer_with(self, status: int, at: At = None, *, service: Service | None = None) -> None:
        """Answer with this status: `peer.answer_with(0xA700, at=3, service="C-STORE")`.

        Args:
            status: (0000,0900), whatever the service defines.
            at: which requests, counted from 1; default every one.
            service: count the requests of this service alone.
        """

        def change(plan: _Plan) -> None:
            plan.status = status

        self._add(change, at, service)

    def answer_late(self, seconds: float, at: At = None, *, service: Service | None = None) -> None:
        """Answer after so many seconds."""

        def change(plan: _Plan) -> None:
            plan.delay = seconds

        self._add(change, at, service)

    def answer_never(self, at: At = None, *, service: Service | None = None) -> None:
        """Never answer, and go on."""

        def change(plan: _Plan) -> None:
            plan.copies = 0

        self._add(change, at, service)

    def answer_twice(self, at: At = None, *, service: Service | None = None) -> None:
        """Answer two times."""

        def change(plan: _Plan) -> None:
            plan.copies = 2

        self._add(change, at, service)

    def answer_out_of_order(self, count: int = 2, *, service: Service | None = None) -> None:
        """Wait for so many requests, and answer them last one first, again and again.

        For programs that have several operations outstanding: `associate(max_ops_invoked=)`. On an
        association without such a window the peer fails when it stops.
        """
        if count < 2:
            raise ValueError(f"an order has two answers at least, not {count}")

        def change(plan: _Plan) -> None:
            plan.group = count

        self._add(change, None, service)

    def _add(self, change: Callable[[_Plan], None], at: At, service: Service | None) -> None:
        numbers = None if at is None else frozenset([at] if isinstance(at, int) else at)
        if numbers is not None and not all(number >= 1 for number in numbers):
            raise ValueError(f"requests are counted from 1: {sorted(numbers)}")
        if service is not None and service not in _FIELDS.values():
            raise ValueError(f"no such service: {service!r}, but {', '.join(_FIELDS.values())}")
        with self._lock:
            self._rules.append(_Rule(change, numbers, service))

    def play(self, *scripts: Script) -> None:
        """Have the next connections played by functions, one each.

        What a function raises, an AssertionError of `Connection` for one, is raised when the peer
        stops; a function whose connection never came is a failure too.
        """
        with self._lock:
            self._scripts.extend(scripts)

    # ---- what it heard

    @property
    def heard(self) -> list[Heard]:
        """All requests that came, in their order."""
        return self._heard.all()

    @property
    def proposals(self) -> list[Proposed]:
        """All A-ASSOCIATE-RQs that came, in their order."""
        return self._proposals.all()

    def wait_for(
        self, count: int = 1, timeout: float = PATIENCE, *, service: Service | None = None
    ) -> list[Heard]:
        """Wait until so many requests have come.

        Args:
            count: how many since the beginning, or since `clear`.
            timeout: seconds.
            service: of this service alone.

        Returns:
            All that have come, at least `count`.

        Raises:
            TimeoutError: fewer came in time.
        """

        def those(heard: list[Heard]) -> list[Heard]:
            return [one for one in heard if service in (None, _FIELDS.get(one.field))]

        found = those(self._heard.wait(lambda heard: len(those(heard)) >= count, timeout))
        if len(found) < count:
            what = service or "requests"
            raise TimeoutError(
                f"{len(found)} of {count} {what} came to {self.address} within {timeout:g} s"
            )
        return found

    async def wait_for_async(
        self,
        count: int = 1,
        timeout: float = PATIENCE,  # noqa: ASYNC109 - as `wait_for`
        *,
        service: Service | None = None,
    ) -> list[Heard]:
        """Do as `wait_for`, from an event loop that goes on meanwhile."""
        return await on_a_thread(lambda: self.wait_for(count, timeout, service=service))

    # ---- where it is, and its life

    @property
    def peer(self) -> Peer:
        """Where it is, for `AE.associate` and `AE.send`."""
        return Peer(self.ae_title, "127.0.0.1", self.port)

    @property
    def address(self) -> str:
        """The same as text, as `parse_peer` reads it."""
        return str(self.peer)

    def start(self) -> Self:
        """Listen."""
        if self._listener is not None:
            raise RuntimeError("a peer starts once; make another one")
        self._listener = socket.create_server(("127.0.0.1", 0))
        if self._receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        self.port = self._listener.getsockname()[1]
        self._spawn(self._accept, self._listener)
        return self

    def stop(self) -> None:
        """Let scripts play to their end, then close everything.

        Raises:
            AssertionError: the other side did not do what a script wanted, or a script is not over.
            Exception: what else a script raised.
        """
        if self._listener is None or self._stopping.is_set():
            return
        with self._played:
            over = self._played.wait_for(
                lambda: self._failures or not (self._scripts or self._playing), PATIENCE
            )
            left = len(self._scripts)
        self._stopping.set()
        self._hang_up()
        if self._failures:
            raise self._failures[0]
        if not over:
            raise AssertionError(
                f"no connection came for {left} scripts" if left else "a script is not over"
            )

    def _hang_up(self) -> None:
        """Close the port and all connections, and wait for the threads."""
        if self._listener is not None:
            with suppress(OSError):  # wakes the thread that accepts
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        with self._lock:
            for one in self._sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)

    def __enter__(self) -> Self:
        """Start, unless it was started."""
        return self.start() if self._listener is None else self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop; see `stop` for what it raises."""
        self.stop()

    async def __aenter__(self) -> Self:
        """Start, unless it was started."""
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop; see `stop` for what it raises."""
        await on_a_thread(self.stop)

    def __repr__(self) -> str:
        """Show the address."""
        return f"<ScriptedPeer {self.address if self.port else 'not started'}>"

    # ---- on its threads

    def _spawn(self, function: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=function, args=args, name="scripted-peer", daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:  # closed by `stop`
                return
            with self._lock:
                script = self._scripts.popleft() if self._scripts else None
                self._playing += script is not None
                self._sockets.add(accepted)
            self._spawn(self._carry, accepted, script)

    def _carry(self, accepted: socket.socket, script: Script | None) -> None:
        """Play one connection, and keep what went wrong in it."""
        with accepted:
            try:
                connection = Connection(accepted)
                if script is not None:
                    script(connection)
                else:
                    # The other side may go at any time; a script says itself what it expects.
                    with suppress(ConnectionError, TimeoutError):
                        self._behave(connection)
            except BaseException as failure:  # kept before the other side sees the end
                with self._lock:
                    if not self._stopping.is_set():
                        self._failures.append(failure)
        with self._played:
            self._sockets.discard(accepted)
            self._playing -= script is not None
            self._played.notify_all()

    def _behave(self, connection: Connection) -> None:
        kind, body = connection.pdu()
        if kind != wire.RQ:
            return
        proposal = _read_proposal(body)
        self._proposals.add(proposal)
        with self._lock:
            rejection = self._rejection
            if rejection is not None and self._rejections is not None:
                self._rejections -= 1
                if self._rejections < 0:
                    rejection = None
            silent, refusals = self._silent, dict(self._refusals)
        if silent:
            connection.read(1)  # until the other side closes
            return
        if rejection is not None:
            connection.send(wire.pdu(wire.RJ, bytes([0, *rejection])))
            connection.read(1)
            return
        connection.send(_acceptance(proposal, refusals))
        self._serve(connection, proposal)

    def _serve(self, connection: Connection, proposal: Proposed) -> None:
        held: list[bytes] = []
        while isinstance(heard := connection.receive(), Heard):
            name = _FIELDS.get(heard.field)
            if name is None:  # C-CANCEL, or a response that no one waits for
                continue
            plan = self._plan(name)
            self._heard.add(heard)
            if plan.delay and self._stopping.wait(plan.delay):
                return
            if plan.ending:
                _finish(connection, plan.ending)
                return
            answer = _answer_to(heard, plan.status)
            if not plan.group:
                connection.send(answer * plan.copies)
                continue
            if proposal.window == 1:
                raise AssertionError(
                    "answers out of order want several operations outstanding: "
                    "associate(max_ops_invoked=) above 1"
                )
            held.append(answer * plan.copies)
            if len(held) == plan.group:
                connection.send(*reversed(held))
                held.clear()
        if heard[0] == wire.RELEASE_RQ:
            connection.send(wire.pdu(wire.RELEASE_RP, bytes(4)))
            connection.read(1)

    def _plan(self, name: str) -> _Plan:
        plan = _Plan()
        with self._lock:
            for rule in self._rules:
                rule.apply(name, plan)
        return plan


def _finish(connection: Connection, ending: Ending) -> None:
    if ending == "abort":
        connection.send(wire.abort(0, 0))
        connection.read(1)  # until the other side closes: it reads the A-ABORT first
    connection.close(reset=ending == "reset")


def _answer_to(heard: Heard, status: int) -> bytes:
    sop_class = heard.sop_class.encode("ascii", "replace") or wire.VERIFICATION
    command = wire.response(heard.field, heard.message_id, status, sop_class=sop_class)
    return wire.as_commands(heard.context, command)


def _read_proposal(body: bytes) -> Proposed:
    """Read an A-ASSOCIATE-RQ, as far as a peer answers to it (PS3.8 9.3.2)."""
    contexts, user, window = {}, [], 1
    for kind, content in wire.items(body[68:]):
        if kind == 0x20 and content:
            syntaxes = [(at, uid.decode("ascii", "replace")) for at, uid in wire.items(content[4:])]
            abstract = next((uid for at, uid in syntaxes if at == 0x30), "")
            transfer = tuple(uid for at, uid in syntaxes if at == 0x40)
            contexts[content[0]] = abstract, transfer
        elif kind == 0x50:
            user = list(wire.items(content))
    for kind, content in user:
        if kind == _WINDOW and len(content) == 4:
            window = struct.unpack(">HH", content)[0]
    called, calling = (body[at : at + 16].decode("ascii", "replace").strip() for at in (4, 20))
    return Proposed(calling, called, contexts, window, tuple(user))


def _acceptance(proposal: Proposed, refusals: dict[str, int]) -> bytes:
    """Accept the first transfer syntax of each context, roles and window as they are proposed."""

    def answers() -> Iterator[tuple[int, int, Iterable[bytes]]]:
        for id_, (abstract, transfer) in proposal.contexts.items():
            result = refusals.get(abstract.rstrip("\0"), 0)
            yield id_, result, [uid.encode("ascii", "replace") for uid in transfer[:1]]

    user = [
        wire.item(kind, content) for kind, content in proposal.user if kind in (_ROLES, _WINDOW)
    ]
    return wire.associate_ac(
        answers(),
        called=proposal.called.encode("ascii", "replace"),
        calling=proposal.calling.encode("ascii", "replace"),
        user=user,
    )
