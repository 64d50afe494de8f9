"""The common part of listening tools: options, the server, and serving until a signal."""

from __future__ import annotations

import argparse
import signal
import socket
import threading
from contextlib import contextmanager
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from dimse_rs.errors import TlsError
from dimse_rs.settings import Limits

from .access import add_allow_options, allowed
from .exits import CliError, ExitCode
from .options import add_already_so, calling_ae, count, port_number
from .secure import add_tls_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import FrameType

    from dimse_rs.observe.events import Kind
    from dimse_rs.server.blocking import Server
    from dimse_rs.settings import Peer

    from .output import Output
    from .parser import Parser

__all__ = [
    "add_access_options",
    "add_port_options",
    "make_server",
    "own_server",
    "port_of",
    "running",
    "serve",
]

_TO_RELEASE: Final = 5.0
"""Seconds that peers have to release their associations when a tool is done."""

# DCMTK's options for what happens here anyway: every syntax is accepted, and associations are
# served side by side.
_ALREADY_SO: Final = (("+xa", "--accept-all"), ("--fork",), ("-dhl", "--disable-host-lookup"))


def add_access_options(result: Parser) -> argparse._ArgumentGroup:
    """Add the options for the address and for admitted peers."""
    group = result.add_argument_group("access")
    group.add_argument(
        "-ba",
        "--bind-address",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="where to listen (default: 127.0.0.1; 0.0.0.0 or :: for everywhere)",
    )
    group.add_argument("--any-called", action="store_true", help="accept every called AE title")
    add_allow_options(group)
    group.add_argument(
        "--max-associations",
        metavar="N",
        type=count,
        default=1000,
        help="established associations at the same time (default: 1000)",
    )
    group.add_argument(
        "--metrics",
        metavar="[ADDRESS:]PORT",
        type=_metrics_address,
        help="serve metrics to Prometheus as http://ADDRESS:PORT/metrics (default address: "
        "127.0.0.1); 0 takes a free port, which -v and --json show",
    )
    add_already_so(group, _ALREADY_SO)
    add_tls_options(result)
    return group


def _metrics_address(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    host = address.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"[address:]port, not {text!r}")
    return host, int(port)


def make_server(
    args: argparse.Namespace, port: int, services: Iterable[Any], **options: Any
) -> Server:
    """Make the server from the options."""
    import dimse_rs

    return dimse_rs.Server(
        calling_ae(args, limits=Limits(max_associations=args.max_associations)),
        host=args.bind_address,
        port=port,
        services=services,
        any_called=args.any_called,
        allow=allowed(args),
        max_associations=args.max_associations,
        **options,
    )


def port_of(parser: Parser, args: argparse.Namespace) -> int:
    """Read the port, which is the only parameter."""
    if len(args.parameters) != 1 or not args.parameters[0].isdigit():
        parser.error("give one port to listen on; 0 takes a free one")
    port = int(args.parameters[0])
    if port > 65535:
        parser.error(f"not a port: {port} (0 to 65535)")
    return port


def serve(
    server: Server,
    output: Output,
    *,
    free: bool,
    metrics: tuple[str, int] | None = None,
    kinds: Sequence[Kind] = (),
    show: Callable[[Mapping[str, Any]], None] | None = None,
) -> int:
    """Serve until Ctrl-C or SIGTERM; a second signal ends the tool at once.

    Args:
        server: the server to start.
        output: for its events.
        free: print the port, since a free one was taken.
        metrics: address and port for Prometheus.
        kinds: of the events; default the usual ones.
        show: called with each event, `listening` the first, in place of the output.

    Raises:
        CliError: an address cannot be bound (64).
    """
    received: list[int] = []
    # A thread of its own stops the server: the main thread prints events until the last one, those
    # of the end included. The thread exists from the beginning, because at the time of the signal
    # the system may have none to give. The signal handler puts into a SimpleQueue, which is
    # reentrant: a handler interrupts the main thread anywhere.
    signalled: SimpleQueue[int] = SimpleQueue()

    def stop_on_signal() -> None:
        signalled.get()
        server.stop()

    stopping = threading.Thread(target=stop_on_signal, daemon=True)

    def stop(number: int, frame: FrameType | None) -> None:
        # The former handler is back at once: a second signal ends the tool.
        signal.signal(number, previous[number])
        received.append(number)
        signalled.put(number)

    signals = signal.SIGINT, signal.SIGTERM
    previous: dict[int, Any] = {number: signal.getsignal(number) for number in signals}
    events = server.events(*kinds) if output.wants_events or show else None

    emit = show or (lambda event: output.event(**event))
    try:
        start(server)
        stopping.start()
        page = {} if metrics is None else {"metrics": _start_metrics(server, *metrics)}
        for number in signals:
            signal.signal(number, stop)
        emit({"event": "listening", "host": server.host, "port": server.port, **page})
        if free:
            output.data(str(server.port))
        if events is None:
            server.wait()
        else:
            for event in events:
                emit(event)
        server.stop()  # that thread has begun to stop it: wait until it is done
    finally:
        # After an exception no signal has woken the thread that stops the server.
        if not received:
            server.stop()
        for number in signals:
            signal.signal(number, previous[number])
    # SIGTERM is the usual end of a service, and a success; Ctrl-C has its own exit code.
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
    except TlsError:
        raise
    except OSError as error:
        raise _cannot_listen(server.host, server.port, error) from error


def _cannot_listen(host: str, port: int, error: OSError) -> CliError:
    text = f"cannot listen on {host}:{port}: {error.strerror or error}"
    return CliError(ExitCode.LISTEN, text)


def _start_metrics(server: Server, host: str, port: int) -> str:
    """Serve the metrics; give the address."""
    from dimse_rs import serve_metrics

    try:
        return serve_metrics(server, host, port).url
    except OSError as error:
        raise _cannot_listen(host, port, error) from error


# ---- requesting tools that listen on a port too


def add_port_options(group: argparse._ArgumentGroup, text: str) -> None:
    """Add the port and its address; `text` is the help of the port."""
    group.add_argument("+P", "--port", metavar="PORT", type=port_number, help=text)
    group.add_argument(
        "-ba",
        "--bind-address",
        metavar="ADDRESS",
        help="where to listen (default: the address that faces the peer)",
    )


def own_server(
    args: argparse.Namespace, peer: Peer, title: str, services: Iterable[Any], **options: Any
) -> Server:
    """Make the server of a requesting tool, which answers to this AE title."""
    from dimse_rs import Server

    return Server(
        replace(calling_ae(args), title=title),
        host=args.bind_address or _facing(peer),
        port=args.port,
        services=services,
        **options,
    )


@contextmanager
def running(server: Server, output: Output) -> Iterator[None]:
    """Run a server for the `with` block, and print events of instances.

    Raises:
        CliError: the address cannot be bound (64).
    """
    # Followed before the server starts, so that no event is missed.
    events = server.events()
    start(server)
    telling = threading.Thread(target=_tell, args=(events, output), daemon=True)
    try:
        telling.start()
        output.event("listening", host=server.host, port=server.port)
        yield
        # The instances are here, but the peer that sent them still has to release its association.
        server.stop(patience=_TO_RELEASE)
    finally:
        server.stop()
        if telling.ident is not None:
            telling.join()


def _tell(events: Iterable[dict[str, Any]], output: Output) -> None:
    for event in events:
        if event["event"] in ("stored", "refused"):
            output.event(**event)


def _facing(peer: Peer) -> str:
    """Find our address on the way to the peer; this sends no packet."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            peer.host, peer.port, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"  # there is no way to the peer at all
