"""`dimse stgcmtscu`, end to end."""

from __future__ import annotations

import threading
import time

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dimse_rs import AE, Context, StorageCommitmentPushModel
from dimse_rs.services import Commitment
from tests.data.generate import series
from tests.support.nodes import Puppet, at, picky, scp, silent_after
from tests.support.process import Process, free_port
from tests.support.tools import DIMSE, dimse, events

PUSH = str(StorageCommitmentPushModel)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    series(folder / "deep", "one", 3, (1, 8, 8))
    return folder


def uids(folder):
    return [str(dcmread(path).SOPInstanceUID) for path in sorted(folder.rglob("*.dcm"))]


def test_all_are_committed_on_the_same_association(study):
    asked = []
    service = Commitment(lambda sop_class, uid: asked.append(uid) is None)
    with scp(services=[service]) as server:
        done = dimse("stgcmtscu", at(server), study)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(asked) == sorted(uids(study))


def test_69_when_some_are_not_and_json_says_which_and_why(study, tmp_path):
    lost, *kept = uids(study)
    service = Commitment(lambda sop_class, uid: uid != lost)
    with scp(services=[service]) as server:
        done = dimse("stgcmtscu", "--json", "--report", tmp_path / "r", at(server), study)
    assert done.returncode == 69
    [line] = done.stderr.splitlines()
    assert line.endswith("not committed, 0x0112 (no such SOP instance)")
    assert (tmp_path / "r").read_text() == done.stdout
    associated, *told, summary = events(done.stdout)
    assert associated["contexts"] == [{"class": PUSH, "syntax": "1.2.840.10008.1.2.1"}]
    assert {event["uid"]: event["committed"] for event in told} == {
        lost: False,
        **dict.fromkeys(kept, True),
    }
    [bad] = [event for event in told if not event["committed"]]
    assert (bad["event"], bad["reason"]) == ("commitment", 0x0112)
    assert bad["path"].startswith(str(study))
    assert (summary["instances"], summary["committed"], summary["failed"]) == (3, 2, 1)


@pytest.mark.parametrize("options", [[], ["--release"]])
def test_a_report_on_a_port(options, study):
    port = free_port()
    service = Commitment(lambda sop_class, uid: True, peers={"ME": f"127.0.0.1:{port}"})
    server = scp(services=[service])
    follower = server.events()
    with server:
        done = dimse("stgcmtscu", "-aet", "ME", "+P", port, *options, "--json", at(server), study)
    # The report may meet the release, which is told, and then comes again.
    assert (done.returncode, done.stderr == "" or "not answered" in done.stderr) == (0, True)
    told = events(done.stdout)
    assert told[0] == {"event": "listening", "host": "127.0.0.1", "port": port}
    assert told[-1]["committed"] == 3
    assert [event["event"] for event in follower].count("associated") == 1


def test_a_report_by_a_peer_that_only_reports_on_the_port(study):
    port = free_port()
    server = scp()
    seen = []
    asked = threading.Event()

    @server.n_action
    def act(request):
        seen.append(request.dataset)
        asked.set()

    with (
        server,
        Process([*DIMSE, "stgcmtscu", "-aet", "ME", "+P", str(port), at(server), str(study)]) as it,
    ):
        assert asked.wait(20)
        [request] = seen
        report = Dataset()
        report.TransactionUID = request.TransactionUID
        report.ReferencedSOPSequence = request.ReferencedSOPSequence
        roles = Context(PUSH, scu=False, scp=True)
        with AE("SCP").associate(f"ME@127.0.0.1:{port}", contexts=roles) as own:
            own.n_event_report(1, report, sop_class=PUSH, instance_uid="1.2.840.10008.1.20.1.1")
        assert it.wait() == 0


def test_69_when_the_request_is_refused(study):
    server = scp()
    server.n_action(lambda request: 0x0213)
    with server:
        done = dimse("stgcmtscu", at(server), study)
    assert done.returncode == 69
    assert "0x0213" in done.stderr


def test_71_when_no_report_comes(study):
    server = scp()
    server.n_action(lambda request: None)
    with server:
        done = dimse("stgcmtscu", "--wait", 1, at(server), study)
    assert done.returncode == 71
    assert "no commitment report" in done.stderr


def test_61_when_the_association_ends_before_the_report(study):
    server = scp()
    server.n_action(lambda request: request.association.abort())
    with server:
        assert dimse("stgcmtscu", at(server), study).returncode == 61


def test_64_when_the_port_is_taken(study):
    with scp() as server:
        assert dimse("stgcmtscu", "+P", server.port, at(server), study).returncode == 64


def test_65_when_the_class_is_not_accepted(study, tmp_path):
    with picky(tmp_path, {"1.2.3": []}) as peer:
        assert dimse("stgcmtscu", peer, study).returncode == 65


def test_1_and_20_for_wrong_command_lines(study, tmp_path):
    (tmp_path / "text").write_text("no DICOM")
    (tmp_path / "empty").mkdir()
    for arguments, code in (
        ([], 1),
        (["host:104"], 1),
        (["host:104", study, "--release"], 1),
        (["host:104", tmp_path / "text"], 20),
        (["host:104", tmp_path / "missing"], 20),
        (["host:104", tmp_path / "empty"], 20),
    ):
        done = dimse("stgcmtscu", *arguments)
        assert done.returncode == code
        assert done.stderr.startswith("E: ")


def test_130_on_ctrl_c(study):
    with (
        Puppet(silent_after("command"), accepts=[PUSH]) as peer,
        Process([*DIMSE, "stgcmtscu", at(peer), str(study)]) as tool,
    ):
        assert peer.reached.wait(20)
        started = time.monotonic()
        tool.interrupt()
        assert tool.wait() == 130
        assert time.monotonic() - started < 2
        assert tool.errors() == "interrupted\n"
