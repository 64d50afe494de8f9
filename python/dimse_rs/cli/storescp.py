"""`dimse storescp`: receive instances (PS3.4 B)."""

from __future__ import annotations

import argparse
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

from dimse_rs.settings import DEFAULT_CALLED_AE, Limits

from .exits import CliError, ExitCode
from .options import (
    Parser,
    add_already_so,
    add_association_options,
    add_general_options,
    calling_ae,
    count,
)
from .storing import add_storage_options, storage_of

if TYPE_CHECKING:
    from types import FrameType

    from .output import Output

__all__ = ["parser", "run"]

EXAMPLES = """\
  dimse storescp 11112 -od incoming
  dimse storescp -aet MYAE -ba 0.0.0.0 11112 -od incoming --layout study
  dimse storescp 0 --json"""

# DCMTK's options for what happens here anyway: every syntax is accepted, and associations are
# served side by side.
_ALREADY_SO: Final = (("+xa", "--accept-all"), ("--fork",), ("-dhl", "--disable-host-lookup"))


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
    add_storage_options(result)
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
    add_already_so(group, _ALREADY_SO)


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

    storage = storage_of(args, output, unknown=args.unknown)
    server = dimse_rs.Server(
        calling_ae(args, limits=Limits(max_associations=args.max_associations)),
        host=args.bind_address,
        port=port,
        services=[] if storage is None else [storage],
        any_called=args.any_called,
        max_associations=args.max_associations,
    )
    if storage is None:
        server.c_store(lambda request: None)
    return server
