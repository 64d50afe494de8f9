"""Attribute matching: whether a data set matches an identifier, and the response (PS3.4 C.2.2.2).

Pure functions over pydicom data sets. A `Matcher` reads an identifier once and then compares any
number of data sets; `matches` and `respond` are for one data set. `_values` compares the values.

Where the standard leaves a choice: person names match without regard to case, but with regard to
accents; numbers by value; several values of a key as alternatives, unless multiple value matching
was agreed; private attributes are no keys; "*" alone is universal for every VR but UI.

The cost of a search must not be for the peer to choose. An identifier is read in time in proportion
to its length. Comparing a data set costs a set look-up for a plain key, and the length of the
stored values for each pattern, of which `_MOST_PATTERNS` are allowed. A response has `_MOST_KEYS`
elements at most, besides those of stored sequences, which an index bounds (`_headers`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from dimse_rs.datasets import quietly
from dimse_rs.errors import StatusError
from dimse_rs.status import PENDING, PENDING_WARNING, Status

from ._values import (
    EMPTY,
    MOMENTS,
    Interval,
    Test,
    interval,
    key_test,
    low,
    offset,
    patterns,
    shifted,
    texts,
)

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

__all__ = ["QUERY", "WORKLIST", "Elements", "IdentifierError", "Matcher", "Rules"]
__all__ += ["matches", "respond"]

_CHARACTER_SET: Final = 0x00080005
_LEVEL: Final = 0x00080052
_VIEW: Final = 0x00080053
_TIMEZONE: Final = 0x00080201
_NOT_KEYS: Final = frozenset((_CHARACTER_SET, _LEVEL, _VIEW, _TIMEZONE))

_DEEPEST: Final = 64
"""Levels of sequences in an identifier."""
_MOST_KEYS: Final = 4096
"""Keys in an identifier, those in sequences included: each response has all of them."""
_MOST_PATTERNS: Final = 64
"""Values in an identifier that are compared one by one: with wild cards, of names and of moments.
Their number times the length of the stored values bounds the cost of comparing one data set."""

_TEXT: Final = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
"""VRs whose repertoire (0008,0005) extends (PS3.5 6.1.2.3)."""

_CHARACTERS: Final = _TEXT | {"AE", "AS", "CS", "DA", "DT", "TM", "UI", "UR"}
"""VRs whose values are characters."""

DOES_NOT_MATCH: Final = 0xA900
UNABLE_TO_PROCESS: Final = 0xC000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of matching beyond the baseline, most of them as negotiated (PS3.4 C.5.1.1).

    Attributes:
        unknown_matches: whether an attribute whose value is unknown matches every key, as in
            Query/Retrieve; in worklists it does not (PS3.4 C.2.2.1.2, K.2.2.1.1.1).
        combined_datetime: whether ranges of a date and of its time are one range.
        timezone: whether (0008,0201) adjusts dates and times.
        empty_values: whether a key of two quotation marks matches an attribute without a value.
        multiple_values: whether every value of a key has to be stored, and not just one.
    """

    unknown_matches: bool = True
    combined_datetime: bool = False
    timezone: bool = False
    empty_values: bool = False
    multiple_values: bool = False


QUERY: Final = Rules()
"""Query/Retrieve without extended negotiation."""
WORKLIST: Final = Rules(unknown_matches=False, combined_datetime=True)
"""Modality Worklist and the other worklists (PS3.4 K.2.2, K.4.1.1)."""


class IdentifierError(StatusError):
    """An identifier that cannot be served. Raised in a handler, it answers the request.

    Attributes:
        offending: the tags at fault, for Offending Element (0000,0901).
    """

    def __init__(self, status: int, comment: str, *offending: int) -> None:
        """Keep the tags beside the status and its comment."""
        elements = {"OffendingElement": list(offending)} if offending else None
        super().__init__(status, comment, elements=elements)
        self.offending = offending


class Elements(Protocol):
    """The source of stored values: a pydicom data set, or an object that looks like one."""

    def get(self, tag: Any, default: Any = None, /) -> Any:
        """Give the `DataElement`, or the default."""


