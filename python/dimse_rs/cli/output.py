"""The output of the tools: events to stdout, messages and the progress bar to stderr."""

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
"""Error handler for letters that an encoding lacks: keeps bytes of file names, escapes others."""


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


codecs.register_error(ESCAPED, _escaped)


def survive_any_letter() -> None:
    """Make standard output and error accept every letter, in any encoding."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)


def is_utf8(stream: IO[str]) -> bool:
    """Whether the encoding of a stream has every letter."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"


class Output:
    """Prints the events and messages of a tool.

    Args:
        json: print events to stdout, one JSON object a line.
        quiet: print no messages.
        verbose: messages below warnings are printed too, and no progress bar.
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
            CliError: the file cannot be written (40).
        """
        self.json = json
        self.quiet = quiet
        self.verbose = verbose
        self.log: log.Log = log.get(log.CLI)
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
        """Whether events are printed or written to a report."""
        return self.json or self._report is not None

    def event(self, event: str, **fields: Any) -> None:
        """Print and write one event, if events are wanted."""
        if not self.wants_events:
            return
        import json

        # Letters that the encoding of stdout lacks are escaped as JSON does.
        ascii_only = self.json and not is_utf8(sys.stdout)
        line = json.dumps({"event": event, **fields}, default=str, ensure_ascii=ascii_only)
        with self._lock:  # events come from several threads, and each is one line
            if self.json:
                print(line, flush=True)
            if self._report is not None:
                self._report.write(line + "\n")

    def data(self, line: str) -> None:
        """Print a line that scripts read, unless events are printed instead."""
        # With --json a script parses every line of stdout: events alone may stand there.
        if not self.json:
            print(line, flush=True)

    def message(self, line: str) -> None:
        """Print a line for people to stderr, unless quiet."""
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)

    def failure(self, error: BaseException, code: ExitCode) -> None:
        """Print a failure as a message with its `hint:` line, and as an event."""
        message = getattr(error, "message", "") or _os_text(error)
        self.log.error(message)
        self.explain(error)
        self.event("error", code=code.value, message=message)

    def explain(self, error: BaseException) -> None:
        """Print the `hint:` line of an error, and the event of a rejection."""
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
    # Without the "[Errno 2]" that `str` of an OSError begins with.
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


class Progress:
    """A progress bar on a terminal, at most ten updates a second; nothing elsewhere."""

    WIDTH: Final = 24

    def __init__(
        self, output: Output, stream: IO[str] | None = None, *, done: str = "sent"
    ) -> None:
        """Look for a terminal to draw on; `done` is the participle for counted instances."""
        self._word = done
        self._stream = stream or sys.stderr
        # -v prints a line for each instance, and each line would break the bar.
        self._shown = (
            self._stream.isatty()
            and os.environ.get("TERM") != "dumb"
            and not (output.quiet or output.verbose)
        )
        self._start = time.monotonic()
        self._next = 0.0
        self.total: int = 0
        self.done: int = 0
        self.failed: int = 0
        self.bytes: int = 0

    def step(self, size: int, *, failed: bool = False) -> None:
        """Count one instance, and draw if the last drawing is old enough."""
        self.done += 1
        self.failed += failed
        self.bytes += size
        self._draw()

    def show(self, done: int, total: int, failed: int) -> None:
        """Set all counts, and draw if the last drawing is old enough."""
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
        """Erase the bar, before other output is printed."""
        if self._shown and self.done:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    @property
    def shown(self) -> bool:
        """Whether a terminal shows the bar."""
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
