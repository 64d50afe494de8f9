"""The gate between bytes and pydicom: whether a data set is whole, and what decoding it takes.

Nothing here decodes. The core walks the bytes without the interpreter's lock, goes where pydicom
will go, and stops at the first thing that is wrong or at the first limit that is passed. What has
come through is whole, and what decoding it takes is known before a byte of it is decoded.
"""

from __future__ import annotations

from functools import cache
from os import PathLike, fspath
from re import findall
from typing import TYPE_CHECKING, Any, Final, Literal

from dimse_rs import _core
from dimse_rs.errors import DecodeError, LimitExceeded
from dimse_rs.settings import Limits
from dimse_rs.sop_class import TransferSyntax

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydicom import Dataset
    from pydicom.dataelem import DataElement, RawDataElement
    from typing_extensions import Buffer

    Room = Callable[[int], _core.Reserved]
    """Reserves bytes, or raises `LimitExceeded`."""

__all__ = ["check_whole", "memory_of", "scan", "scan_file"]

ELEMENT_BYTES: Final = 1024
"""Memory of a decoded element, and of an item: 270 to 660 bytes, and what the allocator adds."""

_UNDEFINED: Final = 0xFFFFFFFF
_ANY: Final = Limits()


def scan(
    data: Buffer,
    transfer_syntax: str,
    limits: Limits | None = None,
    within: str = "",
    *,
    lenient: bool = False,
) -> _core.Scan:
    """Walk an encoded data set, without group 0002, before it is decoded.

    Args:
        data: all of it.
        transfer_syntax: how it is encoded.
        limits: what decoding may take.
        within: the limit of this kind of data set: it holds for what it inflates to as well.
        lenient: refuse only what is cut short; what else is out of place is for pydicom to judge.

    Raises:
        DecodeError: it is not whole; `.offset` says where.
        LimitExceeded: decoding takes more than a limit allows.

    Source: PS3.5 7, A.5.
    """
    limits = limits or _ANY
    syntax = TransferSyntax.of(transfer_syntax)
    encoding: Literal["implicit", "explicit", "big"]
    encoding = "implicit" if syntax.implicit else "big" if syntax.big_endian else "explicit"
    inflated = min(limits.inflated, getattr(limits, within)) if within else limits.inflated
    bounds = (inflated, limits.elements, limits.depth)
    source = data if isinstance(data, (bytes, _core.Payload)) else bytes(data)
    try:
        return _core.scan(source, encoding, syntax.deflated, bounds, _dictionary(), lenient=lenient)
    except LimitExceeded as error:
        if error.limit == "inflated" and inflated < limits.inflated:
            raise LimitExceeded(within, inflated) from None
        raise


def scan_file(path: str | PathLike[str], limits: Limits | None = None) -> _core.Scan:
    """Walk the data set of a Part 10 file before it is decoded; large values are not read.

    Raises:
        DecodeError: it is no Part 10 file, or not whole; `.offset` counts from its start.
        LimitExceeded: decoding takes more than a limit allows.
        OSError: it cannot be opened, or read.

    Source: PS3.10 7, PS3.5 7, A.5.
    """
    limits = limits or _ANY
    bounds = (limits.inflated, limits.elements, limits.depth)
    return _core.scan_file(fspath(path), bounds, _dictionary())


def memory_of(scan: _core.Scan, copies: int, *, values: bool = False) -> int:
    """Estimate the memory that a decoded data set takes, in bytes.

    Args:
        scan: what the gate found.
        copies: how often its bytes are there.
        values: whether values are looked at: those of an element with many become objects.
    """
    objects = scan.elements * ELEMENT_BYTES + (scan.values if values else 0)
    return scan.size * copies + objects


@cache
def _dictionary() -> _core.Dictionary:
    """Give pydicom's dictionaries to the core: in Implicit VR they say what is a sequence."""
    from .library import DicomDictionary, RepeatersDictionary, private_dictionaries

    elements = ((tag, entry[0]) for tag, entry in DicomDictionary.items() if tag >> 16 != 0xFFFE)
    standard = [(tag, _dearest(vr)) for tag, vr in elements]
    repeated = [
        (int(mask.replace("x", "0"), 16), _known_digits(mask), _dearest(entry[0]))
        for mask, entry in RepeatersDictionary.items()
    ]
    private: dict[int, str] = {}
    for entries in private_dictionaries.values():
        for mask, entry in entries.items():  # such as "0019xx0A": the block is the creator's
            if "x" in mask[:4]:
                continue  # overlays: not private
            vr = _dearest(entry[0])
            lasts = range(256) if mask[6:] == "xx" else (int(mask[6:], 16),)
            for last in lasts:
                tag = int(mask[:4], 16) << 16 | last
                private[tag] = max(private.get(tag, vr), vr, key=_price)
    return _core.Dictionary(standard, repeated, list(private.items()))


def _known_digits(mask: str) -> int:
    return int("".join("0" if digit == "x" else "F" for digit in mask), 16)


@cache
def _dearest(vr: str) -> str:
    """Take the VR of those that are possible whose values take the most memory."""
    possible: list[str] = findall("[A-Z]{2}", vr)
    return max(possible, key=_price)


@cache
def _price(vr: str) -> int:
    if vr == "SQ":
        return 4
    if vr in ("PN", "DS", "IS"):
        return 3
    if vr in ("AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UC", "UI"):
        return 2
    return int(vr in ("US", "SS", "UL", "SL", "FL", "AT", "FD", "SV", "UV"))


