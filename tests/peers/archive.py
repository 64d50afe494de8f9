"""Every Query/Retrieve SCP of the interop matrix behind one face: ours is one entry among others.

All of them know one C-MOVE destination, DIMSE_RS on this machine, and start empty.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from dimse_rs import AE, FindRequest, PatientRoot, RetrieveRequest, Server, StoreRequest, StudyRoot
from tests.peers.process import LOOPBACK, listening
from tests.peers.scu import DCMTK_ENV, Target

MOVER = "DIMSE_RS"
"""AE title of the C-MOVE destination, and of our SCU."""


@dataclass(frozen=True)
class Archive:
    """A Query/Retrieve SCP: how it starts in a folder, given the port of the C-MOVE destination."""

    name: str
    tools: Sequence[str]
    start: Callable[[Path, int], contextlib.AbstractContextManager[Target]]
    repeats: bool = False
    """It answers a query at any level with one match for each instance."""


class FolderServer(Server):
    """An archive over a folder, of handlers alone: what a user writes in an hour.

    Matching is by wildcard and by list of UID, on the attributes of the instances themselves.
    """

    KEYS = {"PATIENT": "PatientID", "STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID"}

    def __init__(self, folder: Path, title: str, **options: Any) -> None:
        """Serve what is in the folder, and keep there what is stored."""
        super().__init__(AE(title), port=0, **options)
        self._folder = folder
        self.c_store(self._store)
        for model in (PatientRoot, StudyRoot):
            self.c_find(model)(self._find)
            self.c_get(model)(self._retrieve)
            self.c_move(model)(self._retrieve)

    def _store(self, request: StoreRequest) -> None:
        request.save(self._folder, mode="fast")

    def _matches(self, keys: Dataset) -> Iterator[tuple[Path, Dataset]]:
        for path in sorted(self._folder.glob("*.dcm")):
            item = pydicom.dcmread(path, stop_before_pixels=True)
            if all(_match(element, item) for element in keys):
                yield path, item

    def _find(self, request: FindRequest) -> Iterator[Dataset]:
        unique = self.KEYS.get(request.level, "SOPInstanceUID")
        seen = set()
        for _, item in self._matches(request.identifier):
            if item[unique].value in seen:
                continue
            seen.add(item[unique].value)
            found = Dataset()
            for element in request.identifier:
                found[element.tag] = item.get(element.tag, element)
            found.QueryRetrieveLevel = request.level
            yield found

    def _retrieve(self, request: RetrieveRequest) -> list[Path]:
        return [path for path, _ in self._matches(request.identifier)]


def _match(key: pydicom.DataElement, item: Dataset) -> bool:
    if key.keyword in {"QueryRetrieveLevel", "SpecificCharacterSet"} or key.is_empty:
        return True
    value = str(item.get(key.keyword, ""))
    wanted = key.value if key.VM > 1 else [key.value]
    return any(fnmatchcase(value, str(pattern)) for pattern in wanted)


@contextlib.contextmanager
def folder_server(folder: Path, port: int) -> Iterator[Target]:
    """Run our own archive in this process."""
    destinations = {MOVER: f"{LOOPBACK}:{port}"}
    with FolderServer(folder, "ARCHIVE", destinations=destinations) as server:
        yield Target(server.port, "ARCHIVE")


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
        return ["Orthanc", str(config)]

    with listening(argv, env=DCMTK_ENV) as (_, own):
        yield Target(own, "ORTHANC")


ARCHIVES = {
    archive.name: archive
    for archive in [
        Archive("dimse", ["module:dimse_rs._core"], folder_server),
        Archive("dcmqrscp", ["dcmqrscp"], dcmqrscp),
        Archive("pynetdicom qrscp", ["module:pynetdicom", "module:sqlalchemy"], qrscp, True),
        Archive("Orthanc", ["Orthanc"], orthanc),
    ]
}
