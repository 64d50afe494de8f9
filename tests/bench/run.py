"""`make bench`: rates, memory and the aims in Markdown, all measured in one run.

Ratios travel between machines, absolute figures do not. Output goes to memory (/dev/shm) unless the
row says disk; rounds are interleaved, rates are medians, ratios the medians of those within each
round. `--quick` takes less data and fewer rounds: under three minutes.
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
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import counts, measure, secure, services
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
from tests.bench.report import Report
from tests.bench.rounds import Case, Options, Rounds, Workload, measured
from tests.data.generate import series
from tests.peers.scp import Running, dcmtk_scp, dimse_scp, pynetdicom_scp
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
    return lambda folder: dimse_scp(folder, *options)


def dcmtk(*options: str, best: bool = True) -> Server:
    """Return DCMTK's storescp at its best, or as installed."""
    if best:
        return lambda folder: dcmtk_scp(folder, "+xa", *measure.DCMTK_BEST, *options)
    return lambda folder: dcmtk_scp(folder, env={})


FAST = ours("--mode", "fast")
FLOOR = "floor in C"
OURS = "ours -> ours (fast, scanner on)"
BEST = "DCMTK -> DCMTK +B, best"
CASES = [
    Case(OURS, between(measure.OURS, FAST), key=True),
    Case(BEST, between(measure.DCMTK, dcmtk("+B")), key=True),
    Case("ours -> DCMTK +B, best", between(measure.OURS, dcmtk("+B"))),
    Case("DCMTK best -> ours (fast)", between(measure.DCMTK, FAST)),
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
    seen = measured(workload, [least, *cases], options)
    for name in seen.runs:
        report.add(
            workload.name,
            name,
            seen.rate(name),
            f"{seen.ratio(name, FLOOR):.2f}",
            f"{seen.ratio(name, BEST):.2f}",
            seen.memory(name),
        )
    return seen


def as_installed(report: Report, workload: Workload, options: Options) -> None:
    """Add what users get without any option."""
    seen = measured(workload, INSTALLED, options)
    for name in seen.runs:
        report.add(workload.name, name, seen.rate(name), "", "", seen.memory(name))
    if not options.peers_only:
        ratio = seen.ratio(OURS_INSTALLED, DCMTK_INSTALLED)
        report.least(f"{workload.name}, as installed", "DCMTK as installed", 50, ratio)


def file_system(path: Path) -> str:
    """Name the file system of a path."""
    return must_succeed(["findmnt", "-n", "-o", "FSTYPE", "-T", str(path)]).strip()


def durability(report: Report, workload: Workload, options: Options) -> None:
    """Price the modes on a real disk."""
    where = f"{DISK} ({file_system(DISK)})"
    cases = [
        Case(f"ours -> ours, {mode}", between(measure.OURS, ours("--mode", mode)), key=True)
        for mode in ("durable", "file-only", "fast")
    ]
    seen = measured(workload, cases, options, DISK)
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
    with (
        dcmtk_scp(folder) as theirs,
        pynetdicom_scp(folder) as pynetdicom,
        contextlib.nullcontext()
        if options.peers_only
        else dimse_scp(folder, "--mode", "fast") as own,
    ):
        command = f"C-ECHO, --repeat {ECHOES:,}"
        python = "C-ECHO, Python loop"
        whole = "associate + echo + release, Python"
        cases: dict[tuple[str, str], Callable[[], float]] = {
            (command, "DCMTK -> DCMTK"): lambda: repeated(["echoscu"], theirs),
            (python, "pynetdicom -> pynetdicom"): lambda: rate(
                script(PYNETDICOM_SCU, "echo", 400 // few), pynetdicom
            ),
            (whole, "pynetdicom -> pynetdicom"): lambda: rate(
                script(PYNETDICOM_SCU, "assoc", 40 // few), pynetdicom
            ),
        }
        if own is not None:
            cases |= {
                (command, "ours -> ours"): lambda: repeated([measure.DIMSE, "echoscu"], own),
                (command, "ours -> DCMTK"): lambda: repeated([measure.DIMSE, "echoscu"], theirs),
                (command, "DCMTK -> ours"): lambda: repeated(["echoscu"], own),
                (python, "ours -> ours"): lambda: rate(script(OUR_SCU, "echo", ECHOES), own),
                (whole, "ours -> ours"): lambda: rate(script(OUR_SCU, "assoc", 1000 // few), own),
            }
        rates = measure.interleaved(3 if options.quick else 7, cases)
    for (what, who), seen in sorted(rates.items()):
        report.add(what, who, f"{statistics.median(seen):,.0f}/s")
    if options.peers_only:
        return
    for what, peer, times in [
        (command, "DCMTK", 2),
        (python, "pynetdicom", 40),
        (whole, "pynetdicom", 30),
    ]:
        ratios = map(
            operator.truediv, rates[what, "ours -> ours"], rates[what, f"{peer} -> {peer}"]
        )
        report.least(what, peer, times, statistics.median(ratios))


def start_up(report: Report, folder: Path, options: Options) -> None:
    """Add what importing and a single echo cost beyond a bare interpreter."""
    with dimse_scp(folder) as own:
        to = own.target
        echo = [measure.DIMSE, "echoscu", "-aec", to.title, LOOPBACK, str(to.port)]
        seconds = measure.interleaved(
            9 if options.quick else 21,
            {
                "bare": lambda: wall([sys.executable, "-c", "pass"], COMPILED),
                "import": lambda: wall([sys.executable, "-c", "import dimse_rs"], COMPILED),
                "AE": lambda: wall([sys.executable, "-c", "from dimse_rs import AE"], COMPILED),
                "echo": lambda: wall(echo, COMPILED),
            },
        )
    bare = statistics.median(seconds["bare"]) * 1e3
    for what, name, limit in [
        ("import dimse_rs", "import", 60),
        ("from dimse_rs import AE", "AE", 60),
        ("dimse echoscu", "echo", 150),
    ]:
        over = statistics.median(map(operator.sub, seconds[name], seconds["bare"])) * 1e3
        text = f"{over:.0f} ms over {bare:.0f} ms"
        report.aim(
            f"{what}, start to end", f"{limit} ms over bare Python at most", text, over < limit
        )


def measure_all(report: Report, folder: Path, options: Options) -> None:
    """Generate the files and go through all measurements."""
    quick = options.quick
    floor = measure.build_floor(folder)
    count = 200 if quick else 600
    ct = Workload(f"{count} x 512 KiB", series(folder, "CT", count), 5 if quick else 9)
    count = 1000 if quick else 2000
    small = Workload(
        f"{count:,} x 5 KB",
        series(folder, "small", count, (1, 32, 50)),
        5 if quick else 9,
        small=True,
    )
    big = Workload("3 x 256 MiB", series(folder, "big", 3, (128, 1024, 1024)), 3 if quick else 5)
    seen = [
        transfers(report, workload, cases, options, floor)
        for workload, cases in [(ct, [*CASES, *MUCH]), (small, CASES), (big, CASES)]
    ]
    if not options.peers_only:
        for rounds, of_floor, of_best in zip(
            seen, (0.75, 0.55, None), (1.0, 2.5, 1.0), strict=True
        ):
            name = rounds.workload.name
            if of_floor:
                report.least(name, "the floor", of_floor, rounds.ratio(OURS, FLOOR))
            report.least(name, "DCMTK +B", of_best, rounds.ratio(OURS, BEST))
    as_installed(report, dataclasses.replace(ct, rounds=3), options)
    secure.transfers(report, dataclasses.replace(ct, rounds=3), options)
    for path in big.files:
        path.unlink()
    (folder / "echo").mkdir()
    if not options.peers_only:
        huge(report, folder, ct.files[0])
        for workload in (ct, small):
            files = workload.files[:100] if quick else workload.files
            durability(
                report,
                dataclasses.replace(workload, files=files, rounds=1 if quick else 3),
                options,
            )
    echoes(report, folder / "echo", options)
    services.queries(report, options)
    if not options.peers_only:
        services.retrievals(report, dataclasses.replace(ct, rounds=3 if quick else 5), options)
        services.window(report, small.files[: 64 if quick else 200], options)
        services.crowd(report, folder, small.files[:10], options)
    if not options.peers_only:
        start_up(report, folder / "echo", options)


def main() -> None:
    """Measure, then print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under three minutes")
    parser.add_argument("--peers-only", action="store_true", help="without our own programs")
    words = parser.parse_args()
    report = Report()
    start = time.monotonic()
    with measure.scratch(MEMORY) as folder:
        measure_all(report, folder, Options(words.quick, words.peers_only))
    print(f" {time.monotonic() - start:.0f} s", file=sys.stderr)
    print(report)


if __name__ == "__main__":
    main()
