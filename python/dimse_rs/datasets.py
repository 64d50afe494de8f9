"""The bridge to pydicom: data sets to bytes, bytes to data sets, and one encoding to another.

pydicom does all reading and writing, save for plain text on its way out; this module picks the
encoding (PS3.5 10) and does what pydicom leaves to its callers: the deflate layer, the byte order
of bulk values, and keeping the bytes of values that need no change. pydicom is imported when a
function is called, never before.
"""

from __future__ import annotations

import zlib
from array import array
from contextlib import suppress
from io import BytesIO
from os import PathLike, fspath
from struct import Struct
from typing import TYPE_CHECKING, Final

from ._uids import TransferSyntax
from .errors import DecodeError, NoPresentationContext

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.tag import BaseTag
    from typing_extensions import Buffer

__all__ = ["convert", "from_bytes", "new_uid", "read", "stored_syntax", "to_bytes", "write"]
__all__ += ["write_encoded"]

# PS3.5 7.3 and Table 6.2-1: VRs whose values are words, with the bytes of one; the second row is of
# those that pydicom leaves as bytes.
_WORDS: Final = {
    **{"AT": 2, "US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "SV": 8, "UV": 8},
    **{"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8},
}
_BULK: Final = frozenset(("OW", "OL", "OF", "OD", "OV"))
# VRs of text whose length has 16 bits in explicit VR, and the first that may not fit (PS3.5 7.1.2).
_TEXT: Final = frozenset(("AE", "AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UI"))
_LONG: Final = 0xFFFE
# Commands and file meta are never part of a data set (PS3.7 6.3.1, PS3.10 7.1).
_NOT_SENT: Final = (0x0000, 0x0002)
_CODES: Final = {2: "H", 4: "I", 8: "Q"}
_UNDEFINED: Final = 0xFFFFFFFF


def to_bytes(dataset: Dataset, transfer_syntax: str) -> bytes:
    """Encode a data set as it goes onto the wire: without preamble and group 0002.

    Args:
        dataset: with pixel data that fits the syntax; nothing is compressed or decompressed.
        transfer_syntax: the encoding; the accepted one of the presentation context.

    Raises:
        NoPresentationContext: that would take a pixel codec.
        DecodeError: pydicom cannot encode it; the element is named.

    Source: PS3.5 7, 10, A.
    """
    target = TransferSyntax.of(transfer_syntax)
    _check_pixels(stored_syntax(dataset), target, encapsulated=_is_encapsulated(dataset))
    try:
        encoded = _encoded(dataset, target)
    except Exception as error:  # pydicom raises whatever comes up while it encodes a value
        raise DecodeError(
            f"the data set cannot be encoded in {target.name or target}: {error}"
        ) from error
    return _deflate(encoded) if target.deflated else encoded


def _encoded(dataset: Dataset, target: TransferSyntax) -> bytes:
    has_meta = any(tag.group in _NOT_SENT for tag in dataset.keys())  # noqa: SIM118 - decodes nothing
    kept_text = dataset.original_character_set == dataset._character_set
    encoding = (target.implicit, not target.big_endian)
    if has_meta or not kept_text or dataset.original_encoding != encoding:
        dataset = _recoded(dataset, target)
    return _written(dataset, target)


def _written(dataset: Dataset, target: TransferSyntax) -> bytes:
    """Write a data set in its own encoding, as pydicom's `write_dataset` does.

    Plain text, most of an identifier, is written here: pydicom takes ten times as long for it.
    """
    from ._pydicom import UID, DicomBytesIO, tag_in_exception, write_data_element

    plain = (str, UID)
    header = Struct((">" if target.big_endian else "<") + ("HHI" if target.implicit else "HH2sH"))
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = target.implicit
    buffer.is_little_endian = not target.big_endian
    repertoire = dataset.get("SpecificCharacterSet", "iso8859")
    for tag in sorted(dataset.keys(), key=int):  # not by pydicom's comparison of tags: it is slow
        if tag.element == 0 and tag.group > 6:
            continue  # group lengths are retired (PS3.5 7.2)
        element = dataset.get_item(tag)
        vr, value = element.VR, element.value
        # ASCII is the same in every specific character set (PS3.3 C.12.1.1.2).
        if vr in _TEXT and type(value) in plain and value.isascii() and len(value) < _LONG:
            content = value.encode()
            if len(content) % 2:
                content += b"\0" if vr == "UI" else b" "
            kind = () if target.implicit else (vr.encode(),)
            buffer.write(header.pack(tag.group, tag.element, *kind, len(content)) + content)
        else:
            with tag_in_exception(tag):
                write_data_element(buffer, element, repertoire)
    encoded: bytes = buffer.getvalue()
    return encoded


def convert(source: str | PathLike[str] | Dataset, target: str) -> bytes:
    """Re-encode a data set among the uncompressed transfer syntaxes.

    Args:
        source: a Part 10 file, or a data set as read from one.
        target: Implicit or Explicit VR Little Endian, Explicit VR Big Endian or Deflated; or the
            syntax that the source has already.

    Raises:
        NoPresentationContext: either side is compressed and they differ: that takes a pixel codec.
        DecodeError: the file cannot be read.

    Source: PS3.5 10, A.
    """
    from ._pydicom import Dataset

    if not isinstance(source, Dataset):
        source = read(source)
    return to_bytes(source, target)


def from_bytes(buffer: Buffer, transfer_syntax: str, *, file_meta: bool = False) -> Dataset:
    """Decode a data set as it comes off the wire. Values are decoded when they are looked at.

    Args:
        buffer: the whole data set, without group 0002.
        transfer_syntax: how it is encoded.
        file_meta: put a file meta with the transfer syntax beside it, as pixel decoding and
            `save_as` want.

    Raises:
        DecodeError: it is not a data set in that encoding.

    Source: PS3.5 7, 10, A.
    """
    from ._pydicom import UID, FileMetaDataset, read_dataset

    syntax = TransferSyntax.of(transfer_syntax)
    data = bytes(buffer)
    if syntax.deflated:
        data = _inflate(data)
    try:
        dataset = read_dataset(
            BytesIO(data),
            is_implicit_VR=syntax.implicit,
            is_little_endian=not syntax.big_endian,
        )
    except Exception as error:
        raise DecodeError(
            f"not a data set in {syntax.name or syntax}: {error}", section="PS3.5 7"
        ) from error
    _check_end(dataset)
    if file_meta:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = UID(syntax)
        dataset.file_meta = meta
    return dataset


def _check_end(dataset: Dataset) -> None:
    """Refuse one whose last value is cut short: pydicom gives what there is of it."""
    from ._pydicom import RawDataElement

    last = dataset._dict[max(dataset._dict, key=int)] if dataset._dict else None
    if not isinstance(last, RawDataElement) or last.value is None:
        return
    if last.length != _UNDEFINED and len(last.value) < last.length:
        raise DecodeError(
            f"the data set ends in {last.tag}: {len(last.value)} of {last.length} bytes",
            section="PS3.5 7.1",
        )


def stored_syntax(dataset: Dataset) -> TransferSyntax | None:
    """Tell in which transfer syntax a data set was read, or is meant to be; None when unknown."""
    meta = getattr(dataset, "file_meta", None)
    uid = getattr(meta, "TransferSyntaxUID", None)
    return TransferSyntax.of(str(uid)) if uid else None


def read(path: str | PathLike[str]) -> Dataset:
    """Read a Part 10 file. Values are decoded when they are looked at.

    Raises:
        DecodeError: it is not one, or not readable as one.
        OSError: it cannot be opened.

    Source: PS3.10 7.
    """
    from ._pydicom import InvalidDicomError, dcmread

    try:
        return dcmread(path)
    except OSError:
        raise
    except InvalidDicomError as error:
        raise DecodeError(f"{fspath(path)} is not a DICOM file", section="PS3.10 7.1") from error
    except Exception as error:
        raise DecodeError(f"{fspath(path)} cannot be read: {error}", section="PS3.5 7") from error


def write(path: str | PathLike[str], dataset: Dataset) -> None:
    """Write a data set as a Part 10 file, in the transfer syntax that it is in already.

    Raises:
        DecodeError: pydicom cannot encode it.
        OSError: the file cannot be written.

    Source: PS3.10 7.
    """
    from ._pydicom import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if stored_syntax(dataset) is None:
        implicit, _ = dataset.original_encoding
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset = _with_meta(dataset, syntax)
    try:
        dataset.save_as(path, enforce_file_format=True)
    except OSError:
        raise
    except Exception as error:
        raise DecodeError(f"the data set cannot be encoded: {error}") from error


def write_encoded(
    path: str | PathLike[str], data: Buffer, transfer_syntax: str, sop_class: str
) -> None:
    """Write a data set that is no SOP Instance, such as an identifier, as a Part 10 file.

    Args:
        path: of the file.
        data: the data set as it came off the wire; not decoded.
        transfer_syntax: how it is encoded.
        sop_class: what it came of; the file gets a SOP Instance UID of its own.

    Raises:
        OSError: the file cannot be written.

    Source: PS3.10 7.1.
    """
    from ._pydicom import UID, DicomBytesIO, FileMetaDataset, write_file_meta_info

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(new_uid())
    meta.TransferSyntaxUID = UID(transfer_syntax)
    head = DicomBytesIO()
    write_file_meta_info(head, meta)
    with open(path, "wb") as file:
        file.write(bytes(128) + b"DICM" + head.getvalue())
        file.write(data)


def _with_meta(dataset: Dataset, syntax: str) -> Dataset:
    from ._pydicom import UID, Dataset, FileMetaDataset

    copy = Dataset(dataset)
    copy.file_meta = FileMetaDataset()
    copy.file_meta.TransferSyntaxUID = UID(syntax)
    return copy


def _check_pixels(
    stored: TransferSyntax | None, target: TransferSyntax, encapsulated: bool
) -> None:
    """Refuse what would take a codec: the encoding of pixel data would have to change."""
    if stored is None:
        if encapsulated and target.convertible:
            _needs_codec("encapsulated pixel data", target, "decompressed")
        return
    if stored == target or (stored.convertible and target.convertible):
        return
    action = "decompressed" if target.convertible else "compressed anew"
    _needs_codec(stored.name or str(stored), target, action)


def _needs_codec(what: str, target: TransferSyntax, action: str) -> None:
    raise NoPresentationContext(
        transfer_syntax=target,
        message=(
            f"cannot convert {what} to {target.name or target}: "
            f"pixel data would have to be {action}, which takes a codec (PS3.5 A.4)"
        ),
        hint=(
            f"let the peer accept {what}, or convert the file beforehand, for instance with "
            "pydicom's Dataset.decompress() or compress() and a pixel plug-in"
        ),
    )


def _is_encapsulated(dataset: Dataset) -> bool:
    element = dataset.get_item(0x7FE00010) if 0x7FE00010 in dataset else None
    if element is None:
        return False
    length = getattr(element, "length", None)
    return length == 0xFFFFFFFF or bool(getattr(element, "is_undefined_length", False))


def _recoded(
    dataset: Dataset, target: TransferSyntax, ancestors: tuple[Dataset, ...] = ()
) -> Dataset:
    """Copy a data set as if it had been read in another encoding.

    Values that nobody has looked at keep their bytes, save for byte order: decoding and encoding
    again loses escape sequences, padding, and whatever pydicom cannot decode.
    """
    from ._pydicom import AMBIGUOUS_VR, CUSTOMIZABLE_CHARSET_VR, DataElement, Dataset, Sequence

    little = dataset.original_encoding[1] is not False  # what was made, not read, is little endian
    swap = little == target.big_endian
    kept_text = dataset.original_character_set == dataset._character_set
    lineage = (dataset, *ancestors)
    elements: dict[BaseTag, DataElement | RawDataElement] = {}
    # What needs no more than to be passed on: identifiers made by hand are little else.
    special = {"SQ", *AMBIGUOUS_VR, *(_BULK if swap else ())}
    for tag in sorted(dataset.keys(), key=int):  # not by pydicom's comparison of tags: it is slow
        if tag.group in _NOT_SENT:
            continue
        raw = dataset.get_item(tag)
        if isinstance(raw, DataElement) and raw.VR not in special:
            elements[tag] = raw
            continue
        vr = _vr(raw, lineage, little=little)
        if vr == "SQ":
            old = dataset[tag]
            sequence = Sequence(_recoded(item, target, lineage) for item in old.value)
            new = DataElement(tag, "SQ", sequence)
            new.is_undefined_length = old.is_undefined_length
            elements[tag] = new
        elif isinstance(raw, DataElement) or (vr in CUSTOMIZABLE_CHARSET_VR and not kept_text):
            element = dataset[tag]
            if swap and vr in _BULK and element.value:
                element = DataElement(tag, vr, _swap(bytes(element.value), _WORDS[vr]))
            elements[tag] = element
        else:
            value = raw.value or b""
            elements[tag] = raw._replace(
                VR=vr,
                value=_swap(value, _WORDS[vr]) if swap and vr in _WORDS else value,
                is_implicit_VR=target.implicit,
                is_little_endian=not target.big_endian,
            )
    # Not by `result[tag] = ...`: that decodes private elements.
    result = Dataset(elements, parent_encoding=dataset._character_set)
    # Says to pydicom: the encoding is the target's already, so write raw values as they are.
    result.set_original_encoding(target.implicit, not target.big_endian, result._character_set)
    undefined = getattr(dataset, "is_undefined_length_sequence_item", False)
    result.is_undefined_length_sequence_item = undefined
    return result


def _vr(
    element: DataElement | RawDataElement, lineage: tuple[Dataset, ...], *, little: bool
) -> str:
    """Find the VR: the dictionary's in implicit VR, and decided where that leaves a choice."""
    from ._pydicom import AMBIGUOUS_VR, RawDataElement, correct_ambiguous_vr_element, raw_element_vr

    vr = element.VR
    if vr is None and isinstance(element, RawDataElement):
        found: dict[str, str] = {}
        raw_element_vr(element, found, ds=lineage[0])
        vr = found["VR"]
    if vr in AMBIGUOUS_VR:
        if isinstance(element, RawDataElement):
            element = element._replace(VR=vr)
        with suppress(AttributeError):  # when what it depends on is not there
            vr = correct_ambiguous_vr_element(element, lineage[0], little, list(lineage)).VR
        if vr in AMBIGUOUS_VR:
            # The words are the same in either: as implicit VR has them (PS3.5 A.1).
            vr = "OW" if "OW" in str(vr) else "US"
    return str(vr)


def _swap(value: bytes, size: int) -> bytes:
    whole = len(value) - len(value) % size
    words = array(_CODES[size], value[:whole])
    words.byteswap()
    return words.tobytes() + value[whole:]


def _deflate(data: bytes) -> bytes:
    # Raw deflate, no zlib header; one 00H when the result is odd (PS3.5 A.5).
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(data) + packer.flush()
    return packed + b"\0" if len(packed) % 2 else packed


def _inflate(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        inflated = unpacker.decompress(data)
    except zlib.error as error:
        raise DecodeError(f"not a deflated data set: {error}", section="PS3.5 A.5") from error
    if not unpacker.eof:
        raise DecodeError("the deflated data set is cut short", len(data), "PS3.5 A.5")
    return inflated


def new_uid() -> str:
    """Make a UID that nobody else has: of a random UUID (PS3.5 B.2)."""
    from uuid import uuid4

    return f"2.25.{uuid4().int}"
