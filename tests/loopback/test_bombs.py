"""Limits hold for what is decoded: a status by name before a byte is, and room given back."""

from __future__ import annotations

import struct
import threading
import zlib

import pydicom
import pytest
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    Context,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    Limits,
    ModalityPerformedProcedureStep,
    Mpps,
    Retrieve,
    StatusError,
    StudyRoot,
    _core,
)
from tests.support.nodes import CT, PATIENT, SCU, at, link, scp

KIB = 1024
# What is received of a request may still be there for a moment; nothing decoded is as small.
FEW = 64 * KIB
ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
MPPS = ModalityPerformedProcedureStep


def limited(**limits):
    return AE("SCP", timeouts=PATIENT, limits=Limits(**limits))


def implicit(tag, value):
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def deflated(data):
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(data) + packer.flush()
    return packed + b"\0" * (len(packed) % 2)


def sent(association, field, sop_class, data, **command):
    """Send a request with these bytes for a data set; give the status and the comment."""
    [context] = [c for c in association.accepted if c.sop_class == sop_class]
    role = "Requested" if field in (0x0120, 0x0130) else "Affected"
    elements = {
        "CommandField": field,
        f"{role}SOPClassUID": sop_class,
        "MessageID": association._core.next_message_id(),
        **command,
    }
    request = _core.Message(context.id, elements, data)
    response = association._core.invoke(request, 15.0).next()
    return response.status, response.get("ErrorComment") or ""


ITEMS = implicit(0x00081110, ITEM * 2000)
DEEP = b""
for _ in range(20):
    DEEP = implicit(0x00081110, struct.pack("<HHI", 0xFFFE, 0xE000, len(DEEP)) + DEEP)


@pytest.mark.parametrize(
    ("limit", "data"),
    [("elements", ITEMS), ("depth", DEEP), ("byte_budget", ITEMS)],
    ids=["elements", "depth", "byte_budget"],
)
def test_a_query_past_a_limit_is_a700(limit, data, caplog):
    server = scp(ae=limited(**{limit: {"byte_budget": 1000 * KIB}.get(limit, 10)}))
    server.c_find(StudyRoot)(lambda request: [request.identifier])
    with link(server, [Context(StudyRoot.find, [ImplicitVRLittleEndian])]) as association:
        answer = sent(association, 0x0020, StudyRoot.find, data, Priority=0)
        assert answer == (0xA700, f"over the limit: {limit}")
        assert association.is_established
    assert f"Limits.{limit}" in caplog.text


@pytest.mark.parametrize("field", [0x0120, 0x0130, 0x0140], ids=["N-SET", "N-ACTION", "N-CREATE"])
def test_an_n_service_past_a_limit_is_0213(field):
    server = scp(ae=limited(elements=1000))
    for register in (server.n_set, server.n_action, server.n_create):
        register(MPPS)(lambda request: request.dataset and None)
    role = "Requested" if field != 0x0140 else "Affected"
    command = {f"{role}SOPInstanceUID": "1.2.3"}
    if field == 0x0130:
        command["ActionTypeID"] = 1
    with link(server, [Context(MPPS, [ImplicitVRLittleEndian])]) as association:
        answer = sent(association, field, MPPS, ITEMS, **command)
        assert answer == (0x0213, "over the limit: elements")


@pytest.mark.parametrize("tag", [0x00081048, 0x00280009], ids=["names", "tags"])
def test_values_that_would_take_more_than_the_byte_budget_are_0213(tag):
    """A megabyte of separators is a million objects when it is looked at."""
    server = scp()
    server.n_create(MPPS)(lambda request: request.dataset and None)
    data = implicit(tag, b"\\" * (1 << (20 if tag == 0x00081048 else 25)))
    with link(server, [Context(MPPS, [ImplicitVRLittleEndian])]) as association:
        answer = sent(association, 0x0140, MPPS, data, AffectedSOPInstanceUID="1.2.3")
        assert answer == (0x0213, "over the limit: byte_budget")


def test_the_service_itself_answers_so():
    server = scp(ae=limited(elements=1000), services=[Mpps()])
    with link(server, [Context(MPPS, [ImplicitVRLittleEndian])]) as association:
        answer = sent(association, 0x0140, MPPS, ITEMS, AffectedSOPInstanceUID="1.2.3")
        assert answer == (0x0213, "over the limit: elements")


def test_an_identifier_may_not_inflate_beyond_what_may_arrive():
    value = bytes(100_000)
    bomb = deflated(struct.pack("<HH2sHI", 8, 8, b"UT", 0, len(value)) + value)
    assert len(bomb) < 1000
    server = scp(ae=limited(identifier=50_000))
    server.c_find(StudyRoot)(lambda request: [request.identifier])
    with link(server, [Context(StudyRoot.find, [DeflatedExplicitVRLittleEndian])]) as association:
        answer = sent(association, 0x0020, StudyRoot.find, bomb, Priority=0)
        assert answer == (0xA700, "over the limit: identifier")


