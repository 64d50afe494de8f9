"""`make bench-network`: what window, associations and PDU length bring, near and far away.

Our SCU sends to our SCP in mode `fast`, in memory, once over loopback and once through a proxy that
delays (`delay.py`): round trips of 0 and of 50 ms. Numbers are the median of a few transfers.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tests.bench import measure
from tests.bench.measure import MEMORY, OUR_SCU, rate, script
from tests.bench.report import FAULTS, Report
from tests.bench.services import node
from tests.data.generate import series
from tests.peers.scp import Running, announced

WINDOWS, ASSOCIATIONS, PDUS = (1, 8, 32), (1, 4, 16), (16 << 10, 128 << 10)
SIZES = {"5 KB": (1, 32, 50), "512 KiB": (1, 512, 512)}
ROUND_TRIPS = (0, 50)
"""Milliseconds."""
MOST = {"5 KB": 2000, "512 KiB": 300}
ROUNDS = {0: 3, 50: 1}
"""What waits for the network takes the same time each time."""
FOR_ONE = 40
"""Instances for each operation that may be outstanding, where round trips are what is measured."""


@contextlib.contextmanager
def far_away(running: Running, milliseconds: int) -> Iterator[Running]:
    """Put the proxy before a server."""
    if not milliseconds:
        yield running
        return
    address = f"127.0.0.1:{running.target.port}"
    argv = [sys.executable, "-m", "tests.bench.delay", address, str(milliseconds)]
    with announced(argv, running.target.title, running.folder) as proxy:
        yield replace(running, target=proxy.target)


def transfer(
    files: Sequence[Path], pdu: int, milliseconds: int, window: int, associations: int
) -> float:
    """Return files a second, association and release included."""
    sender = script(OUR_SCU, "many", associations, window)
    with (
        measure.scratch(MEMORY) as folder,
        node("dimse_scp", "wide", folder, window, pdu) as running,
        far_away(running, milliseconds) as reached,
    ):
        return rate(sender, reached, files)


def shown(size: str, files: Sequence[Path], rate: float) -> str:
    """Write a rate for people; that of large instances in megabytes too."""
    count = f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"
    if size == "5 KB":
        return count
    return f"{count}, {rate * files[0].stat().st_size / 1e6:,.0f} MB/s"


def add(report: Report, size: str, files: Sequence[Path], milliseconds: int) -> None:
    """Add the table of one size over one network."""
    far = f"round trip {milliseconds} ms" if milliseconds else "loopback"
    table = report.table(
        f"{size}, {far}", "associations", *(f"window {window}" for window in WINDOWS)
    )
    for pdu in PDUS:
        for associations in ASSOCIATIONS:
            cells = []
            for window in WINDOWS:
                some = files
                if milliseconds:
                    some = files[: max(100, FOR_ONE * window * associations)]
                try:
                    rates = [
                        transfer(some, pdu, milliseconds, window, associations)
                        for _ in range(ROUNDS[milliseconds])
                    ]
                    cells.append(shown(size, files, statistics.median(rates)))
                except FAULTS as fault:
                    report.failed(f"{size}, {far}, window {window}", fault)
                    cells.append("")
            table.add(f"PDUs of {pdu >> 10} KiB", str(associations), *cells)


def main() -> None:
    """Measure, then print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, action="append", help="only this size")
    parser.add_argument(
        "--round-trip", type=int, choices=ROUND_TRIPS, action="append", help="only this far"
    )
    words = parser.parse_args()
    report = Report()
    with measure.scratch(MEMORY) as folder:
        for size in words.size or SIZES:
            files = series(folder, f"of {len(size)}", MOST[size], SIZES[size])
            for milliseconds in words.round_trip or ROUND_TRIPS:
                add(report, size, files, milliseconds)
    print(file=sys.stderr)
    print(report)


if __name__ == "__main__":
    main()
