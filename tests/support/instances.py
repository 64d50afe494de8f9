"""Part 10 files by hand, and what a folder holds of them."""

from __future__ import annotations

import hashlib
import re
import struct
from collections import defaultdict
from pathlib import Path

from tests.data.files import meta_end
from tests.support import wire

NAME = re.compile(r"(?P<uid>[0-9.]+)\.dcm(~[0-9]+~)?")
Digests = dict[str, set[bytes]]
"""Of the data sets of each SOP instance."""


def part10(data_set: bytes, uid: str) -> bytes:
    """A file of an encoded data set (PS3.10 7.1)."""
    group = b"".join(
        [
            wire.data_element(0x0002, 0x0001, b"OB", b"\x00\x01"),
            wire.data_element(0x0002, 0x0002, b"UI", wire.SECONDARY_CAPTURE),
            wire.data_element(0x0002, 0x0003, b"UI", uid.encode()),
            wire.data_element(0x0002, 0x0010, b"UI", wire.EXPLICIT),
            wire.data_element(0x0002, 0x0012, b"UI", b"1.2.3.4"),
        ]
    )
    length = wire.data_element(0x0002, 0x0000, b"UL", struct.pack("<I", len(group)))
    return bytes(128) + b"DICM" + length + group + data_set


def data_set(uid: str, pixels: bytes) -> bytes:
    """A data set of this SOP instance."""
    return wire.data_set(uid.encode(), wire.data_element(0x7FE0, 0x0010, b"OB", pixels))


def digest(data: bytes) -> bytes:
    """Tell one data set from another."""
    return hashlib.sha256(data).digest()


def stored(folder: Path) -> Digests:
    """Read every file below the folder; one whose name is no instance's is an error."""
    found: Digests = defaultdict(set)
    for path in folder.rglob("*"):
        if path.is_dir():
            continue
        name = NAME.fullmatch(path.name)
        assert name is not None, f"{path.name} stayed"
        content = path.read_bytes()
        found[name["uid"]].add(digest(content[meta_end(content) :]))
        current = path.with_name(f"{name['uid']}.dcm")
        assert current.exists(), f"{path.name} has no current version"
    return found
