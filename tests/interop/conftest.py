"""The interop matrix: who ran against whom, and the table printed when the tests are over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from tests.peers.scp import SCPS, Running


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
    if cell is None or "scu" not in cell.params or "scp" not in cell.params:
        return
    if report.failed or (report.skipped and call.when == "setup"):
        sample = cell.params.get("sample")
        service, syntax = ("C-STORE", sample.syntax) if sample else ("C-ECHO", "-")
        result = "FAILED" if report.failed else "skipped"
        item.config.stash[MATRIX].add(
            cell.params["scu"], cell.params["scp"], service, syntax, result
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
