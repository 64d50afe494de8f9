"""The interop matrix: who ran against whom, and the table printed when the tests are over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dimse_rs import AE, Server, StoreRequest
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


class Receiver:
    """Where archives move to: our own Storage SCP, which can be told to wait.

    Attributes:
        folder: what was received.
        originators: Move Originator AE titles that came with it.
        gate: what the handler waits for before it answers; open unless a test closes it.
    """

    def __init__(self, folder: Path) -> None:
        """Listen on a free port."""
        self.folder = folder
        self.originators: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.server = Server(AE(MOVER), port=0)
        self.server.c_store(self._keep)

    def _keep(self, request: StoreRequest) -> None:
        self.originators.append(request.command.get("MoveOriginatorApplicationEntityTitle", ""))
        request.save(self.folder, mode="fast")
        assert self.gate.wait(20)

    def clear(self) -> None:
        """Forget what came."""
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