@pytest.mark.parametrize("spool_above", [0, 1 << 20], ids=["in a file", "in memory"])
def test_an_instance_past_a_limit_is_a700_when_a_handler_looks_at_it(spool_above):
    server = scp(ae=limited(elements=10, spool_above=spool_above))
    looks = iter([True, False])
    server.c_store(lambda request: request.dataset and None if next(looks) else None)
    with link(server, CTImageStorage) as association:
        with pytest.raises(StatusError) as caught:
            association.c_store(CT)
        assert (caught.value.status, caught.value.comment) == (0xA700, "over the limit: elements")
        assert association.c_store(CT) == 0


def test_who_does_not_look_pays_nothing(monkeypatch):
    from dimse_rs import datasets
    from dimse_rs.encoding import gate

    def looked(*_args, **_options):
        raise AssertionError("somebody looked")

    for module, name in ((gate, "scan"), (gate, "scan_file"), (datasets, "scan")):
        monkeypatch.setattr(module, name, looked)
    server = scp(ae=limited(elements=1))
    server.c_store(lambda request: None)
    server.c_find(StudyRoot)(lambda request: [])
    server.n_create(MPPS)(lambda request: None)
    contexts = [CTImageStorage, StudyRoot.find, MPPS]
    with link(server, [Context(c, [ImplicitVRLittleEndian]) for c in contexts]) as association:
        command = {"AffectedSOPInstanceUID": "1.2.3"}
        assert sent(association, 0x0001, CTImageStorage, ITEMS, Priority=0, **command)[0] == 0
        assert sent(association, 0x0020, StudyRoot.find, ITEMS, Priority=0)[0] == 0
        assert sent(association, 0x0140, MPPS, ITEMS, **command)[0] == 0


def buffered(server):
    return server.metrics().buffered_bytes


def test_what_decoding_takes_is_counted_and_given_back():
    server = scp(ae=limited())
    seen, kept = [], []

    @server.c_store
    def store(request):
        before = buffered(server)
        kept.append(request.dataset)  # kept by the user: then it is the user's
        seen.append(buffered(server) - before)

    with link(server, CTImageStorage) as association:
        association.c_store(CT)
    assert 3 * CT.stat().st_size < seen[0] < 4 * CT.stat().st_size + 1000 * KIB
    assert buffered(server) < FEW
    assert len(kept) == 1


def test_it_is_counted_until_the_last_match_is_given():
    server = scp(ae=limited())
    seen = []

    @server.c_find(StudyRoot)
    def find(request):
        before = buffered(server)
        assert request.identifier.PatientID == "1"
        seen.append(buffered(server) - before)
        answer = Dataset()
        answer.PatientID = "1"
        yield answer
        seen.append(buffered(server) - before)

    with link(server, StudyRoot) as association:
        list(association.c_find({"PatientID": "1"}, model=StudyRoot, level="STUDY"))
    assert seen[0] == seen[1] >= 2 * KIB


def test_what_two_handlers_take_together_is_limited():
    room = threading.Event()
    first = threading.Event()
    need = 3 * len(ITEMS) + 2001 * KIB
    server = scp(ae=limited(byte_budget=need + need // 2))

    @server.n_create(MPPS)
    def create(request):
        assert request.dataset is not None
        first.set()
        assert room.wait(15)

    context = [Context(MPPS, [ImplicitVRLittleEndian])]
    command = {"AffectedSOPInstanceUID": "1.2.3"}
    with link(server, context) as one, SCU.associate(at(server), contexts=context) as two:
        answers = []
        waiting = threading.Thread(
            target=lambda: answers.append(sent(one, 0x0140, MPPS, ITEMS, **command))
        )
        waiting.start()
        assert first.wait(15)
        assert sent(two, 0x0140, MPPS, ITEMS, **command) == (0x0213, "over the limit: byte_budget")
        room.set()
        waiting.join()
        assert answers == [(0, "")]
        assert sent(two, 0x0140, MPPS, ITEMS, **command) == (0, "")


def test_a_conversion_for_a_retrieval_is_counted_and_given_back(tmp_path):
    server = scp(ae=limited(byte_budget=CT.stat().st_size * 4 + 1000 * KIB))
    server.c_get(StudyRoot)(lambda request: Retrieve(9, [CT] * 9))
    sop_class = str(pydicom.dcmread(CT, stop_before_pixels=True).SOPClassUID)
    contexts = [
        Context(StudyRoot.get),
        Context(sop_class, [ImplicitVRLittleEndian], scu=False, scp=True),
    ]
    key = {"StudyInstanceUID": "1.2"}
    with server, SCU.associate(at(server), contexts=contexts) as association:
        into = tmp_path / "got"
        steps = association.c_get(key, model=StudyRoot, level="STUDY", into=into)
        assert list(steps)[-1].completed == 9
    assert buffered(server) < FEW


def test_what_does_not_fit_is_a_failed_sub_operation(tmp_path):
    server = scp(ae=limited(byte_budget=CT.stat().st_size))
    server.c_get(StudyRoot)(lambda request: Retrieve(1, [CT]))
    contexts = [
        Context(StudyRoot.get),
        Context(CTImageStorage, [ImplicitVRLittleEndian], scu=False, scp=True),
    ]
    key = {"StudyInstanceUID": "1.2"}
    with server, SCU.associate(at(server), contexts=contexts) as association:
        steps = association.c_get(key, model=StudyRoot, level="STUDY", into=tmp_path / "got")
        with pytest.raises(StatusError, match="A702"):
            list(steps)
        assert buffered(server) < FEW
