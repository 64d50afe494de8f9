"""`Storage(on_stored=)`: the function decides on stored instances before they are answered.

The core writes instances and collects them, unanswered, in batches. A thread pulls a batch, calls
the function, and settles the verdicts: the core then answers each C-STORE, and removes what was
refused. `aio._deciding` does the same on an event loop.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dimse_rs import _core, log, threads
from dimse_rs.callables import described
from dimse_rs.dimse.scp import response
from dimse_rs.encoding.collected import Collected
from dimse_rs.settings import peer_at
from dimse_rs.sop_class import SOPClass, TransferSyntax
from dimse_rs.status import CANNOT_UNDERSTAND, Status, is_defined
from dimse_rs.storage import StoredInstance

if TYPE_CHECKING:
    from dimse_rs.storage import OnStored, Storage

__all__ = ["Deciding", "check_answer"]

_logger = log.get(log.SERVER)

TURN: Final = 0.5
"""Seconds after which an idle thread checks whether to end."""

_Verdict = _core.Refusal | None
"""None for Success."""


class Deciding:
    """Calls the function that decides on the instances that a server stored.

    Args:
        service: of the core; batches of instances come from it.
        storage: has the function, and the attributes that are read for it.
    """

    def __init__(self, service: _core.Service, storage: Storage) -> None:
        """Keep the service and the settings of the storage; `start` starts the thread."""
        assert storage.on_stored is not None  # noqa: S101 - the server has checked that
        self._service = service
        self._function: OnStored = storage.on_stored
        self._tags = storage.tags
        self._timeout = storage.on_stored_timeout
        self._stopping = False

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError, MemoryError: the system has no thread left.
        """
        threads.start("dimse-on-stored", self._run)

    def stop(self) -> None:
        """Call the function no more; waiting instances are answered with a failure, and stay."""
        self._stopping = True
        self._service.close_arrivals()

    def _run(self) -> None:
        while not self._stopping:
            arrivals = self._service.next_arrivals(TURN)
            if arrivals is None:
                continue
            try:
                self._decide(arrivals)
            except BaseException:  # such as the error of a log handler
                with suppress(BaseException):
                    _logger.exception("on_stored goes on after this", extra={"code": "on-stored"})
            del arrivals  # this frame would keep the unsettled ones until the next come

    def _decide(self, arrivals: _core.Arrivals) -> None:
        items = self.items(arrivals)
        try:
            answer = self._function(items)
            if inspect.isawaitable(answer):
                _close(answer)
                raise TypeError(
                    "on_stored gave back an awaitable: it is to be `async def`, of an AsyncServer"
                )
            check_answer(answer)
        except BaseException as error:
            verdicts = self.failed(items, error)
        else:
            verdicts = self.verdicts(items)
        self.log_outcomes(items, verdicts, arrivals.settle(verdicts))

    def _before(self) -> str:
        """Give the reason why a verdict is too late."""
        if self._stopping:  # the sender may have got no answer at all
            return "the server has stopped"
        return f"it was answered A700 after {self._timeout:g} s (on_stored_timeout)"

    # ---- shared with `aio._deciding`

    def items(self, arrivals: _core.Arrivals) -> list[StoredInstance]:
        """Make the arguments of the function from a batch of the core."""
        return [self._item(facts) for facts in arrivals.facts()]

    def _item(self, facts: _core.StoredFacts) -> StoredInstance:
        return StoredInstance(
            path=facts.path,
            sop_class=SOPClass.of(facts.sop_class),
            instance_uid=facts.sop_instance,
            transfer_syntax=TransferSyntax.of(facts.transfer_syntax),
            study_uid=facts.study,
            series_uid=facts.series,
            size=facts.size,
            digest=facts.digest,
            peer=peer_at(facts.calling, facts.peer),
            called=facts.called,
            association=facts.association,
            identical=facts.identical,
            replaces=facts.kept,
            oddities=tuple(facts.oddities),
            collected=Collected(
                facts.transfer_syntax, facts.packed, is_plain=facts.plain, only=self._tags
            ),
        )

    def verdicts(self, items: Sequence[StoredInstance]) -> list[_Verdict]:
        """Give the verdict on each; from now on `item.refuse` raises."""
        for item in items:
            item._decision.open = False
        return [_sendable(item._decision.refusal) for item in items]

    def failed(self, items: Sequence[StoredInstance], error: BaseException) -> list[_Verdict]:
        """Log the error of the function; refuse all."""
        _logger.error(
            "on_stored failed, and %d instances are refused with C000",
            len(items),
            exc_info=error,
            extra={"code": "on-stored-failed"},
        )
        self.verdicts(items)
        return [_core.Refusal(CANNOT_UNDERSTAND, "on_stored failed")] * len(items)

    def log_outcomes(
        self, items: Sequence[StoredInstance], verdicts: Sequence[_Verdict], outcomes: Sequence[str]
    ) -> None:
        """Log the verdicts that came too late, had no receiver, or could not be carried out.

        Args:
            items: the batch.
            verdicts: one for each instance.
            outcomes: one for each verdict: "" settled, "late", "gone", or why the instance was not
                removed.
        """
        for item, verdict, what in zip(items, verdicts, outcomes, strict=True):
            if not what:
                continue
            said = "Success" if verdict is None else f"{verdict.status:04X}"
            extra: dict[str, Any] = {"association": item.association}
            if what == "late":
                _logger.warning(
                    "(%d) on_stored gave %s for %s too late, %s, and %s stays",
                    *(item.association, said, item.instance_uid, self._before(), item.path),
                    extra={"code": "on-stored-late", **extra},
                )
            elif what == "gone":
                _logger.warning(
                    "(%d) %s of %s not answered, the association is over",
                    *(item.association, said, item.instance_uid),
                    extra={"code": "unanswered", **extra},
                )
            else:
                _logger.error(
                    "(%d) %s is refused with %s, and may still be there: %s",
                    *(item.association, item.path, said, what),
                    extra={"code": "not-put-back", **extra},
                )


def check_answer(answer: object) -> None:
    """Refuse a return value of the function that its author must have meant as a verdict.

    The return value has no effect, so an instance would be kept that was to be refused. Any other
    value is ignored: a lambda always returns something.

    Raises:
        TypeError: False, a failure status of C-STORE, or a generator.
    """
    meant = inspect.isgenerator(answer) or inspect.isasyncgen(answer)
    # Smaller numbers are counts, such as that of bytes written, rather than statuses.
    if isinstance(answer, Status):
        meant = answer.category == "failure"
    elif answer is False:
        meant = True
    elif isinstance(answer, int):
        meant = 0xA700 <= answer <= 0xCFFF and is_defined(answer, "C-STORE", "storage")
    if meant:
        raise TypeError(
            f"on_stored gave back {described(answer)}, which refuses nothing: it gives back None, "
            "and item.refuse(status, comment) refuses"
        )


def _sendable(refusal: tuple[int, str] | None) -> _Verdict:
    """Fit the comment into an Error Comment."""
    if refusal is None:
        return None
    status, comment = refusal
    return _core.Refusal(status, response(status, comment).get("ErrorComment", ""))


def _close(awaitable: object) -> None:
    """Close a coroutine that is not awaited, so that Python does not warn of it."""
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
