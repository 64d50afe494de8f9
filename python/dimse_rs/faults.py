"""How the log shows an exception: its place, but no text that a library wrote.

The text of a library may quote a value: pydicom quotes a value that it cannot read, a database
driver the key that exists already. Such values are those of patients. The text of an exception that
the user's own code raised is the user's own choice, and is shown.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Final

from .errors import DimseError

__all__ = ["FAULTS", "told"]

_OURS: Final = __name__.partition(".")[0]

# Between this package and the user's function there may be frames of these; none is the user's.
_LIBRARIES: Final = frozenset(("pydicom", "numpy", *sys.stdlib_module_names))

_INSTALLED: Final = ("site-packages", "dist-packages")

_WITHHELD: Final = "text not shown: it may hold values of a data set"


def told(error: BaseException) -> str:
    """Format an exception, without any part that may hold values of a patient."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    users = _root_of_user(frames)
    lines: list[str] = []
    if frames:
        # The user's own part of the traceback: what this package does to call a handler is noise.
        first = next((i for i, frame in enumerate(frames) if _root(frame) == users), 0)
        lines.append("Traceback (most recent call last):\n")
        lines += traceback.format_tb(error.__traceback__)[first:]
    if _may_be_shown(error, frames[-1] if frames else None, users):
        lines += traceback.format_exception_only(error)
    else:
        lines.append(f"{_name(error)} ({_WITHHELD})\n")
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            lines += [f"  | {line}\n" for line in told(one).splitlines()]
    lines += [
        f"caused by {_name(cause)}{_place(cause)} ({_WITHHELD})\n" for cause in _causes(error)
    ]
    return "".join(lines).rstrip("\n")


def _root_of_user(frames: list[FrameType]) -> str:
    """Name the package of the user's function: the first that is neither ours nor a library."""
    for frame in frames:
        root = _root(frame)
        if root != _OURS and root not in _LIBRARIES:
            return root
    return ""


def _may_be_shown(error: BaseException, last: FrameType | None, users: str) -> bool:
    """Whether the text is of this package, of the user, or of the system about a file."""
    if isinstance(error, DimseError):
        return True
    if isinstance(error, OSError) and type(error).__module__ == "builtins":
        return True
    if last is None:
        return False
    root = _root(last)
    if root in (_OURS, users):
        return True
    installed = any(part in last.f_code.co_filename for part in _INSTALLED)
    return root not in _LIBRARIES and not installed


def _root(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _name(error: BaseException) -> str:
    kind = type(error)
    hidden = kind.__module__ in ("builtins", "__main__")
    return kind.__qualname__ if hidden else f"{kind.__module__}.{kind.__qualname__}"


def _place(error: BaseException) -> str:
    stack = traceback.extract_tb(error.__traceback__)
    return f", {stack[-1].filename}:{stack[-1].lineno}" if stack else ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give the chain of `__cause__` and `__context__`, each exception once even in a ring."""
    seen = {id(error)}
    while True:
        cause = error.__cause__
        if cause is None and not error.__suppress_context__:
            cause = error.__context__
        if cause is None or id(cause) in seen:
            return
        seen.add(id(cause))
        yield cause
        error = cause


class _Faults(logging.Filter):
    """Makes formatters print an exception by `told`; `exc_info` stays what it was."""

    def filter(self, record: logging.LogRecord) -> bool:
        # A formatter that finds `exc_text` prints that, and does not format `exc_info` itself.
        if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
            record.exc_text = told(record.exc_info[1])
        return True


FAULTS: Final = _Faults()
"""A filter for the loggers of this package."""
