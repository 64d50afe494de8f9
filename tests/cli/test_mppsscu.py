"""`dimse mppsscu`, end to end."""

from __future__ import annotations

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dimse_rs import ModalityWorklist
from dimse_rs.datasets import to_bytes, write_encoded
from dimse_rs.services import Mpps
from tests.data.generate import series
from tests.support.nodes import at, picky, scp
from tests.support.tools import dimse, events

EXPLICIT = "1.2.840.10008.1.2.1"
SCHEDULED = ("-k", "(0040,0270)[0].StudyInstanceUID=1.2.3", "-k", "Modality=CT")


@pytest.fixture
def ris():
    """Run a server that keeps steps: (server, its steps)."""
    mpps = Mpps()
    with scp(services=[mpps]) as server:
        yield server, mpps.steps


def started(server):
    """Start a step, and give its UID."""
    done = dimse("mppsscu", "create", *SCHEDULED, at(server))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.rstrip("\n")


def test_create_prints_the_uid_and_adds_what_a_step_has_to_have(ris):
    server, steps = ris
    uid = started(server)
    [(kept, step)] = steps.items()
    assert kept == uid
    assert step.PerformedProcedureStepStatus == "IN PROGRESS"
    assert step.PerformedStationAETitle == "MPPSSCU"
    assert step.ScheduledStepAttributesSequence[0].StudyInstanceUID == "1.2.3"
    assert step.PerformedProcedureStepStartDate
    assert step.PatientID == ""


def test_create_from_a_worklist_item_with_keys_of_its_own(ris, tmp_path):
    server, steps = ris
    item = Dataset()
    item.PatientID = "4711"
    item.StudyInstanceUID = "1.2.3"
    step = Dataset()
    step.Modality = "CT"
    step.ScheduledProcedureStepID = "S1"
    item.ScheduledProcedureStepSequence = [step]
    write_encoded(tmp_path / "item", to_bytes(item, EXPLICIT), EXPLICIT, str(ModalityWorklist.find))
    done = dimse(
        *("mppsscu", "create", "-aet", "CT1", at(server), "--worklist", tmp_path / "item"),
        *("--uid", "1.2.3.4", "-k", "PerformedProcedureStepID=P1", "--json"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    associated, sent = events(done.stdout)
    assert associated["event"] == "associated"
    assert sent == {"event": "sent", "uid": "1.2.3.4", "status": 0, "comment": ""}
    kept = steps["1.2.3.4"]
    assert (kept.PatientID, kept.Modality, kept.PerformedProcedureStepID) == ("4711", "CT", "P1")
    assert kept.PerformedStationAETitle == "CT1"
    assert kept.ScheduledStepAttributesSequence[0].ScheduledProcedureStepID == "S1"


def test_set_changes_and_completes_it_with_the_images_of_a_folder(ris, tmp_path):
    server, steps = ris
    uid = started(server)
    files = series(tmp_path / "study", "one", 3, (1, 8, 8))
    set_ = ("mppsscu", "set", at(server), "--uid", uid)
    done = dimse(*set_, "-k", "PerformedProcedureStepDescription=Head")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert steps[uid].PerformedProcedureStepDescription == "Head"
    done = dimse(*set_, "--completed", "--images", tmp_path / "study")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert steps[uid].PerformedProcedureStepStatus == "COMPLETED"
    assert steps[uid].PerformedProcedureStepEndTime
    [performed] = steps[uid].PerformedSeriesSequence
    first = dcmread(files[0])
    assert performed.SeriesInstanceUID == first.SeriesInstanceUID
    assert len(performed.ReferencedImageSequence) == 3
    assert performed.ReferencedImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    done = dimse(*set_, "-k", "PerformedProcedureStepDescription=Again")
    assert done.returncode == 69
    assert "may no longer be updated" in done.stderr


def test_set_discontinues_it(ris):
    server, steps = ris
    uid = started(server)
    done = dimse(
        *("mppsscu", "set", at(server), "--uid", uid, "--discontinued"),
        *("-k", "PerformedSeriesSequence[0].SeriesInstanceUID=1.2"),
        *("-k", "PerformedSeriesSequence[0].ProtocolName=Head"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert steps[uid].PerformedProcedureStepStatus == "DISCONTINUED"


def test_exact_adds_nothing(ris, tmp_path):
    server, steps = ris
    step = Dataset()
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    write_encoded(tmp_path / "file", to_bytes(step, EXPLICIT), EXPLICIT, "1.2.3")
    done = dimse("mppsscu", "create", "--exact", *SCHEDULED, at(server), tmp_path / "file")
    assert done.returncode == 69
    assert "0x0120" in done.stderr
    assert steps == {}


def test_the_peer_may_choose_the_uid():
    server = scp()
    given = []

    @server.n_create
    def create(request):
        given.append(request.instance_uid)

    with server:
        done = dimse("mppsscu", "create", "--exact", *SCHEDULED, at(server))
    assert (done.returncode, done.stdout) == (0, f"{given[0]}\n")


def test_68_for_a_warning():
    server = scp()
    server.n_set(lambda request: 0x0107)
    with server:
        done = dimse("mppsscu", "set", "--uid", "1.2", "-k", "StudyID=1", at(server))
    assert done.returncode == 68
    assert done.stderr.startswith("W: 0x0107")


def test_1_for_a_wrong_command_line(tmp_path):
    for arguments in (
        [],
        ["delete", "host:104"],
        ["create"],
        ["set", "host:104"],
        ["create", "--completed", "host:104"],
        ["set", "--uid", "1.2", "--worklist", "x", "host:104"],
        ["set", "--uid", "1.2", "--exact", "--completed", "host:104"],
        ["create", "host:104", "one", "two"],
        ["create", "-k", "Nope", "host:104"],
    ):
        done = dimse("mppsscu", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("E: ")


def test_20_for_what_cannot_be_read(tmp_path):
    (tmp_path / "text").write_text("no DICOM")
    (tmp_path / "empty").mkdir()
    for arguments in (
        ["create", "host:104", tmp_path / "text"],
        ["create", "host:104", "--worklist", tmp_path / "missing"],
        ["set", "--uid", "1.2", "host:104", "--images", tmp_path / "text"],
        ["set", "--uid", "1.2", "host:104", "--images", tmp_path / "empty"],
    ):
        assert dimse("mppsscu", *arguments).returncode == 20


def test_65_when_the_class_is_not_accepted(tmp_path):
    with picky(tmp_path, {"1.2.3": []}) as peer:
        assert dimse("mppsscu", "create", *SCHEDULED, peer).returncode == 65
