"""`dimse movescu`, end to end."""

from __future__ import annotations

import socket
import time

import pytest

from dimse_rs import AE, PatientRoot, Server, Storage
from tests.data.files import data_set
from tests.data.generate import series
from tests.support.nodes import CT, JPEG_2000, PATIENT, Puppet, at, picky, scp, silent_after
from tests.support.process import Process, free_port
from tests.support.tools import DIMSE, dimse, events

MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY = ["-S", "-L", "STUDY", "-k", "StudyInstanceUID=1.2.3"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return series(tmp_path_factory.mktemp("images"), "one", 6, (1, 32, 32))


def mover(instances, **destinations):
    """Make a server that sends these to whom it is told; `asked` is what came."""
    server = scp(destinations=destinations)
    server.asked = []

    @server.c_move
    def move(request):
        server.asked.append((request.sop_class, request.destination, request.peer.ae_title))
        return instances(request) if callable(instances) else instances

    return server


def receiver(folder=None, title="DEST"):
    """Make another node."""
    services = [] if folder is None else [Storage(folder, mode="fast")]
    return Server(AE(title, timeouts=PATIENT), port=0, services=services)


def stored(folder):
    return {data_set(path) for path in folder.rglob("*.dcm")}


def test_to_another_node(images, tmp_path):
    with (
        receiver(tmp_path) as other,
        mover(images, DEST=f"127.0.0.1:{other.port}") as server,
    ):
        done = dimse("movescu", "-aet", "ME", "-aem", "DEST", *STUDY, at(server))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert stored(tmp_path) == {data_set(path) for path in images}
    assert server.asked == [(MOVE, "DEST", "ME")]


def test_to_this_node_as_with_dcmtk(images, tmp_path):
    port = free_port()
    with mover([*images, JPEG_2000], ME=f"127.0.0.1:{port}") as server:
        done = dimse(
            *("movescu", "-v", "-aet", "ME", "-aec", "SCP", "+P", port, "-od", tmp_path / "new"),
            *("-to", 5, "-ta", 5, "-td", 5, "-pdu", 16384, "127.0.0.1", server.port, "+xa"),
            *("-k", "0008,0052=PATIENT", "-k", "0010,0020=4711"),
        )
    assert (done.returncode, done.stdout) == (0, "")
    assert any(line.startswith("I: retrieved 7 instances in") for line in done.stderr.splitlines())
    assert stored(tmp_path / "new") == {data_set(path) for path in [*images, JPEG_2000]}
    assert server.asked == [(PatientRoot.move, "ME", "ME")]


def test_json_tells_of_the_files_that_came(images, tmp_path):
    port = free_port()
    with mover(images, DEST=f"127.0.0.1:{port}") as server:
        done = dimse(
            *("movescu", "--json", "--report", tmp_path / "r", "-aem", "DEST", "--port", port),
            *("--layout", "study", "-od", tmp_path / "in", *STUDY, at(server)),
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "r").read_text() == done.stdout
    listening, associated, *told = events(done.stdout)
    assert listening == {"event": "listening", "host": "127.0.0.1", "port": port}
    assert [context["class"] for context in associated["contexts"]] == [MOVE]
    files = [event for event in told if event["event"] == "stored"]
    assert {event["path"] for event in files} == {
        str(path) for path in (tmp_path / "in").rglob("*.dcm")
    }
    assert {event["calling"] for event in files} == {"SCP"}
    assert len(files) == 6
    [summary] = [event for event in told if event["event"] == "summary"]
    assert (summary["completed"], summary["failed"]) == (6, 0)


def test_ignore_receives_and_stores_nothing(images, tmp_path):
    port = free_port()
    with mover(images, MOVESCU=f"127.0.0.1:{port}") as server:
        done = dimse("movescu", "+P", port, "--ignore", "-od", tmp_path, *STUDY, at(server))
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_64_when_the_port_is_taken(images):
    with socket.create_server(("127.0.0.1", 0)) as taken, mover(images) as server:
        done = dimse("movescu", "+P", taken.getsockname()[1], *STUDY, at(server))
    assert done.returncode == 64
    assert done.stderr.startswith("E: cannot listen on 127.0.0.1:")
    assert server.asked == []


def test_68_when_there_were_only_warnings(images):
    other = receiver()
    other.c_store(lambda request: 0xB007)
    with other, mover(images, DEST=f"127.0.0.1:{other.port}") as server:
        done = dimse("movescu", "--json", "-aem", "DEST", *STUDY, at(server))
    assert done.returncode == 68
    summary = events(done.stdout)[-1]
    assert (summary["completed"], summary["warning"], summary["failed"]) == (0, 6, 0)


def test_69_when_some_could_not_be_sent(images, tmp_path):
    other = receiver()
    refused = []

    @other.c_store
    def store(request):
        if not refused:
            refused.append(request.instance_uid)
            return 0xA700
        return None

    with other, mover(images, DEST=f"127.0.0.1:{other.port}") as server:
        done = dimse("movescu", "--json", "-aem", "DEST", *STUDY, at(server))
    assert done.returncode == 69
    assert done.stderr.startswith("E: 1 of 6 not retrieved")
    summary = events(done.stdout)[-1]
    assert (summary["completed"], summary["failed"]) == (5, 1)
    assert summary["failed_uids"] == refused


def test_69_when_the_destination_is_not_known(images):
    with mover(images) as server:
        done = dimse("movescu", "--json", "-aem", "NOWHERE", *STUDY, at(server))
    assert done.returncode == 69
    assert "0xA801" in done.stderr
    assert [event["event"] for event in events(done.stdout)] == ["associated", "error", "summary"]


def test_65_when_the_model_is_not_accepted(tmp_path):
    with picky(tmp_path, {"1.2.3": []}) as peer:
        done = dimse("movescu", *STUDY, peer)
    assert done.returncode == 65


def test_1_for_a_wrong_command_line():
    for arguments in (
        ["host:104"],
        ["+P", "70000", "-k", "PatientID", "host:104"],
        ["-aem", "LONGER THAN SIXTEEN", "-k", "PatientID", "host:104"],
        ["-W", "-k", "PatientID", "host:104"],
    ):
        done = dimse("movescu", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("E: ")


def test_130_on_ctrl_c(tmp_path):
    with (
        Puppet(silent_after("command"), accepts=[MOVE]) as peer,
        Process([*DIMSE, "movescu", "+P", "0", "-od", str(tmp_path), *STUDY, at(peer)]) as tool,
    ):
        assert peer.reached.wait(20)
        started = time.monotonic()
        tool.interrupt()
        assert tool.wait() == 130
        assert time.monotonic() - started < 2
        assert tool.errors() == "interrupted\n"


def test_the_move_originator_is_whoever_asked(tmp_path):
    other = receiver()
    origin = []

    @other.c_store
    def store(request):
        command = request.command
        origin.append(
            (command["MoveOriginatorApplicationEntityTitle"], command["MoveOriginatorMessageID"])
        )

    with other, mover([CT], DEST=f"127.0.0.1:{other.port}") as server:
        done = dimse("movescu", "-aet", "ME", "-aem", "DEST", "--repeat", 2, *STUDY, at(server))
    assert done.returncode == 0
    assert origin == [("ME", 1), ("ME", 2)]
