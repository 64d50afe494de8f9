"""The second half of the demo: find, get and move what was stored, and compare every byte.

`dimse scp` serves the folder that the first half filled; our client asks it.
"""

from __future__ import annotations

import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pydicom

from dimse_rs import AE, Association, Context, Response, StatusError, StudyRoot
from tests.data.files import data_set
from tests.peers.archive import MOVER, dimse_archive
from tests.peers.scp import dimse_scp
from tests.support.process import LOOPBACK

Studies = dict[str, dict[str, Path]]
"""Stored files by SOP Instance UID, by Study Instance UID."""


@dataclass(frozen=True)
class Trip:
    """What one way of retrieving brought."""

    title: str
    studies: int
    instances: int
    size: int
    seconds: float

    def row(self) -> list[str]:
        """Return the trip as a row of the table."""
        return [
            self.title,
            str(self.studies),
            str(self.instances),
            f"{self.size / 1e6:.1f} MB",
            f"{self.size / 1e6 / self.seconds:.0f}",
            f"{self.instances / self.seconds:.0f}",
        ]


def _stored(folder: Path) -> tuple[Studies, set[tuple[str, str]]]:
    """List what can be found again: what is in a study and a series; and what it is made of."""
    studies: Studies = defaultdict(dict)
    kinds = set()
    for path in sorted(folder.glob("*.dcm")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            item = pydicom.dcmread(path, stop_before_pixels=True)
        if item.get("StudyInstanceUID") and item.get("SeriesInstanceUID"):
            studies[str(item.StudyInstanceUID)][path.stem] = path
            kinds.add(
                (str(item.file_meta.MediaStorageSOPClassUID), item.file_meta.TransferSyntaxUID)
            )
    return studies, kinds


def _find(association: Association, studies: Studies) -> list[str]:
    """Look for every study, and for the instances of each; return what is wrong."""
    keys = {"StudyInstanceUID": "", "NumberOfStudyRelatedInstances": ""}
    found = {
        str(match.StudyInstanceUID): int(match.NumberOfStudyRelatedInstances)
        for match in association.c_find(keys, model=StudyRoot, level="STUDY")
    }
    expected = {uid: len(instances) for uid, instances in studies.items()}
    return [
        f"study {uid}: {expected.get(uid, 0)} instances stored, {found.get(uid, 0)} found"
        for uid in sorted(expected.keys() | found.keys())
        if expected.get(uid) != found.get(uid)
    ]


def _differences(studies: Studies, folder: Path) -> list[str]:
    """Compare what came with what is stored, byte for byte."""
    expected = {uid: path for instances in studies.values() for uid, path in instances.items()}
    came = {path.stem: path for path in folder.iterdir()}
    wrong = [f"{uid} did not come" for uid in sorted(expected.keys() - came.keys())]
    wrong += [f"{uid} was not asked for" for uid in sorted(came.keys() - expected.keys())]
    wrong += [
        f"{uid} differs from what is stored"
        for uid in sorted(expected.keys() & came.keys())
        if data_set(expected[uid]) != data_set(came[uid])
    ]
    return wrong


def _trip(
    title: str,
    studies: Studies,
    folder: Path,
    ask: Callable[[str], Iterable[Response]],
) -> tuple[Trip, list[str]]:
    """Retrieve study by study; measure and compare."""
    wrong = []
    start = time.perf_counter()
    for uid, instances in studies.items():
        try:
            *_, last = ask(uid)
        except StatusError as failure:
            wrong.append(f"{title} of study {uid}: {failure}")
            continue
        if last.status != 0 or last.completed != len(instances):
            wrong.append(f"{title} of study {uid}: {last}")
    seconds = time.perf_counter() - start
    size = sum(path.stat().st_size for path in folder.iterdir())
    count = sum(map(len, studies.values()))
    wrong += [f"{title}: {line}" for line in _differences(studies, folder)]
    return Trip(title, len(studies), count, size, seconds), wrong


def retrieve(stored: Path, work: Path) -> tuple[list[Trip], list[str]]:
    """Find, get and move everything; return what it brought, and what is wrong."""
    studies, kinds = _stored(stored)
    got, moved = work / "got", work / "moved"
    got.mkdir()
    moved.mkdir()
    storage = [Context(sop_class, syntax, scu=False, scp=True) for sop_class, syntax in kinds]
    with (
        dimse_scp(moved, "-aet", MOVER, "--mode", "fast") as receiver,
        dimse_archive(stored, receiver.target.port) as archive,
        AE(MOVER).associate(
            (LOOPBACK, archive.port), called=archive.title, contexts=[StudyRoot, storage]
        ) as association,
    ):

        def get(uid: str) -> Iterable[Response]:
            keys = {"StudyInstanceUID": uid}
            return association.c_get(keys, model=StudyRoot, level="STUDY", into=got)

        def move(uid: str) -> Iterable[Response]:
            keys = {"StudyInstanceUID": uid}
            return association.c_move(keys, model=StudyRoot, level="STUDY", destination=MOVER)

        wrong = _find(association, studies)
        trips = [_trip("C-GET", studies, got, get), _trip("C-MOVE", studies, moved, move)]
    return [trip for trip, _ in trips], [*wrong, *(line for _, lines in trips for line in lines)]
