"""The bridge to pydicom: data sets to bytes, bytes to data sets, and one encoding to another.

Bytes pass the gate (`encoding.gate`), then pydicom reads them; `encoding.encode` writes. This
module picks the encoding (PS3.5 10) and adds what both leave to their callers: files, the deflate
layer, and errors where a codec would be needed. It imports pydicom when a function is called, never
before, and keeps pydicom quiet meanwhile (`encoding.quiet`).

pydicom's exceptions quote values, which may be a patient's. Each `except` therefore keeps the name
of the exception alone, and the `DecodeError` is raised outside of it: inside, Python would chain
pydicom's exception to ours, and a traceback would show it.
"""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from io import BytesIO
from os import PathLike, fspath
from os.path import basename
from typing import IO, TYPE_CHECKING, Final

from . import _core
from .callables import is_data_set
from .encoding.collected import Collected, Decoder, Groups, headers
from .encoding.decode import data_set, is_bulk
from .encoding.encode import encode, name_of, undecoded
from .encoding.gate import check_whole, scan, scan_file
from .encoding.keywords import check_data_set, data_set_of
from .encoding.quiet import quiet, quietly
from .errors import DecodeError, DimseError, NoPresentationContext
from .sop_class import TransferSyntax
from .uids import is_uid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from typing_extensions import Buffer

    from ._core import Scan
    from .settings import Limits

__all__ = [
    "Collected",
    "Decoder",
    "Groups",
    "check_data_set",
    "convert",
    "data_set_of",
    "decode",
    "from_bytes",
    "headers",
    "in_a_file",
    "instance_uids",
    "is_uid",
    "name_of",
    "new_uid",
    "quietly",
    "read",
    "stored_syntax",
    "tags_of",
    "to_bytes",
    "uid_in",
    "uid_of",
    "undecoded",
    "write",
    "write_encoded",
]

_UNDEFINED: Final = 0xFFFFFFFF
_HEADER_BYTES: Final = 4 * 1024 * 1024
"""Inflated bytes in which the elements before the pixel data are looked for first."""


def to_bytes(dataset: Dataset, transfer_syntax: str) -> bytes:
    """Encode a data set for the wire: without preamble and group 0002.

    Args:
        dataset: with pixel data that fits the syntax; nothing is compressed or decompressed.
        transfer_syntax: the encoding; the accepted one of the presentation context.

    Raises:
        NoPresentationContext: the encoding would take a pixel codec.
        DecodeError: an element cannot be written as it is; the message has its tag and keyword.

    Text goes out exact: in the character set that (0008,0005) declares, or in ISO_IR 192, declared
    anew, where that is too small. A value that was read and not changed keeps its bytes.

    Source: PS3.5 6, 7, 10, A, PS3.3 C.12.1.1.2.
    """
    # First, since it costs nothing: encoding may take seconds.
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
    raise DecodeError(f"the data set cannot be encoded in {target.name or target}: {fault}")


def convert(
    source: str | PathLike[str] | Dataset,
    target: str,
    *,
    check: bool = True,
    limits: Limits | None = None,
) -> bytes:
    """Re-encode a data set among the uncompressed transfer syntaxes.

    Args:
        source: a Part 10 file, or a data set as read from one.
        target: Implicit or Explicit VR Little Endian, Explicit VR Big Endian or Deflated; or the
            syntax that the source has already.
        check: refuse a data set whose values or pixel data can be seen to be cut short. A file that
            is cut short is refused in any case.
        limits: of decoding a file.

    Raises:
        NoPresentationContext: either side is compressed and they differ: that takes a pixel codec.
        DecodeError: the file cannot be read, or is not whole.
        LimitExceeded: decoding the file takes more than a limit allows.
        OSError: the file cannot be opened.

    Source: PS3.5 10, A.
    """
    from .encoding.library import Dataset

    in_memory = isinstance(source, Dataset)
    if not isinstance(source, Dataset):
        source = read(source, limits=limits)
    if check:
        syntax = stored_syntax(source)
        encapsulated = syntax is not None and syntax.encapsulated
        check_whole(source, encapsulated=encapsulated, missing=in_memory)
    return to_bytes(source, target)


