"""An index of stored instances in memory, for a Query/Retrieve SCP over a folder (PS3.4 Annex C).

Keeps the attributes of `hierarchy` of every instance, by level; what is the same in the next one of
its series is kept once. Nothing is written. It takes a few kilobytes of memory an instance: for
folders, not for archives.

What is answered depends on the instances that are there and their order alone, never on what was
there before:

- A patient is Patient ID and Issuer of Patient ID. Without an ID each study has a patient of its
  own: two emergencies are not one person.
- A study is one, by its UID. It belongs to the patient that its newest instance names.
- A series is one within its study, an instance one within its series. The same UID below another
  parent is another entity: neither takes the place of the other.
- What an entity says comes from its newest instance, the one that was added last.
- Entities come in the order of their newest instances.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from dimse_rs import Model, log
from dimse_rs.datasets import quietly, read, undecoded
from dimse_rs.errors import DecodeError

from .hierarchy import (
    AVAILABILITY,
    LEVELS,
    RETRIEVE_AE_TITLE,
    UNIQUE_KEYS,
    Find,
    check_find,
    check_retrieve,
    level_of,
    never,
    tags,
)
from .matching import QUERY, Rules

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

    _FilePath = Path
else:
    _FilePath = type(Path())

__all__ = ["Index"]

_logger = log.get(log.SERVER)

_CHARACTER_SET: Final = 0x00080005
_TIMEZONE: Final = 0x00080201
_OF_ALL_LEVELS: Final = (_CHARACTER_SET, _TIMEZONE)
_ISSUER: Final = 0x00100021
_MODALITY: Final = 0x00080060
_SOP_CLASS: Final = 0x00080016
_LONGEST_VALUE: Final = 10240
"""Bytes of a value that is kept, the longest LT; longer ones count as unknown."""
_MOST_VALUES: Final = 1024
"""Values of an element, and elements of a sequence, that are kept; of more they count as unknown:
what a search costs is not for the peer to choose that stores."""

_PATIENT, _STUDY, _SERIES, _IMAGE = range(4)

_Header: TypeAlias = "dict[int, DataElement]"


class _StoredFile(_FilePath):
    """The path of an instance that the index holds, and which one that is: the file may be gone."""

    sop_instance: str


class _Instance:
    """An instance: its file, and what it says, by level."""

    __slots__ = ("above", "headers", "name", "number", "path")

    above: _Node

    def __init__(self, name: str, path: Path, headers: tuple[_Header, ...]) -> None:
        self.name = name
        self.path = path
        self.headers = headers
        self.number = 0  # in the order in which they came

    @property
    def newest(self) -> _Instance:
        return self

    def text(self, depth: int, tag: int) -> str:
        element = self.headers[depth].get(tag)
        return "" if element is None else str(element.value).strip(" \0")

    @property
    def patient(self) -> tuple[str, str]:
        """What names its patient: ID and issuer, or no ID and the study."""
        patient_id = self.text(_PATIENT, UNIQUE_KEYS["PATIENT"])
        if not patient_id:
            return "", self.text(_STUDY, UNIQUE_KEYS["STUDY"])
        return patient_id, self.text(_PATIENT, _ISSUER)


class _Node:
    """A patient, study or series. There is none without an instance, once it can be seen.

    Attributes:
        above: the patient of a study, the study of a series.
        newest: the last instance that was added below it.
        series: how many there are in a patient.
        instances: how many there are in a patient or study.
    """

    __slots__ = ("above", "children", "instances", "name", "newest", "series")

    above: _Node
    newest: _Instance

    def __init__(self, name: Any) -> None:
        self.name = name
        self.children: dict[str, Any] = {}
        self.series = 0
        self.instances = 0


class _Study(_Node):
    """A study, and how often its series and instances have each modality and SOP class."""

    __slots__ = ("lists", "tallies")

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.tallies: dict[int, dict[str, int]] = {_MODALITY: {}, _SOP_CLASS: {}}
        # Who makes a list puts it where it looked for it: one that is old by then is not seen.
        self.lists: dict[int, list[str]] = {}

    def tally(self, tag: int, text: str, change: int) -> None:
        if not text:
            return
        tally = self.tallies[tag]
        before = tally.get(text, 0)
        tally[text] = before + change
        if not tally[text]:
            del tally[text]
        if not before or text not in tally:
            self.lists = {}


_Chain: TypeAlias = tuple[Any, ...]


class Index:
    """Instances and the files they are in. Any number of threads may search while one adds.

    Attributes:
        retrieve_ae_title: put into every response as (0008,0054): where the instances can be
            retrieved from.
    """

    def __init__(self, retrieve_ae_title: str = "") -> None:
        """Start empty."""
        self.retrieve_ae_title = retrieve_ae_title
        self._patients: dict[str, dict[str, _Node]] = {}  # by ID, then by issuer or study
        self._studies: dict[str, _Study] = {}
        self._where: dict[Path, _Instance] = {}
        self._number = 0
        # Held while something changes or is copied, for as long as that takes; never while there
        # is matching.
        self._lock = threading.Lock()

    # ---- what is in it

    @quietly
    def add(self, path: str | PathLike[str], dataset: Dataset | None = None) -> None:
        """Add an instance; one with the same UIDs, or in the same file, is replaced.

        When it cannot be added what the file held before is removed: it is not there any more.

        Args:
            path: its file; names the instance for `remove`.
            dataset: its attributes; default they are read from the file, up to the pixels.

        Raises:
            DecodeError: it is not a whole DICOM file, or lacks a UID of study, series or instance.
            LimitExceeded: reading it takes more than the default `Limits`.
            OSError: it cannot be read.
        """
        where = Path(path)
        try:
            headers = _by_level(_header(_read(where) if dataset is None else dataset))
            instance = _Instance("", where, headers)
            names = [
                instance.text(depth, UNIQUE_KEYS[level]) for depth, level in enumerate(LEVELS)
            ][1:]
            for level, name in zip(LEVELS[1:], names, strict=True):
                if not name:
                    tag = UNIQUE_KEYS[level]
                    missing = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
                    raise DecodeError(f"{fspath(where)} has no {missing}", section="PS3.4 C.6")
        except BaseException:
            self.remove(where)
            raise
        study, series, instance.name = names
        with self._lock:
            like = self._like(study, series, instance)
        if like is not None:
            instance.headers = tuple(map(_shared, headers, like.headers))
        with self._lock:
            self._remove(where)
            self._put(instance, study, series)

    def add_folder(self, folder: str | PathLike[str]) -> int:
        """Add every instance below a folder; anything else is passed over.

        They are added in the order in which the files were written, and of names where that is the
        same: so what is newest is the same after a restart.

        Returns:
            How many were added.
        """
        count = 0
        for _, path in sorted(_files(folder)):
            try:
                self.add(path)
            except (DecodeError, OSError) as error:
                _logger.info("not in the index: %s", error, extra={"code": "not-indexed"})
            else:
                count += 1
        return count

    def remove(self, path: str | PathLike[str]) -> bool:
        """Remove the instance of a file; whether there was one."""
        with self._lock:
            return self._remove(Path(path))

    def __len__(self) -> int:
        """Count the instances."""
        return len(self._where)

    def __repr__(self) -> str:
        """Show the title, and how much is in it."""
        counts = f"{len(self._studies)} studies, {len(self._where)} instances"
        return f"<Index {self.retrieve_ae_title!r}, {counts}>"

    # ---- changes, with the lock held

    def _like(self, study: str, series: str, instance: _Instance) -> _Instance | None:
        """Find an instance that probably says the same about its series, study or patient."""
        known = self._studies.get(study)
        if known is not None:
            node: _Node = known.children.get(series, known)
            return node.newest
        patient_id, issuer = instance.patient
        patient = self._patients.get(patient_id, {}).get(issuer)
        return None if patient is None else patient.newest

    def _put(self, instance: _Instance, study_name: str, series_name: str) -> None:
        study = self._studies.get(study_name)
        if study is None:
            study = self._studies[study_name] = _Study(study_name)
        else:
            self._uncount(study)
        series = study.children.get(series_name)
        if series is None:
            series = study.children[series_name] = _Node(series_name)
            series.above = study
        else:
            study.tally(_MODALITY, series.newest.text(_SERIES, _MODALITY), -1)
        replaced = series.children.pop(instance.name, None)  # the new one is the last
        if replaced is not None:
            study.instances -= 1
            study.tally(_SOP_CLASS, replaced.text(_IMAGE, _SOP_CLASS), -1)
            del self._where[replaced.path]
        self._number += 1
        instance.number = self._number
        instance.above = series
        series.children[instance.name] = self._where[instance.path] = instance
        series.newest = study.newest = instance
        study.instances += 1
        study.tally(_SOP_CLASS, instance.text(_IMAGE, _SOP_CLASS), 1)
        study.tally(_MODALITY, instance.text(_SERIES, _MODALITY), 1)
        self._belong(study)

    def _remove(self, path: Path) -> bool:
        instance = self._where.pop(path, None)
        if instance is None:
            return False
        series = instance.above
        study = cast("_Study", series.above)
        self._uncount(study)
        study.instances -= 1
        study.tally(_SOP_CLASS, instance.text(_IMAGE, _SOP_CLASS), -1)
        study.tally(_MODALITY, series.newest.text(_SERIES, _MODALITY), -1)
        del series.children[instance.name]
        if series.children:
            series.newest = next(reversed(series.children.values()))
            study.tally(_MODALITY, series.newest.text(_SERIES, _MODALITY), 1)
        else:
            del study.children[series.name]
        if study.children:
            if study.newest is instance:
                study.newest = _newest(study)
            self._belong(study)
        else:
            del self._studies[study.name]
            self._depart(study)
        return True

    @staticmethod
    def _uncount(study: _Study) -> None:
        """Take a study out of its patient's account, until it belongs again."""
        patient = study.above
        patient.series -= len(study.children)
        patient.instances -= study.instances

    def _belong(self, study: _Study) -> None:
        """Give a study that has changed to the patient it names now."""
        patient_id, issuer = study.newest.patient
        of_id = self._patients.setdefault(patient_id, {})
        patient = of_id.get(issuer)
        if patient is None:
            patient = of_id[issuer] = _Node((patient_id, issuer))
        before: _Node | None = getattr(study, "above", None)
        if before is not patient:
            patient.children[study.name] = study
            study.above, departed = patient, before
            if departed is not None:
                self._depart(study, departed)
        patient.series += len(study.children)
        patient.instances += study.instances
        self._choose(patient, study)

    def _depart(self, study: _Study, patient: _Node | None = None) -> None:
        """Take a study from a patient, who goes with the last."""
        patient = study.above if patient is None else patient
        del patient.children[study.name]
        if patient.children:
            self._choose(patient, study)
            return
        patient_id, issuer = patient.name
        del self._patients[patient_id][issuer]
        if not self._patients[patient_id]:
            del self._patients[patient_id]

    @staticmethod
    def _choose(patient: _Node, study: _Study) -> None:
        """Say which is the newest instance of a patient, one of whose studies has changed."""
        newest: _Instance | None = getattr(patient, "newest", None)
        belongs = study.name in patient.children
        if newest is None or (belongs and study.newest.number >= newest.number):
            patient.newest = study.newest
        elif newest.above.above is study:
            patient.newest = _newest(patient)

    # ---- looking things up

    def find(
        self,
        identifier: Dataset,
        model: Model,
        *,
        relational: bool = False,
        rules: Rules = QUERY,
    ) -> Iterator[Dataset]:
        """Find entities: patients, studies, series or instances, as the identifier says.

        Args:
            identifier: of a C-FIND request.
            model: PatientRoot, StudyRoot or PatientStudyOnly.
            relational: whether relational queries were agreed.
            rules: what else was agreed.

        Returns:
            The response identifiers, one by one as they are found.

        Raises:
            IdentifierError: it cannot be served; raised here, not by the iterator.

        Source: PS3.4 C.4.1.
        """
        return self.found(check_find(identifier, model, relational=relational, rules=rules))

    def found(self, asked: Find) -> Iterator[Dataset]:
        """Do as `find`, for an identifier that was checked before; ends when it is cancelled."""
        depth = LEVELS.index(asked.level)
        for chain in self._walk(depth, asked.unique, cancelled=asked.cancelled):
            entity = _Entity(chain, self)
            if asked.matcher.matches(entity):
                response = asked.matcher.respond(entity)
                response.add(entity.get(RETRIEVE_AE_TITLE))
                yield response

    @quietly
    def retrieve(
        self, identifier: Dataset, model: Model, *, relational: bool = False
    ) -> list[Path]:
        """Select the files of every instance that an identifier names.

        Args:
            identifier: of a C-GET or C-MOVE request.
            model: one of `hierarchy.MODELS`.
            relational: whether relational retrieval was agreed.

        Returns:
            The files; none when nothing matches, which is no error. They may be gone by now.

        Raises:
            IdentifierError: it cannot be served.

        Source: PS3.4 C.4.2, C.4.3.
        """
        asked = check_retrieve(identifier, model, relational=relational)
        chains = self._walk(_IMAGE, asked.unique, issuer=asked.issuer)
        return [_stored_file(chain[-1]) for chain in chains]

    def _walk(
        self,
        deepest: int,
        unique: dict[str, tuple[str, ...]],
        *,
        issuer: str = "",
        cancelled: Callable[[], bool] = never,
    ) -> Iterator[_Chain]:
        """Give the entities of a level that may be meant, each with those above it."""
        names = {level: frozenset(values) for level, values in unique.items()}
        ids = names.get("PATIENT")
        chains: Iterable[_Chain]
        if deepest == _PATIENT:
            chains = [(patient,) for patient in self._listed(lambda: self._of_ids(ids, issuer))]
        else:
            studies = self._listed(lambda: self._meant(names.get("STUDY"), ids, issuer))
            chains = [(None, study) for study in studies]
        for chain in chains:
            if cancelled():
                return
            yield from self._below(chain, deepest, names, cancelled)

    def _below(
        self,
        chain: _Chain,
        deepest: int,
        names: dict[str, frozenset[str]],
        cancelled: Callable[[], bool],
    ) -> Iterator[_Chain]:
        if len(chain) > deepest:
            yield chain
            return
        for child in self.children(chain[-1], names.get(LEVELS[len(chain)])):
            if cancelled():
                return
            yield from self._below((*chain, child), deepest, names, cancelled)

    def children(self, node: Any, names: Collection[str] | None = None) -> list[Any]:
        """List what is below a node, as it is now; with names, those of them that are there."""
        if names is not None and not isinstance(names, (set, frozenset)):
            names = frozenset(names)
        return self._listed(lambda: _named(node.children, names))

    def _listed(self, those: Callable[[], list[Any]]) -> list[Any]:
        """Copy a list while nothing changes, and put it into order."""
        with self._lock:
            found = those()
        found.sort(key=lambda node: node.newest.number)
        return found

    def _of_ids(self, ids: Collection[str] | None, issuer: str) -> list[_Node]:
        groups = self._patients.values() if ids is None else _named(self._patients, ids)
        patients = [patient for group in groups for patient in group.values()]
        return [p for p in patients if _is_of(p, issuer)] if issuer else patients

    def _meant(
        self, names: Collection[str] | None, ids: Collection[str] | None, issuer: str
    ) -> list[_Study]:
        """List the studies of these names and of patients of these IDs, the lock being held."""
        if ids is None:
            return _named(self._studies, names)
        if names is None or len(names) > sum(len(p.children) for p in self._of_ids(ids, issuer)):
            patients = self._of_ids(ids, issuer)
            return [study for p in patients for study in _named(p.children, names)]
        studies = _named(self._studies, names)
        return [s for s in studies if s.above.name[0] in ids and _is_of(s.above, issuer)]


