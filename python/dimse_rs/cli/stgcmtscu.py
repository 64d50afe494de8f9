"""`dimse stgcmtscu`: request storage commitment (PS3.4 J)."""

from __future__ import annotations

import argparse
import math
from contextlib import nullcontext
from typing import TYPE_CHECKING

from dimse_rs.contexts import Context, FileInfo
from dimse_rs.sop_class import StorageCommitmentPushModel

from .exits import CliError, ExitCode
from .options import (
    PROPOSALS,
    add_propose_options,
    add_report_option,
    peer_and_rest,
    requestor,
    seconds,
)
from .parser import Parser
from .query import associated
from .serving import add_port_options, own_server, running

if TYPE_CHECKING:
    from dimse_rs.services import CommitmentReport

    from .output import Output

__all__ = ["parser", "run"]

EXAMPLES = """\
  dimse stgcmtscu PACS@10.1.2.3:11112 study/
  dimse stgcmtscu -aet ME -aec PACS 10.1.2.3 11112 +P 11113 --wait 600 study/
  dimse stgcmtscu --json PACS@10.1.2.3:11112 one.dcm two.dcm"""


def parser() -> Parser:
    """Build the command line."""
    result = requestor(
        "stgcmtscu",
        "Request that a peer commits itself to keep the instances of these files, and wait for\n"
        "its report: on the requesting association, and with +P on a port too.",
        EXAMPLES,
        "[options] (AET@host:port | host port) file-or-directory...",
    )
    group = result.add_argument_group("input")
    group.add_argument(
        "--no-recurse", action="store_true", help="only the top of the directories given"
    )
    group = result.add_argument_group("report")
    add_port_options(group, "receive the report on this port too; the peer has to know it")
    group.add_argument(
        "--wait",
        metavar="SECONDS",
        type=seconds,
        default=60.0,
        help="wait so long for the report (default: 60; 0 means for ever)",
    )
    group.add_argument(
        "--release", action="store_true", help="release the association, and wait on the port only"
    )
    add_propose_options(group)
    add_report_option(group)
    return result


def run(parser: Parser, args: argparse.Namespace, output: Output) -> int:
    """Request commitment, and wait for the report."""
    peer, paths = peer_and_rest(parser, args)
    if not paths:
        parser.error("no files: give the files or directories of the instances")
    if args.release and args.port is None:
        parser.error("--release needs a port for the report: +P")
    instances = _instances(paths, recurse=not args.no_recurse)

    from dimse_rs import Handlers
    from dimse_rs.services import CommitmentReports

    # A peer may report on the association of the request, or on one of its own to our port: both
    # have the same handlers, and the transaction UID says which report is the one to wait for.
    reports = CommitmentReports()
    patience = args.wait or math.inf
    context = Context(StorageCommitmentPushModel, PROPOSALS.get(args.propose))
    here = (
        nullcontext()
        if args.port is None
        else running(own_server(args, peer, args.aetitle, [reports]), output)
    )
    with here:
        with associated(
            parser, args, output, peer, context, handlers=Handlers([reports])
        ) as association:
            uid = reports.ask(association, [(f.sop_class, f.sop_instance) for f in instances])
            output.log.info("transaction %s, %d instances", uid, len(instances))
            if not args.release:
                only = association if args.port is None else None
                report = reports.wait(uid, patience, association=only)
        if args.release:
            report = reports.wait(uid, patience)
    return _tell(report, instances, output)


def _instances(paths: list[str], *, recurse: bool) -> list[FileInfo]:
    from dimse_rs.send import look_at

    found: dict[str, FileInfo] = {}
    for file in look_at(paths, recurse=recurse):
        if not isinstance(file, FileInfo):
            raise CliError(ExitCode.INPUT, getattr(file.error, "message", str(file.error)))
        found.setdefault(file.sop_instance, file)  # one entry, however many files have it
    if not found:
        raise CliError(ExitCode.INPUT, f"no DICOM files in {', '.join(paths)}")
    return list(found.values())


def _tell(report: CommitmentReport, instances: list[FileInfo], output: Output) -> ExitCode:
    committed = set(report.committed)
    for file in instances:
        uid = file.sop_instance
        reason = report.failed.get(uid)
        output.event(
            "commitment",
            path=str(file.path),
            uid=uid,
            committed=uid in committed,
            reason=reason,
        )
        if uid in committed:
            output.log.info("committed %s", file.path)
        else:
            output.log.error(
                "%s: not committed, %s",
                file.path,
                "not in the report" if reason is None else reason,
            )
    kept = sum(file.sop_instance in committed for file in instances)
    output.event(
        "summary",
        transaction=report.transaction_uid,
        instances=len(instances),
        committed=kept,
        failed=len(instances) - kept,
    )
    output.log.info("%d of %d committed", kept, len(instances))
    return ExitCode.OK if kept == len(instances) else ExitCode.FAILED
