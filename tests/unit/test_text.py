"""Text on its way out: exact, declared anew as UTF-8, or refused by name, and never replaced."""

from __future__ import annotations

import io
import struct
import warnings

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.charset import python_encoding
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.valuerep import DS, PersonName

from dimse_rs import sop_class as uids
from dimse_rs.datasets import from_bytes, to_bytes
from dimse_rs.dimse.scu import data_set_of
from dimse_rs.errors import DecodeError

EXPLICIT, IMPLICIT = uids.ExplicitVRLittleEndian, uids.ImplicitVRLittleEndian
SYNTAXES = [EXPLICIT, IMPLICIT, uids.ExplicitVRBigEndian, uids.DeflatedExplicitVRLittleEndian]
NAME = "山田^太郎"
TEXT_VRS = ["LO", "LT", "PN", "SH", "ST", "UC", "UT"]
ASCII_VRS = ["AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"]
PRIVATE = 0x00091010
LATIN_1 = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"
ARABIC = "قباني^لنزار"
OF_SETS = {
    "ISO_IR 100": "Größe^Ä",
    "ISO_IR 101": "Łódź",
    "ISO_IR 144": "Люк^сен",
    "ISO_IR 127": ARABIC,
    "ISO_IR 126": "Διονυσιος",
    "ISO_IR 138": "שרון^דבורה",
    "ISO_IR 148": "Çavuşoğlu",
    "ISO_IR 166": "กขค",
    "ISO_IR 13": "ﾔﾏﾀﾞ^ﾀﾛｳ",
    "GB18030": "王^小东",
    "ISO_IR 192": NAME,
    "\\ISO 2022 IR 149": "Hong^Gildong=洪^吉洞=홍^길동",
    "\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "ISO 2022 IR 13\\ISO 2022 IR 87": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
}


@pytest.fixture(autouse=True)
def _as_a_program():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the tests themselves do with pydicom
        yield


def again(dataset: Dataset, syntax: str = EXPLICIT) -> Dataset:
    return from_bytes(to_bytes(dataset, syntax), syntax)


def element(tag: int, vr: str, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr in ("UN", "UI") else b" "
    group, number = tag >> 16, tag & 0xFFFF
    if vr in ("UN", "UT", "UC", "SQ", "OB"):
        return struct.pack("<HH2sHI", group, number, vr.encode(), 0, len(value)) + value
    return struct.pack("<HH2sH", group, number, vr.encode(), len(value)) + value


def refused(dataset: Dataset, *named: str) -> DecodeError:
    for syntax in SYNTAXES:
        with pytest.raises(DecodeError) as caught:
            to_bytes(dataset, syntax)
        assert all(name in str(caught.value) for name in named)
    return caught.value


# ---- what was made


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: s.keyword)
@pytest.mark.parametrize("vr", TEXT_VRS)
@pytest.mark.parametrize("text", [NAME, "Müller", "🦴", "Łódź"])
@pytest.mark.parametrize("charset", [None, "", "ISO_IR 6", "ISO_IR 144", "no such set", "utf-8"])
def test_text_beyond_its_character_set_is_declared_as_utf_8(syntax, vr, text, charset):
    made = Dataset()
    if charset is not None:
        made.SpecificCharacterSet = charset
    made.add_new(PRIVATE & ~0xFFFF | 0x10, "LO", "OURS")
    made.add_new(PRIVATE, vr, text)
    got = again(made, syntax)
    assert got.SpecificCharacterSet == "ISO_IR 192"
    value = got[PRIVATE].value
    assert (value.decode() if isinstance(value, bytes) else str(value)).rstrip() == text
    assert charset in (None, made.get("SpecificCharacterSet"))  # the caller's is not changed


