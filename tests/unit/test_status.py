"""Statuses against PS3.7 C.5 and the tables of PS3.4, as transcribed here."""

from __future__ import annotations

import pickle

import pytest

from dimse_rs.sop_class import SOP_CLASSES
from dimse_rs.status import SUCCESS, Status, is_defined

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
    assert SUCCESS == 0
    assert SUCCESS.is_final
    assert not Status(0xFF01).is_final


def test_pickles_with_its_service():
    twin = pickle.loads(pickle.dumps(Status(0xA700, "storage")))
    assert (twin, twin.service) == (0xA700, "storage")


@pytest.mark.parametrize("code", [-1, 0x10000])
def test_rejects_what_does_not_fit_the_element(code):
    with pytest.raises(ValueError, match=r"PS3\.7 C"):
        Status(code)


@pytest.mark.parametrize("code", ["A700", None, b"\xa7\x00", 1.0])
def test_rejects_what_is_no_number_by_name(code):
    with pytest.raises(TypeError, match=f"a number such as 0xA700, not a {type(code).__name__}"):
        Status(code)


# DIMSE services by service class, PS3.4.
OPERATIONS = {
    service: sorted({one for e in SOP_CLASSES.values() if e.service == service for one in e.dimse})
    for service in {entry.service for entry in SOP_CLASSES.values() if entry.dimse}
}


@pytest.mark.parametrize(
    ("operation", "service", "defined", "undefined"),
    [
        ("C-ECHO", "verification", [0x0122, 0x0211], [0xA700, 0xB000, 0xC000, 0xFF00, 0x0112]),
        ("C-STORE", "storage", [0xA7FF, 0xA942, 0xB006, 0xCFFF, 0x0117], [0xA800, 0xB001, 0xFE00]),
        ("C-STORE", "non-patient-object", [0xA700, 0xC000], [0xA701, 0xB000, 0xC001]),
        ("C-FIND", "query-retrieve", [0xA700, 0xFF01, 0xFE00, 0x0124], [0xA701, 0xB000, 0xA801]),
        ("C-MOVE", "query-retrieve", [0xA702, 0xA801, 0xB000, 0xFF00], [0xA700, 0xFF01, 0x0112]),
        ("C-GET", "query-retrieve", [0xA701, 0xAA00, 0xC123], [0xA801, 0xFF01]),
        ("C-GET", "hanging-protocol", [0xA702], [0xAA00]),
        ("C-FIND", "worklist", [0xA900, 0xC001], [0xB001, 0xA710]),
        ("C-FIND", "relevant-patient", [0xC100, 0xC200, 0xFF00], [0xC300, 0xFF01]),
        ("C-FIND", "substance-administration", [0xA700, 0xFF01], [0xB000]),
        ("N-CREATE", "procedure-step", [0x0106, 0x0111, 0x0120], [0xA710, 0xC000, 0x0112]),
        ("N-GET", "procedure-step", [0x0001, 0x0107, 0x0112], [0x0105, 0xFF00]),
        ("N-SET", "procedure-step", [0x0110, 0x0116], [0x0001, 0x0123]),
        ("N-ACTION", "storage-commitment", [0x0123, 0x0213], [0x0131, 0xA700, 0xB000]),
        ("N-EVENT-REPORT", "storage-commitment", [0x0113, 0x0110], [0x0123, 0x0124]),
        ("N-CREATE", "instance-availability", [0x0111, 0x0124], [0xC000]),
        ("N-CREATE", "print", [0xB600, 0xC616], [0xC605, 0xC601]),
        ("N-ACTION", "print", [0xC601, 0xB604], [0xB600, 0xC616]),
        ("N-SET", "print", [0xC605, 0xB605], [0xC601]),
        ("N-DELETE", "print", [0x0112], [0x0105, 0xB605]),
        ("N-ACTION", "ups", [0xC302, 0xB301, 0xC315], [0xC309, 0xB300, 0xCFFF]),
        ("N-CREATE", "ups", [0xC309, 0xB300], [0xC302]),
        ("N-GET", "ups", [0xC307, 0x0001], [0xC301]),
        ("N-ACTION", "media-creation", [0xA510, 0xC203], [0xC204]),
        ("N-ACTION", "event-logging", [0xB101, 0xC111], [0xB103]),
        ("N-CREATE", "rt-verification", [0xC221], [0xC224]),
        ("N-ACTION", "storage-management", [0xB010], [0xB011]),
        # Private and retired classes: the ranges of PS3.7 C.
        ("N-ACTION", "", [0x0001, 0x0131, 0xA123, 0xB123, 0xC123], [0xD000, 0xFF00, 0x0300]),
        ("C-FIND", "retired", [0xFF01, 0xFE00, 0xB123], [0xFF02, 0xFFFF, 0x0002]),
        ("C-STORE", "no such service", [0xB123], [0xFF00, 0x10000]),
    ],
)
def test_a_performer_may_answer_what_its_service_defines(operation, service, defined, undefined):
    assert is_defined(0x0000, operation, service)
    for code in defined:
        assert is_defined(code, operation, service), f"{code:04X}"
        assert is_defined(Status(code, service), operation, service)
    for code in undefined:
        assert not is_defined(code, operation, service), f"{code:04X}"


