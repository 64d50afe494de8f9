"""Who may invoke: roles other than the default, and N-EVENT-REPORT in both directions."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dimse_rs import (
    Context,
    Handlers,
    NoPresentationContext,
    SecondaryCaptureImageStorage,
    StudyRoot,
    Verification,
)
from dimse_rs.sop_class import (
    CTImageStorage,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)
from tests.support import wire
from tests.support.nodes import CT, SCU, link, scp
from tests.support.scripted_scp import ScriptedScp

COMMITMENT = {
    "sop_class": StorageCommitmentPushModel,
    "instance_uid": StorageCommitmentPushModelInstance,
}


def test_provider_associates_to_report_an_event():
    told = []
    server = scp()
    server.n_event_report(StorageCommitmentPushModel)(
        lambda request: told.append((request.event_type, request.dataset.TransactionUID))
    )
    provider = Context(StorageCommitmentPushModel, scu=False, scp=True)
    with link(server, provider) as association:
        (context,) = association.accepted
        assert (context.scu, context.scp) == (False, True)
        response = association.n_event_report(1, {"TransactionUID": "1.2.3"}, **COMMITMENT)
        assert response.status == 0
        with pytest.raises(NoPresentationContext):
            association.n_action(1, {"TransactionUID": "1.2.3"}, **COMMITMENT)
    assert told == [(1, "1.2.3")]


def test_role_that_nobody_performs_is_not_granted():
    server = scp()
    server.c_store(CTImageStorage)(lambda _: None)
    with link(server, Context(CTImageStorage, scu=True, scp=True)) as association:
        (context,) = association.accepted
        assert (context.scu, context.scp) == (True, False)
        assert association.c_store(CT) == 0


def test_acceptor_stores_on_the_association_of_the_requestor():
    """The same call, the other way round: an operation of its own, between ours."""
    handlers = Handlers()
    received, answered = [], []
    handlers.c_store(CTImageStorage)(lambda request: received.append(request.instance_uid))
    server = scp()
    server.c_get(StudyRoot)(lambda request: [])  # who sends by C-GET may be a user of storage

    @server.c_echo
    def echo(request):
        answered.append(request.association.c_store(CT))

    contexts = [Verification, Context(CTImageStorage, scu=False, scp=True)]
    with link(server, contexts, handlers=handlers) as association:
        assert association.c_echo() == 0
        with pytest.raises(NoPresentationContext):
            association.c_store(CT)
    assert answered == [0]
    assert len(received) == 1


def test_both_store_at_the_same_time(tmp_path):
    """Both are in the middle of it: each waits until the other's instance is there."""
    both = threading.Barrier(2)
    handlers = Handlers()
    handlers.c_store(lambda request: both.wait(10) and None)
    server = scp(max_ops_performed=2)
    server.c_get(StudyRoot)(lambda request: [])
    server.c_store(CTImageStorage)(lambda request: both.wait(10) and None)
    answers = []

    @server.c_echo
    def echo(request):
        answers.append(request.association.c_store(CT))

    contexts = [Verification, Context(CTImageStorage, scu=True, scp=True)]
    with (
        link(server, contexts, handlers=handlers, max_ops_invoked=2) as association,
        ThreadPoolExecutor(1) as threads,
    ):
        (_, context) = association.accepted
        assert (context.scu, context.scp) == (True, True)
        echo = threads.submit(association.c_echo)
        assert association.c_store(CT) == 0
        assert echo.result(10) == 0
    assert answers == [0]


def test_a_request_of_who_has_not_the_role_is_refused(tmp_path):
    """R-431: we took the role of the user, and are asked to store all the same."""
    request = wire.store_rq(b"1.2.3", 5)
    refused = threading.Event()

    def script(peer):
        peer.accept((1, 0, [wire.EXPLICIT]))
        peer.send(wire.as_commands(1, request), wire.as_data(1, wire.data_set(b"1.2.3")))
        found, _ = peer.message()
        assert wire.number_of(found, 0x0900) == 0x0122
        refused.set()
        peer.release()

    handlers = Handlers()
    asked = []
    handlers.c_store(asked.append)
    with ScriptedScp(script) as peer:
        association = SCU.associate(
            peer.address, contexts=SecondaryCaptureImageStorage, handlers=handlers
        )
        assert refused.wait(10)
        association.release()
    assert asked == []
