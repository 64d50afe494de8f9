"""What the soak is about: an archive and a workstation of ours, in one process.

usage: archive.py FOLDER    FOLDER/library holds what is found, got and moved
The archive stores into FOLDER/durable and answers queries and retrievals; the workstation, which it
moves to, stores into FOLDER/file-only.
prints {"event": "listening", "port": N, "workstation": N}
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from dimse_rs import AE, Retrieve, Server, Storage, StudyRoot, Timeouts
from dimse_rs.dimse.requests import FindRequest, RetrieveRequest
from tests.load.node import LIMITS, all_descriptors

TIMEOUTS = Timeouts(artim=5, progress=5, write=5, idle=30)
"""Short, so that those who stall are seen to be thrown out."""


def archive(folder: Path, workstation: int) -> Server:
    """Store, and give what the library holds."""
    paths = sorted((folder / "library").iterdir())
    server = Server(
        AE("ARCHIVE", timeouts=TIMEOUTS, limits=LIMITS),
        port=0,
        services=[Storage(folder / "durable", mode="durable")],
        destinations={"WORKSTATION": f"127.0.0.1:{workstation}"},
    )

    @server.c_find(StudyRoot)
    def find(_request: FindRequest) -> Iterator[dict[str, str]]:
        from pydicom.dataset import Dataset

        for path in paths:
            found = Dataset()
            found.QueryRetrieveLevel = "IMAGE"
            found.SOPInstanceUID = path.stem
            yield found

    @server.c_get(StudyRoot)
    @server.c_move(StudyRoot)
    def retrieve(_request: RetrieveRequest) -> Retrieve:
        return Retrieve(len(paths), paths)

    return server


def main() -> None:
    """Serve until killed."""
    folder = Path(sys.argv[1])
    all_descriptors()
    workstation = Server(
        AE("WORKSTATION", timeouts=TIMEOUTS, limits=LIMITS),
        port=0,
        services=[Storage(folder / "file-only", mode="file-only")],
    )
    with workstation, archive(folder, workstation.port) as server:
        ports = {"port": server.port, "workstation": workstation.port}
        print(json.dumps({"event": "listening", **ports}), flush=True)
        server.wait()


if __name__ == "__main__":
    main()
