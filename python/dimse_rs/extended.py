"""SOP class extended negotiation: the application information of each class (PS3.7 D.3.3.5).

The information of storage and query/retrieve has types here; that of every other class is bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias, TypeVar

from .records import dataclass, names_of
from .sop_class import Model, SOPClass

__all__ = [
    "Extended",
    "Options",
    "QueryRetrieveOptions",
    "StorageOptions",
    "agree",
    "decode",
    "encode",
]

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """How an SCP stores. A requestor sends the defaults; an acceptor declares its own values.

    Attributes:
        level: of support: 0 local, 1 base, 2 full; 3 not applicable, the association requestor is
            SCU only.
        signatures: level of digital signature support, 0 to 3.
        coercion: of data elements: 0 none, 1 may happen; 2 not applicable.

    Source: PS3.4 B.3.1.
    """

    level: int = 3
    signatures: int = 0
    coercion: int = 2

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: one is not defined.
        """
        for name, most in (("level", 3), ("signatures", 3), ("coercion", 2)):
            value = getattr(self, name)
            if value not in range(most + 1):
                raise ValueError(f"{name} is 0 to {most}, not {value!r} (PS3.4 B.3.1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRetrieveOptions:
    """Options of queries and retrievals: offered by the requestor, agreed to by the acceptor.

    An option that was not agreed to must not be used. Retrieval classes have the first and the
    fifth only.

    Attributes:
        relational: relational queries and retrievals (PS3.4 C.4.1.2.2.1).
        combined_datetime: a date range and a time range are matched as one.
        fuzzy_names: fuzzy semantic matching of person names.
        timezone: times are adjusted for the time zone.
        enhanced_conversion: Query/Retrieve View: enhanced multi-frame conversion.
        empty_values: empty value matching.
        multiple_values: multiple value matching.

    Source: PS3.4 C.5.1.1, C.5.2.1.
    """

    relational: bool = False
    combined_datetime: bool = False
    fuzzy_names: bool = False
    timezone: bool = False
    enhanced_conversion: bool = False
    empty_values: bool = False
    multiple_values: bool = False


Extended: TypeAlias = StorageOptions | QueryRetrieveOptions | bytes
"""Application information of one SOP Class: typed where the standard defines options."""

Options: TypeAlias = Mapping[str | Model, Extended]
"""What a requestor offers, by SOP class; a model stands for all its classes."""

_FIND: Final = ("Find", "Query")
_STORAGE_LENGTH: Final = 6


def encode(sop_class: SOPClass, value: Extended) -> bytes:
    """Give the bytes of the item, with every option.

    Raises:
        ValueError: options of another service class.
    """
    if isinstance(value, StorageOptions) and sop_class.is_storage:
        return bytes((value.level, 0, value.signatures, 0, value.coercion, 0))
    if isinstance(value, QueryRetrieveOptions) and sop_class.service == "query-retrieve":
        if sop_class.keyword.endswith(_FIND):
            return bytes(getattr(value, name) for name in names_of(value))
        relational = value.relational and not _is_composite(sop_class)
        return bytes((relational, value.enhanced_conversion))
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise ValueError(f"{sop_class!r} has no {type(value).__name__}: give bytes (PS3.7 D.3.3.5)")


def offer(sop_class: SOPClass, value: Extended) -> bytes:
    """Give the bytes to propose, without the options at the end that are not wanted.

    Acceptors that follow an older edition know fewer options, and may refuse a longer item.
    """
    info = encode(sop_class, value)
    if not isinstance(value, QueryRetrieveOptions):
        return info
    least = 2 if _is_composite(sop_class) else 1
    return info[: max(len(info.rstrip(b"\0")), least)]


def decode(sop_class: SOPClass, info: bytes) -> Extended:
    """Read the item of a peer; bytes when the class has no type, or they do not fit its type."""
    if sop_class.service == "query-retrieve":
        flags = [byte == 1 for byte in info]
        if sop_class.keyword.endswith(_FIND):
            names = names_of(QueryRetrieveOptions)
        else:
            names = [
                "reserved" if _is_composite(sop_class) else "relational",
                "enhanced_conversion",
            ]
        # An item may be shorter or longer than here: editions of the standard have added options.
        options = dict(zip(names, flags, strict=False))
        options.pop("reserved", None)
        return QueryRetrieveOptions(**options)
    if sop_class.is_storage and len(info) == _STORAGE_LENGTH:
        # Each second byte is reserved (PS3.4 B.3.1).
        try:
            return StorageOptions(info[0], info[2], info[4])
        except ValueError:
            return info
    return info


def agree(sop_class: SOPClass, offered: bytes, ours: Extended) -> bytes:
    """Answer an offer: options are agreed to one by one, other information is declared."""
    info = encode(sop_class, ours)
    if not isinstance(ours, QueryRetrieveOptions):
        return info
    # Each byte is 0 or 1: what both sides support, and no longer than the offer.
    return bytes(min(pair) for pair in zip(offered, info, strict=False))


def by_class(extended: Mapping[str | Model, Value]) -> Iterator[tuple[SOPClass, Value]]:
    """Give each class its value; a model stands for all its classes."""
    for key, value in extended.items():
        for sop_class in (SOPClass.of(key),) if isinstance(key, str) else key:
            yield sop_class, value


def proposed(extended: Options, sop_classes: set[SOPClass]) -> list[tuple[str, bytes]]:
    """Give the items of an A-ASSOCIATE-RQ, for the classes that it proposes.

    Raises:
        ValueError: a class or a model that is not proposed, or options of another service.
    """
    for key in extended:
        classes = {SOPClass.of(key)} if isinstance(key, str) else set(key)
        if not classes & sop_classes:
            raise ValueError(f"extended negotiation of {key!r}, which is not proposed")
    return [
        (str(sop_class), offer(sop_class, value))
        for sop_class, value in dict(by_class(extended)).items()
        if sop_class in sop_classes
    ]


def answered(facts: list[tuple[str, bytes]]) -> dict[SOPClass, Extended]:
    """Read the items of a peer; of two for one class the first counts."""
    named: dict[SOPClass, Extended] = {}
    for uid, info in facts:
        sop_class = SOPClass.of(uid)
        named.setdefault(sop_class, decode(sop_class, info))
    return named


def _is_composite(sop_class: SOPClass) -> bool:
    """Whether the first byte is reserved, for want of relational retrieval (PS3.4 Y.5.1)."""
    return sop_class.keyword.startswith("CompositeInstance")
