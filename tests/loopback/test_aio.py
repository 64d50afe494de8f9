"""The asyncio face over loopback: the same services, many at once, nothing left behind."""

from __future__ import annotations

import asyncio
import threading

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    AssociationAborted,
    AssociationRejected,
    AssociationReleased,
    ConnectFailed,
    CTImageStorage,
    Handlers,
    Limits,
    ModalityPerformedProcedureStep,
    MRImageStorage,
    NoPresentationContext,
    StatusError,
    StorageCommitmentPushModel,
    StudyRoot,
    Verification,
    for_retrieve,
)
from dimse_rs.sop_class import StorageCommitmentPushModelInstance
from tests.support.nodes import CT, JPEG_2000, MR_IMPLICIT, PATIENT, SCU, at, scp

pytestmark = pytest.mark.usefixtures("either_mode")

QUERY = {"PatientID": "", "StudyInstanceUID": "1.2"}


def finder(count):
    """Make a server with so many matches."""
    server = scp()

    @server.c_find(StudyRoot)
    def find(request):
        for number in range(count):
            match = Dataset()
            match.QueryRetrieveLevel = request.level
            match.PatientID = str(number)
            yield match

    return server


def test_echo_and_store(tmp_path):
    instance = CT.read_bytes()

    async def main(server):
        contexts = [Verification, CTImageStorage]
        async with SCU.associate_async(at(server), contexts=contexts) as association:
            assert await association.c_echo() == 0
            assert await association.c_store(CT) == 0
            assert await association.c_store(dcmread(CT)) == 0
            assert await association.c_store(instance) == 0
        assert not association.is_established

    with scp(tmp_path) as server:
        asyncio.run(main(server))
    assert [path.name for path in tmp_path.glob("*.dcm")]


def test_an_association_can_be_awaited(tmp_path):
    async def main(server):
        association = await SCU.associate_async(at(server))
        assert await association.c_echo() == 0
        await association.release()
        await association.release()
        with pytest.raises(AssociationReleased):
            await association.c_echo()

    with scp() as server:
        asyncio.run(main(server))


def test_what_can_go_wrong_is_raised_as_from_blocking_calls():
    async def main(server):
        with pytest.raises(AssociationRejected, match="called AE title"):
            await SCU.associate_async(f"NOBODY@127.0.0.1:{server.port}")
        with pytest.raises(ConnectFailed):
            await SCU.associate_async("SCP@127.0.0.1:1")
        with pytest.raises(ValueError, match="no port"):
            SCU.associate_async("SCP@127.0.0.1")
        async with SCU.associate_async(at(server)) as association:
            with pytest.raises(NoPresentationContext):
                await association.c_store(CT)

    with scp() as server:
        asyncio.run(main(server))


def test_window_carries_as_many_as_negotiated(tmp_path):
    together = threading.Barrier(4)
    server = scp(max_ops_performed=4)

    @server.c_store
    def store(request):
        together.wait(15)

    async def main():
        options = {"contexts": CTImageStorage, "max_ops_invoked": 4}
        async with SCU.associate_async(at(server), **options) as association:
            assert association.window == (4, 1)
            statuses = await asyncio.gather(*(association.c_store(CT) for _ in range(8)))
            assert statuses == [0] * 8

    with server:
        asyncio.run(main())


def test_find_gives_every_match():
    async def main(server):
        async with SCU.associate_async(at(server), contexts=StudyRoot) as association:
            matches = association.c_find(QUERY, model=StudyRoot, level="STUDY")
            assert [match.PatientID async for match in matches] == [str(n) for n in range(300)]
            assert matches.status == 0
            raw = association.c_find(QUERY, model=StudyRoot, level="STUDY", raw=True)
            assert len([bytes(match) async for match in raw]) == 300

    with finder(300) as server:
        asyncio.run(main(server))


def test_leaving_a_find_early_leaves_nothing_behind():
    async def main(server):
        async with SCU.associate_async(at(server), contexts=[Verification, StudyRoot]) as scu:
            async for match in scu.c_find(QUERY, model=StudyRoot, level="STUDY"):
                assert match.PatientID == "0"
                break
            assert await scu.c_echo() == 0
            async with scu.c_find(QUERY, model=StudyRoot, level="STUDY") as matches:
                await anext(matches)
            assert await scu.c_echo() == 0

    with finder(100_000) as server:
        asyncio.run(main(server))


def test_ff01_is_told_from_ff00():
    server = scp()
    matches = [(0xFF01, Dataset()), Dataset()]
    for _, match in [matches[0], (0, matches[1])]:
        match.PatientID = "1"
    server.c_find(StudyRoot)(lambda request: matches)

    async def main():
        async with SCU.associate_async(at(server), contexts=StudyRoot) as association:
            results = association.c_find(QUERY, model=StudyRoot)
            assert results.pending is None
            assert [results.pending async for _ in results] == [0xFF01, 0xFF00]

    with server:
        asyncio.run(main())


def test_an_iterator_that_is_kept_is_closed_on_leaving_the_association():
    server = scp()

    @server.c_find(StudyRoot)
    def endless(request):
        while True:
            match = Dataset()
            match.PatientID = "1"
            yield match

    async def main():
        async with SCU.associate_async(at(server), contexts=StudyRoot) as association:
            kept = association.c_find(QUERY, model=StudyRoot)
            await anext(kept)
        async for _ in kept:
            pass
        assert kept.status == 0xFE00

    with server:
        asyncio.run(main())


def test_cancel_ends_with_the_final_response():
    async def main(server):
        async with SCU.associate_async(at(server), contexts=StudyRoot) as scu:
            matches = scu.c_find(QUERY, model=StudyRoot, level="STUDY")
            seen = 0
            async for _ in matches:
                seen += 1
                if seen == 2:
                    matches.cancel()
            assert matches.status == 0xFE00
            assert seen < 100_000

    with finder(100_000) as server:
        asyncio.run(main(server))


