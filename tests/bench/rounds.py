"""Interleaved rounds of transfers, and what they give: what slows one slows all its cases."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.bench.measure import MEMORY, MIB, Run
from tests.bench.report import FAULTS, Report

Name = TypeVar("Name")


@dataclass(frozen=True)
class Options:
    """How much is measured."""

    quick: bool
    peers_only: bool
    disk: Path
    """A folder on a disk."""


@dataclass(frozen=True)
class Case:
    """Who sends to whom, and how many of the files (slow pairs get fewer)."""

    name: str
    run: Callable[[Sequence[Path], Path], Run]
    share: float = 1.0
    key: bool = False
    """An aim is about it: it runs in every round, the others in every third."""

    @property
    def is_ours(self) -> bool:
        """Whether it needs our own programs."""
        return "ours" in self.name


@dataclass(frozen=True)
class Workload:
    """Files of one kind."""

    name: str
    files: Sequence[Path]
    rounds: int
    small: bool = False
    """Rated in files a second rather than bytes."""

    def rate(self, run: Run) -> float:
        """Return files or bytes a second."""
        return (run.files if self.small else run.bytes) / run.seconds

    def shown(self, rates: Iterable[float]) -> str:
        """Write the median of rates, for people."""
        rate = statistics.median(rates)
        return f"{rate:,.0f} files/s" if self.small else f"{rate / 1e6:,.0f} MB/s"


@dataclass(frozen=True)
class Rounds:
    """What interleaved rounds of some cases gave; a case that failed at once is left out."""

    workload: Workload
    runs: Mapping[str, Mapping[int, Run]]

    def rate(self, name: str) -> str:
        """Return the median rate of a case, for people."""
        return self.workload.shown(map(self.workload.rate, self.runs[name].values()))

    def ratio(self, name: str, other: str) -> float | None:
        """Return the median of the ratios in each round: what slows a round slows both."""
        ours, theirs = self.runs.get(name, {}), self.runs.get(other, {})
        return middle(
            self.workload.rate(ours[number]) / self.workload.rate(theirs[number])
            for number in ours.keys() & theirs.keys()
        )

    def memory(self, name: str) -> str:
        """Return the peak resident memory of sender and receiver, the largest of all rounds."""
        runs = self.runs[name].values()
        sender, receiver = (
            max(size) / MIB
            for size in zip(*((run.sender_rss, run.receiver_rss) for run in runs), strict=True)
        )
        return f"{sender:.0f} / {receiver:.0f} MiB" if receiver else ""


def middle(ratios: Iterable[float]) -> float | None:
    """Return the median, or None of nothing."""
    found = list(ratios)
    return statistics.median(found) if found else None


def measured(
    report: Report,
    workload: Workload,
    cases: Sequence[Case],
    options: Options,
    parent: Path = MEMORY,
) -> Rounds:
    """Run the cases in interleaved rounds; one that fails is not tried again."""
    runs: dict[str, dict[int, Run]] = {
        case.name: {} for case in cases if not (options.peers_only and case.is_ours)
    }
    failed: set[str] = set()
    for number in range(workload.rounds):
        for case in cases:
            if case.name not in runs or case.name in failed:
                continue
            if case.key or number % 3 == 0:
                count = max(2, round(len(workload.files) * case.share))
                try:
                    runs[case.name][number] = case.run(workload.files[:count], parent)
                except FAULTS as fault:
                    failed.add(case.name)
                    report.failed(f"{workload.name}, {case.name}", fault)
    return Rounds(workload, {name: seen for name, seen in runs.items() if seen})


def interleaved(
    report: Report, rounds: int, cases: Mapping[Name, Callable[[], float]]
) -> dict[Name, list[float]]:
    """Run every case once a round; return the results by round, without cases that fail."""
    seen: dict[Name, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name in list(seen):
            try:
                seen[name].append(cases[name]())
            except FAULTS as fault:
                del seen[name]
                report.failed(", ".join(name) if isinstance(name, tuple) else str(name), fault)
    return seen
