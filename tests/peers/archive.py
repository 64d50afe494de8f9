"""Every query SCP of the interop matrix behind one face: ours is one entry among others.

All archives know one C-MOVE destination, DIMSE_RS on this machine, and start empty.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers.scp import announced
from tests.peers.scu import DCMTK_ENV, DIMSE, Target
from tests.support.process import LOOPBACK, listening

MOVER = "DIMSE_RS"
"""AE title of the C-MOVE destination, and of our SCU."""


ORTHANC = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "Orthanc"
"""Debian puts it where only root looks."""


@dataclass(frozen=True)
class Archive:
    """A Query/Retrieve SCP: how it starts in a folder, given the port of the C-MOVE destination."""

    name: str
    tools: Sequence[str]
    start: Callable[[Path, int], contextlib.AbstractContextManager[Target]]
    repeats: bool = False
    """It answers a query at any level with one match for each instance."""


@contextlib.contextmanager
def _dimse_scp(folder: Path, *options: str) -> Iterator[Target]:
    argv = [*DIMSE, "scp", "0", "--json", "-od", str(folder), "--mode", "fast", *options]
    with announced(argv, "ANY-SCP", folder) as running:
        yield running.target


def dimse_archive(folder: Path, port: int) -> contextlib.AbstractContextManager[Target]:
    """Run our own archive."""
    return _dimse_scp(folder, "--destination", f"{MOVER}={LOOPBACK}:{port}")


_DCMQRSCP = """\
MaxPDUSize = 131072
MaxAssociations = 16
HostTable BEGIN
me = ({mover}, {host}, {port})
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
QRSCP {folder} RW (200, 1024mb) ANY
AETable END
"""


@contextlib.contextmanager
def dcmqrscp(folder: Path, port: int) -> Iterator[Target]:
    """Run DCMTK's archive."""
    config, kept = folder / "dcmqrscp.cfg", folder / "kept"
    kept.mkdir()
    config.write_text(_DCMQRSCP.format(mover=MOVER, host=LOOPBACK, port=port, folder=kept))
    command = ["dcmqrscp", "-c", str(config)]
    with listening(lambda own: [*command, str(own)], env=DCMTK_ENV) as (_, own):
        yield Target(own, "QRSCP")


@contextlib.contextmanager
def qrscp(folder: Path, port: int) -> Iterator[Target]:
    """Run the archive among pynetdicom's applications."""
    config = folder / "qrscp.ini"
    settings = "ae_title: QRSCP\nmax_pdu: 0\nlog_identifier: False\n"
    for name in ("acse", "dimse", "network"):
        settings += f"{name}_timeout: 30\n"
    config.write_text(f"[DEFAULT]\n{settings}[{MOVER}]\naddress: {LOOPBACK}\nport: {port}\n")
    command = [sys.executable, "-m", "pynetdicom", "qrscp", "-c", str(config), "-ba", LOOPBACK]
    command += ["--database-location", str(folder / "index.sqlite")]
    command += ["--instance-location", str(folder / "kept")]
    with listening(lambda own: [*command, "--port", str(own)]) as (_, own):
        yield Target(own, "QRSCP")


@contextlib.contextmanager
def orthanc(folder: Path, port: int) -> Iterator[Target]:
    """Run Orthanc without its web server and plugins."""
    config = folder / "orthanc.json"
    settings: dict[str, Any] = {
        "StorageDirectory": str(folder / "kept"),
        "IndexDirectory": str(folder / "kept"),
        "HttpServerEnabled": False,
        "DicomAet": "ORTHANC",
        "DicomModalities": {"mover": [MOVER, LOOPBACK, port]},
        "UnknownSopClassAccepted": True,
        "Plugins": [],
        **{f"DicomAlwaysAllow{what}": True for what in ("Echo", "Store", "Find", "Get", "Move")},
    }

    def argv(own: int) -> list[str]:
        config.write_text(json.dumps(settings | {"DicomPort": own}))
        return [ORTHANC, str(config)]

    with listening(argv, env=DCMTK_ENV) as (_, own):
        yield Target(own, "ORTHANC")


WORKLIST_TITLE = "WORKLIST"


def dimse_worklist(folder: Path) -> contextlib.AbstractContextManager[Target]:
    """Run our own worklist."""
    return _dimse_scp(folder.with_name("stored"), "--worklist", str(folder))


@contextlib.contextmanager
def wlmscpfs(folder: Path) -> Iterator[Target]:
    """Run DCMTK's worklist; the items are in a folder called as it is."""
    (folder / "lockfile").touch()
    command = ["wlmscpfs", "-dhl", "-dfp", str(folder.parent)]
    with listening(lambda own: [*command, str(own)], env=DCMTK_ENV) as (_, own):
        yield Target(own, WORKLIST_TITLE)


@dataclass(frozen=True)
class WorklistScp:
    """A worklist SCP: how it starts over a folder of items that is called WORKLIST."""

    name: str
    tools: Sequence[str]
    start: Callable[[Path], contextlib.AbstractContextManager[Target]]


WORKLISTS = {
    scp.name: scp
    for scp in [
        WorklistScp("dimse", ["module:dimse_rs._core"], dimse_worklist),
        WorklistScp("wlmscpfs", ["wlmscpfs"], wlmscpfs),
    ]
}

ARCHIVES = {
    archive.name: archive
    for archive in [
        Archive("dimse", ["module:dimse_rs._core"], dimse_archive),
        Archive("dcmqrscp", ["dcmqrscp"], dcmqrscp),
        Archive("pynetdicom qrscp", ["module:pynetdicom", "module:sqlalchemy"], qrscp, True),
        Archive("Orthanc", [ORTHANC], orthanc),
    ]
}
