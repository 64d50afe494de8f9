"""`make demo`: the main job on real files. Send, receive, find, get, move; compare every byte.

Sends every instance among pydicom's bundled files and a generated series of 300 CT slices with
storescu to storescp, compares each stored version with the data set that was sent and the refusals
with refusals.csv; then finds, gets and moves what was stored and compares that too. Exit code 0 if
and only if all agree. `--update` writes refusals.csv first.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pydicom

from tests.data.files import BUNDLED, bundled_files, data_set, same_bytes
from tests.data.generate import series
from tests.demo.retrieve import retrieve
from tests.peers.scp import Running, dimse_scp
from tests.peers.scu import DIMSE
from tests.support.process import LOOPBACK, PeerError, run

MANIFEST = Path(__file__).with_name("refusals.csv")
SLICES = 300
SOME_FAILED = 69
"""Exit code of storescu when an instance was refused or could not be sent."""


@dataclass(frozen=True)
class Sent:
    """What became of one file."""

    path: Path
    uid: str
    status: int | None
    """None when the file never reached the peer."""
    why: str

    @property
    def stored(self) -> bool:
        """Success, or a warning: the peer keeps the instance in both cases (PS3.4 B.2.3)."""
        return self.status is not None and (self.status == 0 or self.status >> 12 == 0xB)


@dataclass(frozen=True)
class Batch:
    """One run of storescu."""

    title: str
    sent: list[Sent]
    seconds: float

    def row(self) -> list[str]:
        """Return the batch as a row of the table."""
        stored = [item for item in self.sent if item.stored]
        size = sum(item.path.stat().st_size for item in stored)
        return [
            self.title,
            str(len(self.sent)),
            str(len(stored)),
            str(len(self.sent) - len(stored)),
            f"{size / 1e6:.1f} MB",
            f"{size / 1e6 / self.seconds:.0f}",
            f"{len(stored) / self.seconds:.0f}",
        ]


def instances() -> list[Path]:
    """Return the bundled files whose data set names a SOP class and a SOP instance."""
    found = []
    for path in bundled_files():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                item = pydicom.dcmread(path, stop_before_pixels=True, force=True)
                named = "SOPClassUID" in item and "SOPInstanceUID" in item
        except Exception:  # whatever pydicom raises on malformed files
            continue
        if named:
            found.append(path)
    return found


def send(title: str, server: Running, paths: list[Path]) -> Batch:
    """Send files with the command that a user types; believe its events, not only its exit code."""
    argv = [*DIMSE, "storescu", LOOPBACK, str(server.target.port), "--json", *map(str, paths)]
    start = time.perf_counter()
    done = run(argv, seconds=600)
    seconds = time.perf_counter() - start
    if done.returncode not in {0, SOME_FAILED}:
        raise PeerError(f"storescu: exit code {done.returncode}\n{done.stderr}")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    sent = [
        Sent(
            Path(event["path"]), event["uid"], event["status"], event.get("error", event["comment"])
        )
        for event in events
        if event["event"] == "sent"
    ]
    if sorted(item.path for item in sent) != sorted(paths):
        raise PeerError(f"storescu reported {len(sent)} results for {len(paths)} files")
    if (done.returncode == 0) != all(item.stored for item in sent):
        raise PeerError(f"storescu: exit code {done.returncode} does not fit its results")
    return Batch(title, sent, seconds)


def versions(server: Running, uid: str) -> list[Path]:
    """Return the stored versions of an instance, oldest first: uid.dcm~1~, ..., uid.dcm."""
    current = server.folder / f"{uid}.dcm"
    earlier = sorted(
        server.folder.glob(f"{uid}.dcm~*~"), key=lambda path: int(path.name.split("~")[1])
    )
    return [*earlier, *([current] if current.exists() else [])]


def differences(server: Running, sent: list[Sent]) -> tuple[list[str], int]:
    """Return what differs between stored and sent, and how many earlier versions are kept."""
    expected: dict[str, list[Path]] = defaultdict(list)
    for item in sent:
        if item.stored:
            history = expected[item.uid]
            if not history or data_set(history[-1]) != data_set(
                item.path
            ):  # identical bytes change nothing
                history.append(item.path)
    wrong: list[str] = []
    seen: set[Path] = set()
    for uid, history in expected.items():
        kept = versions(server, uid)
        seen.update(kept)
        if len(kept) != len(history):
            wrong.append(f"{uid}: {len(history)} versions sent, {len(kept)} stored")
        for source, stored in zip(history, kept, strict=False):
            if not same_bytes(data_set(source), data_set(stored)):
                wrong.append(f"{stored.name} differs from {source}")
    wrong += [
        f"{path.name} was never sent" for path in server.folder.rglob("*") if path not in seen
    ]
    return wrong, len(seen) - len(expected)


def refusals(sent: list[Sent]) -> list[list[str]]:
    """Return (file, status, why) of everything that was not stored."""
    return sorted(
        [
            item.path.relative_to(BUNDLED).as_posix()
            if item.path.is_relative_to(BUNDLED)
            else item.path.name,
            "not sent" if item.status is None else f"{item.status:04X}H",
            item.why,
        ]
        for item in sent
        if not item.stored
    )


def show(head: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def main() -> int:
    """Run the demo; return its exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--update", action="store_true", help="write refusals.csv")
    update: bool = options.parse_args().update

    with tempfile.TemporaryDirectory(prefix="dimse-demo-") as name:
        folder = Path(name)
        slices = series(folder, "ct", SLICES)
        (folder / "stored").mkdir()
        with dimse_scp(folder / "stored") as server:
            batches = [
                send("pydicom's files", server, instances()),
                send(f"CT, {SLICES} slices", server, slices),
            ]
            sent = [item for batch in batches for item in batch.sent]
            wrong, kept = differences(server, sent)
            show(
                ["input", "files", "stored", "refused", "bytes", "MB/s", "files/s"],
                [batch.row() for batch in batches],
            )
        trips, lost = retrieve(folder / "stored", folder)
        print()
        show(
            ["retrieval", "studies", "instances", "bytes", "MB/s", "instances/s"],
            [trip.row() for trip in trips],
        )
    refused = refusals(sent)
    print(f"\nearlier versions kept beside the current one: {kept}\nrefused:")
    show(["file", "status", "why"], refused)

    if update:
        with MANIFEST.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([["file", "status", "why"], *refused])
    with MANIFEST.open(newline="") as file:
        known = list(csv.reader(file))[1:]
    print()
    for line in wrong:
        print(f"stored data: {line}")
    for line in lost:
        print(f"retrieved data: {line}")
    for row in refused:
        if row not in known:
            print(f"refused, but not in {MANIFEST.name}: {row}")
    for row in known:
        if row not in refused:
            print(f"in {MANIFEST.name}, but not refused so: {row}")
    agree = not wrong and not lost and refused == known
    fine = "every stored byte as sent, every retrieved byte as stored, refusals as listed"
    print(fine if agree else "FAILED")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
