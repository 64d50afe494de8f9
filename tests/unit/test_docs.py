"""What the documentation points at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.hostile.cases import cases
from tests.loopback.test_every_service import CASES

ROOT = Path(__file__).parents[2]
TOP = ["README.md", "CONTRIBUTING.md", "SECURITY.md"]
PAGES = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_the_table_of_services_has_a_row_for_each_and_names_its_tests():
    rows = re.findall(
        r"^\| ([CN]-[A-Z-]+) \(PS3\.7 .*$", (ROOT / "docs/services.md").read_text(), re.M
    )
    assert rows == list(CASES)
    cells = re.findall(r"\[`([^`]+)`\]", (ROOT / "docs/services.md").read_text())
    faces = ["blocking-*", "asyncio-*", "*-blocking", "*-asyncio"]
    assert cells == [f"{name}-{face}" for name in CASES for face in faces]


THREATS = (ROOT / "docs/threats.md").read_text()


def test_what_the_threats_name_is_there():
    missing = []
    for path, name in re.findall(r"`([^`]+)::(\w+)`", THREATS):
        kind = "def" if path.endswith(".py") else "fn"
        file = ROOT / path
        if not file.is_file() or not re.search(rf"\b{kind} {name}\(", file.read_text()):
            missing.append(f"{path}::{name}")
    played = {case.id[:3] for case in cases(b"SCP")}
    missing += sorted(set(re.findall(r"`([A-Z]\d\d)`", THREATS)) - played)
    assert not missing


def test_every_threat_has_its_answer():
    rows = [line.strip("|").split(" | ") for line in THREATS.splitlines() if line[:2] == "| "]
    rows = [row for row in rows if "`" in row[-1] or row[-1].startswith("not applicable")]
    told = [line for line in THREATS.splitlines() if line[:2] == "| "]
    assert len(told) == len(rows) + 5  # the heads of the tables
    numbers: dict[str, list[int]] = {}
    for row in rows:
        if found := re.fullmatch(r" ([A-K])(\d\d)", row[0]):
            numbers.setdefault(found[1], []).append(int(found[2]))
    assert sorted(numbers) == list("ABCDEFGHIJK")
    for listed in numbers.values():
        assert listed == list(range(1, len(listed) + 1))
