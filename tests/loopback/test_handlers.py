"""Handlers of a server: what they are given, and what their answers become on the wire."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from pathlib import Path

import pydicom
import pytest

from dimse_rs import (
    AE,
    CTImageStorage,
    DimseError,
    Limits,
    LocalProtocolError,
    MRImageStorage,
    Status,
    StatusError,
    Storage,
    StoreRequest,
    StudyRoot,
    Timeouts,
    Verification,
)
from tests.data.files import data_set
from tests.data.generate import series
from tests.support.nodes import CT, MR_IMPLICIT, PATIENT, SCU, at, link, scp
from tests.support.waiting import until


def outcome(association, instance=CT):
    """Give the status and the comment of a C-STORE, whatever they are."""
    try:
        return int(association.c_store(instance)), ""
    except StatusError as error:
        return int(error.status), error.comment


def raising(error):
    def handler(request):
        raise error

    return handler


# ---- answers


@pytest.mark.parametrize(
    ("answer", "status"),
    [(None, 0x0000), (0, 0x0000), (Status(0xB000), 0xB000), (0xA700, 0xA700), (0xC123, 0xC123)],
)
def test_what_a_handler_gives_back_is_the_status(answer, status):
    server = scp()
    server.c_store(lambda request: answer)
    with link(server, CTImageStorage) as association:
        assert outcome(association) == (status, "")


def test_a_status_error_is_answered_with_its_comment():
    server = scp()
    server.c_store(raising(StatusError(0x0124, "not for you")))
    with link(server, CTImageStorage) as association:
        assert outcome(association) == (0x0124, "not for you")


def test_a_comment_is_cut_to_what_the_wire_takes():
    server = scp()
    server.c_store(raising(StatusError(0xC000, "Ünïcode\\path\n" + "x" * 100)))
    with link(server, CTImageStorage) as association:
        _, comment = outcome(association)
    assert comment == "?n?code?path?" + "x" * 51


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("secret"), DimseError("x"), SystemExit(3), KeyboardInterrupt()]
)
def test_any_other_exception_is_c000_and_logged_with_its_traceback(error, caplog):
    server = scp()
    server.c_store(raising(error))
    with link(server, [CTImageStorage, Verification]) as association:
        assert outcome(association) == (0xC000, "handler failed")
        assert association.c_echo() == 0
        assert outcome(association) == (0xC000, "handler failed")  # its thread still serves
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(records) == 2
    assert records[0].name == "dimse_rs.server"
    assert records[0].exc_info[0] is type(error)
    assert "C-STORE-RQ" in records[0].getMessage()


NONSENSE = {
    "a str": "SECRET^VALUE",
    "True": True,
    "-1": -1,
    "0x10000": 0x10000,
    "0xFF00": 0xFF00,
    "0xFE00": 0xFE00,
    "an object": object(),
    "(0x0000, None)": (0, None),
    "a dict": {"PatientName": "SECRET^VALUE"},
}


@pytest.mark.parametrize("got", NONSENSE)
def test_nonsense_is_c000_and_logged(got, caplog):
    nonsense = NONSENSE[got]
    server = scp()
    server.c_store(lambda request: nonsense)
    with link(server, CTImageStorage) as association:
        assert outcome(association) == (0xC000, "handler gave no valid status")
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    gives = "a handler of C-STORE gives None for Success, or a status"
    assert record.getMessage().endswith(f": got {got}; {gives}")
    assert "SECRET" not in record.getMessage()


def test_c_echo_has_handlers_too():
    server = scp()
    seen = []

    @server.c_echo
    def echo(request):
        seen.append(request)
        return 0x0210

    with link(server) as association:
        with pytest.raises(StatusError) as caught:
            association.c_echo()
        assert caught.value.status == 0x0210
        assert caught.value.response.command["CommandField"] == 0x8030
    assert seen[0].sop_class == Verification


# ---- requests


def test_what_a_request_tells():
    server = scp()
    seen = []

    @server.c_store
    def keep(request):
        assert isinstance(request, StoreRequest)
        seen.append(
            (
                request.sop_class,
                request.instance_uid,
                request.transfer_syntax,
                request.peer.ae_title,
                request.peer.host,
                request.command["CommandField"],
                request.context.sop_class,
                request.context.scp,
                request.cancelled,
                request.association.is_established,
                request.association.window,
            )
        )
        assert "C-STORE-RQ" in repr(request)

    with link(server, CTImageStorage) as association:
        assert outcome(association) == (0, "")
    facts = pydicom.dcmread(CT, stop_before_pixels=True)
    assert seen == [
        (
            facts.SOPClassUID,
            facts.SOPInstanceUID,
            facts.file_meta.TransferSyntaxUID,
            "SCU",
            "127.0.0.1",
            0x0001,
            CTImageStorage,
            True,
            False,
            True,
            (1, 1),
        )
    ]


def test_a_small_instance_is_in_memory():
    server = scp()
    seen = []

    @server.c_store
    def keep(request):
        seen.append(request)
        assert request.path is None
        assert bytes(request.data) == memoryview(request.data) == data_set(CT)
        assert len(request.data) == len(data_set(CT))
        assert request.dataset == pydicom.dcmread(CT)
        assert request.dataset is request.dataset
        assert request.dataset.file_meta.TransferSyntaxUID == request.transfer_syntax

    with link(server, CTImageStorage) as association:
        assert outcome(association) == (0, "")


def test_a_payload_outlives_the_association():
    server = scp()
    seen = []
    server.c_store(lambda request: seen.append(memoryview(request.data)))
    with link(server, CTImageStorage) as association:
        association.c_store(CT)
    [view] = seen
    assert view.readonly
    assert view.format == "B"
    assert view == data_set(CT)
    with pytest.raises(TypeError):
        view[0] = 1


def test_a_large_instance_is_in_a_file_that_goes_with_the_request(tmp_path):
    [large] = series(tmp_path, "large", 1, (1, 1024, 1024))
    server = scp()
    seen = []

    @server.c_store
    def keep(request):
        assert request.path.is_file()
        seen.append(request.path)
        assert data_set(request.path) == data_set(large)
        assert bytes(request.data) == data_set(large)
        assert request.dataset.Rows == 1024
        assert pydicom.dcmread(request.path).SOPInstanceUID == request.instance_uid

    with link(server, [CTImageStorage, Verification]) as association:
        assert outcome(association, large) == (0, "")
        assert outcome(association, CT)[0] == 0xC000  # the next one is small: no path
        while seen[0].exists():  # until the thread that has answered lets go of it
            association.c_echo()
        assert seen[0].parent.is_dir()
    assert not seen[0].parent.exists()


def test_spool_above_decides_what_is_large():
    ae = AE("SCP", timeouts=PATIENT, limits=Limits(spool_above=0))
    server = scp(ae=ae)
    seen = []
    server.c_store(lambda request: seen.append(request.path is not None))
    with link(server, CTImageStorage) as association:
        association.c_store(CT)
    assert seen == [True]


def test_a_temporary_folder_that_was_cleared_away_is_made_anew(tmp_path):
    server = scp(ae=AE("SCP", timeouts=PATIENT, limits=Limits(spool_above=0)))
    seen = []
    server.c_store(lambda request: seen.append(request.path))
    with link(server, CTImageStorage) as association:
        association.c_store(CT)
        folder = seen[0].parent
        shutil.rmtree(folder)
        association.c_store(CT)
        assert seen[1].parent == folder
        assert folder.stat().st_mode & 0o777 == 0o700
        # Somebody else's that has the name is not taken for ours.
        shutil.rmtree(folder)
        (tmp_path / "others").mkdir()
        folder.symlink_to(tmp_path / "others")
        status, _ = outcome(association, CT)
        assert status & 0xFF00 == 0xA700
        assert list((tmp_path / "others").iterdir()) == []
        folder.unlink()
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        assert outcome(association, CT)[0] == status
        folder.rmdir()
        association.c_store(CT)
    assert not folder.exists()


@pytest.mark.parametrize("size", ["small", "large"])
def test_save_keeps_the_instance_as_storage_would(size, tmp_path):
    instance = CT if size == "small" else series(tmp_path, "large", 1, (1, 1024, 1024))[0]
    server = scp()
    seen = []
    server.c_store(lambda request: seen.append(request.save(tmp_path / "kept", mode="fast")))
    with link(server, CTImageStorage) as association:
        assert outcome(association, instance) == (0, "")
        assert outcome(association, instance) == (0, "")
    uid = pydicom.dcmread(instance, stop_before_pixels=True).SOPInstanceUID
    assert seen == [tmp_path / "kept" / f"{uid}.dcm"] * 2
    assert isinstance(seen[0], Path)
    assert data_set(seen[0]) == data_set(instance)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [seen[0].name]


@pytest.mark.parametrize("size", ["small", "large"])
def test_save_into_a_storage_has_its_layout(size, tmp_path):
    instance = CT if size == "small" else series(tmp_path, "large", 1, (1, 1024, 1024))[0]
    storage = Storage(tmp_path / "kept", mode="fast", layout="study")
    server = scp()
    seen = []
    server.c_store(lambda request: seen.append((request.size, request.save(storage))))
    with link(server, CTImageStorage) as association:
        assert outcome(association, instance) == (0, "")
    read = pydicom.dcmread(instance, stop_before_pixels=True)
    parts = (read.StudyInstanceUID, read.SeriesInstanceUID, f"{read.SOPInstanceUID}.dcm")
    assert seen == [(len(data_set(instance)), (tmp_path / "kept").joinpath(*parts))]


def test_save_that_cannot_answers_the_peer(tmp_path):
    server = scp()
    instance = pydicom.dcmread(CT)
    instance.SOPInstanceUID = "1.2.3"
    data = instance  # the command says 1.2.3, and so does the data set

    @server.c_store
    def keep(request):
        request.save(tmp_path)
        (tmp_path / "1.2.3.dcm").unlink()
        (tmp_path / "1.2.3.dcm").mkdir()  # in the way
        request.save(tmp_path)

    with link(server, CTImageStorage) as association:
        status, comment = outcome(association, data)
    assert status >> 8 == 0xA7
    assert comment


# ---- who answers what


def test_a_handler_for_a_class_goes_before_one_for_all():
    server = scp()

    @server.c_store(MRImageStorage)
    def of_some(request):
        return 0xB000

    @server.c_store
    def of_the_rest(request):
        return 0xB006

    with link(server, [CTImageStorage, MRImageStorage]) as association:
        assert outcome(association, CT) == (0xB006, "")
        assert outcome(association, MR_IMPLICIT) == (0xB000, "")


def test_handlers_for_some_classes_leave_the_others_to_storage(tmp_path):
    server = scp(tmp_path)
    seen = []

    @server.c_store(MRImageStorage, "1.2.3.4.5")
    def of_some(request):
        seen.append(request.sop_class)

    with link(server, [CTImageStorage, MRImageStorage, "1.2.3.4.5"]) as association:
        assert not association.rejected
        outcome(association, CT)
        outcome(association, MR_IMPLICIT)
    assert seen == [MRImageStorage]
    [stored] = tmp_path.glob("*.dcm")
    assert data_set(stored) == data_set(CT)


def test_a_class_without_handler_or_storage_is_not_accepted():
    server = scp()
    server.c_store(MRImageStorage)(lambda request: None)
    with link(server, [CTImageStorage, MRImageStorage]) as association:
        assert [context.sop_class for context in association.rejected] == [CTImageStorage]


def test_two_handlers_for_the_same_are_a_mistake():
    server = scp()
    server.c_store(lambda request: None)
    server.c_store(CTImageStorage)(lambda request: None)
    with pytest.raises(ValueError, match="every class"):
        server.c_store(lambda request: None)
    with pytest.raises(ValueError, match="CTImageStorage"):
        server.c_store(MRImageStorage, CTImageStorage)(lambda request: None)


def test_a_handler_that_comes_too_late_is_a_mistake():
    with scp() as server, pytest.raises(LocalProtocolError, match="before the server starts"):
        server.c_store(lambda request: None)


# ---- threads and deadlines


@pytest.fixture
def workers():
    """Give a function that lists the threads begun since: earlier tests may still end theirs."""
    before = set(threading.enumerate())
    return lambda: [
        thread
        for thread in threading.enumerate()
        if thread.name.startswith("dimse-worker") and thread not in before
    ]


@pytest.mark.slow
def test_handlers_run_side_by_side_and_idle_threads_go(workers):
    server = scp()
    together = threading.Barrier(8, timeout=10)
    server.c_store(lambda request: together.wait() and None)
    with server:
        associations = [SCU.associate(at(server), contexts=CTImageStorage) for _ in range(8)]
        calls = [threading.Thread(target=link.c_store, args=(CT,)) for link in associations]
        for call in calls:
            call.start()
        for call in calls:
            call.join(10)
        assert not together.broken
        assert len(workers()) >= 8
        until(lambda: len(workers()) == 1)
        for association in associations:
            association.release()
    until(lambda: not workers())


def test_max_handlers_1_keeps_handlers_apart():
    server = scp(max_handlers=1)
    inside = threading.Semaphore(1)
    clashes = []

    @server.c_store
    def alone(request):
        if not inside.acquire(blocking=False):
            clashes.append(request)
        else:
            threading.Event().wait(0.02)
            inside.release()

    with server:
        associations = [SCU.associate(at(server), contexts=CTImageStorage) for _ in range(4)]
        calls = [threading.Thread(target=link.c_store, args=(CT,)) for link in associations]
        for call in calls:
            call.start()
        for call in calls:
            call.join(10)
        for association in associations:
            association.release()
    assert clashes == []


def test_a_blocked_handler_holds_up_nobody_else():
    server = scp()
    leave = threading.Event()
    server.c_store(lambda request: leave.wait(10) and None)
    with server, SCU.associate(at(server), contexts=CTImageStorage) as blocked:
        call = threading.Thread(target=blocked.c_store, args=(CT,))
        call.start()
        with SCU.associate(at(server)) as other:
            assert other.c_echo() == 0
        leave.set()
        call.join(10)
        assert not call.is_alive()


def test_a_late_handler_is_answered_for(caplog):
    caplog.set_level(logging.INFO, "dimse_rs.dimse")
    server = scp(timeouts=Timeouts(handler=0.2))
    leave, left = threading.Event(), threading.Event()

    @server.c_store
    def late(request):
        leave.wait(10)
        left.set()

    with link(server, [CTImageStorage, Verification]) as association:
        started = time.monotonic()
        assert outcome(association) == (0xC000, "handler timed out")
        assert time.monotonic() - started < 5
        assert association.c_echo() == 0
        leave.set()
        assert left.wait(10)
        assert outcome(association) == (0, "")  # its own answer came too late to be sent
    codes = [getattr(record, "code", "") for record in caplog.records]
    sent = [r.getMessage() for r in caplog.records if " << C-STORE-RSP " in r.getMessage()]
    assert len(sent) == 2, "an answer that was not sent is not told of as sent"
    assert codes.count("handler") == 1
    assert codes.count("unanswered") == 1
    [told] = [r.getMessage() for r in caplog.records if getattr(r, "code", "") == "handler"]
    assert "the handler timed out after 0.2 s (Timeouts.handler)" in told


def test_a_punctual_handler_is_left_alone():
    server = scp(timeouts=Timeouts(handler=8))
    server.c_store(lambda request: 0xB000)
    with link(server, CTImageStorage) as association:
        assert [outcome(association) for _ in range(20)] == [(0xB000, "")] * 20


def test_a_stuck_thread_is_replaced_up_to_the_cap_then_requests_are_refused(workers):
    server = scp(timeouts=Timeouts(handler=0.2), max_handlers=2)
    leave = threading.Event()
    server.c_store(lambda request: leave.wait(20) and None)
    with link(server, CTImageStorage) as association:
        assert outcome(association) == (0xC000, "handler timed out")
        assert outcome(association) == (0xC000, "handler timed out")
        assert outcome(association) == (0xA700, "no handler is free")
        assert outcome(association) == (0xA700, "no handler is free")
        until(lambda: len(workers()) == 2)
        leave.set()
        until(lambda: outcome(association) == (0, ""))


def test_a_handler_may_abort_its_association():
    server = scp()
    server.c_store(lambda request: request.association.abort())
    with server:
        association = SCU.associate(at(server), contexts=CTImageStorage)
        with pytest.raises(DimseError):
            association.c_store(CT)
        with SCU.associate(at(server)) as other:
            assert other.c_echo() == 0


def test_a_handler_can_see_that_the_peer_has_gone():
    server = scp()
    entered, seen = threading.Event(), threading.Event()

    @server.c_store
    def wait_for_it(request):
        assert not request.cancelled
        entered.set()
        until(lambda: request.cancelled)
        seen.set()

    with server:
        association = SCU.associate(at(server), contexts=CTImageStorage)
        call = threading.Thread(target=outcome_or_error, args=(association,))
        call.start()
        assert entered.wait(10)
        association.abort()
        assert seen.wait(10)
        call.join(10)


def outcome_or_error(association):
    try:
        return outcome(association)
    except DimseError as error:
        return error


@pytest.mark.parametrize("how", ["given", "raised"])
def test_a_status_that_the_service_does_not_define_is_named(caplog, how):
    server = scp()
    server.c_store(lambda request: 0x0110 if how == "given" else raising(StatusError(0x0110))(None))
    with link(server, CTImageStorage) as association:
        # Given, it is no answer; raised, it is a failure all the same, and goes out.
        expected = (0xC000, "handler gave no valid status") if how == "given" else (0x0110, "")
        assert outcome(association) == expected
    [record] = [r for r in caplog.records if getattr(r, "code", "") == "handler-status"]
    assert "0x0110 (processing failure), which storage does not define" in record.getMessage()


def test_a_class_that_a_handler_names_is_accepted_beside_one_for_every_class():
    private = "1.2.826.0.1.3680043.10.999.1"
    server = scp()
    server.c_find(lambda request: 0xA700)
    server.c_find(private)(lambda request: None)
    with link(server, [private, StudyRoot.find]) as association:
        assert not association.rejected
        matches = association.c_find({"PatientID": ""}, model=private)
        assert (list(matches), matches.status) == ([], 0)
