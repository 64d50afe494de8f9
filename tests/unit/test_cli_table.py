"""The table of matches: as wide as the terminal, and nothing that a terminal would obey."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from dimse_rs.cli import table
from dimse_rs.cli.table import Table, columns, visible
from dimse_rs.dimse.scu import data_set_of

KEYS = {"QueryRetrieveLevel": "STUDY", "PatientName": "D*", "StudyInstanceUID": "", "StudyDate": ""}


def lines(*matches, keys=KEYS, width=80):
    shown: list[str] = []
    made = Table([data_set_of(keys)], shown.append, width)
    for match in matches:
        made.add(match if isinstance(match, Dataset) else data_set_of(match))
    made.show()
    return shown


def test_the_columns_are_the_keys_that_have_values():
    assert lines(
        {"PatientName": "Doe^Jane", "StudyInstanceUID": "1.2.3"},
        {"PatientName": "Doe^J", "StudyInstanceUID": "1.2.34", "PatientID": "not asked for"},
    ) == [
        "PatientName  StudyInstanceUID",
        "-----------  ----------------",
        "Doe^Jane     1.2.3",
        "Doe^J        1.2.34",
    ]


def test_nothing_found_shows_nothing():
    assert lines() == []


def test_steps_of_a_worklist_are_columns_and_their_items_values():
    step = {"Modality": "CT", "ScheduledProtocolCodeSequence": [{"CodeValue": "1"}]}
    keys = {
        "PatientID": "",
        "ScheduledProcedureStepSequence": [
            {"Modality": "", "ScheduledProtocolCodeSequence": []},
        ],
    }
    match = {"PatientID": "1", "ScheduledProcedureStepSequence": [step, {"Modality": "MR"}]}
    assert lines(match, keys=keys)[0].split() == [
        "PatientID",
        "Modality",
        "ScheduledProtocolCodeSequence",
    ]
    assert lines(match, keys=keys)[2].split("  ")[0] == "1"
    assert "CT\\MR" in lines(match, keys=keys)[2]
    assert "1 items" in lines(match, keys=keys)[2]


@pytest.mark.parametrize("width", [30, 40, 60, 200])
def test_no_line_is_wider_than_the_terminal(width):
    found = lines(
        {"PatientName": "X" * 60, "StudyInstanceUID": "1." * 30 + "1", "StudyDate": "20260101"},
        {"PatientName": "山田^太郎" * 8, "StudyInstanceUID": "1.2", "StudyDate": "20260102"},
        width=width,
    )
    assert len(found) == 4
    assert all(columns(line) <= width for line in found)
    assert "20260101" in found[2]  # what is short is not cut


def test_columns_stand_under_each_other_whatever_the_letters():
    found = lines(
        {"PatientName": "山田^太郎", "StudyDate": "20260101"},
        {"PatientName": "Jose\u0301", "StudyDate": "20260102"},
    )
    assert {columns(line[: line.index("2026")]) for line in found[2:]} == {13}


@pytest.mark.parametrize("evil", ["\x1b[2J", "a\nb", "\u202egnp", "\x07", "\x9b31m", "a\tb"])
def test_what_a_terminal_would_obey_is_escaped(evil):
    [*_, row] = lines({"PatientName": f"Doe{evil}"})
    assert row.isprintable()
    assert visible(evil) in row
    assert evil not in row


def test_later_matches_keep_the_widths_of_the_first(monkeypatch):
    monkeypatch.setattr(table, "_FIRST", 1)
    found = lines({"PatientName": "Doe", "StudyDate": "20260101"}, {"PatientName": "D" * 40})
    assert found[2:] == ["Doe          20260101", "DDDDDDDDDD" + found[3][10:]]
    assert len(found[3]) == len("PatientName")


def test_a_value_that_cannot_be_decoded_does_not_hide_the_others():
    match = data_set_of({"PatientName": "Doe"})
    match.add_new(0x00080020, "DA", None)
    match._dict[0x00080020] = None  # whatever pydicom trips over
    assert "Doe" in lines(match)[2]
