"""What the kernel knows of a process and of its children: memory, descriptors, threads, time."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

KIB = 1 << 10
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What a server uses at one moment.

    Attributes:
        rss: resident memory of the process in bytes (VmRSS), and what its children have for
            themselves (Private of smaps_rollup): a forked child shares the rest.
        descriptors: open ones of the process.
        threads: of the process and its children.
        seconds: of processor time, of the process and its living children.
    """

    rss: int
    descriptors: int
    threads: int
    seconds: float


def usage(pid: int) -> Usage:
    """Look at a process now."""
    rss, threads = _fields(pid, "status", "VmRSS", "Threads")
    rss *= KIB
    seconds = _seconds(pid)
    for child in _children(pid):
        with contextlib.suppress(OSError):  # gone meanwhile
            own = sum(_fields(child, "smaps_rollup", "Private_Clean", "Private_Dirty")) * KIB
            more = _fields(child, "status", "Threads")[0], _seconds(child)
            rss, threads, seconds = rss + own, threads + more[0], seconds + more[1]
    return Usage(rss, len(os.listdir(f"/proc/{pid}/fd")), threads, seconds)


def _fields(pid: int, file: str, *names: str) -> list[int]:
    found = dict.fromkeys(names, 0)
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in found:
            found[name] = int(value.split()[0])
    return [found[name] for name in names]


def _seconds(pid: int) -> float:
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICK


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(word) for word in (task / "children").read_text().split()]
    return found


class Watch:
    """Looks at a process again and again while its block runs."""

    def __init__(self, pid: int, every: float = 1.0) -> None:
        self.seen: list[Usage] = []
        self._pid = pid
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                self.seen.append(usage(self._pid))
            self._over.wait(self._every)

    def most(self) -> Usage:
        """The largest of each."""
        return Usage(*(max(column) for column in zip(*map(_values, self.seen), strict=True)))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()


def _values(one: Usage) -> tuple[int, int, int, float]:
    return one.rss, one.descriptors, one.threads, one.seconds
