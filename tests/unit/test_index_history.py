"""The index answers as one built anew from what is there, whatever was there before."""

from __future__ import annotations

import os
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings, strategies as st
from pydicom.dataset import Dataset

from dimse_rs import sop_class as uids
from dimse_rs.datasets import Collected, headers, write
from dimse_rs.errors import DecodeError
from dimse_rs.services.hierarchy import LEVELS, MODELS, UNIQUE_KEYS
from dimse_rs.services.index import Index

PATIENTS = (("", ""), ("", "X"), ("1", ""), ("1", "A"), ("1", "B"), ("2", ""))
CLASSES = (uids.CTImageStorage, uids.MRImageStorage)
KEYS = {
    "PATIENT": ["PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSize"],
    "STUDY": ["StudyInstanceUID", "StudyDescription", "PatientWeight", "ProcedureCodeSequence"],
    "SERIES": ["SeriesInstanceUID", "Modality", "SeriesNumber", "NumberOfSeriesRelatedInstances"],
    "IMAGE": ["SOPInstanceUID", "SOPClassUID", "InstanceNumber", "SliceLocation"],
}
KEYS["PATIENT"] += [f"NumberOfPatientRelated{what}" for what in ("Studies", "Series", "Instances")]
KEYS["STUDY"] += ["ModalitiesInStudy", "SOPClassesInStudy"]
KEYS["STUDY"] += [f"NumberOfStudyRelated{what}" for what in ("Series", "Instances")]


def query(level, **values) -> Dataset:
    made = Dataset()
    made.QueryRetrieveLevel = level
    for upper in LEVELS[: LEVELS.index(level) + 1]:
        for keyword in KEYS[upper]:
            setattr(made, keyword, [] if keyword.endswith("Sequence") else "")
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def instance(place, patient, says) -> Dataset:
    """Make an instance at a place, of a patient; all else that it says depends on a number."""
    study, series, number = place
    made = Dataset()
    made.PatientID, made.IssuerOfPatientID = PATIENTS[patient]
    made.StudyInstanceUID, made.SeriesInstanceUID = f"1.{study}", f"2.{series}"
    made.SOPInstanceUID, made.SOPClassUID = f"3.{number}", CLASSES[says % 2]
    made.Modality = ("CT", "MR", "SR", "")[says % 4]
    made.SeriesNumber = str(says % 3)
    if says % 3:  # the others do not say
        made.PatientName = f"Name{says}^X"
        made.StudyDescription = f"Study {says}"
        code = Dataset()
        code.CodeValue = str(says)
        made.ProcedureCodeSequence = [code]
    made.PatientWeight = ("1.0", "1.00", "1")[says % 3]  # equal in number, but not the same
    made.SliceLocation = ("2.0", "2")[says % 2]
    if says == 5:
        made.SpecificCharacterSet = "ISO_IR 100"
        made.PatientName = "Größe^X"
    return made


def letters(answer: Dataset) -> list[tuple[int, str, str]]:
    return [(int(element.tag), element.VR, str(element.value)) for element in answer]


def answers(index: Index) -> list[object]:
    """Say everything that an index can be asked for."""
    said: list[object] = [len(index)]
    for model in (uids.PatientRoot, uids.StudyRoot, uids.PatientStudyOnly):
        for level in MODELS[model]:
            found = index.find(query(level), model, relational=True)
            said.append([letters(one) for one in found])
    for name in ("1.1", ["1.2", "1.3", "1.9"]):
        found = index.find(query("STUDY", StudyInstanceUID=name), uids.StudyRoot)
        said.append([letters(one) for one in found])
    for patient, study in product(("1", "2"), ("1.1", "1.2")):
        asked = query("STUDY", PatientID=patient, StudyInstanceUID=study)
        said.append([letters(one) for one in index.find(asked, uids.PatientRoot)])
        said.append(index.retrieve(asked, uids.PatientRoot))
    for patient, issuer in (("1", ""), ("1", "A"), ("2", "")):
        asked = query("PATIENT", PatientID=patient, IssuerOfPatientID=issuer)
        said.append(index.retrieve(asked, uids.PatientRoot))
    for number in range(3):
        asked = query("IMAGE", SOPInstanceUID=f"3.{number}")
        said.append(index.retrieve(asked, uids.CompositeInstanceRoot))
        asked = query("SERIES", StudyInstanceUID="1.1", SeriesInstanceUID=f"2.{number}")
        said.append(index.retrieve(asked, uids.StudyRoot))
    return said


PLACES = st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(0, 2))
FILES = st.integers(0, 7)
ADDED = st.tuples(FILES, PLACES, st.integers(0, len(PATIENTS) - 1), st.integers(0, 5))
STEPS = st.lists(st.one_of(ADDED, ADDED, FILES), max_size=30)


