"""`Server(on_release=)`: the answer to a peer's release waits until the function has returned.

The core asks once for each association, when everything that was asked for is answered, and answers
by itself at the deadline of a release (PS3.7 A.5). `aio._releasing` does the same on an event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dimse_rs import log, threads

from .workers import Callbacks, Workers

if TYPE_CHECKING:
    from dimse_rs import _core
    from dimse_rs.dimse.calls import AssociationFacts

__all__ = ["Releasing"]

_logger = log.get(log.SERVER)


class Releasing:
    """Calls the function for the releases of one server."""

    def __init__(
        self,
        service: _core.Service,
        function: Callable[[Any], Any],
        association_of: Callable[[_core.Association], AssociationFacts],
        *,
        within: float,
        most: int,
    ) -> None:
        """Keep the settings; `start` starts the first thread.

        Args:
            service: of the core; releases come from it.
            function: of the user.
            association_of: gives the association as handlers see it.
            within: seconds that the function may take; 0 is no limit.
            most: calls at once.
        """
        self._service = service
        self._function = function
        self._association_of = association_of
        self._within = within
        self._most = most
        self._workers: Workers[_core.HeldRelease] | None = None

    def start(self) -> None:
        """Start to call the function.

        Raises:
            RuntimeError, MemoryError: the system has no thread left.
        """
        self._workers = Workers(
            self._service.next_release,
            self._most,
            self._within,
            Callbacks(
                serve=threads.weakly(self._serve),
                overdue=threads.weakly(self._overdue),
                refuse=threads.weakly(self._overdue),
            ),
            name="dimse-release",
        )
        self._workers.start()

    def stop(self) -> None:
        """Call the function no more; releases that wait are answered."""
        self._service.close_releases()
        if self._workers is not None:
            self._workers.stop()

    def _serve(self, held: _core.HeldRelease) -> None:
        try:
            if held.association.ended is None:
                self._function(self._association_of(held.association))
        except BaseException as error:  # sys.exit() too: the peer waits for its answer
            self._failed(held, error)
        finally:
            held.let_go()

    def _failed(self, held: _core.HeldRelease, error: BaseException) -> None:
        told = log.of(held.association, "handler-failed")
        text = "(%d) on_release failed, and the release is answered all the same"
        _logger.error(text, held.association.id, exc_info=error, extra=told)

    def _overdue(self, held: _core.HeldRelease) -> None:
        held.let_go()
        told = log.of(held.association, "on-release-late")
        text = "(%d) on_release has not returned within %g s, and the release is answered"
        _logger.warning(text, held.association.id, self._within, extra=told)
