"""The rows on services: queries, retrievals, the asynchronous window, many associations at once."""

from __future__ import annotations

import contextlib
import operator
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.bench.measure import (
    MIB,
    OUR_SCU,
    OURS,
    Run,
    check_stored,
    rate,
    scratch,
    script,
    storescp,
    timed,
    transfer,
)
from tests.bench.report import Report
from tests.bench.rounds import Case, Options, Workload, interleaved, measured, middle
from tests.peers.scp import Running, announced

PYNETDICOM = "tests.bench.pynetdicom_node"
DATA_SETS = "C-FIND, data sets, both ends"
STREAM = "C-FIND, prebuilt stream"
DELAYED = "C-STORE, 20 ms more a response"


def node(module: str, *words: object) -> contextlib.AbstractContextManager[Running]:
    """Run an SCP written in Python."""
    argv = [sys.executable, "-m", f"tests.bench.{module}", *map(str, words)]
    return announced(argv, "BENCH", Path())


def ratio(
    rates: Mapping[tuple[str, str], Sequence[float]], what: str, ours: str, theirs: str
) -> float | None:
    """Return the median of the ratios within each round; None when one of both failed."""
    return middle(map(operator.truediv, rates.get((what, ours), []), rates.get((what, theirs), [])))


def add_rates(report: Report, rates: Mapping[tuple[str, str], Sequence[float]]) -> None:
    """Add what was counted a second."""
    for (what, who), seen in sorted(rates.items()):
        report.add(what, who, f"{statistics.median(seen):,.0f}/s")


def queries(report: Report, options: Options) -> None:
    """Add responses a second: of data sets at both ends, and of a stream that costs nothing."""
    few = 2 if options.quick else 1
    theirs, mine, raw = "pynetdicom", "ours", "ours, raw"
    cases: dict[tuple[str, str], Callable[[], float]] = {}
    with contextlib.ExitStack() as stack:

        def start(module: str, *words: object) -> Running:
            return stack.enter_context(node(module, *words))

        find = script(PYNETDICOM, "find")
        short = start("stream_scp", 2000 // few)
        with report.attempt(f"{DATA_SETS}, {theirs}"):
            scp = start("pynetdicom_node", "scp", 1000 // few)
            cases[DATA_SETS, theirs] = lambda: rate(find, scp)
        cases[STREAM, theirs] = lambda: rate(find, short)
        if not options.peers_only:
            own = start("dimse_scp", "find", 5000 // few)
            long = start("stream_scp", 50_000)
            cases[DATA_SETS, mine] = lambda: rate(script(OUR_SCU, "find"), own)
            cases[STREAM, mine] = lambda: rate(script(OUR_SCU, "find"), short)
            cases[STREAM, raw] = lambda: rate(script(OUR_SCU, "raw"), long)
        rates = interleaved(report, 2 if options.quick else 7, cases)
    add_rates(report, rates)
    if not options.peers_only:
        report.least(DATA_SETS, "pynetdicom", 8, ratio(rates, DATA_SETS, mine, theirs))
        report.least(f"{STREAM}, raw", "pynetdicom", 30, ratio(rates, STREAM, raw, theirs))


def _get(files: Sequence[Path], parent: Path) -> Run:
    folder = files[0].parent
    with scratch(parent) as into, node("dimse_scp", "serve", folder, 104) as running:
        seconds, _, rss = timed(script(OUR_SCU, "get", into), running)
        return _retrieved(seconds, files, into, running, rss)


def _move(files: Sequence[Path], parent: Path) -> Run:
    folder = files[0].parent
    with (
        scratch(parent) as into,
        storescp(into, "--mode", "fast") as to,
        node("dimse_scp", "serve", folder, to.target.port) as running,
    ):
        seconds, _, _ = timed(script(OUR_SCU, "move"), running)
        return _retrieved(seconds, files, into, running, to.process.peak_rss())


def _retrieved(
    seconds: float, files: Sequence[Path], into: Path, running: Running, receiver_rss: int
) -> Run:
    check_stored(into, files, running)
    size = sum(path.stat().st_size for path in files)
    return Run(seconds, len(files), size, running.process.peak_rss(), receiver_rss)


def _store(files: Sequence[Path], parent: Path) -> Run:
    return transfer(OURS, lambda folder: storescp(folder, "--mode", "fast"), files, parent)


def retrievals(report: Report, workload: Workload, options: Options) -> None:
    """Add the rates of C-GET and C-MOVE of a whole folder beside that of C-STORE."""
    store = Case("C-STORE, ours -> ours", _store, key=True)
    both = [Case(f"C-{what}, ours -> ours", run, key=True) for what, run in RETRIEVALS.items()]
    seen = measured(report, workload, [store, *both], options)
    for name in seen.runs:
        report.add(workload.name, name, seen.rate(name), "", "", seen.memory(name))
    for case in both:
        what = f"{workload.name}, {case.name.partition(',')[0]}"
        report.least(what, "our C-STORE", 0.6, seen.ratio(case.name, store.name))


RETRIEVALS = {"GET": _get, "MOVE": _move}


def window(report: Report, files: Sequence[Path], options: Options) -> None:
    """Add what a window of eight gains against a peer that is slow to answer."""
    with node("dimse_scp", "slow") as running:
        rates = interleaved(
            report,
            2 if options.quick else 5,
            {
                (DELAYED, f"ours, window {size}"): lambda size=size: rate(
                    script(OUR_SCU, "window", size), running, files
                )
                for size in (1, 8)
            },
        )
    add_rates(report, rates)
    gained = ratio(rates, DELAYED, "ours, window 8", "ours, window 1")
    report.least(f"{DELAYED}, window 8", "window 1", 6, gained)


def crowd(report: Report, folder: Path, files: Sequence[Path], options: Options) -> None:
    """Add a thousand associations in one event loop, each of which echoes and stores ten files."""
    many, few = 1000, 25 if options.quick else 100
    what = "associations at once: echo + 10 C-STOREs"
    mine, theirs = f"ours, {many:,} in one event loop", f"pynetdicom, {few} threads"
    own = script(OUR_SCU, "crowd", many)
    their_rate = None
    with node("dimse_scp", "crowd", folder / "crowd") as running:
        with report.attempt(f"{what}, {theirs}"):
            their_rate = rate(script(PYNETDICOM, "crowd", few), running, files)
            report.add(what, theirs, f"{their_rate:,.0f}/s")
        seconds, count, rss = timed(own, running, files)
        server_rss = running.process.peak_rss()
    memory = f"{rss / MIB:.0f} / {server_rss / MIB:.0f} MiB"
    report.add(what, mine, f"{count / seconds:,.0f}/s", "", "", memory)
    times = count / seconds / their_rate if their_rate else None
    report.least(f"{many:,} {what}", "pynetdicom", 10, times)
    report.aim(
        f"{many:,} {what}, memory",
        "600 MiB at most",
        f"sender {rss / MIB:.0f} MiB, receiver {server_rss / MIB:.0f} MiB",
        max(rss, server_rss) <= 600 * MIB,
    )
