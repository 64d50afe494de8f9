"""Storage commitment both ways: on the same association, on a second one, and at the third try."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import tempfile
import threading
import time

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    AssociationError,
    AsyncServer,
    Context,
    CTImageStorage,
    DecodeError,
    DimseTimeout,
    Handlers,
    MRImageStorage,
    Status,
    StatusError,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)
from dimse_rs.services import Commitment, CommitmentReports, commit
from dimse_rs.services._async_reports import Reporter
from tests.data.files import with_undecodable_uid
from tests.support.datasets import data_set
from tests.support.nodes import CT, PATIENT, SCU, at, link, scp
from tests.support.waiting import until

PAIRS = [(CTImageStorage, "1.2.1"), (CTImageStorage, "1.2.2"), (MRImageStorage, "1.2.3")]


def everything(sop_class, instance):
    return True


@contextlib.contextmanager
def nobody():
    """Give a port at which connections are refused."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextlib.contextmanager
def asking(server, reports, **options):
    """Run a server and an association that takes reports itself."""
    contexts = StorageCommitmentPushModel
    with link(server, contexts, handlers=Handlers([reports]), **options) as association:
        yield association


def refusal(server, dataset, action=1, instance=StorageCommitmentPushModelInstance):
    with (
        link(server, StorageCommitmentPushModel) as association,
        pytest.raises(StatusError) as caught,
    ):
        association.n_action(
            action, dataset, sop_class=StorageCommitmentPushModel, instance_uid=instance
        )
    return caught.value.status


def no_sequence(dataset, keyword):
    """Have text where items belong, as a peer can send it in Explicit VR."""
    dataset.add_new(keyword, "LO", "ZQMARK")
    return dataset


def request(uid="1.9", pairs=PAIRS):
    items = [data_set(ReferencedSOPClassUID=c, ReferencedSOPInstanceUID=i) for c, i in pairs]
    return data_set(TransactionUID=uid, ReferencedSOPSequence=items)


def test_an_instance_whose_uids_cannot_be_decoded_is_not_asked_about():
    reports = CommitmentReports()
    with (
        asking(scp(), reports) as association,
        pytest.raises(DecodeError, match="without SOP Class and SOP Instance UID"),
    ):
        reports.ask(association, [with_undecodable_uid(CT)])


# ---- where reports go is looked up for each attempt


def reported_to(peers, **options):
    """Ask for commitment, hang up before the report, and give what came to our own server."""
    came = []
    over = threading.Event()

    def stored(sop_class, instance):
        return over.wait(10)

    with nobody() as port, scp(services=[CommitmentReports(came.append)], any_called=True) as own:
        service = Commitment(stored, peers=peers(own, port), delay=0.01, **options)
        server = scp(services=[service])
        ended = server.events("ended")
        with server:
            association = SCU.associate(at(server), contexts=StorageCommitmentPushModel)
            association.n_action(
                1,
                request(),
                sop_class=StorageCommitmentPushModel,
                instance_uid=StorageCommitmentPushModelInstance,
            )
            association.abort()
            next(ended)
            over.set()
            until(lambda: not service.outstanding)
    return [report.transaction_uid for report in came]


def test_a_peer_that_is_added_to_the_mapping_gets_the_report():
    def peers(own, port):
        book = {"SCU": ("127.0.0.1", port)}

        class Moving(dict):
            def get(self, title, default=None):
                found = super().get(title, default)
                self[title] = ("127.0.0.1", own.port)  # from the second attempt on
                return found

        return Moving(book)

    assert reported_to(peers) == ["1.9"]


def test_a_function_is_asked_at_each_attempt_and_may_fail_once():
    asked = []

    def peers(own, port):
        def where(title):
            asked.append(title)
            if len(asked) == 1:
                raise OSError("the directory is away")
            return ("127.0.0.1", own.port)

        return where

    assert reported_to(peers) == ["1.9"]
    assert asked == ["SCU", "SCU"]


def test_a_title_that_no_peer_has_gets_no_report(caplog):
    assert reported_to(lambda own, port: lambda title: None) == []
    assert "it is not among the peers" in caplog.text


