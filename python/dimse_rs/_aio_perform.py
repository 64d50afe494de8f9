"""Answering a peer's requests on an event loop: each as a task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from . import _scp
from ._aio import Completer
from ._aio_drive import run
from ._aio_threads import Threads
from ._drive import log_message
from ._perform import Performer
from .errors import DimseError

if TYPE_CHECKING:
    from . import _core

__all__ = ["AsyncPerformer"]

_TURN = 1.0
"""Seconds after which the task of an association looks whether that lives."""


class AsyncPerformer(Performer):
    """Pulls requests from the core and has handlers answer them, each in a task."""

    _pulling: asyncio.Task[None] | None = None
    _tasks: set[asyncio.Task[None]]

    def start(self) -> None:
        """Start to pull, on the running loop."""
        if self.serves:
            self._tasks = set()
            self._threads = Threads()
            self._pulling = asyncio.get_running_loop().create_task(self._pull())

    def stop(self) -> None:
        """Stop to pull; what is being served goes on."""
        if self._pulling is not None:
            self._pulling.cancel()

    @property
    def busy(self) -> int:
        """Handlers that run now."""
        return 0 if self._pulling is None else len(self._tasks)

    async def _pull(self) -> None:
        completer = Completer.here()
        free = asyncio.Semaphore(self._most)
        turn = None if self._node is not None else _TURN
        while True:
            await free.acquire()
            operation = await completer.wait(
                lambda then: self.service.next_operation(turn, then=then)
            )
            if operation is None:
                free.release()
                if self._is_over():
                    self._gone()
                    return
                continue
            task = asyncio.get_running_loop().create_task(self._serve_one(operation, completer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: free.release())
            del operation, task  # or it would keep its spooled file until the next one comes

    async def _serve_one(self, operation: _core.Operation, completer: Completer) -> None:
        try:
            log_message(operation.association, ">>", operation.message)
            # The others that are served are fewer than that: some thread is not to come back.
            if self._threads.busy >= self._most:
                self._refuse(operation)
                return
            async with asyncio.timeout(self._timeouts.handler or None):
                await run(operation.association, self.steps(operation), completer, self._threads)
        except (asyncio.CancelledError, GeneratorExit):  # the latter when a loop was left
            self._answer_for(operation, _scp.failure_of(operation.message.field), "stopped", "")
            raise
        except DimseError as error:
            self._log_unanswered(operation, error)
        except TimeoutError:
            self._answer_overdue(operation)
        except BaseException as error:
            self._answer_failed(operation, error)