def from_bytes(
    buffer: Buffer,
    transfer_syntax: str,
    *,
    file_meta: bool = False,
    limits: Limits | None = None,
    scanned: bool = False,
    only: Sequence[int] | None = None,
) -> Dataset:
    """Decode a data set as it comes off the wire. Values are decoded when they are looked at.

    Args:
        buffer: the whole data set, without group 0002.
        transfer_syntax: of the data set.
        file_meta: add file meta information with the transfer syntax, for pixel decoding and
            `save_as` of pydicom.
        limits: of decoding.
        scanned: the gate has seen the data set before.
        only: read these elements alone, of those before the pixel data.

    Raises:
        DecodeError: the buffer is not a whole data set in that encoding.
        LimitExceeded: decoding takes more than a limit allows.

    Source: PS3.5 7, 10, A.
    """
    from .encoding.library import UID, FileMetaDataset

    syntax = TransferSyntax.of(transfer_syntax)
    data = bytes(buffer)
    # An empty data set is a whole one: identifiers may be missing or empty.
    if data and not scanned:
        scan(data, syntax, limits, lenient=True)
    if syntax.deflated and data:
        data = _inflate(data)
    fault = ""
    try:
        with quiet():
            dataset = data_set(data, syntax, only)
    except DecodeError:
        raise
    except Exception as error:
        fault = type(error).__name__
    if fault:
        raise DecodeError(f"not a data set in {syntax.name or syntax}: {fault}", section="PS3.5 7")
    if file_meta:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = UID(syntax)
        dataset.file_meta = meta
    return dataset


def decode(dataset: Dataset) -> None:
    """Decode every value, also those of items: pydicom decodes only what is looked at.

    Raises:
        DecodeError: a value does not have the form of its VR; the message has its tag and keyword.
    """
    with quiet():
        _decode(dataset)


def _decode(dataset: Dataset) -> None:
    # In the order of tags, so that the same data set always fails at the same element.
    for tag in sorted(dataset.keys(), key=int):
        fault = ""
        try:
            element = dataset[tag]
            if element.VR == "SQ":
                for item in element.value or ():
                    _decode(item)
        except DecodeError:
            raise
        except Exception as error:
            fault = type(error).__name__
        if fault:
            raise DecodeError(f"{name_of(tag)} cannot be read: {fault}", section="PS3.5 6.2")


def tags_of(attributes: Sequence[int | str]) -> list[int]:
    """Turn keywords and tags into tags; a string alone counts as one keyword.

    Raises:
        DecodeError: a keyword that the data dictionary does not have.
    """
    from .encoding.library import tag_for_keyword

    tags = []
    for attribute in [attributes] if isinstance(attributes, str) else attributes:
        tag = tag_for_keyword(attribute) if isinstance(attribute, str) else attribute
        if tag is None:
            raise DecodeError(f"{attribute} is not a keyword of the data dictionary (PS3.6)")
        tags.append(int(tag))
    return tags


def stored_syntax(dataset: Dataset) -> TransferSyntax | None:
    """Give the transfer syntax that a data set was read in, or is meant for; None when unknown."""
    # Not by `getattr`: of a data set without one, pydicom searches its dictionaries for the name.
    meta = vars(dataset).get("file_meta")
    uid = getattr(meta, "TransferSyntaxUID", None)
    return TransferSyntax.of(str(uid)) if uid else None


