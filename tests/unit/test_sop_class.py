"""The generated tables, against the CSV, pydicom's dictionary and facts written down here."""

from __future__ import annotations

import copy
import csv
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import dimse_rs
from dimse_rs import sop_class
from dimse_rs._uids import Model, SOPClass, TransferSyntax

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
    assert (twin, twin.keyword, twin.name) == (value, value.keyword, value.name)


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
