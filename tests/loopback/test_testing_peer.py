"""The scripted peer of `dimse_rs.testing`: each thing that bad peers do, seen by the other side."""

from __future__ import annotations

import socket
import threading

import pytest

from dimse_rs import (
    AE,
    AssociationAborted,
    AssociationRejected,
    ConnectionLost,
    CTImageStorage,
    DimseTimeout,
    MRImageStorage,
    NoPresentationContext,
    RemoteProtocolError,
    StatusError,
    StudyRoot,
    Timeouts,
    Verification,
)
from dimse_rs.testing import ScriptedPeer, make_instance, make_study, wire, write_files

ME = AE("ME")
HURRIED = AE("ME", timeouts=Timeouts(acse=0.2, dimse=0.2, store=0.2, release=5))


def test_without_instructions_it_is_well_behaved(dicom_peer):
    contexts = [Verification, CTImageStorage, StudyRoot.find]
    with ME.associate(dicom_peer.peer, contexts=contexts) as association:
        assert association.c_echo() == 0
        assert association.c_store(make_instance()) == 0
        assert list(association.c_find({"PatientID": ""}, model=StudyRoot, level="STUDY")) == []
    echo, store, find = dicom_peer.wait_for(3)
    assert (echo.sop_class, store.instance_uid) == (Verification, make_instance().SOPInstanceUID)
    assert (len(store.data) > 1000, find.field) == (True, 0x0020)
    assert dicom_peer.wait_for(service="C-STORE") == [store]
    [proposal] = dicom_peer.proposals
    assert (proposal.calling, proposal.called, proposal.window) == ("ME", "PEER", 1)
    assert [abstract for abstract, _ in proposal.contexts.values()] == contexts


def test_it_rejects_so_many_times(dicom_peer):
    dicom_peer.reject(2, 3, 2, times=2)
    for _ in range(2):
        with pytest.raises(AssociationRejected) as caught:
            ME.associate(dicom_peer.peer)
        assert (caught.value.result, caught.value.source, caught.value.reason) == (2, 3, 2)
    with ME.associate(dicom_peer.peer) as association:
        assert association.c_echo() == 0
    assert len(dicom_peer.proposals) == 3


def test_it_refuses_contexts(dicom_peer):
    dicom_peer.refuse(CTImageStorage)
    dicom_peer.refuse(StudyRoot, result=1)
    contexts = [CTImageStorage, StudyRoot.find, MRImageStorage]
    with ME.associate(dicom_peer.peer, contexts=contexts) as association:
        assert [context.sop_class for context in association.accepted] == [MRImageStorage]
        assert [context.result for context in association.rejected] == [3, 1]
        with pytest.raises(NoPresentationContext):
            association.c_store(make_instance())


def test_it_never_answers_a_proposal(dicom_peer):
    dicom_peer.never_associate()
    with pytest.raises(DimseTimeout, match="acse"):
        HURRIED.associate(dicom_peer.peer)


@pytest.mark.parametrize("ending", ["abort", "close", "reset"])
def test_it_ends_at_a_message_and_then_a_second_try_gets_through(dicom_peer, ending, tmp_path):
    if ending == "abort":
        dicom_peer.abort(at=3)
    else:
        dicom_peer.close(at=3, reset=ending == "reset")
    with ME.associate(dicom_peer.peer, contexts=CTImageStorage) as association:
        for number in (1, 2):
            association.c_store(make_instance(InstanceNumber=number))
        expected = AssociationAborted if ending == "abort" else ConnectionLost
        with pytest.raises(expected):
            association.c_store(make_instance(InstanceNumber=3))
    files = write_files(make_study(series=1, instances=3), tmp_path)
    ME.send(dicom_peer.peer, files).raise_for_failures()
    assert len(dicom_peer.heard) == 6


def test_a_status_for_the_nth_store(dicom_peer, tmp_path):
    dicom_peer.answer_with(0xA700, at=[2, 4], service="C-STORE")
    with ME.associate(dicom_peer.peer) as association:
        association.c_echo()
    files = write_files(make_study(series=1, instances=5), tmp_path)
    report = ME.send(dicom_peer.peer, files)
    assert [result.status for result in report.results] == [0, 0xA700, 0, 0xA700, 0]
    dicom_peer.clear()
    ME.send(dicom_peer.peer, files).raise_for_failures()
    assert len(dicom_peer.heard) == 5


def test_a_status_for_every_request_of_a_service(dicom_peer):
    dicom_peer.answer_with(0x0122, service="C-ECHO")
    with ME.associate(dicom_peer.peer, contexts=[Verification, CTImageStorage]) as association:
        with pytest.raises(StatusError, match="0122"):
            association.c_echo()
        assert association.c_store(make_instance()) == 0


