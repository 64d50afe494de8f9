"""`make bench`: one Markdown table of rates, memory and the aims, all measured in one run.

Ratios travel between machines, absolute figures do not. Output goes to memory (/dev/shm) unless the
row says disk; rounds are interleaved and medians are shown. `--quick` takes less data and fewer
rounds: under three minutes.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import measure
from tests.bench.measure import Run, Sender, Server, transfer, wall
from tests.data.generate import series
from tests.peers.process import LOOPBACK
from tests.peers.scp import Running, dcmtk_scp, dimse_scp, pynetdicom_scp
from tests.peers.scu import DCMTK_ENV, HERE, must_succeed

MEMORY = Path("/dev/shm")
DISK = Path("/var/tmp")
MIB = 1 << 20
ECHOES = 10_000


@dataclass(frozen=True)
class Options:
    """How much is measured."""

    quick: bool
    peers_only: bool

    @property
    def rounds(self) -> int:
        """Rounds of the cases that an aim is about; the others get a third of them."""
        return 3 if self.quick else 7


@dataclass(frozen=True)
class Case:
    """Who sends to whom, and how many of the files (slow pairs get fewer)."""

    name: str
    sender: Sender
    server: Server
    share: float = 1.0
    key: bool = False


@dataclass(frozen=True)
class Workload:
    """Files of one kind."""

    name: str
    files: Sequence[Path]
    small: bool = False
    """Rated in files a second rather than bytes."""

    def rate(self, run: Run) -> float:
        """Return files or bytes a second."""
        return (run.files if self.small else run.bytes) / run.seconds

    def show(self, run: Run) -> str:
        """Return the rate for people."""
        return (
            f"{self.rate(run):,.0f} files/s" if self.small else f"{self.rate(run) / 1e6:,.0f} MB/s"
        )


class Table:
    """The one table."""

    HEAD = (
        "what",
        "who",
        "measured",
        "of floor",
        "x DCMTK +B",
        "RSS sender / receiver",
        "aim",
        "met",
    )

    def __init__(self) -> None:
        """Start with the head."""
        self.rows: list[tuple[str, ...]] = []

    def add(self, what: str, who: str, measured: str, *cells: str) -> None:
        """Add a row; missing cells stay empty."""
        row = (what, who, measured, *cells)
        self.rows.append(row + ("",) * (len(self.HEAD) - len(row)))
        print(".", end="", file=sys.stderr, flush=True)

    def aim(self, what: str, who: str, measured: str, aim: str, met: bool) -> None:
        """Add a row that is only about an aim."""
        self.add(what, who, measured, "", "", "", aim, "yes" if met else "NO")

    def __str__(self) -> str:
        """Write Markdown."""
        lines = [self.HEAD, tuple("---" for _ in self.HEAD), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ours(*options: str) -> Server:
    """Return our storescp with options."""
    return lambda folder: dimse_scp(folder, *options)


def dcmtk(*options: str, best: bool = True) -> Server:
    """Return DCMTK's storescp at its best, or as installed."""
    if best:
        return lambda folder: dcmtk_scp(folder, "+xa", *measure.DCMTK_BEST, *options)
    return lambda folder: dcmtk_scp(folder, env={})


FAST = ours("--mode", "fast")
CASES = [
    Case("ours -> ours (fast, scanner on)", measure.OURS, FAST, key=True),
    Case("DCMTK -> DCMTK +B, best", measure.DCMTK, dcmtk("+B"), key=True),
    Case("ours -> DCMTK +B, best", measure.OURS, dcmtk("+B")),
    Case("DCMTK best -> ours (fast)", measure.DCMTK, FAST),
    Case("DCMTK -> DCMTK, parsing, best", measure.DCMTK, dcmtk()),
    Case("ours -> pynetdicom", measure.OURS, pynetdicom_scp, share=0.25),
    Case("pynetdicom -> ours (fast)", measure.PYNETDICOM, FAST, share=0.1),
    Case("pynetdicom -> pynetdicom", measure.PYNETDICOM, pynetdicom_scp, share=0.05),
]
INSTALLED = [
    Case("ours as installed, both ends", measure.OURS_INSTALLED, ours(), key=True),
    Case("DCMTK as installed, both ends", measure.DCMTK_INSTALLED, dcmtk(best=False), share=0.03),
]


def needs_us(case: Case) -> bool:
    """Tell whether a case needs our own programs."""
    return "ours" in case.name


def measured(
    workload: Workload, cases: Sequence[Case], options: Options, floor: Path | None
) -> tuple[dict[str, Run], Run | None]:
    """Run the cases in interleaved rounds; return medians and the floor's."""
    runs: dict[str, list[Run]] = {case.name: [] for case in cases}
    floors: list[Run] = []
    for number in range(options.rounds):
        if floor:
            floors.append(measure.floor(floor, workload.files, MEMORY))
        for case in cases:
            if case.key or number % 3 == 0:
                count = max(2, round(len(workload.files) * case.share))
                runs[case.name].append(
                    transfer(case.sender, case.server, workload.files[:count], MEMORY)
                )
    medians = {name: measure.median(seen) for name, seen in runs.items()}
    return medians, measure.median(floors) if floors else None


