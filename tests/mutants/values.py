"""What must hold of values: the same behind a conversion, and none where they do not belong."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from io import BytesIO

from pydicom import Dataset
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from dimse_rs.encoding.quiet import quiet
from tests.mutants.seeds import BIG_ENDIAN, DEFLATED, IMPLICIT, MARK, inflated

_CHARACTER_SET = 0x00080005
_NO_DATA = (0x0000, 0x0002)
"""Of command sets and files, never part of a data set (PS3.7 6.3.1, PS3.10 7.1)."""
_WORDS = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}
_TRAILING_PADDING = 0xFFFCFFFC


class Finding(AssertionError):
    """Something that must not be."""


class Leaks(logging.Handler):
    """Formats every record, pydicom's too, as a log file would, and tells of values."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        """Keep the function to tell."""
        super().__init__()
        self._tell = tell

    @classmethod
    def watch(cls, tell: Callable[[str], object]) -> None:
        """Watch the whole log of this process, which goes nowhere else."""
        for name in ("dimse_rs", "pydicom"):
            logger = logging.getLogger(name)
            logger.addHandler(cls(tell))
            logger.propagate = False
            logger.setLevel(1)

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a record."""
        text = f"{record.name} {record.levelname} {record.getMessage()}"
        if record.exc_info and record.exc_info[1] is not None:
            text += "".join(traceback.format_exception(record.exc_info[1]))
        if MARK in text:
            self._tell(text[:2000])


def check_text(error: BaseException) -> None:
    """See that an error of ours shows no value, nor what it came of.

    Raises:
        Finding: it does.
    """
    shown = [str(error), repr(error), *getattr(error, "__notes__", ())]
    if any(MARK in one for one in shown):
        raise Finding(f"an error shows a value: {type(error).__name__}: {error}")
    if MARK in (text := "".join(traceback.format_exception(error))):
        raise Finding(f"an error is chained to one that shows a value: {text[-600:]}")


def looked_at(dataset: Dataset) -> None:
    """Look at every element, as a user may; what cannot be decoded is passed over."""
    with quiet():  # pydicom is called by us here, not by the package
        _look(dataset)


def _look(dataset: Dataset) -> None:
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
            if element.VR == "SQ":
                for item in element.value:
                    _look(item)
            else:
                str(element.value)
        except Exception:
            continue


def read_by_pydicom(content: bytes, syntax: str) -> Dataset:
    """Read as pydicom alone does, in silence."""
    if syntax == DEFLATED:
        content = inflated(content)
    with quiet():
        read: Dataset = read_dataset(BytesIO(content), syntax == IMPLICIT, syntax != BIG_ENDIAN)
        return read


def decodes(content: bytes, syntax: str) -> None:
    """See that pydicom can decode every value of what was sent to us.

    Raises:
        Finding: it cannot.
    """
    try:
        read = read_by_pydicom(content, syntax)
        with quiet():
            for element in read.iterall():
                str(element.value)
    except Exception as error:
        raise Finding(
            f"pydicom cannot decode the answer: {type(error).__name__}: {error}"
        ) from None


def check_same(before: bytes, syntax: str, after: bytes, target: str) -> None:
    """See that a data set holds after a conversion what it held before it.

    Raises:
        Finding: it does not.
    """
    try:
        was = read_by_pydicom(before, syntax)
    except Exception as error:  # then it should have been refused
        raise Finding(f"converted what pydicom cannot read: {type(error).__name__}") from None
    try:
        now = read_by_pydicom(after, target)
    except Exception as error:
        raise Finding(f"converted, pydicom cannot read it: {type(error).__name__}") from None
    _compare(was, now, (syntax == BIG_ENDIAN) != (target == BIG_ENDIAN))


def _compare(was: Dataset, now: Dataset, swapped: bool, where: str = "") -> None:
    tags = _tags(was)
    left = set(_tags(now))
    if added := sorted(left.difference(tags, [_CHARACTER_SET])):
        raise Finding(f"converted, it has {where}{added[0]} besides")
    for tag in tags:
        if tag not in left:
            raise Finding(f"converted, it lacks {where}{tag}")
        if tag == _CHARACTER_SET:  # the text may have been declared anew
            continue
        raw = [one.get_item(tag, keep_deferred=True) for one in (was, now)]
        elements = [_element(one, tag) for one in (was, now)]
        if elements[0] is None:  # its bytes are no such value
            if not swapped and not _same_bytes(*raw):
                raise Finding(f"converted, the undecodable {where}{tag} has other bytes")
        elif elements[1] is None:
            if getattr(raw[1], "VR", None) is None and (swapped or _same_bytes(*raw)):
                continue  # in Implicit VR it has the dictionary's VR, not the one that it came with
            raise Finding(f"converted, {where}{tag} cannot be decoded any more")
        elif elements[0].VR == "SQ" and elements[1].VR == "SQ":
            items = [element.value for element in elements if element is not None]
            if len(items[0]) != len(items[1]):
                raise Finding(f"converted, {where}{tag} has other items")
            for number, pair in enumerate(zip(*items, strict=True)):
                _compare(*pair, swapped, f"{where}{tag}[{number}]")
        elif not _same(elements[0], elements[1], raw, swapped):
            values = [repr(one and one.value)[:60] for one in elements]
            vrs = [one and one.VR for one in elements]
            raise Finding(f"converted, {where}{tag} is {values} ({vrs})")


def _tags(dataset: Dataset) -> list[BaseTag]:
    keys = list(dataset.keys())
    return [
        tag
        for tag in keys
        if tag.element and tag.group not in _NO_DATA and tag != _TRAILING_PADDING
    ]


def _element(dataset: Dataset, tag: int) -> DataElement | None:
    """Decode an element, its value too; None when that cannot be done."""
    with quiet():
        try:
            element = dataset[tag]
            if element.VR != "SQ":
                str(element.value)
        except Exception:
            return None
        return element


def _same(was: DataElement, now: DataElement, raw: list[object], swapped: bool) -> bool:
    if was.VR == now.VR and swapped and was.VR in _WORDS:
        size = _WORDS[was.VR]
        return _padded(_swapped(was.value, size)) == _padded(_swapped(now.value, 1))
    if was.VR == now.VR and _plain(was.value) == _plain(now.value):
        return True
    if any(getattr(one, "VR", "") == "UN" for one in raw):
        # Not swapped, and little endian whatever is around it (PS3.5 6.2.2); pydicom swaps it.
        return _same_bytes(*raw)
    # In Implicit VR a reader has the dictionary's VR, or none: there are its bytes.
    return was.VR != now.VR and (swapped or was.VR == "SQ" or _same_bytes(*raw))


def _plain(value: object) -> object:
    """Give what two readers of one value agree on: padding does not belong to it."""
    if value is None or value in ("", b""):
        return ""
    if isinstance(value, bytes | bytearray):
        return _padded(bytes(value))
    if isinstance(value, str):
        return value.rstrip(" \0")
    if isinstance(value, list) or hasattr(value, "__iter__"):
        return [_plain(one) for one in value]
    return repr(value)


def _same_bytes(was: object, now: object) -> bool:
    values = [one.value for one in (was, now) if isinstance(one, RawDataElement)]
    if len(values) < 2:
        return True
    return len({(value or b"").rstrip(b" \0") for value in values}) == 1


def _padded(value: bytes | None) -> bytes:
    return (value or b"").rstrip(b"\0")


def _swapped(value: bytes | None, size: int) -> bytes:
    """Swap the bytes of each whole word."""
    content = value or b""
    end = len(content) - len(content) % size
    words = (content[at : at + size][::-1] for at in range(0, end, size))
    return b"".join((*words, content[end:]))