@pytest.mark.parametrize(("charset", "name"), OF_SETS.items())
def test_text_that_its_character_set_holds_is_not_declared_anew(charset, name):
    made = Dataset()
    made.SpecificCharacterSet = charset
    made.PatientName = name
    made.PatientComments = name.partition("^")[0]
    got = again(made)
    assert got.SpecificCharacterSet == made.SpecificCharacterSet
    assert str(got.PatientName) == name
    assert got.PatientComments == name.partition("^")[0]


@pytest.mark.parametrize("charset", [c for c in python_encoding if c])
@pytest.mark.parametrize("text", [*OF_SETS.values(), "Zhang=张^小东", "é\nж", "ж\nж", "¥", "‾"])
def test_no_text_comes_back_as_another_in_any_character_set(charset, text):
    for terms in (charset, ["", charset], ["ISO 2022 IR 100", charset]):
        made = Dataset()
        made.SpecificCharacterSet = terms
        made.PatientName = text
        made.PatientComments = text
        got = again(made)
        assert str(got.PatientName) == text
        assert got.PatientComments == text


@pytest.mark.parametrize("terms", [["ISO_IR 192", "ISO 2022 IR 87"], ["GB18030", "ISO_IR 100"]])
def test_a_term_that_stands_alone_beside_another_is_declared_anew(terms):
    made = Dataset()
    made.SpecificCharacterSet = terms
    made.PatientName = "山田^太郎"
    got = again(made)
    assert got.SpecificCharacterSet == "ISO_IR 192"
    assert str(got.PatientName) == "山田^太郎"


def test_an_extension_does_not_make_latin_1_of_the_default_repertoire():
    made = Dataset()
    made.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    made.PatientName = "Müller=山田"
    encoded = to_bytes(made, EXPLICIT)
    assert b"ISO_IR 192" in encoded
    assert "Müller=山田".encode() in encoded


def test_component_groups_and_several_values_keep_their_letters():
    made = Dataset()
    made.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    made.OtherPatientNames = ["Müller^Jo", "A^B", NAME]
    made.OtherPatientIDs = ["x", "Ä", ""]
    got = again(made)
    assert got.PatientName == made.PatientName
    assert [str(name) for name in got.OtherPatientNames] == ["Müller^Jo", "A^B", NAME]
    assert list(got.OtherPatientIDs) == ["x", "Ä", ""]


def test_ascii_declares_nothing():
    made = Dataset()
    made.PatientName = "Doe^Jane"
    assert "SpecificCharacterSet" not in again(made)


def test_an_item_is_in_the_character_set_of_the_data_set_around_it():
    made, item, own = Dataset(), Dataset(), Dataset()
    item.InstitutionName = NAME
    own.SpecificCharacterSet = "ISO_IR 100"
    own.InstitutionName = "Größe"
    beyond = Dataset()
    beyond.SpecificCharacterSet = "ISO_IR 100"
    beyond.InstitutionName = NAME
    made.ReferencedStudySequence = [item, own, beyond]
    got = again(made)
    assert got.SpecificCharacterSet == "ISO_IR 192"
    first, second, third = got.ReferencedStudySequence
    assert "SpecificCharacterSet" not in first
    assert (second.SpecificCharacterSet, third.SpecificCharacterSet) == ("ISO_IR 100", "ISO_IR 192")
    assert [i.InstitutionName for i in (first, second, third)] == [NAME, "Größe", NAME]


@pytest.mark.parametrize("vr", ASCII_VRS)
def test_vrs_of_the_default_repertoire_refuse_other_text_by_name(vr):
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.add_new(0x00181030, "LO", "x")
    made[0x00181030].VR = vr
    for value in ("é", "山", ["1", "é"]):
        made[0x00181030]._value = value
        error = refused(made, "(0018,1030) ProtocolName", vr)
        assert "é" not in str(error)
        assert "山" not in str(error)


def test_a_lone_surrogate_is_refused_by_name():
    made = Dataset()
    made.PatientID = "a\udce4b"
    assert "udce4" not in str(refused(made, "(0010,0020) PatientID"))


