"""Handlers and peers that misbehave in the middle of operations (robustness D, F, H)."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress

import pytest
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    ConnectFailed,
    ConnectionLost,
    DimseTimeout,
    ModalityPerformedProcedureStep,
    RemoteProtocolError,
    StatusError,
    StudyRoot,
    Timeouts,
    Verification,
)
from tests.support import wire
from tests.support.nodes import SCU, at, link, scp
from tests.support.runner import Peer, Target
from tests.support.script import Accepted, Alive
from tests.support.scripted_scp import ScriptedScp

pytestmark = pytest.mark.slow  # waits, or whole interpreters

SOON = 10.0
HURRIED = Timeouts(connect=1, acse=1, release=1, write=0.6, dimse=0.6, idle=5, artim=1, progress=5)


def query(association):
    return association.c_find({"PatientID": ""}, model=StudyRoot, level="STUDY")


# ---- D16: a peer that asks and does not listen


def _ask_without_end(peer, what):
    if what == "find":
        identifier = b"\x10\0\x20\0" + bytes(4)
        peer.sendall(wire.as_commands(3, wire.find_rq()) + wire.as_data(3, identifier))
    until = time.monotonic() + SOON
    while time.monotonic() < until:
        peer.sendall(wire.as_commands(1, wire.echo_rq(2)) * (1 if what == "find" else 1000))
        if what == "find":
            time.sleep(0.05)  # the case is: now and then


@pytest.mark.slow
@pytest.mark.parametrize("what", ["echo", "find"])
def test_a_peer_that_does_not_read_its_answers_is_cut_off(what, caplog):
    """The write deadline ends it; what waits for it is bounded, and nobody else notices."""
    server = scp(ae=AE("SCP", timeouts=HURRIED))
    gave = []

    @server.c_find(StudyRoot)
    def find(request):
        match = Dataset()
        match.PatientComments = "x" * 10_000
        while not request.cancelled:
            gave.append(len(gave))
            yield match

    with server, socket.socket() as peer:
        # Before it connects: shrunk later, the kernel drops what it had promised to take, the
        # server's window updates with it, and then it is the peer's kernel that does not send.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(("127.0.0.1", server.port))
        peer.sendall(
            wire.associate_rq(
                b"SCP",
                wire.item(0x10, wire.APPLICATION_CONTEXT),
                wire.context(1),
                wire.context(3, wire.STUDY_ROOT_FIND),
                wire.user_information(),
            )
        )
        peer.recv(1)
        peer.settimeout(3)
        # With its window shut the kernel may miss the reset: what counts is what the server did.
        with suppress(ConnectionError, TimeoutError):
            _ask_without_end(peer, what)
        with SCU.associate(at(server)) as other:
            assert other.c_echo() == 0
    told = {getattr(record, "code", "") for record in caplog.records}
    assert "timeout-write" in told
    assert len(gave) * 10_000 < 64 << 20


# ---- D18: handlers that never come back


@pytest.mark.parametrize(
    ("service", "status"),
    [("c_find", 0xC000), ("c_get", 0xC000), ("c_move", 0xC000), ("n_set", 0x0110)],
)
def test_a_handler_that_blocks_is_answered_for_and_others_are_served(service, status, caplog):
    free = threading.Event()
    timeouts = Timeouts(handler=0.3)
    server = scp(
        ae=AE("SCP", timeouts=timeouts), destinations={"SCP": "127.0.0.1:1"}, max_handlers=4
    )
    model = ModalityPerformedProcedureStep if service == "n_set" else StudyRoot
    getattr(server, service)(model)(lambda request: free.wait(SOON) and None)
    contexts = [*StudyRoot, Verification]
    if service == "n_set":
        contexts = [ModalityPerformedProcedureStep, Verification]
    calls = {
        "c_find": lambda a: list(query(a)),
        "c_get": lambda a: list(a.c_get({"PatientID": "1"}, model=StudyRoot)),
        "c_move": lambda a: list(a.c_move({"PatientID": "1"}, model=StudyRoot, destination="SCP")),
        "n_set": lambda a: a.n_set({"PatientID": "1"}, sop_class=model, instance_uid="1.2"),
    }
    with link(server, contexts) as association:
        started = time.monotonic()
        with pytest.raises(StatusError) as caught:
            calls[service](association)
        assert 0.2 < time.monotonic() - started < SOON
        assert caught.value.status == status
        assert caught.value.comment == "handler timed out"
        with SCU.associate(at(server)) as other:
            assert other.c_echo() == 0
        assert association.c_echo() == 0
        free.set()


def test_a_generator_that_blocks_in_the_middle_ends_the_query(caplog):
    free = threading.Event()
    server = scp(ae=AE("SCP", timeouts=Timeouts(handler=0.3)))

    @server.c_find(StudyRoot)
    def find(request):
        match = Dataset()
        match.PatientID = "1"
        yield match
        free.wait(SOON)
        yield match

    with link(server, [StudyRoot, Verification]) as association:
        results = query(association)
        assert next(results).PatientID == "1"
        with pytest.raises(StatusError) as caught:
            next(results)
        assert caught.value.comment == "handler timed out"
        free.set()
        assert association.c_echo() == 0


# ---- D19: Message IDs


@pytest.mark.slow
def test_more_messages_than_there_are_ids():
    with link(scp()) as association:
        assert association.c_echo(repeat=66_000) == 0
        assert association.next_message_id() < 1000
        assert association.c_echo() == 0


# ---- F11, H: the other end goes in the middle


def test_a_requestor_that_is_gone_ends_its_query():
    left = threading.Event()
    server = scp()

    @server.c_find(StudyRoot)
    def find(request):
        try:
            match = Dataset()
            match.PatientID = "1"
            while True:
                yield match
        finally:
            left.set()

    with server:
        association = SCU.associate(at(server), contexts=StudyRoot)
        next(query(association))
        association.abort()
        assert left.wait(SOON)


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("call", ["c_find", "c_move", "n_get"])
def test_a_peer_that_is_gone_ends_the_call(call, reset):
    def script(peer):
        peer.accept((1, 0, [wire.IMPLICIT]))
        peer.message()
        peer.close(reset=reset)

    calls = {
        "c_find": (StudyRoot.find, lambda a: list(query(a))),
        "c_move": (
            StudyRoot.move,
            lambda a: list(a.c_move({"PatientID": "1"}, model=StudyRoot, destination="X")),
        ),
        "n_get": (
            ModalityPerformedProcedureStep,
            lambda a: a.n_get(sop_class=ModalityPerformedProcedureStep, instance_uid="1.2"),
        ),
    }
    sop_class, ask = calls[call]
    with ScriptedScp(script) as peer:
        association = SCU.associate(peer.address, contexts=sop_class)
        with pytest.raises(ConnectionLost):
            ask(association)


@pytest.mark.parametrize(
    "answer",
    [
        lambda id_: wire.response(wire.C_FIND_RQ, id_ + 1, 0),
        lambda id_: wire.response(wire.C_ECHO_RQ, id_, 0),
        lambda id_: wire.response(wire.C_FIND_RQ, id_, None),
    ],
    ids=["another message", "another service", "no status"],
)
def test_a_response_that_is_none_is_a_fault(answer):
    """H04."""

    def script(peer):
        peer.accept((1, 0, [wire.IMPLICIT]))
        elements, _ = peer.message()
        peer.send(wire.as_commands(1, answer(wire.number_of(elements, 0x0110))))
        peer.expect_abort(0, 0)

    with ScriptedScp(script) as peer:
        association = SCU.associate(peer.address, contexts=StudyRoot.find)
        with pytest.raises(RemoteProtocolError):
            list(query(association))


def test_matches_that_never_end():
    """H05: a match of which the last fragment does not come."""

    def script(peer):
        peer.accept((1, 0, [wire.IMPLICIT]))
        elements, _ = peer.message()
        command = wire.command(
            wire.us(0x0100, 0x8020),
            wire.us(0x0120, wire.number_of(elements, 0x0110)),
            wire.us(0x0800, 1),
            wire.us(0x0900, 0xFF00),
        )
        peer.send(wire.as_commands(1, command))
        chunk = wire.pdu(wire.DATA, wire.pdv(1, 0, bytes(100_000)))
        try:
            for _ in range(4096):
                peer.send(chunk)
        except OSError:
            return
        raise AssertionError("400 MB were taken")

    with ScriptedScp(script) as peer:
        association = SCU.associate(peer.address, contexts=StudyRoot.find)
        with pytest.raises(RemoteProtocolError, match="bytes"):
            list(query(association))


# ---- H10: no connection, or one that is of no use


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ConnectFailed):
        AE(timeouts=HURRIED).associate(f"SCP@127.0.0.1:{port}")


def test_no_such_host():
    with pytest.raises(ConnectFailed):
        AE(timeouts=HURRIED).associate("SCP@no-such-host.invalid:104")


@pytest.mark.slow
def test_a_connection_that_does_not_open_ends_at_connect():
    """A listener whose queue is full: packets to it are not answered."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = []
        try:
            for _ in range(4):
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
                waiting.append(one)
            started = time.monotonic()
            with pytest.raises(DimseTimeout) as caught:
                AE(timeouts=HURRIED).associate(f"SCP@127.0.0.1:{port}")
            assert caught.value.which == "connect"
            assert 0.9 < time.monotonic() - started < SOON
        finally:
            for one in waiting:
                one.close()


