"""Storage (PS3.4 Annex B): received instances go straight to files, without Python in between.

A function may decide on stored instances, `Storage(on_stored=)`, each of which it gets as a
`StoredInstance`. `dimse_rs.perform.deciding` calls the function.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypedDict, Unpack

from dimse_rs import _core
from dimse_rs.errors import LocalProtocolError
from dimse_rs.settings import Peer
from dimse_rs.sop_class import ALL_STORAGE
from dimse_rs.status import Status, is_defined

from .callables import fault_of_arguments
from .encoding.collected import Collected, StoredValue
from .encoding.gate import collector
from .hints import unexpected
from .records import dataclass, field
from .sop_class import SOPClass, TransferSyntax
from .uids import check_uid, several

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["Duplicates", "Layout", "Mode", "OnStored", "Storage", "StorageSettings"]
__all__ += ["StoredInstance", "StoredValue"]

Mode = Literal["durable", "file-only", "fast"]
Layout = Literal["flat", "study"]
Duplicates = Literal["keep-both", "reject"]


_CHARACTER_SET: Final = 0x00080005


class _Decision:
    """The decision of a function on an instance; `open` until the function has returned.

    The file has its name before the function is called, so that accepting, the usual case, needs
    no further file operation, and a crash in between loses no instance. A refusal is kept here and
    carried out after the function has returned: until then the function may still change it, or
    raise, which refuses the whole list.
    """

    __slots__ = ("open", "refusal")

    def __init__(self) -> None:
        self.open = True
        self.refusal: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredInstance:
    """An instance that is stored and not answered yet, for `Storage(on_stored=)`.

    Attributes:
        path: the Part 10 file.
        sop_class: SOP Class UID.
        instance_uid: SOP Instance UID.
        transfer_syntax: how the data set is encoded, in the file as it was received.
        study_uid: Study Instance UID (0020,000D); empty when the data set has none.
        series_uid: Series Instance UID (0020,000E); likewise.
        size: length of the data set in bytes.
        digest: BLAKE3 of the data set as received, 32 bytes; None without `Storage(digest=True)`.
        peer: the sender: its calling AE title and its address.
        called: the AE title that the sender called.
        association: number of the association, as in logs and events.
        identical: the same data set was there already, and nothing was changed.
        replaces: path that the earlier version has now, when there was one with other bytes.
        oddities: in what the data set, which is whole, is not well formed.
        collected: the elements of `Storage(collect=)` that the data set has, undecoded, up to 4 KiB
            each; `Index.add` takes them.
    """

    path: Path
    sop_class: SOPClass
    instance_uid: str
    transfer_syntax: TransferSyntax
    study_uid: str = ""
    series_uid: str = ""
    size: int = 0
    digest: bytes | None = None
    peer: Peer
    called: str = ""
    association: int = 0
    identical: bool = False
    replaces: Path | None = None
    oddities: tuple[str, ...] = ()
    collected: Collected = field(default_factory=Collected, repr=False)
    _decision: _Decision = field(default_factory=_Decision, init=False, repr=False)

    @property
    def values(self) -> dict[int, StoredValue]:
        """By tag, VR and encoded value of each element that was collected."""
        return self.collected.values()

    @property
    def attributes(self) -> Dataset:
        """The elements of `Storage(collect=)`, decoded as pydicom decodes them in the file.

        They come from what was collected, with the character set of the data set. From an instance
        that is not well formed, has an element above 4 KiB among them, or is beyond the default
        `Limits` of decoding, they are read from the file, without those from the pixel data on.

        Raises:
            DecodeError: pydicom cannot read the file.
            LimitExceeded: decoding takes more than a limit allows.
            OSError: the file cannot be read.
        """
        if self.collected.is_plain:
            return self.collected.dataset()
        from .datasets import read

        return read(self.path, only=self.collected.only)

    def refuse(self, status: int, comment: str = "") -> None:
        """Answer the sender with this status instead of Success, and restore the folder.

        A new file is removed, an earlier version gets its name back, an identical instance stays.
        Of two calls the last counts.

        Args:
            status: a failure of C-STORE: A7xx, A9xx, Cxxx (PS3.4 B.2.3), or one of PS3.7 9.1.1.
            comment: Error Comment (0000,0902), of which 64 characters are sent.

        Raises:
            ValueError: the status is no failure status of C-STORE.
            LocalProtocolError: the function has returned, and the instance is answered.
        """
        failure = Status(status).category == "failure"
        if not failure or not is_defined(status, "C-STORE", self.sop_class.service):
            raise ValueError(f"{status:04X} is no failure status of C-STORE (PS3.4 B.2.3)")
        if not self._decision.open:
            raise LocalProtocolError("on_stored has returned: the instance is answered already")
        self._decision.refusal = int(status), comment


OnStored: TypeAlias = Callable[[list[StoredInstance]], Awaitable[None] | None]
"""The function that decides on stored instances; with an `AsyncServer` it may be `async`."""


class StorageSettings(TypedDict, total=False):
    """Keywords of `Storage` for what it takes and for the function that decides.

    What is taken:
        reserve: bytes of the disk that stay free: with less free, instances are refused (A700) as
            soon as they begin to arrive. Default 2 % of the file system, at most 1 GiB.
        strict: refuse (C000) a data set that is whole but not well formed. Otherwise a data set
            that can be walked to its end without a doubt is stored as it came, and its oddities are
            in the event, see `Stored`. Default False.

    The function that decides:
        on_stored: called by the server with the instances that were stored since the last call, at
            most 256 `StoredInstance`s, from all associations; on one thread, or on the loop of an
            `AsyncServer` if the function is `async`. Success goes out when the function has
            returned. It may `refuse` instances; an exception is logged, and refuses all instances
            of the call with C000. Another instance with the same UID waits for the decision.
        on_stored_timeout: seconds from storing an instance until it is answered A700 for want of a
            decision; the file stays. 0 is no limit. Default 30.
        collect: keywords or tags of elements of the top level that `on_stored` gets of each
            instance, taken while it is stored. Specific Character Set (0008,0005) comes along.
        digest: hash each data set for `on_stored`. Default False.
    """

    reserve: int | None
    strict: bool
    on_stored: OnStored | None
    on_stored_timeout: float
    collect: Iterable[str | int]
    digest: bool


_DEFAULTS: Final[StorageSettings] = {
    "reserve": None,
    "strict": False,
    "on_stored": None,
    "on_stored_timeout": 30.0,
    "collect": (),
    "digest": False,
}


class Storage:
    """A folder that receives instances, each verified to be whole before it is answered Success.

    Attributes:
        folder: where instances are written.
        sop_classes: SOP classes that are taken.
        unknown: whether other classes are taken too, or the function that decides on a class.
        on_stored: the function that decides on stored instances; None without one.
        on_stored_timeout: seconds that the function may take; 0 is no limit.
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
        **settings: Unpack[StorageSettings],
    ) -> None:
        """Make the folder if it is not there, and remove what a crash left unfinished in it.

        Args:
            folder: instances become `<folder>/<SOPInstanceUID>.dcm`.
            mode: before Success is answered, sync file and folder ("durable"), the file
                ("file-only"), or nothing ("fast").
            layout: "study" adds `<StudyInstanceUID>/<SeriesInstanceUID>/`.
            duplicates: when an instance comes again with other bytes, keep the earlier version as
                `<uid>.dcm~1~`, or refuse the new one. The same bytes are always a Success.
            sop_classes: SOP classes to take, or one; default every storage class of the registry
                for which the server has no handler.
            unknown: take any other class too, or those that a function takes. Otherwise only
                classes that the sender announces as specialisations of storage (PS3.7 D.3.3.6),
                which are always taken.
            settings: the keywords that `StorageSettings` explains: reserve and strict for what is
                taken; on_stored, on_stored_timeout, collect and digest for the function that
                decides.

        Raises:
            OSError: the folder cannot be made or written to.
            ValueError: an unknown mode, layout, policy or keyword of a data set, or a negative
                number.
            TypeError: no such setting; or `on_stored` is no function of one argument, or a
                generator function.
        """
        # Checked before the folder is made: a wrong setting leaves nothing behind.
        chosen = _checked(settings)
        self.folder: Path = Path(folder)
        named = ALL_STORAGE if sop_classes is None else several(sop_classes)
        self.sop_classes: tuple[SOPClass, ...] = tuple(SOPClass.of(check_uid(uid)) for uid in named)
        # Decides who serves a class that a handler names too: handlers come before a storage for
        # every class, and beside a storage that names its classes they are a contradiction.
        self._selective = sop_classes is not None
        self.unknown = unknown
        self.on_stored: OnStored | None = chosen["on_stored"]
        self.on_stored_timeout: float = chosen["on_stored_timeout"]
        self._tags = _tags(chosen["collect"])
        self._core = _core.Folder(
            self.folder,
            mode,
            layout,
            duplicates,
            reserve=chosen["reserve"],
            strict=chosen["strict"],
            collect=_core.Collect(
                collector(self._tags) if self._tags else None, digest=chosen["digest"]
            ),
        )

    @property
    def is_selective(self) -> bool:
        """Whether classes were named; otherwise every class without a handler is taken."""
        return self._selective

    @property
    def unknown_policy(self) -> str:
        """How negotiation treats classes beyond `sop_classes`."""
        return "any" if self.unknown is True else "announced"

    @property
    def predicate(self) -> Callable[[SOPClass], bool] | None:
        """The function that decides whether another class is taken; None without one."""
        return None if isinstance(self.unknown, bool) else self.unknown

    @property
    def core(self) -> _core.Folder:
        """The folder of the core; private to `Server`."""
        return self._core

    @property
    def tags(self) -> tuple[int, ...]:
        """Tags of the elements that are collected; private to `Server`."""
        return self._tags

    def check_undecided(self, where: str) -> None:
        """Refuse a use of the storage that would never call `on_stored`; private.

        Args:
            where: the use, for the message.

        Raises:
            ValueError: the storage has such a function.
        """
        if self.on_stored is not None:
            raise ValueError(
                f"{where} does not call Storage(on_stored=): only Server(services=[...]) does"
            )

    def __repr__(self) -> str:
        """Show the folder and how many classes it takes."""
        return f"<Storage {str(self.folder)!r}, {len(self.sop_classes)} SOP classes>"


