"""The pytest plug-in: fixtures for tests of DICOM programs. Nothing else here imports pytest.

The fixtures are plain functions and their servers run on threads of their own, so that tests on
any event loop use them, with pytest-asyncio, anyio or another plug-in. Each takes a free port:
processes of pytest-xdist do not meet. What a fixture has started ends with its scope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # loaded when a fixture is used: a test run without any costs nothing
    from . import Pacs, Proxy, Receiver, ScriptedPeer, WorklistServer

__all__ = [
    "dicom_pacs",
    "dicom_peer",
    "dicom_proxy",
    "dicom_receiver",
    "dicom_worklist",
    "session_dicom_pacs",
    "session_dicom_peer",
    "session_dicom_proxy",
    "session_dicom_receiver",
    "session_dicom_worklist",
]


def _pacs() -> Iterator[Pacs]:
    from . import Pacs

    with Pacs() as pacs:
        yield pacs


def _receiver() -> Iterator[Receiver]:
    from . import Receiver

    with Receiver() as receiver:
        yield receiver


def _worklist() -> Iterator[WorklistServer]:
    from . import WorklistServer

    with WorklistServer() as worklist:
        yield worklist


def _peer() -> Iterator[ScriptedPeer]:
    from . import ScriptedPeer

    with ScriptedPeer() as peer:
        yield peer


def _proxy() -> Iterator[Callable[[Any], Proxy]]:
    from . import Proxy

    with ExitStack() as proxies:

        def start(target: Any) -> Proxy:
            return proxies.enter_context(Proxy(target))

        yield start


@pytest.fixture
def dicom_pacs() -> Iterator[Pacs]:
    """An archive in memory, empty: C-STORE, C-FIND, C-GET, C-MOVE, storage commitment."""
    yield from _pacs()


@pytest.fixture(scope="session")
def session_dicom_pacs() -> Iterator[Pacs]:
    """As `dicom_pacs`, one for all tests of the session; `clear()` empties it."""
    yield from _pacs()


@pytest.fixture
def dicom_receiver() -> Iterator[Receiver]:
    """A storage SCP that takes anything and keeps it: `wait_for`, `instances`, `answer`."""
    yield from _receiver()


@pytest.fixture(scope="session")
def session_dicom_receiver() -> Iterator[Receiver]:
    """As `dicom_receiver`, one for all tests of the session; `clear()` empties it."""
    yield from _receiver()


@pytest.fixture
def dicom_worklist() -> Iterator[WorklistServer]:
    """A modality worklist, empty, which takes performed procedure steps too."""
    yield from _worklist()


@pytest.fixture(scope="session")
def session_dicom_worklist() -> Iterator[WorklistServer]:
    """As `dicom_worklist`, one for all tests of the session; `clear()` empties it."""
    yield from _worklist()


@pytest.fixture
def dicom_peer() -> Iterator[ScriptedPeer]:
    """An SCP that misbehaves as it is asked to: `reject`, `abort`, `answer_never`, `play`."""
    yield from _peer()


@pytest.fixture(scope="session")
def session_dicom_peer() -> Iterator[ScriptedPeer]:
    """As `dicom_peer`, one for all tests of the session; `clear()` makes it well-behaved again."""
    yield from _peer()


@pytest.fixture
def dicom_proxy() -> Iterator[Callable[[Any], Proxy]]:
    """A function that puts a proxy with faults before a server: `dicom_proxy(dicom_pacs)`."""
    yield from _proxy()


@pytest.fixture(scope="session")
def session_dicom_proxy() -> Iterator[Callable[[Any], Proxy]]:
    """As `dicom_proxy`, for proxies that last for the session."""
    yield from _proxy()
