"""`into=` of a C-GET: where the instances go that the peer sends for it."""

from __future__ import annotations

from collections.abc import Callable, Generator, MutableSequence
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias

from dimse_rs.errors import LocalProtocolError
from dimse_rs.storage import Storage

from .requests import StoreRequest
from .scu import Call, Receiver
from .steps import Step

if TYPE_CHECKING:
    from .calls import AssociationFacts

__all__ = ["Into", "receiving"]

Into: TypeAlias = (
    str | PathLike[str] | Storage | Callable[[StoreRequest], Any] | MutableSequence[Any]
)
"""A folder, a function, or a list."""


def receiving(
    association: AssociationFacts,
    call: Call,
    into: Into | None,
    steps: Generator[Step, Any, None],
) -> Generator[Step, Any, None]:
    """Carry out a C-GET whose instances go where its caller wants them.

    Args:
        association: on which they come.
        call: the C-GET; it has a receiver for as long as the steps take.
        into: where they go; None leaves them to the handlers of the association.
        steps: of the C-GET.

    Raises:
        LocalProtocolError: nothing can be received, or another C-GET receives.
        OSError: the folder cannot be made.
        ValueError: a `Storage` with a function that only servers call.
    """
    if into is None:
        yield from steps
        return
    if association._performer is None:
        raise LocalProtocolError(
            "no presentation context was proposed with the SCP role, as C-GET needs",
            hint="associate with contexts=for_retrieve(model)",
        )
    # Taken before the folder is made, which lets other threads run: of two calls that both looked
    # first, one would get the instances of the other.
    if not association._receiving.acquire(blocking=False):
        raise LocalProtocolError(
            "another C-GET receives on this association",
            hint="iterate over its responses to the end, close() them, or use another association",
        )
    try:
        call.receiver = _receiver_of(into)
        yield from steps
    finally:
        call.receiver = None
        association._receiving.release()


def _receiver_of(into: Into) -> Receiver:
    if isinstance(into, (str, PathLike)):
        into = Storage(into, mode="fast", unknown=True)
    if isinstance(into, Storage):
        into.check_undecided("C-GET")
        return Receiver(folder=into.core)
    if isinstance(into, MutableSequence):
        return Receiver(handler=lambda request: into.append(request.dataset))
    return Receiver(handler=into)