class _Entity:
    """The attributes of one entity and of those above it, as `matching.Elements`.

    They are those of one moment, however long the matching takes.
    """

    __slots__ = ("_chain", "_headers", "_index")

    def __init__(self, chain: _Chain, index: Index) -> None:
        self._index = index
        with index._lock:
            if len(chain) > 1:
                chain = (chain[_STUDY].above, *chain[1:])
            self._chain = chain
            self._headers = [node.newest.headers[depth] for depth, node in enumerate(chain)]

    def get(self, tag: Any, default: Any = None, /) -> Any:
        """Give an element, from the level it belongs to."""
        if tag in _OF_ALL_LEVELS:
            return self._headers[-1].get(tag, default)
        compute = _COMPUTED.get(tag)
        if compute is not None:
            return self._computed(tag, compute)
        depth = _depths().get(tag, len(LEVELS))
        return self._headers[depth].get(tag, default) if depth < len(self._chain) else default

    def _computed(self, tag: int, compute: Callable[[_Entity], Any]) -> DataElement:
        from dimse_rs.encoding.library import DataElement, dictionary_VR

        return DataElement(tag, dictionary_VR(tag), compute(self))

    def at(self, depth: int) -> Any:
        """Give the entity of a level: itself, or the one above."""
        return self._chain[depth]

    def values(self, tag: int) -> list[str]:
        """List the different values that the study has below it."""
        study = self._chain[_STUDY]
        lists = study.lists
        found: list[str] | None = lists.get(tag)
        if found is None:
            with self._index._lock:
                lists = study.lists
                found = list(study.tallies[tag])
            found.sort()
            lists[tag] = found
        return found

    def retrieve_ae_title(self) -> str:
        """Say where it can be retrieved from."""
        return self._index.retrieve_ae_title


