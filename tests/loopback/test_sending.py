"""A sending that is tried again, cancelled, interrupted or resumed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections import Counter

import pytest

from dimse_rs import (
    AE,
    AsyncServer,
    ConnectFailed,
    CTImageStorage,
    SendingCancelled,
    SendInterrupted,
    Server,
    Timeouts,
)
from tests.data.generate import series
from tests.support.nodes import PATIENT, SCU, Puppet, at, silent_after
from tests.support.process import free_port
from tests.support.waiting import until

ENOUGH = 15.0
KINDS = pytest.mark.parametrize("kind", [Server, AsyncServer], ids=["Server", "AsyncServer"])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    series(folder, "one", 12, (1, 32, 32))
    return folder


class Answering:
    """A handler of C-STORE; its function takes how often an instance came, and its place."""

    def __init__(self, answer=lambda times, place: 0):
        self.came = Counter()
        self._answer = answer

    def __call__(self, request):
        uid = request.instance_uid
        self.came[uid] += 1
        return self._answer(self.came[uid], list(self.came).index(uid))


def serving(handler, kind=Server, **options):
    """Run either server with a handler of C-STORE, an AsyncServer on a thread with its loop."""
    server = kind(AE("SCP", timeouts=PATIENT), port=options.pop("port", 0), **options)
    server.c_store(handler)
    return server if kind is Server else in_a_loop(server)


@contextlib.contextmanager
def in_a_loop(server):
    started, over = threading.Event(), threading.Event()

    async def serve():
        async with server:
            started.set()
            await asyncio.to_thread(over.wait, ENOUGH)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(ENOUGH)
    try:
        yield server
    finally:
        over.set()
        thread.join(ENOUGH)


def send(face, *args, **options):
    """Send by the function that blocks, or by the one that is awaited."""
    if face == "send":
        return SCU.send(*args, **options)
    return asyncio.run(SCU.send_async(*args, **options))


FACES = pytest.mark.parametrize("face", ["send", "send_async"])


@FACES
@KINDS
def test_files_are_sent_again_until_the_peer_has_room(study, face, kind):
    handler = Answering(lambda times, place: 0xA700 if times < 3 and place == 3 else 0)
    results, events, delays = [], [], []

    def backoff(retry):
        delays.append(retry)
        return 0

    with serving(handler, kind) as server:
        report = send(
            face, at(server), study, retries=5, backoff=backoff,
            on_result=results.append, on_event=events.append,
        )  # fmt: skip
    report.raise_for_failures()
    assert sorted(handler.came.values()) == [1] * 11 + [3]
    assert delays == [1, 2]
    assert len(results) == len(report.results) == 12, "one result for each file, the final one"
    assert {result.category for result in results} == {"ok"}
    retries = [event for event in events if event["event"] == "retry"]
    assert [(event["files"], event["retry"]) for event in retries] == [(1, 1), (1, 2)]
    assert "A700" in retries[0]["why"]
    assert [e["done"] for e in events if e["event"] == "progress"] == list(range(13))


@FACES
def test_when_all_retries_failed_the_failure_is_the_result(study, face):
    handler = Answering(lambda times, place: 0xA701)
    with serving(handler) as server:
        report = send(face, at(server), study, retries=2, backoff=0)
    assert {result.status for result in report.failures} == {0xA701}
    assert len(report.failures) == 12
    assert set(handler.came.values()) == {3}


def test_what_is_refused_for_good_is_not_tried_again(study):
    handler = Answering(lambda times, place: 0xA900)
    with serving(handler) as server:
        report = SCU.send(at(server), study, retries=5, backoff=0)
    assert len(report.failures) == 12
    assert set(handler.came.values()) == {1}


@FACES
def test_a_peer_that_is_down_is_waited_for(study, face):
    port, server = free_port(), []

    def backoff(retry):
        if retry == 2:
            server.append(Server(AE("SCP", timeouts=PATIENT), port=port))
            server[0].c_store(lambda request: None)
            server[0].start()
        return 0

    try:
        report = send(face, f"SCP@127.0.0.1:{port}", study, retries=3, backoff=backoff)
        report.raise_for_failures()
    finally:
        for one in server:
            one.stop()
    assert len(report.sent) == 12


def test_without_retries_nothing_is_tried_again():
    with pytest.raises(ValueError, match="retries is 0 or more"):
        SCU.send("A@127.0.0.1:1", "x", retries=-1)
    with pytest.raises(ValueError, match="backoff is a number of seconds or a function"):
        SCU.send("A@127.0.0.1:1", "x", backoff=-1.0)


def test_no_connection_is_the_result_without_retries(study):
    report = SCU.send(f"A@127.0.0.1:{free_port()}", study)
    assert all(isinstance(result.error, ConnectFailed) for result in report.results)
    assert all(result.retryable for result in report.results)


# ---- cancelled


@FACES
@KINDS
@pytest.mark.parametrize("associations", [1, 3])
def test_a_sending_is_cancelled_from_another_thread(study, face, kind, associations):
    cancel = threading.Event()
    told = []

    def store(request):
        if len(handler.came) >= 4:
            cancel.set()
            # No file begins from now on, as soon as the sender has seen the event.
            threading.Event().wait(0.3)

    handler = Answering()
    with serving(lambda request: handler(request) or store(request), kind) as server:
        report = send(
            face, at(server), study, cancel=cancel, associations=associations,
            on_result=told.append,
        )  # fmt: skip
    assert report.cancelled
    sent, left = report.sent, report.left
    assert 4 <= len(sent) < 12
    assert len(sent) + len(left) == len(report.results) == 12
    assert {result.sop_instance for result in sent} == set(handler.came), "none was in doubt"
    assert all(isinstance(result.error, SendingCancelled) for result in report.failures)
    assert {result.category for result in report.failures} == {"not-sent"}
    assert sorted(told, key=lambda r: r.path) == sorted(sent, key=lambda r: r.path)


@FACES
def test_a_sending_that_was_cancelled_before_it_began_sends_nothing(study, face):
    cancel = threading.Event()
    cancel.set()
    handler = Answering()
    with serving(handler) as server:
        report = send(face, at(server), study, cancel=cancel)
    assert report.cancelled
    assert not handler.came


@FACES
def test_waiting_for_a_retry_is_cancelled(study, face):
    cancel = threading.Event()

    def backoff(retry):
        cancel.set()
        return 3600

    report = send(
        face, f"A@127.0.0.1:{free_port()}", study, retries=1, backoff=backoff, cancel=cancel
    )
    assert all(isinstance(result.error, ConnectFailed) for result in report.results)


@FACES
def test_waiting_for_an_association_is_cancelled(study, face):
    with Puppet(silent_after("associate-requested"), [CTImageStorage]) as peer:
        cancel = threading.Event()
        threading.Thread(target=lambda: (peer.reached.wait(ENOUGH), cancel.set())).start()
        report = send(face, at(peer), study, cancel=cancel)
    assert report.cancelled
    assert len(report.left) == 12


def test_files_that_are_not_answered_are_given_up_when_the_sending_is_cancelled(study, monkeypatch):
    from dimse_rs import send as module

    monkeypatch.setattr(module, "_GRACE", 0.2)
    with Puppet(silent_after("data"), [CTImageStorage]) as peer:
        cancel = threading.Event()
        threading.Thread(target=lambda: (peer.reached.wait(ENOUGH), cancel.set())).start()
        report = SCU.send(at(peer), study, cancel=cancel)
    categories = Counter(result.category for result in report.results)
    assert categories == {"failed": 1, "not-sent": 11}, "the one on its way may be stored"


@pytest.mark.usefixtures("either_mode")
@KINDS
def test_cancelling_the_task_cancels_the_sending(study, kind):
    handler = Answering()
    entered = threading.Event()

    def store(request):
        handler(request)
        entered.set()
        threading.Event().wait(0.3)

    async def main(server):
        sending = asyncio.create_task(SCU.send_async(at(server), study))
        assert await asyncio.to_thread(entered.wait, ENOUGH)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await sending
        return caught.value

    with serving(store, kind) as server:
        cancelled = asyncio.run(main(server))
        came = len(handler.came)
    assert 1 <= came < 12
    assert cancelled.__notes__ == [f"{came} of 12 files sent"]


@pytest.mark.usefixtures("either_mode")
def test_functions_are_called_on_the_loop_and_their_errors_end_the_sending(study):
    on, handler = [], Answering()

    def on_result(result):
        on.append(asyncio.get_running_loop())
        if len(on) == 3:
            raise LookupError("mark")

    async def main(server):
        with pytest.raises(LookupError, match="mark"):
            await SCU.send_async(at(server), study, on_result=on_result)
        return asyncio.get_running_loop()

    with serving(handler) as server:
        loop = asyncio.run(main(server))
    assert on == [loop] * 3


@pytest.mark.usefixtures("either_mode")
def test_a_sending_on_a_loop_does_not_hold_the_loop_up(study):
    gate = threading.Event()

    async def main(server):
        sending = asyncio.create_task(SCU.send_async(at(server), study))
        await asyncio.sleep(0)
        gate.set()
        return await sending

    with serving(lambda request: gate.wait(ENOUGH) and None) as server:
        report = asyncio.run(main(server))
    assert len(report.sent) == 12


# ---- interrupted


@pytest.mark.parametrize("associations", [1, 3])
def test_ctrl_c_says_how_many_were_sent_and_the_report_survives(study, associations):
    gate = threading.Event()
    handler = Answering()
    main = threading.main_thread().ident

    def store(request):
        handler(request)
        if len(handler.came) == 5:
            signal.pthread_kill(main, signal.SIGINT)
        if len(handler.came) >= 5:
            gate.wait(ENOUGH)

    with serving(store) as server:
        with pytest.raises(SendInterrupted) as caught:
            SCU.send(at(server), study, associations=associations)
        gate.set()
    report = caught.value.report
    assert len(report.results) == 12
    assert str(caught.value) == f"{len(report.sent)} of 12 files sent"
    # What was answered is sent, also what came in the moment of Ctrl-C; what was on its way is not.
    assert len(report.sent) >= 5 - associations
    assert {result.sop_instance for result in report.results if result.bytes} >= set(handler.came)
    assert report.cancelled


# ---- resumed


@FACES
@KINDS
def test_what_a_report_has_is_not_sent_again(study, face, kind):
    handler = Answering(lambda times, place: 0xC000 if times == 1 and place == 3 else 0)
    with serving(handler, kind) as server:
        first = send(face, at(server), study)
        assert len(first.left) == 1
        told, events = [], []
        second = send(
            face, at(server), study, resume=first, on_result=told.append, on_event=events.append
        )
    second.raise_for_failures()
    assert len(second.results) == 12
    assert sorted(handler.came.values()) == [1] * 11 + [2]
    assert [result.path for result in told] == list(first.left)
    assert [(e["done"], e["total"]) for e in events if e["event"] == "progress"] == [
        (11, 12),
        (12, 12),
    ]


def test_a_sending_that_was_interrupted_is_resumed_from_its_report(study):
    cancel = threading.Event()
    handler = Answering()

    def store(request):
        handler(request)
        if len(handler.came) == 4:
            cancel.set()
            threading.Event().wait(0.3)

    with serving(store) as server:
        first = SCU.send(at(server), study, cancel=cancel)
        second = SCU.send(at(server), study, resume=first)
        third = SCU.send(at(server), first.left)
    second.raise_for_failures()
    assert {result.path for result in third.results} == set(first.left)
    assert not second.cancelled


def test_a_file_that_is_gone_and_was_stored_stays_stored(study, tmp_path):
    path = next(iter(study.rglob("*.dcm")))
    copy = tmp_path / "copy.dcm"
    copy.write_bytes(path.read_bytes())
    with serving(Answering()) as server:
        first = SCU.send(at(server), copy)
        copy.unlink()
        second = SCU.send(at(server), [copy], resume=first)
    second.raise_for_failures()


def test_a_timeout_is_tried_again(study):
    gate = threading.Event()

    def answer(times, place):
        if times == 1 and place == 3:
            gate.wait(ENOUGH)
        return 0

    handler = Answering(answer)
    ae = AE("SCU", timeouts=Timeouts(store=0.5, dimse=0.5))
    with serving(handler) as server:
        report = ae.send(at(server), study, retries=1, backoff=lambda retry: gate.set() or 0)
    report.raise_for_failures()
    until(lambda: len(handler.came) == 12)
