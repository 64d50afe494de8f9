"""Every Query/Retrieve SCU of the interop matrix behind one face: ours is one entry among others.

Queries and retrievals are on the study root unless the level is PATIENT or WORKLIST.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pydicom
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    ModalityWorklist,
    Model,
    PatientRoot,
    StudyRoot,
    for_retrieve,
)
from tests.peers.archive import MOVER
from tests.peers.scu import DCMTK_ENV, HERE, Target
from tests.support.process import LOOPBACK, must_succeed

Keys = Mapping[str, str]
"""Values by keyword, or by path as DCMTK has it: `ScheduledProcedureStepSequence[0].Modality`."""

WORKLIST = "WORKLIST"
"""Stands for a level: the query is for worklist items, which have none."""


@dataclass(frozen=True)
class QueryScu:
    """An SCU of C-FIND, C-GET and C-MOVE; retrievals raise when anything failed."""

    name: str
    tools: Sequence[str]
    find: Callable[[Target, str, Keys], list[dict[str, str]]]
    """(whom, level, keys): the values of the keys in each match."""
    get: Callable[[Target, str, Keys, Path], None]
    """(whom, level, keys, folder): retrieve into a folder."""
    move: Callable[[Target, str, Keys], None]
    """(whom, level, keys): have it moved to DIMSE_RS."""


def identifier(level: str, keys: Keys) -> Dataset:
    """Make the identifier of a request."""
    item = Dataset()
    if level != WORKLIST:
        item.QueryRetrieveLevel = level
    for path, value in keys.items():
        *sequences, keyword = path.split("[0].")
        inside = item
        for sequence in sequences:
            if sequence not in inside:
                setattr(inside, sequence, [Dataset()])
            inside = inside[sequence][0]
        setattr(inside, keyword, value)
    return item


def values(item: Dataset, keys: Keys) -> dict[str, str]:
    """Look the keys up."""
    found = {}
    for path in keys:
        *sequences, keyword = path.split("[0].")
        inside = item
        for sequence in sequences:
            inside = inside[sequence][0]
        found[path] = str(inside.get(keyword, ""))
    return found


def _model_of(level: str) -> Model:
    return PatientRoot if level == "PATIENT" else StudyRoot


def _dimse_find(to: Target, level: str, keys: Keys) -> list[dict[str, str]]:
    model = ModalityWorklist if level == WORKLIST else _model_of(level)
    with AE(MOVER).associate((LOOPBACK, to.port), contexts=model, called=to.title) as association:
        found = association.c_find(identifier(level, keys), model=model)
        return [values(match, keys) for match in found]


def _dimse_get(to: Target, level: str, keys: Keys, folder: Path) -> None:
    model = _model_of(level)
    contexts = for_retrieve(model)
    with AE(MOVER).associate((LOOPBACK, to.port), contexts=contexts, called=to.title) as assoc:
        *_, last = assoc.c_get(dict(keys), model=model, level=level, into=folder)
        assert last.status == 0, last


def _dimse_move(to: Target, level: str, keys: Keys) -> None:
    model = _model_of(level)
    with AE(MOVER).associate((LOOPBACK, to.port), contexts=model, called=to.title) as association:
        *_, last = association.c_move(dict(keys), model=model, level=level, destination=MOVER)
        assert last.status == 0, last


_DCMTK_MODELS = {"PATIENT": "-P", WORKLIST: "-W"}


def _dcmtk(tool: str, to: Target, level: str, keys: Keys, *options: str) -> None:
    argv = [tool, _DCMTK_MODELS.get(level, "-S"), "-aet", MOVER, "-aec", to.title, *options]
    if level != WORKLIST:
        argv += ["-k", f"QueryRetrieveLevel={level}"]
    for key, value in keys.items():
        argv += ["-k", f"{key}={value}" if value else key]
    must_succeed([*argv, LOOPBACK, str(to.port)], DCMTK_ENV)


def _dcmtk_find(to: Target, level: str, keys: Keys) -> list[dict[str, str]]:
    with TemporaryDirectory() as folder:
        _dcmtk("findscu", to, level, keys, "-X", "-od", folder)
        found = [pydicom.dcmread(path) for path in sorted(Path(folder).glob("rsp*.dcm"))]
    return [values(match, keys) for match in found]


def _pynetdicom(what: str, to: Target, level: str, keys: Keys, argument: str = "") -> str:
    script = str(HERE / "pynetdicom_query_scu.py")
    asked = identifier(level, keys).to_json()
    argv = [sys.executable, script, what, str(to.port), to.title, level, asked, argument]
    return must_succeed(argv)


def _pynetdicom_find(to: Target, level: str, keys: Keys) -> list[dict[str, str]]:
    told = _pynetdicom("find", to, level, keys).splitlines()
    return [values(Dataset.from_json(line), keys) for line in told]


def _pynetdicom_get(to: Target, level: str, keys: Keys, folder: Path) -> None:
    _pynetdicom("get", to, level, keys, str(folder))


def _pynetdicom_move(to: Target, level: str, keys: Keys) -> None:
    _pynetdicom("move", to, level, keys, MOVER)


QUERY_SCUS = {
    scu.name: scu
    for scu in [
        QueryScu("dimse", ["module:dimse_rs._core"], _dimse_find, _dimse_get, _dimse_move),
        QueryScu(
            "DCMTK",
            ["findscu", "getscu", "movescu"],
            _dcmtk_find,
            lambda to, level, keys, folder: _dcmtk("getscu", to, level, keys, "-od", str(folder)),
            lambda to, level, keys: _dcmtk("movescu", to, level, keys, "-aem", MOVER),
        ),
        QueryScu(
            "pynetdicom",
            ["module:pynetdicom"],
            _pynetdicom_find,
            _pynetdicom_get,
            _pynetdicom_move,
        ),
    ]
}
