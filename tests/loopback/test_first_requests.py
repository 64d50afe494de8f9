"""First requests of a fresh process: what they need is imported, once, whichever comes first."""

from __future__ import annotations

import json
import sys
import threading

import pytest
from pydicom import dcmread

from dimse_rs import (
    CTImageStorage,
    Handlers,
    ModalityPerformedProcedureStep,
    ModalityWorklist,
    StorageCommitmentPushModel,
    StudyRoot,
    Supported,
    Username,
    for_retrieve,
)
from dimse_rs.services import CommitmentReports, PerformedStep
from tests.support.datasets import attributes
from tests.support.nodes import CT, SCU, scp
from tests.support.process import Process, run
from tests.support.tools import DIMSE, PYTHON

pytestmark = pytest.mark.slow

STARTS = 10

HELD_UP = """
import sys, threading
from importlib.abc import MetaPathFinder
from dimse_rs import AE, AsyncServer, Server, StudyRoot

reached, go_on = threading.Event(), threading.Event()

class HoldUp(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "pydicom.filereader":
            reached.set()
            assert go_on.wait(20)
        return None

sys.meta_path.insert(0, HoldUp())
server = {server}(AE("SCP"), port=0)
server.c_find(StudyRoot)(lambda request: [])

def start():
    {start}

starting = threading.Thread(target=start)
starting.start()
assert reached.wait(20), "nothing was imported"
print("port", server.port)
go_on.set()
starting.join(20)
print("port", server.port > 0)
{stop}
"""


@pytest.mark.parametrize(
    ("server", "start", "stop"),
    [
        ("Server", "server.start()", "server.stop()"),
        (
            "AsyncServer",
            "import asyncio; asyncio.run(started())",
            "",
        ),
    ],
)
def test_what_handlers_need_is_imported_before_the_port_is_open(server, start, stop):
    started = "async def started():\n    async with server:\n        print('started')\n"
    code = started + HELD_UP.format(server=server, start=start, stop=stop)
    done = run([sys.executable, "-c", code])
    lines = done.stdout.splitlines()
    assert lines[0] == "port 0", done.stderr  # the port it was told: nothing is bound yet
    assert lines[-1] == "port True"


EVERYTHING = """
import json, sys, threading
from pathlib import Path
from dimse_rs import AE, Passcodes, Server, Storage
from dimse_rs.services import Commitment, Index, Mpps, QueryRetrieve, Worklist

folder, steps, destination = sys.argv[1:]
index = Index("SCP")
over = threading.Event()
server = Server(
    AE("SCP"),
    port=0,
    services=[
        QueryRetrieve(index),
        Worklist(steps),
        Mpps(),
        Commitment(lambda sop_class, instance: True),
    ],
    verify_identity=lambda proposal: True,
    destinations={"DEST": destination},
)

@server.c_store
def store(request):
    index.add(request.save(Storage(folder)))
    assert request.dataset

server.c_echo(lambda request: over.set())
server.start()
before = set(sys.modules)
print(server.port, flush=True)
assert over.wait(25)
print(json.dumps(sorted(set(sys.modules) - before)))
server.stop()
"""


def test_first_requests_import_nothing(tmp_path):
    study = dcmread(CT).StudyInstanceUID
    keys = {"StudyInstanceUID": study}
    steps = tmp_path / "steps"
    steps.mkdir()
    contexts = [
        *("1.2.840.10008.1.1", ModalityWorklist, StorageCommitmentPushModel),
        ModalityPerformedProcedureStep,
        *for_retrieve(StudyRoot),
        StudyRoot.find,
        StudyRoot.move,
    ]
    with scp(tmp_path / "destination", any_called=True) as destination:
        arguments = tmp_path / "in", steps, f"127.0.0.1:{destination.port}"
        with Process([sys.executable, "-c", EVERYTHING, *map(str, arguments)]) as server:
            port = int(server.wait_for_line(str.isdigit))
            reports = CommitmentReports()
            with SCU.associate(f"SCP@127.0.0.1:{port}", contexts=CTImageStorage) as association:
                association.c_store(CT)
            with SCU.associate(
                f"SCP@127.0.0.1:{port}",
                contexts=contexts,
                identity=Username("somebody"),
                handlers=Handlers([reports]),
            ) as association:
                assert len(list(association.c_find(keys, model=StudyRoot, level="STUDY"))) == 1
                assert list(association.c_find({"PatientID": ""}, model=ModalityWorklist)) == []
                received = []
                for _ in association.c_get(keys, model=StudyRoot, level="STUDY", into=received):
                    pass
                for _ in association.c_move(
                    keys, model=StudyRoot, level="STUDY", destination="DEST"
                ):
                    pass
                PerformedStep.start(association, attributes())
                uid = reports.ask(association, [CT])
                assert reports.wait(uid, 20).ok
                association.c_echo()
            imported = json.loads(server.wait_for_line(lambda line: line.startswith("[")))
            assert server.wait() == 0
    assert len(received) == 1
    assert len(list((tmp_path / "destination").glob("*.dcm"))) == 1
    assert imported == []


@pytest.mark.parametrize("_number", range(STARTS))
def test_c_find_and_c_store_may_both_come_first(_number, tmp_path):
    both = threading.Barrier(2)
    found, stored = [], []

    def find(peer):
        with SCU.associate(peer, contexts=StudyRoot.find) as association:
            both.wait(10)
            responses = association.c_find({"PatientID": ""}, model=StudyRoot, level="STUDY")
            found.append(list(responses))

    def store(peer):
        with SCU.associate(peer, contexts=CTImageStorage) as association:
            both.wait(10)
            stored.append(association.c_store(CT))

    with Process([*DIMSE, "scp", "0", "-od", str(tmp_path), "-aet", "SCP"]) as server:
        peer = f"SCP@127.0.0.1:{server.wait_for_line(str.isdigit)}"
        threads = [threading.Thread(target=one, args=(peer,)) for one in (find, store)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert stored == [0]
    assert len(found) == 1


TWO_CALLS = """
import sys, threading
from dimse_rs import AE, CTImageStorage, StudyRoot
from dimse_rs.datasets import convert

both, failures = threading.Barrier(2), []

def find(association):
    list(association.c_find({"PatientID": ""}, model=StudyRoot, level="STUDY"))

def store(association):
    association.c_store(sys.argv[2])

def call(function, contexts):
    try:
        with AE("SCU").associate(f"SCP@127.0.0.1:{sys.argv[1]}", contexts=contexts) as association:
            both.wait(10)
            function(association)
    except BaseException as failure:
        failures.append(repr(failure))

threads = [
    threading.Thread(target=call, args=(find, StudyRoot.find)),
    threading.Thread(target=call, args=(store, CTImageStorage)),
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(20)
sys.exit("; ".join(failures) or 0)
"""


def test_two_threads_may_make_the_first_calls_of_a_process():
    # What is accepted is not what the file is in: it has to be converted, as the query is encoded.
    server = scp(
        supported=[Supported(CTImageStorage, transfer_syntaxes=["1.2.840.10008.1.2"])],
    )
    server.c_find(StudyRoot)(lambda request: [])
    server.c_store(lambda request: None)
    with server:
        for _ in range(STARTS):
            done = run([*PYTHON, "-c", TWO_CALLS, str(server.port), str(CT)])
            assert done.returncode == 0, done.stderr
