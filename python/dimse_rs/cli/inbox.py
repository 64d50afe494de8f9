"""`dimse inbox`: take anything from any peer, show what came, keep the last instances."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from dimse_rs.settings import Limits

from .access import allowed
from .exits import CliError, ExitCode
from .options import (
    add_association_options,
    add_general_options,
    add_report_option,
    calling_ae,
    count,
    seconds,
)
from .parser import Parser
from .serving import add_access_options, port_of, serve

if TYPE_CHECKING:
    from dimse_rs.observe.events import Kind

    from .output import Output

__all__ = ["parser", "run"]

EXAMPLES = """\
  dimse inbox
  dimse inbox 11112 --json
  dimse inbox -ba 0.0.0.0 104 -od inbox --keep 1000
  dimse inbox --status A700 --every 3
  dimse inbox --delay 2"""

PORT: Final = "11112"

KINDS: Final[tuple[Kind, ...]] = (
    "negotiated",
    "rejected",
    "denied",
    "released",
    "aborted",
    "error",
)


def parser() -> Parser:
    """Build the command line."""
    result = Parser(
        "inbox",
        "Take anything from any peer, whatever AE title it calls, and show who associated with\n"
        f"what and which instances came. Port {PORT} unless another one is named; 0 takes a free\n"
        "port. For tests: nothing is checked, nothing is synced to disk, and of what came the\n"
        "last instances are kept. Nothing of a patient is shown, unless --names says so.",
        EXAMPLES,
        "[options] [port]",
    )
    result.add_argument("parameters", nargs="*", help=argparse.SUPPRESS)
    add_general_options(result)
    add_association_options(result, title="INBOX", server=True)
    add_access_options(result)
    result.set_defaults(any_called=True)
    group = result.add_argument_group("inbox")
    group.add_argument(
        "-od",
        "--output-directory",
        metavar="FOLDER",
        help="where instances are kept, each in a folder with its number; made when missing "
        "(default: a temporary folder, which is removed at the end)",
    )
    group.add_argument(
        "--keep",
        metavar="N",
        type=count,
        default=100,
        help="keep the last N instances, and remove older ones (default: 100)",
    )
    group.add_argument(
        "--status",
        metavar="CODE",
        type=status_code,
        default=0,
        help="answer with this status, four hexadecimal digits: a failure such as A700 keeps the "
        "instance out, a warning such as B000 does not (default: 0000)",
    )
    group.add_argument(
        "--every",
        metavar="N",
        type=count,
        default=1,
        help="answer each Nth instance with --status, and the others with Success (default: 1)",
    )
    group.add_argument(
        "--delay",
        metavar="SECONDS",
        type=seconds,
        default=0.0,
        help="answer so late (default: 0)",
    )
    group.add_argument("--names", action="store_true", help="show Patient's Name and Patient ID")
    add_report_option(group)
    return result


def status_code(text: str) -> int:
    """Read a status."""
    if not re.fullmatch(r"(0[xX])?[0-9A-Fa-f]{4}", text):
        raise argparse.ArgumentTypeError(f"four hexadecimal digits, such as A700, not {text!r}")
    return int(text, 16)


def run(parser: Parser, args: argparse.Namespace, output: Output) -> int:
    """Receive until Ctrl-C or SIGTERM."""
    if not args.parameters:
        args.parameters = [PORT]
    port = port_of(parser, args)
    if args.delay >= 3600:
        parser.error(f"--delay is below an hour: {args.delay:g}")
    if args.output_directory is None:
        with TemporaryDirectory(prefix="dimse-inbox-") as folder:
            return _run(args, output, port, Path(folder))
    folder_ = Path(args.output_directory)
    try:
        folder_.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"cannot store into {folder_}: {error.strerror or error}"
        raise CliError(ExitCode.OUTPUT, text) from error
    return _run(args, output, port, folder_)


def _run(args: argparse.Namespace, output: Output, port: int, folder: Path) -> int:
    from .collecting import Inbox, Lines

    lines = Lines(output, folder, args.keep)
    inbox = Inbox(
        calling_ae(args, limits=Limits(max_associations=args.max_associations)),
        folder,
        lines,
        keep=args.keep,
        names=args.names,
        host=args.bind_address,
        port=port,
        allow=allowed(args),
        max_associations=args.max_associations,
    )
    inbox.answer(args.status, every=args.every, delay=args.delay)
    return serve(
        inbox.server, output, free=False, metrics=args.metrics, kinds=KINDS, show=lines.show
    )
