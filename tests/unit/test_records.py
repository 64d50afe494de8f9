"""Data classes of `records` against those of the standard library: a user sees no difference."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from dimse_rs import AE, Peer, Timeouts, UsernamePasscode, records

# The same bodies, decorated by ours and by the standard library's.


def classes(dataclass, field):
    @dataclass(frozen=True, slots=True)
    class Point:
        """A point."""

        kind: ClassVar[str] = "point"

        x: int
        y: int = 2
        tags: list[str] = field(default_factory=list, kw_only=True)
        secret: str = field(default="s", repr=False, compare=False)

        def __post_init__(self):
            object.__setattr__(self, "x", int(self.x))

    @dataclass(frozen=True, slots=True)
    class Point3(Point):
        """With a third dimension."""

        z: int = 3

        def __repr__(self):
            return "mine"

    @dataclass(slots=True)
    class Mutable:
        """Can be changed, so has no hash."""

        a: int
        b: dict[str, int] = field(default_factory=dict, init=False)

    @dataclass(slots=True, eq=False)
    class ByIdentity:
        """Equal to itself alone."""

        a: int = 1

    @dataclass(frozen=True, slots=True, kw_only=True)
    class ByName:
        """Arguments by name alone."""

        b: int = 2
        a: int

    @dataclass(frozen=True)
    class Open:
        """Without slots: a default is an attribute of the class."""

        a: int
        b: int = 5

    @dataclass(slots=True, init=False)
    class Own:
        """With an `__init__` of its own."""

        a: int

        def __init__(self, text):
            self.a = int(text)

    @dataclass
    class Empty:
        """Without a field."""

    return {cls.__name__: cls for cls in (v for v in locals().values() if isinstance(v, type))}


OURS = classes(records.dataclass, records.field)
THEIRS = classes(dataclasses.dataclass, dataclasses.field)
MADE = {
    "Point": [((1,), {}), (("7", 8), {"tags": ["t"], "secret": "x"}), ((1, 2), {}), ((1, 3), {})],
    "Point3": [((1, 2), {}), ((1,), {"z": 4})],
    "Mutable": [((1,), {}), ((2,), {})],
    "ByIdentity": [((), {}), ((1,), {})],
    "ByName": [((), {"a": 1}), ((), {"a": 1, "b": 3})],
    "Open": [((1,), {}), ((1, 2), {})],
    "Own": [(("3",), {})],
    "Empty": [((), {})],
}
each = pytest.mark.parametrize("name", MADE)


def both(name):
    return [
        [cls(*args, **named) for args, named in MADE[name]] for cls in (OURS[name], THEIRS[name])
    ]


def outcome(function, *args, **named):
    try:
        return function(*args, **named)
    except Exception as error:
        return type(error), str(error)


@each
def test_objects_look_alike(name):
    ours, theirs = both(name)
    assert [*map(repr, ours)] == [*map(repr, theirs)]
    assert [*map(dataclasses.asdict, ours)] == [*map(dataclasses.asdict, theirs)]
    for cls in (OURS[name], THEIRS[name]):
        assert dataclasses.is_dataclass(cls)
    assert str(inspect.signature(OURS[name])) == str(inspect.signature(THEIRS[name]))
    for attribute in ("__match_args__", "__slots__", "__doc__", "__module__", "__qualname__"):
        assert getattr(OURS[name], attribute, None) == getattr(THEIRS[name], attribute, None)
    assert hasattr(OURS[name], "b") == hasattr(THEIRS[name], "b")


@each
def test_fields_are_those_of_the_standard_library(name):
    def described(cls):
        skipped = ("_field_type", "metadata")
        return [
            {k: getattr(f, k) for k in f.__slots__ if k not in skipped}
            for f in dataclasses.fields(cls)
        ]

    def plain(found):  # the signs for "no value" are compared by name
        return [{k: repr(v).split(" at ")[0] for k, v in f.items()} for f in found]

    assert plain(described(OURS[name])) == plain(described(THEIRS[name]))
    assert records.names_of(OURS[name]) == [f.name for f in dataclasses.fields(THEIRS[name])]


@each
def test_comparisons_agree(name):
    ours, theirs = both(name)
    pairs = [(a, b) for a in range(len(ours)) for b in range(len(ours))]
    assert [ours[a] == ours[b] for a, b in pairs] == [theirs[a] == theirs[b] for a, b in pairs]
    assert (ours[0] == theirs[0]) is False
    assert (ours[0].__hash__ is None) == (theirs[0].__hash__ is None)
    if ours[0].__hash__ is not None and name not in ("Point", "Point3"):  # those have a list
        assert (hash(ours[0]) == hash(copy.copy(ours[0]))) == (
            hash(theirs[0]) == hash(copy.copy(theirs[0]))
        )
    assert outcome(lambda: hash(ours[0]) and 0) == outcome(lambda: hash(theirs[0]) and 0)


@each
def test_setting_and_deleting_fields_agree(name):
    attribute = records.names_of(OURS[name])[:1] or ["any"]
    for change in (
        lambda one: setattr(one, attribute[0], 9),
        lambda one: delattr(one, attribute[0]),
    ):
        ours, theirs = both(name)
        found = [outcome(change, one) for one in (ours[0], theirs[0])]
        assert found[0] == found[1]


@each
def test_wrong_arguments_are_refused_alike(name):
    for args, named in [((), {}), ((1,) * 9, {}), ((), {"strange": 1})]:
        ours, theirs = (repr(outcome(kind[name], *args, **named)) for kind in (OURS, THEIRS))
        assert ours.split(" at 0x")[0] == theirs.split(" at 0x")[0]


@each
def test_copies_and_replacements_agree(name):
    ours, theirs = both(name)
    for one in ours:
        assert repr(copy.copy(one)) == repr(copy.deepcopy(one)) == repr(one)
    for changes in ({}, {"a": 5}, {"x": 5}, {"b": {}}):
        of_both = [
            repr(outcome(dataclasses.replace, one, **changes)) for one in (ours[0], theirs[0])
        ]
        assert of_both[0] == of_both[1]
    if sys.version_info >= (3, 13):
        assert repr(copy.replace(ours[0])) == repr(copy.replace(theirs[0]))


@each
def test_a_subclass_may_have_further_attributes(name):
    args, named = MADE[name][0]
    one = type("Sub", (OURS[name],), {})(*args, **named)
    one.further = 1
    assert one.further == 1
    del one.further
    assert not hasattr(one, "further")


def test_a_default_that_can_be_changed_is_refused():
    found = []
    for dataclass in (records.dataclass, dataclasses.dataclass):
        with pytest.raises(ValueError, match="default_factory"):

            @dataclass
            class Shared:
                values: list[int] = []  # noqa: RUF012 - the mistake

        found.append(1)
    assert found == [1, 1]


@pytest.mark.parametrize(
    "one",
    [
        AE("HERE", max_pdu=0, timeouts=Timeouts(dimse=3)),
        Peer("A", "host", 104),
        UsernamePasscode("bob", "x", in_clear=True),
    ],
)
def test_public_ones_are_copied_and_pickled(one):
    for made in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one), dataclasses.replace(one)):
        assert (made, hash(made), repr(made)) == (one, hash(one), repr(one))


def test_threads_that_use_a_class_first_at_once_agree():
    for _ in range(20):

        @records.dataclass(frozen=True, slots=True)
        class One:
            a: int
            b: int = 2

        with ThreadPoolExecutor(4) as pool:
            assert {repr(one) for one in pool.map(One, range(8))} == {
                repr(One(number)) for number in range(8)
            }
            assert len({id(f) for f in pool.map(lambda _: One.__init__, range(4))}) == 1