# ---- on the same association


def test_a_report_comes_on_the_same_association():
    asked = []
    commitment = Commitment(lambda *what: asked.append(what) or True)
    with scp(services=[commitment]) as server:
        report = commit(SCU, at(server), PAIRS, timeout=10)
    assert report.ok
    assert report.committed == ("1.2.1", "1.2.2", "1.2.3")
    assert asked == PAIRS
    until(lambda: not commitment.outstanding)


def test_the_peer_has_its_answer_before_the_report_is_there():
    reports = CommitmentReports()
    handlers = Handlers([reports])
    [taken] = [handlers.find(field, StorageCommitmentPushModel) for field in handlers.fields()]
    waiting = []

    def take(request):
        answer = taken(request)
        with pytest.raises(DimseTimeout):
            reports.wait(request.dataset.TransactionUID, 0.0)
        waiting.append(request)
        return answer

    outer = Handlers()
    outer.n_event_report(StorageCommitmentPushModel)(take)
    server = scp(services=[Commitment(everything)])
    with link(server, StorageCommitmentPushModel, handlers=outer) as association:
        assert reports.wait(reports.ask(association, PAIRS), 10.0).ok
    assert len(waiting) == 1


def test_what_is_not_stored_is_reported_with_its_reason(caplog):
    def is_stored(sop_class, instance):
        if instance == "1.2.4":
            raise OSError("disk")
        return {"1.2.1": True, "1.2.2": False, "1.2.3": 0x0119}[instance]

    pairs = [*PAIRS, (CTImageStorage, "1.2.4")]
    with (
        caplog.at_level(logging.CRITICAL),
        scp(services=[Commitment(is_stored)]) as server,
    ):
        report = commit(SCU, at(server), pairs, timeout=10)
    assert not report.ok
    assert report.committed == ("1.2.1",)
    assert report.failed == {"1.2.2": 0x0112, "1.2.3": 0x0119, "1.2.4": 0x0110}
    assert report.failed["1.2.3"] == Status(0x0119)
    assert report.missing == ()


def test_files_data_sets_and_results_of_sending_are_references(tmp_path):
    ct = dcmread(CT)
    stored = []
    commitment = Commitment(lambda _, uid: bool(stored.append(uid)) or True)
    with scp(tmp_path, timeouts=PATIENT) as keeper:
        sent = SCU.send(at(keeper), [CT])
    with scp(services=[commitment]) as server:
        for instances in ([CT], [ct], sent.results):
            assert commit(SCU, at(server), instances, timeout=10).committed == (ct.SOPInstanceUID,)
    assert stored == [ct.SOPInstanceUID] * 3


def test_instances_are_looked_up_after_the_response():
    go = threading.Event()
    reports = CommitmentReports()
    with asking(scp(services=[Commitment(lambda *_: go.wait(10))]), reports) as association:
        uid = reports.ask(association, PAIRS)  # comes back, or the lookup would hang
        assert not go.is_set()
        go.set()
        assert reports.wait(uid, 10).transaction_uid == uid


async def reported_by_asyncio(commitment):
    async with AsyncServer(AE("SCP", timeouts=PATIENT), port=0, services=[commitment]) as server:
        return await asyncio.to_thread(commit, SCU, at(server), PAIRS, timeout=10)


def test_a_server_on_an_event_loop_reports_too():
    assert asyncio.run(reported_by_asyncio(Commitment(everything))).ok


# ---- on a second association


def test_a_report_comes_on_a_second_association_with_the_roles_reversed():
    """The SCU releases before the instances are looked up, and listens as a server."""
    released = threading.Event()
    reports = CommitmentReports()
    listening = scp(ae=AE("SCU", timeouts=PATIENT), services=[reports])
    with listening:
        commitment = Commitment(
            lambda *_: released.wait(10),
            peers={"SCU": f"127.0.0.1:{listening.port}"},
            ae=AE("OTHER", timeouts=PATIENT),
        )
        follow = listening.events(timeout=10)
        with scp(services=[commitment]) as server:
            with SCU.associate(at(server), contexts=StorageCommitmentPushModel) as association:
                uid = reports.ask(association, PAIRS)
            released.set()
            report = reports.wait(uid, 10)
            until(lambda: not commitment.outstanding)
        called_by = next(event for event in follow if event["event"] == "associated")
    assert report.ok
    # The AE that was called is the one that calls now (PS3.4 J.3.3).
    assert "SCP" in str(called_by)
    assert "OTHER" not in str(called_by)


