"""Ids of parametrized tests that are the same in every process."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def shown(value: object) -> str:
    """Give the representation without an address: workers of pytest-xdist compare ids."""
    return _ADDRESS.sub("", repr(value))
