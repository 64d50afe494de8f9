"""`dimse storescp`: receive instances (PS3.4 B)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dimse_rs.settings import DEFAULT_CALLED_AE

from .options import add_association_options, add_general_options
from .parser import Parser
from .serving import add_access_options, make_server, port_of, serve
from .storing import add_storage_options, storage_of

if TYPE_CHECKING:
    from .output import Output

__all__ = ["parser", "run"]

EXAMPLES = """\
  dimse storescp 11112 -od incoming
  dimse storescp -aet MYAE -ba 0.0.0.0 11112 -od incoming --layout study
  dimse storescp 0 --json"""


def parser() -> Parser:
    """Build the command line."""
    result = Parser(
        "storescp",
        "Receive instances into a folder, unchanged bit for bit. Every transfer syntax is\n"
        "accepted. Port 0 takes a free port and prints it.",
        EXAMPLES,
        "[options] port",
    )
    result.add_argument("parameters", nargs="*", help=argparse.SUPPRESS)
    add_general_options(result)
    add_association_options(result, title=DEFAULT_CALLED_AE, server=True)
    add_access_options(result).add_argument(
        "-pm",
        "--unknown",
        "--promiscuous",
        dest="unknown",
        action="store_true",
        help="accept SOP classes that are not in the tables",
    )
    add_storage_options(result)
    return result


def run(parser: Parser, args: argparse.Namespace, output: Output) -> int:
    """Receive until Ctrl-C or SIGTERM."""
    port = port_of(parser, args)
    storage = storage_of(args, output, unknown=args.unknown)
    if storage is None:
        server = make_server(args, port, [], unknown=args.unknown)
        server.c_store(lambda request: None)
    else:
        server = make_server(args, port, [storage])
    return serve(server, output, free=port == 0, metrics=args.metrics)
