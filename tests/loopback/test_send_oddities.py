"""`AE.send` with folders and peers as they are: odd files, and peers that abort at one of them."""

from __future__ import annotations

import os
import pickle
import socket
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

import dimse_rs.send as send_module
from dimse_rs import (
    AE,
    AssociationAborted,
    Context,
    DecodeError,
    Retrieve,
    SendReport,
    Skipped,
    StudyRoot,
    Timeouts,
    for_retrieve,
)
from dimse_rs.datasets import from_bytes
from dimse_rs.testing import ScriptedPeer
from tests.data.files import data_set
from tests.data.generate import series
from tests.support import wire
from tests.support.nodes import CT, SCU, at, link, scp
from tests.support.odd_files import (
    EXPLICIT,
    IMPLICIT,
    ODD,
    element,
    instance,
    part10,
)

pytestmark = pytest.mark.timeout(30)


def sent_to(folder: Path, what, **options) -> SendReport:
    with scp(folder) as server:
        return SCU.send(at(server), what, **options)


def written(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    return path


# ---- files without preamble or file meta


PATIENT = element((0x10, 0x10), b"Nobody", b"PN")
PATIENT_IMPLICIT = element((0x10, 0x10), b"Nobody")
BARE = {
    "explicit": (instance(b"1.2.3", PATIENT), EXPLICIT),
    "implicit": (instance(b"1.2.3", PATIENT_IMPLICIT, explicit=False), IMPLICIT),
}


@pytest.mark.parametrize("kind", BARE)
@pytest.mark.parametrize("searched", [True, False])
def test_a_file_without_preamble_and_meta_is_sent(kind, searched, tmp_path):
    data, syntax = BARE[kind]
    path = written(tmp_path / "in", "bare", data)
    report = sent_to(tmp_path / "out", path.parent if searched else path)
    [result] = report.results
    assert (result.category, result.transfer_syntax, result.sop_instance) == ("ok", syntax, "1.2.3")
    assert report.skipped == ()
    [stored] = (tmp_path / "out").glob("*.dcm")
    assert data_set(stored) == data
    assert pydicom.dcmread(stored).file_meta.TransferSyntaxUID == syntax


def test_a_file_with_meta_and_no_preamble_is_sent(tmp_path):
    data = BARE["explicit"][0]
    path = written(tmp_path / "in", "meta", part10(data)[132:])
    [result] = sent_to(tmp_path / "out", path.parent).results
    assert result.ok
    [stored] = (tmp_path / "out").glob("*.dcm")
    assert data_set(stored) == data


def test_a_bare_data_set_that_is_cut_is_a_failure_not_skipped(tmp_path):
    path = written(tmp_path / "in", "cut", BARE["explicit"][0][:-2])
    report = sent_to(tmp_path / "out", path.parent)
    [result] = report.results
    assert result.category == "not-sent"
    assert isinstance(result.error, DecodeError)
    assert report.skipped == ()


def test_a_bare_data_set_is_given_to_a_c_get_too(tmp_path):
    data = BARE["explicit"][0]
    path = written(tmp_path, "bare", data)
    server = scp()
    server.c_get(StudyRoot)(lambda request: Retrieve(1, [path]))
    taken = []
    with link(server, for_retrieve(StudyRoot)) as association:
        *_, last = association.c_get({"PatientID": "1"}, model=StudyRoot, into=taken)
    assert (last.completed, taken[0].SOPInstanceUID) == (1, "1.2.3")


@pytest.mark.parametrize("kind", BARE)
def test_a_bare_data_set_is_converted_where_the_peer_wants_another_syntax(kind, tmp_path):
    data, syntax = BARE[kind]
    other = ({EXPLICIT, IMPLICIT} - {syntax}).pop()
    path = written(tmp_path / "in", "bare", data)
    contexts = Context(wire.SECONDARY_CAPTURE.decode(), [other])
    [result] = sent_to(tmp_path / "out", path, contexts=contexts).results
    assert result.category == "ok", result.error
    [stored] = (tmp_path / "out").glob("*.dcm")
    assert data_set(stored) == BARE["implicit" if kind == "explicit" else "explicit"][0]


# ---- what is skipped


def test_whatever_is_skipped_is_told_with_its_reason(tmp_path):
    folder = tmp_path / "in"
    written(folder, "notes.txt", b"hello")
    written(folder, "empty.dcm", b"")
    written(folder, "DICOMDIR", bytes(200))
    written(folder, "good.dcm", CT.read_bytes())
    os.mkfifo(folder / "pipe.dcm")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "socket"))
        os.symlink(folder, folder / "loop")
        os.symlink(folder / "good.dcm", folder / "link.dcm")
        report = sent_to(tmp_path / "out", folder)
    assert [(result.path.name, result.ok) for result in report.results] == [
        ("good.dcm", True),
        ("link.dcm", True),
    ]
    reasons = {path.name: path.reason for path in report.skipped}
    assert reasons.pop("loop") == "a link to a folder: those are not followed"
    assert reasons.pop("pipe.dcm") == reasons.pop("socket") == "not a regular file"
    assert reasons.pop("DICOMDIR") == "a directory of instances, not one of them"
    assert reasons.keys() == {"notes.txt", "empty.dcm"}
    assert all(reason.startswith("not a DICOM file") for reason in reasons.values())


