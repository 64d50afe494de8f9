"""Work of a service that goes on after the answer: on a loop of its own, to any association."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from dimse_rs import AE, AsyncServer, Context, Handlers, StorageCommitmentPushModel, Verification
from dimse_rs.aio import AsyncAssociation, Background, Threads
from tests.support.nodes import PATIENT, SCU, at, link, scp

REPORTS = Context(StorageCommitmentPushModel, scp=True)


class Noting:
    """A service that reports on the association of the request, once it was answered."""

    def __init__(self):
        self.background = Background("noting")

    def register(self, handlers):
        handlers.n_action(StorageCommitmentPushModel)(self.asked)

    def asked(self, request):
        request.afterwards(lambda: self.background.start(self.report, request.association))

    async def report(self, association):
        mine = AsyncAssociation.of(association)
        await mine.n_event_report(1, sop_class=StorageCommitmentPushModel, instance_uid="1.2")


def noted(server):
    """Ask, and wait for the report on the same association."""
    came = threading.Event()
    handlers = Handlers()
    handlers.n_event_report(StorageCommitmentPushModel)(lambda request: came.set())
    with SCU.associate(at(server), contexts=REPORTS, handlers=handlers) as association:
        association.n_action(1, sop_class=StorageCommitmentPushModel, instance_uid="1.2")
        return came.wait(10)


def test_a_service_reports_on_an_association_of_a_server():
    with scp(services=[Noting()]) as server:
        assert noted(server)


def test_a_service_reports_on_an_association_of_an_event_loop():
    async def main():
        server = AsyncServer(AE("SCP", timeouts=PATIENT), port=0, services=[Noting()])
        async with server:
            return await asyncio.to_thread(noted, server)

    assert asyncio.run(main())


def test_a_loop_shares_a_blocking_association_with_its_maker():
    async def echoes(association):
        return await AsyncAssociation.of(association).c_echo()

    with link(scp(), Verification) as association:
        assert association.ended is None
        assert asyncio.run(echoes(association)) == 0
        assert association.c_echo() == 0
        association.release()
        assert "released" in str(association.ended)


def test_a_loop_is_needed():
    with link(scp(), Verification) as association, pytest.raises(RuntimeError, match="loop"):
        AsyncAssociation.of(association)


def test_tasks_run_side_by_side_and_what_one_raises_is_logged(caplog):
    background, done = Background("testing"), threading.Barrier(2)

    async def fail():
        raise OSError("disk")

    async def wait(other):
        await asyncio.to_thread(done.wait, 10)

    background.start(fail)
    background.start(wait, 1)
    done.wait(10)
    assert "testing: a task failed" in caplog.text
    assert caplog.records[0].code == "background"


def test_the_thread_ends_and_starts_again(monkeypatch):
    monkeypatch.setattr("dimse_rs.aio.background.TURN", 0.01)
    background, ran = Background("testing"), threading.Semaphore(0)

    async def task():
        ran.release()

    for _ in range(3):
        background.start(task)
        assert ran.acquire(timeout=10)
        for thread in threading.enumerate():
            if thread.name == "testing":
                thread.join(10)
                assert not thread.is_alive()


def test_so_many_threads_and_no_more():
    threads, at_once, most = Threads(2), [], []
    lock = threading.Lock()

    def work(number):
        with lock:
            at_once.append(number)
            most.append(len(at_once))
        time.sleep(0)  # let another thread in
        with lock:
            at_once.remove(number)

    async def main():
        await asyncio.gather(*(threads.call(work, number) for number in range(20)))

    asyncio.run(main())
    assert len(most) == 20
    assert max(most) <= 2
    assert threads.busy == 0
