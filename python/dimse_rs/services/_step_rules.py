"""The rules of a performed procedure step, pure functions over data sets (PS3.4 F.7.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from dimse_rs.datasets import data_set_of, quietly
from dimse_rs.errors import StatusError
from dimse_rs.status import (
    ATTRIBUTES_NOT_SUPPORTED,
    INVALID_ATTRIBUTE_VALUE,
    MISSING_ATTRIBUTE,
    MISSING_ATTRIBUTE_VALUE,
    NO_SUCH_ATTRIBUTE,
    PROCESSING_FAILURE,
)

from ._sequences import items_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["COMPLETED", "DISCONTINUED", "IN_PROGRESS", "NO_LONGER", "TYPE_2", "changed"]
__all__ += ["created", "fill", "selected", "status_of", "tag_of"]

IN_PROGRESS: Final = "IN PROGRESS"
COMPLETED: Final = "COMPLETED"
DISCONTINUED: Final = "DISCONTINUED"

NO_LONGER: Final = 0xA710
_NO_LONGER_TEXT: Final = "Performed Procedure Step Object may no longer be updated"

# PS3.4 Table F.7.2-1, a row of the table for each: type 1 at N-CREATE; type 2 at N-CREATE, made
# empty when a modality leaves the attribute out; type 1 in the final state, of the step and of each
# of its series; not allowed in N-SET.
_TYPE_1: Final = (
    "ScheduledStepAttributesSequence",
    "PerformedProcedureStepID",
    "PerformedStationAETitle",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "PerformedProcedureStepStatus",
    "Modality",
)
TYPE_2: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "ReferencedPatientSequence",
    "PerformedStationName",
    "PerformedLocation",
    "PerformedProcedureStepDescription",
    "PerformedProcedureTypeDescription",
    "ProcedureCodeSequence",
    "PerformedProcedureStepEndDate",
    "PerformedProcedureStepEndTime",
    "StudyID",
    "PerformedProtocolCodeSequence",
    "PerformedSeriesSequence",
)
_FINAL: Final = (
    "PerformedProcedureStepEndDate",
    "PerformedProcedureStepEndTime",
    "PerformedSeriesSequence",
)
_FINAL_SERIES: Final = ("SeriesInstanceUID", "ProtocolName")
_FIXED: Final = (
    "ScheduledStepAttributesSequence",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "ReferencedPatientSequence",
    "PerformedProcedureStepID",
    "PerformedStationAETitle",
    "PerformedStationName",
    "PerformedLocation",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "Modality",
    "StudyID",
)


@quietly
def created(attributes: Dataset) -> Dataset:
    """Make a step of the attributes of an N-CREATE, which may leave out those of type 2.

    Raises:
        StatusError: 0120, 0121 or 0106, with the attributes at fault.

    Source: PS3.4 F.7.2.1.
    """
    _check_present(attributes, _TYPE_1)
    for item in items_of(attributes, "ScheduledStepAttributesSequence", INVALID_ATTRIBUTE_VALUE):
        _check_present(item, ("StudyInstanceUID",))
    if status_of(attributes) != IN_PROGRESS:
        raise _invalid(attributes, "PerformedProcedureStepStatus", f"is not {IN_PROGRESS}")
    step = data_set_of(attributes)
    fill(step, TYPE_2)
    return step


@quietly
def changed(step: Dataset, modifications: Dataset, *, lenient: bool = False) -> Dataset:
    """Make the step that an N-SET turns a step into; the given step stays as it is.

    Args:
        step: before the N-SET.
        modifications: the Modification List.
        lenient: allow attributes that were not created, and DISCONTINUED without a series, as
            modalities send them against the rules.

    Raises:
        StatusError: 0110 with Error ID A710 when the step is final; 0105 for attributes that were
            not created; 0106 for a value that is not allowed or may not change; 0120 or 0121 when
            a final state lacks an attribute that it requires.

    Source: PS3.4 F.7.2.2.
    """
    if status_of(step) != IN_PROGRESS:
        raise StatusError(PROCESSING_FAILURE, _NO_LONGER_TEXT, elements={"ErrorID": NO_LONGER})
    unknown = [int(e.tag) for e in modifications if e.tag not in step and e.tag != 0x00080005]
    if unknown and not lenient:
        raise StatusError(
            NO_SUCH_ATTRIBUTE,
            f"{_name_of(unknown[0])} was not created",
            elements={"AttributeIdentifierList": unknown},
        )
    # A fixed attribute may be repeated; only another value is refused.
    for keyword in _FIXED:
        known = keyword in modifications and keyword in step
        if known and modifications[keyword].value != step[keyword].value:
            raise _invalid(modifications, keyword, "may not be changed")
    # Sequences are replaced whole, because nothing identifies the items of two sequences.
    merged = data_set_of(step)
    merged.update(modifications)
    if status_of(merged) not in (IN_PROGRESS, COMPLETED, DISCONTINUED):
        raise _invalid(modifications, "PerformedProcedureStepStatus", "is no state")
    if status_of(merged) != IN_PROGRESS:
        # Checked of the step and not of the N-SET: earlier ones may have set a part.
        seriesless = lenient and status_of(merged) == DISCONTINUED
        _check_present(merged, _FINAL[:-1] if seriesless else _FINAL)
        for item in items_of(merged, "PerformedSeriesSequence", INVALID_ATTRIBUTE_VALUE):
            _check_present(item, _FINAL_SERIES)
    charset = _combined(_charset(step), _charset(modifications))
    if charset:
        merged.SpecificCharacterSet = charset
    return merged


@quietly
def selected(step: Dataset, attributes: Sequence[int]) -> tuple[int, Dataset]:
    """Select attributes of a step for an N-GET; an empty list selects all.

    Returns:
        The status, 0001 when the step lacks an attribute of the list, and the attributes it has.

    Source: PS3.4 F.8.2.1.
    """
    from dimse_rs.encoding.library import Dataset

    if not attributes:
        return 0, step  # encoded by the caller; a step that is stored never changes
    found = Dataset()
    charset = _charset(step)
    if charset:
        found.SpecificCharacterSet = charset
    for tag in attributes:
        if tag in step:
            found.add(step[tag])
    return (0 if all(tag in step for tag in attributes) else ATTRIBUTES_NOT_SUPPORTED), found


def _check_present(dataset: Dataset, keywords: Sequence[str]) -> None:
    missing = [keyword for keyword in keywords if keyword not in dataset]
    if missing:
        raise StatusError(
            MISSING_ATTRIBUTE,
            f"{missing[0]} is missing",
            elements={"AttributeIdentifierList": [tag_of(keyword) for keyword in missing]},
        )
    empty = [keyword for keyword in keywords if dataset[keyword].is_empty]
    if empty:
        raise StatusError(
            MISSING_ATTRIBUTE_VALUE, f"{empty[0]} has no value", dataset=_only(dataset, empty)
        )


def _invalid(dataset: Dataset, keyword: str, why: str) -> StatusError:
    return StatusError(
        INVALID_ATTRIBUTE_VALUE, f"{keyword} {why}", dataset=_only(dataset, [keyword])
    )


def _only(dataset: Dataset, keywords: Sequence[str]) -> Dataset:
    from dimse_rs.encoding.library import Dataset

    part = Dataset()
    if charset := _charset(dataset):
        part.SpecificCharacterSet = charset
    for keyword in keywords:
        part.add(dataset[keyword])
    return part


def fill(dataset: Dataset, keywords: Sequence[str]) -> None:
    for keyword in keywords:
        if keyword not in dataset:
            setattr(dataset, keyword, [] if keyword.endswith("Sequence") else None)


def status_of(dataset: Dataset) -> str:
    return str(dataset.get("PerformedProcedureStepStatus") or "").strip()


def _charset(dataset: Dataset) -> list[str]:
    value = dataset.get("SpecificCharacterSet") or []
    # pydicom gives a single value as text, several as a list.
    return [value] if isinstance(value, str) else [str(one) for one in value]


def _combined(one: list[str], other: list[str]) -> list[str]:
    """Give a character set that holds the text of both.

    The values are decoded by now, each with the character set that came with it, so that another
    one may encode them.
    """
    if one == other or not one or not other:
        return one or other
    return ["ISO_IR 192"]


def tag_of(keyword: str) -> int:
    from dimse_rs.encoding.library import tag_for_keyword

    return int(tag_for_keyword(keyword) or 0)


def _name_of(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
