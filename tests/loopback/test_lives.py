"""Every way to end, however it comes about: it ends, in its time, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
import threading
import time
import warnings
import weakref
from dataclasses import replace

import pytest
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    AsyncServer,
    DimseError,
    LocalProtocolError,
    StudyRoot,
    Verification,
    serve_metrics,
)
from tests.support.nodes import PATIENT, at, scp
from tests.support.process import Process

pytestmark = pytest.mark.slow

GRACE = 0.3
TIME = 10.0
# A release from a handler of the very association waits for as long as an operation may take.
SCU = AE("SCU", timeouts=replace(PATIENT, dimse=3, release=3))
QUERY = {"model": StudyRoot, "level": "STUDY"}
CONTEXTS = [Verification, StudyRoot.find]


@contextlib.contextmanager
def in_time():
    """Fail when the block takes longer than any end may."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < TIME


def matches(request):
    number = 0
    while not request.cancelled:
        match = Dataset()
        match.PatientID = str(number)
        yield match


class Busy:
    """A server, an association with a query in progress, and a handler that does as it is told."""

    def __init__(self, *, asked=lambda: None):
        self.server = scp(max_ops_performed=8)
        self.server.c_find(StudyRoot)(matches)
        self.asked = asked
        self.server.c_echo(lambda request: self.asked())
        self.server.start()
        self.page = serve_metrics(self.server)
        self.association = SCU.associate(at(self.server), contexts=CONTEXTS, max_ops_invoked=8)
        self.responses = self.association.c_find({"PatientID": ""}, **QUERY)
        next(self.responses)

    def end(self, what):
        """Give what ends one of them."""
        return {
            "stop": lambda: self.server.stop(GRACE),
            "close": self.responses.close,
            "close page": self.page.close,
            "release": self.release,
            "abort": self.association.abort,
        }[what]

    def release(self):
        self.responses.close()
        with contextlib.suppress(DimseError):  # it was aborted, or stopped, before
            self.association.release()

    def over(self):
        with in_time():
            self.association.abort()
            self.server.stop(GRACE)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", self.server.port), 5)


ENDS = ["stop", "close", "close page", "release", "abort"]


def call(busy):
    """Ask on another thread for what does not come."""

    def ask():
        with contextlib.suppress(DimseError):
            busy.association.c_echo()

    calling = threading.Thread(target=ask)
    calling.start()
    return calling


def twice(end):
    end()
    end()


def concurrently(end):
    failures = []

    def one():
        try:
            end()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIME)
    assert not any(thread.is_alive() for thread in threads)
    assert [failure for failure in failures if "already executing" not in str(failure)] == []


def from_the_loop(end):
    async def main():
        end()

    asyncio.run(main())


@pytest.mark.parametrize("way", [twice, concurrently, from_the_loop])
@pytest.mark.parametrize("what", ENDS)
def test_an_end_ends(what, way):
    busy = Busy()
    with in_time():
        way(busy.end(what))
    busy.over()


@pytest.mark.parametrize("what", ENDS)
def test_an_end_ends_from_a_handler(what):
    ended = threading.Event()
    busy = Busy()

    def end():
        busy.end(what)()
        ended.set()

    busy.asked = end
    with in_time():
        with contextlib.suppress(DimseError):
            busy.association.c_echo()
        assert ended.wait(TIME)
    busy.over()


@pytest.mark.parametrize("what", ENDS)
def test_an_end_ends_after_it_was_interrupted(what):
    busy = Busy()
    entered, leave = threading.Event(), threading.Event()

    def stuck():
        entered.set()
        leave.wait(20)

    busy.asked = stuck
    calling = call(busy)
    assert entered.wait(10)
    end = busy.end(what) if what != "stop" else lambda: busy.server.stop(30.0)
    interrupting = threading.Thread(target=signal.raise_signal, args=(signal.SIGINT,))
    with in_time():
        with contextlib.suppress(KeyboardInterrupt):
            # It may come before, in, or after what ends: all must do.
            interrupting.start()
            end()
            interrupting.join()
        busy.end("stop")()
    leave.set()
    calling.join(TIME)
    busy.over()


