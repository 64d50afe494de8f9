"""What the benchmark prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Table:
    """A table of its own, beside that of the rates."""

    head: Sequence[str]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """Add a row."""
        self.rows.append(cells)
        print(".", end="", file=sys.stderr, flush=True)


class Report:
    """What was measured, and the aims."""

    HEAD = ("what", "who", "measured", "of floor", "x DCMTK +B", "RSS sender / receiver")
    AIMS = ("aim, ours -> ours unless it says otherwise", "to be", "measured", "met")

    def __init__(self) -> None:
        """Start with the heads."""
        self._rates = Table(self.HEAD)
        self._aims = Table(self.AIMS)
        self._tables: list[Table] = []
        self.failures: list[str] = []

    def add(self, what: str, who: str, measured: str, *cells: str) -> None:
        """Add a row to the table of the rates; missing cells stay empty."""
        row = (what, who, measured, *cells)
        self._rates.add(*row, *("",) * (len(self.HEAD) - len(row)))

    def table(self, *head: str) -> Table:
        """Begin a table of its own."""
        self._tables.append(Table(head))
        return self._tables[-1]

    def aim(self, what: str, limit: str, measured: str, met: bool) -> None:
        """Say whether an aim is met."""
        self._aims.rows.append((what, limit, measured, "yes" if met else "NO"))

    def least(self, what: str, unit: str, limit: float, measured: float) -> None:
        """Say whether a ratio is large enough."""
        self.aim(what, f"{limit:g} x {unit}", f"{measured:.2f} x", measured >= limit)

    def most(self, what: str, limit: float, measured: float) -> None:
        """Say whether a count is small enough."""
        self.aim(what, f"{limit:g} at most", f"{measured:.2f}", measured <= limit)

    def __str__(self) -> str:
        """Write Markdown."""
        parts = []
        for table in (self._rates, *self._tables, self._aims):
            lines = [table.head, tuple("---" for _ in table.head), *table.rows]
            if table.rows:
                parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
        if self.failures:
            parts.append("\n".join(["Not measured:", "", *(f"- {it}" for it in self.failures)]))
        return "\n\n".join(parts)
