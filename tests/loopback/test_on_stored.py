"""`Storage(on_stored=)`: a function decides on what is stored before it is answered."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pydicom
import pytest

from dimse_rs import (
    AE,
    AssociationAborted,
    AsyncServer,
    Context,
    CTImageStorage,
    DecodeError,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    Index,
    LimitExceeded,
    Limits,
    LocalProtocolError,
    MRImageStorage,
    PatientRoot,
    Peer,
    Server,
    Status,
    StatusError,
    Storage,
    StoredInstance,
    for_retrieve,
)
from dimse_rs.datasets import read
from tests.data.files import data_set
from tests.support.nodes import CT, MR_BIG_ENDIAN, PATIENT, SCU, at, link, scp
from tests.support.odd_instances import ODD, bring
from tests.support.waiting import until

ENOUGH = 15.0


def another(number, name="One"):
    """Give a CT instance of a UID of its own."""
    instance = pydicom.dcmread(CT)
    instance.SOPInstanceUID = instance.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
    instance.PatientName = name
    return instance


def deciding(folder, function, *, ae=None, server=Server, options=None, **storage):
    """Make a server whose instances a function decides on."""
    storage = {"mode": "fast", "on_stored": function, **storage}
    ae = ae or AE("SCP", timeouts=PATIENT)
    return server(ae, port=0, services=[Storage(folder, **storage)], **(options or {}))


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def person(folder, number):
    return str(pydicom.dcmread(folder / f"1.2.3.{number}.dcm").PatientName)


def refusal_of(association, instance):
    with pytest.raises(StatusError) as caught:
        association.c_store(instance)
    return caught.value.status, caught.value.comment


class Held:
    """A function that waits in its first call until it is let go, and keeps what it got."""

    def __init__(self, decide=lambda item: None):
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.batches = []
        self.decide = decide

    def __call__(self, items):
        self.batches.append([item.instance_uid for item in items])
        if not self.entered.is_set():
            self.entered.set()
            assert self.gate.wait(ENOUGH)
        for item in items:
            self.decide(item)


# ---- what it replaces


@pytest.mark.parametrize("kind", [Server, AsyncServer])
def test_a_handler_and_a_storage_for_the_same_instances_are_refused(kind, tmp_path):
    server = kind(services=[Storage(tmp_path, sop_classes=[CTImageStorage])])
    for classes in ((), (CTImageStorage,), (MRImageStorage, CTImageStorage)):
        with pytest.raises(ValueError, match=r"on_stored=function.*request\.save") as caught:
            server.c_store(*classes)(lambda request: None)
        assert f"Storage {str(tmp_path)!r}" in str(caught.value)
        assert "handler of C-STORE" in str(caught.value)
    with pytest.raises(ValueError, match="every class"):
        server.c_store(lambda request: None)
    server.c_store(MRImageStorage)(lambda request: None)


def test_a_handler_for_every_class_is_refused_beside_any_storage(tmp_path):
    for options in ({}, {"unknown": True}, {"sop_classes": [MRImageStorage]}):
        server = Server(services=[Storage(tmp_path, **options)])
        with pytest.raises(ValueError, match="every class"):
            server.c_store(lambda request: None)


def test_a_service_that_stores_and_a_storage_are_refused_in_any_order(tmp_path):
    service = SimpleNamespace(register=lambda handlers: handlers.c_store(lambda request: None))
    for services in ([service, Storage(tmp_path)], [Storage(tmp_path), service]):
        with pytest.raises(ValueError, match="on_stored"):
            Server(services=services)


# ---- what it gets


@pytest.mark.parametrize("mode", ["durable", "file-only", "fast"])
@pytest.mark.parametrize("layout", ["flat", "study"])
def test_an_item_says_what_is_stored(mode, layout, tmp_path):
    items = []
    server = deciding(tmp_path, items.extend, mode=mode, layout=layout, digest=True)
    with link(server, CTImageStorage) as association:
        number = server._listener.associations[0].id
        assert association.c_store(CT) == 0
        assert association.c_store(CT) == 0
        changed = pydicom.dcmread(CT)
        changed.PatientName = "Other"
        assert association.c_store(changed) == 0
    facts = pydicom.dcmread(CT, stop_before_pixels=True)
    first, again, other = items
    below = tmp_path
    if layout == "study":
        below = tmp_path / facts.StudyInstanceUID / facts.SeriesInstanceUID
    for item in items:
        assert item.path == below / f"{facts.SOPInstanceUID}.dcm"
        assert (item.sop_class, item.instance_uid) == (CTImageStorage, facts.SOPInstanceUID)
        assert item.transfer_syntax == facts.file_meta.TransferSyntaxUID
        assert (item.study_uid, item.series_uid) == (
            facts.StudyInstanceUID,
            facts.SeriesInstanceUID,
        )
        assert (item.peer.ae_title, item.peer.host) == ("SCU", "127.0.0.1")
        assert (item.called, item.association) == ("SCP", number)
        assert (item.oddities, item.values) == ((), {})
    assert first.size == again.size == len(data_set(CT))
    assert [item.identical for item in items] == [False, True, False]
    kept = below / f"{facts.SOPInstanceUID}.dcm~1~"
    assert [item.replaces for item in items] == [None, None, kept]
    assert len(first.digest) == 32
    assert first.digest == again.digest != other.digest


def test_an_item_is_frozen_and_shows_no_values(tmp_path):
    items = []
    server = deciding(tmp_path, items.extend, collect=["PatientName"])
    with link(server, CTImageStorage) as association:
        association.c_store(another(1, "Secret^Name"))
    (item,) = items
    assert item.values[0x00100010].data.startswith(b"Secret")
    assert "Secret" not in repr(item)
    with pytest.raises(AttributeError):
        item.size = 1
    with pytest.raises((AttributeError, TypeError)):
        item.other = 1
    assert not hasattr(item, "__dict__")


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_collected_values_are_those_that_were_received(syntax, tmp_path):
    instance = another(1, "Name^A")
    instance.SpecificCharacterSet = "ISO_IR 100"
    instance.private_block(0x0071, "US", create=True).add_new(1, "LO", "kept")
    instance.ImageComments = "x" * 4096
    instance.InstitutionAddress = "x" * 4098
    instance.PatientComments = ""
    if syntax is not None:
        instance.file_meta.TransferSyntaxUID = pydicom.uid.UID(str(syntax))
        instance.set_original_encoding(syntax == ImplicitVRLittleEndian, True)
    items = []
    collect = ["Rows", "PatientName", 0x00711001, "ImageComments", "InstitutionAddress"]
    collect += ["PatientComments", "StudyID", "OtherPatientIDsSequence"]
    del instance.StudyID
    del instance.OtherPatientIDsSequence
    with link(
        deciding(tmp_path, items.extend, collect=collect),
        Context(CTImageStorage, instance.file_meta.TransferSyntaxUID),
    ) as association:
        assert association.c_store(instance) == 0
    (item,) = items
    assert item.values == {
        0x00080005: ("CS", b"ISO_IR 100"),
        0x00711001: ("UN" if syntax == ImplicitVRLittleEndian else "LO", b"kept"),
        0x00100010: ("PN", b"Name^A"),
        0x00104000: ("LT", b""),
        0x00204000: ("LT", b"x" * 4096),
        0x00280010: ("US", b"\x80\x00"),
    }


def test_collected_values_of_big_endian_are_as_they_are(tmp_path):
    items = []
    server = deciding(tmp_path, items.extend, collect=["Rows"])
    with link(server, Context(MRImageStorage, ExplicitVRBigEndian)) as association:
        assert association.c_store(MR_BIG_ENDIAN) == 0
    assert items[0].values[0x00280010] == ("US", b"\x00\x40")
    assert items[0].transfer_syntax == ExplicitVRBigEndian


def test_a_collected_sequence_comes_with_its_items(tmp_path):
    instance = another(1)
    item = pydicom.Dataset()
    item.PatientID = "P2"
    instance.OtherPatientIDsSequence = [item]
    items = []
    server = deciding(tmp_path, items.extend, collect=["OtherPatientIDsSequence"])
    with link(server, CTImageStorage) as association:
        association.c_store(instance)
    value = items[0].values[0x00101002]
    assert value.vr == "SQ"
    assert value.data.startswith(b"\xfe\xff\x00\xe0")
    assert b"P2" in value.data


def test_an_item_says_what_is_odd_and_collects_it_all_the_same(tmp_path):
    items = []
    server = deciding(tmp_path, items.extend, collect=["PatientID"])
    with server:
        assert bring(server, ODD["Patient ID again"][0]) == 0
        assert bring(server, ODD["zeros behind"][0]) == 0
    codes = [[oddity.split()[0] for oddity in item.oddities] for item in items]
    assert codes == [["out-of-order", "repeated-element"], ["trailing-zeros"]]
    assert [item.values[0x00100020] for item in items] == [("LO", b"ODD1")] * 2


def outcome(read):
    """Give the elements that are read, decoded, or the refusal."""
    try:
        whole = read()
    except (DecodeError, OSError) as error:
        return type(error), str(error)
    return [(e.tag, e.VR, repr(e.value), e.is_undefined_length) for e in whole]


COLLECTED = ["PatientName", "PatientID", "StudyID", "Rows", "OtherPatientIDsSequence", "Modality"]


@pytest.mark.slow
def test_attributes_are_what_pydicom_reads_in_the_file(tmp_path):
    items = []
    server = deciding(tmp_path, items.extend, collect=COLLECTED)
    classes = [CTImageStorage, Context(MRImageStorage, ExplicitVRBigEndian)]
    with server, SCU.associate(at(server), contexts=classes) as peer:
        named = another(1, "Größe^A")
        named.SpecificCharacterSet = "ISO_IR 100"
        long = another(2, "x" * 5000)
        for instance in (CT, MR_BIG_ENDIAN, named, long):
            assert peer.c_store(instance) == 0
        for content, *_ in ODD.values():
            bring(server, content)
    assert len(items) > 10
    assert [item.collected.is_plain for item in items[:4]] == [True, True, True, False]
    assert items[2].attributes.PatientName == "Größe^A"
    assert items[3].attributes.PatientName == "x" * 5000
    for item in items:
        only = item.collected.only
        assert outcome(lambda: item.attributes) == outcome(lambda: read(item.path, only=only))  # noqa: B023


def test_attributes_are_no_way_round_the_limits(tmp_path):
    instance = another(1)
    del instance[0x7FE00010]
    many = Limits().elements + 1
    # Items, for a decoder with a dictionary; one value for the walk that stores it.
    instance.add_new(0x00081110, "OB", b"\xfe\xff\x00\xe0\0\0\0\0" * many)
    instance.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    instance.set_original_encoding(True, True)
    items = []
    server = deciding(tmp_path, items.extend, collect=COLLECTED)
    context = Context(CTImageStorage, ImplicitVRLittleEndian)
    path = tmp_path / "sent"
    instance.save_as(path, enforce_file_format=True, implicit_vr=True, little_endian=True)
    with link(server, context) as association:
        assert association.c_store(path) == 0
    (item,) = items
    assert item.values[0x00280010].data == b"\x80\0"
    assert not item.collected.is_plain
    with pytest.raises(LimitExceeded, match="elements"):
        _ = item.attributes
    with pytest.raises(LimitExceeded, match="elements"):
        Index().add(item.path, item.collected)


def test_what_cannot_be_collected_is_named(tmp_path):
    for wrong in (["NoKeyword"], [0x00020010], [-1]):
        with pytest.raises(ValueError, match="collect="):
            Storage(tmp_path, on_stored=print, collect=wrong)
    for unused in ({"collect": ["PatientID"]}, {"digest": True}):
        with pytest.raises(ValueError, match="on_stored"):
            Storage(tmp_path, **unused)
    with pytest.raises(ValueError, match="-1"):
        Storage(tmp_path, on_stored=print, on_stored_timeout=-1)
    with pytest.raises(TypeError, match="3"):
        Storage(tmp_path, on_stored=3)


# ---- when it is called


def test_success_goes_out_when_the_function_has_returned(tmp_path):
    held = Held()
    server = deciding(tmp_path, held)
    events = server.events("stored", "refused")
    with link(server, CTImageStorage) as association, ThreadPoolExecutor() as pool:
        answer = pool.submit(association.c_store, another(1))
        assert held.entered.wait(ENOUGH)
        assert names(tmp_path) == ["1.2.3.1.dcm"]
        assert server.metrics().buffered_bytes > 0
        assert not answer.done()
        assert events._follower.take() == []
        held.gate.set()
        assert answer.result(ENOUGH) == 0
    assert [event["event"] for event in events] == ["stored"]
    until(lambda: server.metrics().buffered_bytes == 0)  # the batch is freed on its own thread


@pytest.mark.slow
def test_what_came_meanwhile_comes_together_and_at_most_256(tmp_path):
    held = Held()
    ae = AE("SCP", timeouts=PATIENT)
    server = deciding(tmp_path, held, ae=ae, options={"max_ops_performed": 60})

    async def main():
        scu = AE("SCU", timeouts=PATIENT)
        number = iter(range(1000))
        associations = [
            await scu.associate_async(at(server), contexts=CTImageStorage, max_ops_invoked=60)
            for _ in range(5)
        ]
        first = asyncio.ensure_future(associations[0].c_store(another(next(number))))
        await asyncio.to_thread(held.entered.wait, ENOUGH)
        stores = [
            asyncio.ensure_future(association.c_store(another(next(number))))
            for association in associations
            for _ in range(59)
        ]
        # Each takes more than a kibibyte of the byte budget while it is not decided on.
        await asyncio.to_thread(
            until, lambda: server.metrics().buffered_bytes >= (1 + len(stores)) * 1024
        )
        await asyncio.to_thread(until, lambda: len(names(tmp_path)) == 1 + len(stores))
        held.gate.set()
        assert set(await asyncio.gather(first, *stores)) == {0}
        for association in associations:
            await association.release()

    with server:
        asyncio.run(main())
    assert len(held.batches[0]) == 1, "the first waits for nobody"
    assert sum(map(len, held.batches)) == 296
    assert max(map(len, held.batches)) <= 256
    assert len(held.batches) <= 5, "what came meanwhile comes together"


# ---- what a refusal does


@pytest.mark.parametrize("mode", ["durable", "file-only", "fast"])
@pytest.mark.parametrize("layout", ["flat", "study"])
def test_a_refusal_puts_back_what_was_there_before(mode, layout, tmp_path):
    refused = set()

    def decide(items):
        for item in items:
            if str(pydicom.dcmread(item.path).PatientName) in refused:
                item.refuse(0xC123, "not this one")

    server = deciding(tmp_path, decide, mode=mode, layout=layout)
    events = server.events("stored", "refused")
    with link(server, CTImageStorage) as association:
        refused.add("New")
        assert refusal_of(association, another(1, "New")) == (0xC123, "not this one")
        assert list(tmp_path.iterdir()) == [], "a new file goes"
        assert association.c_store(another(1, "First")) == 0
        before = names(tmp_path)
        refused.add("First")
        assert refusal_of(association, another(1, "First"))[0] == 0xC123
        assert names(tmp_path) == before, "an identical one stays"
        refused.add("Second")
        assert refusal_of(association, another(1, "Second"))[0] == 0xC123
        assert names(tmp_path) == before, "an earlier version returns"
        assert str(pydicom.dcmread(tmp_path / before[0]).PatientName) == "First"
    told = [(event["event"], event["status"]) for event in events]
    no, yes = ("refused", 0xC123), ("stored", 0)
    assert told == [no, yes, no, no]


def test_only_failures_of_c_store_refuse(tmp_path):
    seen = []

    def decide(items):
        for wrong in (0x0000, 0xB000, 0xFF00, 0xFE00, 0x0112):
            with pytest.raises(ValueError, match="no failure status"):
                items[0].refuse(wrong)
        items[0].refuse(0xA900)
        items[0].refuse(0xA700, "later\n\\counts " + "x" * 100)
        seen.extend(items)

    with link(deciding(tmp_path, decide), CTImageStorage) as association:
        status, comment = refusal_of(association, another(1))
    assert status == 0xA700
    assert comment == "later??counts " + "x" * 50
    with pytest.raises(LocalProtocolError, match="has returned"):
        seen[0].refuse(0xC000)


def test_a_function_that_raises_refuses_all_and_is_logged(tmp_path, caplog):
    def decide(items):
        items[0].refuse(0xC123)
        raise LookupError("my own mistake")

    server = deciding(tmp_path, decide)
    with caplog.at_level(logging.ERROR, "dimse_rs"), link(server, CTImageStorage) as association:
        assert refusal_of(association, another(1)) == (0xC000, "on_stored failed")
        assert refusal_of(association, another(2)) == (0xC000, "on_stored failed")
    assert names(tmp_path) == []
    first, _ = [record for record in caplog.records if record.code == "on-stored-failed"]
    assert first.exc_info[0] is LookupError
    assert "my own mistake" in caplog.text


def test_what_calls_exit_does_not_end_the_thread(tmp_path):
    calls = []

    def decide(items):
        calls.append(items)
        if len(calls) == 1:
            raise SystemExit

    with link(deciding(tmp_path, decide), CTImageStorage) as association:
        assert refusal_of(association, another(1))[0] == 0xC000
        assert association.c_store(another(2)) == 0


def test_an_awaitable_of_a_plain_function_is_a_mistake(tmp_path, caplog):
    async def later():
        raise AssertionError("nobody awaits this")

    with link(deciding(tmp_path, lambda items: later()), CTImageStorage) as association:
        assert refusal_of(association, another(1))[0] == 0xC000
    assert "AsyncServer" in caplog.text


def generating(items):
    yield from items


async def generating_later(items):
    for item in items:
        yield item


class Generating:
    """An object that is called as a generator function."""

    def __call__(self, items):
        yield from items


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda: None, "one argument"),
        (lambda items, more: None, "one argument.*'more'"),
        (generating, "generator"),
        (generating_later, "generator"),
        (Generating(), "generator"),
        ("decide", "a function, not 'decide'"),
    ],
)
def test_what_could_never_decide_is_refused_when_the_storage_is_made(function, why, tmp_path):
    with pytest.raises(TypeError, match=f"on_stored= is .*{why}"):
        Storage(tmp_path, on_stored=function)


def test_a_timeout_of_none_is_refused_with_the_number_that_is_no_limit(tmp_path):
    with pytest.raises(TypeError, match="0 is no limit"):
        Storage(tmp_path, on_stored=lambda items: None, on_stored_timeout=None)
    with pytest.raises(TypeError, match="argument 'on_store': did you mean 'on_stored'"):
        Storage(tmp_path, on_store=print)


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (False, "False"),
        (0xA700, "0xA700"),
        (Status(0x0110), "0x0110"),
        ((item for item in ()), "a generator"),
    ],
)
@pytest.mark.parametrize("kind", [Server, AsyncServer])
def test_what_is_given_back_as_if_it_refused_is_no_success(kind, answer, named, tmp_path, caplog):
    async def decide(items):
        return answer

    function = (lambda items: answer) if kind is Server else decide
    if kind is Server:
        with link(deciding(tmp_path, function), CTImageStorage) as association:
            assert refusal_of(association, another(1))[0] == 0xC000
    else:
        asyncio.run(refused_by(deciding(tmp_path, function, server=kind)))
    assert names(tmp_path) == []
    assert f"on_stored gave back {named}, which refuses nothing" in caplog.text
    assert "item.refuse(status, comment)" in caplog.text


async def refused_by(server):
    async with server, SCU.associate_async(at(server), contexts=[CTImageStorage]) as association:
        with pytest.raises(StatusError) as caught:
            await association.c_store(another(1))
    assert caught.value.status == 0xC000


@pytest.mark.parametrize("answer", [None, True, 0, 3, 300, Status(0), ["rows"], object()])
def test_what_a_function_of_one_expression_gives_back_is_passed_over(answer, tmp_path):
    with link(deciding(tmp_path, lambda items: answer), CTImageStorage) as association:
        assert association.c_store(another(1)) == 0


@pytest.mark.slow
def test_what_was_answered_is_not_told_as_unanswered(tmp_path, caplog):
    """However soon the peer is gone once it is answered."""

    def decide(items):
        raise LookupError

    server = deciding(tmp_path, decide, mode="durable")
    with caplog.at_level(logging.WARNING, "dimse_rs"), server:
        for number in range(60):
            with SCU.associate(at(server), contexts=[CTImageStorage]) as association:
                assert refusal_of(association, another(number))[0] == 0xC000
    assert [record.code for record in caplog.records if record.code == "unanswered"] == []


# ---- of one UID at the same time


@pytest.mark.parametrize("first_is_refused", [False, True])
def test_another_version_waits_for_the_verdict_on_the_one_before(first_is_refused, tmp_path):
    items = []

    def decide(item):
        items.append(item)
        if first_is_refused and len(items) == 1:
            item.refuse(0xC123)

    held = Held(decide)
    server = deciding(tmp_path, held, options={"max_ops_performed": 0})
    with (
        link(server, CTImageStorage) as one,
        SCU.associate(at(server), contexts=CTImageStorage) as other,
        ThreadPoolExecutor() as pool,
    ):
        first = pool.submit(one.c_store, another(1, "First"))
        assert held.entered.wait(ENOUGH)
        second = pool.submit(other.c_store, another(1, "Second"))
        until(lambda: server.metrics().buffered_bytes > CT.stat().st_size // 2)
        assert person(tmp_path, 1) == "First"
        held.gate.set()
        if first_is_refused:
            assert first.exception(ENOUGH).status == 0xC123
        else:
            assert first.result(ENOUGH) == 0
        assert second.result(ENOUGH) == 0
    assert held.batches == [["1.2.3.1"], ["1.2.3.1"]]
    assert person(tmp_path, 1) == "Second"
    kept = [] if first_is_refused else ["1.2.3.1.dcm~1~"]
    assert names(tmp_path) == ["1.2.3.1.dcm", *kept]
    assert items[1].replaces == (None if first_is_refused else tmp_path / kept[0])


def test_the_same_bytes_wait_too_and_are_new_when_the_first_are_refused(tmp_path):
    identical = []

    def decide(item):
        identical.append(item.identical)
        if len(identical) == 1:
            item.refuse(0xC123)

    held = Held(decide)
    server = deciding(tmp_path, held)
    with (
        link(server, CTImageStorage) as one,
        SCU.associate(at(server), contexts=CTImageStorage) as other,
        ThreadPoolExecutor() as pool,
    ):
        first = pool.submit(one.c_store, another(1))
        assert held.entered.wait(ENOUGH)
        second = pool.submit(other.c_store, another(1))
        held.gate.set()
        assert first.exception(ENOUGH).status == 0xC123
        assert second.result(ENOUGH) == 0
    assert identical == [False, False]
    assert names(tmp_path) == ["1.2.3.1.dcm"]


@pytest.mark.slow
def test_many_associations_that_store_the_same_leave_what_was_accepted_last(tmp_path):
    accepted = []

    def decide(items):
        for item in items:
            name = str(pydicom.dcmread(item.path).PatientName)
            if int(name) % 3:
                item.refuse(0xC123)
            else:
                accepted.append(name)

    server = deciding(tmp_path, decide, layout="study")

    def send(offset):
        with SCU.associate(at(server), contexts=CTImageStorage) as association:
            for number in range(offset, 60, 6):
                if number % 3:
                    assert refusal_of(association, another(1, str(number)))[0] == 0xC123
                else:
                    assert association.c_store(another(1, str(number))) == 0

    with server, ThreadPoolExecutor() as pool:
        list(pool.map(send, range(6)))
    found = [str(pydicom.dcmread(path).PatientName) for path in tmp_path.rglob("*.dcm*")]
    assert sorted(found) == sorted(accepted)
    (current,) = tmp_path.rglob("*.dcm")
    assert str(pydicom.dcmread(current).PatientName) == accepted[-1]


# ---- when there is no verdict in time


def test_past_its_time_the_answer_is_a700_and_the_file_stays(tmp_path, caplog):
    held = Held(lambda item: item.refuse(0xC123))
    server = deciding(tmp_path, held, on_stored_timeout=0.05)
    events = server.events("stored", "refused")
    with link(server, CTImageStorage) as association:
        assert refusal_of(association, another(1)) == (0xA700, "not processed in time")
        assert names(tmp_path) == ["1.2.3.1.dcm"]
        held.gate.set()
        until(lambda: any(record.code == "on-stored-late" for record in caplog.records))
    (late,) = [record for record in caplog.records if record.code == "on-stored-late"]
    assert "C123 for 1.2.3.1 too late, it was answered A700 after 0.05 s" in late.getMessage()
    assert names(tmp_path) == ["1.2.3.1.dcm"]
    assert [(event["event"], event["status"]) for event in events] == [("refused", 0xA700)]


def test_an_association_that_is_aborted_does_not_take_its_instance_along(tmp_path, caplog):
    held = Held()
    server = deciding(tmp_path, held)
    events = server.events("stored", "refused")
    with server, ThreadPoolExecutor() as pool:
        one = SCU.associate(at(server), contexts=CTImageStorage)
        two = SCU.associate(at(server), contexts=CTImageStorage)
        first = pool.submit(one.c_store, another(1))
        assert held.entered.wait(ENOUGH)
        second = pool.submit(two.c_store, another(2))
        until(lambda: len(names(tmp_path)) == 2 and server.metrics().buffered_bytes >= 2048)
        for association, answer in ((one, first), (two, second)):
            association.abort()
            assert answer.exception(ENOUGH) is not None
        until(lambda: all(one.ended is not None for one in server._listener.associations))
        held.gate.set()
        until(lambda: sum(record.code == "unanswered" for record in caplog.records) == 2)
    assert held.batches == [["1.2.3.1"], ["1.2.3.2"]]
    assert names(tmp_path) == ["1.2.3.1.dcm", "1.2.3.2.dcm"]
    assert [event["event"] for event in events] == ["stored", "stored"]


def test_a_server_that_stops_lets_the_last_batch_finish(tmp_path):
    held = Held()
    server = deciding(tmp_path, held)
    with link(server, CTImageStorage) as association, ThreadPoolExecutor() as pool:
        answer = pool.submit(association.c_store, another(1))
        assert held.entered.wait(ENOUGH)
        stopping = pool.submit(server.stop, ENOUGH)
        until(lambda: server._stopping.is_set())
        held.gate.set()
        assert answer.result(ENOUGH) == 0
        stopping.result(ENOUGH)
    assert names(tmp_path) == ["1.2.3.1.dcm"]


def test_a_function_that_never_returns_costs_the_grace_and_no_more(tmp_path, caplog):
    held = Held(lambda item: item.refuse(0xC123))
    server = deciding(tmp_path, held)
    with link(server, CTImageStorage) as association, ThreadPoolExecutor() as pool:
        answer = pool.submit(association.c_store, another(1))
        assert held.entered.wait(ENOUGH)
        server.stop(grace=0.05)
        assert isinstance(answer.exception(ENOUGH), AssociationAborted)
        held.gate.set()
        until(lambda: any(record.code == "on-stored-late" for record in caplog.records))
    assert names(tmp_path) == ["1.2.3.1.dcm"]
    (late,) = [record for record in caplog.records if record.code == "on-stored-late"]
    assert "C123 for 1.2.3.1 too late, the server has stopped" in late.getMessage()


# ---- where it is not called


def test_a_storage_with_a_function_is_refused_where_nobody_calls_it(tmp_path):
    storage = Storage(tmp_path / "in", on_stored=print)
    saving = scp()
    saving.c_store(lambda request: request.save(storage))
    with link(saving, CTImageStorage) as association:
        assert refusal_of(association, another(1))[0] == 0xC000
    server = scp()
    server.c_get(PatientRoot)(lambda request: [])
    with (
        link(server, for_retrieve(PatientRoot)) as association,
        pytest.raises(ValueError, match="C-GET does not call"),
    ):
        list(
            association.c_get({"PatientID": "1"}, model=PatientRoot, level="PATIENT", into=storage)
        )
    assert names(tmp_path) == []


# ---- on an event loop


async def decide_later(items):
    await asyncio.sleep(0)


def test_a_coroutine_function_is_for_the_async_server(tmp_path):
    for function in (decide_later, Callable()):
        with pytest.raises(TypeError, match="AsyncServer"):
            deciding(tmp_path, function)


class Callable:
    """An object that is called as a coroutine function."""

    async def __call__(self, items):
        await decide_later(items)


def test_a_coroutine_function_runs_on_the_loop(tmp_path):
    threads, loops = [], []

    async def decide(items):
        loops.append(asyncio.get_running_loop())
        threads.append(threading.get_ident())
        await asyncio.sleep(0)
        for item in items:
            if item.instance_uid == "1.2.3.2":
                item.refuse(0xC123, "not this one")
            if item.instance_uid == "1.2.3.3":
                raise LookupError

    async def main():
        server = deciding(tmp_path, decide, server=AsyncServer)
        async with server, SCU.associate_async(at(server), contexts=CTImageStorage) as scu:
            assert await scu.c_store(another(1)) == 0
            for number, status in ((2, 0xC123), (3, 0xC000)):
                with pytest.raises(StatusError) as caught:
                    await scu.c_store(another(number))
                assert caught.value.status == status
            assert await scu.c_store(another(4)) == 0
        assert set(loops) == {asyncio.get_running_loop()}

    asyncio.run(main())
    assert set(threads) == {threading.get_ident()}
    assert names(tmp_path) == ["1.2.3.1.dcm", "1.2.3.4.dcm"]


def test_a_plain_function_of_an_async_server_runs_on_a_thread(tmp_path):
    threads = []

    async def main():
        function = lambda items: threads.append(threading.get_ident())  # noqa: E731
        server = deciding(tmp_path, function, server=AsyncServer)
        async with server, SCU.associate_async(at(server), contexts=CTImageStorage) as scu:
            assert await scu.c_store(another(1)) == 0

    asyncio.run(main())
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


def test_an_async_server_that_stops_does_not_wait_for_a_coroutine_for_ever(tmp_path):
    async def main():
        entered, never = asyncio.Event(), asyncio.Event()

        async def decide(items):
            entered.set()
            await never.wait()

        server = deciding(tmp_path, decide, server=AsyncServer)
        async with server, SCU.associate_async(at(server), contexts=CTImageStorage) as scu:
            answer = asyncio.ensure_future(scu.c_store(another(1)))
            await asyncio.wait_for(entered.wait(), ENOUGH)
            await server.stop(grace=0.05)
            with pytest.raises(AssociationAborted):
                await answer

    asyncio.run(main())
    assert names(tmp_path) == ["1.2.3.1.dcm"]


def test_items_can_be_made_for_the_tests_of_users():
    item = StoredInstance(
        path=CT,
        sop_class=CTImageStorage,
        instance_uid="1.2",
        transfer_syntax=ImplicitVRLittleEndian,
        peer=Peer("SCU", "127.0.0.1", 11112),
    )
    item.refuse(0xC000)
    assert item.values == {}
