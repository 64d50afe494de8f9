"""The tests of the sample project pass; `make sample` runs them with the wheel and the extra."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.process import must_succeed

SAMPLE = Path(__file__).parents[2] / "examples" / "sample-project"


def test_the_tests_of_the_sample_project_pass():
    # Where the package is not installed, it has no entry points.
    plugin = {"PYTEST_PLUGINS": "dimse_rs.testing.plugin"}
    pytest_ = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    said = must_succeed([*pytest_, "--rootdir", str(SAMPLE), str(SAMPLE)], plugin)
    assert "5 passed" in said.splitlines()[-1]
