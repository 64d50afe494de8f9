"""A peer that takes the SOP class but not the transfer syntax: DCMTK with Implicit VR alone.

Uncompressed data sets are converted; compressed ones are not sent, and the reason is one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian

from tests.data.files import SAMPLES, Sample, same_values
from tests.interop.conftest import Matrix
from tests.peers.scp import Running, dcmtk_scp
from tests.peers.scu import DIMSE, SCUS
from tests.support.process import LOOPBACK, run

CONVERTED = {"implicit LE", "explicit LE", "explicit BE", "deflated"}
NO_CONTEXT = 65


@pytest.fixture(scope="module")
def implicit_only(
    tmp_path_factory: pytest.TempPathFactory, need: Callable[..., None]
) -> Iterator[Running]:
    """Run storescp as it is where nobody told it more."""
    need("storescp", *SCUS["dimse"].tools)
    with dcmtk_scp(tmp_path_factory.mktemp("implicit"), "+B", "+xi") as running:
        yield running


@pytest.mark.parametrize(
    "sample",
    [sample for sample in SAMPLES if sample.syntax in CONVERTED],
    ids=lambda sample: sample.syntax,
)
def test_uncompressed_files_are_converted(
    sample: Sample, implicit_only: Running, matrix: Matrix
) -> None:
    """The peer gets every value in the encoding that it takes."""
    uid = pydicom.dcmread(sample.path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID
    for earlier in implicit_only.stored(uid):
        earlier.unlink()
    SCUS["dimse"].store(implicit_only.target, sample.path, sample.syntax)
    (stored,) = implicit_only.stored(uid)
    meta = pydicom.filereader.read_file_meta_info(stored)
    assert meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert same_values(sample.path, stored)
    matrix.add("dimse", "DCMTK +xi", "C-STORE, converted", sample.syntax, "values equal")


@pytest.mark.parametrize(
    "sample",
    [sample for sample in SAMPLES if sample.syntax not in CONVERTED],
    ids=lambda sample: sample.syntax,
)
def test_compressed_files_are_not_sent(
    sample: Sample, implicit_only: Running, matrix: Matrix
) -> None:
    """What is missing is said in one line, with what to do about it in another."""
    before = sorted(implicit_only.folder.iterdir())
    done = run([*DIMSE, "storescu", LOOPBACK, str(implicit_only.target.port), str(sample.path)])
    assert done.returncode == NO_CONTEXT
    reason, hint = done.stderr.splitlines()
    assert "only in Implicit VR Little Endian" in reason
    assert hint.startswith("hint: ")
    assert sorted(implicit_only.folder.iterdir()) == before
    matrix.add("dimse", "DCMTK +xi", "C-STORE, converted", sample.syntax, "not sent, as said")
