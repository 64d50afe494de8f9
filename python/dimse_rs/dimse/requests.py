"""The requests of peers, as handlers get them: a class for each kind (PS3.7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Generic, TypeAlias

from dimse_rs.errors import DecodeError, LocalProtocolError
from dimse_rs.fields import (
    C_FIND_RQ,
    C_GET_RQ,
    C_MOVE_RQ,
    C_STORE_RQ,
    FIRST_N_SERVICE,
    N_ACTION_RQ,
    N_CREATE_RQ,
    N_EVENT_REPORT_RQ,
    N_GET_RQ,
    N_SET_RQ,
)
from dimse_rs.settings import Peer
from dimse_rs.sop_class import SOPClass, TransferSyntax

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from typing_extensions import Buffer, TypeVar

    from dimse_rs import _core
    from dimse_rs.contexts import AcceptedContext
    from dimse_rs.storage import Mode, Storage

    from .calls import AssociationFacts

    A_co = TypeVar("A_co", bound=AssociationFacts, covariant=True, default=Any)
else:
    from typing import TypeVar  # that of Python 3.11 knows no default

    A_co = TypeVar("A_co", covariant=True)

__all__ = [
    "ActionRequest",
    "AttributesRequest",
    "DatasetRequest",
    "EventRequest",
    "FindRequest",
    "Handler",
    "Request",
    "RetrieveRequest",
    "StoreRequest",
    "request_of",
]


_CHUNK: Final = 1 << 20
"""Bytes of a large instance that are in memory at once while it is copied."""

Handler: TypeAlias = Callable[[Any], Any]
"""A function of the user: takes a request, and returns what the service of the request wants."""


class Request(Generic[A_co]):
    """A request of the peer, as a handler gets it.

    Attributes:
        association: where the request came from; its `abort()` may be called. The type is
            `Association` in handlers of a `Server`, `AsyncAssociation` in those of an
            `AsyncServer`: `StoreRequest[Association]` tells a type checker which.
        context: the presentation context.
    """

    def __init__(self, operation: _core.Operation, association: A_co) -> None:
        """Wrap an operation of the core; nothing is decoded yet."""
        self._operation = operation
        self._message = operation.message
        self.association: A_co = association
        self.context: AcceptedContext = association.context(self._message.context_id)
        self.assigned_uid = ""
        self.unreadable: DecodeError | None = None
        self._dataset: Dataset | None = None
        self._afterwards: list[Callable[[], object]] = []
        self._held: list[_core.Reserved] = []

    @property
    def command(self) -> Mapping[str, Any]:
        """Every command element by keyword (PS3.7 Annex E)."""
        return self._message.command

    @property
    def field(self) -> int:
        """(0000,0100)."""
        return self._message.field

    @property
    def message_id(self) -> int:
        """(0000,0110)."""
        return self._message.message_id or 0

    @property
    def sop_class(self) -> SOPClass:
        """Affected or Requested SOP Class UID."""
        return SOPClass.of(self._message.sop_class or "")

    @property
    def instance_uid(self) -> str:
        """Affected or Requested SOP Instance UID; empty when there is none.

        Of an N-CREATE without one it is a new UID, which the response carries (PS3.7 10.1.5).
        """
        return self._message.sop_instance or self.assigned_uid

    @property
    def peer(self) -> Peer:
        """The peer: its calling AE title and where it is."""
        return self.association.peer

    @property
    def cancelled(self) -> bool:
        """Whether the peer sent C-CANCEL, or the association is over."""
        return self._operation.cancelled

    def afterwards(self, function: Callable[[], object]) -> None:
        """Have a function called when the request was answered, or could not be.

        For services with one response. The function must not wait: it holds up the thread or the
        event loop that serves the request.
        """
        self._afterwards.append(function)

    def answered(self) -> None:
        """Call the functions that `afterwards` was given; private."""
        for function in self._afterwards:
            function()

    def _decoded(self) -> Dataset:
        """Decode the whole data set on first use; give an empty one when there is none."""
        if self._dataset is None:
            from dimse_rs.datasets import decode, from_bytes

            try:
                data = self._message.data or b""
                within = "identifier" if self.field < FIRST_N_SERVICE else "dataset"
                if data:  # three copies: as received, inflated, and in values
                    self._make_room(data, 3, within=within, values=True)
                dataset = from_bytes(data, self.context.transfer_syntax, scanned=True)
                decode(dataset)  # pydicom decodes values on access: faults are to be found here
            except DecodeError as error:
                self._not_decoded(error)
                raise
            self._dataset = dataset
        return self._dataset

    def _not_decoded(self, error: DecodeError) -> None:
        """Keep why the data set has no values: the answer to the request says so."""
        self.unreadable = error

    def _make_room(
        self, data: Buffer | Path, copies: int, *, within: str = "", values: bool = False
    ) -> None:
        """Check that a data set is whole, and reserve the memory that decoding it takes.

        Args:
            data: the encoded data set, or a file with it.
            copies: how many times it is in memory at once.
            within: what the data set is called in errors; an instance without.
            values: whether values are decoded too.
        """
        from dimse_rs.encoding.gate import memory_of, scan, scan_file

        limits = self.association._limits
        if isinstance(data, Path):
            found = scan_file(data, limits)
        else:
            syntax = self.context.transfer_syntax
            found = scan(data, syntax, limits, within, lenient=bool(within))
        self._held.append(self._operation.reserve(memory_of(found, copies, values=values)))

    def release(self) -> None:
        """Release the memory that decoding has reserved; private."""
        while self._held:
            self._held.pop().release()

    if not TYPE_CHECKING:  # for checkers there is no such name

        def __getattr__(self, name: str) -> Any:
            """Raise an error that names what stands for an attribute of pynetdicom."""
            from dimse_rs.hints import refuse

            return refuse(self, "Request", name)

    def __repr__(self) -> str:
        """Show the message and its association."""
        return f"<{type(self).__name__} {self._message.name} {self.message_id} {self.association}>"


class StoreRequest(Request[A_co]):
    """A C-STORE request: the instance in memory, or in a file when it is large.

    The data set is as the peer encoded it. A file is complete, verified to be whole, and removed
    when the request is no longer referenced: `save` keeps the instance.
    """

    @property
    def transfer_syntax(self) -> TransferSyntax:
        """How the data set is encoded."""
        return self.context.transfer_syntax

    @property
    def path(self) -> Path | None:
        """The Part 10 file, when the instance was too large to be kept in memory."""
        return self._message.path

    @property
    def data(self) -> _core.Payload | memoryview:
        """The encoded data set, without file meta information: a buffer, read-only.

        An instance in a file is read into memory by this.
        """
        payload = self._message.data
        if payload is not None:
            return payload
        if self.path is None:
            raise LocalProtocolError("a C-STORE request without a data set")
        return memoryview(self.path.read_bytes())[self._message.data_offset or 0 :]

    @property
    def dataset(self) -> Dataset:
        """The data set, decoded on first use by pydicom; with file meta information.

        Raises:
            DecodeError: pydicom cannot read it.
            LimitExceeded: decoding it takes more than the limits of the server. A handler that
                does not catch it answers A700.
        """
        if self._dataset is None:
            from dimse_rs.datasets import from_bytes, read

            payload = self._message.data
            try:
                if payload is None and self.path is not None:
                    self._make_room(self.path, 2)
                    self._dataset = read(self.path, scanned=True)
                else:
                    self._make_room(self.data, 3)
                    self._dataset = from_bytes(
                        self.data, self.transfer_syntax, file_meta=True, scanned=True
                    )
            except DecodeError as error:
                self._not_decoded(error)
                raise
        return self._dataset

    @property
    def size(self) -> int:
        """The length of the encoded data set, in bytes."""
        if self.path is None:
            return len(memoryview(self.data))
        return self.path.stat().st_size - (self._message.data_offset or 0)

    def header(self, tags: Sequence[int | str]) -> Dataset:
        """Read some elements of the data set, of those before the pixel data, and decode no others.

        Args:
            tags: keywords and tags of the top level. Specific Character Set (0008,0005), without
                which no text can be decoded, comes along.

        Returns:
            A data set of those elements that are there.

        Raises:
            DecodeError: the data set cannot be read, or a keyword is none of the dictionary.
            LimitExceeded: walking it takes more than the limits of the server.
        """
        from dimse_rs.datasets import from_bytes, read, tags_of

        only, path = tags_of(tags), self.path
        try:
            if path is not None:
                return read(path, limits=self.association._limits, only=only)
            self._make_room(self.data, 2)
            return from_bytes(self.data, self.transfer_syntax, scanned=True, only=only)
        except DecodeError as error:
            self._not_decoded(error)
            raise

    def part10(self) -> bytes:
        """Give the instance as a Part 10 file: File Meta Information, then the data set as it came.

        The sender's AE title is in (0002,0016), as in files of a `Storage`.

        Raises:
            StatusError: a UID of the request is none. A handler that does not catch it answers with
                the right status.
            LocalProtocolError: the request has no data set.

        Source: PS3.10 7.
        """
        if self.path is not None:
            return self.path.read_bytes()
        data = memoryview(self.data)
        return self._operation.file_head() + data

    def write_to(self, file: IO[bytes]) -> None:
        """Write the instance as a Part 10 file into an open binary file, such as an upload.

        A large instance is copied piece by piece. The file is neither flushed nor closed.

        Raises:
            As `part10`, and what writing to the file raises.

        Source: PS3.10 7.
        """
        from shutil import copyfileobj

        if self.path is not None:
            with self.path.open("rb") as spooled:
                copyfileobj(spooled, file, _CHUNK)
            return
        data = self.data
        file.write(self._operation.file_head())
        file.write(memoryview(data))

    def save(self, folder: str | PathLike[str] | Storage, *, mode: Mode = "durable") -> Path:
        """Write the instance to `<folder>/<SOPInstanceUID>.dcm`, as `Storage` would.

        Args:
            folder: made if it is not there. With a `Storage` the instance is written as that does.
            mode: "durable", "file-only" or "fast", as for `Storage`; not with one.

        Returns:
            Where it is. An earlier version with other bytes is kept beside it.

        Raises:
            StatusError: it cannot be stored. A handler that does not catch it answers with the
                right status.
            OSError: the folder cannot be made.
            ValueError: a `Storage` with a function that only servers call.
        """
        return self.saved(folder, mode).path

    def saved(
        self, folder: str | PathLike[str] | Storage, mode: Mode = "durable"
    ) -> _core.SavedFacts:
        """Write the instance as `save` does; give its path and its oddities; private."""
        from dimse_rs import _core
        from dimse_rs.storage import Storage

        if isinstance(folder, Storage):
            folder.check_undecided("request.save()")
            core = folder.core
        else:
            core = _core.Folder(folder, mode)
        return self._operation.store(core)


class FindRequest(Request[A_co]):
    """A C-FIND request."""

    @property
    def identifier(self) -> Dataset:
        """The matching and return keys, decoded on first use.

        Raises:
            DecodeError: pydicom cannot read it.
            LimitExceeded: decoding it takes more than the limits of the server.
        """
        return self._decoded()

    @property
    def level(self) -> str:
        """Query/Retrieve Level (0008,0052); empty when the identifier has none."""
        return str(self.identifier.get("QueryRetrieveLevel") or "").strip()


class RetrieveRequest(FindRequest[A_co]):
    """A C-GET or C-MOVE request."""

    @property
    def destination(self) -> str:
        """AE title that is to receive, of C-MOVE; empty of C-GET."""
        return (self._message.get("MoveDestination") or "").strip()


class DatasetRequest(Request[A_co]):
    """An N-service request with a data set: N-SET, N-CREATE, N-ACTION, N-EVENT-REPORT."""

    @property
    def dataset(self) -> Dataset:
        """The data set of the request, decoded on first use; empty when there is none.

        Raises:
            DecodeError: pydicom cannot read it.
            LimitExceeded: decoding it takes more than the limits of the server.
        """
        return self._decoded()

    @property
    def modifications(self) -> Dataset:
        """The modification list of N-SET: another name of `dataset`."""
        return self._decoded()


class ActionRequest(DatasetRequest[A_co]):
    """An N-ACTION request."""

    @property
    def action_type(self) -> int:
        """Action Type ID (0000,1008)."""
        return int(self._message.get("ActionTypeID") or 0)


class EventRequest(DatasetRequest[A_co]):
    """An N-EVENT-REPORT request."""

    @property
    def event_type(self) -> int:
        """Event Type ID (0000,1002)."""
        return int(self._message.get("EventTypeID") or 0)


class AttributesRequest(Request[A_co]):
    """An N-GET request."""

    @property
    def attributes(self) -> tuple[int, ...]:
        """Attribute Identifier List (0000,1005) as tags; empty asks for all."""
        return tuple(self._message.get("AttributeIdentifierList") or ())


_REQUESTS: Final[dict[int, type[Request]]] = {
    C_STORE_RQ: StoreRequest,
    C_FIND_RQ: FindRequest,
    C_GET_RQ: RetrieveRequest,
    C_MOVE_RQ: RetrieveRequest,
    N_EVENT_REPORT_RQ: EventRequest,
    N_GET_RQ: AttributesRequest,
    N_SET_RQ: DatasetRequest,
    N_ACTION_RQ: ActionRequest,
    N_CREATE_RQ: DatasetRequest,
}


# The attribute of a `Model` that has the SOP class of an operation.
_OF_MODEL: Final = {C_FIND_RQ: "find", C_GET_RQ: "get", C_MOVE_RQ: "move"}


def request_of(operation: _core.Operation, association: AssociationFacts) -> Request:
    """Wrap an operation of the core in the class for its Command Field."""
    request = _REQUESTS.get(operation.message.field, Request)(operation, association)
    if operation.message.field == N_CREATE_RQ and not operation.message.sop_instance:
        from dimse_rs.datasets import new_uid

        request.assigned_uid = new_uid()
    return request
