"""`dimse <verb>`: find the tool, run it, and turn its outcome into an exit code."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

from dimse_rs.encoding.quiet import quietly

from .exits import CliError, ExitCode, exit_code
from .output import survive_any_letter

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

VERBS: Final = {
    "echoscu": "verify that a peer answers (C-ECHO)",
    "storescu": "send instances (C-STORE)",
    "storescp": "receive instances (C-STORE)",
    "findscu": "query for patients, studies, series, instances (C-FIND)",
    "mwlscu": "query a modality worklist (C-FIND)",
    "getscu": "retrieve instances over the same association (C-GET)",
    "movescu": "have instances sent to an AE, or to this one (C-MOVE)",
    "mppsscu": "report a performed procedure step (N-CREATE, N-SET)",
    "stgcmtscu": "request storage commitment for instances (N-ACTION)",
    "scp": "serve a folder: store, find, get, move, worklist",
    "inbox": "take anything from any peer, and show what came",
}

USAGE: Final = "usage: dimse <verb> [options] ...\n\nverbs:\n" + "".join(
    f"  {verb:<10} {what}\n" for verb, what in VERBS.items()
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a tool.

    Args:
        argv: the arguments after the program's name; default those of the process.

    Returns:
        The exit code.
    """
    survive_any_letter()  # before any output: a message may quote a file name in any encoding
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = arguments[0] if arguments else ""
    if verb in ("-h", "--help", "help"):
        print(USAGE + "\nhelp on a verb: dimse <verb> --help")
        return ExitCode.OK
    if verb == "--version":
        print(_version())
        return ExitCode.OK
    if verb not in VERBS:
        what = f"no such verb: {verb}" if verb else "no verb given"
        sys.stderr.write(f"E: {what}\n{_meant(verb)}{USAGE}")
        return ExitCode.USAGE
    try:
        return _run(verb, arguments[1:])
    except SystemExit as done:  # argparse: help and usage errors
        return done.code if isinstance(done.code, int) else ExitCode.OK
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _meant(verb: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(verb.lower(), VERBS, 1) if verb else []
    return f"hint: did you mean {close[0]}?\n" if close else ""


@quietly
def _run(verb: str, arguments: list[str]) -> int:
    from .options import make_output

    tool = import_module(f".{verb}", __package__)
    parser = tool.parser()
    args = parser.parse(arguments)
    if args.version:
        print(_version())
        return ExitCode.OK
    try:
        output = make_output(args)
    except CliError as error:
        sys.stderr.write(f"E: {error}\n")
        return error.code
    try:
        return int(tool.run(parser, args, output))
    except BrokenPipeError:
        # The reader of our stdout has closed the pipe. Python flushes stdout at its exit: without
        # the null device that would raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OUTPUT
    except KeyboardInterrupt:
        output.message("interrupted")
        output.event("error", code=ExitCode.INTERRUPTED.value, message="interrupted")
        return ExitCode.INTERRUPTED
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise
        output.failure(error, code)
        return code
    finally:
        output.close()


def _version() -> str:
    from dimse_rs import __version__

    return f"dimse_rs {__version__}"
