"""Handlers: the user's functions that answer a peer's requests, and what they are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

from ._uids import SOPClass, TransferSyntax
from .errors import LocalProtocolError
from .settings import Peer

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from . import _core
    from .association import AcceptedContext, Association
    from .services.storage import Mode

__all__ = ["Handler", "Handlers", "Request", "StoreRequest"]

C_STORE_RQ = 0x0001
C_ECHO_RQ = 0x0030

Handler: TypeAlias = Callable[[Any], int | None]
"""A handler gives back None for Success, or a status."""


class Request:
    """A request of the peer, as a handler gets it.

    Attributes:
        association: where it came from; its `abort()` may be called.
        context: the presentation context.
    """

    def __init__(self, operation: _core.Operation, association: Association) -> None:
        """Look at an operation of the core."""
        self._operation = operation
        self._message = operation.message
        self.association = association
        self.context: AcceptedContext = association.context(self._message.context_id)

    @property
    def command(self) -> Mapping[str, Any]:
        """Every command element by keyword (PS3.7 Annex E)."""
        return self._message.command

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
        """Affected or Requested SOP Instance UID; empty when there is none."""
        return self._message.sop_instance or ""

    @property
    def peer(self) -> Peer:
        """The peer: its calling AE title and where it is."""
        return self.association.peer

    @property
    def cancelled(self) -> bool:
        """Whether the peer sent C-CANCEL, or the association is over."""
        return self._operation.cancelled

    def __repr__(self) -> str:
        """Show the message and where it came from."""
        return f"<{type(self).__name__} {self._message.name} {self.message_id} {self.association}>"


class StoreRequest(Request):
    """A C-STORE request: the instance in memory, or in a file when it is large.

    The data set is as the peer encoded it. A file is complete, verified to be whole, and removed
    when the request is no longer referenced: `save` keeps the instance.
    """

    def __init__(self, operation: _core.Operation, association: Association) -> None:
        """Look at an operation of the core; nothing is decoded yet."""
        super().__init__(operation, association)
        self._dataset: Dataset | None = None

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
        """
        if self._dataset is None:
            from .datasets import from_bytes, read

            payload = self._message.data
            if payload is None and self.path is not None:
                self._dataset = read(self.path)
            else:
                self._dataset = from_bytes(self.data, self.transfer_syntax, file_meta=True)
        return self._dataset

    def save(self, folder: str | PathLike[str], *, mode: Mode = "durable") -> Path:
        """Write the instance to `<folder>/<SOPInstanceUID>.dcm`, as `Storage` would.

        Args:
            folder: made if it is not there.
            mode: "durable", "file-only" or "fast", as for `Storage`.

        Returns:
            Where it is. An earlier version with other bytes is kept beside it.

        Raises:
            StatusError: it cannot be stored; raised on, it answers the peer with the right status.
            OSError: the folder cannot be made.
        """
        from . import _core

        return _core.Folder(folder, mode).store(self._operation)


E = TypeVar("E", bound=Callable[[Request], int | None])
S = TypeVar("S", bound=Callable[[StoreRequest], int | None])


class Handlers:
    """A registry of handlers: use its methods as decorators.

    `@handlers.c_store` serves every class, `@handlers.c_store(CTImageStorage)` some. A handler gets
    a request and gives back None for Success, or a status. It may raise `StatusError` to answer
    one; any other exception is logged and answered as a failure.
    """

    def __init__(self) -> None:
        """Start without handlers."""
        self._by_field: dict[int, dict[str | None, Handler]] = {}

    @overload
    def c_echo(self, handler: E, /) -> E: ...
    @overload
    def c_echo(self) -> Callable[[E], E]: ...
    def c_echo(self, *args: Any) -> Any:
        """Answer C-ECHO requests with this handler; without one they are answered Success."""
        return self._decorate(C_ECHO_RQ, args)

    @overload
    def c_store(self, handler: S, /) -> S: ...
    @overload
    def c_store(self, *sop_classes: str) -> Callable[[S], S]: ...
    def c_store(self, *args: Any) -> Any:
        """Answer C-STORE requests with this handler, which gets a `StoreRequest`."""
        return self._decorate(C_STORE_RQ, args)

    def _decorate(self, field: int, args: tuple[Any, ...]) -> Any:
        if len(args) == 1 and callable(args[0]) and not isinstance(args[0], str):
            return self._add(field, (), args[0])
        return lambda handler: self._add(field, args, handler)

    def _add(self, field: int, sop_classes: tuple[str, ...], handler: Handler) -> Handler:
        handlers = self._by_field.setdefault(field, {})
        for sop_class in sop_classes or (None,):
            if sop_class in handlers:
                name = "every class" if sop_class is None else repr(SOPClass.of(sop_class))
                raise ValueError(f"there is a handler for {name} already")
            handlers[sop_class] = handler
        return handler

    def find(self, field: int, sop_class: str) -> Handler | None:
        """Find the handler for a request: one for its class goes before one for every class."""
        handlers = self._by_field.get(field, {})
        return handlers.get(sop_class) or handlers.get(None)

    def classes(self, field: int) -> list[SOPClass] | None:
        """List the classes that handlers of a message are for; None for every class."""
        handlers = self._by_field.get(field, {})
        return None if None in handlers else [SOPClass.of(uid) for uid in handlers if uid]

    def fields(self) -> list[int]:
        """List the Command Fields that have handlers."""
        return list(self._by_field)