# ---- numbers


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientWeight", 1 / 3),
        ("PatientWeight", "3.14159265358979323846"),
        ("PatientWeight", float("nan")),
        ("PatientWeight", [1.5, 2 / 3]),
        ("SeriesNumber", 2**31),
        ("SeriesNumber", -(2**31) - 1),
        ("SeriesNumber", "12345678901234"),
        ("SeriesNumber", 1.5),
        ("Rows", 70000),
        ("Rows", -1),
        ("Rows", "many"),
    ],
)
def test_a_number_that_does_not_fit_is_refused_by_name(keyword, value):
    made = Dataset()
    setattr(made, keyword, 1)
    element = made[keyword]
    if isinstance(value, str) and keyword == "Rows":
        element._value = value
    else:
        element.value = value
    error = refused(made, keyword)
    for one in value if isinstance(value, list) else [value]:
        assert str(one)[:12] not in str(error) or str(one) in ("-1", "1.5")
    assert error.__cause__ is None
    assert error.__context__ is None


def test_numbers_that_fit_are_sent():
    made = Dataset()
    made.PatientWeight = [DS(1 / 3, auto_format=True), 72.5, "1E-3"]
    made.SeriesNumber = [2**31 - 1, "-2147483648"]
    got = again(made)
    assert [str(one) for one in got.PatientWeight] == ["0.33333333333333", "72.5", "1E-3"]
    assert list(got.SeriesNumber) == [2**31 - 1, -(2**31)]


def test_a_number_that_was_read_goes_out_as_it_came():
    raw = element(0x00181030, "DS", b"0.48828125000000001") + element(
        0x00200011, "IS", b"99999999999"
    )
    dataset = from_bytes(raw, EXPLICIT)
    assert dataset[0x00181030].value == pytest.approx(0.488, abs=0.001)
    assert dataset.SeriesNumber == 99999999999
    assert to_bytes(dataset, EXPLICIT) == raw
    dataset.SeriesNumber = 99999999999
    refused(dataset, "(0020,0011) SeriesNumber")


# ---- what was read

UNDECLARED = {
    "ascii": element(0x00100010, "PN", b"Doe^Jane") + element(0x00100020, "LO", b"1"),
    "latin 1": element(0x00100010, "PN", b"M\xfcller") + element(0x00100020, "LO", b"\xc4"),
    "shift jis": element(0x00100010, "PN", "山田".encode("shift-jis")),
    "escapes": element(0x00100010, "PN", b"\x1b$B;3ED\x1b(B^"),
    "ill declared": element(0x00080005, "CS", b"ISO-IR 100") + element(0x00100010, "PN", b"\xc4"),
    "unknown set": element(0x00080005, "CS", b"LATIN 1") + element(0x00100010, "PN", b"\xc4"),
    "broken utf 8": element(0x00080005, "CS", b"ISO_IR 192") + element(0x00100010, "PN", b"M\xfc"),
    "in an item": element(
        0x00081110, "SQ", b"\xfe\xff\x00\xe0\x0c\0\0\0" + element(0x00100010, "PN", b"M\xfc\xe4r")
    ),
}


@pytest.mark.parametrize("raw", UNDECLARED.values(), ids=UNDECLARED)
@pytest.mark.parametrize("syntax", SYNTAXES[:3], ids=lambda s: s.keyword)
def test_text_that_was_read_and_not_touched_keeps_its_bytes(raw, syntax):
    there = to_bytes(from_bytes(raw, EXPLICIT), syntax)
    assert to_bytes(from_bytes(there, syntax), EXPLICIT) == raw
    looked_at = from_bytes(raw, EXPLICIT)
    str(looked_at)
    if raw[-2:] == b"M\xfc" or b"\x1b" in raw:  # pydicom gave up its bytes
        refused(looked_at, "(0010,0010) PatientName")
    else:
        assert to_bytes(looked_at, EXPLICIT) == raw