def test_a_scu_that_refuses_on_the_same_association_is_told_on_a_second_one():
    reports = CommitmentReports()
    with scp(ae=AE("SCU", timeouts=PATIENT), services=[reports]) as listening:
        commitment = Commitment(everything, peers={"SCU": f"127.0.0.1:{listening.port}"})
        with link(scp(services=[commitment]), StorageCommitmentPushModel) as association:
            uid = reports.ask(association, PAIRS)
            assert reports.wait(uid, 10).ok


def test_a_report_is_tried_again_until_the_scu_listens():
    released = threading.Event()
    reports = CommitmentReports()
    listening = scp(ae=AE("SCU", timeouts=PATIENT), services=[reports])
    tries = []
    with nobody() as port:

        def where(title):
            tries.append(title)
            if len(tries) == 3:  # now the SCU is there
                listening.start()
                return f"127.0.0.1:{listening.port}"
            return f"127.0.0.1:{port}"

        commitment = Commitment(lambda *_: released.wait(10), peers=where, delay=0)
        with scp(services=[commitment]) as server:
            with SCU.associate(at(server), contexts=StorageCommitmentPushModel) as association:
                uid = reports.ask(association, PAIRS)
            released.set()
            assert reports.wait(uid, 10).ok
            until(lambda: not commitment.outstanding)
        listening.stop()
    assert tries == ["SCU"] * 3


