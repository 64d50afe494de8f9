"""What the core does in encoding data sets, against what Python and pydicom do without it."""

from __future__ import annotations

import struct
import warnings
from io import BytesIO

import pytest
from hypothesis import given, settings, strategies as st
from pydicom import Dataset, Sequence, config
from pydicom.dataelem import DataElement, RawDataElement, empty_value_for_VR
from pydicom.filereader import read_dataset
from pydicom.valuerep import DSfloat, PersonName

from dimse_rs import _core
from dimse_rs.encoding import decode, encode
from dimse_rs.errors import DimseError
from dimse_rs.sop_class import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from tests.support.datasets import data_set

ENCODE = _core.encode_elements
SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]

# ---- from data sets to bytes

TEXTS = st.text(
    st.sampled_from("AZaz09 ^=\\.-+\0\n\x1b\ufffdäöüß山田ヤマ\ud800\u20ac"), max_size=9
) | st.sampled_from(
    ["", "x" * 70, "1.2.840", "20240131", "山田^太郎", "Möller^P=山田=やま", "A^B=", "="]
)
PLAIN = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=9)
STRINGS = ["AE", "AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"]
NUMBERS = st.integers(-(2**33), 2**33)


def numbers_as(vr):
    if vr == "IS":
        return NUMBERS | NUMBERS.map(str) | st.sampled_from([" 12 ", "+5", "", True, "-0"])
    return NUMBERS | NUMBERS.map(str) | st.floats(-1e9, 1e9).map(lambda f: f"{f:.6g}") | st.floats()


@st.composite
def elements(draw, depth=1):
    vr = draw(st.sampled_from([*STRINGS, "PN", "IS", "DS", "US", "OB", "UN", "SQ", "AT"]))
    tag = draw(
        st.sampled_from(
            [0x00090010 + n for n in range(16)] + [0x00100010, 0x00090000, 0x00020010, 0x00000002]
        )
    )
    if vr in STRINGS:
        value = draw(TEXTS | PLAIN | st.none() | st.lists(PLAIN | TEXTS, max_size=3))
    elif vr == "PN":
        one = TEXTS.map(PersonName) | PLAIN.map(PersonName)
        one |= PLAIN.map(lambda text: PersonName(text.encode(), ["iso8859"]))
        value = draw(TEXTS | PLAIN | one | st.none() | st.lists(one, max_size=3))
    elif vr in ("IS", "DS"):
        value = draw(numbers_as(vr) | st.none() | st.lists(numbers_as(vr), max_size=3))
    elif vr == "US":
        value = draw(st.integers(0, 65535))
    elif vr == "AT":
        value = draw(st.integers(0, 2**32 - 1))
    elif vr == "SQ":
        value = Sequence(draw(st.lists(data_sets(depth - 1), max_size=2)) if depth else [])
    else:
        value = draw(st.binary(max_size=8))
    return tag, vr, value


@st.composite
def data_sets(draw, depth=1):
    made = Dataset()
    declared = draw(
        st.sampled_from([None, "ISO_IR 192", "ISO_IR 100", ["", "ISO 2022 IR 87"], "X"])
    )
    if declared is not None:
        made.SpecificCharacterSet = declared
    for tag, vr, value in draw(st.lists(elements(depth), max_size=6)):
        try:
            made._dict[DataElement(tag, vr, None).tag] = DataElement(
                tag, vr, value, already_converted=vr == "SQ"
            )
        except (ValueError, TypeError, OverflowError, AttributeError):
            continue  # not a value of this VR, for pydicom either
    return made


def outcome(dataset, syntax):
    try:
        return encode.encode(dataset, syntax)
    except DimseError as error:
        return str(error)


def all_left(elements, encoding, utf8):
    """Stand for the core: leave each element to Python, but the character set that may be new."""
    return [
        ENCODE({tag: elements[tag]}, encoding, utf8)[0] if tag == 0x00080005 else tag
        for tag in sorted(elements, key=int)
        if tag.group not in (0, 2) and not (tag.element == 0 and tag.group > 6)
    ]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: s.keyword)
@given(dataset=data_sets())
@settings(max_examples=300, deadline=None)
def test_what_the_core_writes_is_what_python_writes(syntax, dataset):
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patched:
        warnings.simplefilter("ignore")
        quick = outcome(dataset, syntax)
        patched.setattr(_core, "encode_elements", all_left)
        assert quick == outcome(dataset, syntax)