def test_what_was_read_is_declared_anew_with_all_its_text():
    private = element(PRIVATE & ~0xFFFF | 0x10, "LO", b"OURS") + element(PRIVATE, "LT", b"\xd6l")
    item = b"\xfe\xff\x00\xe0\x0a\0\0\0" + element(0x00080080, "LO", b"\xdc")
    raw = LATIN_1 + element(0x00081110, "SQ", item) + private
    dataset = from_bytes(raw + element(0x00100010, "PN", b"M\xfcller"), EXPLICIT)
    dataset.PatientID = NAME
    for syntax in SYNTAXES:
        got = again(dataset, syntax)
        assert got.SpecificCharacterSet == "ISO_IR 192"
        assert (str(got.PatientName), got.PatientID) == ("Müller", NAME)
        assert got.ReferencedStudySequence[0].InstitutionName == "Ü"
        value = got[PRIVATE].value
        assert (value.decode().rstrip() if isinstance(value, bytes) else value) == "Öl"


@pytest.mark.parametrize("named", [True, False])
def test_bytes_of_unknown_characters_are_not_declared_anew(named):
    value = "山田".encode("shift-jis")
    raw = element(0x00100010, "PN", value) if named else element(0x00104000, "LT", value)
    dataset = from_bytes(raw, EXPLICIT)
    dataset.PatientID = NAME
    assert refused(dataset, "(0010,0020) PatientID").hint
    dataset.SpecificCharacterSet = "ISO_IR 192"  # then they are what pydicom reads in them
    assert again(dataset).PatientID == NAME


def test_private_bytes_of_unknown_vr_are_not_declared_anew():
    raw = LATIN_1 + element(PRIVATE, "UN", b"M\xfcller") + element(0x00100010, "PN", b"Doe")
    dataset = from_bytes(raw, EXPLICIT)
    dataset.PatientName = NAME
    refused(dataset, "(0009,1010)")


def test_bytes_that_their_character_set_lacks_are_not_declared_anew():
    raw = element(0x00080005, "CS", b"ISO_IR 126") + element(0x00104000, "LT", b"\xae\xff")
    dataset = from_bytes(raw, EXPLICIT)
    assert to_bytes(dataset, EXPLICIT) == raw
    dataset.PatientName = NAME
    refused(dataset, "(0010,4000) PatientComments")


def test_a_text_whose_bytes_were_lost_in_reading_is_refused():
    raw = element(0x00080005, "CS", b"ISO_IR 192") + element(0x00104000, "LT", b"M\xfcller")
    dataset = from_bytes(raw, EXPLICIT)
    assert "�" in dataset.PatientComments
    refused(dataset, "(0010,4000) PatientComments")


def test_a_name_set_in_what_was_read_undeclared_is_declared():
    dataset = from_bytes(UNDECLARED["ascii"], EXPLICIT)
    dataset.PatientName = "Müller"
    dataset.PatientID = "Ä"
    got = again(dataset)
    assert got.SpecificCharacterSet == "ISO_IR 192"
    assert (str(got.PatientName), got.PatientID) == ("Müller", "Ä")


def test_latin_1_that_was_read_undeclared_and_looked_at_keeps_its_bytes():
    dataset = from_bytes(UNDECLARED["latin 1"], EXPLICIT)
    assert (str(dataset.PatientName), dataset.PatientID) == ("Müller", "Ä")
    assert to_bytes(dataset, EXPLICIT) == UNDECLARED["latin 1"]
    dataset.PatientComments = "Ö"  # made here: it would go out undeclared
    refused(dataset, "(0010,4000) PatientComments")


