"""Modality Worklist over a folder of files, one scheduled procedure step each (PS3.4 Annex K).

Every query lists the folder anew, so that items come and go with their files; a file is read again
only when it has changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dimse_rs import log
from dimse_rs.datasets import decode, quietly, read
from dimse_rs.errors import DecodeError

from .matching import WORKLIST, Matcher, Rules

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dimse_rs import Handlers

__all__ = ["Worklist"]

_logger = log.get(log.SERVER)

_SUFFIXES: Final = (".wl", ".dcm")
_STEPS: Final = 0x00400100


class Worklist:
    """The items in a folder, files `*.wl` and `*.dcm`: a service for a `Server`.

    Any number of threads may search.

    Attributes:
        folder: of the files.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        """Name the folder, which is read by each search."""
        self.folder: Path = Path(folder)
        # By file name: time and size of the file when it was read, and its item; None when the file
        # is no item, so that it is read and logged once.
        self._items: dict[str, tuple[tuple[int, int], Dataset | None]] = {}

    def __repr__(self) -> str:
        """Show the folder."""
        return f"<Worklist {str(self.folder)!r}>"

    def register(self, handlers: Handlers) -> None:
        """Add a handler of C-FIND that answers Modality Worklist queries."""
        from .query import Schedule

        Schedule(self._looked_at).register(handlers)

    def find(self, identifier: Dataset, *, rules: Rules = WORKLIST) -> Iterator[Dataset]:
        """Find items.

        Args:
            identifier: of a C-FIND request.
            rules: of matching, as agreed.

        Returns:
            The response identifiers, one by one as they are found.

        Raises:
            IdentifierError: the identifier cannot be served.
            OSError: the folder cannot be read.

        Source: PS3.4 K.4.1.
        """
        return self.found(Matcher(identifier, rules))

    def found(self, matcher: Matcher) -> Iterator[Dataset]:
        """Do as `find`, for an identifier that was read before."""
        return (matcher.respond(item) for item in self.items() if matcher.matches(item))

    def items(self) -> list[Dataset]:
        """List the items in the order of their file names, without files that are no items.

        Raises:
            OSError: the folder cannot be read.
        """
        return [item for item in self._looked_at() if item is not None]

    def _looked_at(self) -> Iterator[Dataset | None]:
        """Give the item of each file, one by one as they are read; None for a file without an item.

        No lock is held while a file is read: two searches may both read a new file, and neither
        waits for the other.
        """
        with os.scandir(self.folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        gone = set(self._items)
        for entry in listed:
            if not entry.name.endswith(_SUFFIXES):
                continue
            try:
                at = entry.stat()
            except OSError:
                continue  # gone since
            gone.discard(entry.name)
            stamp = (at.st_mtime_ns, at.st_size)
            known = self._items.get(entry.name)
            if known is None or known[0] != stamp:
                known = self._items[entry.name] = (stamp, _read(Path(entry.path)))
            yield known[1]
        for name in gone:
            self._items.pop(name, None)


@quietly
def _read(path: Path) -> Dataset | None:
    try:
        item = read(path)
        if not item[_STEPS].value:
            raise DecodeError(f"{fspath(path)} has no (0040,0100)", section="PS3.4 K.6.1")
        decode(item)  # now: a search decodes nothing then, and any number may share the item
        return item
    except DecodeError as error:
        why = error.message
    except Exception as error:  # pydicom's texts have values in them
        why = type(error).__name__
    _logger.warning("no worklist item: %s: %s", path, why, extra={"code": "no-item"})
    return None
