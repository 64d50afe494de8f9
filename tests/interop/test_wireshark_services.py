"""Queries, retrievals and N-services of ours as Wireshark reads them: both ends are us."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    ActionRequest,
    Association,
    FindRequest,
    Handlers,
    Server,
    StudyRoot,
    for_retrieve,
)
from dimse_rs.contexts import Contexts
from dimse_rs.sop_class import (
    BasicFilmSession,
    BasicGrayscalePrintManagementMeta,
    CTImageStorage,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)
from tests.interop.conftest import Matrix, Receiver, Reports
from tests.interop.test_wireshark import Dissection, read
from tests.peers.archive import MOVER, dimse_archive
from tests.peers.instances import Instances
from tests.peers.record import recording
from tests.peers.scu import Target
from tests.support.process import LOOPBACK

OURS = "dimse"
QUERY = {"StudyInstanceUID": "", "PatientID": ""}
COMMITMENT: dict[str, Any] = {
    "sop_class": StorageCommitmentPushModel,
    "instance_uid": StorageCommitmentPushModelInstance,
}

pytestmark = pytest.mark.usefixtures("tools")


@pytest.fixture
def tools(need: Callable[..., None]) -> None:
    """Need the dissector."""
    need("text2pcap", "tshark")


@contextmanager
def recorded(
    server: Target,
    contexts: Contexts,
    into: Dissection,
    folder: Path,
    handlers: Handlers | None = None,
) -> Iterator[Association]:
    """Record an association with a server, and dissect it when it is over."""
    with recording(server.port) as recorder:
        where = (LOOPBACK, recorder.port)
        with AE(MOVER).associate(
            where, called=server.title, contexts=contexts, handlers=handlers
        ) as association:
            yield association
    (chunks,) = recorder.conversations
    into.__dict__.update(read(chunks, folder).__dict__)


def kinds(seen: Dissection) -> list[str]:
    """Return the messages without their ids: `C-FIND-RSP (Success)`."""
    return [
        " ".join(word for word in message.split() if "=" not in word) for message in seen.messages
    ]


def answered(*services: str) -> list[str]:
    """Return the requests, each followed by its success."""
    return [f"{name}-{what}" for name in services for what in ("RQ", "RSP (Success)")]


def test_tshark_decodes_queries_and_retrievals(
    tmp_path: Path, instances: list[Path], receiver: Receiver, matrix: Matrix
) -> None:
    """C-FIND, C-GET with its C-STORE sub-operations, and C-MOVE."""
    folder = tmp_path / "stored"
    folder.mkdir()
    for path in instances[:2]:
        copy(path, folder)
    contexts = for_retrieve(StudyRoot, [CTImageStorage])
    seen = Dissection()
    with (
        dimse_archive(folder, receiver.server.port) as server,
        recorded(server, contexts, seen, tmp_path) as association,
    ):
        (found,) = association.c_find(QUERY, model=StudyRoot, level="STUDY")
        study = {"StudyInstanceUID": found.StudyInstanceUID}
        list(association.c_get(study, model=StudyRoot, level="STUDY", into=[]))
        list(association.c_move(study, model=StudyRoot, level="STUDY", destination=MOVER))
    assert seen.complaints == []
    assert kinds(seen) == [
        *["C-FIND-RQ", "C-FIND-RSP", "C-FIND-RSP (Success)"],
        *["C-GET-RQ", *answered("C-STORE", "C-STORE"), "C-GET-RSP (Success)"],
        *answered("C-MOVE"),
    ]
    assert seen.messages[-1] == "C-MOVE-RSP ID=3 C=2 (Success)"  # two sub-operations completed
    for service in ("C-FIND", "C-GET", "C-MOVE"):
        matrix.add(OURS, OURS, f"{service} as tshark sees it", "-", "decoded")


def test_tshark_decodes_a_cancel(tmp_path: Path, matrix: Matrix) -> None:
    """C-CANCEL among the responses of a C-FIND."""
    cancelled = threading.Event()
    server = Server(AE("ARCHIVE"), port=0)

    @server.c_find(StudyRoot)
    def find(request: FindRequest) -> Iterator[Dataset]:
        yield request.identifier
        assert cancelled.wait(20)
        while True:
            yield request.identifier

    seen = Dissection()
    with (
        server,
        recorded(Target(server.port, "ARCHIVE"), StudyRoot, seen, tmp_path) as association,
    ):
        responses = association.c_find(QUERY, model=StudyRoot, level="STUDY")
        next(responses)
        responses.cancel()
        cancelled.set()
        for _ in responses:
            pass
        assert responses.status == 0xFE00
    assert seen.complaints == []
    assert seen.messages.count("C-CANCEL-RQ ID=1") == 1
    assert kinds(seen)[-1] == "C-FIND-RSP (Cancel)"
    matrix.add(OURS, OURS, "C-CANCEL as tshark sees it", "-", "decoded")


def test_tshark_decodes_the_n_services(tmp_path: Path, matrix: Matrix) -> None:
    """All six, N-EVENT-REPORT from the acceptor."""
    reports, handlers = Reports(), Handlers()
    handlers.n_event_report(reports.take)
    server = Instances()
    over = threading.Event()

    def report(request: ActionRequest) -> None:
        request.association.n_event_report(1, request.dataset, **COMMITMENT)
        over.set()

    server.report = report
    contexts = [BasicGrayscalePrintManagementMeta, StorageCommitmentPushModel]
    seen = Dissection()
    with (
        server,
        recorded(Target(server.port, "SCP"), contexts, seen, tmp_path, handlers) as association,
    ):
        made = association.n_create({"NumberOfCopies": "1"}, sop_class=BasicFilmSession)
        film: dict[str, Any] = {"sop_class": BasicFilmSession, "instance_uid": made.instance_uid}
        association.n_set({"NumberOfCopies": "2"}, **film)
        association.n_get(["NumberOfCopies"], **film)
        association.n_action(1, {"OwnerID": "ME"}, **film)
        association.n_delete(**film)
        association.n_action(1, {"TransactionUID": "1.2.3"}, **COMMITMENT)
        assert over.wait(20)
    assert seen.complaints == []
    services = ["N-CREATE", "N-SET", "N-GET", "N-ACTION", "N-DELETE"]
    assert kinds(seen)[:10] == answered(*services)
    # The report may cross the response that it follows from.
    assert sorted(kinds(seen)[10:]) == sorted(answered("N-ACTION", "N-EVENT-REPORT"))
    for service in (*services, "N-EVENT-REPORT"):
        matrix.add(OURS, OURS, f"{service} as tshark sees it", "-", "decoded")
