"""What the tools that listen share: where, for whom, and serving until a signal comes."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, Final

from dimse_rs.settings import Limits

from .exits import CliError, ExitCode
from .options import add_already_so, calling_ae, count

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable
    from types import FrameType

    from dimse_rs.server import Server

    from .options import Parser
    from .output import Output

__all__ = ["add_access_options", "make_server", "port_of", "serve", "start"]

# DCMTK's options for what happens here anyway: every syntax is accepted, and associations are
# served side by side.
_ALREADY_SO: Final = (("+xa", "--accept-all"), ("--fork",), ("-dhl", "--disable-host-lookup"))


def add_access_options(result: Parser) -> None:
    """Add where to listen, and who may come."""
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


def make_server(
    args: argparse.Namespace, port: int, services: Iterable[Any], **options: Any
) -> Server:
    """Make the server that the options describe."""
    import dimse_rs

    return dimse_rs.Server(
        calling_ae(args, limits=Limits(max_associations=args.max_associations)),
        host=args.bind_address,
        port=port,
        services=services,
        any_called=args.any_called,
        max_associations=args.max_associations,
        **options,
    )


def port_of(parser: Parser, args: argparse.Namespace) -> int:
    """Take the port: the one parameter."""
    if len(args.parameters) != 1 or not args.parameters[0].isdigit():
        parser.error("give one port to listen on; 0 takes a free one")
    port = int(args.parameters[0])
    if port > 65535:
        parser.error(f"not a port: {port} (0 to 65535)")
    return port


def serve(server: Server, output: Output, *, free: bool) -> int:
    """Serve until Ctrl-C or SIGTERM; the second one does not wait. A `free` port is printed."""
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
        start(server)
        for number in signals:
            signal.signal(number, stop)
        output.event("listening", host=server.host, port=server.port)
        if free:
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


def start(server: Server) -> None:
    """Bind and accept.

    Raises:
        CliError: the address cannot be bound (64).
    """
    try:
        server.start()
    except OSError as error:
        where = f"{server.host}:{server.port}"
        text = f"cannot listen on {where}: {error.strerror or error}"
        raise CliError(ExitCode.LISTEN, text) from error
