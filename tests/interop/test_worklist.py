"""C-FIND of modality worklists between every SCU and every worklist SCP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dimse_rs import ModalityWorklistInformationModelFind
from tests.interop.conftest import Matrix
from tests.peers.archive import WORKLIST_TITLE, WORKLISTS
from tests.peers.query_scu import QUERY_SCUS, WORKLIST, Keys
from tests.peers.scu import Target

OURS = "dimse"
STEP = "ScheduledProcedureStepSequence[0]."
ITEMS = [("1", "Doe^Jane", "CT", "20260110"), ("2", "Doe^John", "MR", "20260111")]
ITEMS += [("3", "Roe^Jane", "MR", "20260112")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Pair every SCU with every worklist; without --all-pairs only where we are one of them."""
    everything = metafunc.config.getoption("--all-pairs")
    pairs = [(u, p) for u in QUERY_SCUS for p in WORKLISTS if everything or OURS in (u, p)]
    metafunc.parametrize(("scu", "scp"), pairs)


def write(folder: Path, patient_id: str, name: str, modality: str, date: str) -> None:
    """Write a worklist item with every attribute that has to be there (PS3.4 K.6.1.2.2)."""
    item, step = Dataset(), Dataset()
    item.SpecificCharacterSet = "ISO_IR 100"
    item.AccessionNumber = f"A{patient_id}"
    item.ReferringPhysicianName = "Good^Doctor"
    item.PatientName, item.PatientID = name, patient_id
    item.PatientBirthDate, item.PatientSex = "19700101", "O"
    item.StudyInstanceUID = generate_uid(entropy_srcs=[patient_id])
    item.RequestedProcedureID = f"P{patient_id}"
    item.RequestedProcedureDescription = "Head"
    step.Modality = modality
    step.ScheduledStationAETitle = "SCANNER"
    step.ScheduledProcedureStepStartDate = date
    step.ScheduledProcedureStepStartTime = "080000"
    step.ScheduledPerformingPhysicianName = "Good^Doctor"
    step.ScheduledProcedureStepDescription = "Head"
    step.ScheduledProcedureStepID = f"S{patient_id}"
    item.ScheduledProcedureStepSequence = [step]
    item.file_meta = FileMetaDataset()
    item.file_meta.MediaStorageSOPClassUID = ModalityWorklistInformationModelFind
    item.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    item.save_as(folder / f"{patient_id}.wl", enforce_file_format=True)


@pytest.fixture(scope="module")
def worklist(
    tmp_path_factory: pytest.TempPathFactory, need: Callable[..., None]
) -> Iterator[Callable[[str], Target]]:
    """Return a function that starts a worklist by name at its first use."""
    running: dict[str, Target] = {}
    with ExitStack() as stack:

        def start(name: str) -> Target:
            if name not in running:
                need(*WORKLISTS[name].tools)
                folder = tmp_path_factory.mktemp("worklist") / WORKLIST_TITLE
                folder.mkdir()
                for item in ITEMS:
                    write(folder, *item)
                running[name] = stack.enter_context(WORKLISTS[name].start(folder))
            return running[name]

        yield start


RETURNED = {"PatientID": "", f"{STEP}ScheduledProcedureStepID": ""}
QUERIES: list[tuple[str, Keys, list[str]]] = [
    ("everything", {}, ["1", "2", "3"]),
    ("modality", {f"{STEP}Modality": "MR"}, ["2", "3"]),
    ("name", {"PatientName": "Doe*"}, ["1", "2"]),
    ("range of dates", {f"{STEP}ScheduledProcedureStepStartDate": "20260111-"}, ["2", "3"]),
    ("nobody", {"PatientID": "4"}, []),
]


@pytest.mark.service("C-FIND worklist")
@pytest.mark.parametrize(("what", "keys", "wanted"), QUERIES, ids=[query[0] for query in QUERIES])
def test_worklist(
    scu: str,
    scp: str,
    what: str,
    keys: Keys,
    wanted: list[str],
    worklist: Callable[[str], Target],
    need: Callable[..., None],
    matrix: Matrix,
) -> None:
    """The items come that match, each with what was asked for."""
    need(*QUERY_SCUS[scu].tools)
    matches = QUERY_SCUS[scu].find(worklist(scp), WORKLIST, RETURNED | dict(keys))
    found = sorted(
        (match["PatientID"], match[f"{STEP}ScheduledProcedureStepID"]) for match in matches
    )
    assert found == [(patient_id, f"S{patient_id}") for patient_id in wanted]
    matrix.add(scu, scp, f"C-FIND worklist, {what}", "-", f"{len(found)} matches")
