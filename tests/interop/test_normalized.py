"""The six N-services between us and pynetdicom, each in both roles; Orthanc's commitment too."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    ActionRequest,
    Association,
    Context,
    Handlers,
    StatusError,
)
from dimse_rs.sop_class import (
    BasicFilmSession,
    BasicGrayscalePrintManagementMeta,
    CTImageStorage,
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepRetrieve,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)
from tests.interop.conftest import Matrix, Receiver, Reports
from tests.peers.archive import MOVER
from tests.peers.instances import NO_SUCH_INSTANCE, Instances
from tests.peers.scu import HERE, Target
from tests.support.process import LOOPBACK, Process

OURS, PYNETDICOM = "dimse", "pynetdicom"
COMMITMENT = {
    "sop_class": StorageCommitmentPushModel,
    "instance_uid": StorageCommitmentPushModelInstance,
}
CLASSES = [
    BasicGrayscalePrintManagementMeta,
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepRetrieve,
    StorageCommitmentPushModel,
]
UID = "1.2.826.0.1.3680043.8.498.7"


# ---- ours asks


@pytest.fixture(scope="module")
def peer(need: Callable[..., None], receiver: Receiver) -> Iterator[tuple[Process, Target]]:
    """Run pynetdicom's side."""
    need("module:pynetdicom")
    script = str(HERE / "pynetdicom_n_scp.py")
    with Process([sys.executable, script, str(receiver.server.port)]) as process:
        line = process.wait_for_line(lambda line: '"listening"' in line)
        yield process, Target(int(json.loads(line)["port"]), "PYNETDICOM")


def associate(peer: tuple[Process, Target], handlers: Handlers | None = None) -> Association:
    _, to = peer
    return AE(MOVER).associate(
        (LOOPBACK, to.port), called=to.title, contexts=CLASSES, handlers=handlers
    )


def test_ours_keeps_a_procedure_step(peer: tuple[Process, Target], matrix: Matrix) -> None:
    """N-CREATE, N-SET and N-GET; and N-GET of what is not there."""
    step: dict[str, Any] = {"sop_class": ModalityPerformedProcedureStep, "instance_uid": UID}
    look: dict[str, Any] = step | {"sop_class": ModalityPerformedProcedureStepRetrieve}
    wanted = ["PerformedProcedureStepStatus", "PatientID"]
    with associate(peer) as association:
        begin = {"PerformedProcedureStepStatus": "IN PROGRESS", "PatientID": "1"}
        made = association.n_create(begin, **step)
        assert (made.status, made.instance_uid) == (0, UID)
        done = association.n_set({"PerformedProcedureStepStatus": "COMPLETED"}, **step)
        assert (done.status, done.instance_uid) == (0, UID)
        found = association.n_get(wanted, **look).dataset
        assert [found[name].value for name in wanted] == ["COMPLETED", "1"]
        with pytest.raises(StatusError) as failure:
            association.n_get(wanted, **look | {"instance_uid": UID + ".9"})
        assert failure.value.status == NO_SUCH_INSTANCE
    for service in ("N-CREATE", "N-SET", "N-GET"):
        matrix.add(OURS, PYNETDICOM, service, "-", "success, values equal")


def test_ours_prints_a_film(peer: tuple[Process, Target], matrix: Matrix) -> None:
    """N-CREATE without a UID, N-SET, N-ACTION and N-DELETE in the context of the meta class."""
    with associate(peer) as association:
        made = association.n_create({"NumberOfCopies": "1"}, sop_class=BasicFilmSession)
        assert made.instance_uid
        film: dict[str, Any] = {"sop_class": BasicFilmSession, "instance_uid": made.instance_uid}
        changed = association.n_set({"NumberOfCopies": "2"}, **film)
        assert changed.dataset.NumberOfCopies == 2
        job = association.n_action(1, {"OwnerID": "ME"}, **film)
        assert (job.action_type, job.dataset.OwnerID) == (1, "ME")
        assert association.n_delete(**film).status == 0
        with pytest.raises(StatusError) as failure:
            association.n_delete(**film)
        assert failure.value.status == NO_SUCH_INSTANCE
    for service in ("N-ACTION", "N-DELETE"):
        matrix.add(OURS, PYNETDICOM, service, "-", "success, values equal")


