"""Real files to send, and how a stored version is compared with what was sent.

The files are those that come inside the pydicom package: nothing is downloaded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.data.data_manager import DATA_ROOT
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

BUNDLED = Path(DATA_ROOT)
LONG_LENGTH_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)


@dataclass(frozen=True)
class Sample:
    """One file and the transfer syntax it stands for."""

    syntax: str
    path: Path


def _sample(syntax: str, name: str) -> Sample:
    return Sample(syntax, BUNDLED / "test_files" / name)


SAMPLES = [
    _sample("implicit LE", "MR_small_implicit.dcm"),
    _sample("explicit LE", "CT_small.dcm"),
    _sample("explicit BE", "MR_small_bigendian.dcm"),
    _sample("deflated", "image_dfl.dcm"),
    _sample("JPEG baseline", "examples_ybr_color.dcm"),
    _sample("JPEG 2000 lossless", "examples_jpeg2k.dcm"),
    _sample("JPEG 2000", "JPEG2000.dcm"),
    _sample("RLE", "MR_small_RLE.dcm"),
]


def bundled_files() -> Iterator[Path]:
    """Yield every bundled file that could hold an instance, in a stable order."""
    for folder in ("charset_files", "palettes", "test_files"):
        for path in sorted((BUNDLED / folder).rglob("*")):
            if path.is_file() and path.suffix not in {
                ".py",
                ".pyc",
                ".txt",
                ".dump",
                ".gz",
                ".icc",
                ".json",
            }:
                yield path


def meta_end(content: bytes) -> int:
    """Return where the file meta information ends and the data set begins (PS3.10 7.1)."""
    at = 132 if content[128:132] == b"DICM" else 0
    while content[at : at + 2] == b"\x02\x00":
        if content[at + 4 : at + 6] in LONG_LENGTH_VRS:
            at += 12 + struct.unpack_from("<I", content, at + 8)[0]
        else:
            at += 8 + struct.unpack_from("<H", content, at + 6)[0]
    return at


def data_set(path: Path) -> bytes:
    """Return the encoded data set of a file, without preamble and file meta information."""
    content = path.read_bytes()
    return content[meta_end(content) :]


def same_bytes(sent: bytes, stored: bytes) -> bool:
    """Compare data sets byte for byte; an odd deflated stream gains one 00H (PS3.5 A.5)."""
    return stored == sent or (len(sent) % 2 == 1 and stored == sent + b"\0")


def _values(item: Dataset, *, swap: bool) -> dict[object, object]:
    """Return tag -> decoded value, without what re-encoding may change."""
    values: dict[object, object] = {}
    for element in item:
        if element.tag.element == 0 or element.tag == 0xFFFCFFFC:  # group lengths, trailing padding
            continue
        value: object = element.value
        if element.VR == "SQ":
            value = [_values(part, swap=swap) for part in element.value]
        elif isinstance(value, bytes):
            if swap and element.VR == "OW":
                value = b"".join(value[at : at + 2][::-1] for at in range(0, len(value), 2))
            value = value.rstrip(b"\0")
        values[element.tag] = value
    return values


def same_values(one: Path, other: Path) -> bool:
    """Compare two files decoded: encoding, padding and group lengths may differ, values may not."""
    read = [pydicom.dcmread(path, force=True) for path in (one, other)]
    decoded = [
        _values(item, swap=item.file_meta.get("TransferSyntaxUID") == ExplicitVRBigEndian)
        for item in read
    ]
    return decoded[0] == decoded[1]


def with_undecodable_uid(path: Path) -> Dataset:
    """Read an instance, and have (0008,0016) in a VR that its value cannot be of."""
    item = pydicom.dcmread(path)
    raw = item.get_item(0x00080016)
    item._dict[raw.tag] = raw._replace(VR="FL")
    return item
