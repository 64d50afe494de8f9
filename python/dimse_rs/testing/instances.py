"""Small, deterministic instances of every storage class, for tests.

An instance is a pydicom data set with file meta information. What is given by keyword stands in it
as it is given; UIDs that are not given follow from Patient ID, Study ID, the numbers of series and
instance, and the class: the same call makes the same instance, in every process.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dimse_rs import SOPClass
from dimse_rs.datasets import data_set_of, from_bytes, quietly
from dimse_rs.sop_class import CTImageStorage, ExplicitVRLittleEndian

from ._profiles import PROFILES, Pixels, Profile

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["make_instance", "make_study", "write_files"]

_SIDE: Final = 16
"""Rows and columns of an image."""

_NAMESPACE: Final = uuid.UUID("6f1c1ed0-5e0f-4e2b-9f6b-1d8f4b7f2a10")
"""Of the UIDs that are made here."""

_DEPTHS: Final[Mapping[Pixels, dict[str, Any]]] = {
    "bit": {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelRepresentation": 0},
    "byte": {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0},
    "word": {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0},
    "whole": {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0},
    "signed": {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1},
    "deep": {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31, "PixelRepresentation": 0},
    "rgb": {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0},
    "float": {"BitsAllocated": 32},
    "double": {"BitsAllocated": 64},
}


@quietly
def make_instance(sop_class: str = CTImageStorage, /, **attributes: Any) -> Dataset:
    """Make a small instance of a storage class.

    Images have 16 rows and columns, in Explicit VR Little Endian, and pixel values that differ from
    instance to instance; other sizes and depths follow from the attributes that say them.

    Args:
        sop_class: the storage class, of the standard or registered; an unknown one has the common
            modules and no pixel data.
        attributes: by keyword, such as `PatientName="Doe^Jane"`, `InstanceNumber=7`, `Rows=512`;
            they replace what would be there. None leaves an attribute out. A sequence is a list of
            mappings.

    Returns:
        A data set with file meta information: `save_as`, `AE.send`, `c_store` take it as it is.

    Raises:
        DecodeError: a keyword that the data dictionary does not have, or no value for it.
    """
    sop_class = SOPClass.of(sop_class)
    profile = PROFILES.get(sop_class, Profile("OT"))
    values: dict[str, Any] = {"SOPClassUID": sop_class}
    values |= {"Manufacturer": "dimse_rs", "InstanceNumber": 1}
    if profile.patient:
        values |= _PATIENT | {"Modality": profile.modality, "SeriesNumber": 1}
    values |= _image(profile) if profile.pixels else {}
    values |= profile.more or {}
    values |= attributes
    values |= {name: uid for name, uid in _uids(values, profile).items() if name not in attributes}
    values |= {name: value for name, value in _places(values).items() if name not in attributes}
    made = data_set_of({name: value for name, value in values.items() if value is not None})
    made = with_file_meta(made, ExplicitVRLittleEndian)
    if profile.pixels and "PixelData" not in attributes:
        _draw(made, profile.pixels)
    for element in made:
        if element.VR == "US or SS":  # (0028,0103) decides, and an object without pixels has none
            element.VR = "SS" if made.get("PixelRepresentation") else "US"
    return made


def with_file_meta(dataset: Dataset, transfer_syntax: str) -> Dataset:
    """Copy a data set and give the copy file meta information for this encoding."""
    made = from_bytes(b"", transfer_syntax, file_meta=True)
    made.update(data_set_of(dataset))
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


_PATIENT: Final = {
    "PatientName": "Test^Patient",
    "PatientID": "TEST",
    "PatientBirthDate": "19700101",
    "PatientSex": "O",
    "StudyID": "1",
    "StudyDate": "20260101",
    "StudyTime": "120000",
    "AccessionNumber": "A1",
    "ReferringPhysicianName": "",
}


def _uids(values: Mapping[str, Any], profile: Profile) -> dict[str, str]:
    """Give the UIDs that follow from the other values."""
    of = [str(values.get(name)) for name in ("PatientID", "StudyID")]
    study = str(values.get("StudyInstanceUID") or made_uid("study", *of))
    series = str(
        values.get("SeriesInstanceUID")
        or made_uid("series", study, values.get("SeriesNumber"), values.get("Modality"))
    )
    instance = made_uid("instance", series, values["SOPClassUID"], values.get("InstanceNumber"))
    found = {"SOPInstanceUID": instance}
    if profile.patient:
        found |= {"StudyInstanceUID": study, "SeriesInstanceUID": series}
    if "PixelSpacing" in values or "PositionReferenceIndicator" in values:
        found["FrameOfReferenceUID"] = made_uid("frame of reference", study)
    return found


def made_uid(*parts: object) -> str:
    """Give the UID that always follows from these parts (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(map(str, parts))).int}"


