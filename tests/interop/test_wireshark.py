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
# tshark 4.0 misreads any C-STORE-RSP, DCMTK's too, on a context with a compressed transfer syntax.
UNCOMPRESSED = [
    sample for sample in SAMPLES if sample.syntax in {"implicit LE", "explicit LE", "explicit BE"}
]
ASSOCIATE_RQ, ASSOCIATE_AC, P_DATA, RELEASE_RQ, RELEASE_RP = 1, 2, 4, 5, 6


@dataclass
class Dissection:
    """What the dissector says, in the order of the wire."""

    pdus: list[int] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    data_bytes: int = 0
    complaints: list[str] = field(default_factory=list)


def read(chunks: Conversation, folder: Path) -> Dissection:
    """Dissect a recorded conversation."""
    seen = Dissection()
    for packet in dissect(chunks, folder):
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


@pytest.mark.parametrize("sample", UNCOMPRESSED, ids=lambda sample: sample.syntax)
def test_tshark_decodes_what_was_said(
    scu: str,
    scp: str,
    sample: Sample,
    serve: Callable[[str], Running],
    need: Callable[..., None],
    matrix: Matrix,
    tmp_path: Path,
) -> None:
    """An echo and a store decode to the PDUs and commands that they have to be."""
    need(*SCUS[scu].tools, "text2pcap", "tshark")
    server = serve(scp)
    with recording(server.target.port) as recorder:
        to = Target(recorder.port, server.target.title)
        SCUS[scu].echo(to)
        SCUS[scu].store(to, sample.path, sample.syntax)
    echo, store = (read(chunks, tmp_path) for chunks in recorder.conversations)
    assert echo.complaints == []
    assert echo.messages == ["C-ECHO-RQ ID=1", "C-ECHO-RSP ID=1 (Success)"]
    assert echo.pdus == [ASSOCIATE_RQ, ASSOCIATE_AC, P_DATA, P_DATA, RELEASE_RQ, RELEASE_RP]
    assert store.complaints == []
    assert store.messages == ["C-STORE-RQ ID=1", "C-STORE-RSP ID=1 (Success)"]
    assert store.pdus[:2] == [ASSOCIATE_RQ, ASSOCIATE_AC]
    assert store.pdus[-2:] == [RELEASE_RQ, RELEASE_RP]
    assert set(store.pdus[2:-2]) == {P_DATA}
    if SCUS[scu].keeps_bytes:
        assert store.data_bytes == len(data_set(sample.path))
    matrix.add(
        scu, scp, "C-STORE as tshark sees it", sample.syntax, f"{len(store.pdus)} PDUs decoded"
    )
