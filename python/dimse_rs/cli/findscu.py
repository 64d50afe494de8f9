"""`dimse findscu`: query (PS3.4 C.4.1), and what `dimse mwlscu` does too."""

from __future__ import annotations

import argparse
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dimse_rs.errors import DecodeError, StatusError
from dimse_rs.status import PENDING_WARNING

from .exits import CliError, ExitCode
from .options import add_report_option, count, peer_and_rest, requestor
from .parser import Parser
from .query import (
    add_extended_options,
    add_key_options,
    add_request_options,
    associated,
    identifiers,
    model_of,
    proposed,
    side_by_side,
)
from .table import Table, on_a_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydicom.dataset import Dataset

    from dimse_rs import Association, Payload
    from dimse_rs.settings import Peer

    from .output import Output

__all__ = ["add_output_options", "parser", "query", "run"]

EXAMPLES = """\
  dimse findscu -S -L STUDY -k PatientName='DOE*' -k StudyInstanceUID PACS@10.1.2.3:11112
  dimse findscu -P -aec PACS 10.1.2.3 11112 -k 0008,0052=PATIENT -k "(0010,0010)" --json
  dimse findscu -W -k "(0040,0100)[0].Modality=CT" 10.1.2.3 11112 wlistqry.dcm
  dimse findscu -S -L SERIES -X -od found PACS@10.1.2.3:11112 query.dcm"""


def parser() -> Parser:
    """Build the command line."""
    result = requestor(
        "findscu",
        "Query: print each match, or write it to a DICOM file, undecoded.",
        EXAMPLES,
        "[options] (AET@host:port | host port) [file...]",
    )
    add_key_options(result, "worklist", "patient", "study", "psonly")
    add_extended_options(result)
    add_output_options(result)
    return result


def add_output_options(result: Parser) -> None:
    """Add the options of requests and of their matches."""
    add_request_options(result, "requests outstanding at once, of several files")
    group = result.add_argument_group("output")
    group.add_argument(
        "-X", "--extract", action="store_true", help="write each match to rsp0001.dcm, ..."
    )
    group.add_argument(
        "-Xlo", "--limit-output", metavar="N", type=count, help="write at most N files"
    )
    group.add_argument(
        "-od",
        "--output-directory",
        metavar="FOLDER",
        default=".",
        help="folder to write to; made when missing (default: .)",
    )
    show = group.add_mutually_exclusive_group()
    show.add_argument(
        "+sr",
        "--show-responses",
        dest="show",
        action="store_true",
        default=None,
        help="print the matches in full (default without -X; on a terminal the default is a table)",
    )
    show.add_argument(
        "-sr", "--hide-responses", dest="show", action="store_false", help="do not print them"
    )
    add_report_option(group)


def run(parser: Parser, args: argparse.Namespace, output: Output) -> int:
    """Query."""
    peer, files = peer_and_rest(parser, args)
    return query(parser, args, output, peer, identifiers(parser, args, files, output))


def query(
    parser: Parser,
    args: argparse.Namespace,
    output: Output,
    peer: Peer,
    requests: Sequence[Dataset],
) -> ExitCode:
    """Make the requests over one association, and print their matches."""
    context = proposed(args, model_of(args).find)
    found = _Matches(args, output, context.sop_class, requests)
    start = time.perf_counter()
    model = context.sop_class
    with associated(
        parser, args, output, peer, context, model=model, max_ops_invoked=args.max_ops
    ) as association:
        found.syntax = next((c.transfer_syntax for c in association.accepted), "")
        try:
            codes = side_by_side(
                lambda request: _find(association, request, args, output, found),
                requests,
                args.max_ops,
            )
        finally:
            found.show()
    output.event(
        "summary",
        operations=len(requests),
        matches=found.count,
        written=found.written,
        failed=sum(code != ExitCode.OK for code in codes),
        seconds=round(time.perf_counter() - start, 6),
    )
    output.log.info("%d matches", found.count)
    return max((*codes, found.code))


