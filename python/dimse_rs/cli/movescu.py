"""`dimse movescu`: have instances sent to an AE, or to this one (PS3.4 C.4.2)."""

from __future__ import annotations

import argparse
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from .options import add_already_so, ae_title, peer_and_rest, requestor
from .parser import Parser
from .query import (
    add_extended_options,
    add_key_options,
    add_request_options,
    associated,
    identifiers,
    model_of,
    proposed,
)
from .retrieval import Retrieval
from .serving import add_port_options, own_server, running
from .storing import add_storage_options, storage_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dimse_rs.settings import Peer

    from .output import Output

__all__ = ["parser", "run"]

EXAMPLES = """\
  dimse movescu -S -L STUDY -k StudyInstanceUID=1.2.3 -aem WORKSTATION PACS@10.1.2.3:11112
  dimse movescu -aet ME +P 11113 -od study -S -k 0008,0052=STUDY -k 0020,000D=1.2.3 \\
      -aec PACS 10.1.2.3 11112"""

# DCMTK's options for what happens here anyway: every syntax is accepted, and the data set of a
# pending response is ignored.
_ALREADY_SO: Final = (
    ("--no-port",),
    ("+xa", "--accept-all"),
    ("-pi", "--pending-ignore"),
    ("-pr", "--pending-read"),
    ("-dhl", "--disable-host-lookup"),
)


def parser() -> Parser:
    """Build the command line."""
    result = requestor(
        "movescu",
        "Have the peer send instances to an AE that it knows by its title. With +P this tool\n"
        "receives them: then the peer has to know this node by the title of the destination.",
        EXAMPLES,
        "[options] (AET@host:port | host port) [file...]",
    )
    add_key_options(result, "patient", "study", "psonly")
    add_extended_options(result, "relational", "enhanced_conversion")
    add_request_options(result, "instances that a sender may have outstanding on an association")
    group = result.add_argument_group("destination")
    group.add_argument(
        "-aem",
        "--move",
        metavar="TITLE",
        type=ae_title,
        help="AE title of the destination (default: my own)",
    )
    add_port_options(group, "receive the instances on this port (default: do not)")
    add_already_so(group, _ALREADY_SO)
    add_storage_options(result, mode="fast")
    return result


def run(parser: Parser, args: argparse.Namespace, output: Output) -> int:
    """Retrieve."""
    peer, files = peer_and_rest(parser, args)
    requests = identifiers(parser, args, files, output)
    model = model_of(args)
    destination = args.move or args.aetitle
    here = nullcontext() if args.port is None else _receiving(args, output, peer, destination)
    retrieval = Retrieval(args, output)
    # Some archives refuse C-MOVE on an association that does not propose C-FIND as well.
    contexts = [proposed(args, model.find), proposed(args, model.move)]
    with (
        here,
        associated(parser, args, output, peer, contexts, model=model.move) as association,
    ):
        for request in requests:
            retrieval.follow(association.c_move(request, model=model, destination=destination))
    return retrieval.finish()


@contextmanager
def _receiving(args: argparse.Namespace, output: Output, peer: Peer, title: str) -> Iterator[None]:
    """Receive instances during the `with` block."""
    storage = storage_of(args, output, unknown=True)
    services = [] if storage is None else [storage]
    server = own_server(args, peer, title, services, max_ops_performed=args.max_ops)
    if storage is None:
        server.c_store(lambda request: None)
    with running(server, output):
        yield
