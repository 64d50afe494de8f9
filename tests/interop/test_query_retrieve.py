"""C-FIND, C-GET and C-MOVE at every level between every SCU and every archive; and C-CANCEL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from dimse_rs import (
    AE,
    Association,
    Response,
    Responses,
    StatusError,
    StudyRoot,
    Verification,
    for_retrieve,
)
from tests.data.files import same_values
from tests.interop.conftest import Matrix, Receiver, Slowly
from tests.peers.archive import ARCHIVES, MOVER
from tests.peers.query_scu import QUERY_SCUS, Keys
from tests.peers.scu import Target
from tests.support.process import LOOPBACK

OURS = "dimse"
CANCELLED = 0xFE00

Start = Callable[[str], Target]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Pair every SCU with every archive; without --all-pairs only where we are one of them."""
    everything = metafunc.config.getoption("--all-pairs")
    if "scu" in metafunc.fixturenames:
        pairs = [(u, p) for u in QUERY_SCUS for p in ARCHIVES if everything or OURS in (u, p)]
        metafunc.parametrize(("scu", "scp"), pairs)
    else:
        metafunc.parametrize("scp", ARCHIVES)


@pytest.fixture(scope="session")
def items(instances: list[Path]) -> list[pydicom.Dataset]:
    """Return the instances that every archive was given, decoded."""
    return [pydicom.dcmread(path) for path in instances]


def part(items: list[pydicom.Dataset], level: str) -> tuple[dict[str, str], set[str]]:
    """Choose the unique keys of one entity, and what instances belong to it."""
    first = items[0]
    names = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
    chosen = {
        "PATIENT": ["PatientID"],
        "STUDY": names[:1],
        "SERIES": names[:2],
        "IMAGE": names,
    }[level]
    keys = {name: str(first[name].value) for name in chosen}
    inside = {
        str(item.SOPInstanceUID)
        for item in items
        if all(item[name].value == value for name, value in keys.items())
    }
    return keys, inside


def same_as_sent(folder: Path, wanted: set[str], instances: list[Path]) -> bool:
    """Compare a folder with the instances of these UIDs."""
    got = {str(pydicom.dcmread(path).SOPInstanceUID): path for path in folder.iterdir()}
    sent = {str(pydicom.dcmread(path).SOPInstanceUID): path for path in instances}
    assert got.keys() == wanted
    return all(same_values(sent[uid], path) for uid, path in got.items())


QUERIES: list[tuple[str, list[str], dict[str, str], int]] = [
    ("PATIENT", [], {"PatientID": "", "PatientName": ""}, 2),
    ("PATIENT", [], {"PatientID": "", "PatientName": "*MR1"}, 1),
    ("STUDY", [], {"PatientID": "1CT1", "StudyInstanceUID": "", "StudyDate": ""}, 2),
    ("STUDY", [], {"PatientID": "nobody", "StudyInstanceUID": ""}, 0),
    ("SERIES", ["StudyInstanceUID"], {"SeriesInstanceUID": "", "Modality": "CT"}, 1),
    (
        "IMAGE",
        ["StudyInstanceUID", "SeriesInstanceUID"],
        {"SOPInstanceUID": "", "InstanceNumber": ""},
        5,
    ),
]


@pytest.mark.service("C-FIND")
@pytest.mark.parametrize(
    ("level", "parents", "keys", "count"), QUERIES, ids=lambda value: str(value)[:20]
)
def test_find(
    scu: str,
    scp: str,
    level: str,
    parents: list[str],
    keys: Keys,
    count: int,
    archive: Start,
    need: Callable[..., None],
    items: list[pydicom.Dataset],
    matrix: Matrix,
) -> None:
    """Every match comes with the values that the instances have."""
    need(*QUERY_SCUS[scu].tools)
    asked = {name: str(items[0][name].value) for name in parents} | dict(keys)
    matches = QUERY_SCUS[scu].find(archive(scp), level, asked)
    if ARCHIVES[scp].repeats:
        matches = [match for at, match in enumerate(matches) if match not in matches[:at]]
    assert len(matches) == count
    known = [{key: str(item[key].value) for key in asked} for item in items]
    for match in matches:
        assert match in known
    matrix.add(scu, scp, f"C-FIND {level}", "-", f"{count} matches")


@pytest.mark.service("C-GET")
@pytest.mark.parametrize("level", ["PATIENT", "STUDY", "SERIES", "IMAGE"])
def test_get(
    scu: str,
    scp: str,
    level: str,
    archive: Start,
    need: Callable[..., None],
    instances: list[Path],
    items: list[pydicom.Dataset],
    matrix: Matrix,
    tmp_path: Path,
) -> None:
    """What comes back over the same association is what was stored."""
    need(*QUERY_SCUS[scu].tools)
    keys, wanted = part(items, level)
    QUERY_SCUS[scu].get(archive(scp), level, keys, tmp_path)
    assert same_as_sent(tmp_path, wanted, instances)
    matrix.add(scu, scp, f"C-GET {level}", "-", f"{len(wanted)} instances, values equal")


