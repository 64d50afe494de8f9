"""Levels and keys of the Query/Retrieve information models (PS3.4 C.3, C.4, C.6).

Checks whether an identifier can be served in a model, and refuses it with a status and the element
at fault. `index` knows the stored instances; this module does not.

Two liberties are allowed that the standard does not give a peer: keys of levels above the level of
the query, and a query without the unique key of its own level.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from dimse_rs import Model
from dimse_rs.datasets import quietly
from dimse_rs.sop_class import (
    CompositeInstanceRoot,
    PatientRoot,
    PatientStudyOnly,
    StudyRoot,
    WithoutBulkData,
)

from ._values import texts
from .matching import DOES_NOT_MATCH, QUERY, IdentifierError, Matcher, Rules

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["LEVELS", "MODELS", "UNIQUE_KEYS", "Find", "Retrieve", "check_find", "check_retrieve"]
__all__ += ["level_of", "model_of", "never", "tags"]

LEVELS: Final = ("PATIENT", "STUDY", "SERIES", "IMAGE")
"""Query/Retrieve Levels, from the top (PS3.4 C.3)."""

UNIQUE_KEYS: Final = {
    "PATIENT": 0x00100020,
    "STUDY": 0x0020000D,
    "SERIES": 0x0020000E,
    "IMAGE": 0x00080018,
}
"""The attribute that identifies an entity of a level (PS3.4 C.6.1.1, C.6.2.1)."""

MODELS: Final[dict[Model, tuple[str, ...]]] = {
    PatientRoot: LEVELS,
    StudyRoot: LEVELS[1:],
    PatientStudyOnly: LEVELS[:2],
    CompositeInstanceRoot: LEVELS[3:],
    WithoutBulkData: LEVELS[3:],
}
"""The levels of each model. FRAME, of Composite Instance Root, is not served (PS3.4 Y.6)."""

LEVEL: Final = 0x00080052
RETRIEVE_AE_TITLE: Final = 0x00080054
AVAILABILITY: Final = 0x00080056
_ISSUER: Final = 0x00100021

# The attributes that are keys, by level: those of the modules of PS3.3 C.7, and those that PS3.4
# C.6 names. An index keeps these of an instance; every other attribute is unsupported (FF01).
_KEYS: Final = {
    "PATIENT": """
        PatientName PatientID IssuerOfPatientID TypeOfPatientID PatientBirthDate PatientBirthTime
        PatientSex OtherPatientIDs OtherPatientIDsSequence OtherPatientNames EthnicGroup
        PatientComments PatientSpeciesDescription PatientBreedDescription ResponsiblePerson
        QualityControlSubject PatientIdentityRemoved
        NumberOfPatientRelatedStudies NumberOfPatientRelatedSeries NumberOfPatientRelatedInstances
    """,
    "STUDY": """
        StudyInstanceUID StudyID StudyDate StudyTime StudyDescription AccessionNumber
        IssuerOfAccessionNumberSequence ReferringPhysicianName PhysiciansOfRecord
        NameOfPhysiciansReadingStudy ProcedureCodeSequence AdmittingDiagnosesDescription
        AdmittingDiagnosesCodeSequence RequestingService AdmissionID PatientAge PatientSize
        PatientWeight Occupation AdditionalPatientHistory MedicalAlerts Allergies PregnancyStatus
        ModalitiesInStudy SOPClassesInStudy
        NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances
    """,
    "SERIES": """
        SeriesInstanceUID Modality SeriesNumber SeriesDate SeriesTime SeriesDescription
        SeriesDescriptionCodeSequence BodyPartExamined Laterality PatientPosition ProtocolName
        OperatorsName PerformingPhysicianName PresentationIntentType FrameOfReferenceUID
        PerformedProcedureStepID PerformedProcedureStepDescription
        PerformedProcedureStepStartDate PerformedProcedureStepStartTime
        PerformedProcedureStepEndDate PerformedProcedureStepEndTime
        ReferencedPerformedProcedureStepSequence RequestAttributesSequence
        Manufacturer ManufacturerModelName InstitutionName InstitutionalDepartmentName StationName
        DeviceSerialNumber SoftwareVersions NumberOfSeriesRelatedInstances
    """,
    "IMAGE": """
        SOPInstanceUID SOPClassUID InstanceNumber InstanceCreationDate InstanceCreationTime
        ContentDate ContentTime AcquisitionDate AcquisitionTime AcquisitionDateTime
        AcquisitionNumber ImageType ImageComments Rows Columns BitsAllocated NumberOfFrames
        PhotometricInterpretation SliceLocation ConceptNameCodeSequence CompletionFlag
        VerificationFlag DocumentTitle ContentLabel ContentDescription
    """,
}


@cache
def _levels_of_tags() -> dict[int, str]:
    from dimse_rs.encoding.library import tag_for_keyword

    return {
        tag: level
        for level, keywords in _KEYS.items()
        for keyword in keywords.split()
        if (tag := tag_for_keyword(keyword)) is not None
    }


def level_of(tag: int) -> str:
    """Give the level that a key belongs to; empty when the attribute is no key."""
    return _levels_of_tags().get(tag, "")


def tags() -> list[int]:
    """List every attribute that is a key."""
    return list(_levels_of_tags())


def model_of(sop_class: str) -> Model | None:
    """Find the model that a SOP Class belongs to, among those that have levels."""
    return next((model for model in MODELS if sop_class in tuple(model)), None)


def never() -> bool:
    """Say that a search is not cancelled: for a search that no peer waits for."""
    return False


@dataclass(frozen=True, slots=True)
class Find:
    """A C-FIND identifier that can be served.

    Attributes:
        level: of the entities to be found.
        matcher: decides on entities and makes the responses; its `pending` is their status.
        unique: by level, the values of unique keys that narrow the search.
        cancelled: whether the peer sent C-CANCEL or the association is over, so that matches are of
            no use any more. A search calls this again and again, also while nothing matches.
    """

    level: str
    matcher: Matcher
    unique: dict[str, tuple[str, ...]]
    cancelled: Callable[[], bool] = never


@dataclass(frozen=True, slots=True)
class Retrieve:
    """A C-GET or C-MOVE identifier that can be served.

    Attributes:
        level: of the entities to be retrieved.
        unique: by level, the unique keys of the entities.
        issuer: of the Patient ID, if the identifier names one: two issuers may give the same ID.
    """

    level: str
    unique: dict[str, tuple[str, ...]]
    issuer: str = ""


@quietly
def check_find(
    identifier: Dataset, model: Model, *, relational: bool = False, rules: Rules = QUERY
) -> Find:
    """Check a C-FIND identifier against a model.

    Args:
        identifier: as received.
        model: one of `MODELS`.
        relational: whether relational queries were agreed: keys of every level, in any
            combination. Otherwise the unique key of every level above has exactly one value.
        rules: of matching, as agreed.

    Raises:
        IdentifierError: A900 with the offending element, or C000 beyond a limit.
        KeyError: the model has no levels.

    Source: PS3.4 C.4.1.2, C.4.1.3.
    """
    level, above = _level(identifier, model)
    unique: dict[str, tuple[str, ...]] = {}
    # A Patient ID of a relational query or of the PATIENT level itself narrows nothing here: it may
    # have wild cards, which the matcher compares. UIDs have none (PS3.4 C.2.2.2.2).
    for upper in above:
        values = _unique(identifier, upper)
        if not relational:
            unique[upper] = (_single(values, upper),)
        elif upper != "PATIENT" and values:
            unique[upper] = values
    if level != "PATIENT" and (values := _unique(identifier, level)):
        unique[level] = values
    deepest = LEVELS.index(level)

    def supported(tag: int) -> bool:
        found = level_of(tag)
        return tag in (RETRIEVE_AE_TITLE, AVAILABILITY) or (
            found != "" and LEVELS.index(found) <= deepest
        )

    return Find(level, Matcher(identifier, rules, supported=supported), unique)


@quietly
def check_retrieve(identifier: Dataset, model: Model, *, relational: bool = False) -> Retrieve:
    """Check a C-GET or C-MOVE identifier against a model.

    Args:
        identifier: as received; attributes other than level, unique keys and the issuer of the
            Patient ID are ignored.
        model: one of `MODELS`.
        relational: whether relational retrieval was agreed: the levels above need not be named.

    Raises:
        IdentifierError: A900 with the offending element.
        KeyError: the model has no levels.

    Source: PS3.4 C.4.2.2, C.4.3.2.
    """
    level, above = _level(identifier, model)
    unique: dict[str, tuple[str, ...]] = {}
    for upper in above:
        values = _unique(identifier, upper)
        if values or not relational:
            unique[upper] = (_single(values, upper),)
    # A list of UIDs retrieves several entities; of patients there is one (PS3.4 C.4.2.2).
    values = _unique(identifier, level)
    unique[level] = values if values and level != "PATIENT" else (_single(values, level),)
    issuers = _values(identifier, _ISSUER, "LO")
    return Retrieve(level, unique, issuers[0] if len(issuers) == 1 else "")


def _level(identifier: Dataset, model: Model) -> tuple[str, tuple[str, ...]]:
    """Give the level of an identifier, and the model's levels above it."""
    levels = MODELS[model]
    values = _values(identifier, LEVEL, "CS")
    if len(values) != 1:
        raise IdentifierError(DOES_NOT_MATCH, "(0008,0052) is missing", LEVEL)
    if values[0] not in levels:
        raise IdentifierError(DOES_NOT_MATCH, f"(0008,0052) is no level of {model.name}", LEVEL)
    return values[0], levels[: levels.index(values[0])]


def _unique(identifier: Dataset, level: str) -> tuple[str, ...]:
    return tuple(_values(identifier, UNIQUE_KEYS[level], "LO" if level == "PATIENT" else "UI"))


def _single(values: tuple[str, ...], level: str) -> str:
    tag = UNIQUE_KEYS[level]
    name = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    if not values:
        raise IdentifierError(DOES_NOT_MATCH, f"{name} is missing", tag)
    if len(values) > 1 or "*" in values[0] or "?" in values[0]:
        raise IdentifierError(DOES_NOT_MATCH, f"{name} is not a single value", tag)
    return values[0]


def _values(identifier: Dataset, tag: int, vr: str) -> list[str]:
    with suppress(Exception):  # pydicom raises whatever comes up while it decodes
        element = identifier.get(tag)
        return [] if element is None or element.VR == "SQ" else texts(element.value, vr)
    name = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    raise IdentifierError(DOES_NOT_MATCH, f"{name} cannot be read", tag)
