"""PDUs that peers sent, whole and with faults, as we read them and as pynetdicom does."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings, strategies as st
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ, P_DATA_TF

from dimse_rs import _core
from tests.differential.triage import READ, Triage
from tests.support import corpus

RECORDED = corpus.read(corpus.CORPUS / "pdu_decode.tar")
VERIFICATION, IMPLICIT = "1.2.840.10008.1.1", "1.2.840.10008.1.2"


def recorded(kind: int) -> list[bytes]:
    """Return the PDUs of a type that were recorded of peers, in a stable order."""
    found = {data for name, data in RECORDED.items() if name.startswith("seed-")}
    chosen = sorted(pdu for pdu in found if pdu[0] == kind and len(pdu) < 1024)
    assert len(chosen) >= 3
    return chosen


@st.composite
def faulty(draw: st.DrawFn, kind: int) -> bytes:
    """Change a few bytes or the end of a recorded PDU; the length in its header stays true."""
    pdu = bytearray(draw(st.sampled_from(recorded(kind))))
    places = st.integers(6, len(pdu) - 1)
    for at, value in draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=3)):
        pdu[at] = value
    if draw(st.booleans()):
        del pdu[draw(places) :]
    struct.pack_into(">I", pdu, 2, len(pdu) - 6)
    return bytes(pdu)


SEARCH = settings(derandomize=True, deadline=None, max_examples=100, database=None)


class Ours:
    """One end of ours, and what it was told."""

    def __init__(self, core: _core.Connection) -> None:
        self.core = core
        self.sent: list[bytes] = []
        self.told: list[tuple[str, dict]] = []
        self.settle()

    def settle(self) -> None:
        for what, value in self.core.outputs():
            if what == "transmit":
                self.sent.append(bytes(value))
            elif what == "indicate":
                self.told.append(value)

    def receive(self, pdu: bytes) -> str:
        """Return "read", or what is wrong with it."""
        self.core.receive(pdu)
        self.settle()
        for name, facts in self.told:
            if name == "violation":
                return str(facts["error"])
        return READ

    def facts(self, name: str) -> dict:
        return next(facts for told, facts in self.told if told == name)


def acceptor(classes: list[str]) -> Ours:
    ours = Ours(_core.Connection.acceptor(contexts=[(uid, []) for uid in classes]))
    ours.core.transport_connected()
    ours.settle()
    return ours


def theirs(pdu: bytes, kind: type) -> tuple[str, object]:
    """Return "read", or what was raised, and the decoded PDU."""
    decoded = kind()
    try:
        decoded.decode(pdu)
        if kind is P_DATA_TF:
            fields = [value.data for value in decoded.presentation_data_value_items]
        else:
            items = [decoded.application_context_name, decoded.user_information.maximum_length]
            fields = [*items, *(one.context_id for one in decoded.presentation_context)]
    except Exception as error:  # whatever they raise is what is compared
        return type(error).__name__, None
    return READ, fields and decoded


def compare_request(pdu: bytes) -> None:
    judged, decoded = theirs(pdu, A_ASSOCIATE_RQ)
    classes = []
    if decoded is not None:
        classes = [str(one.abstract_syntax or "") for one in decoded.presentation_context]
    valid = [uid for uid in classes if all(part.isdigit() for part in uid.split("."))]
    ours = acceptor(sorted({uid for uid in valid if len(uid) <= 64}))
    verdict = ours.receive(pdu)
    Triage("associate").check(verdict, judged, pdu)
    if verdict != READ or decoded is None:
        return
    told = ours.facts("associate-requested")
    assert shows(told["called"], decoded.called_ae_title)
    assert shows(told["calling"], decoded.calling_ae_title)
    ours.core.answer()
    ours.settle()
    answer = ours.sent[-1]
    if answer[0] != 2:
        return  # rejected: what a proposal means is another question
    judged, accepted = theirs(answer, A_ASSOCIATE_AC)
    assert judged == READ
    asked = [one.context_id for one in decoded.presentation_context]
    assert [one.context_id for one in accepted.presentation_context] == asked
    for proposal, result in zip(
        decoded.presentation_context, accepted.presentation_context, strict=True
    ):
        if result.result == 0:
            assert result.transfer_syntax in proposal.transfer_syntax


def shows(ours: str, title: str) -> bool:
    """Tell whether we show a title as it is; one that cannot be shown is escaped in our own way."""
    return not title.isprintable() or ours.strip() == title.strip().replace("\\", "\\\\")


def compare_answer(pdu: bytes) -> None:
    judged, decoded = theirs(pdu, A_ASSOCIATE_AC)
    ours = Ours(
        _core.Connection.requestor(
            calling="US", called="PEER", contexts=[_core.ProposedContext(VERIFICATION, [IMPLICIT])]
        )
    )
    ours.core.associate()
    ours.core.transport_connected()
    ours.settle()
    verdict = ours.receive(pdu)
    Triage("associate").check(verdict, judged, pdu)
    if verdict != READ or decoded is None:
        return
    facts = ours.facts("associate-accepted")
    assert facts["max_length"] == (decoded.user_information.maximum_length or 0)
    (context,) = facts["contexts"]
    answered = [one for one in decoded.presentation_context if one.context_id == 1]
    if answered and context.accepted:
        assert answered[0].transfer_syntax == IMPLICIT


def compare_data(pdu: bytes) -> None:
    judged, decoded = theirs(pdu, P_DATA_TF)
    ours = acceptor([VERIFICATION])
    rq = _core.Connection.requestor(
        calling="US",
        called="PEER",
        contexts=[_core.ProposedContext(VERIFICATION, [IMPLICIT])] * 128,
    )
    rq.associate()
    rq.transport_connected()
    for what, value in rq.outputs():
        if what == "transmit":
            assert ours.receive(bytes(value)) == READ
    ours.core.answer()
    ours.settle()
    verdict = ours.receive(pdu)
    Triage("data").check(verdict, judged, pdu)
    if verdict != READ or decoded is None:
        return
    values = [value.data for value in decoded.presentation_data_value_items]
    data = b"".join(value[1:] for value in values if not value[0] & 1)
    assert b"".join(bytes(f["fragment"]) for name, f in ours.told if name == "data") == data


COMPARISONS = [(1, compare_request), (2, compare_answer), (4, compare_data)]


@pytest.mark.parametrize(("kind", "compare"), COMPARISONS)
def test_what_peers_sent_is_read_the_same(kind, compare):
    for pdu in recorded(kind):
        compare(pdu)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "compare"), COMPARISONS)
def test_what_is_wrong_with_it_is_wrong_for_both(kind, compare):
    @SEARCH
    @given(faulty(kind))
    def search(pdu: bytes) -> None:
        compare(pdu)

    search()
