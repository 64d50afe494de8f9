"""An index of stored instances in memory, for a Query/Retrieve SCP over a folder (PS3.4 Annex C).

`_headers` keeps the attributes of `hierarchy` of every instance, by level; those of the levels
above the instance are kept once for a series. `_tree` keeps the instances in order. An index
writes nothing, and an instance takes a kilobyte of memory: an index is for folders, not for
archives.

The answers depend on the present instances and their order alone, never on former ones:

- Patient ID and Issuer of Patient ID identify a patient. Without an ID each study has a patient of
  its own: two emergency patients without an ID are not one person.
- Its UID identifies a study. The study belongs to the patient that its newest instance names.
- A UID identifies a series within its study, and an instance within its series. The same UID below
  another parent is another entity: neither takes the place of the other.
- The attributes of an entity are those of its newest instance, the one that was added last.
- Entities come in the order of their newest instances.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dimse_rs import Model, log
from dimse_rs.datasets import Collected, headers, quietly, read
from dimse_rs.errors import DecodeError

from ._headers import OF_ALL_LEVELS, by_level, coded, depths, element_of, header_of
from ._tree import IMAGE, MODALITY, PATIENT, SERIES, SOP_CLASS, STUDY, Instance, Tree, named
from .hierarchy import (
    AVAILABILITY,
    LEVELS,
    RETRIEVE_AE_TITLE,
    UNIQUE_KEYS,
    Find,
    check_find,
    check_retrieve,
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


class _StoredFile(_FilePath):
    """The path of an instance, with the SOP Instance UID, which names a file that is gone."""

    sop_instance: str


_Chain: TypeAlias = tuple[Any, ...]


class Index:
    """Instances and their files. Any number of threads may search while one adds.

    Attributes:
        retrieve_ae_title: AE title of the SCP that the instances can be retrieved from; put into
            every response as (0008,0054).
    """

    def __init__(self, retrieve_ae_title: str = "") -> None:
        """Start empty."""
        self.retrieve_ae_title = retrieve_ae_title
        self._tree = Tree()
        # Held while the tree changes, and while a list of it is copied; never while a file is read
        # or an entity is matched. So a search over everything delays no store by more than the
        # copy of one list, and walks the tree as it is at the moment of each copy.
        self._lock = threading.Lock()

    # ---- what is in it

    @staticmethod
    def keys() -> list[int]:
        """List the tags that an index keeps of an instance, for `Storage(collect=Index.keys())`."""
        return [*tags(), *OF_ALL_LEVELS]

    @quietly
    def add(self, path: str | PathLike[str], dataset: Dataset | Collected | None = None) -> None:
        """Add an instance; an instance with the same UIDs, or in the same file, is replaced.

        When the instance cannot be added, the former instance of the file is removed all the same:
        the file does not hold that one any more.

        Args:
            path: of the file; names the instance for `remove`.
            dataset: attributes of the instance, or what was collected of it while it was stored,
                `StoredInstance.collected`; by default they are read from the file, up to the pixel
                data.

        Raises:
            DecodeError: the file is no whole DICOM file, or lacks a UID of study, series or
                instance.
            LimitExceeded: reading the file takes more than the default `Limits`.
            OSError: the file cannot be read.
        """
        where = str(Path(path))
        try:
            if dataset is None:
                [found] = headers([where], self.keys())
                if isinstance(found, Exception):
                    raise found
                dataset = found
            self._put(where, dataset)
        except BaseException:
            self.remove(where)
            raise

    def _put(self, where: str, found: Dataset | Collected) -> None:
        """Put an instance into the tree, in place of what the file was before."""
        instance = _instance(where, found)
        names = [instance.text(depth, UNIQUE_KEYS[level]) for depth, level in enumerate(LEVELS)][1:]
        for level, name in zip(LEVELS[1:], names, strict=True):
            if not name:
                tag = UNIQUE_KEYS[level]
                missing = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
                raise DecodeError(f"{where} has no {missing}", section="PS3.4 C.6")
        study, series, instance.name = names
        # Compared outside the lock. If the other instance is removed meanwhile, its headers live on
        # in this one: headers never change.
        with self._lock:
            like = self._tree.like(study, series, instance)
        if like is not None:
            instance.share(like)
        with self._lock:
            self._tree.remove(where)
            self._tree.put(instance, study, series)

    @quietly
    def add_folder(self, folder: str | PathLike[str]) -> int:
        """Add every instance below a folder, without files that are no instances.

        The order is that in which the files were written, then that of their names: so the newest
        instance of an entity is the same after a restart.

        Returns:
            How many were added.
        """
        count = 0
        paths = _files(folder)
        for path, found in zip(paths, headers(paths, self.keys()), strict=True):
            try:
                if isinstance(found, Exception):
                    raise found
                self._put(path, found)
            except (DecodeError, OSError) as error:
                self.remove(path)
                _logger.info("not in the index: %s", error, extra={"code": "not-indexed"})
            else:
                count += 1
        return count

    def remove(self, path: str | PathLike[str]) -> bool:
        """Remove the instance of a file; whether there was one."""
        with self._lock:
            return self._tree.remove(str(Path(path)))

    def __len__(self) -> int:
        """Count the instances."""
        return len(self._tree.files)

    def __repr__(self) -> str:
        """Show the title, and how much is in it."""
        counts = f"{len(self._tree.studies)} studies, {len(self._tree.files)} instances"
        return f"<Index {self.retrieve_ae_title!r}, {counts}>"

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
            rules: of matching, as agreed.

        Returns:
            The response identifiers, one by one as they are found.

        Raises:
            IdentifierError: the identifier cannot be served; raised here, not by the iterator.

        Source: PS3.4 C.4.1.
        """
        return self.found(check_find(identifier, model, relational=relational, rules=rules))

    def found(self, asked: Find) -> Iterator[Dataset]:
        """Do as `find`, for a checked identifier; end when `asked` is cancelled."""
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
            The files; none when nothing matches, which is no error. A file may be gone by now.

        Raises:
            IdentifierError: the identifier cannot be served.

        Source: PS3.4 C.4.2, C.4.3.
        """
        asked = check_retrieve(identifier, model, relational=relational)
        chains = self._walk(IMAGE, asked.unique, issuer=asked.issuer)
        return [_stored_file(chain[-1]) for chain in chains]

    def _walk(
        self,
        deepest: int,
        unique: dict[str, tuple[str, ...]],
        *,
        issuer: str = "",
        cancelled: Callable[[], bool] = never,
    ) -> Iterator[_Chain]:
        """Give the entities of a level that unique keys allow, each with the entities above it.

        Unique keys narrow the walk; the matcher, which knows all keys, decides afterwards. The
        patient of a study is left out of its chain and looked up when the entity is matched, since
        the study may move to another patient meanwhile.
        """
        names = {level: frozenset(values) for level, values in unique.items()}
        ids, tree = names.get("PATIENT"), self._tree
        chains: Iterable[_Chain]
        if deepest == PATIENT:
            patients = self._listed(lambda: tree.patients_of(ids, issuer))
            chains = [(patient,) for patient in patients]
        else:
            studies = self._listed(lambda: tree.studies_of(names.get("STUDY"), ids, issuer))
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
        """List the present children of a node; with names, the children of these names."""
        if names is not None and not isinstance(names, (set, frozenset)):
            names = frozenset(names)
        return self._listed(lambda: named(node.children, names))

    def _listed(self, those: Callable[[], list[Any]]) -> list[Any]:
        """Copy a list while nothing changes, and put the copy into the order of the instances."""
        with self._lock:
            found = those()
        # Sorted outside the lock: a long list would delay stores. `newest` may change meanwhile,
        # and then an entity stands where either instance belongs.
        found.sort(key=lambda node: node.newest.number)
        return found


class _Entity:
    """The attributes of an entity and of the entities above it, as `matching.Elements`.

    All attributes are those of one moment, however long the matching takes: a store in between
    must not mix two versions of an entity in one response.
    """

    __slots__ = ("_chain", "_headers", "_index")

    def __init__(self, chain: _Chain, index: Index) -> None:
        self._index = index
        with index._lock:
            if len(chain) > 1:
                chain = (chain[STUDY].above, *chain[1:])
            self._chain = chain
            newest = [node.newest for node in chain]
        self._headers = [(one.header(depth), one.decoder) for depth, one in enumerate(newest)]

    def get(self, tag: Any, default: Any = None, /) -> Any:
        """Give an element, from the level that the attribute belongs to."""
        compute = _COMPUTED.get(tag)
        if compute is not None:
            return self._computed(tag, compute)
        depth = -1 if tag in OF_ALL_LEVELS else depths().get(tag, len(LEVELS))
        if depth >= len(self._chain):
            return default
        header, decoder = self._headers[depth]
        element = element_of(header, tag, decoder)
        return default if element is None else element

    def _computed(self, tag: int, compute: Callable[[_Entity], Any]) -> DataElement:
        from dimse_rs.encoding.library import DataElement, dictionary_VR

        return DataElement(tag, dictionary_VR(tag), compute(self))

    def at(self, depth: int) -> Any:
        """Give the entity of a level: this one, or one above."""
        return self._chain[depth]

    def values(self, tag: int) -> list[str]:
        """List the different values that the study has below it."""
        study = self._chain[STUDY]
        lists = study.lists
        found: list[str] | None = lists.get(tag)
        if found is None:
            # Two searches may make the same list; waiting for each other would cost more.
            with self._index._lock:
                lists = study.lists
                found = list(study.tallies[tag])
            found.sort()
            lists[tag] = found
        return found

    def retrieve_ae_title(self) -> str:
        """Give the AE title that the instances can be retrieved from."""
        return self._index.retrieve_ae_title


# Attributes that no instance has, or not truly: counts and lists over the instances (PS3.4 C.3.4),
# and from where and how fast they can be retrieved (C.4.1.1.3.2).
_COMPUTED: Final[dict[int, Callable[[_Entity], Any]]] = {
    0x00201200: lambda entity: len(entity.at(PATIENT).children),
    0x00201202: lambda entity: entity.at(PATIENT).series,
    0x00201204: lambda entity: entity.at(PATIENT).instances,
    0x00201206: lambda entity: len(entity.at(STUDY).children),
    0x00201208: lambda entity: entity.at(STUDY).instances,
    0x00201209: lambda entity: len(entity.at(SERIES).children),
    0x00080061: lambda entity: entity.values(MODALITY),
    0x00080062: lambda entity: entity.values(SOP_CLASS),
    RETRIEVE_AE_TITLE: _Entity.retrieve_ae_title,
    AVAILABILITY: lambda _: "ONLINE",
}
_NOT_KEPT: Final = tuple(_COMPUTED)


def _stored_file(instance: Instance) -> Path:
    path = _StoredFile(instance.path)
    path.sop_instance = instance.name
    return path


def _files(folder: str | PathLike[str]) -> list[str]:
    """List the files below a folder, in the order in which they were written."""
    found = []
    for parent, _, files in os.walk(Path(folder)):
        for name in files:
            if name.startswith(".") or name.endswith("~"):
                continue  # being written, or an earlier version
            path = os.path.join(parent, name)
            try:
                at = os.stat(path)
            except OSError:
                continue  # gone since
            if stat.S_ISREG(at.st_mode):
                # A separator sorts before all other characters, as in the order of paths.
                found.append((at.st_mtime_ns, path.replace(os.sep, "\0")))
    found.sort()
    return [path.replace("\0", os.sep) for _, path in found]


def _instance(path: str, found: Dataset | Collected) -> Instance:
    """Make an instance of what is known of it."""
    if isinstance(found, Collected):
        parts = coded(found, _NOT_KEPT)
        if parts is not None:
            decoder, levels = parts
            return Instance("", path, levels, decoder)
        found = read(path, only=Index.keys())
    return Instance("", path, by_level(header_of(found, _NOT_KEPT)))
