"""Who is let in, and for what: `Server(allow=...)` over loopback."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    TLS,
    Allow,
    AssociationRejected,
    AsyncServer,
    BasicGrayscalePrintManagementMeta,
    Context,
    CTImageStorage,
    Limits,
    ModalityPerformedProcedureStep,
    MRImageStorage,
    Passcodes,
    Printer,
    Responses,
    StatusError,
    StorageCommitmentPushModel,
    StudyRoot,
    UsernamePasscode,
    Verification,
    for_retrieve,
    hash_passcode,
)
from tests.data.certificates import Authority
from tests.support.nodes import CT, MR_IMPLICIT, PATIENT, SCU, at, link, scp

NOT_AUTHORIZED = 0x0124
STORE_ALONE = [Allow(services=["C-STORE"])]


def rejected(server, ae=SCU, **options):
    with pytest.raises(AssociationRejected) as caught:
        ae.associate(at(server), **options)
    return caught.value.result, caught.value.source, caught.value.reason


def failure(call, *args, **options):
    """Give the status that a call failed with."""
    try:
        outcome = call(*args, **options)
        if isinstance(outcome, Responses):
            list(outcome)
    except StatusError as failed:
        return failed.status
    return None


def test_whom_no_entry_means_is_rejected_and_the_log_says_why(caplog):
    with scp(allow=[Allow(calling="MOD*"), Allow(network="10.0.0.0/8")]) as server:
        events = server.events()
        assert rejected(server) == (1, 1, 3)
        with AE("MOD1", timeouts=PATIENT).associate(at(server)) as association:
            assert association.c_echo() == 0
    [event] = [event for event in events if event["event"] == "rejected"]
    assert event["code"] == "not-allowed"
    assert "'SCU' at 127.0.0.1" in event["why"]
    assert "--allow" in event["hint"]
    [line] = [record for record in caplog.records if "rejected" in record.getMessage()]
    assert line.code == "not-allowed"
    assert line.levelno == logging.WARNING


def test_an_empty_list_lets_nobody_in():
    with scp(allow=[]) as server:
        assert rejected(server) == (1, 1, 3)


def test_an_entry_added_to_the_list_counts_for_the_next_association():
    allow = []
    with scp(allow=allow) as server:
        assert rejected(server) == (1, 1, 3)
        allow.append(Allow(calling="SCU", services="C-STORE"))
        with SCU.associate(at(server)) as association:
            assert failure(association.c_echo) == 0x0122
            allow[:] = [Allow(calling="SCU")]
            assert failure(association.c_echo) == 0x0122  # what it was let in for
        with SCU.associate(at(server)) as association:
            assert association.c_echo() == 0
        allow.clear()
        assert rejected(server) == (1, 1, 3)


def test_a_function_gives_the_entry_for_each_proposal():
    def entry(proposal):
        if proposal.calling == "SCU":
            return Allow(services="C-STORE")
        return Allow(network="10.0.0.0/8") if proposal.calling == "FAR" else None

    with scp(allow=entry) as server:
        with SCU.associate(at(server)) as association:
            assert failure(association.c_echo) == 0x0122
        assert rejected(server, AE("OTHER", timeouts=PATIENT)) == (1, 1, 3)
        # What it gives is looked at like an entry of a list.
        assert rejected(server, AE("FAR", timeouts=PATIENT)) == (1, 1, 3)


def test_an_async_function_gives_the_entry_on_an_async_server():
    async def entry(proposal):
        return Allow(services="C-STORE")

    async def main():
        async with (
            AsyncServer(AE("SCP", timeouts=PATIENT), port=0, allow=entry) as server,
            SCU.associate_async(at(server)) as association,
        ):
            with pytest.raises(StatusError) as caught:
                await association.c_echo()
            return caught.value.status

    assert asyncio.run(main()) == 0x0122


@pytest.mark.parametrize("wrong", [lambda proposal: True, lambda proposal: 1 / 0])
def test_a_function_that_fails_lets_nobody_in(wrong, caplog):
    with scp(allow=wrong) as server:
        assert rejected(server) == (1, 1, 1)
    assert "not-let-in" in [getattr(record, "code", "") for record in caplog.records]


def test_what_is_no_entry_is_refused_at_the_start():
    with pytest.raises(ValueError, match="entries of type Allow, not str"):
        scp(allow=["10.0.0.0/8"])


def test_the_first_entry_that_means_a_peer_decides(tmp_path):
    allow = [
        Allow(calling="SCU", services="C-STORE"),
        Allow(network="127.0.0.0/8"),
    ]
    with scp(allow=allow) as server:
        with SCU.associate(at(server)) as association:
            assert failure(association.c_echo) == 0x0122
        with AE("OTHER", timeouts=PATIENT).associate(at(server)) as association:
            assert association.c_echo() == 0


def test_a_store_that_is_not_permitted_is_not_written(tmp_path, caplog):
    server = scp(tmp_path, allow=[Allow(services=["C-ECHO", "C-FIND"])])
    events = server.events()
    with link(server, [CTImageStorage, Verification]) as association:
        assert failure(association.c_store, CT) == NOT_AUTHORIZED
        assert association.c_echo() == 0  # and the association lives on
    assert list(tmp_path.rglob("*.dcm*")) == []
    told = [event for event in events if event["event"] in ("stored", "refused", "denied")]
    [denied] = told
    assert denied["service"] == "C-STORE"
    assert denied["class"] == CTImageStorage
    assert denied["uid"]
    assert (denied["status"], denied["calling"]) == (NOT_AUTHORIZED, "SCU")
    [line] = [record for record in caplog.records if getattr(record, "code", "") == "denied"]
    assert line.levelno == logging.WARNING
    assert "C-STORE" in line.getMessage()


def test_a_store_in_several_fragments_is_not_written_either(tmp_path):
    server = scp(
        tmp_path, ae=AE("SCP", timeouts=PATIENT, max_pdu=4096), allow=[Allow(services="C-ECHO")]
    )
    with link(server, [CTImageStorage]) as association:
        assert failure(association.c_store, CT) == NOT_AUTHORIZED
        assert failure(association.c_store, CT) == NOT_AUTHORIZED
    assert list(tmp_path.rglob("*.dcm*")) == []


def test_what_is_not_permitted_is_answered_however_often_it_is_asked():
    ae = AE("SCP", timeouts=PATIENT, limits=Limits(errors=1))
    server = scp(ae=ae, allow=[Allow(services="C-STORE")])
    with link(server) as association:
        assert [failure(association.c_echo) for _ in range(5)] == [0x0122] * 5


def test_classes_of_the_context_are_permitted_one_by_one(tmp_path):
    server = scp(tmp_path, allow=[Allow(services="C-STORE", sop_classes=[CTImageStorage])])
    with server:
        report = SCU.send(at(server), [CT, MR_IMPLICIT])
    statuses = {result.sop_class: result.status for result in report.results}
    assert statuses == {CTImageStorage: 0, MRImageStorage: NOT_AUTHORIZED}
    assert len(list(tmp_path.glob("*.dcm"))) == 1


def everything(server, handler):
    """Have every service served by this."""
    for add in (server.c_echo, server.c_find, server.c_get, server.c_move, server.n_event_report):
        add(handler)
    for add in (server.n_get, server.n_set, server.n_action, server.n_create, server.n_delete):
        add(handler)


def test_no_handler_sees_what_is_not_permitted():
    """Every service has the failure that PS3.7 has for it (9.1, 10.1)."""
    server = scp(allow=STORE_ALONE)
    asked = []
    everything(server, asked.append)
    step = {"sop_class": ModalityPerformedProcedureStep, "instance_uid": "1.2.3"}
    study = {"StudyInstanceUID": "1.2"}
    report = {"sop_class": StorageCommitmentPushModel, "instance_uid": "1.2.3"}
    reporting = Context(StorageCommitmentPushModel, scu=True, scp=True)
    contexts = [Verification, StudyRoot, ModalityPerformedProcedureStep, reporting]
    with link(server, contexts) as association:
        assert failure(association.c_echo) == 0x0122
        asked_for = {"model": StudyRoot, "level": "STUDY"}
        assert failure(association.c_find, study, **asked_for) == NOT_AUTHORIZED
        assert failure(association.c_get, study, **asked_for) == NOT_AUTHORIZED
        asked_for["destination"] = "SCU"
        assert failure(association.c_move, study, **asked_for) == NOT_AUTHORIZED
        assert failure(association.n_event_report, 1, **report) == 0x0211
        assert failure(association.n_get, **step) == NOT_AUTHORIZED
        assert failure(association.n_set, {"PatientID": "1"}, **step) == NOT_AUTHORIZED
        assert failure(association.n_action, 1, **step) == NOT_AUTHORIZED
        assert failure(association.n_create, {"PatientID": "1"}, **step) == NOT_AUTHORIZED
        assert failure(association.n_delete, **step) == NOT_AUTHORIZED
    assert asked == []


def test_members_of_a_meta_class_are_permitted_by_its_context():
    server = scp(allow=[Allow(sop_classes=BasicGrayscalePrintManagementMeta, services="N-GET")])
    everything(
        server, lambda request: Dataset.from_json({"00080070": {"vr": "LO", "Value": ["A"]}})
    )
    printer = {"sop_class": Printer, "instance_uid": "1.2.840.10008.5.1.1.17"}
    with link(server, [BasicGrayscalePrintManagementMeta]) as association:
        assert association.n_get(**printer).status == 0
        assert failure(association.n_action, 1, **printer) == NOT_AUTHORIZED


def test_what_is_asked_of_a_peer_is_not_its_permission(tmp_path):
    """A C-GET brings C-STOREs the other way: it is the C-GET that is permitted."""
    server = scp(allow=[Allow(services="C-GET")])
    server.c_get(lambda request: [CT])
    received = []
    with link(server, for_retrieve(StudyRoot)) as association:
        responses = association.c_get(
            {"StudyInstanceUID": "1.2"}, model=StudyRoot, level="STUDY", into=received
        )
        list(responses)
    assert responses.status == 0
    assert len(received) == 1


def test_the_entries_come_before_the_functions():
    seen = []

    def accept(proposal):
        seen.append(proposal.calling)
        return True

    with scp(allow=[Allow(calling="MOD")], accept=accept) as server:
        assert rejected(server) == (1, 1, 3)
        AE("MOD", timeouts=PATIENT).associate(at(server)).release()
    assert seen == ["MOD"]


def test_asyncio_has_the_same_entries(tmp_path):
    async def main():
        allow = [Allow(calling="MOD*", services=["C-STORE", "C-ECHO"])]
        server = AsyncServer(AE("SCP", timeouts=PATIENT), port=0, allow=allow)
        asked = []

        @server.c_find
        async def find(request):
            asked.append(request)

        events = server.events("denied", "rejected")
        async with server:
            with pytest.raises(AssociationRejected) as caught:
                await SCU.associate_async(at(server))
            ae = AE("MOD1", timeouts=PATIENT)
            contexts = [Verification, StudyRoot]
            async with await ae.associate_async(at(server), contexts=contexts) as association:
                assert await association.c_echo() == 0
                finding = association.c_find({"PatientID": "1"}, model=StudyRoot, level="STUDY")
                with pytest.raises(StatusError) as failed:
                    assert [match async for match in finding] == []
                assert failed.value.status == NOT_AUTHORIZED
        assert caught.value.reason == 3
        assert asked == []
        return [event["event"] async for event in events]

    assert asyncio.run(main()) == ["rejected", "denied"]


def test_passcodes_are_verified():
    verify = Passcodes({"bob": hash_passcode("s3cret")})
    with scp(verify_identity=verify, require_identity=True, passcode_in_clear=True) as server:
        for passcode in ("guess", "s3cret"):
            identity = UsernamePasscode("bob", passcode, in_clear=True, response_requested=True)
            if passcode == "guess":
                assert rejected(server, identity=identity) == (1, 2, 1)
            else:
                with SCU.associate(at(server), identity=identity) as association:
                    assert association.identity_response == b""


# ---- certificates


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


def secured(title, issued, ca):
    return AE(title, timeouts=PATIENT, tls=TLS(issued.cert, issued.key, ca.ca))


@pytest.mark.parametrize("said", ["digest", "name"])
def test_a_certificate_and_an_ae_title_belong_together(ca, said):
    first, second = ca.issue("ct1"), ca.issue("ct2")
    entries = [
        Allow(calling=title, certificate=issued.sha256 if said == "digest" else name)
        for title, name, issued in (("CT1", "ct1", first), ("CT2", "ct2", second))
    ]
    with scp(ae=secured("SCP", ca.issue("node"), ca), allow=entries) as server:
        events = server.events("rejected")
        for title, issued in (("CT1", first), ("CT2", second)):
            with secured(title, issued, ca).associate(at(server)) as association:
                assert association.c_echo() == 0
        assert rejected(server, secured("CT1", second, ca)) == (1, 1, 3)
        assert rejected(server, secured("CT3", first, ca)) == (1, 1, 3)
    first_told, second_told = events
    digests = [issued.sha256.replace(":", "").lower() for issued in (second, first)]
    assert digests[0] in first_told["why"]
    assert digests[1] in second_told["why"]


def test_who_shows_no_certificate_is_not_meant_by_one(ca):
    issued = ca.issue("ct1")
    server_ae = secured("SCP", ca.issue("node"), ca)
    server_ae = replace(server_ae, tls=replace(server_ae.tls, verify="optional"))
    nobody = AE("CT1", timeouts=PATIENT, tls=TLS(ca=ca.ca))
    allow = [Allow(certificate=issued.sha256), Allow(calling="GUEST", services="C-ECHO")]
    with scp(ae=server_ae, allow=allow) as server:
        assert rejected(server, nobody) == (1, 1, 3)
        replace(nobody, title="GUEST").associate(at(server)).release()
    with scp(allow=allow) as server:  # without TLS
        assert rejected(server) == (1, 1, 3)