def _checked(settings: StorageSettings) -> StorageSettings:
    """Complete the settings by their defaults, and check them.

    Raises:
        TypeError: there is no such setting, or it has another type.
        ValueError: a value is not allowed, alone or beside the others.
    """
    for name in settings:
        if name not in _DEFAULTS:
            raise TypeError(unexpected("Storage", name, _DEFAULTS))
    chosen: StorageSettings = {**_DEFAULTS, **settings}
    reserve, timeout = chosen["reserve"], chosen["on_stored_timeout"]
    collect = chosen["collect"]
    chosen["collect"] = (collect,) if isinstance(collect, str) else tuple(collect)
    if reserve is not None and reserve < 0:
        raise ValueError(f"a reserve of {reserve} bytes")
    if timeout is None:
        raise TypeError("on_stored_timeout= is a number of seconds, not None; 0 is no limit")
    if timeout < 0:
        raise ValueError(f"an on_stored_timeout of {timeout} s")
    if chosen["on_stored"] is None and (chosen["digest"] or chosen["collect"]):
        raise ValueError("collect= and digest= are for on_stored=, and there is none")
    _check_function(chosen["on_stored"])
    return chosen


def _check_function(on_stored: object) -> None:
    """Check that a function can decide on stored instances.

    Raises:
        TypeError: the object cannot be called, takes another number of arguments, or is a generator
            function, which a call would not run.
    """
    if on_stored is None:
        return
    if not callable(on_stored):
        raise TypeError(f"on_stored= is a function, not {on_stored!r}")
    import inspect

    # A generator function returns at once and runs nothing: every instance would be accepted.
    call = getattr(type(on_stored), "__call__", None)  # noqa: B004 - its type's, not whether
    for one in (on_stored, call):
        if inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one):
            raise TypeError("on_stored= is a generator function, none of which would run")
    if fault := fault_of_arguments(on_stored):
        raise TypeError(f"on_stored= is called with one argument, the list of instances: {fault}")


def _tags(what: Iterable[str | int]) -> tuple[int, ...]:
    """Give the tags of keywords and tags, and that of Specific Character Set.

    Raises:
        ValueError: an attribute is no keyword, or no tag that a data set can have.
    """
    if not what:  # pydicom is not loaded in vain
        return ()
    from .encoding.library import tag_for_keyword

    tags = {_CHARACTER_SET}  # without it no text among the values could be decoded
    for attribute in what:
        tag = tag_for_keyword(attribute) if isinstance(attribute, str) else attribute
        # Below group 0008 stand commands, file meta and directories: in no data set on the wire.
        if tag is None or not 0x00080000 <= tag <= 0xFFFFFFFF:
            raise ValueError(f"collect= has keywords and tags of data elements, not {attribute!r}")
        tags.add(int(tag))
    return tuple(sorted(tags))