def commitment(transaction: str, uid: str = UID, sop_class: str = CTImageStorage) -> Dataset:
    """Make the action information of a request, or the event information of a report."""
    item, referenced = Dataset(), Dataset()
    item.TransactionUID = transaction
    referenced.ReferencedSOPClassUID, referenced.ReferencedSOPInstanceUID = sop_class, uid
    item.ReferencedSOPSequence = [referenced]
    return item


def test_ours_is_told_on_the_same_association(peer: tuple[Process, Target], matrix: Matrix) -> None:
    """N-EVENT-REPORT after N-ACTION, while no call waits; our answer comes back to the peer."""
    process, _ = peer
    reports, handlers = Reports(), Handlers()
    handlers.n_event_report(reports.take)
    with associate(peer, handlers) as association:
        assert association.n_action(1, commitment("1.2.1"), **COMMITMENT).status == 0
        assert reports.next() == (1, commitment("1.2.1"))
        line = process.wait_for_line(lambda line: '"reported"' in line and '"1.2.1"' in line)
    assert json.loads(line)["status"] == 0
    matrix.add(PYNETDICOM, OURS, "N-EVENT-REPORT, same association", "-", "success, values equal")


def test_ours_is_told_on_a_second_association(
    peer: tuple[Process, Target], receiver: Receiver, matrix: Matrix
) -> None:
    """The provider associates with us, and takes the SCP role as requestor."""
    process, _ = peer
    with associate(peer) as association:
        assert association.n_action(1, commitment("1.2.2"), **COMMITMENT).status == 0
    assert receiver.reports.next() == (1, commitment("1.2.2"))
    line = process.wait_for_line(lambda line: '"reported"' in line and '"1.2.2"' in line)
    assert json.loads(line)["status"] == 0
    matrix.add(PYNETDICOM, OURS, "N-EVENT-REPORT, reversed roles", "-", "success, values equal")


def test_orthanc_commits_what_it_was_given(
    archive: Callable[[str], Target], receiver: Receiver, instances: list[Path], matrix: Matrix
) -> None:
    """Orthanc reports on a second association: all there, and the one that is not."""
    to = archive("Orthanc")
    request = commitment("1.2.3", "1.2.3.404")
    for path in instances:
        item, stored = Dataset(), pydicom.dcmread(path, stop_before_pixels=True)
        item.ReferencedSOPClassUID = stored.SOPClassUID
        item.ReferencedSOPInstanceUID = stored.SOPInstanceUID
        request.ReferencedSOPSequence.append(item)
    where = (LOOPBACK, to.port)
    contexts = [StorageCommitmentPushModel]
    with AE(MOVER).associate(where, called=to.title, contexts=contexts) as association:
        assert association.n_action(1, request, **COMMITMENT).status == 0
    event_type, report = receiver.reports.next()
    assert (event_type, report.TransactionUID) == (2, "1.2.3")  # some failed
    good, bad = (
        [item.ReferencedSOPInstanceUID for item in items]
        for items in (report.ReferencedSOPSequence, report.FailedSOPSequence)
    )
    (missing, *stored_uids) = [i.ReferencedSOPInstanceUID for i in request.ReferencedSOPSequence]
    assert sorted(good) == sorted(stored_uids)
    assert bad == [missing]
    matrix.add(OURS, "Orthanc", "storage commitment", "-", f"{len(good)} committed, 1 refused")


# ---- ours performs


@pytest.fixture
def server() -> Iterator[Instances]:
    """Run our side."""
    with Instances() as server:
        yield server


@pytest.fixture
def ask(need: Callable[..., None], server: Instances) -> Iterator[Callable[[str], Process]]:
    """Return a function that starts a session of the peer's."""
    need("module:pynetdicom")
    started: list[Process] = []

    def session(what: str) -> Process:
        script = str(HERE / "pynetdicom_n_scu.py")
        started.append(Process([sys.executable, script, what, str(server.port), "SCP"]))
        return started[-1]

    yield session
    for process in started:
        process.__exit__()


