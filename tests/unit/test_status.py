"""Statuses against PS3.7 C.5 and the tables of PS3.4, as transcribed here."""

from __future__ import annotations

import pickle

import pytest

from dimse_rs.status import SUCCESS, Status

# PS3.7 Annex C: every code there, with its class.
GENERAL = {
    "success": [0x0000],
    "pending": [0xFF00, 0xFF01],
    "cancel": [0xFE00],
    "warning": [0x0001, 0x0107, 0x0116],
    "failure": [
        *(0x0105, 0x0106, 0x0110, 0x0111, 0x0112, 0x0113, 0x0114, 0x0115, 0x0117, 0x0118),
        *(0x0119, 0x0120, 0x0121, 0x0122, 0x0123, 0x0124, 0x0210, 0x0211, 0x0212, 0x0213),
    ],
}


@pytest.mark.parametrize(
    ("category", "code"), [(name, code) for name, codes in GENERAL.items() for code in codes]
)
def test_general_codes_have_their_class_and_a_meaning_in_every_service(category, code):
    for service in ("", "storage", "query-retrieve", "ups", "no such service"):
        status = Status(code, service)
        assert status.category == category
        assert status.meaning not in ("failure", "warning", "failure: not a code of the standard")


@pytest.mark.parametrize(
    ("code", "category"),
    [
        (0xA000, "failure"),
        (0xAFFF, "failure"),
        (0xB000, "warning"),
        (0xBFFF, "warning"),
        (0xC000, "failure"),
        (0xCFFF, "failure"),
        (0xD000, "failure"),
        (0xFF02, "failure"),
        (0xFE01, "failure"),
        (0x0002, "failure"),
        (0xFFFF, "failure"),
    ],
)
def test_class_of_any_other_code_comes_from_its_range(code, category):
    assert Status(code).category == category
    assert Status(code).meaning


@pytest.mark.parametrize(
    ("service", "code", "words"),
    [
        ("storage", 0xA700, "out of resources"),
        ("storage", 0xA7FF, "out of resources"),
        ("storage", 0xA900, "does not match"),
        ("storage", 0xA942, "does not match"),
        ("storage", 0xB000, "coercion"),
        ("storage", 0xB006, "discarded"),
        ("storage", 0xB007, "does not match"),
        ("storage", 0xC123, "cannot understand"),
        ("C-STORE", 0xC000, "cannot understand"),
        ("query-retrieve", 0xA701, "number of matches"),
        ("query-retrieve", 0xA702, "sub-operations"),
        ("query-retrieve", 0xA801, "destination"),
        ("query-retrieve", 0xB000, "failures or warnings"),
        ("query-retrieve", 0xC001, "unable to process"),
        ("C-MOVE", 0xA801, "destination"),
        ("relevant-patient", 0xC100, "more than one match"),
        ("ups", 0xC301, "transaction UID"),
        ("ups", 0xC999, "unable to process"),
        ("print", 0xC602, "queue is full"),
        ("media-creation", 0xA510, "already received"),
    ],
)
def test_meaning_is_the_services(service, code, words):
    assert words in Status(code, service).meaning


def test_is_an_int_everywhere():
    status = Status(0xB000, "storage")
    assert status == 0xB000
    assert f"{status:04X}" == "B000"
    assert {0xB000: "x"}[status] == "x"
    assert str(status) == "0xB000 (coercion of data elements)"
    assert repr(status) == "<Status 0xB000 warning: coercion of data elements>"
    assert not SUCCESS
    assert SUCCESS.is_final
    assert not Status(0xFF01).is_final


def test_pickles_with_its_service():
    twin = pickle.loads(pickle.dumps(Status(0xA700, "storage")))
    assert (twin, twin.service) == (0xA700, "storage")


@pytest.mark.parametrize("code", [-1, 0x10000])
def test_rejects_what_does_not_fit_the_element(code):
    with pytest.raises(ValueError, match=r"PS3\.7 C"):
        Status(code)
