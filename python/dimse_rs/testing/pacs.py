"""`Pacs`: an archive in memory that stores, finds, gives, moves and commits."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dimse_rs import (
    AE,
    Commitment,
    DecodeError,
    Index,
    Model,
    QueryRetrieve,
    SOPClass,
    Status,
    StatusError,
)
from dimse_rs.callables import is_data_set
from dimse_rs.datasets import quietly, read, stored_syntax
from dimse_rs.settings import PeerLike
from dimse_rs.sop_class import ExplicitVRLittleEndian

from .instances import with_file_meta
from .receiver import Arrival, Receiver, part10_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dimse_rs.services.hierarchy import Find

__all__ = ["Pacs"]

_NO_INSTANCE: Final = 0xA900
"""Data Set does not match SOP Class (PS3.4 B.2.3)."""


class _Archive:
    """Part 10 files in memory, by SOP Instance UID, behind an `Index`."""

    def __init__(self, title: str) -> None:
        self.index = Index(title)
        self.files: dict[Path, bytes] = {}
        self._lock = threading.Lock()

    def put(self, dataset: Dataset, file: bytes) -> None:
        path = Path(str(dataset.SOPInstanceUID))
        with self._lock:
            self.index.add(path, dataset)  # first: it checks the UIDs
            self.files[path] = file

    def remove(self, uid: str) -> bool:
        with self._lock:
            return self.files.pop(Path(uid), None) is not None and self.index.remove(uid)

    def found(self, asked: Find) -> Iterable[Dataset]:
        return self.index.found(asked)

    def retrieve(
        self, identifier: Dataset, model: Model, *, relational: bool = False
    ) -> list[bytes]:
        paths = self.index.retrieve(identifier, model, relational=relational)
        with self._lock:
            return [self.files[path] for path in paths if path in self.files]


class Pacs(Receiver):
    """An archive in memory: C-STORE, C-FIND, C-GET, C-MOVE and storage commitment.

    It is a `Receiver` too: `arrivals`, `wait_for` and `answer` are about what was sent to it.

    Attributes:
        destinations: addresses of C-MOVE and of late commitment reports, by AE title; a test may
            change it at any time.
    """

    def __init__(self, ae: AE | str = "PACS", **settings: Any) -> None:
        """Make the archive, empty.

        Args:
            ae: the AE title; or an AE, for TLS, deadlines and limits of its own.
            settings: further settings of `Server`.
        """
        title = ae if isinstance(ae, str) else ae.title
        self.destinations: dict[str, PeerLike] = dict(settings.pop("destinations", None) or {})
        self._archive = _Archive(title)
        services = [
            QueryRetrieve(self._archive),
            Commitment(self._is_stored, peers=self.destinations, ae=AE(title)),
            *settings.pop("services", ()),
        ]
        super().__init__(ae, services=services, destinations=self.destinations, **settings)

    @quietly
    def add(self, *instances: Dataset | str | PathLike[str] | bytes | Iterable[Any]) -> None:
        """Add instances, as if they had been stored earlier; those of the same UID are replaced.

        Args:
            instances: data sets, paths of Part 10 files, Part 10 files as bytes, or iterables of
                these: `pacs.add(make_study())`.

        Raises:
            DecodeError: one is no instance, or lacks a UID of study, series or instance.
            OSError: a file cannot be read.
        """
        for one in instances:
            if is_data_set(one):
                instance: Any = one
                if stored_syntax(instance) is None:
                    instance = with_file_meta(instance, ExplicitVRLittleEndian)
                self._archive.put(read(file := part10_of(instance)), file)
            elif isinstance(one, (str, PathLike)):
                self.add(Path(one).read_bytes())
            elif isinstance(one, bytes):
                self._archive.put(read(one), one)
            else:
                self.add(*one)

    def _keep(self, arrival: Arrival) -> None:
        try:
            if arrival.kept:
                self._archive.put(arrival.dataset, arrival.part10)
        except DecodeError as error:
            arrival.status = Status(_NO_INSTANCE)
            raise StatusError(_NO_INSTANCE, "no instance that can be found again") from error
        finally:
            super()._keep(arrival)

    def _is_stored(self, sop_class: SOPClass, instance_uid: str) -> bool:
        return instance_uid in self

    @property
    def instances(self) -> list[Dataset]:
        """The instances that the archive holds, added or stored, as pydicom data sets."""
        return [read(file) for file in list(self._archive.files.values())]

    def remove(self, instance_uid: str) -> bool:
        """Remove an instance; whether it was there."""
        return self._archive.remove(instance_uid)

    def clear(self) -> None:
        """Remove all instances, and forget what came."""
        for path in list(self._archive.files):
            self._archive.remove(str(path))
        super().clear()

    def __contains__(self, instance_uid: object) -> bool:
        """Whether the archive holds the instance of this SOP Instance UID."""
        return Path(str(instance_uid)) in self._archive.files

    def __len__(self) -> int:
        """Count the instances that the archive holds."""
        return len(self._archive.files)
