"""The options that tools share, in DCMTK's spelling, and the settings made of them."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dimse_rs.settings import DEFAULT_CALLED_AE, Limits, Peer, Timeouts, check_ae_title, parse_peer
from dimse_rs.sop_class import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    TransferSyntax,
)
from dimse_rs.user_identity import Jwt, Kerberos, Saml, UserIdentity, Username, UsernamePasscode

from .exits import CliError, ExitCode
from .output import Output
from .parser import Parser
from .secure import add_tls_options, tls_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "PROPOSALS",
    "Parser",
    "add_already_so",
    "add_association_options",
    "add_general_options",
    "add_propose_options",
    "add_report_option",
    "ae_title",
    "calling_ae",
    "count",
    "make_output",
    "peer_and_rest",
    "port_number",
    "requestor",
    "seconds",
    "user_identity",
    "whole",
]

MIN_PDU: Final = 4096
MAX_PDU: Final = 16 * 1024 * 1024

_NATIVE: Final = (ExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian)
PROPOSALS: Final[dict[str, tuple[TransferSyntax, ...]]] = {
    "little": _NATIVE,
    "big": (ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian),
    "implicit": (ImplicitVRLittleEndian,),
    "deflated": (DeflatedExplicitVRLittleEndian, *_NATIVE),
}
"""Transfer syntaxes to propose, by the value of `args.propose`."""


def requestor(verb: str, summary: str, examples: str, usage: str) -> Parser:
    """Build the command line of a requesting tool, with the options that all of these have."""
    result = Parser(verb, summary, examples, usage)
    result.add_argument("parameters", nargs="*", help=argparse.SUPPRESS)
    add_general_options(result)
    _add_peer_options(result)
    add_association_options(result, title=verb.upper())
    return result


def add_general_options(parser: Parser) -> None:
    """Add the options of every tool: verbosity and the form of the output."""
    group = parser.add_argument_group("general")
    group.add_argument("--version", action="store_true", help="print the version and exit")
    group.add_argument("-q", "--quiet", action="store_true", help="print no warnings and errors")
    group.add_argument("-v", "--verbose", action="store_true", help="print processing details")
    group.add_argument("-d", "--debug", action="store_true", help="print debug information")
    group.add_argument(
        "-ll",
        "--log-level",
        metavar="LEVEL",
        choices=("fatal", "error", "warn", "info", "debug", "trace"),
        help="fatal, error, warn, info, debug or trace (default: warn)",
    )
    group.add_argument("--json", action="store_true", help="print events to stdout, one a line")


def add_association_options(parser: Parser, *, title: str, server: bool = False) -> None:
    """Add the AE title, the PDU size and the deadlines."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "-aet",
        "--aetitle",
        metavar="TITLE",
        type=ae_title,
        default=title,
        help=f"my AE title (default: {title})",
    )
    group.add_argument(
        "-pdu",
        "--max-pdu",
        metavar="BYTES",
        type=_pdu,
        default=131072,
        help=f"largest PDU to receive, {MIN_PDU} to {MAX_PDU} (default: 131072)",
    )
    if not server:
        group.add_argument(
            "-to",
            "--timeout",
            metavar="SECONDS",
            type=seconds,
            help="for the connection (default: 10)",
        )
    group.add_argument(
        "-ts",
        "--socket-timeout",
        metavar="SECONDS",
        type=seconds,
        help="for a peer that accepts no bytes (default: 60)",
    )
    group.add_argument(
        "-ta",
        "--acse-timeout",
        metavar="SECONDS",
        type=seconds,
        help="for association messages (default: 30; release 10)",
    )
    group.add_argument(
        "-td",
        "--dimse-timeout",
        metavar="SECONDS",
        type=seconds,
        help=(
            "for the next message of an idle peer (default: 60)"
            if server
            else "for a response (default: 60; C-STORE 300; C-GET and C-MOVE 600)"
        )
        + "; 0 means none, here as for the others",
    )
    group.add_argument(
        "--progress-timeout",
        metavar="SECONDS",
        type=seconds,
        help="for the next byte of a message that has begun to arrive (default: 60)",
    )


