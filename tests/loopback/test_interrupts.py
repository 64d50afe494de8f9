"""Ctrl-C reaches every call that waits, within two seconds, and what was open is aborted."""

from __future__ import annotations

import sys
import time

import pytest

from dimse_rs import CTImageStorage, Printer, StudyRoot, Verification
from tests.data.generate import series
from tests.support.nodes import CT, Puppet, at, silent_after
from tests.support.process import Process

pytestmark = pytest.mark.slow

START = """
import sys
from dimse_rs import AE, Server, Timeouts
ae = AE("SCU", timeouts=Timeouts(**dict.fromkeys(Timeouts.__dataclass_fields__, 0)))
peer, path = sys.argv[1:]
def ready():
    print("ready", flush=True)
try:
"""
END = """
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""

FIND = str(StudyRoot.find)
MOVE = str(StudyRoot.move)
PRINTER = str(Printer)

CALLS = {
    "associate": ("associate-requested", "ae.associate(peer)"),
    "c_echo": ("command", "ae.associate(peer).c_echo()"),
    "c_echo in a with": (
        "command",
        "with ae.associate(peer) as association:\n        association.c_echo()",
    ),
    "c_store": (
        "data",
        "ae.associate(peer, contexts='1.2.840.10008.5.1.4.1.1.2').c_store(path)",
    ),
    "c_store of a data set": (
        "data",
        "import pydicom\n    ae.associate(peer, contexts='1.2.840.10008.5.1.4.1.1.2')"
        ".c_store(pydicom.dcmread(path))",
    ),
    "c_find": (
        "data",
        f"list(ae.associate(peer, contexts='{FIND}').c_find({{'PatientID': ''}}, model='{FIND}'))",
    ),
    "c_find in a loop in a with": (
        "data",
        f"with ae.associate(peer, contexts='{FIND}') as association:"
        f"\n        for _ in association.c_find({{'PatientID': ''}}, model='{FIND}'): pass",
    ),
    "c_move": (
        "data",
        f"list(ae.associate(peer, contexts='{MOVE}')"
        f".c_move({{'PatientID': ''}}, model='{MOVE}', destination='X'))",
    ),
    "n_get": (
        "command",
        f"ae.associate(peer, contexts='{PRINTER}')"
        f".n_get(sop_class='{PRINTER}', instance_uid='1.2')",
    ),
    "release": ("release-requested", "ae.associate(peer).release()"),
    "send": ("data", "ae.send(peer, path)"),
    "send, connecting": ("associate-requested", "ae.send(peer, path)"),
    "send over two, connecting": (
        "associate-requested",
        "from pathlib import Path\n    ae.send(peer, Path(path).parent, associations=2)",
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_ctrl_c_reaches(call, tmp_path):
    name, code = CALLS[call]
    [path, _] = series(tmp_path, "two", 2, (1, 16, 16))
    with (
        Puppet(silent_after(name), [Verification, CTImageStorage, *StudyRoot, Printer]) as peer,
        Process([sys.executable, "-c", f"{START}    {code}{END}", at(peer), str(path)]) as child,
    ):
        assert peer.reached.wait(20), child.story("did not get there")
        started = time.monotonic()
        child.interrupt()
        assert child.wait() == 0, child.story("failed")
        assert time.monotonic() - started < 2
        assert child.lines == ["interrupted"]


@pytest.mark.parametrize(
    "code",
    [
        "ready(); server.wait()",
        "events = server.events(); ready(); next(events)",
    ],
)
def test_ctrl_c_reaches_a_server(code):
    code = f"{START}    server = Server(port=0)\n    with server:\n        {code}{END}"
    with Process([sys.executable, "-c", code, "", str(CT)]) as child:
        child.wait_for_line(lambda line: line == "ready")
        started = time.monotonic()
        child.interrupt()
        assert child.wait() == 0, child.story("failed")
        assert time.monotonic() - started < 2
        assert child.lines[-1] == "interrupted"


def test_ctrl_c_in_a_with_block_aborts():
    def script(puppet):
        puppet.accept()
        puppet.until("command")
        puppet.reached.set()
        puppet.until("aborted")
        puppet.told = True

    with (
        Puppet(script) as peer,
        Process(
            [sys.executable, "-c", f"{START}    {CALLS['c_echo in a with'][1]}{END}", at(peer), ""]
        ) as child,
    ):
        assert peer.reached.wait(20)
        child.interrupt()
        child.wait()
        peer._thread.join(10)
        assert peer.told
