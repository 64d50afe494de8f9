"""The bridge to pydicom: encodings, conversions that keep bytes, and clear refusals."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import pydicom
import pytest
from pydicom.charset import python_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from dimse_rs import sop_class as uids
from dimse_rs.datasets import convert, from_bytes, stored_syntax, to_bytes, write
from dimse_rs.errors import DecodeError, NoPresentationContext

NATIVE = [
    uids.ImplicitVRLittleEndian,
    uids.ExplicitVRLittleEndian,
    uids.ExplicitVRBigEndian,
    uids.DeflatedExplicitVRLittleEndian,
]
DATA = Path(pydicom.__file__).parent / "data"


def readable() -> list[Path]:
    found = []
    for path in sorted(DATA.rglob("*.dcm")):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                syntax = stored_syntax(pydicom.dcmread(path))
        except Exception:
            continue
        if syntax is not None and syntax.convertible:
            found.append(path)
    return found


# Those that pydicom has because they are cut short.
CUT = [path for path in readable() if path.stem.endswith("_truncated")]
FILES = [path for path in readable() if path not in CUT]


def stored_data_set(path: Path) -> bytes:
    """The data set's bytes as they are in the file."""
    with path.open("rb") as file:
        pydicom.filereader.read_preamble(file, force=False)
        pydicom.filereader._read_file_meta_info(file)
        return file.read()


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_there_is_something_to_test_with():
    syntaxes = {stored_syntax(pydicom.dcmread(path)) for path in FILES}
    assert syntaxes == set(NATIVE)
    assert len(FILES) > 40
    assert len(CUT) == 2


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
@pytest.mark.parametrize("syntax", NATIVE, ids=lambda s: s.keyword)
def test_every_value_survives_conversion(path, syntax):
    there = from_bytes(convert(path, syntax), syntax)
    back = from_bytes(to_bytes(there, uids.ExplicitVRLittleEndian), uids.ExplicitVRLittleEndian)
    original = pydicom.dcmread(path)
    kept = [tag for tag in original.keys() if tag.element or tag.group <= 6]  # noqa: SIM118
    assert sorted(back.keys()) == sorted(kept)
    if syntax != uids.ImplicitVRLittleEndian:  # which cannot say UN, nor OB for pixels
        assert to_bytes(back, uids.ExplicitVRLittleEndian) == convert(
            path, uids.ExplicitVRLittleEndian
        )
    pixels = original.get_item(0x7FE00010)
    if pixels is not None and stored_syntax(original) != uids.ExplicitVRBigEndian:
        assert back.get_item(0x7FE00010).value == pixels.value


@pytest.mark.parametrize("path", CUT, ids=lambda p: p.name)
@pytest.mark.parametrize("syntax", NATIVE, ids=lambda s: s.keyword)
def test_a_file_that_is_cut_short_is_never_converted(path, syntax):
    with pytest.raises(DecodeError, match=path.name):
        convert(path, syntax)
    with pytest.raises(DecodeError, match="cut short"):
        convert(pydicom.dcmread(path), syntax)


@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "rtplan.dcm", "image_dfl.dcm"],
)
def test_same_syntax_keeps_the_bytes(name):
    [path] = DATA.rglob(name)
    syntax = stored_syntax(pydicom.dcmread(path))
    stored, ours = stored_data_set(path), convert(path, syntax)
    if syntax.deflated:
        stored, ours = (zlib.decompress(data, -zlib.MAX_WBITS) for data in (stored, ours))
    assert ours == stored


def test_pixel_words_are_swapped_and_bytes_are_not():
    words = Dataset()
    words.BitsAllocated = 16
    words.add_new(0x7FE00010, "OW", b"\x01\x02\x03\x04")
    assert to_bytes(words, uids.ExplicitVRBigEndian).endswith(b"\x02\x01\x04\x03")
    assert to_bytes(words, uids.ExplicitVRLittleEndian).endswith(b"\x01\x02\x03\x04")
    octets = Dataset()
    octets.BitsAllocated = 8
    octets.add_new(0x7FE00010, "OB", b"\x01\x02\x03\x04")
    assert to_bytes(octets, uids.ExplicitVRBigEndian).endswith(b"\x01\x02\x03\x04")


def test_big_endian_and_little_endian_files_of_one_image_agree():
    [little] = DATA.rglob("MR_small.dcm")
    [big] = DATA.rglob("MR_small_bigendian.dcm")
    from_big = from_bytes(convert(big, uids.ExplicitVRLittleEndian), uids.ExplicitVRLittleEndian)
    assert from_big.PixelData == pydicom.dcmread(little).PixelData


