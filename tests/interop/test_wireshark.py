"""Our bytes as Wireshark reads them: every PDU and command decodes, nothing is malformed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.data.files import SAMPLES, Sample, data_set
from tests.interop.conftest import Matrix
from tests.peers.record import Conversation, dissect, recording, walk
from tests.peers.scp import Running
from tests.peers.scu import SCUS, Target

OURS = "dimse"
# tshark 4.0 takes compressed and deflated bytes for elements, and what the last of them seems to
# lack from the next PDV of the context: the response. So it gets the two apart, where that occurs.
UNCOMPRESSED = {"implicit LE", "explicit LE", "explicit BE"}
ASSOCIATE_RQ, ASSOCIATE_AC, P_DATA, RELEASE_RQ, RELEASE_RP = 1, 2, 4, 5, 6


@dataclass
class Dissection:
    """What the dissector says, in the order of the wire."""

    pdus: list[int] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    data_bytes: int = 0
    complaints: list[str] = field(default_factory=list)


def read(chunks: Conversation, folder: Path, *, apart: bool = False) -> Dissection:
    """Dissect a recorded conversation; `apart`: without the response, then without the request."""
    seen = Dissection()
    parts = [chunks]
    if apart:
        accepted = [direction for direction, _ in chunks].index("O")
        begun = [direction for direction, _ in chunks].index("I", accepted)
        opening, rest = chunks[:begun], chunks[begun:]
        parts = [opening + [chunk for chunk in rest if chunk[0] == end] for end in "IO"]
    for packet in (packet for part in parts for packet in dissect(part, folder)):
        for name, value in walk(packet["_source"]["layers"]):
            if name == "dicom.pdu.type":
                seen.pdus.append(int(str(value), 16))
            elif name.startswith(("_ws.malformed", "_ws.expert")):
                seen.complaints.append(f"{name}: {value}")
            elif name.startswith("PDV, "):
                for part in value if isinstance(value, list) else [value]:
                    if int(part["dicom.pdv.flags"], 16) & 1:
                        seen.messages.append(name.removeprefix("PDV, "))
                    else:
                        seen.data_bytes += int(part["dicom.pdv.len"]) - 2
    return seen


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Record us in both roles, and a pair of peers with --all-pairs."""
    pairs = [(OURS, "DCMTK +B"), ("DCMTK", OURS), (OURS, OURS)]
    if metafunc.config.getoption("--all-pairs"):
        pairs.append(("DCMTK", "DCMTK +B"))
    metafunc.parametrize(("scu", "scp"), pairs)


@pytest.mark.service("C-ECHO as tshark sees it")
def test_tshark_decodes_an_echo(
    scu: str,
    scp: str,
    serve: Callable[[str], Running],
    need: Callable[..., None],
    matrix: Matrix,
    tmp_path: Path,
) -> None:
    """Six PDUs, two commands, no complaint."""
    need(*SCUS[scu].tools, "text2pcap", "tshark")
    server = serve(scp)
    with recording(server.target.port) as recorder:
        SCUS[scu].echo(Target(recorder.port, server.target.title))
    (chunks,) = recorder.conversations
    seen = read(chunks, tmp_path)
    assert seen.complaints == []
    assert seen.messages == ["C-ECHO-RQ ID=1", "C-ECHO-RSP ID=1 (Success)"]
    assert seen.pdus == [ASSOCIATE_RQ, ASSOCIATE_AC, P_DATA, P_DATA, RELEASE_RQ, RELEASE_RP]
    matrix.add(scu, scp, "C-ECHO as tshark sees it", "-", "6 PDUs decoded")


@pytest.mark.service("C-STORE as tshark sees it")
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.syntax)
def test_tshark_decodes_a_store(
    scu: str,
    scp: str,
    sample: Sample,
    serve: Callable[[str], Running],
    need: Callable[..., None],
    matrix: Matrix,
    tmp_path: Path,
) -> None:
    """Every PDU and both commands decode, and the fragments hold the data set's bytes."""
    need(*SCUS[scu].tools, "text2pcap", "tshark")
    server = serve(scp)
    with recording(server.target.port) as recorder:
        SCUS[scu].store(Target(recorder.port, server.target.title), sample.path, sample.syntax)
    (chunks,) = recorder.conversations
    apart = sample.syntax not in UNCOMPRESSED
    seen = read(chunks, tmp_path, apart=apart)
    assert seen.complaints == []
    assert seen.messages == ["C-STORE-RQ ID=1", "C-STORE-RSP ID=1 (Success)"]
    opening = [ASSOCIATE_RQ, ASSOCIATE_AC]
    data = [P_DATA] * (seen.pdus.count(P_DATA) - 1)
    assert len(data) >= 2
    if apart:
        assert seen.pdus == [*opening, *data, RELEASE_RQ, *opening, P_DATA, RELEASE_RP]
    else:
        assert seen.pdus == [*opening, *data, P_DATA, RELEASE_RQ, RELEASE_RP]
    if SCUS[scu].keeps_bytes:
        length = len(data_set(sample.path))
        assert seen.data_bytes == length + length % 2  # an odd deflated stream is padded
    result = f"{len(data) + 5} PDUs decoded"
    matrix.add(scu, scp, "C-STORE as tshark sees it", sample.syntax, result)
