"""C-GET from PACS as they are: no role selection, the wrong context, counts of what never came."""

from __future__ import annotations

import asyncio
from threading import Event

import pytest

from dimse_rs import (
    AE,
    CTImageStorage,
    SecondaryCaptureImageStorage,
    StatusError,
    StudyRoot,
    Timeouts,
    for_retrieve,
)
from tests.support import wire
from tests.support.pacs import ROLE, Pacs
from tests.support.scripted_scp import ScriptedScp

pytestmark = pytest.mark.timeout(30)

SCU = AE("SCU", timeouts=Timeouts(dimse=8, retrieve=8, artim=4))
CONTEXTS = for_retrieve(StudyRoot.get, [SecondaryCaptureImageStorage])


def get(pacs, into, *, ae=SCU, contexts=CONTEXTS, **options):
    """Retrieve, blocking; gives the steps, and the error that they ended with."""
    steps = []
    with (
        ScriptedScp(pacs) as scp,
        ae.associate(scp.address, contexts=contexts, **options) as association,
    ):
        asked = association.c_get({"StudyInstanceUID": "1.2"}, model=StudyRoot, into=into)
        try:
            steps.extend(asked)
        except StatusError as error:
            return steps, error
    return steps, None


async def get_async(pacs, into, **options):
    steps = []
    with ScriptedScp(pacs) as scp:
        async with SCU.associate_async(scp.address, contexts=CONTEXTS, **options) as association:
            asked = association.c_get({"StudyInstanceUID": "1.2"}, model=StudyRoot, into=into)
            try:
                async for step in asked:
                    steps.append(step)
            except StatusError as error:
                return steps, error
    return steps, None


def places(tmp_path):
    """Name the ways in which instances can be taken, and how many there are by then."""
    listed = []
    called = []
    folder = tmp_path / "in"
    return {
        "folder": (folder, lambda: len(list(folder.glob("*.dcm")))),
        "list": (listed, lambda: len(listed)),
        "function": (called.append, lambda: len(called)),
    }


@pytest.fixture(params=["folder", "list", "function"])
def place(request, tmp_path):
    return places(tmp_path)[request.param]


def run(how, pacs, into, **options):
    if how == "blocking":
        return get(pacs, into, **options)
    return asyncio.run(get_async(pacs, into, **options))


HOW = pytest.mark.parametrize("how", ["blocking", "asyncio"])


@HOW
def test_steps_say_what_came_here(how, place):
    into, count = place
    steps, error = run(how, Pacs(), into)
    assert error is None
    assert count() == 2
    assert steps[-1].received.stored == 2
    assert steps[-1].received.refused == 0
    assert all(step.received is not None for step in steps)


@HOW
def test_instances_that_were_refused_are_not_counted_as_retrieved(how, place):
    """The peer has given the role in no class but in another: what it sends there is refused."""
    into, count = place
    pacs = Pacs(on=1)
    steps, error = run(how, pacs, into)
    assert pacs.answers == [0x0122, 0x0122]
    assert count() == 0
    assert error is not None
    assert error.status == 0xA702
    assert "the peer counts 2 instances; 0 stored here, 2 refused" in str(error)
    final = error.response
    assert (final.status, final.completed) == (0, 2), "the peer's own account stays"
    assert (final.received.stored, final.received.refused) == (0, 2)
    [(why, number)] = final.received.reasons.items()
    assert number == 2
    assert why.startswith("0x0122")
    assert why.endswith("SOP class differs from context")
    assert steps, "the steps before the final one were given"


def test_why_a_handler_refused_is_said(tmp_path):
    def refuse(request):
        raise StatusError(0xA700, "no room")

    pacs = Pacs(status=0xB000, counts=(0, 2, 0))
    steps, error = get(pacs, refuse)
    assert error is None, "the peer counts what we do"
    assert steps[-1].status == 0xB000
    [(why, number)] = steps[-1].received.reasons.items()
    assert (why.startswith("0xA700"), why.endswith(": no room"), number) == (True, True, 2)


@pytest.mark.parametrize("counts", [(3, 0, 0), (0, 0, 3), (2, 0, 1)])
def test_fewer_stored_than_the_peer_counts_is_an_error(counts):
    _, error = get(Pacs(counts=counts), [])
    assert error is not None
    assert error.response.received.stored == 2


@pytest.mark.parametrize("counts", [(2, 0, 0), (1, 0, 1), (0, 0, 0), (1, 3, 0), None])
def test_as_many_stored_as_the_peer_counts_is_none(counts):
    steps, error = get(Pacs(counts=counts), [])
    assert error is None
    assert steps[-1].received.stored == 2


