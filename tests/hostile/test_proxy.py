"""One session through a faulty proxy, with a fault at byte N of either way: K02.

The session associates, asks for an echo, stores, queries and releases. Whatever becomes of it, each
call ends in time, in a typed error or well; what was acknowledged is there, whole; nothing else is;
and the server serves the next one. `EVERY=1` tries every byte, by default it is every 7th.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dimse_rs import (
    AE,
    TLS,
    DimseError,
    Limits,
    SecondaryCaptureImageStorage,
    Server,
    Storage,
    StudyRoot,
    Timeouts,
    Verification,
)
from tests.data.certificates import Authority
from tests.hostile.proxy import KINDS, Fault, Proxy
from tests.support.nodes import PATIENT, until_idle
from tests.support.waiting import until

EVERY = int(os.environ.get("EVERY", "7"))
AT_ONCE = 48
HURRIED = Timeouts(
    connect=5, acse=1.5, release=1.5, write=1.5, dimse=1.5, store=1.5, idle=3, artim=1.5, progress=3
)
NUMBERED = "1.2.826.0.1.3680043.10.99999.1{:06d}"
MATCHES = 3


def instance(number: int) -> bytes:
    """A small instance; all are of one length."""
    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = NUMBERED.format(number)
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = "1.2.3"
    dataset.PatientName = f"Doe^{number:06d}"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    written = io.BytesIO()
    pydicom.dcmwrite(written, dataset, enforce_file_format=True)
    return written.getvalue()


def session(ae: AE, port: int, number: int, done: list[str]) -> None:
    """Everything once; `done` is what was confirmed."""
    contexts = [Verification, SecondaryCaptureImageStorage, StudyRoot.find]
    with ae.associate(f"SCP@127.0.0.1:{port}", contexts=contexts) as association:
        done.append("associated")
        association.c_echo()
        done.append("echo")
        association.c_store(instance(number))
        done.append("stored")
        found = list(association.c_find({"PatientID": ""}, model=StudyRoot, level="STUDY"))
        assert len(found) == MATCHES
        done.append("found")
    done.append("released")


def through(server: Server, ae: AE, number: int, fault: Fault | None) -> tuple[Proxy, list[str]]:
    """Run a session through a proxy; any error but a typed one is a failure."""
    done: list[str] = []
    with Proxy(server.port, fault) as proxy, suppress(DimseError):
        session(ae, proxy.port, number, done)
    return proxy, done


@pytest.fixture
def make(tmp_path) -> Iterator:
    """Give a function that makes a server with these deadlines."""
    with ExitStack() as servers:

        def made(timeouts: Timeouts, tls: TLS | None = None, folder: Path = tmp_path) -> Server:
            limits = Limits(max_pending_per_address=200)
            server = Server(
                AE("SCP", timeouts=timeouts, limits=limits, tls=tls),
                port=0,
                services=[Storage(folder, mode="fast")],
            )

            @server.c_find(StudyRoot)
            def find(request):
                for number in range(MATCHES):
                    match = Dataset()
                    match.PatientID = str(number)
                    yield match

            return servers.enter_context(server)

        yield made


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def check_stored(folder, acknowledged: set[int], tried: range) -> None:
    """What was acknowledged is there, whole; what was not may be, whole too; nothing else is."""
    names = {NUMBERED.format(number) + ".dcm": number for number in tried}
    there = {path.name for path in folder.iterdir()}
    assert there <= set(names)
    assert {names[name] for name in there} >= acknowledged
    for name in there:
        kept = pydicom.dcmread(folder / name)
        assert kept == pydicom.dcmread(io.BytesIO(instance(names[name])))


@pytest.mark.timeout(120 if EVERY >= 7 else 1800)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["request", "answer"])
def test_a_session_that_breaks_at_byte(way, kind, make, tmp_path, caplog):
    # Only silence takes time to be noticed; a busy machine is not to look like it.
    timeouts = HURRIED if kind == "drop" else PATIENT
    server = make(timeouts)
    scu, patient = AE("SCU", timeouts=timeouts), AE("SCU", timeouts=PATIENT)
    whole, done = through(server, patient, 0, None)
    assert done == ["associated", "echo", "stored", "found", "released"]
    assert min(whole.passed.values()) > 500
    before = descriptors()
    faults = [Fault(kind, way, at) for at in range(0, whole.passed[way], EVERY)]

    def attempt(numbered: tuple[int, Fault]) -> tuple[int, list[str]]:
        number, fault = numbered
        proxy, done = through(server, scu, number, fault)
        assert proxy.reached, fault
        with patient.associate(f"SCP@127.0.0.1:{server.port}") as well_behaved:
            assert well_behaved.c_echo() == 0
        return number, done

    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(attempt, enumerate(faults, 1)))
    ends = [len(done) for _, done in outcomes]
    assert ends[0] == 0
    if kind != "drop":
        assert ends == sorted(ends), "what breaks later gets further"
        assert ends[-1] >= 3
    until_idle(server)
    acknowledged = {number for number, done in outcomes if "stored" in done}
    check_stored(tmp_path, acknowledged | {0}, range(len(faults) + 1))
    until(lambda: descriptors() <= before)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.timeout(30 if EVERY >= 7 else 1800)
@pytest.mark.parametrize("kind", ["reset", "close"])
@pytest.mark.parametrize("way", ["request", "answer"])
def test_a_session_under_tls_that_is_cut_at_byte(way, kind, make, tmp_path):
    """Without `close_notify`: nothing that was cut short is taken for whole (I03)."""
    authority = Authority(tmp_path / "ca")
    issued = authority.issue("node")
    tls = TLS(issued.cert, issued.key, authority.ca)
    folder = tmp_path / "stored"
    server, scu = make(PATIENT, tls, folder), AE("SCU", timeouts=PATIENT, tls=tls)
    whole, done = through(server, scu, 0, None)
    assert done[-1] == "released"
    # Signatures are not always of one length: the last bytes may not be there another time.
    faults = [Fault(kind, way, at) for at in range(0, whole.passed[way] - 64, 30 * EVERY)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = [
            (number, done)
            for number, (_, done) in enumerate(
                pool.map(lambda numbered: through(server, scu, *numbered), enumerate(faults, 1)), 1
            )
        ]
    assert outcomes[0][1] == []
    assert all(done[-1:] != ["released"] for _, done in outcomes)
    until_idle(server)
    acknowledged = {number for number, done in outcomes if "stored" in done}
    assert acknowledged
    check_stored(folder, acknowledged | {0}, range(len(faults) + 1))
    assert through(server, scu, 999, None)[1][-1] == "released"


@pytest.mark.parametrize("kind", ["split", "merge"])
def test_segments_are_no_messages(kind, make, tmp_path):
    server = make(PATIENT)
    _, done = through(server, AE("SCU", timeouts=PATIENT), 0, Fault(kind))
    assert done[-1] == "released"
    check_stored(tmp_path, {0}, range(1))


@pytest.mark.parametrize("way", ["request", "answer"])
def test_a_delay_anywhere_is_only_a_delay(way, make, tmp_path):
    server = make(PATIENT)
    scu = AE("SCU", timeouts=PATIENT)
    whole, _ = through(server, scu, 0, None)
    faults = [Fault("delay", way, at) for at in range(0, whole.passed[way], 3 * EVERY)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = pool.map(lambda numbered: through(server, scu, *numbered), enumerate(faults, 1))
        for proxy, done in outcomes:
            assert proxy.reached
            assert done[-1] == "released"
    everything = range(len(faults) + 1)
    check_stored(tmp_path, set(everything), everything)
