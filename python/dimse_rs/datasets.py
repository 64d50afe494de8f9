"""The bridge to pydicom: data sets to bytes, bytes to data sets, and one encoding to another.

pydicom reads, `_encode` writes; this module picks the encoding (PS3.5 10) and does what they leave
to their callers: files, the deflate layer, and saying when a codec would be needed. pydicom is
imported when a function is called, never before, and says nothing meanwhile (`_quiet`).
"""

from __future__ import annotations

import zlib
from io import BytesIO
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Final

from . import _core
from ._encode import encode, name_of, undecoded
from ._quiet import quiet
from ._uids import TransferSyntax, is_uid
from .errors import DecodeError, NoPresentationContext

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from typing_extensions import Buffer

__all__ = [
    "convert",
    "decode",
    "from_bytes",
    "new_uid",
    "read",
    "stored_syntax",
    "to_bytes",
    "write",
]
__all__ += ["write_encoded"]

_UNDEFINED: Final = 0xFFFFFFFF


def to_bytes(dataset: Dataset, transfer_syntax: str) -> bytes:
    """Encode a data set as it goes onto the wire: without preamble and group 0002.

    Args:
        dataset: with pixel data that fits the syntax; nothing is compressed or decompressed.
        transfer_syntax: the encoding; the accepted one of the presentation context.

    Raises:
        NoPresentationContext: that would take a pixel codec.
        DecodeError: an element cannot be written as it is; named by its tag and keyword.

    Text goes out exact: in the character set that (0008,0005) declares, or declared anew as
    ISO_IR 192 where that is too small; what was read and not changed keeps its bytes.

    Source: PS3.5 6, 7, 10, A, PS3.3 C.12.1.1.2.
    """
    target = TransferSyntax.of(transfer_syntax)
    _check_pixels(stored_syntax(dataset), target, encapsulated=_is_encapsulated(dataset))
    encoded = _encoded(dataset, target)
    return _deflate(encoded) if target.deflated else encoded


def _encoded(dataset: Dataset, target: TransferSyntax) -> bytes:
    try:
        with quiet():
            return encode(dataset, target)
    except DecodeError:
        raise
    except Exception as error:
        fault = type(error).__name__
    # Outside the handler: the texts of pydicom's errors have values in them.
    raise DecodeError(f"the data set cannot be encoded in {target.name or target}: {fault}")


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
    fault = ""
    try:
        with quiet():
            dataset = read_dataset(
                BytesIO(data),
                is_implicit_VR=syntax.implicit,
                is_little_endian=not syntax.big_endian,
            )
    except Exception as error:  # its text has values in it
        fault = type(error).__name__
    if fault:
        raise DecodeError(f"not a data set in {syntax.name or syntax}: {fault}", section="PS3.5 7")
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


def decode(dataset: Dataset) -> None:
    """Decode every value, those of items too.

    Raises:
        DecodeError: one is none of its VR; named by its tag and keyword.
    """
    with quiet():
        _decode(dataset)


def _decode(dataset: Dataset) -> None:
    for tag in sorted(dataset.keys(), key=int):
        fault = ""
        try:
            element = dataset[tag]
            if element.VR == "SQ":
                for item in element.value or ():
                    _decode(item)
        except DecodeError:
            raise
        except Exception as error:  # its text has values in it
            fault = type(error).__name__
        if fault:
            raise DecodeError(f"{name_of(tag)} cannot be read: {fault}", section="PS3.5 6.2")


def stored_syntax(dataset: Dataset) -> TransferSyntax | None:
    """Tell in which transfer syntax a data set was read, or is meant to be; None when unknown."""
    meta = getattr(dataset, "file_meta", None)
    uid = getattr(meta, "TransferSyntaxUID", None)
    return TransferSyntax.of(str(uid)) if uid else None


def read(path: str | PathLike[str]) -> Dataset:
    """Read a Part 10 file, or one without its preamble. Values are decoded when they are looked at.

    Raises:
        DecodeError: it is not one, or not readable as one.
        OSError: it cannot be opened.

    Source: PS3.10 7.
    """
    from ._pydicom import InvalidDicomError, dcmread

    try:
        with quiet():
            return dcmread(path)
    except OSError:
        raise
    except InvalidDicomError:
        if (bare := _read_bare(path)) is not None:
            return bare
        fault, section = "is not a DICOM file", "PS3.10 7.1"
    except Exception as error:  # its text has values in it
        fault, section = f"cannot be read: {type(error).__name__}", "PS3.5 7"
    raise DecodeError(f"{fspath(path)} {fault}", section=section)


def _read_bare(path: str | PathLike[str]) -> Dataset | None:
    """Read a file without preamble, if the core knows its data set."""
    from ._pydicom import UID, FileMetaDataset, dcmread

    try:
        syntax = _core.probe(Path(path))[2]
        with quiet():
            dataset = dcmread(path, force=True)
    except Exception:  # of pydicom, whatever comes up; of the core, that it is none
        return None
    meta = getattr(dataset, "file_meta", None)
    dataset.file_meta = FileMetaDataset() if meta is None else meta
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return dataset


def write(path: str | PathLike[str], dataset: Dataset) -> None:
    """Write a data set as a Part 10 file, in the transfer syntax that it is in already.

    Raises:
        DecodeError: pydicom cannot encode it.
        OSError: the file cannot be written.

    Source: PS3.10 7.
    """
    from ._pydicom import ExplicitVRLittleEndian, FileMetaDataset, ImplicitVRLittleEndian

    syntax = stored_syntax(dataset)
    if syntax is None:
        implicit, _ = dataset.original_encoding
        syntax = TransferSyntax.of(ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)
    data = to_bytes(dataset, syntax)
    sop_class, instance = _uid(dataset, "SOPClassUID"), _uid(dataset, "SOPInstanceUID")
    meta = FileMetaDataset()
    meta.update(getattr(dataset, "file_meta", None) or {})
    _write_file(path, data, _meta(meta, syntax, sop_class, instance))


def _uid(dataset: Dataset, keyword: str) -> str:
    """Give a UID that File Meta Information has to repeat."""
    try:
        with quiet():
            uid = str(dataset.get(keyword) or "")
    except Exception:  # of pydicom, whatever comes up while it decodes the value
        uid = ""
    if not is_uid(uid):
        raise DecodeError(f"the data set has no {keyword}, or one that is none", section="PS3.5 9")
    return uid


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
    from ._pydicom import FileMetaDataset

    _write_file(path, data, _meta(FileMetaDataset(), transfer_syntax, sop_class, new_uid()))


def _meta(
    meta: FileMetaDataset, transfer_syntax: str, sop_class: str, instance: str
) -> FileMetaDataset:
    from ._pydicom import UID

    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(instance)
    meta.TransferSyntaxUID = UID(transfer_syntax)
    return meta


def _write_file(path: str | PathLike[str], data: Buffer, meta: FileMetaDataset) -> None:
    from ._pydicom import DicomBytesIO, write_file_meta_info

    head = DicomBytesIO()
    write_file_meta_info(head, meta)
    with open(path, "wb") as file:
        file.write(bytes(128) + b"DICM" + head.getvalue())
        file.write(data)


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
    element = undecoded(dataset, 0x7FE00010) if 0x7FE00010 in dataset else None
    if element is None:
        return False
    length = getattr(element, "length", None)
    return length == 0xFFFFFFFF or bool(getattr(element, "is_undefined_length", False))


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
