"""What an import costs: the tools run every minute on monitoring hosts."""

from __future__ import annotations

import subprocess
import sys
import warnings
from importlib import metadata

import pytest

import dimse_rs
from dimse_rs import errors

HEAVY = "pydicom", "pynetdicom", "numpy", "asyncio", "ssl", "unittest", "email"


@pytest.mark.parametrize(
    "code",
    [
        "import dimse_rs",
        "import dimse_rs, importlib, pkgutil\n"
        "for found in pkgutil.walk_packages(dimse_rs.__path__, 'dimse_rs.'):\n"
        "    if 'aio' not in found.name and not found.name.endswith('__main__'):\n"
        "        importlib.import_module(found.name)",
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


def test_a_debug_build_is_warned_of():
    with pytest.warns(RuntimeWarning, match="debug build.*--release"):
        dimse_rs._check_build(debug=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dimse_rs._check_build(debug=False)


def test_every_public_name_is_there_and_listed_once():
    assert len(set(dimse_rs.__all__)) == len(dimse_rs.__all__)
    assert all(hasattr(dimse_rs, name) for name in dimse_rs.__all__)
    assert set(errors.__all__) - {"from_core"} <= set(dimse_rs.__all__)
    assert dimse_rs.__version__ == metadata.version("dimse_rs")
