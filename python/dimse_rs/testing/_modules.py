"""Attributes of the modules of PS3.3 that instances for tests have, by keyword. Data only."""

from __future__ import annotations

from typing import Any, Final

from dimse_rs import sop_class as uids


def code(value: str, scheme: str, meaning: str) -> dict[str, str]:
    return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}


EPOCH: Final = {"ContentDate": "20260101", "ContentTime": "120000"}
GEOMETRY: Final = {
    "PatientPosition": "HFS",
    "PixelSpacing": [1.0, 1.0],
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "SliceThickness": 1.0,
    "PositionReferenceIndicator": "",
}
AXIAL: Final = {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], **GEOMETRY}
PRIMARY: Final = {"ImageType": ["ORIGINAL", "PRIMARY"]}
WINDOW: Final = {"WindowCenter": 2048, "WindowWidth": 4096}
RESCALED: Final = {"RescaleIntercept": 0, "RescaleSlope": 1, "RescaleType": "US"}

CT: Final = {
    **AXIAL,
    "AcquisitionNumber": 1,
    "KVP": 120,
    "RescaleIntercept": 0,
    "RescaleSlope": 1,
}
MR: Final = {
    **AXIAL,
    "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
    "ScanningSequence": "SE",
    "SequenceVariant": "NONE",
    "ScanOptions": "",
    "MRAcquisitionType": "2D",
    "EchoTime": 20,
    "EchoTrainLength": 1,
    "RepetitionTime": 500,
}
CR: Final = {
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "BodyPartExamined": "CHEST",
    "ViewPosition": "PA",
    "PatientOrientation": ["L", "F"],
    **EPOCH,
}
DX: Final = {
    **CR,
    **WINDOW,
    "ImageType": ["ORIGINAL", "PRIMARY", ""],
    "PresentationIntentType": "FOR PRESENTATION",
    "ImageLaterality": "U",
    "AnatomicRegionSequence": [code("51185008", "SCT", "Chest")],
    "PixelIntensityRelationship": "LIN",
    "PixelIntensityRelationshipSign": 1,
    **RESCALED,
    "PresentationLUTShape": "IDENTITY",
    "LossyImageCompression": "00",
    "BurnedInAnnotation": "NO",
    "DetectorType": "DIRECT",
    "ImagerPixelSpacing": [0.1, 0.1],
    "AcquisitionContextSequence": [],
    "PositionerType": "NONE",
    "ViewCodeSequence": [code("399348003", "SCT", "Postero-anterior")],
}
MG: Final = {
    **DX,
    "BodyPartExamined": "BREAST",
    "ViewPosition": "CC",
    "PatientOrientation": ["A", "R"],
    "ImageLaterality": "L",
    "AnatomicRegionSequence": [code("76752008", "SCT", "Breast")],
    "OrganExposed": "BREAST",
    "PositionerType": "MAMMOGRAPHIC",
    "ViewCodeSequence": [
        {**code("399162004", "SCT", "cranio-caudal"), "ViewModifierCodeSequence": []}
    ],
}
US: Final = {**PRIMARY, **EPOCH, "PatientOrientation": []}
US_CLIP: Final = {**US, "FrameTime": 40, "FrameIncrementPointer": 0x00181063}
SC: Final = {"ConversionType": "WSD", "PatientOrientation": [], **EPOCH}
XA: Final = {
    "ImageType": ["ORIGINAL", "PRIMARY", "SINGLE PLANE"],
    "PatientOrientation": ["L", "F"],
    **EPOCH,
    "PixelIntensityRelationship": "LIN",
    "KVP": 70,
    "XRayTubeCurrent": 100,
    "ExposureTime": 10,
    "RadiationSetting": "GR",
    "PositionerMotion": "STATIC",
    "PositionerPrimaryAngle": 0,
    "PositionerSecondaryAngle": 0,
    "FrameTime": 40,
    "FrameIncrementPointer": 0x00181063,
}
PT: Final = {
    **AXIAL,
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "SeriesDate": "20260101",
    "SeriesTime": "120000",
    "AcquisitionDate": "20260101",
    "AcquisitionTime": "120000",
    "Units": "BQML",
    "CountsSource": "EMISSION",
    "SeriesType": ["STATIC", "IMAGE"],
    "NumberOfSlices": 1,
    "PatientPosition": None,
    "CorrectedImage": ["NORM", "DTIM"],
    "DecayCorrection": "NONE",
    "CollimatorType": "NONE",
    "RadiopharmaceuticalInformationSequence": [{"RadionuclideCodeSequence": []}],
    "FrameReferenceTime": 0,
    "ImageIndex": 1,
    "ActualFrameDuration": 1000,
    "RescaleIntercept": 0,
    "RescaleSlope": 1,
    "PatientOrientationCodeSequence": [
        {
            **code("102538003", "SCT", "recumbent"),
            "PatientOrientationModifierCodeSequence": [code("40199007", "SCT", "supine")],
        }
    ],
    "PatientGantryRelationshipCodeSequence": [code("102540008", "SCT", "headfirst")],
}
NM: Final = {
    "ImageType": ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"],
    "PixelSpacing": [1.0, 1.0],
    "PositionReferenceIndicator": "",
    "PatientOrientation": [],
    **EPOCH,
    "FrameIncrementPointer": [0x00540010, 0x00540020],
    "CountsAccumulated": 1000,
    "EnergyWindowVector": [1],
    "NumberOfEnergyWindows": 1,
    "DetectorVector": [1],
    "NumberOfDetectors": 1,
    "EnergyWindowInformationSequence": [
        {
            "EnergyWindowRangeSequence": [
                {"EnergyWindowLowerLimit": 126, "EnergyWindowUpperLimit": 154}
            ]
        }
    ],
    "RadiopharmaceuticalInformationSequence": [{"RadionuclideCodeSequence": []}],
    "DetectorInformationSequence": [
        {
            "CollimatorType": "PARA",
            "ImagePositionPatient": [0, 0, 0],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        }
    ],
    "PatientOrientationCodeSequence": [
        {
            **code("102538003", "SCT", "recumbent"),
            "PatientOrientationModifierCodeSequence": [code("40199007", "SCT", "supine")],
        }
    ],
    "PatientGantryRelationshipCodeSequence": [code("102540008", "SCT", "headfirst")],
    "ActualFrameDuration": 1000,
}
FRAMES: Final = {
    **EPOCH,
    "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
    "PositionReferenceIndicator": "",
    "SharedFunctionalGroupsSequence": [
        {
            "PixelMeasuresSequence": [{"PixelSpacing": [1.0, 1.0], "SliceThickness": 1.0}],
            "PlaneOrientationSequence": [{"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}],
        }
    ],
}
SEGMENTS: Final = {
    **FRAMES,
    "ImageType": ["DERIVED", "PRIMARY"],
    "ContentLabel": "SEGMENTS",
    "ContentDescription": "",
    "ContentCreatorName": "",
    "SegmentationType": "BINARY",
    "SegmentSequence": [
        {
            "SegmentNumber": 1,
            "SegmentLabel": "One",
            "SegmentAlgorithmType": "MANUAL",
            "SegmentedPropertyCategoryCodeSequence": [code("85756007", "SCT", "Tissue")],
            "SegmentedPropertyTypeCodeSequence": [code("85756007", "SCT", "Tissue")],
        }
    ],
}
RT_IMAGE: Final = {
    **EPOCH,
    "ImageType": ["DERIVED", "SECONDARY", "DRR"],
    "ConversionType": "WSD",
    "PatientOrientation": [],
    "RTImageLabel": "IMAGE",
    "RTImagePlane": "NORMAL",
    "XRayImageReceptorAngle": "",
    "ImagePlanePixelSpacing": [],
    "RTImagePosition": [],
    "RadiationMachineName": "",
    "PrimaryDosimeterUnit": "",
    "RadiationMachineSAD": "",
    "RTImageSID": "",
    "OperatorsName": "",
}
DOSE: Final = {
    **GEOMETRY,
    "DoseUnits": "GY",
    "DoseType": "PHYSICAL",
    "DoseSummationType": "PLAN",
    "DoseGridScaling": 0.001,
    "GridFrameOffsetVector": [0.0, 1.0, 2.0],
    "FrameIncrementPointer": 0x3004000C,
    "ReferencedRTPlanSequence": [
        {"ReferencedSOPClassUID": uids.RTPlanStorage, "ReferencedSOPInstanceUID": "2.25.1"}
    ],
}
TITLE: Final = [code("121144", "DCM", "Document Title")]
REPORT: Final = {
    **EPOCH,
    "CompletionFlag": "COMPLETE",
    "VerificationFlag": "UNVERIFIED",
    "ReferencedPerformedProcedureStepSequence": [],
    "PerformedProcedureCodeSequence": [],
    "ValueType": "CONTAINER",
    "ContinuityOfContent": "SEPARATE",
    "ConceptNameCodeSequence": TITLE,
    "ContentSequence": [
        {
            "RelationshipType": "CONTAINS",
            "ValueType": "TEXT",
            "ConceptNameCodeSequence": [code("121071", "DCM", "Finding")],
            "TextValue": "A finding",
        }
    ],
}
IMAGE: Final = {"ReferencedSOPClassUID": uids.CTImageStorage, "ReferencedSOPInstanceUID": "2.25.1"}
KEY_OBJECTS: Final = {
    **EPOCH,
    "ReferencedPerformedProcedureStepSequence": [],
    "ValueType": "CONTAINER",
    "ContinuityOfContent": "SEPARATE",
    "ConceptNameCodeSequence": [code("113000", "DCM", "Of Interest")],
    "ContentTemplateSequence": [{"MappingResource": "DCMR", "TemplateIdentifier": "2010"}],
    "ContentSequence": [
        {
            "RelationshipType": "CONTAINS",
            "ValueType": "IMAGE",
            "ReferencedSOPSequence": [IMAGE],
        }
    ],
    "CurrentRequestedProcedureEvidenceSequence": [
        {
            "StudyInstanceUID": "2.25.2",
            "ReferencedSeriesSequence": [
                {"SeriesInstanceUID": "2.25.3", "ReferencedSOPSequence": [IMAGE]}
            ],
        }
    ],
}
STATE: Final = {
    "BodyPartExamined": "CHEST",
    "PresentationCreationDate": "20260101",
    "PresentationCreationTime": "120000",
    "ContentLabel": "STATE",
    "ContentDescription": "",
    "ContentCreatorName": "",
    "ReferencedSeriesSequence": [
        {"SeriesInstanceUID": "2.25.3", "ReferencedImageSequence": [IMAGE]}
    ],
    "DisplayedAreaSelectionSequence": [
        {
            "DisplayedAreaTopLeftHandCorner": [1, 1],
            "DisplayedAreaBottomRightHandCorner": [16, 16],
            "PresentationSizeMode": "SCALE TO FIT",
            "PresentationPixelAspectRatio": [1, 1],
        }
    ],
    "PresentationLUTShape": "IDENTITY",
}
CURVE: Final = {
    **EPOCH,
    "AcquisitionDateTime": "20260101120000",
    "AcquisitionContextSequence": [],
    "WaveformSequence": [
        {
            "WaveformOriginality": "ORIGINAL",
            "NumberOfWaveformChannels": 1,
            "NumberOfWaveformSamples": 100,
            "SamplingFrequency": 200,
            "ChannelDefinitionSequence": [
                {
                    "ChannelSourceSequence": [code("2:1", "MDC", "Lead I")],
                    "ChannelSampleSkew": 0,
                    "WaveformBitsStored": 16,
                }
            ],
            "WaveformBitsAllocated": 16,
            "WaveformSampleInterpretation": "SS",
            "WaveformData": bytes(byte for at in range(100) for byte in (at, 0)),
        }
    ],
}


def document(kind: str, content: bytes) -> dict[str, Any]:
    return {
        **EPOCH,
        "AcquisitionDateTime": "20260101120000",
        "ConversionType": "WSD",
        "BurnedInAnnotation": "NO",
        "DocumentTitle": "A document",
        "ConceptNameCodeSequence": [],
        "MIMETypeOfEncapsulatedDocument": kind,
        "EncapsulatedDocument": content + b" " * (len(content) % 2),
        "EncapsulatedDocumentLength": len(content),
    }


PDF: Final = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
    b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)
CDA: Final = b'<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"/>'
STRUCTURES: Final = {
    "OperatorsName": "",
    "PositionReferenceIndicator": "",
    "StructureSetLabel": "STRUCTURES",
    "StructureSetDate": "20260101",
    "StructureSetTime": "120000",
    "StructureSetROISequence": [
        {
            "ROINumber": 1,
            "ReferencedFrameOfReferenceUID": "2.25.4",
            "ROIName": "One",
            "ROIGenerationAlgorithm": "MANUAL",
        }
    ],
    "ROIContourSequence": [
        {
            "ReferencedROINumber": 1,
            "ContourSequence": [
                {
                    "ContourGeometricType": "POINT",
                    "NumberOfContourPoints": 1,
                    "ContourData": [0, 0, 0],
                }
            ],
        }
    ],
    "RTROIObservationsSequence": [
        {
            "ObservationNumber": 1,
            "ReferencedROINumber": 1,
            "RTROIInterpretedType": "",
            "ROIInterpreter": "",
        }
    ],
}
PLAN: Final = {
    "OperatorsName": "",
    "RTPlanLabel": "PLAN",
    "RTPlanDate": "20260101",
    "RTPlanTime": "120000",
    "RTPlanGeometry": "TREATMENT_DEVICE",
}
TREATED: Final = {
    "OperatorsName": "",
    "TreatmentDate": "20260101",
    "TreatmentTime": "120000",
    "ReferencedRTPlanSequence": [],
}
LABELLED: Final = {
    **EPOCH,
    "ContentLabel": "CONTENT",
    "ContentDescription": "",
    "ContentCreatorName": "",
}
PROTOCOL: Final = {**LABELLED, "ProtocolName": "A protocol"}
TEMPLATE: Final = {"EffectiveDateTime": "20260101120000"}

CLIP: Final = {**PRIMARY, **EPOCH, "FrameTime": 40, "FrameIncrementPointer": 0x00181063}
STILL: Final = {
    **PRIMARY,
    **EPOCH,
    "PatientOrientation": [],
    "AcquisitionContextSequence": [],
    "LossyImageCompression": "00",
}
CAPTURED: Final = {
    **SC,
    "BurnedInAnnotation": "NO",
    "FrameTime": 40,
    "FrameIncrementPointer": 0x00181063,
}
CAPTURED_GREY: Final = {**CAPTURED, **RESCALED, "PresentationLUTShape": "IDENTITY"}

SPECTRA: Final = {
    **FRAMES,
    "NumberOfFrames": 1,
    "Rows": 1,
    "Columns": 1,
    "DataPointRows": 1,
    "DataPointColumns": 16,
    "DataRepresentation": "COMPLEX",
    "SignalDomainColumns": "TIME",
    "SpectroscopyData": bytes(16 * 8),
}
HANGING: Final = {
    "HangingProtocolName": "HANGING",
    "HangingProtocolDescription": "One screen",
    "HangingProtocolLevel": "SITE",
    "HangingProtocolCreator": "dimse_rs",
    "HangingProtocolCreationDateTime": "20260101120000",
    "NumberOfPriorsReferenced": 0,
    "DisplaySetsSequence": [],
}
PALETTE: Final = {
    "ContentLabel": "PALETTE",
    "ContentDescription": "",
    "ContentCreatorName": "",
    **{
        f"{colour}PaletteColorLookupTableDescriptor": [256, 0, 8]
        for colour in ("Red", "Green", "Blue")
    },
    **{
        f"{colour}PaletteColorLookupTableData": bytes(range(256))
        for colour in ("Red", "Green", "Blue")
    },
}
