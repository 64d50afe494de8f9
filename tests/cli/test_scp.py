"""`dimse scp`, end to end: with our own tools as its peers."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dimse_rs import ModalityWorklist, PatientRoot, StatusError, StudyRoot
from dimse_rs.datasets import to_bytes, write_encoded
from tests.data.files import data_set
from tests.data.generate import series
from tests.support.nodes import CT, MR_IMPLICIT, SCU, scp
from tests.support.process import Process, free_port
from tests.support.tools import DIMSE, dimse, events

EXPLICIT = "1.2.840.10008.1.2.1"


@contextlib.contextmanager
def served(folder, *options):
    """Run the tool over a folder: (process, its address)."""
    arguments = ["scp", "0", "-od", str(folder), "--mode", "fast", *map(str, options)]
    with Process([*DIMSE, *arguments]) as process:
        line = process.wait_for_line(bool)
        port = json.loads(line)["port"] if line.startswith("{") else int(line)
        yield process, f"ANY-SCP@127.0.0.1:{port}"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    series(folder / "deep", "one", 5, (1, 16, 16))
    (folder / "notes.txt").write_text("not DICOM")
    return folder


@pytest.fixture(scope="module")
def archive(study):
    with served(study) as (_, address):
        yield address


def study_of(folder):
    return str(dcmread(next(folder.rglob("*.dcm"))).StudyInstanceUID)


def found(*arguments):
    done = dimse("findscu", "--json", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    told = [event["dataset"] for event in events(done.stdout) if event["event"] == "match"]
    return [Dataset.from_json(match) for match in told]


def test_it_answers_an_echo(archive):
    assert dimse("echoscu", archive).returncode == 0


def test_it_finds_at_every_level(archive, study):
    uid = study_of(study)
    [match] = found("-S", "-L", "STUDY", "-k", "StudyInstanceUID", archive)
    assert match.StudyInstanceUID == uid
    [match] = found(
        *("-S", "-L", "SERIES", "-k", f"StudyInstanceUID={uid}", "-k", "SeriesInstanceUID"),
        *("-k", "NumberOfSeriesRelatedInstances", archive),
    )
    assert match.NumberOfSeriesRelatedInstances == 5
    assert match.RetrieveAETitle == "ANY-SCP"
    images = found(
        *("-S", "-L", "IMAGE", "-k", f"StudyInstanceUID={uid}", "-k", "SOPInstanceUID"),
        *("-k", f"SeriesInstanceUID={match.SeriesInstanceUID}", archive),
    )
    assert len({image.SOPInstanceUID for image in images}) == 5
    assert len(found("-P", "-L", "PATIENT", "-k", "PatientID", archive)) == 1
    assert found("-S", "-L", "STUDY", "-k", "PatientID=NOBODY", archive) == []


def test_relational_queries_are_served_where_they_were_agreed_on(archive):
    images = ["-S", "-L", "IMAGE", "-k", "SOPInstanceUID", archive]
    assert len(found("--relational", *images)) == 5
    assert dimse("findscu", *images).returncode == 69
    done = dimse("findscu", "--fuzzy", "-S", "-L", "STUDY", "-k", "PatientName=X", archive)
    assert (done.returncode, done.stderr) == (0, "W: the peer did not agree to --fuzzy\n")


def test_it_gives_what_is_there_over_the_same_association(archive, study, tmp_path):
    keys = ["-S", "-L", "STUDY", "-k", f"StudyInstanceUID={study_of(study)}"]
    assert dimse("getscu", *keys, "-od", tmp_path, archive).returncode == 0
    assert {data_set(path) for path in tmp_path.glob("*.dcm")} == {
        data_set(path) for path in study.rglob("*.dcm")
    }


def test_it_moves_to_destinations_that_it_was_told_of(study, tmp_path):
    first, second = free_port(), free_port()
    config = tmp_path / "dcmqrscp.cfg"
    config.write_text(
        "NetworkTCPPort = 104\n"
        "HostTable BEGIN\n"
        "# a comment = (NO, no, 1)\n"
        f"one = (ONE, 127.0.0.1, {first})\n"
        f"two = ( TWO,127.0.0.1,{second} )\n"
        "both = one, two\n"
        "HostTable END\n"
        "AETable BEGIN\n"
        "ACME /tmp RW (9, 1024mb) ANY\n"
        "AETable END\n"
    )
    keys = ["-S", "-L", "STUDY", "-k", f"StudyInstanceUID={study_of(study)}"]
    options = ["--destination", f"TWO=127.0.0.1:{second}", "--config", config]
    with served(study, *options) as (_, address):
        for title, port in (("ONE", first), ("TWO", second)):
            done = dimse(
                "movescu", *keys, "-aet", title, "+P", port, "-od", tmp_path / title, address
            )
            assert (done.returncode, done.stderr) == (0, "")
            assert len(list((tmp_path / title).iterdir())) == 5
        done = dimse("movescu", *keys, "-aem", "OTHER", address)
        assert done.returncode == 69
        assert "0xA801" in done.stderr


@pytest.mark.parametrize("layout", ["flat", "study"])
def test_what_it_has_received_is_found_at_once(layout, tmp_path):
    with (
        served(tmp_path / "new", "--json", "--layout", layout) as (tool, address),
        SCU.associate(address, contexts=[StudyRoot, "1.2.840.10008.5.1.4.1.1.2"]) as peer,
    ):
        uid = str(dcmread(CT).StudyInstanceUID)
        query = {"StudyInstanceUID": uid}
        assert list(peer.c_find(query, model=StudyRoot, level="STUDY")) == []
        assert peer.c_store(CT) == 0
        [match] = peer.c_find(query, model=StudyRoot, level="STUDY")
        assert match.StudyInstanceUID == uid
        line = tool.wait_for_line(lambda line: '"stored"' in line)
    [told] = events([line])
    assert told.keys() == {
        *("event", "uid", "class", "syntax", "path", "bytes", "calling", "status"),
        *("association", "peer", "study", "series"),
    }
    assert data_set(Path(told["path"])) == data_set(CT)
    assert (told["bytes"], told["calling"]) == (len(data_set(CT)), "SCU")


def test_what_is_stored_is_there_after_a_restart(tmp_path):
    with served(tmp_path) as (_, address):
        assert dimse("storescu", address, CT, MR_IMPLICIT).returncode == 0
    with served(tmp_path) as (_, address):
        assert len(found("-P", "-L", "PATIENT", "-k", "PatientID", address)) == 2


def test_an_instance_that_is_gone_is_a_failed_sub_operation(study, tmp_path):
    files = series(tmp_path, "one", 3, (1, 8, 8))
    with served(tmp_path) as (_, address):
        files[1].unlink()
        keys = ["-S", "-L", "STUDY", "-k", f"StudyInstanceUID={study_of(tmp_path)}"]
        done = dimse("getscu", "--json", *keys, "-od", tmp_path / "got", address)
    assert done.returncode == 69
    summary = events(done.stdout)[-1]
    assert (summary["completed"], summary["failed"]) == (2, 1)


def test_what_cannot_be_served_is_refused_with_a_reason(archive):
    with SCU.associate(archive, contexts=[StudyRoot, PatientRoot]) as peer:
        for call in (peer.c_find, peer.c_get):
            with pytest.raises(StatusError) as refused:
                list(call({"PatientID": "1"}, model=StudyRoot, level="IMAGE"))
            assert refused.value.status == 0xA900
            assert refused.value.response.offending_elements


def test_worklist(study, tmp_path):
    item = Dataset()
    item.PatientID = "4711"
    step = Dataset()
    step.Modality = "CT"
    step.ScheduledProcedureStepStartDate = "20260101"
    item.ScheduledProcedureStepSequence = [step]
    write_encoded(
        tmp_path / "one.wl", to_bytes(item, EXPLICIT), EXPLICIT, str(ModalityWorklist.find)
    )
    with served(study, "--worklist", tmp_path) as (_, address):
        done = dimse("mwlscu", "--json", "-k", "(0040,0100)[0].Modality=CT", address)
        assert (done.returncode, done.stderr) == (0, "")
        [match] = [event for event in events(done.stdout) if event["event"] == "match"]
        assert Dataset.from_json(match["dataset"]).PatientID == "4711"
        done = dimse("mwlscu", "--json", "-k", "(0040,0100)[0].Modality=MR", address)
        assert events(done.stdout)[-1]["matches"] == 0
    with served(study) as (_, address):
        assert dimse("mwlscu", address).returncode == 65


def test_other_titles_are_rejected(archive):
    port = archive.rpartition(":")[2]
    assert dimse("echoscu", f"OTHER@127.0.0.1:{port}").returncode == 61


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signals_end_it(number, code, study):
    with served(study) as (tool, _):
        tool._child.send_signal(number)
        assert tool.wait() == code


def test_exit_codes_of_what_cannot_be(study, tmp_path):
    (tmp_path / "file").touch()
    with scp() as taken:
        for arguments, code in (
            ([], 1),
            (["70000"], 1),
            (["0", "--destination", "ME"], 1),
            (["0", "--destination", "ME=host:port"], 1),
            (["0", "--config", tmp_path / "missing"], 20),
            (["0", "--worklist", tmp_path / "missing"], 20),
            (["0", "-od", tmp_path / "file"], 40),
            ([taken.port, "-od", tmp_path], 64),
        ):
            done = dimse("scp", *arguments)
            assert (done.returncode, done.stdout) == (code, "")
            assert done.stderr.startswith("E: ")