def memory(run: Run) -> str:
    """Show the peak memory of both sides."""
    return f"{run.sender_rss / MIB:.0f} / {run.receiver_rss / MIB:.0f} MiB"


def transfers(table: Table, workload: Workload, options: Options, floor: Path) -> None:
    """Add the rows of one workload, with the aims for it."""
    cases = [case for case in CASES if not (options.peers_only and needs_us(case))]
    medians, least = measured(workload, cases, options, floor)
    assert least is not None
    best = workload.rate(medians["DCMTK -> DCMTK +B, best"])
    table.add(
        workload.name,
        "floor in C",
        workload.show(least),
        "1.00",
        f"{workload.rate(least) / best:.2f}",
    )
    for case in cases:
        run = medians[case.name]
        of_floor, of_best = workload.rate(run) / workload.rate(least), workload.rate(run) / best
        aim, met = "", ""
        if case.name.startswith("ours -> ours"):
            aim, good = {
                "CT": ("0.75 of the floor, above DCMTK +B", of_floor >= 0.75 and of_best > 1),
                "small": ("0.55 of the floor, 2.5 x DCMTK +B", of_floor >= 0.55 and of_best >= 2.5),
                "big": ("at least DCMTK +B", of_best >= 1),
            }[workload.files[0].parent.name]
            met = "yes" if good else "NO"
        table.add(
            workload.name,
            case.name,
            workload.show(run),
            f"{of_floor:.2f}",
            f"{of_best:.2f}",
            memory(run),
            aim,
            met,
        )


def as_installed(table: Table, workload: Workload, options: Options) -> None:
    """Add what users get without any option."""
    cases = [case for case in INSTALLED if not (options.peers_only and needs_us(case))]
    medians, _ = measured(workload, cases, options, None)
    for name, run in medians.items():
        aim, met = "", ""
        if name.startswith("ours"):
            ratio = workload.rate(run) / workload.rate(medians[INSTALLED[1].name])
            aim, met = (
                "50 x DCMTK as installed",
                f"{'yes' if ratio >= 50 else 'NO'} ({ratio:.0f} x)",
            )
        table.add(workload.name, name, workload.show(run), "", "", memory(run), aim, met)


def file_system(path: Path) -> str:
    """Name the file system of a path."""
    return must_succeed(["stat", "-f", "-c", "%T", str(path)]).strip()


def durability(table: Table, workloads: Sequence[Workload], options: Options) -> None:
    """Price the modes on a real disk."""
    where = f"{DISK} ({file_system(DISK)})"
    for workload in workloads:
        files = workload.files[:100] if options.quick else workload.files
        few = Workload(workload.name, files, workload.small)
        for mode in ("durable", "file-only", "fast"):
            server = ours("--mode", mode)
            run = measure.median(
                [
                    transfer(measure.OURS, server, files, DISK)
                    for _ in range(1 if options.quick else 3)
                ]
            )
            table.add(
                workload.name,
                f"ours -> ours, {mode}, on disk: {where}",
                few.show(run),
                "",
                "",
                memory(run),
            )


def huge(table: Table, folder: Path, small: Path) -> None:
    """Add the growth of both processes by an instance of 2 GiB."""
    size = 2 << 30
    free = os.statvfs(MEMORY).f_bavail * os.statvfs(MEMORY).f_frsize
    if free < 2.5 * size:
        table.add(
            "2 GiB instance",
            "ours -> ours (fast)",
            f"not measured: {MEMORY} has {free / MIB:.0f} MiB free",
        )
        return
    (instance,) = series(folder, "huge", 1, (1024, 1024, 1024))
    one = transfer(measure.OURS, FAST, [small], MEMORY)
    run = transfer(measure.OURS, FAST, [instance], MEMORY)
    instance.unlink()
    grown = [
        (run.sender_rss - one.sender_rss) / MIB,
        (run.receiver_rss - one.receiver_rss) / MIB,
    ]
    rate = f"{run.bytes / run.seconds / 1e6:,.0f} MB/s"
    table.aim(
        "2 GiB instance",
        "ours -> ours (fast)",
        f"{rate}; sender +{grown[0]:.0f} MiB, receiver +{grown[1]:.0f} MiB over one of 0.5 MiB",
        "neither grows by more than 32 MiB",
        max(grown) <= 32,
    )


def loop(script: Path, what: str, running: Running, count: int) -> float:
    """Return operations a second of a timed Python loop."""
    to = running.target
    argv = [sys.executable, str(script), what, str(to.port), to.title, str(count)]
    report = json.loads(must_succeed(argv, seconds=measure.LIMIT_SECONDS))
    return float(report["count"] / report["seconds"])


def repeated(program: Sequence[str], running: Running) -> float:
    """Return C-ECHOs a second of a program with --repeat, its start-up deducted."""
    to = running.target
    argv = [*program, "-aec", to.title, LOOPBACK, str(to.port)]
    once = wall(argv, DCMTK_ENV)
    return (ECHOES - 1) / max(wall([*argv, "--repeat", str(ECHOES)], DCMTK_ENV) - once, 1e-6)


