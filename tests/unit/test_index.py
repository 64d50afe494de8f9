"""The index of stored instances: levels, computed keys, retrieval, and threads."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from dimse_rs import sop_class as uids
from dimse_rs.datasets import from_bytes, to_bytes
from dimse_rs.errors import DecodeError
from dimse_rs.services.index import Index
from dimse_rs.services.matching import IdentifierError, Rules
from dimse_rs.services.worklist import Worklist
from tests.support.datasets import data_set, instance, item, query, save


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def index() -> Index:
    """Patient A with studies 1 (series of 3 and 1 instances) and 2, patient B with study 3."""
    made = Index("ARCHIVE")
    for number in (1, 2, 3):
        made.add(f"a11{number}", instance("A", 1, 1, number))
    report = {"Modality": "SR", "SOPClassUID": uids.EnhancedSRStorage}
    made.add("a121", instance("A", 1, 2, 1, **report))
    made.add("a211", instance("A", 2, 1, 1, Modality="MR", SOPClassUID=uids.MRImageStorage))
    made.add(
        "b311", instance("B", 3, 1, 1, StudyDescription="Größe", SpecificCharacterSet="ISO_IR 100")
    )
    return made


def found(answers, keyword):
    return [answer.get(keyword) for answer in answers]


@pytest.mark.parametrize(
    ("model", "asked", "keyword", "expected"),
    [
        (uids.PatientRoot, query("PATIENT", PatientID=""), "PatientID", ["A", "B"]),
        (uids.PatientRoot, query("PATIENT", PatientName="NAME^b"), "PatientName", ["Name^B"]),
        (
            uids.PatientRoot,
            query("STUDY", PatientID="A", StudyInstanceUID=""),
            "StudyInstanceUID",
            ["1.1", "1.2"],
        ),
        (uids.PatientRoot, query("STUDY", PatientID="C", StudyInstanceUID=""), "StudyDate", []),
        (
            uids.StudyRoot,
            query("STUDY", PatientID="?", StudyInstanceUID="", StudyDate="20200102-"),
            "StudyInstanceUID",
            ["1.2", "1.3"],
        ),
        (
            uids.StudyRoot,
            query("STUDY", StudyInstanceUID=["1.3", "1.1", "1.9"]),
            "StudyInstanceUID",
            ["1.1", "1.3"],
        ),
        (
            uids.StudyRoot,
            query("SERIES", StudyInstanceUID="1.1", SeriesInstanceUID="", Modality="S*"),
            "SeriesInstanceUID",
            ["1.1.2"],
        ),
        (
            uids.StudyRoot,
            query("IMAGE", StudyInstanceUID="1.1", SeriesInstanceUID="1.1.1", InstanceNumber=""),
            "InstanceNumber",
            [1, 2, 3],
        ),
        (
            uids.PatientStudyOnly,
            query("STUDY", PatientID="B", StudyInstanceUID=""),
            "StudyInstanceUID",
            ["1.3"],
        ),
        (
            uids.StudyRoot,
            query("STUDY", ModalitiesInStudy="SR", StudyInstanceUID=""),
            "StudyInstanceUID",
            ["1.1"],
        ),
    ],
)
def test_one_response_per_entity(index, model, asked, keyword, expected):
    assert found(index.find(asked, model), keyword) == expected


def test_response_of_a_study(index):
    asked = query(
        "STUDY",
        StudyInstanceUID="1.1",
        PatientName="",
        ModalitiesInStudy="",
        SOPClassesInStudy="",
        NumberOfStudyRelatedSeries="",
        NumberOfStudyRelatedInstances="",
        AccessionNumber="",
        InstanceAvailability="",
        Modality="",
    )
    [answer] = index.find(asked, uids.StudyRoot)
    assert {element.keyword: element.value for element in answer} == {
        "QueryRetrieveLevel": "STUDY",
        "RetrieveAETitle": "ARCHIVE",
        "InstanceAvailability": "ONLINE",
        "StudyInstanceUID": "1.1",
        "PatientName": "Name^A",
        "ModalitiesInStudy": ["CT", "SR"],
        "SOPClassesInStudy": sorted([uids.CTImageStorage, uids.EnhancedSRStorage]),
        "NumberOfStudyRelatedSeries": 2,
        "NumberOfStudyRelatedInstances": 4,
        "AccessionNumber": "",
    }
    syntax = uids.ImplicitVRLittleEndian
    assert from_bytes(to_bytes(answer, syntax), syntax) == answer


def test_counts_of_patients_and_series(index):
    asked = query(
        "PATIENT",
        PatientID="A",
        NumberOfPatientRelatedStudies="",
        NumberOfPatientRelatedSeries="",
        NumberOfPatientRelatedInstances="",
    )
    [answer] = index.find(asked, uids.PatientRoot)
    counts = ("Studies", "Series", "Instances")
    assert [answer.get(f"NumberOfPatientRelated{what}") for what in counts] == [2, 3, 5]
    asked = query("SERIES", StudyInstanceUID="1.1", NumberOfSeriesRelatedInstances="")
    assert found(index.find(asked, uids.StudyRoot), "NumberOfSeriesRelatedInstances") == [3, 1]


def test_character_set_goes_with_the_value(index):
    asked = query("STUDY", StudyDescription="", StudyInstanceUID="")
    answers = list(index.find(asked, uids.StudyRoot))
    assert found(answers, "SpecificCharacterSet") == [None, None, "ISO_IR 100"]
    syntax = uids.ExplicitVRLittleEndian
    assert from_bytes(to_bytes(answers[2], syntax), syntax).StudyDescription == "Größe"


def test_relational_find(index):
    asked = query("IMAGE", PatientID="A", Modality="CT", SOPInstanceUID="")
    with pytest.raises(IdentifierError):
        index.find(asked, uids.PatientRoot)
    answers = index.find(asked, uids.PatientRoot, relational=True)
    assert found(answers, "SOPInstanceUID") == ["1.1.1.1", "1.1.1.2", "1.1.1.3"]


def test_rules_reach_the_matcher(index):
    index.add("c", instance("C", 4, 1, 1, StudyDate=""))
    asked = query("STUDY", StudyDate="20200103", StudyInstanceUID="")
    assert found(index.find(asked, uids.StudyRoot), "StudyInstanceUID") == ["1.3", "1.4"]
    strict = index.find(asked, uids.StudyRoot, rules=Rules(unknown_matches=False))
    assert found(strict, "StudyInstanceUID") == ["1.3"]


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [
        (
            uids.PatientRoot,
            query("PATIENT", PatientID="A"),
            ["a111", "a112", "a113", "a121", "a211"],
        ),
        (uids.PatientRoot, query("STUDY", PatientID="A", StudyInstanceUID="1.2"), ["a211"]),
        (uids.PatientRoot, query("STUDY", PatientID="B", StudyInstanceUID="1.2"), []),
        (uids.StudyRoot, query("STUDY", StudyInstanceUID=["1.2", "1.3", "1.2"]), ["a211", "b311"]),
        (
            uids.StudyRoot,
            query("SERIES", StudyInstanceUID="1.1", SeriesInstanceUID="1.1.2", Modality="CT"),
            ["a121"],
        ),
        (
            uids.StudyRoot,
            query(
                "IMAGE",
                StudyInstanceUID="1.1",
                SeriesInstanceUID="1.1.1",
                SOPInstanceUID=["1.1.1.3", "1.1.1.1"],
            ),
            ["a111", "a113"],
        ),
        (uids.CompositeInstanceRoot, query("IMAGE", SOPInstanceUID="1.3.1.1"), ["b311"]),
        (uids.WithoutBulkData, query("IMAGE", SOPInstanceUID="9"), []),
    ],
)
def test_retrieve_selects_the_files(index, model, asked, expected):
    assert [str(path) for path in index.retrieve(asked, model)] == expected


def test_relational_retrieve(index):
    asked = query("IMAGE", SOPInstanceUID="1.1.2.1")
    with pytest.raises(IdentifierError):
        index.retrieve(asked, uids.StudyRoot)
    assert index.retrieve(asked, uids.StudyRoot, relational=True) == [Path("a121")]


def test_removed_instances_take_empty_entities_with_them(index):
    assert len(index) == 6
    assert index.remove("b311")
    assert not index.remove("b311")
    assert found(index.find(query("PATIENT", PatientID=""), uids.PatientRoot), "PatientID") == ["A"]
    assert index.remove("a121")
    asked = query("STUDY", StudyInstanceUID="1.1", ModalitiesInStudy="")
    assert found(index.find(asked, uids.StudyRoot), "ModalitiesInStudy") == ["CT"]
    assert len(index) == 4


def test_an_instance_that_comes_again_replaces_the_first(index):
    index.add("again", instance("A", 1, 1, 2, InstanceNumber="22"))
    assert len(index) == 6
    asked = query("IMAGE", StudyInstanceUID="1.1", SeriesInstanceUID="1.1.1", InstanceNumber="")
    assert found(index.find(asked, uids.StudyRoot), "InstanceNumber") == [1, 3, 22]
    assert not index.remove("a112")
    index.add("again", instance("B", 3, 1, 2))  # another instance in the same file
    assert len(index) == 6
    asked = query("STUDY", StudyInstanceUID="1.1")
    assert [str(path) for path in index.retrieve(asked, uids.StudyRoot)] == ["a111", "a113", "a121"]


def test_the_newest_instance_says_it_all(index):
    index.add("more", instance("A", 1, 1, 4, StudyID="S1", StudyDate="20991231"))
    asked = query("STUDY", StudyInstanceUID="1.1", StudyID="", StudyDate="")
    [answer] = index.find(asked, uids.StudyRoot)
    assert (answer.StudyID, answer.StudyDate) == ("S1", "20991231")
    index.add("less", instance("A", 1, 1, 5, StudyDate=""))
    [answer] = index.find(asked, uids.StudyRoot)
    assert (answer.StudyID, answer.StudyDate) == ("", "")


def test_patients_without_id_are_found_but_not_retrieved_by_another(index):
    index.add("x", instance("", 5, 1, 1))
    answers = index.find(query("PATIENT", PatientID="A"), uids.PatientRoot)
    assert found(answers, "PatientID") == ["A", ""]  # unknown matches every key
    paths = index.retrieve(query("PATIENT", PatientID="A"), uids.PatientRoot)
    assert Path("x") not in paths
    assert index.retrieve(query("STUDY", StudyInstanceUID="1.5"), uids.StudyRoot) == [Path("x")]


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_an_instance_without_a_uid_is_refused(index, keyword):
    with pytest.raises(DecodeError, match="has no"):
        index.add("x", instance("A", 1, 1, 9, **{keyword: ""}))
    assert len(index) == 6


def test_values_that_are_too_long_or_cannot_be_read_are_unknown(index):
    syntax = uids.ExplicitVRLittleEndian
    made = instance("L", 6, 1, 1)
    made.add_new(0x00204000, "LT", "x" * 70_000)
    data = to_bytes(made, syntax) + b"\x28\0\x10\0US\x03\0abc" + b"\x28\0\x11\0ZZ\0\0"
    index.add("x", from_bytes(data, syntax))
    asked = query("IMAGE", StudyInstanceUID="1.6", SeriesInstanceUID="1.6.1", SOPInstanceUID="")
    asked.ImageComments = ""
    asked.Rows = asked.Columns = None
    [answer] = index.find(asked, uids.StudyRoot)
    assert answer["ImageComments"].is_empty
    assert answer["Rows"].is_empty
    assert answer["Columns"].is_empty


def test_folder_of_real_files(tmp_path):
    files = Path(pydicom.__file__).parent / "data" / "test_files"
    names = ["CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "JPEG2000.dcm", "image_dfl.dcm"]
    for name in names:
        (tmp_path / name).write_bytes((files / name).read_bytes())
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / "CT_small.dcm~1~").write_bytes((files / "CT_small.dcm").read_bytes())
    (tmp_path / "short.dcm").write_bytes((files / "CT_small.dcm").read_bytes()[:150])
    index = Index()
    assert index.add_folder(tmp_path) == len(index) == len(names)
    asked = query("STUDY", StudyInstanceUID="", PatientID="1CT1", ModalitiesInStudy="")
    [answer] = index.find(asked, uids.StudyRoot, rules=Rules(unknown_matches=False))
    assert answer.ModalitiesInStudy == "CT"
    asked = query("STUDY", StudyInstanceUID=answer.StudyInstanceUID)
    assert index.retrieve(asked, uids.StudyRoot) == [tmp_path / "CT_small.dcm"]


@pytest.mark.slow
def test_readers_see_whole_entities_while_one_adds():
    index = Index()
    index.add("0", instance("A", 1, 1, 0))
    done = threading.Event()
    failures: list[BaseException] = []

    def search():
        asked = query("IMAGE", SOPInstanceUID="", InstanceNumber="", PatientID="")
        counts = query("STUDY", StudyInstanceUID="", NumberOfStudyRelatedInstances="")
        try:
            while True:
                last = done.is_set()
                answers = list(index.find(asked, uids.PatientRoot, relational=True))
                assert all(answer.PatientID == "A" for answer in answers)
                assert all(not answer["InstanceNumber"].is_empty for answer in answers)
                list(index.find(counts, uids.StudyRoot))
                index.retrieve(query("PATIENT", PatientID="A"), uids.PatientRoot)
                if last:
                    assert len(answers) == 201
                    return
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=search) for _ in range(4)]
    for reader in readers:
        reader.start()
    for number in range(1, 401):
        index.add(str(number), instance("A", 1 + number % 3, number % 5, number))
        if number % 2:
            index.remove(str(number))
    done.set()
    for reader in readers:
        reader.join(20)
    assert failures == []
    assert not any(reader.is_alive() for reader in readers)


# ---- worklist


def steps(**values) -> Dataset:
    return data_set(PatientName="", ScheduledProcedureStepSequence=[data_set(**values)])


@pytest.fixture
def worklist(tmp_path) -> Worklist:
    save(item("Doe^John", "202001011000", "CT"), tmp_path / "1.wl")
    save(item("Roe^Jane", "202001021600", "MR", "MR1"), tmp_path / "2.dcm")
    save(item("Poe^Edgar", "202001030800", "CT"), tmp_path / "3.wl")
    save(item("Other^Suffix", "202001030800", "CT"), tmp_path / "4.txt")
    save(data_set(PatientName="No^Step"), tmp_path / "5.wl")
    (tmp_path / "6.wl").write_bytes(b"no DICOM")
    return Worklist(tmp_path)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (steps(), ["Doe^John", "Roe^Jane", "Poe^Edgar"]),
        (steps(Modality="CT"), ["Doe^John", "Poe^Edgar"]),
        (steps(Modality="CT", ScheduledStationAETitle="MR1"), []),
        (steps(ScheduledPerformingPhysicianName="doc*", Modality="MR"), ["Roe^Jane"]),
        (steps(ScheduledProcedureStepStartDate="20200102-"), ["Roe^Jane", "Poe^Edgar"]),
        (
            steps(
                ScheduledProcedureStepStartDate="20200101-20200103",
                ScheduledProcedureStepStartTime="1200-0900",
            ),
            ["Roe^Jane", "Poe^Edgar"],
        ),
        (steps(ScheduledProcedureStepID="1"), []),
        (data_set(PatientName="*o*", PatientID="Doe"), ["Doe^John"]),
    ],
)
def test_worklist_matching(worklist, asked, expected):
    assert found(worklist.find(asked), "PatientName") == expected


def test_worklist_follows_its_folder(worklist):
    folder = worklist.folder
    (folder / "1.wl").unlink()
    save(item("New^One", "202001011000", "CT"), folder / "0.wl")
    save(item("Changed^Name^Longer", "202001030800", "CT"), folder / "3.wl")
    answers = worklist.find(steps(Modality="CT"))
    assert found(answers, "PatientName") == ["New^One", "Changed^Name^Longer"]
    assert worklist.items()[0] is worklist.items()[0]


def test_worklist_refuses_at_once(worklist, tmp_path):
    two = data_set(ScheduledProcedureStepSequence=[Dataset(), Dataset()])
    with pytest.raises(IdentifierError):
        worklist.find(two)
    with pytest.raises(OSError, match="nowhere"):
        Worklist(tmp_path / "nowhere").find(steps())
