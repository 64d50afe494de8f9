"""An index of stored instances in memory, for a Query/Retrieve SCP over a folder (PS3.4 Annex C).

Keeps the attributes of `hierarchy`, each once, at the level it belongs to; nothing is written. It
takes a few kilobytes of memory an instance: for folders, not for archives.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dimse_rs import log
from dimse_rs._uids import Model
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
    tags,
)
from .matching import QUERY, Rules

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

__all__ = ["Index"]

_logger = log.get(log.SERVER)

_CHARACTER_SET: Final = 0x00080005
_TIMEZONE: Final = 0x00080201
_OF_ALL_LEVELS: Final = (_CHARACTER_SET, _TIMEZONE)
_LONGEST_VALUE: Final = 0x10000
"""Bytes of a value that is kept; longer ones count as unknown."""

_Header: TypeAlias = "dict[int, DataElement]"


class _Node:
    """A patient, study, series or instance; the root is above the patients."""

    __slots__ = ("children", "header", "path")

    def __init__(self, path: Path | None = None) -> None:
        self.header: _Header = {}
        self.children: dict[str, _Node] = {}
        self.path = path  # of an instance

    def fill(self, header: _Header, level: str) -> None:
        """Take what belongs to the level, where an earlier instance did not say it."""
        for tag, element in header.items():
            if tag in _OF_ALL_LEVELS or level_of(tag) == level:
                self.header.setdefault(tag, element)


_Chain: TypeAlias = tuple[_Node, ...]


class Index:
    """Instances and the files they are in. Any number of threads may search while one adds.

    Attributes:
        retrieve_ae_title: put into every response as (0008,0054): where the instances can be
            retrieved from.
    """

    def __init__(self, retrieve_ae_title: str = "") -> None:
        """Start empty."""
        self.retrieve_ae_title = retrieve_ae_title
        self._root = _Node()
        self._where: dict[Path, tuple[str, ...]] = {}
        self._lock = threading.Lock()  # held while a `children` changes, or is listed

    # ---- what is in it

    def add(self, path: str | PathLike[str], dataset: Dataset | None = None) -> None:
        """Add an instance; one with the same UIDs is replaced.

        Args:
            path: its file; names the instance for `remove`.
            dataset: its attributes; default they are read from the file, up to the pixels.

        Raises:
            DecodeError: it is not a DICOM file, or lacks a UID of study, series or instance.
            OSError: it cannot be read.
        """
        where = Path(path)
        header = _header(_read(where) if dataset is None else dataset)
        names = tuple(_name(header, level) for level in LEVELS)
        for level, name in zip(LEVELS[1:], names[1:], strict=True):
            if not name:
                tag = UNIQUE_KEYS[level]
                missing = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
                raise DecodeError(f"{fspath(where)} has no {missing}", section="PS3.4 C.6")
        with self._lock:
            self._remove(where)
            node = self._root
            for level, name in zip(LEVELS[:-1], names[:-1], strict=True):
                node = node.children.setdefault(name, _Node())
                node.fill(header, level)
            replaced = node.children.get(names[-1])
            if replaced is not None and replaced.path is not None:
                del self._where[replaced.path]
            instance = node.children[names[-1]] = _Node(where)
            instance.fill(header, LEVELS[-1])
            self._where[where] = names

    def add_folder(self, folder: str | PathLike[str]) -> int:
        """Add every instance below a folder, in the order of names; anything else is passed over.

        Returns:
            How many were added.
        """
        count = 0
        for parent, folders, files in os.walk(folder):
            folders.sort()
            for name in sorted(files):
                if name.startswith(".") or name.endswith("~"):
                    continue  # being written, or an earlier version
                try:
                    self.add(Path(parent, name))
                except (DecodeError, OSError) as error:
                    _logger.info("not in the index: %s", error, extra={"code": "not-indexed"})
                else:
                    count += 1
        return count

    def remove(self, path: str | PathLike[str]) -> bool:
        """Remove the instance of a file; whether there was one."""
        with self._lock:
            return self._remove(Path(path))

    def _remove(self, path: Path) -> bool:
        names = self._where.pop(path, None)
        if names is None:
            return False
        chain = [self._root]
        for name in names:
            chain.append(chain[-1].children[name])
        for parent, name in zip(reversed(chain[:-1]), reversed(names), strict=True):
            if not parent.children[name].children:
                del parent.children[name]
        return True

    def __len__(self) -> int:
        """Count the instances."""
        return len(self._where)

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
        """Do as `find`, for an identifier that was checked before."""
        for chain in self._walk(self._root, LEVELS.index(asked.level), asked.unique, ()):
            entity = _Entity(chain, self)
            if asked.matcher.matches(entity):
                response = asked.matcher.respond(entity)
                response.add(entity.get(RETRIEVE_AE_TITLE))
                yield response

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
        chains = self._walk(self._root, len(LEVELS) - 1, asked.unique, ())
        return [chain[-1].path for chain in chains if chain[-1].path is not None]

    def _walk(
        self, node: _Node, deepest: int, unique: dict[str, tuple[str, ...]], chain: _Chain
    ) -> Iterator[_Chain]:
        """Go down to a level, only through entities that may be meant."""
        names = unique.get(LEVELS[len(chain)])
        for child in self.children(node, names):
            longer = (*chain, child)
            if len(chain) == deepest:
                yield longer
            else:
                yield from self._walk(child, deepest, unique, longer)

    def children(self, node: _Node, names: Iterable[str] | None = None) -> list[_Node]:
        """List what is below a node, as it is now."""
        with self._lock:
            if names is None:
                return list(node.children.values())
            return [node.children[name] for name in dict.fromkeys(names) if name in node.children]


class _Entity:
    """The attributes of one entity and of those above it, as `matching.Elements`."""

    __slots__ = ("_chain", "_index")

    def __init__(self, chain: _Chain, index: Index) -> None:
        self._chain = chain
        self._index = index

    def get(self, tag: Any, default: Any = None, /) -> Any:
        """Give an element, from the level it belongs to; counts are counted when asked for."""
        if tag in _OF_ALL_LEVELS:
            return self._chain[-1].header.get(tag, default)
        compute = _COMPUTED.get(tag)
        if compute is not None:
            return self._computed(tag, compute)
        level = level_of(tag)
        depth = LEVELS.index(level) if level else len(LEVELS)
        return self._chain[depth].header.get(tag, default) if depth < len(self._chain) else default

    def _computed(self, tag: int, compute: Callable[[_Entity], Any]) -> DataElement:
        from dimse_rs._pydicom import DataElement, dictionary_VR

        return DataElement(tag, dictionary_VR(tag), compute(self))

    def count(self, of: int, below: int) -> int:
        """Count what is `below` levels below the entity at depth `of`."""
        return len(self.below(of, below))

    def below(self, of: int, below: int) -> list[_Node]:
        """List what is `below` levels below the entity at depth `of`."""
        nodes = [self._chain[of]]
        for _ in range(below):
            nodes = [child for node in nodes for child in self._index.children(node)]
        return nodes

    def values(self, of: int, below: int, tag: int) -> list[str]:
        """List the different values of an attribute below the entity at depth `of`."""
        found = (node.header.get(tag) for node in self.below(of, below))
        return sorted({str(element.value) for element in found if element is not None})

    def retrieve_ae_title(self) -> str:
        """Say where it can be retrieved from."""
        return self._index.retrieve_ae_title


_PATIENT, _STUDY, _SERIES = range(3)

# PS3.4 C.3.4, and where and how fast it can be retrieved: C.4.1.1.3.2.
_COMPUTED: Final[dict[int, Callable[[_Entity], Any]]] = {
    0x00201200: lambda entity: entity.count(_PATIENT, 1),
    0x00201202: lambda entity: entity.count(_PATIENT, 2),
    0x00201204: lambda entity: entity.count(_PATIENT, 3),
    0x00201206: lambda entity: entity.count(_STUDY, 1),
    0x00201208: lambda entity: entity.count(_STUDY, 2),
    0x00201209: lambda entity: entity.count(_SERIES, 1),
    0x00080061: lambda entity: entity.values(_STUDY, 1, 0x00080060),
    0x00080062: lambda entity: entity.values(_STUDY, 2, 0x00080016),
    RETRIEVE_AE_TITLE: _Entity.retrieve_ae_title,
    AVAILABILITY: lambda _: "ONLINE",
}


def _read(path: Path) -> Dataset:
    from dimse_rs._pydicom import dcmread

    wanted = [*tags(), *_OF_ALL_LEVELS]
    try:
        return dcmread(path, stop_before_pixels=True, specific_tags=wanted)
    except OSError:
        raise
    except Exception as error:  # pydicom raises whatever comes up while it reads
        raise DecodeError(f"{fspath(path)} cannot be read: {error}", section="PS3.10 7") from error


def _header(dataset: Dataset) -> _Header:
    """Take the keys that have a value, decoded to the last item; what cannot be decoded is left."""
    header: _Header = {}
    for tag in (*tags(), *_OF_ALL_LEVELS):
        if tag not in dataset or tag in _COMPUTED:
            continue
        length = getattr(dataset.get_item(tag), "length", None)
        if length is not None and length != 0xFFFFFFFF and length > _LONGEST_VALUE:
            continue
        try:
            element = dataset[tag]
            if element.VR == "SQ":
                for item in element.value:
                    for _ in item.iterall():
                        pass
        except Exception:
            _logger.debug("(%04X,%04X) cannot be read", tag >> 16, tag & 0xFFFF)
            continue
        if not element.is_empty:
            header[tag] = element
    return header


def _name(header: _Header, level: str) -> str:
    element = header.get(UNIQUE_KEYS[level])
    return "" if element is None else str(element.value).strip(" \0")
