"""C-ECHO and C-STORE: what goes in at one end comes out at the other."""

from __future__ import annotations

import io

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset

from dimse_rs import (
    Context,
    CTImageStorage,
    DecodeError,
    MRImageStorage,
    NoPresentationContext,
    Status,
    StatusError,
    Verification,
)
from tests.data.files import SAMPLES, data_set, same_bytes, same_values, with_undecodable_uid
from tests.support.nodes import CT, link, scp

FORMS = {
    "path": lambda path: path,
    "text": str,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "file object": lambda path: io.BytesIO(path.read_bytes()),
}


def test_c_echo():
    with link(scp()) as association:
        status = association.c_echo()
        assert isinstance(status, Status)
        assert status == 0
        assert status.category == "success"
        assert [context.sop_class for context in association.accepted] == [Verification]
        assert association.max_length_peer == 131072
        assert association.is_established
    assert not association.is_established


def test_c_echo_many_times():
    server = scp()
    seen = []

    @server.c_echo
    def echo(request):
        seen.append(request.message_id)
        return 0

    with link(server) as association:
        assert association.c_echo(repeat=1000) == 0
        with pytest.raises(ValueError, match="repeat= is an integer from 1 "):
            association.c_echo(repeat=0)
    assert seen == list(range(1, 1001))


@pytest.mark.parametrize("form", FORMS)
def test_c_store_keeps_every_byte(form, tmp_path):
    with link(scp(tmp_path), CTImageStorage) as association:
        assert association.c_store(FORMS[form](CT)) == 0
    [stored] = tmp_path.glob("*.dcm")
    assert data_set(stored) == data_set(CT)


def test_c_store_of_an_open_file_reads_from_where_it_stands(tmp_path):
    with CT.open("rb") as file, link(scp(tmp_path), CTImageStorage) as association:
        association.c_store(file)
    [stored] = tmp_path.glob("*.dcm")
    assert data_set(stored) == data_set(CT)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.syntax)
def test_c_store_of_every_syntax_keeps_every_byte(sample, tmp_path):
    sent = pydicom.dcmread(sample.path, stop_before_pixels=True)
    context = Context(sent.SOPClassUID, sent.file_meta.TransferSyntaxUID)
    with link(scp(tmp_path), [context]) as association:
        assert association.c_store(sample.path) == 0
    [stored] = tmp_path.glob("*.dcm")
    assert same_bytes(data_set(sample.path), data_set(stored))
    meta = pydicom.dcmread(stored, stop_before_pixels=True).file_meta
    assert meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
    assert meta.SourceApplicationEntityTitle == "SCU"


def test_c_store_of_a_data_set_that_was_read(tmp_path):
    with link(scp(tmp_path), CTImageStorage) as association:
        assert association.c_store(pydicom.dcmread(CT)) == 0
    [stored] = tmp_path.glob("*.dcm")
    assert same_values(CT, stored)


@pytest.mark.parametrize("meta", [None, FileMetaDataset()], ids=["no meta", "empty meta"])
def test_c_store_of_a_data_set_that_was_made(meta, tmp_path):
    made = Dataset()
    made.SOPClassUID = CTImageStorage
    made.SOPInstanceUID = "1.2.3.4"
    made.PatientName = "Doe^Jane"
    if meta is not None:
        made.file_meta = meta
    with link(scp(tmp_path), CTImageStorage) as association:
        assert association.c_store(made) == 0
    assert pydicom.dcmread(tmp_path / "1.2.3.4.dcm") == made


@pytest.mark.parametrize(
    ("missing", "named"),
    [("SOPClassUID", r"\(0008,0016\)"), ("SOPInstanceUID", r"\(0008,0018\)")],
)
def test_c_store_of_a_data_set_without_its_uids(missing, named, tmp_path):
    instance = pydicom.dcmread(CT)
    del instance[missing]
    with link(scp(tmp_path), CTImageStorage) as association:
        with pytest.raises(DecodeError, match=named):
            association.c_store(instance)
        assert association.c_store(CT) == 0  # nothing was harmed


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("uid", ["../evil", "1..2", "1.2.", "a", "1.2\\3", " ", "1." + "2" * 63])
def test_an_instance_with_a_bad_uid_is_refused_before_it_leaves(uid):
    instance = pydicom.dcmread(CT)
    instance.SOPInstanceUID = uid
    file = io.BytesIO()
    instance.save_as(file)
    with link(scp(), CTImageStorage) as association:
        for form in (instance, file.getvalue()):
            with pytest.raises(DecodeError, match="no valid SOP Instance UID"):
                association.c_store(form)


