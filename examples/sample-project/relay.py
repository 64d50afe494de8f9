"""A relay: takes instances from modalities and sends them on to an archive, until it has them.

Each instance is synced to disk before its sender gets Success, and leaves the disk when the archive
has answered with Success: one of the two is responsible for it at any time.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Self

from dimse_rs import AE, Server, Storage, StoredInstance


class Relay:
    """Stores, and sends on meanwhile; runs in a `with` block."""

    def __init__(
        self, folder: Path, archive: str, *, port: int = 11112, pause: float = 30.0
    ) -> None:
        self.folder, self.archive, self.pause = folder, archive, pause
        self.ae = AE("RELAY")
        storage = Storage(folder, on_stored=self.took, unknown=True)
        self.server = Server(self.ae, port=port, any_called=True, services=[storage])
        self.something, self.stopping = Event(), Event()
        self.sender = Thread(target=self.send_on)

    def took(self, items: Sequence[StoredInstance]) -> None:
        """Wake the sender: what came is on disk."""
        self.something.set()

    def send_on(self) -> None:
        """Send what is on disk, and again after a pause what the archive does not have."""
        while not self.stopping.is_set():
            self.something.clear()
            # What an earlier run has left is among them.
            waiting = sorted(self.folder.glob("*.dcm"))
            report = self.ae.send(self.archive, waiting) if waiting else None
            for result in report.results if report else ():
                if result.ok:
                    Path(result.path).unlink()
            failed = report is not None and any(not result.ok for result in report.results)
            (self.stopping if failed else self.something).wait(self.pause)

    def __enter__(self) -> Self:
        """Start."""
        self.server.start()
        self.sender.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; what is left is sent by the next run."""
        self.server.stop()
        self.stopping.set()
        self.something.set()
        self.sender.join()


def main() -> None:
    """Run until Ctrl-C: `relay FOLDER AET@HOST:PORT`."""
    folder, archive = sys.argv[1:]
    with Relay(Path(folder), archive) as relay:
        relay.server.wait()
