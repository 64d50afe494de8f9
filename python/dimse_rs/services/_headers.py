"""What an index keeps of an instance: its keys by level, bounded, and shared where they repeat."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

from dimse_rs import log
from dimse_rs.datasets import undecoded

from .hierarchy import LEVELS, level_of, tags

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

__all__ = ["OF_ALL_LEVELS", "Header", "by_level", "depths", "header_of", "shared"]

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

Header: TypeAlias = "dict[int, DataElement]"


def header_of(dataset: Dataset, computed: Collection[int]) -> Header:
    """Take the keys that have a value, decoded to the last item; without what cannot be decoded.

    Args:
        dataset: of an instance.
        computed: keys that the index answers itself, whatever an instance says.
    """
    header: Header = {}
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
            if element.VR == "SQ":
                if not _is_short(element):
                    continue
            elif hasattr(element.value, "append") and len(element.value) > _MOST_VALUES:
                continue
        except Exception:
            _logger.debug("(%04X,%04X) cannot be read", tag >> 16, tag & 0xFFFF)
            continue
        if not element.is_empty:
            header[tag] = element
    return header


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


def by_level(header: Header) -> tuple[Header, ...]:
    """Take a header apart by the levels that its attributes belong to."""
    depth_of = depths()
    headers: tuple[Header, ...] = tuple({} for _ in LEVELS)
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
    """Give a header whose elements are those of another instance, where both say the same.

    Most instances of a series differ in a few elements of the IMAGE level. Of the other levels
    the whole dictionary is taken over, so that a further instance costs little memory.

    Returns:
        The other header itself when it is the same in everything, else the first one.
    """
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
