"""Every Storage SCP of the interop matrix, the demo and the benchmark behind one face."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.peers.scu import DCMTK_ENV, DIMSE, HERE, Target
from tests.support.process import Process, listening


@dataclass(frozen=True)
class Running:
    """An SCP that listens."""

    target: Target
    process: Process
    folder: Path

    def stored(self, sop_instance_uid: str) -> list[Path]:
        """Return the files kept for an instance (every peer puts the UID into the name)."""
        return sorted(path for path in self.folder.rglob("*") if sop_instance_uid in path.name)


@dataclass(frozen=True)
class Scp:
    """An SCP: how it starts, and whether it keeps a received data set byte for byte."""

    name: str
    tools: Sequence[str]
    keeps_bytes: bool
    start: Callable[[Path], contextlib.AbstractContextManager[Running]]


@contextlib.contextmanager
def announced(argv: Sequence[str], title: str, folder: Path) -> Iterator[Running]:
    """Run a server that binds port 0 and says which one it got."""
    with Process(argv) as process:
        line = process.wait_for_line(lambda line: '"listening"' in line)
        yield Running(Target(int(json.loads(line)["port"]), title), process, folder)


def dimse_scp(folder: Path, *options: str) -> contextlib.AbstractContextManager[Running]:
    """Run our own storescp."""
    argv = [*DIMSE, "storescp", "0", "-od", str(folder), "--json", *options]
    return announced(argv, "ANY-SCP", folder)


def pynetdicom_scp(folder: Path) -> contextlib.AbstractContextManager[Running]:
    """Run a storage server on pynetdicom."""
    return announced(
        [sys.executable, str(HERE / "pynetdicom_scp.py"), str(folder)], "PYNETDICOM", folder
    )


@contextlib.contextmanager
def dcmtk_scp(folder: Path, *options: str, env: Mapping[str, str] = DCMTK_ENV) -> Iterator[Running]:
    """Run DCMTK's storescp."""
    command = ["storescp", *options, "-od", str(folder)]
    with listening(lambda port: [*command, str(port)], env=env) as (process, port):
        yield Running(Target(port, "ANY-SCP"), process, folder)


SCPS = {
    scp.name: scp
    for scp in [
        Scp("dimse", ["module:dimse_rs._core"], True, lambda to: dimse_scp(to, "--mode", "fast")),
        Scp("DCMTK +B", ["storescp"], True, lambda to: dcmtk_scp(to, "+B", "+xa")),
        Scp("DCMTK", ["storescp"], False, lambda to: dcmtk_scp(to, "+xa")),
        Scp("pynetdicom", ["module:pynetdicom"], True, pynetdicom_scp),
    ]
}
