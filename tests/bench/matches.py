"""What the queries of the benchmark give: study-level identifiers as an archive answers them."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

LEVEL = "STUDY"


def query() -> Dataset:
    """Give an identifier that asks for all of them."""
    asked = match(0)
    for element in asked:
        element.value = ""
    asked.QueryRetrieveLevel = LEVEL
    return asked


def match(number: int) -> Dataset:
    """Make the identifier of one study."""
    found = Dataset()
    found.SpecificCharacterSet = "ISO_IR 192"
    found.StudyDate = "20240131"
    found.StudyTime = "101500"
    found.AccessionNumber = f"A{number:08d}"
    found.QueryRetrieveLevel = LEVEL
    found.RetrieveAETitle = "BENCH"
    found.ModalitiesInStudy = ["CT", "SR"]
    found.StudyDescription = "CT thorax with contrast"
    found.PatientName = f"Möller^Patient {number}"
    found.PatientID = f"P{number:08d}"
    found.PatientBirthDate = "19700101"
    found.PatientSex = "O"
    found.StudyInstanceUID = f"2.25.{10**20 + number}"
    found.StudyID = str(number)
    found.NumberOfStudyRelatedInstances = "600"
    return found


def encoded(found: Dataset) -> bytes:
    """Encode one in Explicit VR Little Endian."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_dataset(buffer, found)
    return bytes(buffer.getvalue())