def _add_peer_options(parser: Parser) -> None:
    """Add the options for the peer, TLS and the user identity."""
    group = parser.add_argument_group("peer")
    group.add_argument(
        "-aec",
        "--call",
        metavar="TITLE",
        type=ae_title,
        help=f"called AE title (default: {DEFAULT_CALLED_AE})",
    )
    group.add_argument(
        "-c", "--connect", metavar="AET@HOST:PORT", help="the peer, in place of parameters"
    )
    add_tls_options(parser)
    _add_identity_options(parser)


def _add_identity_options(parser: Parser) -> None:
    group = parser.add_argument_group("user identity")
    group.add_argument(
        "-usr", "--user", metavar="NAME", help="send this user name as the user identity"
    )
    passcode = group.add_mutually_exclusive_group()
    passcode.add_argument(
        "-pwd", "--password", metavar="PASSCODE", help="send this passcode too, over TLS"
    )
    passcode.add_argument(
        "-epw",
        "--empty-password",
        dest="password",
        action="store_const",
        const="",
        help="send an empty passcode, over TLS",
    )
    group.add_argument(
        "--passcode-in-clear",
        action="store_true",
        help="send the passcode without TLS too, readable for everyone on the network",
    )
    for names, what in (
        (("-kt", "--kerberos"), "a Kerberos ticket"),
        (("--saml",), "a SAML assertion"),
        (("--jwt",), "a JSON Web Token"),
    ):
        group.add_argument(*names, metavar="FILE", help=f"send {what} from a file")
    group.add_argument(
        "-rsp",
        "--pos-response",
        action="store_true",
        help="ask the peer to confirm that it verified the identity, warn when it does not",
    )


def user_identity(parser: Parser, args: argparse.Namespace) -> UserIdentity | None:
    """Make the user identity from the options.

    Raises:
        CliError: a file cannot be read.
    """
    given = [
        name for name in ("user", "kerberos", "saml", "jwt") if getattr(args, name) is not None
    ]
    if len(given) > 1:
        parser.error(f"one user identity only, not --{' and --'.join(given)}")
    if args.password is not None and args.user is None:
        parser.error("--password goes with --user")
    if not given:
        if args.pos_response:
            parser.error("--pos-response goes with a user identity")
        return None
    asked = bool(args.pos_response)
    match given[0]:
        case "user" if args.password is None:
            return Username(args.user, response_requested=asked)
        case "user":
            clear = bool(args.passcode_in_clear)
            return UsernamePasscode(
                args.user, args.password, response_requested=asked, in_clear=clear
            )
        case "kerberos":
            return Kerberos(_content(args.kerberos), response_requested=asked)
        case "saml":
            return Saml(_text(args.saml), response_requested=asked)
        case _:
            return Jwt(_text(args.jwt).strip(), response_requested=asked)


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CliError(ExitCode.INPUT, f"{path}: {error.strerror or error}") from error


def _text(path: str) -> str:
    return _content(path).decode("utf-8", "surrogateescape")


def add_propose_options(group: argparse._ArgumentGroup, what: str = "") -> None:
    """Add the choice of the uncompressed transfer syntaxes to propose: `args.propose`."""
    propose = group.add_mutually_exclusive_group()
    for names, value, text in (
        (("-x=", "-xe", "--propose-uncompr", "--propose-little"), "little", "explicit LE first"),
        (("-xb", "--propose-big"), "big", "explicit BE first"),
        (("-xi", "--propose-implicit"), "implicit", "implicit LE only"),
        (("-xd", "--propose-deflated"), "deflated", "deflated explicit LE first"),
    ):
        propose.add_argument(
            *names,
            dest="propose",
            action="store_const",
            const=value,
            help=f"propose uncompressed syntaxes only, {text}" + (what and f",{what}"),
        )


def add_report_option(group: argparse._ArgumentGroup) -> None:
    """Add the file of the events: `args.report`."""
    group.add_argument(
        "--report", metavar="FILE", help="write the events of --json to FILE as well"
    )


def add_already_so(group: argparse._ArgumentGroup, options: Iterable[tuple[str, ...]]) -> None:
    """Accept options of DCMTK for what happens here anyway, without showing them in the help."""
    for names in options:
        group.add_argument(*names, action="store_true", help=argparse.SUPPRESS, dest="already_so")


