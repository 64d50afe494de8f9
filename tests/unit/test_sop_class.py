"""The generated tables, against the CSV, pydicom's dictionary and facts written down here."""

from __future__ import annotations

import copy
import csv
import inspect
import pickle
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

import dimse_rs
from dimse_rs import sop_class
from dimse_rs.registry import DIMSE_SERVICES, allows, classes_of, register
from dimse_rs.sop_class import Model, SOPClass, TransferSyntax

ROOT = Path(__file__).parents[2]


def test_every_transcribed_class_is_there():
    with (ROOT / "tools" / "sop_classes_extra.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 183
    for line in lines:
        if line["service"] == "transfer-syntax":
            assert sop_class.TRANSFER_SYNTAXES[line["uid"]].keyword == line["keyword"]
        else:
            entry = sop_class.SOP_CLASSES[line["uid"]]
            assert (entry.keyword, entry.service) == (line["keyword"], line["service"])
            assert entry.is_storage


def test_constants_are_uids_by_keyword():
    assert sop_class.CTImageStorage == "1.2.840.10008.5.1.4.1.1.2"
    assert sop_class.Verification == "1.2.840.10008.1.1"
    assert sop_class.StorageCommitmentPushModelInstance == "1.2.840.10008.1.20.1.1"
    for uid, entry in sop_class.SOP_CLASSES.items():
        assert getattr(sop_class, entry.keyword) is entry
        assert getattr(dimse_rs, entry.keyword) is entry
        assert entry == uid
        assert entry.service


def test_names_agree_with_pydicom():
    from pydicom._uid_dict import UID_dictionary

    for uid, (_, kind, _, retired, keyword) in UID_dictionary.items():
        if kind in ("SOP Class", "Meta SOP Class") and keyword:
            entry = sop_class.SOP_CLASSES[uid]
            assert (entry.keyword, entry.retired) == (keyword, bool(retired))
        elif kind == "Transfer Syntax":
            assert sop_class.TRANSFER_SYNTAXES[uid].keyword == keyword


def test_storage_lists():
    most_used, every = sop_class.MOST_USED_STORAGE, sop_class.ALL_STORAGE
    assert len(most_used) == len(set(most_used)) == 120
    assert set(most_used) < set(every)
    for wanted in ("CTImageStorage", "MRImageStorage", "LabelMapSegmentationStorage"):
        assert getattr(sop_class, wanted) in every
    assert sop_class.MediaStorageDirectoryStorage not in every
    assert sop_class.StorageCommitmentPushModel not in every


@pytest.mark.parametrize(
    ("keyword", "flags"),
    [
        # implicit, big endian, deflated, encapsulated, convertible
        ("ImplicitVRLittleEndian", (True, False, False, False, True)),
        ("ExplicitVRLittleEndian", (False, False, False, False, True)),
        ("ExplicitVRBigEndian", (False, True, False, False, True)),
        ("DeflatedExplicitVRLittleEndian", (False, False, True, False, True)),
        ("EncapsulatedUncompressedExplicitVRLittleEndian", (False, False, False, True, False)),
        ("JPEGBaseline8Bit", (False, False, False, True, False)),
        ("RLELossless", (False, False, False, True, False)),
        ("DeflatedImageFrameCompression", (False, False, False, True, False)),
        ("JPIPReferencedDeflate", (False, False, True, False, False)),
        ("JPEGXL", (False, False, False, True, False)),
    ],
)
def test_transfer_syntax_flags(keyword, flags):
    syntax = getattr(sop_class, keyword)
    found = (syntax.implicit, syntax.big_endian, syntax.deflated)
    assert (*found, syntax.encapsulated, syntax.convertible) == flags


def test_models_have_their_classes():
    root = sop_class.StudyRoot
    assert isinstance(root, Model)
    assert [str(uid)[-3:] for uid in root] == ["2.1", "2.3", "2.2"]
    assert root.move == "1.2.840.10008.5.1.4.1.2.2.2"
    assert list(sop_class.ModalityWorklist) == [sop_class.ModalityWorklistInformationModelFind]
    assert sop_class.CompositeInstanceRoot.find is None
    for name in sop_class.__all__:
        model = getattr(sop_class, name)
        if isinstance(model, Model):
            assert model.name == name
            for verb, uid in (("Find", model.find), ("Get", model.get), ("Move", model.move)):
                assert uid is None or uid.keyword.endswith(verb) or uid == sop_class.RepositoryQuery


def test_look_up_knows_and_does_not_know():
    assert SOPClass.of("1.2.840.10008.5.1.4.1.1.2") is sop_class.CTImageStorage
    private = SOPClass.of("1.2.3.4")
    assert (private, private.keyword, private.is_storage) == ("1.2.3.4", "", False)
    assert SOPClass.of(private) is private
    unknown = TransferSyntax.of("1.2.3.4")
    assert (unknown.encapsulated, unknown.implicit, unknown.convertible) == (True, False, False)


@pytest.mark.parametrize("value", [sop_class.CTImageStorage, sop_class.JPEG2000])
@pytest.mark.parametrize("again", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_uids_survive_pickling(value, again):
    twin = again(value)
    assert type(twin) is type(value)
    assert twin == value
    assert all(getattr(twin, fact) == getattr(value, fact) for fact in value.__slots__)


# pynetdicom's table -> DIMSE services, where its service class does not tell the requests apart.
UNTOLD = {
    "_NON_PATIENT_OBJECT_CLASSES": {"C-STORE"},
    "_RELEVANT_PATIENT_QUERY_CLASSES": {"C-FIND"},
    "_STORAGE_CLASSES": {"C-STORE"},
    "_VERIFICATION_CLASSES": {"C-ECHO"},
    "_MEDIA_STORAGE_CLASSES": set(),
}


def test_each_service_has_the_dimse_services_that_pynetdicom_serves():
    tables = pytest.importorskip("pynetdicom.sop_class")
    served = re.compile(r"isinstance\(\s*req, ([CN]_\w+)")
    names = [name for name in vars(tables) if re.fullmatch(r"_[A-Z_]+_CLASSES", name)]
    names.remove("_SERVICE_CLASSES")
    assert len(names) == 24
    for name in names:
        ours = [sop_class.SOP_CLASSES[uid] for uid in getattr(tables, name).values()]
        assert len({entry.service for entry in ours}) == 1, name
        source = inspect.getsource(tables.uid_to_service_class(ours[0]).SCP)
        theirs = {found.replace("_", "-") for found in served.findall(source)}
        assert bool(theirs) != (name in UNTOLD), name
        if name != "_MEDIA_STORAGE_CLASSES":
            assert all(entry.dimse for entry in ours), name
        assert {one for entry in ours for one in entry.dimse} == (theirs or UNTOLD[name]), name


# PS3.4 C, F, H and CC: the classes of a service differ.
@pytest.mark.parametrize(
    ("keyword", "services"),
    [
        ("ModalityPerformedProcedureStep", "N-CREATE N-SET"),
        ("ModalityPerformedProcedureStepRetrieve", "N-GET"),
        ("ModalityPerformedProcedureStepNotification", "N-EVENT-REPORT"),
        ("UnifiedProcedureStepPush", "N-CREATE N-ACTION N-GET"),
        ("UnifiedProcedureStepWatch", "N-ACTION N-GET C-FIND"),
        ("UnifiedProcedureStepPull", "C-FIND N-GET N-SET N-ACTION"),
        ("UnifiedProcedureStepEvent", "N-EVENT-REPORT"),
        ("UnifiedProcedureStepQuery", "C-FIND"),
        ("BasicFilmSession", "N-CREATE N-SET N-DELETE N-ACTION"),
        ("BasicFilmBox", "N-CREATE N-SET N-DELETE N-ACTION"),
        ("BasicGrayscaleImageBox", "N-SET"),
        ("BasicColorImageBox", "N-SET"),
        ("BasicAnnotationBox", "N-SET"),
        ("PrintJob", "N-EVENT-REPORT N-GET"),
        ("Printer", "N-EVENT-REPORT N-GET"),
        ("PresentationLUT", "N-CREATE N-DELETE"),
        ("PrinterConfigurationRetrieval", "N-GET"),
        ("RepositoryQuery", "C-FIND"),
        ("StudyRootQueryRetrieveInformationModelMove", "C-MOVE"),
        ("CompositeInstanceRetrieveWithoutBulkDataGet", "C-GET"),
        ("PatientStudyOnlyQueryRetrieveInformationModelFind", "C-FIND"),
        ("StoredPrintStorage", "C-STORE"),
        ("DetachedPatientManagement", ""),
    ],
)
def test_dimse_services_of_a_class(keyword, services):
    assert set(getattr(sop_class, keyword).dimse) == set(services.split())


def test_dimse_services_are_named_once_and_few_classes_have_none():
    for entry in sop_class.SOP_CLASSES.values():
        assert set(entry.dimse) <= set(DIMSE_SERVICES)
        assert max(Counter(entry.dimse).values(), default=1) == 1
    without = {
        uid.keyword for uid in sop_class.SOP_CLASSES.values() if not (uid.dimse or uid.retired)
    }
    assert without == {
        "AudioWaveformRealTimeCommunication",
        "MediaStorageDirectoryStorage",
        "RenditionSelectionDocumentRealTimeCommunication",
        "VOILUTBox",
        "VideoEndoscopicImageRealTimeCommunication",
        "VideoPhotographicImageRealTimeCommunication",
    }


def test_every_uid_and_keyword_occurs_once():
    source = Path(sop_class.__file__).read_text(encoding="utf-8")
    rows = re.findall(r'^(\w+): Final = SOPClass\("([0-9.]+)", "(\w+)"', source, re.MULTILINE)
    assert len(rows) == len({uid for _, uid, _ in rows}) == len({name for name, _, _ in rows})
    assert all(name == keyword for name, _, keyword in rows)
    assert [uid for _, uid, _ in rows] == list(sop_class.SOP_CLASSES)


def test_a_meta_class_has_the_services_of_its_members():
    for uid, members in sop_class.MEMBERS.items():
        if sop_class.SOP_CLASSES[uid].keyword.endswith("Meta"):
            services = {service for member in members for service in member.dimse}
            assert set(sop_class.SOP_CLASSES[uid].dimse) == services
    kinds = {uid.keyword for uid in classes_of("N-DELETE") if uid.keyword.endswith("Meta")}
    assert kinds == {"BasicGrayscalePrintManagementMeta", "BasicColorPrintManagementMeta"}


@pytest.mark.parametrize(
    ("context", "command", "allowed"),
    [
        ("BasicGrayscalePrintManagementMeta", "BasicFilmSession", True),
        ("BasicGrayscalePrintManagementMeta", "BasicFilmBox", True),
        ("BasicGrayscalePrintManagementMeta", "BasicGrayscaleImageBox", True),
        ("BasicGrayscalePrintManagementMeta", "Printer", True),
        ("BasicGrayscalePrintManagementMeta", "BasicColorImageBox", False),
        ("BasicGrayscalePrintManagementMeta", "PrintJob", False),
        ("BasicGrayscalePrintManagementMeta", "BasicGrayscalePrintManagementMeta", False),
        ("BasicColorPrintManagementMeta", "BasicColorImageBox", True),
        ("BasicColorPrintManagementMeta", "BasicGrayscaleImageBox", False),
        ("BasicFilmSession", "BasicGrayscalePrintManagementMeta", False),
        ("UnifiedProcedureStepPush", "UnifiedProcedureStepPush", True),
        ("UnifiedProcedureStepWatch", "UnifiedProcedureStepPush", True),
        ("UnifiedProcedureStepPull", "UnifiedProcedureStepPush", True),
        ("UnifiedProcedureStepEvent", "UnifiedProcedureStepPush", True),
        ("UnifiedProcedureStepQuery", "UnifiedProcedureStepPush", True),
        ("UnifiedProcedureStepPull", "UnifiedProcedureStepPull", True),
        ("UnifiedProcedureStepPush", "UnifiedProcedureStepWatch", False),
        ("UnifiedProcedureStepPull", "UnifiedProcedureStepWatch", False),
        ("StorageCommitmentPushModel", "StorageCommitmentPushModel", True),
        ("ModalityPerformedProcedureStepRetrieve", "ModalityPerformedProcedureStep", False),
    ],
)
def test_a_context_carries_its_class_or_the_members(context, command, allowed):
    pair = getattr(sop_class, context), getattr(sop_class, command)
    assert allows(*pair) is allowed
    assert allows(*map(str, pair)) is allowed


def test_a_context_of_an_unknown_class_carries_that_class():
    assert allows("1.2.3.4", "1.2.3.4")
    assert not allows("1.2.3.4", sop_class.Printer)


def test_classes_are_listed_by_dimse_service():
    assert classes_of("C-ECHO") == (sop_class.Verification,)
    assert classes_of("C-STORE", retired=True) == sop_class.ALL_STORAGE
    current, every = classes_of("C-FIND"), classes_of("C-FIND", retired=True)
    assert sop_class.ModalityWorklist.find in current
    assert sop_class.PatientStudyOnly.find not in current
    assert sop_class.PatientStudyOnly.find in every
    assert [uid for uid in every if not uid.retired] == list(current)
    with pytest.raises(ValueError, match="'C-CANCEL' is no DIMSE service"):
        classes_of("C-CANCEL")


@pytest.fixture
def table():
    """The table, which loses again what the test adds."""
    before = dict(sop_class.SOP_CLASSES)
    yield sop_class.SOP_CLASSES
    sop_class.SOP_CLASSES.clear()
    sop_class.SOP_CLASSES.update(before)


def private(keyword="PrivateStorage", uid="1.2.3.4", dimse=("C-STORE",)):
    return SOPClass(uid, keyword=keyword, name="Private", service="storage", dimse=dimse)


def test_a_registered_class_is_found_and_listed(table):
    assert SOPClass.of("1.2.3.4").keyword == ""
    added = register(private())
    assert SOPClass.of("1.2.3.4") is added is table["1.2.3.4"]
    assert added.is_storage
    assert classes_of("C-STORE")[-1] is added
    assert register(private()) is added


@pytest.mark.parametrize("uid", ["1.2.3.4", str(sop_class.CTImageStorage)])
def test_no_entry_is_replaced(table, uid):
    first = table.get(uid) or register(private())
    with pytest.raises(ValueError, match=f"{first.keyword}.* in the table already"):
        register(private("Other", uid))
    assert SOPClass.of(uid) is first


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (private(uid="1.2.x"), "not a UID"),
        (private(uid=""), "not a UID"),
        (private(dimse=("C-STORE", "C-CANCEL")), "more than DIMSE services"),
        (private(dimse="C-STORE"), "more than DIMSE services"),
    ],
)
def test_a_wrong_entry_is_not_registered(table, wrong, message):
    before = dict(table)
    with pytest.raises(ValueError, match=message):
        register(wrong)
    assert table == before


def test_threads_that_register_the_same_uid_agree_on_one(table):
    start, outcomes = threading.Barrier(8), []

    def add(number):
        start.wait(timeout=10)
        try:
            outcomes.append(register(private(f"Private{number}")))
        except ValueError:
            outcomes.append(None)
        classes_of("C-STORE")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert len(outcomes) == 8
    winners = [entry for entry in outcomes if entry is not None]
    assert winners == [table["1.2.3.4"]]


def test_file_is_what_the_generator_writes():
    pytest.importorskip("pynetdicom")
    run = subprocess.run(
        [sys.executable, ROOT / "tools" / "generate_sop_classes.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout + run.stderr
