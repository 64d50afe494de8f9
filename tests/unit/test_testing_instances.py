"""Instances made for tests: of every storage class, the same each time, and as PS3.3 wants them."""

from __future__ import annotations

import io
import struct
import subprocess
import sys

import pydicom
import pytest
from pydicom.pixels import get_decoder

from dimse_rs import (
    CTImageStorage,
    DecodeError,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from dimse_rs.datasets import is_uid
from dimse_rs.sop_class import ALL_STORAGE, SOPClass
from dimse_rs.testing import make_instance, make_study, write_files
from dimse_rs.testing._profiles import CHECKED, PROFILES
from tests.support.process import run

# The classes that fill archives: all of these have to be without an error of dciodvfy.
MOST_USED = {
    "CTImageStorage",
    "MRImageStorage",
    "ComputedRadiographyImageStorage",
    "DigitalXRayImageStorageForPresentation",
    "DigitalMammographyXRayImageStorageForPresentation",
    "UltrasoundImageStorage",
    "UltrasoundMultiFrameImageStorage",
    "SecondaryCaptureImageStorage",
    "XRayAngiographicImageStorage",
    "PositronEmissionTomographyImageStorage",
    "NuclearMedicineImageStorage",
    "EnhancedSRStorage",
}


def encoded(instance):
    file = io.BytesIO()
    instance.save_as(file, enforce_file_format=True)
    return file.getvalue()


def keywords(classes):
    return [sop_class.keyword for sop_class in classes]


def test_the_most_used_classes_are_checked():
    assert set(keywords(CHECKED)) >= MOST_USED


@pytest.mark.parametrize("sop_class", CHECKED, ids=keywords(CHECKED))
def test_dciodvfy_finds_no_error(sop_class, need, tmp_path):
    need("dciodvfy")
    [path] = write_files([make_instance(sop_class)], tmp_path)
    done = run(["dciodvfy", str(path)])
    said = (done.stdout + done.stderr).splitlines()
    assert [line for line in said if line.startswith(("Error", "Abort"))] == []


def test_dciodvfy_finds_what_is_missing(need, tmp_path):
    need("dciodvfy")
    [path] = write_files([make_instance(KVP=None)], tmp_path)
    assert "Error - Missing attribute" in run(["dciodvfy", str(path)]).stderr


@pytest.mark.parametrize("sop_class", ALL_STORAGE, ids=keywords(ALL_STORAGE))
def test_every_storage_class_is_written_and_read_back(sop_class):
    made = make_instance(sop_class)
    data = encoded(made)
    assert len(data) < 8192
    read = pydicom.dcmread(io.BytesIO(data))
    assert read.SOPClassUID == sop_class
    assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID
    profile = PROFILES[sop_class]
    assert ("PatientID" in read) == ("StudyInstanceUID" in read) == profile.patient
    assert all(is_uid(read.get(name, "1.2")) for name in ("StudyInstanceUID", "SeriesInstanceUID"))


PIXELS = [sop_class for sop_class in ALL_STORAGE if PROFILES[sop_class].pixels]


@pytest.mark.parametrize("sop_class", PIXELS, ids=keywords(PIXELS))
def test_pixel_data_decodes(sop_class):
    made = pydicom.dcmread(io.BytesIO(encoded(make_instance(sop_class))))
    decoder = get_decoder(made.file_meta.TransferSyntaxUID)
    frames = [bytes(frame) for frame, _ in decoder.iter_buffer(made, raw=True)]
    assert len(set(frames)) == int(made.get("NumberOfFrames", 1))


def test_image_classes_have_pixels():
    without = [
        sop_class.keyword
        for sop_class in ALL_STORAGE
        if "ImageStorage" in sop_class.keyword and not PROFILES[sop_class].pixels
    ]
    assert without == []


def test_the_same_call_makes_the_same_instance_in_another_process():
    code = (
        "import io, sys\n"
        "from dimse_rs.testing import make_instance\n"
        "file = io.BytesIO()\n"
        "make_instance(InstanceNumber=7).save_as(file, enforce_file_format=True)\n"
        "sys.stdout.buffer.write(file.getvalue())"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=30
    )
    assert other.stdout == encoded(make_instance(InstanceNumber=7))


def test_what_is_given_replaces_what_would_be_there():
    made = make_instance(
        MRImageStorage,
        PatientName="Doe^Jane",
        SOPInstanceUID="1.2.3",
        EchoTime=None,
        Rows=4,
        Columns=2,
        RequestAttributesSequence=[{"ScheduledProcedureStepID": "S1"}],
    )
    assert made.PatientName == "Doe^Jane"
    assert made.SOPInstanceUID == made.file_meta.MediaStorageSOPInstanceUID == "1.2.3"
    assert "EchoTime" not in made
    assert made.RequestAttributesSequence[0].ScheduledProcedureStepID == "S1"
    assert struct.unpack("<8H", made.PixelData) == tuple(range(1, 9))


def test_other_depths_follow_from_their_attributes():
    made = make_instance(
        SecondaryCaptureImageStorage, BitsAllocated=16, BitsStored=10, HighBit=9, NumberOfFrames=2
    )
    assert len(made.PixelData) == 16 * 16 * 2 * 2
    assert max(struct.unpack("<512H", made.PixelData)) < 1 << 10
    assert make_instance(PixelData=b"\1\2").PixelData == b"\1\2"
    assert len(make_instance(SegmentationStorage, Rows=3, Columns=3).PixelData) == 4


def test_a_keyword_that_is_none_is_refused():
    with pytest.raises(DecodeError, match="PatientNam is not a keyword"):
        make_instance(PatientNam="x")


def test_a_class_that_nobody_knows_has_the_common_modules():
    made = make_instance("1.2.3.4")
    assert made.SOPClassUID == "1.2.3.4"
    assert made.Modality == "OT"
    assert "PixelData" not in made


def test_a_study_is_numbered_and_its_uids_hang_together():
    study = make_study(MRImageStorage, series=2, instances=3, PatientID="7")
    assert [(one.SeriesNumber, one.InstanceNumber) for one in study] == [
        (series, number) for series in (1, 2) for number in (1, 2, 3)
    ]
    assert len({one.StudyInstanceUID for one in study}) == 1
    assert len({one.SeriesInstanceUID for one in study}) == 2
    assert len({one.SOPInstanceUID for one in study}) == 6
    assert len({one.PixelData for one in study}) == 3
    assert {one.PatientID for one in study} == {"7"}


def test_other_studies_and_patients_have_other_uids():
    calls = [{}, {"StudyID": "2"}, {"PatientID": "2"}, {"SeriesNumber": 2}, {"InstanceNumber": 2}]
    made = [make_instance(**call) for call in calls]
    assert len({one.SOPInstanceUID for one in made}) == len(calls)
    assert len({one.StudyInstanceUID for one in made}) == 3
    assert make_instance(CTImageStorage) == make_instance()
    assert SOPClass.of(make_instance().SOPClassUID) == CTImageStorage
