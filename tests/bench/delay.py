"""A TCP proxy that makes loopback as far away as another town: each byte arrives later.

usage: delay.py HOST:PORT ROUND_TRIP_MILLISECONDS    prints {"event": "listening", "port": N}

Every byte is delayed by half of the round trip, in each direction; up to 64 MiB a direction are
under way, so that the delay costs time and no throughput. There is no limit of bandwidth, no loss.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import sys

CHUNK = 256 << 10
UNDER_WAY = 256
"""Chunks under way in one direction, at most."""
BUFFER = 1 << 20

Chunk = tuple[float, bytes]


async def _take(source: asyncio.StreamReader, way: asyncio.Queue[Chunk], delay: float) -> None:
    """Read, and note when each chunk is to arrive; an empty one is the end."""
    clock = asyncio.get_running_loop().time
    data = b"-"
    while data:
        try:
            data = await source.read(CHUNK)
        except OSError:
            data = b""
        await way.put((clock() + delay, data))


async def _give(way: asyncio.Queue[Chunk], target: asyncio.StreamWriter) -> None:
    """Write each chunk when its time has come."""
    clock = asyncio.get_running_loop().time
    while True:
        due, data = await way.get()
        await asyncio.sleep(due - clock())
        with contextlib.suppress(OSError):
            if not data:
                target.write_eof()
                return
            target.write(data)
            await target.drain()


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter, delay: float) -> None:
    way: asyncio.Queue[Chunk] = asyncio.Queue(UNDER_WAY)
    async with asyncio.TaskGroup() as group:
        group.create_task(_take(source, way, delay))
        group.create_task(_give(way, target))


async def _serve(
    host: str, port: int, delay: float, ours: asyncio.StreamReader, answer: asyncio.StreamWriter
) -> None:
    theirs, target = await asyncio.open_connection(host, port, limit=BUFFER)
    # The handshake of TCP, which was over on loopback at once, takes a round trip too.
    await asyncio.sleep(2 * delay)
    async with asyncio.TaskGroup() as group:
        group.create_task(_carry(ours, target, delay))
        group.create_task(_carry(theirs, answer, delay))
    for end in (target, answer):
        end.close()


async def main(address: str, milliseconds: str) -> None:
    """Serve until killed."""
    host, _, port = address.rpartition(":")
    delay = float(milliseconds) / 2000
    serve = functools.partial(_serve, host, int(port), delay)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=BUFFER, backlog=1024)
    print(
        json.dumps({"event": "listening", "port": server.sockets[0].getsockname()[1]}), flush=True
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
