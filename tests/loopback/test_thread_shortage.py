"""No thread can be started for a while: that costs the while, and nothing after it."""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import signal
import socket
import sys
import threading
import time
import urllib.request
from itertools import pairwise

import pytest

from dimse_rs import AE, AsyncServer, Username, serve_metrics
from dimse_rs.aio.threads import Threads
from dimse_rs.server import asynchronous
from dimse_rs.threads import keep_trying
from tests.data.generate import series
from tests.support.nodes import PATIENT, SCU, at, scp
from tests.support.process import Process

pytestmark = pytest.mark.slow  # waits, or counts long work

SHORT = "can't start new thread"


class Shortage:
    """While it is on, no thread of ours starts."""

    def __init__(self, monkeypatch):
        self.on = False
        self.failed = threading.Event()
        start = threading.Thread.start

        def perhaps(thread):
            if self.on and thread.name.startswith("dimse-"):
                self.failed.set()
                raise RuntimeError(SHORT)
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", perhaps)


@pytest.fixture
def shortage(monkeypatch):
    return Shortage(monkeypatch)


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.code == "threads"]


def side_by_side(*functions):
    threads = [threading.Thread(target=function, name="caller") for function in functions]
    for thread in threads:
        thread.start()
    return threads


def test_handlers_go_on_after_it(shortage, caplog):
    server = scp()
    entered, leave = threading.Semaphore(0), threading.Event()
    answers = []

    @server.c_echo
    def echo(request):
        entered.release()
        assert leave.wait(20)

    with server:
        peers = [SCU.associate(at(server)) for _ in range(3)]
        shortage.on = True
        callers = side_by_side(*(lambda peer=peer: answers.append(peer.c_echo()) for peer in peers))
        assert entered.acquire(timeout=10)  # by the one thread that there is
        assert shortage.failed.wait(10)
        shortage.on = False
        for _ in peers[1:]:  # while the first is at it still
            assert entered.acquire(timeout=10)
        leave.set()
        for caller in callers:
            caller.join(10)
    assert answers == [0, 0, 0]
    assert [re.sub(r"-\d+", "", line) for line in lines(caplog)] == [
        f"dimse-worker: no thread can be started: {SHORT}; trying again",
        "threads can be started again",
    ]


def test_what_fails_again_is_tried_again():
    tries, done = [], threading.Event()

    def attempt():
        tries.append(len(tries))
        if len(tries) == 4:
            done.set()
        return done.is_set()

    keep_trying(attempt)
    assert done.wait(10)


def test_proposals_are_decided_on_after_it(shortage):
    entered, leave = threading.Semaphore(0), threading.Event()

    def verify(proposal):
        entered.release()
        return leave.wait(20)

    established = []

    def associate():
        with SCU.associate(at(server), identity=Username("somebody")) as association:
            established.append(association.c_echo())

    with scp(verify_identity=verify) as server:
        shortage.on = True
        callers = side_by_side(associate, associate)
        assert entered.acquire(timeout=10)
        assert shortage.failed.wait(10)
        shortage.on = False
        assert entered.acquire(timeout=10)
        leave.set()
        for caller in callers:
            caller.join(10)
    assert established == [0, 0]


def test_functions_that_a_loop_has_called_wait_for_a_thread(shortage, either_mode):
    async def main():
        server = AsyncServer(AE("SCP", timeouts=PATIENT), port=0)
        leave = threading.Event()
        server.c_echo(lambda request: leave.wait(20) and 0)
        async with server, SCU.associate_async(at(server)) as one:
            async with SCU.associate_async(at(server)) as other:
                shortage.on = True
                calls = [asyncio.create_task(one.c_echo()), asyncio.create_task(other.c_echo())]
                await asyncio.to_thread(shortage.failed.wait, 10)
                shortage.on = False
                leave.set()
                assert await asyncio.gather(*calls) == [0, 0]
            assert server._performer._threads.busy == 0

    asyncio.run(main())


