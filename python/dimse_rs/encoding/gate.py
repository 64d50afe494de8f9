"""The gate between bytes and pydicom: whether a data set is whole, and what decoding it takes.

Nothing here decodes. The core walks the bytes without the interpreter's lock, takes the same way
that pydicom will take, and stops at the first fault or limit. A data set that passes is whole, and
the memory that decoding takes is known before a byte of it is decoded.

The bounds. Memory is estimated from above: `ELEMENT_BYTES` for each element and item, the encoded
bytes as often as they are held at once, and `Scan.values` for the objects that values become: the
core counts the values of an element and multiplies by the price of its VR. In Implicit VR the VR
comes from pydicom's dictionaries; where they leave a choice the dearest VR counts, so that a peer
cannot make a data set look cheaper than it is. `Request` reserves the estimate from the byte
budget of the server and gives it back when the request is done.
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
    from collections.abc import Callable, Iterable

    from pydicom import Dataset
    from pydicom.dataelem import DataElement, RawDataElement
    from typing_extensions import Buffer

    Room = Callable[[int], _core.Reserved]
    """Reserves bytes, or raises `LimitExceeded`."""

__all__ = ["check_whole", "collector", "memory_of", "scan", "scan_file"]

ELEMENT_BYTES: Final = 1024
"""Memory of a decoded element, and of an item: 270 to 660 bytes, with room for the allocator."""

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
        data: the whole data set.
        transfer_syntax: of the data set.
        limits: of decoding.
        within: name of the limit of this kind of data set, which holds for the inflated bytes too.
        lenient: refuse only a data set that is cut short, and leave other faults to pydicom.

    Raises:
        DecodeError: the data set is not whole; `.offset` says where.
        LimitExceeded: decoding takes more than a limit allows.

    Source: PS3.5 7, A.5.
    """
    limits = limits or _ANY
    syntax = TransferSyntax.of(transfer_syntax)
    encoding: Literal["implicit", "explicit", "big"]
    encoding = "implicit" if syntax.implicit else "big" if syntax.big_endian else "explicit"
    inflated = min(limits.inflated, getattr(limits, within)) if within else limits.inflated
    bounds = _bounds(limits, inflated)
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
        DecodeError: the file is no Part 10 file, or not whole; `.offset` counts from its start.
        LimitExceeded: decoding takes more than a limit allows.
        OSError: the file cannot be opened, or read.

    Source: PS3.10 7, PS3.5 7, A.5.
    """
    limits = limits or _ANY
    return _core.scan_file(fspath(path), _bounds(limits, limits.inflated), _dictionary())


def collector(tags: Iterable[int], limits: Limits | None = None) -> _core.Headers:
    """Make the core collect elements of what it walks, and know what passes the gate.

    Args:
        tags: of the elements, which are those of the top level.
        limits: of decoding.
    """
    limits = limits or _ANY
    return _core.Headers(list(tags), _bounds(limits, limits.inflated), _dictionary())


def _bounds(limits: Limits, inflated: int) -> _core.Bounds:
    return _core.Bounds(inflated=inflated, elements=limits.elements, depth=limits.depth)


def memory_of(scan: _core.Scan, copies: int, *, values: bool = False) -> int:
    """Estimate the memory that a decoded data set takes, in bytes.

    Args:
        scan: the result of the gate.
        copies: how often the bytes are in memory at once.
        values: whether values are decoded too, each of which becomes an object.
    """
    objects = scan.elements * ELEMENT_BYTES + (scan.values if values else 0)
    return scan.size * copies + objects


@cache
def _dictionary() -> _core.Dictionary:
    """Give pydicom's dictionaries to the core: in Implicit VR they alone have the VRs."""
    from .library import DicomDictionary, RepeatersDictionary, private_dictionaries

    elements = ((tag, entry[0]) for tag, entry in DicomDictionary.items() if tag >> 16 != 0xFFFE)
    standard = [(tag, _dearest(vr)) for tag, vr in elements]
    repeated = [
        (int(mask.replace("x", "0"), 16), _known_digits(mask), _dearest(entry[0]))
        for mask, entry in RepeatersDictionary.items()
    ]
    private: dict[int, str] = {}
    for entries in private_dictionaries.values():
        # A mask such as "0019xx0A": the creator chooses the block xx. The core does not follow that
        # choice: one entry stands for the element of all creators, with the dearest VR.
        for mask, entry in entries.items():
            if "x" in mask[:4]:
                continue  # overlays, which are not private
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
    """Give the VR, of those that are possible, whose values take the most memory."""
    possible: list[str] = findall("[A-Z]{2}", vr)
    return max(possible, key=_price)


@cache
def _price(vr: str) -> int:
    if vr == "SQ":
        return 4  # items, each of which is a data set
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

# Thirds of the samples that a subsampled image keeps (PS3.3 C.7.6.3.1.2).
_SUBSAMPLED: Final = {"YBR_FULL_422": 2, "YBR_PARTIAL_422": 2, "YBR_PARTIAL_420": 1.5}


def check_whole(dataset: Dataset, *, encapsulated: bool, missing: bool) -> None:
    """Refuse a data set in memory that shows that it is not whole; nothing is decoded.

    Three things show that: a value that is shorter than its element said when it was read; native
    pixel data that is shorter than rows, columns, samples, frames and bits need; no pixel data
    although those five are there. The third is the only trace of a file that was cut inside the
    header of its pixel data.

    Args:
        dataset: as read, or made.
        encapsulated: whether its transfer syntax encapsulates pixel data.
        missing: whether missing pixel data is a fault. It is none in a file whose structure is
            whole, because header-only instances occur.

    Raises:
        DecodeError: the data set is not whole; the message has the element.

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
            return  # deferred: the value is still in the file
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
    """Give the bytes that native pixel data needs; 0 when the data set does not say enough."""
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
