"""The asynchronous operations window (PS3.7 7.3, D.3.3.3): overlap, order and limit."""

from __future__ import annotations

import select
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    CTImageStorage,
    SecondaryCaptureImageStorage,
    StudyRoot,
    Verification,
)
from tests.data.generate import series
from tests.support import wire
from tests.support.nodes import PATIENT, SCU, at, link, scp
from tests.support.scripted_scp import ScriptedScp

pytestmark = pytest.mark.slow  # waits, or whole interpreters

SOON = 10.0


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return series(tmp_path_factory.mktemp("window"), "WINDOW", 24, (1, 32, 32))


def window_of(pdu):
    """Give item 53H of an A-ASSOCIATE PDU, None when it has none."""
    at_ = 68
    while at_ < len(pdu):
        kind, _, length = struct.unpack_from(">BBH", pdu, at_)
        if kind == 0x50:
            at_ += 4
            continue
        if kind == 0x53:
            return struct.unpack_from(">HH", pdu, at_ + 4)
        at_ += 4 + length
    return None


def accept(peer, window, *syntaxes):
    """Accept contexts 1, 3 ... in these syntaxes, and this window."""
    rq = peer.expect(wire.RQ)
    answers = [
        (1 + 2 * index, 0, [syntax]) for index, syntax in enumerate(syntaxes or (wire.IMPLICIT,))
    ]
    user = () if window is None else (wire.item(0x53, struct.pack(">HH", *window)),)
    peer.send(wire.associate_ac(answers, user=user))
    return window_of(rq)


def is_silent(peer, seconds=0.2):
    """Nothing comes: whoever has something to say has had the time to."""
    return not select.select([peer._socket], [], [], seconds)[0]


def instance(number):
    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = f"1.2.3.{number}"
    dataset.PatientID = "X"
    return dataset


# ---- the invoker, seen by a peer that reads byte by byte


@pytest.mark.parametrize("granted", [2, 5, 8])
def test_as_many_are_outstanding_as_were_granted(granted):
    calls = 12

    def script(peer):
        assert accept(peer, (granted, 1)) == (8, 1)
        waiting = [peer.message()[0] for _ in range(granted)]
        assert is_silent(peer), "the limit is kept"
        for left in range(calls - granted, 0, -1):
            # The youngest first: a response frees a place, whichever it is.
            peer.answer(waiting.pop(), 0)
            waiting.append(peer.message()[0])
            assert left > 1 or is_silent(peer)
        ids = [wire.number_of(elements, 0x0110) for elements in waiting]
        assert len(set(ids)) == granted, "R-332"
        for elements in reversed(waiting):
            peer.answer(elements, 0)
        peer.release()

    with (
        ScriptedScp(script) as scp_,
        SCU.associate(scp_.address, max_ops_invoked=8) as association,
        ThreadPoolExecutor(calls) as threads,
    ):
        assert association.window == (granted, 1)
        echoes = [threads.submit(association.c_echo) for _ in range(calls)]
        assert [echo.result(SOON) for echo in echoes] == [0] * calls


def test_responses_reach_whoever_asked_in_any_order():
    """Each instance is answered with a status of its own."""
    calls = 8

    def script(peer):
        accept(peer, (8, 1), wire.EXPLICIT)
        requests = [peer.message() for _ in range(calls)]
        for elements, data in sorted(requests, key=lambda request: request[1], reverse=True):
            number = int(elements[0x1000].rstrip(b"\0").rpartition(b".")[2])
            assert elements[0x1000].rstrip(b"\0") in data
            peer.answer(elements, 0xB000 + number)
        peer.release()

    contexts = SecondaryCaptureImageStorage
    with (
        ScriptedScp(script) as scp_,
        SCU.associate(scp_.address, contexts=contexts, max_ops_invoked=8) as association,
        ThreadPoolExecutor(calls) as threads,
    ):
        found = list(threads.map(lambda n: association.c_store(instance(n)), range(calls)))
    assert found == [0xB000 + number for number in range(calls)]


