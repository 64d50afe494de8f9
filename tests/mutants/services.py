"""Routes over the wire: every service of the node, with data sets as a bad peer sends them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.data.files import meta_end
from tests.mutants.node import STEP
from tests.mutants.seeds import EXPLICIT, SECONDARY_CAPTURE, SYNTAXES, TRANSACTION, Seed
from tests.mutants.values import Finding, check_same, decodes, read_by_pydicom
from tests.mutants.wires import COMMITMENT_INSTANCE, Answer, Peer
from tests.support import wire
from tests.support.process import Process

CLASSES = {
    "find": "1.2.840.10008.5.1.4.1.2.2.1",
    "get": "1.2.840.10008.5.1.4.1.2.2.3",
    "move": "1.2.840.10008.5.1.4.1.2.2.2",
    "worklist": "1.2.840.10008.5.1.4.31",
    "step": "1.2.840.10008.3.1.2.3.3",
    "commitment": "1.2.840.10008.1.20.1",
    "notice": "1.2.840.10008.5.1.4.33",
    "film": "1.2.840.10008.5.1.1.1",
}
MOST_PEERS = 60
"""Associations that are kept open."""


@dataclass
class Run:
    """What one run has: the node, the mutants, and the account.

    Attributes:
        counts: mutants by route.
        outcomes: statuses, errors and successes by route.
        findings: what must not have been, each with what makes it again.
        leaks: records of the log with values of patients in them.
        warned: texts of warnings, of whatever thread.
        slowest: processor seconds of the longest, by route.
        most: bytes that a mutant cost at most, by process.
    """

    node: Process
    ports: dict[str, int]
    folder: Path
    instances: list[Seed]
    counts: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[dict[str, Any]] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    peers: dict[tuple[str, str, str], Peer] = field(default_factory=dict)
    number: int = 0

    def peer(self, server: str, name: str, syntax: str, *more: str, scp: bool = False) -> Peer:
        """Give an association that lives, with a context for the class that has the name."""
        key = (server, name, syntax)
        known = self.peers.get(key)
        if known is None or not known.is_open:
            if known is not None:
                known.close()
            if len(self.peers) > MOST_PEERS:
                self.hang_up()
            classes = [CLASSES.get(name, name), *more]
            known = self.peers[key] = Peer(self.ports[server], classes, syntax, scp=scp)
        return known

    def hang_up(self) -> None:
        """Close all associations."""
        for peer in self.peers.values():
            peer.close()
        self.peers.clear()

    def next_number(self) -> int:
        """Give a Message ID."""
        self.number = self.number % 0xFFFF + 1
        return self.number


Route = Callable[[Run, Seed, bytes], str]


def _asked(run: Run, peer: Peer, content: bytes, command: bytes, code: int) -> Answer | None:
    """Ask; None when the context is not accepted."""
    return peer.ask(command, content, code, run.number) if peer.accepted else None


def _told(answer: Answer | None, syntax: str) -> str:
    """Look at what came, and say what it was."""
    if answer is None:
        return "not accepted"
    for data in answer.data:
        decodes(data, syntax)
    return "aborted" if answer.status is None else f"{answer.status:04X}"


def find(server: str, name: str) -> Route:
    """C-FIND."""

    def route(run: Run, seed: Seed, content: bytes) -> str:
        command = wire.find_rq(run.next_number(), sop_class=CLASSES[name].encode())
        peer = run.peer(server, name, seed.syntax)
        return _told(_asked(run, peer, content, command, wire.C_FIND_RQ), seed.syntax)

    return route


def retrieve(server: str, code: int) -> Route:
    """C-GET, with a look at each instance that comes, or C-MOVE to the node itself."""
    name = "get" if code == 0x0010 else "move"

    def route(run: Run, seed: Seed, content: bytes) -> str:
        number = run.next_number()
        command = wire.command(
            wire.ui(0x0002, CLASSES[name].encode()),
            wire.us(0x0100, code),
            wire.us(0x0110, number),
            *([wire.element(0x0600, b"STORE ")] if code == 0x0021 else []),
            wire.us(0x0700, 0),
            wire.us(0x0800, 1),
        )
        classes = sorted({identity(one)[0] for one in run.instances}) if name == "get" else []
        peer = run.peer(server, name, seed.syntax, *classes)
        answer = _asked(run, peer, content, command, code)
        for uid, data in answer.instances if answer else ():
            if "handlers" not in server:  # those have mutants that were stored before
                check_retrieved(run, uid, data, seed.syntax)
        if name == "move":
            emptied(run.folder / "store")
        return _told(answer, seed.syntax)

    return route


def check_retrieved(run: Run, uid: str, data: bytes, syntax: str) -> None:
    """See that an instance came as it is in the archive, or with the same values.

    Raises:
        Finding: it did not.
    """
    trouble = Finding(f"retrieved {uid}, which is not in the archive")
    for seed in run.instances:
        if identity(seed)[1] == uid:
            try:
                check_same(
                    seed.content, EXPLICIT if seed.is_deflated else seed.syntax, data, syntax
                )
            except Finding as finding:
                trouble = finding
            else:
                return
    raise trouble


def normalized(server: str, name: str, code: int, instance: bytes = b"") -> Route:
    """N-CREATE, N-SET, N-ACTION; without an instance always a new one."""

    def route(run: Run, seed: Seed, content: bytes) -> str:
        number = run.next_number()
        own = instance or f"1.2.9.{number}".encode()
        transaction = f"2.25.1{number}".encode()  # each of its own
        content = content.replace(TRANSACTION.encode(), transaction.ljust(len(TRANSACTION), b"\0"))
        command = wire.n_rq(code, CLASSES[name].encode(), own, number, type_=1)
        peer = run.peer(server, name, seed.syntax)
        return _told(_asked(run, peer, content, command, code), seed.syntax)

    return route


def event_report(server: str) -> Route:
    """N-EVENT-REPORT of a storage commitment: we are the SCP."""

    def route(run: Run, seed: Seed, content: bytes) -> str:
        command = wire.command(
            wire.ui(0x0002, CLASSES["commitment"].encode()),
            wire.us(0x0100, 0x0100),
            wire.us(0x0110, run.next_number()),
            wire.us(0x0800, 1),
            wire.ui(0x1000, COMMITMENT_INSTANCE),
            wire.us(0x1002, 1),
        )
        known = run.peers.get((server, "commitment as SCP", seed.syntax))
        if known is None or not known.is_open:
            port, classes = run.ports[server], [CLASSES["commitment"]]
            known = Peer(port, classes, seed.syntax, scp=True)
            run.peers[server, "commitment as SCP", seed.syntax] = known
        return _told(_asked(run, known, content, command, 0x0100), seed.syntax)

    return route


def store(server: str) -> Route:
    """C-STORE; what is answered with Success is on disk as it was sent."""

    def route(run: Run, seed: Seed, content: bytes) -> str:
        sop_class, uid = identity(seed)
        number = run.next_number()
        command = wire.store_rq(uid.encode(), number, sop_class=sop_class.encode())
        peer = run.peer(server, sop_class, seed.syntax)
        told = _told(_asked(run, peer, content, command, wire.C_STORE_RQ), seed.syntax)
        if "handlers" not in server:
            check_stored(run, server, told, content)
        return told

    return route


def check_stored(
    run: Run, server: str, told: str, content: bytes, syntax: str = "", *, anew: bool = False
) -> None:
    """See that exactly what was acknowledged is in the folder of a server, and empty that.

    Args:
        run: has the folder.
        server: whose it is.
        told: the status.
        content: what was sent.
        syntax: how that is encoded.
        anew: it was decoded before it was sent: the values are the same, if not the bytes.

    Raises:
        Finding: other bytes or values, nothing, or something that was refused.
    """
    stored = emptied(run.folder / server)
    if (told == "0000") != (len(stored) == 1):
        raise Finding(f"answered {told} and stored {len(stored)}")
    for one in stored:
        now = one[meta_end(one) :]
        target = next((uid for uid in SYNTAXES if _element(uid) in one[: meta_end(one)]), syntax)
        if target != syntax != "":
            check_same(content, syntax, now, target)
        elif now in (content, content + b"\0"):
            continue
        elif anew and target == syntax:
            check_same(content, syntax, now, target)
        else:
            raise Finding("answered Success and stored other bytes")


def emptied(folder: Path) -> list[bytes]:
    """Give the files in a folder and below it, and remove them."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    contents = [path.read_bytes() for path in found]
    for path in found:
        path.unlink()
    return contents


