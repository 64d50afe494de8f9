"""`AsyncAssociation`: one association on an event loop, as `Association` with `await`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Generator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import (
    IO,
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Literal,
    NoReturn,
    Self,
    TypeVar,
    cast,
    overload,
)

from dimse_rs import _core, fields
from dimse_rs.completer import Completer
from dimse_rs.dimse import scu
from dimse_rs.dimse.calls import AssociationFacts, Performs, in_a_file, tags_of
from dimse_rs.dimse.receive import Into, receiving
from dimse_rs.dimse.steps import Emit, Step
from dimse_rs.errors import AssociationReleased, DimseError
from dimse_rs.responses import Response
from dimse_rs.sop_class import Model
from dimse_rs.status import Status

from ._run import advance, run

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dimse_rs.observe.events import Event, Events, Kind, follows
    from dimse_rs.settings import Peer, Timeouts
else:
    from dimse_rs.callables import unchanged as follows

__all__ = ["AsyncAssociation", "AsyncResponses", "Connecting"]

_TURN: Final = 1.0
"""Seconds that results of files are waited for at once."""

T = TypeVar("T")
V_co = TypeVar("V_co", covariant=True)


class AsyncResponses(Generic[V_co]):
    """Iterates over the responses to a C-FIND, C-GET or C-MOVE as they come, by `async for`.

    Leaving the loop early tells the peer to stop (C-CANCEL); responses that still come are dropped.
    """

    def __init__(
        self,
        association: AsyncAssociation,
        call: scu.Call,
        steps: Generator[Step, Any, None],
    ) -> None:
        """Wrap a call; private, made by `AsyncAssociation`. `__anext__` sends the request."""
        self._association = association
        self._call = call
        self._steps = steps
        self._begun = False
        self._over = False

    def __aiter__(self) -> Self:
        """Give itself."""
        return self

    async def __anext__(self) -> V_co:
        """Wait for the next.

        Raises:
            StatusError: the peer answered with a failure, ended without being asked to (FE00), or
                counts more instances of a C-GET than came; `.response` is its final response.
            NoPresentationContext: the SOP class was not accepted.
            DecodeError: the identifier cannot be sent, or what came cannot be read.
            AssociationError, TransportError, DimseTimeout: the association ended meanwhile.
        """
        if self._over:
            raise StopAsyncIteration
        association = self._association
        association._outstanding.add(self._call)
        self._begun = True
        try:
            reached = await advance(association._core, self._steps, association._completer)
        except BaseException as error:
            self._leave(cancelled=isinstance(error, asyncio.CancelledError))
            raise
        if isinstance(reached, Emit):
            value: V_co = reached.value
            return value
        self._leave()
        raise StopAsyncIteration

    def _leave(self, *, cancelled: bool = False) -> None:
        """Tell the peer to stop, unless the call has ended.

        A call whose task was cancelled stays outstanding: when the CancelledError leaves the
        `async with` block of the association too, the association is aborted, not released.
        """
        if self._over:
            return
        self._over = True
        self._association._cancel(self._call)
        if not cancelled:
            self._association._outstanding.discard(self._call)

    @property
    def final(self) -> Response | None:
        """The final response, once it has come, as `Responses.final`."""
        return self._call.final

    @property
    def response(self) -> Response | None:
        """The same."""
        return self._call.final

    @property
    def status(self) -> Status | None:
        """The final status, once it has come: success, a warning, or cancel."""
        return None if self._call.final is None else self._call.final.status

    @property
    def pending(self) -> Status | None:
        """The status of the latest match of C-FIND, as `Responses.pending`."""
        return None if self._call.pending is None else Status(self._call.pending, "C-FIND")

    def __repr__(self) -> str:
        """Show the operation and how far it is."""
        return f"<{type(self).__name__} {self._call} on {self._association}>"

    def cancel(self) -> None:
        """Tell the peer to stop. Iterating goes on until its final response.

        Source: PS3.7 9.3.2.3.
        """
        self._association._cancel(self._call)

    async def aclose(self) -> None:
        """Tell the peer to stop, and drop the responses that still come."""
        self._leave()
        self._steps.close()

    async def __aenter__(self) -> Self:
        """Use it in an `async with` block, which closes it."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.aclose()

    def __del__(self) -> None:
        """Tell the peer to stop, when the loop was left by `break`: `async for` closes nothing."""
        if self._begun:
            self._leave()