@pytest.mark.parametrize(
    ("vr", "value", "swapped"),
    [
        ("OL", b"\1\2\3\4", b"\4\3\2\1"),
        ("OF", b"\1\2\3\4", b"\4\3\2\1"),
        ("OD", b"\1\2\3\4\5\6\7\x08", b"\x08\7\6\5\4\3\2\1"),
        ("OV", b"\1\2\3\4\5\6\7\x08", b"\x08\7\6\5\4\3\2\1"),
    ],
)
def test_every_word_vr_is_swapped_inside_sequences_too(vr, value, swapped):
    inner = Dataset()
    inner.add_new(0x00091001, vr, value)
    outer = Dataset()
    outer.add_new(0x00081140, "SQ", [inner])
    assert swapped in to_bytes(outer, uids.ExplicitVRBigEndian)
    read = from_bytes(to_bytes(outer, uids.ExplicitVRLittleEndian), uids.ExplicitVRLittleEndian)
    assert swapped in to_bytes(read, uids.ExplicitVRBigEndian)


def test_text_keeps_its_escape_sequences():
    name = b"\x1b$)C\xb1\xe8\xc8\xf1\xc1\xdf\x1b(B "
    raw = b"\x08\x00\x05\x00CS\x10\x00\\ISO 2022 IR 149" + b"\x10\x00\x10\x00PN\x0e\x00" + name
    dataset = from_bytes(raw, uids.ExplicitVRLittleEndian)
    assert name in to_bytes(dataset, uids.ExplicitVRBigEndian)
    assert name in to_bytes(dataset, uids.ImplicitVRLittleEndian)


@pytest.mark.parametrize("syntax", NATIVE[:3], ids=lambda s: s.keyword)
@pytest.mark.parametrize("charset", ["", *python_encoding], ids=lambda name: name or "none")
def test_text_is_written_as_pydicom_writes_it(charset, syntax):
    printable = bytes(range(0x20, 0x7F)).decode().replace("\\", "")
    made = Dataset()
    made.SpecificCharacterSet = charset
    made.ImageType = ["ORIGINAL", "PRIMARY"]
    made.SOPClassUID = "1.2.840.10008.1.1"
    made.StudyDate, made.StudyTime = "20240131", "1015"
    made.AcquisitionDateTime = None
    made.AccessionNumber = ""
    made.InstitutionName = printable[:63]
    made.InstitutionAddress = printable
    made.StudyDescription = "Größe" if charset in ("ISO_IR 100", "ISO_IR 192") else "x"
    made.PatientName = "Nobody^Special"
    made.PatientAge, made.PatientSex = "030Y", "O"
    made.AdditionalPatientHistory = "x" * 0xFFFD
    made.ReferencedStudySequence = [Dataset()]
    made.ReferencedStudySequence[0].ReferencedSOPInstanceUID = "1.2.3.45"
    made.add_new(0x00080000, "UL", 8)
    made.add_new(0x00100000, "UL", 8)
    made.add_new(0x00104000, "LT", "y" * 0xFFFE if syntax.implicit else "y")
    made.SeriesNumber = 7
    expected = DicomBytesIO()
    expected.is_implicit_VR, expected.is_little_endian = syntax.implicit, not syntax.big_endian
    write_dataset(expected, made)
    assert to_bytes(made, syntax) == expected.getvalue()


def test_value_that_cannot_be_encoded_is_named():
    made = Dataset()
    made.Rows = 7
    made["Rows"]._value = "seven"
    with pytest.raises(DecodeError, match=r"0028,\s?0010"):
        to_bytes(made, uids.ExplicitVRLittleEndian)


def test_text_is_encoded_anew_when_the_character_set_was_changed():
    raw = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100" + b"\x10\x00\x10\x00PN\x04\x00M\xfcl "
    dataset = from_bytes(raw, uids.ExplicitVRLittleEndian)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for syntax in (uids.ExplicitVRLittleEndian, uids.ImplicitVRLittleEndian):
        assert "Mül".encode() in to_bytes(dataset, syntax)


def test_private_values_of_unknown_vr_keep_their_bytes():
    raw = b"\x09\x00\x10\x00LO\x04\x00AGFA" + b"\x09\x00\x60\x10UN\x00\x00\x02\x00\x00\x00\x01\x00"
    dataset = from_bytes(raw, uids.ExplicitVRLittleEndian)
    assert to_bytes(dataset, uids.ExplicitVRLittleEndian) == raw
    assert to_bytes(dataset, uids.ExplicitVRBigEndian).endswith(
        b"UN\x00\x00\x00\x00\x00\x02\x01\x00"
    )


