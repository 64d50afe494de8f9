"""The gate between bytes and pydicom: what is whole, what decoding takes, what is refused."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from dimse_rs import DecodeError, DimseError, Index, LimitExceeded, Limits, sop_class as uids
from dimse_rs.datasets import convert, from_bytes, read, to_bytes
from dimse_rs.encoding.gate import scan, scan_file
from tests.data.files import BUNDLED

FILES = BUNDLED / "test_files"
IMPLICIT, EXPLICIT = uids.ImplicitVRLittleEndian, uids.ExplicitVRLittleEndian
BIG = uids.ExplicitVRBigEndian
DEFLATED = uids.DeflatedExplicitVRLittleEndian
ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)


def implicit(tag: int, value: bytes) -> bytes:
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(data) + packer.flush()
    return packed + b"\0" * (len(packed) % 2)


def part10(path: Path, data: bytes, syntax: str = EXPLICIT) -> Path:
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax) + len(syntax) % 2)
    path.write_bytes(
        bytes(128) + b"DICM" + meta + syntax.encode() + b"\0" * (len(syntax) % 2) + data
    )
    return path


def image(**changes) -> Dataset:
    """A small image with everything that an index wants, in sequences too."""
    made = Dataset()
    made.SOPClassUID = uids.SecondaryCaptureImageStorage
    made.SOPInstanceUID, made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3", "1.2", "1.2.1"
    made.PatientID = "1"
    item = Dataset()
    item.CodeValue = "A"
    item.ReferencedSeriesSequence = Sequence([Dataset()])
    made.ProcedureCodeSequence = Sequence([item])
    made.Rows = made.Columns = 4
    made.SamplesPerPixel, made.BitsAllocated, made.BitsStored, made.HighBit = 1, 16, 16, 15
    made.PixelRepresentation, made.PhotometricInterpretation = 0, "MONOCHROME2"
    made.PixelData = bytes(32)
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = EXPLICIT
    return made


# ---- limits, before a byte is decoded


@pytest.mark.parametrize("within", ["", "identifier", "dataset"])
def test_what_a_data_set_inflates_to_is_limited_by_name(within):
    limits = Limits(identifier=1000, dataset=2000, inflated=3000)
    most = {"": 3000, "identifier": 1000, "dataset": 2000}[within]
    value = bytes(most)
    bomb = deflated(struct.pack("<HH2sHI", 8, 8, b"OB", 0, len(value)) + value)
    with pytest.raises(LimitExceeded) as caught:
        scan(bomb, DEFLATED, limits, within)
    assert (caught.value.limit, caught.value.most) == (within or "inflated", most)
    assert f"Limits.{within or 'inflated'}" in str(caught.value)


@pytest.mark.slow
def test_inflating_stops_at_the_limit(tmp_path, monkeypatch):
    packer = zlib.compressobj(9, wbits=-15)
    bomb = packer.compress(struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 1 << 30))
    bomb += b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()
    monkeypatch.setattr(zlib, "decompressobj", None)  # nothing is inflated in Python
    path = part10(tmp_path / "bomb.dcm", bomb, DEFLATED)
    for refused in (
        lambda: from_bytes(bomb, DEFLATED),
        lambda: read(path),
        lambda: Index().add(path),
    ):
        with pytest.raises(LimitExceeded, match=r"Limits\.inflated"):
            refused()


@pytest.mark.parametrize("junk", [ITEM, bytes(8)], ids=["items", "zeros"])
@pytest.mark.parametrize("tag", [0x00081110, 0x50022600], ids=["dictionary", "repeating"])
def test_elements_and_items_are_limited_where_no_vr_says_sequence(tag, junk):
    data = implicit(tag, junk * 1000)
    assert scan(data, IMPLICIT, Limits(elements=1001), lenient=True).elements == 1001
    with pytest.raises(LimitExceeded) as caught:
        from_bytes(data, IMPLICIT, limits=Limits(elements=1000))
    assert caught.value.limit == "elements"


def test_depth_is_limited():
    data = b""
    for _ in range(10):
        data = implicit(0x00081110, struct.pack("<HHI", 0xFFFE, 0xE000, len(data)) + data)
    assert scan(data, IMPLICIT, Limits(depth=10)).depth == 10
    with pytest.raises(LimitExceeded, match="deeper than 9"):
        from_bytes(data, IMPLICIT, limits=Limits(depth=9))


def test_values_of_an_element_with_many_count_as_memory():
    found = scan(implicit(0x00081048, b"\\" * 1000), IMPLICIT)
    assert found.values >= 300 * 1000
    assert scan(implicit(0x7FE00010, bytes(1000)), IMPLICIT).values == 0


def made_by_pydicom(dataset: Dataset) -> int:
    """Elements and items, all of them, once every sequence was decoded."""
    count = 0
    for tag in list(dataset.keys()):
        count += 1
        try:
            element = dataset[tag]
        except Exception:
            continue
        if element.VR == "SQ":
            count += sum(1 + made_by_pydicom(item) for item in element.value)
    return count


PARTS = [
    *(struct.pack("<HH", *tag) for tag in ((8, 0x1110), (8, 5), (0x40, 0x100), (0x29, 0x1010))),
    *(struct.pack("<HH", 0xFFFE, element) for element in (0xE000, 0xE00D, 0xE0DD)),
    *(struct.pack("<HH", 0x7FE0, 0x10), struct.pack("<HH", 0x50 << 8, 0x2600)),
    *(vr + b"\0\0" for vr in (b"SQ", b"OB", b"UN", b"LO", b"ZZ")),
    *(struct.pack("<I", length) for length in (0, 2, 8, 16, 24, 100, 0xFFFFFFFF)),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(PARTS) | st.binary(max_size=8), max_size=60), st.booleans())
def test_pydicom_never_makes_more_than_was_counted(parts, is_implicit):
    data = b"".join(parts)
    syntax = IMPLICIT if is_implicit else EXPLICIT
    try:
        found = scan(data, syntax, lenient=True)
        decoded = read_dataset(BytesIO(data), is_implicit, True)
    except Exception:
        return
    assert made_by_pydicom(decoded) <= found.elements


# ---- files that are cut short


def starts_of_elements(path: Path) -> set[int]:
    """Where a cut cannot be seen in the structure: between two elements of the top level."""
    dataset = pydicom.dcmread(path)
    meta = path.stat().st_size - len(to_bytes(dataset, EXPLICIT))
    lengths = {meta}
    at = meta
    for tag in sorted(dataset.keys()):
        alone = Dataset({tag: dataset.get_item(tag)})
        alone.set_original_encoding(False, True)
        at += len(to_bytes(alone, EXPLICIT))
        lengths.add(at)
    return lengths


@pytest.mark.parametrize("undefined", [False, True], ids=["defined", "undefined"])
def test_a_file_cut_at_any_byte_is_refused_with_the_offset(tmp_path, undefined):
    made = image()
    made["ProcedureCodeSequence"].is_undefined_length = undefined
    made.ProcedureCodeSequence[0].is_undefined_length_sequence_item = undefined
    whole = tmp_path / "whole.dcm"
    made.save_as(whole, enforce_file_format=True)
    borders = starts_of_elements(whole)
    content = whole.read_bytes()
    assert max(borders) == len(content)
    cut = tmp_path / "cut.dcm"
    unseen = 0
    for length in range(140, len(content)):
        cut.write_bytes(content[:length])
        if length in borders and length > min(borders):
            unseen += 1
            continue
        for refused in (
            lambda: scan_file(cut),
            lambda: read(cut),
            lambda: convert(cut, IMPLICIT),
            lambda: Index().add(cut),
        ):
            with pytest.raises(DecodeError) as caught:
                refused()
            assert str(cut) in str(caught.value), length
    assert unseen == len(made) - 1


def test_the_offset_counts_from_the_start_of_the_file(tmp_path):
    path = part10(tmp_path / "cut.dcm", implicit(0x00080008, b"ABCD")[:-2], IMPLICIT)
    with pytest.raises(DecodeError) as caught:
        read(path)
    assert caught.value.offset == path.stat().st_size
    assert caught.value.section == "PS3.5 7.1"


def test_a_deflated_file_cut_at_any_byte_is_refused(tmp_path):
    [source] = BUNDLED.rglob("image_dfl.dcm")
    content = source.read_bytes()
    cut = tmp_path / "cut.dcm"
    for length in range(400, len(content) - 1, 97):
        cut.write_bytes(content[:length])
        with pytest.raises(DecodeError):
            convert(cut, EXPLICIT)


def test_what_is_no_file_is_a_decode_error_and_what_is_not_there_an_os_error(tmp_path):
    with pytest.raises(DecodeError):
        read(tmp_path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")


def test_a_header_of_a_deflated_file_is_read_without_its_pixels(tmp_path, monkeypatch):
    from dimse_rs import datasets

    made = image(PixelData=bytes(1 << 20))
    path = part10(tmp_path / "dfl.dcm", deflated(to_bytes(made, EXPLICIT)), DEFLATED)
    monkeypatch.setattr(datasets, "_HEADER_BYTES", 4096)
    assert read(path, only=[0x00100020, 0x0020000D]).PatientID == "1"
    monkeypatch.setattr(datasets, "_HEADER_BYTES", 64)  # too few: then all of it
    assert read(path, only=[0x00100020, 0x0020000D]).StudyInstanceUID == "1.2"
    Index().add(path)


# ---- data sets in memory


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, 32),
        ({"NumberOfFrames": 3}, 96),
        ({"BitsAllocated": 1, "Rows": 5}, 3),
        ({"SamplesPerPixel": 3, "BitsAllocated": 8}, 48),
        (
            {"SamplesPerPixel": 3, "BitsAllocated": 8, "PhotometricInterpretation": "YBR_FULL_422"},
            32,
        ),
    ],
)
def test_native_pixel_data_shorter_than_its_module_says_is_refused_by_name(changes, needed):
    made = image(**changes, PixelData=bytes(needed + needed % 2))
    assert convert(made, IMPLICIT)
    assert convert(from_bytes(convert(made, EXPLICIT), EXPLICIT), IMPLICIT)
    made.PixelData = bytes((needed - 1) & ~1)
    for short in (made, from_bytes(convert(made, EXPLICIT, check=False), EXPLICIT)):
        with pytest.raises(DecodeError, match=r"\(7FE0,0010\).*need " + str(needed)):
            convert(short, IMPLICIT)
        assert convert(short, IMPLICIT, check=False)


def test_pixel_data_of_big_endian_is_measured_by_its_own_numbers():
    made = image()
    assert convert(from_bytes(convert(made, BIG), BIG), IMPLICIT)
    made.PixelData = bytes(30)
    short = from_bytes(convert(made, BIG, check=False), BIG)
    with pytest.raises(DecodeError, match="need 32"):
        convert(short, IMPLICIT)


@pytest.mark.parametrize(
    ("keyword", "tag", "bits"),
    [("FloatPixelData", "7FE0,0008", 32), ("DoubleFloatPixelData", "7FE0,0009", 64)],
)
def test_pixels_in_floating_point_are_measured_too(keyword, tag, bits):
    made = image(BitsAllocated=bits)
    del made.PixelData
    needed = made.Rows * made.Columns * bits // 8
    setattr(made, keyword, bytes(needed))
    assert convert(made, IMPLICIT)
    setattr(made, keyword, bytes(needed - bits // 8))
    with pytest.raises(DecodeError, match=rf"\({tag}\) is cut short.*need {needed}"):
        convert(made, IMPLICIT)


def test_pixel_data_that_is_missing_is_refused_where_its_rows_and_bits_are_there():
    made = image()
    del made.PixelData
    with pytest.raises(DecodeError, match="missing"):
        convert(made, IMPLICIT)
    made.PixelDataProviderURL = "https://example.org/pixels"
    assert convert(made, IMPLICIT)
    del made.PixelDataProviderURL, made.PhotometricInterpretation
    assert convert(made, IMPLICIT)


def test_encapsulated_pixel_data_is_not_measured():
    [path] = BUNDLED.rglob("JPEG2000.dcm")
    made = pydicom.dcmread(path)
    assert convert(made, str(made.file_meta.TransferSyntaxUID))


def test_a_value_of_an_item_that_is_shorter_than_it_says_is_refused_by_name():
    short = RawDataElement(Tag(0x00080100), "SH", 8, b"CODE", 0, False, True)
    made = image()
    made.ProcedureCodeSequence = [Dataset({short.tag: short})]
    with pytest.raises(DecodeError, match=r"\(0008,0100\) is cut short: 4 of 8 bytes"):
        convert(made, IMPLICIT)
    assert convert(made, IMPLICIT, check=False)


@pytest.mark.slow
def test_a_data_set_read_from_a_cut_file_is_refused_at_any_byte(tmp_path):
    whole = tmp_path / "whole.dcm"
    image().save_as(whole, enforce_file_format=True)
    borders = starts_of_elements(whole)
    content = whole.read_bytes()
    cut = tmp_path / "cut.dcm"
    taken = []
    for length in range(min(borders) + 1, len(content)):
        cut.write_bytes(content[:length])
        try:
            dataset = pydicom.dcmread(cut)
        except Exception:
            continue
        try:
            convert(dataset, EXPLICIT)
        except DimseError:
            continue
        taken.append(length)
    # Between two elements, or with less of the next one than its tag and length: not seen in
    # memory, until the pixel module is there whole.
    last = [border for border in sorted(borders) if border <= max(taken)][-1]
    assert all(any(b <= length < b + 12 for b in borders) for length in taken)
    assert last < sorted(borders)[-2]
