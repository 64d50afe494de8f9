"""What programs can follow: each kind of event, at both ends, blocking and asyncio."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from contextlib import suppress

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    AssociationRejected,
    AsyncServer,
    ConnectFailed,
    CTImageStorage,
    DimseError,
    Events,
    Handlers,
    LocalProtocolError,
    StudyRoot,
    Username,
    UsernamePasscode,
    Verification,
    for_retrieve,
    log,
)
from dimse_rs.observe import events
from tests.support.nodes import CT, PATIENT, SCU, Puppet, at, link, scp

STEP = re.compile(r"Sta\d+ \+ Evt\d+ -> A[AER]-\d+ -> Sta\d+")
CT_UID = str(dcmread(CT, stop_before_pixels=True).SOPInstanceUID)


def steps(seen):
    parts = ("from", "on", "action", "to")
    return [tuple(event[part] for part in parts) for event in seen if event["event"] == "state"]


def names(seen):
    return [event["event"] for event in seen]


# ---- each kind


def test_the_negotiation_is_told_with_the_result_of_each_context(tmp_path):
    story = Events("connected", "negotiated", "ended")
    server = scp(tmp_path)
    with link(server, [CTImageStorage, "1.2.3.4"], events=story, max_ops_invoked=3):
        pass
    connected, negotiated, ended = story
    peer = f"127.0.0.1:{server.port}"
    number = connected["association"]
    told = {"event": "connected", "association": number, "peer": peer, "tls": None}
    assert connected == told
    assert negotiated.pop("implementation").startswith("DIMSE_RS_")
    assert negotiated == {
        "event": "negotiated",
        "association": number,
        "peer": peer,
        "calling": "SCU",
        "called": "SCP",
        "contexts": [
            {
                "id": 1,
                "class": str(CTImageStorage),
                "result": "acceptance",
                "syntax": "1.2.840.10008.1.2.1",
                "scu": True,
                "scp": False,
            },
            {
                "id": 3,
                "class": "1.2.3.4",
                "result": "abstract-syntax-not-supported",
                "syntax": None,
                "scu": False,
                "scp": False,
            },
        ],
        "max_length": 131072,
        "window": (1, 1),
        "warnings": [],
    }
    assert ended == {
        "event": "ended",
        "association": number,
        "peer": peer,
        "calling": "SCU",
        "called": "SCP",
        "code": "released",
        "why": "",
        "stored": 0,
        "messages": 0,
    }


def test_pdus_are_told_with_the_items_of_the_association(tmp_path):
    story = Events("pdu")
    server = scp(tmp_path)
    served = server.events("pdu")
    identity = UsernamePasscode("SECRETUSER", "SECRETCODE", response_requested=True, in_clear=True)
    with link(server, for_retrieve(CTImageStorage), events=story, identity=identity) as scu:
        scu.c_store(CT)
    ours, theirs = list(story), list(served)
    kinds = [(event["direction"], event["type"]) for event in ours]
    assert kinds[:2] == [("sent", "A-ASSOCIATE-RQ"), ("received", "A-ASSOCIATE-AC")]
    assert kinds[-2:] == [("sent", "A-RELEASE-RQ"), ("received", "A-RELEASE-RP")]
    assert {kind for _, kind in kinds[2:-2]} == {"P-DATA-TF"}
    # What one end sent the other received, byte for byte.
    flip = {"sent": "received", "received": "sent"}
    there = sorted((flip[e["direction"]], e["type"], e["length"]) for e in theirs)
    assert there == sorted((e["direction"], e["type"], e["length"]) for e in ours)
    asked, answered = ours[0]["items"], ours[1]["items"]
    assert asked["called"], asked["calling"] == ("SCP", "SCU")
    assert asked["max_length"] == 131072
    assert asked["identity"] == (2, True)
    first = asked["contexts"][0]
    assert (first["id"], first["class"]) == (1, str(CTImageStorage))
    assert first["syntaxes"] == ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
    assert (str(CTImageStorage), True, True) in asked["roles"]
    assert answered["contexts"][0] == {
        "id": 1,
        "class": str(CTImageStorage),
        "result": "acceptance",
        "syntaxes": ["1.2.840.10008.1.2.1"],
    }
    assert "SECRET" not in json.dumps([ours, theirs], default=str)


def test_states_are_told_as_the_standard_names_them():
    story = Events("state")
    server = scp()
    served = server.events("state")
    with link(server, events=story) as association:
        association.c_echo()
    assert steps(story) == [
        ("Sta1", "Evt1", "AE-1", "Sta4"),
        ("Sta4", "Evt2", "AE-2", "Sta5"),
        ("Sta5", "Evt3", "AE-3", "Sta6"),
        ("Sta6", "Evt9", "DT-1", "Sta6"),
        ("Sta6", "Evt10", "DT-2", "Sta6"),
        ("Sta6", "Evt11", "AR-1", "Sta7"),
        ("Sta7", "Evt13", "AR-3", "Sta1"),
    ]
    assert steps(served) == [
        ("Sta1", "Evt5", "AE-5", "Sta2"),
        ("Sta2", "Evt6", "AE-6", "Sta3"),
        ("Sta3", "Evt7", "AE-7", "Sta6"),
        ("Sta6", "Evt10", "DT-2", "Sta6"),
        ("Sta6", "Evt9", "DT-1", "Sta6"),
        ("Sta6", "Evt12", "AR-2", "Sta8"),
        ("Sta8", "Evt14", "AR-4", "Sta13"),
        ("Sta13", "Evt17", "AR-5", "Sta1"),
    ]


def test_messages_are_told_whoever_sends_them_and_however(tmp_path):
    story = Events("message")
    server = scp(tmp_path)
    with link(server, [Verification, CTImageStorage], events=story) as association:
        association.c_echo()
        association.c_store(CT)  # a file, undecoded
        association.c_store(dcmread(CT))
    told = [(e["direction"], e["type"], e["context"], e["bytes"] > 0) for e in story]
    assert told == [
        ("sent", "C-ECHO-RQ", 1, False),
        ("received", "C-ECHO-RSP", 1, False),
        ("sent", "C-STORE-RQ", 3, True),
        ("received", "C-STORE-RSP", 3, False),
        ("sent", "C-STORE-RQ", 3, True),
        ("received", "C-STORE-RSP", 3, False),
    ]


def test_a_message_has_its_command_set_and_the_length_of_its_data_set(tmp_path):
    server = scp(tmp_path)
    served = server.events("message", "stored")
    with link(server, CTImageStorage) as association:
        association.c_store(CT)
    request, stored, response = served
    assert request["command"]["AffectedSOPInstanceUID"] == CT_UID
    assert request["command"]["MessageID"] == response["command"]["MessageIDBeingRespondedTo"]
    assert request["bytes"] == stored["bytes"]
    assert (response["bytes"], response["command"]["Status"]) == (0, 0)


def retriever(instances, **options):
    server = scp(**options)
    server.c_get(StudyRoot)(lambda request: instances)
    server.c_move(StudyRoot)(lambda request: instances)
    return server


def test_sub_operations_of_a_get_are_told_at_both_ends(tmp_path):
    missing = tmp_path / "missing.dcm"
    server = retriever([CT, missing])
    performed = server.events("suboperation")
    story = Events("suboperation")
    taken = []
    with link(server, for_retrieve(StudyRoot), events=story) as association:
        query = {"StudyInstanceUID": "1.2"}
        responses = association.c_get(query, model=StudyRoot, level="STUDY", into=taken)
        assert [r.status for r in responses][-1] == 0xB000
    [received] = story
    sent, failed = performed
    assert (received["direction"], sent["direction"]) == ("received", "sent")
    for event in received, sent:
        assert (event["uid"], event["class"], event["status"]) == (CT_UID, CTImageStorage, 0)
        assert event["of"] == 1
    assert failed["status"] is None
    assert "missing.dcm" in failed["why"]
    assert len(taken) == 1


def test_sub_operations_of_a_move_are_told_where_they_are_performed_and_received(tmp_path):
    with scp(tmp_path, ae=AE("THERE", timeouts=PATIENT)) as there:
        server = retriever([CT], destinations={"THERE": f"THERE@127.0.0.1:{there.port}"})
        performed, received = server.events("suboperation"), there.events("suboperation", "stored")
        with link(server, StudyRoot) as association:
            query = {"StudyInstanceUID": "1.2"}
            moving = association.c_move(query, model=StudyRoot, level="STUDY", destination="THERE")
            assert [response.completed for response in moving][-1] == 1
    [sent] = performed
    stored, part = received
    assert stored["event"] == "stored"
    for event, direction in ((sent, "sent"), (part, "received")):
        assert (event["direction"], event["uid"], event["status"]) == (direction, CT_UID, 0)
        assert event["of"] == 1, "the Message ID of the C-MOVE"


# ---- ends


def test_a_rejection_is_told_to_who_was_rejected():
    story = Events("pdu", "state", "rejected", "ended")
    with scp() as server, pytest.raises(AssociationRejected):
        SCU.associate(f"WRONG@127.0.0.1:{server.port}", events=story)
    seen = list(story)
    assert [e["type"] for e in seen if e["event"] == "pdu"] == ["A-ASSOCIATE-RQ", "A-ASSOCIATE-RJ"]
    assert seen[2]["items"]["contexts"]
    rj = next(e for e in seen if e["event"] == "pdu" and e["direction"] == "received")
    assert rj["items"] == {"result": 1, "source": 1, "reason": 7}
    rejected, ended = seen[-2:]
    assert (rejected["event"], rejected["result"], rejected["reason"]) == ("rejected", 1, 7)
    assert (ended["event"], ended["code"]) == ("ended", rejected["code"])
    assert steps(seen)[-1] == ("Sta5", "Evt4", "AE-4", "Sta1")


def test_a_connection_that_fails_is_told_to_its_end():
    with scp() as gone:
        address = at(gone)
    story = Events("state", "error", "ended")
    with pytest.raises(ConnectFailed):
        SCU.associate(address, events=story)
    seen = list(story)
    assert steps(seen) == [("Sta1", "Evt1", "AE-1", "Sta4"), ("Sta4", "Evt17", "AA-4", "Sta1")]
    assert names(seen)[-2:] == ["error", "ended"]


def test_an_association_that_never_began_leaves_nobody_waiting():
    story = Events("pdu")
    with pytest.raises(LocalProtocolError):
        SCU.associate("SCP@127.0.0.1:1", identity=Username("x" * 70_000), events=story)
    assert list(story) == []


def test_an_abort_is_told_at_both_ends():
    server = scp()
    served = server.events("error", "ended")
    with link(server) as association:
        own = association.events("aborted", "ended")
        association.abort()
        seen = list(own)
    assert names(seen) == ["aborted", "ended"]
    assert names(served) == ["error", "ended"]


# ---- following


def test_an_association_is_followed_from_now_until_it_has_ended():
    with scp() as server:
        association = SCU.associate(at(server))
        association.c_echo()
        own = association.events("message", "ended")
        association.c_echo()
        association.release()
        assert names(own) == ["message", "message", "ended"]
        assert names(association.events("message")) == []


def test_handlers_follow_their_own_association_alone():
    server = scp()
    seen = []
    followed = threading.Event()

    @server.c_echo
    def echo(request):
        if request.association.peer.ae_title == "ONE" and not seen:
            own = request.association.events("message", "ended")
            seen.append(own)
            followed.set()

    with server:
        with AE("ONE", timeouts=PATIENT).associate(at(server)) as one:
            one.c_echo()
            assert followed.wait(15)
            with SCU.associate(at(server)) as other:
                other.c_echo()
            one.c_echo()
        told = list(seen[0])
    assert [event.get("type") for event in told] == ["C-ECHO-RSP", "C-ECHO-RQ", "C-ECHO-RSP", None]
    assert len({event["association"] for event in told}) == 1


def test_the_usual_events_come_unless_others_are_named(tmp_path):
    server = scp(tmp_path)
    usual, some = server.events(), server.events("stored")
    with link(server, CTImageStorage) as association:
        association.c_store(CT)
    assert names(usual) == ["associated", "stored", "released"]
    assert names(some) == ["stored"]


def test_a_timeout_ends_the_wait_and_not_the_following():
    with scp() as server:
        story = server.events("released", timeout=0.2)
        SCU.associate(at(server)).release()
        assert names(story) == ["released"]
        SCU.associate(at(server)).release()
        assert names(story) == ["released"]


def test_who_follows_no_more_gets_what_came_before():
    with scp() as server:
        with SCU.associate(at(server)) as association, association.events("message") as own:
            association.c_echo()
            own.close()
            association.c_echo()
        assert names(own) == ["message", "message"]


def test_a_slow_follower_is_told_how_many_it_lost(monkeypatch):
    monkeypatch.setattr(events, "MOST", 3)
    with scp() as server:
        with SCU.associate(at(server)) as association:
            slow = association.events("message")
            for _ in range(5):
                association.c_echo()
            first = [next(slow) for _ in range(3)]
            association.c_echo()
        rest = list(slow)
    assert names(first) == ["message"] * 3
    assert rest[0] == {"event": "lost", "count": 7}
    assert names(rest) == ["lost", "message", "message"]


def test_events_that_lose_at_the_end_say_so(monkeypatch):
    monkeypatch.setattr(events, "MOST", 2)
    story = Events("message")
    with link(scp(), events=story) as association:
        association.c_echo(repeat=10)
    assert names(story) == ["message", "message", "lost"]


def test_only_events_that_there_are_can_be_named():
    with pytest.raises(ValueError, match=r"no such event: 'pdus', but connected, "):
        Events("pdus")
    story = Events("pdu")
    with scp() as server:
        SCU.associate(at(server), events=story).release()
        with pytest.raises(ValueError, match="follows one association"):
            SCU.associate(at(server), events=story)


def test_events_can_be_printed():
    story = Events(*events.USUAL, "negotiated", "pdu", "state", "message", "ended")
    with link(scp(), events=story) as association:
        association.c_echo()
    for event in story:
        json.dumps(event)


# ---- asyncio


def test_asyncio_follows_both_ends(tmp_path):
    async def main():
        server = AsyncServer(AE("SCP", timeouts=PATIENT), port=0)
        server.c_store(lambda request: None)
        story = Events("negotiated", "message")
        served = server.events("message", "released")
        async with server:
            peer = f"SCP@127.0.0.1:{server.port}"
            async with SCU.associate_async(peer, contexts=CTImageStorage, events=story) as scu:
                own = scu.events("ended")
                await scu.c_store(CT)
            ended = [event async for event in own]
        assert names(ended) == ["ended"]
        assert names([event async for event in story]) == ["negotiated", "message", "message"]
        assert names([event async for event in served]) == ["message", "message", "released"]

    asyncio.run(asyncio.wait_for(main(), 25))


def test_asyncio_waits_for_events_that_are_to_come():
    async def main():
        async with AsyncServer(AE("SCP", timeouts=PATIENT), port=0) as server:
            peer = f"SCP@127.0.0.1:{server.port}"
            async with SCU.associate_async(peer) as scu:
                own = scu.events("message", timeout=20)
                waiting = asyncio.ensure_future(anext(own))
                await asyncio.sleep(0)
                assert not waiting.done()
                await scu.c_echo()
                assert (await waiting)["type"] == "C-ECHO-RQ"
                assert [e["type"] async for e in scu.events("message", timeout=0)] == []

    asyncio.run(asyncio.wait_for(main(), 25))


def test_asyncio_is_told_of_an_association_that_fails():
    async def main():
        story = Events("rejected")
        async with AsyncServer(AE("SCP", timeouts=PATIENT), port=0) as server:
            with pytest.raises(AssociationRejected):
                await SCU.associate_async(f"WRONG@127.0.0.1:{server.port}", events=story)
            [rejected] = [event async for event in story]
        assert rejected["reason"] == 7

    asyncio.run(asyncio.wait_for(main(), 25))


# ---- the log


def test_every_record_says_which_association_and_peer_it_is_about(caplog, tmp_path):
    caplog.set_level(log.TRACE, "dimse_rs")
    server = scp(tmp_path)
    with link(server, [Verification, CTImageStorage]) as association:
        number = association._core.id
        association.c_echo()
        association.c_store(CT)
    for record in caplog.records:
        assert {"association", "peer", "code"} <= vars(record).keys(), record.getMessage()
        assert record.code, record.getMessage()
    of_ours = {r.name for r in caplog.records if r.association == number}
    assert of_ours == {f"dimse_rs.{name}" for name in ("association", "dimse", "pdu", "ul")}
    peers = {r.peer for r in caplog.records if r.association == number}
    assert peers == {f"127.0.0.1:{server.port}"}


@pytest.mark.parametrize("level", [logging.DEBUG, log.TRACE])
def test_states_and_pdus_are_logged_in_their_order(caplog, level):
    caplog.set_level(level, "dimse_rs")
    server = scp()
    with link(server) as association:
        who = str(association)
        association.c_echo()
    ours = [r for r in caplog.records if r.getMessage().startswith(who)]
    steps = [r.getMessage().removeprefix(f"{who} ") for r in ours if r.name == log.UL]
    assert [s for s in steps if STEP.fullmatch(s)] == [
        "Sta1 + Evt1 -> AE-1 -> Sta4",
        "Sta4 + Evt2 -> AE-2 -> Sta5",
        "Sta5 + Evt3 -> AE-3 -> Sta6",
        "Sta6 + Evt11 -> AR-1 -> Sta7",
        "Sta7 + Evt13 -> AR-3 -> Sta1",
    ]
    assert ("Sta6 + Evt9 -> DT-1 -> Sta6" in steps) == (level == log.TRACE)
    texts = [r.getMessage().splitlines()[0].removeprefix(f"{who} ") for r in ours]
    order = [
        next(i for i, text in enumerate(texts) if text.startswith(start))
        for start in (
            "<< A-ASSOCIATE-RQ",
            ">> A-ASSOCIATE-AC",
            "Sta5 + Evt3",
            "established",
            "<< C-ECHO-RQ 1",
            ">> C-ECHO-RSP in context 1",
            ">> C-ECHO-RSP 1 0x0000",
            "Sta6 + Evt11",
            ">> A-RELEASE-RP",
            "released",
        )
    ]
    assert order == sorted(order)
    assert any(text.startswith("<< P-DATA-TF") for text in texts) == (level == log.TRACE)


def test_a_silent_peer_is_seen_to_be_silent():
    told = threading.Event()

    class Watch(logging.Handler):
        def emit(self, record):
            if "A-ASSOCIATE-RQ" in record.getMessage():
                told.set()

    def ask(peer):
        with suppress(DimseError):
            SCU.associate(at(peer))

    watch, logger = Watch(), logging.getLogger(log.PDU)
    logger.addHandler(watch)
    logger.setLevel(logging.DEBUG)
    try:
        with Puppet() as peer:
            asking = threading.Thread(target=ask, args=(peer,), daemon=True)
            asking.start()
            assert told.wait(5), "long before the deadline of the association"
            assert asking.is_alive()
        asking.join(15)
    finally:
        logger.removeHandler(watch)
        logger.setLevel(logging.NOTSET)


# ---- patients

NAME, NUMBER, BORN = "Secretname^Patient", "SECRETNUMBER", "19010203"


def instance():
    dataset = dcmread(CT)
    dataset.PatientName = NAME
    dataset.PatientID = NUMBER
    dataset.PatientBirthDate = BORN
    return dataset


def test_no_patient_is_in_any_event_or_log_of_any_level(caplog, tmp_path):
    """But in those for audit, whose purpose that is."""
    caplog.set_level(1, "dimse_rs")
    every = [kind for kind in events.get_args(events.Kind) if kind != "audit"]
    path = tmp_path / "instance.dcm"
    instance().save_as(path)
    story, stories = Events(*every), []
    with scp(tmp_path / "there", ae=AE("THERE", timeouts=PATIENT)) as there:
        stories.append(there.events(*every))
        server = retriever([path], destinations={"THERE": f"THERE@127.0.0.1:{there.port}"})
        server.c_store(lambda request: None)

        @server.c_find(StudyRoot)
        def find(request):
            match = Dataset()
            match.QueryRetrieveLevel = request.level
            match.PatientName, match.PatientID, match.PatientBirthDate = NAME, NUMBER, BORN
            yield match

        stories.append(server.events(*every))
        contexts = [CTImageStorage, *for_retrieve(StudyRoot)]
        with link(server, contexts, events=story, handlers=Handlers()) as association:
            association.c_store(instance())
            association.c_store(path)
            query = {"PatientName": NAME, "PatientID": NUMBER, "PatientBirthDate": BORN}
            [match] = association.c_find(query, model=StudyRoot, level="STUDY")
            assert match.PatientID == NUMBER
            query["StudyInstanceUID"] = "1.2"
            moving = association.c_move(query, model=StudyRoot, level="STUDY", destination="THERE")
            assert [response.completed for response in moving][-1] == 1
            kept = []
            getting = association.c_get(query, model=StudyRoot, level="STUDY", into=kept)
            assert [response.completed for response in getting][-1] == 1
            assert kept[0].PatientID == NUMBER
    told = [list(each) for each in (story, *stories)]
    assert all(len(each) > 20 for each in told)
    assert any(event["event"] == "suboperation" for event in told[1])
    everything = json.dumps(told, default=str) + caplog.text
    assert CT_UID in everything, "instances are named, patients are not"
    for secret in (*NAME.split("^"), NUMBER, BORN):
        if secret != "Patient":
            assert secret not in everything
