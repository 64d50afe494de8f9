"""Exit codes of all tools, and which outcome has which."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from dimse_rs import errors

if TYPE_CHECKING:
    from dimse_rs.send_report import SendReport

__all__ = ["CliError", "ExitCode", "exit_code", "report_code", "table"]


class ExitCode(IntEnum):
    """The exit codes of the tools."""

    OK = 0
    USAGE = 1
    INPUT = 20
    OUTPUT = 40
    CONNECT = 60
    REJECTED = 61
    LISTEN = 64
    NO_CONTEXT = 65
    WARNINGS = 68
    FAILED = 69
    TLS = 70
    TIMEOUT = 71
    INTERRUPTED = 130


_MEANINGS: Final = {
    ExitCode.OK: "done",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.INPUT: "input cannot be read",
    ExitCode.OUTPUT: "output cannot be written",
    ExitCode.CONNECT: "cannot connect",
    ExitCode.REJECTED: "association rejected, aborted or lost",
    ExitCode.LISTEN: "cannot listen",
    ExitCode.NO_CONTEXT: "no presentation context for the request",
    ExitCode.WARNINGS: "done, with warning statuses only",
    ExitCode.FAILED: "some instance or operation failed",
    ExitCode.TLS: "TLS failed",
    ExitCode.TIMEOUT: "a deadline passed",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
}


class CliError(Exception):
    """A failure whose exit code the tool has chosen.

    Attributes:
        code: the exit code.
        message: one line of text.
        hint: what to change, or an empty string.
    """

    def __init__(self, code: ExitCode, message: str, *, hint: str = "") -> None:
        """Keep the code, the message and the hint."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


# The first class that fits counts: a class stands before its bases.
_CODES: Final[tuple[tuple[type[BaseException], ExitCode], ...]] = (
    (KeyboardInterrupt, ExitCode.INTERRUPTED),
    (errors.NoPresentationContext, ExitCode.NO_CONTEXT),
    (errors.AssociationError, ExitCode.REJECTED),
    (errors.TlsError, ExitCode.TLS),
    (errors.ConnectFailed, ExitCode.CONNECT),
    (errors.TransportError, ExitCode.REJECTED),
    (errors.DimseTimeout, ExitCode.TIMEOUT),
    (errors.RemoteProtocolError, ExitCode.REJECTED),
    (errors.LocalProtocolError, ExitCode.USAGE),
    (errors.DecodeError, ExitCode.INPUT),
    (errors.StatusError, ExitCode.FAILED),
    (errors.DimseError, ExitCode.FAILED),
    (BrokenPipeError, ExitCode.OUTPUT),
    (OSError, ExitCode.INPUT),
    (ValueError, ExitCode.USAGE),
)


def exit_code(error: BaseException) -> ExitCode | None:
    """Give the exit code for an exception; None for an unexpected one, which is a defect."""
    if isinstance(error, CliError):
        return error.code
    return next((code for kind, code in _CODES if isinstance(error, kind)), None)


def report_code(report: SendReport) -> ExitCode:
    """Give the exit code for a finished transfer.

    When no file was sent, all for the same reason, the code is that of the reason: a peer that is
    down is 60, not 69.
    """
    bad = [result for result in report.results if result.category in ("failed", "not-sent")]
    if not bad:
        warned = any(result.category == "warning" for result in report.results)
        return ExitCode.WARNINGS if warned else ExitCode.OK
    # A file that the peer refused has a status and no error: then the transfer as such has worked.
    if len(bad) == len(report.results) and all(result.error for result in bad):
        reasons = {exit_code(result.error) for result in bad if result.error}
        if len(reasons) == 1:
            return reasons.pop() or ExitCode.FAILED
    return ExitCode.FAILED


def table() -> str:
    """Print the codes for `--help`."""
    return "\n".join(f"  {code.value:>3}  {text}" for code, text in _MEANINGS.items())