def test_a_report_is_given_up_after_so_many_attempts_with_delays_that_double(caplog, monkeypatch):
    released = threading.Event()
    delays = []
    failed = Reporter._failed

    def at_once(courier, line, transactions, why):
        [transaction] = transactions
        before = time.monotonic()
        failed(courier, line, transactions, why)
        if transaction in line.waiting:
            delays.append(round(transaction.due - before))
            transaction.due = before

    monkeypatch.setattr(Reporter, "_failed", at_once)
    with nobody() as port:
        commitment = Commitment(
            lambda *_: released.wait(10), peers={"SCU": f"127.0.0.1:{port}"}, attempts=4, delay=5
        )
        with scp(services=[commitment]) as server:
            with SCU.associate(at(server), contexts=StorageCommitmentPushModel) as association:
                CommitmentReports().ask(association, PAIRS)
            released.set()
            until(lambda: not commitment.outstanding)
    assert delays == [5, 10, 20]
    errors = [r.message for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "not reported to SCU" in errors[0]


# ---- many destinations


@contextlib.contextmanager
def silent():
    """Give a port where connections are made, and nothing is said."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        yield listening.getsockname()[1]


def ask_and_leave(server, title, uid):
    """Ask, and hang up before the report."""
    with AE(title, timeouts=PATIENT).associate(
        at(server), contexts=StorageCommitmentPushModel
    ) as association:
        association.n_action(
            1,
            request(uid),
            sop_class=StorageCommitmentPushModel,
            instance_uid=StorageCommitmentPushModelInstance,
        )
        association.abort()


def test_reports_to_live_peers_do_not_wait_behind_dead_ones():
    came, over = [], threading.Event()
    dead = [f"DEAD{number}" for number in range(40)]
    with silent() as port, scp(services=[CommitmentReports(came.append)], any_called=True) as own:
        commitment = Commitment(
            lambda *_: over.wait(10),
            peers={**dict.fromkeys(dead, f"127.0.0.1:{port}"), "LIVE": at(own)},
            attempts=1,  # or the dead ones would be tried again beside other tests
        )
        with scp(services=[commitment]) as server:
            ended = server.events("ended")
            for number, title in enumerate(dead):
                ask_and_leave(server, title, f"1.9.{number}")
            ask_and_leave(server, "LIVE", "1.8")
            for _ in range(len(dead) + 1):
                next(ended)
            over.set()
            until(lambda: came)  # on an association of ours
            assert commit(SCU, at(server), PAIRS, timeout=10).ok  # on the one that asks
            until(lambda: len(commitment.outstanding) == len(dead))
    assert [report.transaction_uid for report in came] == ["1.8"]


def test_an_association_for_a_report_has_no_folder_for_instances(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    context = Context(StorageCommitmentPushModel, scu=False, scp=True)
    with link(scp(services=[CommitmentReports(print)]), context):
        assert list(tmp_path.iterdir()) == []
    with link(scp(), Context(CTImageStorage, scp=True)):
        assert len(list(tmp_path.iterdir())) == 1


def test_reports_to_a_destination_come_in_the_order_of_the_requests():
    came, over, tries = [], threading.Event(), []
    uids = [f"1.9.{number}" for number in range(5)]
    with nobody() as port, scp(services=[CommitmentReports(came.append)], any_called=True) as own:

        def where(title):
            tries.append(title)
            return at(own) if len(tries) > 2 else f"127.0.0.1:{port}"

        commitment = Commitment(lambda *_: over.wait(10), peers=where, delay=0.01)
        with scp(services=[commitment]) as server:
            follow = server.events("ended", "associated")
            for uid in uids:
                ask_and_leave(server, "SCU", uid)
            for _ in range(2 * len(uids)):
                next(follow)
            over.set()
            until(lambda: not commitment.outstanding)
    assert [report.transaction_uid for report in came] == uids


def test_a_report_that_a_peer_refuses_keeps_no_other_from_it():
    came, over = [], threading.Event()

    def take(report):
        came.append(report.transaction_uid)
        if report.transaction_uid == "1.9.0":
            raise StatusError(0x0110)

    with scp(services=[CommitmentReports(take)], any_called=True) as own:
        commitment = Commitment(
            lambda *_: over.wait(10), peers={"SCU": at(own)}, attempts=2, delay=0.01
        )
        with scp(services=[commitment]) as server:
            ended = server.events("ended")
            for number in range(3):
                ask_and_leave(server, "SCU", f"1.9.{number}")
            for _ in range(3):
                next(ended)
            over.set()
            until(lambda: not commitment.outstanding)
    assert sorted(came) == ["1.9.0", "1.9.0", "1.9.1", "1.9.2"]
    assert came.index("1.9.1") < came.index("1.9.2")


def test_a_report_at_which_a_peer_aborts_stands_behind_the_others():
    came, over = [], threading.Event()
    own = scp(ae=AE("SCU", timeouts=PATIENT), any_called=True)

    @own.n_event_report(StorageCommitmentPushModel)
    def take(request):
        came.append(request.dataset.TransactionUID)
        if came[-1] == "1.9.0":
            request.association.abort()

    with own:
        commitment = Commitment(
            lambda *_: over.wait(10), peers={"SCU": at(own)}, attempts=3, delay=0
        )
        with scp(services=[commitment]) as server:
            ended = server.events("ended")
            for number in range(3):
                ask_and_leave(server, "SCU", f"1.9.{number}")
            for _ in range(3):
                next(ended)
            over.set()
            until(lambda: not commitment.outstanding)
    assert came[came.index("1.9.0") + 1 :][:2] == ["1.9.1", "1.9.2"]
    assert came.count("1.9.0") == 3


def test_a_report_that_waits_goes_with_the_next_one_to_its_destination():
    came, over, tries = [], threading.Event(), []
    with nobody() as port, scp(services=[CommitmentReports(came.append)], any_called=True) as own:

        def where(title):
            tries.append(title)
            return at(own) if len(tries) > 1 else f"127.0.0.1:{port}"

        commitment = Commitment(lambda *_: over.wait(10), peers=where, delay=3600)
        with scp(services=[commitment]) as server:
            ended = server.events("ended")
            ask_and_leave(server, "SCU", "1.9.0")
            next(ended)
            over.set()
            until(lambda: tries)
            ask_and_leave(server, "SCU", "1.9.1")
            until(lambda: not commitment.outstanding)
    assert sorted(report.transaction_uid for report in came) == ["1.9.0", "1.9.1"]


def test_a_function_that_takes_its_time_for_an_address_holds_up_no_other_report():
    came, over = [], threading.Event()
    asked, found = threading.Event(), threading.Event()
    with scp(services=[CommitmentReports(came.append)], any_called=True) as own:

        def where(title):
            if title == "SLOW":
                asked.set()
                found.wait(10)
            return at(own)

        commitment = Commitment(lambda *_: over.wait(10), peers=where, attempts=1)
        with scp(services=[commitment]) as server:
            ended = server.events("ended")
            ask_and_leave(server, "SLOW", "1.9.0")
            next(ended)
            over.set()
            assert asked.wait(10)
            ask_and_leave(server, "LIVE", "1.9.1")
            until(lambda: came, 5)
            assert [report.transaction_uid for report in came] == ["1.9.1"]
            found.set()
            until(lambda: not commitment.outstanding)


def test_functions_that_leave_the_process_lose_no_report():
    def stored(sop_class, instance):
        if instance == "1.2.1":
            raise SystemExit
        return True

    reports = CommitmentReports()
    with asking(scp(services=[Commitment(stored)]), reports) as association:
        first, second = (reports.ask(association, [pair]) for pair in PAIRS[:2])
        assert reports.wait(first, 10).failed == {"1.2.1": 0x0110}
        assert reports.wait(second, 10).ok


def test_a_report_waits_for_a_thread_when_there_is_none(monkeypatch):
    short, start = threading.Event(), threading.Thread.start

    def perhaps(thread):
        if thread.name == "dimse-commitment" and not short.is_set():
            short.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", perhaps)
    reports = CommitmentReports()
    with asking(scp(services=[Commitment(everything)]), reports) as association:
        uid = reports.ask(association, PAIRS)
        assert reports.wait(uid, 10).ok
    assert short.is_set()


# ---- what is refused


@pytest.mark.parametrize(
    ("dataset", "status"),
    [
        (data_set(), 0x0114),
        (request(uid="no uid"), 0x0115),
        (request(pairs=[]), 0x0114),
        (request(pairs=[(CTImageStorage, "")]), 0x0115),
        (request(pairs=[PAIRS[0], PAIRS[0]]), 0x0115),
        (no_sequence(request(), "ReferencedSOPSequence"), 0x0115),
    ],
)
def test_a_malformed_request_is_refused(dataset, status):
    assert refusal(scp(services=[Commitment(everything)]), dataset) == status


def test_another_action_and_another_instance_are_refused():
    assert refusal(scp(services=[Commitment(everything)]), request(), action=2) == 0x0123
    assert refusal(scp(services=[Commitment(everything)]), request(), instance="1.2.3") == 0x0112


@pytest.mark.parametrize("keyword", ["ReferencedSOPSequence", "FailedSOPSequence"])
def test_a_report_without_sequences_is_refused(keyword):
    report = no_sequence(request(), keyword)
    outcomes = reported(report)
    assert outcomes == [(0x0115, f"{keyword} is no sequence, its VR is LO")]


def test_a_transaction_uid_is_used_once_at_a_time():
    go = threading.Event()
    commitment = Commitment(lambda *_: go.wait(10))
    with link(scp(services=[commitment]), StorageCommitmentPushModel) as association:

        def ask():
            association.n_action(
                1,
                request("1.9"),
                sop_class=StorageCommitmentPushModel,
                instance_uid=StorageCommitmentPushModelInstance,
            )

        ask()
        with pytest.raises(StatusError) as caught:
            ask()
        go.set()
        until(lambda: not commitment.outstanding)
    assert caught.value.status == 0x0131


def test_too_many_outstanding_reports_are_refused():
    go = threading.Event()
    commitment = Commitment(lambda *_: go.wait(10), most=1)
    reports = CommitmentReports()
    with asking(scp(services=[commitment]), reports) as association:
        uid = reports.ask(association, PAIRS)
        with pytest.raises(StatusError) as caught:
            reports.ask(association, PAIRS)
        go.set()
        assert reports.wait(uid, 10).ok
    assert caught.value.status == 0x0213


def test_a_report_that_nobody_asked_for_is_refused():
    told = []
    asked = request("1.7")
    for reports, expected in ((CommitmentReports(), 0x0115), (CommitmentReports(told.append), 0)):
        server = scp(services=[Commitment(everything)])
        outcomes = []

        @server.c_echo
        def echo(request, outcomes=outcomes):
            try:
                answer = request.association.n_event_report(
                    1,
                    asked,
                    sop_class=StorageCommitmentPushModel,
                    instance_uid=StorageCommitmentPushModelInstance,
                )
                outcomes.append(answer.status)
            except StatusError as error:
                outcomes.append(error.status)

        contexts = ["1.2.840.10008.1.1", StorageCommitmentPushModel]
        with link(server, contexts, handlers=Handlers([reports])) as association:
            association.c_echo()
        assert outcomes == [expected]
    assert [report.transaction_uid for report in told] == ["1.7"]


def uidless(*, keyword, leave_out):
    item = Dataset()
    for name in ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID"):
        if name != leave_out:
            setattr(item, name, "1.2.3")
    report = request("1.7")
    setattr(report, keyword, [item])
    return report


@pytest.mark.parametrize("leave_out", ["ReferencedSOPClassUID", "ReferencedSOPInstanceUID"])
@pytest.mark.parametrize("keyword", ["ReferencedSOPSequence", "FailedSOPSequence"])
def test_a_report_with_an_item_without_its_uids_is_refused(keyword, leave_out):
    outcomes = reported(uidless(keyword=keyword, leave_out=leave_out))
    assert outcomes == [(0x0115, f"{keyword} has an item without its UIDs")]


def reported(report):
    """Send a report to a requestor, and give the answers; the requestor's program hears of none."""
    told, outcomes = [], []
    server = scp(services=[Commitment(everything)])

    @server.c_echo
    def echo(request):
        to = {
            "sop_class": StorageCommitmentPushModel,
            "instance_uid": StorageCommitmentPushModelInstance,
        }
        with pytest.raises(StatusError) as caught:
            request.association.n_event_report(2, report, **to)
        outcomes.append((int(caught.value.status), caught.value.comment))

    handlers = Handlers([CommitmentReports(told.append)])
    contexts = ["1.2.840.10008.1.1", StorageCommitmentPushModel]
    with link(server, contexts, handlers=handlers) as association:
        association.c_echo()
    assert told == []
    return outcomes


# ---- waiting


def test_waiting_ends_in_time_or_with_the_association():
    go = threading.Event()
    reports = CommitmentReports()
    with asking(scp(services=[Commitment(lambda *_: go.wait(10))]), reports) as association:
        uid = reports.ask(association, PAIRS)
        with pytest.raises(DimseTimeout):
            reports.wait(uid, 0.05)
        association.abort()
        with pytest.raises(AssociationError):
            reports.wait(uid, 10, association=association)
        go.set()
    reports.forget(uid)
    with pytest.raises(KeyError):
        reports.wait(uid, 0.05)


def test_instances_that_a_report_leaves_out_are_missing():
    reports = CommitmentReports()
    server = scp()

    @server.n_action(StorageCommitmentPushModel)
    def some(request):
        part = data_set(TransactionUID=request.dataset.TransactionUID)
        part.ReferencedSOPSequence = list(request.dataset.ReferencedSOPSequence)[:1]
        request.association.n_event_report(  # before the response: the SCU has to take it
            1,
            part,
            sop_class=StorageCommitmentPushModel,
            instance_uid=StorageCommitmentPushModelInstance,
        )

    with asking(server, reports) as association:
        report = reports.wait(reports.ask(association, PAIRS), 10)
    assert report.committed == ("1.2.1",)
    assert report.missing == ("1.2.2", "1.2.3")
    assert not report.ok


def test_there_has_to_be_something_to_ask_about():
    with (
        link(scp(services=[Commitment(everything)]), StorageCommitmentPushModel) as association,
        pytest.raises(ValueError, match="no instances"),
    ):
        CommitmentReports().ask(association, [])
