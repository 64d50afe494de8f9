"""C-CANCEL, and every way to leave an operation early: what follows is never disturbed by it."""

from __future__ import annotations

import gc
import threading
import time
from contextlib import suppress

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    AssociationReleased,
    Context,
    CTImageStorage,
    DimseError,
    DimseTimeout,
    ImplicitVRLittleEndian,
    Retrieve,
    StatusError,
    StudyRoot,
    Timeouts,
    Verification,
    _core,
    for_retrieve,
)
from dimse_rs.datasets import write
from dimse_rs.dimse import retrieve
from dimse_rs.dimse.scu import cancel_of
from dimse_rs.services import Index, QueryRetrieve
from dimse_rs.services.matching import Matcher
from tests.data.generate import series
from tests.support import wire
from tests.support.nodes import CT, SCU, at, link, scp
from tests.support.scripted_scp import ScriptedScp
from tests.support.waiting import until

CONTEXTS = [StudyRoot.find, Verification]
SOON = 5.0


class Endless:
    """A C-FIND handler that finds something for ever, and knows when it was left."""

    def __init__(self):
        self.left = threading.Event()
        self.cancelled = None
        self.begun = 0

    def __call__(self, request):
        self.left.clear()
        self.begun += 1
        try:
            number = 0
            while request.identifier.get("PatientName") != "nobody":
                found = Dataset()
                found.PatientID = f"{self.begun}-{number}"
                number += 1
                yield found
        finally:
            self.cancelled = request.cancelled
            self.left.set()


@pytest.fixture
def endless():
    return Endless()


@pytest.fixture
def server(endless):
    server = scp(max_ops_performed=8)
    server.c_find(StudyRoot)(endless)
    return server


def query(association, name=""):
    return association.c_find({"PatientName": name}, model=StudyRoot, level="STUDY")


def by_break(association):
    for number, _ in enumerate(query(association)):
        if number == 3:
            break


def by_close(association):
    results = query(association)
    next(results)
    results.close()
    assert list(results) == []
    results.close()


def by_with(association):
    with query(association) as results:
        next(results)


def interrupted(steps, error):
    for _ in steps:
        raise error


def by_exception(association):
    with pytest.raises(ZeroDivisionError):
        interrupted(query(association), ZeroDivisionError)


def by_keyboard_interrupt(association):
    with pytest.raises(KeyboardInterrupt):
        interrupted(query(association), KeyboardInterrupt)


def by_forgetting(association):
    results = query(association)
    next(results)
    del results
    gc.collect()


def by_cancel(association):
    results = query(association)
    next(results)
    results.cancel()
    results.cancel()
    for _ in results:
        pass
    assert results.status == 0xFE00
    assert results.response.status.category == "cancel"
    results.cancel()  # too late: harmless


WAYS = [
    by_break,
    by_close,
    by_with,
    by_exception,
    by_keyboard_interrupt,
    by_forgetting,
    by_cancel,
]


@pytest.mark.parametrize("leave", WAYS)
def test_the_next_call_sees_nothing_of_it(leave, server, endless):
    with link(server, CONTEXTS) as association:
        for turn in (1, 2):
            leave(association)
            assert association.c_echo() == 0
            assert endless.left.wait(SOON)
            assert endless.cancelled
            assert endless.begun == turn
        for number, found in enumerate(query(association)):
            assert found.PatientID == f"3-{number}"
            if number == 100:
                break
        nobody = query(association, "nobody")
        assert list(nobody) == []
        assert nobody.status == 0
        assert association.is_established


@pytest.mark.parametrize("leave", WAYS)
def test_the_association_is_released_right_after_it(leave, server, endless):
    with link(server, CONTEXTS) as association:
        leave(association)
    assert endless.left.wait(SOON)
    assert isinstance(association._core.ended, AssociationReleased)


def test_an_iterator_that_is_kept_is_closed_on_leaving_the_association(server, endless):
    with link(server, CONTEXTS) as association:
        kept = query(association)
        next(kept)
    assert endless.left.wait(SOON)
    assert endless.cancelled
    assert isinstance(association._core.ended, AssociationReleased)
    list(kept)
    assert kept.status == 0xFE00


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_exception_with_an_iterator_open_aborts(error, server, endless):
    events = server.events(timeout=SOON)
    kept = []

    def use(association):
        with association:
            kept.append(query(association))
            next(kept[0])
            raise error

    with server:
        association = SCU.associate(at(server), contexts=CONTEXTS)
        with pytest.raises(error):
            use(association)
        assert not association.is_established
        assert endless.left.wait(SOON)
        kinds = []
        for event in events:
            kinds.append(event["event"])
            if kinds[-1] in ("released", "error", "aborted"):
                break
    assert "released" not in kinds


