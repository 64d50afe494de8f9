"""Data sets into bytes: each element exact, or refused by its tag and keyword (PS3.5 7).

pydicom writes numbers and bulk values. Text is written here, because pydicom replaces characters
that a character set cannot hold (`encoding.text`) and takes ten times as long for plain text.
Values that no caller has decoded keep their bytes, save for byte order.

Text beyond the declared character set. (0008,0005) governs a data set and those of its items that
declare none. Each such scope is written in the character set that it declares. Where that fails,
the scope alone is written again in UTF-8, with (0008,0005) declared anew, and so are values that
were read in the former character set. Bytes that were read and could not be decoded cannot become
UTF-8: a data set that declared nothing keeps them as they are, any other is refused.
"""

from __future__ import annotations

from array import array
from contextlib import suppress
from copy import copy
from functools import cache
from math import isfinite
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, Literal

from dimse_rs import _core
from dimse_rs.errors import DecodeError

from .text import (
    AS_READ,
    DEFAULT,
    UTF_8,
    Repertoire,
    Undecodable,
    Unfit,
    encodings_of,
    is_plain,
    name_bytes,
    repertoire,
    text_bytes,
)

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.tag import BaseTag

    from dimse_rs.sop_class import TransferSyntax

__all__ = ["NOT_SENT", "encode", "name_of", "undecoded"]

