"""`dimse mwlscu`: query a modality worklist (PS3.4 K)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from .findscu import add_output_options, query
from .options import peer_and_rest, requestor
from .parser import Parser
from .query import add_key_options, identifiers

if TYPE_CHECKING:
    from .output import Output

__all__ = ["parser", "run"]

EXAMPLES = """\
  dimse mwlscu WORK@10.1.2.3:11112
  dimse mwlscu WORK@10.1.2.3:11112 -k "(0040,0100)[0].Modality=CT" --json
  dimse mwlscu -k "ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate=20260101-" \\
      -aec WORK 10.1.2.3 11112"""

# The return keys of a modality: those of type 1, and those that it shows (PS3.4 K.6.1).
_STEP: Final = "ScheduledProcedureStepSequence[0]."
_DEFAULTS: Final = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientWeight"),
    *("MedicalAlerts", "Allergies", "PregnancyStatus"),
    *("AccessionNumber", "ReferringPhysicianName", "StudyInstanceUID"),
    *("RequestedProcedureID", "RequestedProcedureDescription", "RequestedProcedureCodeSequence"),
    *("RequestedProcedurePriority", "AdmissionID", "CurrentPatientLocation"),
    _STEP + "Modality",
    _STEP + "ScheduledStationAETitle",
    _STEP + "ScheduledStationName",
    _STEP + "ScheduledProcedureStepStartDate",
    _STEP + "ScheduledProcedureStepStartTime",
    _STEP + "ScheduledPerformingPhysicianName",
    _STEP + "ScheduledProcedureStepID",
    _STEP + "ScheduledProcedureStepDescription",
    _STEP + "ScheduledProtocolCodeSequence",
    _STEP + "ScheduledProcedureStepLocation",
)


def parser() -> Parser:
    """Build the command line."""
    result = requestor(
        "mwlscu",
        "Query a modality worklist for scheduled procedure steps. The usual return keys are\n"
        "requested; -k narrows the query, or adds keys.",
        EXAMPLES,
        "[options] (AET@host:port | host port) [file...]",
    )
    add_key_options(result, "worklist")
    add_output_options(result)
    return result


def run(parser: Parser, args: argparse.Namespace, output: Output) -> int:
    """Query."""
    peer, files = peer_and_rest(parser, args)
    return query(parser, args, output, peer, identifiers(parser, args, files, output, _DEFAULTS))
