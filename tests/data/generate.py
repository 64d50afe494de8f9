"""Deterministic instances for demo and benchmark: a real header, new UIDs, noise for pixels.

The header is that of pydicom's CT_small without private attributes. Pixels are noise, so that
nothing on the way can gain by compressing; large frames repeat one block, so that a file of any
size costs no memory.
"""

from __future__ import annotations

import io
import random
import struct
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

from tests.data.files import BUNDLED

BLOCK = 1 << 20


def _template() -> Dataset:
    item = pydicom.dcmread(BUNDLED / "test_files" / "CT_small.dcm")
    item.remove_private_tags()
    del item.PixelData
    for tag in [element.tag for element in item if element.tag.group == 0xFFFC]:
        del item[tag]
    return item


def _head(
    item: Dataset, sop_class: UID, series: str, number: int, shape: tuple[int, int, int]
) -> bytes:
    """Encode everything in front of the pixel data."""
    frames, item.Rows, item.Columns = shape
    if frames > 1:
        item.NumberOfFrames = frames
    item.SOPClassUID = item.file_meta.MediaStorageSOPClassUID = sop_class
    item.SOPInstanceUID = generate_uid(entropy_srcs=[series, str(number)])
    item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
    item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    item.StudyInstanceUID = generate_uid(entropy_srcs=[series, "study"])
    item.SeriesInstanceUID = generate_uid(entropy_srcs=[series, "series"])
    item.InstanceNumber = number
    encoded = io.BytesIO()
    item.save_as(encoded, enforce_file_format=True)
    return encoded.getvalue()


def series(
    folder: Path, name: str, count: int, shape: tuple[int, int, int] = (1, 512, 512)
) -> list[Path]:
    """Write `count` instances into `folder`/`name`; `shape` is frames, rows, columns of 16 bits.

    One frame makes CT images, several make enhanced CT images. The same arguments give the
    same bytes.
    """
    item = _template()
    sop_class = CTImageStorage if shape[0] == 1 else EnhancedCTImageStorage
    length = shape[0] * shape[1] * shape[2] * 2
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(1, count + 1):
        path = target / f"{number:05d}.dcm"
        noise = random.Random(f"{name} {number}").randbytes(min(length, BLOCK))
        with path.open("wb") as file:
            file.write(_head(item, sop_class, name, number, shape))
            file.write(struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, length))
            for at in range(0, length, BLOCK):
                file.write(noise[: min(BLOCK, length - at)])
        paths.append(path)
    return paths
