"""What our SCU makes of bad SCPs: a typed error in time, the right last word, one result a file."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dimse_rs import AE, Timeouts
from dimse_rs.errors import (
    AssociationAborted,
    AssociationRejected,
    ConnectionLost,
    DecodeError,
    DimseError,
    DimseTimeout,
    NoPresentationContext,
    RemoteProtocolError,
    StatusError,
)
from dimse_rs.sop_class import SecondaryCaptureImageStorage, Verification
from tests.support import wire
from tests.support.instances import data_set, part10
from tests.support.scripted_scp import Connection, ScriptedScp

pytestmark = pytest.mark.timeout(30)

SOON = 3.0
TIMEOUTS = Timeouts(acse=0.5, dimse=0.5, store=0.5, write=0.7, release=0.5, artim=0.6)
ECHO = wire.as_commands(1, wire.echo_rq())


@pytest.fixture
def ae() -> AE:
    return AE("SCU", timeouts=TIMEOUTS)


def written(folder: Path, uid: str, size: int = 1000) -> Path:
    """Write a file with that many bytes of pixels, in Explicit VR Little Endian."""
    path = folder / f"{uid}.dcm"
    path.write_bytes(part10(data_set(uid, bytes(size)), uid))
    return path


# ---- H01, H02: what is accepted


def test_context_that_was_not_proposed_is_ignored(ae):
    def script(peer: Connection) -> None:
        peer.accept((1, 0, [wire.IMPLICIT]), (99, 0, [wire.IMPLICIT]), (2, 0, [wire.IMPLICIT]))
        elements, _ = peer.message()
        peer.answer(elements, 0)
        peer.release()

    with ScriptedScp(script) as scp, ae.associate(scp.address) as association:
        assert [context.id for context in association.accepted] == [1]
        assert association.c_echo() == 0


@pytest.mark.parametrize(
    "answers",
    [
        [(1, 0, [wire.JPEG])],
        [(1, 0, [wire.IMPLICIT, wire.EXPLICIT])],
        [(1, 0, [])],
        [(1, 0, [wire.IMPLICIT]), (1, 3, [wire.IMPLICIT])],
    ],
    ids=["not offered", "two", "none", "twice"],
)
def test_acceptance_that_cannot_be_used_is_a_fault_when_nothing_else_is_left(ae, answers):
    def script(peer: Connection) -> None:
        peer.accept(*answers)
        peer.expect_abort(2, 6)

    with ScriptedScp(script) as scp, pytest.raises(RemoteProtocolError):
        ae.associate(scp.address)


def test_acceptance_that_cannot_be_used_leaves_the_others(ae):
    def script(peer: Connection) -> None:
        peer.accept((1, 0, [wire.JPEG]), (3, 0, [wire.EXPLICIT]))
        peer.release()

    contexts = [Verification, SecondaryCaptureImageStorage]
    with ScriptedScp(script) as scp, ae.associate(scp.address, contexts=contexts) as association:
        assert [context.id for context in association.accepted] == [3]
        assert [context.id for context in association.rejected] == [1]
        with pytest.raises(NoPresentationContext):
            association.c_echo()


def test_nothing_accepted_is_an_error_of_the_call(ae):
    def script(peer: Connection) -> None:
        peer.accept((1, 3, [wire.IMPLICIT]))
        peer.release()

    with ScriptedScp(script) as scp, ae.associate(scp.address) as association:
        with pytest.raises(NoPresentationContext):
            association.c_echo()
        assert association.is_established


# ---- H03: what comes in place of an answer


def test_rejection_with_reserved_codes_keeps_them(ae):
    def script(peer: Connection) -> None:
        peer.expect(wire.RQ)
        peer.send(wire.pdu(wire.RJ, bytes([0, 7, 9, 200])))
        peer.expect_end()

    with ScriptedScp(script) as scp, pytest.raises(AssociationRejected) as caught:
        ae.associate(scp.address)
    error = caught.value
    assert (error.result, error.source, error.reason) == (7, 9, 200)


@pytest.mark.parametrize(("source", "reason"), [(0, 0), (2, 1), (1, 9), (200, 255)])
def test_abort_in_place_of_an_answer(ae, source, reason):
    def script(peer: Connection) -> None:
        peer.expect(wire.RQ)
        peer.send(wire.abort(source, reason))
        peer.expect_end()

    with ScriptedScp(script) as scp, pytest.raises(AssociationAborted) as caught:
        ae.associate(scp.address)
    assert not caught.value.local


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", 1),
        (wire.pdu(wire.AC, bytes(10)), 6),
        (wire.pdu(wire.AC, length=0xFFFFFFFF), 6),
        (ECHO, 2),
        (wire.pdu(wire.RELEASE_RQ, bytes(4)), 2),
        (wire.associate_rq(b"SCU"), 2),
        (wire.associate_ac(max_length=7), 6),
        (wire.associate_ac(max_length=1), 6),
        (wire.associate_ac(application=b"1.2.3"), None),
    ],
    ids=["HTTP", "short", "4 GiB", "data", "release", "request", "max 7", "max 1", "application"],
)
def test_nonsense_in_place_of_an_answer(ae, answer, reason):
    def script(peer: Connection) -> None:
        peer.expect(wire.RQ)
        peer.send(answer)
        if reason is None:
            assert peer.pdu()[0] == wire.ABORT
        else:
            peer.expect_abort(2, reason)

    with ScriptedScp(script) as scp, pytest.raises(RemoteProtocolError):
        ae.associate(scp.address)


@pytest.mark.slow
def test_silence_in_place_of_an_answer(ae):
    def script(peer: Connection) -> None:
        peer.expect(wire.RQ)
        peer.expect_abort(0, 0)
        peer.expect_end()  # at ARTIM: this peer does not close

    started = time.monotonic()
    with ScriptedScp(script) as scp:
        with pytest.raises(DimseTimeout) as caught:
            ae.associate(scp.address)
        waited = time.monotonic() - started
    assert caught.value.which == "acse"
    assert TIMEOUTS.acse <= waited < TIMEOUTS.acse + TIMEOUTS.artim


@pytest.mark.parametrize("reset", [False, True])
def test_close_in_place_of_an_answer(ae, reset):
    def script(peer: Connection) -> None:
        peer.expect(wire.RQ)
        peer.close(reset=reset)

    with ScriptedScp(script) as scp, pytest.raises(ConnectionLost):
        ae.associate(scp.address)


# ---- H04, H08: what is wrong with a response


def _echo_answered(ae: AE, answer: Callable[[Connection, int], None], check) -> None:
    def script(peer: Connection) -> None:
        peer.accept()
        elements, _ = peer.message()
        message_id = wire.number_of(elements, 0x0110)
        assert message_id is not None
        answer(peer, message_id)

    with ScriptedScp(script) as scp, ae.associate(scp.address) as association:
        check(association)


@pytest.mark.parametrize(
    "response",
    [
        lambda id_: wire.response(wire.C_ECHO_RQ, id_ + 1, 0),
        lambda id_: wire.response(wire.C_STORE_RQ, id_, 0),
        lambda id_: wire.response(wire.C_ECHO_RQ, id_, None),
        lambda _: b"\xff" * 30,
    ],
    ids=["another message", "another service", "no status", "nonsense"],
)
def test_response_that_is_none_is_a_fault(ae, response):
    def answer(peer: Connection, id_: int) -> None:
        peer.send(wire.as_commands(1, response(id_)))
        peer.expect_abort(0, 0)

    def check(association) -> None:
        with pytest.raises(RemoteProtocolError):
            association.c_echo()
        assert not association.is_established

    _echo_answered(ae, answer, check)


@pytest.mark.parametrize("status", [0xD000, 0x0122, 0x1234, 0xFFFF])
def test_status_outside_the_table_is_a_failure(ae, status):
    def answer(peer: Connection, id_: int) -> None:
        peer.send(wire.as_commands(1, wire.response(wire.C_ECHO_RQ, id_, status)))
        peer.release()

    def check(association) -> None:
        with pytest.raises(StatusError) as caught:
            association.c_echo()
        assert caught.value.status == status

    _echo_answered(ae, answer, check)


def test_data_without_a_fragment_is_a_fault(ae):
    def answer(peer: Connection, _: int) -> None:
        peer.send(wire.pdu(wire.DATA))
        peer.expect_abort(2, 6)

    def check(association) -> None:
        with pytest.raises(RemoteProtocolError):
            association.c_echo()

    _echo_answered(ae, answer, check)


def test_response_in_single_bytes(ae):
    def answer(peer: Connection, id_: int) -> None:
        response = wire.response(wire.C_ECHO_RQ, id_, 0)
        ends = [wire.COMMAND] * (len(response) - 1) + [wire.COMMAND | wire.LAST]
        for end, byte in zip(ends, response, strict=True):
            peer.send(wire.pdu(wire.DATA, wire.pdv(1, end, bytes([byte]))))
        peer.release()

    _echo_answered(ae, answer, lambda association: association.c_echo())


def test_close_in_place_of_a_response(ae):
    def check(association) -> None:
        with pytest.raises(ConnectionLost):
            association.c_echo()

    _echo_answered(ae, lambda peer, _: peer.close(), check)


@pytest.mark.slow
def test_no_response_is_named_and_not_kept_waiting_for_the_close(ae):
    def answer(peer: Connection, _: int) -> None:
        peer.expect_abort(0, 0)
        peer.expect_end()

    def check(association) -> None:
        started = time.monotonic()
        with pytest.raises(DimseTimeout) as caught:
            association.c_echo()
        assert caught.value.which == "dimse"
        assert time.monotonic() - started < TIMEOUTS.dimse + TIMEOUTS.artim

    _echo_answered(ae, answer, check)


# ---- G: release and abort


def test_release_collision(ae):
    def script(peer: Connection) -> None:
        peer.accept()
        peer.expect(wire.RELEASE_RQ)
        peer.send(wire.pdu(wire.RELEASE_RQ, bytes(4)))
        peer.expect(wire.RELEASE_RP)
        peer.send(wire.pdu(wire.RELEASE_RP, bytes(4)))
        peer.expect_end()

    with ScriptedScp(script) as scp:
        ae.associate(scp.address).release()


@pytest.mark.slow
def test_release_without_answer(ae):
    def script(peer: Connection) -> None:
        peer.accept()
        peer.expect(wire.RELEASE_RQ)
        peer.expect_abort(0, 0)
        peer.expect_end()

    with ScriptedScp(script) as scp:
        association = ae.associate(scp.address)
        with pytest.raises(DimseTimeout) as caught:
            association.release()
    assert caught.value.which == "release"


@pytest.mark.slow
def test_abort_that_the_peer_does_not_follow(ae):
    def script(peer: Connection) -> None:
        peer.accept()
        peer.expect_abort(0, 0)
        peer.expect_end()

    with ScriptedScp(script) as scp:
        started = time.monotonic()
        ae.associate(scp.address).abort()
        assert time.monotonic() - started < SOON


@pytest.mark.slow
def test_abort_while_the_peer_does_not_read(ae, tmp_path):
    stop = threading.Event()

    def script(peer: Connection) -> None:
        peer.accept((1, 0, [wire.EXPLICIT]))
        peer.expect(wire.DATA)
        stop.wait(SOON)

    path = written(tmp_path, "1.2.1", 32 << 20)
    patient = AE("SCU", timeouts=Timeouts(write=60, store=60, artim=0.6))
    failures: list[DimseError] = []

    with ScriptedScp(script) as scp:
        association = patient.associate(scp.address, contexts=[SecondaryCaptureImageStorage])

        def store() -> None:
            try:
                association.c_store(path)
            except DimseError as error:
                failures.append(error)

        storing = threading.Thread(target=store)
        storing.start()
        time.sleep(0.3)  # the case is: after a while of writing
        started = time.monotonic()
        association.abort()
        storing.join(SOON)
        assert time.monotonic() - started < SOON
        stop.set()
    assert [type(error) for error in failures] == [AssociationAborted]
    assert failures[0].local


# ---- H07, H09: stores


def _receive(peer: Connection, *statuses: int) -> None:
    for status in statuses:
        elements, _ = peer.message()
        peer.answer(elements, status, context=1)


@pytest.mark.slow
def test_peer_that_does_not_read_ends_at_the_write_deadline(ae, tmp_path):
    over = threading.Event()

    def script(peer: Connection) -> None:
        peer.accept((1, 0, [wire.EXPLICIT]))
        over.wait(SOON * 2)

    files = [written(tmp_path, f"1.2.{n}", size) for n, size in enumerate([32 << 20, 10])]
    with ScriptedScp(script) as scp:
        report = ae.send(scp.address, files, contexts=[SecondaryCaptureImageStorage])
        over.set()
    assert len(report.results) == 2
    assert isinstance(report.results[0].error, DimseTimeout)
    assert report.results[0].error.which == "write"
    assert [result.category for result in report.results] == ["failed", "not-sent"]


@pytest.mark.parametrize("reset", [False, True])
def test_peer_that_closes_in_the_middle_of_a_store(ae, tmp_path, reset):
    def script(peer: Connection) -> None:
        peer.accept((1, 0, [wire.EXPLICIT]))
        _receive(peer, 0)
        peer.read(100_000)
        peer.close(reset=reset)

    sizes = [10, 8 << 20, 10, 10]
    files = [written(tmp_path, f"1.2.{n}", size) for n, size in enumerate(sizes)]
    with ScriptedScp(script) as scp:
        contexts = [SecondaryCaptureImageStorage]
        report = ae.send(scp.address, files, contexts=contexts, reassociate=0)
    found = [result.category for result in report.results]
    assert found == ["ok", "failed", "not-sent", "not-sent"]
    assert all(isinstance(result.error, ConnectionLost) for result in report.failures)


@pytest.mark.slow
def test_early_failure_ends_the_message_and_not_the_association(ae, tmp_path):
    size = 64 << 20
    received: list[int] = []

    def script(peer: Connection) -> None:
        peer.accept((1, 0, [wire.EXPLICIT]))
        body = peer.expect(wire.DATA)
        elements = wire.read_command(body[6:])
        for _ in range(4):
            peer.expect(wire.DATA)
        peer.answer(elements, 0xA700)
        while True:
            body = peer.expect(wire.DATA)
            received.append(len(body) - 6)
            assert not body[5] & wire.COMMAND
            if body[5] & wire.LAST:
                break
        _receive(peer, 0)
        peer.release()

    files = [written(tmp_path, "1.2.1", size), written(tmp_path, "1.2.2")]
    with ScriptedScp(script) as scp:
        report = ae.send(scp.address, files, contexts=[SecondaryCaptureImageStorage])
    assert [result.status for result in report.results] == [0xA700, 0]
    assert sum(received) < size / 2, "the rest was not sent"


def test_file_that_shrinks_while_it_is_sent(ae, tmp_path):
    path = written(tmp_path, "1.2.1", 64 << 20)
    shrunk = threading.Event()

    def script(peer: Connection) -> None:
        peer.accept((1, 0, [wire.EXPLICIT]))
        peer.expect(wire.DATA)
        with path.open("r+b") as file:
            file.truncate(10_000)
        shrunk.set()
        peer.expect_abort(0, 0)

    files = [path, written(tmp_path, "1.2.2")]
    with ScriptedScp(script) as scp:
        report = ae.send(scp.address, files, contexts=[SecondaryCaptureImageStorage])
    assert shrunk.is_set()
    assert isinstance(report.results[0].error, DecodeError)
    assert "1.2.1.dcm" in str(report.results[0].error)
    assert [result.category for result in report.results] == ["failed", "not-sent"]


def test_association_that_broke_is_not_used_again(ae, tmp_path):
    def script(peer: Connection) -> None:
        peer.accept((1, 0, [wire.EXPLICIT]))
        peer.read(100_000)
        peer.close(reset=True)

    path = written(tmp_path, "1.2.1", 8 << 20)
    with (
        ScriptedScp(script) as scp,
        ae.associate(scp.address, contexts=[SecondaryCaptureImageStorage]) as association,
    ):
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                association.c_store(path)
