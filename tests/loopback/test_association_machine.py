"""Associations as a state machine: whatever users do, in whatever order, both faces obey.

Two associations with one server, blocking or asyncio. Each step says what it expects.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydicom.dataset import Dataset

from dimse_rs import (
    AssociationError,
    CTImageStorage,
    NoPresentationContext,
    StudyRoot,
    Verification,
)
from tests.support.nodes import CT, MR_IMPLICIT, SCU, at, scp

MATCHES = 6
CONTEXTS = [Verification, CTImageStorage, StudyRoot.find]


class Blocking:
    """The face of threads."""

    def associate(self, address: str) -> Any:
        return SCU.associate(address, contexts=CONTEXTS)

    def call(self, what: Any) -> Any:
        return what

    def find(self, association: Any, take: int) -> list[str]:
        found = []
        for match in association.c_find({"PatientID": ""}, model=StudyRoot, level="STUDY"):
            found.append(match.PatientID)
            if len(found) == take:
                break
        return found

    def close(self) -> None:
        """Nothing was opened."""


class Asyncio:
    """The face of event loops, on a loop of its own that runs while something is asked."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def associate(self, address: str) -> Any:
        async def made() -> Any:
            return await SCU.associate_async(address, contexts=CONTEXTS)

        return self.loop.run_until_complete(made())

    def call(self, what: Any) -> Any:
        return self.loop.run_until_complete(what)

    def find(self, association: Any, take: int) -> list[str]:
        async def taken() -> list[str]:
            found = []
            matches = association.c_find({"PatientID": ""}, model=StudyRoot, level="STUDY")
            async for match in matches:
                found.append(match.PatientID)
                if len(found) == take:
                    break
            await matches.aclose()
            return found

        return self.loop.run_until_complete(taken())

    def close(self) -> None:
        self.loop.close()


class Machine(RuleBasedStateMachine):
    """What users do. The model: which of the two associations is open, and what was stored."""

    face: type[Blocking | Asyncio]
    folder: Any

    def __init__(self) -> None:
        super().__init__()
        self.open: list[Any] = [None, None]
        self.over: Any = None
        self.stored: set[str] = set()

    @initialize()
    def start(self) -> None:
        folder = self.folder()
        self.way = self.face()
        self.server = scp(folder)
        self.kept = folder

        @self.server.c_find(StudyRoot)
        def find(request: Any) -> Any:
            for number in range(MATCHES):
                match = Dataset()
                match.PatientID = str(number)
                yield match

        self.server.start()

    which = st.integers(0, 1)

    @rule(which=which)
    def associate(self, which: int) -> None:
        if self.open[which] is None:
            self.open[which] = self.way.associate(at(self.server))

    def one(self, which: int) -> Any:
        """Return an open association: this one, or the other."""
        return self.open[which] or self.open[1 - which]

    some_open = precondition(lambda self: any(self.open))

    @some_open
    @rule(which=which)
    def echo(self, which: int) -> None:
        assert self.way.call(self.one(which).c_echo()) == 0

    @some_open
    @rule(which=which)
    def store(self, which: int) -> None:
        assert self.way.call(self.one(which).c_store(CT)) == 0
        self.stored.add(CT.name)

    @some_open
    @rule(which=which)
    def store_without_context(self, which: int) -> None:
        with pytest.raises(NoPresentationContext):
            self.way.call(self.one(which).c_store(MR_IMPLICIT))

    @some_open
    @rule(which=which, take=st.integers(1, MATCHES + 1))
    def find(self, which: int, take: int) -> None:
        found = self.way.find(self.one(which), take)
        assert found == [str(number) for number in range(min(take, MATCHES))]

    @some_open
    @rule(which=which, gently=st.booleans())
    def end(self, which: int, gently: bool) -> None:
        association = self.one(which)
        self.way.call(association.release() if gently else association.abort())
        self.open[self.open.index(association)] = None
        self.over = association

    @precondition(lambda self: self.over is not None)
    @rule()
    def use_what_is_over(self) -> None:
        with pytest.raises(AssociationError):
            self.way.call(self.over.c_echo())
        self.way.call(self.over.abort())  # harmless

    @invariant()
    def nothing_but_what_was_stored(self) -> None:
        if hasattr(self, "kept"):
            assert len(list(self.kept.glob("*.dcm"))) == len(self.stored)

    def teardown(self) -> None:
        if not hasattr(self, "server"):
            return
        for association in filter(None, self.open):
            self.way.call(association.release())
        self.way.close()
        self.server.stop()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("face", [Blocking, Asyncio])
def test_associations_behave_as_the_model(face, tmp_path_factory):
    class Faced(Machine):
        folder = staticmethod(lambda: tmp_path_factory.mktemp("stored"))

    Faced.face = face
    search = settings(
        derandomize=True, deadline=None, database=None, max_examples=12, stateful_step_count=20
    )
    run_state_machine_as_test(Faced, settings=search)
