"""Logging: the names of the loggers, and how the command line prints their records.

The package logs below "dimse_rs": at INFO the life of an association and one line per message, at
DEBUG decoded PDUs, command sets, state transitions and pending responses, at TRACE every PDU and
transition. Contents of data sets are not logged, nor what pydicom's messages quote of them. Records
carry `code`, a stable name of what happened, and where there is an association its number as
`association`, and its `peer`.

As long as a program does not configure logging, WARNING and above go to stderr, like those of
Python's own last resort. Any handler on the root logger or on one of these loggers ends that.
`to_stderr` is for programs; the `dimse` tools use it to print lines like DCMTK's.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO

from .faults import FAULTS

if TYPE_CHECKING:
    from . import _core

__all__ = [
    "ARCHIVE",
    "ASSOCIATION",
    "CLI",
    "DIMSE",
    "LEVELS",
    "PDU",
    "ROOT",
    "SERVER",
    "TRACE",
    "UL",
    "LineFormatter",
    "Log",
    "address",
    "get",
    "of",
    "to_stderr",
]

ROOT: Final = "dimse_rs"
ASSOCIATION: Final = "dimse_rs.association"
UL: Final = "dimse_rs.ul"
PDU: Final = "dimse_rs.pdu"
DIMSE: Final = "dimse_rs.dimse"
SERVER: Final = "dimse_rs.server"
ARCHIVE: Final = "dimse_rs.archive"
CLI: Final = "dimse_rs.cli"

TRACE: Final = 5
"""Below DEBUG: every P-DATA-TF and state transition."""

LEVELS: Final[dict[str, int]] = {
    "fatal": logging.CRITICAL,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}
"""DCMTK's names of the levels (`-ll`)."""


class _LastResort(logging.Handler):
    """Prints warnings and errors to stderr while no logging is configured.

    Not `logging.lastResort` itself: that prints neither the name nor the level.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        # Asked for each record: a program may configure logging after it has imported this package.
        if logging.lastResort is None or self._has_others(record.name):
            return
        try:
            if sys.stderr is not None:
                sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)

    def _has_others(self, name: str) -> bool:
        """Whether a handler of the application gets this record too."""
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return True
            logger = logger.parent if logger.propagate else None
        return False


logging.getLogger(ROOT).addHandler(_LastResort())


class Log(logging.LoggerAdapter[logging.Logger]):
    """A logger of this package: each of its records has the same attributes."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Fill in what a call leaves out."""
        # A formatter may name these attributes: a record without one of them would not be printed.
        extra = {"association": None, "peer": None, "code": None, **(kwargs.get("extra") or {})}
        return msg, {**kwargs, "extra": extra}


def get(name: str = ROOT) -> Log:
    """Get a logger by one of the names above."""
    logger = logging.getLogger(name)
    # On the logger, so that all handlers get the same text. Adding a filter twice changes nothing.
    logger.addFilter(FAULTS)
    return Log(logger, {})


def of(core: _core.Association, code: str) -> dict[str, Any]:
    """Give the attributes of a record about an association."""
    return {"association": core.id, "peer": address(core.peer), "code": code}


class Located(Protocol):
    """A peer, or where one is."""

    @property
    def host(self) -> str:
        """The IP address, or a name."""

    @property
    def port(self) -> int:
        """The TCP port."""


def address(peer: Located | None) -> str | None:
    """Write where a peer is as one text."""
    return None if peer is None else where(peer.host, peer.port)


def where(host: str, port: int) -> str:
    """Write host and port as one text, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class LineFormatter(logging.Formatter):
    """Lines like DCMTK's: `I: text`, with the letter before every line of a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Put the letter of the level before each line."""
        letter = _letter(record.levelno)
        text = super().format(record)
        return "\n".join(f"{letter}: {line}" for line in text.split("\n"))


def _letter(level: int) -> str:
    # From the highest level down: the first one that the record reaches gives the letter.
    for name, least in LEVELS.items():
        if level >= least:
            return name[0].upper()
    return "T"


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to whatever `sys.stderr` is now, so that redirecting it works."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError("always sys.stderr")


def to_stderr(level: int | str = "warn", *, quiet: bool = False) -> logging.Handler:
    """Print the log of this package to stderr; a call replaces the choice of an earlier one.

    Args:
        level: the least level to print, as a number or one of `LEVELS`; "warning" and "critical"
            are understood too.
        quiet: print nothing at all, not even errors.

    Returns:
        The handler, which a program can remove.

    Raises:
        ValueError: no such level.
    """
    number = _level(level)
    logger = logging.getLogger(ROOT)
    for old in [h for h in logger.handlers if isinstance(h, _Stderr)]:
        logger.removeHandler(old)
    handler = _Stderr()
    handler.setFormatter(LineFormatter())
    handler.setLevel(logging.CRITICAL + 1 if quiet else number)
    logger.addHandler(handler)
    # The level of the logger decides which events the core makes at all: see `wanted_by_logs`.
    logger.setLevel(logging.CRITICAL + 1 if quiet else number)
    logger.propagate = False  # or handlers of the root logger would print each record again
    return handler


def _level(level: int | str) -> int:
    if not isinstance(level, str):
        return level
    name = {"warning": "warn", "critical": "fatal"}.get(level.lower(), level.lower())
    if name not in LEVELS:
        raise ValueError(f"no such level: {level!r}; there are {', '.join(LEVELS)}")
    return LEVELS[name]
