"""The README's Python runs as written: its receiver receives what its sender sends."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

import dimse_rs
from tests.data.files import BUNDLED, data_set
from tests.data.generate import series
from tests.support.process import Process, listening

README = Path(__file__).parents[2] / "README.md"
PORT = "11112"


def blocks() -> dict[str, str]:
    """Return the Python blocks by the heading above them."""
    found = re.findall(r"^## ([^\n]+)\n+```python\n(.*?)^```", README.read_text(), re.M | re.S)
    return dict(found)


def test_the_readme_has_the_blocks_that_are_run() -> None:
    """A renamed heading must not turn the test below into nothing."""
    assert set(blocks()) == {"Send", "Receive", "Query and retrieve", "Serve"}
    assert README.read_text().count("```python") == len(blocks())


def test_send_and_receive_run_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender's block stores its slice and its study in the folder of the receiver's block."""
    (tmp_path / "study").mkdir()
    slices = series(tmp_path, "study", 3, (1, 64, 64))
    shutil.copy(BUNDLED / "test_files" / "CT_small.dcm", tmp_path / "slice.dcm")
    code = blocks()
    monkeypatch.chdir(tmp_path)
    python = [sys.executable, "-u", "-W", "error", "-c"]

    def receive(port: int) -> list[str]:
        return [*python, code["Receive"].replace(PORT, str(port))]

    with listening(receive) as (server, port):
        with Process([*python, code["Send"].replace(PORT, str(port))]) as sender:
            assert sender.wait() == 0, sender.story("failed")
            assert sender.lines[0].startswith("success")
            assert sender.lines[1].startswith("3 files")
        server.wait_for_line(lambda line: line.startswith("echo from"))
    stored = sorted(data_set(path) for path in (tmp_path / "incoming").glob("*.dcm"))
    assert stored == sorted(data_set(path) for path in [*slices, tmp_path / "slice.dcm"])


def test_query_and_serve_run_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first block fetches from the server of the second is what the archive holds."""
    (tmp_path / "archive").mkdir()
    shutil.copy(BUNDLED / "test_files" / "CT_small.dcm", tmp_path / "archive" / "ct.dcm")
    code = blocks()
    monkeypatch.chdir(tmp_path)
    python = [sys.executable, "-u", "-W", "error", "-c"]

    def serve(port: int) -> list[str]:
        return [*python, code["Serve"].replace(PORT, str(port))]

    with listening(serve) as (_, port):
        query = code["Query and retrieve"].replace(PORT, str(port))
        with Process([*python, query]) as asking:
            assert asking.wait() == 0, asking.story("failed")
            assert asking.lines[-1] == "1 fetched"
    [fetched] = (tmp_path / "fetched").glob("*.dcm")
    assert data_set(fetched) == data_set(tmp_path / "archive" / "ct.dcm")


def test_the_wheel_is_what_runs() -> None:
    """Where the wheel is installed, it is the wheel that is tested and not the source tree."""
    if shutil.which("cargo"):
        pytest.skip("with Rust on the PATH this is the source tree")
    assert Path(dimse_rs.__file__).is_relative_to(sys.prefix)
