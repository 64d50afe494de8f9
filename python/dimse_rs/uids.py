"""What a SOP Class and a Transfer Syntax are to us: UID strings that know their name.

The two tables stand here empty. `sop_class`, generated from the registry (PS3.6 A), fills them when
it is loaded: import `SOPClass`, `TransferSyntax` and `Model` from there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Self

from .records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["SOP_CLASSES", "TRANSFER_SYNTAXES", "Model", "SOPClass", "TransferSyntax"]
__all__ += ["check_uid", "is_uid", "several"]

SOP_CLASSES: Final[dict[str, SOPClass]] = {}
"""Every SOP Class of the registry by UID, and those that `registry.register` added."""

TRANSFER_SYNTAXES: Final[dict[str, TransferSyntax]] = {}
"""Every Transfer Syntax of the registry by UID."""

_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")


def is_uid(text: str) -> bool:
    """Whether it is a UID; leading zeros are let through, they occur (PS3.5 9.1)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def check_uid(uid: str) -> str:
    """Give a UID back.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(uid, str) or not is_uid(uid):
        raise ValueError(f"not a UID: {uid!r} (PS3.5 9.1)")
    return uid


def several(texts: Iterable[str]) -> Iterable[str]:
    """Count a text alone as a list of one; iterated over, it would be a list of its letters."""
    return (texts,) if isinstance(texts, str) else texts


class SOPClass(str):
    """A SOP Class UID: a `str` for every purpose, with its registry entry beside it.

    Attributes:
        keyword: the registry's keyword, such as "CTImageStorage"; empty when unknown.
        name: the registry's name, such as "CT Image Storage"; empty when unknown.
        service: the service class it belongs to, such as "storage" or "query-retrieve".
        dimse: the DIMSE services of its conformance table, such as ("N-CREATE", "N-SET"); of a meta
            class those of its members; empty when unknown, or when no DIMSE service carries it.
        retired: whether the standard has retired it.

    A private class is made with its own facts; `registry.register` has `of` find it.

    Source: PS3.6 A, PS3.4.
    """

    __slots__ = ("dimse", "keyword", "name", "retired", "service")

    keyword: str
    name: str
    service: str
    dimse: tuple[str, ...]
    retired: bool

    def __new__(
        cls,
        uid: str,
        keyword: str = "",
        name: str = "",
        service: str = "",
        dimse: tuple[str, ...] = (),
        retired: bool = False,
    ) -> Self:
        """Make the UID and keep its registry entry."""
        self = super().__new__(cls, uid)
        self.keyword = keyword
        self.name = name
        self.service = service
        self.dimse = dimse
        self.retired = retired
        return self

    @classmethod
    def of(cls, uid: str) -> SOPClass:
        """Look a UID up; one that is not in the registry comes back without a name."""
        if isinstance(uid, SOPClass):
            return uid
        return SOP_CLASSES.get(uid) or SOPClass(uid)

    @property
    def is_storage(self) -> bool:
        """Whether instances of it are sent by C-STORE (PS3.4 B and GG)."""
        return "C-STORE" in self.dimse

    def __repr__(self) -> str:
        """Show the keyword beside the UID."""
        return f"<SOPClass {self.keyword or '?'} {str(self)!r}>"


class TransferSyntax(str):
    """A Transfer Syntax UID: a `str` for every purpose, with its encoding beside it.

    A syntax that is not in the registry is taken as PS3.5 A.4 prescribes for every one that is not
    among the first few: Explicit VR Little Endian, with the pixel data encapsulated.

    Attributes:
        keyword: the registry's keyword, such as "JPEGBaseline8Bit"; empty when unknown.
        name: the registry's name; empty when unknown.
        implicit: whether the data set has implicit VR.
        big_endian: whether the data set is big endian.
        deflated: whether the whole data set is deflated (PS3.5 A.5).
        encapsulated: whether pixel data is encapsulated (PS3.5 A.4).
        retired: whether the standard has retired it.

    Source: PS3.5 10 and A, PS3.6 A.
    """

    __slots__ = (
        "big_endian",
        "deflated",
        "encapsulated",
        "implicit",
        "keyword",
        "name",
        "retired",
    )

    keyword: str
    name: str
    implicit: bool
    big_endian: bool
    deflated: bool
    encapsulated: bool
    retired: bool

    def __new__(
        cls,
        uid: str,
        keyword: str = "",
        name: str = "",
        *,
        implicit: bool = False,
        big_endian: bool = False,
        deflated: bool = False,
        encapsulated: bool = True,
        retired: bool = False,
    ) -> Self:
        """Make the UID and keep its registry entry."""
        self = super().__new__(cls, uid)
        self.keyword = keyword
        self.name = name
        self.implicit = implicit
        self.big_endian = big_endian
        self.deflated = deflated
        self.encapsulated = encapsulated
        self.retired = retired
        return self

    @classmethod
    def of(cls, uid: str) -> TransferSyntax:
        """Look a UID up; one that is not in the registry comes back without a name."""
        if isinstance(uid, TransferSyntax):
            return uid
        return TRANSFER_SYNTAXES.get(uid) or TransferSyntax(uid)

    @property
    def convertible(self) -> bool:
        """Whether data sets in it convert to others by re-encoding alone, without a pixel codec."""
        return self in _CONVERTIBLE

    def __repr__(self) -> str:
        """Show the keyword beside the UID."""
        return f"<TransferSyntax {self.keyword or '?'} {str(self)!r}>"


# PS3.5 A.1, A.2, A.5 and A.3 (retired): native pixel data, whole data set in one encoding.
_CONVERTIBLE = frozenset(
    (
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.2",
    )
)


@dataclass(frozen=True, slots=True)
class Model:
    """An information model: the SOP Classes that find, get and move along one root (PS3.4 C.6).

    Attributes:
        name: as the constant is called, such as "StudyRoot".
        find: its C-FIND class, or None.
        get: its C-GET class, or None.
        move: its C-MOVE class, or None.
    """

    name: str
    find: SOPClass | None = None
    get: SOPClass | None = None
    move: SOPClass | None = None

    def __iter__(self) -> Iterator[SOPClass]:
        """Iterate over the classes that the model has."""
        return (cls for cls in (self.find, self.get, self.move) if cls is not None)
