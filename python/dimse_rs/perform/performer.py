"""Answering a peer's requests with handlers, for a server or for one association of an `AE`."""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from dimse_rs import _core, log
from dimse_rs.dimse import retrieve, scp
from dimse_rs.dimse.requests import Handler, Request, RetrieveRequest, request_of
from dimse_rs.dimse.retrieve import Node
from dimse_rs.dimse.run import run
from dimse_rs.dimse.steps import Answer, Step
from dimse_rs.encoding.quiet import quietly
from dimse_rs.errors import DimseError, DimseTimeout
from dimse_rs.fields import (
    C_ECHO_RQ,
    C_FIND_RQ,
    C_GET_RQ,
    C_MOVE_RQ,
    C_STORE_RQ,
    FIRST_N_SERVICE,
    N_SET_RQ,
)
from dimse_rs.handlers import Handlers
from dimse_rs.observe._narrate import log_message
from dimse_rs.registry import allows
from dimse_rs.status import NO_SUCH_SOP_CLASS, PROCESSING_FAILURE
from dimse_rs.threads import weakly

from .routes import Routes
from .workers import Callbacks, Workers

if TYPE_CHECKING:
    from collections.abc import Generator

    from dimse_rs.dimse.calls import AssociationFacts
    from dimse_rs.dimse.scu import Receiver
    from dimse_rs.settings import Timeouts

__all__ = ["Performer"]

# The life of a request on the threads of `Workers`:
#
#     core: queued, with C-CANCEL and the end of the association noted on the operation
#       -> Workers: next_operation on an idle thread; the deadline begins
#       -> _serve: log, then `run` the generator that `steps` has picked
#       -> handler, responses, final response
#       -> _conclude: nothing left to do, or answer for what went wrong, or abort
#
# Another thread may answer first: at the deadline of handlers `_answer_overdue` does, and
# `_refuse` does while every thread is held by a handler past its deadline. The core lets one final
# response out; the second gets LocalProtocolError, and `operation.answered` is True.
#
# Nothing here keeps an association or a server alive. The threads hold the core's service and weak
# references (`weakly`), a performer of an `AE` holds its association weakly, and an idle thread
# checks every `workers.TURN` seconds whether that has ended.

_logger = log.get(log.SERVER)


