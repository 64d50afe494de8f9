"""Interleaved rounds of transfers, and what they give: what slows one slows all its cases."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import MEMORY, MIB, Run


@dataclass(frozen=True)
class Options:
    """How much is measured."""

    quick: bool
    peers_only: bool


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


@dataclass(frozen=True)
class Rounds:
    """What interleaved rounds of some cases gave."""

    workload: Workload
    runs: dict[str, dict[int, Run]]

    def rate(self, name: str) -> str:
        """Return the median rate of a case, for people."""
        rate = statistics.median(self.workload.rate(run) for run in self.runs[name].values())
        return f"{rate:,.0f} files/s" if self.workload.small else f"{rate / 1e6:,.0f} MB/s"

    def ratio(self, name: str, other: str) -> float:
        """Return the median of the ratios in each round: what slows a round slows both."""
        ours, theirs = self.runs[name], self.runs[other]
        return statistics.median(
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


def measured(
    workload: Workload, cases: Sequence[Case], options: Options, parent: Path = MEMORY
) -> Rounds:
    """Run the cases in interleaved rounds."""
    cases = [case for case in cases if not (options.peers_only and case.is_ours)]
    runs: dict[str, dict[int, Run]] = {case.name: {} for case in cases}
    for number in range(workload.rounds):
        for case in cases:
            if case.key or number % 3 == 0:
                count = max(2, round(len(workload.files) * case.share))
                runs[case.name][number] = case.run(workload.files[:count], parent)
    return Rounds(workload, runs)