def test_different_services_overlap():
    def script(peer):
        accept(peer, (3, 1), wire.IMPLICIT, wire.EXPLICIT, wire.IMPLICIT)
        fields = {}
        for _ in range(3):
            elements, _ = peer.message()
            fields[wire.number_of(elements, 0x0100)] = elements
        assert set(fields) == {wire.C_ECHO_RQ, wire.C_STORE_RQ, wire.C_FIND_RQ}
        peer.answer(fields[wire.C_FIND_RQ], 0, context=5)
        peer.answer(fields[wire.C_ECHO_RQ], 0, context=1)
        peer.answer(fields[wire.C_STORE_RQ], 0, context=3)
        peer.release()

    contexts = [Verification, SecondaryCaptureImageStorage, StudyRoot.find]
    with (
        ScriptedScp(script) as scp_,
        SCU.associate(scp_.address, contexts=contexts, max_ops_invoked=3) as association,
        ThreadPoolExecutor(3) as threads,
    ):
        calls = [
            threads.submit(association.c_echo),
            threads.submit(association.c_store, instance(1)),
            threads.submit(lambda: list(association.c_find({"PatientID": ""}, model=StudyRoot))),
        ]
        assert [call.result(SOON) for call in calls] == [0, 0, []]


@pytest.mark.parametrize("granted", [None, (1, 1)])
def test_a_peer_that_grants_none_gets_one_at_a_time(granted):
    def script(peer):
        accept(peer, granted)
        for _ in range(4):
            elements, _ = peer.message()
            assert is_silent(peer, 0.05)
            peer.answer(elements, 0)
        peer.release()

    with (
        ScriptedScp(script) as scp_,
        SCU.associate(scp_.address, max_ops_invoked=8) as association,
        ThreadPoolExecutor(4) as threads,
    ):
        assert association.window == (1, 1)
        assert list(threads.map(lambda _: association.c_echo(), range(4))) == [0] * 4


@pytest.mark.slow
def test_files_are_sent_within_the_window(paths):
    """`AE.send` has as many outstanding as were granted, and no more."""

    def script(peer):
        assert accept(peer, (4, 1), wire.EXPLICIT) == (6, 1)
        waiting = [peer.message()[0] for _ in range(4)]
        assert is_silent(peer)
        for _ in range(len(paths) - 4):
            peer.answer(waiting.pop(), 0)
            waiting.append(peer.message()[0])
        assert is_silent(peer)
        for elements in waiting:
            peer.answer(elements, 0)
        peer.release()

    with ScriptedScp(script) as scp_:
        report = SCU.send(scp_.address, paths, max_ops_invoked=6)
    assert [result.category for result in report.results] == ["ok"] * len(paths)


# ---- both our ends


def meeting(count):
    """Make a handler that waits until so many run at once, and the most that ever did."""
    barrier = threading.Barrier(count)
    running = []
    most = []
    lock = threading.Lock()

    def handle(request):
        with lock:
            running.append(request)
            most.append(len(running))
        barrier.wait(SOON)
        with lock:
            running.remove(request)

    return handle, most


def test_handlers_run_at_once_up_to_the_window():
    handle, most = meeting(4)
    server = scp(max_ops_performed=4)
    server.c_echo(handle)
    with (
        link(server, max_ops_invoked=16) as association,
        ThreadPoolExecutor(12) as threads,
    ):
        assert association.window == (4, 1)
        assert list(threads.map(lambda _: association.c_echo(), range(12))) == [0] * 12
    assert max(most) == 4


def test_stored_files_overlap(paths):
    handle, most = meeting(4)
    server = scp(max_ops_performed=4)
    server.c_store(handle)
    with server:
        report = SCU.send(at(server), paths, max_ops_invoked=4)
    assert [result.status for result in report.results] == [0] * 24
    assert max(most) == 4


def test_stores_from_threads_overlap(paths):
    handle, most = meeting(4)
    server = scp(max_ops_performed=4)
    server.c_store(handle)
    with (
        link(server, CTImageStorage, max_ops_invoked=4) as association,
        ThreadPoolExecutor(8) as threads,
    ):
        assert list(threads.map(association.c_store, paths)) == [0] * 24
    assert max(most) == 4


