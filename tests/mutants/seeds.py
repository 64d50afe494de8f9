"""Data sets to be mutated: of every service, in every uncompressed transfer syntax, with markers.

pydicom encodes them, and takes the instances from the files that it comes with: nothing here is of
the package under test. Text holds `MARK`, which nothing but a data set may ever show.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO

from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from tests.data.files import BUNDLED, data_set as bytes_of_file
from tests.support.datasets import data_set

MARK = "ZQMARKQZ"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
SYNTAXES = (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED)

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_NUMBER = b"777777"
TRANSACTION = "2.25." + "1" * 39
"""What is asked for goes in its place in a report: no UID of that root is longer."""
LONGEST = 40_000
"""Bytes of the bundled files that are taken."""


@dataclass(frozen=True)
class Seed:
    """A data set before it is mutated.

    Attributes:
        kind: what it is for: instance, plain (an instance that is not compressed), query,
            retrieval, worklist, item (of a worklist), step, change, commitment, report, notice.
        syntax: the transfer syntax it is encoded in.
        content: its bytes; a deflated one is deflated when it has been mutated.
    """

    kind: str
    syntax: str
    content: bytes

    @property
    def is_deflated(self) -> bool:
        """Whether it is deflated when it has been mutated."""
        return self.syntax == DEFLATED


def seeds() -> dict[str, list[Seed]]:
    """Give the seeds of each kind."""
    made: dict[str, list[Seed]] = {}
    for kind, make in _MADE.items():
        for syntax in SYNTAXES:
            made.setdefault(kind, []).append(Seed(kind, syntax, _encoded(make(), syntax)))
    for number, (terms, name) in enumerate(_NAMES.items()):
        syntax = SYNTAXES[number % len(SYNTAXES)]
        for kind in ("instance", "query", "worklist", "item", "step"):
            spelt = _spelt(_MADE[kind](), terms, name)
            made[kind].append(Seed(kind, syntax, _encoded(spelt, syntax)))
    for number, seed in enumerate(made["instance"]):  # each an instance of its own
        own = seed.content.replace(_NUMBER, f"{number:06}".encode())
        made["instance"][number] = replace(seed, content=own)
    made["instance"] += _bundled()
    made["plain"] = [seed for seed in made["instance"] if seed.syntax in SYNTAXES]
    made["retrieval"] += _retrievals(made["instance"])
    return made


def deflated(content: bytes) -> bytes:
    """Deflate as PS3.5 A.5 has it."""
    squeeze = zlib.compressobj(wbits=-15)
    out = squeeze.compress(content) + squeeze.flush()
    return out + bytes(len(out) % 2)


def inflated(content: bytes) -> bytes:
    """Inflate what a mutant may have, and no more.

    Raises:
        ValueError: it is longer.
    """
    unpack = zlib.decompressobj(wbits=-15)
    out = unpack.decompress(content, 16 << 20)
    if not unpack.eof:
        raise ValueError("cut short, or too long")
    return out


def part10(content: bytes, syntax: str, *, sop_class: str = SECONDARY_CAPTURE) -> bytes:
    """Put a data set into a Part 10 file (PS3.10 7.1)."""
    body = b"\x02\x00\x01\x00OB\0\0\x02\0\0\0\0\1"
    for number, uid in ((2, sop_class), (3, "1.2.3.4"), (0x10, syntax), (0x12, "1.2.3.5")):
        value = uid.encode() + bytes(len(uid) % 2)
        body += struct.pack("<HH2sH", 2, number, b"UI", len(value)) + value
    head = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(body))
    return bytes(128) + b"DICM" + head + body + content


def _encoded(dataset: Dataset, syntax: str) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = syntax == IMPLICIT
    buffer.is_little_endian = syntax != BIG_ENDIAN
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def _bundled() -> Iterator[Seed]:
    for folder in ("test_files", "charset_files"):
        for path in sorted((BUNDLED / folder).glob("*.dcm")):
            if path.stat().st_size > LONGEST:
                continue
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    meta = dcmread(path, stop_before_pixels=True).file_meta
                syntax = str(meta.TransferSyntaxUID)
            except Exception:  # some are broken on purpose
                continue
            content = bytes_of_file(path)
            if syntax == DEFLATED:
                content = inflated(content)
            if len(content) > LONGEST:
                continue
            yield Seed("instance", syntax, content)


def _patient() -> dict[str, object]:
    return {
        "SpecificCharacterSet": ["ISO_IR 100"],
        "PatientName": f"{MARK}^Anna",
        "PatientID": MARK,
        "PatientBirthDate": "19500102",
        "PatientSex": "F",
    }


def _instance() -> Dataset:
    return data_set(
        **_patient(),
        SOPClassUID=SECONDARY_CAPTURE,
        SOPInstanceUID=f"1.2.3.4.1{_NUMBER.decode()}",
        StudyInstanceUID="1.2.3.5",
        SeriesInstanceUID="1.2.3.6",
        StudyDate="20260101",
        StudyTime="101112",
        AccessionNumber=MARK,
        Modality="OT",
        InstanceNumber="1",
        PatientComments=f"{MARK} " * 20,
        OtherPatientIDsSequence=[data_set(PatientID=MARK, TypeOfPatientID="TEXT")],
        RequestAttributesSequence=[
            data_set(ScheduledProcedureStepID="1", ScheduledProtocolCodeSequence=[_code()])
        ],
        Rows=8,
        Columns=8,
        SamplesPerPixel=1,
        BitsAllocated=16,
        BitsStored=16,
        HighBit=15,
        PixelRepresentation=0,
        PhotometricInterpretation="MONOCHROME2",
        PixelSpacing=["0.5", "0.5"],
        PixelData=bytes(128),
    )


_NAMES = {
    "ISO_IR 100": "Büß^Anna",
    "ISO_IR 101": "Wałęsa^Żaneta",
    "ISO_IR 109": "Ġorġ^Ħal",
    "ISO_IR 110": "Pētersons^Ilzē",
    "ISO_IR 144": "Люксембург^Анна",
    "ISO_IR 127": "قباني^لنزار",
    "ISO_IR 126": "Διονυσιος^Άννα",
    "ISO_IR 138": "שרון^דבורה",
    "ISO_IR 148": "Çavuşoğlu^Şule",
    "ISO_IR 166": "สมชาย^ใจดี",
    "ISO_IR 13": "ﾔﾏﾀﾞ^ﾀﾛｳ",
    "ISO_IR 192": "山田^太郎=Żaneta",
    "GB18030": "王^小东",
    "GBK": "王^小东",
    "\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "ISO 2022 IR 13\\ISO 2022 IR 87": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "\\ISO 2022 IR 149": "Hong^Gildong=洪^吉洞=홍^길동",
    "\\ISO 2022 IR 58": "Zhang^XiaoDong=张^小东=",
    "ISO 2022 IR 100\\ISO 2022 IR 144": "Büß^Люкс",
}
"""A name for each of the character sets of PS3.3 C.12.1.1.2."""


def _spelt(dataset: Dataset, terms: str, name: str) -> Dataset:
    """Put a name in, in its character set, at the top and in each item of a sequence in it."""
    dataset.SpecificCharacterSet = terms.split("\\")
    _name(dataset, name)
    return dataset


def _name(dataset: Dataset, name: str) -> None:
    dataset.PatientName = name
    dataset.ReferringPhysicianName = name
    for element in list(dataset):
        if element.VR == "SQ":
            for item in element.value:
                _name(item, name)


def _code() -> Dataset:
    return data_set(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning=MARK)


def _query() -> Dataset:
    return data_set(
        SpecificCharacterSet="ISO_IR 192",
        QueryRetrieveLevel="STUDY",
        PatientName="*",
        PatientID="",
        StudyDate="19000101-20991231",
        StudyTime="",
        StudyInstanceUID="",
        ModalitiesInStudy="OT",
        NumberOfStudyRelatedInstances="",
        OtherPatientIDsSequence=[data_set(PatientID="")],
    )


def _retrieval() -> Dataset:
    return data_set(QueryRetrieveLevel="STUDY", StudyInstanceUID=["1.2.3.5", "1.2.3.55"])


def _retrievals(instances: list[Seed]) -> Iterator[Seed]:
    """Ask for the study of each of the instances."""
    for number, seed in enumerate(instances):
        little = seed.syntax != BIG_ENDIAN
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = read_dataset(BytesIO(seed.content), seed.syntax == IMPLICIT, little)
            study = read.get("StudyInstanceUID")
        if study:
            asked = data_set(QueryRetrieveLevel="STUDY", StudyInstanceUID=str(study))
            syntax = SYNTAXES[number % len(SYNTAXES)]
            yield Seed("retrieval", syntax, _encoded(asked, syntax))


def _worklist() -> Dataset:
    return data_set(
        PatientName="*",
        PatientID="",
        AccessionNumber="",
        ScheduledProcedureStepSequence=[
            data_set(
                Modality="CT",
                ScheduledStationAETitle="",
                ScheduledProcedureStepStartDate="20200101-20991231",
                ScheduledProcedureStepStartTime="0000-2359",
                ScheduledPerformingPhysicianName="",
            )
        ],
    )


def _scheduled() -> Dataset:
    scheduled = data_set(
        Modality="CT",
        ScheduledStationAETitle="CT1",
        ScheduledProcedureStepStartDate="20260101",
        ScheduledProcedureStepStartTime="101112",
        ScheduledPerformingPhysicianName=MARK,
        ScheduledProtocolCodeSequence=[_code()],
    )
    return data_set(**_patient(), AccessionNumber=MARK, ScheduledProcedureStepSequence=[scheduled])


def _step() -> Dataset:
    return data_set(
        **_patient(),
        ScheduledStepAttributesSequence=[
            data_set(StudyInstanceUID="1.2.3.5", AccessionNumber=MARK, ReferencedStudySequence=[])
        ],
        PerformedProcedureStepID="1",
        PerformedStationAETitle="CT1",
        PerformedProcedureStepStartDate="20260101",
        PerformedProcedureStepStartTime="1011",
        PerformedProcedureStepStatus="IN PROGRESS",
        Modality="CT",
        PerformedSeriesSequence=[],
    )


def _change() -> Dataset:
    return data_set(
        PerformedProcedureStepStatus="COMPLETED",
        PerformedProcedureStepEndDate="20260101",
        PerformedProcedureStepEndTime="1012",
        PerformedSeriesSequence=[
            data_set(
                PerformingPhysicianName=MARK,
                ProtocolName=MARK,
                SeriesInstanceUID="1.2.3.6",
                SeriesDescription=MARK,
                RetrieveAETitle="X",
                ReferencedImageSequence=[_reference()],
                ReferencedNonImageCompositeSOPInstanceSequence=[],
                OperatorsName="",
            )
        ],
    )


def _reference(uid: str = "1.2.3.4") -> Dataset:
    return data_set(ReferencedSOPClassUID=SECONDARY_CAPTURE, ReferencedSOPInstanceUID=uid)


def _commitment() -> Dataset:
    return data_set(
        TransactionUID=TRANSACTION, ReferencedSOPSequence=[_reference(), _reference("1.2.3.41")]
    )


def _report() -> Dataset:
    failed = _reference("1.2.3.41")
    failed.FailureReason = 0x0112
    return data_set(
        TransactionUID=TRANSACTION, ReferencedSOPSequence=[_reference()], FailedSOPSequence=[failed]
    )


def _notice() -> Dataset:
    available = _reference()
    available.InstanceAvailability = "ONLINE"
    available.RetrieveAETitle = "X"
    series = data_set(SeriesInstanceUID="1.2.3.6", ReferencedSOPSequence=[available])
    return data_set(StudyInstanceUID="1.2.3.5", ReferencedSeriesSequence=[series])


_MADE: dict[str, Callable[[], Dataset]] = {
    "instance": _instance,
    "query": _query,
    "retrieval": _retrieval,
    "worklist": _worklist,
    "item": _scheduled,
    "step": _step,
    "change": _change,
    "commitment": _commitment,
    "report": _report,
    "notice": _notice,
}