def peer_and_rest(parser: Parser, args: argparse.Namespace) -> tuple[Peer, list[str]]:
    """Split the peer from the parameters: `AET@host:port`, `host:port`, `host port`, or `-c`."""
    rest: list[str] = list(args.parameters)
    if args.connect:
        address: str | tuple[str, int] = args.connect
    elif not rest:
        parser.error("no peer: give AET@host:port, or host and port")
    # "host 104" is two parameters in DCMTK's tools; "host:104 105" is a peer and a file named 105.
    elif len(rest) > 1 and rest[1].isdigit() and not _has_port(rest[0]):
        address = (rest.pop(0), int(rest.pop(0)))
    else:
        address = rest.pop(0)
    try:
        return parse_peer(address, called=args.call), rest
    except ValueError as error:
        parser.error(str(error))


def _has_port(text: str) -> bool:
    host, colon, port = text.rpartition("@")[2].rpartition(":")
    # An address like ::1 ends in digits after a colon too; only one in brackets can have a port.
    return bool(colon) and port.isdigit() and (":" not in host or host.endswith("]"))


def calling_ae(args: argparse.Namespace, *, limits: Limits | None = None) -> Any:
    """Make the AE from the options.

    Raises:
        CliError: the TLS options contradict each other (1).
    """
    import dimse_rs

    return dimse_rs.AE(
        args.aetitle,
        timeouts=_timeouts(args),
        limits=limits or Limits(),
        max_pdu=args.max_pdu,
        tls=tls_settings(args),
    )


def _timeouts(args: argparse.Namespace) -> Timeouts:
    chosen: dict[str, float] = {}
    # DCMTK's options are fewer than our deadlines: one option sets all those of its kind. A server
    # opens no connection, and its -td is for the next message of a peer, not for a response.
    server = not hasattr(args, "timeout")
    if not server and args.timeout is not None:
        chosen["connect"] = args.timeout
    if args.socket_timeout is not None:
        chosen["write"] = args.socket_timeout
    if args.progress_timeout is not None:
        chosen["progress"] = args.progress_timeout
    # -ta of DCMTK covers all waits for PDUs of the association, ARTIM among them.
    if args.acse_timeout is not None:
        chosen.update(acse=args.acse_timeout, release=args.acse_timeout, artim=args.acse_timeout)
    if args.dimse_timeout is not None:
        names = ("idle",) if server else ("dimse", "store", "retrieve")
        chosen.update(dict.fromkeys(names, args.dimse_timeout))
    return Timeouts(**chosen)


def make_output(args: argparse.Namespace) -> Output:
    """Set up logging, and open the report."""
    from dimse_rs import log

    # DCMTK's -q, -v and -d are levels too; -ll, which names one, goes before them.
    level = args.log_level or ("debug" if args.debug else "info" if args.verbose else "warn")
    log.to_stderr(level, quiet=args.quiet)
    return Output(
        json=args.json,
        quiet=args.quiet,
        verbose=log.LEVELS[level] < log.LEVELS["warn"],
        report=getattr(args, "report", None),
    )


def count(text: str) -> int:
    """Read a positive number."""
    # Not `isdigit`, which is true for digits of every script.
    if not re.fullmatch(r"[0-9]+", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number from 1 up, not {text!r}")
    return int(text)


def whole(text: str) -> int:
    """Read a number that may be zero."""
    if not re.fullmatch(r"[0-9]+", text):
        raise argparse.ArgumentTypeError(f"a number from 0 up, not {text!r}")
    return int(text)


def size(text: str) -> int:
    """Read a number of bytes."""
    if not re.fullmatch(r"[0-9]+", text):
        raise argparse.ArgumentTypeError(f"a number of bytes, not {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """Read a number of seconds; 0 means none."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"a number of seconds, 0 for none, not {text!r}")
    return float(text)


def _pdu(text: str) -> int:
    if not text.isdigit() or not MIN_PDU <= int(text) <= MAX_PDU:
        raise argparse.ArgumentTypeError(f"a number from {MIN_PDU} to {MAX_PDU}, not {text!r}")
    return int(text)


def port_number(text: str) -> int:
    """Read a port; 0 takes a free one."""
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port from 0 to 65535, not {text!r}")
    return int(text)


def ae_title(text: str) -> str:
    """Read an AE title."""
    try:
        return check_ae_title(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
