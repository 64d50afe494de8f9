"""The report of a sending: the result of each file, and the paths that were passed over."""

from __future__ import annotations

import sys
from os import PathLike
from pathlib import Path, PosixPath
from typing import Self

from .errors import DimseError, SendingCancelled, StatusError
from .records import dataclass
from .retrying import is_retryable
from .status import Status

__all__ = ["SendInterrupted", "SendReport", "SendResult", "Skipped"]


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result of one file.

    Attributes:
        path: of the file.
        sop_class: its SOP Class UID; empty when the file could not be read.
        sop_instance: its SOP Instance UID; empty when the file could not be read.
        transfer_syntax: of the stored data set; empty when the file could not be read.
        status: the answer of the peer; None without an answer.
        comment: the Error Comment of the answer.
        error: the reason why there is no answer.
        bytes: length of the data set that was sent; 0 when it was not sent.
        repaired: repairs of the file before it was sent, with `repair=True`.
    """

    path: Path
    sop_class: str = ""
    sop_instance: str = ""
    transfer_syntax: str = ""
    status: Status | None = None
    comment: str = ""
    error: DimseError | None = None
    bytes: int = 0
    repaired: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the peer stored the instance: success or warning."""
        return self.category in ("ok", "warning")

    @property
    def retryable(self) -> bool:
        """Whether the failure may pass by itself, by the table `RETRYABLE`; False of a success."""
        return not self.ok and is_retryable(self.status, self.error)

    @property
    def category(self) -> str:
        """One of ok, warning, failed (by its answer, or unanswered) and not-sent."""
        if self.status is not None:
            return {"success": "ok", "warning": "warning"}.get(self.status.category, "failed")
        return "not-sent" if self.bytes == 0 else "failed"


class Skipped(PosixPath):
    """A path in a searched folder that was not sent.

    Attributes:
        reason: why the file is not sent.
    """

    reason: str = ""

    def __new__(cls, path: Path, reason: str) -> Self:
        """Keep the reason beside the path."""
        made = super().__new__(cls, path)
        made.reason = reason
        return made

    def __init__(self, path: Path, _reason: str) -> None:
        """Take the path alone (from Python 3.12 on)."""
        if sys.version_info >= (3, 12):
            super().__init__(path)

    def with_segments(self, *segments: str | PathLike[str]) -> Path:
        """Make derived paths ordinary ones, which have no reason."""
        return Path(*segments)

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        """Pickle with the reason."""
        return type(self), (str(self), self.reason)


@dataclass(frozen=True)
class SendReport:
    """The results of all files, in the order in which the files were found.

    Attributes:
        results: one for each file.
        seconds: from the first connection to the last release.
        skipped: paths in searched folders that are no DICOM instances, each with its `.reason`.
    """

    results: tuple[SendResult, ...]
    seconds: float
    skipped: tuple[Skipped, ...] = ()

    def __repr__(self) -> str:
        """Show the number of results of each sort; `results` has them one by one."""
        counts = f"{len(self.results)} files, {len(self.failures)} failed"
        if warned := len(self.warnings):
            counts += f", {warned} with a warning"
        if self.skipped:
            counts += f", {len(self.skipped)} skipped"
        return f"<SendReport {counts}, {self.bytes} bytes in {self.seconds:.1f} s>"

    @property
    def bytes(self) -> int:
        """Length of all data sets that were sent."""
        return sum(result.bytes for result in self.results)

    @property
    def failures(self) -> tuple[SendResult, ...]:
        """Files that the peer did not store."""
        return tuple(result for result in self.results if not result.ok)

    @property
    def sent(self) -> tuple[SendResult, ...]:
        """Files that the peer stored, with or without a warning."""
        return tuple(result for result in self.results if result.ok)

    @property
    def left(self) -> tuple[Path, ...]:
        """The files that the peer did not store, for another sending."""
        return tuple(result.path for result in self.failures)

    @property
    def cancelled(self) -> bool:
        """Whether the sending was cancelled, or interrupted, before all files were sent."""
        return any(isinstance(result.error, SendingCancelled) for result in self.results)

    @property
    def warnings(self) -> tuple[SendResult, ...]:
        """Files that the peer stored with a warning."""
        return tuple(result for result in self.results if result.category == "warning")

    def raise_for_failures(self) -> None:
        """Raise the first failure, if any, with the number of failures.

        Raises:
            DimseError: the error of the first file that was not stored; a `StatusError` when the
                peer answered with a failure.
        """
        failures = self.failures
        if not failures:
            return
        first = failures[0]
        text = f"{len(failures)} of {len(self.results)} files not stored, first {first.path}"
        if first.error is not None:
            first.error.add_note(text)
            raise first.error
        error = StatusError(Status(0) if first.status is None else first.status, first.comment)
        error.add_note(text)
        raise error


class SendInterrupted(KeyboardInterrupt):
    """Ctrl-C while files were sent; its text says how many were.

    Attributes:
        report: the results so far. Files that were not sent have the error `SendingCancelled`.
            `AE.send(peer, paths, resume=interrupted.report)` sends what is left.
    """

    def __init__(self, report: SendReport) -> None:
        """Keep the report."""
        super().__init__(f"{len(report.sent)} of {len(report.results)} files sent")
        self.report = report

    def __reduce__(self) -> tuple[type[Self], tuple[SendReport]]:
        """Pickle with the report."""
        return type(self), (self.report,)
