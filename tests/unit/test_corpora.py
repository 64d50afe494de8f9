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


@pytest.mark.parametrize("damage", ["cut", "cut at a file", "header", "empty", "no archive"])
def test_a_damaged_archive_is_refused_and_nothing_is_lost(damage, tmp_path):
    archive = tmp_path / "one.tar"
    corpus.write(archive, {"a": b"1", "b": b"2" * 600, "c": b"3"})
    whole = archive.read_bytes()
    second = 2 * 512  # a header, and a block of content
    damaged = {
        "cut": whole[:1700],
        "cut at a file": whole[:second],
        "header": whole[:second] + bytes([whole[second] ^ 1]) + whole[second + 1 :],
        "empty": b"",
        "no archive": b"version https://git-lfs.github.com/spec/v1\n",
    }[damage]
    archive.write_bytes(damaged)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "d").write_bytes(b"4")
    for act in corpus.pack, corpus.unpack:
        with pytest.raises(ValueError, match=r"one\.tar is damaged"):
            act(tmp_path)
    assert archive.read_bytes() == damaged
    assert (tmp_path / "one" / "d").read_bytes() == b"4"


def test_a_folder_inside_of_a_folder_is_named_and_nothing_is_lost(tmp_path):
    (tmp_path / "one" / "crashes").mkdir(parents=True)
    (tmp_path / "one" / "a").write_bytes(b"1")
    with pytest.raises(ValueError, match="no input: crashes"):
        corpus.pack(tmp_path)
    assert (tmp_path / "one" / "a").exists()
    assert not (tmp_path / "one.tar").exists()
