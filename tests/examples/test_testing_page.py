"""The blocks of the page on testing run as written: each is a test file of its own."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.support.process import run

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)


def test_every_block_runs_as_written(tmp_path):
    for number, block in enumerate(BLOCKS, 1):
        (tmp_path / f"test_block_{number}.py").write_text(block)
    # Where the package is not installed, it has no entry points.
    plugin = {"PYTEST_PLUGINS": "dimse_rs.testing.plugin"}
    pytest_ = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = run([*pytest_, "--rootdir", str(tmp_path), "-c", "/dev/null", str(tmp_path)], env=plugin)
    assert done.returncode == 0, done.stdout + done.stderr
    tests = sum(block.count("\ndef test_") for block in BLOCKS)
    passed = re.match(r"(\d+) passed in", done.stdout.splitlines()[-1])
    assert passed is not None, done.stdout  # and none was skipped
    assert int(passed[1]) >= tests > 15  # one of them has parameters