def test_one_that_was_never_begun_asks_nothing(server, endless):
    with link(server, CONTEXTS) as association:
        results = query(association)
        results.cancel()
        results.close()
        assert list(results) == []
        query(association)
        assert association.c_echo() == 0
    assert endless.begun == 0


def test_cancel_from_another_thread(server, endless):
    with link(server, CONTEXTS) as association:
        results = query(association)
        next(results)
        threading.Timer(0.05, results.cancel).start()
        for _ in results:
            pass
        assert results.status == 0xFE00
        assert association.c_echo() == 0


@pytest.mark.slow
def test_inside_a_loop_the_next_call_waits_until_all_is_said(server, endless):
    """On a synchronous association: the rest is kept, none is lost (PS3.7 7.3)."""
    limited = scp()

    @limited.c_find(StudyRoot)
    def find(request):
        for number in range(3000):
            found = Dataset()
            found.PatientID = str(number)
            yield found

    with link(limited, CONTEXTS) as association:
        numbers = []
        for found in query(association):
            numbers.append(int(found.PatientID))
            if len(numbers) in (1, 2500):
                assert association.c_echo() == 0
                assert len(list(query(association))) == 3000
    assert numbers == list(range(3000))


# ---- C-GET and C-MOVE


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return series(tmp_path_factory.mktemp("cancel"), "CANCEL", 30, (1, 64, 64))


class Slow:
    """Gives instances one by one, and waits after the third until it is cancelled."""

    def __init__(self, paths, count=None):
        self.paths = paths
        self.count = len(paths) if count is None else count
        self.gave = 0
        self.waits = threading.Event()
        self.left = threading.Event()

    def __call__(self, request):
        return Retrieve(self.count, self.instances(request), pending=0)

    def instances(self, request):
        try:
            for path in self.paths:
                if self.gave == 3:
                    self.waits.set()
                    until(lambda: request.cancelled, SOON)
                self.gave += 1
                yield path
        finally:
            self.left.set()


def get(association, into):
    return association.c_get({"StudyInstanceUID": "1"}, model=StudyRoot, level="STUDY", into=into)


def test_c_get_ends_with_fe00_and_what_is_not_sent_remains(paths):
    slow = Slow(paths)
    server = scp()
    server.c_get(StudyRoot)(slow)
    contexts = [for_retrieve(StudyRoot, [CTImageStorage]), Verification]
    with link(server, contexts) as association:
        received = []
        steps = get(association, received)
        first = next(steps)
        assert first.status == 0xFF00
        steps.cancel()
        last = list(steps)[-1]
        assert last.status == 0xFE00
        assert last is steps.response
        assert last.completed + last.failed + last.warning + last.remaining == 30
        assert last.completed == len(received) < 30
        assert last.failed == 0
        assert last.failed_uids == ()
        assert slow.left.wait(SOON)
        assert association.c_echo() == 0


@pytest.mark.parametrize("how", ["break", "exception", "close"])
def test_c_get_that_is_left_takes_no_more_instances(paths, how):
    slow = Slow(paths)
    server = scp()
    server.c_get(StudyRoot)(slow)
    contexts = [for_retrieve(StudyRoot, [CTImageStorage]), Verification]
    with link(server, contexts) as association:
        received = []
        steps = get(association, received)
        if how == "break":
            for _ in steps:
                break
        elif how == "exception":
            with pytest.raises(ZeroDivisionError):
                interrupted(steps, ZeroDivisionError)
        else:
            next(steps)
        steps.close()
        count = len(received)
        assert association.c_echo() == 0
        assert slow.left.wait(SOON)
        assert len(received) == count
        again = []
        with get(association, again) as steps:  # its own instances, none of the first
            slow.gave = 10
            last = list(steps)[-1]
        assert last.status == 0
        assert len(again) == 30


def test_c_move_ends_with_fe00(paths, tmp_path):
    slow = Slow(paths)
    with scp(tmp_path, any_called=True) as store:
        server = scp(destinations={"STORE": f"SCP@127.0.0.1:{store.port}"})
        server.c_move(StudyRoot)(slow)
        with link(server, [StudyRoot.move, Verification]) as association:
            steps = association.c_move(
                {"StudyInstanceUID": "1"}, model=StudyRoot, level="STUDY", destination="STORE"
            )
            caller = threading.Thread(target=lambda: list(steps))
            caller.start()
            assert slow.waits.wait(SOON)
            steps.cancel()
            caller.join(SOON)
            assert steps.status == 0xFE00
            last = steps.response
            # All files are looked at before the first is sent, and some were not given yet.
            assert (last.completed, last.failed, last.warning, last.remaining) == (0, 0, 0, 30)
            assert list(tmp_path.iterdir()) == []
            assert association.c_echo() == 0


