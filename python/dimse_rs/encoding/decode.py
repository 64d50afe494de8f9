"""Bytes into data sets of pydicom, whose values are decoded when they are looked at.

Most data sets of messages are elements one after the other, which the core splits ten times as fast
as pydicom does. It leaves every other data set, and each that readers take in different ways, to
pydicom. What comes out is the same: a test compares both on made-up bytes.
"""

from __future__ import annotations

from functools import cache, lru_cache, partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, Literal

from dimse_rs import _core
from dimse_rs.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydicom import Dataset

    from dimse_rs.sop_class import TransferSyntax

__all__ = ["data_set", "is_bulk"]

_UNDEFINED: Final = 0xFFFFFFFF
_CHARACTER_SET: Final = 0x00080005
_BULK_PIXELS: Final = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_KEPT: Final = 64
"""Bytes of a value that is kept; the values come from peers."""


def data_set(data: bytes, syntax: TransferSyntax, only: Sequence[int] | None = None) -> Dataset:
    """Read a data set that has passed the gate.

    Args:
        data: the data set, inflated.
        syntax: its transfer syntax.
        only: read these elements alone, of those before the pixel data.

    Raises:
        DecodeError: a value is cut short.
        Exception: any that pydicom raises.

    Source: PS3.5 7.
    """
    from .library import BaseTag, Dataset, config, default_encoding, read_dataset

    name: Literal["implicit", "explicit", "big"]
    name = "implicit" if syntax.implicit else "big" if syntax.big_endian else "explicit"
    implicit, little = syntax.implicit, not syntax.big_endian
    elements = None
    # The core has empty text as bytes, which is pydicom's default.
    if only is None and not config.use_none_as_empty_text_VR_value:
        element, further = _raw_elements()
        elements = _core.raw_elements(data, name, BaseTag, element, (implicit, little, *further))
    if elements is None:
        dataset = read_dataset(
            BytesIO(data),
            is_implicit_VR=implicit,
            is_little_endian=little,
            stop_when=None if only is None else is_bulk,
            specific_tags=None if only is None else list(only),
        )
        _check_end(dataset)
        return dataset
    dataset = Dataset.__new__(Dataset)
    attributes = vars(dataset)
    # What `Dataset()` sets, one attribute after the other; the mappings among them are its own.
    for key, value in _new().items():
        attributes[key] = value.copy() if isinstance(value, dict) else value
    attributes["_dict"] = elements
    declared = elements.get(_CHARACTER_SET)
    read_with: str | list[str] = default_encoding
    if declared is not None:
        short = len(declared.value or b"") <= _KEPT
        encodings = _encodings if short else _encodings.__wrapped__
        read_with = list(encodings(declared.VR, declared.value, implicit, little))
    dataset.set_original_encoding(implicit, little, read_with)
    return dataset


@cache
def _raw_elements() -> tuple[Callable[[tuple[Any, ...]], Any], tuple[Any, ...]]:
    """Give what makes a raw element of all its fields, and the fields that have defaults.

    The class itself would fill in the defaults, in Python, at twice the cost.
    """
    from .library import RawDataElement

    return partial(tuple.__new__, RawDataElement), tuple(RawDataElement._field_defaults.values())


@cache
def _new() -> dict[str, Any]:
    """Give the attributes of a data set that is made."""
    from .library import Dataset

    return dict(vars(Dataset()))


@lru_cache(maxsize=256)
def _encodings(vr: str | None, value: bytes, implicit: bool, little: bool) -> tuple[str, ...]:
    """Give Python's names of the encodings that values of (0008,0005) stand for."""
    from .library import BaseTag, RawDataElement, convert_encodings, convert_raw_data_element

    tag = BaseTag(_CHARACTER_SET)
    element = RawDataElement(tag, vr, len(value or b""), value, 0, implicit, little)
    return tuple(convert_encodings(convert_raw_data_element(element).value))


def is_bulk(tag: int, _vr: str | None, _length: int) -> bool:
    """Whether reading a header ends at this element."""
    return tag in _BULK_PIXELS


def _check_end(dataset: Dataset) -> None:
    """Refuse a data set whose last value is cut short: pydicom gives the part that is there.

    Every value is looked at, because the element that was read last need not have the highest tag.
    Behind an unknown VR whose length has 32 bits pydicom and the gate differ, and pydicom takes
    parts of a value for elements; such a data set ends inside one of them.
    """
    from .library import RawDataElement

    for last in dataset._dict.values():
        if not isinstance(last, RawDataElement) or last.value is None:
            continue
        if last.length != _UNDEFINED and len(last.value) < last.length:
            raise DecodeError(
                f"the data set ends in {last.tag}: {len(last.value)} of {last.length} bytes",
                section="PS3.5 7.1",
            )
