"""`dimse echoscu`: verify that a peer answers (PS3.4 A)."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from dimse_rs import sop_class

from .exits import ExitCode
from .options import calling_ae, count, peer_and_rest, requestor, user_identity
from .output import accepted
from .parser import Parser

if TYPE_CHECKING:
    from .output import Output

__all__ = ["parser", "run"]

EXAMPLES = """\
  dimse echoscu PACS@10.1.2.3:11112
  dimse echoscu -aet MYAE -aec PACS 10.1.2.3 11112 -v
  dimse echoscu --repeat 1000 --json PACS@10.1.2.3:11112"""


def parser() -> Parser:
    """Build the command line."""
    result = requestor(
        "echoscu",
        "Verify that a peer answers: associate, C-ECHO, release.",
        EXAMPLES,
        "[options] AET@host:port | host port",
    )
    group = result.add_argument_group("operation")
    group.add_argument(
        "--repeat", metavar="N", type=count, default=1, help="send N requests (default: 1)"
    )
    group.add_argument("--abort", action="store_true", help="abort in place of releasing")
    return result


def run(parser: Parser, args: argparse.Namespace, output: Output) -> int:
    """Verify."""
    peer, rest = peer_and_rest(parser, args)
    if rest:
        parser.error(f"too many parameters: {' '.join(rest)}")
    ae = calling_ae(args)
    output.log.info("requesting association with %s", peer)
    start = time.perf_counter()
    with ae.associate(
        str(peer), contexts=[sop_class.Verification], identity=user_identity(parser, args)
    ) as association:
        output.event("associated", peer=str(peer), contexts=accepted(association))
        status = None
        # The core repeats all at once, unless each message is to have its own lines in the log.
        at_once = 1 if output.verbose else args.repeat
        for _ in range(0, args.repeat, at_once):
            status = association.c_echo(repeat=at_once)
        if args.abort:
            association.abort()
        else:
            association.release()
    taken = time.perf_counter() - start
    output.event("summary", operations=args.repeat, status=status, seconds=round(taken, 6))
    return ExitCode.OK
