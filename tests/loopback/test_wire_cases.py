"""What bad peers get from our server, case by case, and that nobody else notices."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    ActionRequest,
    AttributesRequest,
    FindRequest,
    Limits,
    Printer,
    RetrieveRequest,
    Server,
    StatusError,
    Storage,
    StudyRoot,
    Timeouts,
)
from tests.hostile.cases import cases
from tests.hostile.runner import Case, Target, play

CALLED = "TARGET"
ARTIM, PROGRESS, IDLE = 1.0, 0.8, 0.8
TIMEOUTS = Timeouts(artim=ARTIM, progress=PROGRESS, idle=IDLE, write=2, release=2)
LIMITS = Limits(instance=4 << 20)
SETTLE = 5.0
ALL = list(cases(CALLED.encode()))


@dataclass
class Log(logging.Handler):
    """Keeps what the server logs."""

    records: list[logging.LogRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    __hash__ = logging.Handler.__hash__

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, event: str) -> set[int]:
        """The associations to which something happened."""
        happened = (r for r in tuple(self.records) if getattr(r, "event", "") == event)
        return {record.association for record in happened}


@dataclass
class Node:
    """A server of ours, its log and its folder."""

    target: Target
    log: Log
    folder: Path

    def settled(self, connections: int) -> list[logging.LogRecord]:
        """Wait until so many connections are over, then give what was logged, and forget it."""
        until = time.monotonic() + SETTLE
        while True:
            begun, over = self.log.of("connected"), self.log.of("ended")
            if begun == over and len(over) >= connections:
                records, self.log.records = self.log.records, []
                return records
            if time.monotonic() > until:
                self.log.records = []
                pytest.fail(f"{len(over)} of {connections} are over, not {begun - over}")
            time.sleep(0.005)

    def files(self) -> set[Path]:
        return {Path(at, name) for at, _, names in os.walk(self.folder.parent) for name in names}


def serve_operations(server: Server) -> None:
    """Add handlers as `cases.operations` wants them."""

    @server.c_find(StudyRoot)
    def find(request: FindRequest) -> Iterator[Dataset]:
        list(request.identifier.iterall())
        patient = request.identifier.get("PatientID")
        until = time.monotonic() + SETTLE
        while patient == "wait" and not request.cancelled and time.monotonic() < until:
            time.sleep(0.005)
        if patient not in ("wait", "nobody"):
            yield request.identifier

    @server.c_get(StudyRoot)
    @server.c_move(StudyRoot)
    def retrieve(request: RetrieveRequest) -> list[Path]:
        list(request.identifier.iterall())
        return []

    @server.n_get(Printer)
    def attributes(request: AttributesRequest) -> None:
        raise StatusError(0x0112)

    @server.n_action(Printer)
    def act(request: ActionRequest) -> None:
        raise StatusError(0x0112 if request.action_type == 1 else 0x0123)


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Node]]:
    nodes: dict[str, Node] = {}
    servers: list[Server] = []
    logger = logging.getLogger("dimse_rs.server")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    log = Log()
    logger.addHandler(log)

    def start(kind: str) -> Node:
        if kind not in nodes:
            folder = tmp_path_factory.mktemp("hostile") / "store"
            folder.mkdir()
            layout = "study" if kind == "study" else "flat"
            storage = Storage(folder, mode="fast", layout=layout)
            server = Server(
                AE(CALLED, timeouts=TIMEOUTS, limits=LIMITS),
                port=0,
                services=[] if kind == "operations" else [storage],
                calling=["PROBE"] if kind == "calling" else None,
                max_handlers=80,
            )
            if kind == "operations":
                serve_operations(server)
            server.start()
            servers.append(server)
            target = Target("127.0.0.1", server.port, CALLED.encode(), ARTIM, PROGRESS, IDLE)
            nodes[kind] = Node(target, log, folder)
        return nodes[kind]

    yield start
    for server in servers:
        server.stop(grace=1)
    logger.removeHandler(log)
    logger.setLevel(level)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", ALL, ids=[case.id.replace(" ", "-") for case in ALL])
def test_case(case: Case, serve: Callable[..., Node]) -> None:
    kinds = ("study", "calling", "operations")
    kind = next((need for need in kinds if need in case.needs), "flat")
    node = serve(kind)
    node.log.records = []
    before = node.files()
    play(node.target, case)
    records = node.settled(len(case.scripts) + 1)
    lines = [record for record in records if record.levelno >= logging.WARNING]
    assert all(record.getMessage().isprintable() for record in records)
    assert not [record for record in lines if record.levelno >= logging.ERROR]
    if not case.noise:
        codes = [getattr(record, "code", "") for record in lines]
        expected = case.code.split("+") if case.code else []
        assert len(codes) == len(case.scripts) * len(expected), codes
        assert set(codes) <= {either for one in expected for either in one.split("|")}
    assert all(case.hint in record.getMessage() for record in lines)
    stored = {path.name for path in node.files() - before}
    assert stored == {f"{uid.decode()}.dcm" for uid in case.stores}
