"""When the peer does not take a file's own transfer syntax: what converts, and what says so."""

from __future__ import annotations

import pydicom
import pytest

from dimse_rs import (
    Context,
    DecodeError,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    NoPresentationContext,
)
from tests.data.files import data_set, same_values
from tests.support.nodes import (
    CT,
    DEFLATED,
    JPEG_2000,
    MR_BIG_ENDIAN,
    MR_IMPLICIT,
    SCU,
    picky,
)

NATIVE = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}
FILES = {
    "implicit": MR_IMPLICIT,
    "explicit": CT,
    "big endian": MR_BIG_ENDIAN,
    "deflated": DEFLATED,
}


def class_of(path):
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPClassUID)


@pytest.mark.parametrize("target", NATIVE)
@pytest.mark.parametrize("source", FILES)
def test_uncompressed_syntaxes_convert_among_each_other(source, target, tmp_path):
    path, syntax = FILES[source], NATIVE[target]
    sop_class = class_of(path)
    proposed = Context(sop_class, list(NATIVE.values()))
    with (
        picky(tmp_path, {sop_class: [syntax]}) as peer,
        SCU.associate(peer, contexts=[proposed]) as association,
    ):
        assert association.accepted[0].transfer_syntax == syntax
        assert association.c_store(path) == 0
    [stored] = tmp_path.glob("*.dcm")
    assert pydicom.dcmread(stored, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
    assert same_values(path, stored)


def test_a_data_set_converts_too(tmp_path):
    sop_class = class_of(CT)
    with (
        picky(tmp_path, {sop_class: [ImplicitVRLittleEndian]}) as peer,
        SCU.associate(peer, contexts=sop_class) as association,
    ):
        assert association.c_store(pydicom.dcmread(CT)) == 0
        assert association.c_store(CT.read_bytes()) == 0
    [stored] = tmp_path.glob("*.dcm")
    assert same_values(CT, stored)


def test_a_file_goes_as_it_is_where_it_may(tmp_path):
    sop_class = class_of(MR_IMPLICIT)
    contexts = [
        Context(sop_class, ExplicitVRLittleEndian),
        Context(sop_class, ImplicitVRLittleEndian),
    ]
    with (
        picky(tmp_path, {sop_class: []}) as peer,
        SCU.associate(peer, contexts=contexts) as association,
    ):
        association.c_store(MR_IMPLICIT)
    [stored] = tmp_path.glob("*.dcm")
    assert data_set(stored) == data_set(MR_IMPLICIT)


@pytest.mark.parametrize("form", ["path", "data set"])
def test_a_compressed_instance_says_what_is_missing(form, tmp_path):
    sop_class = class_of(JPEG_2000)
    contexts = [Context(sop_class, JPEG2000Lossless), Context(sop_class)]
    instance = JPEG_2000 if form == "path" else pydicom.dcmread(JPEG_2000)
    with (
        picky(tmp_path, {sop_class: [ExplicitVRLittleEndian]}) as peer,
        SCU.associate(peer, contexts=contexts) as association,
    ):
        with pytest.raises(NoPresentationContext) as caught:
            association.c_store(instance)
        assert association.is_established
    error = caught.value
    assert error.sop_class == sop_class
    assert "the peer accepted" in error.message
    assert "only in Explicit VR Little Endian" in error.message
    assert "JPEG 2000" in error.message
    assert "decompress" in error.hint
    assert list(tmp_path.glob("*.dcm")) == []


def test_a_syntax_that_two_contexts_have_is_named_once(tmp_path):
    with (
        picky(tmp_path, {class_of(JPEG_2000): [ExplicitVRLittleEndian]}) as peer,
        SCU.associate(
            peer, contexts=[Context(class_of(JPEG_2000), ExplicitVRLittleEndian)] * 2
        ) as association,
        pytest.raises(NoPresentationContext) as caught,
    ):
        association.c_store(JPEG_2000)
    assert caught.value.message.count("Explicit VR Little Endian") == 1


def test_a_native_instance_is_not_compressed(tmp_path):
    sop_class = class_of(CT)
    with (
        picky(tmp_path, {sop_class: [JPEG2000Lossless]}) as peer,
        SCU.associate(peer, contexts=[Context(sop_class, JPEG2000Lossless)]) as association,
        pytest.raises(NoPresentationContext, match="only in JPEG 2000"),
    ):
        association.c_store(CT)


def test_a_data_set_that_cannot_be_encoded_says_which_element(tmp_path):
    instance = pydicom.dcmread(CT)
    instance.Rows = "many"
    sop_class = class_of(CT)
    with (
        picky(tmp_path, {sop_class: [ImplicitVRLittleEndian]}) as peer,
        SCU.associate(peer, contexts=sop_class) as association,
    ):
        with pytest.raises(DecodeError, match=r"\(0028,0010\)"):
            association.c_store(instance)
        assert association.c_store(CT) == 0


def test_send_converts_and_reports_what_it_cannot(tmp_path):
    folder = tmp_path / "in"
    accepts = {class_of(path): [ImplicitVRLittleEndian] for path in (CT, JPEG_2000, MR_BIG_ENDIAN)}
    with picky(folder, accepts) as peer:
        report = SCU.send(peer, [CT, JPEG_2000, MR_BIG_ENDIAN])
    results = {result.path: result for result in report.results}
    assert [results[path].category for path in (CT, JPEG_2000, MR_BIG_ENDIAN)] == [
        "ok",
        "not-sent",
        "ok",
    ]
    assert isinstance(results[JPEG_2000].error, NoPresentationContext)
    assert results[JPEG_2000].bytes == 0
    assert len(list(folder.glob("*.dcm"))) == 2
    with pytest.raises(NoPresentationContext) as caught:
        report.raise_for_failures()
    assert "1 of 3 files not stored" in caught.value.__notes__[0]
