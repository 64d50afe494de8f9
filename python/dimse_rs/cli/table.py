"""Matches of a query as a table on a terminal; scripts get the text or --json."""

from __future__ import annotations

import shutil
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dimse_rs.callables import is_pydicom

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["Table", "on_a_terminal", "visible"]

Path: TypeAlias = tuple[str, ...]
"""Keywords from the top: sequences, then the attribute."""

_NEVER: Final = frozenset(("QueryRetrieveLevel", "SpecificCharacterSet"))
_GAP: Final = "  "
_LEAST: Final = 8
"""Least width of a column that is cut to make the table fit."""

_FIRST: Final = 50
"""Matches whose values decide the widths of the columns."""

_SOON: Final = 0.5
"""Seconds after which the matches so far are printed, even if they are fewer."""


def on_a_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


class Table:
    """Columns for the requested keys, as wide as the first matches and the terminal allow.

    Args:
        requests: the identifiers: each key is a column, if a match has a value for it.
        show: a function that prints a line.
        width: columns of the terminal; default asked of it.
    """

    def __init__(
        self,
        requests: Iterable[Dataset],
        show: Callable[[str], object],
        width: int | None = None,
    ) -> None:
        """Collect the columns; no line is printed yet."""
        paths = (path for request in requests for path in _paths(request))
        self._paths: list[Path] = list(dict.fromkeys(paths))
        self._show = show
        self._width = width or shutil.get_terminal_size().columns
        self._waiting: list[dict[Path, str]] = []
        self._since = 0.0
        self._widths: dict[Path, int] | None = None

    def add(self, match: Dataset) -> None:
        """Take one match."""
        row = {path: visible(_value(match, path)) for path in self._paths}
        if self._widths is not None:
            self._line(row)
            return
        # The first matches set the widths: a long answer must show its beginning early.
        now = time.monotonic()
        self._since = self._since or now
        self._waiting.append(row)
        if len(self._waiting) >= _FIRST or now - self._since > _SOON:
            self.show()

    def show(self) -> None:
        """Print the matches that wait until the widths are known."""
        if not self._waiting:
            return
        if self._widths is None:
            self._widths = self._fitted()
            self._line({path: path[-1] for path in self._widths})
            self._line({path: "-" * width for path, width in self._widths.items()})
        for row in self._waiting:
            self._line(row)
        self._waiting.clear()

    def _fitted(self) -> dict[Path, int]:
        """Give each column that has values its width; the widest is cut until all fit."""
        widths = {
            path: max(columns(path[-1]), *(columns(row[path]) for row in self._waiting))
            for path in self._paths
            if any(row[path] for row in self._waiting)
        }
        # One character at a time, always off the widest column: wide columns end up equally wide,
        # and narrow ones stay whole.
        free = self._width - len(_GAP) * (len(widths) - 1)
        while sum(widths.values()) > free and max(widths.values()) > _LEAST:
            widest = max(widths, key=lambda path: widths[path])
            widths[widest] -= 1
        return widths

    def _line(self, row: dict[Path, str]) -> None:
        widths = self._widths or {}
        cells = (_cell(row[path], width) for path, width in widths.items())
        self._show(_GAP.join(cells).rstrip())


def _paths(request: Dataset, above: Path = ()) -> Iterator[Path]:
    from dimse_rs.encoding.library import keyword_for_tag

    for tag in tuple(request.keys()):  # as requested: iteration sorts
        keyword = keyword_for_tag(tag) or f"{tag:08X}"
        if keyword in _NEVER:
            continue
        element = request[tag]
        if element.VR != "SQ":
            yield (*above, keyword)
        elif element.value:
            yield from _paths(element.value[0], (*above, keyword))
        else:
            yield (*above, keyword)


def _value(match: Dataset, path: Path) -> str:
    """Give the values of an attribute, from all items of the sequences above it."""
    sets: list[Any] = [match]
    for keyword in path[:-1]:
        sets = [item for one in sets for item in one.get(keyword) or ()]
    return "\\".join(text for one in sets if (text := _text(one, path[-1])))


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        value: Any = dataset.get(int(keyword, 16) if _is_number(keyword) else keyword)
        value = getattr(value, "value", value)
        if value is None:
            return ""
        if hasattr(value, "append"):
            if any(is_pydicom(item) for item in value):
                return f"{len(value)} items"
            return "\\".join(str(one) for one in value)
        return str(value)
    except Exception:  # pydicom raises exceptions of many kinds while it decodes
        return "cannot be decoded"


def _is_number(keyword: str) -> bool:
    return len(keyword) == 8 and all(c in "0123456789ABCDEF" for c in keyword)


def visible(text: str) -> str:
    """Escape control characters and changes of direction, which a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def columns(text: str) -> int:
    """Count the columns that text takes on a terminal."""
    return sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cell(text: str, width: int) -> str:
    """Fill or cut text to so many columns; text that is cut ends in a mark."""
    if columns(text) > width:
        text = _cut(text, width - 1) + _mark()
    return text + " " * (width - columns(text))


def _cut(text: str, width: int) -> str:
    kept, used = [], 0
    for character in text:
        used += _columns_of(character)
        if used > width:
            break
        kept.append(character)
    return "".join(kept)


def _mark() -> str:
    encoding = (getattr(sys.stdout, "encoding", "") or "").lower()
    return "…" if encoding.startswith("utf") else "~"