# ---- data sets in memory

_PIXELS: Final = {0x7FE00010: "Pixel Data", 0x7FE00008: "Float Pixel Data"}
_PIXELS[0x7FE00009] = "Double Float Pixel Data"
_PROVIDER_URL: Final = 0x00287FE0
_SAMPLES, _PHOTOMETRIC, _FRAMES = 0x00280002, 0x00280004, 0x00280008
_ROWS, _COLUMNS, _ALLOCATED = 0x00280010, 0x00280011, 0x00280100
_IMAGE_PIXEL: Final = (_SAMPLES, _PHOTOMETRIC, _ROWS, _COLUMNS, _ALLOCATED)

# Of three samples for each pixel that many thirds are there (PS3.3 C.7.6.3.1.2).
_SUBSAMPLED: Final = {"YBR_FULL_422": 2, "YBR_PARTIAL_422": 2, "YBR_PARTIAL_420": 1.5}


def check_whole(dataset: Dataset, *, encapsulated: bool, missing: bool) -> None:
    """Refuse a data set that can be seen not to be whole; nothing is decoded.

    A value shorter than its element said when it was read, and native pixel data shorter than its
    rows, columns, samples, frames and bits need, or not there although they are: where a file was
    cut inside the header of its pixel data, that is all that can be seen in memory.

    Args:
        dataset: as read, or made.
        encapsulated: whether its transfer syntax encapsulates pixel data.
        missing: whether pixel data has to be there. Of a file whose structure is whole it need not:
            header-only instances occur.

    Raises:
        DecodeError: it is not whole; the element is named.

    Source: PS3.5 7.1, 8.1.1, PS3.3 C.7.6.3.
    """
    _check_values(dataset)
    _check_pixels(dataset, encapsulated=encapsulated, missing=missing)


def _check_values(dataset: Dataset) -> None:
    from .library import RawDataElement

    for element in dataset._dict.values():
        if isinstance(element, RawDataElement):
            value, length = element.value, element.length
            if value is not None and length != _UNDEFINED and len(value) < length:
                raise DecodeError(
                    f"{_text(element.tag)} is cut short: {len(value)} of {length} bytes are there",
                    section="PS3.5 7.1",
                    hint="check=False sends it all the same",
                )
        elif element.VR == "SQ":
            for item in element.value or ():
                _check_values(item)


def _check_pixels(dataset: Dataset, *, encapsulated: bool, missing: bool) -> None:
    elements = dataset._dict
    present = next((tag for tag in _PIXELS if tag in elements), None)
    if present is None:
        missing = missing and _PROVIDER_URL not in elements
        missing = missing and all(
            _raw(dataset, tag) not in (None, b"", "", 0) for tag in _IMAGE_PIXEL
        )
        if missing and (needed := _needed(dataset)):
            raise DecodeError(
                "Pixel Data (7FE0,0010) is missing: its rows, columns, samples, frames and bits "
                f"need {needed} bytes",
                section="PS3.3 C.7.6.3",
                hint="check=False sends it all the same",
            )
        return
    element = elements[present]  # type: ignore[index]
    undefined = getattr(element, "is_undefined_length", False)
    if encapsulated or undefined or getattr(element, "length", None) == _UNDEFINED:
        return
    value = element.value
    if value is None:
        if getattr(element, "length", 0):
            return  # deferred: still in its file
        value = b""
    needed = _needed(dataset)
    if needed and isinstance(value, (bytes, bytearray)) and len(value) < needed:
        raise DecodeError(
            f"{_PIXELS[present]} {_text(present)} is cut short: {len(value)} bytes are there, its "
            f"rows, columns, samples, frames and bits need {needed}",
            section="PS3.3 C.7.6.3",
            hint="check=False sends it all the same",
        )


def _needed(dataset: Dataset) -> int:
    """Bytes that native pixel data needs; 0 when that is not said."""
    rows, columns, allocated = (_number(dataset, t) for t in (_ROWS, _COLUMNS, _ALLOCATED))
    samples = _number(dataset, _SAMPLES, 1)
    frames = max(1, _number(dataset, _FRAMES, 1))
    bits = rows * columns * samples * frames * allocated
    if samples == 3:
        photometric = _raw(dataset, _PHOTOMETRIC)
        text = (
            photometric.decode("ascii", "replace")
            if isinstance(photometric, bytes)
            else photometric
        )
        bits = int(bits * _SUBSAMPLED.get(str(text).strip(" \0"), 3) / 3)
    return (bits + 7) // 8


def _raw(dataset: Dataset, tag: int) -> Any:
    element: DataElement | RawDataElement | None = dataset._dict.get(tag)  # type: ignore[call-overload]
    return None if element is None else element.value


def _number(dataset: Dataset, tag: int, default: int = 0) -> int:
    """Read one number, decoded or not; the default when there is none."""
    value = _raw(dataset, tag)
    element = dataset._dict.get(tag)  # type: ignore[call-overload]
    try:
        if not isinstance(value, bytes):
            return default if value is None or value == "" else int(value)
        if tag == _FRAMES:
            return int(value.strip(b" \0") or default)
        order = "little" if getattr(element, "is_little_endian", True) else "big"
        return int.from_bytes(value[:2], order) if value else default  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return default


def _text(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
