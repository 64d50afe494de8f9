"""TLS options of all tools, in DCMTK's spelling and ours, and the `TLS` made of them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from .exits import CliError, ExitCode

if TYPE_CHECKING:
    from dimse_rs.tls import TLS

    from .parser import Parser

__all__ = ["add_tls_options", "tls_settings"]

# DCMTK's options for what happens here anyway: files may be PEM or DER, the profiles are those that
# allow nothing older, and revocation lists are used when there are any.
_ALREADY_SO: Final[tuple[tuple[str, ...], ...]] = (
    ("-pem", "--pem-keys"),
    ("-der", "--der-keys"),
    ("+py", "--profile-bcp195-nd"),
    ("+pg", "--profile-8996"),
    ("+crv", "--enable-crl-vfy"),
)


def add_tls_options(parser: Parser) -> None:
    """Add the certificate of this tool, and the checks of the peer's. Any option asks for TLS."""
    group = parser.add_argument_group("TLS (PS3.15 B.12); any of these asks for it")
    _add_own_certificate(group)
    _add_trusted(group)
    _add_checks(group)
    for names in _ALREADY_SO:
        group.add_argument(*names, action="store_true", help=argparse.SUPPRESS, dest="already_so")


def _add_own_certificate(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--tls-cert", metavar="FILE", help="my certificate, PEM or DER")
    group.add_argument("--tls-key", metavar="FILE", help="its key (default: in the same file)")
    group.add_argument(
        "+tls",
        "--enable-tls",
        dest="tls_pair",
        nargs=2,
        metavar=("KEY", "CERT"),
        help="both, as DCMTK has it",
    )
    group.add_argument(
        "+tla",
        "--anonymous-tls",
        "--tls",
        dest="tls_anonymous",
        action="store_true",
        help="TLS without a certificate of mine",
    )
    _add_pass_phrase(group)


def _add_pass_phrase(group: argparse._ArgumentGroup) -> None:
    phrase = group.add_mutually_exclusive_group()
    phrase.add_argument(
        "+ps",
        "--std-passwd",
        dest="tls_prompt",
        action="store_true",
        help="ask for the pass phrase of the key",
    )
    phrase.add_argument(
        "+pw", "--use-passwd", dest="tls_password", metavar="TEXT", help="use this pass phrase"
    )
    phrase.add_argument(
        "-pw",
        "--null-passwd",
        dest="tls_password",
        action="store_const",
        const="",
        help="use an empty pass phrase",
    )


def _add_trusted(group: argparse._ArgumentGroup) -> None:
    lists: tuple[tuple[tuple[str, ...], str, str], ...] = (
        (
            ("+cf", "--add-cert-file", "--tls-ca"),
            "FILE",
            "trust certificates that these CAs signed",
        ),
        (("+cd", "--add-cert-dir"), "DIR", "and those of the files *.pem, *.crt, *.cer, *.der"),
        (("+crl", "--add-crl-file", "--tls-crl"), "FILE", "but not those in this revocation list"),
    )
    for names, what, text in lists:
        dest = "tls_crl" if "+crl" in names else "tls_ca"
        group.add_argument(*names, dest=dest, action="append", metavar=what, default=[], help=text)
    group.add_argument(
        "--tls-pin",
        action="append",
        metavar="SHA256",
        default=[],
        help="trust this very certificate, self-signed or not",
    )
    group.add_argument(
        "--tls-name",
        metavar="NAME",
        help="the name in the peer's certificate (default: the host; '*': any)",
    )
    group.add_argument(
        "--tls-min", choices=("1.2", "1.3"), metavar="VERSION", help="1.2 (default) or 1.3"
    )


def _add_checks(group: argparse._ArgumentGroup) -> None:
    verify = group.add_mutually_exclusive_group()
    checks: tuple[tuple[tuple[str, ...], str, str], ...] = (
        (("-rc", "--require-peer-cert"), "required", "require a certificate (default)"),
        (("-vc", "--verify-peer-cert"), "optional", "admit requestors without one"),
        (("-ic", "--ignore-peer-cert"), "off", "check no certificate: encryption alone"),
    )
    for names, value, text in checks:
        verify.add_argument(*names, dest="tls_verify", action="store_const", const=value, help=text)


def tls_settings(args: argparse.Namespace) -> TLS | None:
    """Make the `TLS` from the options; None when there are no such options.

    Raises:
        CliError: the options contradict each other (1).
    """
    given: dict[str, Any] = {
        "ca": args.tls_ca,
        "crl": args.tls_crl,
        "pinned": args.tls_pin,
        "server_name": args.tls_name,
        "min_version": args.tls_min,
        "verify": args.tls_verify,
        "cert": args.tls_cert,
        "key": args.tls_key,
        "password": args.tls_password,
    }
    # Only the options that are given: `TLS` has the defaults.
    given = {name: value for name, value in given.items() if value not in (None, [])}
    if args.tls_pair is not None:
        if args.tls_cert or args.tls_key:
            raise CliError(ExitCode.USAGE, "+tls is --tls-key and --tls-cert in one: not both")
        given["key"], given["cert"] = args.tls_pair
    if not given and not args.tls_anonymous and not args.tls_prompt:
        return None
    if args.tls_anonymous and "cert" in given:
        raise CliError(ExitCode.USAGE, "+tla is without a certificate, and one is given")
    if args.tls_prompt:
        from getpass import getpass

        given["password"] = lambda: getpass("pass phrase of the TLS key: ")
    from dimse_rs.tls import TLS

    try:
        return TLS(**given)
    except ValueError as error:
        hint = "" if given.keys() & {"ca", "pinned"} else "+cf FILE, --tls-pin SHA256 or -ic"
        raise CliError(ExitCode.USAGE, f"TLS: {error}", hint=hint) from error
