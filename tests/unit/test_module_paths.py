"""The module paths of the first public tree, and their names, go on being importable."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import dimse_rs

PATHS: dict[str, list[str]] = {}
for line in Path(__file__).with_name("module_paths.txt").read_text().splitlines():
    if line.endswith(":"):
        PATHS[line[:-1]] = found = []
    else:
        found.extend(line.split())


@pytest.mark.parametrize("path", PATHS)
def test_a_module_path_gives_the_objects_of_their_home(path):
    module = import_module(path)
    assert PATHS[path]
    for name in PATHS[path]:
        value = getattr(module, name)
        home = getattr(value, "__module__", None)
        if isinstance(value, type) and isinstance(home, str) and home.startswith("dimse_rs."):
            assert getattr(import_module(home), name) is value


def test_a_module_path_is_importable_first():
    # In an interpreter that has loaded nothing else of the package, in the order of the list.
    code = "".join(
        f"import {path}\n" + "".join(f"from {path} import {name}\n" for name in names)
        for path, names in PATHS.items()
        if not path.startswith("dimse_rs.cli")
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_type_checkers_find_the_names_of_a_former_path():
    for path in ("events", "audit", "metrics", "metrics_endpoint", "aio_server"):
        former = import_module(f"dimse_rs.{path}")
        assert former is import_module(former.__name__)
        source = (Path(dimse_rs.__file__).parent / f"{path}.py").read_text()
        assert f"from .{former.__name__.removeprefix('dimse_rs.')} import *" in source