@pytest.mark.parametrize(
    "cut",
    [
        b"\x08\0\x60\0CS\x04\0CT",
        # A VR that nobody knows, with a length of 32 bits: pydicom reads on inside the value.
        b"\x09\0\x10\x10ZZ\0\0\x04\0\0\0ABCD\x10\0\x10\0PN\4\0A^B ",
    ],
    ids=["cut", "VR of 32 bits"],
)
def test_what_ends_inside_a_value_is_refused_wherever_its_tag_belongs(cut):
    with pytest.raises(DecodeError):
        from_bytes(b"\x20\0\x10\0SH\2\0" + b"1 " + cut, uids.ExplicitVRLittleEndian)


@pytest.mark.parametrize("tag", [b"\x09\0\x10\x10", b"\xe0\x7f\x10\0"])
@pytest.mark.parametrize("syntax", NATIVE[:3])
def test_empty_value_of_a_vr_that_nobody_knows_is_kept(syntax, tag):
    encoded = b"\x08\0\x60\0CS\2\0CT" + tag + b"ZZ\0\0"
    kept = to_bytes(from_bytes(encoded, uids.ExplicitVRLittleEndian), syntax)
    expected = {
        uids.ImplicitVRLittleEndian: b"\x08\0\x60\0\2\0\0\0CT" + tag + bytes(4),
        uids.ExplicitVRLittleEndian: encoded,
        uids.ExplicitVRBigEndian: b"\0\x08\0\x60CS\0\2CT"
        + bytes((tag[1], tag[0], tag[3], tag[2]))
        + b"ZZ\0\0",
    }
    assert kept == expected[syntax]


@pytest.mark.parametrize("charset", ["ISO_IR 999", "ISO_IR 6", "", "\\ISO 2022 IR 87"])
def test_text_beyond_the_character_set_of_each_item_is_encoded_once_for_all_levels(charset):
    """Each may take three attempts; if levels multiplied, this would not end."""
    item = Dataset()
    for _ in range(60):
        around = Dataset()
        around.SpecificCharacterSet = charset.split("\\")
        around.ReferencedSeriesSequence = [item]
        around.PatientID = "\xc4"
        item = around
    encoded = to_bytes(item, uids.ImplicitVRLittleEndian)
    assert encoded.count("\xc4".encode()) == 60
    assert encoded.count(b"ISO_IR 192") == 60


def test_text_of_undefined_length_is_refused_where_its_vr_has_a_length_of_16_bits():
    item = b"\xfe\xff\0\xe0\2\0\0\0A \xfe\xff\xdd\xe0\0\0\0\0"
    odd = Dataset()
    odd._dict[BaseTag(0x00100010)] = RawDataElement(
        BaseTag(0x00100010), "PN", 0xFFFFFFFF, item[:-8], 0, True, True
    )
    odd.set_original_encoding(True, True, "iso8859")
    with pytest.raises(DecodeError, match="PatientName has a value of undefined length"):
        to_bytes(odd, uids.ExplicitVRLittleEndian)


def test_group_0002_is_never_sent():
    [path] = DATA.rglob("CT_small.dcm")
    dataset = pydicom.dcmread(path)
    before = to_bytes(dataset, uids.ExplicitVRLittleEndian)
    loose = Dataset()
    loose.add_new(0x00020010, "UI", "1.2.840.10008.1.2.1")
    loose.PatientID = "X"
    assert to_bytes(loose, uids.ImplicitVRLittleEndian) == b"\x10\0\x20\0\x02\0\0\0X "
    assert before.startswith(b"\x08\x00")


def test_the_callers_data_set_is_not_changed():
    [path] = DATA.rglob("CT_small.dcm")
    dataset = pydicom.dcmread(path)
    to_bytes(dataset, uids.ExplicitVRBigEndian)
    assert dataset == pydicom.dcmread(path)
    assert to_bytes(dataset, uids.ExplicitVRLittleEndian) == convert(
        path, uids.ExplicitVRLittleEndian
    )


def test_deflated_is_raw_and_even():
    for length in range(2, 40, 2):
        dataset = Dataset()
        dataset.PatientComments = "x" * length
        packed = to_bytes(dataset, uids.DeflatedExplicitVRLittleEndian)
        assert len(packed) % 2 == 0
        back = from_bytes(packed, uids.DeflatedExplicitVRLittleEndian)
        assert back.PatientComments == "x" * length


