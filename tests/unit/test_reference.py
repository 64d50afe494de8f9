"""The reference has every public name, once, and no name without a description."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path

import pytest

import dimse_rs
from dimse_rs import Model, SOPClass, TransferSyntax, testing

PAGES = Path(__file__).parents[2] / "docs" / "reference" / "api"
LISTED = Counter(
    name
    for page in PAGES.glob("*.md")
    for name in re.findall(r"^\.\. (?:auto|py:)\w+:: (\w+)", page.read_text(), re.M)
)
# These are rows of the generated tables; the well-known SOP Instances are plain strings.
TABLES = SOPClass, TransferSyntax, Model, str


def test_every_public_name_has_one_place():
    wanted = {
        name for name in dimse_rs.__all__ if not isinstance(getattr(dimse_rs, name), TABLES)
    } | {"EDITION", *testing.__all__}
    assert wanted - LISTED.keys() == set()
    assert LISTED.keys() - wanted == set()
    assert [name for name, times in LISTED.items() if times > 1] == []


@pytest.mark.parametrize("name", sorted(LISTED))
def test_a_public_name_is_described(name):
    value = getattr(testing if name in testing.__all__ else dimse_rs, name)
    if not inspect.isclass(value) and not inspect.isroutine(value):
        return  # the page describes values; their type has the docstring
    assert inspect.getdoc(value), name
    if inspect.isclass(value):
        members = [
            member
            for member, owned in vars(value).items()
            if not member.startswith("_")
            and (inspect.isroutine(owned) or isinstance(owned, property))
        ]
        assert [m for m in members if not inspect.getdoc(getattr(value, m))] == []
