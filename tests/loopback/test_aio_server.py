"""`AsyncServer` over loopback: handlers that are coroutines, generators and plain functions."""

from __future__ import annotations

import asyncio
import threading
from unittest.mock import Mock

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    AsyncServer,
    CTImageStorage,
    DimseTimeout,
    LocalProtocolError,
    StatusError,
    Storage,
    StudyRoot,
    Timeouts,
    Verification,
    for_retrieve,
)
from dimse_rs.dimse import retrieve
from tests.support.nodes import CT, MR_IMPLICIT, PATIENT, SCU, at

pytestmark = pytest.mark.usefixtures("either_mode")

QUERY = {"PatientID": "", "StudyInstanceUID": "1.2"}


def node(**options):
    """Make an asyncio server called SCP on a free port."""
    return AsyncServer(options.pop("ae", None) or AE("SCP", timeouts=PATIENT), port=0, **options)


def test_every_kind_of_handler():
    async def main():
        server = node()

        @server.c_store(CTImageStorage)
        async def store(request):
            await asyncio.sleep(0)
            return 0xB000

        @server.c_find(StudyRoot)
        async def find(request):
            for number in range(3):
                await asyncio.sleep(0)
                match = Dataset()
                match.PatientID = str(number)
                yield match

        @server.c_get(StudyRoot)
        def get(request):
            yield CT
            yield MR_IMPLICIT

        @server.c_echo
        def echo(request):
            raise StatusError(0x0122, "not today")

        contexts = [Verification, CTImageStorage, *for_retrieve(StudyRoot)[:100]]
        async with server, SCU.associate_async(at(server), contexts=contexts) as scu:
            assert await scu.c_store(CT) == 0xB000
            found = scu.c_find(QUERY, model=StudyRoot, level="STUDY")
            assert [match.PatientID async for match in found] == ["0", "1", "2"]
            received = []
            steps = scu.c_get(QUERY, model=StudyRoot, level="STUDY", into=received)
            assert [step async for step in steps][-1].completed == 2
            with pytest.raises(StatusError, match="not today"):
                await scu.c_echo()

    asyncio.run(main())


def test_move_from_an_asyncio_server(tmp_path):
    async def main():
        async with node(services=[Storage(tmp_path, mode="fast")], any_called=True) as there:
            server = node(destinations={"THERE": f"127.0.0.1:{there.port}"})

            @server.c_move(StudyRoot)
            async def move(request):
                assert request.destination == "THERE"
                return [CT, MR_IMPLICIT]

            async with server, SCU.associate_async(at(server), contexts=StudyRoot) as scu:
                steps = scu.c_move(QUERY, model=StudyRoot, level="STUDY", destination="THERE")
                assert [step async for step in steps][-1].completed == 2
        assert len(list(tmp_path.glob("*.dcm"))) == 2

    asyncio.run(main())


def test_files_to_be_moved_are_looked_at_off_the_loop(tmp_path, monkeypatch):
    threads = set()
    probe = retrieve._core.probe

    def looked_at(path):
        threads.add(threading.get_ident())
        return probe(path)

    monkeypatch.setattr(retrieve, "_core", Mock(wraps=retrieve._core, probe=looked_at))

    async def main():
        async with node(services=[Storage(tmp_path, mode="fast")], any_called=True) as there:
            server = node(destinations={"THERE": f"127.0.0.1:{there.port}"})

            @server.c_move(StudyRoot)
            async def move(request):
                return [CT, dcmread(MR_IMPLICIT)]

            async with server, SCU.associate_async(at(server), contexts=StudyRoot) as scu:
                steps = scu.c_move(QUERY, model=StudyRoot, level="STUDY", destination="THERE")
                assert [step async for step in steps][-1].completed == 2

    asyncio.run(main())
    assert threads
    assert threading.get_ident() not in threads


def test_handlers_wait_for_one_another_on_one_loop():
    async def main():
        server = node(max_ops_performed=3)
        together = asyncio.Barrier(3)

        @server.c_echo
        async def echo(request):
            async with asyncio.timeout(15):
                await together.wait()

        options = {"max_ops_invoked": 3}
        async with server, SCU.associate_async(at(server), **options) as scu:
            assert await asyncio.gather(*(scu.c_echo() for _ in range(3))) == [0, 0, 0]

    asyncio.run(main())


def test_a_handler_past_its_deadline_is_answered_for():
    async def main():
        server = node(ae=AE("SCP", timeouts=Timeouts(handler=0.2)))
        cancelled = asyncio.Event()

        @server.c_echo
        async def echo(request):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        async with server, SCU.associate_async(at(server)) as scu:
            with pytest.raises(StatusError, match="handler timed out"):
                await scu.c_echo()
            await asyncio.wait_for(cancelled.wait(), 15)

    asyncio.run(main())


def test_a_deadline_of_the_peers_is_not_taken_for_one_of_the_handlers(monkeypatch):
    def too_slow(*_):
        raise DimseTimeout("write", 2.0)
        yield

    monkeypatch.setattr("dimse_rs.dimse.scp.one_answer", too_slow)

    async def main():
        server = node()

        @server.c_echo
        async def echo(request):
            pass

        async with server, await SCU.associate_async(at(server)) as scu:
            with pytest.raises(StatusError) as caught:
                await scu.c_echo()
        return caught.value

    answer = asyncio.run(main())
    assert (answer.status, answer.comment) == (0xC000, "handler failed")


def test_events_are_followed_until_the_end(tmp_path):
    async def main():
        server = node(services=[Storage(tmp_path, mode="fast")])
        seen = []

        async def follow():
            async for event in server.events():
                seen.append(event["event"])

        following = asyncio.create_task(follow())
        await asyncio.sleep(0)
        async with server, SCU.associate_async(at(server), contexts=CTImageStorage) as scu:
            assert await scu.c_store(CT) == 0
        await asyncio.wait_for(following, 15)
        assert seen == ["associated", "stored", "released"]
        await asyncio.wait_for(server.wait(), 15)

    asyncio.run(main())


def test_a_server_starts_once():
    async def main():
        server = node()
        async with server:
            with pytest.raises(LocalProtocolError, match="starts once"):
                await server.start()
        assert "AsyncServer" in repr(server)

    asyncio.run(main())
