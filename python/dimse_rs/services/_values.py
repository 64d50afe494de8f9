"""Matching of one attribute: the values of a key against stored values (PS3.4 C.2.2.2).

Values are plain text here: `texts` makes text of what pydicom holds. A key of a peer costs no more
time than its length times that of the stored value: no regular expression that backtracks runs over
it, and `LONGEST` bounds the keys that are not looked up in a set.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

__all__ = [
    "EMPTY",
    "LONGEST",
    "MOMENTS",
    "MOST_GROUPS",
    "Interval",
    "Test",
    "interval",
    "key_test",
    "low",
    "offset",
    "patterns",
    "shifted",
    "texts",
    "wildcard",
    "within",
]

Test: TypeAlias = Callable[[Sequence[str]], bool]
"""Whether the values of a stored attribute match; called with at least one value."""
Interval: TypeAlias = tuple[str, str]
"""First and last moment, both included, as digits that compare as text."""

LONGEST: Final = 10240
"""Characters of all the values of one key that has wild cards or moments: the longest LT."""
MOST_GROUPS: Final = 3
"""Component groups of a person name (PS3.5 6.2.1); text behind the third is no group."""

WILDCARDS: Final = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
"""VRs that take wild card matching (PS3.4 C.2.2.2.4)."""
MULTIPLE: Final = frozenset(("AE", "AS", "AT", "CS", "LO", "PN", "SH", "UC"))
"""VRs that take multiple value matching (PS3.4 C.2.2.2.8)."""
EMPTY: Final = WILDCARDS | {"DA", "DT", "TM"}
"""VRs that take empty value matching (PS3.4 C.2.2.2.7)."""
MOMENTS: Final = frozenset(("DA", "DT", "TM"))
"""VRs that take range matching (PS3.4 C.2.2.2.5)."""

_LEADING_SPACES_COUNT: Final = frozenset(("LT", "ST", "UC", "UR", "UT"))  # PS3.5 Table 6.2-1


def texts(value: Any, vr: str) -> list[str]:
    """Give the values of an element as text without padding, without empty values.

    Texts of equal numbers are equal, and so are person names that differ in case alone.
    """
    if value is None:
        return []
    # pydicom's lists are no `Sequence` by name, but they can be appended to; so can a bytearray.
    if (hasattr(value, "append") and not isinstance(value, bytearray)) or isinstance(value, tuple):
        return [text for one in value if (text := _text(one, vr))]
    text = _text(value, vr)
    return [text] if text else []


def _text(value: Any, vr: str) -> str:
    if isinstance(value, bytes | bytearray):
        return value.decode("latin-1").rstrip("\0 ")
    if isinstance(value, int):  # also AT and IS, whose text has several forms
        return str(int(value))
    if isinstance(value, float):
        return repr(float(value))
    text = str(value)
    if vr in _LEADING_SPACES_COUNT:
        return text.rstrip("\0 ")
    text = text.strip("\0 ")
    return text.casefold() if vr == "PN" else text


def key_test(
    vr: str, keys: Sequence[str], *, all_of_them: bool = False, zone: int = 0
) -> Test | None:
    """Make the test of one key; None when the key is universal.

    Args:
        vr: other than SQ.
        keys: the values of the key, from `texts`. One of them has to match, as list of UID matching
            has it; the same is customary for other VRs.
        all_of_them: multiple value matching: each of them has to be among the stored ones.
        zone: minutes east of UTC of a DT without an offset.

    Raises:
        ValueError: the key is longer than `LONGEST`.
    """
    if not keys or (vr != "UI" and (all if all_of_them else any)(not k.strip("*") for k in keys)):
        return None
    # From here on the cheap tests, whose cost does not depend on the number of keys, come first; a
    # list of 64,000 UIDs is one of them, so that `LONGEST` need not bound it.
    if vr != "UI" and vr not in WILDCARDS and vr not in MOMENTS:
        return _one_of(keys)
    if all_of_them and len(keys) > 1 and vr in MULTIPLE and vr != "PN":
        wanted = frozenset(keys)
        return lambda stored: wanted.issubset(stored)
    if vr == "UI" or (vr in WILDCARDS and vr != "PN" and not any(_is_wild(key) for key in keys)):
        return _one_of(keys)
    if sum(map(len, keys)) > LONGEST:
        raise ValueError(f"a key of more than {LONGEST} characters")
    if vr in MOMENTS:
        return within(interval(vr, key, zone) for key in keys)
    ones = [_name(key) if vr == "PN" else wildcard(key) for key in keys]
    if all_of_them and len(keys) > 1:
        return lambda stored: all(any(map(one, stored)) for one in ones)
    return lambda stored: any(one(text) for one in ones for text in stored)


def patterns(vr: str, keys: Sequence[str]) -> int:
    """Count the values of a key that are compared one by one: wild cards, names and moments."""
    one_by_one = vr in MOMENTS or vr == "PN" or (vr in WILDCARDS and any(map(_is_wild, keys)))
    return len(keys) if one_by_one else 0


def _one_of(keys: Sequence[str]) -> Test:
    wanted = frozenset(keys)
    return lambda stored: not wanted.isdisjoint(stored)


# ---- wild cards and names


def _is_wild(key: str) -> bool:
    return "*" in key or "?" in key


def wildcard(pattern: str) -> Callable[[str], bool]:
    """Make the test for a text with `*` (any run) and `?` (any one character), PS3.4 C.2.2.2.4.

    Each piece between two stars is found at its first occurrence behind the piece before. That is
    never wrong: an earlier end leaves more text for the pieces that follow, so that no choice has
    to be taken back, as a backtracking expression would.
    """
    if not _is_wild(pattern):
        return pattern.__eq__
    head, *middle = pattern.split("*")
    if not middle:
        return lambda text: len(text) == len(head) and _is_at(text, 0, head)
    tail = middle.pop()
    finders = [_finder(piece) for piece in middle if piece]
    shortest = len(head) + sum(map(len, middle)) + len(tail)

    def matches(text: str) -> bool:
        start, stop = len(head), len(text) - len(tail)
        if len(text) < shortest or not (_is_at(text, 0, head) and _is_at(text, stop, tail)):
            return False
        for find in finders:
            start = find(text, start, stop)
            if start < 0:
                return False
        return True

    return matches


def _is_at(text: str, start: int, piece: str) -> bool:
    return all(
        wanted in ("?", found)
        for wanted, found in zip(piece, text[start : start + len(piece)], strict=True)
    )


def _finder(piece: str) -> Callable[[str, int, int], int]:
    """Make the search for the end of the first occurrence of a piece in text[start:stop]."""
    if "?" not in piece:

        def find(text: str, start: int, stop: int) -> int:
            at = text.find(piece, start, stop)
            return -1 if at < 0 else at + len(piece)

        return find

    # Shift-and: bit n says that the first n + 1 characters of the piece end here.
    anything = sum(1 << n for n, char in enumerate(piece) if char == "?")
    masks: dict[str, int] = {}
    for n, char in enumerate(piece):
        masks[char] = masks.get(char, anything) | 1 << n
    masks.pop("?")
    whole = 1 << len(piece) - 1

    def find_shifting(text: str, start: int, stop: int) -> int:
        state = 0
        for at in range(start, stop):
            state = (state << 1 | 1) & masks.get(text[at], anything)
            if state & whole:
                return at + 1
        return -1

    return find_shifting


def _name(key: str) -> Callable[[str], bool]:
    """Make the test for a person name: component groups apart, PS3.4 C.2.2.2 and PS3.5 6.2.1.

    A key of one group may match any group of the stored name; a key of several groups matches group
    by group, and an empty group matches every stored one. `texts` has folded the case already.
    """
    groups = [wildcard(bare) if (bare := _bare(group)) else None for group in key.split("=")]
    if len(groups) == 1:
        only = groups[0]
        return lambda stored: only is None or any(only(_bare(g)) for g in _groups(stored))

    def matches(stored: str) -> bool:
        found = _groups(stored)
        return all(
            group is None or group(_bare(found[n]) if n < len(found) else "")
            for n, group in enumerate(groups)
        )

    return matches


def _groups(stored: str) -> list[str]:
    return stored.split("=", MOST_GROUPS)[:MOST_GROUPS]


def _bare(group: str) -> str:
    """Drop the spaces around components and the empty components at the end."""
    return "^".join(part.strip() for part in group.split("^")).rstrip("^")


# ---- dates and times

_DATE: Final = re.compile(r"[0-9]{4}(?:[0-9]{2}){0,2}|[0-9]{4}\.[0-9]{2}\.[0-9]{2}")
_TIME: Final = re.compile(
    r"[0-9]{2}(?:[0-9]{2}(?:[0-9]{2}(?:\.[0-9]{1,6})?)?)?"
    r"|[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
)
_MOMENT: Final = r"[0-9]{4}(?:[0-9]{2}){0,5}(?:\.[0-9]{1,6})?(?:[+-][0-9]{4})?"
_DATE_TIME: Final = re.compile(_MOMENT)
# The hyphen of a range is the one that leaves a moment, or nothing, on either side.
_DATE_TIMES: Final = re.compile(rf"({_MOMENT})?-({_MOMENT})?")
_OFFSET: Final = re.compile(r"([+-])([0-9]{2})([0-9]{2})")

_FIRST: Final = {"DA": "00000101", "TM": "000000000000", "DT": "00000101000000000000"}
_LAST: Final = {"DA": "99991231", "TM": "235959999999", "DT": "99991231235959999999"}
# All moments are digits of one length, so that they compare as text. These stand before and after
# everything that `low` gives, but for "", which is no moment.
_EVER: Final = ("0", "~")
_NEVER: Final = ("~", "0")


def within(intervals: Iterable[Interval]) -> Test:
    """Make the test whether a stored moment, as `low` gives it, lies in one of the intervals."""
    bounds = tuple(intervals)
    return lambda stored: any(first <= at <= last for first, last in bounds for at in stored)


def interval(vr: str, key: str, zone: int = 0) -> Interval:
    """Give the moments that a key of VR DA, TM or DT matches; a malformed key matches none.

    A single value matches one moment: 2230 is 223000. The end of a range that leaves out minutes or
    days includes them all.

    Args:
        vr: DA, TM or DT.
        key: a single value or a range.
        zone: minutes east of UTC of a DT without an offset.

    Source: PS3.4 C.2.2.2.1 and C.2.2.2.5.
    """
    if "-" not in key:
        return (at, at) if (at := low(vr, key, zone)) else _NEVER
    if vr == "DT":
        found = _DATE_TIMES.fullmatch(key)
        if found is None:
            return _NEVER  # also a single value west of UTC, which the standard rules out
        start, end = found[1] or "", found[2] or ""
    else:
        start, _, end = (part.strip() for part in key.partition("-"))
    first = low(vr, start, zone) if start else _EVER[0]
    last = low(vr, end, zone, fill=_LAST) if end else _EVER[1]
    return (first, last) if first and last else _NEVER


def low(vr: str, text: str, zone: int = 0, *, fill: dict[str, str] = _FIRST) -> str:
    """Give a moment as digits of full length: 8 of DA, 12 of TM, 20 of DT in UTC; "" if malformed.

    Args:
        vr: DA, TM or DT.
        text: one value; the forms of ACR-NEMA 2.0 with dots and colons are understood.
        zone: minutes east of UTC of a DT without an offset.
        fill: digits for the parts left out.
    """
    pattern = {"DA": _DATE, "TM": _TIME}.get(vr, _DATE_TIME)
    if not pattern.fullmatch(text):
        return ""
    if vr == "DT" and text[-5:-4] in ("+", "-"):
        zone = offset(text[-5:]) or 0
        text = text[:-5]
    if "." in text and vr == "DT" and text.index(".") != 14:
        return ""
    digits = text.replace(".", "").replace(":", "")
    full = digits + fill[vr][len(digits) :]
    # The end of a range of months ends with the last day of that month.
    if fill is _LAST and vr != "TM" and len(digits) == 6 and 1 <= int(digits[4:]) <= 12:
        days = calendar.monthrange(max(int(digits[:4]), 1), int(digits[4:]))[1]
        full = f"{digits}{days:02}{full[8:]}"
    return shifted(full, -zone) if zone and vr == "DT" else full


def shifted(moment: str, minutes: int) -> str:
    """Move a moment of 20 digits; "" when there is no such date."""
    try:
        at = (
            datetime(
                int(moment[:4]),
                int(moment[4:6]),
                int(moment[6:8]),
                int(moment[8:10]),
                int(moment[10:12]),
                min(int(moment[12:14]), 59),  # 60 is a leap second, which `datetime` lacks
                int(moment[14:20]),
            )
            + timedelta(minutes=minutes)
        )
    except (ValueError, OverflowError):
        return ""
    return f"{at.year:04}{at.month:02}{at.day:02}{at:%H%M%S%f}"


def offset(text: str) -> int | None:
    """Read an offset from UTC such as -0500, in minutes; None for any other text (PS3.5 6.2)."""
    found = _OFFSET.fullmatch(text)
    if found is None:
        return None
    minutes = int(found[2]) * 60 + int(found[3])
    return -minutes if found[1] == "-" else minutes
