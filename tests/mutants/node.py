"""Our servers with every ready-made service, as a process that looks at its own output.

usage: node.py FOLDER

Prints lines of JSON: first the ports, `{"event": "listening", "store": N, ...}`, then
`{"event": "leak", ...}` for a log record or an event with a patient's value in it, at whatever
level. At SIGUSR1 it prints its vital signs. It serves until it is terminated.

`store` has the ready-made services, `strict` a stricter `Storage` in another layout, `handlers` has
functions; `async store` and `async handlers` are the same for asyncio.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from pydicom import Dataset
from pydicom.filereader import read_dataset

from dimse_rs import (
    AE,
    AsyncServer,
    BasicFilmSession,
    Commitment,
    CommitmentReports,
    Index,
    InstanceAvailability,
    Limits,
    Mpps,
    PatientRoot,
    QueryRetrieve,
    Schedule,
    Server,
    Storage,
    StudyRoot,
    Worklist,
    _core,
    audit_xml,
)
from dimse_rs.services.mpps import created
from tests.mutants.seeds import IMPLICIT, MARK, part10, seeds
from tests.mutants.values import Leaks, looked_at, read_by_pydicom

STEP = "1.2.3.77"
"""A performed procedure step that is always in progress."""
SERVERS = ("store", "strict", "handlers", "async store", "async handlers")
LIMITS = Limits(instance=4 << 20, dataset=2 << 20)
FOLLOWED = ("message", "suboperation", "negotiated", "associated", "stored", "refused", "denied")
FOLLOWED += ("rejected", "released", "aborted", "error", "ended", "state", "pdu")


def say(**what: object) -> None:
    """Print a line of JSON, whole."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Steps(dict[str, Dataset]):
    """Procedure steps, a few; one is in progress whatever was done to it."""

    def __init__(self) -> None:
        """Keep one."""
        super().__init__()
        [first, *_] = (seed for seed in seeds()["step"] if seed.syntax == IMPLICIT)
        self._content = first.content
        super().__setitem__(STEP, Dataset())

    def __getitem__(self, uid: str) -> Dataset:
        """Give the one in progress afresh."""
        if uid == STEP:
            return created(read_dataset(BytesIO(self._content), True, True))
        return super().__getitem__(uid)

    def get(self, uid: str, default: Any = None) -> Any:
        """Do as `self[uid]`: a dict does not ask that."""
        return self[uid] if uid in self else default  # noqa: SIM401

    def __setitem__(self, uid: str, step: Dataset) -> None:
        """Keep it, unless there are many."""
        if uid != STEP and len(self) < 100:
            super().__setitem__(uid, step)


