"""`dimse mppsscu`: report a performed procedure step (PS3.4 F)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, cast

from dimse_rs.contexts import Context
from dimse_rs.errors import DecodeError
from dimse_rs.sop_class import ModalityPerformedProcedureStep

from .exits import CliError, ExitCode
from .keys import apply, read_file
from .options import PROPOSALS, add_propose_options, add_report_option, peer_and_rest, requestor
from .parser import Parser
from .query import add_key_option, associated

# The elements of an instance that describe its series: Series Instance UID, Protocol Name, Series
# Description, Modality, Performing Physician's Name, Operators' Name, and Rows of an image.
_OF_SERIES = (0x0020000E, 0x00181030, 0x0008103E, 0x00080060, 0x00081050, 0x00081070, 0x00280010)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dimse_rs import Association, Response

    from .output import Output

__all__ = ["parser", "run"]

EXAMPLES = """\
  dimse mwlscu WORK@10.1.2.3:11112 -k PatientID=4711 -X -Xlo 1
  dimse mppsscu create RIS@10.1.2.3:11112 --worklist rsp0001.dcm -k PerformedStationName=CT1
  dimse mppsscu set RIS@10.1.2.3:11112 --uid 2.25.4711 --completed --images study/
  dimse mppsscu set -aec RIS 10.1.2.3 11112 --uid 2.25.4711 --exact attributes.dcm"""

ACTIONS = ("create", "set")


def parser() -> Parser:
    """Build the command line."""
    result = requestor(
        "mppsscu",
        "Report a performed procedure step: create the step, and print its UID; then set its\n"
        "attributes, at last its end. Required attributes that are not given are added.",
        EXAMPLES,
        "create|set [options] (AET@host:port | host port) [file]",
    )
    group = result.add_argument_group("step")
    add_key_option(group, "replaces that of the file")
    group.add_argument(
        "--uid", metavar="UID", help="SOP Instance UID of the step (create: default a new one)"
    )
    group.add_argument(
        "--worklist", metavar="FILE", help="create: from this worklist item, as findscu -X writes"
    )
    group.add_argument(
        "--images",
        metavar="PATH",
        action="append",
        default=[],
        help="set: fill Performed Series Sequence from these files and directories",
    )
    end = group.add_mutually_exclusive_group()
    for name, text in (
        ("completed", "the step is completed"),
        ("discontinued", "it is discontinued"),
    ):
        end.add_argument(
            f"--{name}", dest="end", action="store_const", const=name, help=f"set: {text}"
        )
    group.add_argument(
        "--exact", action="store_true", help="send the given attributes alone, add none"
    )
    group = result.add_argument_group("request")
    add_propose_options(group)
    group.add_argument("--abort", action="store_true", help="abort in place of releasing")
    add_report_option(group)
    return result


def run(parser: Parser, args: argparse.Namespace, output: Output) -> int:
    """Report."""
    action = args.parameters.pop(0) if args.parameters else ""
    if action not in ACTIONS:
        parser.error(f"the action is missing: {' or '.join(ACTIONS)}")
    peer, files = peer_and_rest(parser, args)
    _check(parser, args, action, files)
    attributes = _attributes(args, files)
    context = Context(ModalityPerformedProcedureStep, PROPOSALS.get(args.propose))
    with associated(parser, args, output, peer, context) as association:
        ask = _create if action == "create" else _set
        uid, response = ask(association, args, attributes)
    status = response.status
    output.event("sent", uid=uid, status=status, comment=response.comment)
    if action == "create":
        output.data(uid)
    if status.category == "warning":
        output.log.warning("%s, %s", status, response.comment)
        return ExitCode.WARNINGS
    return ExitCode.OK


def _check(parser: Parser, args: argparse.Namespace, action: str, files: list[str]) -> None:
    if len(files) > 1:
        parser.error(f"too many parameters: {' '.join(files[1:])}")
    if action == "set":
        if args.uid is None:
            parser.error("the UID of the step is missing: --uid")
        if args.worklist:
            parser.error("--worklist goes with create")
    elif args.end or args.images:
        parser.error("--completed, --discontinued and --images go with set")
    if args.exact and (args.worklist or args.end or args.images):
        parser.error("--exact sends what is in the file and the keys alone")


def _attributes(args: argparse.Namespace, files: list[str]) -> Dataset:
    from dimse_rs.encoding.library import Dataset
    from dimse_rs.services.mpps import from_worklist

    attributes = read_file(files[0]) if files else Dataset()
    if args.worklist:
        attributes.update(from_worklist(read_file(args.worklist)))
    if args.images:
        attributes.PerformedSeriesSequence = _series(args.images)
    apply(args.keys, attributes)
    return attributes


def _create(
    association: Association, args: argparse.Namespace, attributes: Dataset
) -> tuple[str, Response]:
    from dimse_rs.services import PerformedStep

    if args.exact:
        response = association.n_create(
            attributes, sop_class=ModalityPerformedProcedureStep, instance_uid=args.uid
        )
        return response.instance_uid or args.uid or "", response
    step = PerformedStep.start(association, attributes, instance_uid=args.uid)
    return step.instance_uid, cast("Response", step.response)


def _set(
    association: Association, args: argparse.Namespace, attributes: Dataset
) -> tuple[str, Response]:
    from dimse_rs.services import PerformedStep

    step = PerformedStep(association, args.uid)
    if args.end == "completed":
        return args.uid, step.complete(attributes)
    if args.end == "discontinued":
        return args.uid, step.discontinue(attributes)
    return args.uid, step.update(attributes)


def _series(paths: list[str]) -> list[Dataset]:
    """Make the items of Performed Series Sequence: the series of some files (PS3.3 C.4.15)."""
    from dimse_rs.contexts import FileInfo
    from dimse_rs.datasets import read
    from dimse_rs.encoding.library import Dataset
    from dimse_rs.send import look_at

    made: dict[str, Dataset] = {}
    for file in look_at(paths):
        if not isinstance(file, FileInfo):
            raise CliError(ExitCode.INPUT, str(file.error))
        try:
            instance = read(file.path, only=_OF_SERIES)
        except (DecodeError, OSError) as error:
            raise CliError(ExitCode.INPUT, str(error)) from error
        uid = str(instance.get("SeriesInstanceUID", ""))
        if uid not in made:
            made[uid] = _one_series(instance)
        reference = Dataset()
        reference.ReferencedSOPClassUID = str(file.sop_class)
        reference.ReferencedSOPInstanceUID = file.sop_instance
        # Only images go into Referenced Image Sequence; Rows tells them apart (PS3.3 C.4.15).
        kind = "Image" if "Rows" in instance else "NonImageCompositeSOPInstance"
        made[uid][f"Referenced{kind}Sequence"].value.append(reference)
    if not made:
        raise CliError(ExitCode.INPUT, f"no DICOM files in {', '.join(paths)}")
    return list(made.values())


def _one_series(instance: Dataset) -> Dataset:
    from dimse_rs.encoding.library import Dataset

    def get(*keywords: str) -> Any:
        return next((value for keyword in keywords if (value := instance.get(keyword))), None)

    series = Dataset()
    series.SeriesInstanceUID = get("SeriesInstanceUID")
    series.ProtocolName = get("ProtocolName", "SeriesDescription", "Modality")
    series.SeriesDescription = get("SeriesDescription")
    series.PerformingPhysicianName = get("PerformingPhysicianName")
    series.OperatorsName = get("OperatorsName")
    series.RetrieveAETitle = None
    series.ReferencedImageSequence = []
    series.ReferencedNonImageCompositeSOPInstanceSequence = []
    return series