def test_plain_values_are_written_by_the_core():
    # Otherwise the test above would compare Python with itself.
    dataset = data_set(
        SpecificCharacterSet="ISO_IR 192",
        PatientName="Möller^P",
        PatientID="7",
        ModalitiesInStudy=["CT", "SR"],
        NumberOfStudyRelatedInstances="600",
        SeriesNumber=3,
        PatientWeight=DSfloat("7.5"),
        StudyDate="",
        AccessionNumber=None,
        StudyInstanceUID="2.25.1",
    )
    [content] = _core.encode_elements(dataset._dict, "explicit", True)
    assert content == encode.encode(dataset, ExplicitVRLittleEndian)
    first, name, rest = _core.encode_elements(dataset._dict, "explicit", False)
    assert (type(first), name, type(rest)) == (bytes, 0x00100010, bytes)
    with pytest.raises(ValueError, match="encoding"):
        _core.encode_elements({}, "little", False)


# ---- from bytes to data sets

OTHERS = ["PN", "IS", "DS", "US", "AT", "ZZ", "\0\0"]
VRS = [*sorted(encode._WIDE), *STRINGS, *OTHERS]


@st.composite
def encoded(draw, syntax):
    order = ">" if syntax.big_endian else "<"
    content = bytearray()
    for _ in range(draw(st.integers(0, 5))):
        tag = draw(
            st.sampled_from(
                [0x00080005, 0x00080020, 0x00100010, 0x00091001, 0xFFFEE00D, 0xFFFEE000, 0x00020010]
            )
        )
        vr = draw(st.sampled_from(VRS))
        value = draw(
            st.binary(max_size=10) | st.sampled_from([b"ISO_IR 192", b"ISO_IR 100\\ISO 2022 IR 87"])
        )
        length = draw(
            st.sampled_from([len(value)] * 9 + [0xFFFFFFFF, len(value) + 1, 0x4C4F, 0x4141])
        )
        content += struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
        if syntax.implicit:
            content += struct.pack("<I", length)
        elif vr in encode._WIDE:
            content += vr.encode() + b"\0\0" + struct.pack(order + "I", length)
        else:
            content += vr.encode() + struct.pack(order + "H", length & 0xFFFF)
        content += value
    return bytes(content[: draw(st.sampled_from([len(content)] * 5 + [*range(len(content))]))])


def seen(read):
    """Give all that a data set has, or the kind of its error."""
    try:
        dataset = read()
    except Exception as error:
        return type(error).__name__
    kept = [(type(tag), tag, type(one), one) for tag, one in dataset._dict.items()]
    attributes = {name: value for name, value in vars(dataset).items() if name != "_dict"}
    return kept, attributes, dataset.original_encoding, dataset.original_character_set


def by_pydicom(data, syntax):
    dataset = read_dataset(
        BytesIO(data), is_implicit_VR=syntax.implicit, is_little_endian=not syntax.big_endian
    )
    decode._check_end(dataset)
    return dataset


@pytest.mark.parametrize("none", [False, True], ids=["usual", "none-as-empty"])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda s: s.keyword)
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_what_the_core_splits_is_what_pydicom_reads(syntax, none, data):
    content = data.draw(encoded(syntax))
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patched:
        warnings.simplefilter("ignore")
        patched.setattr(config, "use_none_as_empty_text_VR_value", none)
        ours = seen(lambda: decode.data_set(content, syntax))
        assert ours == seen(lambda: by_pydicom(content, syntax))


@pytest.mark.parametrize(
    "vr", sorted({*encode._WIDE, *STRINGS, "PN", "IS", "DS", "US", "FD", "AT"})
)
def test_empty_values_are_those_of_pydicom(vr):
    wide = vr in encode._WIDE
    content = b"\x09\0\x01\x10" + vr.encode() + (b"\0" * 6 if wide else b"\0" * 2)
    [element] = decode.data_set(content, ExplicitVRLittleEndian)._dict.values()
    assert element.value == empty_value_for_VR(vr, raw=True)


def test_data_sets_share_nothing():
    content = b"\x10\0\x20\0LO\x02\x0012"
    one, other = (decode.data_set(content, ExplicitVRLittleEndian) for _ in range(2))
    assert isinstance(one._dict[0x00100020], RawDataElement)
    one.private_block(0x0009, "ME", create=True)
    one.PatientName = "A"
    assert (one.PatientID, other.PatientID, "PatientName" in other) == ("12", "12", False)
    assert not other._private_blocks
    assert type(one) is Dataset


def test_a_long_character_set_is_not_kept():
    before = decode._encodings.cache_info().currsize
    value = b"\\".join([b"ISO 2022 IR 87"] * 20)
    content = b"\x08\0\x05\0CS" + struct.pack("<H", len(value)) + value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decode.data_set(content, ExplicitVRLittleEndian)
    assert decode._encodings.cache_info().currsize == before