class Node:
    """The five servers, the archive, and what handlers keep besides."""

    def __init__(self, folder: Path) -> None:
        """Fill the archive and make the servers."""
        self.folder = folder
        self.archive = Index("SCP")
        self.kept = Index("SCP")
        archive = folder / "archive"
        archive.mkdir()
        for number, seed in enumerate(seeds()["instance"]):
            (archive / f"{number}.dcm").write_bytes(part10(seed.content, seed.syntax))
        self.archive.add_folder(archive)
        self.kept.add_folder(archive)
        self.steps = folder / "steps"
        self.steps.mkdir()
        for number, seed in enumerate(seeds()["item"]):
            (self.steps / f"{number}.wl").write_bytes(part10(seed.content, seed.syntax))
        whole = [seed for seed in seeds()["item"] if not seed.is_deflated]
        self.items = [read_by_pydicom(seed.content, seed.syntax) for seed in whole]
        common: dict[str, Any] = {"port": 0, "any_called": True}
        common["destinations"] = lambda _title: ("127.0.0.1", self.servers["store"].port)
        strict = Storage(folder / "strict", mode="fast", layout="study", strict=True)
        self.servers: dict[str, Any] = {
            "store": Server(AE("SCP", limits=LIMITS), services=self._services("store"), **common),
            "strict": Server(AE("SCP", limits=LIMITS), services=[strict], **common),
            "handlers": Server(AE("SCP", limits=LIMITS), services=[Worklist(self.steps)], **common),
            "async store": AsyncServer(
                AE("SCP", limits=LIMITS), services=self._services("async store"), **common
            ),
            "async handlers": AsyncServer(
                AE("SCP", limits=LIMITS), services=[Worklist(self.steps)], **common
            ),
        }
        self._handlers(self.servers["handlers"])
        self._async_handlers(self.servers["async handlers"])

    def _services(self, name: str) -> list[Any]:
        return [
            Storage(self.folder / name, mode="fast"),
            QueryRetrieve(self.archive),
            Schedule(self.items),
            Mpps(Steps()),
            Commitment(lambda _class, _instance: True, attempts=1),
            CommitmentReports(lambda _report: None),
            InstanceAvailability(lambda _uid, notice: looked_at(notice)),
        ]

    def _keep(self, request: Any, folder: str) -> None:
        looked_at(request.dataset)
        self.kept.add(request.save(self.folder / folder, mode="fast"))

    def _handlers(self, server: Server) -> None:
        @server.c_store
        def store(request: Any) -> None:
            self._keep(request, "handled")

        @server.c_find(StudyRoot, PatientRoot)
        def find(request: Any) -> Iterator[Dataset]:
            looked_at(request.identifier)
            yield request.identifier

        @server.c_get(StudyRoot)
        @server.c_move(StudyRoot)
        def get(request: Any) -> list[Path]:
            return self.kept.retrieve(request.identifier, StudyRoot)

        @server.n_create(BasicFilmSession)
        @server.n_set(BasicFilmSession)
        @server.n_action(BasicFilmSession)
        def create(request: Any) -> Dataset:
            looked_at(request.dataset)
            answer: Dataset = request.dataset
            return answer

    def _async_handlers(self, server: AsyncServer) -> None:
        @server.c_store
        async def store(request: Any) -> None:
            await asyncio.to_thread(self._keep, request, "async handled")

        @server.c_find(StudyRoot, PatientRoot)
        async def find(request: Any) -> AsyncIterator[Dataset]:
            looked_at(request.identifier)
            yield request.identifier

        @server.c_get(StudyRoot)
        @server.c_move(StudyRoot)
        async def get(request: Any) -> list[Path]:
            return self.kept.retrieve(request.identifier, StudyRoot)

        @server.n_create(BasicFilmSession)
        @server.n_set(BasicFilmSession)
        @server.n_action(BasicFilmSession)
        async def create(request: Any) -> Dataset:
            looked_at(request.dataset)
            answer: Dataset = request.dataset
            return answer

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until told to stop, and follow what happens."""
        async with self.servers["async store"], self.servers["async handlers"]:
            with self.servers["store"], self.servers["strict"], self.servers["handlers"]:
                for server in self.servers.values():
                    threading.Thread(target=followed, args=[server], daemon=True).start()
                say(event="listening", **{name: one.port for name, one in self.servers.items()})
                await stop.wait()


def followed(server: Any) -> None:
    """Follow everything: what can be audited becomes messages, the rest lines of JSON."""
    try:
        for event in server.events(*FOLLOWED, "audit"):
            if event["event"] == "audit":
                ElementTree.fromstring(audit_xml(event))
            elif MARK in (text := json.dumps(event, default=str)):
                say(event="leak", where="events", text=text[:2000])
    except Exception as error:
        say(event="raised", text="".join(traceback.format_exception(error))[-1500:])


def tell() -> None:
    """Print the vital signs."""
    files = len(os.listdir("/proc/self/fd"))
    threads = threading.active_count()
    say(
        event="vitals",
        tasks=_core.alive_tasks(),
        panics=_core.panics(),
        threads=threads,
        files=files,
    )


async def main() -> None:
    """Serve until told to stop."""
    Leaks.watch(lambda text: say(event="leak", text=text))
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, tell)
    await Node(Path(sys.argv[1])).serve(stop)


if __name__ == "__main__":
    asyncio.run(main())
