"""Elements that the core collected while it walked a data set, decoded on request.

The core collects elements of files (`headers`), and of data sets while they are stored, undecoded
and up to 4 KiB each. It also says whether a data set is plain: then pydicom reads in the data set
what the core read, and the gate would let it pass, so that the elements are decoded without it.
Of any other data set pydicom alone knows what it reads: the file is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from itertools import islice
from os import PathLike, fspath
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from dimse_rs import _core
from dimse_rs.sop_class import TransferSyntax

from .gate import collector
from .quiet import quiet

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

    from dimse_rs.settings import Limits

__all__ = ["Collected", "Decoder", "Groups", "StoredValue", "headers"]

Groups: TypeAlias = _core.Groups
"""Groups of tags, for `Collected.parts`."""

_CHARACTER_SET: Final = 0x00080005
_PIXELS: Final = 0x7FE00008
_TOGETHER: Final = 512
"""Files that the core reads in one call; Ctrl-C waits for them."""
_HEAD: Final = Struct("<I2sH")
_DELIMITED: Final = 0x8000
_SEQUENCE_END: Final = {True: b"\xfe\xff\xdd\xe0\0\0\0\0", False: b"\xff\xfe\xe0\xdd\0\0\0\0"}
# Characters that are the same in every character set: a tilde is another one in ISO_IR 13, and a
# backslash parts values. In these VRs pydicom strips what is padding here.
_PLAIN: Final = bytes(char for char in range(32, 126) if char != 0x5C)
_TEXTS: Final = frozenset(("CS", "LO", "SH", "UI"))


class StoredValue(NamedTuple):
    """An element of a data set as it was received.

    Attributes:
        vr: value representation: of the data set, or in Implicit VR of the data dictionary; "UN"
            where neither has one.
        data: the encoded value, padding included, in the byte order of the transfer syntax; of a
            sequence the bytes between its header and its delimiter.
    """

    vr: str
    data: bytes


class Collected:
    """Elements of the top level of a data set, undecoded.

    Attributes:
        transfer_syntax: how the data set is encoded.
        is_plain: whether pydicom makes of the data set what the elements say: it is well formed,
            no element was left out because it is longer than 4 KiB, and decoding the data set
            takes no more than the limits.
        only: tags of the elements that were asked for.
    """

    __slots__ = ("_packed", "is_plain", "only", "transfer_syntax")

    def __init__(
        self,
        transfer_syntax: str = "",
        packed: bytes = b"",
        *,
        is_plain: bool = False,
        only: Sequence[int] = (),
    ) -> None:
        """Keep what the core collected."""
        self.transfer_syntax: str = transfer_syntax
        self.only: Sequence[int] = only
        self.is_plain: bool = is_plain
        self._packed = packed

    def values(self) -> dict[int, StoredValue]:
        """Give the elements by tag."""
        return {
            tag: StoredValue(vr.decode("ascii") if vr[0] else _vr_of(tag), value)
            for tag, vr, value, _ in _elements(self._packed)
        }

    def parts(self, groups: Groups) -> tuple[bytes, ...]:
        """Give the elements of each group of tags, for `Decoder`; those without a value are out.

        Args:
            groups: `Groups` of tags. A tag in none of them is left out.
        """
        return groups.split(self._packed)

    def dataset(self) -> Dataset:
        """Give the elements as pydicom reads them from a plain data set, before the pixel data."""
        from .library import UID, FileMetaDataset

        decoder = Decoder(self.transfer_syntax, self._packed)
        dataset = decoder.dataset(self._packed)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = UID(self.transfer_syntax)
        return dataset

    def __len__(self) -> int:
        """Count the elements."""
        return sum(1 for _ in _elements(self._packed))

    def __repr__(self) -> str:
        """Show how many elements there are, and no value."""
        return f"<Collected {len(self)} elements, {'plain' if self.is_plain else 'not plain'}>"


class Decoder:
    """Decodes elements as pydicom does, in one encoding and with one character set.

    Attributes:
        shared: the elements that it was made of, Specific Character Set (0008,0005) among them.
    """

    def __init__(self, transfer_syntax: str, shared: bytes) -> None:
        """Read the character set.

        Args:
            transfer_syntax: of the elements.
            shared: packed elements, of `Collected.parts`.

        Raises:
            Exception: what pydicom raises over the character set.
        """
        syntax = TransferSyntax.of(transfer_syntax)
        self._implicit, self._little = syntax.implicit, not syntax.big_endian
        self.shared = shared
        self._encodings: Any = self._read(self.find(shared, _CHARACTER_SET))

    @staticmethod
    @lru_cache(maxsize=256)
    def of(transfer_syntax: str, shared: bytes) -> Decoder:
        """Give the decoder of these elements; equal ones have the same, which is worth memory."""
        return Decoder(transfer_syntax, shared)

    def _read(self, charset: bytes) -> Any:
        """Give the encodings of text, as `pydicom.filereader.read_dataset` finds them out."""
        from .library import convert_encodings, convert_raw_data_element, default_encoding

        for element in _elements(charset):
            with quiet():
                return convert_encodings(convert_raw_data_element(self._raw(*element)).value)
        return default_encoding

    def _raw(self, tag: int, vr: bytes, value: bytes, delimited: bool) -> Any:
        """Give an element as `pydicom.filereader.data_element_generator` does."""
        from .library import BaseTag, DataElement, RawDataElement, empty_value_for_VR, read_sequence

        name = vr.decode("ascii") if vr[0] else None
        if delimited:
            items = BytesIO(value + _SEQUENCE_END[self._little])
            sequence = read_sequence(
                items, self._implicit, self._little, 0xFFFFFFFF, self._encodings
            )
            return DataElement(BaseTag(tag), "SQ", sequence, 0, is_undefined_length=True)
        data: Any = value or empty_value_for_VR(name, raw=True)
        return RawDataElement(BaseTag(tag), name, len(value), data, 0, self._implicit, self._little)

    def dataset(self, part: bytes) -> Dataset:
        """Give packed elements as a data set, whose values are decoded when they are looked at."""
        from .library import Dataset

        with quiet():
            raw = [self._raw(*element) for element in _elements(part) if element[0] < _PIXELS]
            dataset = Dataset({element.tag: element for element in raw})
            dataset.set_original_encoding(self._implicit, self._little, self._encodings)
        return dataset

    @staticmethod
    def find(part: bytes, tag: int) -> bytes:
        """Find one of packed elements; gives it packed, and b"" if it is not there."""
        at = 0
        while at < len(part):
            found, _, length = _HEAD.unpack_from(part, at)
            end = at + 8 + (length & ~_DELIMITED)
            if found == tag:
                return part[at:end]
            at = end
        return b""

    def element(self, packed: bytes) -> DataElement:
        """Decode a packed element.

        Raises:
            Exception: what pydicom raises over the value.
        """
        alone: DataElement = self.dataset(packed)[_HEAD.unpack_from(packed)[0]]
        return alone

    @staticmethod
    def plain_text(packed: bytes) -> str | None:
        """Give the one value of a packed element without padding; None unless it is plain ASCII.

        Then `element` gives the same text, in every character set.
        """
        tag, vr, length = _HEAD.unpack_from(packed)
        text = packed[8:].strip(b" \0")
        name = vr.decode("ascii") if vr[0] else _vr_of(tag)
        if name not in _TEXTS or length >= _DELIMITED or text.translate(None, _PLAIN):
            return None
        return text.decode("ascii")


def headers(
    paths: Iterable[str | PathLike[str]], only: Sequence[int], *, limits: Limits | None = None
) -> Iterator[Collected | Exception]:
    """Read some elements of each of many files, on a few threads and without the interpreter.

    A file is walked as by `read`, to its end, and refused for the same reasons.

    Args:
        paths: of Part 10 files, or of files without the preamble.
        only: tags of these elements.
        limits: of decoding.

    Returns:
        For each file its elements, or the exception: a `DecodeError` or an OSError.

    Source: PS3.10 7.
    """
    reader = collector(only, limits)
    rest = iter(paths)
    while some := [fspath(path) for path in islice(rest, _TOGETHER)]:
        for found in reader.read(some):
            if isinstance(found, Exception):
                yield found
            else:
                yield Collected(
                    found.transfer_syntax, found.packed, is_plain=found.plain, only=only
                )


def _elements(packed: bytes) -> Iterator[tuple[int, bytes, bytes, bool]]:
    """List packed elements: tag, VR, value, and whether a delimiter ended the value."""
    at = 0
    while at < len(packed):
        tag, vr, length = _HEAD.unpack_from(packed, at)
        start, at = at + 8, at + 8 + (length & ~_DELIMITED)
        yield tag, vr, packed[start:at], length >= _DELIMITED


@lru_cache(maxsize=256)
def _vr_of(tag: int) -> str:
    from .library import dictionary_VR

    try:
        return dictionary_VR(tag)
    except KeyError:  # a private tag, or an unknown one
        return "UN"
