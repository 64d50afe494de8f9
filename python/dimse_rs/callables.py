"""Checks of handlers: of the function when it is added, and of the results that it gives.

Results in pynetdicom's forms are accepted where they are clear: pairs of a status and a data set, a
last pair of a status and None, statuses in a data set, and a count before the instances.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from .fields import (
    C_ECHO_RQ,
    C_FIND_RQ,
    C_GET_RQ,
    C_MOVE_RQ,
    C_STORE_RQ,
    N_DELETE_RQ,
    N_GET_RQ,
    SERVICE_OF,
)

__all__ = [
    "check_face",
    "check_function",
    "check_handler",
    "described",
    "fault_of_arguments",
    "gives",
    "is_asynchronous",
    "is_code",
    "is_data_set",
    "is_pydicom",
    "name_of",
    "status_and_elements",
]

_STATUS: Final = "None for Success, or a status"
_INSTANCES: Final = (
    "an iterable of instances (paths, data sets, Part 10 files as bytes), or"
    " Retrieve(count, instances)"
)
_GIVES: Final = {
    C_ECHO_RQ: _STATUS,
    C_STORE_RQ: _STATUS,
    N_DELETE_RQ: _STATUS,
    C_FIND_RQ: (
        "an iterable of data sets or mappings, or of pairs of the status 0xFF00 or 0xFF01 and one"
    ),
    C_GET_RQ: _INSTANCES,
    C_MOVE_RQ: _INSTANCES,
    N_GET_RQ: "a data set or a mapping, or a pair of a status and one",
}
_OF_N_SERVICES: Final = "None, a status, a data set or a mapping, or a pair of a status and one"


T = TypeVar("T")


def gives(field: int) -> str:
    """Describe the results of a handler, for a message."""
    return f"a handler of {SERVICE_OF[field]} gives {_GIVES.get(field, _OF_N_SERVICES)}"


def unchanged(function: T) -> T:
    """Give a function as it is: stands for a decorator that is for type checkers alone."""
    return function


def check_handler(field: int, handler: Any, *, asynchronous: bool) -> None:
    """Check that a function can be the handler of a service.

    Raises:
        TypeError: the object cannot be called, or not with one argument, or is asynchronous where
            there is no event loop.
    """
    service = SERVICE_OF[field]
    if not callable(handler):
        raise TypeError(
            f"got {described(handler)}; a handler of {service} is a function of the request"
        )
    name = name_of(handler)
    if not asynchronous and is_asynchronous(handler):
        raise TypeError(
            f"{name} is asynchronous: such handlers of {service} are for an AsyncServer, or an"
            " association of associate_async"
        )
    if fault := fault_of_arguments(handler):
        raise TypeError(
            f"a handler of {service} is called with one argument, the request; {name}: {fault}"
        )


def check_function(name: str, function: Any, *arguments: str, asynchronous: bool = False) -> None:
    """Check that a function for a ready-made service can be called, on a thread.

    Args:
        name: the name of the setting, for the message.
        function: the value of the setting.
        arguments: the names of the arguments that the function is called with.
        asynchronous: whether an `async` function is awaited.

    Raises:
        TypeError: the object cannot be called, or not with these arguments, or is asynchronous and
            would never run.
    """
    if not callable(function):
        raise TypeError(f"{name}= is a function, not {described(function)}")
    if not asynchronous and is_asynchronous(function):
        raise TypeError(f"{name}= is asynchronous, and is called on a thread, which awaits nothing")
    if fault := fault_of_arguments(function, len(arguments)):
        given = ", ".join(arguments) or "nothing"
        raise TypeError(f"{name}= is called with {given}: {fault}")


def check_face(association: object, twin: str, *, asynchronous: bool = False) -> None:
    """Check that an association is for a function that blocks, or for one that is awaited.

    Args:
        association: what the function was given.
        twin: the function for the other kind of association, for the message.
        asynchronous: whether the function is awaited.

    Raises:
        TypeError: the association is of the other kind; nothing was sent.
    """
    import inspect

    echo = getattr(type(association), "c_echo", None)
    if echo is None or inspect.iscoroutinefunction(echo) == asynchronous:
        return
    what = type(association).__name__
    if asynchronous:
        raise TypeError(f"an {what} blocks, and nothing was sent: it is for {twin}")
    raise TypeError(f"an {what} is awaited, and nothing was sent: it is for `await {twin}`")


def fault_of_arguments(function: Callable[..., Any], count: int = 1) -> str:
    """Say why a function cannot be called with so many arguments; empty when it can."""
    import inspect

    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError as error:
        return str(error)
    except ValueError:
        pass  # a function in C without a signature: it is called, and then raises or not
    return ""


def name_of(function: Callable[..., Any]) -> str:
    """Name a function, or an object that can be called, as in its source."""
    return str(getattr(function, "__qualname__", type(function).__name__))


def is_asynchronous(function: Callable[..., Any]) -> bool:
    """Whether a call of a function has to be awaited, or iterated over asynchronously."""
    import inspect

    call = getattr(type(function), "__call__", None)  # noqa: B004 - its type's, not whether
    return any(
        inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one)
        for one in (function, call)
    )


def is_data_set(what: object) -> bool:
    """Whether an object is a data set, or a mapping that becomes one."""
    # By a method that only data sets have: an isinstance() would import pydicom.
    return is_pydicom(what) or isinstance(what, Mapping)


def is_pydicom(what: object) -> bool:
    """Whether something is a data set of pydicom, which is not imported to find that out."""
    return hasattr(what, "to_json_dict")


def is_code(what: object) -> bool:
    """Whether an object is a number, and no truth value."""
    return isinstance(what, int) and not isinstance(what, bool)


def status_and_elements(what: Any) -> tuple[int, dict[str, Any]] | None:
    """Read a status: a number, or a data set of command elements with one; None when it is none."""
    if is_code(what):
        return int(what), {}
    if not is_pydicom(what) or "Status" not in what:
        return None
    if any(tag >> 16 for tag in what.keys()):  # noqa: SIM118 - pydicom's iterator decodes
        return None
    elements = {element.keyword: element.value for element in what if element.tag.element > 0x0900}
    return int(what.Status), elements


def described(what: object) -> str:
    """Describe an object for a message: numbers and tuples by value, other objects by type.

    Other objects may hold values of a patient, and messages go into the log.
    """
    if what is None or isinstance(what, bool):
        return repr(what)
    if isinstance(what, int):
        return f"0x{what:04X}" if what >= 0 else str(what)
    if isinstance(what, tuple) and len(what) < 5:
        return f"({', '.join(described(one) for one in what)})"
    kind = type(what).__name__
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"
