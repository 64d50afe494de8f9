"""Our SCPs that are written in Python.

usage: dimse_scp.py find COUNT            C-FIND: a handler that yields so many data sets
       dimse_scp.py serve FOLDER PORT     C-GET and C-MOVE of a folder; ANY-SCP is at PORT
       dimse_scp.py slow                  eight C-STOREs at once, 20 ms each
       dimse_scp.py crowd FOLDER          Storage for thousands of associations
       dimse_scp.py wide FOLDER WINDOW PDU  Storage with a window, and PDUs of so many bytes at most
prints {"event": "listening", "port": N}
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from dimse_rs import AE, Limits, Retrieve, Server, Storage, StoreRequest, StudyRoot
from dimse_rs.dimse.requests import FindRequest, RetrieveRequest

MANY = 4096
DELAY = 0.02


def finder(count: str) -> Server:
    """Answer queries with the same data sets each time."""
    from tests.bench.matches import match

    found = [match(number) for number in range(int(count))]
    server = Server(AE("BENCH"), port=0)

    @server.c_find(StudyRoot)
    def find(_request: FindRequest) -> Iterator[object]:
        yield from found

    return server


def archive(folder: str, port: str) -> Server:
    """Retrieve a folder."""
    paths = sorted(Path(folder).iterdir())
    server = Server(AE("BENCH"), port=0, destinations={"ANY-SCP": f"127.0.0.1:{port}"})

    @server.c_get(StudyRoot)
    @server.c_move(StudyRoot)
    def retrieve(_request: RetrieveRequest) -> Retrieve:
        return Retrieve(len(paths), paths)

    return server


def slow() -> Server:
    """Take 20 ms for each instance, up to eight at once."""
    server = Server(AE("BENCH"), port=0, max_ops_performed=8)

    @server.c_store
    def keep(_request: StoreRequest) -> None:
        time.sleep(DELAY)

    return server


def crowd(folder: str) -> Server:
    """Store what thousands send at once."""
    limits = Limits(max_associations=MANY, max_pending=MANY, max_pending_per_address=MANY)
    return Server(AE("BENCH", limits=limits), port=0, services=[Storage(folder, mode="fast")])


def wide(folder: str, window: str, pdu: str) -> Server:
    """Store what comes with many operations outstanding."""
    ae = AE("BENCH", max_pdu=int(pdu))
    storage = Storage(folder, mode="fast")
    return Server(ae, port=0, max_ops_performed=int(window), services=[storage])


def main() -> None:
    """Serve until killed."""
    what, *rest = sys.argv[1:]
    make = {"find": finder, "serve": archive, "slow": slow, "crowd": crowd, "wide": wide}[what]
    with make(*rest) as server:
        print(json.dumps({"event": "listening", "port": server.port}), flush=True)
        server.wait()


if __name__ == "__main__":
    main()
