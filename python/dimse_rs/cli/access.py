"""Options for the peers that a listening tool admits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .exits import CliError, ExitCode

if TYPE_CHECKING:
    import argparse

    from dimse_rs import Allow

__all__ = ["add_allow_options", "allowed"]


def add_allow_options(group: argparse._ArgumentGroup) -> None:
    """Add the options for admitted peers, and for what each may ask."""
    group.add_argument(
        "--allow",
        metavar="FILE",
        help="admit only the peers of this file, each for what its entry permits: tables [[allow]] "
        "of TOML with calling, network, certificate, services, sop_classes",
    )
    group.add_argument(
        "--allow-calling",
        metavar="AET",
        action="append",
        default=[],
        help="admit only this calling AE title (* and ? are wildcards); repeatable",
    )
    group.add_argument(
        "--allow-network",
        metavar="CIDR",
        action="append",
        default=[],
        help="admit only this address or network; repeatable",
    )


def allowed(args: argparse.Namespace) -> list[Allow] | None:
    """Make the entries from the options; None when there are no such options.

    Raises:
        CliError: the file cannot be read (20), or an option is not valid (1).
    """
    from dimse_rs import Allow, load_allow

    # The two options make one entry: a peer has to match both, as in a table of the file.
    calling, network = args.allow_calling or None, args.allow_network or None
    if args.allow is None:
        if calling is None and network is None:
            return None
        try:
            return [Allow(calling=calling, network=network)]
        except ValueError as error:
            raise CliError(ExitCode.USAGE, f"--allow-calling, --allow-network: {error}") from error
    if calling or network:
        text = "--allow FILE replaces --allow-calling and --allow-network: not both"
        raise CliError(ExitCode.USAGE, text)
    try:
        return load_allow(args.allow)
    except OSError as error:
        text = f"{args.allow}: {error.strerror or error}"
        raise CliError(ExitCode.INPUT, text) from error
    except ValueError as error:
        raise CliError(ExitCode.INPUT, f"{args.allow}: {error}") from error