@contextlib.contextmanager
def heard(emit):
    """Have a log handler called with the records of servers, from INFO on."""

    class Handler(logging.Handler):
        def emit(self, record):
            emit(record)

    logger, handler = logging.getLogger("dimse_rs.server"), Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_a_stop_that_was_interrupted_at_its_very_end_is_finished_by_the_next():
    logging_, go_on = threading.Event(), threading.Event()

    def slow(record):
        if record.code == "released":
            logging_.set()
            go_on.wait(20)

    with heard(slow):
        server = scp().start()
        SCU.associate(at(server)).release()
        assert logging_.wait(10)
        main = threading.main_thread().ident

        def interrupt():
            assert server._stopping.wait(10)
            signal.pthread_kill(main, signal.SIGINT)

        threading.Thread(target=interrupt).start()
        with in_time(), pytest.raises(KeyboardInterrupt):
            server.stop()
        go_on.set()
        with in_time():
            server.stop()
            server.stop()


def test_a_signal_handler_may_stop_what_is_being_stopped():
    busy = Busy()
    ended = []

    def stop(number, frame):
        busy.server.stop(0.0)
        ended.append(number)

    entered, leave = threading.Event(), threading.Event()
    busy.asked = lambda: (entered.set(), leave.wait(20))
    calling = call(busy)
    assert entered.wait(10)

    def signalled():
        assert busy.server._stopping.wait(10)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        threading.Thread(target=signalled).start()
        with in_time():
            busy.server.stop(60.0)
    finally:
        signal.signal(signal.SIGUSR1, before)
        leave.set()
    calling.join(TIME)
    assert ended == [signal.SIGUSR1]
    busy.over()


def test_a_second_stop_that_is_in_a_hurry_does_not_wait_for_the_first():
    busy = Busy()
    first = threading.Thread(target=busy.server.stop, args=(60.0, 60.0))
    first.start()
    assert busy.server._stopping.wait(10)
    with in_time():
        busy.server.stop(0.0)
        first.join(TIME)
    assert not first.is_alive()
    busy.over()


def test_a_log_handler_may_stop_the_server():
    ended = threading.Event()

    def stop(record):
        if record.code == "released":
            server.stop()
            ended.set()

    with heard(stop), in_time():
        server = scp().start()
        SCU.associate(at(server)).release()
        assert ended.wait(TIME)
        server.stop()


# ---- asyncio


async def ends_in(what, server, association, found):
    async def release():
        await found.aclose()
        with contextlib.suppress(DimseError):
            await association.release()

    await {
        "stop": lambda: server.stop(GRACE),
        "close": found.aclose,
        "release": release,
        "abort": association.abort,
    }[what]()


async def async_twice(end):
    await end()
    await end()


async def async_concurrently(end):
    outcomes = await asyncio.gather(*(end() for _ in range(6)), return_exceptions=True)
    failures = [outcome for outcome in outcomes if outcome is not None]
    assert [failure for failure in failures if "already" not in str(failure)] == []


async def cancelled_and_again(end):
    first = asyncio.ensure_future(end())
    await asyncio.sleep(0)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    await end()


async def from_a_handler(end):
    """Serve an echo by it: see the test."""


@pytest.mark.parametrize(
    "way", [async_twice, async_concurrently, cancelled_and_again, from_a_handler]
)
@pytest.mark.parametrize("what", ["stop", "close", "release", "abort"])
def test_an_end_ends_on_a_loop(what, way, either_mode):
    async def main():
        server = AsyncServer(AE("SCP", timeouts=PATIENT), port=0, max_ops_performed=8)
        ended = asyncio.Event()

        @server.c_find(StudyRoot)
        async def find(request):
            while not request.cancelled:
                yield match()
                await asyncio.sleep(0)

        def match():
            found = Dataset()
            found.PatientID = "1"
            return found

        @server.c_echo
        async def echo(request):
            await end()
            ended.set()

        await server.start()
        association = await SCU.associate_async(at(server), contexts=CONTEXTS, max_ops_invoked=8)
        found = association.c_find({"PatientID": ""}, **QUERY)
        await anext(found)

        def end():
            return ends_in(what, server, association, found)

        async with asyncio.timeout(TIME):
            if way is from_a_handler:
                with contextlib.suppress(DimseError):
                    await association.c_echo()
                await ended.wait()
            else:
                await way(end)
            await association.abort()
            await server.stop(GRACE)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", server.port), 5)

    asyncio.run(main())


# ---- garbage


def gone(port):
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 5)


