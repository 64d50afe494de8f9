"""Soak: `make soak MINUTES=n`. Mixed load and faults on one process, which has to stay as it is.

Well-behaved peers echo, store (`durable` and `file-only`), find, get and move, over associations
that they release now and then; others fail in the middle of a session in every way (`faults.py`).
Meanwhile and at the end: memory, descriptors and threads are flat, every instance that was
acknowledged is on the disk byte for byte, nothing half is under an instance's name, no panic.
Prints a table; the exit code is 1 when anything of that does not hold.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dimse_rs import AE, Context, DimseError, StudyRoot, Timeouts, Verification
from tests.bench.measure import MIB
from tests.bench.report import Report
from tests.data.files import meta_end
from tests.durability.storm import Journal
from tests.load.faults import fail
from tests.support import wire
from tests.support.instances import data_set, digest, part10, stored
from tests.support.proc import Usage, Watch, usage
from tests.support.process import LOOPBACK, Process

SENDER = AE("SOAK", timeouts=Timeouts(connect=20, acse=20, store=60, dimse=60))
STORAGE = Context(wire.SECONDARY_CAPTURE.decode(), wire.EXPLICIT.decode())
FETCH = Context(STORAGE.sop_class, wire.EXPLICIT.decode(), scu=False, scp=True)
LIBRARY = 10
SIZES = (600, 600, 5_000, 5_000, 70_000, 300_000, 1_500_000)
SWEEP = 10.0
"""Seconds between two looks at what was stored."""
ROUND = 20
"""Operations of a peer on one association."""
PAUSE = 0.02
"""Seconds between two operations of a peer: half of what the machine can is enough."""
SLACK = 8 * MIB
THREADS = 8
"""More than before, while those that are not needed any more go."""
PATIENCE = 60.0
DISK = "every acknowledged instance is on the disk, and nothing half"
PANICS = "panics, or an end of the server"


@dataclass
class Soak:
    """What all peers share."""

    folder: Path
    archive: int
    workstation: int
    over: threading.Event = field(default_factory=threading.Event)
    done: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)
    journals: dict[str, Journal] = field(
        default_factory=lambda: {"durable": Journal(), "file-only": Journal()}
    )
    verified: int = 0
    lost: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def did(self, what: str) -> None:
        """Count an operation that went well."""
        with self.lock:
            self.done[what] += 1

    def wrong(self, what: str) -> None:
        """Remember what went wrong; it may go wrong often."""
        with self.lock:
            if len(self.failures) < 20:
                self.failures.append(what)

    @property
    def library(self) -> list[Path]:
        """What is found, got and moved."""
        return sorted((self.folder / "library").iterdir())


Operation = Callable[[], None]


def rounds(soak: Soak, what: str, begin: Callable[[], Iterator[Operation]]) -> None:
    """Carry out operations, a few on each association, until it is over."""
    while not soak.over.is_set():
        try:
            for count, operation in enumerate(begin(), 1):
                operation()
                soak.did(what)
                if soak.over.wait(PAUSE) or count == ROUND:
                    break
        except (DimseError, OSError, AssertionError) as error:
            soak.wrong(f"{what}: {type(error).__name__}: {error}")


def echoes(soak: Soak) -> Iterator[Operation]:
    """Say C-ECHO."""
    with SENDER.associate(f"ARCHIVE@{LOOPBACK}:{soak.archive}", contexts=Verification) as peer:
        while True:
            yield peer.c_echo


def stores(soak: Soak, mode: str, name: str, chance: random.Random) -> Callable[..., object]:
    """Store new instances, some of them twice."""
    title, port = {
        "durable": ("ARCHIVE", soak.archive),
        "file-only": ("WORKSTATION", soak.workstation),
    }[mode]
    journal, numbers = soak.journals[mode], iter(range(1, 1 << 40))

    def begin() -> Iterator[Operation]:
        with SENDER.associate(f"{title}@{LOOPBACK}:{port}", contexts=STORAGE) as peer:

            def one() -> None:
                uid = f"{name}.{next(numbers)}"
                data = data_set(uid, chance.randbytes(chance.choice(SIZES)))
                journal.sends(uid, digest(data))
                for _ in range(chance.choice((1, 1, 1, 2))):
                    peer.c_store(part10(data, uid))
                journal.acknowledges(uid, digest(data))

            while True:
                yield one

    return begin


def finds(soak: Soak) -> Iterator[Operation]:
    """Look for the library, and leave every other query early."""
    expected = [path.stem for path in soak.library]
    asked = {"SOPInstanceUID": ""}
    with SENDER.associate(f"ARCHIVE@{LOOPBACK}:{soak.archive}", contexts=StudyRoot) as peer:

        def all_of_it() -> None:
            found = peer.c_find(asked, model=StudyRoot, level="IMAGE")
            uids = [match.SOPInstanceUID for match in found]
            assert uids == expected, f"{len(uids)} of {len(expected)} found"

        def some_of_it() -> None:
            next(iter(peer.c_find(asked, model=StudyRoot, level="IMAGE")))

        while True:
            yield all_of_it
            yield some_of_it


def gets(soak: Soak, into: Path) -> Iterator[Operation]:
    """Get the library, and compare it."""
    contexts = [StudyRoot, FETCH]
    with SENDER.associate(f"ARCHIVE@{LOOPBACK}:{soak.archive}", contexts=contexts) as peer:

        def get() -> None:
            keys = {"StudyInstanceUID": "1.2.3"}
            *_, last = peer.c_get(keys, model=StudyRoot, level="STUDY", into=into)
            assert last.completed == LIBRARY, str(last)
            same(soak.library, into)
            for path in into.iterdir():
                path.unlink()

        while True:
            yield get


def moves(soak: Soak) -> Iterator[Operation]:
    """Have the library moved to the workstation, and compare it."""
    with SENDER.associate(f"ARCHIVE@{LOOPBACK}:{soak.archive}", contexts=StudyRoot) as peer:

        def move() -> None:
            keys = {"StudyInstanceUID": "1.2.3"}
            *_, last = peer.c_move(keys, model=StudyRoot, level="STUDY", destination="WORKSTATION")
            assert last.completed == LIBRARY, str(last)
            same(soak.library, soak.folder / "file-only")

        while True:
            yield move


def content(path: Path) -> bytes:
    """Tell the data set of a file from another."""
    data = path.read_bytes()
    return digest(data[meta_end(data) :])


def same(expected: list[Path], folder: Path) -> None:
    """Compare files with those of the same names."""
    for path in expected:
        assert content(folder / path.name) == content(path), f"{path.name} differs"


def sweep(soak: Soak) -> None:
    """See that what was acknowledged is there, then make room."""
    for mode, journal in soak.journals.items():
        with journal.changed:
            acknowledged, journal.acknowledged = journal.acknowledged, collections.defaultdict(set)
        for uid, contents in acknowledged.items():
            path = soak.folder / mode / f"{uid}.dcm"
            try:
                assert content(path) in contents, "differs"
            except (OSError, AssertionError) as error:
                soak.lost.append(f"{mode}, {uid}: {error}")
            else:
                soak.verified += 1
                path.unlink()
            with journal.changed:
                del journal.sent[uid]


def sweeps(soak: Soak) -> None:
    """Sweep now and then."""
    while not soak.over.wait(SWEEP):
        sweep(soak)


def peers(soak: Soak, seed: int) -> list[threading.Thread]:
    """All that happens at once."""
    chance = random.Random(seed)
    into = soak.folder / "got"
    works: list[tuple[str, Callable[[], object]]] = [
        ("C-ECHO", lambda: rounds(soak, "C-ECHO", lambda: echoes(soak))),
        ("C-FIND", lambda: rounds(soak, "C-FIND", lambda: finds(soak))),
        ("C-GET", lambda: rounds(soak, "C-GET", lambda: gets(soak, into))),
        ("C-MOVE", lambda: rounds(soak, "C-MOVE", lambda: moves(soak))),
        ("sweep", lambda: sweeps(soak)),
    ]
    for number, mode in enumerate(("durable", "durable", "file-only", "file-only"), 1):
        begin = stores(soak, mode, f"1.2.840.1.{number}", random.Random(chance.random()))
        what = f"C-STORE, {mode}"
        works.append((what, lambda what=what, begin=begin: rounds(soak, what, begin)))
    for number in range(1, 9):
        mode, title, port = (
            ("durable", "ARCHIVE", soak.archive),
            ("file-only", "WORKSTATION", soak.workstation),
        )[number % 2]

        def bad(mode=mode, title=title, port=port, number=number) -> None:
            own = random.Random(chance.random())
            name = f"1.2.840.2.{number}"
            count = fail(soak.journals[mode], port, title, name, own, soak.over)
            with soak.lock:
                soak.done["sessions that failed"] += count

        works.append(("faults", bad))
    return [threading.Thread(target=work, name=name) for name, work in works]


def prepare(folder: Path, seed: int) -> None:
    """Make the library."""
    for name in ("library", "durable", "file-only", "got"):
        (folder / name).mkdir()
    chance = random.Random(seed)
    for number in range(LIBRARY):
        uid = f"1.2.840.3.{number}"
        data = data_set(uid, chance.randbytes(SIZES[number % len(SIZES)]))
        (folder / "library" / f"{uid}.dcm").write_bytes(part10(data, uid))


class SoakReport(Report):
    """What happened, and whether all is as it was."""

    HEAD = ("what", "how often")
    AIMS = ("what has to hold", "limit", "measured", "holds")

    def holds(self, what: str) -> bool:
        """Say whether it does."""
        return any(aim[0] == what and aim[-1] == "yes" for aim in self.aims)


def judge(report: SoakReport, before: Usage, watch: Watch, after: Usage) -> None:
    """Say of each thing whether it holds."""
    warm = watch.seen[len(watch.seen) // 3 :]
    half, most = len(warm) // 2, watch.most()
    early, late = (
        statistics.median(one.rss for one in part) for part in (warm[:half], warm[half:])
    )
    report.aim(
        "memory after the first third, median of its first and second half",
        f"+{SLACK / MIB:.0f} MiB",
        f"{early / MIB:.1f} -> {late / MIB:.1f} MiB, most {most.rss / MIB:.1f} MiB",
        late - early <= SLACK,
    )
    report.aim(
        "descriptors when all peers are gone",
        f"{before.descriptors} as before",
        f"{after.descriptors}, most {most.descriptors}",
        after.descriptors <= before.descriptors,
    )
    report.aim(
        "threads when all peers are gone",
        f"{before.threads} as before, and {THREADS}",
        f"{after.threads}, most {most.threads}",
        after.threads <= before.threads + THREADS,
    )


def leftovers(soak: Soak) -> int:
    """Look at what is left when all was swept: only what was sent whole, and never acknowledged.

    Raises:
        AssertionError: there is something else.
    """
    count = 0
    for mode, journal in soak.journals.items():
        found = stored(soak.folder / mode)
        for path in soak.library:
            found.pop(path.stem, None)
        journal.check(found)
        count += len(found)
    return count


def settled(pid: int, before: Usage) -> Usage:
    """Wait until what the peers left is gone, as far as it goes."""
    until = time.monotonic() + PATIENCE
    while True:
        now = usage(pid)
        flat = now.descriptors <= before.descriptors and now.threads <= before.threads + THREADS
        if flat or time.monotonic() > until:
            return now
        time.sleep(0.5)


def run(folder: Path, seconds: float, seed: int) -> SoakReport:
    """Do it all; say of each thing whether it holds."""
    prepare(folder, seed)
    report = SoakReport()
    argv = [sys.executable, "-m", "tests.load.archive", str(folder)]
    with Process(argv) as server:
        ports = json.loads(server.wait_for_line(lambda line: "listening" in line))
        soak = Soak(folder, ports["port"], ports["workstation"])
        before = usage(server.pid)
        threads = peers(soak, seed)
        with Watch(server.pid, min(1.0, seconds / 20)) as watch:
            for thread in threads:
                thread.start()
            time.sleep(seconds)
            soak.over.set()
            for thread in threads:
                thread.join(PATIENCE)
        hanging = [thread.name for thread in threads if thread.is_alive()]
        after = settled(server.pid, before)
        alive = server.returncode is None
        sweep(soak)
        try:
            left = leftovers(soak)
        except AssertionError as error:
            left = 0
            soak.lost.append(str(error))
        panics = server.errors().count("panicked at")
    for what, count in sorted(soak.done.items()):
        report.rows.append((what, f"{count:,}"))
    judge(report, before, watch, after)
    many = f"{soak.verified:,} verified, {left} stored whole and not acknowledged"
    faults = [*soak.failures, *(f"{name} hangs" for name in hanging)]
    report.aim(DISK, "all", "; ".join([many, *soak.lost[:5]]), soak.verified > 0 and not soak.lost)
    report.aim("operations that failed", "0", "; ".join(faults) or "0", not faults)
    report.aim(PANICS, "0", str(panics), alive and panics == 0)
    return report


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=None, help="default: another each time")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print(f"soak: {options.minutes:g} minutes, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-", dir="/var/tmp") as folder:
        report = run(Path(folder), options.minutes * 60, seed)
    print(report)
    sys.exit(0 if all(report.holds(what) for what, *_ in report.aims) else 1)


if __name__ == "__main__":
    main()
