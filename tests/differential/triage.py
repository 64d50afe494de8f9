"""The differences that were looked at and agreed to: `triage.toml`. Any other is a failure."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

AGREED = Path(__file__).with_name("triage.toml")
READ = "read"


class Triage:
    """The agreed differences of one comparison."""

    def __init__(self, comparison: str) -> None:
        """Read those of `comparison`, a table of the file."""
        self._rows = tomllib.loads(AGREED.read_text())[comparison]

    def check(self, ours: str, theirs: str, what: bytes) -> None:
        """Fail unless both read it, both refuse it, or they may differ in this way.

        Args:
            ours: "read", or why not.
            theirs: "read", or the name of the exception.
            what: the bytes, for the message.
        """
        if (ours == READ) == (theirs == READ):
            return
        for row in self._rows:
            if re.match(row["ours"], ours) and re.fullmatch(row["theirs"], theirs):
                return
        raise AssertionError(f"ours: {ours}, theirs: {theirs}, of {what.hex()}")