class AtOnce:
    """Gives every instance at once, and knows whether its request is cancelled."""

    def __init__(self, paths):
        self.paths = paths
        self.request = None

    def __call__(self, request):
        self.request = request
        return Retrieve(len(self.paths), self.paths, pending=0)

    def wait_until_cancelled(self):
        until(lambda: self.request.cancelled, SOON)


@pytest.fixture
def held_up(monkeypatch):
    """Hold up who counts the results until everything has come, or a second has passed."""
    all_came = threading.Event()
    count = retrieve._count

    def late(*args):
        all_came.wait(1.0)
        all_came.set()
        count(*args)

    monkeypatch.setattr(retrieve, "_count", late)
    return all_came


@pytest.mark.slow
def test_after_c_cancel_of_a_c_get_at_most_one_more_instance_goes_out(paths, held_up):
    """Also to a receiver that answers at once: nobody has to look for the C-CANCEL first."""
    server = scp()
    server.c_get(StudyRoot)(AtOnce(paths))
    received = []

    def take(request):
        received.append(request.instance_uid)
        if len(received) == 5:
            steps.cancel()  # leaves before the answer does
        if len(received) == 30:
            held_up.set()

    with link(server, [for_retrieve(StudyRoot, [CTImageStorage]), Verification]) as association:
        steps = get(association, take)
        last = list(steps)[-1]
        assert association.c_echo() == 0
    assert last.status == 0xFE00
    assert 5 <= len(received) <= 6
    assert (last.completed, last.failed) == (len(received), 0)
    assert last.remaining == 30 - len(received)


@pytest.mark.slow
def test_after_c_cancel_of_a_c_move_at_most_one_more_instance_goes_out(paths, held_up):
    at_once = AtOnce(paths)
    received = []
    store = scp(any_called=True)

    @store.c_store
    def take(request):
        received.append(request.instance_uid)
        if len(received) == 5:
            steps.cancel()
            at_once.wait_until_cancelled()
        if len(received) == 30:
            held_up.set()

    with store:
        server = scp(destinations={"STORE": f"SCP@127.0.0.1:{store.port}"})
        server.c_move(StudyRoot)(at_once)
        with link(server, [StudyRoot.move, Verification]) as association:
            keys = {"StudyInstanceUID": "1"}
            steps = association.c_move(keys, model=StudyRoot, level="STUDY", destination="STORE")
            last = list(steps)[-1]
    assert last.status == 0xFE00
    assert 5 <= len(received) <= 6
    assert (last.completed, last.failed) == (len(received), 0)
    assert last.remaining == 30 - len(received)


def test_after_c_cancel_no_file_is_converted(tmp_path):
    """What cannot go out as it is would be a sub-operation of its own."""
    files = []
    for number in range(30):
        made = dcmread(CT)
        made.SOPInstanceUID = f"1.2.3.{number}"
        files.append(tmp_path / f"{number}.dcm")
        write(files[-1], made)
    server = scp()
    server.c_get(StudyRoot)(AtOnce(files))
    received = []

    def take(request):
        received.append(request.instance_uid)
        if len(received) == 5:
            steps.cancel()

    implicit = Context(CTImageStorage, [ImplicitVRLittleEndian], scu=False, scp=True)
    with link(server, [StudyRoot.get, implicit]) as association:
        steps = get(association, take)
        last = list(steps)[-1]
    assert last.status == 0xFE00
    assert 5 <= len(received) <= 6
    assert last.completed + last.remaining == 30


@pytest.mark.parametrize("how", ["cancel", "abort"])
def test_a_search_that_finds_nothing_hears_of_its_end(how, monkeypatch):
    """Matching goes on from one data set to the next, and looks whether anybody still wants it."""
    index = Index()
    made = dcmread(CT)
    for number in range(50):
        made.StudyInstanceUID = f"1.2.{number}"
        index.add(str(number), made)
    begun, over = threading.Event(), threading.Event()
    requests, compared = [], []

    def matches(self, source):
        compared.append(1)
        begun.set()
        until(lambda: requests[0].cancelled, SOON)
        return False

    monkeypatch.setattr(Matcher, "matches", matches)
    service = QueryRetrieve(index)
    find = service._find

    def watched(model, request):
        requests.append(request)
        try:
            yield from find(model, request)
        finally:
            over.set()

    service._find = watched
    with link(scp(services=[service]), CONTEXTS) as association:
        results = query(association, "nobody")

        def ask():
            with suppress(DimseError):
                list(results)

        asking = threading.Thread(target=ask)
        asking.start()
        assert begun.wait(SOON)
        if how == "cancel":
            results.cancel()
        else:
            association.abort()
        assert over.wait(SOON)
        asking.join(SOON)
        if how == "cancel":
            assert results.status == 0xFE00
    assert len(compared) == 1


