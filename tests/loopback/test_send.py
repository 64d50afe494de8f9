"""`AE.send`: every file has one result, whatever happens to it or to its association."""

from __future__ import annotations

import shutil
import threading

import pydicom
import pytest

from dimse_rs import (
    AE,
    AssociationAborted,
    AssociationRejected,
    ConnectFailed,
    CTImageStorage,
    DecodeError,
    DimseError,
    MRImageStorage,
    NoPresentationContext,
    StatusError,
    Storage,
)
from dimse_rs.sop_class import ALL_STORAGE
from tests.data.files import data_set
from tests.data.generate import series
from tests.support.nodes import CT, FILES, JPEG_2000, MR_IMPLICIT, SCU, Puppet, at, scp


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with 30 slices in two folders, and what else lies about in such a place."""
    folder = tmp_path_factory.mktemp("study")
    series(folder, "one", 20, (1, 64, 64))
    series(folder / "deep", "two", 10, (1, 32, 32))
    (folder / "notes.txt").write_text("not DICOM")
    shutil.copy(FILES / "dicomdirtests" / "DICOMDIR", folder)
    return folder


def slices(study):
    return sorted(study.rglob("*.dcm"))


@pytest.mark.parametrize("associations", [1, 3])
@pytest.mark.parametrize("max_ops", [1, 4, 0])
def test_a_folder_arrives_whole(associations, max_ops, study, tmp_path):
    with scp(tmp_path, max_ops_performed=8) as server:
        report = SCU.send(at(server), study, associations=associations, max_ops_invoked=max_ops)
    assert [result.path for result in report.results] == slices(study)
    assert {result.category for result in report.results} == {"ok"}
    assert report.bytes == sum(len(data_set(path)) for path in slices(study))
    assert sorted(path.name for path in report.skipped) == ["DICOMDIR", "notes.txt"]
    assert report.failures == report.warnings == ()
    assert report.seconds > 0
    report.raise_for_failures()
    stored = {data_set(path) for path in tmp_path.glob("*.dcm")}
    assert stored == {data_set(path) for path in slices(study)}


def test_without_recursion_only_the_top(study, tmp_path):
    with scp(tmp_path) as server:
        report = SCU.send(at(server), study / "deep", recurse=False)
        assert report.results == ()
        report = SCU.send(at(server), [study / "deep" / "two"], recurse=False)
        assert len(report.results) == 10


def test_a_path_that_is_named_is_sent_once_and_never_skipped(study, tmp_path):
    with scp(tmp_path) as server:
        report = SCU.send(at(server), [CT, str(CT), study / "notes.txt", study / "none.dcm"])
    sent, text, missing = report.results
    assert sent.ok
    assert text.category == missing.category == "not-sent"
    assert isinstance(text.error, DecodeError)
    assert "not a DICOM file" in text.error.message
    assert "No such file" in missing.error.message
    assert (missing.sop_class, missing.sop_instance, missing.bytes) == ("", "", 0)
    assert len(report.failures) == 2
    with pytest.raises(DecodeError):
        report.raise_for_failures()


def test_a_broken_instance_in_a_folder_is_a_failure_not_skipped(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(CT, folder / "good.dcm")
    (folder / "cut.dcm").write_bytes(CT.read_bytes()[:300])
    with scp(tmp_path / "out") as server:
        report = SCU.send(at(server), folder)
    assert [(r.path.name, r.category) for r in report.results] == [
        ("cut.dcm", "not-sent"),
        ("good.dcm", "ok"),
    ]


@pytest.mark.slow
def test_more_contexts_than_an_association_holds(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    instance = pydicom.dcmread(CT)
    for number, sop_class in enumerate(ALL_STORAGE[:90], 1):
        instance.SOPClassUID = instance.file_meta.MediaStorageSOPClassUID = str(sop_class)
        instance.SOPInstanceUID = instance.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number}"
        instance.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)
    events = []
    with scp(tmp_path / "out") as server:
        report = SCU.send(at(server), folder, on_event=events.append)
    report.raise_for_failures()
    assert len(report.results) == 90
    associated = [event for event in events if event["event"] == "associated"]
    assert len(associated) == 2
    assert max(len(event["contexts"]) for event in associated) <= 128
    assert len(list((tmp_path / "out").glob("*.dcm"))) == 90


def test_callbacks_see_every_file_once_and_one_at_a_time(study, tmp_path):
    seen, events = [], []
    inside = threading.Lock()

    def on_result(result):
        assert inside.acquire(blocking=False)
        seen.append(result)
        inside.release()

    with scp(tmp_path) as server:
        report = SCU.send(
            at(server), study, associations=3, on_result=on_result, on_event=events.append
        )
    assert sorted(seen, key=lambda result: result.path) == list(report.results)
    total = sum(len(data_set(path)) for path in slices(study))
    progress = [event for event in events if event["event"] == "progress"]
    assert [(event["done"], event["total"]) for event in progress] == [(n, 30) for n in range(31)]
    assert (progress[0]["bytes"], progress[-1]["bytes"]) == (0, total)
    assert {event["total_bytes"] for event in progress} == {total}
    assert events[0] is progress[0]
    associated = [event for event in events if event["event"] == "associated"]
    assert len(associated) == 3
    assert len(associated) + len(progress) == len(events)
    assert associated[0]["peer"] == at(server)
    assert {context["class"] for context in associated[0]["contexts"]} == {CTImageStorage}


@pytest.mark.parametrize("associations", [1, 3])
def test_an_error_of_a_callback_ends_the_sending(associations, study, tmp_path):
    def on_result(result):
        raise ZeroDivisionError

    with scp(tmp_path) as server, pytest.raises(ZeroDivisionError):
        SCU.send(at(server), study, associations=associations, on_result=on_result)


def test_statuses_are_results_not_errors(tmp_path):
    server = scp()

    @server.c_store
    def judge(request):
        if request.sop_class == CTImageStorage:
            raise StatusError(0xA700, "disk full")
        return 0xB000 if request.sop_class == MRImageStorage else 0

    with server:
        report = SCU.send(at(server), [CT, MR_IMPLICIT, JPEG_2000])
    full, warned, fine = report.results
    assert (full.category, full.status, full.comment) == ("failed", 0xA700, "disk full")
    assert (warned.category, warned.status, warned.ok) == ("warning", 0xB000, True)
    assert fine.category == "ok"
    assert report.failures == (full,)
    assert report.warnings == (warned,)
    with pytest.raises(StatusError, match="disk full") as caught:
        report.raise_for_failures()
    assert "1 of 3 files not stored" in caught.value.__notes__[0]


def test_a_class_that_the_peer_does_not_take(tmp_path):
    server = scp(services=[Storage(tmp_path, mode="fast", sop_classes=[CTImageStorage])])
    with server:
        report = SCU.send(at(server), [MR_IMPLICIT, CT])
    assert [result.category for result in report.results] == ["not-sent", "ok"]


@pytest.mark.parametrize("associations", [1, 2])
def test_a_peer_that_is_down_fails_every_file_with_the_reason(associations, study):
    with scp() as server:
        address = at(server)
    report = SCU.send(address, study, associations=associations)
    assert len(report.results) == 30
    assert {result.category for result in report.results} == {"not-sent"}
    assert all(isinstance(result.error, ConnectFailed) for result in report.results)


def test_a_rejection_fails_every_file_with_the_reason(study, tmp_path):
    with scp(tmp_path) as server:
        report = SCU.send(f"OTHER@127.0.0.1:{server.port}", study)
    assert all(isinstance(result.error, AssociationRejected) for result in report.results)
    with pytest.raises(AssociationRejected):
        report.raise_for_failures()


@pytest.mark.parametrize("reassociate", [0, 3])
@pytest.mark.parametrize("max_ops", [1, 4])
def test_an_association_that_dies_leaves_a_result_for_every_file(max_ops, reassociate, study):
    server = scp(max_ops_performed=8)
    count = iter(range(1000))

    @server.c_store
    def abort_at_the_tenth(request):
        if next(count) == 9:
            request.association.abort()

    with server:
        report = SCU.send(at(server), study, max_ops_invoked=max_ops, reassociate=reassociate)
    results = report.results
    assert len(results) == 30
    bad = [result for result in results if not result.ok]
    assert all(isinstance(result.error, AssociationAborted) for result in bad)
    # What had begun to leave is failed: nobody knows. The rest goes over another association, or
    # was not sent, and says so.
    begun = [result for result in bad if result.category == "failed"]
    assert 1 <= len(begun) <= max_ops
    assert all(result.bytes > 0 for result in begun)
    assert all(result.bytes == 0 for result in bad if result not in begun)
    if reassociate:
        assert begun == bad
    else:
        assert sum(result.ok for result in results) <= 12


@pytest.mark.slow
def test_a_peer_that_hangs_up_after_accepting_leaves_a_result_for_every_file(study):
    def hang_up(puppet):
        puppet.accept()
        puppet.socket.close()

    with Puppet(hang_up, [CTImageStorage]) as peer:
        report = SCU.send(at(peer), study)
    assert len(report.results) == 30
    assert all(isinstance(result.error, DimseError) for result in report.results)


def test_given_contexts_are_proposed_and_nothing_else(study, tmp_path):
    events = []
    with scp(tmp_path) as server:
        report = SCU.send(
            at(server), [CT, MR_IMPLICIT], contexts=[CTImageStorage], on_event=events.append
        )
    assert [result.category for result in report.results] == ["ok", "not-sent"]
    [associated] = [event for event in events if event["event"] == "associated"]
    assert len(associated["contexts"]) == 1


def test_numbers_are_checked(tmp_path):
    with pytest.raises(ValueError, match="associations"):
        AE().send("A@127.0.0.1:11112", [CT], associations=0)
    with pytest.raises(ValueError, match="no port"):
        AE().send("A@127.0.0.1", [CT])


def test_a_result_says_what_a_file_is_also_where_it_did_not_begin(tmp_path):
    gone = tmp_path / "gone.dcm"
    with scp() as server, SCU.associate(at(server)) as association:
        bulk = association.send_files([CT, gone])
        results = []
        while (some := bulk.next(15)) is not None:
            results += some
    unaccepted, unreadable = sorted(results, key=lambda result: result.index)
    assert (unaccepted.info.sop_class, unaccepted.begun) == (CTImageStorage, False)
    assert isinstance(unaccepted.error, NoPresentationContext)
    assert unaccepted.unreadable is None
    assert (unreadable.info, unreadable.begun) == (None, False)
    assert isinstance(unreadable.error, DecodeError)
    assert isinstance(unreadable.unreadable, FileNotFoundError)
    assert unreadable.unreadable.filename == str(gone)
    # As a tuple, which `send_files` promised first, the file is None where it did not begin.
    assert tuple(unaccepted) == (0, None, None, unaccepted.error)
