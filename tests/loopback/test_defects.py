"""Defects known of a DICOM library that polls and queues, by number: none of them is ours.

D1 to D13 were seen in, or read in the source of, pynetdicom 3.0.4. Each test is the scenario of
one, and its name says what has to hold instead.
"""

from __future__ import annotations

import os
import resource
import socket
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pydicom
import pytest

from dimse_rs import (
    AE,
    Context,
    DecodeError,
    DimseTimeout,
    Limits,
    RemoteProtocolError,
    Server,
    StatusError,
    Storage,
    StudyRoot,
    Timeouts,
    Verification,
    for_retrieve,
)
from dimse_rs.sop_class import (
    CTImageStorage,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)
from tests.support import wire
from tests.support.nodes import CT, PATIENT, SCU, at, link, scp
from tests.support.runner import Peer, Target
from tests.support.script import Aborted, Accepted, Answered, Flood
from tests.support.scripted_scp import Connection, ScriptedScp

pytestmark = pytest.mark.slow  # waits, or counts long work

SHORT = 0.4
SOON = 5.0
"""Seconds for what has to happen at once, on a busy machine."""

REQUEST = wire.associate_rq(b"SCP")
STALLED = wire.pdu(wire.DATA, bytes(3), length=4096)
CT_EXPLICIT = Context(CTImageStorage, wire.EXPLICIT.decode())
MIB = 1 << 20


def target(server: Server) -> Target:
    return Target("127.0.0.1", server.port, b"SCP", SHORT, SHORT, SHORT)


def large(size: int) -> pydicom.Dataset:
    """An instance of about so many bytes."""
    item = pydicom.dcmread(CT)
    item.PixelData = bytes(size)
    return item


# ---- D1: the rest of a PDU that never comes


def test_d01_stalled_pdu_ends_the_association():
    before = threading.active_count()
    with (
        scp(timeouts=Timeouts(progress=SHORT, artim=SHORT)) as server,
        Peer(target(server)) as peer,
    ):
        peer.step(REQUEST)
        peer.step(Accepted())
        during = threading.active_count()
        peer.step(STALLED)
        peer.step(Aborted(2, 0, within="progress"))
        assert threading.active_count() <= during  # an association costs no thread
    assert threading.active_count() <= before + 1  # the runtime's own stays


def test_d01_stalled_pdu_does_not_hang_a_call():
    def script(peer: Connection) -> None:
        peer.accept()
        peer.message()
        peer.send(STALLED)
        peer.expect_abort(2, 0)

    ae = AE("SCU", timeouts=Timeouts(progress=SHORT))
    with ScriptedScp(script) as peer:
        association = ae.associate(peer.address)
        started = time.monotonic()
        with pytest.raises(RemoteProtocolError):
            association.c_echo()
        assert time.monotonic() - started < SOON
        assert not association.is_established


# ---- D2, D3, D4: others are served


def test_d02_silent_connections_take_no_place():
    with scp(max_associations=3) as server, ExitStack() as silent:
        for _ in range(10):
            silent.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        for _ in range(3):
            association = silent.enter_context(SCU.associate(at(server)))
            assert association.c_echo() == 0


def test_d03_silent_connection_does_not_hold_up_the_next():
    """The defect was in the TLS handshake; whatever a connection waits for, others do not."""
    with scp() as server, socket.create_connection(("127.0.0.1", server.port)) as half:
        half.sendall(REQUEST[:20])
        started = time.monotonic()
        with SCU.associate(at(server)) as association:
            assert association.c_echo() == 0
        assert time.monotonic() - started < SOON


def test_d04_more_than_1024_descriptors():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096
    if limits[1] < wanted:
        pytest.skip(f"no more than {limits[1]} descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], wanted), limits[1]))
    opened = []
    try:
        opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1200)]
        assert max(opened) > 1024
        server = scp()
        server.c_store(lambda _: None)
        with link(server, [Verification, CTImageStorage]) as association:
            assert association.c_echo() == 0
            assert association.c_store(CT) == 0
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


# ---- D5, D6, D7: what timeouts are for


