"""Write `python/dimse_rs/sop_class.py`: SOP Classes, Transfer Syntaxes, models, instances.

Three sources are joined, and have to agree where they overlap:

- pydicom's dictionary: PS3.6 Annex A (UIDs, names, keywords, what is retired);
- pynetdicom's tables: PS3.4 (which class belongs to which service), and the 120 storage classes
  that DCMTK's tools propose;
- `sop_classes_extra.csv` beside this file: PS3.4 Table B.5-1 and Annex GG as transcribed, and what
  the standard added after the dictionaries were made.

Run it where pydicom and pynetdicom 3.0.4 are installed: ``python tools/generate_sop_classes.py``.
``--check`` only says whether the file is up to date.
"""

from __future__ import annotations

import argparse
import csv
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TARGET = HERE.parent / "python" / "dimse_rs" / "sop_class.py"
EXTRA = HERE / "sop_classes_extra.csv"

# pynetdicom's table -> our service name.
SERVICES = {
    "_APPLICATION_EVENT_CLASSES": "event-logging",
    "_BASIC_WORKLIST_CLASSES": "worklist",
    "_COLOR_PALETTE_CLASSES": "color-palette",
    "_DEFINED_PROCEDURE_CLASSES": "defined-procedure",
    "_DISPLAY_SYSTEM_CLASSES": "display-system",
    "_HANGING_PROTOCOL_CLASSES": "hanging-protocol",
    "_IMPLANT_TEMPLATE_CLASSES": "implant-template",
    "_INSTANCE_AVAILABILITY_CLASSES": "instance-availability",
    "_INVENTORY_CLASSES": "inventory",
    "_MEDIA_CREATION_CLASSES": "media-creation",
    "_MEDIA_STORAGE_CLASSES": "media-storage",
    "_NON_PATIENT_OBJECT_CLASSES": "non-patient-object",
    "_PRINT_MANAGEMENT_CLASSES": "print",
    "_PROCEDURE_STEP_CLASSES": "procedure-step",
    "_PROTOCOL_APPROVAL_CLASSES": "protocol-approval",
    "_QR_CLASSES": "query-retrieve",
    "_RELEVANT_PATIENT_QUERY_CLASSES": "relevant-patient",
    "_RT_MACHINE_VERIFICATION_CLASSES": "rt-verification",
    "_STORAGE_CLASSES": "storage",
    "_STORAGE_COMMITMENT_CLASSES": "storage-commitment",
    "_STORAGE_MANAGEMENT_CLASSES": "storage-management",
    "_SUBSTANCE_ADMINISTRATION_CLASSES": "substance-administration",
    "_UNIFIED_PROCEDURE_STEP_CLASSES": "ups",
    "_VERIFICATION_CLASSES": "verification",
}

# Model constant -> keywords of its FIND, GET and MOVE class; empty where it has none.
QR = "QueryRetrieveInformationModel"
MODELS = {
    "PatientRoot": [f"PatientRoot{QR}{verb}" for verb in ("Find", "Get", "Move")],
    "StudyRoot": [f"StudyRoot{QR}{verb}" for verb in ("Find", "Get", "Move")],
    "PatientStudyOnly": [f"PatientStudyOnly{QR}{verb}" for verb in ("Find", "Get", "Move")],
    "CompositeInstanceRoot": [
        "",
        "CompositeInstanceRootRetrieveGet",
        "CompositeInstanceRootRetrieveMove",
    ],
    "WithoutBulkData": ["", "CompositeInstanceRetrieveWithoutBulkDataGet", ""],
    "Repository": ["RepositoryQuery", "", ""],
    "ModalityWorklist": ["ModalityWorklistInformationModelFind", "", ""],
    "HangingProtocol": [f"HangingProtocolInformationModel{v}" for v in ("Find", "Get", "Move")],
    "ColorPalette": [
        f"ColorPaletteQueryRetrieveInformationModel{v}" for v in ("Find", "Get", "Move")
    ],
    "GenericImplantTemplate": [
        f"GenericImplantTemplateInformationModel{v}" for v in ("Find", "Get", "Move")
    ],
    "ImplantAssemblyTemplate": [
        f"ImplantAssemblyTemplateInformationModel{v}" for v in ("Find", "Get", "Move")
    ],
    "ImplantTemplateGroup": [
        f"ImplantTemplateGroupInformationModel{v}" for v in ("Find", "Get", "Move")
    ],
    "DefinedProcedureProtocol": [
        f"DefinedProcedureProtocolInformationModel{v}" for v in ("Find", "Get", "Move")
    ],
    "ProtocolApproval": [f"ProtocolApprovalInformationModel{v}" for v in ("Find", "Get", "Move")],
    "Inventory": ["InventoryFind", "InventoryGet", "InventoryMove"],
}