class AsyncAssociation(AssociationFacts):
    """An association for asyncio, made by `AE.associate_async`: `Association` with `await`.

    Any number of tasks may call it: as many operations are outstanding as were negotiated, further
    calls wait their turn. Leaving the `async with` block releases the association; leaving it by an
    exception while an operation is outstanding aborts it. The response to a call whose task was
    cancelled is dropped when it comes.
    """

    def __init__(
        self,
        core: _core.Association,
        timeouts: Timeouts,
        peer: Peer,
        performer: Performs | None = None,
    ) -> None:
        """Wrap an established association of the core; private, use `AE.associate_async`."""
        super().__init__(core, timeouts, peer, performer)
        self._completer = Completer.here()

    @classmethod
    def of(cls, association: AssociationFacts) -> Self:
        """Give an association to the tasks of the running event loop.

        It stays one association: the tasks and its other users call it side by side, and ending it
        is still up to the one that made it.

        Args:
            association: blocking, as handlers of a `Server` have it, or of another event loop, as
                handlers of an `AsyncServer` have it.

        Raises:
            RuntimeError: no event loop is running, or this process was forked.
        """
        made = cls(association._core, association._timeouts, association._peer)
        made._limits = association._limits
        made._performer = association._performer
        # One account of calls: leaving the association, and instances of a C-GET, are about all.
        made._outstanding = association._outstanding
        made._receiving = association._receiving
        return made

    async def c_echo(self, *, repeat: int = 1) -> Status:
        """Verify that the peer answers: see `Association.c_echo`."""
        return await self._run(self._echo(repeat))

    async def c_store(
        self,
        instance: str | PathLike[str] | Dataset | bytes | bytearray | memoryview | IO[bytes],
        *,
        priority: int = 0,
        check: bool = True,
    ) -> Status:
        """Send one SOP Instance: see `Association.c_store`."""
        if isinstance(instance, (str, PathLike)):
            return await self._run(self._store(Path(instance), priority, check))
        if isinstance(instance, (bytes, bytearray, memoryview)) or hasattr(instance, "read"):
            spooled = in_a_file(cast("bytes | IO[bytes]", instance))
            path = await asyncio.to_thread(spooled.__enter__)
            try:
                return await self._run(self._store(path, priority, check))
            finally:
                spooled.__exit__(None, None, None)
        return await self._run(self._store(cast("Dataset", instance), priority, check))

    @overload
    def c_find(
        self,
        identifier: Dataset | Mapping[str, Any],
        *,
        model: Model | str,
        level: scu.Level | None = None,
        priority: int = 0,
        raw: Literal[False] = False,
    ) -> AsyncResponses[Dataset]: ...
    @overload
    def c_find(
        self,
        identifier: Dataset | Mapping[str, Any],
        *,
        model: Model | str,
        level: scu.Level | None = None,
        priority: int = 0,
        raw: bool,
    ) -> AsyncResponses[Any]: ...
    def c_find(
        self,
        identifier: Dataset | Mapping[str, Any],
        *,
        model: Model | str,
        level: scu.Level | None = None,
        priority: int = 0,
        raw: bool = False,
    ) -> AsyncResponses[Any]:
        """Query, `async for match in ...`: see `Association.c_find`."""
        call = scu.Call()
        steps = self._find(call, identifier, model, level, priority, raw)
        return AsyncResponses(self, call, steps)

    def c_get(
        self,
        identifier: Dataset | Mapping[str, Any],
        *,
        model: Model | str,
        level: scu.Level | None = None,
        into: Into | None = None,
        priority: int = 0,
    ) -> AsyncResponses[Response]:
        """Retrieve over this association: see `Association.c_get`."""
        call = scu.Call()
        steps = self._get(call, identifier, model, level, priority)
        return AsyncResponses(self, call, receiving(self, call, into, steps))

    def c_move(
        self,
        identifier: Dataset | Mapping[str, Any],
        *,
        model: Model | str,
        destination: str,
        level: scu.Level | None = None,
        priority: int = 0,
    ) -> AsyncResponses[Response]:
        """Have the peer send instances to another AE: see `Association.c_move`."""
        call = scu.Call()
        steps = self._move(call, identifier, model, level, priority, destination)
        return AsyncResponses(self, call, steps)

    async def n_event_report(
        self,
        event_type: int,
        dataset: Dataset | Mapping[str, Any] | None = None,
        *,
        sop_class: str,
        instance_uid: str,
        context: str | None = None,
    ) -> Response:
        """Notify the peer of an event: see `Association.n_event_report`."""
        field = fields.N_EVENT_REPORT_RQ
        values = {"EventTypeID": event_type}
        return await self._run(
            self._service(field, sop_class, instance_uid, dataset, context=context, **values)
        )

    async def n_get(
        self,
        attributes: Sequence[int | str] = (),
        *,
        sop_class: str,
        instance_uid: str,
        context: str | None = None,
    ) -> Response:
        """Ask for attributes of an instance: see `Association.n_get`."""
        field = fields.N_GET_RQ
        tags = tags_of(attributes) or None
        return await self._run(
            self._service(
                field, sop_class, instance_uid, context=context, AttributeIdentifierList=tags
            )
        )

    async def n_set(
        self,
        dataset: Dataset | Mapping[str, Any],
        *,
        sop_class: str,
        instance_uid: str,
        context: str | None = None,
    ) -> Response:
        """Change attributes of an instance: see `Association.n_set`."""
        field = fields.N_SET_RQ
        return await self._run(
            self._service(field, sop_class, instance_uid, dataset, context=context)
        )

    async def n_action(
        self,
        action_type: int,
        dataset: Dataset | Mapping[str, Any] | None = None,
        *,
        sop_class: str,
        instance_uid: str,
        context: str | None = None,
    ) -> Response:
        """Ask for an action on an instance: see `Association.n_action`."""
        field = fields.N_ACTION_RQ
        values = {"ActionTypeID": action_type}
        return await self._run(
            self._service(field, sop_class, instance_uid, dataset, context=context, **values)
        )

    async def n_create(
        self,
        dataset: Dataset | Mapping[str, Any] | None = None,
        *,
        sop_class: str,
        instance_uid: str | None = None,
        context: str | None = None,
    ) -> Response:
        """Have an instance made: see `Association.n_create`."""
        field = fields.N_CREATE_RQ
        return await self._run(
            self._service(field, sop_class, instance_uid, dataset, context=context)
        )

    async def n_delete(
        self, *, sop_class: str, instance_uid: str, context: str | None = None
    ) -> Response:
        """Have an instance deleted: see `Association.n_delete`."""
        field = fields.N_DELETE_RQ
        return await self._run(self._service(field, sop_class, instance_uid, context=context))

    async def _run(self, steps: Generator[Step, Any, T]) -> T:
        call = object()
        self._outstanding.add(call)
        try:
            outcome = await run(self._core, steps, self._completer)
        except Exception:
            # Refused, answered, or ended with the association: no response will come. To a call
            # whose task was cancelled one may, so that call stays outstanding.
            self._outstanding.discard(call)
            raise
        self._outstanding.discard(call)
        return outcome

    async def send_files(
        self, paths: Sequence[str | PathLike[str]], *, check: bool = True
    ) -> AsyncGenerator[_core.FileResult]:
        """Send Part 10 files undecoded, `async for result in ...`: see `Association.send_files`.

        Leaving the loop early begins no further file.
        """
        bulk = self._core.send_files(paths, within=self._timeouts.store, check=check)
        self._outstanding.add(bulk)
        wait = self._completer.wait
        try:
            while (results := await wait(lambda then: bulk.next(_TURN, then=then))) is not None:
                for result in results:
                    yield result
        finally:
            bulk.stop()
        self._outstanding.discard(bulk)

    @follows
    def events(self, *kinds: Kind, timeout: float | None = None) -> Events[Event]:
        """Follow its events, `async for event in ...`: see `Association.events`."""
        return self._follow(kinds, timeout)

    async def release(self) -> None:
        """Release the association: see `Association.release`."""
        if isinstance(self._core.ended, AssociationReleased):
            return
        await self._completer.wait(lambda then: self._core.release(then=then))
        self._log_end("released")

    async def abort(self) -> None:
        """Abort the association at once: outstanding operations fail on both sides."""
        if self.is_established:
            await self._completer.wait(lambda then: self._core.abort(then=then))
            self._log_end("aborted")

    async def __aenter__(self) -> Self:
        """Use the association; it is established already."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release; abort when the block was left by an exception with operations outstanding."""
        if not self.is_established:
            return
        if error is not None and self._outstanding:
            await self.abort()
            return
        try:
            self._cancel_kept()
            await self.release()
        except DimseError:
            if error is None:  # else that error is the one to be raised
                raise


class Connecting:
    """An association that is being made: `await` it, or use it in `async with`."""

    def __init__(self, making: Awaitable[AsyncAssociation]) -> None:
        """Wrap the coroutine that makes it; private, made by `AE.associate_async`."""
        self._making = making
        self._made: AsyncAssociation | None = None

    def __await__(self) -> Generator[Any, Any, AsyncAssociation]:
        """Wait until it is established."""
        return self._making.__await__()

    def __enter__(self) -> NoReturn:
        """Refuse `with`: it cannot wait on an event loop.

        Raises:
            TypeError: always.
        """
        if isinstance(self._making, Coroutine):
            self._making.close()
        raise TypeError("use `async with ae.associate_async(...)`, or `with ae.associate(...)`")

    def __exit__(self, *_: object) -> None:
        """Never called: `with` needs the method to reach `__enter__`."""

    async def __aenter__(self) -> AsyncAssociation:
        """Wait until it is established."""
        self._made = await self._making
        return await self._made.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release it, or abort it."""
        if self._made is not None:
            await self._made.__aexit__(kind, error, trace)
