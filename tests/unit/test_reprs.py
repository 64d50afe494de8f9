"""What is shown of an object says what it is, in a line, and nothing of a patient."""

from __future__ import annotations

from pathlib import Path

import pytest

from dimse_rs import (
    Commitment,
    CommitmentReports,
    Index,
    InstanceAvailability,
    Mpps,
    PerformedStep,
    QueryRetrieve,
    Responses,
    Schedule,
    SendReport,
    SendResult,
    Status,
    Storage,
    StudyRoot,
    Worklist,
)
from dimse_rs.aio.association import AsyncResponses
from dimse_rs.dimse import scu


def of_pydicom(*_: object) -> list:
    return []


SHOWN = {
    "<InstanceAvailability of_pydicom>": lambda: InstanceAvailability(of_pydicom),
    "<Commitment of_pydicom, 0 reports outstanding>": lambda: Commitment(of_pydicom),
    "<CommitmentReports 0 asked, 0 to be waited for>": CommitmentReports,
    "<Mpps 0 steps>": Mpps,
    "<Schedule 2 items>": lambda: Schedule([{"PatientName": "SECRET"}, {}]),
    "<Schedule of_pydicom>": lambda: Schedule(of_pydicom),
    "<Worklist 'steps'>": lambda: Worklist("steps"),
    "<Index 'PACS', 0 studies, 0 instances>": lambda: Index("PACS"),
    "<QueryRetrieve <Index 'PACS', 0 studies, 0 instances>, 1 models>": (
        lambda: QueryRetrieve(Index("PACS"), [StudyRoot])
    ),
    "<PerformedStep 1.2 on SCP<-SCU(1)>": lambda: PerformedStep("SCP<-SCU(1)", "1.2"),
}


@pytest.mark.parametrize("text", SHOWN)
def test_services_show_what_they_stand_on(text):
    assert repr(SHOWN[text]()) == text


def test_a_storage_shows_its_folder(tmp_path):
    assert repr(Storage(tmp_path)).startswith(f"<Storage {str(tmp_path)!r}, ")


def test_a_report_of_sending_is_a_line_however_many_files_there_are():
    ok = SendResult(Path("a"), status=Status(0), bytes=10)
    failed = SendResult(Path("b"), status=Status(0xA700))
    report = SendReport((ok,) * 1000 + (failed,), 1.25, (Path("c"),))
    assert repr(report) == ("<SendReport 1001 files, 1 failed, 1 skipped, 10000 bytes in 1.2 s>")


@pytest.mark.parametrize("kind", [Responses, AsyncResponses])
def test_responses_show_how_far_they_are(kind):
    call = scu.Call()
    responses = kind("SCP<-SCU(1)", call, iter(()))
    assert repr(responses) == f"<{kind.__name__} not begun on SCP<-SCU(1)>"