@dataclass(slots=True)
class _Key:
    tag: int
    vr: str
    test: Test | None = None
    empty: bool = False  # matches an attribute without a value
    item: Matcher | None = None  # of a sequence; None matches, and returns, the whole sequence
    twin: int = 0  # tag of the time that belongs to a date, of the date that belongs to a time

    @property
    def is_universal(self) -> bool:
        return (
            self.test is None and not self.empty and (self.item is None or self.item.is_universal)
        )


@dataclass(frozen=True, slots=True)
class _Pair:
    """A range of dates and a range of times that are one range (PS3.4 C.2.2.2.5.4).

    From the 3rd 14:00 to the 5th 9:00 is one interval of moments; compared apart, the two ranges
    would leave out the 4th at noon, whose time is not between 14:00 and 9:00.
    """

    date: _Key
    time: _Key
    dates: Interval
    times: Interval


class Matcher:
    """An identifier, read once and compared with any number of data sets.

    Attributes:
        unsupported: keys that are neither matched nor returned.
    """

    @quietly
    def __init__(
        self,
        identifier: Dataset,
        rules: Rules = QUERY,
        *,
        supported: Callable[[int], bool] | None = None,
        depth: int = 0,
    ) -> None:
        """Read an identifier.

        Args:
            identifier: (0008,0052), (0008,0053), (0008,0005) and groups below 0008 are no keys.
            rules: of matching, as agreed.
            supported: whether the attribute of a tag is supported as a key; default every attribute
                of the dictionary. Private attributes never are.
            depth: number of sequences around this identifier, for one in an item.

        Raises:
            IdentifierError: an element cannot be read, has a VR of another kind than its attribute,
                or goes beyond a limit.
        """
        if depth > _DEEPEST:
            raise IdentifierError(UNABLE_TO_PROCESS, f"sequences nested deeper than {_DEEPEST}")
        self._rules = rules
        # Read here and not while matching: what pydicom raises over a value is the fault of the
        # peer, and answered before the first response.
        self._level = _element(identifier, _LEVEL) if depth == 0 else None
        self._zone = _zone_of(identifier) if rules.timezone else None
        self._keys: list[_Key] = []
        self._size = self._patterns = 0
        self._pairs: list[_Pair] = []
        unsupported: list[int] = []
        for tag in sorted(identifier.keys()):
            if tag.group < 0x0008 or tag.element == 0 or tag in _NOT_KEYS:
                continue
            vr = _vr_of(tag)
            if not vr or (supported is not None and not supported(tag)):
                unsupported.append(int(tag))
                continue
            key = self._key(identifier, int(tag), vr, depth)
            self._keys.append(key)
            self._size += 1
            if key.item is not None:
                self._size += key.item._size
                self._patterns += key.item._patterns
                unsupported.extend(key.item.unsupported)
            if self._size > _MOST_KEYS:
                raise IdentifierError(UNABLE_TO_PROCESS, f"more than {_MOST_KEYS} keys")
            if self._patterns > _MOST_PATTERNS:
                what = f"{_name_of(tag)}: more than {_MOST_PATTERNS} patterns"
                raise IdentifierError(UNABLE_TO_PROCESS, what, tag)
        if rules.combined_datetime:
            self._pair(identifier)
        # Universal keys cost nothing while matching; they count for the response alone.
        self._asked = [key for key in self._keys if not key.is_universal]
        self.unsupported: tuple[int, ...] = tuple(unsupported)

    @property
    def is_universal(self) -> bool:
        """Whether the identifier matches every data set."""
        return not self._asked and not self._pairs

    @property
    def pending(self) -> Status:
        """The status of each match: FF01 when there are keys that are unsupported, else FF00."""
        return PENDING_WARNING if self.unsupported else PENDING

    @property
    def tags(self) -> tuple[int, ...]:
        """The keys that are matched and returned."""
        return tuple(key.tag for key in self._keys)

    # ---- reading the identifier

    def _key(self, identifier: Dataset, tag: int, vr: str, depth: int) -> _Key:
        element = _element(identifier, tag)
        if element is None or (element.VR == "SQ") != (vr == "SQ"):
            raise _wrong(tag, "has the wrong VR")
        if vr == "SQ":
            return self._sequence_key(element, tag, depth)
        key = _Key(tag, vr, twin=_twin_of(tag, vr))
        keys = _readable(tag, lambda: texts(element.value, vr))
        if self._rules.empty_values and keys == ['""'] and vr in EMPTY:
            key.empty = True
            return key
        try:
            key.test = key_test(
                vr, keys, all_of_them=self._rules.multiple_values, zone=self._zone or 0
            )
        except ValueError as error:
            raise IdentifierError(UNABLE_TO_PROCESS, f"{_name_of(tag)}: {error}", tag) from error
        if key.test is not None:
            self._patterns += patterns(vr, keys)
        return key

    def _sequence_key(self, element: DataElement, tag: int, depth: int) -> _Key:
        key = _Key(tag, "SQ")
        items = _readable(tag, lambda: list(element.value))
        if len(items) > 1:
            raise _wrong(tag, "has more than one item")
        if items and len(items[0]):
            key.item = Matcher(items[0], self._rules, depth=depth + 1)
        return key

    def _pair(self, identifier: Dataset) -> None:
        """Make one range of the ranges of a date and of its time, when both have the same form."""
        keys = {key.tag: key for key in self._keys}
        for date in self._keys:
            time = keys.get(date.twin) if date.vr == "DA" else None
            if time is None:
                continue
            dates = texts(identifier[date.tag].value, "DA")
            times = texts(identifier[time.tag].value, "TM")
            if len(dates) == len(times) == 1 and _form(dates[0]) == _form(times[0]) != "":
                pair = _Pair(date, time, interval("DA", dates[0]), interval("TM", times[0]))
                self._pairs.append(pair)
                date.test = time.test = None  # the pair decides in their place

    # ---- matching

    @quietly
    def matches(self, source: Elements) -> bool:
        """Tell whether a data set matches every key."""
        return all(self._fits(key, source) for key in self._asked) and all(
            self._lies_within(pair, source) for pair in self._pairs
        )

    def _fits(self, key: _Key, source: Elements) -> bool:
        if key.item is not None:
            items = _items(source, key.tag)
            return any(map(key.item.matches, items)) if items else self._rules.unknown_matches
        stored = self._stored(key, source)
        if key.empty:
            return not stored
        if not stored:
            return self._rules.unknown_matches
        return key.test is None or key.test(stored)

    def _lies_within(self, pair: _Pair, source: Elements) -> bool:
        dates, times = self._stored(pair.date, source), self._stored(pair.time, source)
        if not dates:
            return self._rules.unknown_matches
        if not times:  # the date alone decides, as far as it can
            first, last = pair.dates
            return self._rules.unknown_matches and any(first <= date <= last for date in dates)
        first, last = pair.dates[0] + pair.times[0], pair.dates[1] + pair.times[1]
        return any(
            bool(date and time) and first <= date + time <= last
            for date, time in zip(dates, times, strict=False)
        )

    def _stored(self, key: _Key, source: Elements) -> list[str]:
        """Give stored values in the form that the test of the key compares."""
        if key.vr not in MOMENTS:
            return _texts(source, key.tag, key.vr)
        stored_zone = _zone_of(source) if self._zone is not None else None
        if key.vr == "DT":
            zone = stored_zone if stored_zone is not None else self._zone or 0
            return [low("DT", text, zone) for text in _texts(source, key.tag, "DT")]
        moments = [low(key.vr, text) for text in _texts(source, key.tag, key.vr)]
        if stored_zone is None or self._zone is None or stored_zone == self._zone:
            return moments
        return self._in_our_zone(key, moments, source, self._zone - stored_zone)

    @staticmethod
    def _in_our_zone(key: _Key, moments: list[str], source: Elements, minutes: int) -> list[str]:
        """Move dates and times, each with the other, to the time zone of the identifier."""
        others: list[str] = []
        if key.twin:
            vr = "TM" if key.vr == "DA" else "DA"
            others = [low(vr, text) for text in _texts(source, key.twin, vr)]
        if key.vr == "DA":
            if len(others) != len(moments):
                return moments  # without a time nothing says whether the day changes
            return [shifted(d + t, minutes)[:8] for d, t in zip(moments, others, strict=True)]
        if len(others) != len(moments):
            others = ["20000101"] * len(moments)  # the time moves by the same on any day
        return [shifted(d + t, minutes)[8:] for d, t in zip(others, moments, strict=True)]

    # ---- answering

    @quietly
    def respond(self, source: Elements) -> Dataset:
        """Build the response identifier for a data set that matched.

        The response has elements in common with the data set: encode it, do not change it.

        Returns:
            Every supported key with its stored value, empty where the value is unknown or cannot be
            read. Of sequences the items that match, with the keys of the item. (0008,0052) as
            requested, (0008,0005) when a value needs it, (0008,0201) when that was agreed.

        Source: PS3.4 C.4.1.1.3.2.
        """
        response = self._answer(source)
        if self._level is not None:
            response.add(self._level)
        if self._rules.timezone and (zone := source.get(_TIMEZONE)) is not None and zone.value:
            response.add(zone)
        declared = _declared(response, source)
        if declared:
            response.SpecificCharacterSet = declared
        return response

    def _answer(self, source: Elements) -> Dataset:
        from dimse_rs.encoding.library import Dataset

        answer = Dataset()
        for key in self._keys:
            answer.add(self._answered(key, source))
        return answer

    @staticmethod
    def _answered(key: _Key, source: Elements) -> DataElement:
        from dimse_rs.encoding.library import DataElement, Sequence, empty_value_for_VR

        if key.vr == "SQ":
            items, asked = _items(source, key.tag), key.item
            if asked is not None:
                items = [asked._answer(item) for item in items if asked.matches(item)]
            else:
                items = [_sendable(item) for item in items]
            return DataElement(key.tag, "SQ", Sequence(items))
        element = _stored_element(source, key.tag)
        if element is None or element.VR == "SQ" or len(element.VR) > 2 or _is_lost(element):
            return DataElement(key.tag, key.vr, empty_value_for_VR(key.vr))
        return element