# PS3.4 C.3.4, and where and how fast it can be retrieved: C.4.1.1.3.2.
_COMPUTED: Final[dict[int, Callable[[_Entity], Any]]] = {
    0x00201200: lambda entity: len(entity.at(_PATIENT).children),
    0x00201202: lambda entity: entity.at(_PATIENT).series,
    0x00201204: lambda entity: entity.at(_PATIENT).instances,
    0x00201206: lambda entity: len(entity.at(_STUDY).children),
    0x00201208: lambda entity: entity.at(_STUDY).instances,
    0x00201209: lambda entity: len(entity.at(_SERIES).children),
    0x00080061: lambda entity: entity.values(_MODALITY),
    0x00080062: lambda entity: entity.values(_SOP_CLASS),
    RETRIEVE_AE_TITLE: _Entity.retrieve_ae_title,
    AVAILABILITY: lambda _: "ONLINE",
}


def _named(children: dict[str, Any], names: Collection[str] | None) -> list[Any]:
    """List what has one of these names, at the cost of the shorter of both lists."""
    if names is None:
        return list(children.values())
    if len(names) < len(children):
        return [children[name] for name in names if name in children]
    return [child for name, child in children.items() if name in names]


def _newest(node: _Node) -> _Instance:
    newest: _Instance = max(
        (child.newest for child in node.children.values()), key=lambda instance: instance.number
    )
    return newest


