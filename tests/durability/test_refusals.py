"""A refusal by `on_stored`: what was there before is back on the disk before it is answered."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading

import pytest

from dimse_rs import AssociationError, StatusError, TransportError
from tests.durability.refusing import REFUSED, STATUS
from tests.durability.storm import CONTEXT, PATIENCE, SENDER, Journal
from tests.durability.test_order import NEW, steps, traced
from tests.support.instances import data_set, digest, part10, stored
from tests.support.process import LOOPBACK, Process

ROUNDS = 8
SERVER = [sys.executable, "-m", "tests.durability.refusing"]


@pytest.mark.parametrize(
    ("mode", "first", "expected"),
    [
        pytest.param(
            "durable",
            None,
            [*NEW, "publish", "sync store", "remove", "sync store", "response"],
            id="durable",
        ),
        pytest.param(
            "durable",
            b"other",
            [
                *[*NEW, "taken", "link", "sync store", "replace", "sync store"],
                *["replace", "sync store", "response"],
            ],
            id="durable-another-version",
        ),
        pytest.param("fast", None, ["create", "write", "publish", "remove", "response"], id="fast"),
    ],
)
def test_a_refusal_is_said_last(mode, first, expected, tmp_path, need):
    need("strace")
    folder = tmp_path / "store"
    command = [*SERVER, str(folder), mode, "flat"]
    assert steps(traced(folder, command, first, REFUSED, STATUS)) == expected


class Senders:
    """Associations that store new instances and other versions, to be accepted or refused."""

    def __init__(self, prefix: str, chance: random.Random) -> None:
        self.journal = Journal()
        self.refused: dict[str, set[bytes]] = {}
        self._prefix = prefix
        self._chance = chance

    def store(self, port: int, number: int) -> None:
        chance = random.Random(f"{self._chance.random()} {number}")
        with (
            contextlib.suppress(AssociationError, TransportError),
            SENDER.associate(f"ANY-SCP@{LOOPBACK}:{port}", contexts=CONTEXT) as association,
        ):
            while True:
                uid = f"{self._prefix}.{chance.randrange(6)}"
                no = chance.random() < 0.5
                data = data_set(uid, (REFUSED if no else b"") + chance.randbytes(600))
                self.journal.sends(uid, digest(data))
                status = 0
                try:
                    association.c_store(part10(data, uid))
                except StatusError as error:
                    status = error.status
                assert status == (STATUS if no else 0)
                if no:
                    self.refused.setdefault(uid, set()).add(digest(data))
                    with self.journal.changed:
                        self.journal.stores += 1
                        self.journal.changed.notify_all()
                else:
                    self.journal.acknowledges(uid, digest(data))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("layout", ["flat", "study"])
def test_what_was_refused_stays_away_and_what_was_accepted_stays_after_a_kill(layout, tmp_path):
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    rounds = []
    for number in range(1, ROUNDS + 1):
        senders = Senders(f"1.2.840.{number}", chance)
        rounds.append(senders)
        with Process([*SERVER, str(tmp_path), "durable", layout]) as server:
            port = int(server.wait_for_line(bool))
            threads = [
                threading.Thread(target=senders.store, args=(port, sender), daemon=True)
                for sender in range(4)
            ]
            for thread in threads:
                thread.start()
            senders.journal.wait_for(chance.randrange(5, 60))
            os.kill(server.pid, signal.SIGKILL)
            server.wait()
            for thread in threads:
                thread.join(PATIENCE)
                assert not thread.is_alive()
    with Process([*SERVER, str(tmp_path), "durable", layout]) as server:
        server.wait_for_line(bool)
    found = stored(tmp_path)
    for senders in rounds:
        of_round = {uid: files for uid, files in found.items() if uid in senders.journal.sent}
        senders.journal.check(of_round)
        assert senders.refused
        for uid, contents in senders.refused.items():
            assert not contents & found.get(uid, set()), f"{uid} was refused, and is there"
