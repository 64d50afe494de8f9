"""Auditable events of a server, in the vocabulary of PS3.15 A.5, and the message made of them."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime
from xml.etree import ElementTree

import pydicom
import pytest
from pydicom.sr import _concepts_dict

from dimse_rs import (
    AE,
    TLS,
    Allow,
    AssociationRejected,
    AsyncServer,
    CTImageStorage,
    DimseError,
    Events,
    Limits,
    ModalityPerformedProcedureStep,
    MRImageStorage,
    StatusError,
    Storage,
    StudyRoot,
    Username,
    UsernamePasscode,
    Verification,
    audit_xml,
    for_retrieve,
)
from dimse_rs.observe import audit
from dimse_rs.observe.audit import RECORDING_STOPPED
from tests.data.certificates import Authority
from tests.data.generate import series
from tests.support.nodes import CT, MR_IMPLICIT, PATIENT, SCU, at, link, scp

CT_STUDY = str(pydicom.dcmread(CT).StudyInstanceUID)
CT_PATIENT = str(pydicom.dcmread(CT).PatientID)
STEP = {"sop_class": ModalityPerformedProcedureStep, "instance_uid": "1.2.3"}


def codes(events):
    """Give what happened, in order, without the start and the stop."""
    return [event["event_id"][0] for event in events if event["event_id"][0] != "110100"]


def of(events, code):
    """Give the events of one kind."""
    return [event for event in events if event["event_id"][0] == code]


def roles(event):
    """Give who took part: titles by role."""
    return {
        who["role"] and who["role"][1]: (who["user_id"], who["requestor"])
        for who in event["participants"]
    }


def test_a_server_tells_of_its_start_and_stop():
    before = datetime.now(UTC)
    server = scp()
    events = server.events("audit")
    with server:
        pass
    start, stop = events
    for event in (start, stop):
        assert event["event"] == "audit"
        assert event["event_id"] == ("110100", "Application Activity")
        assert (event["action"], event["outcome"], event["association"]) == ("E", 0, 0)
        [application] = event["participants"]
        assert application["role"] == ("110150", "Application")
        assert application["user_id"] == "SCP"
        assert application["address"] == "127.0.0.1"
        assert event["source"].startswith("SCP@")
    assert start["event_type"] == ("110120", "Application Start")
    assert stop["event_type"] == ("110121", "Application Stop")
    times = [datetime.fromisoformat(event["date_time"]) for event in (start, stop)]
    assert before <= times[0] <= times[1] <= datetime.now(UTC)


def test_instances_of_a_study_are_told_of_together_when_the_association_ends(tmp_path):
    files = series(tmp_path, "study", 5, (1, 8, 8))
    study = pydicom.dcmread(files[0])
    server = scp(tmp_path / "in")
    events = server.events("audit")
    with server:
        SCU.send(at(server), [*files, CT]).raise_for_failures()
    one, other = of(events, "110104")
    told = {event["objects"][0]["id"]: event for event in (one, other)}
    event = told[str(study.StudyInstanceUID)]
    assert event["event_id"] == ("110104", "DICOM Instances Transferred")
    assert (event["action"], event["outcome"], event["outcome_text"]) == ("C", 0, "")
    about, patient = event["objects"]
    assert (about["type"], about["role"]) == (2, 3)
    assert about["id_type"] == ("110180", "Study Instance UID")
    assert about["sop_classes"] == {study.SOPClassUID: 5}
    assert (patient["type"], patient["role"]) == (1, 1)
    assert (patient["id_type"], patient["id"]) == (("2", "Patient Number"), study.PatientID)
    assert roles(event) == {
        "Source Role ID": ("SCU", True),
        "Destination Role ID": ("SCP", False),
    }
    source, destination = event["participants"]
    assert source["alternative_user_id"] == "AETITLES=SCU"
    assert source["address"] == "127.0.0.1"
    assert destination["alternative_user_id"].startswith("AETITLES=SCP;PID=")
    assert told[CT_STUDY]["objects"][0]["sop_classes"] == {CTImageStorage: 1}


def test_new_identical_and_changed_instances_are_told_apart(tmp_path):
    server = scp(tmp_path)
    events = server.events("audit")
    changed = pydicom.dcmread(CT)
    changed.PatientName = "Another"
    with server:
        for _ in range(2):
            SCU.send(at(server), [CT]).raise_for_failures()
        with SCU.associate(at(server), contexts=CTImageStorage) as association:
            assert association.c_store(changed) == 0
            assert association.c_store(CT) == 0
            assert association.c_store(CT) == 0
    told = [(event["action"], event["objects"][0]["sop_classes"]) for event in of(events, "110104")]
    once, twice = {CTImageStorage: 1}, {CTImageStorage: 2}
    assert told == [("C", once), ("R", once), ("U", twice), ("R", once)]


@pytest.mark.parametrize("spool", [False, True], ids=["in memory", "in a file"])
def test_instances_for_a_handler_are_told_of_with_its_status(spool):
    limits = Limits(spool_above=0) if spool else Limits()
    server = scp(ae=AE("SCP", timeouts=PATIENT, limits=limits))
    statuses = [0xB000, 0xA700]

    @server.c_store
    def store(request):
        raise StatusError(statuses.pop(0))

    events = server.events("audit")
    with link(server, CTImageStorage) as association:
        assert association.c_store(CT) == 0xB000
        with pytest.raises(StatusError):
            association.c_store(CT)
    good, bad = of(events, "110104")
    for event in (good, bad):
        assert event["action"] == "C"
        assert [about["id"] for about in event["objects"]] == [CT_STUDY, CT_PATIENT]
    assert (good["outcome"], good["outcome_text"]) == (0, "")
    assert bad["outcome"] == 8
    assert "0xA700" in bad["outcome_text"]


def test_what_the_sink_refuses_is_told_of_as_a_failure(tmp_path):
    server = scp(tmp_path)
    events = server.events("audit")
    with link(server, CTImageStorage) as association:
        path = tmp_path / "cut.dcm"
        whole = CT.read_bytes()
        path.write_bytes(whole[: len(whole) - 1000])
        with pytest.raises(StatusError):
            association.c_store(path, check=False)
    [event] = of(events, "110104")
    assert event["outcome"] == 8
    assert "0xC000" in event["outcome_text"]
    assert event["objects"][0]["sop_classes"] == {CTImageStorage: 1}


def test_a_query_is_told_of_as_it_was_asked():
    server = scp()
    server.c_find(lambda request: [])
    events = server.events("audit")
    with link(server, StudyRoot) as association:
        list(association.c_find({"PatientID": "P1"}, model=StudyRoot, level="STUDY"))
    [event] = of(events, "110112")
    assert (event["action"], event["outcome"]) == ("E", 0)
    assert roles(event) == {"Source Role ID": ("SCU", True), "Destination Role ID": ("SCP", False)}
    [about] = event["objects"]
    assert about["id_type"] == ("110181", "SOP Class UID")
    assert about["id"] == StudyRoot.find
    assert b"P1" in base64.b64decode(about["query"])
    assert about["detail"]["TransferSyntax"].startswith("1.2.840.10008.1.2")


def test_a_get_is_told_of_when_it_begins_and_when_it_is_over():
    server = scp()
    server.c_get(lambda request: [CT, MR_IMPLICIT])
    events = server.events("audit")
    with link(server, for_retrieve(StudyRoot)) as association:
        asked = {"StudyInstanceUID": CT_STUDY, "PatientID": "P1"}
        list(association.c_get(asked, model=StudyRoot, level="STUDY", into=[]))
    events = list(events)
    assert codes(events) == ["110102", "110104"]
    begin, end = of(events, "110102") + of(events, "110104")
    for event in (begin, end):
        assert [about["id"] for about in event["objects"]] == [CT_STUDY, "P1"]
        assert roles(event) == {
            "Source Role ID": ("SCP", False),
            "Destination Role ID": ("SCU", True),
        }
    assert (begin["action"], end["action"]) == ("E", "R")
    assert begin["objects"][0]["sop_classes"] == {}
    assert end["objects"][0]["sop_classes"] == {CTImageStorage: 1, MRImageStorage: 1}
    assert end["outcome"] == 0


def test_a_move_names_who_receives_and_who_asked(tmp_path):
    with scp(tmp_path, ae=AE("THERE", timeouts=PATIENT)) as there:
        server = scp(destinations={"THERE": f"127.0.0.1:{there.port}", "GONE": "127.0.0.1:1"})
        server.c_move(lambda request: [CT])
        events = server.events("audit")
        with link(server, StudyRoot) as association:
            asked = {"StudyInstanceUID": ["1.2", "1.3"]}
            options = {"model": StudyRoot, "level": "STUDY"}
            list(association.c_move(asked, destination="THERE", **options))
            moving = association.c_move(asked, destination="GONE", **options)
            with pytest.raises(StatusError):
                list(moving)
    events = list(events)
    good, bad = of(events, "110104")
    assert roles(good) == {
        "Source Role ID": ("SCP", False),
        "Destination Role ID": ("THERE", False),
        None: ("SCU", True),
    }
    assert [(about["id"], about["sop_classes"]) for about in good["objects"]] == [
        ("1.2", {}),
        ("1.3", {}),
        (CTImageStorage, {CTImageStorage: 1}),
    ]
    assert good["outcome"] == 0
    assert bad["outcome"] == 8
    assert bad["outcome_text"]


def test_instances_of_n_services_are_accessed():
    server = scp()
    for add in (server.n_create, server.n_set, server.n_delete):
        add(lambda request: None)

    @server.n_action
    def act(request):
        raise StatusError(0x0123)

    events = server.events("audit")
    with link(server, ModalityPerformedProcedureStep) as association:
        association.n_create({"PatientID": "1"}, **STEP)
        association.n_set({"PatientID": "1"}, **STEP)
        association.n_delete(**STEP)
        with pytest.raises(StatusError):
            association.n_action(1, **STEP)
    told = of(events, "110103")
    assert [(event["action"], event["outcome"]) for event in told] == [
        *(("C", 0), ("U", 0), ("D", 0), ("E", 8)),
    ]
    for event in told:
        [about] = event["objects"]
        assert about["id"] == ModalityPerformedProcedureStep
        assert about["instances"] == ["1.2.3"]


def test_users_are_told_of_when_they_come_and_go():
    verify = {"verify_identity": lambda proposal: proposal.identity.name == "bob"}
    server = scp(**verify, passcode_in_clear=True)
    events = server.events("audit")
    with server:
        with pytest.raises(AssociationRejected):
            SCU.associate(at(server), identity=UsernamePasscode("eve", "s3cret", in_clear=True))
        SCU.associate(at(server), identity=Username("bob")).release()
    events = list(events)
    assert codes(events) == ["110114"] * 3
    wrong, come, gone = of(events, "110114")
    assert [event["event_type"][1] for event in (wrong, come, gone)] == ["Login", "Login", "Logout"]
    assert [event["outcome"] for event in (wrong, come, gone)] == [4, 0, 0]
    assert [event["participants"][0]["user_id"] for event in (wrong, come, gone)] == [
        *("eve", "bob", "bob"),
    ]
    assert "s3cret" not in json.dumps(events)


def test_a_passcode_in_clear_is_an_alert():
    server = scp(require_identity=True)
    events = server.events("audit")
    with server, pytest.raises(AssociationRejected):
        SCU.associate(at(server), identity=UsernamePasscode("bob", "s3cret", in_clear=True))
    [event] = of(events, "110113")
    assert event["event_type"] == ("110126", "Node Authentication")
    assert "s3cret" not in json.dumps(event)


def test_the_user_is_named_in_what_was_done():
    server = scp()
    server.c_find(lambda request: [])
    events = server.events("audit")
    with link(server, StudyRoot, identity=Username("bob")) as association:
        list(association.c_find({"PatientID": "P1"}, model=StudyRoot, level="STUDY"))
    [event] = of(events, "110112")
    assert event["participants"][0]["user_name"] == "bob"


def test_who_is_not_let_in_and_what_is_not_permitted_are_alerts(tmp_path):
    server = scp(tmp_path, allow=[Allow(calling="MOD", services="C-ECHO")])
    events = server.events("audit")
    with server:
        with pytest.raises(AssociationRejected):
            SCU.associate(at(server))
        ae = AE("MOD", timeouts=PATIENT)
        with (
            ae.associate(at(server), contexts=CTImageStorage) as association,
            pytest.raises(StatusError),
        ):
            association.c_store(CT)
    events = list(events)
    assert codes(events) == ["110113", "110113"]
    node, function = of(events, "110113")
    assert node["event_type"] == ("110126", "Node Authentication")
    assert function["event_type"] == ("110132", "Use of Restricted Function")
    for event, title in ((node, "SCU"), (function, "MOD")):
        assert event["outcome"] == 8
        [about] = event["objects"]
        assert (about["id_type"], about["id"]) == (("110182", "Node ID"), title)
        assert about["role"] == 13
    assert "SCU" in node["objects"][0]["detail"]["Alert Description"]
    assert "C-STORE" in function["objects"][0]["detail"]["Alert Description"]


def test_tls_that_fails_is_an_alert(tmp_path):
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    node, peer = ours.issue("node"), theirs.issue("peer")
    ae = AE("SCP", timeouts=PATIENT, tls=TLS(node.cert, node.key, ours.ca))
    stranger = AE("CT1", timeouts=PATIENT, tls=TLS(peer.cert, peer.key, ours.ca))
    with scp(ae=ae) as server:
        events = server.events("audit")
        with pytest.raises(DimseError):
            stranger.associate(at(server)).c_echo()
    [event] = of(events, "110113")
    assert event["event_type"] == ("110126", "Node Authentication")
    assert event["outcome"] == 8
    [about] = event["objects"]
    assert about["id"] == "127.0.0.1"  # it had no time to say its title
    assert about["detail"]["Alert Description"] == event["outcome_text"] != ""


def test_a_lack_of_room_is_no_alert():
    with scp(max_associations=1) as server:
        events = server.events("audit")
        with SCU.associate(at(server)), pytest.raises(AssociationRejected):
            SCU.associate(at(server))
    assert codes(events) == []


def test_a_peer_of_many_studies_has_them_told_before_they_take_too_much(monkeypatch, tmp_path):
    monkeypatch.setattr("dimse_rs.observe._auditor._MOST", 2)
    server = scp(tmp_path)
    events = server.events("audit")
    with link(server, [CTImageStorage, MRImageStorage]) as association:
        assert association.c_store(CT) == 0
        assert association.c_store(MR_IMPLICIT) == 0
        first = [next(events) for _ in range(3)][1:]
        assert codes(first) == ["110104"] * 2
        assert association.c_store(CT) == 0
    assert [event["action"] for event in of(events, "110104")] == ["R"]


def test_a_slow_follower_has_an_alert_of_what_it_lost(monkeypatch):
    monkeypatch.setattr("dimse_rs.observe.events.MOST", 3)
    server = scp()
    events = server.events("audit")
    with server:
        for _ in range(5):
            SCU.associate(at(server)).release()
    events = list(events)
    assert events[0]["event_type"] == ("110120", "Application Start")
    [lost] = [event for event in events if event["event"] == "lost"]
    [alert] = [event for event in events if event.get("event_type") == RECORDING_STOPPED]
    assert alert["outcome"] == 12
    assert f"{lost['count']} events" in alert["outcome_text"]


def test_codes_and_meanings_are_those_of_the_standard():
    """As pydicom has them of PS3.16."""
    known = {}
    for entries in _concepts_dict.concepts["DCM"].values():
        known |= {code: meaning for code, (meaning, _) in entries.items()}
    told = [value for value in vars(audit).values() if isinstance(value, tuple)]
    told = [code for code in told if len(code) == 2 and code[0].isdigit() and len(code[0]) == 6]
    assert len(told) > 15
    assert [code for code in told if known.get(code[0]) != code[1]] == []


def test_no_other_kind_names_patients_or_users(tmp_path):
    instance = pydicom.dcmread(CT)
    instance.PatientID = "NEEDLE"
    server = scp(tmp_path)
    kinds = ("associated", "negotiated", "stored", "refused", "denied", "message", "ended")
    events, audit = server.events(*kinds), server.events("audit")
    with link(server, CTImageStorage, identity=Username("THREAD")) as association:
        assert association.c_store(instance) == 0
    assert "NEEDLE" in json.dumps(list(audit))
    told = json.dumps(list(events))
    assert "NEEDLE" not in told
    assert "THREAD" not in told


def test_audit_is_of_servers():
    with pytest.raises(ValueError, match=r"Server\.events"):
        Events("audit")
    with link(scp()) as association, pytest.raises(ValueError, match="audit"):
        association.events("audit")


def test_audit_and_other_kinds_come_in_one_stream(tmp_path):
    server = scp(tmp_path)
    events = server.events("audit", "stored")
    with server:
        SCU.send(at(server), [CT]).raise_for_failures()
    assert [event["event"] for event in events] == ["audit", "stored", "audit", "audit"]


def test_asyncio_has_the_same_events(tmp_path):
    async def main():
        storage = Storage(tmp_path, mode="fast")
        server = AsyncServer(AE("SCP", timeouts=PATIENT), port=0, services=[storage])

        @server.c_find
        async def find(request):
            return []

        events = server.events("audit")
        async with server:
            contexts = [CTImageStorage, StudyRoot, Verification]
            async with await SCU.associate_async(at(server), contexts=contexts) as association:
                assert await association.c_store(CT) == 0
                finding = association.c_find({"PatientID": "1"}, model=StudyRoot, level="STUDY")
                assert [match async for match in finding] == []
        return [event async for event in events]

    events = asyncio.run(main())
    assert codes(events) == ["110112", "110104"]
    assert [event["event_type"] for event in of(events, "110100")] == [
        ("110120", "Application Start"),
        ("110121", "Application Stop"),
    ]


# ---- the message


def test_the_message_of_a_transfer(tmp_path):
    server = scp(tmp_path)
    events = server.events("audit")
    with server:
        SCU.send(
            at(server),
            [CT],
        ).raise_for_failures()
    [event] = of(events, "110104")
    text = audit_xml(event)
    assert text.startswith(b"<?xml")
    message = ElementTree.fromstring(text)
    assert message.tag == "AuditMessage"
    what = message.find("EventIdentification")
    assert what.attrib == {
        "EventActionCode": "C",
        "EventDateTime": event["date_time"],
        "EventOutcomeIndicator": "0",
    }
    assert what.find("EventID").attrib == {
        "csd-code": "110104",
        "codeSystemName": "DCM",
        "originalText": "DICOM Instances Transferred",
    }
    source, destination = message.findall("ActiveParticipant")
    assert source.get("UserID") == "SCU"
    assert source.get("AlternativeUserID") == "AETITLES=SCU"
    assert source.get("UserIsRequestor") == "true"
    assert source.get("NetworkAccessPointID") == "127.0.0.1"
    assert source.get("NetworkAccessPointTypeCode") == "2"
    assert source.find("RoleIDCode").get("csd-code") == "110153"
    assert destination.get("UserIsRequestor") == "false"
    assert message.find("AuditSourceIdentification").get("AuditSourceID") == event["source"]
    study, patient = message.findall("ParticipantObjectIdentification")
    assert study.get("ParticipantObjectID") == CT_STUDY
    assert study.find("SOPClass").attrib == {"UID": CTImageStorage, "NumberOfInstances": "1"}
    assert patient.get("ParticipantObjectID") == CT_PATIENT
    code = patient.find("ParticipantObjectIDTypeCode")
    assert (code.get("csd-code"), code.get("codeSystemName")) == ("2", "RFC-3881")


def test_every_message_is_xml_whatever_the_peer_sent(tmp_path):
    """Also with what came over JSON, where tuples are lists."""
    hostile = "\x00\x1b<&>\ud800\ufffe"
    server = scp(verify_identity=lambda proposal: False)
    server.c_find(lambda request: [])
    events = server.events("audit")
    with server:
        with pytest.raises(AssociationRejected):
            SCU.associate(at(server), identity=Username("<&>\x01"))
        with SCU.associate(at(server), contexts=StudyRoot) as association:
            list(association.c_find({"PatientID": "P1"}, model=StudyRoot, level="STUDY"))
    events = list(events)
    events[-1]["outcome_text"] = hostile
    for event in events:
        for same in (event, json.loads(json.dumps(event))):
            message = ElementTree.fromstring(audit_xml(same))
            assert message.find("EventIdentification/EventID").get("codeSystemName") == "DCM"
    [query] = of(events, "110112")
    message = ElementTree.fromstring(audit_xml(query))
    sent = base64.b64decode(message.find(".//ParticipantObjectQuery").text)
    assert b"P1" in sent
    detail = message.find(".//ParticipantObjectDetail")
    assert detail.get("type") == "TransferSyntax"
    assert base64.b64decode(detail.get("value")).startswith(b"1.2.840.10008.1.2")
