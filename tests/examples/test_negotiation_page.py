"""The program of the page on negotiation runs as written."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.support.process import run

PAGE = Path(__file__).parents[2] / "docs" / "negotiation.md"


def test_the_program_runs_and_agrees_with_itself() -> None:
    """Five contexts, a window that a synchronous server keeps at 1, and half of the options."""
    [program] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    done = run([sys.executable, "-W", "error", "-c", program])
    assert done.stdout.splitlines() == [
        "5 contexts, window (1, 1)",
        "verified: True",
        "relational: True",
        "fuzzy names: False",
    ], done.stderr
