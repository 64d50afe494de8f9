"""`Storage(on_stored=)` with an `async` function: a task has it decide on stored instances."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dimse_rs import log
from dimse_rs.completer import Completer
from dimse_rs.perform.deciding import Deciding, check_answer

if TYPE_CHECKING:
    from dimse_rs import _core

__all__ = ["AsyncDeciding"]

_logger = log.get(log.SERVER)


class AsyncDeciding(Deciding):
    """Has a coroutine function decide on what a server stores."""

    def start(self) -> None:
        """Start the task, on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._pull())

    async def _pull(self) -> None:
        completer = Completer.here()
        while not self._stopping:
            arrivals = await completer.wait(
                lambda then: self._service.next_arrivals(None, then=then)
            )
            if arrivals is None:
                return  # the server stops
            try:
                await self._decide_here(arrivals, completer)
            except (asyncio.CancelledError, GeneratorExit):  # the loop ends
                raise
            except BaseException:
                with suppress(BaseException):
                    _logger.exception("on_stored goes on after this", extra={"code": "on-stored"})
            del arrivals  # this frame would keep the unsettled ones until the next come

    async def _decide_here(self, arrivals: _core.Arrivals, completer: Completer) -> None:
        items = self.items(arrivals)
        try:
            answer: Any = self._function(items)
            if answer is not None:
                check_answer(await answer)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:
            verdicts = self.failed(items, error)
        else:
            verdicts = self.verdicts(items)
        outcomes = await completer.wait(lambda then: arrivals.settle(verdicts, then=then))
        self.log_outcomes(items, verdicts, outcomes)
