"""Load: `make bench-load`. Prints what servers do under it as a Markdown table, and the aims.

Every server gets the same bytes, from raw sockets of another process (`clients.py`); memory, time,
descriptors and threads are the kernel's word on the server (`proc.py`). A peer that cannot stand
the numbers asked of ours gets smaller ones, and the row says which. `--quick` takes a few minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.measure import MEMORY, MIB, scratch
from tests.bench.report import Report
from tests.load.node import all_descriptors
from tests.peers.scp import Running, announced, dcmtk_scp, pynetdicom_scp
from tests.support.proc import KIB, Usage, Watch, usage
from tests.support.process import PeerError, Process

OPENING = 120.0
"""Seconds that all associations of a row may take to be there."""
INSTANCE = 128 * KIB
CALLERS = 3
"""Processes that associate again and again."""
WARM_UP = 5


@dataclass(frozen=True)
class Sizes:
    """How much of everything a server gets; 0 leaves a row out."""

    idle: int
    store: int
    hostile: int
    rate_seconds: int


@dataclass(frozen=True)
class Length:
    """Seconds that the rows take."""

    idle: float
    store: float
    hostile: float
    settle: float = 3.0
    """After which what was busy a moment ago is idle."""


@dataclass(frozen=True)
class Server:
    """Somebody who is measured."""

    name: str
    start: Callable[[Path], contextlib.AbstractContextManager[Running]]
    sizes: Sizes


def ours(folder: Path) -> contextlib.AbstractContextManager[Running]:
    """Run our server."""
    return announced([sys.executable, "-m", "tests.load.node", str(folder)], "LOAD", folder)


def servers(quick: bool) -> list[Server]:
    """Who is measured, and how much of it they get."""
    few = 4 if quick else 1
    short = 10 if quick else 20
    return [
        Server("ours", ours, Sizes(10_000 // few, 1000 // few, 500 // few, 60 // few)),
        Server("pynetdicom", pynetdicom_scp, Sizes(25, 25, 40, short)),
        Server(
            "DCMTK --fork",
            lambda folder: dcmtk_scp(folder, "--fork", "+B", "+xa"),
            Sizes(500 // few, 200 // few, 100 // few, short),
        ),
    ]


@contextlib.contextmanager
def client(what: str, running: Running, *words: object) -> Iterator[Process]:
    """Run a client of a server."""
    to = running.target
    argv = [sys.executable, "-m", "tests.load.clients", what, str(to.port), to.title]
    with Process([*argv, *map(str, words)]) as process:
        yield process


def said(process: Process, event: str, seconds: float) -> dict[str, Any]:
    """Wait for what a client says."""
    line = process.wait_for_line(lambda line: f'"{event}"' in line, seconds)
    found: dict[str, Any] = json.loads(line)
    return found


class LoadReport(Report):
    """What was measured under load, and the aims."""

    HEAD = ("what", "who", "how many", "measured", "memory", "threads, descriptors")
    AIMS = ("aim, ours", "limit", "measured", "met")


def _mib(size: float) -> str:
    return f"{size / MIB:,.0f} MiB"


def _counts(most: Usage) -> str:
    return f"{most.threads:,}, {most.descriptors:,}"


def idle(report: LoadReport, server: Server, folder: Path, length: Length) -> None:
    """Associations that say nothing."""
    count, what = server.sizes.idle, "idle associations"
    with server.start(folder) as running:
        pid = running.process.pid
        with client(
            "idle", running, 1, 0.0
        ) as first:  # what is loaded with the first is not theirs
            said(first, "answered", OPENING)
        before = usage(pid)
        with client("idle", running, count, length.idle + 2 * length.settle) as crowd:
            opened = said(crowd, "ready", OPENING)["seconds"]
            time.sleep(length.settle)
            start, begun = usage(pid), time.monotonic()
            time.sleep(length.idle)
            end, seconds = usage(pid), time.monotonic() - begun
            said(crowd, "answered", OPENING)
        each = (end.rss - before.rss) / count / KIB
        share = 100 * (end.seconds - start.seconds) / seconds
    measured = (
        f"{each:.1f} KiB each, {share:.2f} % CPU over {seconds:.0f} s, open in {opened:.1f} s"
    )
    memory = f"{_mib(before.rss)} -> {_mib(end.rss)}"
    report.add(what, server.name, f"{count:,}", measured, memory, _counts(end))
    if server.name == "ours":
        report.aim(
            f"memory of each of {count:,} idle associations",
            "16 KiB",
            f"{each:.1f} KiB",
            each <= 16,
        )
        report.aim(f"CPU of {count:,} idle associations", "1 %", f"{share:.2f} %", share < 1)


def store(report: LoadReport, server: Server, folder: Path, length: Length) -> None:
    """Associations that store, all at once."""
    count = server.sizes.store
    with (
        server.start(folder) as running,
        Watch(running.process.pid) as watch,
        client("store", running, count, float(length.store), INSTANCE) as crowd,
    ):
        said(crowd, "ready", OPENING)
        seen = said(crowd, "stored", length.store + OPENING)
        peak = running.process.peak_rss()
    most = watch.most()
    peak = max(peak, most.rss)
    spread = seen["most"] / max(seen["least"], 0.1)
    measured = (
        f"{seen['total'] * seen['size'] / length.store / 1e6:,.0f} MB/s,"
        f" {seen['least']} to {seen['most']} each,"
        f" longest wait {seen['worst']:.1f} s, {seen['failed']} refused"
    )
    report.add("storing at once", server.name, f"{count:,}", measured, _mib(peak), _counts(most))
    if server.name == "ours":
        what = f"{count:,} storing at once"
        report.aim(f"{what}, memory", "512 MiB", _mib(peak), peak <= 512 * MIB)
        report.aim(f"{what}, fastest / slowest", "4", f"{spread:.2f}", spread <= 4)


def rate(report: LoadReport, server: Server, folder: Path, length: Length) -> None:
    """Associations that come, echo and go."""
    seconds = server.sizes.rate_seconds
    with server.start(folder) as running:
        pid = running.process.pid
        with client("rate", running, CALLERS, float(min(seconds, WARM_UP))) as warm:
            said(warm, "done", OPENING)
        time.sleep(length.settle)
        before = usage(pid)
        with client("rate", running, CALLERS, float(seconds)) as callers:
            seen = said(callers, "done", seconds + OPENING)
        time.sleep(length.settle)
        after = usage(pid)
    per_second = seen["total"] / seconds
    slowest = min(seen["by_second"][:-1], default=0)
    growth = (after.rss - before.rss) / MIB
    more = after.descriptors - before.descriptors, after.threads - before.threads
    report.add(
        "associate + echo + release",
        server.name,
        f"{CALLERS} callers, {seconds} s",
        f"{per_second:,.0f}/s, slowest second {slowest:,}",
        f"{_mib(before.rss)} {growth:+.1f} MiB",
        _counts(after),
    )
    if server.name == "ours":
        what = f"associate + echo + release, {seconds} s"
        report.aim(what, "1,000/s", f"{per_second:,.0f}/s", per_second >= 1000)
        flat = f"{growth:+.1f} MiB, {more[0]:+d} descriptors, {more[1]:+d} threads"
        report.aim(f"{what}, growth", "none (2 MiB)", flat, growth <= 2 and max(more) <= 0)


def hostile(report: LoadReport, server: Server, folder: Path, length: Length) -> None:
    """Well-behaved peers among those that dribble or do not read."""
    count, seconds = server.sizes.hostile, float(length.hostile)
    what = "echo among slow-loris and zero-window peers"
    with server.start(folder) as running, Watch(running.process.pid) as watch:
        with client("echo", running, seconds / 2) as probe:
            alone = said(probe, "echoed", OPENING)
        with client("slow", running, count) as slow, client("stuck", running, count) as stuck:
            said(slow, "ready", OPENING)
            said(stuck, "ready", OPENING)
            with client("echo", running, seconds) as probe:
                among = said(probe, "echoed", seconds + OPENING)
        peak = running.process.peak_rss()
    most = watch.most()
    worst = among["standing"]["p99"]
    measured = "; ".join(
        f"{name}: p50 {found['p50']:.1f}, p99 {found['p99']:.1f}, most {found['max']:.0f} ms"
        f" (alone p99 {alone[of]['p99']:.1f})"
        for of, name in (("standing", "echo"), ("whole", "with association"))
        for found in [among[of]]
    )
    many = f"{count:,} + {count:,}"
    report.add(what, server.name, many, measured, _mib(max(peak, most.rss)), _counts(most))
    if server.name == "ours":
        report.aim(f"{what}, {many}, p99", "100 ms", f"{worst:.1f} ms", worst < 100)


ROWS = {"idle": idle, "store": store, "rate": rate, "hostile": hostile}


def measure(report: LoadReport, names: list[str], who: list[Server], length: Length) -> None:
    """Go through the rows; a server that does not survive one has that for a result."""
    for name in names:
        for server in who:
            with scratch(MEMORY) as folder:
                try:
                    ROWS[name](report, server, folder, length)
                except PeerError as error:
                    if server.name == "ours":
                        raise
                    lines = str(error).splitlines()
                    report.add(name, server.name, "", f"did not survive: {lines[-1][-200:]}")
                    print(error, file=sys.stderr)


def main() -> None:
    """Measure, then print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few minutes")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)}")
    parser.add_argument("--who", default="ours,pynetdicom,DCMTK --fork")
    words = parser.parse_args()
    all_descriptors()
    report = LoadReport()
    begun = time.monotonic()
    who = [server for server in servers(words.quick) if server.name in words.who.split(",")]
    length = Length(10, 10, 10) if words.quick else Length(20, 20, 30)
    measure(report, words.rows.split(","), who, length)
    print(f" {time.monotonic() - begun:.0f} s", file=sys.stderr)
    print(report)


if __name__ == "__main__":
    main()