# PS3.5 7.3 and Table 6.2-1: VRs whose values are words, with the bytes of a word; the second row
# has those that pydicom leaves as bytes.
_WORDS: Final = {
    **{"AT": 2, "US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "SV": 8, "UV": 8},
    **{"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8},
}
_BULK: Final = frozenset(("OW", "OL", "OF", "OD", "OV"))
# PS3.5 6.1.2.2: VRs of text that (0008,0005) governs, and VRs of ASCII alone.
_TEXT: Final = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
_ASCII: Final = frozenset(("AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"))
# PS3.5 7.1.2: VRs whose length has 32 bits in explicit VR.
_WIDE: Final = frozenset(
    ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
)
NOT_SENT: Final = (0x0000, 0x0002)
"""Commands and file meta are never part of a data set (PS3.7 6.3.1, PS3.10 7.1)."""
_CHARACTER_SET: Final = 0x00080005
_CODES: Final = {2: "H", 4: "I", 8: "Q"}
_UNDEFINED: Final = 0xFFFFFFFF


def encode(dataset: Dataset, target: TransferSyntax) -> bytes:
    """Encode a data set, without the deflate layer.

    Raises:
        DecodeError: an element cannot be written as it is; the message has its tag, not its value.

    Source: PS3.5 6, 7.
    """
    return _Writer(target).data_set(dataset, DEFAULT, ())


class _Writer:
    """Writes data sets and their items in one encoding."""

    def __init__(self, target: TransferSyntax) -> None:
        from .library import RawDataElement, convert_raw_data_element

        self._raw_element, self._decoded = RawDataElement, convert_raw_data_element
        self._target = target
        self._encoding = (target.implicit, not target.big_endian)
        self._name: Literal["implicit", "explicit", "big"]
        self._name = "implicit" if target.implicit else "big" if target.big_endian else "explicit"
        order = ">" if target.big_endian else "<"
        self._header = Struct(order + ("HHI" if target.implicit else "HH2sH"))
        self._wide = Struct(order + "HH2sHI")
        self._bare = Struct(order + "HHI")
        # The bytes of items that took two attempts, by the identities of the item and of the data
        # sets around it. If the scope around an item has to be written again, the item is not: two
        # attempts at each of n levels would be 2 to the power of n writings of the innermost item.
        self._done: dict[tuple[int, ...], bytes] = {}
        self._at: BaseTag | int = 0
        """The element that is being written, of the innermost item."""

    def data_set(
        self, dataset: Dataset, above: Repertoire, ancestors: tuple[Dataset, ...]
    ) -> bytes:
        """Write a data set or an item, in the character set that it declares or inherits.

        A data set that declares one, and the outermost data set, may declare UTF-8 instead.
        """
        lineage = (dataset, *ancestors)
        declared = self._declared(dataset)
        if declared is None and ancestors:
            return self._elements(lineage, above)
        path = tuple(map(id, lineage))
        if path in self._done:
            return self._done[path]
        within, inside = above if declared is None else declared, len(self._done)
        with suppress(Unfit):
            return self._elements(lineage, within)
        content = self._anew(lineage, within)
        while len(self._done) > inside:  # items inside this one, whose bytes it has now
            self._done.popitem()
        self._done[path] = content
        return content

    def _anew(self, lineage: tuple[Dataset, ...], within: Repertoire) -> bytes:
        """Write text beyond the declared character set: in UTF-8, or as it was read."""
        dataset, hint = lineage[0], ""
        what = "is beyond the character set that (0008,0005) declares"
        try:
            return self._elements(lineage, UTF_8, declare=True)
        except Unfit:
            pass
        except Undecodable:
            # Bytes that were read without a declaration may be in any character set: they go out as
            # they are, or the data set is refused.
            if not within.is_default or dataset.original_encoding[0] is None:
                raise self._refused("holds bytes that its character set does not have") from None
            with suppress(Unfit):
                return self._elements(lineage, AS_READ)
            hint = "say with (0008,0005) in which character set the data set is to be sent"
        raise self._refused(what, hint=hint)

    def _declared(self, dataset: Dataset) -> Repertoire | None:
        if _CHARACTER_SET not in dataset._dict:
            return None
        value: Any = undecoded(dataset, _CHARACTER_SET).value or ""
        if isinstance(value, bytes):
            value = value.decode("latin-1").split("\\")
        terms = [value] if isinstance(value, str) else list(value)
        return repertoire(tuple(str(term or "").strip(" \0") for term in terms))

    def _refused(self, what: str, hint: str = "") -> DecodeError:
        tag = int(self._at)
        return DecodeError(f"{name_of(tag)} {what}", section="PS3.5 6", hint=hint)

    def _elements(
        self, lineage: tuple[Dataset, ...], within: Repertoire, *, declare: bool = False
    ) -> bytes:
        """Write the elements of one level, in ascending order of their tags (PS3.5 7.1)."""
        dataset = lineage[0]
        elements: Any = dataset._dict
        if declare or not isinstance(elements, dict):
            elements = dict(elements)
        if declare:
            elements[_tag(_CHARACTER_SET)] = _declares_utf_8()
        # Most values are short plain text, which the core writes. What it leaves is written here.
        made = dataset.original_encoding[0] is None
        utf8 = made and within.encodings == UTF_8.encodings
        parts = _core.encode_elements(elements, self._name, utf8)
        for place, part in enumerate(parts):
            if not isinstance(part, bytes):
                parts[place] = self._one(part, lineage, within)
        return b"".join(parts)

    def _one(self, tag: BaseTag, lineage: tuple[Dataset, ...], within: Repertoire) -> bytes:
        """Write an element; name it in every error."""
        element = undecoded(lineage[0], tag)
        self._at = tag
        try:
            return self._element(element, lineage, within)
        except (Unfit, DecodeError):
            raise
        except Undecodable:
            if within.anew:
                raise
            fault = "holds bytes that its character set does not have"
        except Exception as error:  # pydicom raises whatever comes up while it encodes a value
            fault = f"has no value that can be encoded as VR {element.VR}: {type(error).__name__}"
        # Outside of the handler, which would chain pydicom's message with its value.
        self._at = tag
        raise self._refused(fault)

    def _element(
        self,
        element: DataElement | RawDataElement,
        lineage: tuple[Dataset, ...],
        within: Repertoire,
    ) -> bytes:
        dataset = lineage[0]
        little = dataset.original_encoding[1] is not False  # None of a data set that was made
        made = dataset.original_encoding[0] is None
        swap = little == self._target.big_endian
        if isinstance(element, self._raw_element):
            return self._raw(element, lineage, within, swap=swap)
        vr = str(element.VR)
        if len(vr) > 2:
            vr = _vr(element, lineage, little=little)
            element = copy(element)
            element.VR = vr
        if vr == "SQ":
            return self._sequence(element, lineage, within)
        if vr in _TEXT:
            return self._text(element, vr, within, read=not made)
        if vr in _ASCII:
            self._check_plain(element, vr)
        elif vr == "UN" and within.anew and not is_plain(element.value or b""):
            raise Undecodable
        elif swap and vr in _BULK and element.value:
            return self._put(element.tag, vr, _swap(bytes(element.value), _WORDS[vr]))
        return self._by_pydicom(element)

    def _raw(
        self,
        element: RawDataElement,
        lineage: tuple[Dataset, ...],
        within: Repertoire,
        *,
        swap: bool,
    ) -> bytes:
        """Write a value that was not decoded: its bytes, but for byte order and characters."""
        dataset = lineage[0]
        made = dataset.original_encoding[0] is None
        read = encodings_of(dataset.original_character_set)
        # For a data set that was made, (0008,0005) alone says how its bytes are encoded.
        kept = not within.anew if made else read == within.read_as
        vr, value = element.VR, element.value or b""
        if dataset.original_encoding != self._encoding or not kept:
            vr = _vr(element, lineage, little=not (swap ^ self._target.big_endian))
            if vr == "SQ":
                return self._sequence(dataset[element.tag], lineage, within)
        if (made or not kept) and (vr in _TEXT or vr == "UN") and not is_plain(value):
            if vr == "UN":
                if within.anew:
                    raise Undecodable
            elif made:
                _check_decodable(value, within)
            elif within.anew and read == DEFAULT.encodings:
                raise Undecodable
            else:
                found = self._decoded(element, encoding=list(read), ds=dataset)
                return self._text(found, vr, within, read=True)
        if element.length == _UNDEFINED:
            if not self._target.implicit and vr not in _WIDE:
                raise self._refused(f"has a value of undefined length, which VR {vr} has not")
            return self._by_pydicom(element._replace(VR=vr, value=value))
        if swap and vr in _WORDS:
            value = _swap(value, _WORDS[vr])
        return self._put(element.tag, vr, value)

    # ---- values

    def _text(self, element: DataElement, vr: str, within: Repertoire, *, read: bool) -> bytes:
        if within.as_read and element.file_tell is None:
            within = DEFAULT  # the element was added to a data set that was read
        value = element.value
        several = hasattr(value, "append") or isinstance(value, tuple)
        ones = [] if element.is_empty else list(value) if several else [value]
        content = b"\\".join(self._one_text(one, vr, within, read=read) for one in ones)
        return self._put(element.tag, vr, content + b" " * (len(content) % 2))

    @staticmethod
    def _one_text(value: Any, vr: str, within: Repertoire, *, read: bool) -> bytes:
        if value is None:
            return b""
        if isinstance(value, bytes):
            _check_decodable(value, within)
            return value
        if vr == "PN" and not isinstance(value, str):
            return name_bytes(value, within, read=read)
        return text_bytes(str(value), within)

    def _check_plain(self, element: DataElement, vr: str) -> None:
        """Refuse characters beyond the default repertoire, and numbers beyond the VR."""
        value: Any = element.value
        several = hasattr(value, "__len__") and not isinstance(value, str | bytes)
        for one in value if several else (value,):
            if isinstance(one, str | bytes) and not one.isascii():
                raise self._refused(f"is beyond the default repertoire, which VR {vr} is bound to")
            if vr in ("DS", "IS") and one is not None and one != "":
                self._check_number(one, vr, read=element.file_tell is not None)

    def _check_number(self, value: Any, vr: str, *, read: bool) -> None:
        """Refuse a number whose text is too long, or that VR IS does not have (PS3.5 6.2).

        A number that was read goes out as the text that it was read from, even a malformed one.
        """
        original = getattr(value, "original_string", None)
        if read and original is not None:
            return
        text = str(value) if original is None else original
        longest = 16 if vr == "DS" else 12
        if len(text) > longest:
            raise self._refused(
                f"takes {len(text)} characters, of VR {vr} there are at most {longest}",
                hint="" if vr == "IS" else "round it, as pydicom's DS(value, auto_format=True)",
            )
        if isinstance(value, str) and not isinstance(value, int | float):
            return  # padding
        if not isfinite(value) or (vr == "IS" and (value % 1 or not -(2**31) <= value < 2**31)):
            raise self._refused(f"is no number that VR {vr} has")

    # ---- structure

    def _sequence(
        self, element: DataElement, lineage: tuple[Dataset, ...], within: Repertoire
    ) -> bytes:
        group, number = element.tag.group, element.tag.element
        parts: list[bytes] = []
        for item in element.value or ():
            content = self.data_set(item, within, lineage)
            open_ended = getattr(item, "is_undefined_length_sequence_item", False)
            parts.append(
                self._bare.pack(0xFFFE, 0xE000, _UNDEFINED if open_ended else len(content))
            )
            parts.append(content)
            if open_ended:
                parts.append(self._bare.pack(0xFFFE, 0xE00D, 0))
        content = b"".join(parts)
        length = len(content)
        if element.is_undefined_length:
            content += self._bare.pack(0xFFFE, 0xE0DD, 0)
            length = _UNDEFINED
        if self._target.implicit:
            return self._bare.pack(group, number, length) + content
        return self._wide.pack(group, number, b"SQ", 0, length) + content

    def _put(self, tag: BaseTag, vr: str | None, content: bytes) -> bytes:
        if self._target.implicit:
            return self._bare.pack(tag.group, tag.element, len(content)) + content
        if vr is None or len(vr) != 2:
            raise self._refused("has no VR")
        if vr not in _WIDE and len(content) > 0xFFFF:
            vr = "UN"  # a VR with a length of 32 bits, which keeps the value (PS3.5 6.2.2)
        if vr in _WIDE:
            return self._wide.pack(tag.group, tag.element, vr.encode(), 0, len(content)) + content
        return self._short(tag, vr, content)

    def _short(self, tag: BaseTag, vr: str, content: bytes) -> bytes:
        kind = () if self._target.implicit else (vr.encode(),)
        return self._header.pack(tag.group, tag.element, *kind, len(content)) + content

    def _by_pydicom(self, element: DataElement | RawDataElement) -> bytes:
        from .library import DicomBytesIO, write_data_element

        buffer = DicomBytesIO()
        buffer.is_implicit_VR, buffer.is_little_endian = self._encoding
        write_data_element(buffer, element)
        written: bytes = buffer.getvalue()
        return written


def _check_decodable(value: bytes, within: Repertoire) -> None:
    """Refuse bytes that do not decode in the character set that (0008,0005) declares."""
    from .library import TEXT_VR_DELIMS, decode_bytes

    if is_plain(value):
        return
    if within.anew or not within.encodings or within.is_default:
        raise Undecodable
    text = decode_bytes(value, within.encodings, TEXT_VR_DELIMS)
    if "\ufffd" in text or "\x1b" in text:
        raise Undecodable


def undecoded(dataset: Dataset, tag: int) -> Any:
    """Give an element undecoded, unless it was decoded before or its value was left in the file.

    pydicom's `get_item` takes an empty raw element for one whose value was left in the file, and
    decodes it, which raises for a VR that pydicom does not know.
    """
    element = dataset.get_item(tag, keep_deferred=True)
    left = getattr(element, "length", 0) and element.value is None
    return dataset.get_item(tag) if left else element


def name_of(tag: int) -> str:
    """Name an element as the standard does: tag and keyword."""
    from .library import keyword_for_tag

    keyword = keyword_for_tag(tag) or ("a private element" if tag >> 16 & 1 else "")
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {keyword}".strip()


def _tag(tag: int) -> BaseTag:
    from .library import BaseTag

    return BaseTag(tag)


@cache
def _declares_utf_8() -> DataElement:
    from .library import DataElement

    return DataElement(_CHARACTER_SET, "CS", "ISO_IR 192")


def _vr(
    element: DataElement | RawDataElement, lineage: tuple[Dataset, ...], *, little: bool
) -> str:
    """Find the VR: in implicit VR that of the dictionary, and one of several where it has those."""
    from .library import AMBIGUOUS_VR, RawDataElement, correct_ambiguous_vr_element, raw_element_vr

    vr = element.VR
    if vr is None and isinstance(element, RawDataElement):
        found: dict[str, str] = {}
        raw_element_vr(element, found, ds=lineage[0])
        vr = found["VR"]
    if vr in AMBIGUOUS_VR:
        if isinstance(element, RawDataElement):
            element = element._replace(VR=vr)
        with suppress(AttributeError):  # the element that decides, such as (0028,0103), is missing
            vr = correct_ambiguous_vr_element(element, lineage[0], little, list(lineage)).VR
        if vr in AMBIGUOUS_VR:
            # The bytes are the same in all of them; the choice is that of implicit VR (PS3.5 A.1).
            vr = "OW" if "OW" in str(vr) else "US"
    return str(vr)


def _swap(value: bytes, size: int) -> bytes:
    whole = len(value) - len(value) % size
    words = array(_CODES[size], value[:whole])
    words.byteswap()
    return words.tobytes() + value[whole:]
