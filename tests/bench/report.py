"""What the benchmark prints: Markdown, also of a run in which something failed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.support.process import MissingPeerError, PeerError

FAULTS = (
    PeerError,
    MissingPeerError,
    OSError,
    subprocess.SubprocessError,
    json.JSONDecodeError,
    LookupError,
    ImportError,
)
"""How a peer that is missing, crashes, hangs or says something else shows."""


def _dot() -> None:
    print(".", end="", file=sys.stderr, flush=True)


@dataclass
class Table:
    """A table of its own, beside that of the rates."""

    head: Sequence[str]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """Add a row."""
        self.rows.append(cells)
        _dot()


class Report:
    """What was measured, and the aims."""

    HEAD = ("what", "who", "measured", "of floor", "x DCMTK +B", "RSS sender / receiver")
    AIMS = ("aim, ours -> ours unless it says otherwise", "limit", "measured", "met")

    def __init__(self) -> None:
        """Start with the heads."""
        self.rows: list[tuple[str, ...]] = []
        self.aims: list[tuple[str, ...]] = []
        self.failures: dict[str, str] = {}
        self._tables: list[Table] = []

    def add(self, what: str, who: str, measured: str, *cells: str) -> None:
        """Add a row; missing cells stay empty."""
        row = (what, who, measured, *cells)
        self.rows.append(row + ("",) * (len(self.HEAD) - len(row)))
        _dot()

    def table(self, *head: str) -> Table:
        """Begin a table of its own."""
        self._tables.append(Table(head))
        return self._tables[-1]

    def aim(self, what: str, limit: str, measured: str, met: bool) -> None:
        """Say whether an aim is met."""
        self.aims.append((what, limit, measured, "yes" if met else "NO"))

    def least(self, what: str, unit: str, limit: float, measured: float | None) -> None:
        """Say whether a ratio is large enough; one that could not be measured is not."""
        text = "not measured" if measured is None else f"{measured:.2f} x"
        self.aim(what, f"{limit:g} x {unit}", text, measured is not None and measured >= limit)

    def most(self, what: str, limit: float, measured: float) -> None:
        """Say whether a count is small enough."""
        self.aim(what, f"{limit:g} at most", f"{measured:.2f}", measured <= limit)

    def failed(self, what: str, fault: BaseException) -> None:
        """Say what could not be measured, and why."""
        lines = str(fault).strip().splitlines() or [type(fault).__name__]
        shown = lines[0] if len(lines) == 1 else f"{lines[0][:200]} ... {lines[-1]}"
        self.failures.setdefault(what, shown[:400])
        print(f"\n{what}: {fault}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Have a peer that fails cost what is measured with it, and not the run."""
        try:
            yield
        except FAULTS as fault:
            self.failed(what, fault)

    def __str__(self) -> str:
        """Write Markdown."""
        parts = []
        tables = ((table.head, table.rows) for table in self._tables)
        for head, rows in ((self.HEAD, self.rows), *tables, (self.AIMS, self.aims)):
            lines = [head, tuple("---" for _ in head), *rows]
            if rows:
                parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
        if self.failures:
            failures = [f"- {what}: {why}" for what, why in self.failures.items()]
            parts.append("\n".join(["Failed, and not or not wholly measured:", "", *failures]))
        return "\n\n".join(parts)


def cell(ratio: float | None) -> str:
    """Write a ratio into a table."""
    return "" if ratio is None else f"{ratio:.2f}"
