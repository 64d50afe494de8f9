"""`_core.Connection`: both ends of an association in one thread, without a socket."""

from __future__ import annotations

import pytest

from dimse_rs import LocalProtocolError, Verification, _core
from dimse_rs.sop_class import CTImageStorage, ImplicitVRLittleEndian

ECHO = {"CommandField": 0x0030, "AffectedSOPClassUID": Verification, "MessageID": 7}


class Pair:
    """A requestor and an acceptor, and the wire between them, cut into pieces of any size."""

    def __init__(self, piece=1 << 20, contexts=(Verification,)):
        self.piece = piece
        self.requestor = _core.Connection.requestor(
            calling="SCU",
            called="SCP",
            contexts=[_core.ProposedContext(uid, [ImplicitVRLittleEndian]) for uid in contexts],
        )
        self.acceptor = _core.Connection.acceptor(contexts=[(Verification, [])])
        self.timers = {self.requestor: False, self.acceptor: False}
        self.open = {self.requestor: False, self.acceptor: False}
        self.told = []

    def settle(self):
        """Carry outputs out until there are none; give what was told, in order."""
        self.told = []
        busy = True
        while busy:
            busy = False
            for end, other in (
                (self.requestor, self.acceptor),
                (self.acceptor, self.requestor),
            ):
                for what, value in end.outputs():
                    busy = True
                    self.carry_out(end, other, what, value)
        return self.told

    def carry_out(self, end, other, what, value):
        if what == "connect":
            self.open = dict.fromkeys(self.open, True)
            end.transport_connected()
            other.transport_connected()
        elif what == "transmit":
            if self.open[other]:
                for at in range(0, len(value), self.piece):
                    other.receive(value[at : at + self.piece])
        elif what == "close":
            if self.open[end]:
                self.open[end] = False
                other.transport_closed()
                self.open[other] = False
        elif what == "indicate":
            self.told.append((end, *value))
        else:
            self.timers[end] = what == "start-artim"

    def associate(self):
        self.requestor.associate()
        assert [name for _, name, _ in self.settle()] == ["associate-requested"]
        self.acceptor.answer()
        [(end, name, facts)] = self.settle()
        assert (end, name) == (self.requestor, "associate-accepted")
        return facts


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_associate_echo_release(piece):
    pair = Pair(piece)
    facts = pair.associate()
    (context,) = facts["contexts"]
    assert (context.id, context.sop_class, context.result) == (1, Verification, 0)
    assert (context.transfer_syntax, context.scu, context.scp) == (
        ImplicitVRLittleEndian,
        True,
        False,
    )
    assert facts["max_length"] == 131072
    assert (pair.requestor.state, pair.acceptor.state) == ("Sta6", "Sta6")

    pair.requestor.send(_core.Message(1, ECHO))
    [(end, name, facts)] = pair.settle()
    assert (end, name) == (pair.acceptor, "command")
    request = facts["message"]
    assert (request.name, request.message_id, request.sop_class) == (
        "C-ECHO-RQ",
        7,
        Verification,
    )

    answer = {
        "CommandField": 0x8030,
        "AffectedSOPClassUID": Verification,
        "MessageIDBeingRespondedTo": 7,
        "Status": 0,
    }
    pair.acceptor.send(_core.Message(1, answer))
    [(end, name, facts)] = pair.settle()
    assert (end, name, facts["message"].status) == (pair.requestor, "command", 0)

    pair.requestor.release()
    [(end, name, _)] = pair.settle()
    assert (end, name) == (pair.acceptor, "release-requested")
    pair.acceptor.release_response()
    [(end, name, _)] = pair.settle()
    assert (end, name) == (pair.requestor, "release-confirmed")
    assert (pair.requestor.state, pair.acceptor.state) == ("Sta1", "Sta1")
    assert not any(pair.timers.values())


def test_a_data_set_comes_in_fragments():
    pair = Pair(contexts=[Verification])
    pair.associate()
    data = bytes(range(256)) * 1024
    message = {
        "CommandField": 0x0001,
        "AffectedSOPClassUID": CTImageStorage,
        "AffectedSOPInstanceUID": "1.2.3",
        "MessageID": 1,
        "Priority": 0,
    }
    pair.requestor.send(_core.Message(1, message, data))
    (_, first, facts), *fragments = pair.settle()
    assert first == "command"
    assert facts["message"].get("Priority") == 0
    assert all(name == "data" for _, name, _ in fragments)
    assert b"".join(facts["fragment"] for _, _, facts in fragments) == data
    assert [facts["last"] for _, _, facts in fragments] == [False] * (len(fragments) - 1) + [True]
    assert len(fragments) > 1


def test_reject():
    pair = Pair()
    pair.requestor.associate()
    pair.settle()
    pair.acceptor.reject(1, 1, 7)
    [(end, name, facts)] = pair.settle()
    assert (end, name) == (pair.requestor, "associate-rejected")
    assert (facts["result"], facts["source"], facts["reason"]) == (1, 1, 7)


def test_abort():
    pair = Pair()
    pair.associate()
    pair.acceptor.abort()
    [(end, name, facts)] = pair.settle()
    assert (end, name, facts) == (pair.requestor, "aborted", {"source": 0, "reason": 0})


def test_release_collision():
    pair = Pair()
    pair.associate()
    pair.requestor.release()
    pair.acceptor.release()
    told = {(end, name) for end, name, _ in pair.settle()}
    assert told == {(pair.requestor, "release-requested"), (pair.acceptor, "release-requested")}
    pair.requestor.release_response()
    assert [name for _, name, _ in pair.settle()] == ["release-confirmed"]
    pair.acceptor.release_response()
    assert [name for _, name, _ in pair.settle()] == ["release-confirmed"]
    assert pair.requestor.state == "Sta1"


def test_garbage_is_a_violation_answered_with_an_abort():
    pair = Pair()
    pair.associate()
    pair.acceptor.receive(b"\x99\x00\x00\x00\x00\x04abcd")
    told = pair.settle()
    violation = next(facts for _, name, facts in told if name == "violation")
    assert "PS3.8" in str(violation["error"])
    assert (pair.requestor, "p-aborted") in [(end, name) for end, name, _ in told]


def test_what_the_state_does_not_allow_is_the_callers_mistake():
    pair = Pair()
    for forbidden in (
        pair.requestor.release,
        pair.acceptor.answer,
        pair.acceptor.release_response,
        lambda: pair.requestor.send(_core.Message(1, ECHO)),
        pair.acceptor.associate,
    ):
        with pytest.raises(LocalProtocolError):
            forbidden()
    assert (pair.requestor.state, pair.acceptor.state) == ("Sta1", "Sta1")


def test_messages_by_keyword():
    message = _core.Message(3, ECHO)
    assert message.context_id == 3
    assert message.command["CommandField"] == 0x0030
    assert message.get("Status") is None
    assert message.encode_command()[:12] == bytes.fromhex("00000000 04000000 38000000")
    with pytest.raises(KeyError, match="PatientName"):
        _core.Message(1, {"PatientName": "x"})
    with pytest.raises(KeyError):
        message.get("PatientName")
    with pytest.raises(LocalProtocolError):
        _core.Message(1, {"AffectedSOPClassUID": "not a UID"})
