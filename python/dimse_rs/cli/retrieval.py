"""The common part of `getscu` and `movescu`: following retrievals, and their summary."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from dimse_rs.errors import StatusError

from .exits import ExitCode
from .output import Output, Progress

if TYPE_CHECKING:
    import argparse

    from dimse_rs import Received, Response, Responses

__all__ = ["Retrieval"]


class Retrieval:
    """Follows the responses of one retrieval after another."""

    def __init__(self, args: argparse.Namespace, output: Output) -> None:
        """Start with no retrieval."""
        self._cancel: int | None = args.cancel
        self._output = output
        self._progress = Progress(output, done="retrieved")
        self._done: Counter[str] = Counter()
        self._received: Received | None = None
        self._failed_uids: list[str] = []
        self._code = ExitCode.OK
        self._operations = 0
        self._start = time.perf_counter()

    def follow(self, responses: Responses[Response]) -> None:
        """Follow a retrieval to its end.

        Raises:
            DimseError: the retrieval ended without a final response.
        """
        self._operations += 1
        asked = False
        try:
            for number, step in enumerate(responses, 1):
                if not step.status.is_final:
                    self._tell(step)
                    if number == self._cancel:
                        asked = True
                        responses.cancel()
        except StatusError as error:
            # The peer refused this retrieval; the association can carry the next one.
            self._progress.clear()
            self._output.failure(error, ExitCode.FAILED)
            self._code = ExitCode.FAILED
        finally:
            self._progress.clear()
        if responses.response is not None:
            self._add(responses.response, asked=asked)

    def _tell(self, step: Response) -> None:
        done = step.completed + step.failed + step.warning
        remaining = step.remaining or 0
        self._progress.show(done, done + remaining, step.failed)
        self._output.event(
            "progress",
            completed=step.completed,
            remaining=step.remaining,
            failed=step.failed,
            warning=step.warning,
            **_here(step.received),
        )

    def _add(self, final: Response, *, asked: bool) -> None:
        counts = {"completed": final.completed, "failed": final.failed, "warning": final.warning}
        self._done.update(counts)
        self._failed_uids += final.failed_uids
        status, comment = final.status, final.comment
        self._output.log.info("final status %s%s", status, comment and f", {comment}")
        ended = status.category == "cancel" and not asked  # the peer broke the retrieval off
        if final.failed:
            text = f": {comment}" if comment else ""
            self._output.log.error(
                "%d of %d not retrieved%s", final.failed, sum(counts.values()), text
            )
            for uid in final.failed_uids:
                self._output.log.info("not retrieved: %s", uid)
        self._add_received(final.received)
        if final.failed or ended:
            self._code = ExitCode.FAILED
        elif status.category == "warning" or final.warning:
            self._code = max(self._code, ExitCode.WARNINGS)

    def _add_received(self, received: Received | None) -> None:
        """Add the results of the instances that this side received by C-GET."""
        if received is None:
            return
        for reason, count in received.reasons.items():
            self._output.log.error("%d refused here: %s", count, reason)
        self._received = received.plus(self._received)

    def finish(self) -> ExitCode:
        """Print the summary, and give the exit code."""
        seconds = time.perf_counter() - self._start
        done = self._done
        self._output.event(
            "summary",
            operations=self._operations,
            completed=done["completed"],
            failed=done["failed"],
            warning=done["warning"],
            failed_uids=self._failed_uids,
            **_here(self._received),
            seconds=round(seconds, 6),
        )
        count = done["completed"] + done["warning"]
        if self._received is not None:  # the instances that came, not the peer's count
            count = self._received.stored
        text = f"retrieved {count} instances in {seconds:.1f} s"
        for name in ("warning", "failed"):
            text += f", {done[name]} {name}" if done[name] else ""
        if self._progress.shown:
            self._output.message(text)
        else:
            self._output.log.info(text)
        return self._code


def _here(received: Received | None) -> dict[str, object]:
    """Give the results of the instances that this side received by C-GET, for an event."""
    if received is None:
        return {}
    return {"stored": received.stored, "refused": dict(received.reasons)}
