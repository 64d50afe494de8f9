"""Files whose values are of odd length."""

from __future__ import annotations

import struct

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.support import wire

EXPLICIT, IMPLICIT = str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)


def element(tag: tuple[int, int], value: bytes, vr: bytes = b"") -> bytes:
    """An element whose length is that of its value, odd or even."""
    start = struct.pack("<HH", *tag)
    if not vr:
        return start + struct.pack("<I", len(value)) + value
    if vr in (b"OB", b"SQ", b"UN"):
        return start + vr + struct.pack("<HI", 0, len(value)) + value
    return start + vr + struct.pack("<H", len(value)) + value


def instance(uid: bytes, *more: bytes, explicit: bool = True) -> bytes:
    """A data set, with these elements behind the UIDs."""
    head = [((8, 0x16), wire.SECONDARY_CAPTURE), ((8, 0x18), uid)]
    body = b"".join(
        element(tag, value + b"\0" * (len(value) % 2), b"UI" if explicit else b"")
        for tag, value in head
    )
    return body + b"".join(more)


def part10(data: bytes, syntax: bytes | None = EXPLICIT.encode()) -> bytes:
    """A file with preamble, and a group 0002 as long as a transfer syntax is given."""
    group = element((2, 2), wire.SECONDARY_CAPTURE + b"\0", b"UI")
    if syntax is not None:
        group += element((2, 0x10), syntax + b"\0" * (len(syntax) % 2), b"UI")
    return bytes(128) + b"DICM" + group + data


ODD = {
    "text": (element((0x10, 0x10), b"Nobod", b"PN"), element((0x10, 0x10), b"Nobod ", b"PN")),
    "pixels": (
        element((0x7FE0, 0x10), b"\1\2\3", b"OB"),
        element((0x7FE0, 0x10), b"\1\2\3\0", b"OB"),
    ),
    "in a sequence": (
        element(
            (8, 0x1140),
            element((0xFFFE, 0xE000), element((8, 0x1150), b"1.2", b"UI")),
            b"SQ",
        ),
        element(
            (8, 0x1140),
            element((0xFFFE, 0xE000), element((8, 0x1150), b"1.2\0", b"UI")),
            b"SQ",
        ),
    ),
    "in items of undefined length": (
        b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
        + element((8, 0x1150), b"1.2", b"UI")
        + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0",
        b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
        + element((8, 0x1150), b"1.2\0", b"UI")
        + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0",
    ),
}
