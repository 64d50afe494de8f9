"""`dimse storescp`: receive instances (PS3.4 B)."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dimse_rs.settings import DEFAULT_CALLED_AE, Limits

from .exits import CliError, ExitCode
from .options import Parser, add_association_options, add_general_options, calling_ae, count
from .output import Output

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["parser", "run"]

EXAMPLES = """\
  dimse storescp 11112 -od incoming
  dimse storescp -aet MYAE -ba 0.0.0.0 11112 -od incoming --layout study
  dimse storescp 0 --json"""

# DCMTK's options for what happens here anyway: data sets are written as received, in whatever
# syntax they come, under their SOP Instance UID, and associations are served side by side.
_ALREADY_SO: Final = (
    ("+B", "--bit-preserving"),
    ("+xa", "--accept-all"),
    ("--fork",),
    ("-uf", "--default-filenames"),
    ("-dhl", "--disable-host-lookup"),
)


def parser() -> Parser:
    """Build the command line."""
    result = Parser(
        "storescp",
        "Receive instances into a folder, as they come, bit for bit. Every transfer syntax is\n"
        "accepted. Port 0 takes a free port and prints it.",
        EXAMPLES,
        "[options] port",
    )
    result.add_argument("parameters", nargs="*", help=argparse.SUPPRESS)
    add_general_options(result)
    add_association_options(result, title=DEFAULT_CALLED_AE, server=True)
    _add_access_options(result)
    _add_storage_options(result)
    return result


def _add_access_options(result: Parser) -> None:
    group = result.add_argument_group("access")
    group.add_argument(
        "-ba",
        "--bind-address",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="where to listen (default: 127.0.0.1; 0.0.0.0 or :: for everywhere)",
    )
    group.add_argument(
        "--any-called", action="store_true", help="accept whatever AE title the peer calls"
    )
    group.add_argument(
        "--max-associations",
        metavar="N",
        type=count,
        default=1000,
        help="at the same time (default: 1000)",
    )
    group.add_argument(
        "-pm",
        "--unknown",
        "--promiscuous",
        dest="unknown",
        action="store_true",
        help="accept SOP classes that are not in the tables",
    )


def _add_storage_options(result: Parser) -> None:
    group = result.add_argument_group("storage")
    group.add_argument(
        "-od",
        "--output-directory",
        metavar="FOLDER",
        default=".",
        help="where to store; made when missing (default: .)",
    )
    group.add_argument(
        "--mode",
        choices=("durable", "file-only", "fast"),
        default="durable",
        help="synced to disk before the response: file and folder, file, nothing "
        "(default: durable)",
    )
    group.add_argument(
        "--layout",
        choices=("flat", "study"),
        default="flat",
        help="<SOPInstanceUID>.dcm, or below <StudyInstanceUID>/<SeriesInstanceUID>/ "
        "(default: flat)",
    )
    group.add_argument(
        "-su",
        "--sort-on-study-uid",
        metavar="PREFIX",
        help="the same as --layout study; folders have no prefix",
    )
    group.add_argument(
        "--duplicates",
        choices=("keep-both", "reject"),
        default="keep-both",
        help="when an instance comes again with other bytes (default: keep-both)",
    )
    group.add_argument("--ignore", action="store_true", help="receive, but store nothing")
    group.add_argument(
        "--report", metavar="FILE", help="write the events of --json to FILE as well"
    )
    for names in _ALREADY_SO:
        group.add_argument(*names, action="store_true", help=argparse.SUPPRESS, dest="already_so")


def run(parser: Parser, args: argparse.Namespace, output: Output) -> int:
    """Receive until Ctrl-C or SIGTERM; the second one does not wait."""
    server = _server(args, _port(parser, args), output)
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, previous[number])
        received.append(number)
        # Not here: the main thread goes on telling events until there are no more.
        threading.Thread(target=server.stop, daemon=True).start()

    signals = signal.SIGINT, signal.SIGTERM
    previous: dict[int, Any] = {number: signal.getsignal(number) for number in signals}
    events = server.events() if output.wants_events else None
    try:
        _start(server, args)
        for number in signals:
            signal.signal(number, stop)
        output.event("listening", host=server.host, port=server.port)
        if args.parameters == ["0"]:
            output.data(str(server.port))
        if events is None:
            server.wait()
        else:
            for event in events:
                output.event(**event)
        server.stop()  # begun by now: until it is done
    finally:
        if not received:
            server.stop()
        for number in signals:
            signal.signal(number, previous[number])
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    return ExitCode.OK


def _start(server: Any, args: argparse.Namespace) -> None:
    try:
        server.start()
    except OSError as error:
        where = f"{args.bind_address}:{args.parameters[0]}"
        raise CliError(
            ExitCode.LISTEN, f"cannot listen on {where}: {error.strerror or error}"
        ) from error


def _port(parser: Parser, args: argparse.Namespace) -> int:
    if len(args.parameters) != 1 or not args.parameters[0].isdigit():
        parser.error("give one port to listen on; 0 takes a free one")
    port = int(args.parameters[0])
    if port > 65535:
        parser.error(f"not a port: {port} (0 to 65535)")
    return port


def _server(args: argparse.Namespace, port: int, output: Output) -> Any:
    import dimse_rs

    if args.sort_on_study_uid:
        output.log.warning("-su: folders are named by the UID alone, without a prefix")
    services: list[dimse_rs.Storage] = []
    if not args.ignore:
        folder = Path(args.output_directory)
        try:
            storage = dimse_rs.Storage(
                folder,
                mode=args.mode,
                layout=args.layout if args.sort_on_study_uid is None else "study",
                duplicates=args.duplicates,
                unknown=args.unknown,
            )
        except OSError as error:
            raise CliError(
                ExitCode.OUTPUT, f"cannot store into {folder}: {error.strerror or error}"
            ) from error
        services.append(storage)
    server = dimse_rs.Server(
        calling_ae(args, limits=Limits(max_associations=args.max_associations)),
        host=args.bind_address,
        port=port,
        services=services,
        any_called=args.any_called,
        max_associations=args.max_associations,
    )
    if args.ignore:
        server.c_store(lambda request: None)
    return server
