"""Storage (PS3.4 Annex B): received instances go straight to files, without Python in between.

A function may decide on what is stored, `Storage(on_stored=)`: what it sees of each is a
`StoredInstance`. How it is called is in `dimse_rs.perform.deciding`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from dimse_rs import _core
from dimse_rs.errors import LocalProtocolError
from dimse_rs.settings import Peer
from dimse_rs.sop_class import ALL_STORAGE
from dimse_rs.status import Status, is_defined

from .callables import fault_of_arguments
from .sop_class import SOPClass, TransferSyntax

__all__ = ["Duplicates", "Layout", "Mode", "OnStored", "Storage", "StoredInstance", "StoredValue"]

Mode = Literal["durable", "file-only", "fast"]
Layout = Literal["flat", "study"]
Duplicates = Literal["keep-both", "reject"]


_CHARACTER_SET: Final = 0x00080005


class StoredValue(NamedTuple):
    """An element of a data set as it was received.

    Attributes:
        vr: value representation: that of the data set, in Implicit VR that of the data dictionary;
            "UN" where neither says one.
        data: the encoded value, padding included, in the byte order of the transfer syntax. Of a
            sequence it is what stands between its header and its delimiter.
    """

    vr: str
    data: bytes


class _Decision:
    """What a function said of an instance; `open` while it may."""

    __slots__ = ("open", "refusal")

    def __init__(self) -> None:
        self.open = True
        self.refusal: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredInstance:
    """An instance that is stored and not answered: what `Storage(on_stored=)` gets a list of.

    Attributes:
        path: the Part 10 file.
        sop_class: SOP Class UID.
        instance_uid: SOP Instance UID.
        transfer_syntax: how the data set is encoded, in the file as it was received.
        study_uid: Study Instance UID (0020,000D); empty when the data set has none.
        series_uid: Series Instance UID (0020,000E); likewise.
        size: length of the data set in bytes.
        digest: BLAKE3 of the data set as received, 32 bytes; None without `Storage(digest=True)`.
        peer: who sent it: its calling AE title and where it is.
        called: the AE title that it called.
        association: number of the association, as in logs and events.
        identical: the same data set was there already, and nothing was changed.
        replaces: where the earlier version went, when there was one with other bytes.
        oddities: what is wrong with the data set although it is whole.
        values: by tag, each element of `Storage(collect=)` that the data set has, up to 4 KiB long.
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
    values: Mapping[int, StoredValue] = field(default_factory=dict, repr=False)
    _decision: _Decision = field(default_factory=_Decision, init=False, repr=False)

    def refuse(self, status: int, comment: str = "") -> None:
        """Have the sender told this instead of Success, and put back what was there before.

        A new file goes, an earlier version takes its place again, an identical one stays. Of two
        calls the last counts.

        Args:
            status: a failure of C-STORE: A7xx, A9xx, Cxxx (PS3.4 B.2.3), or one of PS3.7 9.1.1.
            comment: Error Comment (0000,0902), of which 64 characters are sent.

        Raises:
            ValueError: no failure status of C-STORE.
            LocalProtocolError: the function has returned, and the instance is answered.
        """
        failure = Status(status).category == "failure"
        if not failure or not is_defined(status, "C-STORE", self.sop_class.service):
            raise ValueError(f"{status:04X} is no failure status of C-STORE (PS3.4 B.2.3)")
        if not self._decision.open:
            raise LocalProtocolError("on_stored has returned: the instance is answered already")
        self._decision.refusal = int(status), comment


OnStored: TypeAlias = Callable[[list[StoredInstance]], Awaitable[None] | None]
"""The function that decides on stored instances; of an `AsyncServer` it may be `async`."""


