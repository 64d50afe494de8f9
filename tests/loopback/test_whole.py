"""Success for half an instance: by every way out, what is cut short is refused by name."""

from __future__ import annotations

import asyncio
import logging
from io import BytesIO

import pydicom
import pytest

from dimse_rs import (
    Context,
    DecodeError,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    Index,
    QueryRetrieve,
    Retrieve,
    StatusError,
    StudyRoot,
    WithoutBulkData,
)
from tests.support.nodes import CT, DEFLATED, MR_IMPLICIT, SCU, at, link, picky, scp

CUT = 5000
SYNTAXES = {"own": ExplicitVRLittleEndian, "converted": ImplicitVRLittleEndian}


@pytest.fixture
def cut(tmp_path):
    """A copy of a file that did not end."""
    path = tmp_path / "cut.dcm"
    path.write_bytes(CT.read_bytes()[:-CUT])
    return path


def class_of(path):
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPClassUID)


def only(syntax, path=CT):
    return Context(class_of(path), [syntax])


def stored(folder):
    return sorted(path.name for path in folder.rglob("*.dcm"))


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES)
def test_a_cut_file_is_refused_before_anything_leaves(cut, syntax, tmp_path):
    folder = tmp_path / "stored"
    server = scp(folder)
    events = server.events("message")
    with link(server, [only(syntax)]) as association:
        for instance in (cut, str(cut), cut.read_bytes(), BytesIO(cut.read_bytes())):
            with pytest.raises(DecodeError, match="cut short") as caught:
                association.c_store(instance)
            assert caught.value.offset == cut.stat().st_size
        with pytest.raises(DecodeError, match=r"\(7FE0,0010\) is cut short"):
            association.c_store(pydicom.dcmread(cut))
        assert association.is_established
    assert not [event for event in events if "C-STORE" in str(event)]
    assert stored(folder) == []


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES)
def test_a_cut_file_is_refused_in_asyncio_too(cut, syntax, tmp_path):
    async def store(peer):
        async with SCU.associate_async(peer, contexts=[only(syntax)]) as association:
            for instance in (cut, pydicom.dcmread(cut)):
                with pytest.raises(DecodeError, match="cut short"):
                    await association.c_store(instance)
            assert await association.c_store(CT) == 0

    folder = tmp_path / "stored"
    with scp(folder) as server:
        asyncio.run(store(at(server)))
    assert len(stored(folder)) == 1


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES)
def test_send_has_a_result_with_the_reason_and_sends_the_others(cut, syntax, tmp_path):
    folder = tmp_path / "stored"
    with scp(folder) as server:
        report = SCU.send(at(server), [cut, CT], contexts=[only(syntax)])
    bad, good = report.results
    assert (bad.category, good.category) == ("not-sent", "ok")
    assert isinstance(bad.error, DecodeError)
    assert bad.error.offset == cut.stat().st_size
    assert str(cut) in str(bad.error)
    assert len(stored(folder)) == 1


def test_check_false_sends_it_all_the_same(cut, tmp_path):
    with (
        scp(tmp_path / "stored") as server,
        SCU.associate(at(server), contexts=[only(ExplicitVRLittleEndian)]) as association,
    ):
        with pytest.raises(StatusError) as caught:  # what left is what is there: the peer sees it
            association.c_store(cut, check=False)
        assert caught.value.status == 0xC000
        assert association.c_store(pydicom.dcmread(cut), check=False) == 0
        [result] = SCU.send(at(server), [cut], check=False).results
        assert result.status == 0xC000


def test_a_cut_file_is_not_converted_whatever_check_says(cut, tmp_path):
    with (
        scp(tmp_path / "stored") as server,
        SCU.associate(at(server), contexts=[only(ImplicitVRLittleEndian)]) as association,
        pytest.raises(DecodeError, match="cut short"),
    ):
        association.c_store(cut, check=False)
    assert stored(tmp_path / "stored") == []


def test_pixel_data_shorter_than_its_module_is_refused_unless_told_otherwise(tmp_path):
    dataset = pydicom.dcmread(CT)
    dataset.Rows *= 2
    with (
        scp(tmp_path / "stored") as server,
        SCU.associate(at(server), contexts=[only(ExplicitVRLittleEndian)]) as association,
    ):
        with pytest.raises(DecodeError, match=r"\(7FE0,0010\) is cut short: 32768 .* need 65536"):
            association.c_store(dataset)
        assert association.c_store(dataset, check=False) == 0