@pytest.mark.parametrize("busy", [False, True])
def test_a_server_that_nobody_keeps_closes_its_port(busy):
    gc.collect()  # what tests before this one have left
    server = scp(verify_identity=lambda proposal: True)
    server.c_find(StudyRoot)(matches)
    server.start()
    page = serve_metrics(server)
    port, alive = server.port, weakref.ref(server)
    association = SCU.associate(at(server), contexts=CONTEXTS)
    if busy:
        responses = association.c_find({"PatientID": ""}, **QUERY)
        next(responses)
        responses.close()
        association.c_echo()
    with in_time(), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        del server
        while alive() is not None:  # until the handler's thread has let go of it
            gc.collect()
    assert [str(warning.message) for warning in warned if "never stopped" in str(warning)] == [
        f"<Server SCP on 127.0.0.1:{port}> was never stopped"
    ]
    gone(port)
    with pytest.raises(DimseError):
        association.c_echo()
    page._thread.join(TIME)
    gone(page.port)


def test_an_asyncio_server_that_nobody_keeps_closes_its_port(either_mode):
    async def main():
        server = AsyncServer(AE("SCP", timeouts=PATIENT), port=0)
        server.c_find(StudyRoot)(lambda request: [])
        await server.start()
        port = server.port
        async with SCU.associate_async(at(server), contexts=CONTEXTS) as association:
            assert [match async for match in association.c_find({"PatientID": ""}, **QUERY)] == []
        with in_time(), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            alive = weakref.ref(server)
            del server
            while alive() is not None:
                await asyncio.sleep(0)
                gc.collect()
        assert "was never stopped" in str([warning.message for warning in warned])
        gone(port)
        await asyncio.sleep(0)

    asyncio.run(main())


def test_a_server_that_was_stopped_is_garbage_without_a_word(recwarn):
    server = scp()
    server.c_echo(lambda request: None)
    with server:
        alive = weakref.ref(server)
    del server
    with in_time():
        while alive() is not None:
            gc.collect()
    assert [warning for warning in recwarn if warning.category is ResourceWarning] == []


def test_what_could_not_start_leaves_no_port_and_may_start_again():
    with scp() as other:
        server = scp()
        server._bind = "127.0.0.1", other.port
        with pytest.raises(OSError, match="in use"):
            server.start()
        with pytest.raises(LocalProtocolError, match="not started"):
            server.wait()


# ---- the end of the interpreter

EXIT = """
import threading
from dimse_rs import AE, Server, StudyRoot, serve_metrics
from pydicom import Dataset

entered = threading.Event()
server = Server(AE("SCP"), port=0, max_ops_performed=8)

@server.c_find(StudyRoot)
def find(request):
    while not request.cancelled:
        match = Dataset()
        match.PatientID = "1"
        yield match

@server.c_echo
def echo(request):
    entered.set()
    threading.Event().wait()

server.start()
page = serve_metrics(server)
contexts = ["1.2.840.10008.1.1", StudyRoot.find]
peer = f"SCP@127.0.0.1:{server.port}"
association = AE("SCU").associate(peer, contexts=contexts, max_ops_invoked=8)
responses = association.c_find({"PatientID": ""}, model=StudyRoot, level="STUDY")
next(responses)
threading.Thread(target=association.c_echo, daemon=True).start()
assert entered.wait(10)
threading.Thread(target=server.stop, args=(60.0,), daemon=True).start() if STOPPING else None
print("leaving", flush=True)
"""

ASYNC_EXIT = """
import asyncio, threading
from dimse_rs import AE, AsyncServer

async def main():
    server = AsyncServer(AE("SCP"), port=0)
    entered = asyncio.Event()

    @server.c_echo
    async def echo(request):
        entered.set()
        await asyncio.Event().wait()

    await server.start()
    association = await AE("SCU").associate_async(f"SCP@127.0.0.1:{server.port}")
    task = asyncio.create_task(association.c_echo())
    await entered.wait()
    kept.extend([server, association, task])
    stopping = asyncio.create_task(server.stop(60.0)) if STOPPING else None
    await asyncio.sleep(0)
    print("leaving", flush=True)

kept = []
asyncio.run(main())
"""


@pytest.mark.parametrize("stopping", [False, True])
@pytest.mark.parametrize("options", [[], ["-X", "dev"]], ids=["plain", "dev"])
@pytest.mark.parametrize("code", [EXIT, ASYNC_EXIT], ids=["blocking", "asyncio"])
def test_the_interpreter_ends_whatever_goes_on(code, options, stopping):
    code = code.replace("STOPPING", str(stopping))
    with Process([sys.executable, *options, "-W", "error", "-c", code]) as child:
        child.wait_for_line(lambda line: line == "leaving")
        assert child.wait(TIME) == 0, child.story("failed")
