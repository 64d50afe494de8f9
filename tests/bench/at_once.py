"""C-STORE over several associations at once: in memory in mode `fast`, on disk in `durable`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.bench import measure
from tests.bench.measure import OUR_SCU, Run, script, transfer
from tests.bench.report import Report, cell
from tests.bench.rounds import Case, Options, Workload, measured

FAST = (1, 2, 4, 16)
DURABLE: Mapping[int, float] = {1: 0.6, 4: 0.5, 16: 0.35}
"""Associations, and what of the floor is aimed at."""
FLOOR, OURS = "floor in C", "ours -> ours"


def _name(who: str, associations: int) -> str:
    return f"{who}, {associations}"


def _ours(mode: str, associations: int) -> Callable[[Sequence[Path], Path], Run]:
    sender = script(OUR_SCU, "many", associations, 1)
    return functools.partial(
        transfer, sender, lambda folder: measure.storescp(folder, "--mode", mode)
    )


def _cases(program: Path, mode: str, many: Sequence[int]) -> list[Case]:
    """Let the floor and ours take turns."""
    cases = []
    for associations in many:
        floor = functools.partial(measure.floor, program, connections=associations, mode=mode)
        cases.append(Case(_name(FLOOR, associations), floor, key=True))
        cases.append(Case(_name(OURS, associations), _ours(mode, associations), key=True))
    return cases


def curves(report: Report, workloads: Sequence[Workload], options: Options, floor: Path) -> None:
    """Add what 2, 4 and 16 associations carry, of what one does."""
    table = report.table("fast, in memory", "who", *map("{} at once".format, FAST))
    for workload in workloads:
        seen = measured(report, workload, _cases(floor, "fast", FAST), options)
        for who in (FLOOR, OURS):
            cells = [
                f"{seen.rate(_name(who, many))} "
                f"({cell(seen.ratio(_name(who, many), _name(who, 1)))})"
                if _name(who, many) in seen.runs
                else ""
                for many in FAST
            ]
            table.add(workload.name, who, *cells)
        for many in FAST[1:]:
            gained = seen.ratio(_name(OURS, many), _name(OURS, 1))
            report.least(f"{workload.name}, {many} associations", "one", 1, gained)


def durable(report: Report, workload: Workload, options: Options, floor: Path, where: str) -> None:
    """Add what durable stores on a disk leave of a floor with the same connections and syncs."""
    seen = measured(
        report, workload, _cases(floor, "durable", list(DURABLE)), options, options.disk
    )
    table = report.table(
        f"durable, on disk: {where}", "associations", FLOOR, OURS, "of floor", "RSS"
    )
    for many, aim in DURABLE.items():
        theirs, mine = _name(FLOOR, many), _name(OURS, many)
        ratio = seen.ratio(mine, theirs)
        rates = [seen.rate(name) if name in seen.runs else "" for name in (theirs, mine)]
        memory = seen.memory(mine) if mine in seen.runs else ""
        table.add(workload.name, str(many), *rates, cell(ratio), memory)
        what = f"{workload.name}, durable on disk, associations at once: {many}"
        report.least(what, "the floor", aim, ratio)
