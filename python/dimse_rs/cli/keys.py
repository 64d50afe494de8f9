"""Keys on the command line: `-k "(0040,0100)[0].Modality=CT"` and query files become data sets.

The notation is that of DCMTK: a tag or keyword, with a path of item numbers inside sequences, and
optionally a value.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .exits import CliError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

__all__ = ["apply", "read_file"]

_STEP: Final = re.compile(
    r"(?:\((?P<a>[0-9A-Fa-f]{4},[0-9A-Fa-f]{4})\)|(?P<b>[0-9A-Fa-f]{4},?[0-9A-Fa-f]{4})"
    r"|(?P<keyword>[A-Za-z][A-Za-z0-9]*))(?:\[(?P<item>[0-9]{1,3})\])?"
)
_PARTS: Final = {"US": int, "SS": int, "UL": int, "SL": int, "UV": int, "SV": int}
_REALS: Final = ("FL", "FD")
_BYTES: Final = ("OB", "OW", "OD", "OF", "OL", "OV", "UN")
_UTF_8: Final = "ISO_IR 192"


def read_file(name: str) -> Dataset:
    """Read a file of keys: Part 10, as `dump2dcm` and pydicom write it.

    Raises:
        CliError: the file cannot be read (20).
    """
    from dimse_rs.datasets import read

    try:
        return read(Path(name))
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or getattr(error, "message", "") or str(error)
        text = text if name in text else f"{name}: {text}"
        raise CliError(ExitCode.INPUT, text) from error


def apply(keys: Iterable[str], dataset: Dataset) -> None:
    """Set keys in a data set, and make the items that their paths name.

    Text beyond ASCII is sent as UTF-8, unless the data set says otherwise.

    Raises:
        CliError: a key is wrong (1).
    """
    for key in keys:
        try:
            _set(dataset, key)
        except (ValueError, TypeError, OverflowError) as error:
            path = key.partition("=")[0]  # not the value, which may be that of a patient
            raise CliError(ExitCode.USAGE, f"-k {path}: {error}") from error
        if not key.isascii() and not dataset.get("SpecificCharacterSet"):
            dataset.SpecificCharacterSet = _UTF_8


def _set(dataset: Dataset, key: str) -> None:
    path, has_value, text = key.partition("=")
    steps = _steps(path)
    for tag, item in steps[:-1]:
        if item is None:
            raise ValueError("a path goes through items, such as Sequence[0].Keyword")
        dataset = _item(dataset, tag, item)
    tag, item = steps[-1]
    vr = _vr(tag)
    if item is not None:
        if has_value:
            raise ValueError("an item has no value")
        _item(dataset, tag, item)
        return
    if vr == "SQ" and text:
        raise ValueError("a sequence has no value: give an item's, Sequence[0].Keyword=value")
    dataset[tag] = _element(tag, vr, text)


def _element(tag: int, vr: str, text: str) -> DataElement:
    from dimse_rs.encoding.library import DataElement, config

    try:
        # Not checked against the VR: queries hold wildcards, ranges and lists (PS3.4 C.2.2.2).
        return DataElement(tag, vr, _value(vr, text), validation_mode=config.IGNORE)
    except (ValueError, TypeError, OverflowError):
        what = f"the value does not fit VR {vr}"
    raise ValueError(what)  # not Python's text, which quotes the value


def _steps(path: str) -> list[tuple[int, int | None]]:
    from dimse_rs.encoding.library import tag_for_keyword

    steps: list[tuple[int, int | None]] = []
    for part in path.strip().split("."):
        found = _STEP.fullmatch(part.strip())
        if found is None:
            raise ValueError(f"not a tag or keyword: {part!r}")
        digits = found["a"] or found["b"]
        tag = int(digits.replace(",", ""), 16) if digits else tag_for_keyword(found["keyword"])
        if tag is None:
            raise ValueError(f"{part} is not a keyword of the data dictionary (PS3.6)")
        if tag >> 16 < 8:
            raise ValueError("a data set has no elements of groups below 0008 (PS3.5 7.1)")
        steps.append((tag, None if found["item"] is None else int(found["item"])))
    return steps


def _item(dataset: Dataset, tag: int, number: int) -> Dataset:
    from dimse_rs.encoding.library import DataElement, Dataset, Sequence

    # UN: the dictionary knows no private sequence.
    if _vr(tag) not in ("SQ", "UN"):
        raise ValueError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is not a sequence")
    if tag not in dataset or not dataset[tag].value:
        dataset[tag] = DataElement(tag, "SQ", Sequence())
    items = dataset[tag].value
    while len(items) <= number:
        items.append(Dataset())
    inner: Dataset = items[number]
    return inner


def _vr(tag: int) -> str:
    from dimse_rs.encoding.library import dictionary_VR

    if tag >> 16 & 1:  # private: the creator is text, the VR of others is unknown (PS3.5 7.8)
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
    try:
        vr: str = dictionary_VR(tag)
    except KeyError:
        return "UN"
    # Of "US or SS" only the other elements of an instance decide, and an identifier has none.
    return vr.split(" or ", 1)[0]


def _value(vr: str, text: str) -> Any:
    if vr == "SQ":
        return []
    if not text:
        return None
    if vr in _BYTES:
        data = text.encode("utf-8", "surrogateescape")
        return data + bytes(len(data) % 2)  # a value has an even length (PS3.5 7.1.1)
    if vr == "AT":
        return [int(part.strip("()").replace(",", ""), 16) for part in text.split("\\")]
    kind = float if vr in _REALS else _PARTS.get(vr)
    if kind is not None:
        return [kind(part) for part in text.split("\\")]
    return text