def read(
    path: str | PathLike[str] | bytes,
    *,
    limits: Limits | None = None,
    scanned: bool = False,
    only: Sequence[int] | None = None,
) -> Dataset:
    """Read a Part 10 file, or one without its preamble. Values are decoded when they are looked at.

    Args:
        path: of the file; or the file itself, as bytes.
        limits: of decoding.
        scanned: the gate has seen the file before.
        only: read these elements alone, of those before the pixel data.

    Raises:
        DecodeError: the file is no Part 10 file, is not whole, or cannot be read as one.
        LimitExceeded: decoding takes more than a limit allows.
        OSError: the file cannot be opened, or read.

    Source: PS3.10 7.
    """
    from .encoding.library import InvalidDicomError, dcmread

    if isinstance(path, bytes):
        with in_a_file(path) as spooled:
            return read(spooled, limits=limits, scanned=scanned, only=only)
    # The gate opens the file, then pydicom does: a file that is replaced in between has not passed
    # the gate, and what pydicom raises over it becomes a `DecodeError` all the same.
    found = None if scanned else scan_file(path, limits)
    try:
        with quiet():
            if only is None:
                return dcmread(path)
            if found is not None and TransferSyntax.of(found.transfer_syntax).deflated:
                return _header(path, found, only)
            # A value beyond reason stays in the file until it is asked for.
            return dcmread(path, _HEADER_BYTES, stop_before_pixels=True, specific_tags=list(only))
    except DecodeError:
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        fault, section = "cannot be read", "PS3.5 7"  # pydicom's own, about the contents
    except InvalidDicomError:
        # No preamble. The gate has found out the syntax, if the file is a data set at all.
        bare = None if found is None else _read_bare(path, found.transfer_syntax, only)
        if bare is not None:
            return bare
        fault, section = "is not a DICOM file", "PS3.10 7.1"
    except Exception as error:
        fault, section = f"cannot be read: {type(error).__name__}", "PS3.5 7"
    raise DecodeError(f"{fspath(path)} {fault}", section=section)


def _read_bare(
    path: str | PathLike[str], syntax: str, only: Sequence[int] | None
) -> Dataset | None:
    """Read a file without preamble; None when pydicom cannot read it."""
    from .encoding.library import UID, FileMetaDataset, dcmread

    wanted = None if only is None else list(only)
    try:
        with quiet():
            dataset = dcmread(
                path, force=True, stop_before_pixels=only is not None, specific_tags=wanted
            )
    except Exception:
        return None
    meta = getattr(dataset, "file_meta", None)
    dataset.file_meta = FileMetaDataset() if meta is None else meta
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return dataset


def _header(path: str | PathLike[str], found: Scan, only: Sequence[int]) -> Dataset:
    """Read elements of a deflated file, inflating as much as stands before the pixel data.

    The attempt with a few MiB is enough for almost every file. When the reader comes to the end of
    them, the pixel data may begin later, and all is inflated.
    """
    from .encoding.library import read_dataset

    with open(path, "rb") as file:
        file.seek(found.data_offset)
        for most in (_HEADER_BYTES, found.size):
            data = BytesIO(_inflate(file.read(), most))
            dataset = read_dataset(
                data,
                is_implicit_VR=False,
                is_little_endian=True,
                stop_when=is_bulk,
                specific_tags=list(only),
            )
            if data.tell() < most or most == found.size:
                return dataset
            file.seek(found.data_offset)
    return dataset


def write(path: str | PathLike[str], dataset: Dataset, *, check: bool = True) -> None:
    """Write a data set as a Part 10 file, in the transfer syntax that it is in already.

    Args:
        path: of the file.
        dataset: as read, or made.
        check: refuse a data set whose values or pixel data can be seen to be cut short.

    Raises:
        DecodeError: the data set is not whole, or cannot be encoded.
        OSError: the file cannot be written.

    Source: PS3.10 7.
    """
    from .encoding.library import ExplicitVRLittleEndian, FileMetaDataset, ImplicitVRLittleEndian

    syntax = stored_syntax(dataset)
    if syntax is None:  # a data set that was made in this process
        implicit, _ = dataset.original_encoding
        syntax = TransferSyntax.of(ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)
    data = convert(dataset, syntax, check=check)
    sop_class, instance = _uid(dataset, "SOPClassUID"), _uid(dataset, "SOPInstanceUID")
    meta = FileMetaDataset()
    meta.update(getattr(dataset, "file_meta", None) or {})
    _write_file(path, data, _meta(meta, syntax, sop_class, instance))


@contextmanager
def in_a_file(content: bytes | IO[bytes]) -> Iterator[Path]:
    """Put a Part 10 file into the file system, where the core can read it, while a block runs."""
    from pathlib import Path
    from shutil import copyfileobj
    from tempfile import NamedTemporaryFile

    with NamedTemporaryFile(suffix=".dcm") as spool:
        if isinstance(content, (bytes, bytearray, memoryview)):
            spool.write(content)
        else:
            copyfileobj(content, spool)
        spool.flush()
        yield Path(spool.name)


# ---- UIDs