def test_success_without_counters_says_that_all_came():
    _, error = get(Pacs(on=1, counts=None), [])
    assert error is not None
    assert error.response.received.refused == 2
    steps, error = get(Pacs(instances=0, counts=None), [])
    assert error is None
    assert steps[-1].received.stored == 0


def test_each_c_get_has_its_own_account():
    """What a C-GET before it received is not counted for the next."""

    def twice(peer):
        pacs = Pacs(counts=(2, 0, 0))
        peer.expect(wire.RQ)
        peer.send(
            wire.associate_ac(((1, 0, [wire.EXPLICIT]), (3, 0, [wire.EXPLICIT])), user=[ROLE])
        )
        for instances in (2, 0):
            elements, _ = peer.message()
            message_id = wire.number_of(elements, 0x0110)
            for number in range(instances):
                pacs._store(peer, number)
            pacs._respond(peer, message_id, 0, (2, 0, 0))
        peer.release()

    with (
        ScriptedScp(twice) as scp,
        SCU.associate(scp.address, contexts=CONTEXTS) as association,
    ):
        key = {"StudyInstanceUID": "1.2"}
        [final] = association.c_get(key, model=StudyRoot, into=[])
        assert final.received.stored == 2
        with pytest.raises(StatusError) as caught:
            list(association.c_get(key, model=StudyRoot, into=[]))
    assert caught.value.response.received.stored == 0


@HOW
def test_cancel_that_nobody_asked_for_is_an_error(how):
    steps, error = run(how, Pacs(status=0xFE00), [])
    assert error is not None
    assert error.status == 0xFE00
    assert error.response.received.stored == 2
    assert len(steps) == 2


# ---- roles


def without_role(caplog):
    return [record for record in caplog.records if getattr(record, "code", "") == "no-role"]


@HOW
def test_without_the_scp_role_in_any_storage_class_that_is_said_before_the_peer_is_asked(
    how, tmp_path, caplog
):
    _, error = run(how, Pacs(role=False), tmp_path)
    [line] = without_role(caplog)
    assert line.levelname == "WARNING"
    assert "lenient_roles=True" in line.getMessage()
    # Instances were refused, so what the peer counts is not believed.
    assert error is not None
    assert error.response.received.stored == 0
    assert error.response.received.refused == 2


def test_also_when_every_storage_class_was_rejected(tmp_path, caplog):
    def only_the_model(peer):
        peer.accept((1, 0, [wire.EXPLICIT]), (3, 3, [wire.IMPLICIT]))
        elements, _ = peer.message()
        peer.answer(elements, 0xA702)
        peer.release()

    _, error = get(only_the_model, tmp_path)
    assert error is not None
    assert error.status == 0xA702  # the status of the peer is not lost
    assert len(without_role(caplog)) == 1


@HOW
@pytest.mark.parametrize("on", [1, 3], ids=["on the model", "without the role"])
def test_lenient_roles_take_what_comes_all_the_same(how, on, place):
    into, count = place
    pacs = Pacs(role=False, on=on)
    steps, error = run(how, pacs, into, lenient_roles=True)
    assert error is None
    assert pacs.answers == [0, 0]
    assert count() == 2
    assert steps[-1].received.stored == 2


def test_lenient_roles_need_no_role_to_be_proposed(tmp_path):
    contexts = [StudyRoot.get, SecondaryCaptureImageStorage]
    pacs = Pacs(role=False)
    steps, error = get(pacs, tmp_path, contexts=contexts, lenient_roles=True)
    assert (error, pacs.answers, steps[-1].received.stored) == (None, [0, 0], 2)
    assert len(list(tmp_path.iterdir())) == 2


def test_lenient_roles_keep_to_the_class_of_a_storage_context(tmp_path):
    contexts = [*for_retrieve(StudyRoot.get, [CTImageStorage]), SecondaryCaptureImageStorage]
    pacs = Pacs(role=False)
    _, error = get(pacs, tmp_path, contexts=contexts, lenient_roles=True)
    assert pacs.answers == [0x0122, 0x0122], "context 3 is that of CT"
    assert error is not None


def test_lenient_roles_take_nothing_outside_a_c_get():
    stored = []

    def push(peer):
        peer.expect(wire.RQ)
        peer.send(wire.associate_ac(((1, 0, [wire.EXPLICIT]), (3, 0, [wire.EXPLICIT]))))
        pacs = Pacs()
        pacs._store(peer, 1)
        stored.extend(pacs.answers)
        peer.release()

    with (
        ScriptedScp(push) as scp,
        SCU.associate(scp.address, contexts=CONTEXTS, lenient_roles=True) as association,
    ):
        until = Event()
        while not stored and not until.wait(0.01):
            assert association.is_established
    assert stored == [0x0122]
