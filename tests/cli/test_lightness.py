"""What the tools load while they do their work: neither pydicom nor NumPy, until one is needed."""

from __future__ import annotations

import json

import pytest

from dimse_rs import StudyRoot
from dimse_rs.cli.main import VERBS
from tests.support.nodes import CT, at, picky, scp
from tests.support.process import Process, run
from tests.support.tools import PYTHON

RUNNER = """
import json, sys
from dimse_rs.cli import main
code = main(sys.argv[1:]) if sys.argv[1:] else __import__("pydicom") and 0
heavy = ("pydicom", "numpy", "asyncio", "ssl", "multiprocessing", "urllib.request", "email", "http")
print(json.dumps([code, [name for name in heavy if name in sys.modules]]))
"""


def loaded(*arguments):
    done = run([*PYTHON, "-c", RUNNER, *map(str, arguments)])
    return json.loads(done.stdout.splitlines()[-1])


def test_echoscu():
    with scp() as server:
        assert loaded("echoscu", at(server)) == [0, []]


@pytest.mark.parametrize("options", [[], ["--json"], ["-v"], ["--associations", "2"]])
def test_storescu_of_a_plain_file(options, tmp_path):
    with scp(tmp_path) as server:
        assert loaded("storescu", *options, at(server), CT) == [0, []]


def test_storescu_that_has_to_convert_loads_pydicom(tmp_path):
    with picky(tmp_path, {"1.2.840.10008.5.1.4.1.1.2": ["1.2.840.10008.1.2"]}) as peer:
        code, heavy = loaded("storescu", peer, CT)
    assert code == 0
    assert "pydicom" in heavy


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("findscu", []),
        ("findscu", ["--json", "-X"]),
        ("getscu", []),
        ("getscu", ["--json"]),
        ("movescu", ["-aem", "DEST"]),
        ("movescu", ["-aem", "DEST", "+P", "0", "--json"]),
    ],
)
def test_queries_load_pydicom_alone(verb, options, tmp_path):
    with scp(tmp_path / "other", any_called=True) as other:
        server = scp(destinations={"DEST": f"127.0.0.1:{other.port}"})
        server.c_find(StudyRoot)(lambda request: [request.identifier])
        server.c_get(StudyRoot)(lambda request: [CT])
        server.c_move(StudyRoot)(lambda request: [CT])
        keys = ["-S", "-L", "STUDY", "-k", "StudyInstanceUID=1.2"]
        with server:
            got = loaded(verb, *options, *keys, "-od", tmp_path / "in", at(server))
    assert got == loaded()
    assert "asyncio" not in got[1]


@pytest.mark.parametrize("verb", list(VERBS))
def test_help_loads_nothing(verb):
    assert loaded(verb, "--help") == [0, []]


def test_storescp_that_received(tmp_path):
    with Process([*PYTHON, "-c", RUNNER, "storescp", "0", "-od", str(tmp_path)]) as tool:
        port = tool.wait_for_line(bool)
        assert loaded("storescu", "127.0.0.1", port, CT) == [0, []]
        tool._child.terminate()
        assert tool.wait() == 0
        tool._reader.join(5)
        assert json.loads(tool.lines[-1]) == [0, []]
