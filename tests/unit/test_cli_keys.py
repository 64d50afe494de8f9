"""`-k` on the command line: what becomes of a key, and which are refused."""

from __future__ import annotations

import warnings

import pytest
from pydicom.dataset import Dataset

from dimse_rs.cli.exits import CliError, ExitCode
from dimse_rs.cli.keys import apply, read_file
from dimse_rs.datasets import from_bytes, to_bytes, write_encoded

EXPLICIT = "1.2.840.10008.1.2.1"


def sent(*keys, dataset=None, syntax=EXPLICIT):
    """Give what a peer gets."""
    made = Dataset() if dataset is None else dataset
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # queries are not values: pydicom has no say
        apply(keys, made)
        return from_bytes(to_bytes(made, syntax), syntax)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "keyword", "value"),
    [
        ("0010,0010=DOE*", "PatientName", "DOE*"),
        ("(0010,0010)=DOE*", "PatientName", "DOE*"),
        ("00100010=DOE*", "PatientName", "DOE*"),
        ("PatientName=DOE^J?HN", "PatientName", "DOE^J?HN"),
        ("PatientName", "PatientName", ""),
        ("PatientName=", "PatientName", ""),
        ("PatientComments=a=b\\c", "PatientComments", "a=b\\c"),
        ("StudyDate=20200101-20201231", "StudyDate", "20200101-20201231"),
        ("StudyTime=-1200", "StudyTime", "-1200"),
        ("StudyInstanceUID=1.2\\1.3", "StudyInstanceUID", ["1.2", "1.3"]),
        ("SeriesNumber=4", "SeriesNumber", 4),
        ("Rows=512\\256", "Rows", [512, 256]),
        ("RecommendedDisplayFrameRateInFloat=1.5", "RecommendedDisplayFrameRateInFloat", 1.5),
        ("PatientWeight", "PatientWeight", None),
        ("FrameIncrementPointer=(0018,1063)", "FrameIncrementPointer", 0x00181063),
        ("ProcedureCodeSequence", "ProcedureCodeSequence", []),
    ],
)
def test_a_key_sets_an_element(key, keyword, value):
    for syntax in (EXPLICIT, "1.2.840.10008.1.2"):
        got = sent(key, syntax=syntax)
        assert len(got) == 1
        assert got[keyword].value == value


def test_paths_make_the_items_that_they_go_through():
    got = sent(
        "(0040,0100)[0].(0008,0060)=CT",
        "ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate=20260101-",
        "ScheduledProcedureStepSequence[0].ScheduledProtocolCodeSequence[1].CodeValue=X",
        "RequestedProcedureCodeSequence[0]",
    )
    [step] = got.ScheduledProcedureStepSequence
    assert (step.Modality, step.ScheduledProcedureStepStartDate) == ("CT", "20260101-")
    empty, code = step.ScheduledProtocolCodeSequence
    assert (len(empty), code.CodeValue) == (0, "X")
    assert [len(item) for item in got.RequestedProcedureCodeSequence] == [0]


def test_a_later_key_wins_and_a_key_wins_over_a_file(tmp_path):
    file = tmp_path / "query.dcm"
    write_encoded(file, to_bytes(sent("PatientID=1", "StudyID=2"), EXPLICIT), EXPLICIT, "1.2.3")
    got = sent("PatientID=3", "PatientID=4", dataset=read_file(str(file)))
    assert (got.PatientID, got.StudyID) == ("4", "2")


def test_text_beyond_ascii_goes_as_utf_8_unless_said_otherwise():
    got = sent("PatientName=Müller", "ScheduledProcedureStepSequence[0].Modality=CT")
    assert (got.SpecificCharacterSet, got.PatientName) == ("ISO_IR 192", "Müller")
    got = sent("(0040,0100)[0].ScheduledPerformingPhysicianName=Müller")
    assert got.ScheduledProcedureStepSequence[0].ScheduledPerformingPhysicianName == "Müller"
    got = sent("SpecificCharacterSet=ISO_IR 100", "PatientName=Müller")
    assert (got.SpecificCharacterSet, got.PatientName) == ("ISO_IR 100", "Müller")


def test_private_and_unknown_elements():
    got = sent("0009,0010=ACME", "0009,1001=x", "0018,0001=y")
    assert (got[0x00090010].VR, got[0x00090010].value) == ("LO", "ACME")
    assert (got[0x00091001].VR, got[0x00091001].value) == ("UN", b"x\0")
    assert got[0x00180001].VR == "UN"


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("NoSuchThing=1", "not a keyword"),
        ("", "not a tag or keyword"),
        ("=1", "not a tag or keyword"),
        ("0010=1", "not a tag or keyword"),
        ("PatientName[0", "not a tag or keyword"),
        ("(0040,0100).Modality=CT", "goes through items"),
        ("PatientID[0].Modality=CT", "not a sequence"),
        ("(0040,0100)=1", "a sequence has no value"),
        ("(0040,0100)[0]=1", "an item has no value"),
        ("(0040,0100)[1000].Modality", "not a tag or keyword"),
        ("Rows=1.5", "does not fit VR US"),
        ("SeriesNumber=one", "does not fit VR IS"),
        ("0002,0010=1.2", "groups below 0008"),
        ("0000,0100=1", "groups below 0008"),
    ],
)
def test_what_is_no_key_is_a_usage_error(key, why):
    with pytest.raises(CliError, match=why) as refused:
        apply([key], Dataset())
    assert refused.value.code == ExitCode.USAGE
    assert refused.value.message.startswith(f"-k {key.partition('=')[0]}: ")
    assert "literal" not in str(refused.value.__context__)


def test_a_file_that_cannot_be_read_is_an_input_error(tmp_path):
    (tmp_path / "text").write_text("no DICOM")
    for name in ("missing", "text"):
        with pytest.raises(CliError, match=name) as refused:
            read_file(str(tmp_path / name))
        assert refused.value.code == ExitCode.INPUT
