"""What an import costs: the tools run every minute on monitoring hosts."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = "pydicom", "pynetdicom", "numpy", "asyncio", "ssl", "unittest", "email"


@pytest.mark.parametrize(
    "code",
    [
        "import dimse_rs",
        "import dimse_rs.datasets, dimse_rs.log",
        "import dimse_rs.cli; dimse_rs.cli.main(['--help'])",
        "import dimse_rs.cli; dimse_rs.cli.main(['echoscu', '--help'])",
        "import dimse_rs.cli; dimse_rs.cli.main(['storescu', '--help'])",
        "import dimse_rs.cli; dimse_rs.cli.main(['storescp', '--help'])",
    ],
)
def test_import_loads_nothing_heavy(code):
    check = f"{code}\nimport sys\nfound = [m for m in {HEAVY} if m in sys.modules]\n"
    run = subprocess.run(
        [sys.executable, "-c", check + "sys.exit(','.join(found) or 0)"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert run.returncode == 0, run.stderr
