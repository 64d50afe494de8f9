"""Kills the server in the middle of a storm of stores, again and again, and looks at what stayed.

Each round starts `dimse storescp` on the same folder, has several associations store at once (new
instances, the same again, other bytes under the same UID), kills it with SIGKILL, and looks:

- every instance that was acknowledged with Success is there, byte for byte;
- every file under an instance's name is one that was sent, whole;
- no temporary file stays after the next start.

SIGKILL leaves the page cache alone: this proves the order of the steps, not that a sync reaches the
disk. `test_order.py` shows that the syncs are there.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dimse_rs import AE, AssociationError, Context, Timeouts, TransportError
from tests.support import wire
from tests.support.instances import Digests, data_set, digest, part10, stored
from tests.support.process import LOOPBACK, Process

SERVER = [sys.executable, "-m", "dimse_rs", "storescp", "0", "--mode", "durable", "-ll", "fatal"]
SENDER = AE("STORM", timeouts=Timeouts(connect=8, acse=8, store=15))
CONTEXT = Context(wire.SECONDARY_CAPTURE.decode(), wire.EXPLICIT.decode())
SENDERS = 6
SHARED = 3
"""Instances of a round that all senders send, each time with one of a few contents."""
SIZES = (600, 600, 600, 5_000, 5_000, 5_000, 70_000, 300_000)
PATIENCE = 20.0
LATEST = 0.02
"""Seconds by which a kill may come after the acknowledgement that it waits for."""


@dataclass
class Journal:
    """What was sent and what was acknowledged, as the senders know it."""

    sent: Digests = field(default_factory=lambda: defaultdict(set))
    acknowledged: Digests = field(default_factory=lambda: defaultdict(set))
    stores: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def sends(self, uid: str, content: bytes) -> None:
        """Note it before a byte leaves."""
        with self.changed:
            self.sent[uid].add(content)

    def acknowledges(self, uid: str, content: bytes) -> None:
        """Note a Success."""
        with self.changed:
            self.acknowledged[uid].add(content)
            self.stores += 1
            self.changed.notify_all()

    def wait_for(self, stores: int) -> None:
        """Return after so many Successes."""
        with self.changed:
            enough = self.changed.wait_for(lambda: self.stores >= stores, PATIENCE)
        assert enough, f"{self.stores} of {stores} stores in {PATIENCE:.0f} s"

    def check(self, found: Digests) -> None:
        """Compare with what a folder holds."""
        for uid, contents in self.acknowledged.items():
            lost = contents - found.get(uid, set())
            assert not lost, f"{uid}: {len(lost)} acknowledged with Success and not there"
        for uid, contents in found.items():
            foreign = contents - self.sent.get(uid, set())
            assert not foreign, f"{uid}: {len(foreign)} stored that nobody sent"


def store(journal: Journal, port: int, prefix: str, number: int, chance: random.Random) -> None:
    """Store without end over one association, until the server is gone."""
    mine: list[tuple[str, bytes]] = []
    with (
        contextlib.suppress(AssociationError, TransportError),
        SENDER.associate(f"ANY-SCP@{LOOPBACK}:{port}", contexts=CONTEXT) as association,
    ):
        while True:
            what = chance.random()
            if what < 0.1 and mine:
                uid, data = chance.choice(mine)
            elif what < 0.3:
                shared = chance.randrange(SHARED)
                uid = f"{prefix}.0.{shared}"
                data = data_set(uid, bytes([chance.randrange(3)]) * SIZES[shared * 3])
            else:
                uid = f"{prefix}.{number}.{len(mine) + 1}"
                data = data_set(uid, chance.randbytes(chance.choice(SIZES)))
                mine.append((uid, data))
            journal.sends(uid, digest(data))
            association.c_store(part10(data, uid))
            journal.acknowledges(uid, digest(data))


@contextlib.contextmanager
def serving(folder: Path, layout: str) -> Iterator[tuple[Process, int]]:
    """Run the server; by the time it says its port, it has swept the folder."""
    with Process([*SERVER, "-od", str(folder), "--layout", layout]) as server:
        port = int(server.wait_for_line(bool))
        left = temporary(folder)
        assert not left, f"{left[0].name} stayed after the next start"
        yield server, port


def temporary(folder: Path) -> list[Path]:
    """The files that have no name yet."""
    return list(folder.glob(".*"))


def storm(server: Process, port: int, name: str, chance: random.Random) -> Journal:
    """Have everybody store, and kill the server in the middle of it."""
    journal = Journal()
    senders = [
        threading.Thread(
            target=store,
            args=(journal, port, name, number, random.Random(chance.random())),
            daemon=True,
        )
        for number in range(1, SENDERS + 1)
    ]
    for sender in senders:
        sender.start()
    journal.wait_for(chance.randrange(1, 40))
    time.sleep(chance.uniform(0, LATEST))  # not to wait for anything: to hit another moment
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    for sender in senders:
        sender.join(PATIENCE)
        assert not sender.is_alive(), "a sender hangs after the server is gone"
    return journal


def run(folder: Path, rounds: int, seed: int) -> str:
    """Do all rounds; say in one paragraph what was seen.

    Raises:
        AssertionError: a Success was not kept.
    """
    chance = random.Random(seed)
    began = time.monotonic()
    journals: dict[Path, list[Journal]] = {folder / "flat": [], folder / "study": []}
    stores = unfinished = unacknowledged = 0
    for number in range(1, rounds + 1):
        into = list(journals)[number % 2]
        with serving(into, into.name) as (server, port):
            journal = storm(server, port, f"1.2.840.{number}", chance)
        journals[into].append(journal)
        stores += journal.stores
        unfinished += len(temporary(into))
    files = 0
    for into, all_rounds in journals.items():
        with serving(into, into.name):
            found = stored(into)
        whole = Journal()
        for journal in all_rounds:
            whole.sent.update(journal.sent)
            whole.acknowledged.update(journal.acknowledged)
        whole.check(found)
        files += sum(map(len, found.values()))
        unacknowledged += sum(
            len(contents - whole.acknowledged.get(uid, set())) for uid, contents in found.items()
        )
    seconds = time.monotonic() - began
    return (
        f"{rounds} rounds, seed {seed}, {seconds:.0f} s: {stores} stores were acknowledged with "
        f"Success, and each is there, byte for byte.\n"
        f"{files} different instances and versions are stored, all of them whole; for "
        f"{unacknowledged} of them the kill came before the response.\n"
        f"The kills left {unfinished} temporary files; none stayed after the next start."
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=None, help="default: another each time")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print(f"durability: {options.rounds} rounds, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="durability-") as folder:
        print(run(Path(folder), options.rounds, seed))


if __name__ == "__main__":
    main()
