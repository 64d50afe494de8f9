"""C-GET: instances over the association that asked, and the account of them."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import threading
import time
from os import PathLike

import pydicom
import pytest
from pydicom.dataset import Dataset

from dimse_rs import (
    AsyncAssociation,
    Context,
    CTImageStorage,
    Handlers,
    LocalProtocolError,
    MRImageStorage,
    Retrieve,
    SecondaryCaptureImageStorage,
    StatusError,
    Storage,
    StudyRoot,
    Verification,
    for_retrieve,
)
from dimse_rs.datasets import convert, from_bytes
from dimse_rs.dimse import run
from tests.data.files import data_set, with_undecodable_uid
from tests.data.generate import series
from tests.support import wire
from tests.support.ids import shown
from tests.support.nodes import JPEG_2000, MR_BIG_ENDIAN, MR_IMPLICIT, SCU, link, scp
from tests.support.scripted_scp import ScriptedScp
from tests.support.waiting import until

CONTEXTS = (*for_retrieve(StudyRoot, [CTImageStorage, MRImageStorage]), Context(Verification))
STORE = wire.C_STORE_RQ


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return series(tmp_path_factory.mktemp("get"), "GET", 12, (1, 32, 32))


@pytest.fixture(scope="module")
def uids(paths):
    return [pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in paths]


def archive(answer, **options):
    """Make a server whose C-GET handler gives this, or calls it."""
    server = scp(**options)
    server.c_get(StudyRoot)(answer if callable(answer) else lambda request: answer)
    return server


def get(association, into=None, **options):
    asked = {"StudyInstanceUID": "1.2.3"}
    return association.c_get(asked, model=StudyRoot, level="STUDY", into=into, **options)


def outcome(steps):
    """Give the final response, whether it is a failure or not, and the pending ones."""
    responses = []
    try:
        responses.extend(steps)
    except StatusError as error:
        responses.append(error.response)
    assert steps.response is responses[-1]
    return responses[-1], responses[:-1]


def counts(response):
    return (response.completed, response.failed, response.warning)


# ---- what is asked, and what comes


def test_the_handler_gets_what_was_asked(paths):
    seen = []

    def give(request):
        seen.append(request)
        return paths[:1]

    priorities = []
    with link(archive(give), CONTEXTS) as association:
        steps = get(
            association, lambda request: priorities.append(request.command["Priority"]), priority=1
        )
        last, _ = outcome(steps)
    assert last.command["CommandField"] == 0x8010
    [request] = seen
    assert request.level == "STUDY"
    assert request.identifier.StudyInstanceUID == "1.2.3"
    assert request.destination == ""
    assert request.sop_class == StudyRoot.get
    assert priorities == [1], "R-334: that of the C-GET"


@pytest.mark.parametrize("shape", ["list", "tuple", "generator", "retrieve", "retrieve generator"])
def test_instances_come_from_any_iterable(shape, paths, uids):
    def give(request):
        match shape:
            case "list":
                return list(paths)
            case "tuple":
                return tuple(paths)
            case "generator":
                return (path for path in paths)
            case "retrieve":
                return Retrieve(len(paths), paths)
            case _:
                return Retrieve(len(paths), iter(paths))

    received = []
    with link(archive(give), CONTEXTS) as association:
        last, _ = outcome(get(association, received))
    assert last.status == 0
    assert counts(last) == (12, 0, 0)
    assert [item.SOPInstanceUID for item in received] == uids


def test_instances_are_paths_data_sets_or_bytes(paths, tmp_path):
    given = [paths[0], str(paths[1]), pydicom.dcmread(paths[2]), paths[3].read_bytes()]
    given.extend(bytearray(path.read_bytes()) for path in paths[4:6])
    given.extend(pydicom.dcmread(path) for path in paths[6:12])
    with link(archive(given), CONTEXTS) as association:
        last, _ = outcome(get(association, tmp_path))
    assert counts(last) == (12, 0, 0)
    for path in paths:
        uid = pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID
        assert data_set(tmp_path / f"{uid}.dcm") == data_set(path)


def test_a_data_set_that_cannot_be_named_fails_alone(paths, uids, tmp_path):
    given = [with_undecodable_uid(paths[0]), *paths[1:3]]
    with link(archive(given), for_retrieve(StudyRoot)) as association:
        last, _ = outcome(get(association, tmp_path))
    assert counts(last) == (2, 1, 0)
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(uids[1:3])


def test_data_sets_made_on_the_way_do_not_get_mixed_up(paths, uids, tmp_path):
    """Each is gone before the next is made: what they are kept in must not be taken for theirs."""

    def give(request):
        return Retrieve(12, (pydicom.dcmread(path) for path in paths))

    received = []
    with link(archive(give), CONTEXTS) as association:
        outcome(get(association, received))
    assert [item.SOPInstanceUID for item in received] == uids


# ---- where they go


def test_into_a_folder(paths, uids, tmp_path):
    folder = tmp_path / "new" / "folder"
    with link(archive(paths), CONTEXTS) as association:
        last, _ = outcome(get(association, folder))
        assert counts(last) == (12, 0, 0)
        assert sorted(path.stem for path in folder.iterdir()) == sorted(uids)
        assert data_set(folder / f"{uids[0]}.dcm") == data_set(paths[0])
        last, _ = outcome(get(association, str(tmp_path / "other")))
        assert counts(last) == (12, 0, 0)
        assert len(list((tmp_path / "other").iterdir())) == 12


def test_into_a_storage(paths, uids, tmp_path):
    with link(archive(paths[:2]), CONTEXTS) as association:
        outcome(get(association, Storage(tmp_path, mode="durable", layout="study")))
    assert sorted(path.stem for path in tmp_path.rglob("*.dcm")) == sorted(uids[:2])


def test_into_a_list(paths, uids):
    received = []
    with link(archive(paths), CONTEXTS) as association:
        outcome(get(association, received))
    assert received[3] == pydicom.dcmread(paths[3])
    assert received[3].file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


def test_into_a_function(paths, uids):
    seen = []

    def keep(request):
        seen.append((request.instance_uid, request.sop_class, bytes(request.data)))
        assert request.association is association

    with link(archive(paths), CONTEXTS) as association:
        outcome(get(association, keep))
    assert [uid for uid, _, _ in seen] == uids
    assert seen[0][1:] == (CTImageStorage, data_set(paths[0]))


def test_into_the_handlers_of_the_association(paths, uids):
    handlers = Handlers()
    seen = []
    handlers.c_store(CTImageStorage)(lambda request: seen.append(request.instance_uid))
    with link(archive([*paths, MR_IMPLICIT]), CONTEXTS, handlers=handlers) as association:
        last, _ = outcome(get(association))
    assert seen == uids
    assert counts(last) == (12, 1, 0), "nobody takes the MR"
    assert last.status == 0xB000


def test_into_nothing(paths, uids, caplog):
    with link(archive(paths), CONTEXTS) as association:
        last, _ = outcome(get(association))
        assert association.c_echo() == 0
    assert last.status == 0xA702
    assert counts(last) == (0, 12, 0)
    assert list(last.failed_uids) == uids
    assert sum("0x0122" in record.getMessage() for record in caplog.records) == 12


def test_after_the_call_they_go_where_they_went(paths, tmp_path):
    handlers = Handlers()
    seen = []
    handlers.c_store(lambda request: seen.append(request.instance_uid))
    with link(archive(paths[:2]), CONTEXTS, handlers=handlers) as association:
        outcome(get(association, tmp_path))
        assert seen == []
        outcome(get(association))
        assert len(seen) == 2
        outcome(get(association, []))
        assert len(seen) == 2
        outcome(get(association))
        assert len(seen) == 4


def test_one_c_get_at_a_time_says_where_instances_go(paths, uids, tmp_path):
    received, others = [], []
    with link(archive(Retrieve(12, paths, pending=0)), CONTEXTS) as association:
        steps = get(association, received)
        next(steps)
        with pytest.raises(LocalProtocolError, match="another C-GET receives"):
            next(get(association, others))
        with pytest.raises(LocalProtocolError, match="another C-GET receives"):
            next(get(association, tmp_path))
        outcome(steps)
        assert [item.SOPInstanceUID for item in received] == uids
        outcome(get(association, others))
    assert [item.SOPInstanceUID for item in others] == uids
    assert list(tmp_path.iterdir()) == []


def test_a_c_get_that_begins_while_another_one_makes_its_folder_is_refused(paths, uids, tmp_path):
    """Making a folder lets other threads run; both calls were let in, and one got all instances."""

    class Folder(PathLike):
        def __fspath__(self):
            if not refused:
                with pytest.raises(LocalProtocolError, match="another C-GET") as error:
                    next(get(association, tmp_path / "other"))
                refused.append(error.value)
            return str(tmp_path / "own")

    refused = []
    with link(archive(paths), CONTEXTS) as association:
        outcome(get(association, Folder()))
        assert "close()" in refused[0].hint
        assert not (tmp_path / "other").exists()
        outcome(get(association, tmp_path / "after"))
    assert {path.stem for path in (tmp_path / "own").glob("*.dcm")} == set(uids)
    assert {path.stem for path in (tmp_path / "after").glob("*.dcm")} == set(uids)


def test_a_folder_that_cannot_be_made_does_not_keep_the_next_c_get(paths, uids, tmp_path):
    received = []
    (tmp_path / "file").write_text("")
    with link(archive(paths), CONTEXTS) as association:
        with pytest.raises(OSError, match="file"):
            next(get(association, tmp_path / "file"))
        outcome(get(association, received))
    assert [item.SOPInstanceUID for item in received] == uids


def test_a_c_get_of_a_task_says_where_instances_go_for_the_whole_association(paths, uids):
    received = []

    async def from_a_task(association):
        asynchronous = AsyncAssociation.of(association)
        async for _ in get(asynchronous, received):
            pass

    with link(archive(paths), CONTEXTS) as association:
        asyncio.run(from_a_task(association))
    assert [item.SOPInstanceUID for item in received] == uids


def test_without_the_role_nothing_can_be_received(paths):
    with link(archive(paths), [StudyRoot.get, CTImageStorage]) as association:
        with pytest.raises(LocalProtocolError) as caught:
            next(get(association, []))
        assert "for_retrieve" in caught.value.hint


def test_two_at_once_are_refused(paths):
    with link(archive(Retrieve(12, paths, pending=0)), CONTEXTS) as association:
        first = get(association, [])
        next(first)
        with pytest.raises(LocalProtocolError):
            next(get(association, []))
        assert outcome(first)[0].status == 0


# ---- the account


def test_counters_add_up_in_every_response(paths):
    statuses = iter([0, 0xA700, 0xB000, 0, 0xC000, 0xB007, 0, 0, 0, 0, 0xA900, 0])
    with link(archive(Retrieve(12, paths, pending=0)), CONTEXTS) as association:
        last, pending = outcome(get(association, lambda request: next(statuses)))
    assert len(pending) >= 11
    remaining = []
    for response in pending:
        command = response.command
        assert response.status == 0xFF00
        assert response.dataset is None
        assert sum(counts(response)) + response.remaining == 12
        assert {
            "NumberOfRemainingSuboperations",
            "NumberOfCompletedSuboperations",
            "NumberOfFailedSuboperations",
            "NumberOfWarningSuboperations",
        } <= set(command)
        remaining.append(response.remaining)
    assert remaining == sorted(remaining, reverse=True)
    assert set(remaining) >= set(range(1, 12))
    assert last.status == 0xB000
    assert counts(last) == (7, 3, 2)
    assert last.remaining is None, "R-556"


@pytest.mark.parametrize(
    ("statuses", "final"),
    [
        ([], 0x0000),
        ([0x0000, 0x0000], 0x0000),
        ([0x0000, 0xB000], 0xB000),
        ([0x0000, 0xA700], 0xB000),
        ([0xB006, 0xB007], 0xB000),
        ([0xB000, 0xC000], 0xB000),
        ([0x0000, 0xB000, 0xA900], 0xB000),
        ([0xA700], 0xA702),
        ([0x0124, 0xC123], 0xA702),
    ],
    ids=lambda value: str(value),
)
def test_final_status(statuses, final, paths, uids):
    answers = iter(statuses)
    with link(archive(paths[: len(statuses)]), CONTEXTS) as association:
        last, _ = outcome(get(association, lambda request: next(answers)))
    assert last.status == final
    completed = statuses.count(0)
    warnings = sum(status >> 12 == 0xB for status in statuses)
    told = zip(uids, statuses, strict=False)
    failed = [uid for uid, status in told if status and status >> 12 != 0xB]
    assert counts(last) == (completed, len(failed), warnings)
    assert list(last.failed_uids) == failed
    assert (last.dataset is None) == (not failed), "R-558"
    if failed:
        assert [element.keyword for element in last.dataset] == ["FailedSOPInstanceUIDList"]


def test_failure_of_all_is_an_exception_that_says_which(paths, uids):
    with link(archive(paths), CONTEXTS) as association:
        with pytest.raises(StatusError) as caught:
            list(get(association, lambda request: 0xA700))
        assert caught.value.status == 0xA702
        assert caught.value.response.failed_uids == tuple(uids)


def test_more_than_the_counters_can_say(paths):
    """R-557: 16 bits; more are said to be 65,535."""
    give = Retrieve(70_000, iter(paths[:2]), pending=0)
    with link(archive(lambda request: give), CONTEXTS) as association:
        last, pending = outcome(get(association, []))
    assert [response.remaining for response in pending][:1] == [65535]
    assert counts(last) == (2, 65535, 0)
    assert last.status == 0xB000
    assert last.failed_uids == (), "nobody knows them"


def test_more_than_announced(paths):
    with link(archive(Retrieve(3, paths, pending=0)), CONTEXTS) as association:
        last, pending = outcome(get(association, []))
    assert counts(last) == (12, 0, 0)
    assert all(response.remaining == max(0, 3 - response.completed) for response in pending)


@pytest.mark.parametrize(("interval", "least", "most"), [(0, 11, 12), (1000, 0, 0), (0.01, 1, 40)])
def test_pending_interval(interval, least, most, paths):
    def slow(request):
        time.sleep(0.03)  # the work itself, so that the interval passes

    with link(archive(Retrieve(12, paths, pending=interval)), CONTEXTS) as association:
        _, pending = outcome(get(association, slow))
    assert least <= len(pending) <= most


# ---- what cannot be sent


def test_no_context_for_an_instance_is_failed_and_no_abort(paths, caplog):
    secondary = pydicom.dcmread(JPEG_2000, stop_before_pixels=True)
    assert secondary.SOPClassUID == SecondaryCaptureImageStorage
    with link(archive([paths[0], JPEG_2000, paths[1]]), CONTEXTS) as association:
        last, _ = outcome(get(association, []))
        assert association.c_echo() == 0
    assert last.status == 0xB000
    assert counts(last) == (2, 1, 0)
    assert last.failed_uids == (secondary.SOPInstanceUID,)


@pytest.mark.parametrize("accepted", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_uncompressed_syntaxes_are_converted(accepted):
    contexts = [StudyRoot.get, Context(MRImageStorage, [accepted], scu=False, scp=True)]
    received = []
    with link(archive([MR_IMPLICIT, MR_BIG_ENDIAN]), contexts) as association:
        last, _ = outcome(get(association, received))
    assert counts(last) == (2, 0, 0)
    assert {item.file_meta.TransferSyntaxUID for item in received} == {accepted}
    for item, path in zip(received, [MR_IMPLICIT, MR_BIG_ENDIAN], strict=True):
        assert item == from_bytes(convert(path, accepted), accepted)


def test_compressed_instances_go_as_they_are():
    syntax = pydicom.dcmread(JPEG_2000, stop_before_pixels=True).file_meta.TransferSyntaxUID
    contexts = for_retrieve(StudyRoot, [SecondaryCaptureImageStorage], [syntax])
    received = []
    with link(archive([JPEG_2000]), contexts) as association:
        last, _ = outcome(get(association, lambda r: received.append(bytes(r.data))))
    assert counts(last) == (1, 0, 0)
    assert received == [data_set(JPEG_2000)]


def test_what_is_no_instance_counts_as_failed(paths, tmp_path, caplog):
    empty = tmp_path / "empty.dcm"
    empty.touch()
    nonsense = [paths[0], tmp_path / "missing.dcm", empty, 17, None, object(), Dataset(), b"text"]
    with link(archive([*nonsense, paths[1]]), CONTEXTS) as association:
        last, _ = outcome(get(association, []))
        assert association.c_echo() == 0
    assert last.status == 0xB000
    assert counts(last) == (2, 7, 0)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# ---- answers of the handler


@pytest.mark.parametrize("nothing", [None, [], (), Retrieve(0, [])], ids=repr)
def test_nothing_to_send(nothing):
    with link(archive(nothing), CONTEXTS) as association:
        last, pending = outcome(get(association, []))
    assert last.status == 0
    assert last.command["NumberOfCompletedSuboperations"] == 0
    assert last.dataset is None
    assert pending == []


@pytest.mark.parametrize("status", [0xA701, 0xA900, 0xC005, 0x0124])
def test_a_status_alone_is_the_answer(status):
    with link(archive(status), CONTEXTS) as association:
        last, _ = outcome(get(association, []))
    assert last.status == status


@pytest.mark.parametrize("nonsense", [0xFF00, True, object(), "STUDY", Dataset(), 3.5], ids=shown)
def test_nonsense_is_c000_and_the_association_lives(nonsense, caplog):
    with link(archive(lambda request: nonsense), CONTEXTS) as association:
        last, _ = outcome(get(association, []))
        assert association.c_echo() == 0
    assert last.status == 0xC000
    assert last.comment


def test_an_error_before_anything_is_sent():
    def give(request):
        raise StatusError(0xA900, "no", elements={"OffendingElement": [0x0020000D]})

    with link(archive(give), CONTEXTS) as association:
        last, _ = outcome(get(association, []))
    assert (last.status, last.comment) == (0xA900, "no")
    assert last.offending_elements == (0x0020000D,)


@pytest.mark.parametrize("error", [StatusError(0xA702, "disk"), ZeroDivisionError()])
def test_an_error_in_the_middle_keeps_the_account(error, paths, uids, caplog):
    def instances():
        yield from paths[:3]
        raise error

    statuses = iter([0, 0xA700, 0])
    with link(archive(lambda r: Retrieve(12, instances())), CONTEXTS) as association:
        last, _ = outcome(get(association, lambda request: next(statuses)))
        assert association.c_echo() == 0
    expected = error.status if isinstance(error, StatusError) else 0xC000
    assert last.status == expected
    assert last.remaining is None
    assert counts(last) == (2, 1, 0)
    assert last.failed_uids == (uids[1],)


def test_nobody_serves_it():
    server = archive([])
    server.c_find(StudyRoot)(lambda request: [])
    server.c_move(StudyRoot)(lambda request: [])
    with link(server, CONTEXTS) as association:
        move = association.c_move({}, model=StudyRoot, level="STUDY", destination="X")
        with pytest.raises(StatusError) as caught:
            list(move)
    assert caught.value.status == 0xA801


# ---- H06: what a hostile C-GET SCP may do


def hostile(*stores, after=0x0000):
    """Play a C-GET SCP: these (context, class, instance) are stored; gives the statuses."""
    answered = []

    def script(peer):
        peer.expect(wire.RQ)
        peer.send(accepting())
        elements, _ = peer.message()
        assert wire.number_of(elements, 0x0100) == 0x0010
        for number, (context, sop_class, uid) in enumerate(stores):
            rq = wire.store_rq(uid, number, sop_class=sop_class)
            body = wire.data_set(uid, sop_class=sop_class)
            peer.send(wire.as_commands(context, rq), wire.as_data(context, body))
            found, _ = peer.message()
            assert wire.number_of(found, 0x0120) == number
            answered.append(wire.number_of(found, 0x0900))
        peer.answer(elements, after)
        peer.release()

    return ScriptedScp(script), answered


SECONDARY = wire.SECONDARY_CAPTURE


def accepting():
    """Accept the query in context 1, and Secondary Capture in 3 with the roles reversed."""
    role = wire.item(0x54, len(SECONDARY).to_bytes(2, "big") + SECONDARY + bytes([0, 1]))
    return wire.associate_ac([(1, 0, [wire.IMPLICIT]), (3, 0, [wire.EXPLICIT])], user=[role])


@pytest.mark.parametrize("into", ["folder", "list"])
def test_instances_that_were_not_asked_for(into, tmp_path):
    uids = [b"1.2.3", b"../evil", b"/etc/evil", b"1..2", b"", b"1.2.4"]
    scp_, answered = hostile(
        *((3, SECONDARY, uid) for uid in uids),
        (3, b"1.2.840.10008.5.1.4.1.1.2", b"1.2.5"),
        (1, SECONDARY, b"1.2.6"),
        (3, SECONDARY, b"1.2.7"),
    )
    received = tmp_path / "received" if into == "folder" else []
    contexts = [StudyRoot.get, Context(SECONDARY.decode(), scu=False, scp=True)]
    with scp_, SCU.associate(scp_.address, contexts=contexts) as association:
        last, _ = outcome(get(association, received))
    assert last.status == 0
    if into == "folder":
        assert answered == [0, 0x0117, 0x0117, 0x0117, 0x0117, 0, 0x0122, 0x0122, 0]
        assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
            "1.2.3.dcm",
            "1.2.4.dcm",
            "1.2.7.dcm",
        ]
    else:
        assert answered[:1] + answered[5:] == [0, 0, 0x0122, 0x0122, 0]
        assert {"1.2.3", "1.2.4", "1.2.7"} <= {item.SOPInstanceUID for item in received}


def test_instances_after_the_end_of_the_call(tmp_path):
    """Between two calls nobody takes them: 0122, and nothing is written."""
    answered = []
    over, told = threading.Event(), threading.Event()

    def script(peer):
        peer.expect(wire.RQ)
        peer.send(accepting())
        elements, _ = peer.message()
        peer.answer(elements, 0)
        assert over.wait(10)
        rq = wire.store_rq(b"1.2.3", 9)
        peer.send(wire.as_commands(3, rq), wire.as_data(3, wire.data_set(b"1.2.3")))
        found, _ = peer.message()
        answered.append(wire.number_of(found, 0x0900))
        told.set()
        peer.release()

    contexts = [StudyRoot.get, Context(SECONDARY.decode(), scu=False, scp=True)]
    with ScriptedScp(script) as scp_, SCU.associate(scp_.address, contexts=contexts) as association:
        outcome(get(association, tmp_path))
        over.set()
        assert told.wait(10)
    assert answered == [0x0122]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("into", ["folder", "list"])
def test_a_c_get_takes_no_instance_of_one_that_was_left(into, window, tmp_path):
    """The next C-GET waits for the end of the one before: their instances name neither."""
    answered = []
    begun = threading.Event()

    def store(peer, uid):
        peer.send(wire.as_commands(3, wire.store_rq(uid, 9)), wire.as_data(3, wire.data_set(uid)))
        answered.append(wire.number_of(until_it_says(peer, 0x8001), 0x0900))

    def until_it_says(peer, field):
        found, _ = peer.message()
        while wire.number_of(found, 0x0100) != field:
            assert wire.number_of(found, 0x0100) == 0x0FFF, "the next C-GET has left too early"
            found, _ = peer.message()
        return found

    def script(peer):
        peer.expect(wire.RQ)
        role = wire.item(0x54, len(SECONDARY).to_bytes(2, "big") + SECONDARY + bytes([0, 1]))
        windows = [wire.item(0x53, bytes([0, window, 0, 1]))] if window > 1 else []
        contexts = [(1, 0, [wire.IMPLICIT]), (3, 0, [wire.EXPLICIT])]
        peer.send(wire.associate_ac(contexts, user=[*windows, role]))
        asked = until_it_says(peer, 0x0010)
        store(peer, b"1.2.3")
        peer.answer(asked, 0xFF00)
        assert begun.wait(10)
        store(peer, b"1.2.4")
        peer.answer(asked, 0xFE00)
        asked = until_it_says(peer, 0x0010)
        store(peer, b"1.2.5")
        peer.answer(asked, 0)
        peer.release()

    contexts = [StudyRoot.get, Context(SECONDARY.decode(), scu=False, scp=True)]
    link_ = {"contexts": contexts, "max_ops_invoked": window}
    with ScriptedScp(script) as scp_, SCU.associate(scp_.address, **link_) as association:
        steps = get(association, tmp_path / "first")
        next(steps)
        steps.close()
        second = [] if into == "list" else tmp_path / "second"
        following = get(association, second)
        waiting = threading.Thread(target=outcome, args=[following])
        waiting.start()
        until(lambda: any(str(call).startswith("C-GET") for call in association._outstanding))
        begun.set()
        waiting.join(15)
    taken = [str(one.SOPInstanceUID) for one in second] if into == "list" else names_in(second)
    assert taken == ["1.2.5"]
    assert answered == [0, 0x0122, 0]


def names_in(folder):
    return [path.name.removesuffix(".dcm") for path in folder.iterdir()]


@pytest.mark.parametrize("how", ["closed", "interrupted"])
def test_instances_after_a_call_that_was_left(how, tmp_path, monkeypatch):
    """The peer has not ended the C-GET yet; its folder takes nothing more all the same."""
    answered = []
    left = threading.Event()

    def ctrl_c(core, step):
        raise KeyboardInterrupt

    def store(peer, uid):
        peer.send(wire.as_commands(3, wire.store_rq(uid, 9)), wire.as_data(3, wire.data_set(uid)))

    def script(peer):
        peer.expect(wire.RQ)
        peer.send(accepting())
        asked, _ = peer.message()
        store(peer, b"1.2.3")
        answered.append(wire.number_of(peer.message()[0], 0x0900))
        peer.answer(asked, 0xFF00)
        assert left.wait(10)
        store(peer, b"1.2.4")
        found, _ = peer.message()
        while wire.number_of(found, 0x0100) != 0x8001:  # a C-CANCEL before it
            found, _ = peer.message()
        answered.append(wire.number_of(found, 0x0900))
        peer.answer(asked, 0xFE00)
        peer.release()

    contexts = [StudyRoot.get, Context(SECONDARY.decode(), scu=False, scp=True)]
    with ScriptedScp(script) as scp_, SCU.associate(scp_.address, contexts=contexts) as association:
        steps = get(association, tmp_path)
        next(steps)
        if how == "interrupted":
            with monkeypatch.context() as patch:
                patch.setattr(run, "_carry_out", ctrl_c)
                with pytest.raises(KeyboardInterrupt) as caught:
                    next(steps)
            assert caught.tb is not None, "it keeps the frames of the call, and its invocation"
        else:
            steps.close()
        left.set()
        steps.close()
    assert answered == [0, 0x0122]
    assert [path.name for path in tmp_path.iterdir()] == ["1.2.3.dcm"]


def test_counters_that_do_not_add_up_are_given_as_they_are():
    def script(peer):
        peer.accept((1, 0, [wire.IMPLICIT]))
        elements, _ = peer.message()
        message_id = wire.number_of(elements, 0x0110)
        for status, more in ((0xFF00, b""), (0xFF00, wire.us(0x1020, 65535)), (0x0000, b"")):
            command = wire.command(
                wire.us(0x0100, 0x8010),
                wire.us(0x0120, message_id),
                wire.us(0x0800, wire.NO_DATA),
                wire.us(0x0900, status),
                more,
            )
            peer.send(wire.as_commands(1, command))
        peer.release()

    with ScriptedScp(script) as scp_, SCU.associate(scp_.address, contexts=StudyRoot.get) as a:
        first, second, last = list(get(a))
    assert (first.remaining, first.completed) == (None, 0)
    assert second.remaining == 65535
    assert last.status == 0


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
)
def test_the_error_of_a_call_goes_from_one_process_to_another(paths, uids, again):
    """As out of a pool of processes: with its response, and the data set of that."""
    with link(archive(paths), CONTEXTS) as association, pytest.raises(StatusError) as caught:
        list(get(association, lambda request: 0xA700))
    error, twin = caught.value, again(caught.value)
    assert str(twin) == str(error)
    response, copied = error.response, again(error.response)
    assert repr(copied) == repr(response)
    assert bytes(copied.data) == bytes(response.data)
    assert response.failed_uids == tuple(uids)
    for name in dir(type(response)):
        if not name.startswith("_") and name != "data":
            assert getattr(copied, name) == getattr(response, name), name
    assert copied.received == response.received
    assert copied.transfer_syntax == response.transfer_syntax