def test_every_service_class_in_use_has_a_table():
    assert len(OPERATIONS) > 20
    for service in set(OPERATIONS) - {"retired"}:
        assert not is_defined(0xAFFF, "N-DELETE", service), service


def test_an_unknown_operation_is_named():
    with pytest.raises(KeyError, match="C-CANCEL"):
        is_defined(0x0000, "C-CANCEL")


# pynetdicom adds every general code to every table, and has one for all of Query/Retrieve's kin.
EXCEPTIONS = {
    "hanging-protocol": {0xA710, 0xB001, *range(0xAA00, 0xAA05)},
    "ups": set(range(0xC000, 0xD000)),  # for C-FIND alone
}


@pytest.mark.parametrize(
    ("table", "service", "operations"),
    [
        ("VERIFICATION_SERVICE_CLASS_STATUS", "verification", None),
        ("STORAGE_SERVICE_CLASS_STATUS", "storage", None),
        ("NON_PATIENT_SERVICE_CLASS_STATUS", "non-patient-object", None),
        ("QR_FIND_SERVICE_CLASS_STATUS", "query-retrieve", ["C-FIND"]),
        ("QR_GET_SERVICE_CLASS_STATUS", "query-retrieve", ["C-GET"]),
        ("QR_MOVE_SERVICE_CLASS_STATUS", "query-retrieve", ["C-MOVE"]),
        ("QR_FIND_SERVICE_CLASS_STATUS", "hanging-protocol", ["C-FIND"]),
        ("QR_GET_SERVICE_CLASS_STATUS", "hanging-protocol", ["C-GET"]),
        ("MODALITY_WORKLIST_SERVICE_CLASS_STATUS", "worklist", None),
        ("RELEVANT_PATIENT_SERVICE_CLASS_STATUS", "relevant-patient", None),
        ("SUBSTANCE_ADMINISTRATION_SERVICE_CLASS_STATUS", "substance-administration", None),
        ("PROCEDURE_STEP_STATUS", "procedure-step", None),
        ("PRINT_JOB_MANAGEMENT_SERVICE_CLASS_STATUS", "print", None),
        ("STORAGE_COMMITMENT_SERVICE_CLASS_STATUS", "storage-commitment", None),
        ("STORAGE_MANAGEMENT_SERVICE_CLASS_STATUS", "storage-management", None),
        ("APPLICATION_EVENT_LOGGING_SERVICE_CLASS_STATUS", "event-logging", None),
        ("MEDIA_CREATION_MANAGEMENT_SERVICE_CLASS_STATUS", "media-creation", None),
        ("UNIFIED_PROCEDURE_STEP_SERVICE_CLASS_STATUS", "ups", None),
        ("RT_MACHINE_VERIFICATION_SERVICE_CLASS_STATUS", "rt-verification", None),
    ],
)
def test_agrees_with_pynetdicom(table, service, operations):
    theirs = pytest.importorskip("pynetdicom.status")
    ours = operations or OPERATIONS[service]
    assert any(set(getattr(theirs, table)) - set(theirs.GENERAL_STATUS)) or table.startswith(
        ("VERIFICATION", "STORAGE_COMMITMENT")
    )
    for code, (category, _) in getattr(theirs, table).items():
        status = Status(code, service)
        assert status.category == category.lower()
        assert status.meaning not in ("failure", "warning", "failure: not a code of the standard")
        if code not in theirs.GENERAL_STATUS and code not in EXCEPTIONS.get(service, ()):
            assert any(is_defined(code, one, service) for one in ours), f"{code:04X}"


@pytest.mark.parametrize("code", [0x0000, 0x0001, 0xFE00, 0xFF00, 0xA700, 0xB000])
def test_a_status_has_no_truth_value_and_says_what_to_write(code):
    status = Status(code, "storage")
    with pytest.raises(TypeError, match=r"`status == 0` or `status\.is_success`"):
        bool(status)
    assert status.is_success is (code == 0)
