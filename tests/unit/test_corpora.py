"""The archives of the fuzz targets: there, replayed, and the same bytes for the same inputs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.support import corpus

ROOT = Path(__file__).parents[2]
MANIFEST = tomllib.loads((ROOT / "fuzz/Cargo.toml").read_text())
TARGETS = sorted(target["name"] for target in MANIFEST["bin"])


def test_every_target_has_an_archive_and_every_archive_a_target():
    assert sorted(path.stem for path in corpus.CORPUS.glob("*.tar")) == TARGETS


def test_every_archive_is_replayed_whole():
    tests = [
        ROOT / "rust" / crate / "tests/fuzz_targets.rs" for crate in ("dimse-proto", "dimse-net")
    ]
    replays = re.findall(r'replay\("(\w+)", (\d+),', "".join(path.read_text() for path in tests))
    held = {name: len(corpus.read(corpus.CORPUS / f"{name}.tar")) for name in TARGETS}
    assert sorted(name for name, _ in replays) == TARGETS
    assert all(0 < int(least) <= held[name] for name, least in replays), (replays, held)


@pytest.mark.parametrize("target", TARGETS)
def test_an_archive_is_the_same_when_it_is_packed_again(target, tmp_path):
    archive = corpus.CORPUS / f"{target}.tar"
    again = tmp_path / archive.name
    corpus.write(again, corpus.read(archive))
    assert again.read_bytes() == archive.read_bytes()


def test_what_a_fuzzer_adds_is_packed_and_nothing_is_lost(tmp_path, capsys):
    corpus.write(tmp_path / "one.tar", {"b": b"2", "a": b"1"})
    corpus.unpack(tmp_path)
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"a", "b"}
    (tmp_path / "one" / "a").unlink()
    (tmp_path / "one" / "c").write_bytes(b"3")
    corpus.pack(tmp_path)
    assert corpus.read(tmp_path / "one.tar") == {"a": b"1", "b": b"2", "c": b"3"}
    assert [path.name for path in tmp_path.iterdir()] == ["one.tar"]
    assert capsys.readouterr().out == "one: 3 inputs, 1 of them new\n"
