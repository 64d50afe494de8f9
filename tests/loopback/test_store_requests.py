"""What a handler of C-STORE can do with the instance without decoding it."""

from __future__ import annotations

import asyncio
import io

import pydicom
import pytest

from dimse_rs import (
    AE,
    AsyncServer,
    DecodeError,
    Limits,
    Server,
    StatusError,
    Storage,
)
from tests.support.nodes import CT, DEFLATED, MR_BIG_ENDIAN, MR_IMPLICIT, PATIENT, SCU, at, link

FILES = {"explicit": CT, "implicit": MR_IMPLICIT, "big-endian": MR_BIG_ENDIAN, "deflated": DEFLATED}
WHERE = {"in memory": Limits(), "in a file": Limits(spool_above=1024)}


def received(limits, path, function, *, server=Server):
    """Send a file to a handler; give what a function makes of the request there."""
    made = []
    node = server(AE("SCP", timeouts=PATIENT, limits=limits), port=0)

    @node.c_store
    def store(request):
        made.append((request.path is not None, function(request)))

    def send():
        SCU.send(at(node), path).raise_for_failures()

    async def serve():
        async with node:
            await asyncio.to_thread(send)

    if server is AsyncServer:
        asyncio.run(serve())
    else:
        with node:
            send()
    [(spooled, result)] = made
    assert spooled == (limits.spool_above == 1024)
    return result


@pytest.mark.parametrize("server", [Server, AsyncServer])
@pytest.mark.parametrize("limits", WHERE.values(), ids=WHERE)
@pytest.mark.parametrize("path", FILES.values(), ids=FILES)
def test_a_header_has_what_was_asked_for_and_nothing_else(server, limits, path):
    wanted = ["PatientID", 0x0020000D, "Rows", "InstitutionName", "PixelData"]
    header = received(limits, path, lambda request: request.header(wanted), server=server)
    whole = pydicom.dcmread(path)
    keywords = {"PatientID", "StudyInstanceUID", "Rows", "InstitutionName"}
    expected = {word: whole[word].value for word in keywords if word in whole}
    expected |= (
        {"SpecificCharacterSet": whole.SpecificCharacterSet}
        if "SpecificCharacterSet" in whole
        else {}
    )
    assert {element.keyword: element.value for element in header} == expected
    assert len(expected) > 2


def test_reading_a_header_decodes_no_data_set():
    def touch(request):
        request.header(["PatientID"])
        return request._dataset

    assert received(Limits(), CT, touch) is None


def test_a_keyword_that_is_none_is_refused_by_its_name():
    def header(request):
        with pytest.raises(DecodeError, match="Pateint is not a keyword"):
            request.header(["Pateint"])

    received(Limits(), CT, header)


def test_a_header_is_bounded_like_a_data_set(tmp_path):
    node = Server(AE("SCP", timeouts=PATIENT, limits=Limits(elements=20)), port=0)

    @node.c_store
    def store(request):
        request.header(["PatientID"])

    with (
        link(node, ["1.2.840.10008.5.1.4.1.1.2"]) as association,
        pytest.raises(StatusError) as caught,
    ):
        association.c_store(CT)
    assert caught.value.status == 0xA700


@pytest.mark.parametrize("server", [Server, AsyncServer])
@pytest.mark.parametrize("limits", WHERE.values(), ids=WHERE)
@pytest.mark.parametrize("path", FILES.values(), ids=FILES)
def test_an_instance_is_given_as_the_file_that_a_storage_writes(server, limits, path, tmp_path):
    def take(request):
        file = io.BytesIO()
        request.write_to(file)
        assert not file.closed
        saved = request.save(Storage(tmp_path, mode="fast"))
        return request.part10(), file.getvalue(), saved.read_bytes()

    part10, written, saved = received(limits, path, take, server=server)
    assert part10 == written == saved
    read = pydicom.dcmread(io.BytesIO(part10))
    assert read.file_meta.SourceApplicationEntityTitle == "SCU"
    assert read.file_meta.TransferSyntaxUID == pydicom.dcmread(path).file_meta.TransferSyntaxUID


def test_a_file_is_sent_on_as_it_came():
    part10 = received(Limits(), CT, lambda request: request.part10())
    assert received(Limits(), CT, lambda request: bytes(request.data)) in part10


def test_what_writing_raises_is_raised(tmp_path):
    class Full(io.RawIOBase):
        def write(self, data):
            raise OSError(28, "no space")

    def write(request):
        with pytest.raises(OSError, match="no space"):
            request.write_to(Full())

    received(Limits(), CT, write)