def outcome(process: Process) -> list[tuple[str, int, dict[str, Any]]]:
    """Return the peer's story: (request, status, data set by keyword) each."""
    assert process.wait() == 0, process.story("failed")
    process.stop()
    told = [json.loads(line) for line in process.lines]
    return [
        (name, status, {} if item is None else values(Dataset.from_json(item)))
        for name, status, item in (line for line in told if isinstance(line, list))
    ]


def values(item: Dataset) -> dict[str, Any]:
    """Return the values of a data set by keyword."""
    return {element.keyword: element.value for element in item}


def test_ours_serves_a_procedure_step(ask: Callable[[str], Process], matrix: Matrix) -> None:
    """N-CREATE, N-SET and N-GET."""
    begun = {"PatientID": "1", "PerformedProcedureStepStatus": "IN PROGRESS"}
    done = begun | {"PerformedProcedureStepStatus": "COMPLETED"}
    assert outcome(ask("step")) == [
        ("N-CREATE", 0, begun),
        ("N-SET", 0, done),
        ("N-GET", 0, done),
        ("N-GET of another", NO_SUCH_INSTANCE, {}),
    ]
    for service in ("N-CREATE", "N-SET", "N-GET"):
        matrix.add(PYNETDICOM, OURS, service, "-", "success, values equal")


def test_ours_serves_a_film(
    ask: Callable[[str], Process], server: Instances, matrix: Matrix
) -> None:
    """N-CREATE, N-SET, N-ACTION and N-DELETE in the context of the meta class."""
    assert outcome(ask("film")) == [
        ("N-CREATE", 0, {"NumberOfCopies": 1}),
        ("N-SET", 0, {"NumberOfCopies": 2}),
        ("N-ACTION", 0, {"OwnerID": "ME"}),
        ("N-DELETE", 0, {}),
        ("N-DELETE again", NO_SUCH_INSTANCE, {}),
    ]
    assert {request.context.sop_class for request in server.requests} == {
        BasicGrayscalePrintManagementMeta
    }
    for service in ("N-ACTION", "N-DELETE"):
        matrix.add(PYNETDICOM, OURS, service, "-", "success, values equal")


def test_ours_tells_on_the_same_association(
    ask: Callable[[str], Process], server: Instances, matrix: Matrix
) -> None:
    """N-EVENT-REPORT to the requestor, from a thread of the server's user."""
    answers = []

    def report(request: ActionRequest) -> None:
        answers.append(request.association.n_event_report(1, request.dataset, **COMMITMENT))

    server.report = report
    told = outcome(ask("commit"))
    assert ("N-ACTION", 0, {}) in told
    assert ("N-EVENT-REPORT", 1, values(commitment("1.2.1"))) in told
    (answer,) = answers
    assert (answer.status, answer.event_type, answer.dataset) == (0, 1, commitment("1.2.1"))
    matrix.add(OURS, PYNETDICOM, "N-EVENT-REPORT, same association", "-", "success, values equal")


def test_ours_tells_on_a_second_association(
    ask: Callable[[str], Process], server: Instances, matrix: Matrix
) -> None:
    """We associate with the SCU, and take the SCP role as requestor."""
    answers = []
    process: list[Process] = []
    begun = threading.Event()

    def report(request: ActionRequest) -> None:
        assert begun.wait(20)
        line = process[0].wait_for_line(lambda line: '"listening"' in line)
        provider = Context(StorageCommitmentPushModel, scu=False, scp=True)
        where = (LOOPBACK, int(json.loads(line)["listening"]))
        with AE("SCP").associate(where, called="PYNETDICOM", contexts=provider) as association:
            answers.append(association.n_event_report(1, request.dataset, **COMMITMENT))

    server.report = report
    process.append(ask("await"))
    begun.set()
    told = outcome(process[0])
    assert ("N-EVENT-REPORT", 1, values(commitment("1.2.2"))) in told
    (answer,) = answers
    assert (answer.status, answer.dataset) == (0, commitment("1.2.2"))
    matrix.add(OURS, PYNETDICOM, "N-EVENT-REPORT, reversed roles", "-", "success, values equal")
