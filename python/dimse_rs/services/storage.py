"""Storage (PS3.4 Annex B): received instances go straight to files, without Python in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import Literal

from dimse_rs import _core
from dimse_rs._uids import SOPClass
from dimse_rs.sop_class import ALL_STORAGE

__all__ = ["Duplicates", "Layout", "Mode", "Storage"]

Mode = Literal["durable", "file-only", "fast"]
Layout = Literal["flat", "study"]
Duplicates = Literal["keep-both", "reject"]


class Storage:
    """A folder that receives instances, each verified to be whole before Success is said.

    Attributes:
        folder: where instances are written.
        sop_classes: which are taken.
        unknown: whether other classes are taken too, or what tells.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        *,
        mode: Mode = "durable",
        layout: Layout = "flat",
        duplicates: Duplicates = "keep-both",
        sop_classes: Iterable[str] | None = None,
        unknown: bool | Callable[[SOPClass], bool] = False,
        reserve: int | None = None,
        strict: bool = False,
    ) -> None:
        """Make the folder if it is not there, and remove what a crash left unfinished in it.

        Args:
            folder: instances become `<folder>/<SOPInstanceUID>.dcm`.
            mode: before Success is said, sync file and folder ("durable"), the file ("file-only"),
                or nothing ("fast").
            layout: "study" adds `<StudyInstanceUID>/<SeriesInstanceUID>/`.
            duplicates: when an instance comes again with other bytes, keep the earlier version as
                `<uid>.dcm~1~`, or refuse the new one. The same bytes are always a Success.
            sop_classes: which to take; default every storage class of the registry.
            unknown: take any other class too, or those of which a function says so. Without it
                only classes that the sender announces as specialisations of storage (PS3.7
                D.3.3.6), which are always taken.
            reserve: bytes of the disk to leave free: with less, instances are refused (A700) as
                soon as they begin to arrive. Default 2 % of the file system, at most 1 GiB.
            strict: refuse (C000) what is whole but not well formed. Otherwise an instance that can
                be walked to its end without a doubt is stored as it came, and its oddities are in
                the event, see `Stored`.

        Raises:
            OSError: the folder cannot be made or written to.
            ValueError: an unknown mode, layout or policy, or a negative reserve.
        """
        if reserve is not None and reserve < 0:
            raise ValueError(f"a reserve of {reserve} bytes")
        self.folder = Path(folder)
        self.sop_classes = tuple(
            SOPClass.of(uid) for uid in (ALL_STORAGE if sop_classes is None else sop_classes)
        )
        self.unknown = unknown
        self._core = _core.Folder(self.folder, mode, layout, duplicates, reserve, strict)

    @property
    def unknown_policy(self) -> str:
        """How negotiation treats classes beyond `sop_classes`."""
        return "any" if self.unknown is True else "announced"

    @property
    def predicate(self) -> Callable[[SOPClass], bool] | None:
        """What is asked of those classes, if there is something to ask."""
        return None if isinstance(self.unknown, bool) else self.unknown

    @property
    def core(self) -> _core.Folder:
        """The sink; private to `Server`."""
        return self._core

    def __repr__(self) -> str:
        """Show the folder and how many classes it takes."""
        return f"<Storage {str(self.folder)!r}, {len(self.sop_classes)} SOP classes>"
