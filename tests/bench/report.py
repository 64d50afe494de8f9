"""What the benchmark prints."""

from __future__ import annotations

import sys


class Report:
    """What was measured, and the aims."""

    HEAD = ("what", "who", "measured", "of floor", "x DCMTK +B", "RSS sender / receiver")
    AIMS = ("aim, ours -> ours", "at least", "measured", "met")

    def __init__(self) -> None:
        """Start with the heads."""
        self.rows: list[tuple[str, ...]] = []
        self.aims: list[tuple[str, ...]] = []

    def add(self, what: str, who: str, measured: str, *cells: str) -> None:
        """Add a row; missing cells stay empty."""
        row = (what, who, measured, *cells)
        self.rows.append(row + ("",) * (len(self.HEAD) - len(row)))
        print(".", end="", file=sys.stderr, flush=True)

    def aim(self, what: str, limit: str, measured: str, met: bool) -> None:
        """Say whether an aim is met."""
        self.aims.append((what, limit, measured, "yes" if met else "NO"))

    def least(self, what: str, unit: str, limit: float, measured: float) -> None:
        """Say whether a ratio is large enough."""
        self.aim(what, f"{limit:g} x {unit}", f"{measured:.2f} x", measured >= limit)

    def __str__(self) -> str:
        """Write Markdown."""
        parts = []
        for head, rows in ((self.HEAD, self.rows), (self.AIMS, self.aims)):
            lines = [head, tuple("---" for _ in head), *rows]
            if rows:
                parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
        return "\n\n".join(parts)
