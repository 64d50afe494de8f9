"""The tour in docs/design.md names functions that exist, and rooms that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOUR = (ROOT / "docs" / "design.md").read_text()
WALKS = TOUR[TOUR.index("\n## Seven walks") : TOUR.index("\n## Decisions")]

FILE = re.compile(r"`((?:rust|python)/[\w/.-]+)`")
NAMES = re.compile(r"`((?:rust|python)/[\w/.-]+\.\w+)`: ((?:`\w+`(?:, | and )?)+)")


def named() -> list[tuple[str, str]]:
    return [
        (path, name)
        for path, names in NAMES.findall(WALKS)
        for name in re.findall(r"`(\w+)`", names)
    ]


def test_there_are_seven_walks_with_functions():
    walks = re.split(r"^### ", WALKS, flags=re.MULTILINE)[1:]
    assert len(walks) == 7
    assert all(len(NAMES.findall(walk)) >= 4 for walk in walks)


@pytest.mark.parametrize(("path", "name"), named())
def test_a_function_of_the_walks_is_in_its_file(path, name):
    kind = "fn" if path.endswith(".rs") else "def"
    assert re.search(rf"\b{kind} {name}\b", (ROOT / path).read_text()), f"{name} is not in {path}"


def test_every_file_of_the_tour_exists():
    assert [path for path in FILE.findall(TOUR) if not (ROOT / path).exists()] == []


def test_every_wing_of_the_package_is_in_the_tour_and_in_the_map():
    readme = (ROOT / "README.md").read_text()
    wings = [path.parent.name for path in (ROOT / "python" / "dimse_rs").glob("*/__init__.py")]
    assert len(wings) > 5
    for wing in wings:
        assert f"{wing}/" in readme
        assert f"python/dimse_rs/{wing}**" in TOUR.replace("`", "")