def test_late_and_never(dicom_peer):
    dicom_peer.answer_late(0.05, at=1)
    dicom_peer.answer_never(at=2)
    with HURRIED.associate(dicom_peer.peer) as association:
        assert association.c_echo() == 0
        with pytest.raises(DimseTimeout):
            association.c_echo()
    assert len(dicom_peer.heard) == 2


def test_a_late_answer_does_not_hold_up_the_end():
    with ScriptedPeer() as peer:
        peer.answer_late(600)
        with pytest.raises(DimseTimeout), HURRIED.associate(peer.peer) as association:
            association.c_echo()


def test_twice(dicom_peer):
    dicom_peer.answer_twice(at=1)
    association = ME.associate(dicom_peer.peer)
    ended = association.events("ended")
    assert association.c_echo() == 0
    assert next(ended)["code"]  # the second answer answers no request
    assert isinstance(association.ended, RemoteProtocolError)


def test_out_of_order(dicom_peer):
    dicom_peer.answer_out_of_order(3, service="C-STORE")
    answered = []
    lock = threading.Lock()
    with ME.associate(dicom_peer.peer, contexts=CTImageStorage, max_ops_invoked=3) as association:

        def store(number):
            association.c_store(make_instance(InstanceNumber=number))
            with lock:
                answered.append(number)

        threads = [threading.Thread(target=store, args=(number,)) for number in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert sorted(answered) == [1, 2, 3]
    assert len({heard.message_id for heard in dicom_peer.heard}) == 3


def test_out_of_order_without_a_window_fails_the_test():
    peer = ScriptedPeer().start()
    peer.answer_out_of_order()
    with pytest.raises(ConnectionLost), ME.associate(peer.peer) as association:
        association.c_echo()
    with pytest.raises(AssertionError, match="max_ops_invoked"):
        peer.stop()


def test_a_script_has_the_bytes_in_its_hands(dicom_peer):
    def script(connection):
        connection.accept()
        elements, _ = connection.message()
        connection.send(wire.pdu(wire.DATA, b"", length=7))  # and no byte follows
        connection.close()
        assert wire.number_of(elements, 0x0110) == 1

    dicom_peer.play(script)
    with pytest.raises(ConnectionLost), ME.associate(dicom_peer.peer) as association:
        association.c_echo()
    with ME.associate(dicom_peer.peer) as association:  # the next connection is another one
        assert association.c_echo() == 0


def test_what_a_script_expects_and_does_not_get_fails_the_test():
    def script(connection):
        connection.accept()
        connection.release()

    peer = ScriptedPeer().start()
    peer.play(script)
    with pytest.raises(ConnectionLost), ME.associate(peer.peer) as association:
        association.c_echo()
    with pytest.raises(AssertionError, match="PDU 4 instead of 5"):
        peer.stop()


def test_a_script_without_a_connection_fails_the_test(monkeypatch):
    monkeypatch.setattr("dimse_rs.testing.peer.PATIENCE", 0.01)
    peer = ScriptedPeer().start()
    peer.play(lambda connection: None)
    with pytest.raises(AssertionError, match="no connection came for 1 scripts"):
        peer.stop()


def test_a_message_without_end_is_not_kept(monkeypatch):
    monkeypatch.setattr("dimse_rs.testing.connection._MOST", 100_000)
    peer = ScriptedPeer().start()
    large = make_instance(Rows=1000, Columns=1000)
    with pytest.raises(ConnectionLost), ME.associate(peer.peer, contexts=CTImageStorage) as it:
        it.c_store(large)
    with pytest.raises(AssertionError, match="without end"):
        peer.stop()


def test_what_is_wrong_is_refused(dicom_peer):
    with pytest.raises(ValueError, match="counted from 1"):
        dicom_peer.abort(at=0)
    with pytest.raises(ValueError, match="no such service: 'STORE', but C-STORE"):
        dicom_peer.answer_with(0, service="STORE")
    with pytest.raises(ValueError, match="two answers at least"):
        dicom_peer.answer_out_of_order(1)
    with pytest.raises(TimeoutError, match=r"0 of 1 C-ECHO came to PEER@127"):
        dicom_peer.wait_for(timeout=0.01, service="C-ECHO")


def test_nothing_is_left_behind():
    with ScriptedPeer() as peer:
        silent = socket.create_connection(("127.0.0.1", peer.port))
        with ME.associate(peer.peer) as association:
            association.c_echo()
    with silent:
        assert silent.recv(1) == b""
    assert not [thread for thread in threading.enumerate() if thread.name == "scripted-peer"]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", peer.port))
    with pytest.raises(RuntimeError, match="starts once"):
        peer.start()
