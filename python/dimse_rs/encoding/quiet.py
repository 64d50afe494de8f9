"""Keeps values out of warnings and logs: pydicom emits neither while this package calls it.

pydicom's warnings have values in them, which may be a patient's. They go to standard error past
every log setting, and Python keeps the text of each. `warnings.catch_warnings` changes the whole
process; here one filter for pydicom's modules looks at the context of the call (a thread, or a task
of asyncio), so that the program's own calls of pydicom warn as before.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable
from contextvars import ContextVar, Token
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar, cast

__all__ = ["hush", "quiet", "quietly"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_within: ContextVar[bool] = ContextVar("dimse_rs.quiet", default=False)


class _Here:
    """Takes the place of the regular expression for modules in a filter of `warnings`."""

    @staticmethod
    def match(module: str) -> bool:
        return _within.get() and module.partition(".")[0] == "pydicom"


# Ignored warnings are the only ones that Python does not remember.
_FILTER: Final = ("ignore", None, Warning, _Here(), 0)

logging.getLogger("pydicom").addFilter(lambda _record: not _within.get())


_moving = threading.Lock()


def _renew_lock() -> None:
    global _moving
    _moving = threading.Lock()  # a thread of the parent may have held the lock at the fork


os.register_at_fork(after_in_child=_renew_lock)


def _put_first(filters: list[Any]) -> None:
    """Insert the filter in front and then remove it further back.

    In this order a thread that is inside pydicom at this moment always finds the filter.
    """
    with _moving:
        filters.insert(0, _FILTER)
        for place in range(len(filters) - 1, 0, -1):
            if filters[place] is _FILTER:
                del filters[place]


class quiet:  # noqa: N801 - a context manager, used as one
    """While it is entered, pydicom emits nothing in this context; any number may be nested."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        """Put the filter first, before the filters of the program, of which the first decides."""
        filters = cast("list[Any]", warnings.filters)
        if not filters or filters[0] is not _FILTER:
            _put_first(filters)
        self._before: Token[bool] = _within.set(True)

    def __exit__(self, *_raised: object) -> None:
        """Let pydicom warn and log again, unless an outer `quiet` is entered."""
        _within.reset(self._before)


def hush() -> None:
    """Keep pydicom quiet for the rest of this context, such as a task of this package."""
    with quiet():
        pass  # the filter is in place
    _within.set(True)


def quietly(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Have a function call pydicom without its warnings."""

    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        if _within.get():  # in a handler, where a search makes this call for every entity
            return function(*args, **kwargs)
        with quiet():
            return function(*args, **kwargs)

    return call
