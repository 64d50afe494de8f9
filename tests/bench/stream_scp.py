"""A C-FIND SCP that costs nothing: all its responses lie in one buffer, written at once.

usage: stream_scp.py COUNT    prints {"event": "listening", "port": N}
"""

from __future__ import annotations

import json
import socket
import sys
from itertools import cycle, islice

from tests.bench.matches import encoded, match
from tests.support import wire
from tests.support.scripted_scp import Connection

PENDING, DATA = 0xFF00, 0x0001
DISTINCT = 500


def answer(status: int, data: int) -> bytes:
    """Build a response to message 1."""
    return wire.as_commands(
        1,
        wire.command(
            wire.ui(0x0002, wire.STUDY_ROOT_FIND),
            wire.us(0x0100, wire.C_FIND_RQ | wire.RESPONSE),
            wire.us(0x0120, 1),
            wire.us(0x0800, data),
            wire.us(0x0900, status),
        ),
    )


def main() -> None:
    """Serve one association after the other until killed."""
    pending = answer(PENDING, DATA)
    some = [pending + wire.as_data(1, encoded(match(number))) for number in range(DISTINCT)]
    stream = b"".join(islice(cycle(some), int(sys.argv[1]))) + answer(0, wire.NO_DATA)
    listener = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"event": "listening", "port": listener.getsockname()[1]}), flush=True)
    while True:
        accepted, _ = listener.accept()
        with accepted:
            peer = Connection(accepted)
            peer.accept((1, 0, [wire.EXPLICIT]))
            asked, _ = peer.message()
            if wire.number_of(asked, 0x0110) != 1:
                sys.exit("the responses are to message 1")
            peer.send(stream)
            peer.release()


if __name__ == "__main__":
    main()