def _image(profile: Profile) -> dict[str, Any]:
    depth = _DEPTHS[profile.pixels]
    colours = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"}
    if profile.pixels == "rgb":
        colours = {
            "SamplesPerPixel": 3,
            "PhotometricInterpretation": "RGB",
            "PlanarConfiguration": 0,
        }
    frames = {"NumberOfFrames": profile.frames} if profile.frames else {}
    return {
        "BodyPartExamined": "CHEST",
        "Rows": _SIDE,
        "Columns": _SIDE,
        **colours,
        **depth,
        **frames,
    }


def _places(values: Mapping[str, Any]) -> dict[str, Any]:
    """Put slices and frames one behind the other."""
    first = int(values.get("InstanceNumber") or 0)
    if "ImageOrientationPatient" in values:
        return {"ImagePositionPatient": [0, 0, first]}
    if "SharedFunctionalGroupsSequence" in values:
        frames = range(int(values.get("NumberOfFrames") or 1))
        at = [[0, 0, first + frame] for frame in frames]
        return {
            "PerFrameFunctionalGroupsSequence": [
                {"PlanePositionSequence": [{"ImagePositionPatient": place}]} for place in at
            ]
        }
    return {}


def _draw(image: Dataset, kind: Pixels) -> None:
    """Add pixel data: a ramp, which begins elsewhere in each instance and in each frame."""
    samples = int(image.Rows) * int(image.Columns) * int(image.SamplesPerPixel)
    first = int(image.get("InstanceNumber") or 0)
    frames = range(first, first + int(image.get("NumberOfFrames") or 1))
    ramp = [at + frame for frame in frames for at in range(samples)]
    depth = int(image.BitsAllocated)
    if kind in ("float", "double"):
        name = {"float": "FloatPixelData", "double": "DoubleFloatPixelData"}[kind]
        setattr(image, name, struct.pack(f"<{len(ramp)}{kind[0]}", *ramp))
        return
    if depth == 1:  # the first pixel is the lowest bit of the first byte (PS3.5 8.1.1)
        bits = sum(1 << at for at, value in enumerate(ramp) if value % 3 == 0)
        data = bits.to_bytes((len(ramp) + 7) // 8, "little")
    else:
        code = {8: "B", 16: "H", 32: "I"}[depth]
        top = 1 << int(image.BitsStored) - int(image.PixelRepresentation)
        data = struct.pack(f"<{len(ramp)}{code}", *(value % top for value in ramp))
    image.PixelData = data + bytes(len(data) % 2)
    image["PixelData"].VR = "OB" if depth <= 8 else "OW"


def make_study(
    sop_class: str = CTImageStorage,
    /,
    *,
    series: int = 3,
    instances: int = 20,
    **attributes: Any,
) -> list[Dataset]:
    """Make a study: so many series of so many instances each, numbered from 1.

    Args:
        sop_class: of all instances.
        series: how many series.
        instances: how many instances each series has.
        attributes: of all instances, as for `make_instance`; `StudyID="2"` makes another study of
            the same patient, `PatientID` one of another.

    Returns:
        The instances, series by series, in the order of their numbers.
    """
    return [
        make_instance(
            sop_class, **{**attributes, "SeriesNumber": number, "InstanceNumber": instance}
        )
        for number in range(1, series + 1)
        for instance in range(1, instances + 1)
    ]


def write_files(instances: Iterable[Dataset], folder: str | PathLike[str]) -> list[Path]:
    """Write instances as Part 10 files `<SOPInstanceUID>.dcm`; the folder is made if missing.

    Returns:
        The paths, in the order of the instances.
    """
    where = Path(folder)
    where.mkdir(parents=True, exist_ok=True)
    paths = []
    for instance in instances:
        path = where / f"{instance.SOPInstanceUID}.dcm"
        instance.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths
