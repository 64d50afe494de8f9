"""A command set is read for what it says: a status is not lost for what nobody needs."""

from __future__ import annotations

import logging
import socket
import struct

import pytest

from dimse_rs import SecondaryCaptureImageStorage, StatusError, StudyRoot, Verification
from dimse_rs.contexts import Context
from tests.support import wire
from tests.support.nodes import SCU, scp
from tests.support.scripted_scp import ScriptedScp

FOREIGN = struct.pack("<HHI", 0x0008, 0x0058, 8) + b"1.2.3.4\0"
ODD = {
    "another group": FOREIGN,
    "unknown": wire.element(0x7777, b"what"),
    "retired twice": wire.element(0x0850, b"\1\0") * 2,
    "comment twice": wire.element(0x0902, b"no") + wire.element(0x0902, b"yes "),
    "offending half": wire.element(0x0901, b"\x08\0\x16"),
    "empty counter": wire.element(0x1020, b""),
    "group length again": wire.element(0x0000, bytes(4)),
}
COUNTERS = {
    "as it should be": wire.us(0x1021, 2) + wire.us(0x1022, 3),
    "two values": wire.element(0x1021, struct.pack("<HH", 2, 9))
    + wire.element(0x1022, struct.pack("<HHH", 3, 9, 9)),
}


def failing(odd, counters=b"", length=None):
    """Play an SCP whose answer to anything is a failure, with something odd in it."""

    def script(peer):
        peer.expect(wire.RQ)
        class_ = wire.SECONDARY_CAPTURE
        role = wire.item(0x54, len(class_).to_bytes(2, "big") + class_ + bytes([0, 1]))
        contexts = [(id_, 0, [wire.IMPLICIT]) for id_ in (1, 3)]
        peer.send(wire.associate_ac(contexts, user=[role]))
        asked, _ = peer.message()
        field = wire.number_of(asked, 0x0100) | wire.RESPONSE
        body = (
            wire.us(0x0100, field)
            + wire.us(0x0120, wire.number_of(asked, 0x0110))
            + wire.us(0x0800, wire.NO_DATA)
            + wire.us(0x0900, 0xC000)
            + counters
            + odd
        )
        group = wire.element(0, struct.pack("<I", len(body) if length is None else length))
        peer.send(wire.as_commands(1, group + body))
        peer.release()

    return ScriptedScp(script)


KEY = {"StudyInstanceUID": "1.2"}
CALLS = {
    "C-GET": lambda a: list(a.c_get(KEY, model=StudyRoot, level="STUDY", into=[])),
    "C-MOVE": lambda a: list(a.c_move(KEY, model=StudyRoot, level="STUDY", destination="ME")),
    "C-FIND": lambda a: list(a.c_find(KEY, model=StudyRoot, level="STUDY")),
    "C-ECHO": lambda a: a.c_echo(),
    "N-GET": lambda a: a.n_get(sop_class=Verification, instance_uid="1.2.3"),
}
CONTEXTS = {
    "C-GET": [StudyRoot.get, Context(SecondaryCaptureImageStorage, scu=False, scp=True)],
    "C-MOVE": [StudyRoot.move],
    "C-FIND": [StudyRoot.find],
    "C-ECHO": [Verification],
    "N-GET": [Verification],
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("call", CALLS)
def test_the_status_of_a_failure_is_not_lost(call, odd, caplog):
    caplog.set_level(logging.DEBUG, "dimse_rs")
    with (
        failing(ODD[odd]) as server,
        SCU.associate(server.address, contexts=CONTEXTS[call]) as association,
    ):
        with pytest.raises(StatusError) as failed:
            CALLS[call](association)
        assert failed.value.status == 0xC000
        assert association.is_established
    over = [r for r in caplog.records if getattr(r, "code", "") == "passed-over"]
    assert [(record.levelname, record.name) for record in over] == [("DEBUG", "dimse_rs.dimse")]
    assert "1.2.3.4" not in over[0].getMessage()


@pytest.mark.parametrize("counters", COUNTERS)
@pytest.mark.parametrize("length", [None, 0, 0xFFFFFFFF])
@pytest.mark.parametrize("call", ["C-GET", "C-MOVE"])
def test_of_two_values_in_a_counter_the_first_is_taken(call, counters, length):
    with (
        failing(b"", COUNTERS[counters], length) as server,
        SCU.associate(server.address, contexts=CONTEXTS[call]) as association,
    ):
        with pytest.raises(StatusError) as failed:
            CALLS[call](association)
        assert failed.value.status == 0xC000
        command = failed.value.response.command
    assert command["NumberOfCompletedSuboperations"] == 2
    assert command["NumberOfFailedSuboperations"] == 3


@pytest.mark.parametrize("odd", [*ODD, "two values"])
def test_a_request_is_served_for_what_it_says(odd, tmp_path):
    message_id = struct.pack("<HH", 7, 8) if odd == "two values" else struct.pack("<H", 7)
    body = b"".join(
        [
            wire.ui(0x0002, wire.SECONDARY_CAPTURE),
            wire.us(0x0100, wire.C_STORE_RQ),
            wire.element(0x0110, message_id),
            wire.us(0x0700, 0),
            wire.us(0x0800, 1),
            wire.ui(0x1000, b"1.2.3"),
            ODD.get(odd, b""),
        ]
    )
    rq = wire.associate_rq(
        b"SCP",
        wire.item(0x10, wire.APPLICATION_CONTEXT),
        wire.context(1, wire.SECONDARY_CAPTURE, [wire.EXPLICIT]),
        wire.user_information(),
    )
    with (
        scp(tmp_path) as server,
        socket.create_connection(("127.0.0.1", server.port), 10) as peer,
        peer.makefile("rb") as pdus,
    ):

        def message():
            kind, length = struct.unpack(">BxI", pdus.read(6))
            return kind, pdus.read(length)

        peer.sendall(rq)
        assert message()[0] == wire.AC
        data = wire.data_set(b"1.2.3")
        peer.sendall(wire.as_commands(1, wire.command(body)) + wire.as_data(1, data))
        kind, answer = message()
        assert kind == wire.DATA
        found = wire.read_command(answer[6:])
        assert (wire.number_of(found, 0x0120), wire.number_of(found, 0x0900)) == (7, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["1.2.3.dcm"]