def matches(identifier: Dataset, dataset: Elements, *, rules: Rules = QUERY) -> bool:
    """Tell whether a data set matches an identifier.

    Args:
        identifier: the keys: single values, lists of UIDs, wild cards, ranges, sequences.
        dataset: the stored attributes; those that it lacks count as unknown.
        rules: of matching, as agreed.

    Raises:
        IdentifierError: the identifier cannot be served.

    Source: PS3.4 C.2.2.2.
    """
    return Matcher(identifier, rules).matches(dataset)


def respond(
    identifier: Dataset,
    dataset: Elements,
    *,
    rules: Rules = QUERY,
    supported: Callable[[int], bool] | None = None,
) -> Dataset:
    """Build the response identifier for a data set that matched; see `Matcher.respond`.

    Raises:
        IdentifierError: the identifier cannot be served.
    """
    return Matcher(identifier, rules, supported=supported).respond(dataset)


# ---- elements of pydicom, decoded or not, and fit to be sent or not


def _readable(tag: int, read: Callable[[], Any]) -> Any:
    """Read from an identifier; any exception of pydicom means that the value is malformed."""
    with suppress(Exception):
        return read()
    raise _wrong(tag, "cannot be read")  # without pydicom's message, which has the value in it


def _element(identifier: Dataset, tag: int) -> DataElement | None:
    found: DataElement | None = _readable(tag, lambda: identifier.get(tag))
    return found