def echoes(table: Table, folder: Path, options: Options) -> None:
    """Add the rates of messages and associations."""
    rounds = 3 if options.quick else 5
    with (
        dcmtk_scp(folder) as theirs,
        pynetdicom_scp(folder) as pynetdicom,
    ):
        cases: dict[str, Callable[[], float]] = {
            "DCMTK": lambda: repeated(["echoscu"], theirs),
            "pynetdicom loop": lambda: loop(HERE / "pynetdicom_scu.py", "echo", pynetdicom, 300),
            "pynetdicom assoc": lambda: loop(HERE / "pynetdicom_scu.py", "assoc", pynetdicom, 40),
        }
        if options.peers_only:
            rates = measure.interleaved(rounds, cases)
        else:
            script = measure.BENCH / "dimse_scu.py"
            with dimse_scp(folder, "--mode", "fast") as own:
                cases |= {
                    "ours": lambda: repeated([measure.DIMSE, "echoscu"], own),
                    "ours to DCMTK": lambda: repeated([measure.DIMSE, "echoscu"], theirs),
                    "DCMTK to ours": lambda: repeated(["echoscu"], own),
                    "loop": lambda: loop(script, "echo", own, ECHOES),
                    "assoc": lambda: loop(script, "assoc", own, 1000),
                }
                rates = measure.interleaved(rounds, cases)
    command = f"C-ECHO, --repeat {ECHOES:,}"
    python = "C-ECHO, Python loop"
    whole = "associate + echo + release, Python"
    table.add(command, "DCMTK -> DCMTK", f"{rates['DCMTK']:,.0f}/s")
    table.add(python, "pynetdicom -> pynetdicom", f"{rates['pynetdicom loop']:,.0f}/s")
    table.add(whole, "pynetdicom -> pynetdicom", f"{rates['pynetdicom assoc']:,.0f}/s")
    if options.peers_only:
        return
    table.add(command, "ours -> DCMTK", f"{rates['ours to DCMTK']:,.0f}/s")
    table.add(command, "DCMTK -> ours", f"{rates['DCMTK to ours']:,.0f}/s")
    for what, mine, other, times in [
        (command, "ours", "DCMTK", 2),
        (python, "loop", "pynetdicom loop", 40),
        (whole, "assoc", "pynetdicom assoc", 30),
    ]:
        ratio = rates[mine] / rates[other]
        table.aim(
            what,
            "ours -> ours",
            f"{rates[mine]:,.0f}/s, {ratio:.1f} x",
            f"{times} x {other.split()[0]}",
            ratio >= times,
        )


def start_up(table: Table, folder: Path, options: Options) -> None:
    """Add what importing and a single echo cost beyond a bare interpreter."""
    with dimse_scp(folder) as own:
        to = own.target
        echo = [measure.DIMSE, "echoscu", "-aec", to.title, LOOPBACK, str(to.port)]
        seconds = measure.interleaved(
            7 if options.quick else 21,
            {
                "bare": functools.partial(wall, [sys.executable, "-c", "pass"]),
                "import": functools.partial(wall, [sys.executable, "-c", "import dimse_rs"]),
                "echo": functools.partial(wall, echo),
            },
        )
    for what, name, limit in [("import dimse_rs", "import", 60), ("dimse echoscu", "echo", 150)]:
        over = (seconds[name] - seconds["bare"]) * 1e3
        table.aim(
            what,
            "ours",
            f"{over:.0f} ms over bare Python ({seconds['bare'] * 1e3:.0f} ms)",
            f"under {limit} ms over bare Python",
            over < limit,
        )


def main() -> None:
    """Measure, then print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under three minutes")
    parser.add_argument("--peers-only", action="store_true", help="without our own programs")
    words = parser.parse_args()
    options = Options(words.quick, words.peers_only)
    table = Table()
    with measure.scratch(MEMORY) as folder:
        floor = measure.build_floor(folder)
        ct = Workload(
            f"{200 if options.quick else 600} x 512 KiB",
            series(folder, "CT", 200 if options.quick else 600),
        )
        small = Workload(
            f"{1000 if options.quick else 2000:,} x 5 KB",
            series(folder, "small", 1000 if options.quick else 2000, (1, 32, 50)),
            small=True,
        )
        big = Workload(
            "3 x 256 MiB",
            series(folder, "big", 3, (128, 1024, 1024)),
        )
        for workload in (ct, small, big):
            transfers(table, workload, options, floor)
        as_installed(table, ct, options)
        for path in big.files:
            path.unlink()
        (folder / "echo").mkdir()
        if not options.peers_only:
            huge(table, folder, ct.files[0])
            durability(table, (ct, small), options)
            start_up(table, folder / "echo", options)
        echoes(table, folder / "echo", options)
    print(file=sys.stderr)
    print(table)


if __name__ == "__main__":
    main()
