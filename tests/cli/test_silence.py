"""The tools tell no value of a data set, at any level, except where data sets are asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dimse_rs.datasets import write_encoded
from dimse_rs.sop_class import CTImageStorage, ExplicitVRLittleEndian
from tests.data.marked import MARK, marked
from tests.support.process import Process, run

DIMSE = [sys.executable, "-m", "dimse_rs"]  # not with -W error, as other tests: users have none

WORKLIST = {0x00400100: ("SQ", b"\xfe\xff\x00\xe0\x00\0\0\0")}
STORED = {
    0x00080016: ("UI", CTImageStorage.encode()),
    0x0020000D: ("UI", b"1.2.3"),
    0x0020000E: ("UI", b"1.2.3.4"),
}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Write queries, instances and worklist items with marked values."""
    for folder in ("queries", "stored", "worklist"):
        (tmp_path / folder).mkdir()
    found = []
    for number, (_, raw) in enumerate(marked()):
        found.append(tmp_path / "queries" / f"{number}.dcm")
        write_encoded(found[-1], raw, ExplicitVRLittleEndian, CTImageStorage)
    for number, (_, raw) in enumerate(marked({**STORED, 0x00080018: ("UI", b"1.2.3.4.5")})):
        path = tmp_path / "stored" / f"{number}.dcm"
        write_encoded(path, raw, ExplicitVRLittleEndian, CTImageStorage)
    for number, (_, raw) in enumerate(marked(WORKLIST)):
        path = tmp_path / "worklist" / f"{number}.wl"
        write_encoded(path, raw, ExplicitVRLittleEndian, CTImageStorage)
    return found


def test_no_tool_tells_a_value(files, tmp_path):
    folder = tmp_path / "stored"
    said = {}
    options = ["-od", folder, "--worklist", tmp_path / "worklist", "-ll", "trace"]
    options += ["--destination", "THERE=127.0.0.1:1"]
    with Process([*DIMSE, "scp", "0", *map(str, options)]) as process:
        peer = f"ANY@127.0.0.1:{int(process.wait_for_line(bool))}"
        loud = ["-ll", "trace"]
        calls = {
            "storescu": ["storescu", *loud, peer, *files],
            "findscu": ["findscu", *loud, "-sr", "-S", "-L", "IMAGE", peer, *files],
            "findscu -P": ["findscu", "-v", "-sr", "-P", "-L", "PATIENT", peer, *files],
            "findscu -W": ["findscu", *loud, "-sr", "-W", peer, *files],
            "mwlscu": ["mwlscu", *loud, "-sr", peer],
            "getscu": ["getscu", *loud, "-S", "-L", "IMAGE", "-od", tmp_path, peer, *files],
            "movescu": ["movescu", *loud, "-S", "-L", "IMAGE", "-aem", "THERE", peer, *files],
            "stgcmtscu": ["stgcmtscu", *loud, "--wait", "1", peer, *files],
            "mppsscu": ["mppsscu", "create", *loud, peer, files[0]],
        }
        for name, call in calls.items():
            done = run([*DIMSE, *map(str, call)])
            said[name] = done.stdout + done.stderr
            assert done.returncode != 1, (name, done.stderr)
        process.stop()
        said["scp"] = "\n".join(process.lines) + process.errors()
    assert {name for name, text in said.items() if MARK.casefold() in text.casefold()} == set()
    assert "Traceback" not in "".join(said.values())