@pytest.mark.slow
def test_d05_slow_link_is_no_timeout():
    """The peer takes 24 MiB at 16 MB/s: longer than `store`, but it never stands still."""
    store = 1.0

    def script(peer: Connection) -> None:
        peer.accept((1, 0, [wire.EXPLICIT]))
        elements = wire.read_command(peer.expect(wire.DATA)[6:])
        last = False
        while not last:
            body = peer.expect(wire.DATA)
            last = bool(body[5] & wire.LAST)
            time.sleep(len(body) / 16e6)  # the slow link, not a wait for anything
        peer.answer(elements, 0)
        peer.release()

    ae = AE("SCU", timeouts=Timeouts(store=store))
    with ScriptedScp(script, receive_buffer=65536) as peer:
        started = time.monotonic()
        with ae.associate(peer.address, contexts=CT_EXPLICIT) as association:
            assert association.c_store(large(24 * MIB)) == 0
        assert time.monotonic() - started > store


@pytest.mark.slow
def test_d06_peer_that_stops_reading_does_not_hold_a_call():
    over = threading.Event()

    def script(peer: Connection) -> None:
        peer.accept((1, 0, [wire.EXPLICIT]))
        assert over.wait(20)  # and reads nothing

    ae = AE("SCU", timeouts=Timeouts(write=SHORT))
    with ScriptedScp(script) as peer:
        association = ae.associate(peer.address, contexts=CT_EXPLICIT)
        started = time.monotonic()
        with pytest.raises(DimseTimeout) as late:
            association.c_store(large(40 * MIB))
        assert late.value.which == "write"
        association.abort()
        assert not association.is_established
        assert time.monotonic() - started < SOON
        over.set()


@pytest.mark.slow
def test_d07_association_lives_on_after_a_long_handler():
    server = scp(timeouts=Timeouts(idle=SHORT))
    server.c_store(lambda _: time.sleep(2 * SHORT))  # the work itself
    with link(server, [Verification, CTImageStorage], AE("SCU", timeouts=PATIENT)) as association:
        assert association.c_store(CT) == 0
        assert association.c_echo() == 0


# ---- D8, D9: iterating over matches


def matching(*matches: pydicom.Dataset | bytes) -> Server:
    """Serve these matches to every query."""
    server = scp()
    server.c_find(StudyRoot)(lambda _: iter(matches))
    return server


def match(number: int) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.PatientID = str(number)
    return item


QUERY = {"PatientID": ""}


def test_d08_response_belongs_to_its_request():
    with link(matching(*map(match, range(50))), [Verification, StudyRoot]) as association:
        for found in association.c_find(QUERY, model=StudyRoot, level="STUDY"):
            assert found.PatientID == "0"
            break
        assert association.c_echo() == 0
        left = association.c_find(QUERY, model=StudyRoot, level="STUDY")
        next(left)
        del left
        again = association.c_find(QUERY, model=StudyRoot, level="STUDY")
        assert [found.PatientID for found in again] == [str(number) for number in range(50)]


def test_d09_match_that_cannot_be_read_is_told_once_and_holds_nothing():
    # (0008,1140) of undefined length, and an item that ends within a tag.
    undecodable = bytes.fromhex("08004011 5351 0000 ffffffff feff00e0 ffffffff 1000")
    with (
        matching(match(1), undecodable, match(2)) as server,
        SCU.associate(at(server), contexts=[Verification, StudyRoot]) as association,
    ):
        matches = association.c_find(QUERY, model=StudyRoot, level="STUDY")
        assert next(matches).PatientID == "1"
        with SCU.associate(at(server)) as another:  # while the query is under way
            assert another.c_echo() == 0
        with pytest.raises(DecodeError):
            next(matches)
        assert list(matches) == []
        assert association.c_echo() == 0


# ---- D10: temporary files


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have temporary files made where nobody else makes any."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


SPOOLING = Limits(spool_above=0)


def test_d10_no_file_is_left_when_a_handler_fails(temporary):
    spooled = []
    server = scp(ae=AE("SCP", timeouts=PATIENT, limits=SPOOLING))

    @server.c_store
    def store(request):
        spooled.append(request.path.is_file())
        raise ValueError("a fault of the user's")

    with link(server, CTImageStorage) as association, pytest.raises(StatusError):
        association.c_store(CT)
    assert spooled == [True]
    assert list(temporary.iterdir()) == []


