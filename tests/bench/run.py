"""`make bench`: rates, memory and the aims in Markdown, all measured in one run.

Ratios travel between machines, absolute figures do not. Output goes to memory (/dev/shm) unless the
row says disk; rounds are interleaved, rates are medians, ratios the medians of those within each
round. `--quick` takes less data and fewer rounds: under three minutes. A peer that is missing or
fails costs its rows, and is named below the tables.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import operator
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.bench import at_once, counts, index, measure, secure, services
from tests.bench.measure import (
    MEMORY,
    MIB,
    OUR_SCU,
    PYNETDICOM_SCU,
    Run,
    Sender,
    Server,
    rate,
    script,
    transfer,
    wall,
)
from tests.bench.report import Report, cell
from tests.bench.rounds import Case, Options, Rounds, Workload, interleaved, measured, middle
from tests.data.generate import series
from tests.peers.scp import Running, dcmtk_scp, pynetdicom_scp
from tests.peers.scu import DCMTK_ENV
from tests.support.process import LOOPBACK, must_succeed

DISK = Path("/var/tmp")
ECHOES = 10_000
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
"""Has a start-up that was not the first one find its modules compiled, as installed ones are."""


def between(sender: Sender, server: Server) -> Callable[[Sequence[Path], Path], Run]:
    """Return the transfer from an SCU to an SCP."""
    return functools.partial(transfer, sender, server)


def ours(*options: str) -> Server:
    """Return our storescp with options."""
    return lambda folder: measure.storescp(folder, *options)


def dcmtk(*options: str, best: bool = True) -> Server:
    """Return DCMTK's storescp at its best, or as installed."""
    if best:
        return lambda folder: dcmtk_scp(folder, "+xa", *measure.DCMTK_BEST, *options)
    return lambda folder: dcmtk_scp(folder, env={})


FAST = ours("--mode", "fast")
FLOOR = "floor in C"
OURS = "ours -> ours (fast, scanner on)"
BEST = "DCMTK -> DCMTK +B, best"
INTO_OURS = "DCMTK best -> ours (fast)"
CASES = [
    Case(OURS, between(measure.OURS, FAST), key=True),
    Case(BEST, between(measure.DCMTK, dcmtk("+B")), key=True),
    Case("ours -> DCMTK +B, best", between(measure.OURS, dcmtk("+B"))),
    Case(INTO_OURS, between(measure.DCMTK, FAST), key=True),
    Case("DCMTK -> DCMTK, parsing, best", between(measure.DCMTK, dcmtk())),
    Case("ours -> pynetdicom", between(measure.OURS, pynetdicom_scp), share=0.2),
    Case("pynetdicom -> ours (fast)", between(measure.PYNETDICOM, FAST), share=0.05),
    Case("pynetdicom -> pynetdicom", between(measure.PYNETDICOM, pynetdicom_scp), share=0.03),
]
# It takes over a second to crash at its end, so that only much data says something.
MUCH = [Case("gdcmscu -> ours (fast)", between(measure.GDCM, FAST))]
OURS_INSTALLED = "ours as installed, both ends"
DCMTK_INSTALLED = "DCMTK as installed, both ends"
INSTALLED = [
    Case(OURS_INSTALLED, between(measure.OURS_INSTALLED, ours()), key=True),
    Case(
        DCMTK_INSTALLED,
        between(measure.DCMTK_INSTALLED, dcmtk(best=False)),
        share=0.03,
        key=True,
    ),
]


def transfers(
    report: Report, workload: Workload, cases: Sequence[Case], options: Options, floor: Path
) -> Rounds:
    """Add the rows of one workload."""
    least = Case(FLOOR, functools.partial(measure.floor, floor), key=True)
    seen = measured(report, workload, [least, *cases], options)
    for name in seen.runs:
        report.add(
            workload.name,
            name,
            seen.rate(name),
            cell(seen.ratio(name, FLOOR)),
            cell(seen.ratio(name, BEST)),
            seen.memory(name),
        )
    return seen


def as_installed(report: Report, workload: Workload, options: Options) -> None:
    """Add what users get without any option."""
    seen = measured(report, workload, INSTALLED, options)
    for name in seen.runs:
        report.add(workload.name, name, seen.rate(name), "", "", seen.memory(name))
    if not options.peers_only:
        ratio = seen.ratio(OURS_INSTALLED, DCMTK_INSTALLED)
        report.least(f"{workload.name}, as installed", "DCMTK as installed", 50, ratio)


def disk() -> str:
    """Name the disk and its file system."""
    kind = must_succeed(["findmnt", "-n", "-o", "FSTYPE", "-T", str(DISK)]).strip()
    return f"{DISK} ({kind})"


def durability(report: Report, workload: Workload, options: Options) -> None:
    """Price the modes on a real disk."""
    where = disk()
    cases = [
        Case(f"ours -> ours, {mode}", between(measure.OURS, ours("--mode", mode)), key=True)
        for mode in ("durable", "file-only", "fast")
    ]
    seen = measured(report, workload, cases, options, options.disk)
    for name in seen.runs:
        report.add(
            workload.name, f"{name}, on disk: {where}", seen.rate(name), "", "", seen.memory(name)
        )


