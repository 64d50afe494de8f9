"""The account of a sending: one result for each file, and what the user is told meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from .contexts import FileInfo
from .errors import SendingCancelled
from .finding import Found
from .send_report import SendReport, SendResult

__all__ = ["Account"]


class Account:
    """Keeps one result for each file, and calls the user's functions, on one thread at a time.

    A failure that may pass by itself is held back until the last pass over the files: each file has
    one final result, and the user is told of that one.

    Attributes:
        repaired: the repairs of files, by path.
        is_last: whether every result is final.
    """

    def __init__(
        self,
        found: Found,
        resume: SendReport | None,
        on_result: Callable[[SendResult], object] | None,
        on_event: Callable[[Mapping[str, Any]], object] | None,
    ) -> None:
        """Take what is to be sent.

        Args:
            found: the files.
            resume: the report of an earlier sending: what was stored then has its result.
            on_result: called with each final result.
            on_event: called with events.
        """
        self.repaired: Mapping[Path, tuple[str, ...]] = found.repaired
        self.is_last: bool = True
        self._order = found.order
        self._skipped = tuple(found.skipped)
        self._sent_before = {} if resume is None else {one.path: one for one in resume.sent}
        self._on_result = on_result
        self._on_event = on_event
        self._results: dict[Path, SendResult] = {}
        self._held: dict[Path, SendResult] = {}
        self._bytes = 0
        self._total_bytes = 0
        self._lock = Lock()

    def begin(self) -> tuple[FileInfo, ...]:
        """Tell of the total, and of the files that cannot be sent; give those that can."""
        files, unreadable = [], []
        for one in self._order:
            if (before := self._sent_before.get(one.path)) is not None:
                self._results[one.path] = before
            elif isinstance(one, FileInfo):
                files.append(one)
            else:
                unreadable.append(one)
        self._total_bytes = sum(file.size for file in files)
        self._tell_progress()
        for result in unreadable:
            self.add(result)
        return tuple(files)

    def add(self, result: SendResult) -> None:
        """Take a result."""
        with self._lock:
            if result.retryable and not self.is_last:
                self._held[result.path] = result
                return
            self._held.pop(result.path, None)
            self._results[result.path] = result
            self._bytes += result.bytes
            if self._on_result is not None:
                self._on_result(result)
            self._tell_progress()

    def has(self, path: Path) -> bool:
        """Whether a file has a result, final or not."""
        return path in self._results or path in self._held

    def tell(self, **event: Any) -> None:
        """Call the user's function with an event."""
        if self._on_event is not None:
            with self._lock:
                self._on_event(event)

    def _tell_progress(self) -> None:
        if self._on_event is not None:
            self._on_event(
                {
                    "event": "progress",
                    "total": len(self._order),
                    "done": len(self._results),
                    "bytes": self._bytes,
                    "total_bytes": self._total_bytes,
                }
            )

    def postponed(self) -> tuple[FileInfo, ...]:
        """Give the files whose failure is held back."""
        return tuple(
            one for one in self._order if isinstance(one, FileInfo) and one.path in self._held
        )

    def why_postponed(self) -> str:
        """Give the reason of the first of them."""
        first = next(iter(self._held.values()))
        return str(first.status if first.error is None else first.error)

    def settle(self) -> None:
        """Make the failures final that are held back."""
        self.is_last = True
        for file in self.postponed():
            self.add(self._held[file.path])

    def report(self, seconds: float) -> SendReport:
        """Give the report; files without a result were not sent."""
        return SendReport(tuple(map(self._result_of, self._order)), seconds, self._skipped)

    def _result_of(self, one: FileInfo | SendResult) -> SendResult:
        found = self._results.get(one.path) or self._held.get(one.path)
        if found is not None:
            return found
        if isinstance(one, SendResult):
            return one
        about = (one.sop_class, one.sop_instance, one.transfer_syntax)
        return SendResult(one.path, *about, error=SendingCancelled())