def _is_of(patient: _Node, issuer: str) -> bool:
    """Whether an issuer that was named may have given the patient the ID."""
    patient_id, of = patient.name
    return not issuer or not patient_id or of in ("", issuer)


def _stored_file(instance: _Instance) -> Path:
    path = _StoredFile(instance.path)
    path.sop_instance = instance.name
    return path


def _files(folder: str | PathLike[str]) -> Iterator[tuple[int, Path]]:
    """List the files below a folder, and when each was written."""
    for parent, _, files in os.walk(folder):
        for name in files:
            if name.startswith(".") or name.endswith("~"):
                continue  # being written, or an earlier version
            path = Path(parent, name)
            try:
                at = path.stat()
            except OSError:
                continue  # gone since
            if stat.S_ISREG(at.st_mode):
                yield at.st_mtime_ns, path


def _read(path: Path) -> Dataset:
    return read(path, only=[*tags(), *_OF_ALL_LEVELS])


def _header(dataset: Dataset) -> _Header:
    """Take the keys that have a value, decoded to the last item; what cannot be decoded is left."""
    header: _Header = {}
    present = dataset.keys()
    for tag in (*tags(), *_OF_ALL_LEVELS):
        if tag not in present or tag in _COMPUTED:
            continue
        length = getattr(undecoded(dataset, tag), "length", None)
        if length is not None and length != 0xFFFFFFFF and length > _LONGEST_VALUE:
            continue
        try:
            element = dataset[tag]
            if element.VR == "SQ":
                if not _is_short(element):
                    continue
            elif hasattr(element.value, "append") and len(element.value) > _MOST_VALUES:
                continue
        except Exception:
            _logger.debug("(%04X,%04X) cannot be read", tag >> 16, tag & 0xFFFF)
            continue
        if not element.is_empty:
            header[tag] = element
    return header


