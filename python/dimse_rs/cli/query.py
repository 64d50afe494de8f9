"""The common part of `findscu`, `mwlscu`, `getscu`, `movescu`: keys, models, requests."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dimse_rs.contexts import Context
from dimse_rs.encoding.quiet import quietly
from dimse_rs.extended import QueryRetrieveOptions
from dimse_rs.sop_class import ModalityWorklist, PatientRoot, PatientStudyOnly, StudyRoot

from .keys import apply, read_file
from .options import PROPOSALS, add_propose_options, calling_ae, count, user_identity
from .output import accepted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from pydicom.dataset import Dataset

    from dimse_rs import Association, Model, SOPClass
    from dimse_rs.contexts import Contexts
    from dimse_rs.settings import Peer

    from .output import Output
    from .parser import Parser

__all__ = [
    "add_extended_options",
    "add_key_option",
    "add_key_options",
    "add_request_options",
    "associated",
    "identifiers",
    "model_of",
    "proposed",
    "side_by_side",
]

T = TypeVar("T")
R = TypeVar("R")

LEVELS: Final = ("PATIENT", "STUDY", "SERIES", "IMAGE")

_MODELS: Final = {
    "worklist": (("-W", "--worklist"), ModalityWorklist, "modality worklist"),
    "patient": (("-P", "--patient"), PatientRoot, "patient root"),
    "study": (("-S", "--study"), StudyRoot, "study root"),
    "psonly": (("-O", "--psonly"), PatientStudyOnly, "patient/study only (retired)"),
}

_EXTENDED: Final = (
    (
        "relational",
        ("--relational", "--relational-query", "--relational-retrieval"),
        "keys of any level, without those above",
    ),
    (
        "combined_datetime",
        ("--datetime", "--dt-matching"),
        "a range of dates and one of times as one range",
    ),
    ("fuzzy_names", ("--fuzzy", "--fuzzy-names"), "fuzzy matching of names"),
    ("timezone", ("--timezone", "--timezone-adj"), "adjust times for the time zone"),
    ("enhanced_conversion", ("--enhanced-conversion",), "convert to enhanced multi-frame"),
    ("empty_values", ("--empty-values",), "match empty values"),
    ("multiple_values", ("--multiple-values",), "match lists of values"),
)


def add_key_option(group: argparse._ArgumentGroup, text: str) -> None:
    """Add -k; `text` ends its help."""
    group.add_argument(
        "-k",
        "--key",
        dest="keys",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help=f"a tag or keyword, in sequences a path, and its value; {text}",
    )


def add_key_options(parser: Parser, *models: str) -> None:
    """Add the keys, and the choice of an information model; the first one is the default."""
    group = parser.add_argument_group("keys")
    add_key_option(group, "without one it is returned. Wins over the files")
    group.add_argument(
        "-f",
        "--file",
        dest="files",
        metavar="FILE",
        action="append",
        default=[],
        help="a DICOM file of keys, as parameters are: each is a request of its own",
    )
    parser.set_defaults(model=models[0], level=None)
    if len(models) == 1:
        return
    group.add_argument(
        "-L", "--level", choices=LEVELS, help="the same as -k QueryRetrieveLevel=LEVEL"
    )
    choice = parser.add_argument_group("information model").add_mutually_exclusive_group()
    for name in models:
        options, _, text = _MODELS[name]
        choice.add_argument(
            *options,
            dest="model",
            action="store_const",
            const=name,
            help=text + (" (default)" if name == models[0] else ""),
        )


def add_request_options(parser: Parser, max_ops: str) -> None:
    """Add the options of requests; `max_ops` begins the help of --max-ops."""
    group = parser.add_argument_group("requests")
    group.add_argument(
        "--cancel", metavar="N", type=count, help="cancel after N responses (default: never)"
    )
    group.add_argument(
        "--repeat", metavar="N", type=count, default=1, help="make each request N times"
    )
    group.add_argument("--abort", action="store_true", help="abort in place of releasing")
    group.add_argument(
        "--max-ops",
        metavar="N",
        type=count,
        default=1,
        help=f"{max_ops}, if the peer agrees (default: 1)",
    )
    add_propose_options(group)


def add_extended_options(parser: Parser, *names: str) -> None:
    """Add the options of extended negotiation (PS3.4 C.5.1.1); default all of them."""
    group = parser.add_argument_group("extended negotiation with the peer")
    for name, options, text in _EXTENDED:
        if not names or name in names:
            group.add_argument(*options, dest=name, action="store_true", help=text)


def _extended(args: argparse.Namespace) -> QueryRetrieveOptions | None:
    wanted = {name: True for name, _, _ in _EXTENDED if getattr(args, name, False)}
    return QueryRetrieveOptions(**wanted) if wanted else None


def model_of(args: argparse.Namespace) -> Model:
    """Give the information model that was chosen."""
    return _MODELS[args.model][1]


def proposed(args: argparse.Namespace, sop_class: SOPClass | None) -> Context:
    """Make the presentation context of the requests."""
    if sop_class is None:
        raise ValueError(f"the {_MODELS[args.model][2]} model has no such service (PS3.4 C.6)")
    return Context(sop_class, PROPOSALS.get(args.propose))


def identifiers(
    parser: Parser,
    args: argparse.Namespace,
    files: Sequence[str],
    output: Output,
    defaults: Sequence[str] = (),
) -> list[Dataset]:
    """Make the identifier of every request.

    Args:
        parser: for its usage errors.
        args: the options, with keys, files and level.
        files: the files among the parameters.
        output: for a warning.
        defaults: keys to begin with when there is no file.

    Raises:
        CliError: a file cannot be read (20), a key is wrong (1).
    """
    from dimse_rs.encoding.library import Dataset

    made = [read_file(name) for name in (*args.files, *files)]
    if not made:
        made.append(Dataset())
        apply(defaults, made[0])
    # -k goes before the file, in every request: one file serves for many queries.
    for identifier in made:
        apply(args.keys, identifier)
        if args.level:
            identifier.QueryRetrieveLevel = args.level
        if not identifier:
            parser.error("no keys: give them with -k, or in files")
        # The worklist model has one level, and no such key (PS3.4 K.6.1).
        if args.model != "worklist" and not identifier.get("QueryRetrieveLevel"):
            output.log.warning("no Query/Retrieve Level, which peers require: give it with -L")
    repeat: int = args.repeat
    return made * repeat  # the same objects: a request does not change its identifier


@contextmanager
def associated(
    parser: Parser,
    args: argparse.Namespace,
    output: Output,
    peer: Peer,
    contexts: Contexts,
    *,
    model: SOPClass | None = None,
    may_idle: bool = False,
    **options: Any,
) -> Iterator[Association]:
    """Associate for the `with` block, then release, or abort if --abort is given.

    Args:
        parser: for its usage errors.
        args: the options.
        output: for the event.
        peer: the address of the peer.
        contexts: the contexts to propose.
        model: the class for extended negotiation.
        may_idle: wait without a deadline while no operation is open.
        options: more arguments of `AE.associate`.
    """
    ae = calling_ae(args)
    identity = user_identity(parser, args)
    wanted = None if model is None else _extended(args)
    if model is not None and wanted is not None:
        if model.service != "query-retrieve":
            parser.error("extended negotiation goes with -P, -S and -O")
        options["extended"] = {model: wanted}
    if may_idle:
        ae = replace(ae, timeouts=replace(ae.timeouts, idle=0))
    output.log.info("requesting association with %s", peer)
    association: Association
    with ae.associate(str(peer), contexts=contexts, identity=identity, **options) as association:
        output.event("associated", peer=str(peer), contexts=accepted(association))
        if model is not None and wanted is not None:
            _check_agreed(association.extended.get(model), wanted, output)
        yield association
        # The `with` block releases otherwise; after an exception it aborts.
        if getattr(args, "abort", False):
            association.abort()


def _check_agreed(agreed: Any, wanted: QueryRetrieveOptions, output: Output) -> None:
    for name, (option, *_), _ in _EXTENDED:
        if getattr(wanted, name) and not getattr(agreed, name, False):
            output.log.warning("the peer did not agree to %s", option)


def side_by_side(call: Callable[[T], R], items: Sequence[T], most: int) -> list[R]:
    """Make calls, at most so many at a time; the first exception ends all of them."""
    if most == 1 or len(items) == 1:
        return [call(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(most)
    try:
        return list(pool.map(quietly(call), items))
    finally:
        # Without waiting: a call in progress ends only when the caller has aborted the association.
        pool.shutdown(wait=False, cancel_futures=True)
