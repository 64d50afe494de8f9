"""What the tools use of the package, as types: the real classes fit, and so do the tests' fakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dimse_rs.errors import DimseError
    from dimse_rs.status import Status

__all__ = ["AcceptedContext", "SendReport", "SendResult"]


class AcceptedContext(Protocol):
    """A presentation context that the peer accepted."""

    @property
    def sop_class(self) -> str:
        """The abstract syntax."""

    @property
    def transfer_syntax(self) -> str:
        """The syntax that the peer picked."""


class SendResult(Protocol):
    """What became of one file."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def sop_instance(self) -> str:
        """Its SOP Instance UID, or an empty string when it could not be read."""

    @property
    def status(self) -> Status | None:
        """The status of the response, if there was one."""

    @property
    def comment(self) -> str:
        """The Error Comment of the response."""

    @property
    def error(self) -> DimseError | None:
        """Why there is no status."""

    @property
    def bytes(self) -> int:
        """The data set bytes that were sent."""

    @property
    def category(self) -> str:
        """One of ok, warning, failed, not-sent."""

    @property
    def repaired(self) -> tuple[str, ...]:
        """What was done to it before it was sent."""


class Skipped(Protocol):
    """A path that was passed over; as text it is the path."""

    @property
    def reason(self) -> str:
        """Why."""


class SendReport(Protocol):
    """What became of all files."""

    @property
    def results(self) -> Sequence[SendResult]:
        """One for each file."""

    @property
    def seconds(self) -> float:
        """From the first connection to the last release."""

    @property
    def skipped(self) -> Sequence[Skipped]:
        """What searched folders hold besides."""

    @property
    def bytes(self) -> int:
        """The data set bytes that were sent."""