def uid_in(dataset: object, keyword: str) -> str:
    """Give a UID of a data set; empty when there is none, or when its value cannot be decoded.

    Args:
        dataset: a data set, or another object, which has no UID.
        keyword: of the UID.
    """
    try:
        with quiet():
            return str(getattr(dataset, keyword, "") or "")
    except Exception:
        return ""


def instance_uids(instance: str | PathLike[str] | Dataset) -> tuple[str, str]:
    """Give the SOP Class UID and the SOP Instance UID of an instance.

    Args:
        instance: the path of a Part 10 file, of which only the beginning is read, or a data set.
            A data set that lacks a UID, or whose UID cannot be decoded, gives an empty one.

    Raises:
        DecodeError: the file is no instance that can be sent.
        OSError: the file cannot be opened.

    Source: PS3.3 C.12.1.
    """
    if is_data_set(instance):
        return uid_in(instance, "SOPClassUID"), uid_in(instance, "SOPInstanceUID")
    file = _core.probe(instance)
    return file.sop_class, file.sop_instance


def uid_of(instance: object) -> str:
    """Name an instance that was not sent, for the Failed SOP Instance UID List.

    Args:
        instance: a path or a data set. The file of a path may be gone: the attribute `sop_instance`
            of the path comes first, then the file, then a file name as `Storage` gives one.

    Returns:
        The SOP Instance UID; empty when it cannot be found out.

    Source: PS3.4 C.4.2.1, C.4.3.1.
    """
    if not isinstance(instance, str | PathLike):
        return uid_in(instance, "SOPInstanceUID")
    uid: str = getattr(instance, "sop_instance", "")
    if uid:
        return uid
    try:
        return instance_uids(instance)[1]
    except (DimseError, OSError):
        name = basename(instance).removesuffix(".dcm")
        return name if "." in name and is_uid(name) else ""


def _uid(dataset: Dataset, keyword: str) -> str:
    """Give a UID that File Meta Information has to repeat."""
    uid = uid_in(dataset, keyword)
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
        transfer_syntax: of the data set.
        sop_class: of the message; the file gets a SOP Instance UID of its own.

    Raises:
        OSError: the file cannot be written.

    Source: PS3.10 7.1.
    """
    from .encoding.library import FileMetaDataset

    _write_file(path, data, _meta(FileMetaDataset(), transfer_syntax, sop_class, new_uid()))


def _meta(
    meta: FileMetaDataset, transfer_syntax: str, sop_class: str, instance: str
) -> FileMetaDataset:
    from .encoding.library import UID

    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(instance)
    meta.TransferSyntaxUID = UID(transfer_syntax)
    return meta


def _write_file(path: str | PathLike[str], data: Buffer, meta: FileMetaDataset) -> None:
    from .encoding.library import DicomBytesIO, write_file_meta_info

    head = DicomBytesIO()
    write_file_meta_info(head, meta)
    with open(path, "wb") as file:
        file.write(bytes(128) + b"DICM" + head.getvalue())
        file.write(data)


def _check_pixels(
    stored: TransferSyntax | None, target: TransferSyntax, encapsulated: bool
) -> None:
    """Refuse a change of the encoding of pixel data, which would take a codec."""
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
    # Asked undecoded: decoding pixel data would copy it.
    element = undecoded(dataset, 0x7FE00010) if 0x7FE00010 in dataset._dict else None
    if element is None:
        return False
    length = getattr(element, "length", None)
    return length == 0xFFFFFFFF or bool(getattr(element, "is_undefined_length", False))


def _deflate(data: bytes) -> bytes:
    # Raw deflate, no zlib header; one 00H when the result is odd (PS3.5 A.5).
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(data) + packer.flush()
    return packed + b"\0" if len(packed) % 2 else packed


def _inflate(data: bytes, most: int = 0) -> bytes:
    """Inflate a data set, or its first bytes; the gate has bounded its size before."""
    unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        inflated = unpacker.decompress(data, most)
    except zlib.error as error:
        raise DecodeError(f"not a deflated data set: {error}", section="PS3.5 A.5") from error
    if not unpacker.eof and not most:
        raise DecodeError("the deflated data set is cut short", len(data), "PS3.5 A.5")
    return inflated


def new_uid() -> str:
    """Make a UID that is new in the world, of a random UUID (PS3.5 B.2)."""
    from uuid import uuid4

    return f"2.25.{uuid4().int}"
