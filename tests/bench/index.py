"""The rows of the index: how fast a folder is indexed, and what it costs to index what is stored.

usage: index.py add FOLDER    adds a folder to an index; prints seconds, instances, and memory
       index.py               prints both rows
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pydicom

from tests.bench import measure
from tests.bench.measure import MEMORY, MIB, Server
from tests.bench.report import Report
from tests.bench.rounds import Case, Options, Workload, measured
from tests.data.generate import series
from tests.peers.scp import Running, announced, dimse_scp
from tests.peers.scu import DIMSE
from tests.support.process import must_succeed

INSTANCES = 100_000
IN_A_SERIES, SERIES_IN_A_STUDY = 100, 4
ALONE = "ours -> dimse storescp (fast)"
INDEXED = "ours -> dimse scp (fast): store, index, answer"


def archive(folder: Path, count: int) -> None:
    """Write so many CT instances of 5 KB, in studies of four series of a hundred."""
    with tempfile.TemporaryDirectory() as scratch:
        (one,) = series(Path(scratch), "small", 1, (1, 32, 50))
        content, dataset = one.read_bytes(), pydicom.dcmread(one)
    uids = [dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID]
    for number in range(count):
        at = number // IN_A_SERIES
        made = content
        # UIDs of the same length, so that no length in the file changes.
        for kind, (uid, new) in enumerate(
            zip(uids, (at // SERIES_IN_A_STUDY, at, number), strict=True)
        ):
            made = made.replace(uid.encode(), f"{uid[:-12]}{kind + 1}{new:011}".encode())
        into = folder / f"{at:05}"
        into.mkdir(parents=True, exist_ok=True)
        (into / f"{number % IN_A_SERIES:05}.dcm").write_bytes(made)


def add(folder: str) -> dict[str, float]:
    """Add a folder, in this process; memory is what the process has more at its peak."""
    from dimse_rs import Index
    from dimse_rs.encoding import library

    assert library.Dataset  # pydicom's own memory is not the index's
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    count = Index().add_folder(folder)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "count": count, "memory": (after - before) * 1024}


def adding(report: Report, folder: Path, count: int) -> None:
    """Add the row of `add_folder`."""
    archive(folder, count)
    argv = [sys.executable, "-m", "tests.bench.index", "add", str(folder)]
    # The first round brings the files into the page cache.
    runs = [json.loads(must_succeed(argv, seconds=measure.LIMIT_SECONDS)) for _ in range(2)]
    best = min(runs, key=lambda run: run["seconds"])
    what = f"Index.add_folder, {count:,} x 5 KB"
    rate = f"{best['seconds']:.1f} s, {best['count'] / best['seconds']:,.0f} files/s"
    report.add(what, "ours", rate, "", "", f"{best['memory'] / MIB:.0f} MiB more")
    scale = count / INSTANCES
    seconds, memory = best["seconds"], best["memory"] / MIB
    report.aim(what, f"{12 * scale:g} s at most", f"{seconds:.1f} s", seconds <= 12 * scale)
    report.aim(
        f"{what}, memory",
        f"{150 * scale:g} MiB at most",
        f"{memory:.0f} MiB",
        memory <= 150 * scale,
    )


def storing(report: Report, files: Sequence[Path], options: Options) -> None:
    """Add the row of a server that indexes what it stores before it answers."""

    def scp(folder: Path) -> AbstractContextManager[Running]:
        argv = [*DIMSE, "scp", "0", "-od", str(folder), "--json", "--mode", "fast"]
        return announced([*argv, "-aet", "ANY-SCP"], "ANY-SCP", folder)

    def storescp(folder: Path) -> AbstractContextManager[Running]:
        return dimse_scp(folder, "--mode", "fast")

    def case(name: str, server: Server) -> Case:
        return Case(
            name, lambda some, to: measure.transfer(measure.OURS, server, some, to), key=True
        )

    work = Workload(f"{len(files):,} x 5 KB", files, 3 if options.quick else 7, small=True)
    seen = measured(report, work, [case(ALONE, storescp), case(INDEXED, scp)], options)
    for name in seen.runs:
        report.add(work.name, name, seen.rate(name), "", "", seen.memory(name))
    what = f"{work.name}: store, index, answer"
    report.least(what, "storing alone", 0.8, seen.ratio(INDEXED, ALONE))


def rows(report: Report, folder: Path, files: Sequence[Path], options: Options) -> None:
    """Add both rows.

    Args:
        report: takes them.
        folder: for the files of the first, removed by the caller.
        files: small instances that are sent for the second.
        options: `quick` takes a tenth of the instances.
    """
    adding(report, folder / "archive", INSTANCES // (10 if options.quick else 1))
    storing(report, files, options)


def main(words: Sequence[str]) -> None:
    """Do what the words say."""
    if words[:1] == ["add"]:
        print(json.dumps(add(words[1])))
        return
    report = Report()
    with measure.scratch(MEMORY) as folder:
        files = series(folder, "small", 2000, (1, 32, 50))
        rows(report, folder, files, Options("--quick" in words, peers_only=False, disk=MEMORY))
    print(report)


if __name__ == "__main__":
    main(sys.argv[1:])