def test_a_call_inside_a_loop_does_not_wait_for_its_end():
    server = scp(max_ops_performed=2)

    @server.c_find(StudyRoot)
    def endless(request):
        while True:
            match = Dataset()
            match.PatientID = "1"
            yield match

    contexts = [StudyRoot.find, Verification]
    with link(server, contexts, max_ops_invoked=2) as association:
        for number, _ in enumerate(association.c_find({"PatientID": ""}, model=StudyRoot)):
            assert association.c_echo() == 0
            if number == 300:
                break
        assert association.c_echo() == 0


@pytest.mark.slow
def test_many_queries_at_once_do_not_get_mixed_up():
    server = scp(max_ops_performed=8)

    @server.c_find(StudyRoot)
    def find(request):
        for number in range(200):
            match = Dataset()
            match.PatientID = f"{request.identifier.PatientID}-{number}"
            yield match

    def ask(association, name):
        keys = {"PatientID": str(name)}
        return [m.PatientID for m in association.c_find(keys, model=StudyRoot, level="STUDY")]

    with (
        link(server, StudyRoot.find, max_ops_invoked=8) as association,
        ThreadPoolExecutor(8) as threads,
    ):
        found = list(threads.map(lambda name: ask(association, name), range(16)))
    assert found == [[f"{name}-{number}" for number in range(200)] for name in range(16)]


# ---- what is proposed and answered


@pytest.mark.parametrize(
    ("title", "asked", "sent"),
    [
        ("ANY-SCP", (1, 1), None),
        ("ANY-SCP", (8, 1), (8, 1)),
        ("ANY-SCP", (1, 8), (1, 8)),
        ("ANY-SCP", (0, 0), (0, 0)),
        ("OLD-PACS", (8, 8), None),
        ("OLD", (8, 1), None),
        ("BROKEN", (0, 1), None),
        ("old", (8, 1), (8, 1)),
        ("BROKEN2", (8, 1), (8, 1)),
    ],
)
def test_the_item_is_sent_only_when_it_says_something(title, asked, sent):
    """A peer that is known to break on it can be named."""
    ae = AE("SCU", timeouts=PATIENT, no_window_for=("OLD*", "BROKEN"))
    seen = []

    def script(peer):
        seen.append(accept(peer, None))
        peer.release()

    with ScriptedScp(script) as scp_:
        invoked, performed = asked
        options = {"max_ops_invoked": invoked, "max_ops_performed": performed}
        ae.associate(scp_.address, called=title, **options).release()
    assert seen == [sent]


def test_sending_keeps_it_from_such_a_peer_too(paths):
    seen = []

    def script(peer):
        seen.append(accept(peer, None, wire.EXPLICIT, wire.EXPLICIT))
        for _ in paths:
            elements, _ = peer.message()
            assert is_silent(peer, 0)
            peer.answer(elements, 0)
        peer.release()

    ae = AE("SCU", timeouts=PATIENT, no_window_for="OLD*")
    with ScriptedScp(script) as scp_:
        report = ae.send(scp_.address, paths, called="OLDIE", max_ops_invoked=8)
    assert seen == [None]
    report.raise_for_failures()


@pytest.mark.parametrize(
    ("asked", "offered", "agreed"),
    [(1, 8, 1), (8, 1, 1), (8, 3, 3), (3, 8, 3), (0, 5, 5), (8, 0, 8)],
)
def test_what_a_server_answers(asked, offered, agreed):
    """R-421 to R-425."""
    server = scp(max_ops_performed=offered)
    with link(server, max_ops_invoked=asked) as association:
        assert association.window == (agreed, 1)


def test_no_limit_at_either_end():
    handle, most = meeting(16)
    server = scp(max_ops_performed=0)
    server.c_echo(handle)
    with (
        link(server, max_ops_invoked=0) as association,
        ThreadPoolExecutor(16) as threads,
    ):
        assert association.window[0] == 0 or association.window[0] >= 16
        assert list(threads.map(lambda _: association.c_echo(), range(16))) == [0] * 16
    assert max(most) == 16
