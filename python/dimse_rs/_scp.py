"""The performing side of the services, generators over `_drive`: what a handler's answer means."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

from . import log
from ._drive import Answer, Step, log_answer
from .errors import StatusError
from .status import Status

if TYPE_CHECKING:
    from . import _core
    from .handlers import Handler, Request

__all__ = ["answer_at_once", "failure_of", "one_answer", "refusal_of"]

_logger = log.get(log.SERVER)

_COMMENT_LENGTH: Final = 64
"""Characters of an Error Comment, VR LO (PS3.7 C.4)."""

PROCESSING_FAILURE: Final = 0x0110
CANNOT_UNDERSTAND: Final = 0xC000
OUT_OF_RESOURCES: Final = 0xA700
RESOURCE_LIMITATION: Final = 0x0213
FIRST_N_SERVICE: Final = 0x0100


def one_answer(
    operation: _core.Operation, request: Request, handler: Handler
) -> Generator[Step, Any, None]:
    """Ask the handler and send its one response (C-ECHO, C-STORE)."""
    status, comment = _ask(operation, request, handler)
    if operation.association.ended is not None:
        return  # perhaps by the handler itself
    yield Answer(operation, response(status, comment))


def response(status: int, comment: str = "") -> dict[str, Any]:
    """Build what goes into a response beside the identifiers of its request."""
    command: dict[str, Any] = {"Status": int(status)}
    if comment:
        command["ErrorComment"] = _default_repertoire(comment)
    return command


def _ask(operation: _core.Operation, request: Request, handler: Handler) -> tuple[int, str]:
    field = operation.message.field
    try:
        answer = handler(request)
    except StatusError as error:
        return int(error.status), error.comment
    except BaseException:  # also what sys.exit() raises: it must not take the thread with it
        _logger.exception("%s: the handler failed", request, extra={"code": "handler-failed"})
        return failure_of(field), "handler failed"
    if answer is None:
        return 0, ""
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer <= 0xFFFF:
        status = Status(answer)
        if status.category in ("success", "warning", "failure"):
            return answer, ""
    _logger.error(
        "%s: the handler gave %r, which is no status for it",
        request,
        answer,
        extra={"code": "handler-status"},
    )
    return failure_of(field), "handler gave no valid status"


def answer_at_once(operation: _core.Operation, status: int, comment: str) -> None:
    """Answer without asking a handler, and without waiting for the peer.

    Raises:
        LocalProtocolError: it was answered before.
        AssociationError, TransportError: there is nobody to answer.
    """
    log_answer(operation, status)
    operation.respond(response(status, comment), wait=False)


def refusal_of(field: int) -> int:
    """Give the status for a lack of resources: A700 for C-services, 0213 for N-services."""
    return OUT_OF_RESOURCES if field < FIRST_N_SERVICE else RESOURCE_LIMITATION


def failure_of(field: int) -> int:
    """Give the failure for a fault of ours: C000 for C-services, 0110 for N-services (PS3.7 C)."""
    return CANNOT_UNDERSTAND if field < FIRST_N_SERVICE else PROCESSING_FAILURE


def _default_repertoire(text: str) -> str:
    """Keep what (0000,0902) may hold: 64 characters of the default repertoire, no backslash."""
    kept = "".join(c if " " <= c <= "~" and c != "\\" else "?" for c in text)
    return kept[:_COMMENT_LENGTH]
