"""The argument parser of the tools."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, NoReturn

from .exits import ExitCode, table

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Parser"]


class Parser(argparse.ArgumentParser):
    """argparse with `+` options, without abbreviations, and with exit code 1 for misuse."""

    def __init__(self, verb: str, summary: str, examples: str, usage: str) -> None:
        """Lay out the help: summary, options, examples, exit codes."""
        super().__init__(
            prog=f"dimse {verb}",
            usage=f"dimse {verb} {usage}",
            description=summary,
            epilog=f"examples:\n{examples}\n\nexit codes:\n{table()}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            prefix_chars="-+",
            allow_abbrev=False,  # an abbreviation of today may be ambiguous with the next option
        )

    def error(self, message: str) -> NoReturn:
        """Print the mistake, and how to get help."""
        sys.stderr.write(f"E: {message}\nhint: see {self.prog} --help\n")
        raise SystemExit(int(ExitCode.USAGE))

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse with options and parameters in any order, as DCMTK does."""
        return self.parse_intermixed_args(list(argv))
