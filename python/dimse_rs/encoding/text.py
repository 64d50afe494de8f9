"""Text of data elements as bytes, exact or not at all (PS3.5 6.1, PS3.3 C.12.1.1.2).

pydicom replaces a character that the character set does not have by `?`, and only warns. Here each
text is decoded again after it was encoded, and a text that comes back changed is unfit.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.valuerep import PersonName

__all__ = ["AS_READ", "DEFAULT", "UTF_8", "Repertoire", "Undecodable", "Unfit"]
__all__ += ["encodings_of", "name_bytes", "repertoire", "text_bytes"]

_DEFAULT: Final = "iso8859"
"""pydicom's name of the default repertoire, which it reads and writes as Latin-1."""
_NO_TERMS: Final = frozenset(("ISO 2022 GBK", "ISO 2022 58"))  # pydicom's, not the standard's
_LOST: Final = "\ufffd"
_ESCAPE: Final = "\x1b"


class Unfit(Exception):
    """A text that the character set cannot hold."""


class Undecodable(Exception):
    """Bytes that their character set does not have: they cannot be encoded in another one."""


class Repertoire(NamedTuple):
    """The characters that text of a data set may have.

    Attributes:
        encodings: Python's names of the encodings, first the one without an escape sequence; empty
            when (0008,0005) has a term that the standard does not define.
        read_as: the encodings that pydicom reads it with.
        anew: whether it was chosen here, for a data set that declared too little.
        as_read: whether it is the default repertoire of a data set that was read with bytes beyond
            it, which go out as they came.
    """

    encodings: tuple[str, ...]
    read_as: tuple[str, ...]
    anew: bool = False
    as_read: bool = False

    @property
    def is_default(self) -> bool:
        """Whether ASCII alone is declared."""
        return all(encoding == _DEFAULT for encoding in self.encodings or self.read_as)


DEFAULT: Final = Repertoire((_DEFAULT,), (_DEFAULT,))
AS_READ: Final = DEFAULT._replace(as_read=True)
UTF_8: Final = Repertoire(("UTF8",), ("UTF8",), anew=True)


@lru_cache(maxsize=256)
def repertoire(terms: tuple[str, ...]) -> Repertoire:
    """Give the repertoire that these values of (0008,0005) declare."""
    from .library import STAND_ALONE_ENCODINGS, convert_encodings, python_encoding

    terms = terms or ("",)
    read_as = tuple(convert_encodings(list(terms)))
    # A stand-alone character set, UTF-8 for one, must be the only value (PS3.3 C.12.1.1.2). pydicom
    # reads such lists in its own way: they are read, and no new text is encoded in them.
    known = all(term in python_encoding and term not in _NO_TERMS for term in terms)
    if not known or (len(terms) > 1 and any(term in STAND_ALONE_ENCODINGS for term in terms)):
        return Repertoire((), read_as)
    return Repertoire(read_as, read_as)


def encodings_of(charset: str | Sequence[str]) -> tuple[str, ...]:
    """Give Python's names of the encodings that pydicom read a data set in."""
    return (charset,) if isinstance(charset, str) else tuple(charset)


def text_bytes(text: str, within: Repertoire) -> bytes:
    """Encode one value of a VR other than PN.

    Raises:
        Unfit: the character set does not hold the text.
        Undecodable: the text stands for bytes that could not be decoded.
    """
    from .library import TEXT_VR_DELIMS, decode_bytes, encode_string

    plain = _plain(text)
    if plain is not None:
        return plain
    if within.as_read:
        with suppress(UnicodeError):
            return text.encode("latin-1")
    if within.is_default or not within.encodings:
        raise Unfit
    try:
        encoded = encode_string(text, within.encodings)
        same = decode_bytes(encoded, within.encodings, TEXT_VR_DELIMS) == text
    except (ValueError, LookupError):  # UnicodeError is a ValueError
        same, encoded = False, b""
    if not same or not _within_default(encoded, within):
        raise Unfit
    return encoded


def name_bytes(name: PersonName, within: Repertoire, *, read: bool) -> bytes:
    """Encode one value of VR PN: as it was read, if that was in the same character set.

    Args:
        name: made in this process, or read.
        within: the repertoire to encode in.
        read: whether the data set was read; then the name may go out as it came.

    Raises:
        Unfit: the character set does not hold the name.
        Undecodable: the name was read with bytes that its character set does not have.
    """
    from .library import encode_string

    text = str(name)
    plain = _plain(text)
    if plain is not None:
        return plain
    original, encodings = name.original_string, name.encodings
    if encodings is not None and read:
        # The bytes that were read, not an encoding of the text: two encodings of one text may
        # differ in their escape sequences.
        same = isinstance(original, bytes) and _decoded_name(original, encodings) == text
        if same and encodings == within.read_as:
            return original
        if within.anew and encodings == DEFAULT.encodings:
            raise Undecodable
    if within.is_default or not within.encodings:
        raise Unfit
    try:
        encoded = b"=".join(
            b"^".join(encode_string(part, within.encodings) for part in group.split("^"))
            for group in name.components
        )
        same = _decoded_name(encoded, within.encodings) == text
    except (ValueError, LookupError):
        same, encoded = False, b""
    if not same or not _within_default(encoded, within):
        raise Unfit
    return encoded


def _plain(text: str) -> bytes | None:
    """Encode ASCII, the same in every character set; None when the text has other characters."""
    if _ESCAPE in text or _LOST in text:  # pydicom's replacements of bytes that it cannot decode
        raise Undecodable
    return text.encode() if text.isascii() else None


def _decoded_name(encoded: bytes, encodings: tuple[str, ...]) -> str:
    """Decode a name as a reader does; empty when a backslash would end the name for the reader."""
    from .library import PersonName

    return "" if b"\\" in encoded else str(PersonName(encoded, encodings))


_FRAGMENTS: Final = re.compile(b"^[^\x1b]+|\x1b[^\x1b]*")


def _within_default(encoded: bytes, within: Repertoire) -> bool:
    """Whether the parts of a text in the default repertoire are ASCII.

    Python's encoding for that repertoire is Latin-1, which would let other characters through.
    """
    if _DEFAULT not in within.encodings:
        return True
    first_is_default = within.encodings[0] == _DEFAULT
    return all(
        part.isascii()
        for part in _FRAGMENTS.findall(encoded)
        if part.startswith(b"\x1b(B") or (first_is_default and not part.startswith(b"\x1b"))
    )


def is_plain(value: Any) -> bool:
    """Whether bytes mean the same in every character set."""
    data = bytes(value)
    return data.isascii() and b"\x1b" not in data
