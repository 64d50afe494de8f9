"""What the documentation points at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.loopback.test_every_service import CASES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


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