def _find(
    association: Association,
    request: Dataset,
    args: argparse.Namespace,
    output: Output,
    found: _Matches,
) -> ExitCode:
    # Undecoded: matches are written as they came, and a bad value in one must not end the query.
    responses = association.c_find(request, model=model_of(args), raw=True)
    asked = unsupported = False
    try:
        for number, data in enumerate(responses, 1):
            if asked:
                continue  # responses that were on their way when we cancelled
            found.take(data)
            if responses.pending == PENDING_WARNING:
                unsupported = True
            if number == args.cancel:
                asked = True
                responses.cancel()
    except StatusError as error:
        output.failure(error, ExitCode.FAILED)
        return ExitCode.FAILED
    if unsupported:
        output.log.warning(
            "the peer does not support all of these keys: there may be too many matches"
        )
    final = responses.final
    if final is None or final.status == 0 or asked:
        output.log.info("final status %s", responses.status)
        return ExitCode.OK
    comment = final.comment and f": {final.comment}"
    output.log.warning("there may be more matches: the peer ended with %s%s", final.status, comment)
    return ExitCode.WARNINGS


class _Matches:
    """Counts, writes and prints the matches, which come from several threads."""

    def __init__(
        self,
        args: argparse.Namespace,
        output: Output,
        sop_class: str,
        requests: Sequence[Dataset],
    ) -> None:
        """Make the folder for -X, and the table for a terminal."""
        self.count = 0
        self.written = 0
        self.code = ExitCode.OK
        self.syntax = ""
        self._lock = threading.Lock()
        self._output = output
        self._class = sop_class
        # Without +sr or -sr: print, unless files are written. Events come unless -sr forbids them.
        self._print = not args.extract if args.show is None else args.show
        self._tell = output.wants_events and args.show is not False
        self._limit = args.limit_output if args.extract else 0
        self._folder = Path(args.output_directory)
        wanted = self._print and args.show is None and not output.json and on_a_terminal()
        self._table = Table(requests, output.data) if wanted else None
        if args.extract:
            with _writing(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True)

    def take(self, data: Payload) -> None:
        """Take a match: write it, print it and make its event, as the options say."""
        with self._lock:
            self.count += 1
            path = None
            if self._limit is None or self.written < self._limit:
                path = self._write(data)
            if self._tell or (self._print and not self._output.json):
                self._show(data, path)

    def show(self) -> None:
        """Print the rest of the table."""
        if self._table is not None:
            with self._lock:
                self._table.show()

    def _show(self, data: Payload, path: Path | None) -> None:
        from dimse_rs.datasets import from_bytes

        where = {} if path is None else {"path": str(path)}
        try:
            dataset = from_bytes(data, self.syntax)
        except DecodeError as error:
            self.code = ExitCode.FAILED
            self._output.failure(error, self.code)
            return
        if self._tell:
            values = dataset.to_json_dict(suppress_invalid_tags=True)
            self._output.event("match", dataset=values, **where)
        if self._table is not None:
            self._table.add(dataset)
        elif self._print:
            self._output.data(f"# match {self.count}\n{_text(dataset)}\n")

    def _write(self, data: Payload) -> Path:
        from dimse_rs.datasets import write_encoded

        path = self._folder / f"rsp{self.written + 1:04d}.dcm"
        with _writing(path):
            write_encoded(path, data, self.syntax, self._class)
        self.written += 1
        return path


def _text(dataset: Dataset, indent: str = "") -> str:
    """Format a match as pydicom does, but so that a bad value does not hide the others."""
    from dimse_rs.encoding.encode import undecoded

    lines = []
    for tag in sorted(dataset.keys()):
        try:
            element = dataset[tag]
            if element.VR == "SQ":
                lines.append(f"{indent}{tag} {element.name}")
                lines += [_text(item, indent + "  > ") for item in element.value]
            else:
                lines.append(f"{indent}{element}")
        except Exception:  # pydicom raises exceptions of many kinds while it decodes
            raw = undecoded(dataset, tag)
            value = getattr(raw, "value", b"")
            lines.append(f"{indent}{tag} cannot be decoded: {getattr(raw, 'VR', '')} {value!r}")
    return "\n".join(lines)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        text = f"cannot write {path}: {error.strerror or error}"
        raise CliError(ExitCode.OUTPUT, text) from error
