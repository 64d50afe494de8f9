"""What the kernel is asked before Success is said, in which order: watched with strace."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from dimse_rs import StatusError
from tests.durability.storm import CONTEXT, SENDER
from tests.peers.scu import DIMSE
from tests.support.instances import data_set, part10
from tests.support.process import LOOPBACK, PeerError, Process

LINE = re.compile(
    r"(?P<thread>\d+) +(<\.\.\. (?P<resumed>\w+) resumed>|(?P<name>\w+)\()(?P<rest>.*)"
)
WATCHED = (
    "openat,write,writev,pwrite64,pwritev,fdatasync,fsync,rename,renameat,renameat2,linkat,"
    "mkdirat,unlinkat,sendto,sendmsg"
)
NEW = ["create", "write", "sync"]
UID = "1.2.840.1"


@dataclass
class Call:
    """A system call, from the line on which it began to the line on which it had returned."""

    name: str
    text: str
    begin: int
    end: int

    def step(self) -> str | None:
        """Name its part in a store; None when it has none."""
        match self.name:
            case "openat":
                return "create" if "O_CREAT" in self.text else None
            case "write" | "writev" | "pwrite64" | "pwritev" | "sendto" | "sendmsg":
                if "<TCP" in self.text:  # P-DATA-TF has type 04H
                    return "response" if '"\\4' in self.text else None
                return "write" if ".part>" in self.text else None
            case "fdatasync":
                return "sync"
            case "fsync":
                folder = re.search(r"<(.*?)>", self.text)
                return f"sync {Path(folder[1]).name}" if folder else None
            case "renameat2" if "RENAME_NOREPLACE" in self.text:
                return "publish" if "EEXIST" not in self.text else "taken"
            case "rename" | "renameat" | "renameat2":
                return "replace"
            case other:
                return {"linkat": "link", "mkdirat": "make", "unlinkat": "remove"}.get(other)


def calls(trace: str) -> list[Call]:
    """Read a trace of several threads."""
    found: list[Call] = []
    open_: dict[str, Call] = {}
    for number, line in enumerate(trace.splitlines()):
        parts = LINE.match(line)
        if parts is None:
            continue  # signals and exits
        thread, rest = parts["thread"], parts["rest"]
        if parts["resumed"]:
            call = open_.pop(thread)
            call.text += rest
            call.end = number
        else:
            call = Call(parts["name"], rest, number, number)
            found.append(call)
            if rest.endswith("<unfinished ...>"):
                open_[thread] = call
    return found


def steps(trace: str) -> list[str]:
    """The steps of a store, having asserted that none begins before the one before it returned."""
    named = [(step, call) for call in calls(trace) if (step := call.step())]
    for (before, earlier), (after, later) in pairwise(named):
        assert earlier.end < later.begin, f"{after} began before {before} had returned"
    names = [name for name, _ in named]
    return [name for at, name in enumerate(names) if at == 0 or names[at - 1] != name]


def store(port: int, pixels: bytes, status: int = 0) -> None:
    with SENDER.associate(f"ANY-SCP@{LOOPBACK}:{port}", contexts=CONTEXT) as association:
        try:
            answer = association.c_store(part10(data_set(UID, pixels), UID))
        except StatusError as error:
            answer = error.status
        assert answer == status


def storescp(folder: Path, options: Sequence[str]) -> list[str]:
    return [*DIMSE, "storescp", "0", "-od", str(folder), *options]


def traced(
    folder: Path, command: Sequence[str], first: bytes | None, pixels: bytes, status: int = 0
) -> str:
    """Store one instance, after another if there is one, and trace only that."""
    trace = folder.with_name("trace")
    with Process(command) as server:
        port = int(server.wait_for_line(bool))
        if first is not None:
            store(port, first)
        watch = f"exec strace -f -yy -s 8 -e trace={WATCHED} -o {trace} -p {server.pid} 2>&1"
        with Process(["sh", "-c", watch]) as strace:
            try:
                strace.wait_for_line(lambda line: "attached" in line)
            except PeerError as error:
                if "not permitted" not in str(error) or os.environ.get("CI") == "true":
                    raise
                pytest.skip("strace may not attach to a process here")
            store(port, pixels, status)
            server.stop()
            strace.wait()
    return trace.read_text()


@pytest.mark.parametrize(
    ("options", "first", "expected"),
    [
        pytest.param(
            ["--mode", "durable"],
            None,
            [*NEW, "publish", "sync store", "response"],
            id="durable",
        ),
        pytest.param(
            ["--mode", "durable", "--layout", "study"],
            None,
            [*NEW, "make", "sync store", "sync 1.2.3.10", "publish", "sync 1.2.3.11", "response"],
            id="durable-in-new-folders",
        ),
        pytest.param(
            ["--mode", "durable"],
            b"same",
            [*NEW, "taken", "sync", "sync store", "remove", "response"],
            id="durable-the-same-again",
        ),
        pytest.param(
            ["--mode", "durable"],
            b"other",
            [*NEW, "taken", "link", "sync store", "replace", "sync store", "response"],
            id="durable-another-version",
        ),
        pytest.param(["--mode", "file-only"], None, [*NEW, "publish", "response"], id="file-only"),
        pytest.param(
            ["--mode", "fast"], None, ["create", "write", "publish", "response"], id="fast"
        ),
    ],
)
def test_success_is_said_last(options, first, expected, tmp_path, need):
    need("strace")
    folder = tmp_path / "store"
    assert steps(traced(folder, storescp(folder, options), first, b"same")) == expected


def test_an_instance_in_many_pieces_is_synced_after_the_last(tmp_path, need):
    need("strace")
    folder = tmp_path / "store"
    command = storescp(folder, ["--mode", "durable"])
    trace = traced(folder, command, None, bytes(3 << 20))
    assert steps(trace) == [*NEW, "publish", "sync store", "response"]
    assert sum(call.step() == "write" for call in calls(trace)) > 1


def test_the_reader_of_traces_sees_what_overlaps():
    trace = "7 fdatasync(3</s/.dimse-1.part> <unfinished ...>\n8 renameat2(1, 2, 3, 4, {}) = 0\n"
    late = trace.format("RENAME_NOREPLACE") + "7 <... fdatasync resumed>) = 0\n"
    with pytest.raises(AssertionError, match="publish began before sync had returned"):
        steps(late)
