"""Peers that fail: a session that is cut anywhere, and ends in any of the ways there are."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable

from tests.durability.storm import Journal
from tests.load.clients import ECHO, HERE, RELEASE, WINDOW, proposal
from tests.support import wire
from tests.support.instances import data_set, digest

STALL = 8.0
"""Seconds that a peer stays silent, or dribbles: longer than the server waits."""
WHOLE = 0.1
"""Share of the sessions that are cut behind their last byte."""


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


Ending = Callable[[socket.socket, random.Random], None]
SILENT: list[Ending] = [_reset, _hang_up, _silence]
SAYING_MORE: list[Ending] = [_abort, _garbage, _dribble, _ask_unread]


def _boundaries(session: bytes) -> list[int]:
    """Where PDUs end."""
    ends, at = [], 0
    while at < len(session):
        at += 6 + int.from_bytes(session[at + 2 : at + 6])
        ends.append(at)
    return ends


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
        asked = proposal(title)
        session = b"".join(
            [
                asked,
                ECHO,
                wire.as_commands(3, wire.store_rq(uid.encode())),
                wire.as_data(3, data),
                RELEASE,
            ]
        )
        # Now and then all of it is sent: then it is stored, and nobody is there to hear so. What is
        # said in the middle of a PDU would be taken for its rest, and stored as if it were.
        ending = chance.choice(SILENT + SAYING_MORE)
        end = chance.randrange(len(session))
        if ending in SAYING_MORE:
            end = chance.choice(_boundaries(session))
        cut = session if chance.random() < WHOLE else session[:end]
        with contextlib.suppress(OSError), socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
            peer.settimeout(STALL)
            peer.connect((HERE, port))
            peer.sendall(cut[: len(asked)])
            if len(cut) > len(asked):
                peer.recv(4096)  # nothing may be said before the answer is there
                peer.sendall(cut[len(asked) :])
            ending(peer, chance)
    return count