class Performer:
    """Pulls requests from the core and has handlers answer them, each on a thread.

    Args:
        handlers: the user's functions.
        routes: which requests the core answers by itself, and which come here.
        timeouts: the deadline of handlers is among them.
        most: handlers that run at once.
        node: the server; None for one association of an `AE`, see `serve`.

    Attributes:
        service: of the core.
        lenient_roles: whether a C-GET takes instances without the SCP role too.
        overdue: how many handlers have missed their deadline.
    """

    def __init__(
        self,
        handlers: Handlers,
        routes: Routes,
        timeouts: Timeouts,
        most: int,
        *,
        node: Node | None = None,
    ) -> None:
        """Keep the settings; `start` or `serve` begins."""
        self._handlers = handlers
        self._routes = routes
        self._timeouts = timeouts
        self._most = most
        self._node = node
        self.service: _core.Service = routes.service
        self.lenient_roles: bool = routes.lenient_roles
        self._association: weakref.ref[AssociationFacts] | None = None
        self._workers: Workers[_core.Operation] | None = None
        self.overdue: int = 0

    def serve(self, association: AssociationFacts) -> None:
        """Start to answer the peer of this association, until the association ends."""
        self._association = weakref.ref(association)
        self.start()

    def start(self) -> None:
        """Start the first thread, if any request can come here.

        Raises:
            RuntimeError, MemoryError: the system has no thread left.
        """
        if self._routes.queue:
            self._workers = Workers(
                self.service.next_operation,
                self._most,
                self._timeouts.handler,
                Callbacks(
                    serve=weakly(self._serve),
                    overdue=weakly(self._answer_overdue),
                    refuse=weakly(self._refuse),
                    over=weakly(self._is_over),
                    gone=weakly(self._gone),
                ),
            )
            self._workers.start()

    def stop(self) -> None:
        """End the idle threads now, and the busy ones when their handlers have returned."""
        if self._workers is not None:
            self._workers.stop()

    @property
    def busy(self) -> int:
        """How many handlers run now."""
        return 0 if self._workers is None else self._workers.busy

    def clean_up(self) -> None:
        """Remove the folder in which large instances wait for their handlers."""
        if self._routes.spool is not None:
            self._routes.spool.remove()

    def _gone(self) -> None:
        """Remove that folder behind the last thread, unless a request still has a file in it."""
        if self._routes.spool is not None:
            self._routes.spool.remove_if_empty()

    # ---- one request, on a thread of `Workers`

    @quietly
    def _serve(self, operation: _core.Operation) -> None:
        error: BaseException | None = None
        try:
            log_message(operation.association, ">>", operation.message)
            run(operation.association, self.steps(operation))
        except BaseException as raised:
            error = raised
        self._conclude(operation, error)

    def _conclude(self, operation: _core.Operation, error: BaseException | None) -> None:
        """Make sure that an operation is over, whatever came of its steps.

        Whether it is over is read from the operation, never from the kind of the error: an
        AssociationAborted may be about the association with the destination of a C-MOVE.
        """
        over = _is_over(operation)
        if over and error is None:
            return
        if not over:
            self._answer_failed(operation)
        if over and isinstance(error, DimseError):
            extra = log.of(operation.association, "unanswered")
            _logger.warning("%s: not answered, %s", _text_of(operation), error, extra=extra)
            return
        extra = log.of(operation.association, "handler-failed")
        _logger.error("%s: the handler failed", _text_of(operation), exc_info=error, extra=extra)

    def _answer_failed(self, operation: _core.Operation) -> None:
        """Answer with a failure; abort the association when even that cannot be sent."""
        try:
            response = scp.response(scp.failure_of(operation.message.field), "handler failed")
            operation.respond(response, wait=False)  # not logged: the log may be what failed
        except BaseException:
            if not _is_over(operation):
                self._abort(operation.association)

    def _abort(self, association: _core.Association) -> None:
        association.abort()

    def steps(self, operation: _core.Operation) -> Generator[Step, Any, None]:
        """Give the generator that answers an operation."""
        association = self._association_of(operation.association)
        if association is None:
            return _refused(operation, scp.unserved_of(operation.message.field))
        request = request_of(operation, association)
        # The core has compared the class of a C-service with its context, except where
        # `lenient_roles` lets a C-STORE pass. Of an N-service both count.
        named = request.context.sop_class, request.sop_class
        if request.field >= FIRST_N_SERVICE and not allows(*named):
            return _refused(operation, NO_SUCH_SOP_CLASS)
        if request.field == N_SET_RQ and not operation.message.data:
            return _refused(operation, PROCESSING_FAILURE, "no Modification List (PS3.7 10.1.3)")
        handler = self._handler_of(request)
        if handler is None:
            echo = request.field == C_ECHO_RQ
            return _refused(operation, 0 if echo else scp.unserved_of(request.field))
        return _released(request, self._performed(request, handler))

    def _performed(self, request: Request, handler: Handler) -> Generator[Step, Any, None]:
        match request.field:
            case field if field == C_FIND_RQ:
                return scp.many_matches(request, handler)
            case field if field == C_GET_RQ:
                retrieval = cast("RetrieveRequest", request)
                return retrieve.c_get(retrieval, handler, self._timeouts)
            case field if field == C_MOVE_RQ:
                retrieval = cast("RetrieveRequest", request)
                return retrieve.c_move(retrieval, handler, self._timeouts, self._node)
            case _:
                return scp.one_answer(request, handler)

    def _association_of(self, core: _core.Association) -> AssociationFacts | None:
        if self._node is not None:
            return self._node.association_of(core)
        return None if self._association is None else self._association()

    def _is_over(self) -> bool:
        """Whether the one association that is served has ended, so that no request will come."""
        if self._association is None:
            return False
        association = self._association()
        return association is None or not association.is_established

    def _handler_of(self, request: Request) -> Handler | None:
        if request.field == C_STORE_RQ:
            retrievals = request._operation.retrievals
            receiver: Receiver | None = request.association._receiver(retrievals)
            # The instances of a C-GET into a folder never come here. One that was queued before
            # the core had the folder belongs to no C-GET under way: the handlers get it.
            if receiver is not None and receiver.handler is not None:
                return receiver.handler
        return self._handlers.find(request.field, request.sop_class, request.context.sop_class)

    def _answer_overdue(self, operation: _core.Operation) -> None:
        self.overdue += 1  # without a lock: only the thread of the deadlines comes here
        passed = DimseTimeout("handler", self._timeouts.handler)
        status = scp.failure_of(operation.message.field)
        self._answer_for(operation, status, "handler timed out", str(passed))

    def _refuse(self, operation: _core.Operation) -> None:
        status = scp.refusal_of(operation.message.field)
        why = f"all {self._most} handlers are past their deadline (max_handlers)"
        self._answer_for(operation, status, "no handler is free", why)

    def _answer_for(self, operation: _core.Operation, status: int, comment: str, why: str) -> None:
        try:
            scp.answer_at_once(operation, status, comment)
        except BaseException:
            if _is_over(operation):
                return  # the handler has answered in this moment, or the association is over
            self._answer_failed(operation)
        extra = log.of(operation.association, "handler")
        with suppress(Exception):  # an error of a log handler must not end the deadlines' thread
            _logger.error("%s answered %04X: %s", _text_of(operation), status, why, extra=extra)


def _released(request: Request, steps: Generator[Step, Any, None]) -> Generator[Step, Any, None]:
    """Release the memory that a request has reserved, however its steps end."""
    try:
        yield from steps
    finally:
        request.release()


def _refused(
    operation: _core.Operation, status: int, comment: str = ""
) -> Generator[Step, Any, None]:
    yield Answer(operation, scp.response(status, comment))


def _is_over(operation: _core.Operation) -> bool:
    """Whether a final response was sent, or the association has ended."""
    return operation.answered or operation.association.ended is not None


def _text_of(operation: _core.Operation) -> str:
    """Name an operation as logs do."""
    titles = operation.association.titles
    message = operation.message
    who = f"{titles.called}<-{titles.calling}({operation.association.id})"
    return f"{who} {message.name} {message.message_id}"
