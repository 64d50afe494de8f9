"""Whole is not the same as well formed: what leaves no doubt where it ends is stored as it came."""

from __future__ import annotations

import asyncio
import logging
import zlib

import pytest

from dimse_rs import (
    AE,
    AsyncServer,
    Context,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    Storage,
    StudyRoot,
)
from tests.support.nodes import SCU, at, scp
from tests.support.odd_instances import (
    END_OF_SEQUENCE,
    INNER,
    INNER_IMPLICIT,
    ODD,
    PIXELS,
    UID,
    bring,
    element,
    instance,
    item,
    undefined,
)

SCP = AE("SCP")
ALWAYS = {
    "out of order": (instance(element(0x18, 0x15, "CS", "HEAD")), "out-of-order"),
    "UN as the standard has it": (instance(undefined("UN", item(INNER_IMPLICIT))), ""),
    "well formed": (instance(), ""),
}
CUT = {
    "inside the pixels": instance()[:-5],
    "inside the pixels, zeros behind": instance(pixels=PIXELS[:4], length=1000) + bytes(20),
    "inside a tag": instance() + b"\xfc",
    "zeros that do not run to the end": instance(behind=bytes(20) + b"\1\0"),
    "delimiter before the end": instance(
        element(0x0021, 0x1001, "SQ", item(INNER) + END_OF_SEQUENCE + item(INNER))
    ),
    "two instances": instance(element(8, 0x18, "UI", UID + ".1")),
    "two classes": instance(element(8, 0x16, "UI", "1.2.3")),
    "two studies": instance(element(0x20, 0x0D, "UI", "1.2.3.12")),
    "two series": instance(element(0x20, 0x0E, "UI", "1.2.3.12")),
    "file meta in front": element(2, 1, "OB", b"\0\1") + instance(),
    "another syntax in front": element(2, 0x10, "UI", ImplicitVRLittleEndian) + instance(),
    "a file": bytes(128) + b"DICM" + instance(),
}


def syntax_of(name):
    return ImplicitVRLittleEndian if "implicit" in name else ExplicitVRLittleEndian


def codes(event):
    return [said.split()[0] for said in event.get("oddities", [])]


@pytest.mark.parametrize("mode", ["durable", "fast"])
@pytest.mark.parametrize("name", [*ODD, *ALWAYS])
def test_what_is_whole_is_stored_as_it_came(name, mode, tmp_path, caplog):
    caplog.set_level(logging.INFO, "dimse_rs.server")
    data, code = (ODD | ALWAYS)[name]
    folder = tmp_path / "in"
    with scp(services=[Storage(folder, mode=mode)]) as server:
        events = server.events("stored", "refused")
        assert bring(server, data, syntax_of(name)) == 0
    (event,) = events
    assert event["event"] == "stored"
    assert (code in codes(event)) if code else ("oddities" not in event)
    assert (folder / f"{UID}.dcm").read_bytes().endswith(data)
    told = [record.getMessage() for record in caplog.records if " stored " in record.getMessage()]
    assert [code in line for line in told if ".dcm" in line] == [True]
    assert ("not well formed" in told[0]) == bool(code)
    assert "ODD" not in "".join(told)


@pytest.mark.parametrize("name", [*ODD, *ALWAYS])
def test_a_strict_folder_takes_only_what_every_reader_takes(name, tmp_path):
    data, _ = (ODD | ALWAYS)[name]
    with scp(services=[Storage(tmp_path / "in", mode="fast", strict=True)]) as server:
        events = server.events("stored", "refused")
        status = bring(server, data, syntax_of(name))
    assert status == (0 if name in ALWAYS else 0xC000)
    assert len(list((tmp_path / "in").glob("*.dcm"))) == (name in ALWAYS)
    (event,) = events
    assert event["event"] == ("stored" if name in ALWAYS else "refused")


@pytest.mark.parametrize("name", ODD)
def test_the_same_odd_bytes_again_change_nothing(name, tmp_path):
    with scp(tmp_path) as server:
        events = server.events("stored")
        for _ in range(2):
            assert bring(server, ODD[name][0], syntax_of(name)) == 0
    assert [event.get("identical", False) for event in events] == [False, True]
    assert [path.name for path in tmp_path.iterdir()] == [f"{UID}.dcm"]


@pytest.mark.parametrize("name", CUT)
def test_what_is_cut_short_or_leaves_a_doubt_is_refused(name, tmp_path):
    with scp(services=[Storage(tmp_path / "in", mode="fast")]) as server:
        events = server.events("stored", "refused")
        assert bring(server, CUT[name]) == 0xC000
    assert [event["event"] for event in events] == ["refused"]
    assert list((tmp_path / "in").rglob("*.dcm")) == []


# In Implicit VR, and with another transfer syntax in front.
UNDEFLATED = {"zeros behind implicit", "group 0002 in front"}


@pytest.mark.parametrize("name", [name for name in ODD if name not in UNDEFLATED])
def test_a_deflated_data_set_may_be_as_odd(name, tmp_path):
    data, code = ODD[name]
    deflate = zlib.compressobj(wbits=-15)
    deflated = deflate.compress(data) + deflate.flush()
    deflated += b"\0" * (len(deflated) % 2)
    with scp(tmp_path / "in") as server:
        events = server.events("stored", "refused")
        assert bring(server, deflated, DeflatedExplicitVRLittleEndian) == 0
    (event,) = events
    assert code in codes(event)


@pytest.mark.parametrize("name", ODD)
def test_what_was_stored_can_be_retrieved_as_it_is(name, tmp_path):
    data, _ = ODD[name]
    stored, retrieved = tmp_path / "in", tmp_path / "out"
    server = scp(stored)

    @server.c_get(StudyRoot)
    def get(request):
        yield stored / f"{UID}.dcm"

    syntax = syntax_of(name)
    with server:
        assert bring(server, data, syntax) == 0
        wanted = Context(SecondaryCaptureImageStorage, syntax, scu=False, scp=True)
        contexts = [StudyRoot.get, wanted]
        with SCU.associate(at(server), contexts=contexts) as association:
            key = {"StudyInstanceUID": "1.2.3.10"}
            *_, last = association.c_get(key, model=StudyRoot, level="STUDY", into=retrieved)
    assert (last.status, last.completed) == (0, 1)
    # In front of a data set it is the file's: what is retrieved has no stray element any more.
    expected = instance() if name == "group 0002 in front" else data
    assert (retrieved / f"{UID}.dcm").read_bytes().endswith(expected)


def test_asyncio_tells_of_oddities_too(tmp_path):
    data, code = ODD["zeros behind"]

    async def run():
        storage = Storage(tmp_path, mode="fast")
        async with AsyncServer(SCP, port=0, services=[storage]) as server:
            events = server.events("stored")
            assert await asyncio.to_thread(bring, server, data) == 0
            return await anext(events)

    assert codes(asyncio.run(run())) == [code]


def test_a_handler_saves_what_is_odd_and_a_strict_folder_does_not(tmp_path):
    data, _ = ODD["zeros behind"]
    strict = Storage(tmp_path / "strict", mode="fast", strict=True)
    for folder, status in ((tmp_path / "lenient", 0), (strict, 0xC000)):
        server = scp()

        @server.c_store(SecondaryCaptureImageStorage)
        def store(request, folder=folder):
            request.save(folder)

        with server:
            assert bring(server, data) == status
    assert [path.name for path in tmp_path.rglob("*.dcm")] == [f"{UID}.dcm"]
