"""Handlers: the user's functions that answer a peer's requests, and what they are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar, cast, overload

from .callables import check_handler, described
from .errors import DecodeError, LocalProtocolError
from .fields import (
    C_ECHO_RQ,
    C_FIND_RQ,
    C_GET_RQ,
    C_MOVE_RQ,
    C_STORE_RQ,
    FIRST_N_SERVICE,
    N_ACTION_RQ,
    N_CREATE_RQ,
    N_DELETE_RQ,
    N_EVENT_REPORT_RQ,
    N_GET_RQ,
    N_SET_RQ,
    SERVICE_OF,
)
from .settings import Peer
from .sop_class import Model, SOPClass, TransferSyntax
from .uids import is_uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from typing_extensions import Buffer

    from . import _core
    from .association import Association
    from .contexts import AcceptedContext
    from .dimse.calls import AssociationFacts
    from .storage import Mode, Storage

__all__ = [
    "ActionRequest",
    "AttributesRequest",
    "DatasetRequest",
    "EventRequest",
    "FindRequest",
    "Handler",
    "Handlers",
    "Request",
    "RetrieveRequest",
    "Service",
    "StoreRequest",
    "request_of",
]


Handler: TypeAlias = Callable[[Any], Any]
"""The user's function: gets a request and gives back what its service wants."""


class Request:
    """A request of the peer, as a handler gets it.

    Attributes:
        association: where it came from; its `abort()` may be called. An `AsyncAssociation` in
            handlers of an `AsyncServer`.
        context: the presentation context.
    """

    def __init__(self, operation: _core.Operation, association: AssociationFacts) -> None:
        """Look at an operation of the core; nothing is decoded yet."""
        self._operation = operation
        self._message = operation.message
        self.association = cast("Association", association)
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
        """Have this called when the request was answered, or could not be.

        Of services with one response. It must not wait for anything, least of all for the peer.
        """
        self._afterwards.append(function)

    def answered(self) -> None:
        """Call what was to be called afterwards; private."""
        for function in self._afterwards:
            function()

    def _decoded(self) -> Dataset:
        """Decode the data set on first use, all of it; an empty one when there is none."""
        if self._dataset is None:
            from .datasets import decode, from_bytes

            try:
                data = self._message.data or b""
                within = "identifier" if self.field < FIRST_N_SERVICE else "dataset"
                if data:  # as received, inflated, and in values
                    self._make_room(data, 3, within=within, values=True)
                dataset = from_bytes(data, self.context.transfer_syntax, scanned=True)
                decode(dataset)  # values that are none are found here, not by the user
            except DecodeError as error:
                self.unreadable = error
                raise
            self._dataset = dataset
        return self._dataset

    def _make_room(
        self, data: Buffer | Path, copies: int, *, within: str = "", values: bool = False
    ) -> None:
        """See that a data set is whole, and reserve the memory that it takes decoded."""
        from .encoding.gate import memory_of, scan, scan_file

        limits = self.association._limits
        if isinstance(data, Path):
            found = scan_file(data, limits)
        else:
            syntax = self.context.transfer_syntax
            found = scan(data, syntax, limits, within, lenient=bool(within))
        self._held.append(self._operation.reserve(memory_of(found, copies, values=values)))

    def release(self) -> None:
        """Give back what decoding had reserved: the request is done; private."""
        while self._held:
            self._held.pop().release()

    if not TYPE_CHECKING:  # for checkers there is no such name

        def __getattr__(self, name: str) -> Any:
            """Name what pynetdicom's attributes are called here."""
            from .hints import refuse

            return refuse(self, "Request", name)

    def __repr__(self) -> str:
        """Show the message and where it came from."""
        return f"<{type(self).__name__} {self._message.name} {self.message_id} {self.association}>"


