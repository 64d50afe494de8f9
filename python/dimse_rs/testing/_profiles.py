"""What instances of each storage class look like: modality, pixels, and attributes of their IOD.

Data only; `instances` puts an instance together. An instance of a class in `CHECKED` has all that
PS3.3 requires, as far as `dciodvfy` of dicom3tools looks. One of another class has the common
modules, and its pixel data, waveform, content tree or document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from dimse_rs import SOPClass, sop_class as uids

from . import _modules as iod

__all__ = ["CHECKED", "PROFILES", "Pixels", "Profile"]

Pixels: TypeAlias = Literal[
    "", "bit", "byte", "word", "whole", "signed", "deep", "rgb", "float", "double"
]
"""Kinds of pixel data: none, 1 bit, 8, 12 of 16, 16, 16 with a sign, 32, 3 times 8, IEEE 754."""


@dataclass(frozen=True)
class Profile:
    """How instances of a class are made.

    Attributes:
        modality: (0008,0060).
        pixels: the kind of pixel data; empty for none.
        frames: how many frames; 0 where Number of Frames (0028,0008) is not of the class.
        more: attributes beside the common ones.
        patient: whether patient, study and series are modules of the class.
    """

    modality: str
    pixels: Pixels = ""
    frames: int = 0
    more: Mapping[str, Any] | None = None
    patient: bool = True


_CHECKED: Final = {
    uids.CTImageStorage: Profile("CT", "signed", more=iod.CT),
    uids.MRImageStorage: Profile("MR", "word", more=iod.MR),
    uids.ComputedRadiographyImageStorage: Profile("CR", "word", more=iod.CR),
    uids.DigitalXRayImageStorageForPresentation: Profile("DX", "word", more=iod.DX),
    uids.DigitalMammographyXRayImageStorageForPresentation: Profile("MG", "word", more=iod.MG),
    uids.UltrasoundImageStorage: Profile("US", "byte", more=iod.US),
    uids.UltrasoundMultiFrameImageStorage: Profile("US", "byte", 3, iod.US_CLIP),
    uids.SecondaryCaptureImageStorage: Profile("OT", "byte", more=iod.SC),
    uids.XRayAngiographicImageStorage: Profile("XA", "byte", 3, iod.XA),
    uids.XRayRadiofluoroscopicImageStorage: Profile("RF", "byte", 3, iod.XA),
    uids.PositronEmissionTomographyImageStorage: Profile("PT", "whole", more=iod.PT),
    uids.NuclearMedicineImageStorage: Profile("NM", "whole", 1, iod.NM),
    uids.BasicTextSRStorage: Profile("SR", more=iod.REPORT),
    uids.EnhancedSRStorage: Profile("SR", more=iod.REPORT),
    uids.ComprehensiveSRStorage: Profile("SR", more=iod.REPORT),
    uids.KeyObjectSelectionDocumentStorage: Profile("KO", more=iod.KEY_OBJECTS),
    uids.GrayscaleSoftcopyPresentationStateStorage: Profile("PR", more=iod.STATE),
    uids.EncapsulatedPDFStorage: Profile("DOC", more=iod.document("application/pdf", iod.PDF)),
    uids.RTDoseStorage: Profile("RTDOSE", "deep", 3, iod.DOSE),
    uids.RTImageStorage: Profile("RTIMAGE", "whole", more=iod.RT_IMAGE),
    uids.RTStructureSetStorage: Profile("RTSTRUCT", more=iod.STRUCTURES),
    uids.RTPlanStorage: Profile("RTPLAN", more=iod.PLAN),
    uids.VLPhotographicImageStorage: Profile("XC", "rgb", more=iod.STILL),
    uids.VLEndoscopicImageStorage: Profile("ES", "rgb", more=iod.STILL),
    uids.VLMicroscopicImageStorage: Profile("GM", "rgb", more=iod.STILL),
    uids.MultiFrameGrayscaleByteSecondaryCaptureImageStorage: Profile(
        "OT", "byte", 3, iod.CAPTURED_GREY
    ),
    uids.MultiFrameGrayscaleWordSecondaryCaptureImageStorage: Profile(
        "OT", "word", 3, iod.CAPTURED_GREY
    ),
    uids.MultiFrameTrueColorSecondaryCaptureImageStorage: Profile("OT", "rgb", 3, iod.CAPTURED),
    uids.MultiFrameSingleBitSecondaryCaptureImageStorage: Profile("OT", "bit", 3, iod.CAPTURED),
    uids.TwelveLeadECGWaveformStorage: Profile("ECG", more=iod.CURVE),
    uids.GeneralECGWaveformStorage: Profile("ECG", more=iod.CURVE),
}
CHECKED: Final[tuple[SOPClass, ...]] = tuple(_CHECKED)
"""Classes in whose instances `dciodvfy` finds no error; a test runs it."""

_IMAGES: Final = {
    uids.HardcopyGrayscaleImageStorage: Profile("HC", "byte", more=iod.STILL),
    uids.HardcopyColorImageStorage: Profile("HC", "rgb", more=iod.STILL),
    uids.DigitalXRayImageStorageForProcessing: Profile(
        "DX", "word", more=iod.DX | {"PresentationIntentType": "FOR PROCESSING"}
    ),
    uids.DigitalMammographyXRayImageStorageForProcessing: Profile(
        "MG", "word", more=iod.MG | {"PresentationIntentType": "FOR PROCESSING"}
    ),
    uids.DigitalIntraOralXRayImageStorageForPresentation: Profile("IO", "word", more=iod.DX),
    uids.DigitalIntraOralXRayImageStorageForProcessing: Profile(
        "IO", "word", more=iod.DX | {"PresentationIntentType": "FOR PROCESSING"}
    ),
    uids.EnhancedCTImageStorage: Profile("CT", "signed", 3, iod.FRAMES),
    uids.LegacyConvertedEnhancedCTImageStorage: Profile("CT", "signed", 3, iod.FRAMES),
    uids.UltrasoundMultiFrameImageStorageRetired: Profile("US", "byte", 3, iod.US_CLIP),
    uids.EnhancedMRImageStorage: Profile("MR", "word", 3, iod.FRAMES),
    uids.EnhancedMRColorImageStorage: Profile("MR", "rgb", 3, iod.FRAMES),
    uids.LegacyConvertedEnhancedMRImageStorage: Profile("MR", "word", 3, iod.FRAMES),
    uids.NuclearMedicineImageStorageRetired: Profile("NM", "whole", 1, iod.NM),
    uids.UltrasoundImageStorageRetired: Profile("US", "byte", more=iod.US),
    uids.EnhancedUSVolumeStorage: Profile("US", "byte", 3, iod.FRAMES),
    uids.PhotoacousticImageStorage: Profile("PA", "word", 3, iod.FRAMES),
    uids.EnhancedXAImageStorage: Profile("XA", "word", 3, iod.FRAMES),
    uids.EnhancedXRFImageStorage: Profile("RF", "word", 3, iod.FRAMES),
    uids.XRayAngiographicBiPlaneImageStorage: Profile("XA", "byte", 2, iod.XA),
    uids.XRay3DAngiographicImageStorage: Profile("XA", "word", 3, iod.FRAMES),
    uids.XRay3DCraniofacialImageStorage: Profile("DX", "word", 3, iod.FRAMES),
    uids.BreastTomosynthesisImageStorage: Profile("MG", "word", 3, iod.FRAMES),
    uids.BreastProjectionXRayImageStorageForPresentation: Profile("MG", "word", 3, iod.FRAMES),
    uids.BreastProjectionXRayImageStorageForProcessing: Profile("MG", "word", 3, iod.FRAMES),
    uids.IntravascularOpticalCoherenceTomographyImageStorageForPresentation: Profile(
        "IVOCT", "byte", 3, iod.FRAMES
    ),
    uids.IntravascularOpticalCoherenceTomographyImageStorageForProcessing: Profile(
        "IVOCT", "word", 3, iod.FRAMES
    ),
    uids.ParametricMapStorage: Profile("OT", "float", 3, iod.FRAMES),
    uids.SegmentationStorage: Profile("SEG", "bit", 3, iod.SEGMENTS),
    uids.LabelMapSegmentationStorage: Profile(
        "SEG", "byte", 3, iod.SEGMENTS | {"SegmentationType": "LABELMAP"}
    ),
    uids.HeightMapSegmentationStorage: Profile("SEG", "float", 1, iod.SEGMENTS),
    uids.VLImageStorageTrial: Profile("OT", "rgb", more=iod.STILL),
    uids.VideoEndoscopicImageStorage: Profile("ES", "rgb", 3, iod.CLIP),
    uids.VideoMicroscopicImageStorage: Profile("GM", "rgb", 3, iod.CLIP),
    uids.VLSlideCoordinatesMicroscopicImageStorage: Profile("SM", "rgb", more=iod.STILL),
    uids.VideoPhotographicImageStorage: Profile("XC", "rgb", 3, iod.CLIP),
    uids.OphthalmicPhotography8BitImageStorage: Profile("OP", "byte", 1, iod.STILL),
    uids.OphthalmicPhotography16BitImageStorage: Profile("OP", "whole", 1, iod.STILL),
    uids.OphthalmicTomographyImageStorage: Profile("OPT", "byte", 3, iod.FRAMES),
    uids.WideFieldOphthalmicPhotographyStereographicProjectionImageStorage: Profile(
        "OP", "rgb", 1, iod.STILL
    ),
    uids.WideFieldOphthalmicPhotography3DCoordinatesImageStorage: Profile(
        "OP", "rgb", 1, iod.STILL
    ),
    uids.OphthalmicOpticalCoherenceTomographyEnFaceImageStorage: Profile(
        "OPTENF", "byte", more=iod.STILL
    ),
    uids.OphthalmicOpticalCoherenceTomographyBscanVolumeAnalysisStorage: Profile(
        "OPTBSV", "byte", 3, iod.FRAMES
    ),
    uids.VLWholeSlideMicroscopyImageStorage: Profile("SM", "rgb", 1, iod.FRAMES),
    uids.DermoscopicPhotographyImageStorage: Profile("DMS", "rgb", more=iod.STILL),
    uids.ConfocalMicroscopyImageStorage: Profile("CFM", "byte", 1, iod.FRAMES),
    uids.ConfocalMicroscopyTiledPyramidalImageStorage: Profile("CFM", "byte", 1, iod.FRAMES),
    uids.VLMultiFrameImageStorageTrial: Profile("OT", "rgb", 3, iod.CLIP),
    uids.OphthalmicThicknessMapStorage: Profile("OPM", "word", more=iod.STILL),
    uids.CornealTopographyMapStorage: Profile("OPM", "rgb", more=iod.STILL),
    uids.LegacyConvertedEnhancedPETImageStorage: Profile("PT", "whole", 3, iod.FRAMES),
    uids.EnhancedPETImageStorage: Profile("PT", "whole", 3, iod.FRAMES),
    uids.EnhancedRTImageStorage: Profile("RTIMAGE", "whole", 3, iod.FRAMES),
    uids.EnhancedContinuousRTImageStorage: Profile("RTIMAGE", "whole", 3, iod.FRAMES),
    uids.DICOSCTImageStorage: Profile("CT", "whole", 3, iod.FRAMES),
    uids.DICOSDigitalXRayImageStorageForPresentation: Profile("DX", "whole", more=iod.STILL),
    uids.DICOSDigitalXRayImageStorageForProcessing: Profile("DX", "whole", more=iod.STILL),
    uids.DICOS2DAITStorage: Profile("OT", "whole", more=iod.STILL),
    uids.DICOS3DAITStorage: Profile("OT", "whole", 3, iod.FRAMES),
    uids.EddyCurrentImageStorage: Profile("EC", "whole", more=iod.STILL),
    uids.EddyCurrentMultiFrameImageStorage: Profile("EC", "whole", 3, iod.CLIP),
}

_BY_WORD: Final[tuple[tuple[str, Profile], ...]] = (
    ("ECGWaveform", Profile("ECG", more=iod.CURVE)),
    ("AudioWaveform", Profile("AU", more=iod.CURVE)),
    ("HemodynamicWaveform", Profile("HD", more=iod.CURVE)),
    ("CardiacElectrophysiologyWaveform", Profile("EPS", more=iod.CURVE)),
    ("ElectroencephalogramWaveform", Profile("EEG", more=iod.CURVE)),
    ("ElectromyogramWaveform", Profile("EMG", more=iod.CURVE)),
    ("ElectrooculogramWaveform", Profile("EOG", more=iod.CURVE)),
    ("RespiratoryWaveform", Profile("RESP", more=iod.CURVE)),
    ("BodyPositionWaveform", Profile("POS", more=iod.CURVE)),
    ("PresentationState", Profile("PR", more=iod.STATE)),
    ("WaveformStorage", Profile("OT", more=iod.CURVE)),
    ("ProcedureLog", Profile("SR", more=iod.REPORT)),
    ("SRStorage", Profile("SR", more=iod.REPORT)),
    ("EncapsulatedCDA", Profile("DOC", more=iod.document("text/XML", iod.CDA))),
    ("EncapsulatedSTL", Profile("M3D", more=iod.document("model/stl", bytes(84)))),
    ("EncapsulatedOBJ", Profile("M3D", more=iod.document("model/obj", b"v 0 0 0\n"))),
    ("EncapsulatedMTL", Profile("M3D", more=iod.document("model/mtl", b"newmtl one\n"))),
    ("IonPlan", Profile("RTPLAN", more=iod.PLAN)),
    ("TreatmentRecord", Profile("RTRECORD", more=iod.TREATED)),
    ("TreatmentSummaryRecord", Profile("RTRECORD", more=iod.TREATED)),
    ("PhysicianIntent", Profile("RTINTENT", more=iod.LABELLED)),
    ("RTSegmentAnnotation", Profile("RTSEGANN", more=iod.LABELLED)),
    ("Radiation", Profile("RTRAD", more=iod.LABELLED)),
    ("RTTreatmentPreparation", Profile("RTRAD", more=iod.LABELLED)),
    ("Instruction", Profile("PLAN", more=iod.LABELLED)),
    ("SpatialRegistration", Profile("REG", more=iod.LABELLED)),
    ("SpatialFiducials", Profile("FID", more=iod.LABELLED)),
    ("SurfaceSegmentation", Profile("SEG", more=iod.LABELLED)),
    ("SurfaceScan", Profile("M3D", more=iod.EPOCH)),
    ("RealWorldValueMapping", Profile("RWV", more=iod.LABELLED)),
    ("StereometricRelationship", Profile("SMR", more=iod.EPOCH)),
    ("LensometryMeasurements", Profile("LEN", more=iod.EPOCH)),
    ("AutorefractionMeasurements", Profile("AR", more=iod.EPOCH)),
    ("KeratometryMeasurements", Profile("KER", more=iod.EPOCH)),
    ("SubjectiveRefraction", Profile("SRF", more=iod.EPOCH)),
    ("VisualAcuity", Profile("VA", more=iod.EPOCH)),
    ("OphthalmicAxial", Profile("OAM", more=iod.EPOCH)),
    ("IntraocularLens", Profile("IOL", more=iod.EPOCH)),
    ("StaticPerimetry", Profile("OPV", more=iod.EPOCH)),
    ("ContentAssessment", Profile("ASMT", more=iod.EPOCH)),
    ("BulkSimpleAnnotations", Profile("ANN", more=iod.LABELLED)),
    ("MRSpectroscopy", Profile("MR", more=iod.SPECTRA)),
    ("PerformedProcedureProtocol", Profile("OT", more=iod.PROTOCOL)),
    ("DefinedProcedureProtocol", Profile("", more=iod.PROTOCOL, patient=False)),
    ("ProtocolApproval", Profile("", more=iod.EPOCH, patient=False)),
    ("Inventory", Profile("", more=iod.EPOCH, patient=False)),
    ("HangingProtocol", Profile("", more=iod.HANGING, patient=False)),
    ("ColorPalette", Profile("", more=iod.PALETTE, patient=False)),
    ("Template", Profile("", more=iod.TEMPLATE, patient=False)),
    ("Storage", Profile("OT", more=iod.EPOCH)),
)
"""Profiles of all other classes, by a word of the keyword; the first that fits counts."""


def _others() -> Iterator[tuple[SOPClass, Profile]]:
    for sop_class in uids.ALL_STORAGE:
        yield sop_class, next(one for word, one in _BY_WORD if word in sop_class.keyword)


PROFILES: Final[Mapping[SOPClass, Profile]] = {**dict(_others()), **_IMAGES, **_CHECKED}
"""The profile of every storage class of the standard."""
