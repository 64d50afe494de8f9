"""Our SCU from Python; the loop alone is timed, as in the scripts for pynetdicom.

usage: dimse_scu.py echo   PORT TITLE COUNT           COUNT C-ECHOs on one association
       dimse_scu.py assoc  PORT TITLE COUNT           COUNT times associate + echo + release
       dimse_scu.py store  PORT TITLE FILE...         ae.send: plan, associate, send, release
       dimse_scu.py secure PORT TITLE KEY CERT CA FILE...  the same over TLS
       dimse_scu.py window PORT TITLE WINDOW FILE...  the same, so many operations outstanding
       dimse_scu.py many   PORT TITLE ASSOCIATIONS WINDOW FILE...  over so many associations at once
       dimse_scu.py find   PORT TITLE                 C-FIND, each match decoded
       dimse_scu.py raw    PORT TITLE                 C-FIND, undecoded
       dimse_scu.py get    PORT TITLE FOLDER          C-GET into a folder
       dimse_scu.py move   PORT TITLE                 C-MOVE to ANY-SCP
       dimse_scu.py crowd  PORT TITLE COUNT FILE...   COUNT associations at once in one event loop,
                                                      each: echo, store the files, release
prints {"seconds": S, "count": N}
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from dimse_rs import AE, TLS, StudyRoot, Verification, for_retrieve


def send(
    ae: AE, peer: str, paths: Sequence[str], window: int = 1, associations: int = 1
) -> tuple[float, int]:
    """Send files."""
    start = time.perf_counter()
    report = ae.send(peer, paths, max_ops_invoked=window, associations=associations)
    seconds = time.perf_counter() - start
    report.raise_for_failures()
    return seconds, len(report.results)


def associate(ae: AE, peer: str, count: int) -> tuple[float, int]:
    """Associate, echo and release again and again."""
    start = time.perf_counter()
    for _ in range(count):
        with ae.associate(peer) as association:
            association.c_echo()
    return time.perf_counter() - start, count


def echo(ae: AE, peer: str, count: int) -> tuple[float, int]:
    """Echo again and again."""
    with ae.associate(peer) as association:
        start = time.perf_counter()
        for _ in range(count):
            association.c_echo()
        return time.perf_counter() - start, count


def find(ae: AE, peer: str, *, raw: bool) -> tuple[float, int]:
    """Count matches."""
    from tests.bench.matches import query

    with ae.associate(peer, contexts=StudyRoot) as association:
        asked = query()
        start = time.perf_counter()
        count = sum(1 for _ in association.c_find(asked, model=StudyRoot, raw=raw))
        return time.perf_counter() - start, count


def retrieve(ae: AE, peer: str, folder: str | None) -> tuple[float, int]:
    """Retrieve into a folder, or have it moved: association and release included, as in `send`."""
    from tests.bench.matches import query

    asked = query()
    start = time.perf_counter()
    contexts = StudyRoot if folder is None else for_retrieve(StudyRoot)
    with ae.associate(peer, contexts=contexts) as association:
        responses = (
            association.c_move(asked, model=StudyRoot, destination="ANY-SCP")
            if folder is None
            else association.c_get(asked, model=StudyRoot, into=folder)
        )
        (last,) = deque(responses, maxlen=1)
    return time.perf_counter() - start, last.completed


async def crowd(ae: AE, peer: str, count: int, paths: Sequence[str]) -> tuple[float, int]:
    """Have many associations at once."""
    from pydicom import dcmread

    contexts = [Verification, dcmread(paths[0], specific_tags=["SOPClassUID"]).SOPClassUID]
    here = asyncio.Event()
    arrived = 0

    async def one() -> None:
        nonlocal arrived
        async with ae.associate_async(peer, contexts=contexts) as association:
            arrived += 1
            if arrived == count:
                here.set()
            await here.wait()  # so that all of them are there at once
            await association.c_echo()
            for path in paths:
                await association.c_store(path)

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(one())
    return time.perf_counter() - start, count


def main() -> None:
    """Run one of them."""
    what, port, title, *rest = sys.argv[1:]
    ae = AE("BENCH")
    peer = f"{title}@127.0.0.1:{port}"
    match what:
        case "store":
            seconds, count = send(ae, peer, rest)
        case "secure":
            key, cert, ca, *paths = rest
            seconds, count = send(replace(ae, tls=TLS(cert, key, ca)), peer, paths)
        case "window":
            seconds, count = send(ae, peer, rest[1:], int(rest[0]))
        case "many":
            associations, window = map(int, rest[:2])
            seconds, count = send(ae, peer, rest[2:], window, associations)
        case "assoc":
            seconds, count = associate(ae, peer, int(rest[0]))
        case "echo":
            seconds, count = echo(ae, peer, int(rest[0]))
        case "find" | "raw":
            seconds, count = find(ae, peer, raw=what == "raw")
        case "get" | "move":
            seconds, count = retrieve(ae, peer, rest[0] if rest else None)
        case "crowd":
            seconds, count = asyncio.run(crowd(ae, peer, int(rest[0]), rest[1:]))
        case _:
            sys.exit(__doc__)
    print(json.dumps({"seconds": seconds, "count": count}))


if __name__ == "__main__":
    main()
