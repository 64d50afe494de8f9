"""The sink: modes, layouts, and what becomes of an instance that comes again."""

from __future__ import annotations

import pydicom
import pytest

from dimse_rs import (
    Context,
    CTImageStorage,
    ImplicitVRLittleEndian,
    MRImageStorage,
    RTPlanStorage,
    StatusError,
    Storage,
)
from tests.data.files import data_set
from tests.data.generate import series
from tests.support.nodes import CT, MR_IMPLICIT, SCU, at, link, scp


def changed(name):
    instance = pydicom.dcmread(CT)
    instance.PatientName = name
    return instance


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


UID = pydicom.dcmread(CT, stop_before_pixels=True).SOPInstanceUID


@pytest.mark.parametrize("mode", ["durable", "file-only", "fast"])
@pytest.mark.parametrize("layout", ["flat", "study"])
def test_every_mode_and_layout_keeps_every_byte(mode, layout, tmp_path):
    sent = [CT, MR_IMPLICIT, *series(tmp_path, "sent", 3, (1, 64, 64))]
    folder = tmp_path / "new" / "in"
    server = scp(services=[Storage(folder, mode=mode, layout=layout)])
    contexts = [CTImageStorage, Context(MRImageStorage, ImplicitVRLittleEndian)]
    with link(server, contexts) as association:
        for path in sent:
            assert association.c_store(path) == 0
    expected = {}
    for path in sent:
        facts = pydicom.dcmread(path, stop_before_pixels=True)
        below = f"{facts.StudyInstanceUID}/{facts.SeriesInstanceUID}/" if layout == "study" else ""
        expected[f"{below}{facts.SOPInstanceUID}.dcm"] = data_set(path)
    assert {name: data_set(folder / name) for name in names(folder)} == expected


def test_the_same_bytes_again_change_nothing(tmp_path):
    server = scp(tmp_path)
    events = server.events()
    with link(server, CTImageStorage) as association:
        association.c_store(CT)
        association.c_store(CT)
    assert names(tmp_path) == [f"{UID}.dcm"]
    stored = [event for event in events if event["event"] == "stored"]
    assert ["identical" in event for event in stored] == [False, True]


def test_another_version_keeps_the_earlier_one(tmp_path):
    server = scp(tmp_path)
    events = server.events()
    with link(server, CTImageStorage) as association:
        for name in ("One", "Two", "Three"):
            assert association.c_store(changed(name)) == 0
    kept = {path: str(pydicom.dcmread(tmp_path / path).PatientName) for path in names(tmp_path)}
    assert kept == {f"{UID}.dcm": "Three", f"{UID}.dcm~1~": "One", f"{UID}.dcm~2~": "Two"}
    stored = [event for event in events if event["event"] == "stored"]
    assert [event.get("kept") for event in stored] == [
        None,
        str(tmp_path / f"{UID}.dcm~1~"),
        str(tmp_path / f"{UID}.dcm~2~"),
    ]


def test_another_version_is_refused_where_that_is_the_policy(tmp_path):
    server = scp(services=[Storage(tmp_path, mode="fast", duplicates="reject")])
    with link(server, CTImageStorage) as association:
        assert association.c_store(changed("One")) == 0
        assert association.c_store(changed("One")) == 0
        with pytest.raises(StatusError) as caught:
            association.c_store(changed("Two"))
    assert caught.value.status == 0xC111
    assert names(tmp_path) == [f"{UID}.dcm"]
    assert str(pydicom.dcmread(tmp_path / f"{UID}.dcm").PatientName) == "One"


def test_a_storage_of_some_classes(tmp_path):
    server = scp(services=[Storage(tmp_path, mode="fast", sop_classes=[MRImageStorage])])
    with link(server, [CTImageStorage, MRImageStorage]) as association:
        assert [context.sop_class for context in association.accepted] == [MRImageStorage]
        assert association.c_store(MR_IMPLICIT) == 0


@pytest.mark.parametrize(("unknown", "accepted"), [(False, False), (True, True)])
def test_classes_beyond_the_registry_are_taken_only_when_asked(unknown, accepted, tmp_path):
    instance = pydicom.dcmread(CT)
    instance.SOPClassUID = "1.2.826.0.1.3680043.9.9999.1"
    server = scp(services=[Storage(tmp_path, mode="fast", unknown=unknown)])
    with link(server, [instance.SOPClassUID, RTPlanStorage]) as association:
        assert bool(association.rejected) is not accepted
        if accepted:
            assert association.c_store(instance) == 0
            assert names(tmp_path) == [f"{UID}.dcm"]


def test_the_folder_is_made_and_its_problems_are_named(tmp_path):
    Storage(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="file") as caught:
        Storage(tmp_path / "file")
    assert caught.value.errno
    assert caught.value.filename == str(tmp_path / "file")
    for wrong in ({"mode": "slow"}, {"layout": "deep"}, {"duplicates": "overwrite"}):
        with pytest.raises(ValueError, match=next(iter(wrong.values()))):
            Storage(tmp_path, **wrong)


def test_two_storages_in_one_server_are_a_mistake(tmp_path):
    with pytest.raises(ValueError, match="one Storage"):
        scp(services=[Storage(tmp_path), Storage(tmp_path)])


def test_one_folder_may_serve_two_servers(tmp_path):
    storage = Storage(tmp_path, mode="fast")
    with scp(services=[storage]) as one, scp(services=[storage]) as other:
        for server in (one, other):
            with SCU.associate(at(server), contexts=CTImageStorage) as association:
                association.c_store(changed(str(server.port)))
    assert names(tmp_path) == [f"{UID}.dcm", f"{UID}.dcm~1~"]


def test_a_disk_at_its_reserve_refuses_what_arrives(tmp_path):
    server = scp(services=[Storage(tmp_path, reserve=1 << 60)])
    with link(server, CTImageStorage) as association:
        with pytest.raises(StatusError, match="no space left") as caught:
            association.c_store(CT)
        assert caught.value.status == 0xA700
        association.release()
    assert names(tmp_path) == []
    with pytest.raises(ValueError, match="-1 bytes"):
        Storage(tmp_path, reserve=-1)
