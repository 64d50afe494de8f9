"""Repair of files that cannot be sent as they are: values of odd length, a missing group 0002.

Every other byte stays as it was, and the scanner of the core checks the result.
"""

from __future__ import annotations

import struct
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from dimse_rs import _core
from dimse_rs.errors import DecodeError
from dimse_rs.records import dataclass, field
from dimse_rs.sop_class import ExplicitVRLittleEndian, ImplicitVRLittleEndian, TransferSyntax
from dimse_rs.uids import is_uid

__all__ = ["Repaired", "repair"]

MAX_BYTES: Final = 1 << 30
"""Larger files are not repaired, because a repair holds the file in memory."""

MAX_DEPTH: Final = 64
"""Sequences inside sequences."""

_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD
_LONG: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_TEXT: Final = frozenset(b"AE AS CS DA DS DT IS LO LT PN SH ST TM UC UR UT".split())


@dataclass(frozen=True, slots=True)
class Repaired:
    """A repaired file.

    Attributes:
        content: the whole file, as PS3.10 7.1 has it.
        done: the repairs, each in a few words.
    """

    content: bytes
    done: tuple[str, ...]


def repair(path: Path) -> Repaired:
    """Pad values of odd length, and add File Meta Information where there is none.

    Raises:
        DecodeError: the file cannot be repaired so: it is cut short, has no data set, or nothing is
            wrong with it.
        OSError: the file cannot be read.

    Source: PS3.5 7.1, PS3.10 7.1.
    """
    if path.stat().st_size > MAX_BYTES:
        raise DecodeError(f"{path}: not repaired, longer than {MAX_BYTES} bytes")
    content = path.read_bytes()
    head, meta = _read_meta(content)
    data = content[head:]
    done = []
    syntax = meta.get(0x0010, "")
    if not is_uid(syntax):
        # In Explicit VR the VR stands behind the first tag; in Implicit VR the length stands there,
        # and looks like two capital letters from 16,705 on alone.
        explicit = data[4:6].isalpha() and data[4:6].isupper()
        syntax = str(ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian)
        head = 0
    known = TransferSyntax.of(syntax)
    if known.deflated:
        raise DecodeError(f"{path}: not repaired, its data set is deflated")
    walk = _Walk(data, known)
    data = walk.padded()
    if walk.odd:
        done.append(f"padded {', '.join(walk.odd)}")
    _prove(path, data, known)
    if not head or content[128:132] != b"DICM":
        done.append(f"gave File Meta Information, {known.name or known}")
        header = _header(walk.uids.get(0x00080016, ""), walk.uids.get(0x00080018, ""), syntax)
    else:
        header = content[:head]
    if not done:
        raise DecodeError(f"{path}: nothing to repair")
    return Repaired(header + data, tuple(done))


def _read_meta(content: bytes) -> tuple[int, dict[int, str]]:
    """Give where the data set starts, and the values of group 0002."""
    # Read leniently, in Explicit VR: whatever is wrong here is replaced as a whole.
    at = 132 if content[128:132] == b"DICM" else 0
    found: dict[int, str] = {}
    while content[at : at + 2] == b"\x02\x00" and len(content) >= at + 8:
        number = int.from_bytes(content[at + 2 : at + 4], "little")
        length, header = int.from_bytes(content[at + 6 : at + 8], "little"), 8
        if content[at + 4 : at + 6] in _LONG:
            length, header = int.from_bytes(content[at + 8 : at + 12], "little"), 12
        value = content[at + header : at + header + length]
        found[number] = value.rstrip(b"\0 ").decode("latin-1")
        at += header + length
    return at, found


def _header(sop_class: str, sop_instance: str, syntax: str) -> bytes:
    """Make preamble, prefix and group 0002."""
    group = b"\x02\0\x01\0OB\0\0\x02\0\0\0\x00\x01"
    uids = ((0x02, sop_class), (0x03, sop_instance), (0x10, syntax))
    implementation = ((0x12, _core.implementation().class_uid),)
    for number, uid in (*uids, *implementation):
        value = uid.encode("ascii", "replace")
        value += b"\0" * (len(value) % 2)
        group += struct.pack("<HH2sH", 2, number, b"UI", len(value)) + value
    length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(group))
    return bytes(128) + b"DICM" + length + group


def _prove(path: Path, data: bytes, syntax: TransferSyntax) -> None:
    """Have the core walk the data set to its end, independently of the walk here."""
    if syntax.big_endian:
        return  # without file meta the core would take it for little endian
    with NamedTemporaryFile(suffix=".dcm") as spool:
        spool.write(data)
        spool.flush()
        try:
            found = _core.probe(Path(spool.name))
        except DecodeError as error:
            reason = error.message.removeprefix(f"{spool.name}: ")
            raise DecodeError(f"{path}: not repaired, {reason}") from None
    if (found.transfer_syntax == ImplicitVRLittleEndian) != syntax.implicit:
        raise DecodeError(f"{path}: not repaired, the data set is not in {syntax.name or syntax}")