def _stored_element(source: Elements, tag: int) -> DataElement | None:
    try:
        found: DataElement | None = source.get(tag)
    except Exception:  # a value that pydicom cannot decode counts as unknown
        return None
    return found


def _is_lost(element: DataElement) -> bool:
    """Whether an element has text that a response cannot carry as it was stored.

    pydicom has replaced bytes that their character set does not have (PS3.5 6.1), left an escape
    sequence in the text, or read characters beyond ASCII in a VR that allows only those.
    """
    value = element.value
    if not value or element.VR not in _CHARACTERS:
        return False
    several = hasattr(value, "append") or isinstance(value, tuple)
    return any(_is_lost_text(str(one), element.VR) for one in (value if several else (value,)))


def _is_lost_text(text: str, vr: str) -> bool:
    if text.isascii():
        return "\x1b" in text
    return vr not in _TEXT or "\ufffd" in text


def _sendable(item: Dataset, depth: int = 0) -> Dataset:
    """Give an item of a stored sequence, without the values that a response cannot carry."""
    from dimse_rs.encoding.library import DataElement, Dataset, Sequence, empty_value_for_VR

    answer = Dataset()
    for tag in item.keys():  # noqa: SIM118 - iterating gives elements, and decodes them
        element = _stored_element(item, tag)
        if element is not None and element.VR == "SQ" and depth < _DEEPEST:
            items = Sequence(_sendable(one, depth + 1) for one in element.value or ())
            element = DataElement(tag, "SQ", items)
        elif element is not None and _is_lost(element):
            element = DataElement(tag, element.VR, empty_value_for_VR(element.VR))
        if element is not None:
            answer.add(element)
    return answer


