"""The `dimse` command: one verb for each tool, with DCMTK's option spelling.

It uses the public API only. Data goes to stdout, messages to stderr; exit codes are in `exits`.
"""

from .main import main

__all__ = ["main"]