@pytest.mark.parametrize("cut", [0, 5, -3])
def test_deflated_and_cut_short_or_garbage_is_refused(cut):
    [path] = DATA.rglob("CT_small.dcm")
    packed = convert(path, uids.DeflatedExplicitVRLittleEndian)
    with pytest.raises(DecodeError, match=r"PS3\.5 A\.5"):
        from_bytes(packed[:cut] if cut else b"\xff" * 20, uids.DeflatedExplicitVRLittleEndian)


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "MR_small_RLE.dcm", "JPEG-lossy.dcm"])
def test_compressed_to_uncompressed_says_what_is_missing(name):
    [path] = DATA.rglob(name)
    stored = stored_syntax(pydicom.dcmread(path))
    with pytest.raises(NoPresentationContext, match="decompressed, which takes a codec") as caught:
        convert(path, uids.ExplicitVRLittleEndian)
    assert stored.name in str(caught.value)
    assert "decompress()" in caught.value.hint
    assert convert(path, stored) == to_bytes(pydicom.dcmread(path), stored)


def test_uncompressed_to_compressed_says_what_is_missing():
    [path] = DATA.rglob("CT_small.dcm")
    with pytest.raises(NoPresentationContext, match="compressed anew, which takes a codec"):
        convert(path, uids.JPEG2000Lossless)


def test_encapsulated_pixels_of_unknown_syntax_are_refused():
    [path] = DATA.rglob("JPEG2000.dcm")
    dataset = pydicom.dcmread(path)
    dataset.file_meta = FileMetaDataset()
    assert stored_syntax(dataset) is None
    with pytest.raises(NoPresentationContext, match="encapsulated pixel data"):
        to_bytes(dataset, uids.ImplicitVRLittleEndian)


def test_from_bytes_takes_any_buffer_and_can_add_a_file_meta():
    raw = b"\x10\0\x20\0\x02\0\0\0X "
    for buffer in (raw, bytearray(raw), memoryview(raw)):
        assert from_bytes(buffer, uids.ImplicitVRLittleEndian).PatientID == "X"
    dataset = from_bytes(raw, "1.2.840.10008.1.2", file_meta=True)
    assert dataset.file_meta.TransferSyntaxUID == UID("1.2.840.10008.1.2")


def test_a_file_is_written_with_its_letters_or_not_at_all(tmp_path):
    [path] = DATA.rglob("CT_small.dcm")
    dataset = pydicom.dcmread(path)
    dataset.PatientName = "山田^太郎"
    write(tmp_path / "a.dcm", dataset)
    written = pydicom.dcmread(tmp_path / "a.dcm")
    assert (written.PatientName, written.SpecificCharacterSet) == ("山田^太郎", "ISO_IR 192")
    assert written.file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID
    assert written.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    dataset.Modality = "Ä"
    with pytest.raises(DecodeError, match=r"\(0008,0060\) Modality"):
        write(tmp_path / "b.dcm", dataset)
    del dataset.Modality, dataset.SOPInstanceUID
    with pytest.raises(DecodeError, match="SOPInstanceUID"):
        write(tmp_path / "b.dcm", dataset)
    assert not (tmp_path / "b.dcm").exists()


@pytest.mark.parametrize(
    "value", [b"", b"1.2\\1.3 ", b"Doe^John", b"1.2.\xb9\0", b"1." + b"2" * 64], ids=repr
)
@pytest.mark.parametrize("number", [0x16, 0x18])
def test_a_file_is_of_an_instance_that_has_uids(number, value, tmp_path, recwarn):
    """And nothing says what is in place of them."""
    warnings.simplefilter("always")
    parts = []
    for tag in (0x16, 0x18):
        uid = value if tag == number else b"1.2.3\0"
        parts.append(struct.pack("<HH2sH", 8, tag, b"UI", len(uid)) + uid)
    odd = from_bytes(b"".join(parts), uids.ExplicitVRLittleEndian, file_meta=True)
    with pytest.raises(
        DecodeError, match=r"no SOP(Class|Instance)UID, or one that is none"
    ) as told:
        write(tmp_path / "odd.dcm", odd)
    assert not (tmp_path / "odd.dcm").exists()
    assert told.value.__context__ is None
    assert not recwarn.list


def test_what_is_not_dicom_is_a_decode_error(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no DICOM here")
    with pytest.raises(DecodeError, match="not a DICOM file"):
        convert(path, uids.ImplicitVRLittleEndian)
    with pytest.raises(FileNotFoundError):
        convert(tmp_path / "none.dcm", uids.ImplicitVRLittleEndian)