# The DIMSE services of each class (PS3.4, conformance table of its service), in the table's order:
# for a keyword that ends in a verb, for a class by keyword, or for all classes of our service name.
# Whatever is in none of the three has none: retired classes whose tables PS3.4 has dropped, the VOI
# LUT Box likewise, and what no DIMSE service carries (media directory, real-time video).
DIMSE_OF_VERB = {"Find": "C-FIND", "Get": "C-GET", "Move": "C-MOVE"}
DIMSE_OF_CLASS = {
    "BasicAnnotationBox": "N-SET",
    "BasicColorImageBox": "N-SET",
    "BasicFilmBox": "N-CREATE N-ACTION N-DELETE N-SET",
    "BasicFilmSession": "N-CREATE N-SET N-DELETE N-ACTION",
    "BasicGrayscaleImageBox": "N-SET",
    "ModalityPerformedProcedureStep": "N-CREATE N-SET",
    "ModalityPerformedProcedureStepNotification": "N-EVENT-REPORT",
    "ModalityPerformedProcedureStepRetrieve": "N-GET",
    "PresentationLUT": "N-CREATE N-DELETE",
    "Printer": "N-EVENT-REPORT N-GET",
    "PrinterConfigurationRetrieval": "N-GET",
    "PrintJob": "N-EVENT-REPORT N-GET",
    "RepositoryQuery": "C-FIND",
    "UnifiedProcedureStepEvent": "N-EVENT-REPORT",
    "UnifiedProcedureStepPull": "C-FIND N-GET N-SET N-ACTION",
    "UnifiedProcedureStepPush": "N-CREATE N-ACTION N-GET",
    "UnifiedProcedureStepQuery": "C-FIND",
    "UnifiedProcedureStepWatch": "N-ACTION N-GET C-FIND",
}
DIMSE_OF_SERVICE = {
    "display-system": "N-GET",
    "event-logging": "N-ACTION",
    "instance-availability": "N-CREATE",
    "media-creation": "N-CREATE N-ACTION N-GET",
    "non-patient-object": "C-STORE",
    "relevant-patient": "C-FIND",
    "rt-verification": "N-CREATE N-SET N-GET N-ACTION N-DELETE N-EVENT-REPORT",
    "storage": "C-STORE",
    "storage-commitment": "N-ACTION N-EVENT-REPORT",
    "storage-management": "N-ACTION N-EVENT-REPORT",
    "substance-administration": "C-FIND",
    "verification": "C-ECHO",
}

# Context's class -> the classes that DIMSE-N names on it, where that is not the class itself alone.
# A print meta class has no instances, only its members have (PS3.4 H.3.2.2). A UPS instance is of
# class Push on any UPS context (PS3.4 CC.3.1.1); peers that name the context's are let through.
MEMBERS = {
    **{
        f"Basic{kind}PrintManagementMeta": [
            "BasicFilmSession",
            "BasicFilmBox",
            f"Basic{kind}ImageBox",
            "Printer",
        ]
        for kind in ("Grayscale", "Color")
    },
    **{
        f"UnifiedProcedureStep{kind}": ["UnifiedProcedureStepPush", f"UnifiedProcedureStep{kind}"]
        for kind in ("Watch", "Pull", "Event", "Query")
    },
}

# PS3.5 10 and A: what differs from "Explicit VR Little Endian, pixel data encapsulated".
ENCODINGS = {
    "1.2.840.10008.1.2": "implicit=True, encapsulated=False",
    "1.2.840.10008.1.2.1": "encapsulated=False",
    "1.2.840.10008.1.2.1.99": "deflated=True, encapsulated=False",
    "1.2.840.10008.1.2.2": "big_endian=True, encapsulated=False",
    "1.2.840.10008.1.2.4.94": "encapsulated=False",
    "1.2.840.10008.1.2.4.95": "deflated=True, encapsulated=False",
    "1.2.840.10008.1.2.4.204": "encapsulated=False",
    "1.2.840.10008.1.2.4.205": "deflated=True, encapsulated=False",
    "1.2.840.10008.1.2.6.1": "encapsulated=False",
    "1.2.840.10008.1.2.6.2": "encapsulated=False",
    "1.2.840.10008.1.2.7.1": "encapsulated=False",
    "1.2.840.10008.1.2.7.2": "encapsulated=False",
    "1.2.840.10008.1.2.7.3": "encapsulated=False",
    "1.2.840.10008.1.20": "implicit=True, encapsulated=False",
}

PRINT_WORDS = ("Print", "ImageBox", "OverlayBox", "VOILUTBox")


@dataclass(frozen=True)
class Row:
    """One entry of the registry."""

    uid: str
    keyword: str
    name: str
    service: str
    retired: bool

    @property
    def order(self) -> list[int]:
        """Sort key: UIDs by their components as numbers."""
        return [int(part) for part in self.uid.split(".")]


