"""The interop matrix: who ran against whom, and the table printed when the tests are over."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest
from pydicom.dataset import Dataset

from dimse_rs import AE, EventRequest, Server, StorageCommitmentPushModel, StoreRequest
from tests.data.files import BUNDLED
from tests.data.generate import series
from tests.peers.archive import ARCHIVES, MOVER
from tests.peers.scp import SCPS, Running
from tests.peers.scu import Target


@dataclass
class Matrix:
    """Rows of the table, in the order in which the tests ran."""

    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)

    def add(self, scu: str, scp: str, service: str, syntax: str, result: str) -> None:
        """Keep one row."""
        self.rows.append((scu, scp, service, syntax, result))


MATRIX = pytest.StashKey[Matrix]()


def pytest_configure(config: pytest.Config) -> None:
    """Start with an empty table."""
    config.addinivalue_line("markers", "service(name): the service column of the interop matrix")
    config.stash[MATRIX] = Matrix()


@pytest.fixture
def matrix(request: pytest.FixtureRequest) -> Matrix:
    """Return the table of this run."""
    return request.config.stash[MATRIX]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Note a matrix test that did not get as far as its own row."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    cell = getattr(item, "callspec", None)
    if cell is None or not {"scu", "scp"} & cell.params.keys():
        return
    if report.failed or (report.skipped and call.when == "setup"):
        sample = cell.params.get("sample")
        service = item.get_closest_marker("service")
        item.config.stash[MATRIX].add(
            cell.params.get("scu", "dimse"),
            cell.params.get("scp", "dimse"),
            service.args[0] if service else item.name,
            sample.syntax if sample else "-",
            "FAILED" if report.failed else "skipped",
        )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table."""
    rows = config.stash[MATRIX].rows
    if not rows:
        return
    head = ("SCU", "SCP", "service", "transfer syntax", "result")
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    terminalreporter.section("interop matrix")
    for row in [head, *rows]:
        terminalreporter.write_line(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


@pytest.fixture(scope="session")
def serve(
    tmp_path_factory: pytest.TempPathFactory, need: Callable[..., None]
) -> Iterator[Callable[[str], Running]]:
    """Return a function that starts an SCP by name at its first use and keeps it running."""
    running: dict[str, Running] = {}
    with ExitStack() as stack:

        def start(name: str) -> Running:
            if name not in running:
                scp = SCPS[name]
                need(*scp.tools)
                running[name] = stack.enter_context(scp.start(tmp_path_factory.mktemp("stored")))
            return running[name]

        yield start


class Slowly:
    """What the handler of a retrieval waits for, so that a C-CANCEL finds something to end."""

    def __init__(self) -> None:
        """Count from the next instance on."""
        self.cancelled = threading.Event()
        self.over = threading.Event()
        self.came = 0

    def wait(self) -> None:
        """Hold the second instance until the retrieval is cancelled; later ones for a second."""
        self.came += 1
        if self.came == 2:
            assert self.cancelled.wait(20)
        elif self.came > 2:
            self.over.wait(1)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let everything go."""
        self.cancelled.set()
        self.over.set()


class Reports:
    """What a handler of N-EVENT-REPORT was told."""

    def __init__(self) -> None:
        """Start with none."""
        self._told: queue.SimpleQueue[EventRequest] = queue.SimpleQueue()

    def take(self, request: EventRequest) -> Dataset:
        """Keep one, and give back what came with it."""
        self._told.put(request)
        return request.dataset

    def next(self) -> tuple[int, Dataset]:
        """Wait for the next: event type and event information."""
        request = self._told.get(timeout=20)
        return request.event_type, request.dataset


class Receiver:
    """Where archives move to, and report commitments: our own server.

    Attributes:
        reports: what it was told.
        folder: what was received.
        originators: Move Originator AE titles that came with it.
        slowly: what it waits for before it answers, if anything.
    """

    def __init__(self, folder: Path) -> None:
        """Listen on a free port."""
        self.folder = folder
        self.originators: list[str] = []
        self.slowly: Slowly | None = None
        self.server = Server(AE(MOVER), port=0)
        self.server.c_store(self._keep)
        self.reports = Reports()
        self.server.n_event_report(StorageCommitmentPushModel)(self.reports.take)

    def _keep(self, request: StoreRequest) -> None:
        self.originators.append(request.command.get("MoveOriginatorApplicationEntityTitle", ""))
        request.save(self.folder, mode="fast")
        if self.slowly is not None:
            self.slowly.wait()

    def clear(self) -> None:
        """Forget what came, and hurry."""
        self.slowly = None
        self.originators.clear()
        for path in self.folder.iterdir():
            path.unlink()


@pytest.fixture(scope="session")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """Return the one C-MOVE destination of every archive."""
    receiver = Receiver(tmp_path_factory.mktemp("moved"))
    with receiver.server:
        yield receiver


@pytest.fixture(scope="session")
def instances(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return what every archive is given: two patients, three studies, nine instances."""
    folder = tmp_path_factory.mktemp("instances")
    shape = (1, 64, 64)
    mr = BUNDLED / "test_files" / "MR_small_implicit.dcm"
    return [*series(folder, "A", 5, shape), *series(folder, "B", 3, shape), mr]


@pytest.fixture(scope="session")
def archive(
    tmp_path_factory: pytest.TempPathFactory,
    need: Callable[..., None],
    receiver: Receiver,
    instances: list[Path],
) -> Iterator[Callable[[str], Target]]:
    """Return a function that starts an archive by name at its first use, and fills it."""
    running: dict[str, Target] = {}
    with ExitStack() as stack:

        def start(name: str) -> Target:
            if name not in running:
                need(*ARCHIVES[name].tools)
                folder = tmp_path_factory.mktemp("archive")
                port = receiver.server.port
                to = running[name] = stack.enter_context(ARCHIVES[name].start(folder, port))
                peer = f"{to.title}@127.0.0.1:{to.port}"
                AE(MOVER).send(peer, instances).raise_for_failures()
            return running[name]

        yield start
