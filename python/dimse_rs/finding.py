"""What there is to be sent: files by name, and folders that are searched for instances."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Final

from . import _core, log
from .contexts import FileInfo
from .datasets import in_a_file
from .encoding.repair import repair as repair_file
from .errors import DecodeError, DimseError
from .records import dataclass, field
from .send_report import SendResult, Skipped
from .sop_class import MediaStorageDirectoryStorage

__all__ = ["Found", "look", "look_at", "named", "unreadable_file"]

_logger = log.get(log.ASSOCIATION)

_DICOMDIR: Final = "DICOMDIR"
_DIRECTORY: Final = "a directory of instances, not one of them"


def look_at(
    paths: Iterable[str | PathLike[str]], *, recurse: bool = True
) -> list[FileInfo | SendResult]:
    """Look at files, and search folders, as `AE.send` does before it sends.

    Returns:
        In order, a description of each file, or a result with the reason why it cannot be sent.

    Raises:
        ValueError: a path is empty.
    """
    return look(named(paths), recurse, False).order


def named(paths: Iterable[str | PathLike[str]] | str | PathLike[str]) -> list[Path]:
    """Make paths of the arguments.

    Raises:
        ValueError: there are no paths, or an empty one, which would mean the current folder.
    """
    given = [paths] if isinstance(paths, (str, PathLike)) else list(paths)
    if not given:
        raise ValueError("no paths: there is nothing to send")
    if "" in given:
        raise ValueError('"" is no path; the current folder is "."')
    return [Path(path) for path in given]


@dataclass
class Found:
    """What was found.

    Attributes:
        repair: whether files that cannot be sent as they are, are repaired.
        order: in order, each file that can be sent, or the result of one that cannot.
        skipped: what a search passed over.
        seen: all files that were looked at.
        repaired: the repairs of files, by path.
    """

    repair: bool = False
    order: list[FileInfo | SendResult] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)
    repaired: dict[Path, tuple[str, ...]] = field(default_factory=dict)

    def skip(self, path: Path, reason: str) -> None:
        """Keep a path that is not sent, with the reason."""
        _logger.info("skipped %s: %s", path, reason, extra={"code": "skipped"})
        self.skipped.append(Skipped(path, reason))

    def fail(self, path: Path, problem: DimseError | OSError) -> None:
        """Keep a file that cannot be sent, with the reason."""
        error = problem if isinstance(problem, DimseError) else unreadable_file(path, problem)
        self.order.append(SendResult(path, error=error))


def look(paths: Iterable[Path], recurse: bool, repair: bool) -> Found:
    """Look at files, and search folders."""
    found = Found(repair)
    for path in paths:
        if os.path.isdir(path):
            for inside in _files_in(path, recurse, found):
                _look_at_file(inside, found, searched=True)
        else:
            _look_at_file(path, found, searched=False)
    return found


def _files_in(folder: Path, recurse: bool, found: Found) -> Iterator[Path]:
    def unreadable(problem: OSError) -> None:
        found.fail(Path(problem.filename or folder), problem)

    for where, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        for name in folders if recurse else ():
            inside = Path(where, name)
            if inside.is_symlink():  # it may lead to a folder above, and so in a circle
                found.skip(inside, "a link to a folder: those are not followed")
        if not recurse:
            folders.clear()
        for name in sorted(names):
            yield Path(where, name)


def _look_at_file(path: Path, found: Found, *, searched: bool) -> None:
    # A file is sent once, however often it is met. One that is named has a result even where a
    # search passes it over.
    if not searched and path in found.skipped:
        found.skipped = [skipped for skipped in found.skipped if skipped != path]
    elif path in found.seen:
        return
    found.seen.add(path)
    try:
        if searched and not stat.S_ISREG(path.stat().st_mode):
            found.skip(path, "not a regular file")
            return
        file = FileInfo._of(path, _core.probe(path))
    except (DecodeError, OSError) as problem:
        _look_again(path, found, problem, searched=searched)
        return
    if searched and file.sop_class == MediaStorageDirectoryStorage:
        found.skip(path, _DIRECTORY)
        return
    found.order.append(file)


def _look_again(
    path: Path, found: Found, problem: DecodeError | OSError, *, searched: bool
) -> None:
    """Decide on a file that cannot be sent: it is repaired, passed over, or a failure."""
    if isinstance(problem, OSError) or not found.repair or (searched and path.name == _DICOMDIR):
        pass
    else:
        try:
            mended = repair_file(path)
            with in_a_file(mended.content) as spooled:
                facts = _core.probe(spooled)
        except DecodeError as failed:
            _logger.debug("%s", failed, extra={"code": "unrepaired"})
        except OSError as failed:
            problem = failed
        else:
            found.repaired[path] = mended.done
            found.order.append(FileInfo._of(path, facts))
            return
    if not searched or isinstance(problem, OSError):
        found.fail(path, problem)
    elif path.name == _DICOMDIR:
        found.skip(path, _DIRECTORY)
    elif problem.message.startswith(f"{path}: not a DICOM file"):
        found.skip(path, problem.message.removeprefix(f"{path}: "))
    else:  # it looks like an instance, and is a damaged one
        found.fail(path, problem)


def unreadable_file(path: Path, problem: OSError) -> DecodeError:
    """Make the error of a file that the operating system does not give."""
    return DecodeError(f"{path}: {problem.strerror or problem}")