def test_what_is_skipped_is_a_path(tmp_path):
    skipped = Skipped(tmp_path / "a" / "b.txt", "because")
    assert skipped == tmp_path / "a" / "b.txt"
    assert hash(skipped) == hash(tmp_path / "a" / "b.txt")
    assert skipped.parent / "c" == tmp_path / "a" / "c"
    again = pickle.loads(pickle.dumps(skipped))
    assert (again, again.reason) == (skipped, "because")


def test_a_pipe_that_is_named_fails_by_name(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    [result] = sent_to(tmp_path / "out", tmp_path / "pipe").results
    assert result.category == "not-sent"
    assert result.error.message == f"{tmp_path / 'pipe'}: not a regular file"


def test_a_folder_that_cannot_be_searched_is_a_failure(tmp_path, monkeypatch):
    (tmp_path / "in" / "closed").mkdir(parents=True)
    written(tmp_path / "in", "good.dcm", CT.read_bytes())
    scandir = os.scandir

    def denied(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    report = sent_to(tmp_path / "out", tmp_path / "in")
    by_name = {result.path.name: result for result in report.results}
    assert by_name["good.dcm"].ok
    assert by_name["closed"].category == "not-sent"
    assert "Permission denied" in by_name["closed"].error.message


def test_links_that_lead_nowhere_or_to_themselves_fail_by_name(tmp_path):
    folder = tmp_path / "in"
    written(folder, "good.dcm", CT.read_bytes())
    os.symlink(folder / "circle", folder / "circle")
    os.symlink(folder / "none", folder / "dangling")
    report = sent_to(tmp_path / "out", folder)
    assert {result.path.name: result.category for result in report.results} == {
        "circle": "not-sent",
        "dangling": "not-sent",
        "good.dcm": "ok",
    }


def test_a_file_that_vanishes_fails_alone(tmp_path):
    paths = series(tmp_path / "in", "one", 4, (1, 16, 16))

    def vanish(event):
        if event["event"] == "associated":
            paths[2].unlink()

    report = sent_to(tmp_path / "out", paths, on_event=vanish)
    assert [result.category for result in report.results] == ["ok", "ok", "not-sent", "ok"]


@pytest.mark.parametrize("nothing", ["", [], [""], (), iter(())])
def test_no_path_and_an_empty_path_are_refused(nothing):
    with pytest.raises(ValueError, match="path"):
        SCU.send("SCP@127.0.0.1:1", nothing)


# ---- a peer that aborts


@pytest.fixture(scope="module")
def twenty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twenty")
    for number in range(20):
        data = instance(b"1.2.3.%d" % number, PATIENT)
        written(folder, f"{number:02d}.dcm", part10(data))
    return folder


@contextmanager
def aborting(*bad):
    """A peer that aborts at some instances, or at every one."""
    with ScriptedPeer() as peer:
        peer.abort(at=[number + 1 for number in bad] or None)
        yield peer


def heard(peer):
    return [int(one.instance_uid.rpartition(".")[2]) for one in peer.heard]


def test_a_peer_that_aborts_at_one_file_gets_those_behind_it(twenty):
    with aborting(5) as peer:
        report = SCU.send(peer.address, twenty)
    assert [n for n, result in enumerate(report.results) if not result.ok] == [5]
    bad = report.results[5]
    assert bad.category == "failed"
    assert isinstance(bad.error, AssociationAborted)
    assert len(peer.proposals) == 2
    assert heard(peer) == list(range(20)), "each once"


def test_files_that_are_left_keep_their_order(twenty, monkeypatch):
    # Their outcomes come from the thread that reads ahead and from the association.
    other = in_the_other_order(send_module.Sending.outcomes)
    monkeypatch.setattr(send_module.Sending, "outcomes", other)
    with aborting(5) as peer:
        report = SCU.send(peer.address, twenty)
    assert heard(peer) == list(range(20))
    assert report.results[5].category == "failed"


def in_the_other_order(outcomes):
    """Have the outcomes of a batch come in the other order."""

    def reversed_outcomes(sending, *args):
        batch = yield from outcomes(sending, *args)
        return batch and batch[::-1]

    return reversed_outcomes


def test_several_bad_files_in_a_row_are_passed_as_far_as_allowed(twenty):
    bad = {4, 5, 6, 7, 12, 13, 19}
    with aborting(*bad) as peer:
        report = SCU.send(peer.address, twenty, reassociate=3)
    assert {n for n, result in enumerate(report.results) if not result.ok} == bad
    with aborting(*bad) as peer:
        report = SCU.send(peer.address, twenty, reassociate=2)
    assert sum(result.ok for result in report.results) == 4
    categories = [result.category for result in report.results]
    assert categories == ["ok"] * 4 + ["failed"] * 4 + ["not-sent"] * 12


def test_a_peer_that_always_aborts_is_asked_so_often_and_no_more(twenty):
    with aborting() as peer:
        report = SCU.send(peer.address, twenty, reassociate=3)
    assert len(peer.proposals) == 4
    assert [result.category for result in report.results] == ["failed"] * 4 + ["not-sent"] * 16
    with aborting() as peer:
        report = SCU.send(peer.address, twenty, reassociate=0)
    assert len(peer.proposals) == 1
    assert all(isinstance(result.error, AssociationAborted) for result in report.results)
    with pytest.raises(ValueError, match="reassociate"):
        SCU.send(peer.address, twenty, reassociate=-1)


@pytest.mark.slow
def test_a_peer_that_is_gone_after_an_abort_leaves_a_result_for_every_file(twenty):
    with aborting(0) as peer:
        ae = AE("SCU", timeouts=Timeouts(connect=2, acse=2))
        report = ae.send(peer.address, twenty, on_result=lambda result: peer.stop())
    assert report.results[0].category == "failed"
    assert {result.category for result in report.results[1:]} == {"not-sent"}


# ---- repair


@pytest.mark.parametrize("where", ODD)
@pytest.mark.parametrize("bare", [False, True])
def test_values_of_odd_length_are_padded_when_that_is_asked_for(where, bare, tmp_path):
    odd, even = (instance(b"1.2.3", more) for more in ODD[where])
    path = written(tmp_path / "in", "odd.dcm", odd if bare else part10(odd))
    [result] = sent_to(tmp_path / "none", path.parent).results
    assert result.category == "not-sent", "refused without repair"
    assert result.repaired == ()

    [result] = sent_to(tmp_path / "out", path.parent, repair=True).results
    assert result.category == "ok", result.error
    assert any("padded (" in done for done in result.repaired)
    [stored] = (tmp_path / "out").glob("*.dcm")
    assert data_set(stored) == even
    assert path.read_bytes() == (odd if bare else part10(odd)), "the file is left as it was"


def test_implicit_values_are_padded_too(tmp_path):
    odd = instance(b"1.2.3", element((0x10, 0x10), b"Nobod"), explicit=False)
    path = written(tmp_path / "in", "odd.dcm", part10(odd, IMPLICIT.encode()))
    [result] = sent_to(tmp_path / "out", path, repair=True).results
    assert (result.category, result.repaired) == ("ok", ("padded (0010,0010)",))
    [stored] = (tmp_path / "out").glob("*.dcm")
    assert from_bytes(data_set(stored), IMPLICIT).PatientName == "Nobod"


def test_file_meta_without_a_transfer_syntax_is_made_when_that_is_asked_for(tmp_path):
    data = instance(b"1.2.3", PATIENT)
    path = written(tmp_path / "in", "meta.dcm", part10(data, None))
    [result] = sent_to(tmp_path / "none", path).results
    assert result.category == "not-sent"
    assert "Transfer Syntax UID (0002,0010)" in result.error.message
    [result] = sent_to(tmp_path / "out", path, repair=True).results
    assert result.category == "ok"
    assert result.repaired == ("gave File Meta Information, Explicit VR Little Endian",)
    [stored] = (tmp_path / "out").glob("*.dcm")
    assert data_set(stored) == data


def test_what_is_cut_is_never_repaired(tmp_path):
    whole = instance(b"1.2.3", PATIENT)
    folder = tmp_path / "in"
    for name, data in (
        ("cut.dcm", part10(whole[:-1])),
        ("cut meta.dcm", part10(whole[:-1], None)),
        ("bare", whole[:-1]),
        ("stray.dcm", part10(whole + b"\n")),
    ):
        written(folder, name, data)
    report = sent_to(tmp_path / "out", folder, repair=True)
    assert {result.category for result in report.results} == {"not-sent"}
    assert len(report.results) == 4
    assert list((tmp_path / "out").iterdir()) == []


def test_what_needs_no_repair_is_sent_as_it_is(tmp_path):
    [result] = sent_to(tmp_path / "out", CT, repair=True).results
    assert (result.category, result.repaired) == ("ok", ())
    [stored] = (tmp_path / "out").glob("*.dcm")
    assert data_set(stored) == data_set(CT)


def test_a_repaired_file_is_what_pydicom_reads(tmp_path):
    odd = instance(b"1.2.3", *(more for more, _ in [ODD["in a sequence"], ODD["text"]]))
    odd += element((0x7FE0, 0x10), b"\1\2\3", b"OB")
    path = written(tmp_path / "in", "odd.dcm", part10(odd))
    sent_to(tmp_path / "out", path, repair=True)
    [stored] = (tmp_path / "out").glob("*.dcm")
    read = pydicom.dcmread(stored)
    assert isinstance(read, Dataset)
    assert read.ReferencedImageSequence[0].ReferencedSOPClassUID == "1.2"
    assert read.PatientName == "Nobod"
    assert read.PixelData == b"\1\2\3\0"