def _element(uid: str) -> bytes:
    """Give (0002,0010) with this transfer syntax."""
    value = uid.encode() + bytes(len(uid) % 2)
    return b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value


@cache
def identity(seed: Seed) -> tuple[str, str]:
    """Give SOP Class and Instance UID as the unchanged data set has them."""
    read = read_by_pydicom(seed.content, EXPLICIT if seed.is_deflated else seed.syntax)
    sop_class = str(read.get("SOPClassUID") or SECONDARY_CAPTURE)
    return sop_class, str(read.get("SOPInstanceUID") or "1.2.3.4")


def routes() -> dict[str, tuple[str, Route]]:
    """Give every service of the node, with the kind of seed that each wants."""
    made: dict[str, tuple[str, Route]] = {"C-STORE, Storage(strict)": ("instance", store("strict"))}
    for prefix in ("", "async "):
        ready, handlers = f"{prefix}store", f"{prefix}handlers"
        table = {
            "C-STORE, Storage": ("instance", store(ready)),
            "C-STORE, handler and index": ("instance", store(handlers)),
            "C-FIND, QueryRetrieve": ("query", find(ready, "find")),
            "C-FIND, handler": ("query", find(handlers, "find")),
            "C-FIND, Schedule": ("worklist", find(ready, "worklist")),
            "C-FIND, Worklist": ("worklist", find(handlers, "worklist")),
            "C-GET, QueryRetrieve": ("retrieval", retrieve(ready, 0x0010)),
            "C-GET, handler": ("retrieval", retrieve(handlers, 0x0010)),
            "C-MOVE, QueryRetrieve": ("retrieval", retrieve(ready, 0x0021)),
            "C-MOVE, handler": ("retrieval", retrieve(handlers, 0x0021)),
            "N-CREATE, Mpps": ("step", normalized(ready, "step", 0x0140)),
            "N-SET, Mpps": ("change", normalized(ready, "step", 0x0120, STEP.encode())),
            "N-ACTION, Commitment": (
                "commitment",
                normalized(ready, "commitment", 0x0130, COMMITMENT_INSTANCE),
            ),
            "N-EVENT-REPORT, CommitmentReports": ("report", event_report(ready)),
            "N-CREATE, InstanceAvailability": ("notice", normalized(ready, "notice", 0x0140)),
            "N-CREATE, handler": ("notice", normalized(handlers, "film", 0x0140)),
            "N-SET, handler": ("change", normalized(handlers, "film", 0x0120, b"1.2.3")),
            "N-ACTION, handler": ("commitment", normalized(handlers, "film", 0x0130, b"1.2.3")),
        }
        made.update({prefix + name: row for name, row in table.items()})
    return made
