"""Running the `dimse` tools as users do: as processes, against servers of this process."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.process import Process, run

PYTHON = [sys.executable, "-W", "error"]
DIMSE = [*PYTHON, "-m", "dimse_rs"]


def dimse(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end."""
    return run([*DIMSE, *map(str, arguments)])


def events(text: str | list[str]) -> list[dict[str, Any]]:
    """Read what `--json` printed."""
    lines = text.splitlines() if isinstance(text, str) else text
    return [json.loads(line) for line in lines]


@contextlib.contextmanager
def storescp(folder: Path, *options: object) -> Iterator[tuple[Process, int]]:
    """Run `dimse storescp` on a free port that it prints, or tells as an event."""
    arguments = ["storescp", "0", "-od", str(folder), "--mode", "fast", *map(str, options)]
    with Process([*DIMSE, *arguments]) as process:
        line = process.wait_for_line(bool)
        yield process, json.loads(line)["port"] if line.startswith("{") else int(line)
