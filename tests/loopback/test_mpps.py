"""MPPS both ways: a modality that reports, a server that keeps, a peer that is told."""

from __future__ import annotations

import logging
import queue

import pytest
from pydicom.dataset import Dataset

from dimse_rs import Context, Handlers, StatusError
from dimse_rs.services import Mpps, MppsEvent, PerformedStep
from dimse_rs.services.mpps import from_worklist, notify
from dimse_rs.sop_class import (
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepNotification,
    ModalityPerformedProcedureStepRetrieve,
)
from tests.support.datasets import attributes, data_set, ending
from tests.support.nodes import SCU, at, link, scp

CONTEXTS = [ModalityPerformedProcedureStep, ModalityPerformedProcedureStepRetrieve]


def start(association, **values):
    return PerformedStep.start(association, attributes(**values))


def test_a_step_is_started_completed_and_got():
    changes = []
    mpps = Mpps(on_change=lambda *change: changes.append(change))
    with link(scp(services=[mpps]), CONTEXTS) as association:
        step = start(association, PatientName="A^B")
        step.update({"PerformedProcedureStepDescription": "head"})
        step.complete({"PerformedSeriesSequence": ending("").PerformedSeriesSequence})
        got = association.n_get(
            ["PerformedProcedureStepStatus", "PatientName", "PerformedProcedureStepEndDate"],
            sop_class=ModalityPerformedProcedureStepRetrieve,
            instance_uid=step.instance_uid,
        )
    assert got.status == 0
    assert got.dataset.PerformedProcedureStepStatus == "COMPLETED"
    assert got.dataset.PatientName == "A^B"
    assert got.dataset.PerformedProcedureStepEndDate
    assert [(uid, event) for uid, _, event in changes] == [
        (step.instance_uid, MppsEvent.IN_PROGRESS),
        (step.instance_uid, MppsEvent.UPDATED),
        (step.instance_uid, MppsEvent.COMPLETED),
    ]
    assert [one.PerformedProcedureStepStatus for _, one, _ in changes] == [
        "IN PROGRESS",
        "IN PROGRESS",
        "COMPLETED",
    ]
    assert mpps.steps[step.instance_uid].PerformedProcedureStepDescription == "head"


def test_a_final_step_is_refused_with_error_id_and_comment():
    with link(scp(services=[Mpps()]), CONTEXTS) as association:
        step = start(association)
        step.discontinue({"PerformedSeriesSequence": ending("").PerformedSeriesSequence})
        with pytest.raises(StatusError) as caught:
            step.update({"PerformedProcedureStepDescription": "late"})
    response = caught.value.response
    assert response.status == 0x0110
    assert response.error_id == 0xA710
    assert response.comment == "Performed Procedure Step Object may no longer be updated"


def test_unknown_and_duplicate_steps():
    with link(scp(services=[Mpps()]), CONTEXTS) as association:
        step = start(association)
        with pytest.raises(StatusError) as duplicate:
            PerformedStep.start(association, attributes(), instance_uid=step.instance_uid)
        with pytest.raises(StatusError) as unknown:
            PerformedStep(association, "1.2.3").update({"StudyID": "1"})
        with pytest.raises(StatusError) as gone:
            association.n_get(
                sop_class=ModalityPerformedProcedureStepRetrieve, instance_uid="1.2.3"
            )
    assert [e.value.status for e in (duplicate, unknown, gone)] == [0x0111, 0x0112, 0x0112]


def test_what_is_at_fault_is_on_the_wire():
    with link(scp(services=[Mpps()]), CONTEXTS) as association:
        lacking = attributes()
        del lacking.Modality
        calls = [
            lambda: association.n_create(
                lacking, sop_class=ModalityPerformedProcedureStep, instance_uid="1.2"
            ),
            lambda: start(association, PerformedProcedureStepStatus="COMPLETED"),
            lambda: start(association).update({"CommentsOnThePerformedProcedureStep": "x"}),
        ]
        errors = []
        for call in calls:
            with pytest.raises(StatusError) as caught:
                call()
            errors.append(caught.value.response)
    missing, invalid, unknown = errors
    assert (missing.status, missing.attribute_identifiers) == (0x0120, (0x00080060,))
    assert invalid.status == 0x0106
    assert invalid.dataset.PerformedProcedureStepStatus == "COMPLETED"
    assert (unknown.status, unknown.attribute_identifiers) == (0x0105, (0x00400280,))


