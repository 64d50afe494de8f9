"""What bad peers get from our server, case by case, and that nobody else notices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.cases import cases
from tests.hostile.node import CALLED, Ours
from tests.hostile.run import read_known
from tests.support.script import Case

pytestmark = [pytest.mark.hostile, pytest.mark.slow]

TABLE = list(cases(CALLED.encode()))
ALL = [case for case in TABLE if not case.slow]
LEEWAY = 8
"""Times the memory that a case may take: other tests run beside it, and only leaks matter here."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    with Ours(tmp_path_factory.mktemp("hostile") / "nodes", LEEWAY) as node:
        yield node


@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", ALL, ids=[case.id.replace(" ", "-") for case in ALL])
def test_case(case: Case, node: Ours) -> None:
    node.play(case)


def test_the_printed_table_and_the_known_deviations_are_of_these_cases():
    ids = [case.id for case in TABLE]
    assert len(set(ids)) == len(ids)
    root = Path(__file__).parents[2]
    rows = [line.split(" | ") for line in (root / "docs/hostile.md").read_text().splitlines()]
    printed = {row[0].removeprefix("| "): row[2] for row in rows if len(row) == 5}
    assert [printed.pop(head) for head in ("case", "---")] == ["dimse_rs", "---"]
    assert printed == dict.fromkeys(ids, "pass")
    for file in (root / "tests/hostile/known").iterdir():
        assert read_known(file).keys() <= set(ids), file.name
