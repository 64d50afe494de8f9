"""Every Query/Retrieve SCU of the interop matrix behind one face: ours is one entry among others.

Queries and retrievals are on the study root unless the level is PATIENT.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom

from dimse_rs import AE, Model, PatientRoot, StudyRoot, for_retrieve
from tests.peers.archive import MOVER
from tests.peers.process import LOOPBACK
from tests.peers.scu import DCMTK_ENV, HERE, Target, must_succeed

Keys = Mapping[str, str]


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


def model_of(level: str) -> Model:
    """The model that has this level, the study root if both have."""
    return PatientRoot if level == "PATIENT" else StudyRoot


def _dimse_find(to: Target, level: str, keys: Keys) -> list[dict[str, str]]:
    model = model_of(level)
    with AE(MOVER).associate((LOOPBACK, to.port), contexts=model, called=to.title) as association:
        found = association.c_find(dict(keys), model=model, level=level)
        return [{key: str(match.get(key, "")) for key in keys} for match in found]


def _dimse_get(to: Target, level: str, keys: Keys, folder: Path) -> None:
    model = model_of(level)
    contexts = for_retrieve(model)
    with AE(MOVER).associate((LOOPBACK, to.port), contexts=contexts, called=to.title) as assoc:
        *_, last = assoc.c_get(dict(keys), model=model, level=level, into=folder)
        assert last.status == 0, last


def _dimse_move(to: Target, level: str, keys: Keys) -> None:
    model = model_of(level)
    with AE(MOVER).associate((LOOPBACK, to.port), contexts=model, called=to.title) as association:
        *_, last = association.c_move(dict(keys), model=model, level=level, destination=MOVER)
        assert last.status == 0, last


def _dcmtk(tool: str, to: Target, level: str, keys: Keys, *options: str) -> None:
    argv = [tool, "-P" if level == "PATIENT" else "-S", "-aet", MOVER, "-aec", to.title, *options]
    argv += ["-k", f"QueryRetrieveLevel={level}"]
    for key, value in keys.items():
        argv += ["-k", f"{key}={value}" if value else key]
    must_succeed([*argv, LOOPBACK, str(to.port)], DCMTK_ENV)


def _dcmtk_find(to: Target, level: str, keys: Keys, folder: Path) -> list[dict[str, str]]:
    _dcmtk("findscu", to, level, keys, "-X", "-od", str(folder))
    found = [pydicom.dcmread(path) for path in sorted(folder.glob("rsp*.dcm"))]
    return [{key: str(match.get(key, "")) for key in keys} for match in found]


def _in_folder(
    find: Callable[[Target, str, Keys, Path], list[dict[str, str]]],
) -> Callable[[Target, str, Keys], list[dict[str, str]]]:
    def found(to: Target, level: str, keys: Keys) -> list[dict[str, str]]:
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            return find(to, level, keys, Path(folder))

    return found


def _pynetdicom(what: str, to: Target, level: str, keys: Keys, argument: str = "") -> str:
    script = str(HERE / "pynetdicom_query_scu.py")
    argv = [sys.executable, script, what, str(to.port), to.title, level, json.dumps(dict(keys))]
    return must_succeed([*argv, argument])


def _pynetdicom_find(to: Target, level: str, keys: Keys) -> list[dict[str, str]]:
    return [json.loads(line) for line in _pynetdicom("find", to, level, keys).splitlines()]


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
            _in_folder(_dcmtk_find),
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