# An instance that was replaced is newer than one that came between, once the newest is gone.
REPLACED = [
    (0, (1, 0, 0), 2, 1),
    (1, (1, 0, 1), 2, 2),
    (2, (1, 0, 0), 2, 4),
    (3, (1, 0, 2), 2, 5),
    3,
]


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(STEPS)
@example(REPLACED)
def test_it_answers_as_one_built_anew_from_what_is_there(steps):
    index = Index("SCP")
    there: dict[int, tuple] = {}  # in the order in which they came
    for step in steps:
        if isinstance(step, int):
            assert index.remove(str(step)) == (there.pop(step, None) is not None)
            continue
        file, place, patient, says = step
        index.add(str(file), instance(place, patient, says))
        there = {f: one for f, one in there.items() if f != file and one[0] != place}
        there[file] = (place, patient, says)
    anew = Index("SCP")
    for file, one in there.items():
        anew.add(str(file), instance(*one))
    assert answers(index) == answers(anew)
    check_by_hand(index, there)


def check_by_hand(index: Index, there: dict[int, tuple]) -> None:
    """Compare names and counts with what the instances say, without an index."""
    newest = {}
    for place, patient, says in there.values():
        newest[place[0]] = instance(place, patient, says)
    found = {str(one.StudyInstanceUID): one for one in index.find(query("STUDY"), uids.StudyRoot)}
    assert set(found) == {f"1.{study}" for study in newest}
    for study, made in newest.items():
        one = found[f"1.{study}"]
        places = [place for place, _, _ in there.values() if place[0] == study]
        assert one.NumberOfStudyRelatedInstances == len(places)
        assert one.NumberOfStudyRelatedSeries == len({series for _, series, _ in places})
        assert one.get("StudyDescription", "") == made.get("StudyDescription", "")
        assert one.PatientID == made.PatientID
        if not made.PatientID:
            assert one.PatientName == made.get("PatientName", "")


