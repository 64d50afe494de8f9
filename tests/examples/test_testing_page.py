"""The blocks of the page on testing run as written: each is a test file of its own."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.support.process import run

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
TEXT = PAGE.read_text()
BLOCKS = re.findall(r"^##? ([^\n]+)\n((?:(?!^## ).*\n)+)", TEXT, re.M)
TESTS = [
    (f"{title}-{number}", block)
    for title, body in BLOCKS
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", body, re.M | re.S), 1)
]


def test_every_block_is_run():
    assert len(TESTS) == TEXT.count("```python")


@pytest.mark.parametrize("block", [block for _, block in TESTS], ids=[name for name, _ in TESTS])
def test_a_block_runs_as_written(block, tmp_path):
    (tmp_path / "test_page.py").write_text(block)
    # Where the package is not installed, it has no entry points.
    plugin = {"PYTEST_PLUGINS": "dimse_rs.testing.plugin"}
    pytest_ = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = run([*pytest_, "--rootdir", str(tmp_path), "-c", "/dev/null", str(tmp_path)], env=plugin)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout.splitlines()[-1]