class Storage:
    """A folder that receives instances, each verified to be whole before Success is said.

    Attributes:
        folder: where instances are written.
        sop_classes: which are taken.
        unknown: whether other classes are taken too, or what tells.
        on_stored: what decides on stored instances, if anything does.
        on_stored_timeout: seconds that it may take; 0 is no limit.
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
        on_stored: OnStored | None = None,
        on_stored_timeout: float = 30.0,
        collect: Iterable[str | int] = (),
        digest: bool = False,
    ) -> None:
        """Make the folder if it is not there, and remove what a crash left unfinished in it.

        Args:
            folder: instances become `<folder>/<SOPInstanceUID>.dcm`.
            mode: before Success is said, sync file and folder ("durable"), the file ("file-only"),
                or nothing ("fast").
            layout: "study" adds `<StudyInstanceUID>/<SeriesInstanceUID>/`.
            duplicates: when an instance comes again with other bytes, keep the earlier version as
                `<uid>.dcm~1~`, or refuse the new one. The same bytes are always a Success.
            sop_classes: which to take; default every storage class of the registry that no
                handler of the server names.
            unknown: take any other class too, or those of which a function says so. Without it
                only classes that the sender announces as specialisations of storage (PS3.7
                D.3.3.6), which are always taken.
            reserve: bytes of the disk to leave free: with less, instances are refused (A700) as
                soon as they begin to arrive. Default 2 % of the file system, at most 1 GiB.
            strict: refuse (C000) what is whole but not well formed. Otherwise an instance that can
                be walked to its end without a doubt is stored as it came, and its oddities are in
                the event, see `Stored`.
            on_stored: called by the server with what was stored since the last call, at most 256
                `StoredInstance`s, from all associations; on one thread, or on the loop of an
                `AsyncServer` if it is `async`. Success goes out when it has returned. It may
                `refuse` instances; what it raises is logged, and refuses all of them with C000.
                While it has not decided, another instance with the same UID waits.
            on_stored_timeout: seconds from when an instance is stored until it is answered A700
                although there is no verdict; the file stays. 0 is no limit.
            collect: keywords or tags of elements of the top level that `on_stored` gets of each
                instance, taken while it is stored. Specific Character Set (0008,0005) comes along.
            digest: hash each data set for `on_stored`.

        Raises:
            OSError: the folder cannot be made or written to.
            ValueError: an unknown mode, layout, policy or keyword, or a negative number.
            TypeError: `on_stored` is no function of one argument, or a generator function.
        """
        if reserve is not None and reserve < 0:
            raise ValueError(f"a reserve of {reserve} bytes")
        if on_stored_timeout is None:
            raise TypeError("on_stored_timeout= is a number of seconds, not None; 0 is no limit")
        if on_stored_timeout < 0:
            raise ValueError(f"an on_stored_timeout of {on_stored_timeout} s")
        if on_stored is None and (digest or (collect := tuple(collect))):
            raise ValueError("collect= and digest= are for on_stored=, and there is none")
        _check_function(on_stored)
        self.folder = Path(folder)
        self.sop_classes = tuple(
            SOPClass.of(uid) for uid in (ALL_STORAGE if sop_classes is None else sop_classes)
        )
        self._selective = sop_classes is not None
        self.unknown = unknown
        self.on_stored = on_stored
        self.on_stored_timeout = on_stored_timeout
        self._vrs = _collected(collect)
        self._core = _core.Folder(
            self.folder,
            mode,
            layout,
            duplicates,
            reserve=reserve,
            strict=strict,
            collect=_core.Collect(list(self._vrs), digest=digest),
        )

    @property
    def is_selective(self) -> bool:
        """Whether its classes were named; otherwise it is for every one that no handler names."""
        return self._selective

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

    @property
    def vrs(self) -> Mapping[int, str]:
        """What is collected, by tag the VR of the data dictionary; private to `Server`."""
        return self._vrs

    def check_undecided(self, where: str) -> None:
        """Refuse to be used where nothing would call `on_stored`; private.

        Raises:
            ValueError: there is one.
        """
        if self.on_stored is not None:
            raise ValueError(
                f"{where} does not call Storage(on_stored=): only Server(services=[...]) does"
            )

    def __repr__(self) -> str:
        """Show the folder and how many classes it takes."""
        return f"<Storage {str(self.folder)!r}, {len(self.sop_classes)} SOP classes>"


def _check_function(on_stored: object) -> None:
    """See that a function can decide on what is stored.

    Raises:
        TypeError: it cannot be called, not with one argument, or would only make a generator.
    """
    if on_stored is None:
        return
    if not callable(on_stored):
        raise TypeError(f"on_stored= is a function, not {on_stored!r}")
    call = getattr(type(on_stored), "__call__", None)  # noqa: B004 - its type's, not whether
    for one in (on_stored, call):
        if inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one):
            raise TypeError("on_stored= is a generator function, none of which would run")
    if fault := fault_of_arguments(on_stored):
        raise TypeError(f"on_stored= is called with one argument, the list of instances: {fault}")


def _collected(what: Iterable[str | int]) -> dict[int, str]:
    """Give the tags of keywords and tags, with the VR that each has in the data dictionary.

    Raises:
        ValueError: no keyword, or no tag that a data set can have.
    """
    what = [what] if isinstance(what, str) else list(what)
    if not what:
        return {}
    from .encoding.library import dictionary_VR, tag_for_keyword

    tags = {_CHARACTER_SET}
    for attribute in what:
        tag = tag_for_keyword(attribute) if isinstance(attribute, str) else attribute
        if tag is None or not 0x00080000 <= tag <= 0xFFFFFFFF:
            raise ValueError(f"collect= has keywords and tags of data elements, not {attribute!r}")
        tags.add(int(tag))
    vrs = {}
    for tag in sorted(tags):
        try:
            vrs[tag] = dictionary_VR(tag)
        except KeyError:  # a private one, or none that the dictionary has
            vrs[tag] = "UN"
    return vrs
