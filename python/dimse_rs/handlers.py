"""Handlers: the user's functions that answer a peer's requests."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, overload

from .callables import check_handler, described
from .dimse.requests import (
    _OF_MODEL,
    ActionRequest,
    AttributesRequest,
    DatasetRequest,
    EventRequest,
    FindRequest,
    Handler,
    Request,
    RetrieveRequest,
    StoreRequest,
    request_of,
)
from .fields import (
    C_ECHO_RQ,
    C_FIND_RQ,
    C_GET_RQ,
    C_MOVE_RQ,
    C_STORE_RQ,
    N_ACTION_RQ,
    N_CREATE_RQ,
    N_DELETE_RQ,
    N_EVENT_REPORT_RQ,
    N_GET_RQ,
    N_SET_RQ,
    SERVICE_OF,
)
from .sop_class import Model, SOPClass
from .uids import is_uid

if TYPE_CHECKING:
    from pydicom import Dataset

    from .dimse.retrieve import Retrieve

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


# What the handlers of a service return. `Server` takes functions that return this; `AsyncServer`,
# and a registry of its own, take asynchronous ones too: `_Later` of it, or an async iterator.
T = TypeVar("T")
StatusAnswer: TypeAlias = int | None
DatasetAnswer: TypeAlias = "int | Dataset | Mapping[str, Any] | tuple[int, Any] | None"
FindAnswer: TypeAlias = Iterable[Any] | int | None
RetrieveAnswer: TypeAlias = "Iterable[Any] | Retrieve | int | None"
_Later: TypeAlias = T | Awaitable[T]
_Many: TypeAlias = T | Awaitable[T] | AsyncIterable[Any]

P = TypeVar("P", bound="Callable[[Request[Any]], _Later[StatusAnswer]]")
S = TypeVar("S", bound="Callable[[StoreRequest[Any]], _Later[StatusAnswer]]")
F = TypeVar("F", bound="Callable[[FindRequest[Any]], _Many[FindAnswer]]")
R = TypeVar("R", bound="Callable[[RetrieveRequest[Any]], _Many[RetrieveAnswer]]")
V = TypeVar("V", bound="Callable[[EventRequest[Any]], _Later[DatasetAnswer]]")
G = TypeVar("G", bound="Callable[[AttributesRequest[Any]], _Later[DatasetAnswer]]")
D = TypeVar("D", bound="Callable[[DatasetRequest[Any]], _Later[DatasetAnswer]]")
N = TypeVar("N", bound="Callable[[ActionRequest[Any]], _Later[DatasetAnswer]]")

ClassLike: TypeAlias = str | Model
"""A SOP class, or a model, which stands for its SOP class of the service."""


class Service(Protocol):
    """A ready-made service: handlers that belong together."""

    def register(self, handlers: Handlers) -> None:
        """Add the handlers to a registry, by its decorators."""


class Handlers:
    """A registry of handlers: use its methods as decorators.

    `@handlers.c_store` serves every class, `@handlers.c_store(CTImageStorage)` some. A handler gets
    a request and returns None for Success, or what its service wants. It may raise `StatusError` to
    answer with that status; any other exception is logged and answered with a failure.
    """

    # Whether handlers may be asynchronous. A `Server` has no event loop to call them on; a registry
    # of its own may be for `associate_async`, and is checked by `check_blocking` otherwise.
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
    def c_echo(self, *classes: ClassLike) -> Callable[[P], P]: ...
    def c_echo(self, *args: Any) -> Any:
        """Answer C-ECHO requests with this handler; without one they are answered Success."""
        return self._decorate(C_ECHO_RQ, args)

    @overload
    def c_store(self, handler: S, /) -> S: ...
    @overload
    def c_store(self, *classes: ClassLike) -> Callable[[S], S]: ...
    def c_store(self, *args: Any) -> Any:
        """Answer C-STORE requests: None or a status."""
        return self._decorate(C_STORE_RQ, args)

    @overload
    def c_find(self, handler: F, /) -> F: ...
    @overload
    def c_find(self, *classes: ClassLike) -> Callable[[F], F]: ...
    def c_find(self, *args: Any) -> Any:
        """Answer C-FIND requests: an iterable of data sets, each a pending response.

        An item may be a mapping of keywords, a pair of status 0xFF00 or 0xFF01 and a data set, or
        bytes in the transfer syntax of the context. A pair of a final status and None is the end.
        """
        return self._decorate(C_FIND_RQ, args)

    @overload
    def c_get(self, handler: R, /) -> R: ...
    @overload
    def c_get(self, *classes: ClassLike) -> Callable[[R], R]: ...
    def c_get(self, *args: Any) -> Any:
        """Answer C-GET requests: an iterable of instances, or a `Retrieve` of them.

        An instance is the path of a Part 10 file, which is sent undecoded, a pydicom data set, or a
        Part 10 file as bytes. Instances may come in pairs with status 0xFF00, and after a number,
        which is their count; a pair of a final status and None is the end.
        """
        return self._decorate(C_GET_RQ, args)

    @overload
    def c_move(self, handler: R, /) -> R: ...
    @overload
    def c_move(self, *classes: ClassLike) -> Callable[[R], R]: ...
    def c_move(self, *args: Any) -> Any:
        """Answer C-MOVE requests, as `c_get`; `Server(destinations=...)` has the addresses."""
        return self._decorate(C_MOVE_RQ, args)

    @overload
    def n_event_report(self, handler: V, /) -> V: ...
    @overload
    def n_event_report(self, *classes: ClassLike) -> Callable[[V], V]: ...
    def n_event_report(self, *args: Any) -> Any:
        """Answer N-EVENT-REPORT requests: None, a status, a data set, or a pair of both."""
        return self._decorate(N_EVENT_REPORT_RQ, args)

    @overload
    def n_get(self, handler: G, /) -> G: ...
    @overload
    def n_get(self, *classes: ClassLike) -> Callable[[G], G]: ...
    def n_get(self, *args: Any) -> Any:
        """Answer N-GET requests: the data set of the attributes, or a status and the data set."""
        return self._decorate(N_GET_RQ, args)

    @overload
    def n_set(self, handler: D, /) -> D: ...
    @overload
    def n_set(self, *classes: ClassLike) -> Callable[[D], D]: ...
    def n_set(self, *args: Any) -> Any:
        """Answer N-SET requests: None, a status, a data set, or a pair of both."""
        return self._decorate(N_SET_RQ, args)

    @overload
    def n_action(self, handler: N, /) -> N: ...
    @overload
    def n_action(self, *classes: ClassLike) -> Callable[[N], N]: ...
    def n_action(self, *args: Any) -> Any:
        """Answer N-ACTION requests: None, a status, a data set, or a pair of both."""
        return self._decorate(N_ACTION_RQ, args)

    @overload
    def n_create(self, handler: D, /) -> D: ...
    @overload
    def n_create(self, *classes: ClassLike) -> Callable[[D], D]: ...
    def n_create(self, *args: Any) -> Any:
        """Answer N-CREATE requests: None, a status, a data set, or a pair of both."""
        return self._decorate(N_CREATE_RQ, args)

    @overload
    def n_delete(self, handler: P, /) -> P: ...
    @overload
    def n_delete(self, *classes: ClassLike) -> Callable[[P], P]: ...
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
        """Check that no handler needs an event loop.

        Raises:
            TypeError: a handler does; the message names it.
        """
        for field, handlers in self._by_field.items():
            for handler in handlers.values():
                check_handler(field, handler, asynchronous=False)

    def find(self, field: int, sop_class: str, context: str = "") -> Handler | None:
        """Find the handler of a request: for its class, for that of its context, or for every."""
        handlers = self._by_field.get(field, {})
        return handlers.get(sop_class) or handlers.get(context) or handlers.get(None)

    def classes(self, field: int) -> list[SOPClass] | None:
        """List the classes that have handlers for a Command Field; None for every class."""
        return None if None in self._by_field.get(field, {}) else self.named(field)

    def named(self, field: int) -> list[SOPClass]:
        """List the classes that handlers for a Command Field name."""
        return [SOPClass.of(uid) for uid in self._by_field.get(field, {}) if uid]

    def fields(self) -> list[int]:
        """List the Command Fields that have handlers."""
        return list(self._by_field)


if TYPE_CHECKING:
    # The same decorators without asynchronous handlers, for `Server`: narrower than those of its
    # base on purpose, because it has no event loop and refuses such a handler when it is added.
    PB = TypeVar("PB", bound=Callable[[Request[Any]], StatusAnswer])
    SB = TypeVar("SB", bound=Callable[[StoreRequest[Any]], StatusAnswer])
    FB = TypeVar("FB", bound=Callable[[FindRequest[Any]], FindAnswer])
    RB = TypeVar("RB", bound=Callable[[RetrieveRequest[Any]], RetrieveAnswer])
    VB = TypeVar("VB", bound=Callable[[EventRequest[Any]], DatasetAnswer])
    GB = TypeVar("GB", bound=Callable[[AttributesRequest[Any]], DatasetAnswer])
    DB = TypeVar("DB", bound=Callable[[DatasetRequest[Any]], DatasetAnswer])
    NB = TypeVar("NB", bound=Callable[[ActionRequest[Any]], DatasetAnswer])

    class BlockingHandlers(Handlers):
        """The decorators of a `Server`."""

        @overload  # type: ignore[override]
        def c_echo(self, handler: PB, /) -> PB: ...
        @overload
        def c_echo(self, *classes: ClassLike) -> Callable[[PB], PB]: ...
        def c_echo(self, *args: Any) -> Any: ...
        @overload  # type: ignore[override]
        def c_store(self, handler: SB, /) -> SB: ...
        @overload
        def c_store(self, *classes: ClassLike) -> Callable[[SB], SB]: ...
        def c_store(self, *args: Any) -> Any: ...
        @overload  # type: ignore[override]
        def c_find(self, handler: FB, /) -> FB: ...
        @overload
        def c_find(self, *classes: ClassLike) -> Callable[[FB], FB]: ...
        def c_find(self, *args: Any) -> Any: ...
        @overload  # type: ignore[override]
        def c_get(self, handler: RB, /) -> RB: ...
        @overload
        def c_get(self, *classes: ClassLike) -> Callable[[RB], RB]: ...
        def c_get(self, *args: Any) -> Any: ...
        @overload  # type: ignore[override]
        def c_move(self, handler: RB, /) -> RB: ...
        @overload
        def c_move(self, *classes: ClassLike) -> Callable[[RB], RB]: ...
        def c_move(self, *args: Any) -> Any: ...
        @overload  # type: ignore[override]
        def n_event_report(self, handler: VB, /) -> VB: ...
        @overload
        def n_event_report(self, *classes: ClassLike) -> Callable[[VB], VB]: ...
        def n_event_report(self, *args: Any) -> Any: ...
        @overload  # type: ignore[override]
        def n_get(self, handler: GB, /) -> GB: ...
        @overload
        def n_get(self, *classes: ClassLike) -> Callable[[GB], GB]: ...
        def n_get(self, *args: Any) -> Any: ...
        @overload  # type: ignore[override]
        def n_set(self, handler: DB, /) -> DB: ...
        @overload
        def n_set(self, *classes: ClassLike) -> Callable[[DB], DB]: ...
        def n_set(self, *args: Any) -> Any: ...
        @overload  # type: ignore[override]
        def n_action(self, handler: NB, /) -> NB: ...
        @overload
        def n_action(self, *classes: ClassLike) -> Callable[[NB], NB]: ...
        def n_action(self, *args: Any) -> Any: ...
        @overload  # type: ignore[override]
        def n_create(self, handler: DB, /) -> DB: ...
        @overload
        def n_create(self, *classes: ClassLike) -> Callable[[DB], DB]: ...
        def n_create(self, *args: Any) -> Any: ...
        @overload  # type: ignore[override]
        def n_delete(self, handler: PB, /) -> PB: ...
        @overload
        def n_delete(self, *classes: ClassLike) -> Callable[[PB], PB]: ...
        def n_delete(self, *args: Any) -> Any: ...
else:
    BlockingHandlers = Handlers


def listed_services(services: Any) -> list[Any]:
    """Check `services=`.

    Raises:
        TypeError: a service alone, or a class, in place of a list; the message says so.
    """
    if isinstance(services, type) or not isinstance(services, Iterable):
        if services is None:
            raise TypeError("services= is a list, not None")
        name = getattr(services, "__name__", type(services).__name__)
        raise TypeError(f"services= is a list: write services=[{name}(...)]")
    return list(services)


def register_service(service: Any, handlers: Handlers) -> None:
    """Have a service add its handlers.

    Raises:
        TypeError: it is no service, or a class in place of an instance; the message says so.
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
