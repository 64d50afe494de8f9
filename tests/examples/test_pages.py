"""The blocks of all pages run as written.

The Python blocks of a page are one program, in their order. It runs in a folder with `slice.dcm`,
`study/`, `archive/`, `node.pem`, `node.key` and `hospital-ca.pem`; a PACS that stores, finds, gets,
moves, and has a worklist is where the program says `127.0.0.1:11112`, and other ports of servers
are free ones. A command line of `dimse` is parsed, a target of `make` has to be there. An HTML
comment `not run: REASON` before a block excepts it.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from dimse_rs import AE, Index, Mpps, QueryRetrieve, Server, Storage, Worklist
from dimse_rs.cli.main import VERBS
from tests.data.files import BUNDLED
from tests.data.generate import series
from tests.support.process import free_port, run

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"^(<!-- not run: [^\n]+ -->\n)?```(\w+)\n(.*?)^```", re.M | re.S)
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)


def blocks(page: Path, language: str) -> list[str]:
    found = BLOCK.findall(page.read_text())
    return [text for excepted, name, text in found if name == language and not excepted]


def with_blocks(language: str) -> list[object]:
    pages = [page for page in PAGES if blocks(page, language)]
    names = [str(page.relative_to(ROOT / "docs").with_suffix("")) for page in pages]
    return [pytest.param(page, id=name) for page, name in zip(pages, names, strict=True)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("study", "archive"):
        (tmp_path / name).mkdir()
        series(tmp_path, name, 3, (1, 64, 64))
    shutil.copy(BUNDLED / "test_files" / "CT_small.dcm", tmp_path / "slice.dcm")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pacs(folder: Path) -> Iterator[int]:
    index = Index("PACS")
    index.add_folder(folder / "archive")
    services = [
        QueryRetrieve(index),
        Storage(folder / "pacs"),
        Worklist(folder / "archive"),
        Mpps(),
    ]
    with Server(AE("PACS"), port=0, any_called=True, services=services) as server:
        yield server.port


def make_certificates(folder: Path) -> None:
    pytest.importorskip("cryptography", reason="the environment of the wheel has only pytest")
    from tests.data.certificates import Authority

    authority = Authority(folder / "ca")
    issued = authority.issue("node")
    for made, name in ((issued.cert, "node.pem"), (issued.key, "node.key")):
        shutil.copy(made, folder / name)
    shutil.copy(authority.ca, folder / "hospital-ca.pem")


@pytest.mark.parametrize("page", with_blocks("python"))
def test_the_programs_of_a_page_run(page: Path, folder: Path, pacs: int) -> None:
    program = "".join(blocks(page, "python")).replace("127.0.0.1:11112", f"127.0.0.1:{pacs}")
    if "node.pem" in program:
        make_certificates(folder)
    for port in set(re.findall(r"port=(\d{4,5})\b", program)):
        program = re.sub(rf"\b{port}\b", str(free_port()), program)
    done = run([sys.executable, "-W", "error", "-c", program])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", with_blocks("sh"))
def test_the_commands_of_a_page_are_understood(page: Path) -> None:
    for line in "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["dimse"]:
            assert words[1] in VERBS, line
            import_module(f"dimse_rs.cli.{words[1]}").parser().parse(words[2:])
        elif words[:1] == ["make"]:
            assert words[1] in TARGETS, line
        else:
            assert not words or words[0].startswith((".venv/bin/", "pip")), line


@pytest.mark.parametrize("page", with_blocks("toml"))
def test_the_files_of_a_page_are_toml(page: Path) -> None:
    for text in blocks(page, "toml"):
        assert tomllib.loads(text)


def test_every_block_has_a_language_that_is_looked_at() -> None:
    """A block in another language would be looked at by no test."""
    looked_at = {"python", "sh", "toml"}
    shown = {"text", "ini", "eval"}
    found = {name for page in PAGES for excepted, name, _ in BLOCK.findall(page.read_text())}
    assert found <= looked_at | shown
