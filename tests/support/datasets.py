"""Data sets by keyword: of performed steps, of worklists, and of a small archive."""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from dimse_rs import sop_class as uids


def data_set(**values) -> Dataset:
    """Make a data set with these attributes."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def attributes(**values) -> Dataset:
    """What an N-CREATE of a performed step has at least, and these."""
    least = {
        "ScheduledStepAttributesSequence": [data_set(StudyInstanceUID="1.2")],
        "PerformedProcedureStepID": "P1",
        "PerformedStationAETitle": "CT1",
        "PerformedProcedureStepStartDate": "20260101",
        "PerformedProcedureStepStartTime": "101500",
        "PerformedProcedureStepStatus": "IN PROGRESS",
        "Modality": "CT",
    }
    return data_set(**(least | values))


def ending(state: str, **values) -> Dataset:
    """What ends a performed step in this state, and these."""
    end = {
        "PerformedProcedureStepStatus": state,
        "PerformedProcedureStepEndDate": "20260101",
        "PerformedProcedureStepEndTime": "104500",
        "PerformedSeriesSequence": [data_set(SeriesInstanceUID="1.2.3", ProtocolName="HEAD")],
    }
    return data_set(**(end | values))


def query(level, **values) -> Dataset:
    return data_set(QueryRetrieveLevel=level, **values)


def instance(patient, study, series, number, **values) -> Dataset:
    made = data_set(
        SOPClassUID=uids.CTImageStorage,
        PatientID=patient,
        PatientName=f"Name^{patient}",
        StudyInstanceUID=f"1.{study}",
        StudyDate=f"2020010{study}",
        SeriesInstanceUID=f"1.{study}.{series}",
        Modality="CT",
        SOPInstanceUID=f"1.{study}.{series}.{number}",
        InstanceNumber=str(number),
    )
    made.update(data_set(**values))
    return made


def item(name, start, modality, station="CT1") -> Dataset:
    step = data_set(
        ScheduledStationAETitle=station,
        ScheduledProcedureStepStartDate=start[:8],
        ScheduledProcedureStepStartTime=start[8:],
        Modality=modality,
        ScheduledPerformingPhysicianName="Doc^Tor",
    )
    made = data_set(PatientName=name, PatientID=name[:3], StudyInstanceUID="1.2.3")
    made.ScheduledProcedureStepSequence = [step]
    return made


def save(made: Dataset, path: Path) -> None:
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = uids.ModalityWorklistInformationModelFind
    made.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    made.save_as(path, enforce_file_format=True)
