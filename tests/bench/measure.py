"""How one transfer is measured: seconds, and the peak memory of both sides."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.peers.scp import Running
from tests.peers.scu import DCMTK_ENV, DIMSE as OUR_MODULE, Target
from tests.support.process import LOOPBACK, PeerError, Process, must_succeed, run

BENCH = Path(__file__).parent
MEMORY = Path("/dev/shm")
MIB = 1 << 20
OUR_SCU = "tests.bench.dimse_scu"
PYNETDICOM_SCU = "tests.peers.pynetdicom_scu"
LIMIT_SECONDS = 300.0
FRAME = 131072
"""Bytes of a PDU where a side can choose: DCMTK's largest."""
DCMTK_BEST = ["--max-pdu", str(FRAME)]
DIMSE = str(Path(sys.executable).with_name("dimse"))
Server = Callable[[Path], contextlib.AbstractContextManager[Running]]


@dataclass(frozen=True)
class Run:
    """One measured transfer."""

    seconds: float
    files: int
    bytes: int
    sender_rss: int = 0
    receiver_rss: int = 0


@dataclass(frozen=True)
class Sender:
    """An SCU: the command that sends files to a port, and how its time is taken.

    Scripts time their own loop and print it. Programs are timed from outside: the time for all
    files less the time for one, so that starting up counts for nobody.
    """

    command: Callable[[int, str, Sequence[Path]], list[str]]
    env: Mapping[str, str]
    prints_seconds: bool
    exits_well: bool = True


def script(module: str, what: str, *words: object) -> Sender:
    """Return what a script of ours does with a port, a title, some words, and files."""

    def command(port: int, title: str, files: Sequence[Path]) -> list[str]:
        whom = [str(port), title, *map(str, words)]
        return [sys.executable, "-m", module, what, *whom, *map(str, files)]

    return Sender(command, {}, prints_seconds=True)


def _program(*words: str, env: Mapping[str, str] | None = None) -> Sender:
    def command(port: int, title: str, files: Sequence[Path]) -> list[str]:
        return [*words, "-aec", title, LOOPBACK, str(port), *map(str, files)]

    return Sender(command, env or {}, prints_seconds=False)


def _gdcm(port: int, title: str, files: Sequence[Path]) -> list[str]:
    return ["gdcmscu", "--store", "--call", title, LOOPBACK, str(port), *map(str, files)]


def dcmtk_scu(*options: str) -> Sender:
    """Return DCMTK's storescu at its best."""
    best = [*DCMTK_BEST, "--max-send-pdu", str(FRAME)]
    return _program("storescu", *best, *options, env=DCMTK_ENV)


OURS = script(OUR_SCU, "store")
OURS_INSTALLED = _program(DIMSE, "storescu")
PYNETDICOM = script(PYNETDICOM_SCU, "store")
DCMTK = dcmtk_scu()
DCMTK_INSTALLED = _program("storescu")
GDCM = Sender(_gdcm, {}, prints_seconds=False, exits_well=False)


def watched(sender: Sender, port: int, title: str, files: Sequence[Path]) -> tuple[float, int, str]:
    """Run an SCU; return its seconds, its peak resident memory in bytes and its output.

    The peak is that of the program itself (VmHWM of /proc, sampled): what wait4 reports would
    include the memory of the process that started it.
    """
    peak = 0
    start = time.perf_counter()
    with Process(sender.command(port, title, files), env=sender.env) as process:
        ended = threading.Event()

        def sample() -> None:
            nonlocal peak
            while not ended.wait(0.01):
                with contextlib.suppress(OSError, PeerError):
                    peak = max(peak, process.peak_rss())

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            code = process.wait(LIMIT_SECONDS)
            seconds = time.perf_counter() - start
        finally:
            ended.set()
            sampler.join()
        process.stop()
        if code != 0 and sender.exits_well:
            raise PeerError(process.story("failed")[-4000:])
        return seconds, peak, "\n".join(process.lines)


def timed(sender: Sender, running: Running, files: Sequence[Path] = ()) -> tuple[float, int, int]:
    """Run a script that times itself; return its seconds, what it counted and its peak memory."""
    to = running.target
    _, rss, output = watched(sender, to.port, to.title, files)
    said = json.loads(output.splitlines()[-1])
    return float(said["seconds"]), int(said["count"]), rss


def rate(sender: Sender, running: Running, files: Sequence[Path] = ()) -> float:
    """Return what such a script counts in a second."""
    seconds, count, _ = timed(sender, running, files)
    return count / seconds


@contextlib.contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """Make a folder below `parent`; remove it with everything in it."""
    folder = Path(tempfile.mkdtemp(prefix="dimse-bench-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def output(parent: Path) -> Iterator[Path]:
    """Make a folder to store into; on a disk it stays until the caller removes its parent.

    ext4 without a journal walks around each inode that was deleted in the last minutes whenever it
    makes a file: what one round removes would slow the next ones to a fraction.
    """
    if parent.is_relative_to(MEMORY):
        with scratch(parent) as folder:
            yield folder
    else:
        yield Path(tempfile.mkdtemp(dir=parent))


def check_stored(folder: Path, files: Sequence[Path], running: Running) -> None:
    """Raise unless there are as many files in the folder."""
    stored = sum(1 for path in folder.rglob("*") if path.is_file())
    if stored < len(files):
        raise PeerError(running.process.story(f"stored {stored} of {len(files)} files"))


def transfer(sender: Sender, server: Server, files: Sequence[Path], parent: Path) -> Run:
    """Send `files` to a fresh server that stores below `parent`; check that all of them arrived."""
    with output(parent) as folder, server(folder) as running:
        if sender.prints_seconds:
            seconds, count, rss = timed(sender, running, files)
        else:
            port, title = running.target.port, running.target.title
            start_up, _, _ = watched(sender, port, title, files[:1])
            seconds, rss, _ = watched(sender, port, title, files)
            seconds, count = max(seconds - start_up, 1e-6), len(files) - 1
        check_stored(folder, files, running)
        size = sum(path.stat().st_size for path in files[-count:])
        return Run(seconds, count, size, rss, running.process.peak_rss())


@contextlib.contextmanager
def storescp(folder: Path, *options: str) -> Iterator[Running]:
    """Run our storescp as users do: it prints its port, and nothing of an instance."""
    with Process([*OUR_MODULE, "storescp", "0", "-od", str(folder), *options]) as process:
        port = process.wait_for_line(str.isdecimal)
        yield Running(Target(int(port), "ANY-SCP"), process, folder)


def build_floor(program: Path) -> None:
    """Compile the floor."""
    must_succeed(["gcc", "-O2", "-pthread", "-o", str(program), str(BENCH / "floor.c")])


def floor(
    program: Path, files: Sequence[Path], parent: Path, connections: int = 1, mode: str = "fast"
) -> Run:
    """Move `files` by the floor program."""
    with output(parent) as folder:
        how = [mode, str(connections), str(FRAME), str(folder)]
        argv = [str(program), *how, *map(str, files)]
        seconds = must_succeed(argv, seconds=LIMIT_SECONDS)
        return Run(float(seconds), len(files), sum(path.stat().st_size for path in files))


def wall(argv: Sequence[str], env: Mapping[str, str] | None = None) -> float:
    """Return the seconds that a command takes from start to end."""
    start = time.perf_counter()
    done = run(argv, env=env, seconds=LIMIT_SECONDS)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise PeerError(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stderr}")
    return seconds
