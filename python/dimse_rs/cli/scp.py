"""`dimse scp`: serve a folder of instances: echo, store, find, get, move, worklist."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dimse_rs.errors import DecodeError
from dimse_rs.extended import QueryRetrieveOptions
from dimse_rs.settings import DEFAULT_CALLED_AE
from dimse_rs.sop_class import PatientRoot, PatientStudyOnly, StudyRoot

from .exits import CliError, ExitCode
from .options import add_association_options, add_general_options, count
from .parser import Parser
from .serving import add_access_options, make_server, port_of, serve
from .storing import add_storage_options, storage_of

if TYPE_CHECKING:
    from dimse_rs import StoredInstance

    from .output import Output

__all__ = ["parser", "run"]

EXAMPLES = """\
  dimse scp 11112 -od archive
  dimse scp -aet PACS -ba 0.0.0.0 11112 -od archive --destination ME=10.1.2.4:11113
  dimse scp 11112 -od archive --worklist steps --config dcmqrscp.cfg"""

_HOST: Final = re.compile(r"\s*\w+\s*=\s*\(\s*([^,()]+?)\s*,\s*([^,()\s]+)\s*,\s*([0-9]+)\s*\)")

# The options that the index and the matching support beyond the baseline (PS3.4 C.5.1.1).
_OPTIONS: Final = QueryRetrieveOptions(
    relational=True,
    combined_datetime=True,
    timezone=True,
    empty_values=True,
    multiple_values=True,
)


def parser() -> Parser:
    """Build the command line."""
    result = Parser(
        "scp",
        "Serve the instances in a folder: receive more, answer queries, and send instances over\n"
        "the same association (C-GET) or to a destination (C-MOVE). For tests and small\n"
        "collections: the index is in memory, and rebuilt at each start. Port 0 takes a free port\n"
        "and prints it.",
        EXAMPLES,
        "[options] port",
    )
    result.add_argument("parameters", nargs="*", help=argparse.SUPPRESS)
    add_general_options(result)
    add_association_options(result, title=DEFAULT_CALLED_AE, server=True)
    add_access_options(result).add_argument(
        "--max-ops",
        metavar="N",
        type=count,
        default=1,
        help="operations that a peer may have outstanding on an association (default: 1)",
    )
    group = result.add_argument_group("services")
    group.add_argument(
        "--destination",
        dest="destinations",
        metavar="AET=HOST:PORT",
        action="append",
        type=_destination,
        default=[],
        help="where C-MOVE may send to; repeatable",
    )
    group.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        help="take destinations from the HostTable of a configuration of dcmqrscp",
    )
    group.add_argument(
        "-wl", "--worklist", metavar="FOLDER", help="answer worklist queries from *.wl and *.dcm"
    )
    add_storage_options(result)
    return result


def _destination(text: str) -> tuple[str, str]:
    title, sign, address = text.partition("=")
    if not (title and sign and address):
        raise argparse.ArgumentTypeError(f"AET=host:port, not {text!r}")
    return title, address


def run(parser: Parser, args: argparse.Namespace, output: Output) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    from dimse_rs.services import Index, QueryRetrieve, Worklist

    port = port_of(parser, args)
    destinations = {**_hosts(args.config), **dict(args.destinations)}
    index = Index(args.aetitle)

    def add(items: list[StoredInstance]) -> None:
        # Before the response, not by events: a peer that has got Success finds the instance.
        for item in items:
            try:
                index.add(item.path, item.collected)
            except (DecodeError, OSError) as error:
                output.log.warning("stored, but cannot be found: %s", error)

    storage = storage_of(args, output, unknown=False, on_stored=add, collect=index.keys())
    services: list[Any] = [QueryRetrieve(index), *([] if storage is None else [storage])]
    if args.worklist is not None:
        if not Path(args.worklist).is_dir():
            raise CliError(ExitCode.INPUT, f"{args.worklist}: no such directory")
        services.append(Worklist(args.worklist))
    server = make_server(
        args,
        port,
        services,
        destinations=destinations,
        extended=dict.fromkeys((PatientRoot, StudyRoot, PatientStudyOnly), _OPTIONS),
        max_ops_performed=args.max_ops,
    )
    if storage is None:
        server.c_store(lambda request: None)
    indexed = index.add_folder(args.output_directory)
    output.log.info("%d instances in %s", indexed, args.output_directory)
    return serve(server, output, free=port == 0, metrics=args.metrics)


def _hosts(config: str | None) -> dict[str, str]:
    """Read the hosts of a configuration like dcmqrscp's: `name = (AET, host, port)`."""
    if config is None:
        return {}
    try:
        text = Path(config).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CliError(ExitCode.INPUT, f"{config}: {error.strerror or error}") from error
    # Other tables of the file have lines of the same form: only those of the HostTable count.
    hosts: dict[str, str] = {}
    inside = False
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["HostTable"]:
            inside = words[1:2] == ["BEGIN"]
        elif inside and (found := _HOST.match(line)):
            title, host, port = found.groups()
            hosts[title] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return hosts
