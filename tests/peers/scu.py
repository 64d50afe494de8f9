"""Every SCU of the interop matrix behind one face: ours is one entry among others."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.process import LOOPBACK, PeerError, must_succeed, run

HERE = Path(__file__).parent
DIMSE = [sys.executable, "-m", "dimse_rs"]
# Without it DCMTK leaves Nagle's algorithm on: 40 ms for every message.
DCMTK_ENV = {"TCP_NODELAY": "1"}
DCMTK_PROPOSE = {
    "implicit LE": "-xi",
    "explicit LE": "-xe",
    "explicit BE": "-xb",
    "deflated": "-xd",
    "JPEG baseline": "-xy",
    "JPEG 2000 lossless": "-xv",
    "JPEG 2000": "-xw",
    "RLE": "-xr",
}


@dataclass(frozen=True)
class Target:
    """Where an SCU is sent to."""

    port: int
    title: str


@dataclass(frozen=True)
class Scu:
    """An SCU: how it says echo and store, and whether it sends a file's data set unchanged."""

    name: str
    tools: Sequence[str]
    keeps_bytes: bool
    echo: Callable[[Target], None]
    store: Callable[[Target, Path, str], None]


def _dimse_echo(to: Target) -> None:
    must_succeed([*DIMSE, "echoscu", LOOPBACK, str(to.port), "-aet", "DIMSE", "-aec", to.title])


def _dimse_store(to: Target, path: Path, syntax: str) -> None:
    del syntax  # planned from the file
    argv = [*DIMSE, "storescu", LOOPBACK, str(to.port), "-aec", to.title, "--json", str(path)]
    events = [json.loads(line) for line in must_succeed(argv).splitlines()]
    statuses = [event["status"] for event in events if event["event"] == "sent"]
    if statuses != [0]:
        raise PeerError(f"{' '.join(argv)}: statuses {statuses} in {events}")


def _dcmtk_echo(to: Target) -> None:
    must_succeed(["echoscu", "-aec", to.title, LOOPBACK, str(to.port)], DCMTK_ENV)


def _dcmtk_store(to: Target, path: Path, syntax: str) -> None:
    argv = [
        "storescu",
        "-R",
        DCMTK_PROPOSE[syntax],
        "-aec",
        to.title,
        LOOPBACK,
        str(to.port),
        str(path),
    ]
    must_succeed(argv, DCMTK_ENV)


def _pynetdicom(what: str, to: Target, argument: str) -> None:
    script = str(HERE / "pynetdicom_scu.py")
    must_succeed([sys.executable, script, what, str(to.port), to.title, argument])


# Debian's gdcmscu 3.0.21 ends every run, good or bad, with an uncaught exception while it closes
# the released association ("ProtocolStream as nullptr is invalid"): its exit code says nothing.
# Its debug log does.
_GDCM_SUCCESS = re.compile(r"\(0000,0900\) \?\? \(US\) 0 ")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_GDCM_RELEASED = "Process: Event:12, State:6"  # A-RELEASE-RP received while one is awaited


def _gdcm(to: Target, *arguments: str) -> None:
    argv = ["gdcmscu", "-D", "-V", *arguments, "--call", to.title, LOOPBACK, str(to.port)]
    done = run(argv)
    log = _COLOUR.sub("", done.stdout + done.stderr)
    if not _GDCM_SUCCESS.search(log) or _GDCM_RELEASED not in log:
        raise PeerError(f"{' '.join(argv)}: exit code {done.returncode}\n{log[-2000:]}")


SCUS = {
    scu.name: scu
    for scu in [
        Scu("dimse", ["module:dimse_rs._core"], True, _dimse_echo, _dimse_store),
        Scu("DCMTK", ["echoscu", "storescu"], False, _dcmtk_echo, _dcmtk_store),
        Scu(
            "pynetdicom",
            ["module:pynetdicom"],
            False,
            lambda to: _pynetdicom("echo", to, "1"),
            lambda to, path, _: _pynetdicom("store", to, str(path)),
        ),
        Scu(
            "gdcmscu",
            ["gdcmscu"],
            False,
            lambda to: _gdcm(to, "--echo"),
            lambda to, path, _: _gdcm(to, "--store", "-i", str(path)),
        ),
    ]
}