@pytest.mark.service("C-MOVE")
@pytest.mark.parametrize("level", ["PATIENT", "STUDY", "SERIES", "IMAGE"])
def test_move(
    scu: str,
    scp: str,
    level: str,
    archive: Start,
    need: Callable[..., None],
    receiver: Receiver,
    instances: list[Path],
    items: list[pydicom.Dataset],
    matrix: Matrix,
) -> None:
    """What arrives at the destination is what was stored."""
    need(*QUERY_SCUS[scu].tools)
    keys, wanted = part(items, level)
    target = archive(scp)
    receiver.clear()
    QUERY_SCUS[scu].move(target, level, keys)
    assert same_as_sent(receiver.folder, wanted, instances)
    if scp == OURS:
        assert receiver.originators == [MOVER] * len(wanted)  # the AE that invoked the C-MOVE
    matrix.add(scu, scp, f"C-MOVE {level}", "-", f"{len(wanted)} instances, values equal")


# ---- what only we can be told to do


def associate(target: Target) -> Association:
    """Associate for everything that an archive does."""
    contexts = [Verification, for_retrieve(StudyRoot)]
    return AE(MOVER).associate((LOOPBACK, target.port), called=target.title, contexts=contexts)


@pytest.mark.service("C-MOVE elsewhere")
def test_move_to_an_unknown_destination_fails(
    scp: str, archive: Start, items: list[pydicom.Dataset], matrix: Matrix
) -> None:
    """The archive says so, and goes on."""
    keys, _ = part(items, "STUDY")
    with associate(archive(scp)) as association:
        with pytest.raises(StatusError) as failure:
            list(association.c_move(keys, model=StudyRoot, level="STUDY", destination="NOBODY"))
        assert association.c_echo() == 0
    matrix.add(OURS, scp, "C-MOVE elsewhere", "-", f"refused: {int(failure.value.status):04X}H")


@pytest.mark.service("C-CANCEL of C-FIND")
def test_find_that_is_left_early_leaves_nothing_behind(
    scp: str, archive: Start, items: list[pydicom.Dataset], matrix: Matrix
) -> None:
    """After the first of many matches: the next answers are to the next requests."""
    keys = {"StudyInstanceUID": items[0].StudyInstanceUID, "SOPInstanceUID": ""}
    keys["SeriesInstanceUID"] = items[0].SeriesInstanceUID
    with associate(archive(scp)) as association:
        for _ in association.c_find(keys, model=StudyRoot, level="IMAGE"):
            break
        assert association.c_echo() == 0
        assert len(list(association.c_find(keys, model=StudyRoot, level="IMAGE"))) == 5
    matrix.add(OURS, scp, "C-CANCEL of C-FIND", "-", "association goes on")


def cancel_after_one(responses: Responses[Response], slowly: Slowly) -> Response:
    """Cancel when the first sub-operation is done, and say so; return the final response."""
    last = next(responses)
    responses.cancel()
    slowly.cancelled.set()
    for response in responses:
        last = response
    return last


@pytest.mark.service("C-CANCEL of C-GET")
def test_get_can_be_cancelled(
    scp: str, archive: Start, items: list[pydicom.Dataset], matrix: Matrix
) -> None:
    """The final status is Cancel, some instances never came, and the association goes on."""
    keys, wanted = part(items, "STUDY")
    with associate(archive(scp)) as association, Slowly() as slowly:
        responses = association.c_get(
            keys, model=StudyRoot, level="STUDY", into=lambda _: slowly.wait()
        )
        last = cancel_after_one(responses, slowly)
        assert association.c_echo() == 0
    assert last.status == CANCELLED
    assert 1 <= slowly.came < len(wanted)
    matrix.add(OURS, scp, "C-CANCEL of C-GET", "-", f"cancelled after {slowly.came} instances")


@pytest.mark.service("C-CANCEL of C-MOVE")
def test_move_can_be_cancelled(
    scp: str,
    archive: Start,
    receiver: Receiver,
    items: list[pydicom.Dataset],
    matrix: Matrix,
) -> None:
    """As for C-GET, with a destination that waits."""
    keys, wanted = part(items, "STUDY")
    target = archive(scp)
    receiver.clear()
    with associate(target) as association, Slowly() as receiver.slowly:
        responses = association.c_move(keys, model=StudyRoot, level="STUDY", destination=MOVER)
        last = cancel_after_one(responses, receiver.slowly)
        assert association.c_echo() == 0
    assert last.status == CANCELLED
    assert 1 <= receiver.slowly.came < len(wanted)
    result = f"cancelled after {receiver.slowly.came} instances"
    matrix.add(OURS, scp, "C-CANCEL of C-MOVE", "-", result)