def test_a_cancelled_task_leaves_its_siblings_alone():
    waiting, go_on = threading.Event(), threading.Event()
    server = scp(max_ops_performed=2)

    @server.c_store(CTImageStorage)
    def slow(request):
        waiting.set()
        go_on.wait(15)

    @server.c_store(MRImageStorage)
    def fast(request):
        return None

    async def main():
        options = {"contexts": [CTImageStorage, MRImageStorage], "max_ops_invoked": 2}
        async with SCU.associate_async(at(server), **options) as association:
            first = asyncio.create_task(association.c_store(CT))
            await asyncio.to_thread(waiting.wait, 15)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert await association.c_store(MR_IMPLICIT) == 0
            go_on.set()
            assert await association.c_store(CT) == 0

    with server:
        asyncio.run(main())


def test_get_into_a_folder_and_a_list(tmp_path):
    server = scp()

    @server.c_get(StudyRoot)
    def get(request):
        return [CT, MR_IMPLICIT]

    async def main():
        received = []
        async with SCU.associate_async(at(server), contexts=for_retrieve(StudyRoot)) as scu:
            for into in (tmp_path, received):
                steps = scu.c_get(QUERY, model=StudyRoot, level="STUDY", into=into)
                last = [step async for step in steps][-1]
                assert (last.status, last.completed, last.failed) == (0, 2, 0)
        assert [dataset.Modality for dataset in received] == ["CT", "MR"]

    with server:
        asyncio.run(main())
    assert len(list(tmp_path.glob("*.dcm"))) == 2


def test_move_to_another_server(tmp_path):
    with scp(tmp_path, any_called=True) as there:
        server = scp(destinations={"THERE": f"127.0.0.1:{there.port}"})
        server.c_move(StudyRoot)(lambda request: [CT, JPEG_2000])

        async def main():
            async with SCU.associate_async(at(server), contexts=StudyRoot) as scu:
                steps = scu.c_move(QUERY, model=StudyRoot, level="STUDY", destination="THERE")
                assert [step async for step in steps][-1].completed == 2
                with pytest.raises(StatusError) as caught:
                    async for _ in scu.c_move(QUERY, model=StudyRoot, destination="NOWHERE"):
                        pass
                assert caught.value.status == 0xA801

        with server:
            asyncio.run(main())
    assert len(list(tmp_path.glob("*.dcm"))) == 2


def test_n_services():
    server = scp()
    kept = {}

    @server.n_create(ModalityPerformedProcedureStep)
    def create(request):
        kept[request.instance_uid] = request.dataset
        return request.dataset

    @server.n_set(ModalityPerformedProcedureStep)
    def change(request):
        kept[request.instance_uid].update(request.modifications)

    async def main():
        step = {"sop_class": ModalityPerformedProcedureStep}
        async with SCU.associate_async(at(server), contexts=step["sop_class"]) as scu:
            created = await scu.n_create({"PatientID": "1"}, **step)
            uid = created.instance_uid
            assert created.dataset.PatientID == "1"
            assert (await scu.n_set({"PatientID": "2"}, instance_uid=uid, **step)).status == 0
            with pytest.raises(StatusError) as caught:
                await scu.n_delete(instance_uid=uid, **step)
            assert caught.value.status == 0x0211
        assert kept[uid].PatientID == "2"

    with server:
        asyncio.run(main())


def test_async_handlers_of_a_requestor_are_served_while_it_waits():
    server = scp()

    @server.n_action(StorageCommitmentPushModel)
    def act(request):
        request.association.n_event_report(
            1,
            {"TransactionUID": request.dataset.TransactionUID},
            sop_class=StorageCommitmentPushModel,
            instance_uid=StorageCommitmentPushModelInstance,
        )

    async def main():
        told = asyncio.Queue()
        handlers = Handlers()

        @handlers.n_event_report
        async def report(request):
            await told.put((request.event_type, request.dataset.TransactionUID))

        options = {"contexts": StorageCommitmentPushModel, "handlers": handlers}
        async with SCU.associate_async(at(server), **options) as scu:
            await scu.n_action(
                1,
                {"TransactionUID": "1.2.3"},
                sop_class=StorageCommitmentPushModel,
                instance_uid=StorageCommitmentPushModelInstance,
            )
            assert await asyncio.wait_for(told.get(), 15) == (1, "1.2.3")

    with server:
        asyncio.run(main())


def test_an_exception_in_the_block_aborts_what_is_outstanding():
    waiting, go_on = threading.Event(), threading.Event()
    server = scp()

    @server.c_echo
    def echo(request):
        waiting.set()
        go_on.wait(15)

    outstanding = []

    async def use():
        async with SCU.associate_async(at(server)) as association:
            outstanding.append(asyncio.create_task(association.c_echo()))
            await asyncio.to_thread(waiting.wait, 15)
            raise ZeroDivisionError

    async def main():
        with pytest.raises(ZeroDivisionError):
            await use()
        with pytest.raises(AssociationAborted):
            await outstanding[0]
        go_on.set()

    with server:
        asyncio.run(main())


def test_a_thousand_echoes_of_a_hundred_associations():
    async def one(server):
        async with SCU.associate_async(at(server)) as association:
            return [await association.c_echo() for _ in range(10)]

    async def main(server):
        answers = await asyncio.gather(*(one(server) for _ in range(100)))
        assert answers == [[0] * 10] * 100

    # All come from one address, and at once.
    ae = AE("SCP", timeouts=PATIENT, limits=Limits(max_pending_per_address=100))
    with scp(ae=ae) as server:
        asyncio.run(main(server))