def test_an_asyncio_server_stops_after_it(shortage, monkeypatch, either_mode):
    async def main():
        server = await AsyncServer(AE("SCP", timeouts=PATIENT), port=0).start()
        monkeypatch.setattr(asynchronous, "SHARED", Threads())  # none of which is idle
        shortage.on = True
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        assert shortage.failed.is_set()
        shortage.on = False
        await stopping

    asyncio.run(main())


def test_a_server_that_cannot_start_leaves_nothing_and_starts_later(shortage):
    for short_of in ("dimse-events", "dimse-worker", "dimse-admission"):
        server = scp(accept=lambda proposal: True)
        server.c_echo(lambda request: None)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            server._bind = free.getsockname()
        start = threading.Thread.start

        def perhaps(thread, short_of=short_of, start=start):
            if thread.name.startswith(short_of):
                raise RuntimeError(SHORT)
            start(thread)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threading.Thread, "start", perhaps)
            with pytest.raises(RuntimeError, match=SHORT):
                server.start()
        with server, SCU.associate(at(server)) as association:
            assert association.c_echo() == 0


def test_the_page_of_the_metrics_needs_no_further_thread(shortage):
    with scp() as server:
        with serve_metrics(server) as page:
            shortage.on = True
            assert urllib.request.urlopen(page.url, timeout=10).status == 200
            shortage.on = False
        shortage.on = True
        with pytest.raises(RuntimeError, match=SHORT):
            serve_metrics(server, port=page.port)
        shortage.on = False
        with serve_metrics(server, port=page.port) as again:
            assert urllib.request.urlopen(again.url, timeout=10).status == 200


def test_sending_and_telling_do_without(shortage, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "dimse_rs")
    files = series(tmp_path, "some", 4, (1, 8, 8))
    with scp(tmp_path / "in") as server:
        shortage.on = True
        report = SCU.send(at(server), files, associations=2)
        again = SCU.send(at(server), files, cancel=threading.Event())
        shortage.on = False
    again.raise_for_failures()
    assert [result.ok for result in report.results] == [True] * 4
    assert "A-ASSOCIATE-RQ" in caplog.text


SIGNALLED = """
import sys, threading
from dimse_rs.cli import main
from dimse_rs.cli.output import Output

start, data = threading.Thread.start, Output.data

def fail(thread):
    raise RuntimeError("can't start new thread")

def told(output, text):
    threading.Thread.start = fail
    data(output, text)

Output.data = told
sys.exit(main(["storescp", "0", "-od", sys.argv[1]]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_command_without_a_new_thread(number, tmp_path):
    with Process([sys.executable, "-W", "error", "-c", SIGNALLED, str(tmp_path)]) as tool:
        assert tool.wait_for_line(str.isdigit)
        tool._child.send_signal(number)
        assert tool.wait() == (0 if number == signal.SIGTERM else 130), tool.story("failed")
    assert "Traceback" not in tool.errors()


# ---- descriptors: the same for the page of the metrics


def test_a_page_without_descriptors_rests_and_says_so_once(monkeypatch, caplog):
    accepts = []

    class Listening(socket.socket):
        def accept(self):
            accepts.append(time.monotonic())
            if len(accepts) <= 3:
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    def create_server(address, *, family):
        listening = Listening(family)
        listening.bind(address)
        listening.listen()
        return listening

    monkeypatch.setattr("dimse_rs.observe.prometheus._BACK_OFF", 0.01)
    monkeypatch.setattr(socket, "create_server", create_server)
    with scp() as server, serve_metrics(server) as page:
        assert urllib.request.urlopen(page.url, timeout=10).status == 200
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert said == ["metrics: cannot accept: [Errno 24] Too many open files"]
    assert len(accepts) < 10
    assert all(later - before >= 0.01 for before, later in pairwise(accepts[:4]))
