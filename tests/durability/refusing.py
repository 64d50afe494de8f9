"""A server that refuses instances whose pixels say so, by `on_stored`: to be traced and killed."""

from __future__ import annotations

import sys

from dimse_rs import AE, Server, Storage, StoredInstance

REFUSED = b"refuse me "
STATUS = 0xC123


def decide(items: list[StoredInstance]) -> None:
    """Refuse what asks for it."""
    for item in items:
        if REFUSED in item.path.read_bytes():
            item.refuse(STATUS, "as it asked for")


def main(folder: str, mode: str, layout: str) -> None:
    """Serve on a free port, printed, until it is ended."""
    storage = Storage(folder, mode=mode, layout=layout, on_stored=decide)  # type: ignore[arg-type]
    with Server(AE("ANY-SCP"), port=0, services=[storage]) as server:
        print(server.port, flush=True)
        server.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
