"""What the library logs: where, at which level, with a stable code, and never about a patient."""

from __future__ import annotations

import logging
import queue
import threading
from contextlib import suppress

import pydicom
import pytest

from dimse_rs import (
    AE,
    CTImageStorage,
    DimseError,
    Handlers,
    StatusError,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRoot,
    Timeouts,
    Verification,
)
from tests.support.nodes import CT, MR_IMPLICIT, SCU, at, link, scp

PATIENT = "Secret^Patient"


def instance():
    dataset = pydicom.dcmread(CT)
    dataset.PatientName = PATIENT
    dataset.PatientID = "SECRETID"
    return dataset


def test_the_life_of_an_association_is_told_at_info(caplog, tmp_path):
    caplog.set_level(logging.INFO, "dimse_rs")
    server = scp(tmp_path)
    with link(server, [Verification, CTImageStorage]) as association:
        who = str(association)
        association.c_echo()
        association.c_store(instance())
    ours = [(r.name, r.getMessage()) for r in caplog.records if r.name != "dimse_rs.server"]
    assert ours == [
        (
            "dimse_rs.association",
            f"{who} established: 2 of 2 presentation contexts, peer takes 131072 bytes",
        ),
        ("dimse_rs.dimse", f"{who} << C-ECHO-RQ 1"),
        ("dimse_rs.dimse", f"{who} >> C-ECHO-RSP 1 0x0000 (success)"),
        ("dimse_rs.dimse", f"{who} << C-STORE-RQ 2"),
        ("dimse_rs.dimse", f"{who} >> C-STORE-RSP 2 0x0000 (success)"),
        ("dimse_rs.association", f"{who} released"),
    ]
    served = [r for r in caplog.records if r.name == "dimse_rs.server"]
    codes = ["listening", "associated", "stored", "released", "stopped"]
    assert [record.code for record in served] == codes
    assert all("\n" not in record.getMessage() for record in caplog.records)


def test_a_response_that_was_not_sent_is_not_logged_as_sent(caplog):
    """The deadline has answered a notification; what its handler says then is not sent."""
    caplog.set_level(logging.INFO, "dimse_rs")
    leave, over = threading.Event(), threading.Event()
    handlers = Handlers()
    instance = {
        "sop_class": StorageCommitmentPushModel,
        "instance_uid": StorageCommitmentPushModelInstance,
    }

    @handlers.n_event_report
    def notice(request):
        leave.wait(10)
        request.afterwards(over.set)

    server = scp()

    @server.n_action(StorageCommitmentPushModel)
    def act(request):
        with suppress(StatusError):
            request.association.n_event_report(1, {"TransactionUID": "1.2.3"}, **instance)

    ae = AE("SCU", timeouts=Timeouts(handler=0.2))
    with link(server, [StorageCommitmentPushModel], ae, handlers=handlers) as association:
        association.n_action(1, **instance)
        leave.set()
        assert over.wait(10)
    lines = [record.getMessage() for record in caplog.records]
    [sent] = [line for line in lines if "<< N-EVENT-REPORT-RSP" in line]
    assert "0x0110" in sent


def test_handlers_are_told_in_one_line_each_way(caplog):
    caplog.set_level(logging.INFO, "dimse_rs.dimse")
    server = scp()
    server.c_store(lambda request: 0xB000)
    # The server logs its response after sending it, which may be after the requestor has gone on.
    lines = queue.SimpleQueue()
    collecting = logging.Handler()
    collecting.emit = lambda record: lines.put(record.getMessage().split(") ", 1)[1])
    logging.getLogger("dimse_rs.dimse").addHandler(collecting)
    try:
        with link(server, CTImageStorage) as association:
            association.c_store(instance())
            came = [lines.get(timeout=10) for _ in range(4)]
    finally:
        logging.getLogger("dimse_rs.dimse").removeHandler(collecting)
    assert lines.empty()
    assert sorted(came) == [
        "<< C-STORE-RQ 1",
        "<< C-STORE-RSP 1 0xB000 (warning)",
        ">> C-STORE-RQ 1",
        ">> C-STORE-RSP 1 0xB000 (warning)",
    ]


def test_no_patient_in_any_log(caplog, tmp_path):
    caplog.set_level(logging.DEBUG, "dimse_rs")
    server = scp(tmp_path)

    @server.c_store(CTImageStorage)
    def fail(request):
        assert str(request.dataset.PatientName) == PATIENT
        raise StatusError(0xA700, "full")

    contexts = [CTImageStorage, "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"]
    with link(server, contexts) as association:
        for path in (CT, MR_IMPLICIT):
            dataset = pydicom.dcmread(path)
            dataset.PatientName = PATIENT
            dataset.PatientID = "SECRETID"
            try:
                association.c_store(dataset)
            except DimseError:
                logging.getLogger("dimse_rs.test").exception("as users log it")
    assert len(caplog.records) > 10
    assert PATIENT not in caplog.text
    assert "SECRETID" not in caplog.text


def test_a_port_that_is_only_knocked_at_is_no_warning(caplog):
    import socket

    server = scp()
    with server:
        for _ in range(3):
            socket.create_connection(("127.0.0.1", server.port), 10).close()
        SCU.associate(at(server)).release()
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.slow
def test_a_peer_that_is_no_dicom_node_is_one_line_with_its_address(caplog):
    import socket

    with scp() as server, socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        raw.settimeout(10)
        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while raw.recv(4096):
            pass
        host, port = raw.getsockname()
    address = f"{host}:{port}"
    problems = [r for r in caplog.records if r.levelno >= logging.WARNING]
    [line] = [r for r in problems if address in r.getMessage()]
    assert line.code
    assert "\n" not in line.getMessage()


@pytest.mark.parametrize("level", [logging.WARNING, logging.INFO])
def test_without_problems_nothing_is_said_above_info(level, caplog, tmp_path):
    caplog.set_level(level, "dimse_rs")
    with link(scp(tmp_path), [Verification, CTImageStorage]) as association:
        association.c_echo()
        association.c_store(CT)
    assert [r for r in caplog.records if r.levelno > logging.INFO] == []


@pytest.mark.slow
def test_matches_are_no_lines_of_their_own_but_for_debug(caplog):
    server = scp()
    server.c_find(StudyRoot)(lambda request: [instance() for _ in range(50)])
    lines = {}
    for level in (logging.INFO, logging.DEBUG):
        caplog.clear()
        caplog.set_level(level, "dimse_rs.dimse")
        with link(server, [StudyRoot]) as association:
            list(association.c_find({}, model=StudyRoot, level="STUDY"))
        told = [r for r in caplog.records if "C-FIND-RSP" in r.getMessage() and r.code == "message"]
        lines[level] = [r.levelno for r in told]
        [last] = [
            r.getMessage() for r in told if "<<" in r.getMessage() and r.levelno >= logging.INFO
        ]
        assert last.endswith("C-FIND-RSP 1 0x0000 (success) after 50")
        server = scp()
        server.c_find(StudyRoot)(lambda request: [instance() for _ in range(50)])
    assert lines[logging.INFO] == [logging.INFO] * 2
    assert lines[logging.DEBUG].count(logging.DEBUG) >= 100  # with the command sets, more
