"""A short attack, the same each time: every service and every conversion, and nothing gives way."""

from __future__ import annotations

import pytest

from tests.mutants.run import attack, report

ALWAYS_TAKEN = ("C-FIND", "N-", "PerformedStep", "findscu", "mwlscu", "worklist")
"""Begins the names of routes whose seeds nobody refuses; instances are odd on purpose, some."""


@pytest.mark.timeout(120)
def test_seeds_are_taken_as_they_are():
    """Else mutants would be refused for what the seed has, and nothing would be tried."""
    run = attack(60.0, 7, most=4, intact=True)
    assert not run.findings, report(run, 0.0)
    assert set(run.counts.values()) == {4}
    for name in run.counts:
        told = {what for (route, what) in run.outcomes if route == name}
        bare = name.removeprefix("async ")
        if bare.startswith(ALWAYS_TAKEN):
            assert told in ({"0000"}, {"ok"}, {"exit 0"}), (name, told)
        else:
            assert told & {"0000", "ok", "4 of 4", "ok ok", "2", "1", "not ok"}, (name, told)


@pytest.mark.timeout(120)
def test_nothing_gives_way_to_mutants():
    run = attack(90.0, 1, most=6)
    assert not run.findings, report(run, 0.0)
    assert set(run.counts.values()) == {6}
