"""Who may come in, for the tools that listen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .exits import CliError, ExitCode

if TYPE_CHECKING:
    import argparse

    from dimse_rs import Allow

__all__ = ["add_allow_options", "allowed"]


def add_allow_options(group: argparse._ArgumentGroup) -> None:
    """Add who is let in, and what for."""
    group.add_argument(
        "--allow",
        metavar="FILE",
        help="let only these in, and only for what the file says: tables [[allow]] of TOML with "
        "calling, network, certificate, services, sop_classes",
    )
    group.add_argument(
        "--allow-calling",
        metavar="AET",
        action="append",
        default=[],
        help="let only this calling AE title in (* and ? are wildcards); repeatable",
    )
    group.add_argument(
        "--allow-network",
        metavar="CIDR",
        action="append",
        default=[],
        help="let only this address or network in; repeatable",
    )


def allowed(args: argparse.Namespace) -> list[Allow] | None:
    """Give the entries that the options say; None when they say nothing.

    Raises:
        CliError: the file cannot be read (input), or an option is none (usage).
    """
    from dimse_rs import Allow, load_allow

    calling, network = args.allow_calling or None, args.allow_network or None
    if args.allow is None:
        if calling is None and network is None:
            return None
        try:
            return [Allow(calling=calling, network=network)]
        except ValueError as error:
            raise CliError(ExitCode.USAGE, f"--allow-calling, --allow-network: {error}") from error
    if calling or network:
        text = "--allow FILE says it all: no --allow-calling or --allow-network beside it"
        raise CliError(ExitCode.USAGE, text)
    try:
        return load_allow(args.allow)
    except OSError as error:
        text = f"{args.allow}: {error.strerror or error}"
        raise CliError(ExitCode.INPUT, text) from error
    except ValueError as error:
        raise CliError(ExitCode.INPUT, f"{args.allow}: {error}") from error
