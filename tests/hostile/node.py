"""Nodes under test: started, played a case at, and looked into afterwards as far as they let us.

Of our own we see the log, the folder, the descriptors and the memory; of a peer that we start the
folder; of any other node nothing but what it says.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from tests.peers.scu import DCMTK_ENV
from tests.support.process import LOOPBACK, Process, listening
from tests.support.runner import Target, Unexpected, play, probe
from tests.support.script import Case

CALLED = "TARGET"
OURS = "dimse_rs"
PATIENCE = 20.0
"""Seconds for what our own server has to do at once: only a bound of what hangs."""
PEERS_SLACK = 10.0
"""The same for a peer, which gets an answer wrong rather than late."""
KINDS = ("study", "calling", "accept", "full", "enormous", "ready")
"""What a case may need that is a server of its own."""

DEBUG, WARNING, ERROR = 10, 30, 40


@dataclass(frozen=True)
class Timers:
    """The deadlines a node is set to, in seconds."""

    artim: float = 30.0
    progress: float = 60.0
    idle: float = 60.0
    write: float = 60.0
    handler: float = 0.0

    def target(self, host: str, port: int, called: str, slack: float = 3.0) -> Target:
        """A node with these deadlines."""
        return Target(host, port, called.encode(), **asdict(self), slack=slack)


HASTY = Timers(artim=1.5, progress=1.5, idle=2.5, write=2.5, handler=1.0)
"""For our own server where a deadline has to pass: elsewhere none may, however busy the machine."""


class Node(Protocol):
    """A node under test."""

    def can(self, case: Case) -> bool:
        """Whether it is set up for a case."""

    def play(self, case: Case) -> None:
        """Play a case and look at what is left of it.

        Raises:
            Unexpected: something is not as the case says.
        """

    def close(self) -> None:
        """End it, if it is ours to end."""


@dataclass
class Other:
    """Somebody's node on the loopback interface."""

    target: Target

    def can(self, case: Case) -> bool:
        return not case.needs

    def play(self, case: Case) -> None:
        play(self.target, case)

    def close(self) -> None:
        """It is not ours."""


@dataclass
class Started:
    """A peer's server, started anew when a case has left it dead or deaf."""

    start: Callable[[Path], contextlib.AbstractContextManager[tuple[Process, int]]]
    folder: Path
    timers: Timers
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _target: Target | None = None

    def can(self, case: Case) -> bool:
        return not case.needs

    def play(self, case: Case) -> None:
        target = self._running()
        before = _files(self.folder)
        try:
            play(target, case)
            _check_stored(case, before, _files(self.folder))
        except Unexpected as problem:
            if (lasting := self._trouble()) is None:
                raise
            self.close()
            raise Unexpected(f"{problem}; {lasting}") from None

    def close(self) -> None:
        self._target = None
        self._open.close()

    def _running(self) -> Target:
        if self._target is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            _, port = self._open.enter_context(self.start(self.folder))
            self._target = self.timers.target(LOOPBACK, port, CALLED, PEERS_SLACK)
        return self._target

    def _trouble(self) -> str | None:
        """What is wrong with the whole server, after a case that went wrong."""
        try:
            probe(self._running())
        except (Unexpected, OSError):
            return "does not serve the next peer either"
        return None


def pynetdicom(folder: Path, timers: Timers) -> Started:
    """`storescp` of pynetdicom, as it comes."""

    def start(to: Path) -> contextlib.AbstractContextManager[tuple[Process, int]]:
        options = ["-q", "-aet", CALLED, "-ba", LOOPBACK, "-od", str(to), "-ta", f"{timers.artim}"]
        options += ["-td", f"{timers.progress}", "-tn", f"{timers.idle}"]
        argv = [sys.executable, "-m", "pynetdicom", "storescp", *options]
        return listening(lambda port: [*argv, str(port)])

    return Started(start, folder, timers)


def dcmtk(folder: Path, timers: Timers) -> Started:
    """`storescp` of DCMTK, a process for each association."""

    def start(to: Path) -> contextlib.AbstractContextManager[tuple[Process, int]]:
        # Whole seconds only.
        acse, dimse = (str(max(1, round(one))) for one in (timers.artim, timers.idle))
        options = ["--fork", "+xa", "-aet", CALLED, "-od", str(to), "-ta", acse, "-td", dimse]
        return listening(lambda port: ["storescp", *options, str(port)], env=DCMTK_ENV)

    return Started(start, folder, timers)


@dataclass
class Ours:
    """Our own server, one process for each kind of set-up.

    Attributes:
        folder: where they store.
        leeway: how many times the memory of a case they may take.
    """

    folder: Path
    leeway: int = 1
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _running: dict[str, tuple[Process, Target]] = field(default_factory=dict)

    def can(self, case: Case) -> bool:
        return True

    def close(self) -> None:
        self._running.clear()
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def play(self, case: Case) -> None:
        process, target = self._start(_kind(case))
        before = _files(self.folder)
        tasks, descriptors = _tasks(process), _descriptors(process)
        mark, memory, said = len(process.lines), _memory(process), process.errors()
        try:
            play(target, case)
            records = _settled(process, mark, case.connections + 1)
            _check_log(case, records)
            _check_stored(case, before, _files(self.folder), exactly=True)
            _wait_for(lambda: _descriptors(process) <= descriptors, "descriptors are left open")
            _wait_for(lambda: _tasks(process) <= tasks, "tasks are left behind")
            if (grown := process.peak_rss() - memory) > case.memory * self.leeway:
                raise Unexpected(f"took {grown >> 10} KiB, not {case.memory >> 10}")
            if more := process.errors().removeprefix(said):
                raise Unexpected(f"said {more!r}")
        except Unexpected as problem:
            if process.returncode is None:
                raise
            raise Unexpected(process.story(f"{problem}; and is gone")) from None

    def _start(self, kind: str) -> tuple[Process, Target]:
        if kind not in self._running:
            folder = self.folder / kind / "store"
            folder.parent.mkdir(parents=True, exist_ok=True)
            module = Path(__file__).with_name("ours.py")
            timers = HASTY if kind == "hasty" else Timers()
            settings = json.dumps(asdict(timers))
            argv = [sys.executable, str(module), kind, CALLED, str(folder), settings]
            process = self._open.enter_context(Process(argv))
            first = process.wait_for_line(lambda line: '"port"' in line, 2 * PATIENCE)
            line = json.loads(first)
            target = timers.target(LOOPBACK, line["port"], CALLED, PATIENCE)
            self._running[kind] = process, target
            mark = len(process.lines)
            for _ in range(3):  # so that the baselines are those of a server at work
                probe(target)
            _settled(process, mark, 3)
        return self._running[kind]


