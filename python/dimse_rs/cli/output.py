"""What the tools print: events to stdout, messages and the progress bar to stderr."""

from __future__ import annotations

import codecs
import io
import os
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any, Final

from dimse_rs import log
from dimse_rs.errors import AssociationRejected

from .exits import CliError, ExitCode

__all__ = ["Output", "Progress", "accepted", "is_utf8", "size_text", "survive_any_letter"]


ESCAPED: Final = "dimse_rs.escaped"
"""What becomes of letters that an output has not: bytes of file names stay, others are escaped."""


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


codecs.register_error(ESCAPED, _escaped)


def survive_any_letter() -> None:
    """Have standard output and error take every letter, whatever their encoding is."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)


def is_utf8(stream: IO[str]) -> bool:
    """Whether a stream has every letter."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"


class Output:
    """Where a tool's events and messages go.

    Args:
        json: print events to stdout, one JSON object a line.
        quiet: print no messages.
        verbose: messages below warnings are printed too, so no progress bar.
        report: a file that gets the events as well.
    """

    def __init__(
        self,
        *,
        json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        report: str | None = None,
    ) -> None:
        """Open the report file.

        Raises:
            CliError: it cannot be written (40).
        """
        self.json = json
        self.quiet = quiet
        self.verbose = verbose
        self.log = log.get(log.CLI)
        self._lock = threading.Lock()
        self._report: IO[str] | None = None
        if report:
            try:
                self._report = Path(report).open(  # noqa: SIM115 - `close`
                    "w", encoding="utf-8", errors=ESCAPED
                )
            except OSError as error:
                raise CliError(
                    ExitCode.OUTPUT, f"cannot write the report {report}: {error.strerror}"
                ) from error

    @property
    def wants_events(self) -> bool:
        """Whether events go anywhere."""
        return self.json or self._report is not None

    def event(self, event: str, **fields: Any) -> None:
        """Print one event, if events are wanted."""
        if not self.wants_events:
            return
        import json

        # Where the terminal has not all letters, they are escaped as JSON has it.
        ascii_only = self.json and not is_utf8(sys.stdout)
        line = json.dumps({"event": event, **fields}, default=str, ensure_ascii=ascii_only)
        with self._lock:  # so that lines stay whole, whichever threads they come from
            if self.json:
                print(line, flush=True)
            if self._report is not None:
                self._report.write(line + "\n")

    def data(self, line: str) -> None:
        """Print a line that scripts read, unless events are printed instead."""
        if not self.json:
            print(line, flush=True)

    def message(self, line: str) -> None:
        """Print a line for people to stderr, unless quiet."""
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)

    def failure(self, error: BaseException, code: ExitCode) -> None:
        """Tell people and scripts what went wrong: the fact, then a `hint:` line."""
        message = getattr(error, "message", "") or _os_text(error)
        self.log.error(message)
        self.explain(error)
        self.event("error", code=code.value, message=message)

    def explain(self, error: BaseException) -> None:
        """Print what goes with an error: its `hint:` line, and the event of a rejection."""
        hint = getattr(error, "hint", "")
        if hint:
            self.message(f"hint: {hint}")
        if isinstance(error, AssociationRejected):
            self.event(
                "rejected",
                result=error.result,
                source=error.source,
                reason=error.reason,
                hint=error.hint,
            )

    def close(self) -> None:
        """Close the report file."""
        if self._report is not None:
            self._report.close()
            self._report = None


def _os_text(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


class Progress:
    """A bar on a terminal, nothing elsewhere. At most ten updates a second."""

    WIDTH: Final = 24

    def __init__(
        self, output: Output, stream: IO[str] | None = None, *, done: str = "sent"
    ) -> None:
        """Decide whether there is a terminal to draw on; `done` is what happens to instances."""
        self._word = done
        self._stream = stream or sys.stderr
        self._shown = (
            self._stream.isatty()
            and os.environ.get("TERM") != "dumb"
            and not (output.quiet or output.verbose)
        )
        self._start = time.monotonic()
        self._next = 0.0
        self.total = 0
        self.done = 0
        self.failed = 0
        self.bytes = 0

    def step(self, size: int, *, failed: bool = False) -> None:
        """Count one instance, and draw when it is time."""
        self.done += 1
        self.failed += failed
        self.bytes += size
        self._draw()

    def show(self, done: int, total: int, failed: int) -> None:
        """Say how far it is, and draw when it is time."""
        self.done, self.total, self.failed = done, total, failed
        self._draw()

    def _draw(self) -> None:
        now = time.monotonic()
        if self._shown and now >= self._next:
            self._next = now + 0.1
            self._stream.write(f"\r\x1b[K{self.text(now - self._start)}")
            self._stream.flush()

    def text(self, seconds: float) -> str:
        """Lay out the bar."""
        rate = f"{size_text(self.bytes / seconds)}/s" if seconds > 0 else ""
        bad = f"  {self.failed} failed" if self.failed else ""
        facts = f"{size_text(self.bytes)}  {rate}{bad}" if self.bytes else bad.strip()
        if not self.total:
            return f"{self.done} {self._word}  {facts}"
        filled = self.WIDTH * min(self.done, self.total) // self.total
        return f"[{'=' * filled:<{self.WIDTH}}] {self.done}/{self.total}  {facts}"

    def clear(self) -> None:
        """Take the bar away, before something else is printed."""
        if self._shown and self.done:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    @property
    def shown(self) -> bool:
        """Whether there is a terminal that shows it."""
        return self._shown


def size_text(count: float) -> str:
    """Print a number of bytes in decimal units."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def accepted(association: object) -> list[dict[str, str]]:
    """List the accepted contexts for the `associated` event."""
    return [
        {"class": str(context.sop_class), "syntax": str(context.transfer_syntax)}
        for context in getattr(association, "accepted", ())
    ]
