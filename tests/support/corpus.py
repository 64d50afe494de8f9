"""The corpora of the fuzz targets: an archive for each, a folder only while a fuzzer runs.

usage: python -m tests.support.corpus unpack|pack

`unpack` writes the inputs of `fuzz/corpus/TARGET.tar` to `fuzz/corpus/TARGET/`, where the fuzzer
looks for them; `pack` adds what is in the folders to the archives and removes the folders. The same
inputs make the same bytes of an archive, which is not compressed: Git stores what has changed.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus"


def read(archive: Path) -> dict[str, bytes]:
    """Return the inputs of an archive by name; none where there is no archive.

    Raises:
        ValueError: the archive is damaged, or holds what is no file.
    """
    if not archive.exists():
        return {}
    held = archive.read_bytes()
    inputs = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(held), mode="r:") as opened:
            for member in opened:
                file = opened.extractfile(member)
                inputs[member.name] = b"" if file is None else file.read()
    except tarfile.ReadError:
        inputs = {}
    # `tarfile` takes a header that it cannot read for the end: `pack` would lose what follows.
    if encoded(inputs) != held:
        raise ValueError(f"{archive} is damaged: `git checkout` it, and pack again")
    return inputs


def encoded(inputs: Mapping[str, bytes]) -> bytes:
    """Encode an archive; names are in order, and there are no dates and no owners."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.USTAR_FORMAT) as opened:
        for name, data in sorted(inputs.items()):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            opened.addfile(member, io.BytesIO(data))
    return held.getvalue()


def write(archive: Path, inputs: Mapping[str, bytes]) -> None:
    """Replace an archive, all of it or nothing."""
    made = archive.with_suffix(".tar.new")
    made.write_bytes(encoded(inputs))
    os.replace(made, archive)


def unpack(corpus: Path = CORPUS) -> None:
    """Write the inputs of every archive to the folder of its target."""
    for archive in sorted(corpus.glob("*.tar")):
        folder = archive.with_suffix("")
        folder.mkdir(exist_ok=True)
        for name, data in read(archive).items():
            (folder / name).write_bytes(data)


def pack(corpus: Path = CORPUS) -> None:
    """Add the inputs of every folder to the archive of its target, and remove the folder.

    Raises:
        ValueError: a folder holds what is no file, or its archive is damaged; nothing is removed.
    """
    for folder in sorted(path for path in corpus.iterdir() if path.is_dir()):
        archive = folder.with_suffix(".tar")
        inputs = read(archive)
        known = len(inputs)
        strays = [path.name for path in folder.iterdir() if not path.is_file()]
        if strays:
            raise ValueError(f"{folder} holds what is no input: {', '.join(sorted(strays))}")
        inputs.update((path.name, path.read_bytes()) for path in folder.iterdir())
        write(archive, inputs)
        shutil.rmtree(folder)
        print(f"{folder.name}: {len(inputs)} inputs, {len(inputs) - known} of them new")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["unpack"]:
            unpack()
        case ["pack"]:
            pack()
        case _:
            sys.exit(__doc__)