def _kind(case: Case) -> str:
    """Which of our servers a case is for."""
    if (needed := next((kind for kind in KINDS if kind in case.needs), None)) is not None:
        return needed
    return "hasty" if case.timed else "quiet" if case.many else "plain"


def _files(folder: Path) -> set[Path]:
    return {Path(at, name) for at, _, names in os.walk(folder.parent) for name in names}


def _descriptors(process: Process) -> int:
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def _tasks(process: Process) -> int:
    """How many tasks of our core are alive, none of which ever panicked."""
    seen = len(process.lines)
    os.kill(process.pid, signal.SIGUSR1)
    told: list[dict[str, int]] = []

    def answered() -> bool:
        lines = [json.loads(line) for line in process.lines[seen:]]
        told[:] = [line for line in lines if "tasks" in line]
        return bool(told)

    _wait_for(answered, "does not say how many tasks are alive")
    if told[-1]["panics"]:
        raise Unexpected("panicked")
    return told[-1]["tasks"]


def _memory(process: Process) -> int:
    """Resident bytes now; the peak counts from here."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    return process.peak_rss()


def _wait_for(condition: Callable[[], bool], complaint: str) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise Unexpected(complaint)
        time.sleep(0.005)


def _settled(process: Process, mark: int, connections: int) -> list[dict[str, Any]]:
    """What was logged since the mark, when so many connections have come and are over.

    Not what was logged late of connections before that, by handlers of the user's.
    """
    records: list[dict[str, Any]] = []
    begun: set[int] = set()

    def over() -> bool:
        records.extend(json.loads(line) for line in process.lines[mark + len(records) :])
        begun.update(one["association"] for one in records if one["event"] == "connected")
        ended = {one["association"] for one in records if one["event"] == "ended"}
        return begun <= ended and len(begun) >= connections

    _wait_for(over, f"not all {connections} connections are over")
    logged = (record for record in records if "level" in record)
    return [one for one in logged if not one["association"] or one["association"] in begun]


def _lines_of(record: dict[str, Any]) -> list[str]:
    text: str = record["text"]
    return [text] if record["level"] > DEBUG else text.split("\n")


def _check_log(case: Case, records: list[dict[str, Any]]) -> None:
    lines = [record for record in records if record["level"] >= WARNING]
    # One line each, but for the dumps at DEBUG.
    if unprintable := [r for r in records if not all(line.isprintable() for line in _lines_of(r))]:
        raise Unexpected(f"logged control characters: {unprintable[0]['text']!r}")
    codes = [line["code"] for line in lines]
    expected = case.code.split("+") if case.code else []
    told = {either for one in expected for either in one.split("|")}
    if errors := [r for r in lines if r["level"] >= ERROR and r["code"] not in told]:
        raise Unexpected(f"logged an error: {errors[0]['text']}")
    if not case.noise and (len(codes) != len(case.scripts) * len(expected) or set(codes) - told):
        raise Unexpected(f"logged {dict(Counter(codes))}, not {case.code!r} for each connection")
    if silent := [line for line in lines if case.hint not in line["text"]]:
        raise Unexpected(f"logged {silent[0]['text']!r} without {case.hint!r}")


def _check_stored(
    case: Case, before: set[Path], after: set[Path], *, exactly: bool = False
) -> None:
    found = sorted(path.name for path in after - before)
    wanted = sorted(uid.decode() for uid in case.stores)
    # Peers put the SOP Instance UID somewhere into the name.
    if len(found) != len(wanted) or any(
        f".{uid}." not in f".{name}." for uid, name in zip(wanted, found, strict=True)
    ):
        raise Unexpected(f"stored {found}, not {wanted}")
    for path in after - before if exactly else ():
        bytes_ = case.stores[path.stem.encode()]
        if bytes_ and not _holds(path.read_bytes(), bytes_):
            raise Unexpected(f"stored {path.name} with other bytes")


def _holds(file: bytes, data_set: bytes) -> bool:
    """Whether a file is a preamble of zeros, File Meta Information and this data set."""
    length = int.from_bytes(file[140:144], "little")
    return file[:132] == bytes(128) + b"DICM" and file[144 + length :] == data_set


def nodes(folder: Path) -> dict[str, Callable[[], Node]]:
    """Our own server and two peers, by name, as often as wanted; peers count in whole seconds."""
    peers = Timers(artim=2, progress=2, idle=2, write=2)
    return {
        OURS: lambda: Ours(_new(folder) / "nodes"),
        "pynetdicom": lambda: pynetdicom(_new(folder) / "store", peers),
        "storescp": lambda: dcmtk(_new(folder) / "store", peers),
    }


def _new(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))
