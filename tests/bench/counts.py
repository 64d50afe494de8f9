"""`make bench-counts`: what an SCP costs for each instance that it receives, counted, not timed.

DCMTK's storescu sends over one association; the receivers are our storescp in mode `fast` and
DCMTK's at its best. Counted are voluntary task switches (a thread of the receiver goes to sleep)
and system calls. Counts hardly depend on the machine and its load, so that a test can bound them.
"""

from __future__ import annotations

import re
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import measure
from tests.bench.report import FAULTS, Report
from tests.data.generate import series
from tests.peers.scp import Running, dcmtk_scp
from tests.peers.scu import DCMTK_ENV
from tests.support.process import PeerError, Process, must_succeed

HEAD = ("an instance of", "received by", "voluntary switches", "system calls", "futex", "the calls")
OURS, DCMTK = "ours (fast)", "DCMTK +B, best"
RECEIVERS: Mapping[str, measure.Server] = {
    OURS: lambda folder: measure.storescp(folder, "--mode", "fast"),
    DCMTK: lambda folder: dcmtk_scp(folder, "+B", "+xa", *measure.DCMTK_BEST),
}
ROUNDS = 3
NAMED = 0.5
"""A system call is named in the table from so many an instance."""


@dataclass(frozen=True)
class Counts:
    """What a receiver does for one instance, on average."""

    switches: float
    calls: Mapping[str, float]
    """System calls by name."""

    @property
    def all_calls(self) -> float:
        """System calls of every name."""
        return sum(self.calls.values())

    @property
    def futex(self) -> float:
        """System calls that wait for, or wake, another thread."""
        return self.calls.get("futex", 0.0)


@dataclass(frozen=True)
class Aim:
    """The most that our receiver may do for one instance; None: no aim."""

    switches: float
    futex: float
    calls: float | None = None


SMALL, SLICE = "5 KB", "512 KiB"
AIMS = {SMALL: Aim(1.3, 0.2, 10), SLICE: Aim(3, 0.3)}


def files_of(folder: Path, size: str, count: int) -> list[Path]:
    """Make instances of one of the sizes of `AIMS`."""
    return series(
        folder, size.replace(" ", "-"), count, (1, 32, 50) if size == SMALL else (1, 512, 512)
    )


def _send(running: Running, files: Sequence[Path]) -> None:
    to = running.target
    must_succeed(measure.DCMTK.command(to.port, to.title, files), DCMTK_ENV, measure.LIMIT_SECONDS)


def _served(
    server: measure.Server, files: Sequence[Path], serve: Callable[[Running], None]
) -> None:
    """Run a receiver that has received one instance before `serve` sends all of them."""
    with measure.scratch(measure.MEMORY) as folder, server(folder) as running:
        _send(running, files[:1])
        serve(running)
        measure.check_stored(folder, files, running)


def _ended() -> int:
    """Count the voluntary switches of all threads of the children that have ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_nvcsw


def _so_far(pid: int) -> int:
    """Count those of the threads of a process that runs."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read_text(), re.MULTILINE)
        total += int(found[1]) if found else 0
    return total


def switches(server: measure.Server, files: Sequence[Path]) -> float:
    """Count voluntary switches for each instance, those of threads that end meanwhile included."""
    before = ended = 0

    def serve(running: Running) -> None:
        nonlocal before, ended
        before = _so_far(running.process.pid)
        _send(running, files)
        ended = _ended()

    _served(server, files, serve)
    return (_ended() - ended - before) / len(files)


def calls(server: measure.Server, files: Sequence[Path]) -> dict[str, float]:
    """Count system calls for each instance by name.

    Raises:
        PeerError: strace may not attach to a process here.
    """
    found: dict[str, float] = {}

    def serve(running: Running) -> None:
        with tempfile.NamedTemporaryFile() as log:
            # Attached and detached: neither the start nor the end of the receiver is counted.
            watch = f"exec strace -f -c -o {log.name} -p {running.process.pid} 2>&1"
            with Process(["sh", "-c", watch]) as strace:
                strace.wait_for_line(lambda line: "attached" in line)
                _send(running, files)
                strace.interrupt()
                strace.wait()
            for line in Path(log.name).read_text().splitlines():
                # % time, seconds, microseconds a call, calls, perhaps errors, name
                row = re.fullmatch(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)", line)
                if row and row[2] != "total":
                    found[row[2]] = int(row[1]) / len(files)
        if not found:
            raise PeerError(strace.story("counted nothing"))

    _served(server, files, serve)
    return found


def counted(server: measure.Server, files: Sequence[Path], rounds: int = 1) -> Counts:
    """Count both: switches without strace, which adds some, as the median of the rounds."""
    seen = [switches(server, files) for _ in range(rounds)]
    return Counts(statistics.median(seen), calls(server, files))


def add(report: Report, files: Mapping[str, Sequence[Path]]) -> None:
    """Add the table of the counts, and the aims."""
    table = report.table(*HEAD)
    for size, paths in files.items():
        for who, server in RECEIVERS.items():
            try:
                seen = counted(server, paths, ROUNDS)
            except FAULTS as fault:
                report.failed(f"{size}, {who}, counted", fault)
                continue
            often = sorted(seen.calls.items(), key=lambda call: -call[1])
            table.add(
                size,
                who,
                f"{seen.switches:.2f}",
                f"{seen.all_calls:.1f}",
                f"{seen.futex:.2f}",
                ", ".join(f"{name} {times:.1f}" for name, times in often if times >= NAMED),
            )
            if who == OURS:
                aim = AIMS[size]
                what = f"{size}, DCMTK best -> ours (fast), an instance:"
                report.most(f"{what} voluntary switches", aim.switches, seen.switches)
                if aim.calls is not None:
                    report.most(f"{what} system calls", aim.calls, seen.all_calls)
                report.most(f"{what} futex", aim.futex, seen.futex)


def main() -> None:
    """Count, then print."""
    report = Report()
    with measure.scratch(measure.MEMORY) as folder:
        files = {SMALL: files_of(folder, SMALL, 1000), SLICE: files_of(folder, SLICE, 300)}
        add(report, files)
    print(file=sys.stderr)
    print(report)


if __name__ == "__main__":
    main()