def test_a_retrieval_whose_instances_are_still_looked_for_hears_of_its_end():
    """A handler that does not say how many there are is asked for all of them first."""
    server = scp()
    given, waits, over = [], threading.Event(), threading.Event()

    @server.c_get(StudyRoot)
    def instances(request):
        try:
            for number in range(1000):
                given.append(number)
                if number == 3:
                    waits.set()
                    until(lambda: request.cancelled, SOON)
                yield f"/nowhere/{number}.dcm"
        finally:
            over.set()

    with link(server, [for_retrieve(StudyRoot, [CTImageStorage]), Verification]) as association:
        steps = get(association, [])
        asking = threading.Thread(target=lambda: list(steps))
        asking.start()
        assert waits.wait(SOON)
        steps.cancel()
        assert over.wait(SOON)
        asking.join(SOON)
        assert steps.status == 0xFE00
    assert given == [0, 1, 2, 3]


# ---- what a peer may do


def scripted(after_cancel):
    """Play a C-FIND SCP: one match, then what comes after the C-CANCEL, then an echo."""

    def script(peer):
        peer.accept((1, 0, [wire.IMPLICIT]), (3, 0, [wire.IMPLICIT]))
        elements, _ = peer.message()
        assert wire.number_of(elements, 0x0100) == wire.C_FIND_RQ
        message_id = wire.number_of(elements, 0x0110)
        peer.send(pending(message_id))
        cancel, data = peer.message()
        assert sorted(cancel) == [0x0000, 0x0100, 0x0120, 0x0800]
        assert wire.number_of(cancel, 0x0100) == 0x0FFF
        assert wire.number_of(cancel, 0x0120) == message_id
        assert data == b""
        after_cancel(peer, message_id)
        elements, _ = peer.message()
        assert wire.number_of(elements, 0x0100) == wire.C_ECHO_RQ
        peer.answer(elements, 0, context=3)
        peer.release()

    return ScriptedScp(script)


def pending(message_id):
    command = wire.command(
        wire.us(0x0100, 0x8020),
        wire.us(0x0120, message_id),
        wire.us(0x0800, 1),
        wire.us(0x0900, 0xFF00),
    )
    identifier = b"\x10\0\x20\0\x04\0\0\0ABC "
    return wire.as_commands(1, command) + wire.as_data(1, identifier)


def final(message_id, status):
    return wire.as_commands(1, wire.response(wire.C_FIND_RQ, message_id, status))


@pytest.mark.parametrize("status", [0xFE00, 0x0000, 0xA700, 0xB000])
def test_the_race_may_be_lost(status):
    """R-338: matches, and another final status than FE00, may come after the C-CANCEL."""

    def after(peer, message_id):
        peer.send(pending(message_id) * 700, final(message_id, status))

    with (
        scripted(after) as scp_,
        SCU.associate(scp_.address, contexts=CONTEXTS) as association,
    ):
        for _ in query(association):
            break
        assert association.c_echo() == 0


def test_after_cancel_what_still_comes_is_given():
    def after(peer, message_id):
        peer.send(pending(message_id) * 2, final(message_id, 0xA700))

    with (
        scripted(after) as scp_,
        SCU.associate(scp_.address, contexts=CONTEXTS) as association,
    ):
        results = query(association)
        next(results)
        results.cancel()
        assert next(results).PatientID == "ABC"
        assert next(results).PatientID == "ABC"
        with pytest.raises(StatusError):
            next(results)
        assert association.c_echo() == 0


@pytest.mark.slow
def test_a_peer_that_does_not_end_is_aborted_in_time():
    def script(peer):
        peer.accept((1, 0, [wire.IMPLICIT]), (3, 0, [wire.IMPLICIT]))
        elements, _ = peer.message()
        message_id = wire.number_of(elements, 0x0110)
        try:
            while True:
                peer.send(pending(message_id))
                time.sleep(0.05)  # the case is: now and then
        except OSError:
            return

    ae = AE("SCU", timeouts=Timeouts(dimse=0.5, artim=1))
    with ScriptedScp(script) as scp_:
        association = ae.associate(scp_.address, contexts=CONTEXTS)
        for _ in query(association):
            break
        started = time.monotonic()
        with pytest.raises(DimseTimeout) as caught:
            association.c_echo()
        assert caught.value.which == "dimse"
        assert 0.3 < time.monotonic() - started < 0.5 + SOON


def test_a_cancel_that_comes_too_late_or_for_nobody_is_ignored(server):
    """D14, R-338: after the final response, and for an id that was never used."""
    with link(server, CONTEXTS) as association:
        results = query(association, "nobody")
        assert list(results) == []
        association._core.send(cancel_of(results._call.request))
        other = _core.Message(1, {"CommandField": 0x0FFF, "MessageIDBeingRespondedTo": 4711})
        for _ in range(10_000):
            association._core.send(other, wait=False)
        assert association.c_echo() == 0
