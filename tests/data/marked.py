"""Data sets with one marked value each, of every VR and in every way odd: none is to come out."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from dimse_rs.datasets import from_bytes
from dimse_rs.sop_class import CTImageStorage, ExplicitVRLittleEndian

MARK = "Qzx7Geheim"
"""Ten characters that nothing else has, as text and as bytes."""

_BYTES = MARK.encode()
_WIDE = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")

# Keys and attributes that services look at, by tag; those below are as they should be.
_BASE: dict[int, tuple[str, bytes]] = {
    0x00080016: ("UI", CTImageStorage.encode()),
    0x00080018: ("UI", b"1.2.3.4.5"),
    0x00080052: ("CS", b"IMAGE"),
    0x0020000D: ("UI", b"1.2.3"),
    0x0020000E: ("UI", b"1.2.3.4"),
}

_ODD: dict[str, tuple[int, str, bytes]] = {
    "AE": (0x00080054, "AE", _BYTES * 3),
    "AS": (0x00101010, "AS", _BYTES),
    "AT": (0x00280009, "AT", _BYTES),
    "CS": (0x00080060, "CS", _BYTES + b" \xff"),
    "CS of the level": (0x00080052, "CS", _BYTES),
    "DA": (0x00080020, "DA", _BYTES),
    "DA range": (0x00080021, "DA", b"20240101-" + _BYTES),
    "DS": (0x00101030, "DS", _BYTES),
    "DS too long": (0x00101020, "DS", b"1.00000000000000000001\\" + _BYTES),
    "DT": (0x0008002A, "DT", _BYTES),
    "FD": (0x00189087, "FD", _BYTES),
    "FL": (0x00189073, "FL", _BYTES),
    "IS": (0x00200011, "IS", _BYTES),
    "IS that is none": (0x00200013, "IS", b"1.5\\" + _BYTES),
    "LO": (0x00080080, "LO", _BYTES * 9),
    "LO key": (0x00100020, "LO", b"*" + _BYTES * 1100),
    "LT": (0x00104000, "LT", _BYTES * 1200),
    "OB": (0x00420011, "OB", _BYTES),
    "OW": (0x7FE00010, "OW", _BYTES),
    "PN": (0x00100010, "PN", _BYTES * 9 + b"=a=b=c=d=" + _BYTES),
    "SH": (0x00080050, "SH", _BYTES * 4),
    "SL": (0x00186020, "SL", _BYTES),
    "SS": (0x00280106, "SS", _BYTES),
    "ST": (0x00080081, "ST", _BYTES * 120),
    "TM": (0x00080030, "TM", _BYTES),
    "UC": (0x00189908, "UC", _BYTES),
    "UI": (0x0020000D, "UI", _BYTES),
    "UI of the instance": (0x00080018, "UI", b"1.2." + _BYTES),
    "UL": (0x00186016, "UL", _BYTES),
    "UN": (0x00091001, "UN", _BYTES),
    "UR": (0x00081190, "UR", _BYTES + b" {}"),
    "US": (0x00280010, "US", _BYTES + b"7"),
    "UT": (0x0040A160, "UT", _BYTES),
    "VR that is none": (0x00100040, "QQ", _BYTES),
    "VR of another kind": (0x00100010, "US", _BYTES),
    "sequence as text": (0x00400275, "LO", _BYTES),
    "text as sequence": (0x00100030, "SQ", b""),
}
_CHARSETS = {
    "undecodable": (b"ISO_IR 192", b"\xff\xfe" + _BYTES + b"\xe4"),
    "unknown set": (_BYTES, b"M\xfcller" + _BYTES),
    "misspelt set": (b"ISO-IR 100", b"M\xfcller" + _BYTES),
    "unknown escape": (b"\\ISO 2022 IR 87", b"\x1b$Z" + _BYTES),
    "broken escape": (b"\\ISO 2022 IR 87", b"\x1b$B\x21" + _BYTES),
    "no extension": (b"ISO_IR 100\\ISO_IR 192", b"M\xfcller" + _BYTES),
}
_TEXTS = ((0x00100010, "PN"), (0x00100020, "LO"), (0x00081030, "LO"), (0x00104000, "LT"))


def element(tag: int, vr: str, value: bytes) -> bytes:
    """Encode one in Explicit VR Little Endian."""
    value += b" " * (len(value) % 2)
    group, number = tag >> 16, tag & 0xFFFF
    if vr in _WIDE:
        return struct.pack("<HH2sHI", group, number, vr.encode(), 0, len(value)) + value
    return struct.pack("<HH2sH", group, number, vr.encode(), len(value)) + value


def encoded(elements: dict[int, tuple[str, bytes]]) -> bytes:
    """Encode some, in order."""
    return b"".join(element(tag, *elements[tag]) for tag in sorted(elements))


def marked(base: dict[int, tuple[str, bytes]] | None = None) -> Iterator[tuple[str, bytes]]:
    """Give names and data sets, in Explicit VR Little Endian.

    Args:
        base: what each has besides; default the keys of a query at IMAGE level.
    """
    base = _BASE if base is None else base
    for name, (tag, vr, value) in _ODD.items():
        yield name, encoded({**base, tag: (vr, value)})
        item = encoded({tag: (vr, value)})
        within = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(item)) + item
        yield f"{name} in an item", encoded({**base, 0x00400275: ("SQ", within)})
    for name, (charset, value) in _CHARSETS.items():
        texts = {tag: (vr, value) for tag, vr in _TEXTS}
        yield name, encoded({**base, 0x00080005: ("CS", charset), **texts})


def data_sets(base: dict[int, tuple[str, bytes]] | None = None) -> Iterator[tuple[str, object]]:
    """Give them as pydicom reads them, those that can be read."""
    for name, raw in marked(base):
        try:
            yield name, from_bytes(raw, ExplicitVRLittleEndian)
        except ValueError:
            continue
