"""Peers that fail: a session that is cut anywhere, and ends in any of the ways there are."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable

from tests.durability.instances import data_set, digest
from tests.durability.storm import Journal
from tests.hostile import wire
from tests.load.clients import ECHO, HERE, RELEASE, WINDOW, proposal

STALL = 8.0
"""Seconds that a peer stays silent, or dribbles: longer than the server waits."""


def _reset(peer: socket.socket, chance: random.Random) -> None:
    del chance
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _hang_up(peer: socket.socket, chance: random.Random) -> None:
    del chance
    peer.shutdown(socket.SHUT_WR)
    peer.settimeout(STALL)
    while peer.recv(1 << 16):
        pass


def _abort(peer: socket.socket, chance: random.Random) -> None:
    del chance
    peer.sendall(wire.abort(0, 0))


def _garbage(peer: socket.socket, chance: random.Random) -> None:
    peer.sendall(chance.randbytes(chance.randrange(1, 5000)))


def _silence(peer: socket.socket, chance: random.Random) -> None:
    del chance
    peer.settimeout(STALL)
    while peer.recv(1 << 16):
        pass


def _dribble(peer: socket.socket, chance: random.Random) -> None:
    until = time.monotonic() + STALL
    while time.monotonic() < until:
        peer.sendall(chance.randbytes(1))
        time.sleep(0.1)  # what a peer that dribbles does


def _ask_unread(peer: socket.socket, chance: random.Random) -> None:
    del chance
    peer.settimeout(1)
    while True:
        peer.sendall(ECHO * 100)


ENDINGS: dict[str, Callable[[socket.socket, random.Random], None]] = {
    "reset": _reset,
    "end of stream": _hang_up,
    "A-ABORT": _abort,
    "garbage": _garbage,
    "silence": _silence,
    "dribble": _dribble,
    "asks and does not read": _ask_unread,
}


def fail(
    journal: Journal, port: int, title: str, name: str, chance: random.Random, over: threading.Event
) -> int:
    """Be such peers, one after the other, until it is over; return how many."""
    count = 0
    while not over.is_set():
        count += 1
        uid = f"{name}.{count}"
        data = data_set(uid, chance.randbytes(chance.choice((100, 5_000, 200_000))))
        journal.sends(uid, digest(data))
        session = b"".join(
            [
                proposal(title),
                ECHO,
                wire.as_commands(3, wire.store_rq(uid.encode())),
                wire.as_data(3, data),
                RELEASE,
            ]
        )
        cut = session[: chance.randrange(len(session) + 1)]
        with contextlib.suppress(OSError), socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
            peer.settimeout(STALL)
            peer.connect((HERE, port))
            peer.sendall(cut)
            chance.choice(list(ENDINGS.values()))(peer, chance)
    return count