def _is_short(sequence: DataElement) -> bool:
    """Decode a sequence to the last item; whether it has no more elements than are kept."""
    elements = length = 0
    for item in sequence.value:
        elements += 1
        for element in item.iterall():
            value = element.value
            elements += 1 if element.VR == "SQ" else max(element.VM, 1)
            length += len(value) if isinstance(value, (str, bytes)) else 0
            if elements > _MOST_VALUES or length > _LONGEST_VALUE:
                return False
    return elements <= _MOST_VALUES


@cache
def _depths() -> dict[int, int]:
    return {tag: LEVELS.index(level_of(tag)) for tag in tags()}


def _by_level(header: _Header) -> tuple[_Header, ...]:
    """Take a header apart by the levels that its attributes belong to."""
    depths = _depths()
    headers: tuple[_Header, ...] = tuple({} for _ in LEVELS)
    for tag, element in header.items():
        if tag in _OF_ALL_LEVELS:
            for one in headers:
                one[tag] = element
        else:
            headers[depths[tag]][tag] = element
    return headers


def _shared(header: _Header, like: _Header) -> _Header:
    """Take what is the same from another instance: all of it, or by element."""
    ours, theirs = header.get(_CHARACTER_SET), like.get(_CHARACTER_SET)
    if (ours is None) != (theirs is None) or (ours and theirs and not _are_same(ours, theirs)):
        return header  # the same name may be other bytes
    all_of_it = len(header) == len(like)
    for tag, element in header.items():
        other = like.get(tag)
        if other is not None and _are_same(element, other):
            header[tag] = other
        else:
            all_of_it = False
    return like if all_of_it else header


def _are_same(one: DataElement, other: DataElement) -> bool:
    """Whether two elements are the same to the letter: numbers are equal when they look it."""
    if one is other:
        return True
    if one.VR != other.VR:
        return False
    mine, yours = one.value, other.value
    if one.VR == "SQ":
        return len(mine) == len(yours) and all(map(_are_same_items, mine, yours))
    if type(mine) is not type(yours):
        return False
    if isinstance(mine, str):
        return bool(mine == yours and str(mine) == str(yours))
    if hasattr(mine, "append"):
        return len(mine) == len(yours) and list(map(str, mine)) == list(map(str, yours))
    return str(mine) == str(yours)


def _are_same_items(one: Dataset, other: Dataset) -> bool:
    return one.keys() == other.keys() and all(
        _are_same(element, other[element.tag]) for element in one
    )