@cache
def collected(place, patient, says) -> Collected:
    """Give an instance as the core collects it from a file."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.dcm")
        made = instance(place, patient, says)
        made.set_original_encoding(bool(says % 2), True)  # Implicit VR for some
        write(path, made)
        [found] = headers([path], Index.keys())
    assert isinstance(found, Collected)
    assert found.is_plain
    return found


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(STEPS, st.integers(1, 2))
@example(REPLACED, 1)
def test_what_was_collected_is_answered_as_what_was_decoded(steps, every):
    decoded, index = Index("SCP"), Index("SCP")
    for step in steps:
        if isinstance(step, int):
            assert index.remove(str(step)) == decoded.remove(str(step))
            continue
        file, *rest = step
        decoded.add(str(file), instance(*rest))
        index.add(str(file), instance(*rest) if file % every else collected(*rest))
    assert answers(index) == answers(decoded)


@settings(max_examples=80, deadline=None)
@given(STEPS)
def test_nothing_is_left_when_everything_is_removed(steps):
    index = Index()
    for step in steps:
        if not isinstance(step, int):
            index.add(str(step[0]), instance(*step[1:]))
    for file in range(8):
        index.remove(str(file))
    assert len(index) == 0
    assert (index._tree.patients, index._tree.studies, index._tree.files) == ({}, {}, {})


def names(found):
    return [(str(one.StudyInstanceUID), str(one.PatientName)) for one in found]


def named(patient, name, study, number=0, **values) -> Dataset:
    made = instance((study, 0, number), 0, 0)
    made.PatientID, made.PatientName = patient, name
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


@pytest.mark.parametrize("patient", ["", " ", None])
def test_without_an_id_each_study_has_a_patient_of_its_own(patient):
    index = Index()
    index.add("a", named(patient, "Alpha^Anna", 1))
    index.add("b", named(patient, "Beta^Bert", 2))
    found = index.find(query("STUDY"), uids.StudyRoot)
    assert names(found) == [("1.1", "Alpha^Anna"), ("1.2", "Beta^Bert")]
    asked = query("PATIENT")
    patients = [str(one.PatientName) for one in index.find(asked, uids.PatientRoot)]
    assert patients == ["Alpha^Anna", "Beta^Bert"]


def test_the_same_id_of_two_issuers_is_two_patients():
    index = Index()
    index.add("a", named("1", "Alpha^Anna", 1, IssuerOfPatientID="A"))
    index.add("b", named("1", "Beta^Bert", 2, IssuerOfPatientID="B"))
    found = index.find(query("STUDY", PatientName="Beta*"), uids.StudyRoot)
    assert names(found) == [("1.2", "Beta^Bert")]
    of_b = query("PATIENT", PatientID="1", IssuerOfPatientID="B")
    assert [str(path) for path in index.retrieve(of_b, uids.PatientRoot)] == ["b"]
    of_both = query("PATIENT", PatientID="1")
    assert [str(path) for path in index.retrieve(of_both, uids.PatientRoot)] == ["a", "b"]


def test_a_study_under_two_patient_ids_is_one_match_of_the_newest():
    index = Index()
    index.add("a", named("1", "Alpha^Anna", 1, 0))
    index.add("b", named("2", "Alpha^Corrected", 1, 1))
    [one] = index.find(query("STUDY"), uids.StudyRoot)
    assert (one.PatientID, str(one.PatientName)) == ("2", "Alpha^Corrected")
    assert one.NumberOfStudyRelatedInstances == 2
    [patient] = index.find(query("PATIENT"), uids.PatientRoot)
    assert patient.NumberOfPatientRelatedInstances == 2
    index.remove("b")
    [one] = index.find(query("STUDY"), uids.StudyRoot)
    assert (one.PatientID, one.NumberOfStudyRelatedInstances) == ("1", 1)


def test_a_corrected_instance_corrects_what_is_answered():
    index = Index()
    index.add("a", named("1", "Wrong^Name", 1, StudyDescription="old"))
    index.add("a", named("1", "Right^Name", 1))
    [one] = index.find(query("STUDY"), uids.StudyRoot)
    assert str(one.PatientName) == "Right^Name"
    assert one["StudyDescription"].is_empty


def test_a_removed_instance_says_nothing_more():
    index = Index()
    index.add("a", named("1", "First^Name", 1, 0))
    index.add("b", named("1", "Other^Name", 1, 1))
    assert names(index.find(query("STUDY"), uids.StudyRoot)) == [("1.1", "Other^Name")]
    index.remove("b")
    assert names(index.find(query("STUDY"), uids.StudyRoot)) == [("1.1", "First^Name")]


def test_a_file_that_cannot_be_added_again_is_not_there_any_more(tmp_path):
    index = Index()
    index.add("a", named("1", "Alpha^Anna", 1))
    with pytest.raises(DecodeError):
        index.add("a", named("1", "Alpha^Anna", 1, SOPInstanceUID=""))
    assert len(index) == 0
    index.add(tmp_path / "gone", named("1", "Alpha^Anna", 1))
    with pytest.raises(OSError, match="gone"):
        index.add(tmp_path / "gone")
    assert list(index.find(query("STUDY"), uids.StudyRoot)) == []


def test_the_same_series_uid_in_two_studies_is_two_series():
    index = Index()
    index.add("a", instance((1, 0, 0), 2, 1))
    index.add("b", instance((2, 0, 1), 5, 2))
    asked = query("SERIES", SeriesInstanceUID="2.0")
    found = list(index.find(asked, uids.PatientRoot, relational=True))
    assert [(one.StudyInstanceUID, one.PatientID) for one in found] == [("1.1", "1"), ("1.2", "2")]
    assert [one.NumberOfSeriesRelatedInstances for one in found] == [1, 1]
    asked = query("SERIES", StudyInstanceUID="1.2", SeriesInstanceUID="2.0")
    assert [str(path) for path in index.retrieve(asked, uids.StudyRoot)] == ["b"]


def test_the_same_instance_uid_in_two_studies_hides_neither():
    index = Index()
    index.add("a", instance((1, 0, 0), 2, 1))
    index.add("b", instance((2, 0, 0), 5, 2))
    assert len(index) == 2
    assert len(list(index.find(query("STUDY"), uids.StudyRoot))) == 2
    asked = query("IMAGE", SOPInstanceUID="3.0")
    both = index.retrieve(asked, uids.CompositeInstanceRoot)
    assert [str(path) for path in both] == ["a", "b"]
    index.remove("a")
    assert [str(path) for path in index.retrieve(asked, uids.CompositeInstanceRoot)] == ["b"]


def test_what_is_the_same_is_kept_once():
    """An instance more of a series takes a few elements, not all of them."""
    index = Index()
    for number in range(3):
        index.add(str(number), named("1", "Alpha^Anna", 1, number, InstanceNumber=str(number)))
    first, *others = index._tree.files.values()
    for other in others:
        assert all(
            ours is theirs for ours, theirs in zip(other.headers, first.headers[:3], strict=False)
        )
        own = {t for t, element in other.headers[3].items() if element is not first.headers[3][t]}
        assert own == {UNIQUE_KEYS["IMAGE"], 0x00200013}


def test_after_a_restart_the_file_that_was_written_last_is_the_newest(tmp_path):
    index = Index()
    for number, name in enumerate(["z", "a", "m"]):  # what was stored first is last by its name
        path = tmp_path / f"{name}.dcm"
        write(path, named("1", f"Name{number}^X", 1, number))
        os.utime(path, ns=(0, 10**18 + number))
        index.add(path)
    os.mkfifo(tmp_path / "pipe.dcm")
    anew = Index()
    assert anew.add_folder(tmp_path) == 3
    assert answers(anew) == answers(index)
    assert names(anew.find(query("STUDY"), uids.StudyRoot)) == [("1.1", "Name2^X")]


def test_more_values_than_anybody_needs_are_unknown():
    index = Index()
    long, deep = named("1", "A^B", 1), named("1", "A^B", 2)
    long.OtherPatientIDs = ["x"] * 1025
    deep.ProcedureCodeSequence = [Dataset() for _ in range(1025)]
    index.add("a", long)
    index.add("b", deep)
    for one in index.find(query("STUDY", OtherPatientIDs=""), uids.StudyRoot):
        assert one["OtherPatientIDs"].is_empty
        assert one["ProcedureCodeSequence"].is_empty