class StoreRequest(Request):
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

        Of an instance in a file it is read into memory here.
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
            LimitExceeded: decoding it takes more than the limits of the server; raised on, it
                answers the peer with A700.
        """
        if self._dataset is None:
            from .datasets import from_bytes, read

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
                self.unreadable = error
                raise
        return self._dataset

    @property
    def size(self) -> int:
        """The length of the encoded data set, in bytes."""
        if self.path is None:
            return len(memoryview(self.data))
        return self.path.stat().st_size - (self._message.data_offset or 0)

    def save(self, folder: str | PathLike[str] | Storage, *, mode: Mode = "durable") -> Path:
        """Write the instance to `<folder>/<SOPInstanceUID>.dcm`, as `Storage` would.

        Args:
            folder: made if it is not there. A `Storage` has it written as that one does.
            mode: "durable", "file-only" or "fast", as for `Storage`; not with one.

        Returns:
            Where it is. An earlier version with other bytes is kept beside it.

        Raises:
            StatusError: it cannot be stored; raised on, it answers the peer with the right status.
            OSError: the folder cannot be made.
            ValueError: a `Storage` with a function that only servers call.
        """
        return self.saved(folder, mode)[0]

    def saved(
        self, folder: str | PathLike[str] | Storage, mode: Mode = "durable"
    ) -> tuple[Path, list[str]]:
        """Write the instance as `save` does; give the path and the oddities; private."""
        from . import _core
        from .storage import Storage

        if isinstance(folder, Storage):
            folder.check_undecided("request.save()")
            core = folder.core
        else:
            core = _core.Folder(folder, mode)
        return core.store(self._operation)


class FindRequest(Request):
    """A C-FIND request."""

    @property
    def identifier(self) -> Dataset:
        """What is asked for: matching and return keys, decoded on first use.

        Raises:
            DecodeError: pydicom cannot read it.
            LimitExceeded: decoding it takes more than the limits of the server.
        """
        return self._decoded()

    @property
    def level(self) -> str:
        """Query/Retrieve Level (0008,0052); empty when the identifier has none."""
        return str(self.identifier.get("QueryRetrieveLevel") or "").strip()


class RetrieveRequest(FindRequest):
    """A C-GET or C-MOVE request."""

    @property
    def destination(self) -> str:
        """AE title that is to receive, of C-MOVE; empty of C-GET."""
        return (self._message.get("MoveDestination") or "").strip()


class DatasetRequest(Request):
    """An N-service request with a data set: N-SET, N-CREATE, N-ACTION, N-EVENT-REPORT."""

    @property
    def dataset(self) -> Dataset:
        """What came with it, decoded on first use; empty when nothing did.

        Raises:
            DecodeError: pydicom cannot read it.
            LimitExceeded: decoding it takes more than the limits of the server.
        """
        return self._decoded()

    @property
    def modifications(self) -> Dataset:
        """The modification list of N-SET: another name of `dataset`."""
        return self._decoded()


class ActionRequest(DatasetRequest):
    """An N-ACTION request."""

    @property
    def action_type(self) -> int:
        """Action Type ID (0000,1008)."""
        return int(self._message.get("ActionTypeID") or 0)


class EventRequest(DatasetRequest):
    """An N-EVENT-REPORT request."""

    @property
    def event_type(self) -> int:
        """Event Type ID (0000,1002)."""
        return int(self._message.get("EventTypeID") or 0)


class AttributesRequest(Request):
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

# Which class of a model an operation is about.
_OF_MODEL: Final = {C_FIND_RQ: "find", C_GET_RQ: "get", C_MOVE_RQ: "move"}

"""The DIMSE services by the Command Field of their requests (PS3.7 E.1)."""


def request_of(operation: _core.Operation, association: AssociationFacts) -> Request:
    """Wrap an operation of the core in what a handler of its service gets."""
    request = _REQUESTS.get(operation.message.field, Request)(operation, association)
    if operation.message.field == N_CREATE_RQ and not operation.message.sop_instance:
        from .datasets import new_uid

        request.assigned_uid = new_uid()
    return request


H = TypeVar("H", bound=Callable[..., Any])
P = TypeVar("P", bound=Callable[[Request], int | None])
S = TypeVar("S", bound=Callable[[StoreRequest], int | None])
F = TypeVar("F", bound=Callable[[FindRequest], Any])
R = TypeVar("R", bound=Callable[[RetrieveRequest], Any])
V = TypeVar("V", bound=Callable[[EventRequest], Any])
G = TypeVar("G", bound=Callable[[AttributesRequest], Any])
D = TypeVar("D", bound=Callable[[DatasetRequest], Any])
N = TypeVar("N", bound=Callable[[ActionRequest], Any])

ClassLike: TypeAlias = str | Model
"""A SOP class, or a model for its class of the service."""


class Service(Protocol):
    """A ready-made performer: handlers that belong together, for its SOP Classes."""

    def register(self, handlers: Handlers) -> None:
        """Add the handlers, as a user would by decorators."""


class Handlers:
    """A registry of handlers: use its methods as decorators.

    `@handlers.c_store` serves every class, `@handlers.c_store(CTImageStorage)` some. A handler gets
    a request and gives back None for Success, or what its service wants. It may raise `StatusError`
    to answer one; any other exception is logged and answered as a failure.
    """

    # Whether handlers may be asynchronous: what serves them has an event loop, or may have one.
    _asynchronous = True

    def __init__(self, services: Iterable[Service] = ()) -> None:
        """Start with the handlers of some services, or without any.

        Raises:
            ValueError: two services have a handler for the same.
        """
        self._by_field: dict[int, dict[str | None, Handler]] = {}
        for service in services:
            register_service(service, self)

    @overload
    def c_echo(self, handler: P, /) -> P: ...
    @overload
    def c_echo(self, *classes: ClassLike) -> Callable[[H], H]: ...
    def c_echo(self, *args: Any) -> Any:
        """Answer C-ECHO requests with this handler; without one they are answered Success."""
        return self._decorate(C_ECHO_RQ, args)

    @overload
    def c_store(self, handler: S, /) -> S: ...
    @overload
    def c_store(self, *classes: ClassLike) -> Callable[[H], H]: ...
    def c_store(self, *args: Any) -> Any:
        """Answer C-STORE requests: None or a status."""
        return self._decorate(C_STORE_RQ, args)

    @overload
    def c_find(self, handler: F, /) -> F: ...
    @overload
    def c_find(self, *classes: ClassLike) -> Callable[[H], H]: ...
    def c_find(self, *args: Any) -> Any:
        """Answer C-FIND requests: an iterable of data sets, each a pending response.

        An item may be a mapping of keywords, a pair of status 0xFF00 or 0xFF01 and a data set, or
        bytes that are encoded as the context wants. A pair of another status and None ends it.
        """
        return self._decorate(C_FIND_RQ, args)

    @overload
    def c_get(self, handler: R, /) -> R: ...
    @overload
    def c_get(self, *classes: ClassLike) -> Callable[[H], H]: ...
    def c_get(self, *args: Any) -> Any:
        """Answer C-GET requests: an iterable of instances, or a `Retrieve` of them.

        An instance is the path of a Part 10 file, which is sent undecoded, a pydicom data set, or a
        Part 10 file as bytes. It may come in a pair with status 0xFF00, and how many there are
        before the first; a pair of another status and None ends it.
        """
        return self._decorate(C_GET_RQ, args)

    @overload
    def c_move(self, handler: R, /) -> R: ...
    @overload
    def c_move(self, *classes: ClassLike) -> Callable[[H], H]: ...
    def c_move(self, *args: Any) -> Any:
        """Answer C-MOVE requests, as `c_get`; `Server(destinations=...)` says where they go."""
        return self._decorate(C_MOVE_RQ, args)

    @overload
    def n_event_report(self, handler: V, /) -> V: ...
    @overload
    def n_event_report(self, *classes: ClassLike) -> Callable[[H], H]: ...
    def n_event_report(self, *args: Any) -> Any:
        """Answer N-EVENT-REPORT requests: None, a status, a data set, or a pair of both."""
        return self._decorate(N_EVENT_REPORT_RQ, args)

    @overload
    def n_get(self, handler: G, /) -> G: ...
    @overload
    def n_get(self, *classes: ClassLike) -> Callable[[H], H]: ...
    def n_get(self, *args: Any) -> Any:
        """Answer N-GET requests: the data set of the attributes, or a pair of a status and it."""
        return self._decorate(N_GET_RQ, args)

    @overload
    def n_set(self, handler: D, /) -> D: ...
    @overload
    def n_set(self, *classes: ClassLike) -> Callable[[H], H]: ...
    def n_set(self, *args: Any) -> Any:
        """Answer N-SET requests: None, a status, a data set, or a pair of both."""
        return self._decorate(N_SET_RQ, args)

    @overload
    def n_action(self, handler: N, /) -> N: ...
    @overload
    def n_action(self, *classes: ClassLike) -> Callable[[H], H]: ...
    def n_action(self, *args: Any) -> Any:
        """Answer N-ACTION requests: None, a status, a data set, or a pair of both."""
        return self._decorate(N_ACTION_RQ, args)

    @overload
    def n_create(self, handler: D, /) -> D: ...
    @overload
    def n_create(self, *classes: ClassLike) -> Callable[[H], H]: ...
    def n_create(self, *args: Any) -> Any:
        """Answer N-CREATE requests: None, a status, a data set, or a pair of both."""
        return self._decorate(N_CREATE_RQ, args)

    @overload
    def n_delete(self, handler: P, /) -> P: ...
    @overload
    def n_delete(self, *classes: ClassLike) -> Callable[[H], H]: ...
    def n_delete(self, *args: Any) -> Any:
        """Answer N-DELETE requests: None or a status."""
        return self._decorate(N_DELETE_RQ, args)

    def _decorate(self, field: int, args: tuple[Any, ...]) -> Any:
        if len(args) == 1 and callable(args[0]):
            return self._add(field, (), args[0])
        classes = tuple(_class_of(field, arg) for arg in args)
        return lambda handler: self._add(field, classes, handler)

    def _add(self, field: int, sop_classes: tuple[str, ...], handler: Handler) -> Handler:
        check_handler(field, handler, asynchronous=self._asynchronous)
        handlers = self._by_field.setdefault(field, {})
        for sop_class in sop_classes or (None,):
            if sop_class in handlers:
                name = "every class" if sop_class is None else repr(SOPClass.of(sop_class))
                raise ValueError(f"there is a handler for {name} already")
            handlers[sop_class] = handler
        return handler

    def check_blocking(self) -> None:
        """See that no handler needs an event loop.

        Raises:
            TypeError: one does; the message says which.
        """
        for field, handlers in self._by_field.items():
            for handler in handlers.values():
                check_handler(field, handler, asynchronous=False)

    def find(self, field: int, sop_class: str, context: str = "") -> Handler | None:
        """Find the handler for a request: by its class, by that of its context, or for every."""
        handlers = self._by_field.get(field, {})
        return handlers.get(sop_class) or handlers.get(context) or handlers.get(None)

    def classes(self, field: int) -> list[SOPClass] | None:
        """List the classes that handlers of a message are for; None for every class."""
        return None if None in self._by_field.get(field, {}) else self.named(field)

    def named(self, field: int) -> list[SOPClass]:
        """List the classes that handlers of a message name, beside one for every class or not."""
        return [SOPClass.of(uid) for uid in self._by_field.get(field, {}) if uid]

    def fields(self) -> list[int]:
        """List the Command Fields that have handlers."""
        return list(self._by_field)


def listed_services(services: Any) -> list[Any]:
    """Make a list of services.

    Raises:
        TypeError: it is one alone, or a class; the message says so.
    """
    if isinstance(services, type) or not isinstance(services, Iterable):
        name = getattr(services, "__name__", type(services).__name__)
        raise TypeError(f"services= is a list: write services=[{name}(...)]")
    return list(services)


def register_service(service: Any, handlers: Handlers) -> None:
    """Have a service add its handlers.

    Raises:
        TypeError: it is none, or a class in place of an instance; the message says so.
    """
    if isinstance(service, type):
        name = service.__name__
        raise TypeError(f"services=[{name}] names a class: write services=[{name}(...)]")
    if not hasattr(service, "register"):
        raise TypeError(f"services takes ready-made services, not {described(service)}")
    service.register(handlers)


def _class_of(field: int, what: ClassLike) -> str:
    if isinstance(what, str):
        if not is_uid(what):
            raise ValueError(f"{what!r} is no SOP Class UID (PS3.5 9.1)")
        return what
    if not isinstance(what, Model):
        service = SERVICE_OF[field].lower().replace("-", "_")
        raise TypeError(f"{service} takes a function, SOP Classes or models, not {described(what)}")
    sop_class: SOPClass | None = getattr(what, _OF_MODEL.get(field, ""), None)
    if sop_class is None:
        raise ValueError(f"the model {what.name} has no class for {SERVICE_OF[field]} (PS3.4 C.6)")
    return sop_class