def read() -> tuple[list[Row], list[Row], list[Row], list[str], str]:
    """Join the sources.

    Returns:
        SOP Classes, Transfer Syntaxes, well-known instances, the 120 UIDs, and the edition stamp.
    """
    import pydicom
    from pydicom._uid_dict import UID_dictionary

    # pynetdicom adds to pydicom's table when imported: take the table before.
    registry: dict[str, tuple[str, ...]] = dict(UID_dictionary)
    import pynetdicom
    import pynetdicom.sop_class as tables
    from pynetdicom._version import __dicom_version__ as services_edition
    from pynetdicom.presentation import StoragePresentationContexts

    service_of = {
        uid: service
        for table, service in SERVICES.items()
        for uid in getattr(tables, table).values()
    }
    classes: dict[str, Row] = {}
    syntaxes: dict[str, Row] = {}
    instances: dict[str, Row] = {}
    for uid, (name, kind, _, retired, keyword) in registry.items():
        if not keyword:
            continue
        row = Row(uid, keyword, clean(name), "", bool(retired))
        if kind in ("SOP Class", "Meta SOP Class"):
            service = service_of.get(uid) or guess(row)
            classes[uid] = Row(uid, keyword, row.name, service, row.retired)
        elif kind == "Transfer Syntax":
            syntaxes[uid] = row
        elif kind == "Well-known SOP Instance" and keyword.endswith("Instance"):
            instances[uid] = row
    newest = ""
    with EXTRA.open(encoding="ascii", newline="") as file:
        for line in csv.DictReader(file):
            newest = max(newest, line["edition"])
            join(line, syntaxes if line["service"] == "transfer-syntax" else classes)
    missing = set(service_of) - set(classes)
    if missing:
        raise SystemExit(f"neither in the registry nor in {EXTRA.name}: {sorted(missing)}")
    stamp = (
        f"PS3.6 {pydicom.__dicom_version__} (pydicom {pydicom.__version__}), "
        f"PS3.4 {services_edition} (pynetdicom {pynetdicom.__version__}), additions up to {newest}"
    )
    common = sorted(
        {str(context.abstract_syntax) for context in StoragePresentationContexts},
        key=lambda uid: classes[uid].order,
    )
    return ordered(classes), ordered(syntaxes), ordered(instances), common, stamp


def join(line: dict[str, str], into: dict[str, Row]) -> None:
    """Add a line of the CSV, or check it against what is known already."""
    service = "" if line["service"] == "transfer-syntax" else line["service"]
    row = Row(line["uid"], line["keyword"], clean(line["name"]), service, False)
    known = into.setdefault(row.uid, row)
    if (known.keyword, known.service) != (row.keyword, row.service):
        raise SystemExit(f"{EXTRA.name} disagrees with the dictionaries: {row} is not {known}")


def guess(row: Row) -> str:
    """Name the service of a class that pynetdicom's tables leave out: retired, DICOS, DICONDE."""
    if row.uid.startswith("1.2.840.10008.10."):
        return "real-time"
    if any(word in row.keyword for word in PRINT_WORDS) and "Storage" not in row.keyword:
        return "print"
    if "StorageCommitment" in row.keyword:
        return "storage-commitment"
    return "storage" if "Storage" in row.keyword else "retired"


def dimse(row: Row) -> tuple[str, ...]:
    """List the DIMSE services of a class; those of its members for a meta class."""
    if row.keyword.endswith("Meta"):
        members = MEMBERS.get(row.keyword, [])
        return tuple(
            dict.fromkeys(name for member in members for name in DIMSE_OF_CLASS[member].split())
        )
    for verb, name in DIMSE_OF_VERB.items():
        if row.keyword.endswith(verb):
            return (name,)
    return tuple((DIMSE_OF_CLASS.get(row.keyword) or DIMSE_OF_SERVICE.get(row.service, "")).split())


def clean(name: str) -> str:
    """Drop the words that every name of a kind ends in."""
    return name.removesuffix(" SOP Class").removesuffix(" SOP Instance").strip()


def ordered(rows: dict[str, Row]) -> list[Row]:
    """Sort by UID, component by component."""
    return sorted(rows.values(), key=lambda row: row.order)


