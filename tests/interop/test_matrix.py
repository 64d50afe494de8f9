"""C-ECHO and C-STORE between every SCU and every SCP, with real files in every framing."""

from __future__ import annotations

from collections.abc import Callable

import pydicom
import pytest

from tests.data.files import SAMPLES, Sample, data_set, same_bytes, same_values
from tests.interop.conftest import Matrix
from tests.peers.scp import SCPS, Running
from tests.peers.scu import SCUS

OURS = "dimse"
ODD = "gdcmscu sends the odd deflated stream without its pad byte, DCMTK refuses odd fragments"
NOT_POSSIBLE = {("gdcmscu", "DCMTK +B", "deflated"): ODD, ("gdcmscu", "DCMTK", "deflated"): ODD}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Pair every SCU with every SCP; without --all-pairs only where we are one of them."""
    everything = metafunc.config.getoption("--all-pairs")
    pairs = [(scu, scp) for scu in SCUS for scp in SCPS if everything or OURS in (scu, scp)]
    metafunc.parametrize(("scu", "scp"), pairs)


@pytest.mark.service("C-ECHO")
def test_echo(
    scu: str, scp: str, serve: Callable[[str], Running], need: Callable[..., None], matrix: Matrix
) -> None:
    """The SCU ends well after a C-ECHO."""
    need(*SCUS[scu].tools)
    SCUS[scu].echo(serve(scp).target)
    matrix.add(scu, scp, "C-ECHO", "-", "success")


@pytest.mark.service("C-STORE")
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.syntax)
def test_store(
    scu: str,
    scp: str,
    sample: Sample,
    serve: Callable[[str], Running],
    need: Callable[..., None],
    matrix: Matrix,
) -> None:
    """Stored equals sent: byte for byte where both sides keep bytes, decoded elsewhere."""
    need(*SCUS[scu].tools)
    server = serve(scp)
    if reason := NOT_POSSIBLE.get((scu, scp, sample.syntax)):
        matrix.add(scu, scp, "C-STORE", sample.syntax, f"not possible: {reason}")
        pytest.skip(reason)
    sent = pydicom.dcmread(sample.path, specific_tags=["SOPInstanceUID"], stop_before_pixels=True)
    for earlier in server.stored(sent.SOPInstanceUID):
        earlier.unlink()
    SCUS[scu].store(server.target, sample.path, sample.syntax)
    (stored,) = server.stored(sent.SOPInstanceUID)
    kept = pydicom.filereader.read_file_meta_info(stored)
    assert kept.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
    if same_bytes(data_set(sample.path), data_set(stored)):
        result = "bytes equal"
    else:
        assert not (SCUS[scu].keeps_bytes and SCPS[scp].keeps_bytes), (
            "stored bytes differ from those sent"
        )
        assert same_values(sample.path, stored)
        result = "values equal"
    matrix.add(scu, scp, "C-STORE", sample.syntax, result)
