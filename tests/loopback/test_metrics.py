"""`server.metrics()` after what peers did, on both servers; and the page that Prometheus reads."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import socket
import sys
import threading
import urllib.error
import urllib.request

import pydicom
import pytest

from dimse_rs import (
    AE,
    AssociationRejected,
    AsyncServer,
    CTImageStorage,
    Limits,
    LocalProtocolError,
    MetricsEndpoint,
    Server,
    StatusError,
    Storage,
    StudyRoot,
    Verification,
    serve_metrics,
)
from tests.support import wire
from tests.support.exposition import parse
from tests.support.nodes import CT, PATIENT, SCU, at
from tests.support.runner import Aborted, Accepted, Answered, Peer, Target

SETTINGS = AE("SCP", timeouts=PATIENT)


@pytest.fixture(params=[Server, AsyncServer], ids=["blocking", "asyncio"])
def node(request):
    """Give a function that makes a server of either kind, and a context manager that runs it."""

    def make(ae=SETTINGS, **options):
        return request.param(ae, port=0, **options)

    return make


@contextlib.contextmanager
def running(server):
    """Run a server; an `AsyncServer` on a loop in a thread of its own."""
    if isinstance(server, Server):
        with server:
            yield server
        return
    started, loops = threading.Event(), []

    async def serve():
        async with server:
            loops.append((asyncio.get_running_loop(), stop := asyncio.Event()))
            started.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert started.wait(10)
        yield server
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def some(counts):
    """Leave out what did not happen."""
    return {name: count for name, count in counts.items() if count}


def another_version():
    instance = pydicom.dcmread(CT)
    instance.PatientName = "Another"
    return instance


def next_end(events):
    """Wait for the end of an association: by then it is counted."""
    return next(event for event in events if event["event"] == "ended")


def test_echo_store_and_refusal(node, tmp_path):
    server = node(services=[Storage(tmp_path, mode="durable", duplicates="reject")])
    events = server.events("ended", timeout=10)
    with running(server):
        with SCU.associate(at(server), contexts=[Verification, CTImageStorage]) as association:
            for _ in range(3):
                association.c_echo()
            association.c_store(CT)
            with pytest.raises(StatusError):
                association.c_store(another_version())
            now = server.metrics()
            assert (now.associations, now.pending, now.operations) == (1, 0, 0)
            assert some(now.ended) == {}
        next_end(events)
        seen = server.metrics()
        assert (seen.connections, seen.accepted, seen.associations) == (1, 1, 0)
        assert some(seen.ended) == {"released": 1}
        assert some(seen.received) == {"C-ECHO-RQ": 3, "C-STORE-RQ": 2}
        assert some(seen.sent) == {"C-ECHO-RSP": 3, "C-STORE-RSP": 2}
        assert some(seen.statuses) == {"success": 4, "failure": 1}
        assert seen.instances == {"stored": 1, "refused": 1}
        assert {of: times.count for of, times in seen.answer_seconds.items()} == {
            "C-ECHO": 3,
            "C-STORE": 2,
        }
        assert seen.store_bytes.count == 2
        assert 2 * 32768 < seen.store_bytes.sum < seen.received_bytes
        assert seen.sent_bytes > 0
        assert seen.association_seconds.count == 1
        # The refused one was synced before its name turned out to be taken.
        assert seen.sync_seconds["file"].count in (1, 2)
        assert seen.sync_seconds["folder"].count == seen.sync_stores.count == 1
        assert seen.buffered_bytes == 0
        assert (seen.rejected, seen.failed, seen.accept_failures) == ({}, {}, 0)
        assert (seen.events_lost, seen.overdue) == (0, 0)
        assert now.ended == {}, "a snapshot stays as it was"
    last = server.metrics()
    assert dataclasses.replace(last, panics=0) == dataclasses.replace(seen, panics=0)


def test_every_way_to_end_has_its_code(node):
    server = node()
    events = server.events("connected", "ended", timeout=10)
    with running(server):
        address = "127.0.0.1", server.port
        with pytest.raises(AssociationRejected):
            SCU.associate(f"OTHER@127.0.0.1:{server.port}")
        next_end(events)
        SCU.associate(at(server)).abort()
        next_end(events)
        with socket.create_connection(address) as garbage:
            garbage.sendall(b"GET / HTTP/1.1\r\n\r\n")
            garbage.recv(10)  # the A-ABORT: what comes after it is not waited for
        next_end(events)
        with socket.create_connection(address):
            assert next(events)["event"] == "connected"
            assert server.metrics().pending == 1
        next_end(events)
        seen = server.metrics()
    assert seen.rejected == {"called-ae-title": 1}
    assert some(seen.ended) == {"aborted-by-peer": 1}
    assert sum(seen.failed.values()) == 2
    assert seen.failed["connection-lost"] == 1
    assert (seen.accepted, seen.pending, seen.associations) == (1, 0, 0)
    over = seen.accepted + sum(seen.rejected.values()) + sum(seen.failed.values())
    assert seen.connections == over == 4


def test_what_is_in_progress(node):
    server = node()
    begun, done = threading.Event(), threading.Event()

    @server.c_echo
    def echo(request):
        begun.set()
        done.wait(20)

    with running(server), SCU.associate(at(server)) as association:
        asking = threading.Thread(target=association.c_echo)
        asking.start()
        try:
            assert begun.wait(10)
            seen = server.metrics()
        finally:
            done.set()
            asking.join()
        after = server.metrics()
    assert (seen.operations, seen.handlers) == (1, 1)
    assert (after.operations, some(after.statuses)) == (0, {"success": 1})


def test_handlers_that_are_overdue(node):
    server = node(AE("SCP", timeouts=dataclasses.replace(PATIENT, handler=0.2)))
    done = threading.Event()

    @server.c_find(StudyRoot)
    def find(request):
        done.wait(20)

    with running(server), SCU.associate(at(server), contexts=StudyRoot) as association:
        try:
            with pytest.raises(StatusError):
                list(association.c_find({"PatientID": ""}, model=StudyRoot, level="STUDY"))
            seen = server.metrics()
        finally:
            done.set()
    assert (seen.overdue, seen.operations) == (1, 0)
    assert some(seen.statuses) == {"failure": 1}
    assert seen.answer_seconds["C-FIND"].sum >= 0.2


def test_too_many_errors_end_the_association(node):
    server = node(AE("SCP", timeouts=PATIENT, limits=Limits(errors=3)))
    events = server.events("ended", timeout=10)
    with running(server):
        target = Target("127.0.0.1", server.port, b"SCP", 1, 60, 2)
        with Peer(target) as peer:
            peer.step(
                wire.associate_rq(
                    b"SCP",
                    wire.item(0x10, wire.APPLICATION_CONTEXT),
                    wire.context(1),
                    wire.user_information(),
                )
            )
            peer.step(Accepted(((1, 0),)))
            for _ in range(3):
                peer.step(wire.as_commands(1, wire.store_rq(b"1.2.3")))
                peer.step(wire.as_data(1, wire.data_set(b"1.2.3")))
                peer.step(Answered(0x0122, field=wire.C_STORE_RQ))
            peer.step(wire.as_commands(1, wire.store_rq(b"1.2.3")))
            peer.step(Aborted(0, 0))
        next_end(events)
        seen = server.metrics()
    assert some(seen.ended) == {"too-many-errors": 1}
    assert some(seen.statuses) == {"failure": 3}
    assert seen.instances == {"stored": 0, "refused": 3}


def test_limits_and_timeouts_are_those_of_the_server(node):
    limits = Limits(command=4096, max_pending=7)
    server = node(AE("SCP", limits=limits, timeouts=PATIENT), max_associations=5, max_handlers=3)
    with running(server):
        seen = server.metrics()
    assert seen.timeouts == dataclasses.asdict(PATIENT)
    assert seen.limits == {
        **dataclasses.asdict(limits),
        "max_associations": 5,
        "max_handlers": 3,
        "max_ops_performed": 1,
        "max_pdu": 131072,
        "contexts": 128,
        "transfer_syntaxes": 64,
        "sequence_depth": 64,
        "empty_fragments": 64,
    }


def test_there_is_nothing_to_count_before_the_start(node):
    server = node()
    with pytest.raises(LocalProtocolError, match="not started"):
        server.metrics()
    with pytest.raises(LocalProtocolError, match="not started"):
        serve_metrics(server)


# ---- over HTTP


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return response.read().decode()


def test_the_page_says_what_the_snapshot_says(node, caplog):
    server = node()
    with running(server):
        caplog.set_level(logging.INFO, "dimse_rs")
        page = serve_metrics(server)
        assert page.url == f"http://127.0.0.1:{page.port}/metrics"
        assert page.url in caplog.text
        with SCU.associate(at(server)) as association:
            association.c_echo()
            families = parse(fetch(page.url))
            echoes = "dimse_messages_received_total", (("message", "C-ECHO-RQ"),)
            assert families[echoes[0]].samples[echoes] == 1
            assert families["dimse_associations"].samples["dimse_associations", ()] == 1
            limit = "dimse_limit", (("name", "sequence_depth"),)
            assert families["dimse_limit"].samples[limit] == 64
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetch(page.url.replace("metrics", "other"))
    with pytest.raises(urllib.error.URLError):
        fetch(page.url)
    with pytest.raises(LocalProtocolError, match="has stopped"):
        serve_metrics(server)


def test_the_page_closes_by_itself_and_its_port_is_free_again(node):
    with running(node()) as server:
        with serve_metrics(server) as page:
            fetch(page.url)
        with pytest.raises(urllib.error.URLError):
            fetch(page.url)
        with serve_metrics(server, port=page.port) as again:
            fetch(again.url)
            with pytest.raises(OSError, match="in use"):
                serve_metrics(server, port=page.port)


def test_silent_clients_do_not_take_the_page(node):
    with running(node()) as server, serve_metrics(server) as page, contextlib.ExitStack() as open_:
        for _ in range(3):
            open_.enter_context(socket.create_connection((page.host, page.port)))
        parse(fetch(page.url))


def test_one_client_too_many_takes_the_place_of_the_oldest(node, monkeypatch):
    monkeypatch.setattr(sys.modules[MetricsEndpoint.__module__], "_AT_ONCE", 2)
    monkeypatch.setattr(sys.modules[MetricsEndpoint.__module__], "_PATIENCE", 60.0)
    with running(node()) as server, serve_metrics(server) as page, contextlib.ExitStack() as open_:
        address = page.host, page.port
        silent = [open_.enter_context(socket.create_connection(address, 10)) for _ in range(2)]
        parse(fetch(page.url))
        assert silent[0].recv(1) == b""


def test_a_client_that_says_nothing_is_ended_in_its_time(node, monkeypatch):
    monkeypatch.setattr(sys.modules[MetricsEndpoint.__module__], "_PATIENCE", 0.1)
    with (
        running(node()) as server,
        serve_metrics(server) as page,
        socket.create_connection((page.host, page.port), 10) as silent,
    ):
        assert silent.recv(1) == b""
