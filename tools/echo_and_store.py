"""What a new wheel has to do: an echo and a store, both ends in this process."""

from __future__ import annotations

import platform
import sys
import tempfile
from pathlib import Path

from pydicom.data import get_testdata_file

import dimse_rs
from dimse_rs import AE, Server, Storage


def data_set(path: Path) -> bytes:
    """Give what follows the file meta information, whose first element has its length."""
    content = path.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


def main() -> int:
    """Run both, and say with what."""
    sent = Path(str(get_testdata_file("CT_small.dcm")))
    with tempfile.TemporaryDirectory() as folder:
        with Server(AE("STORE"), port=0, services=[Storage(folder)]) as server:
            peer = f"STORE@127.0.0.1:{server.port}"
            with AE("NEW").associate(peer) as association:
                status = association.c_echo()
            AE("NEW").send(peer, [sent]).raise_for_failures()
        [stored] = Path(folder).glob("*.dcm")
        if status != 0 or data_set(stored) != data_set(sent):
            return 1
    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"{python}, {platform.machine()}, dimse_rs {dimse_rs.__version__}: an echo, a store")
    return 0


if __name__ == "__main__":
    sys.exit(main())
