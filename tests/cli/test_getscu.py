"""`dimse getscu`, end to end."""

from __future__ import annotations

import os
import pty
import subprocess
import threading
import time

import pydicom
import pytest

from dimse_rs import CTImageStorage, MRImageStorage, PatientRoot, Retrieve, StudyRoot
from tests.data.files import data_set
from tests.data.generate import series
from tests.support.nodes import CT, JPEG_2000, MR_IMPLICIT, Puppet, at, picky, scp, silent_after
from tests.support.pacs import Pacs
from tests.support.process import Process, run
from tests.support.scripted_scp import ScriptedScp
from tests.support.tools import DIMSE, dimse, events

GET = "1.2.840.10008.5.1.4.1.2.2.3"
STUDY = ["-S", "-L", "STUDY", "-k", "StudyInstanceUID=1.2.3"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return series(tmp_path_factory.mktemp("images"), "one", 6, (1, 32, 32))


def giver(instances, **options):
    """Make a server that gives these; `asked` are the identifiers."""
    server = scp(**options)
    server.asked = []

    @server.c_get
    def get(request):
        server.asked.append((request.sop_class, request.identifier))
        return instances(request) if callable(instances) else instances

    return server


def stored(folder):
    return {data_set(path) for path in folder.rglob("*.dcm")}


def test_a_study_comes_as_it_is(images, tmp_path):
    folder = tmp_path / "new"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with giver(images) as server:
        done = run(
            [*DIMSE, "getscu", *STUDY, "-od", str(folder), at(server)],
            env={"TMPDIR": str(scratch)},
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert stored(folder) == {data_set(path) for path in images}
    assert list(scratch.iterdir()) == []
    [(sop_class, asked)] = server.asked
    assert sop_class == GET
    assert (asked.QueryRetrieveLevel, asked.StudyInstanceUID) == ("STUDY", "1.2.3")


def test_a_dcmtk_command_line(images, tmp_path):
    with giver(images) as server:
        done = dimse(
            *("getscu", "-v", "-aet", "ME", "-aec", "SCP", "-to", 5, "-ta", 5, "-td", 5),
            *("-pdu", 16384, "127.0.0.1", server.port, "-k", "0008,0052=PATIENT"),
            *("-k", "0010,0020=4711", "+B", "+x=", "-od", tmp_path),
        )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[-1].startswith("I: retrieved 6 instances in ")
    assert len(stored(tmp_path)) == 6
    assert server.asked[0][0] == PatientRoot.get


def test_json_has_one_event_for_each_file(images, tmp_path):
    with giver(images) as server:
        done = dimse(
            *("getscu", "--json", "--report", tmp_path / "r", *STUDY, "-od", tmp_path / "in"),
            at(server),
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "r").read_text() == done.stdout
    associated, *told, summary = events(done.stdout)
    assert associated["contexts"][0]["class"] == GET
    assert len(associated["contexts"]) == 121
    files = [event for event in told if event["event"] == "stored"]
    assert len(files) == 6
    first = files[0]
    assert first.keys() == {
        *("event", "uid", "class", "syntax", "path", "bytes", "calling", "status"),
    }
    assert {event["path"] for event in files} == {str(p) for p in (tmp_path / "in").iterdir()}
    assert first["bytes"] == len(data_set(images[0]))
    assert summary.pop("seconds") > 0
    assert summary == {
        "event": "summary",
        **{"operations": 1, "completed": 6, "failed": 0, "warning": 0, "failed_uids": []},
        **{"stored": 6, "refused": {}},
    }


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_folders_by_study(options, images, tmp_path):
    with giver(images) as server:
        done = dimse("getscu", *options, *STUDY, "--layout", "study", "-od", tmp_path, at(server))
    assert done.returncode == 0
    assert {len(path.relative_to(tmp_path).parts) for path in tmp_path.rglob("*.dcm")} == {3}


def test_ignore_receives_and_stores_nothing(images, tmp_path):
    with giver(images) as server:
        done = dimse("getscu", "--ignore", "--json", *STUDY, "-od", tmp_path, at(server))
    assert done.returncode == 0
    assert events(done.stdout)[-1]["completed"] == 6
    assert list(tmp_path.iterdir()) == []


def test_named_classes_come_in_the_preferred_syntax_that_the_peer_has(tmp_path):
    secondary = "SecondaryCaptureImageStorage"
    with giver([CT, JPEG_2000]) as server:
        done = dimse(
            *("getscu", "--class", "CTImageStorage", "--class", secondary, "+xv", "+xw"),
            *(*STUDY, "-od", tmp_path / "both", at(server)),
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert stored(tmp_path / "both") == {data_set(CT), data_set(JPEG_2000)}
        done = dimse("getscu", "--json", "+xw", *STUDY, "-od", tmp_path / "all", at(server))
        accepted = {each["syntax"] for each in events(done.stdout)[0]["contexts"][1:]}
    assert accepted == {"1.2.840.10008.1.2.4.91"}  # one context for each of 120 classes
    assert dimse("getscu", "--class", "Verification", *STUDY, "host:104").returncode == 1
    assert dimse("getscu", "--class", "Nonsense", *STUDY, "host:104").returncode == 1


def test_implicit_only(tmp_path):
    with giver([CT, MR_IMPLICIT]) as server:
        done = dimse("getscu", "+xi", "--json", *STUDY, "-od", tmp_path, at(server))
    assert done.returncode == 0
    told = [event for event in events(done.stdout) if event["event"] == "stored"]
    assert {event["syntax"] for event in told} == {"1.2.840.10008.1.2"}
    assert {event["class"] for event in told} == {CTImageStorage, MRImageStorage}


def test_several_requests_over_one_association(images, tmp_path):
    server = giver(images)
    told = server.events()
    with server:
        done = dimse("getscu", "--json", "--repeat", 2, *STUDY, "-od", tmp_path, at(server))
    assert done.returncode == 0
    summary = events(done.stdout)[-1]
    assert (summary["operations"], summary["completed"]) == (2, 12)
    assert [event["event"] for event in told].count("associated") == 1


def test_69_when_some_could_not_be_sent(images, tmp_path):
    with giver([*images, JPEG_2000]) as server:
        done = dimse("getscu", "--json", *STUDY, "-od", tmp_path, at(server))
    assert done.returncode == 69
    assert done.stderr.startswith("E: 1 of 7 not retrieved")
    summary = events(done.stdout)[-1]
    assert (summary["completed"], summary["failed"]) == (6, 1)
    assert len(summary["failed_uids"]) == 1
    assert len(stored(tmp_path)) == 6


def test_69_when_the_request_is_refused(tmp_path):
    with giver(lambda request: 0xA701) as server:
        done = dimse("getscu", "--json", *STUDY, "-od", tmp_path, at(server))
    assert done.returncode == 69
    assert "0xA701" in done.stderr
    assert [event["event"] for event in events(done.stdout)] == ["associated", "error", "summary"]


def test_69_when_an_instance_is_refused_here(images, tmp_path):
    changed = pydicom.dcmread(images[0])
    changed.PatientName = "Another"
    with giver([images[0], changed]) as server:
        options = ["--duplicates", "reject", "--json"]
        done = dimse("getscu", *options, *STUDY, "-od", tmp_path / "in", at(server))
    assert done.returncode == 69
    assert events(done.stdout)[-1]["failed"] == 1


def from_pacs(pacs, folder, *options):
    """Retrieve from a scripted peer that knows one storage class."""
    secondary = ["--class", "SecondaryCaptureImageStorage", *options]
    with ScriptedScp(pacs) as scp:
        return dimse("getscu", "-v", "--json", *secondary, *STUDY, "-od", folder, scp.address)


def test_69_when_the_peer_counts_what_never_came(tmp_path):
    done = from_pacs(Pacs(on=1), tmp_path)
    assert done.returncode == 69
    summary = events(done.stdout)[-1]
    assert (summary["completed"], summary["stored"]) == (2, 0)
    [(why, count)] = summary["refused"].items()
    assert why.startswith("0x0122")
    assert count == 2
    assert "the peer counts 2 instances; 0 stored here, 2 refused" in done.stderr
    assert "I: retrieved 0 instances in" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_69_and_a_warning_before_the_request_when_no_role_was_accepted(tmp_path):
    done = from_pacs(Pacs(role=False), tmp_path)
    assert done.returncode == 69
    [warning] = [line for line in done.stderr.splitlines() if "SCP role" in line]
    assert warning.startswith("W:")
    assert "--lenient-roles" in warning
    assert done.stderr.index(warning) < done.stderr.index("the peer counts 2 instances")


@pytest.mark.parametrize("on", [1, 3])
def test_lenient_roles_take_instances_all_the_same(on, tmp_path):
    done = from_pacs(Pacs(role=False, on=on), tmp_path, "--lenient-roles")
    assert done.returncode == 0
    assert events(done.stdout)[-1]["stored"] == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_69_when_the_peer_ends_a_retrieval_that_nobody_cancelled(tmp_path):
    done = from_pacs(Pacs(instances=1, status=0xFE00, counts=(1, 0, 0)), tmp_path)
    assert done.returncode == 69
    assert "0xFE00" in done.stderr
    assert events(done.stdout)[-1]["stored"] == 1


def test_cancel_stops_the_peer_and_is_no_failure(images, tmp_path):
    again = threading.Event()

    def give(request):
        def slowly():
            yield images[0]
            while not request.cancelled:
                again.wait(0.01)

        return Retrieve(1000, slowly(), pending=0.0)

    with giver(give) as server:
        done = dimse("getscu", "--cancel", 1, "--json", *STUDY, "-od", tmp_path, at(server))
    assert (done.returncode, done.stderr) == (0, "")
    told = events(done.stdout)
    [progress] = [event for event in told if event["event"] == "progress"]
    assert (progress["completed"], progress["remaining"]) == (1, 999)
    assert told[-1]["completed"] == 1


def test_a_progress_bar_on_a_terminal(images, tmp_path):
    main, terminal = pty.openpty()
    with giver(lambda request: Retrieve(6, iter(images), pending=0.0)) as server:
        done = subprocess.run(
            [*DIMSE, "getscu", *STUDY, "-od", str(tmp_path), at(server)],
            stderr=terminal,
            stdout=subprocess.PIPE,
            env={**os.environ, "TERM": "xterm"},
            timeout=25,
            check=False,
        )
    os.close(terminal)
    drawn = os.read(main, 65536).decode()
    os.close(main)
    assert done.returncode == 0
    assert "/6" in drawn
    assert drawn.splitlines()[-1].lstrip("\r\x1b[K").startswith("retrieved 6 instances in ")


def test_40_when_the_folder_cannot_be_made(images, tmp_path):
    (tmp_path / "file").touch()
    with giver(images) as server:
        done = dimse("getscu", *STUDY, "-od", tmp_path / "file", at(server))
    assert done.returncode == 40
    assert server.asked == []


def test_65_when_the_model_is_not_accepted(tmp_path):
    with picky(tmp_path / "in", {"1.2.3": []}) as peer:
        done = dimse("getscu", *STUDY, "-od", tmp_path, peer)
    assert done.returncode == 65
    assert "Study Root" in done.stderr


def test_71_when_the_peer_is_silent(tmp_path):
    with Puppet(silent_after("command"), accepts=[GET]) as peer:
        started = time.monotonic()
        done = dimse("getscu", "-td", 1, "--lenient-roles", *STUDY, "-od", tmp_path, at(peer))
    assert done.returncode == 71
    assert time.monotonic() - started < 10


def test_130_on_ctrl_c(tmp_path):
    with (
        Puppet(silent_after("command"), accepts=[GET]) as peer,
        Process(
            [*DIMSE, "getscu", "--lenient-roles", *STUDY, "-od", str(tmp_path), at(peer)]
        ) as tool,
    ):
        assert peer.reached.wait(20)
        started = time.monotonic()
        tool.interrupt()
        assert tool.wait() == 130
        assert time.monotonic() - started < 2
        assert tool.errors() == "interrupted\n"


def test_models():
    with giver([]) as server:
        for option, model in (("-P", PatientRoot), ("-S", StudyRoot)):
            done = dimse("getscu", option, "-L", "STUDY", "-k", "StudyInstanceUID=1", at(server))
            assert (done.returncode, done.stderr) == (0, "")
            assert server.asked[-1][0] == model.get
    assert dimse("getscu", "-W", "-k", "PatientID", "host:104").returncode == 1