def render() -> str:
    """Write the module."""
    classes, syntaxes, instances, common, stamp = read()
    by_uid = {row.uid: row for row in classes}
    keywords = {row.keyword for row in classes}
    used = {*DIMSE_OF_CLASS, *MEMBERS, *(member for found in MEMBERS.values() for member in found)}
    services = sorted(DIMSE_OF_SERVICE.keys() - {row.service for row in classes})
    if services or not used <= keywords:
        raise SystemExit(f"no such class or service: {sorted(used - keywords)} or {services}")
    out = [
        '"""SOP Classes, Transfer Syntaxes, information models and well-known instances.',
        "",
        "Generated by tools/generate_sop_classes.py: do not edit.",
        f"Edition: {stamp}.",
        '"""',
        "",
        "# fmt: off",
        "# ruff: noqa: E501, RUF022",
        "",
        "from __future__ import annotations",
        "",
        "from typing import Final",
        "",
        "from .uids import (",
        "    SOP_CLASSES,",
        "    TRANSFER_SYNTAXES,",
        "    Model as Model,",
        "    SOPClass as SOPClass,",
        "    TransferSyntax as TransferSyntax,",
        ")",
        "",
        f'EDITION: Final = "{stamp}"',
        "",
        "# SOP Classes (PS3.6 Table A-1, PS3.4).",
    ]
    for row in classes:
        facts = f'"{row.uid}", "{row.keyword}", {quoted(row.name)}, "{row.service}"'
        names = ", ".join(f'"{name}"' for name in dimse(row))
        facts += f", ({names}{',' if len(dimse(row)) == 1 else ''})" if names else ""
        facts += ", retired=True" if row.retired else ""
        out.append(f"{row.keyword}: Final = SOPClass({facts})")
    out += ["", "# Transfer Syntaxes (PS3.5 10, PS3.6 Table A-1)."]
    for row in syntaxes:
        facts = f'"{row.uid}", "{row.keyword}", {quoted(row.name)}'
        flags = ENCODINGS.get(row.uid, "")
        facts += f", {flags}" if flags else ""
        facts += ", retired=True" if row.retired else ""
        out.append(f"{row.keyword}: Final = TransferSyntax({facts})")
    out += ["", "# Well-known SOP Instances (PS3.6 Table A-1)."]
    out += [f'{row.keyword}: Final = "{row.uid}"' for row in instances]
    out += ["", "# Information models: FIND, GET and MOVE along one root (PS3.4 C.6 and others)."]
    for model, members in MODELS.items():
        unknown = [keyword for keyword in members if keyword and keyword not in keywords]
        if unknown or model in keywords:
            raise SystemExit(f"model {model}: {unknown or 'name taken'}")
        args = ", ".join(keyword or "None" for keyword in members)
        out.append(f'{model}: Final = Model("{model}", {args})')
    out += [
        "",
        "# Context's class -> the classes that DIMSE-N names on it, unless that is itself alone",
        "# (PS3.4 H.3.2.2 and CC.3.1.1); `registry.allows` asks.",
        "MEMBERS: Final[dict[str, tuple[SOPClass, ...]]] = {",
        *(f"    {keyword}: ({', '.join(members)})," for keyword, members in MEMBERS.items()),
        "}",
        "",
        "# The 120 storage classes that DCMTK's tools propose, retired ones among them.",
        "MOST_USED_STORAGE: Final[tuple[SOPClass, ...]] = (",
        *(f"    {by_uid[uid].keyword}," for uid in common),
        ")",
        "",
        "_ALL: Final = tuple(globals().values())",
        "",
        "SOP_CLASSES.update((str(value), value) for value in _ALL if isinstance(value, SOPClass))",
        "TRANSFER_SYNTAXES.update(",
        "    (str(value), value) for value in _ALL if isinstance(value, TransferSyntax)",
        ")",
        "",
        "# Every class that C-STORE carries, retired ones and non-patient objects too.",
        "ALL_STORAGE: Final[tuple[SOPClass, ...]] = tuple(",
        "    value for value in SOP_CLASSES.values() if value.is_storage",
        ")",
        "",
    ]
    public: list[Any] = [row.keyword for row in (*classes, *syntaxes, *instances)]
    public += MODELS
    public += ["ALL_STORAGE", "EDITION", "MOST_USED_STORAGE", "SOP_CLASSES", "TRANSFER_SYNTAXES"]
    if len(set(public)) != len(public):
        raise SystemExit(f"used twice: {sorted({n for n in public if public.count(n) > 1})}")
    listed = ", ".join(f'"{name}"' for name in sorted(public))
    wrapped = textwrap.wrap(listed, 96, break_long_words=False, break_on_hyphens=False)
    out += ["__all__ = [", *(f"    {line}" for line in wrapped), "]"]
    return "\n".join(out) + "\n"


def quoted(text: str) -> str:
    """Quote for Python source."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def main() -> int:
    """Write the file, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when stale")
    source = render()
    if parser.parse_args().check:
        fresh = TARGET.exists() and TARGET.read_text(encoding="utf-8") == source
        print("up to date" if fresh else f"{TARGET} is stale")
        return 0 if fresh else 1
    TARGET.write_text(source, encoding="utf-8")
    print(f"{TARGET}: {len(source.splitlines())} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