def huge(report: Report, folder: Path, small: Path) -> None:
    """Add the growth of both processes by an instance of 2 GiB."""
    size = 2 << 30
    what, limit = "growth of a process by a 2 GiB instance", "32 MiB at most"
    free = os.statvfs(MEMORY).f_bavail * os.statvfs(MEMORY).f_frsize
    if free < 2.5 * size:
        report.aim(what, limit, f"not measured: {MEMORY} has {free / MIB:.0f} MiB free", met=False)
        return
    (instance,) = series(folder, "huge", 1, (1024, 1024, 1024))
    one = transfer(measure.OURS, FAST, [small], MEMORY)
    run = transfer(measure.OURS, FAST, [instance], MEMORY)
    instance.unlink()
    rate = f"{run.bytes / run.seconds / 1e6:,.0f} MB/s"
    memory = f"{run.sender_rss / MIB:.0f} / {run.receiver_rss / MIB:.0f} MiB"
    report.add("1 x 2 GiB", OURS, rate, "", "", memory)
    sender = (run.sender_rss - one.sender_rss) / MIB
    receiver = (run.receiver_rss - one.receiver_rss) / MIB
    report.aim(
        what,
        limit,
        f"sender +{sender:.0f} MiB, receiver +{receiver:.0f} MiB over one of 0.5 MiB",
        max(sender, receiver) <= 32,
    )


def repeated(program: Sequence[str], running: Running) -> float:
    """Return C-ECHOs a second of a program with --repeat, its start-up deducted."""
    to = running.target
    argv = [*program, "-aec", to.title, LOOPBACK, str(to.port)]
    once = wall(argv, DCMTK_ENV)
    return (ECHOES - 1) / max(wall([*argv, "--repeat", str(ECHOES)], DCMTK_ENV) - once, 1e-6)


