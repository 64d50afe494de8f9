"""Data classes that cost little to define: those of `dataclasses`, made without importing it.

`dataclasses` imports `inspect`, and compiles six methods for each class: with forty classes most of
what `from dimse_rs import AE` took. Here the methods are shared, and `__init__` is compiled when a
class is used first. For type checkers, for `fields`, `replace` and `asdict`, and in all that a user
sees, the classes are those of the standard library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass, field as field

__all__ = ["dataclass", "field", "names_of"]


class _Missing:
    """Stands for a value that is not given."""

    def __repr__(self) -> str:
        return "<factory>"  # in signatures, as those of `dataclasses` have it


MISSING: Final = _Missing()


class Field:
    """What is known of a field.

    Attributes:
        default: of the parameter; MISSING when there is none, or when `factory` makes the value.
        factory: makes the value when it is not given.
        init, repr, compare, kw_only: as in `dataclasses.field`.
        annotation: the type, as it is written.
    """

    __slots__ = ("annotation", "compare", "default", "factory", "init", "kw_only", "repr")

    def __init__(
        self,
        *,
        default: Any = MISSING,
        default_factory: Callable[[], Any] | None = None,
        init: bool = True,
        repr: bool = True,
        compare: bool = True,
        kw_only: bool | None = None,
    ) -> None:
        self.default: Any = default
        self.factory: Callable[[], Any] | None = default_factory
        self.init: bool = init
        self.repr: bool = repr
        self.compare: bool = compare
        self.kw_only: bool | None = kw_only
        self.annotation: Any = None


class _Later:
    """An attribute of a class that is made when it is asked for first."""

    __slots__ = ("cls", "make", "name")

    def __init__(self, cls: type, name: str, make: Callable[[type], Any]) -> None:
        self.cls, self.name, self.make = cls, name, make

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        # Two threads may come here at once: what they make is equal, and either may stay.
        made = self.make(self.cls)
        setattr(self.cls, self.name, made)
        bind = getattr(made, "__get__", None)
        return made if bind is None else bind(instance, owner)


def _dataclass(
    cls: type | None = None,
    /,
    *,
    init: bool = True,
    eq: bool = True,
    frozen: bool = False,
    slots: bool = False,
    kw_only: bool = False,
) -> Any:
    """Do what `dataclasses.dataclass` does with the same arguments."""

    def make(cls: type) -> type:
        fields: dict[str, Field] = {}
        for base in reversed(cls.__mro__[1:]):
            fields |= base.__dict__.get("__record__", {})
        own = dict(_own_fields(cls, kw_only))
        added = _methods(fields | own, eq=eq, frozen=frozen, slots=slots)
        added = {name: value for name, value in added.items() if name not in cls.__dict__}
        added |= {"__record__": fields | own}
        cls = _with_slots(cls, own, fields, added) if slots else _with_defaults(cls, own, added)
        if init and "__init__" not in cls.__dict__:
            cls.__init__ = _Later(cls, "__init__", partial(_init, frozen=frozen))  # type: ignore[misc]
        for name in ("__dataclass_fields__", "__dataclass_params__"):
            setattr(cls, name, _Later(cls, name, partial(_standard, name=name, frozen=frozen)))
        return cls

    return make if cls is None else make(cls)


if not TYPE_CHECKING:
    dataclass, field = _dataclass, Field


def names_of(record: object) -> list[str]:
    """Give the names of the fields of a data class, or of one of its objects."""
    fields: dict[str, Field] = record.__record__  # type: ignore[attr-defined]
    return list(fields)


def _own_fields(cls: type, kw_only: bool) -> Iterator[tuple[str, Field]]:
    """Read the fields that the body of a class has."""
    for name, annotation in cls.__annotations__.items():
        if str(annotation).startswith("ClassVar"):
            continue
        default = cls.__dict__.get(name, MISSING)
        known = default if isinstance(default, Field) else Field(default=default)
        if type(known.default).__hash__ is None:
            raise ValueError(f"the default of {name} can be changed: use default_factory")
        known.annotation = annotation
        known.kw_only = kw_only if known.kw_only is None else known.kw_only
        yield name, known


def _with_slots(
    cls: type, own: Mapping[str, Field], inherited: Mapping[str, Field], added: Mapping[str, Any]
) -> type:
    """Make a class again with a slot for each field; a default would be in the way of its slot."""
    left_out = {*own, "__dict__", "__weakref__"}
    kept = {name: value for name, value in cls.__dict__.items() if name not in left_out}
    slots = {"__slots__": tuple(name for name in own if name not in inherited)}
    named = {"__qualname__": cls.__qualname__}
    return type(cls)(cls.__name__, cls.__bases__, {**kept, **added, **slots, **named})


def _with_defaults(cls: type, own: Mapping[str, Field], added: Mapping[str, Any]) -> type:
    for name, value in added.items():
        setattr(cls, name, value)
    for name, known in own.items():
        if known.default is not MISSING:
            setattr(cls, name, known.default)
        elif name in cls.__dict__:
            delattr(cls, name)
    return cls


def _methods(fields: Mapping[str, Field], *, eq: bool, frozen: bool, slots: bool) -> dict[str, Any]:
    """Give the methods of a data class but `__init__`, and what `match` looks at."""
    methods: dict[str, Any] = {"__repr__": _repr, "__replace__": _replace}
    methods["__match_args__"] = tuple(k for k, f in fields.items() if f.init and not f.kw_only)
    if eq:
        methods |= _comparison([name for name, known in fields.items() if known.compare], frozen)
    if frozen:
        methods |= {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}
    if frozen and slots:
        methods |= {"__getstate__": _state, "__setstate__": _set_state}
    return methods


def _comparison(names: Sequence[str], frozen: bool) -> dict[str, Any]:
    values: Callable[[object], Any] = attrgetter(*names) if names else lambda self: ()

    def equal(self: object, other: object) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return values(self) == values(other)

    return {"__eq__": equal, "__hash__": (lambda self: hash(values(self))) if frozen else None}


def _repr(self: Any) -> str:
    shown = [name for name, known in self.__record__.items() if known.repr]
    values = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
    return f"{type(self).__qualname__}({values})"


def _replace(self: Any, /, **changes: Any) -> Any:
    import dataclasses

    return dataclasses.replace(self, **changes)


def _is_fixed(self: Any, name: str) -> bool:
    """Whether a name cannot be set; a class made of a data class may have further ones."""
    return "__record__" in type(self).__dict__ or name in self.__record__


def _refuse_to_set(self: object, name: str, value: object) -> None:
    if _is_fixed(self, name):
        _refuse("assign to", name)
    object.__setattr__(self, name, value)


def _refuse_to_delete(self: object, name: str) -> None:
    if _is_fixed(self, name):
        _refuse("delete", name)
    object.__delattr__(self, name)


def _refuse(what: str, name: str) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot {what} field {name!r}")


# The default ones would set the attributes of a frozen object.
def _state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__record__]


def _set_state(self: Any, state: Sequence[Any]) -> None:
    for name, value in zip(self.__record__, state, strict=True):
        object.__setattr__(self, name, value)


def _init(cls: Any, frozen: bool) -> Any:
    """Compile `__init__`, so that objects are made as fast as those of a class written out."""
    known: dict[str, Any] = {"__name__": cls.__module__, "_put": object.__setattr__}
    known["_MISSING"] = MISSING
    parameters: dict[bool, list[str]] = {False: [], True: []}
    lines = []
    fields: dict[str, Field] = cls.__record__
    for name, field in fields.items():
        default, value = "", name
        if field.factory:
            known[f"_make_{name}"] = field.factory
            default, value = " = _MISSING", f"_make_{name}()"
            if field.init:
                value += f" if {name} is _MISSING else {name}"
        elif field.default is not MISSING:
            known[f"_default_{name}"] = field.default
            default = f" = _default_{name}"
        if field.init:
            parameters[bool(field.kw_only)].append(f"{name}{default}")
        if field.init or field.factory:
            lines.append(f"_put(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    by_name = ["*", *parameters[True]] if parameters[True] else []
    head = f"def __init__({', '.join(['self', *parameters[False], *by_name])}):"
    # The source has the names of fields and nothing else that is not written here.
    exec("\n ".join([head, *lines, "pass"]), known)  # noqa: S102
    function = known["__init__"]
    function.__qualname__ = f"{cls.__qualname__}.__init__"
    function.__annotations__ = {name: field.annotation for name, field in fields.items()}
    function.__annotations__ |= {"return": None}
    return function


def _standard(cls: Any, name: str, frozen: bool) -> Any:
    """Give an attribute that `dataclasses` gives to a class of these fields."""
    import dataclasses

    def field(known: Field) -> Any:
        names = ("init", "repr", "compare", "kw_only")
        options: dict[str, Any] = {name: getattr(known, name) for name in names}
        if known.factory:
            return dataclasses.field(default_factory=known.factory, **options)
        if known.default is not MISSING:
            return dataclasses.field(default=known.default, **options)
        return dataclasses.field(**options)

    fields = [(name, known.annotation, field(known)) for name, known in cls.__record__.items()]
    return getattr(dataclasses.make_dataclass(cls.__name__, fields, frozen=frozen), name)
