"""What every test may use: a check for peers, markers by folder, and an option for all pairs."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dimse_rs import _core
from tests.support.process import MissingPeerError, require

# By its entry point where the package is installed, by this line where it is the source tree.
pytest_plugins = ["dimse_rs.testing.plugin"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer the pairs in which we take no part: they tell whether a failure is ours."""
    parser.addoption(
        "--all-pairs", action="store_true", help="interop: test peers against each other too"
    )


MARKERS = {
    "differential": ["slow"],
    "durability": ["slow"],
    "hostile": ["hostile", "slow"],
    "interop": ["interop", "slow"],
    "load": ["slow"],
    "mutants": ["hostile", "slow"],
}
"""What the tests of a folder are, beside what they say themselves; pyproject.toml has the words."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of whole folders."""
    for item in items:
        for marker in MARKERS.get(item.path.relative_to(Path(__file__).parent).parts[0], []):
            item.add_marker(marker)


@pytest.fixture(scope="session", autouse=True)
def no_panics() -> Iterator[None]:
    """Fail when the core panicked in any test, also where something caught it."""
    yield
    assert _core.panics() == 0


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Give the package's logger back as it was: the tools configure it for their process."""
    logger = logging.getLogger("dimse_rs")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate


@pytest.fixture(scope="session")
def need() -> Callable[..., None]:
    """Return a check for peers: a missing one fails in CI and is skipped with a line elsewhere."""

    def check(*tools: str) -> None:
        try:
            require(*tools)
        except MissingPeerError as missing:
            if os.environ.get("CI") == "true":
                pytest.fail(str(missing), pytrace=False)
            pytest.skip(str(missing))

    return check
