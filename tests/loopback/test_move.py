"""C-MOVE: instances to another node, over associations that the performer makes."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pydicom
import pytest

from dimse_rs import (
    AE,
    ALL_STORAGE,
    AssociationAborted,
    AsyncServer,
    Context,
    CTImageStorage,
    MRImageStorage,
    Retrieve,
    SecondaryCaptureImageStorage,
    StatusError,
    StudyRoot,
    Timeouts,
    Verification,
)
from dimse_rs.datasets import convert
from tests.data.files import data_set
from tests.data.generate import series
from tests.support.nodes import (
    CT,
    JPEG_2000,
    MR_BIG_ENDIAN,
    MR_IMPLICIT,
    PATIENT,
    SCU,
    Puppet,
    at,
    link,
    picky,
    scp,
)

CONTEXTS = [StudyRoot.move, Verification]
SOON = 10.0


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return series(tmp_path_factory.mktemp("move"), "MOVE", 12, (1, 32, 32))


@pytest.fixture(scope="module")
def uids(paths):
    return [uid_of(path) for path in paths]


def uid_of(path):
    return pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID


def archive(answer, destination, **options):
    """Make a server whose C-MOVE handler gives this, or calls it, and that knows STORE."""
    if not isinstance(destination, str):
        destination = f"STORE@127.0.0.1:{destination.port}"
    server = scp(destinations={"STORE": destination}, **options)
    server.c_move(StudyRoot)(answer if callable(answer) else lambda request: answer)
    return server


def store(keep=None, **options):
    """Make a destination, with a C-STORE handler when one is given."""
    server = scp(ae=AE("STORE", timeouts=PATIENT), **options)
    if keep is not None:
        server.c_store(keep)
    return server


def move(association, destination="STORE", **options):
    asked = {"StudyInstanceUID": "1.2.3"}
    return association.c_move(
        asked, model=StudyRoot, level="STUDY", destination=destination, **options
    )


def outcome(steps):
    responses = []
    try:
        responses.extend(steps)
    except StatusError as error:
        responses.append(error.response)
    return responses[-1], responses[:-1]


def counts(response):
    return (response.completed, response.failed, response.warning)


# ---- what is asked, and what comes


def test_what_each_of_the_three_nodes_sees(paths, uids):
    asked, stored = [], []

    def give(request):
        asked.append(request)
        return paths

    def keep(request):
        stored.append((request, request.association.peer.ae_title, bytes(request.data)))

    with store(keep) as destination, link(archive(give, destination), CONTEXTS) as association:
        association.c_echo()
        last, _ = outcome(move(association, priority=2))
        assert association.c_echo() == 0
    assert last.status == 0
    assert counts(last) == (12, 0, 0)
    assert last.command["CommandField"] == 0x8021
    [request] = asked
    assert request.destination == "STORE"
    assert request.command["MoveDestination"] == "STORE"
    assert request.identifier.StudyInstanceUID == "1.2.3"
    assert [sent.instance_uid for sent, _, _ in stored] == uids
    assert stored[0][2] == data_set(paths[0])
    first = stored[0][0].command
    assert first["MoveOriginatorApplicationEntityTitle"] == "SCU", "R-303: who asked"
    assert first["MoveOriginatorMessageID"] == request.message_id == 2
    assert first["Priority"] == 2, "R-334"
    assert {title for _, title, _ in stored} == {"SCP"}
    assert len({sent.association for sent, _, _ in stored}) == 1
    assert [sent.message_id for sent, _, _ in stored] == list(range(1, 13))


def test_to_a_folder(paths, tmp_path):
    with (
        store(services=[_folder(tmp_path)]) as destination,
        link(archive([*paths, CT, JPEG_2000, MR_IMPLICIT], destination), CONTEXTS) as association,
    ):
        last, _ = outcome(move(association))
    assert counts(last) == (15, 0, 0)
    for path in (*paths, CT, JPEG_2000, MR_IMPLICIT):
        assert data_set(tmp_path / f"{uid_of(path)}.dcm") == data_set(path)


def _folder(path):
    from dimse_rs import Storage

    return Storage(path, mode="fast")


def test_data_sets_and_bytes(paths, uids, tmp_path):
    given = (
        pydicom.dcmread(path) if number % 2 else path.read_bytes()
        for number, path in enumerate(paths)
    )
    with (
        store(services=[_folder(tmp_path)]) as destination,
        link(archive(given, destination), CONTEXTS) as association,
    ):
        last, _ = outcome(move(association))
    assert counts(last) == (12, 0, 0)
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(uids)


def test_to_the_server_itself(paths, tmp_path):
    destinations = {"SCP": "127.0.0.1:1"}
    server = scp(tmp_path, destinations=destinations)
    server.c_move(StudyRoot)(lambda request: paths)
    with server:
        destinations["SCP"] = ("127.0.0.1", server.port)
        with AE("SCU", timeouts=PATIENT).associate(at(server), contexts=CONTEXTS) as association:
            last, _ = outcome(move(association, "SCP"))
    assert counts(last) == (12, 0, 0)
    assert len(list(tmp_path.iterdir())) == 12


def test_nothing_to_send_makes_no_association():
    with link(archive([], "STORE@127.0.0.1:1"), CONTEXTS) as association:
        last, pending = outcome(move(association))
    assert last.status == 0
    assert counts(last) == (0, 0, 0)
    assert last.command["NumberOfCompletedSuboperations"] == 0
    assert last.dataset is None
    assert pending == []


# ---- the account


def test_counters_add_up_in_every_response(paths, uids):
    statuses = iter([0, 0xA700, 0xB000, 0, 0xC000, 0xB007, 0, 0, 0, 0, 0xA900, 0])
    give = Retrieve(12, paths, pending=0)
    with (
        store(lambda request: next(statuses)) as destination,
        link(archive(give, destination), CONTEXTS) as association,
    ):
        last, pending = outcome(move(association))
    assert len(pending) >= 11
    for response in pending:
        assert response.status == 0xFF00
        assert response.dataset is None
        assert sum(counts(response)) + response.remaining == 12
    assert last.status == 0xB000
    assert last.remaining is None
    assert counts(last) == (7, 3, 2)
    assert last.failed_uids == (uids[1], uids[4], uids[10])


@pytest.mark.parametrize(
    ("statuses", "final"),
    [
        ([0x0000, 0x0000], 0x0000),
        ([0xB006, 0xB007], 0xB000),
        ([0x0000, 0xA700], 0xB000),
        ([0xB000, 0xC000], 0xB000),
        ([0xA700, 0xA900], 0xA702),
    ],
    ids=str,
)
def test_final_status(statuses, final, paths):
    answers = iter(statuses)
    with (
        store(lambda request: next(answers)) as destination,
        link(archive(paths[:2], destination), CONTEXTS) as association,
    ):
        last, _ = outcome(move(association))
    assert last.status == final
    assert (last.dataset is None) == (last.failed == 0)


# ---- where destinations are is looked up for each C-MOVE


def test_a_destination_added_to_the_mapping_counts_at_once_and_a_removed_one_no_longer(paths):
    destinations = {}
    server = scp(destinations=destinations)
    server.c_move(StudyRoot)(lambda request: paths[:2])
    with store(lambda request: None) as destination, link(server, CONTEXTS) as association:
        assert outcome(move(association))[0].status == 0xA801
        destinations["STORE"] = f"127.0.0.1:{destination.port}"
        assert counts(outcome(move(association))[0]) == (2, 0, 0)
        del destinations["STORE"]
        assert outcome(move(association))[0].status == 0xA801


def test_a_function_is_asked_for_each_destination(paths):
    asked = []
    with store(lambda request: None) as destination:

        def where(title):
            asked.append(title)
            return ("127.0.0.1", destination.port) if title == "STORE" else None

        server = scp(destinations=where)
        server.c_move(StudyRoot)(lambda request: paths[:2])
        with link(server, CONTEXTS) as association:
            assert counts(outcome(move(association))[0]) == (2, 0, 0)
            assert outcome(move(association, "OTHER"))[0].status == 0xA801
            assert counts(outcome(move(association))[0]) == (2, 0, 0)
    assert asked == ["STORE", "OTHER", "STORE"]


@pytest.mark.parametrize("given", ["no address", "127.0.0.1:0", 17, ("127.0.0.1",)])
def test_a_function_that_gives_no_address_fails_the_request_by_name(paths, caplog, given):
    server = scp(destinations=lambda title: given)
    server.c_move(StudyRoot)(lambda request: paths)
    with link(server, CONTEXTS) as association:
        last, _ = outcome(move(association))
        assert (last.status, last.comment) == (0xC000, "destination has no valid address")
        assert association.c_echo() == 0
    assert [r.code for r in caplog.records if r.levelname == "ERROR"] == ["destination"]


def test_a_function_that_raises_fails_the_request_and_is_logged(paths, caplog):
    server = scp(destinations=lambda title: {}[title])
    server.c_move(StudyRoot)(lambda request: paths)
    with link(server, CONTEXTS) as association:
        assert outcome(move(association))[0].status == 0xC000
        assert association.c_echo() == 0
    [line] = [r for r in caplog.records if r.levelname == "ERROR"]
    assert line.code == "handler-failed"


def test_an_async_server_takes_an_async_function(paths):
    async def where(title):
        return f"127.0.0.1:{destination.port}"

    async def main():
        server = AsyncServer(AE("SCP", timeouts=PATIENT), port=0, destinations=where)
        server.c_move(StudyRoot)(lambda request: paths[:2])
        async with server, SCU.associate_async(at(server), contexts=CONTEXTS) as association:
            asked = {"StudyInstanceUID": "1.2.3"}
            steps = association.c_move(asked, model=StudyRoot, level="STUDY", destination="STORE")
            return [step async for step in steps][-1]

    with store(lambda request: None) as destination:
        assert counts(asyncio.run(main())) == (2, 0, 0)


def test_a_handler_may_see_unknown_titles_and_say_where_they_are(paths):
    with store(lambda request: None) as destination:

        def give(request):
            where = f"127.0.0.1:{destination.port}" if request.destination == "STORE" else None
            return Retrieve(2, paths[:2], destination=where)

        server = scp(any_destination=True)
        server.c_move(StudyRoot)(give)
        with link(server, CONTEXTS) as association:
            assert counts(outcome(move(association))[0]) == (2, 0, 0)
            last, _ = outcome(move(association, "OTHER"))
            assert (last.status, last.comment) == (0xA801, "unknown destination OTHER")
            assert association.c_echo() == 0


def test_a_handler_overrules_the_mapping(paths):
    with store(lambda request: None) as destination:
        there = Retrieve(2, paths[:2], destination=("127.0.0.1", destination.port))
        with link(archive(there, "127.0.0.1:1"), CONTEXTS) as association:
            assert counts(outcome(move(association))[0]) == (2, 0, 0)


@pytest.mark.parametrize("title", ["STORE ", "TOO-LONG-FOR-A-TITLE"])
def test_a_title_that_could_not_be_asked_for_is_refused_at_the_start(title):
    with pytest.raises(ValueError, match="AE title"):
        scp(destinations={title: "127.0.0.1:1"})


# ---- destinations that do not do as they should


def test_an_unknown_destination_is_a801_before_anything_else(paths):
    asked = []

    def give(request):
        asked.append(request)
        return paths

    with link(archive(give, "STORE@127.0.0.1:1"), CONTEXTS) as association:
        for unknown in ("NOWHERE", "store", "127.0.0.1"):
            last, pending = outcome(move(association, unknown))
            assert last.status == 0xA801
            assert unknown in last.comment
            assert last.dataset is None
            assert pending == []
        assert association.c_echo() == 0
    assert asked == []


def _refusing():
    return store(called=["OTHER"])


def _without_context():
    server = store()
    server.c_find(lambda request: [])
    return server


@pytest.mark.parametrize("make", [_refusing, _without_context])
def test_a_destination_that_does_not_take_them(make, paths, uids, caplog):
    with make() as destination, link(archive(paths, destination), CONTEXTS) as association:
        last, _ = outcome(move(association))
        assert association.c_echo() == 0
    assert last.status == 0xA702
    assert counts(last) == (0, 12, 0)
    assert list(last.failed_uids) == uids


def test_a_destination_that_does_not_listen(paths, uids):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with link(archive(paths, f"STORE@127.0.0.1:{port}"), CONTEXTS) as association:
        last, _ = outcome(move(association))
        assert association.c_echo() == 0
    assert last.status == 0xA702
    assert last.comment.startswith("destination: ")
    assert list(last.failed_uids) == uids


def test_a_destination_that_says_nothing(paths, uids):
    """F07: it ends at the deadline for the answer to A-ASSOCIATE-RQ."""
    timeouts = Timeouts(acse=0.3, connect=2, artim=1)
    with (
        Puppet(lambda peer: None) as silent,
        link(archive(paths, silent, ae=AE("SCP", timeouts=timeouts)), CONTEXTS) as association,
    ):
        started = time.monotonic()
        last, _ = outcome(move(association))
        assert 0.3 <= time.monotonic() - started < SOON
    assert last.status == 0xA702
    assert list(last.failed_uids) == uids


def test_a_destination_that_aborts_half_way(paths, uids):
    stored = []

    def keep(request):
        if len(stored) == 5:
            request.association.abort()
        else:
            stored.append(request.instance_uid)

    with store(keep) as destination, link(archive(paths, destination), CONTEXTS) as association:
        last, _ = outcome(move(association))
        assert association.c_echo() == 0
        assert last.status == 0xB000
        assert counts(last) == (5, 7, 0)
        assert stored == uids[:5]
        assert list(last.failed_uids) == uids[5:]
        del stored[:]
        stored.extend([None] * 6)
        last, _ = outcome(move(association))
        assert counts(last) == (12, 0, 0), "the next one makes an association of its own"


def test_a_destination_that_lacks_one_class(paths, tmp_path, uids):
    with (
        picky(tmp_path, {CTImageStorage: []}) as destination,
        link(archive([*paths, MR_IMPLICIT], destination), CONTEXTS) as association,
    ):
        last, _ = outcome(move(association))
    assert last.status == 0xB000
    assert counts(last) == (12, 1, 0)
    assert last.failed_uids == (uid_of(MR_IMPLICIT),)


@pytest.mark.parametrize("accepted", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_what_it_takes_decides_on_conversion(accepted, tmp_path):
    classes = {MRImageStorage: [accepted], SecondaryCaptureImageStorage: [accepted]}
    given = [MR_IMPLICIT, MR_BIG_ENDIAN, JPEG_2000]
    with (
        picky(tmp_path, classes) as destination,
        link(archive(given, destination), CONTEXTS) as association,
    ):
        last, _ = outcome(move(association))
    assert last.status == 0xB000
    assert counts(last) == (2, 1, 0)
    assert last.failed_uids == (uid_of(JPEG_2000),)
    for path in (MR_IMPLICIT, MR_BIG_ENDIAN):
        assert data_set(tmp_path / f"{uid_of(path)}.dcm") == convert(path, accepted)


@pytest.mark.slow
def test_more_classes_than_one_association_can_carry(tmp_path):
    """70 classes, two contexts each: 140 do not fit into 128 (PS3.8 9.3.2.2)."""
    sources = tmp_path / "sources"
    sources.mkdir()
    item = pydicom.dcmread(CT)
    paths = []
    for number, sop_class in enumerate(ALL_STORAGE[:70]):
        item.SOPClassUID = item.file_meta.MediaStorageSOPClassUID = str(sop_class)
        item.SOPInstanceUID = item.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        paths.append(sources / f"{number}.dcm")
        item.save_as(paths[-1])
    destination = store(services=[_folder(tmp_path / "received")])
    events = destination.events(timeout=SOON)
    with destination, link(archive(paths, destination), CONTEXTS) as association:
        last, _ = outcome(move(association))
        assert last.status == 0
        assert counts(last) == (70, 0, 0)
    assert len(list((tmp_path / "received").iterdir())) == 70
    assert [event["event"] for event in events].count("associated") == 2


# ---- what the requestor may do


@pytest.mark.slow
def test_the_sub_operations_stop_when_the_requestor_is_gone(paths):
    """F11: within a second."""
    stored = []
    third = threading.Event()
    over = threading.Event()

    def keep(request):
        stored.append(request.instance_uid)
        if len(stored) == 3:
            third.set()
            over.wait(SOON)

    with store(keep) as destination, archive(paths, destination) as server:
        association = AE("SCU", timeouts=PATIENT).associate(at(server), contexts=CONTEXTS)
        errors = []

        def ask():
            try:
                list(move(association))
            except AssociationAborted as error:
                errors.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        assert third.wait(SOON)
        association.abort()
        asking.join(SOON)
        time.sleep(1)  # the case is: within a second
        over.set()
        destination.stop()
    assert len(errors) == 1
    assert stored == [uid_of(path) for path in paths[:3]]


def test_a_destination_is_a_title_that_can_be_sent():
    with link(archive([], "STORE@127.0.0.1:1"), CONTEXTS) as association:
        for bad in ("", " ", "x" * 17, "A\\B", "Ä"):
            with pytest.raises(ValueError, match="AE title"):
                move(association, bad)


def test_a_context_for_moving_is_needed():
    from dimse_rs import NoPresentationContext

    with (
        link(archive([], "STORE@127.0.0.1:1"), Context(Verification)) as association,
        pytest.raises(NoPresentationContext),
    ):
        list(move(association))