def echoes(report: Report, folder: Path, options: Options) -> None:
    """Add the rates of messages and associations."""
    few = 2 if options.quick else 1
    command = f"C-ECHO, --repeat {ECHOES:,}"
    python = "C-ECHO, Python loop"
    whole = "associate + echo + release, Python"
    cases: dict[tuple[str, str], Callable[[], float]] = {}
    with contextlib.ExitStack() as stack:
        own = None if options.peers_only else stack.enter_context(FAST(folder))
        if own is not None:
            echo, assoc = script(OUR_SCU, "echo", ECHOES), script(OUR_SCU, "assoc", 1000 // few)
            cases[command, "ours -> ours"] = lambda: repeated([measure.DIMSE, "echoscu"], own)
            cases[command, "DCMTK -> ours"] = lambda: repeated(["echoscu"], own)
            cases[python, "ours -> ours"] = lambda: rate(echo, own)
            cases[whole, "ours -> ours"] = lambda: rate(assoc, own)
        with report.attempt("C-ECHO, DCMTK"):
            theirs = stack.enter_context(dcmtk_scp(folder))
            cases[command, "DCMTK -> DCMTK"] = lambda: repeated(["echoscu"], theirs)
            if own is not None:
                cases[command, "ours -> DCMTK"] = lambda: repeated(
                    [measure.DIMSE, "echoscu"], theirs
                )
        with report.attempt("C-ECHO, pynetdicom"):
            pynetdicom = stack.enter_context(pynetdicom_scp(folder))
            both = "pynetdicom -> pynetdicom"
            for what, words in [(python, ("echo", 400 // few)), (whole, ("assoc", 40 // few))]:
                case = functools.partial(rate, script(PYNETDICOM_SCU, *words), pynetdicom)
                cases[what, both] = case
        rates = interleaved(report, 3 if options.quick else 7, cases)
    services.add_rates(report, rates)
    if options.peers_only:
        return
    for what, peer, times in [
        (command, "DCMTK", 2),
        (python, "pynetdicom", 50),
        (whole, "pynetdicom", 30),
    ]:
        ratio = services.ratio(rates, what, "ours -> ours", f"{peer} -> {peer}")
        report.least(what, peer, times, ratio)


def start_up(report: Report, folder: Path, options: Options) -> None:
    """Add what importing and a single echo cost beyond a bare interpreter."""
    with measure.storescp(folder) as own:
        to = own.target
        echo = [measure.DIMSE, "echoscu", "-aec", to.title, LOOPBACK, str(to.port)]
        seconds = interleaved(
            report,
            9 if options.quick else 21,
            {
                "bare": lambda: wall([sys.executable, "-c", "pass"], COMPILED),
                "import": lambda: wall([sys.executable, "-c", "import dimse_rs"], COMPILED),
                "AE": lambda: wall([sys.executable, "-c", "from dimse_rs import AE"], COMPILED),
                "echo": lambda: wall(echo, COMPILED),
            },
        )
    bare = (middle(seconds["bare"]) or 0) * 1e3
    for what, name, limit in [
        ("import dimse_rs", "import", 60),
        ("from dimse_rs import AE", "AE", 40),
        ("dimse echoscu", "echo", 150),
    ]:
        over = statistics.median(map(operator.sub, seconds[name], seconds["bare"])) * 1e3
        text = f"{over:.0f} ms over {bare:.0f} ms"
        report.aim(
            f"{what}, start to end", f"{limit} ms over bare Python at most", text, over < limit
        )


def stores(report: Report, workloads: Sequence[Workload], options: Options, floor: Path) -> None:
    """Add the rows of C-STORE over one association, and their aims."""
    aims = [(0.75, 1.1, 1.0), (0.6, 3.0, 1.1), (0.85, 1.0, None)]
    for workload, (of_floor, of_best, received) in zip(workloads, aims, strict=True):
        # gdcmscu gets the workload that is long beside the second of its end.
        cases = [*CASES, *MUCH] if workload is workloads[0] else CASES
        seen = transfers(report, workload, cases, options, floor)
        if options.peers_only:
            continue
        report.least(workload.name, "the floor", of_floor, seen.ratio(OURS, FLOOR))
        report.least(workload.name, "DCMTK +B", of_best, seen.ratio(OURS, BEST))
        if received:
            what = f"{workload.name}, {INTO_OURS}"
            report.least(what, "DCMTK +B", received, seen.ratio(INTO_OURS, BEST))


Step = tuple[str, Callable[[], None]]


def steps(report: Report, folder: Path, options: Options) -> Iterator[Step]:
    """Give all measurements by name."""
    quick = options.quick
    floor = folder / "floor"
    yield "compiling the floor", lambda: measure.build_floor(floor)
    count, rounds = (200, 5) if quick else (600, 9)
    ct = Workload(f"{count} x 512 KiB", series(folder, "CT", count), rounds)
    count = 1000 if quick else 2000
    files = series(folder, "small", count, (1, 32, 50))
    small = Workload(f"{count:,} x 5 KB", files, rounds, small=True)
    big = Workload("3 x 256 MiB", series(folder, "big", 3, (128, 1024, 1024)), 3 if quick else 5)
    few = dataclasses.replace(ct, rounds=3)
    few_rounds = 1 if quick else 3
    (folder / "echo").mkdir()
    yield "C-STORE", lambda: stores(report, [ct, small, big], options, floor)
    for path in big.files:
        path.unlink()
    yield "as installed", lambda: as_installed(report, few, options)
    yield "TLS", lambda: secure.transfers(report, few, options)
    yield "C-ECHO", lambda: echoes(report, folder / "echo", options)
    yield "queries", lambda: services.queries(report, options)
    if options.peers_only:
        return
    yield "2 GiB", lambda: huge(report, folder, ct.files[0])
    # What is stored on the disk stays there until the end.
    for kind, count in [(ct, 100 if quick else 200), (small, 100 if quick else 2000)]:
        name = f"{count:,} x {kind.name.partition(' x ')[2]}"
        some = dataclasses.replace(kind, name=name, files=kind.files[:count], rounds=few_rounds)
        yield "modes", functools.partial(durability, report, some, options)
    retrieved = dataclasses.replace(ct, rounds=3 if quick else 5)
    yield "retrievals", lambda: services.retrievals(report, retrieved, options)
    window = small.files[: 64 if quick else 200]
    yield "window", lambda: services.window(report, window, options)
    yield "crowd", lambda: services.crowd(report, folder, small.files[:10], options)
    yield "start", lambda: start_up(report, folder / "echo", options)
    if quick:
        return
    curved = [dataclasses.replace(workload, rounds=5) for workload in (small, ct)]
    yield "associations at once", lambda: at_once.curves(report, curved, options, floor)
    stored = Workload("1,000 x 5 KB", small.files[:1000], 5, small=True)
    yield "durable", lambda: at_once.durable(report, stored, options, floor, disk())
    counted = {counts.SMALL: small.files[:1000], counts.SLICE: ct.files[:300]}
    yield "counts", lambda: counts.add(report, counted)
    yield "index", lambda: index.rows(report, folder, small.files, options)


def main() -> None:
    """Measure, then print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under three minutes")
    parser.add_argument("--peers-only", action="store_true", help="without our own programs")
    parser.add_argument("--only", metavar="WORD", help="only steps whose name has the word")
    words = parser.parse_args()
    report = Report()
    start = time.monotonic()
    with measure.scratch(MEMORY) as folder, measure.scratch(DISK) as on_disk:
        options = Options(words.quick, words.peers_only, on_disk)
        try:
            for name, step in steps(report, folder, options):
                if words.only is None or words.only in name or name.startswith("compiling"):
                    began = time.monotonic()
                    with report.attempt(name):
                        step()
                    print(f" {name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        except KeyboardInterrupt:
            report.failures["the rest"] = "interrupted"
    taken = time.monotonic() - start
    print(f" {taken:.0f} s", file=sys.stderr)
    print(report)


if __name__ == "__main__":
    main()
