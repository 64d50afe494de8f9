"""The half of the high-level calls that is awaited, against either server; the other raises."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from dimse_rs import (
    AE,
    AsyncServer,
    Commitment,
    CommitmentReports,
    Context,
    CTImageStorage,
    DimseTimeout,
    Handlers,
    InstanceAvailability,
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
    ModalityWorklist,
    Mpps,
    MppsEvent,
    PerformedStep,
    Schedule,
    Server,
    StatusError,
    StorageCommitmentPushModel,
    commit,
    commit_async,
    from_worklist,
    notify_availability,
    notify_availability_async,
    worklist,
    worklist_async,
)
from dimse_rs.services.mpps import notify, notify_async
from dimse_rs.sop_class import ModalityPerformedProcedureStepNotification
from tests.support.datasets import attributes, data_set, ending
from tests.support.nodes import CT, PATIENT, SCU, at, link, scp

ENOUGH = 15.0
PAIRS = [(CTImageStorage, "1.2.1"), (CTImageStorage, "1.2.2")]

pytestmark = [
    pytest.mark.usefixtures("either_mode"),
    pytest.mark.parametrize("server", [Server, AsyncServer], ids=["Server", "AsyncServer"]),
]


@contextlib.asynccontextmanager
async def serving(server, *services):
    """Run either server with services."""
    made = server(AE("SCP", timeouts=PATIENT), port=0, services=services)
    async with asyncio.timeout(ENOUGH):
        if server is AsyncServer:
            async with made:
                yield made
        else:
            await asyncio.to_thread(made.start)
            try:
                yield made
            finally:
                await asyncio.to_thread(made.stop)


def test_a_worklist_is_queried_and_a_step_performed(server):
    items = [
        data_set(
            PatientName="A^B",
            PatientID="1",
            StudyInstanceUID="1.2",
            ScheduledProcedureStepSequence=[data_set(Modality=modality)],
        )
        for modality in ("CT", "MR")
    ]
    mpps, changes = Mpps(on_change=lambda *change: changes.append(change[2])), []

    async def main():
        contexts = [ModalityWorklist, ModalityPerformedProcedureStep]
        async with (
            serving(server, Schedule(items), mpps) as made,
            SCU.associate_async(at(made), contexts=contexts) as association,
        ):
            [item] = await worklist_async(association, Modality="CT")
            planned = from_worklist(item)
            step = await PerformedStep.start_async(association, planned)
            await step.update_async({"PerformedProcedureStepDescription": "head"})
            series = {"PerformedSeriesSequence": ending("").PerformedSeriesSequence}
            answer = await step.complete_async(series)
            assert answer is step.response
            other = await PerformedStep.start_async(
                association, attributes(), instance_uid="1.2.3.4"
            )
            await other.discontinue_async(series)
            with pytest.raises(StatusError):
                await other.update_async({"PerformedProcedureStepDescription": "late"})
            return step

    step = asyncio.run(main())
    assert changes == [
        MppsEvent.IN_PROGRESS,
        MppsEvent.UPDATED,
        MppsEvent.COMPLETED,
        MppsEvent.IN_PROGRESS,
        MppsEvent.DISCONTINUED,
    ]
    kept = mpps.steps[step.instance_uid]
    assert (kept.PerformedProcedureStepStatus, kept.PatientName) == ("COMPLETED", "A^B")
    assert kept.PerformedProcedureStepDescription == "head"


def test_a_peer_is_notified_of_available_instances(server):
    told = []
    service = InstanceAvailability(lambda uid, said: told.append(said.StudyInstanceUID))

    async def main():
        async with (
            serving(server, service) as made,
            SCU.associate_async(at(made), contexts=InstanceAvailabilityNotification) as association,
        ):
            instances = [("1.2.1", CTImageStorage, "1.2.3.1")]
            return await notify_availability_async(
                association, "1.2", instances, retrieve_ae_title="PACS"
            )

    assert asyncio.run(main()).status == 0
    assert told == ["1.2"]


def test_a_peer_is_notified_of_a_step(server):
    told = []

    class Listening:
        def register(self, handlers):
            handlers.n_event_report(ModalityPerformedProcedureStepNotification)(
                lambda request: told.append((request.instance_uid, request.event_type))
            )

    async def main():
        context = Context(ModalityPerformedProcedureStepNotification, scu=False, scp=True)
        async with (
            serving(server, Listening()) as made,
            SCU.associate_async(at(made), contexts=context) as association,
        ):
            await notify_async(association, "1.2.3", MppsEvent.COMPLETED)

    asyncio.run(main())
    assert told == [("1.2.3", 2)]


def test_commitment_is_asked_for_and_reported(server):
    service = Commitment(lambda sop_class, uid: uid != "1.2.2")

    async def main():
        async with serving(server, service) as made:
            report = await commit_async(SCU, at(made), [*PAIRS, str(CT)], timeout=ENOUGH)
            reports = CommitmentReports()
            async with SCU.associate_async(
                at(made), contexts=StorageCommitmentPushModel, handlers=Handlers([reports])
            ) as association:
                uid = await reports.ask_async(association, PAIRS[:1])
                second = await reports.wait_async(uid, ENOUGH, association=association)
                assert reports._waiters == set()
                with pytest.raises(KeyError):
                    await reports.wait_async(uid)
            return report, second

    report, second = asyncio.run(main())
    assert (len(report.committed), list(report.failed)) == (2, ["1.2.2"])
    assert second.ok


def test_a_report_that_does_not_come_is_waited_for_in_time_or_to_the_end(server):
    never = threading.Event()
    service = Commitment(lambda sop_class, uid: never.wait(ENOUGH))

    async def main():
        reports = CommitmentReports()
        async with serving(server, service) as made:
            association = await SCU.associate_async(
                at(made), contexts=StorageCommitmentPushModel, handlers=Handlers([reports])
            )
            uid = await reports.ask_async(association, PAIRS)
            with pytest.raises(DimseTimeout, match=r"no commitment report for .* after 0.05 s"):
                await reports.wait_async(uid, 0.05)
            waiting = asyncio.create_task(reports.wait_async(uid, ENOUGH, association=association))
            await asyncio.sleep(0)
            await association.release()
            with pytest.raises(type(association.ended)):
                await waiting
            never.set()

    asyncio.run(main())


def test_a_request_that_is_refused_is_forgotten(server):
    service = Commitment(lambda sop_class, uid: True, most=1)
    service._outstanding.add("1.2")

    async def main():
        reports = CommitmentReports()
        async with (
            serving(server, service) as made,
            SCU.associate_async(
                at(made), contexts=StorageCommitmentPushModel, handlers=Handlers([reports])
            ) as association,
        ):
            with pytest.raises(StatusError):
                await reports.ask_async(association, PAIRS)
        assert reports._asked == {}

    asyncio.run(main())


# ---- the wrong half


BLOCKING = {
    "worklist": worklist,
    "notify_availability": lambda association: notify_availability(
        association, "1.2", [("1.2.1", CTImageStorage, "1.2.3")], retrieve_ae_title="PACS"
    ),
    "notify": lambda association: notify(association, "1.2", MppsEvent.COMPLETED),
    "PerformedStep.start": lambda association: PerformedStep.start(association, attributes()),
    "update": lambda association: PerformedStep(association, "1.2").update({}),
    "complete": lambda association: PerformedStep(association, "1.2").complete({}),
    "discontinue": lambda association: PerformedStep(association, "1.2").discontinue({}),
    "ask": lambda association: CommitmentReports().ask(association, PAIRS),
    "wait": lambda association: CommitmentReports().wait("1.2", association=association),
}
AWAITED = {
    "worklist": worklist_async,
    "notify_availability": lambda association: notify_availability_async(
        association, "1.2", [("1.2.1", CTImageStorage, "1.2.3")], retrieve_ae_title="PACS"
    ),
    "notify": lambda association: notify_async(association, "1.2", MppsEvent.COMPLETED),
    "PerformedStep.start": lambda association: PerformedStep.start_async(association, attributes()),
    "update": lambda association: PerformedStep(association, "1.2").update_async({}),
    "complete": lambda association: PerformedStep(association, "1.2").complete_async({}),
    "discontinue": lambda association: PerformedStep(association, "1.2").discontinue_async({}),
    "ask": lambda association: CommitmentReports().ask_async(association, PAIRS),
    "wait": lambda association: CommitmentReports().wait_async("1.2", association=association),
}


@pytest.mark.parametrize("name", BLOCKING)
def test_what_blocks_refuses_an_association_that_is_awaited(server, name):
    async def main():
        async with serving(server) as made, SCU.associate_async(at(made)) as association:
            events = association.events("message", timeout=0)
            with pytest.raises(
                TypeError, match=rf"nothing was sent: .* `await {name}_async\(\.\.\.\)`"
            ):
                BLOCKING[name](association)
            assert [event async for event in events] == []

    asyncio.run(main())


@pytest.mark.parametrize("name", AWAITED)
def test_what_is_awaited_refuses_an_association_that_blocks(server, name):
    with link(scp()) as association:
        events = association.events("message", timeout=0)
        with pytest.raises(
            TypeError, match=rf"an Association blocks, .* it is for {name}\(\.\.\.\)"
        ):
            asyncio.run(AWAITED[name](association))
        assert list(events) == []


def test_files_are_sent_over_an_association_and_leaving_the_loop_ends_that(server, tmp_path):
    async def main():
        from dimse_rs import Storage

        async with (
            serving(server, Storage(tmp_path, mode="fast")) as made,
            SCU.associate_async(at(made), contexts=[CTImageStorage]) as association,
        ):
            results = [r async for r in association.send_files([CT, tmp_path / "missing.dcm"])]
            assert {result.index: result.status for result in results} == {0: 0, 1: None}
            sending = association.send_files([CT] * 1000)
            async for result in sending:
                assert result.status == 0
                break
            await sending.aclose()
        return results

    asyncio.run(main())


def test_commit_itself_blocks(server):
    # The other way round than above: a program without an event loop.
    with scp(services=[Commitment(lambda sop_class, uid: True)]) as made:
        assert commit(SCU, at(made), PAIRS, timeout=ENOUGH).ok
