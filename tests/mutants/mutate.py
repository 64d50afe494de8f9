"""Changes data sets as broken and hostile senders do: by the byte, by the element, by the item."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from tests.mutants.seeds import BIG_ENDIAN, DEFLATED, IMPLICIT, MARK, Seed, deflated

MOST = 1 << 20
"""Bytes that a mutant has at most."""

_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_VRS = b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN"
_VRS += b" UR US UT UV ?? \0\0 ZZ"
_TEXTS = (
    b"\xff\xfe\xfd" * 4,
    b"\x1b$B;3ED\x1b(B",
    b"\x1b%/1\x1b",
    "Zoë^Ж山".encode(),
    b"\\" * 60,
    b"*" * 64,
    b"?*" * 200 + b"x",
    b"^=" * 40,
    b"\0" * 30,
    b"99999999",
    b"20260231-",
    b"-",
    b"1e400",
    b"9" * 400,
    b"NaN",
    b"../../../etc/passwd",
    b"%s%n{0}",
    MARK.encode() + b"\r\n[31m",
    b"1.2.3\\" * 300,
    b"ISO_IR 6\\ISO 2022 IR 87\\ISO 2022 IR 149",
    b"GB18030",
    b"ISO_IR 999",
    b"unicode_escape",
)
_TAGS = (
    (0x0000, 0x0000),
    (0x0002, 0x0010),
    (0x0008, 0x0001),
    (0x0008, 0x0005),
    (0x0008, 0x0016),
    (0x0008, 0x0018),
    (0x0008, 0x0052),
    (0x0008, 0x0201),
    (0x0008, 0x1115),
    (0x0010, 0x0010),
    (0x0020, 0x000D),
    (0x0028, 0x0103),
    (0x0029, 0x1010),
    (0x0040, 0x0100),
    (0x0008, 0x1199),
    (0x7FE0, 0x0010),
    (0xFFFA, 0xFFFA),
    (0xFFFC, 0xFFFC),
    (0xFFFE, 0xE000),
    (0xFFFE, 0xE00D),
    (0xFFFE, 0xE0DD),
    (0xFFFF, 0xFFFF),
)
_LENGTHS = (0, 1, 2, 3, 0x7FFF, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)

DEEPEST = 100
"""Levels of items that are looked into for something to change."""

Spans = list[tuple[int, int]]


class Mutator:
    """Makes mutants of seeds; the same chance makes the same ones.

    Args:
        chance: where the choices come from.
        pool: what parts are taken from for splicing.
    """

    def __init__(self, chance: random.Random, pool: list[Seed]) -> None:
        self._chance = chance
        self._pool = pool

    def mutant(self, seed: Seed) -> bytes:
        """Give a changed version as it goes over the wire; now and then the seed itself."""
        content = seed.content
        for _ in range(self._chance.choice((0, 1, 1, 1, 2, 2, 3, 6))):
            change = self._chance.choice(_CHANGES)
            content = change(self, content, seed.syntax)[:MOST]
        if seed.syntax != DEFLATED:
            return content
        out = deflated(content)
        return self._bytes(out, seed.syntax) if self._chance.random() < 0.1 else out

    @staticmethod
    def intact(seed: Seed) -> bytes:
        """Give the seed as it goes over the wire."""
        return deflated(seed.content) if seed.syntax == DEFLATED else seed.content

    # ---- by the byte

    def _bytes(self, content: bytes, _syntax: str) -> bytes:
        changed = bytearray(content)
        for _ in range(self._chance.choice((1, 1, 2, 8))):
            if changed:
                changed[self._chance.randrange(len(changed))] = self._chance.randrange(256)
        return bytes(changed)

    def _cut(self, content: bytes, _syntax: str) -> bytes:
        return content[: self._chance.randrange(len(content) + 1)]

    def _removed(self, content: bytes, _syntax: str) -> bytes:
        at = self._chance.randrange(len(content) + 1)
        return content[:at] + content[at + self._chance.randrange(1, 9) :]

    def _inserted(self, content: bytes, _syntax: str) -> bytes:
        at = self._chance.randrange(len(content) + 1)
        return content[:at] + self._chance.randbytes(self._chance.randrange(1, 9)) + content[at:]

    def _behind(self, content: bytes, _syntax: str) -> bytes:
        return content + self._chance.choice((bytes(8), bytes(500), b"\xff" * 7, b"\0"))

    # ---- by the element

    def _repeated(self, content: bytes, syntax: str) -> bytes:
        start, end = self._span(content, syntax)
        return content[:end] + content[start:end] * self._chance.choice((1, 3, 200)) + content[end:]

    def _moved(self, content: bytes, syntax: str) -> bytes:
        start, end = self._span(content, syntax)
        rest = content[:start] + content[end:]
        at, _ = self._span(rest, syntax)
        return rest[:at] + content[start:end] + rest[at:]

    def _dropped(self, content: bytes, syntax: str) -> bytes:
        start, end = self._span(content, syntax)
        return content[:start] + content[end:]

    def _spliced(self, content: bytes, syntax: str) -> bytes:
        other = self._chance.choice([seed for seed in self._pool if seed.syntax == syntax])
        start, end = self._span(other.content, syntax)
        at, _ = self._span(content, syntax)
        return content[:at] + other.content[start:end] + content[at:]

    def _length(self, content: bytes, syntax: str) -> bytes:
        """Let an element lie about its length."""
        start, end = self._span(content, syntax)
        lie = self._chance.choice((*_LENGTHS, end - start, len(content), end - start - 9))
        at, size = _length_at(content, start, syntax)
        order = ">" if syntax == BIG_ENDIAN else "<"
        if at + size > len(content):
            return content
        packed = struct.pack(
            order + ("H" if size == 2 else "I"), lie & (0xFFFF if size == 2 else 0xFFFFFFFF)
        )
        return content[:at] + packed + content[at + size :]

    def _vr(self, content: bytes, syntax: str) -> bytes:
        if syntax == IMPLICIT:
            return self._tag(content, syntax)
        start, _ = self._span(content, syntax)
        return content[: start + 4] + self._chance.choice(_VRS.split(b" ")) + content[start + 6 :]

    def _tag(self, content: bytes, syntax: str) -> bytes:
        start, _ = self._span(content, syntax)
        order = ">" if syntax == BIG_ENDIAN else "<"
        return (
            content[:start]
            + struct.pack(order + "HH", *self._chance.choice(_TAGS))
            + content[start + 4 :]
        )

    def _value(self, content: bytes, syntax: str) -> bytes:
        """Give an element another value, with the right length."""
        start, end = self._span(content, syntax)
        at, size = _length_at(content, start, syntax)
        value = self._chance.choice((*_TEXTS, self._chance.randbytes(self._chance.randrange(20))))
        value += b" " * (len(value) % 2)
        order = ">" if syntax == BIG_ENDIAN else "<"
        if (size == 2 and len(value) > 0xFFFF) or at > len(content):
            return content
        packed = struct.pack(order + ("H" if size == 2 else "I"), len(value))
        return content[:at] + packed + value + content[end:]

    def _element(self, content: bytes, syntax: str) -> bytes:
        """Put an element in that was not there."""
        at, _ = self._span(content, syntax)
        group, number = self._chance.choice(_TAGS)
        vr = self._chance.choice(_VRS.split(b" "))
        return (
            content[:at]
            + _made(group, number, vr, self._chance.choice(_TEXTS), syntax)
            + content[at:]
        )

    # ---- by the item

    def _nested(self, content: bytes, syntax: str) -> bytes:
        """Put sequences in sequences, deep or wide, of defined or undefined length."""
        order = ">" if syntax == BIG_ENDIAN else "<"
        inner = b""
        for _ in range(self._chance.choice((1, 3, 20, 63, 64, 65, 300, 2000))):
            item = struct.pack(order + "HHI", 0xFFFE, 0xE000, len(inner)) + inner
            inner = _made(0x0008, 0x1115, b"SQ", item, syntax)
            if len(inner) > MOST // 2:
                break
        at, _ = self._span(content, syntax)
        return content[:at] + inner + content[at:]

    def _wide(self, content: bytes, syntax: str) -> bytes:
        order = ">" if syntax == BIG_ENDIAN else "<"
        items = struct.pack(order + "HHI", 0xFFFE, 0xE000, 0) * self._chance.choice(
            (5, 500, 20_000)
        )
        at, _ = self._span(content, syntax)
        return content[:at] + _made(0x0008, 0x1140, b"SQ", items, syntax) + content[at:]

    def _undefined(self, content: bytes, syntax: str) -> bytes:
        """Put in a sequence of undefined length, well or badly ended."""
        order = ">" if syntax == BIG_ENDIAN else "<"
        ends = ((0xE00D, 0xE0DD), (0xE0DD,), (0xE00D,), (), (0xE0DD, 0xE0DD), (0xE000, 0xE0DD))
        body = struct.pack(order + "HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        body += _made(0x0008, 0x0100, b"SH", b"A ", syntax)
        for end in self._chance.choice(ends):
            body += struct.pack(order + "HHI", 0xFFFE, end, self._chance.choice((0, 0, 0, 4)))
        vr = self._chance.choice((b"SQ", b"UN", b"OB"))
        whole = _made(0x0008, 0x1140, vr, body, syntax)
        at, size = _length_at(whole, 0, syntax)
        if size == 4:
            whole = whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :]
        place, _ = self._span(content, syntax)
        return content[:place] + whole + content[place:]

    def _many(self, content: bytes, syntax: str) -> bytes:
        """Put in very many small elements of private groups."""
        made = [
            _made(0x0009 + 2 * (number // 200), 0x1000 + number % 200, b"LO", b"", syntax)
            for number in range(self._chance.choice((50, 2_000)))
        ]
        return content + b"".join(made)

    def _span(self, content: bytes, syntax: str) -> tuple[int, int]:
        """Choose an element, of any depth that has a defined length."""
        spans = _spans(content, syntax)
        return self._chance.choice(spans) if spans else (0, len(content))


_CHANGES: tuple[Callable[[Mutator, bytes, str], bytes], ...] = (
    Mutator._bytes,
    Mutator._bytes,
    Mutator._cut,
    Mutator._removed,
    Mutator._inserted,
    Mutator._behind,
    Mutator._repeated,
    Mutator._moved,
    Mutator._dropped,
    Mutator._spliced,
    Mutator._length,
    Mutator._length,
    Mutator._vr,
    Mutator._tag,
    Mutator._value,
    Mutator._value,
    Mutator._value,
    Mutator._element,
    Mutator._nested,
    Mutator._wide,
    Mutator._undefined,
    Mutator._many,
)


def _length_at(content: bytes, start: int, syntax: str) -> tuple[int, int]:
    """Where the length of an element is, and how many bytes it has."""
    if syntax == IMPLICIT:
        return start + 4, 4
    return (start + 8, 4) if content[start + 4 : start + 6] in _LONG else (start + 6, 2)


def _spans(content: bytes, syntax: str) -> Spans:
    """Start and end of the elements at the top, and of those in items of defined length."""
    found: Spans = []
    _walk(content, 0, len(content), syntax, found, DEEPEST)
    return found


def _walk(content: bytes, at: int, end: int, syntax: str, found: Spans, deeper: int) -> None:
    order = ">" if syntax == BIG_ENDIAN else "<"
    while at + 8 <= end and len(found) < 500:
        group, number = struct.unpack_from(order + "HH", content, at)
        if group == 0xFFFE:
            (length,) = struct.unpack_from(order + "I", content, at + 4)
            stop = at + 8 + length
            if deeper > 0 and length != 0xFFFFFFFF and stop <= end and number == 0xE000:
                _walk(content, at + 8, stop, syntax, found, deeper - 1)
                at = stop
            else:
                at += 8
            continue
        where, size = _length_at(content, at, syntax)
        if where + size > end:
            return
        (length,) = struct.unpack_from(order + ("H" if size == 2 else "I"), content, where)
        stop = where + size + length
        if length == 0xFFFFFFFF or stop > end:
            return
        found.append((at, stop))
        if deeper > 0 and content[where + size : where + size + 4] == struct.pack(
            order + "HH", 0xFFFE, 0xE000
        ):
            _walk(content, where + size, stop, syntax, found, deeper - 1)
        at = stop


def _made(group: int, number: int, vr: bytes, value: bytes, syntax: str) -> bytes:
    order = ">" if syntax == BIG_ENDIAN else "<"
    tag = struct.pack(order + "HH", group, number)
    if syntax == IMPLICIT:
        return tag + struct.pack("<I", len(value)) + value
    if vr in _LONG:
        return tag + vr + b"\0\0" + struct.pack(order + "I", len(value)) + value
    return tag + vr + struct.pack(order + "H", len(value) & 0xFFFF) + value
