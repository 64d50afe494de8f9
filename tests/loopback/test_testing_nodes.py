"""The servers of `dimse_rs.testing`, as the tests of a user's program use them."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import threading

import pydicom
import pytest

from dimse_rs import (
    AE,
    TLS,
    CTImageStorage,
    DecodeError,
    JPEGBaseline8Bit,
    ModalityPerformedProcedureStep,
    ModalityWorklist,
    MppsEvent,
    MRImageStorage,
    PerformedStep,
    StatusError,
    StudyRoot,
    commit,
    for_retrieve,
    from_worklist,
    worklist,
)
from dimse_rs.testing import (
    Pacs,
    Proxy,
    Receiver,
    ScriptedPeer,
    WorklistServer,
    make_instance,
    make_study,
    write_files,
)
from tests.data.certificates import Authority
from tests.support.waiting import until

ME = AE("ME")


def uids(instances):
    return [str(instance.SOPInstanceUID) for instance in instances]


@pytest.fixture
def send(tmp_path):
    """Give a function that sends instances from files."""
    return lambda node, instances: ME.send(node.peer, write_files(instances, tmp_path / "out"))


# ---- the receiver


def test_the_receiver_keeps_what_came(dicom_receiver, send):
    study = make_study(series=2, instances=2)
    send(dicom_receiver, study).raise_for_failures()
    assert uids(dicom_receiver.wait_for(4)) == uids(study)
    assert [one.PatientName for one in dicom_receiver.instances] == ["Test^Patient"] * 4
    first = dicom_receiver.arrivals[0]
    assert (first.sop_class, first.calling, first.status) == (CTImageStorage, "ME", 0)
    assert len({arrival.association for arrival in dicom_receiver.arrivals}) == 1
    assert first.part10.endswith(first.data)
    assert "Test" not in repr(first)
    assert len(dicom_receiver) == 4
    dicom_receiver.clear()
    assert dicom_receiver.instances == []
    assert dicom_receiver


def test_the_receiver_keeps_every_byte_of_any_encoding(dicom_receiver, send):
    jpeg = make_instance(PhotometricInterpretation="MONOCHROME2")
    jpeg.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    jpeg.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    jpeg["PixelData"].is_undefined_length = True
    private = make_instance("1.2.840.99999.7")
    send(dicom_receiver, [jpeg, private]).raise_for_failures()
    one, other = dicom_receiver.wait_for(2)
    assert one == jpeg
    assert one.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    assert other == private


def test_the_receiver_answers_to_any_title(dicom_receiver):
    for title in ("A", "ANYTHING"):
        with ME.associate((dicom_receiver.host, dicom_receiver.port, title)) as association:
            assert association.c_echo() == 0


def test_a_status_for_each_third_instance(dicom_receiver, send):
    dicom_receiver.answer(0xA700, every=3, comment="full")
    report = send(dicom_receiver, make_study(series=1, instances=7))
    assert [result.status for result in report.results] == [0, 0, 0xA700, 0, 0, 0xA700, 0]
    assert len(dicom_receiver.wait_for(5)) == 5
    refused = [arrival for arrival in dicom_receiver.arrivals if not arrival.kept]
    assert [arrival.status for arrival in refused] == [0xA700, 0xA700]
    dicom_receiver.clear()
    send(dicom_receiver, make_study(series=1, instances=3)).raise_for_failures()


def test_a_warning_is_kept(dicom_receiver, send):
    dicom_receiver.answer(0xB000)
    [result] = send(dicom_receiver, [make_instance()]).results
    assert result.status == 0xB000
    assert len(dicom_receiver.instances) == 1


def test_a_slow_receiver_stops_at_once():
    with Receiver() as receiver:
        receiver.answer(delay=600)
        association = ME.associate(receiver.peer, contexts=CTImageStorage)
        sending = threading.Thread(target=lambda: sent.append(association.c_store(make_instance())))
        sent: list[int] = []
        events = receiver.server.events("message")
        sending.start()
        assert next(events)["type"] == "C-STORE-RQ"
    sending.join(10)
    assert sent == [0]  # the request was in progress, and the delay ended with the receiver


def test_what_does_not_come_is_an_error_that_says_so(dicom_receiver, send):
    dicom_receiver.answer(0xC000, every=2)
    send(dicom_receiver, make_study(series=1, instances=2))
    with pytest.raises(TimeoutError, match=r"1 of 2 instances came to RECEIVER@.* 1 were refused"):
        dicom_receiver.wait_for(2, timeout=0.01)


def test_answers_that_make_no_sense_are_refused(dicom_receiver):
    for wrong in ({"every": 0}, {"delay": -1}, {"status": -1}):
        with pytest.raises(ValueError, match=r"every|delay|status|Status|0"):
            dicom_receiver.answer(**wrong)


def test_a_receiver_with_tls(tmp_path):
    authority = Authority(tmp_path / "ca")
    issued = authority.issue("node")
    tls = TLS(issued.cert, issued.key, authority.ca)
    with Receiver(AE("SECURE", tls=tls)) as receiver:
        with AE("ME", tls=tls).associate(receiver.peer, contexts=CTImageStorage) as association:
            association.c_store(make_instance())
        assert receiver.address.startswith("SECURE@")
        assert len(receiver.wait_for()) == 1


# ---- the archive


def test_the_archive_finds_and_gives_what_was_added(dicom_pacs, tmp_path):
    study = make_study(series=2, instances=3, PatientID="7")
    dicom_pacs.add(study[:4])
    dicom_pacs.add(*write_files(study[4:5], tmp_path), study[5])
    dicom_pacs.add(make_instance(PatientID="8"))
    assert len(dicom_pacs) == 7
    with ME.associate(dicom_pacs.peer, contexts=for_retrieve(StudyRoot)) as association:
        keys = {"PatientID": "7", "StudyInstanceUID": ""}
        [found] = association.c_find(keys, model=StudyRoot, level="STUDY")
        keys = {"StudyInstanceUID": found.StudyInstanceUID}
        into = tmp_path / "in"
        [*_, last] = association.c_get(keys, model=StudyRoot, level="STUDY", into=into)
    assert last.completed == 6
    fetched = [pydicom.dcmread(path) for path in into.iterdir()]
    assert sorted(fetched, key=lambda one: one.SOPInstanceUID) == sorted(
        study, key=lambda one: one.SOPInstanceUID
    )


def test_the_archive_moves_to_a_receiver(dicom_pacs, dicom_receiver):
    study = make_study(series=1, instances=2)
    dicom_pacs.add(study)
    dicom_pacs.destinations["ME"] = dicom_receiver.peer
    with ME.associate(dicom_pacs.peer, contexts=StudyRoot) as association:
        keys = {"StudyInstanceUID": study[0].StudyInstanceUID}
        move = {"model": StudyRoot, "level": "STUDY"}
        [*_, last] = association.c_move(keys, destination="ME", **move)
        with pytest.raises(StatusError, match="A801"):
            list(association.c_move(keys, destination="OTHER", **move))
    assert last.completed == 2
    assert dicom_receiver.wait_for(2) == study


def test_the_archive_stores_and_commits(dicom_pacs, send):
    sent = make_study(series=1, instances=2)
    report = send(dicom_pacs, sent)
    dicom_pacs.wait_for(2)
    assert sent[0].SOPInstanceUID in dicom_pacs
    assert dicom_pacs.remove(sent[1].SOPInstanceUID)
    assert not dicom_pacs.remove(sent[1].SOPInstanceUID)
    committed = commit(ME, dicom_pacs.peer, report.results)
    assert committed.committed == (sent[0].SOPInstanceUID,)
    assert committed.failed == {sent[1].SOPInstanceUID: 0x0112}


def test_the_archive_keeps_nothing_that_it_refused(dicom_pacs, send):
    dicom_pacs.answer(0xA700)
    send(dicom_pacs, [make_instance()])
    assert (len(dicom_pacs), len(dicom_pacs.arrivals)) == (0, 1)
    dicom_pacs.clear()
    send(dicom_pacs, [make_instance()]).raise_for_failures()
    assert (len(dicom_pacs), len(dicom_pacs.arrivals)) == (1, 1)
    assert dicom_pacs.instances == [make_instance()]
    dicom_pacs.clear()
    with ME.associate(dicom_pacs.peer, contexts=StudyRoot) as association:
        assert list(association.c_find({"PatientID": ""}, model=StudyRoot, level="STUDY")) == []


def test_what_is_no_instance_is_refused_by_the_archive(dicom_pacs):
    with pytest.raises(DecodeError):
        dicom_pacs.add(b"no instance")
    with pytest.raises(DecodeError):
        dicom_pacs.add(make_instance(StudyInstanceUID=None, SeriesInstanceUID=""))
    assert len(dicom_pacs) == 0


def test_what_the_archive_cannot_find_again_is_refused(dicom_pacs, send, caplog):
    [result] = send(dicom_pacs, [make_instance(StudyInstanceUID="")]).results
    assert result.status == 0xA900
    assert [arrival.kept for arrival in dicom_pacs.arrivals] == [False]
    assert [record for record in caplog.records if record.exc_info] == []


# ---- the worklist


def test_the_worklist_is_asked_and_takes_the_steps(dicom_worklist):
    dicom_worklist.add(PatientID="7", Modality="MR")
    other = dicom_worklist.add(PatientID="8", PatientName="Doe^Jane")
    contexts = [*ModalityWorklist, ModalityPerformedProcedureStep]
    with ME.associate(dicom_worklist.peer, contexts=contexts) as association:
        [item] = worklist(association, Modality="CT")
        assert (item.PatientID, item.StudyInstanceUID) == ("8", other.StudyInstanceUID)
        step = PerformedStep.start(association, from_worklist(item))
        assert len(dicom_worklist.wait_for(MppsEvent.IN_PROGRESS)) == 1
        with pytest.raises(TimeoutError, match="0 of 1 performed steps were completed"):
            dicom_worklist.wait_for(timeout=0.01)
        series = {"SeriesInstanceUID": "1.2.3", "ProtocolName": "HEAD"}
        step.complete({"PerformedSeriesSequence": [series]})
    [done] = dicom_worklist.wait_for()
    assert done.PatientName == "Doe^Jane"
    assert list(dicom_worklist.steps) == [step.instance_uid]
    dicom_worklist.clear()
    assert (dicom_worklist.items, dicom_worklist.steps) == ([], {})


def test_a_whole_item_is_taken_as_it_is(dicom_worklist):
    item = dicom_worklist.add({"PatientID": "1", "ScheduledProcedureStepSequence": []})
    assert dicom_worklist.items == [item]
    with pytest.raises(TypeError, match="not both"):
        dicom_worklist.add(item, PatientID="2")


# ---- on an event loop, and their end


@pytest.mark.anyio
async def test_the_fixtures_on_an_event_loop(dicom_receiver, dicom_worklist):
    association = await ME.associate_async(dicom_receiver.peer, contexts=MRImageStorage)
    async with association:
        waiting = asyncio.create_task(dicom_receiver.wait_for_async(1))
        await association.c_store(make_instance(MRImageStorage))
        assert await waiting == [make_instance(MRImageStorage)]
    with pytest.raises(TimeoutError):
        await dicom_worklist.wait_for_async(timeout=0.01)
    async with Pacs("OTHER") as pacs, await ME.associate_async(pacs.peer) as echoing:
        assert await echoing.c_echo() == 0


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.parametrize("kind", [Receiver, Pacs, WorklistServer])
def test_it_is_shown_with_its_address_and_stops(kind):
    node = kind("NODE")
    assert repr(node) == f"<{kind.__name__} NODE, not started>"
    with node:
        assert repr(node) == f"<{kind.__name__} NODE@127.0.0.1:{node.port}>"
        peer = node.peer
    with pytest.raises(OSError, match="refused"):
        ME.associate(peer)
    node.stop()


def test_session_fixtures_are_others(session_dicom_receiver, dicom_receiver, session_dicom_pacs):
    ports = {session_dicom_receiver.port, dicom_receiver.port, session_dicom_pacs.port}
    assert len(ports) == 3


def descriptors():
    gc.collect()  # a server and its handlers name each other
    return len(os.listdir("/proc/self/fd"))


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def everything():
        with (
            Pacs() as pacs,
            Receiver() as receiver,
            WorklistServer() as worklist_,
            ScriptedPeer() as peer,
            Proxy(pacs) as proxy,
        ):
            pacs.destinations["ME"] = receiver.peer
            pacs.add(make_study(series=1, instances=2))
            with ME.associate(proxy.peer, contexts=StudyRoot) as association:
                move = {"model": StudyRoot, "level": "STUDY", "destination": "ME"}
                keys = {"StudyInstanceUID": make_instance().StudyInstanceUID}
                list(association.c_move(keys, **move))
            for node in (peer, worklist_, receiver):
                with ME.associate(node.peer) as association:
                    association.c_echo()

    everything()  # what is made once for the process
    files, threads = descriptors(), threading.active_count()
    for _ in range(3):
        everything()
    until(lambda: descriptors() <= files and threading.active_count() <= threads)
    assert list(tmp_path.iterdir()) == []
