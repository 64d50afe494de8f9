"""What every unit test starts from."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def _own_logging():
    """Give the package's logger back as it was: the tools configure it for their process."""
    logger = logging.getLogger("dimse_rs")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate
