"""Child processes of the tests: started once, awaited by what they do, never left behind.

Nothing here knows DICOM. Readiness is an observation (a line printed, a port that answers), never
a pause; every wait has a deadline; a child dies with its `with` block, and with this process if
that is killed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

LOOPBACK = "127.0.0.1"
START_SECONDS = 20.0
STOP_SECONDS = 10.0
RUN_SECONDS = 25.0


class PeerError(AssertionError):
    """A child did not do what a test relies on; the message carries its output."""


class MissingPeerError(Exception):
    """A peer is not installed; `make peers` installs it."""


def bound_to_our_life(argv: Sequence[str]) -> list[str]:
    """Prefix a command so that the kernel kills it when we die without cleaning up.

    The kernel watches the thread that starts the child: start long-lived ones from the main thread.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", *argv] if setpriv else list(argv)


class Process:
    """A child whose standard output is read line by line and whose errors go to a log."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        """Start `argv` with `env` added to our environment."""
        self.argv = list(argv)
        self.lines: list[str] = []
        self._grown = threading.Condition()
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        self._child = subprocess.Popen(
            bound_to_our_life(self.argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, name="peer-stdout", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, or None while running."""
        return self._child.poll()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            with self._grown:
                self.lines.append(line.rstrip("\n"))
                self._grown.notify_all()

    def wait_for_line(self, wanted: Callable[[str], bool], seconds: float = START_SECONDS) -> str:
        """Return the first line of standard output that is `wanted`."""
        deadline = time.monotonic() + seconds
        seen = 0
        with self._grown:
            while True:
                for line in self.lines[seen:]:
                    if wanted(line):
                        return line
                seen = len(self.lines)
                if not self._reader.is_alive() or time.monotonic() > deadline:
                    raise PeerError(self.story("did not print what was waited for"))
                self._grown.wait(0.1)

    def wait_until_listening(self, port: int, seconds: float = START_SECONDS) -> bool:
        """Poll `port` until it answers; False when the child ended first (its port was taken)."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), 1.0):
                return self.returncode is None
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(0.02)
                return False
        raise PeerError(self.story(f"does not listen on port {port} after {seconds} s"))

    def wait(self, seconds: float = RUN_SECONDS) -> int:
        """Wait for the child to end by itself."""
        if self._child.returncode is None:  # else its id may be another's by now
            # `Popen.wait` with a timeout looks every 50 ms: too coarse for the benchmark.
            ending = os.pidfd_open(self.pid)
            try:
                ended, _, _ = select.select([ending], [], [], seconds)
            finally:
                os.close(ending)
            if not ended:
                raise PeerError(self.story(f"still runs after {seconds} s"))
        return self._child.wait()

    def peak_rss(self) -> int:
        """Peak resident memory so far, in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise PeerError(self.story("shows no VmHWM"))

    def interrupt(self) -> None:
        """Send what Ctrl-C sends."""
        self._child.send_signal(signal.SIGINT)

    def stop(self) -> int:
        """Ask the child to end, then insist; idempotent."""
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
        code = self._child.wait()
        self._reader.join(STOP_SECONDS)
        if self._child.stdout is not None:
            self._child.stdout.close()
        return code

    def errors(self) -> str:
        """What the child wrote to standard error so far."""
        if self._log.closed:
            return ""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def story(self, complaint: str) -> str:
        """Say what went wrong, with everything the child said."""
        said = "\n".join([*self.lines, self.errors()]).strip()
        return f"{' '.join(self.argv)}: {complaint} (exit code {self.returncode})\n{said}"

    def __enter__(self) -> Self:
        """Nothing more to do: the child runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""
        self.stop()
        self._log.close()


def free_port() -> int:
    """Return a port that was free a moment ago: for peers that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def listening(
    argv: Callable[[int], Sequence[str]],
    *,
    env: Mapping[str, str] | None = None,
    attempts: int = 5,
) -> Iterator[tuple[Process, int]]:
    """Run a server that needs a port number on a free one; try another when it was taken."""
    story = ""
    for _ in range(attempts):
        port = free_port()
        with Process(argv(port), env=env) as process:
            if process.wait_until_listening(port):
                yield process, port
                return
            story = process.story(f"ended instead of listening on port {port}")
    raise PeerError(story)


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    seconds: float = RUN_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; output and exit code are the caller's to judge."""
    return subprocess.run(
        bound_to_our_life(argv),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, **(env or {})},
        timeout=seconds,
        check=False,
    )


def require(*tools: str) -> None:
    """Raise MissingPeerError unless every tool is on the PATH (`module:` names: importable)."""
    for tool in tools:
        found = (
            importlib.util.find_spec(tool.removeprefix("module:"))
            if tool.startswith("module:")
            else shutil.which(tool)
        )
        if not found:
            raise MissingPeerError(f"{tool} is not installed")


def must_succeed(
    argv: Sequence[str], env: Mapping[str, str] | None = None, seconds: float = RUN_SECONDS
) -> str:
    """Run a command that has to end with exit code 0; return its standard output."""
    done = run(argv, env=env, seconds=seconds)
    if done.returncode != 0:
        raise PeerError(
            f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
    return done.stdout