def test_an_attribute_that_is_not_there_is_a_warning():
    with link(scp(services=[Mpps()]), CONTEXTS) as association:
        step = start(association)
        got = association.n_get(
            ["Modality", "CommentsOnThePerformedProcedureStep"],
            sop_class=ModalityPerformedProcedureStepRetrieve,
            instance_uid=step.instance_uid,
        )
    assert (got.status, got.status.category) == (0x0001, "warning")
    assert got.dataset.dir() == ["Modality"]


def test_steps_are_kept_where_the_user_says(caplog):
    class Kept(dict):
        pass

    def fail(*_):
        raise RuntimeError("hook")

    kept = Kept()
    with (
        caplog.at_level(logging.CRITICAL),
        link(scp(services=[Mpps(kept, on_change=fail)]), CONTEXTS) as association,
    ):
        step = start(association)
    assert list(kept) == [step.instance_uid]


def test_a_worklist_item_becomes_a_step():
    item = data_set(PatientName="A^B", PatientID="7", StudyInstanceUID="1.2.3", AccessionNumber="9")
    scheduled = data_set(Modality="MR", ScheduledProcedureStepID="S1")
    item.ScheduledProcedureStepSequence = [scheduled]
    mpps = Mpps()
    with link(scp(services=[mpps]), CONTEXTS) as association:
        step = PerformedStep.start(association, from_worklist(item))
    kept = mpps.steps[step.instance_uid]
    related = kept.ScheduledStepAttributesSequence[0]
    assert (kept.PatientID, kept.Modality, kept.PerformedStationAETitle) == ("7", "MR", "SCU")
    assert (related.StudyInstanceUID, related.ScheduledProcedureStepID) == ("1.2.3", "S1")


def test_a_peer_that_asked_is_notified():
    told = queue.Queue()
    handlers = Handlers()

    @handlers.n_event_report(ModalityPerformedProcedureStepNotification)
    def notified(request):
        told.put((request.instance_uid, request.event_type, request.dataset))

    server = scp()
    kept = []
    server.n_event_report(ModalityPerformedProcedureStepNotification)(lambda request: None)
    server.c_echo(lambda request: kept.append(request.association))
    contexts = ["1.2.840.10008.1.1", ModalityPerformedProcedureStepNotification]
    with link(server, contexts, handlers=handlers) as association:
        association.c_echo()
        assert notify(kept[0], "1.2.3", MppsEvent.COMPLETED).status == 0
        assert told.get(timeout=10) == ("1.2.3", 2, Dataset())


def test_a_peer_that_listens_is_notified():
    told = []
    server = scp()

    @server.n_event_report(ModalityPerformedProcedureStepNotification)
    def notified(request):
        told.append((request.instance_uid, request.event_type))

    context = Context(ModalityPerformedProcedureStepNotification, scu=False, scp=True)
    with server, SCU.associate(at(server), contexts=context) as association:
        notify(association, "1.2.3", MppsEvent.DELETED)
    assert told == [("1.2.3", 5)]


def test_a_lenient_service_takes_what_modalities_send():
    with link(scp(services=[Mpps(lenient=True)]), CONTEXTS) as association:
        step = start(association)
        step.update({"CommentsOnThePerformedProcedureStep": "x"})
        step.discontinue({})
        got = association.n_get(
            sop_class=ModalityPerformedProcedureStepRetrieve, instance_uid=step.instance_uid
        )
    assert got.dataset.CommentsOnThePerformedProcedureStep == "x"
    assert got.dataset.PerformedProcedureStepStatus == "DISCONTINUED"


def test_a_lenient_service_keeps_to_the_other_rules():
    with link(scp(services=[Mpps(lenient=True)]), CONTEXTS) as association:
        step = start(association)
        for change, status in (
            ({"PerformedProcedureStepStatus": "NONSENSE"}, 0x0106),
            ({"Modality": "XX"}, 0x0106),
            ({"PerformedProcedureStepStatus": "COMPLETED"}, 0x0121),
        ):
            with pytest.raises(StatusError) as caught:
                step.update(change)
            assert caught.value.status == status
        step.discontinue({})
        with pytest.raises(StatusError) as late:
            step.update({"CommentsOnThePerformedProcedureStep": "x"})
    assert late.value.response.error_id == 0xA710


def test_without_lenient_those_are_refused():
    with link(scp(services=[Mpps()]), CONTEXTS) as association:
        step = start(association)
        with pytest.raises(StatusError) as uncreated:
            step.update({"CommentsOnThePerformedProcedureStep": "x"})
        with pytest.raises(StatusError) as seriesless:
            step.discontinue({})
    assert (uncreated.value.status, seriesless.value.status) == (0x0105, 0x0121)
