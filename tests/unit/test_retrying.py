"""Which failures are tried again: the one table, and the delays."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from dimse_rs import (
    RETRYABLE,
    AssociationAborted,
    AssociationRejected,
    AssociationReleased,
    ConnectFailed,
    ConnectionLost,
    DecodeError,
    DimseTimeout,
    LimitExceeded,
    LocalProtocolError,
    NoPresentationContext,
    RemoteProtocolError,
    SendingCancelled,
    SendInterrupted,
    SendReport,
    SendResult,
    Status,
    TlsError,
)
from dimse_rs.retrying import delay_before

AGAIN = [
    ConnectFailed("refused"),
    ConnectionLost("gone"),
    AssociationRejected(2, 3, 1),
    AssociationAborted(0),
    AssociationAborted(2, 0, local=True),
    AssociationReleased(),
    DimseTimeout("dimse", 60),
    DimseTimeout("connect", 60),
    RemoteProtocolError("bad PDU"),
    SendingCancelled(),
    0xA700,
    0xA702,
    0xA7FF,
    0x0213,
]
FOR_GOOD = [
    AssociationRejected(1, 1, 3),
    NoPresentationContext("1.2.3"),
    TlsError("bad certificate"),
    DecodeError("cut short"),
    LimitExceeded("elements", 5),
    LocalProtocolError("a passcode in clear"),
    *(0x0110, 0x0117, 0x0122, 0x0124, 0x0210, 0x0211, 0x0212, 0xA900, 0xA9FF, 0xC000, 0xCFFF),
    *(0x0106, 0xFE00, 0xA800, 0xA6FF),
]
STORED = [0x0000, 0xB000, 0xB007, 0x0107]


def result(outcome: object) -> SendResult:
    if isinstance(outcome, int):
        return SendResult(Path("x"), status=Status(outcome, "C-STORE"), bytes=1)
    return SendResult(Path("x"), error=outcome)  # type: ignore[arg-type]


@pytest.mark.parametrize("outcome", AGAIN, ids=str)
def test_what_may_pass_by_itself_is_retryable(outcome):
    assert result(outcome).retryable


@pytest.mark.parametrize("outcome", [*FOR_GOOD, *STORED], ids=str)
def test_what_is_for_good_or_stored_is_not(outcome):
    assert not result(outcome).retryable


def test_every_row_of_the_table_has_its_case_here():
    for row, meaning in RETRYABLE:
        assert meaning
        assert any(
            outcome in row if isinstance(row, range) else isinstance(outcome, row)
            for outcome in AGAIN
            if isinstance(outcome, int) == isinstance(row, range)
        ), row


def test_the_page_has_the_table():
    page = (Path(__file__).parents[2] / "docs/services.md").read_text()
    for row, meaning in RETRYABLE:
        name = row.__name__ if isinstance(row, type) else f"{row.start:04X}".replace("A700", "A7xx")
        assert f"| `{name}` | {meaning} |" in page


def test_delays_double_up_to_an_hour_and_are_a_random_part(monkeypatch):
    monkeypatch.setattr("random.uniform", lambda least, most: (least, most))
    assert [delay_before(n, 10.0) for n in (1, 2, 3, 9, 10, 10_000)] == [
        (0.0, 10.0),
        (0.0, 20.0),
        (0.0, 40.0),
        (0.0, 2560.0),
        (0.0, 3600.0),
        (0.0, 3600.0),
    ]
    assert delay_before(3, 0.0) == (0.0, 0.0)


def test_a_function_gives_the_delays_itself():
    assert [delay_before(n, lambda retry: retry * 1.5 - 3) for n in (1, 4)] == [0.0, 3.0]


def test_an_interruption_says_how_far_the_sending_was_and_survives_pickling():
    report = SendReport(
        (result(0), result(0xB000), result(0xA700), result(SendingCancelled())), 1.0
    )
    interrupted = SendInterrupted(report)
    assert isinstance(interrupted, KeyboardInterrupt)
    assert str(interrupted) == "2 of 4 files sent"
    assert str(pickle.loads(pickle.dumps(interrupted))) == "2 of 4 files sent"
    assert report.cancelled
    assert len(report.left) == 2
