"""`dimse getscu`: retrieve over the association that asks (PS3.4 C.4.3)."""

from __future__ import annotations

import argparse
import itertools
from typing import TYPE_CHECKING, Any, Final

from dimse_rs import SOPClass, sop_class as uids
from dimse_rs.contexts import DEFAULT_TRANSFER_SYNTAXES, MAX_CONTEXTS, expand, for_retrieve

from .options import add_already_so, peer_and_rest, requestor
from .parser import Parser
from .query import (
    add_extended_options,
    add_key_options,
    add_request_options,
    associated,
    identifiers,
    model_of,
    proposed,
)
from .retrieval import Retrieval
from .storing import add_storage_options, save, storage_of

if TYPE_CHECKING:
    from dimse_rs import Storage, StoreRequest
    from dimse_rs.contexts import Context

    from .output import Output

__all__ = ["parser", "run"]

EXAMPLES = """\
  dimse getscu -S -L STUDY -k StudyInstanceUID=1.2.3 -od study PACS@10.1.2.3:11112
  dimse getscu -P -aec PACS 10.1.2.3 11112 -k 0008,0052=PATIENT -k 0010,0020=4711 +xv
  dimse getscu -S -L SERIES --json -od in PACS@10.1.2.3:11112 query.dcm"""

# DCMTK's options, and the syntax that each places before the uncompressed ones.
_PREFERRED: Final = (
    ("+xs", "--prefer-lossless", uids.JPEGLosslessSV1),
    ("+xy", "--prefer-jpeg8", uids.JPEGBaseline8Bit),
    ("+xx", "--prefer-jpeg12", uids.JPEGExtended12Bit),
    ("+xv", "--prefer-j2k-lossless", uids.JPEG2000Lossless),
    ("+xw", "--prefer-j2k-lossy", uids.JPEG2000),
    ("+xt", "--prefer-jls-lossless", uids.JPEGLSLossless),
    ("+xu", "--prefer-jls-lossy", uids.JPEGLSNearLossless),
    ("+xm", "--prefer-mpeg2", uids.MPEG2MPML),
    ("+xh", "--prefer-mpeg2-high", uids.MPEG2MPHL),
    ("+xn", "--prefer-mpeg4", uids.MPEG4HP41),
    ("+xl", "--prefer-mpeg4-bd", uids.MPEG4HP41BD),
    ("+x2", "--prefer-mpeg4-2-2d", uids.MPEG4HP422D),
    ("+x3", "--prefer-mpeg4-2-3d", uids.MPEG4HP423D),
    ("+xo", "--prefer-mpeg4-2-st", uids.MPEG4HP42STEREO),
    ("+x4", "--prefer-hevc", uids.HEVCMP51),
    ("+x5", "--prefer-hevc10", uids.HEVCM10P51),
    ("+xr", "--prefer-rle", uids.RLELossless),
    ("+xd", "--prefer-deflated", uids.DeflatedExplicitVRLittleEndian),
    ("+xb", "--prefer-big", uids.ExplicitVRBigEndian),
)


def parser() -> Parser:
    """Build the command line."""
    result = requestor(
        "getscu",
        "Retrieve instances over the requesting association, into a folder, unchanged.\n"
        "Uncompressed transfer syntaxes are proposed, and those of +x.. before them. With --class\n"
        "each instance can come in the preferred syntax in which the peer has it.",
        EXAMPLES,
        "[options] (AET@host:port | host port) [file...]",
    )
    add_key_options(result, "patient", "study", "psonly")
    add_extended_options(result, "relational", "enhanced_conversion")
    add_request_options(result, "instances that the peer may have outstanding")
    result.add_argument(
        "--lenient-roles",
        action="store_true",
        help="accept instances from a peer that answers no role selection, or sends them on the "
        "presentation context of the request",
    )
    _add_syntax_options(result)
    add_storage_options(result, mode="fast")
    return result


def _add_syntax_options(result: Parser) -> None:
    group = result.add_argument_group("instances")
    group.add_argument(
        "--class",
        dest="classes",
        metavar="CLASS",
        action="append",
        type=_storage_class,
        help="propose this storage class, by keyword or UID; repeatable "
        "(default: the 120 most used)",
    )
    group.add_argument(
        *("+xi", "--implicit"),
        action="store_true",
        help="propose implicit LE only, for every class",
    )
    for short, long, syntax in _PREFERRED:
        group.add_argument(
            short,
            long,
            dest="prefer",
            action="append_const",
            const=syntax,
            default=[],
            help=f"prefer {syntax.name}",
        )
    add_already_so(group, [("+x=", "+xe", "--prefer-uncompr", "--prefer-little")])


def _storage_class(text: str) -> SOPClass:
    found = getattr(uids, text, None) if text[:1].isupper() else uids.SOP_CLASSES.get(text)
    if not isinstance(found, SOPClass) or not found.is_storage:
        raise argparse.ArgumentTypeError(f"no storage class: {text!r}")
    return found


def run(parser: Parser, args: argparse.Namespace, output: Output) -> int:
    """Retrieve."""
    peer, files = peer_and_rest(parser, args)
    requests = identifiers(parser, args, files, output)
    contexts = _contexts(args)
    into = _into(storage_of(args, output, unknown=True), output)
    retrieval = Retrieval(args, output)
    model = model_of(args)
    with associated(
        parser,
        args,
        output,
        peer,
        contexts,
        model=model.get,
        max_ops_performed=args.max_ops,
        lenient_roles=args.lenient_roles,
    ) as association:
        for request in requests:
            retrieval.follow(association.c_get(request, model=model, into=into))
    return retrieval.finish()


def _contexts(args: argparse.Namespace) -> tuple[Context, ...]:
    """Propose every class in each group of syntaxes, in contexts of their own if these fit.

    A peer picks one syntax of a context for all its instances. With a context for each syntax, it
    can send each instance in the syntax in which it has it.
    """
    classes = args.classes or uids.MOST_USED_STORAGE
    request = proposed(args, model_of(args).get)
    native = (uids.ImplicitVRLittleEndian,) if args.implicit else DEFAULT_TRANSFER_SYNTAXES
    groups = [*((syntax,) for syntax in args.prefer), native]
    # One of the 128 contexts is that of the C-GET itself.
    if len(classes) * len(groups) >= MAX_CONTEXTS:
        groups = [tuple(itertools.chain(*groups))]
    return expand([request, [for_retrieve((), classes, syntaxes) for syntaxes in groups]])


def _into(storage: Storage | None, output: Output) -> Any:
    """Choose the destination: the folder, written by the core; a handler if events are wanted."""
    if storage is None:
        return lambda request: None
    if not output.wants_events:
        return storage

    def receive(request: StoreRequest) -> None:
        save(request, storage, output)

    return receive