def test_values_of_another_data_set_keep_their_letters():
    stored = from_bytes(LATIN_1 + element(0x00100010, "PN", b"M\xfcller"), EXPLICIT)
    made = Dataset()
    made.PatientName = stored.PatientName
    assert str(again(made).PatientName) == "Müller"
    made.SpecificCharacterSet = "ISO_IR 144"
    assert str(again(made).PatientName) == "Müller"
    copied = Dataset()
    copied.update(stored)  # raw values, with what declares them
    assert str(again(copied).PatientName) == "Müller"
    alone = Dataset()
    alone[0x00100010] = stored.__class__(stored).get_item(0x00100010)
    assert str(again(alone).PatientName) == "Müller"


def test_raw_values_without_their_character_set_are_refused():
    stored = from_bytes(LATIN_1 + element(0x00104000, "LT", b"M\xfcller"), EXPLICIT)
    alone = Dataset({Tag(0x00104000): stored.get_item(0x00104000)})
    refused(alone, "(0010,4000) PatientComments")
    alone.SpecificCharacterSet = "ISO_IR 192"
    refused(alone, "(0010,4000) PatientComments")


def test_an_item_of_another_data_set_keeps_its_letters():
    item = b"\xfe\xff\x00\xe0\x0a\0\0\0" + element(0x00080080, "LO", b"\xdc")
    stored = from_bytes(LATIN_1 + element(0x00081110, "SQ", item), EXPLICIT)
    made = Dataset()
    made.ReferencedStudySequence = [stored.ReferencedStudySequence[0]]
    assert again(made).ReferencedStudySequence[0].InstitutionName == "Ü"


def test_bytes_in_place_of_text_are_refused_when_they_are_not_what_is_declared():
    made = Dataset()
    made.add_new(0x00104000, "LT", b"M\xfcller")
    refused(made, "(0010,4000) PatientComments")
    made.SpecificCharacterSet = "ISO_IR 192"
    refused(made, "(0010,4000) PatientComments")
    made.SpecificCharacterSet = "ISO_IR 100"
    assert again(made).PatientComments == "Müller"


def test_the_character_set_that_was_changed_is_the_one_that_text_goes_out_in():
    raw = LATIN_1 + element(0x00100010, "PN", b"M\xfcller") + element(0x00104000, "LT", b"\xc4")
    for charset in ("ISO_IR 192", "ISO_IR 101", "ISO_IR 144"):
        dataset = from_bytes(raw, EXPLICIT)
        dataset.SpecificCharacterSet = charset
        got = again(dataset)
        assert (str(got.PatientName), got.PatientComments) == ("Müller", "Ä")
        assert got.SpecificCharacterSet == ("ISO_IR 192" if charset == "ISO_IR 144" else charset)


def test_a_copy_to_add_to_knows_what_its_values_are_in():
    dataset = from_bytes(LATIN_1 + element(0x00100010, "PN", b"M\xfcller"), EXPLICIT)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    copied = data_set_of(dataset)
    copied.QueryRetrieveLevel = "STUDY"
    assert str(again(copied).PatientName) == "Müller"


def test_a_file_that_was_read_whole_and_printed_keeps_its_bytes():
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 100"
    made.PatientName = "Müller"
    made.PatientComments = "Ä"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = EXPLICIT
    made.file_meta.MediaStorageSOPClassUID = "1.2.3"
    made.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    file = io.BytesIO()
    dcmwrite(file, made, enforce_file_format=True)
    file.seek(0)
    dataset = dcmread(file)
    before = to_bytes(dataset, EXPLICIT)
    str(dataset)
    assert to_bytes(dataset, EXPLICIT) == before
    assert isinstance(dataset.PatientName, PersonName)


def test_text_past_64_kib_keeps_its_letters():
    made = Dataset()
    made.AdditionalPatientHistory = "ä" * 40000
    assert again(made, IMPLICIT).AdditionalPatientHistory == "ä" * 40000
    [tag] = [t for t in again(made).keys() if t == 0x001021B0]  # noqa: SIM118
    assert b"ISO_IR 192" in to_bytes(made, EXPLICIT)
    value = again(made)[tag].value
    assert (value.decode() if isinstance(value, bytes) else value) == "ä" * 40000