@pytest.mark.parametrize("source", [CT, MR_IMPLICIT, DEFLATED], ids=lambda path: path.name)
def test_whole_files_are_sent_and_converted_as_before(source, tmp_path):
    sop_class = class_of(source)
    for number, syntax in enumerate(SYNTAXES.values()):
        with (
            picky(tmp_path / str(number), {sop_class: [syntax]}) as peer,
            SCU.associate(peer, contexts=[Context(sop_class, [syntax])]) as association,
        ):
            assert association.c_store(source) == 0


def retrieved(server, context, into):
    """Retrieve a study; give the final response and what came."""
    key = {"StudyInstanceUID": "1.2"}
    with SCU.associate(at(server), contexts=context) as association:
        responses = association.c_get(key, model=StudyRoot, level="STUDY", into=into)
        try:
            return list(responses)[-1]
        except StatusError as error:
            return error.response


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES)
@pytest.mark.parametrize("given", ["path", "data set", "bytes"])
def test_c_get_does_not_send_what_is_cut_short(cut, given, syntax, tmp_path):
    server = scp()
    instance = {"path": cut, "data set": pydicom.dcmread(cut), "bytes": cut.read_bytes()}[given]

    @server.c_get(StudyRoot)
    def get(request):
        return Retrieve(2, [instance, CT])

    contexts = [
        Context(StudyRoot.get),
        Context(class_of(CT), [syntax], scu=False, scp=True),
    ]
    with server:
        final = retrieved(server, contexts, tmp_path / "got")
    assert (final.completed, final.failed) == (1, 1)
    assert final.status == 0xB000
    assert len(stored(tmp_path / "got")) == 1
    assert (
        pydicom.dcmread(next((tmp_path / "got").iterdir())).PixelData
        == pydicom.dcmread(CT).PixelData
    )


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES)
def test_c_move_does_not_send_what_is_cut_short(cut, syntax, tmp_path):
    key = {"StudyInstanceUID": "1.2"}
    with picky(tmp_path / "moved", {class_of(CT): [syntax]}) as peer:
        server = scp(destinations={"DEST": peer})
        server.c_move(StudyRoot)(lambda request: Retrieve(2, [cut, CT]))
        with link(server, StudyRoot) as association:
            moved = association.c_move(key, model=StudyRoot, level="STUDY", destination="DEST")
            final = list(moved)[-1]
    assert (final.completed, final.failed, final.status) == (1, 1, 0xB000)
    assert len(stored(tmp_path / "moved")) == 1


def test_the_index_of_a_folder_leaves_it_out_with_a_line(cut, caplog):
    index = Index()
    with caplog.at_level(logging.INFO, "dimse_rs"):
        assert index.add_folder(cut.parent) == 0
    assert "cut short: (7FE0,0010)" in caplog.text
    assert len(index) == 0


def test_without_bulk_data_is_converted_without_its_pixels(tmp_path):
    index = Index()
    index.add(CT)
    dataset = pydicom.dcmread(CT)
    server = scp(services=[QueryRetrieve(index)])
    contexts = [
        Context(WithoutBulkData.get),
        Context(class_of(CT), [ImplicitVRLittleEndian], scu=False, scp=True),
    ]
    key = {"SOPInstanceUID": dataset.SOPInstanceUID}
    got = []
    with server, SCU.associate(at(server), contexts=contexts) as association:
        steps = association.c_get(key, model=WithoutBulkData, level="IMAGE", into=got)
        assert list(steps)[-1].completed == 1
    assert "PixelData" not in got[0]
    assert got[0].Rows == dataset.Rows


def test_a_handler_that_looks_at_half_an_instance_is_told(tmp_path):
    """In memory nobody has looked at it before."""
    server = scp()
    server.c_store(lambda request: print(request.dataset.PatientID))
    half = tmp_path / "half.dcm"
    half.write_bytes(CT.read_bytes()[:-CUT])
    with link(server, [only(ExplicitVRLittleEndian)]) as association:
        with pytest.raises(StatusError) as caught:
            association.c_store(half, check=False)
        assert (caught.value.status, caught.value.comment) == (0xC000, "data set cannot be read")