@dataclass
class _Walk:
    """A walk over a data set that copies it and pads values of odd length.

    Padding a value inside a sequence of defined length changes the lengths around it: each level
    is copied into a buffer of its own, and its length written when the level is complete.

    Attributes:
        odd: the elements whose values were padded.
        uids: values of top-level UID elements of group 0008.
    """

    data: bytes
    syntax: TransferSyntax
    odd: list[str] = field(default_factory=list)
    uids: dict[int, str] = field(default_factory=dict)

    def padded(self) -> bytes:
        """Give the data set with every value of even length.

        Raises:
            DecodeError: the data set is not whole.
        """
        out = bytearray()
        end = self._elements(0, len(self.data), out, 0, self.syntax.implicit)
        if end != len(self.data):
            raise self._broken(end)
        return bytes(out)

    def _broken(self, at: int) -> DecodeError:
        return DecodeError("not repaired, the data set is not whole", at, "PS3.5 7")

    def _number(self, at: int, size: int) -> int:
        if at + size > len(self.data):
            raise self._broken(at)
        order = "big" if self.syntax.big_endian else "little"
        return int.from_bytes(self.data[at : at + size], order)  # type: ignore[arg-type]

    def _bytes(self, value: int, size: int) -> bytes:
        if value >= 1 << 8 * size:
            raise DecodeError(f"not repaired, a value of {value} bytes is too long for its VR")
        return value.to_bytes(size, "big" if self.syntax.big_endian else "little")

    def _tag(self, at: int) -> int:
        return self._number(at, 2) << 16 | self._number(at + 2, 2)

    def _elements(self, at: int, end: int, out: bytearray, depth: int, implicit: bool) -> int:
        """Walk elements up to `end`, or an item delimiter; give the position of either."""
        if depth > MAX_DEPTH:
            raise DecodeError(f"not repaired, more than {MAX_DEPTH} sequences deep", at)
        while at < end:
            tag = self._tag(at)
            if tag == _ITEM_END and depth:
                return at
            at = self._element(at, tag, out, depth, implicit)
        if at != end:
            raise self._broken(at)
        return at

    def _element(self, at: int, tag: int, out: bytearray, depth: int, implicit: bool) -> int:
        """Walk one element; give the position of the next."""
        if implicit:
            vr, size = _vr_of(tag), 4
            header = self.data[at : at + 4]
        else:
            vr = self.data[at + 4 : at + 6]
            size = 4 if vr in _LONG else 2
            header = self.data[at : at + (8 if size == 4 else 6)]
        value = at + len(header) + size
        length = self._number(value - size, size)
        nested = bytearray()
        # Undefined length: fragments in OB and OW, which are pixel data then, else items.
        if size == 4 and length == _UNDEFINED:
            inside = implicit or vr == b"UN"  # items of a UN are in Implicit VR (PS3.5 6.2.2)
            within = self._fragments if vr in (b"OB", b"OW") else self._items
            after = within(value, len(self.data), nested, depth, inside)
            out += header + self.data[value - 4 : value] + nested
            return after
        after = value + length
        if after > len(self.data):
            raise self._broken(at)
        if vr == b"SQ":
            if self._items(value, after, nested, depth, implicit) != after:
                raise self._broken(at)
        else:
            nested += self.data[value:after]
            if length % 2:
                self.odd.append(f"({tag >> 16:04X},{tag & 0xFFFF:04X})")
                nested += b" " if vr in _TEXT else b"\0"
            if not depth and tag in (0x00080016, 0x00080018):
                self.uids[tag] = nested.rstrip(b"\0 ").decode("latin-1")
        out += header + self._bytes(len(nested), size) + nested
        return after

    def _fragments(self, at: int, end: int, out: bytearray, *_: object) -> int:
        """Walk fragments of encapsulated pixel data (PS3.5 A.4); give the position behind them."""
        while at < end:
            tag, length, value = self._tag(at), self._number(at + 4, 4), at + 8
            if tag == _SEQUENCE_END:
                out += self.data[at:value]
                return value
            if tag != _ITEM or value + length > end:
                break
            out += self.data[at : at + 4] + self._bytes(length + length % 2, 4)
            at = value + length
            out += self.data[value:at]
            if length % 2:
                self.odd.append("a fragment")
                out += b"\0"
        raise self._broken(at)

    def _items(self, at: int, end: int, out: bytearray, depth: int, implicit: bool) -> int:
        """Walk items up to `end` or a sequence delimiter; give the position behind them."""
        while at < end:
            tag, length = self._tag(at), self._number(at + 4, 4)
            header, value = self.data[at : at + 4], at + 8
            if tag == _SEQUENCE_END:
                out += self.data[at:value]
                return value
            if tag != _ITEM:
                raise self._broken(at)
            nested = bytearray()
            if length == _UNDEFINED:
                inner = self._elements(value, len(self.data), nested, depth + 1, implicit)
                at = inner + 8
                out += self.data[value - 8 : value] + nested + self.data[inner:at]
                continue
            at = value + length
            if at > len(self.data):
                raise self._broken(value)
            if self._elements(value, at, nested, depth + 1, implicit) != at:
                raise self._broken(at)
            out += header + self._bytes(len(nested), 4) + nested
        return at


def _vr_of(tag: int) -> bytes:
    """Look the VR up, for Implicit VR."""
    from .library import dictionary_VR

    try:
        return dictionary_VR(tag)[:2].encode()
    except KeyError:
        return b"UN"