def test_d10_no_file_is_left_after_a_c_get(temporary):
    spooled = []
    server = scp()
    server.c_get(StudyRoot)(lambda _: [CT])
    ae = AE("SCU", timeouts=PATIENT, limits=SPOOLING)
    with link(server, for_retrieve(StudyRoot), ae) as association:
        *_, last = association.c_get(
            {"StudyInstanceUID": "1.2"},
            model=StudyRoot,
            level="STUDY",
            into=lambda request: spooled.append(request.path.is_file()),
        )
        assert last.completed == 1
    assert spooled == [True]
    for thread in threading.enumerate():  # the one that serves the association is the last to go
        if thread.name.startswith("dimse-worker"):
            thread.join(SOON)
    assert list(temporary.iterdir()) == []


# ---- D11, D12: what is on the wire


def test_d11_roles_are_answered_beside_unrestricted_storage(tmp_path):
    told = []
    server = scp(services=[Storage(tmp_path, mode="fast", unknown=True)])
    server.n_event_report(StorageCommitmentPushModel)(lambda request: told.append(request))
    private = "1.2.826.0.1.3680043.8.498.1.99"
    provider = Context(StorageCommitmentPushModel, scu=False, scp=True)
    with link(server, [private, provider]) as association:
        roles = {context.sop_class: (context.scu, context.scp) for context in association.accepted}
        assert roles == {private: (True, False), StorageCommitmentPushModel: (False, True)}
        association.n_event_report(
            1,
            {"TransactionUID": "1.2.3"},
            sop_class=StorageCommitmentPushModel,
            instance_uid=StorageCommitmentPushModelInstance,
        )
    assert len(told) == 1


def test_d12_originator_of_a_move_is_who_asked_for_it():
    seen = []
    receiver = scp(ae=AE("RECEIVER", timeouts=PATIENT))

    @receiver.c_store
    def store(request):
        command = request.command
        originator = command["MoveOriginatorApplicationEntityTitle"]
        seen.append((originator, command["MoveOriginatorMessageID"], request.peer.ae_title))

    asked = []
    with receiver:
        server = scp(destinations={"RECEIVER": f"127.0.0.1:{receiver.port}"})

        @server.c_move(StudyRoot)
        def move(request):
            asked.append(request.message_id)
            return [CT]

        with link(server, StudyRoot) as association:
            identifier = {"StudyInstanceUID": "1.2"}
            list(
                association.c_move(
                    identifier, model=StudyRoot, level="STUDY", destination="RECEIVER"
                )
            )
    assert seen == [("SCU", asked[0], "SCP")]


# ---- D13: lengths that a peer claims


@pytest.mark.parametrize("length", [131073, 1 << 31, (1 << 32) - 1])
def test_d13_pdu_beyond_the_maximum_is_refused_by_its_header(length):
    with scp() as server, Peer(target(server)) as peer:
        peer.step(REQUEST)
        peer.step(Accepted())
        peer.step(wire.pdu(wire.DATA, length=length))
        peer.step(Aborted(2, 6))


def test_d13_association_request_without_end_is_refused():
    with scp() as server, Peer(target(server)) as peer:
        peer.step(wire.pdu(wire.RQ, length=(1 << 32) - 1))
        peer.step(Aborted(0, 0))
    with scp() as server, Peer(target(server)) as peer:
        peer.step(wire.pdu(wire.RQ, length=2 * MIB))
        peer.step(Aborted(0, 0))


def test_d13_message_without_end_is_refused():
    limits = Limits(identifier=65536)
    request = wire.associate_rq(
        b"SCP",
        wire.item(0x10, wire.APPLICATION_CONTEXT),
        wire.context(1),
        wire.context(3, wire.STUDY_ROOT_FIND),
        wire.user_information(),
    )
    server = scp(ae=AE("SCP", timeouts=PATIENT, limits=limits))
    server.c_find(StudyRoot)(lambda _: None)
    with server, Peer(target(server)) as peer:
        peer.step(request)
        peer.step(Accepted(((1, 0), (3, 0))))
        peer.step(wire.as_commands(3, wire.find_rq(7)))
        endless = Flood(wire.as_data(3, bytes(16000), last=False), 64 * MIB)
        peer.step(endless)
        peer.step(Answered(0xA700, 7, wire.C_FIND_RQ, 3))
        peer.step(endless)
        peer.step(Aborted(0, 0))
