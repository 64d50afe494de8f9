"""Where received instances go: options of the tools that receive, and the `Storage` they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from .exits import CliError, ExitCode
from .options import add_already_so, size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from dimse_rs import Storage, StoreRequest
    from dimse_rs.storage import OnStored

    from .output import Output
    from .parser import Parser

__all__ = ["add_storage_options", "save", "storage_of"]

# DCMTK's options for what happens here anyway: data sets are written as received, under their SOP
# Instance UID.
_ALREADY_SO: Final = (
    ("+B", "--bit-preserving"),
    ("-B", "--normal"),
    ("+F", "--write-file"),
    ("-uf", "--default-filenames"),
)


def add_storage_options(parser: Parser, *, mode: str = "durable") -> None:
    """Add the options of the folder; `mode` is the default of --mode."""
    group = parser.add_argument_group("storage")
    group.add_argument(
        "-od",
        "--output-directory",
        metavar="FOLDER",
        default=".",
        help="folder to store in; made when missing (default: .)",
    )
    group.add_argument(
        "--mode",
        choices=("durable", "file-only", "fast"),
        default=mode,
        help="synced to disk before the response: file and folder, file, nothing "
        f"(default: {mode})",
    )
    group.add_argument(
        "--layout",
        choices=("flat", "study"),
        default="flat",
        help="<SOPInstanceUID>.dcm, or below <StudyInstanceUID>/<SeriesInstanceUID>/ "
        "(default: flat)",
    )
    group.add_argument(
        "-su",
        "--sort-on-study-uid",
        metavar="PREFIX",
        help="the same as --layout study; folders have no prefix",
    )
    group.add_argument(
        "--duplicates",
        choices=("keep-both", "reject"),
        default="keep-both",
        help="for an instance that comes again with other bytes (default: keep-both)",
    )
    group.add_argument(
        "--reserve",
        metavar="BYTES",
        type=size,
        help="refuse instances while less of the disk is free (default: 2 %%, at most 1 GiB)",
    )
    group.add_argument(
        "--strict",
        action="store_true",
        help="refuse instances that are complete but not well formed",
    )
    group.add_argument("--ignore", action="store_true", help="receive, but store nothing")
    group.add_argument(
        "--report", metavar="FILE", help="write the events of --json to FILE as well"
    )
    add_already_so(group, _ALREADY_SO)


def storage_of(
    args: argparse.Namespace,
    output: Output,
    *,
    unknown: bool,
    on_stored: OnStored | None = None,
    collect: Iterable[int] = (),
) -> Storage | None:
    """Make the storage from the options; None for --ignore.

    Args:
        args: the options.
        output: for a warning.
        unknown: accept classes that are not in the tables too.
        on_stored: the function that decides on stored instances.
        collect: tags of the elements that the function gets.

    Raises:
        CliError: the folder cannot be made or written to (40).
    """
    import dimse_rs

    if args.sort_on_study_uid:
        output.log.warning("-su: folders are named by the UID alone, without a prefix")
    if args.ignore:
        return None
    folder = Path(args.output_directory)
    try:
        return dimse_rs.Storage(
            folder,
            mode=args.mode,
            layout=args.layout if args.sort_on_study_uid is None else "study",
            duplicates=args.duplicates,
            unknown=unknown,
            reserve=args.reserve,
            strict=args.strict,
            collect=collect,
            on_stored=on_stored,
        )
    except OSError as error:
        raise CliError(
            ExitCode.OUTPUT, f"cannot store into {folder}: {error.strerror or error}"
        ) from error


def save(request: StoreRequest, storage: Storage, output: Output) -> Path:
    """Store an instance in a handler, and print the event that a server has for its `Storage`.

    Raises:
        StatusError: the instance cannot be stored; the peer gets this status.
    """
    size = request.size  # before `saved`, which may take the data set out of the request
    saved = request.saved(storage)
    path, oddities = saved.path, saved.oddities
    output.event(
        "stored",
        uid=request.instance_uid,
        **{"class": str(request.sop_class)},
        syntax=str(request.transfer_syntax),
        path=str(path),
        bytes=size,
        calling=request.peer.ae_title,
        status=0,
        **({"oddities": oddities} if oddities else {}),
    )
    odd = f", not well formed: {'; '.join(oddities)}" if oddities else ""
    output.log.info("stored %s%s", path, odd)
    return path
