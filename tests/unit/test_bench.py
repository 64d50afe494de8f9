"""What the benchmark prints when something of it fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.bench.measure import Run
from tests.bench.report import Report
from tests.bench.rounds import Case, Options, Workload, interleaved, measured
from tests.support.process import PeerError

OPTIONS = Options(quick=True, peers_only=False, disk=Path())


def steady(files: Sequence[Path], parent: Path) -> Run:
    return Run(2.0, len(files), 1000)


def failing(files: Sequence[Path], parent: Path) -> Run:
    raise PeerError("storescp: ended instead of listening\nno such file")


def test_a_peer_that_fails_costs_its_row_alone():
    report = Report()
    workload = Workload("2 x 5 KB", [Path("a"), Path("b")], rounds=3, small=True)
    cases = [Case("ours", steady, key=True), Case("theirs", failing, key=True)]
    seen = measured(report, workload, cases, OPTIONS)
    assert list(seen.runs) == ["ours"]
    assert seen.rate("ours") == "1 files/s"
    report.least("2 x 5 KB", "theirs", 1.0, seen.ratio("ours", "theirs"))
    assert "| 2 x 5 KB | 1 x theirs | not measured | NO |" in str(report)
    assert "- 2 x 5 KB, theirs: storescp: ended instead of listening ... no such file" in str(
        report
    )


def test_a_case_that_fails_is_not_tried_again():
    calls = []

    def fail() -> float:
        calls.append(1)
        raise OSError("gone")

    report = Report()
    rates = interleaved(report, 3, {("C-ECHO", "theirs"): fail, ("C-ECHO", "ours"): lambda: 5.0})
    assert rates == {("C-ECHO", "ours"): [5.0, 5.0, 5.0]}
    assert len(calls) == 1
    assert report.failures == {"C-ECHO, theirs": "gone"}


def test_a_step_that_fails_leaves_what_was_measured_before():
    report = Report()
    with report.attempt("C-STORE"):
        report.add("3 files", "ours", "1/s")
        raise PeerError("the receiver died")
    text = str(report)
    assert "| 3 files | ours | 1/s |  |  |  |" in text
    assert "- C-STORE: the receiver died" in text


def test_tables_of_their_own_stand_between_rates_and_aims():
    report = Report()
    report.add("3 files", "ours", "1/s")
    report.table("an instance of", "futex").add("5 KB", "0.10")
    report.most("futex", 0.2, 0.1)
    heads = [line for line in str(report).splitlines() if line.startswith("| what |")]
    assert len(heads) == 1
    assert str(report).index("| an instance of | futex |") > str(report).index(heads[0])
    assert "| futex | 0.2 at most | 0.10 | yes |" in str(report)