def _texts(source: Elements, tag: int, vr: str) -> list[str]:
    element = _stored_element(source, tag)
    return [] if element is None or element.VR == "SQ" else texts(element.value, vr)


def _items(source: Elements, tag: int) -> list[Dataset]:
    element = _stored_element(source, tag)
    return [] if element is None or element.VR != "SQ" else list(element.value or ())


def _wrong(tag: int, what: str) -> IdentifierError:
    return IdentifierError(DOES_NOT_MATCH, f"{_name_of(tag)} {what}", tag)


def _name_of(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _vr_of(tag: int) -> str:
    """Give the VR of an attribute, the first where there is a choice; "" when it is unknown."""
    from dimse_rs.encoding.library import dictionary_VR

    try:
        return "" if tag >> 16 & 1 else dictionary_VR(tag)[:2]
    except KeyError:
        return ""


def _twin_of(tag: int, vr: str) -> int:
    """Give the time that goes with a date, the date that goes with a time, or 0."""
    from dimse_rs.encoding.library import keyword_for_tag, tag_for_keyword

    ends = {"DA": ("Date", "Time"), "TM": ("Time", "Date")}.get(vr)
    keyword = keyword_for_tag(tag)
    if ends is None or not keyword.endswith(ends[0]):
        return 0
    twin = tag_for_keyword(keyword.removesuffix(ends[0]) + ends[1])
    return twin if twin is not None and _vr_of(twin) in ("DA", "TM") else 0


def _form(key: str) -> str:
    """Give the form of a range, the ends that it has; empty for a single value."""
    start, hyphen, end = key.partition("-")
    return ("a" if start.strip() else "") + hyphen + ("b" if end.strip() else "") if hyphen else ""


def _zone_of(source: Elements) -> int | None:
    zones = _texts(source, _TIMEZONE, "SH")
    return offset(zones[0]) if zones else None


# ---- character sets


def _declared(response: Dataset, source: Elements) -> str | list[str]:
    """Choose (0008,0005) for a response: none for ASCII, the stored value if it suffices, or UTF-8.

    The texts of a response come from several levels, so from instances that may have declared
    different character sets. The stored declaration is kept where it holds them all, because a
    peer that asks in one character set may read no other.
    """
    beyond = {char for text in _all_texts(response, 0) for char in text if not char.isascii()}
    if not beyond:
        return ""
    declared = _texts(source, _CHARACTER_SET, "CS")
    if declared and declared != ["ISO_IR 6"] and _encodes(declared, beyond):
        # An empty first value says that the default repertoire is extended (PS3.3 C.12.1.1.2).
        element = source.get(_CHARACTER_SET)
        values = element.value
        return values if isinstance(values, str) else list(values)
    return "ISO_IR 192"


def _all_texts(dataset: Dataset, depth: int) -> Iterator[str]:
    for tag in dataset.keys():  # noqa: SIM118 - iterating gives elements, and decodes them
        element = _stored_element(dataset, tag)
        if element is None:
            continue
        if element.VR == "SQ":
            if depth < _DEEPEST:
                for item in element.value or ():
                    yield from _all_texts(item, depth + 1)
        elif element.VR in _TEXT and element.value:
            yield str(element.value)


def _encodes(declared: list[str], chars: set[str]) -> bool:
    from dimse_rs.encoding.library import python_encoding

    encodings = [python_encoding.get(name, "ascii") for name in declared]
    return all(any(_encodes_one(char, encoding) for encoding in encodings) for char in chars)


def _encodes_one(char: str, encoding: str) -> bool:
    try:
        char.encode(encoding)
    except (UnicodeError, LookupError):
        return False
    return True