def test_a_connection_that_resets_at_once():
    def script(peer):
        peer.close(reset=True)

    with ScriptedScp(script) as peer, pytest.raises((ConnectionLost, ConnectFailed)):
        AE(timeouts=HURRIED).associate(peer.address)


def test_an_operation_is_asked_for_once():
    """H10: whatever becomes of it, what was asked is not asked again."""
    asked = []

    def script(peer):
        peer.accept((1, 0, [wire.IMPLICIT]))
        elements, _ = peer.message()
        asked.append(wire.number_of(elements, 0x0100))
        peer.close(reset=True)

    with ScriptedScp(script) as peer:
        association = SCU.associate(peer.address, contexts=ModalityPerformedProcedureStep)
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                association.n_create(sop_class=ModalityPerformedProcedureStep)
    assert asked == [0x0140]


# ---- and the next association works


def test_after_all_that_a_peer_is_served():
    with scp() as server:
        target = Target("127.0.0.1", server.port, b"SCP", 1, 1, 1)
        with socket.create_connection(("127.0.0.1", server.port)) as peer:
            peer.sendall(wire.associate_rq(b"SCP"))
            peer.recv(1)
            peer.sendall(wire.as_commands(1, wire.echo_rq()))
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with Peer(target) as well_behaved:
            well_behaved.step(wire.associate_rq(b"SCP"))
            well_behaved.step(Accepted())
            well_behaved.step(Alive())
