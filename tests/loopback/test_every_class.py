"""Plain handlers, one for each DIMSE service, answer for every SOP Class of the table."""

from __future__ import annotations

from itertools import islice

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dimse_rs import AE, Context, Retrieve, SOPClass, classes_of
from dimse_rs.registry import DIMSE_SERVICES
from dimse_rs.sop_class import MEMBERS
from tests.support.nodes import CT, PATIENT, SCU, at, scp

ALL = {
    sop_class: sop_class.dimse
    for service in DIMSE_SERVICES
    for sop_class in classes_of(service, retired=True)
}
UID = "1.2.3"


def batches(items, most=128):
    """Give as many as fit into one association at a time."""
    rest = iter(items)
    while part := list(islice(rest, most)):
        yield part


def answer():
    made = Dataset()
    made.PatientID = "1"
    return made


@pytest.fixture(scope="module")
def server():
    """One handler for each service, and no class named but those that are retired."""
    made = scp(ae=AE("SCP", timeouts=PATIENT), destinations={"SCU": "127.0.0.1:104"})
    made.seen = []

    def saw(request):
        made.seen.append((str(request.context.sop_class), request._message.name))

    def quiet(request):
        saw(request)

    def one(request):
        saw(request)
        return answer()

    def many(request):
        saw(request)
        yield answer()

    def nothing(request):
        saw(request)
        return Retrieve(0, [])

    handlers = {
        "C-ECHO": (made.c_echo, quiet),
        "C-STORE": (made.c_store, quiet),
        "C-FIND": (made.c_find, many),
        "C-GET": (made.c_get, nothing),
        "C-MOVE": (made.c_move, nothing),
        "N-EVENT-REPORT": (made.n_event_report, one),
        "N-GET": (made.n_get, one),
        "N-SET": (made.n_set, one),
        "N-ACTION": (made.n_action, one),
        "N-CREATE": (made.n_create, one),
        "N-DELETE": (made.n_delete, quiet),
    }
    for service, (decorate, handler) in handlers.items():
        decorate(handler)
        if retired := [c for c in classes_of(service, retired=True) if c.retired]:
            decorate(*retired)(handler)
    with made:
        yield made


def ask(association, sop_class: SOPClass, service: str):
    """Invoke one service of a class."""
    # On the context of a meta class a command names a member (PS3.4 H.3.2.2).
    members = [m for m in MEMBERS.get(sop_class, (sop_class,)) if service in m.dimse]
    named = sop_class if sop_class in members else members[0]
    n = {"sop_class": named, "instance_uid": UID, "context": sop_class}
    if service == "C-ECHO":
        return association.c_echo()
    if service == "C-STORE":
        instance = dcmread(CT)
        instance.SOPClassUID = sop_class
        return association.c_store(instance)
    if service == "C-FIND":
        matches = association.c_find({"PatientID": ""}, model=sop_class)
        assert [found.PatientID for found in matches] == ["1"]
        return matches.status
    if service in ("C-GET", "C-MOVE"):
        call = association.c_get if service == "C-GET" else association.c_move
        more = {} if service == "C-GET" else {"destination": "SCU"}
        *_, last = call({"StudyInstanceUID": UID}, model=sop_class, **more)
        return last.status
    calls = {
        "N-EVENT-REPORT": lambda: association.n_event_report(1, answer(), **n),
        "N-GET": lambda: association.n_get(["PatientID"], **n),
        "N-SET": lambda: association.n_set(answer(), **n),
        "N-ACTION": lambda: association.n_action(1, answer(), **n),
        "N-CREATE": lambda: association.n_create(answer(), **n),
        "N-DELETE": lambda: association.n_delete(**n),
    }
    response = calls[service]()
    if service != "N-DELETE":
        assert response.dataset.PatientID == "1"
    return response.status


@pytest.mark.slow
def test_every_class_is_answered_in_every_service_of_its_own(server):
    expected = []
    for part in batches(ALL.items()):
        contexts = [Context(uid, scp="N-EVENT-REPORT" in dimse) for uid, dimse in part]
        with SCU.associate(at(server), contexts=contexts) as association:
            assert not association.rejected
            for sop_class, dimse in part:
                for service in dimse:
                    assert ask(association, sop_class, service) == 0, (sop_class, service)
                    expected.append((str(sop_class), f"{service}-RQ"))
    assert server.seen == expected
    assert {name for _, name in expected} == {f"{service}-RQ" for service in DIMSE_SERVICES}
    assert len(expected) == sum(len(classes_of(s, retired=True)) for s in DIMSE_SERVICES)
