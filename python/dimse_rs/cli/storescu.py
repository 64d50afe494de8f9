"""`dimse storescu`: send instances (PS3.4 B)."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dimse_rs.contexts import Context
from dimse_rs.send_report import SendInterrupted
from dimse_rs.sop_class import MOST_USED_STORAGE

from .exits import CliError, ExitCode, report_code
from .options import (
    PROPOSALS,
    add_already_so,
    add_propose_options,
    add_report_option,
    calling_ae,
    count,
    peer_and_rest,
    requestor,
    seconds,
    user_identity,
    whole,
)
from .output import Output, Progress, size_text
from .parser import Parser

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dimse_rs.errors import DimseError
    from dimse_rs.send_report import SendReport, SendResult

__all__ = ["parser", "run"]

EXAMPLES = """\
  dimse storescu PACS@10.1.2.3:11112 study/
  dimse storescu -aec PACS 10.1.2.3 11112 +sd +r study/ +sp '*.dcm'
  dimse storescu --associations 4 --report sent.jsonl PACS@10.1.2.3:11112 study/"""

# DCMTK's options for what happens here anyway: directories are searched, the proposed contexts are
# those that the files need, each file first in its own syntax, and a failure stops nothing.
_ALREADY_SO: Final = (
    ("+sd", "--scan-directories"),
    ("+r", "--recurse"),
    ("-R", "--required"),
    ("+C", "--combine"),
    ("-nh", "--no-halt"),
    ("-xs", "--propose-lossless"),
    ("-xy", "--propose-jpeg8"),
    ("-xx", "--propose-jpeg12"),
    ("-xv", "--propose-j2k-lossless"),
    ("-xw", "--propose-j2k-lossy"),
    ("-xt", "--propose-jls-lossless"),
    ("-xu", "--propose-jls-lossy"),
    ("-xr", "--propose-rle"),
    ("-xm", "--propose-mpeg2"),
)


def parser() -> Parser:
    """Build the command line."""
    result = requestor(
        "storescu",
        "Send files and directories. Each file is sent in its own transfer syntax if the peer\n"
        "accepts that; an uncompressed file is re-encoded if the peer accepts another one only.",
        EXAMPLES,
        "[options] (AET@host:port | host port) file-or-directory...",
    )
    _add_input_options(result)
    _add_sending_options(result)
    return result


def _add_input_options(result: Parser) -> None:
    group = result.add_argument_group("input")
    group.add_argument(
        "+sp", "--scan-pattern", metavar="PATTERN", help="only these file names in directories"
    )
    group.add_argument(
        "--no-recurse", action="store_true", help="only the top of the directories given"
    )
    group.add_argument(
        "--repair",
        action="store_true",
        help="repair files that are refused otherwise: pad values of odd length, make missing "
        "file meta",
    )
    add_already_so(group, _ALREADY_SO)


def _add_sending_options(result: Parser) -> None:
    group = result.add_argument_group("sending")
    group.add_argument(
        "--associations",
        metavar="N",
        type=count,
        default=1,
        help="associations in parallel (default: 1)",
    )
    group.add_argument(
        "--max-ops",
        metavar="N",
        type=count,
        default=1,
        help="requests outstanding in an association, if the peer agrees (default: 1)",
    )
    group.add_argument(
        "--reassociate",
        metavar="N",
        type=whole,
        default=3,
        help="go on after a file at which the peer aborts, until N associations in a row end "
        "without an answer; 0: never (default: 3)",
    )
    group.add_argument(
        "--retries",
        metavar="N",
        type=whole,
        default=0,
        help="send files again, N times at most, whose failure may pass by itself: no connection, "
        "an abort, no resources (default: 0)",
    )
    group.add_argument(
        "--backoff",
        metavar="SECONDS",
        type=seconds,
        default=10.0,
        help="before the first retry, doubled for each further one; a random part of it is waited "
        "(default: 10)",
    )
    add_report_option(group)
    add_propose_options(group, " for the 120 most used classes")


def run(parser: Parser, args: argparse.Namespace, output: Output) -> int:
    """Send."""
    peer, inputs = peer_and_rest(parser, args)
    if not inputs:
        parser.error("no files: give files or directories to send")
    paths = _inputs(inputs, args)
    ae = calling_ae(args)
    progress = Progress(output)
    reasons: Counter[str] = Counter()

    def on_result(result: SendResult) -> None:
        progress.step(result.bytes, failed=result.category in ("failed", "not-sent"))
        _tell(result, output, progress, reasons)

    def on_event(event: Mapping[str, Any]) -> None:
        fields = dict(event)
        name = fields.pop("event")
        if name == "progress":
            progress.total = fields["total"]
            if fields.get("done"):
                return
            fields = {"total": fields["total"]}
        elif name == "retry":
            progress.clear()
        if name not in ("sent", "rejected"):  # `on_result` prints these
            output.event(name, **fields)

    output.log.info("sending to %s", peer)
    options: dict[str, Any] = {} if args.max_ops == 1 else {"max_ops_invoked": args.max_ops}
    if (identity := user_identity(parser, args)) is not None:
        options["identity"] = identity
    options |= {"retries": args.retries, "backoff": args.backoff}
    interrupted = False
    try:
        report = ae.send(
            str(peer),
            paths,
            associations=args.associations,
            recurse=not args.no_recurse,
            repair=args.repair,
            reassociate=args.reassociate,
            on_result=on_result,
            on_event=on_event,
            contexts=_contexts(args.propose),
            **options,
        )
    except SendInterrupted as interrupt:
        report, interrupted = interrupt.report, True
    progress.clear()
    _tell_skipped(report, inputs, output)
    for reason, times in reasons.items():
        if times > 1:
            output.log.error("%d more not sent, %s", times - 1, reason)
    code = _summary(report, output, progress)
    if not interrupted:
        return code
    text = f"interrupted: {len(report.sent)} of {len(report.results)} files sent"
    output.message(text)
    output.event("error", code=ExitCode.INTERRUPTED.value, message=text)
    return ExitCode.INTERRUPTED


def _tell_skipped(report: SendReport, inputs: list[str], output: Output) -> None:
    for skipped in report.skipped:
        output.event("skipped", path=str(skipped), reason=skipped.reason)
    if not report.results:
        found = f": {len(report.skipped)} others skipped" if report.skipped else ""
        raise CliError(ExitCode.INPUT, f"no DICOM files in {', '.join(inputs)}{found}")
    if report.skipped:
        first = report.skipped[0]
        count = len(report.skipped)
        output.log.warning("%d skipped (-v names each), first %s: %s", count, first, first.reason)


def _inputs(inputs: list[str], args: argparse.Namespace) -> list[Path]:
    if "" in inputs:
        raise CliError(ExitCode.USAGE, '"" is no path; the current directory is "."')
    paths = [Path(name) for name in inputs]
    for path in paths:
        if not path.exists():
            raise CliError(ExitCode.INPUT, f"{path}: no such file or directory")
    if args.scan_pattern is None:
        return paths  # `AE.send` searches the directories itself
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            search = path.glob if args.no_recurse else path.rglob
            found += sorted(match for match in search(args.scan_pattern) if match.is_file())
        else:
            found.append(path)
    if not found:
        raise CliError(ExitCode.INPUT, f"nothing matches {args.scan_pattern!r}")
    return found


def _contexts(propose: str | None) -> list[Context] | None:
    if propose is None:
        return None
    return [Context(uid, PROPOSALS[propose]) for uid in MOST_USED_STORAGE]


def _tell(result: SendResult, output: Output, progress: Progress, reasons: Counter[str]) -> None:
    """Print the result of one file: failures always, others with -v.

    A reason for not sending is printed once, because it is often the same for all files.
    """
    fields: dict[str, Any] = {
        "path": str(result.path),
        "uid": result.sop_instance,
        "status": result.status,
        "comment": result.comment,
        "category": result.category,
    }
    if result.error is not None:
        fields["error"] = _reason(result, result.error)
    if result.repaired:
        fields["repaired"] = result.repaired
        output.log.warning("%s: repaired, %s", result.path, "; ".join(result.repaired))
    output.event("sent", **fields)
    if result.category == "ok":
        output.log.info("sent %s", result.path)
        return
    progress.clear()
    if result.error is not None:
        reasons[result.error.message] += 1
        if reasons[result.error.message] == 1:
            _tell_reason(result, result.error, output)
        return
    comment = f": {result.comment}" if result.comment else ""
    level = output.log.warning if result.category == "warning" else output.log.error
    level("%s: %s, %s%s", result.path, result.category, result.status, comment)


def _tell_reason(result: SendResult, error: DimseError, output: Output) -> None:
    output.log.error("%s: %s, %s", result.path, result.category, _reason(result, error))
    output.explain(error)


def _reason(result: SendResult, error: DimseError) -> str:
    """Give the message without the file name, which is printed before it."""
    return error.message.removeprefix(f"{result.path}: ")


def _summary(report: SendReport, output: Output, progress: Progress) -> int:
    counts = {"ok": 0, "warning": 0, "failed": 0, "not-sent": 0}
    for result in report.results:
        counts[result.category] += 1
    sent = len(report.results) - counts["failed"] - counts["not-sent"]
    rate = report.bytes / report.seconds if report.seconds else 0.0
    output.event(
        "summary",
        files=len(report.results),
        sent=sent,
        warnings=counts["warning"],
        failed=counts["failed"],
        not_sent=counts["not-sent"],
        skipped=len(report.skipped),
        bytes=report.bytes,
        seconds=round(report.seconds, 6),
    )
    text = f"sent {sent} of {len(report.results)} files, {size_text(report.bytes)}"
    text += f" in {report.seconds:.1f} s ({size_text(rate)}/s)"
    for name in ("warning", "failed", "not-sent"):
        text += f", {counts[name]} {name}" if counts[name] else ""
    text += f", {len(report.skipped)} skipped" if report.skipped else ""
    if progress.shown:
        output.message(text)
    else:
        output.log.info(text)
    return report_code(report)
