"""`on_release`: the answer to a release waits for a function of the server, and not for ever."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading

import pytest

from dimse_rs import (
    AE,
    Association,
    AssociationAborted,
    AsyncAssociation,
    AsyncServer,
    CTImageStorage,
    Server,
    Timeouts,
)
from tests.support.nodes import CT, PATIENT, SCU, at, link, scp
from tests.support.waiting import until

ENOUGH = 15.0


@contextlib.contextmanager
def running(kind, function, *, timeouts=PATIENT, **settings):
    """Run either server; an AsyncServer on an event loop of its own, on a thread."""
    server = kind(AE("SCP", timeouts=timeouts), port=0, on_release=function, **settings)
    if kind is Server:
        with server:
            yield server
        return
    started, over = threading.Event(), threading.Event()

    async def serve():
        async with server:
            started.set()
            await asyncio.to_thread(over.wait, ENOUGH)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert started.wait(ENOUGH)
        yield server
    finally:
        over.set()
        thread.join(ENOUGH)


def plain(function):
    return function


def as_async(function):
    async def call(association):
        answer = await asyncio.to_thread(function, association)
        return await answer if inspect.isawaitable(answer) else answer

    return call


FACES = pytest.mark.parametrize(
    ("kind", "face"),
    [(Server, plain), (AsyncServer, plain), (AsyncServer, as_async)],
    ids=["Server", "AsyncServer", "AsyncServer-async"],
)
pytestmark = pytest.mark.usefixtures("either_mode")


@FACES
def test_the_answer_waits_until_the_function_has_returned(kind, face):
    entered, gate, released, seen = threading.Event(), threading.Event(), threading.Event(), []

    def hold(association):
        seen.append(association)
        entered.set()
        assert gate.wait(ENOUGH)

    with running(kind, face(hold)) as server:
        association = SCU.associate(at(server), contexts=[CTImageStorage])

        def release():
            association.release()
            released.set()

        thread = threading.Thread(target=release)
        thread.start()
        assert entered.wait(ENOUGH)
        assert not released.wait(0.05)
        gate.set()
        assert released.wait(ENOUGH)
        thread.join(ENOUGH)
    [one] = seen
    assert isinstance(one, Association if kind is Server else AsyncAssociation)
    assert one.peer.ae_title == "SCU"
    assert isinstance(one.number, int)


@FACES
def test_everything_that_was_asked_for_is_answered_before(kind, face):
    order = []

    def store(request):
        order.append("store")
        request.afterwards(lambda: order.append("answered"))

    server = kind(
        AE("SCP", timeouts=PATIENT), port=0, on_release=face(lambda _: order.append("release"))
    )
    server.c_store(store)
    if kind is Server:
        with link(server, [CTImageStorage]) as association:
            association.c_store(CT)
    else:

        async def main():
            async with server, SCU.associate_async(at(server), contexts=[CTImageStorage]) as one:
                await one.c_store(CT)

        asyncio.run(main())
    assert order == ["store", "answered", "release"]


@FACES
def test_a_function_that_raises_is_logged_and_the_release_answered(kind, face, caplog):
    def fail(association):
        raise LookupError("mark")

    with running(kind, face(fail)) as server:
        SCU.associate(at(server)).release()
    [record] = [one for one in caplog.records if one.getMessage().startswith("(")]
    assert "on_release failed, and the release is answered all the same" in record.getMessage()
    assert record.code == "handler-failed"
    assert record.exc_info[0] is LookupError


@FACES
def test_a_function_that_takes_too_long_is_logged_and_the_release_answered(kind, face, caplog):
    def late():
        return [one.getMessage() for one in caplog.records if one.code == "on-release-late"]

    gate = threading.Event()
    timeouts = Timeouts(release=0.2)
    with running(kind, face(lambda _: gate.wait(ENOUGH)), timeouts=timeouts) as server:
        for number in (1, 2):
            SCU.associate(at(server)).release()
            # The core may have answered a moment before the log has its line.
            until(lambda number=number: len(late()) == number)
        gate.set()
    assert "on_release has not returned within 0.2 s, and the release is answered" in late()[0]


def test_with_all_functions_lost_releases_are_answered(caplog):
    gate = threading.Event()
    timeouts = Timeouts(release=0.1)
    with running(Server, lambda _: gate.wait(ENOUGH), timeouts=timeouts, max_handlers=1) as server:
        for _ in range(3):
            SCU.associate(at(server)).release()
        gate.set()


@FACES
def test_the_core_keeps_the_time_by_itself(kind, face, monkeypatch):
    from dimse_rs.perform import releasing

    monkeypatch.setattr(releasing.Releasing, "_overdue", lambda self, held: None)
    gate = threading.Event()
    timeouts = Timeouts(release=0.2)
    with running(kind, face(lambda _: gate.wait(ENOUGH)), timeouts=timeouts) as server:
        SCU.associate(at(server)).release()
        gate.set()


@FACES
def test_an_association_that_is_aborted_is_not_asked_about(kind, face):
    asked = []
    with running(kind, face(asked.append)) as server:
        SCU.associate(at(server)).abort()
        SCU.associate(at(server)).release()
    assert len(asked) == 1


@FACES
def test_the_function_may_abort(kind, face):
    with running(kind, face(lambda association: association.abort())) as server:
        association = SCU.associate(at(server))
        with pytest.raises(AssociationAborted):
            association.release()


@FACES
def test_a_peer_that_gives_up_is_let_go(kind, face):
    entered, gate = threading.Event(), threading.Event()

    def hold(association):
        entered.set()
        gate.wait(ENOUGH)

    with running(kind, face(hold)) as server:
        association = AE("SCU", timeouts=Timeouts(release=0.1)).associate(at(server))
        with pytest.raises(Exception, match="release"):
            association.release()
        assert entered.wait(ENOUGH)
        gate.set()


@FACES
def test_stopping_waits_for_the_function_as_for_any_request(kind, face):
    entered, returned = threading.Event(), []

    def hold(association):
        entered.set()
        threading.Event().wait(0.2)
        returned.append(association.number)

    released = threading.Event()
    with running(kind, face(hold)) as server:
        association = SCU.associate(at(server))
        thread = threading.Thread(target=lambda: (association.release(), released.set()))
        thread.start()
        assert entered.wait(ENOUGH)
    thread.join(ENOUGH)
    assert returned
    assert released.is_set()


def test_many_releases_are_asked_about_at_once():
    together = threading.Barrier(8)
    with running(Server, lambda _: together.wait(ENOUGH)) as server:
        associations = [SCU.associate(at(server)) for _ in range(8)]
        threads = [threading.Thread(target=one.release) for one in associations]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(ENOUGH)
        assert all(not one.is_established for one in associations)


def test_what_is_no_function_of_an_association_is_refused():
    with pytest.raises(TypeError, match="on_release= is a function, not"):
        scp(on_release=5)
    with pytest.raises(TypeError, match="on_release= is called with an association"):
        scp(on_release=lambda: None)

    async def asynchronous(association): ...

    with pytest.raises(TypeError, match="on_release= is asynchronous"):
        scp(on_release=asynchronous)
    AsyncServer(on_release=asynchronous)
