"""Levels and unique keys of the Query/Retrieve models: what is refused, and with which element."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from dimse_rs import sop_class as uids
from dimse_rs.services.hierarchy import (
    LEVELS,
    MODELS,
    UNIQUE_KEYS,
    check_find,
    check_retrieve,
    level_of,
    model_of,
)
from dimse_rs.services.matching import IdentifierError

PATIENT_ID, STUDY_UID, SERIES_UID, INSTANCE_UID = UNIQUE_KEYS.values()
LEVEL = 0x00080052


def identifier(level=None, **values) -> Dataset:
    made = Dataset()
    if level is not None:
        made.QueryRetrieveLevel = level
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


@pytest.mark.parametrize("check", [check_find, check_retrieve])
@pytest.mark.parametrize(
    ("model", "asked", "offending"),
    [
        (uids.StudyRoot, identifier(), LEVEL),
        (uids.StudyRoot, identifier(""), LEVEL),
        (uids.StudyRoot, identifier("study"), LEVEL),
        (uids.StudyRoot, identifier(["STUDY", "SERIES"]), LEVEL),
        (uids.StudyRoot, identifier("PATIENT"), LEVEL),
        (uids.PatientRoot, identifier("FRAME"), LEVEL),
        (uids.PatientStudyOnly, identifier("SERIES"), LEVEL),
        (uids.PatientRoot, identifier("STUDY", StudyInstanceUID="1.2"), PATIENT_ID),
        (uids.PatientRoot, identifier("STUDY", PatientID="", StudyInstanceUID="1.2"), PATIENT_ID),
        (uids.PatientRoot, identifier("STUDY", PatientID="A*", StudyInstanceUID="1"), PATIENT_ID),
        (uids.PatientRoot, identifier("STUDY", PatientID=["A", "B"]), PATIENT_ID),
        (uids.PatientStudyOnly, identifier("STUDY"), PATIENT_ID),
        (uids.StudyRoot, identifier("SERIES", SeriesInstanceUID="1.2"), STUDY_UID),
        (uids.StudyRoot, identifier("SERIES", StudyInstanceUID=["1.2", "1.3"]), STUDY_UID),
        (uids.StudyRoot, identifier("SERIES", StudyInstanceUID="*"), STUDY_UID),
        (uids.StudyRoot, identifier("IMAGE", StudyInstanceUID="1.2"), SERIES_UID),
    ],
)
def test_hierarchical_identifiers_are_refused_by_element(check, model, asked, offending):
    with pytest.raises(IdentifierError) as refused:
        check(asked, model)
    assert refused.value.status == 0xA900
    assert refused.value.offending == (offending,)


@pytest.mark.parametrize(
    ("model", "asked", "offending"),
    [
        (uids.PatientRoot, identifier("PATIENT"), PATIENT_ID),
        (uids.PatientRoot, identifier("PATIENT", PatientID=["A", "B"]), PATIENT_ID),
        (uids.PatientRoot, identifier("PATIENT", PatientID="A*"), PATIENT_ID),
        (uids.StudyRoot, identifier("STUDY", PatientID="A"), STUDY_UID),
        (uids.StudyRoot, identifier("STUDY", StudyInstanceUID=""), STUDY_UID),
        (uids.CompositeInstanceRoot, identifier("IMAGE"), INSTANCE_UID),
        (uids.CompositeInstanceRoot, identifier("FRAME", SOPInstanceUID="1"), LEVEL),
    ],
)
def test_retrieval_names_what_it_wants(model, asked, offending):
    with pytest.raises(IdentifierError) as refused:
        check_retrieve(asked, model)
    assert (refused.value.status, refused.value.offending) == (0xA900, (offending,))


@pytest.mark.parametrize("tag", [LEVEL, STUDY_UID])
def test_keys_of_the_wrong_kind_count_as_missing(tag):
    asked = identifier("SERIES", StudyInstanceUID="1.2")
    del asked[tag]
    asked.add_new(tag, "SQ", [Dataset()])
    with pytest.raises(IdentifierError) as refused:
        check_find(asked, uids.StudyRoot)
    assert (refused.value.status, refused.value.offending) == (0xA900, (tag,))


def test_find_narrows_down_by_unique_keys():
    asked = identifier("SERIES", StudyInstanceUID="1.2", SeriesInstanceUID=["1.3", "1.4"])
    found = check_find(asked, uids.StudyRoot)
    assert found.level == "SERIES"
    assert found.unique == {"STUDY": ("1.2",), "SERIES": ("1.3", "1.4")}
    # A wild card is for the matcher.
    assert check_find(identifier("PATIENT", PatientID="A*"), uids.PatientRoot).unique == {}


def test_relational_identifiers_need_no_keys_above():
    asked = identifier("IMAGE", PatientID="A*", SOPInstanceUID="1.2")
    assert check_find(asked, uids.PatientRoot, relational=True).unique == {"IMAGE": ("1.2",)}
    asked = identifier("IMAGE", SOPInstanceUID=["1.2", "1.3"])
    found = check_retrieve(asked, uids.StudyRoot, relational=True)
    assert found.unique == {"IMAGE": ("1.2", "1.3")}


def test_keys_below_the_level_are_unsupported():
    asked = identifier("STUDY", StudyDate="", PatientName="", Modality="", Rows=None)
    matcher = check_find(asked, uids.StudyRoot).matcher
    assert set(matcher.tags) == {0x00080020, 0x00100010}
    assert set(matcher.unsupported) == {0x00080060, 0x00280010}


def test_levels_of_attributes_and_models():
    assert [level_of(tag) for tag in UNIQUE_KEYS.values()] == list(LEVELS)
    assert level_of(0x00080061) == "STUDY"
    assert level_of(0x7FE00010) == ""
    assert model_of(uids.StudyRoot.move) is uids.StudyRoot
    assert model_of(uids.CompositeInstanceRoot.get) is uids.CompositeInstanceRoot
    assert model_of(uids.Verification) is None
    assert all(set(levels) <= set(LEVELS) for levels in MODELS.values())
