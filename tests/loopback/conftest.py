"""Fixtures of the loopback tests."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["", "1"], ids=["plain", "debug"])
def either_mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run event loops as they are, and in asyncio's debug mode, which minds foreign threads."""
    monkeypatch.setenv("PYTHONASYNCIODEBUG", request.param)
