"""`Association`: one association, blocking (PS3.8 7.1, PS3.7 8)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar, cast, overload

from . import fields
from .dimse import scu
from .dimse.calls import AssociationFacts, in_a_file, tags_of
from .dimse.run import emitted, run
from .dimse.steps import Step
from .errors import AssociationReleased, DimseError
from .responses import Response
from .sop_class import Model
from .status import Status

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from . import _core
    from .dimse.receive import Into
    from .observe.events import Event, Events, Kind, follows
else:
    from .callables import unchanged as follows

__all__ = ["Association", "Responses"]

T = TypeVar("T")


V_co = TypeVar("V_co", covariant=True)


class Responses(Generic[V_co]):
    """Iterates over the responses to a C-FIND, C-GET or C-MOVE as they come.

    The request leaves when iterating begins. Leaving the loop early, or the association, tells the
    peer to stop (C-CANCEL); responses that still come are dropped, and the final one has to come
    within the operation's deadline. A slow loop slows the peer down: no more than 1,024 responses
    or 4 MiB are read ahead, unless another call on the association waits for its turn.
    """

    def __init__(self, association: Association, call: scu.Call, values: Iterator[V_co]) -> None:
        """Wrap a call; private, made by `Association`."""
        self._association = association
        self._call = call
        self._values = values

    def __iter__(self) -> Self:
        """Give itself."""
        return self

    def __next__(self) -> V_co:
        """Wait for the next.

        Raises:
            StatusError: the peer answered with a failure, ended without being asked to (FE00), or
                counts more instances of a C-GET than came; `.response` is its final response.
            NoPresentationContext: the SOP class was not accepted.
            DecodeError: the identifier cannot be sent, or what came cannot be read.
            AssociationError, TransportError, DimseTimeout: the association ended meanwhile.
        """
        return next(self._values)

    @property
    def final(self) -> Response | None:
        """The final response, once it has come. Its status may be a warning, its comment says why.

        A C-FIND that ends with a warning, such as B000, may have found less than there is.
        """
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
        """The status of the latest match of C-FIND: FF00, or FF01.

        FF01 says that the peer does not support some of the optional keys: its matches may be more
        than those that match all keys (PS3.4 C.4.1.1.4).
        """
        return None if self._call.pending is None else Status(self._call.pending, "C-FIND")

    def __repr__(self) -> str:
        """Show the operation and how far it is."""
        return f"<{type(self).__name__} {self._call} on {self._association}>"

    def cancel(self) -> None:
        """Tell the peer to stop. Iterating goes on until its final response.

        Source: PS3.7 9.3.2.3.
        """
        self._association._cancel(self._call)

    def close(self) -> None:
        """Tell the peer to stop, and drop the responses that still come."""
        cast("Generator[V_co]", self._values).close()

    def __enter__(self) -> Self:
        """Use it in a `with` block, which closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


# How an association is left depends on its outstanding calls. A call that has its final response,
# was refused, or was left early (a C-CANCEL has gone out) is not outstanding. A call that Ctrl-C
# has interrupted is: the peer still performs it, and a release would wait for its responses. So
# leaving by an exception aborts when a call is outstanding; otherwise iterators that were neither
# finished nor closed are cancelled, and the association is released.
class Association(AssociationFacts):
    """An association, made by `AE.associate`. Any thread may call it.

    As many operations are outstanding as were negotiated, further calls wait their turn. Leaving
    the `with` block releases the association. Leaving it by an exception while an operation is
    outstanding, as Ctrl-C in a call does, aborts the association.
    """

    def c_echo(self, *, repeat: int = 1) -> Status:
        """Verify that the peer answers.

        Args:
            repeat: how many times, each request as soon as the one before it is answered. The core
                repeats it, many times faster than a loop; the log shows the first request and the
                last response.

        Returns:
            The last status: Success or a warning.

        Raises:
            ValueError: `repeat` is less than 1.
            NoPresentationContext: Verification was not accepted.
            StatusError: the peer answered with a failure.
            AssociationError, TransportError, DimseTimeout: the association ended meanwhile.

        Source: PS3.7 9.1.5, PS3.4 A.
        """
        return self._run(self._echo(repeat))

    def c_store(
        self,
        instance: str | PathLike[str] | Dataset | bytes | bytearray | memoryview | IO[bytes],
        *,
        priority: int = 0,
        check: bool = True,
    ) -> Status:
        """Send one SOP Instance and wait for its response.

        A file is streamed, undecoded, in its own transfer syntax. If the peer did not accept that
        syntax, the instance is converted between uncompressed syntaxes.

        Args:
            instance: a Part 10 file by path, as bytes, or as a binary file object, which is read
                from its current position; or a pydicom data set.
            priority: value of (0000,0700): 0 medium, 1 high, 2 low.
            check: refuse an instance that is cut short, as far as can be seen: a file that does not
                end with its last element; a value shorter than its element says, or native pixel
                data shorter than rows, columns, samples, frames and bits need, in a data set or in
                a file that has to be converted; in a data set also missing pixel data where those
                attributes are there. False sends the instance, but converts no such file.

        Returns:
            Success or a warning.

        Raises:
            NoPresentationContext: no context was accepted for this SOP Class and transfer syntax.
            DecodeError: the instance is cut short, or cannot be sent; the message says why,
                `.offset` where.
            LimitExceeded: converting the file would take more than the limits of the AE.
            OSError: the file cannot be opened.
            StatusError: the peer refused the instance; `.response` is its whole response.
            AssociationError, TransportError, DimseTimeout: the association ended meanwhile.

        Source: PS3.7 9.1.1, PS3.4 B.
        """
        if isinstance(instance, (str, PathLike)):
            from pathlib import Path

            return self._run(self._store(Path(instance), priority, check))
        if isinstance(instance, (bytes, bytearray, memoryview)) or hasattr(instance, "read"):
            with in_a_file(cast("bytes | IO[bytes]", instance)) as path:
                return self._run(self._store(path, priority, check))
        return self._run(self._store(cast("Dataset", instance), priority, check))

    @overload
    def c_find(
        self,
        identifier: Dataset | Mapping[str, Any],
        *,
        model: Model | str,
        level: scu.Level | None = None,
        priority: int = 0,
        raw: Literal[False] = False,
    ) -> Responses[Dataset]: ...
    @overload
    def c_find(
        self,
        identifier: Dataset | Mapping[str, Any],
        *,
        model: Model | str,
        level: scu.Level | None = None,
        priority: int = 0,
        raw: bool,
    ) -> Responses[Any]: ...
    def c_find(
        self,
        identifier: Dataset | Mapping[str, Any],
        *,
        model: Model | str,
        level: scu.Level | None = None,
        priority: int = 0,
        raw: bool = False,
    ) -> Responses[Any]:
        """Query the peer; give each match as it comes.

        Args:
            identifier: matching and return keys: a pydicom data set, or keywords with values.
            model: such as `StudyRoot`, or the UID of a C-FIND class.
            level: Query/Retrieve Level: PATIENT, STUDY, SERIES or IMAGE; None when the identifier
                has the level, or the model has no levels.
            priority: value of (0000,0700): 0 medium, 1 high, 2 low.
            raw: give each identifier as received, a buffer in the context's transfer syntax.

        Returns:
            An iterator over data sets, or over buffers. Leaving it early sends C-CANCEL.

        Source: PS3.7 9.1.2, PS3.4 C.4.1.
        """
        call = scu.Call()
        return self._responses(call, self._find(call, identifier, model, level, priority, raw))

    def c_get(
        self,
        identifier: Dataset | Mapping[str, Any],
        *,
        model: Model | str,
        level: scu.Level | None = None,
        into: Into | None = None,
        priority: int = 0,
    ) -> Responses[Response]:
        """Retrieve instances over this association; it needs `contexts=for_retrieve(model)`.

        Args:
            identifier: unique keys, as for `c_find`.
            model: such as `StudyRoot`, or the UID of a C-GET class.
            level: Query/Retrieve Level, as for `c_find`.
            into: where the instances go: a folder by path or a `Storage`, a function that takes a
                `StoreRequest` and returns None or a status, or a list that gets data sets. Default
                the handlers of the association.
            priority: value of (0000,0700).

        Returns:
            An iterator over the responses, of which the last is the final one. The peer counts in
            `.completed`, `.remaining` and `.failed`; `.received` counts what was stored and refused
            here. A failure raises StatusError, whose `.response.failed_uids` names the instances.
            So does a final response that counts more instances than were stored here.

        Source: PS3.7 9.1.3, PS3.4 C.4.3.
        """
        from .dimse.receive import receiving

        call = scu.Call()
        steps = self._get(call, identifier, model, level, priority)
        return self._responses(call, receiving(self, call, into, steps))

    def c_move(
        self,
        identifier: Dataset | Mapping[str, Any],
        *,
        model: Model | str,
        destination: str,
        level: scu.Level | None = None,
        priority: int = 0,
    ) -> Responses[Response]:
        """Have the peer send instances to another AE, which the peer must know.

        Args:
            identifier: unique keys, as for `c_find`.
            model: such as `StudyRoot`, or the UID of a C-MOVE class.
            destination: AE title that receives.
            level: Query/Retrieve Level, as for `c_find`.
            priority: value of (0000,0700).

        Returns:
            An iterator over the responses, as `c_get` gives.

        Source: PS3.7 9.1.4, PS3.4 C.4.2.
        """
        call = scu.Call()
        steps = self._move(call, identifier, model, level, priority, destination)
        return self._responses(call, steps)

    def _responses(self, call: scu.Call, steps: Generator[Step, Any, None]) -> Responses[Any]:
        return Responses(self, call, self._values(call, steps))

    def _values(self, call: scu.Call, steps: Generator[Step, Any, None]) -> Iterator[Any]:
        self._outstanding.add(call)
        try:
            yield from emitted(self._core, steps)
        except KeyboardInterrupt:
            raise  # stays outstanding: the peer still performs it, so leaving has to abort
        except BaseException:
            self._outstanding.discard(call)
            raise
        finally:
            self._cancel(call)
        self._outstanding.discard(call)

    def n_event_report(
        self,
        event_type: int,
        dataset: Dataset | Mapping[str, Any] | None = None,
        *,
        sop_class: str,
        instance_uid: str,
        context: str | None = None,
    ) -> Response:
        """Notify the peer of an event; this side is the SCP in the context.

        `event_type` is the Event Type ID, `dataset` the event information.
        Other arguments, result and errors are those of `n_get`.

        Source: PS3.7 10.1.1.
        """
        return self._run(
            self._service(
                fields.N_EVENT_REPORT_RQ,
                sop_class,
                instance_uid,
                dataset,
                context=context,
                EventTypeID=event_type,
            )
        )

    def n_get(
        self,
        attributes: Sequence[int | str] = (),
        *,
        sop_class: str,
        instance_uid: str,
        context: str | None = None,
    ) -> Response:
        """Ask for attributes of an instance.

        Args:
            sop_class: the class of the instance.
            instance_uid: the instance.
            attributes: tags or keywords; none for all.
            context: the abstract syntax of the context to use; default the class itself, or a class
                that includes it, as the meta SOP classes of print do.

        Returns:
            The response: success or a warning, `.dataset` its data set.

        Raises:
            NoPresentationContext: no context was accepted for the class in that role.
            StatusError: the peer answered with a failure; `.response` is its whole response.
            DecodeError: the data set cannot be sent.
            AssociationError, TransportError, DimseTimeout: the association ended meanwhile.

        Source: PS3.7 10.1.2.
        """
        return self._run(
            self._service(
                fields.N_GET_RQ,
                sop_class,
                instance_uid,
                context=context,
                AttributeIdentifierList=tags_of(attributes) or None,
            )
        )

    def n_set(
        self,
        dataset: Dataset | Mapping[str, Any],
        *,
        sop_class: str,
        instance_uid: str,
        context: str | None = None,
    ) -> Response:
        """Change attributes of an instance.

        `dataset` is the modification list. Other arguments, result and errors are those of `n_get`.

        Source: PS3.7 10.1.3.
        """
        return self._run(
            self._service(fields.N_SET_RQ, sop_class, instance_uid, dataset, context=context)
        )

    def n_action(
        self,
        action_type: int,
        dataset: Dataset | Mapping[str, Any] | None = None,
        *,
        sop_class: str,
        instance_uid: str,
        context: str | None = None,
    ) -> Response:
        """Ask for an action on an instance.

        `action_type` is the Action Type ID, `dataset` the action information.
        Other arguments, result and errors are those of `n_get`.

        Source: PS3.7 10.1.4.
        """
        return self._run(
            self._service(
                fields.N_ACTION_RQ,
                sop_class,
                instance_uid,
                dataset,
                context=context,
                ActionTypeID=action_type,
            )
        )

    def n_create(
        self,
        dataset: Dataset | Mapping[str, Any] | None = None,
        *,
        sop_class: str,
        instance_uid: str | None = None,
        context: str | None = None,
    ) -> Response:
        """Have an instance made; `.instance_uid` of the response is its UID when none was given.

        `dataset` has the attributes; without `instance_uid` the peer chooses a UID.
        Other arguments, result and errors are those of `n_get`.

        Source: PS3.7 10.1.5.
        """
        return self._run(
            self._service(fields.N_CREATE_RQ, sop_class, instance_uid, dataset, context=context)
        )

    def n_delete(
        self,
        *,
        sop_class: str,
        instance_uid: str,
        context: str | None = None,
    ) -> Response:
        """Have an instance deleted.

        Arguments, result and errors are those of `n_get`.

        Source: PS3.7 10.1.6.
        """
        return self._run(
            self._service(fields.N_DELETE_RQ, sop_class, instance_uid, context=context)
        )

    def _run(self, steps: Generator[Step, Any, T]) -> T:
        call = object()
        self._outstanding.add(call)
        try:
            outcome = run(self._core, steps)
        except Exception:
            # Refused, answered, or ended with the association: no response will come. After Ctrl-C
            # one may, so the call stays outstanding and leaving the association aborts.
            self._outstanding.discard(call)
            raise
        self._outstanding.discard(call)
        return outcome

    def send_files(self, paths: Sequence[str | PathLike[str]], *, check: bool = True) -> _core.Bulk:
        """Send Part 10 files undecoded, as many at a time as were negotiated.

        This neither plans contexts nor converts, as `AE.send` does. Pull results with
        `next(within)`, a list, or None after the last. Each has `index`, `info` (what the file is),
        `begun` (whether the peer may have got some of it), `response`, `status`, `comment`, `error`
        and `unreadable`, and unpacks as (index, file, response, error).

        Args:
            paths: of the files.
            check: a file that is cut short is not sent: its error is a DecodeError.

        Raises:
            AssociationError, TransportError: the association is over.
        """
        bulk = self._core.send_files(paths, within=self._timeouts.store, check=check)
        self._outstanding.add(bulk)
        return bulk

    @follows
    def events(self, *kinds: Kind, timeout: float | None = None) -> Events[Event]:
        """Follow the events of the association, from now until it has ended.

        Args:
            kinds: names of events, see `Kind`; default stored, refused, released, aborted, error.
                No other events are made.
            timeout: end when no event has come for so many seconds; default never.

        Returns:
            An iterator over `Event`s. `AE.associate(events=...)` follows the negotiation too.

        Raises:
            ValueError: no such kind.
        """
        return self._follow(kinds, timeout)

    def release(self) -> None:
        """Release the association, after the responses to outstanding operations have come.

        A second release does nothing.

        Raises:
            AssociationError, TransportError, DimseTimeout: the association ended otherwise.

        Source: PS3.8 7.2, PS3.7 A.5.
        """
        if isinstance(self._core.ended, AssociationReleased):
            return
        self._core.release()
        self._log_end("released")

    def abort(self) -> None:
        """Abort the association at once: outstanding operations fail on both sides (PS3.8 7.3)."""
        if self.is_established:
            self._core.abort()
            self._log_end("aborted")

    def __enter__(self) -> Self:
        """Use the association; it is established already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release; abort when the block was left by an exception with operations outstanding."""
        if not self.is_established:
            return
        if error is not None and self._outstanding:
            self.abort()
            return
        try:
            self._cancel_kept()
            self.release()
        except DimseError:
            if error is None:  # else that error is the one to be raised
                raise