def test_leading_zeros_in_a_uid_are_let_through(tmp_path):
    instance = pydicom.dcmread(CT)
    instance.SOPInstanceUID = "1.02.3"
    with link(scp(tmp_path), CTImageStorage) as association:
        assert association.c_store(instance) == 0
    assert (tmp_path / "1.02.3.dcm").is_file()


def test_c_store_of_what_is_no_file(tmp_path):
    text = tmp_path / "text.dcm"
    text.write_text("not DICOM")
    with link(scp(tmp_path / "in"), CTImageStorage) as association:
        with pytest.raises(FileNotFoundError) as missing:
            association.c_store(tmp_path / "none.dcm")
        assert missing.value.filename == str(tmp_path / "none.dcm")
        with pytest.raises(DecodeError, match="not a regular file"):
            association.c_store(tmp_path)
        with pytest.raises(DecodeError, match="not a DICOM file"):
            association.c_store(text)
        with pytest.raises(DecodeError, match="not a DICOM file"):
            association.c_store(b"not DICOM")
        assert association.c_store(CT) == 0


def test_a_class_that_was_not_proposed():
    with link(scp()) as association:
        with pytest.raises(NoPresentationContext) as caught:
            association.c_store(CT)
        assert caught.value.sop_class == CTImageStorage
        assert "CT Image Storage" in str(caught.value)


def test_a_class_that_was_not_accepted(tmp_path):
    with link(scp(tmp_path), [Verification, CTImageStorage, "1.2.3.4.5"]) as association:
        assert len(association.accepted) == 2
        [rejected] = association.rejected
        assert rejected.sop_class == "1.2.3.4.5"
        assert rejected.reason == "abstract-syntax-not-supported"
        assert association.context(1).sop_class == Verification
        with pytest.raises(KeyError):
            association.context(5)


def test_c_echo_where_verification_was_not_proposed(tmp_path):
    with (
        link(scp(tmp_path), MRImageStorage) as association,
        pytest.raises(NoPresentationContext, match="Verification"),
    ):
        association.c_echo()


def test_a_failure_carries_the_whole_response():
    server = scp()

    @server.c_store
    def refuse(request):
        raise StatusError(0xA700, "disk full")

    with link(server, CTImageStorage) as association:
        with pytest.raises(StatusError) as caught:
            association.c_store(CT)
        assert caught.value.status == 0xA700
        assert caught.value.status.meaning == "refused: out of resources"
        assert caught.value.comment == "disk full"
        response = caught.value.response
        assert response.status == 0xA700
        assert response.command["CommandField"] == 0x8001
        assert response.command["AffectedSOPClassUID"] == CTImageStorage
        assert association.is_established


def test_a_warning_is_returned():
    server = scp()
    server.c_store(lambda request: 0xB007)
    with link(server, CTImageStorage) as association:
        status = association.c_store(CT)
        assert status == 0xB007
        assert status.category == "warning"
        assert "data set does not match SOP class" in str(status)


def test_priority_and_message_ids_are_sent():
    seen = []
    server = scp()

    @server.c_store
    def keep(request):
        seen.append((request.message_id, request.command["Priority"]))

    with link(server, CTImageStorage) as association:
        association.c_store(CT, priority=1)
        association.c_store(CT, priority=2)
        association.c_store(pydicom.dcmread(CT), priority=1)
    assert [priority for _, priority in seen] == [1, 2, 1]
    assert len({number for number, _ in seen}) == 3


def test_a_data_set_whose_uids_cannot_be_decoded_is_refused_by_name():
    broken = with_undecodable_uid(CT)
    with (
        link(scp(), [CTImageStorage]) as association,
        pytest.raises(DecodeError, match=r"no valid SOP Class UID \(0008,0016\)") as caught,
    ):
        association.c_store(broken)
    assert caught.value.__context__ is None  # what pydicom says of it has the value
