"""What an index keeps of an instance: its keys by level, bounded, and shared where they repeat.

The keys of a file, or of an instance that was collected while it was stored, are kept undecoded, as
the core packed them. They are decoded when a search looks at them. The keys of a data set in
memory, or of a file that only pydicom can judge, are kept as pydicom's elements. Both give the
same.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from dimse_rs import log
from dimse_rs.datasets import Collected, Decoder, Groups, undecoded

from .hierarchy import LEVELS, level_of, tags

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

__all__ = ["OF_ALL_LEVELS", "Header", "by_level", "coded", "depths", "element_of", "header_of"]
__all__ += ["common_text", "shared", "text_of"]

_logger = log.get(log.SERVER)

_CHARACTER_SET: Final = 0x00080005
_TIMEZONE: Final = 0x00080201
OF_ALL_LEVELS: Final = (_CHARACTER_SET, _TIMEZONE)
"""Attributes by which the others are decoded, at every level."""

_LONGEST_VALUE: Final = 10240
"""Bytes of a value that is kept, the longest LT; longer ones count as unknown."""
_MOST_VALUES: Final = 1024
"""Values of an element, and elements of a sequence, that are kept; of more they count as unknown:
the peer that stores must not decide what a search costs."""

Elements: TypeAlias = "dict[int, DataElement]"
Header: TypeAlias = "Elements | bytes"
"""The keys of a level: as pydicom's elements, or packed by the core, for a `Decoder`."""

_SMALL: Final = 64
"""Bytes of a packed element that is kept decoded for a while: such as a number of rows or a date,
which many instances have in common."""


def header_of(dataset: Dataset, computed: tuple[int, ...]) -> Elements:
    """Take the keys that have a value, decoded to the last item; without what cannot be decoded.

    Args:
        dataset: of an instance.
        computed: keys that the index answers itself, whatever an instance says.
    """
    header: Elements = {}
    present = dataset.keys()
    for tag in (*tags(), *OF_ALL_LEVELS):
        if tag not in present or tag in computed:
            continue
        # Asked before the value is decoded: decoding it is what the bound is about.
        length = getattr(undecoded(dataset, tag), "length", None)
        if length is not None and length != 0xFFFFFFFF and length > _LONGEST_VALUE:
            continue
        try:
            element = dataset[tag]
            if _is_kept(element):
                header[tag] = element
        except Exception:
            _logger.debug("(%04X,%04X) cannot be read", tag >> 16, tag & 0xFFFF)
    return header


def _is_kept(element: DataElement) -> bool:
    """Whether an element has a value, and no more values than are kept."""
    if element.VR == "SQ":
        return _is_short(element) and not element.is_empty
    if hasattr(element.value, "append") and len(element.value) > _MOST_VALUES:
        return False
    return not element.is_empty


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
def depths() -> dict[int, int]:
    """Give the depth of the level of each key, 0 for PATIENT."""
    return {tag: LEVELS.index(level_of(tag)) for tag in tags()}


@cache
def _groups(computed: tuple[int, ...]) -> Groups:
    """Group the keys: those of all levels, then those of each level."""
    kept = [tag for tag in tags() if tag not in computed]
    levels = [[tag for tag in kept if level_of(tag) == level] for level in LEVELS]
    return Groups([list(OF_ALL_LEVELS), *levels])


def coded(
    collected: Collected, computed: tuple[int, ...]
) -> tuple[Decoder, tuple[bytes, ...]] | None:
    """Take the keys that were collected apart by levels; None when the file has to be read.

    Args:
        collected: of an instance.
        computed: keys that the index answers itself, whatever an instance says.
    """
    if not collected.is_plain:
        return None
    of_all, *levels = collected.parts(_groups(computed))
    try:
        return Decoder.of(collected.transfer_syntax, of_all), tuple(levels)
    except Exception:
        return None  # reading the file says what is wrong


def element_of(header: Header, tag: int, decoder: Decoder | None) -> DataElement | None:
    """Give an element of a level; None when its value is unknown.

    Args:
        header: of the level.
        tag: of the element.
        decoder: for packed elements.
    """
    if decoder is None or not isinstance(header, bytes):
        return header.get(tag) if isinstance(header, dict) else None
    packed = _packed(header, tag, decoder)
    if not packed:
        return None
    return _small(decoder, packed) if len(packed) <= _SMALL else _decoded(decoder, packed)


def _packed(header: bytes, tag: int, decoder: Decoder) -> bytes:
    return decoder.find(decoder.shared if tag in OF_ALL_LEVELS else header, tag)


def _decoded(decoder: Decoder, packed: bytes) -> DataElement | None:
    try:
        element = decoder.element(packed)
        return element if _is_kept(element) else None
    except Exception:
        _logger.debug("an element cannot be read")
        return None


_small = lru_cache(maxsize=1024)(_decoded)


def text_of(header: Header, tag: int, decoder: Decoder | None) -> str:
    """Give the value of a key as text without padding; "" when its value is unknown."""
    if decoder is not None and isinstance(header, bytes):
        packed = _packed(header, tag, decoder)
        text = decoder.plain_text(packed) if packed else ""
        if text is not None:
            return text
    element = element_of(header, tag, decoder)
    return "" if element is None else str(element.value).strip(" \0")


common_text = lru_cache(maxsize=256)(text_of)
"""The same for packed keys above the instance, which the next instance most often has too."""


def by_level(header: Elements) -> tuple[Elements, ...]:
    """Take a header apart by the levels that its attributes belong to."""
    depth_of = depths()
    headers: tuple[Elements, ...] = tuple({} for _ in LEVELS)
    for tag, element in header.items():
        # Each level has the character set of its text: the levels of a match come from several
        # instances.
        if tag in OF_ALL_LEVELS:
            for one in headers:
                one[tag] = element
        else:
            headers[depth_of[tag]][tag] = element
    return headers


def shared(header: Header, like: Header) -> Header:
    """Give a header that is that of another instance, as far as both say the same.

    Most instances of a series differ in a few elements of the IMAGE level. Of the other levels
    the whole dictionary is taken over, so that a further instance costs little memory.

    Returns:
        The other header itself when it is the same in everything, else the first one.
    """
    if not isinstance(header, dict) or not isinstance(like, dict):
        return like if header == like else header
    ours, theirs = header.get(_CHARACTER_SET), like.get(_CHARACTER_SET)
    # The same text in another character set is other bytes, and decides how a response declares it.
    if (ours is None) != (theirs is None) or (ours and theirs and not _are_same(ours, theirs)):
        return header
    # Elements are replaced one by one even where the dictionary cannot be: the values are what is
    # large, and the next instance may still share them.
    all_of_it = len(header) == len(like)
    for tag, element in header.items():
        other = like.get(tag)
        if other is not None and _are_same(element, other):
            header[tag] = other
        else:
            all_of_it = False
    return like if all_of_it else header


def _are_same(one: DataElement, other: DataElement) -> bool:
    """Whether two elements are the same to the letter.

    Not by `==`: the DS values 1.0 and 1.00 are equal, and a response has to carry the one that the
    instance has.
    """
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
