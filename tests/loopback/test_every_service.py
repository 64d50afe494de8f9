"""Every DIMSE service and C-CANCEL, as SCU and as SCP, blocking and on an event loop.

`docs/services.md` links its table to the cells of this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    AsyncServer,
    Context,
    CTImageStorage,
    ModalityPerformedProcedureStep,
    Printer,
    Server,
    StudyRoot,
    Verification,
    for_retrieve,
)
from tests.support.nodes import CT, MR_IMPLICIT, PATIENT, SCU, at, scp

UID = "1.2.3.4"
CLASS = Printer
QUERY = {"PatientID": "", "StudyInstanceUID": UID}
STUDIES = {"model": StudyRoot, "level": "STUDY"}
INSTANCE = {"sop_class": CLASS, "instance_uid": UID}
CONTEXTS = [
    Verification,
    CTImageStorage,
    Context(CLASS, scu=True, scp=True),
    ModalityPerformedProcedureStep,
    *for_retrieve(StudyRoot)[:60],
]


def match(number: int) -> Dataset:
    """Make the answer to a query."""
    found = Dataset()
    found.PatientID = str(number)
    return found


def printer() -> Dataset:
    """Make the attributes of an instance."""
    attributes = Dataset()
    attributes.PrinterStatus = "NORMAL"
    return attributes


@dataclass(frozen=True)
class Case:
    """One service: its handler, what the handler gives, the call, and what has to come of it."""

    handler: str
    gives: Callable[[Any], Any]
    call: Callable[[Any, list[Any]], Any]
    expected: Callable[[Any], bool]
    many: bool = False
    classes: tuple[Any, ...] = ()


def endless(_request: Any) -> Any:
    """Give more matches than anybody waits for."""
    return (match(number) for number in range(10**9))


CASES = {
    "C-ECHO": Case("c_echo", lambda r: None, lambda a, _: a.c_echo(), lambda s: s == 0),
    "C-STORE": Case("c_store", lambda r: 0xB000, lambda a, _: a.c_store(CT), lambda s: s == 0xB000),
    "C-FIND": Case(
        "c_find",
        lambda r: [match(0), match(1)],
        lambda a, _: a.c_find(QUERY, **STUDIES),
        lambda found: [m.PatientID for m in found] == ["0", "1"],
        many=True,
        classes=(StudyRoot,),
    ),
    "C-GET": Case(
        "c_get",
        lambda r: [CT, MR_IMPLICIT],
        lambda a, received: a.c_get(QUERY, into=received, **STUDIES),
        lambda steps: (steps[-1].status, steps[-1].completed) == (0, 2),
        many=True,
        classes=(StudyRoot,),
    ),
    "C-MOVE": Case(
        "c_move",
        lambda r: [CT, MR_IMPLICIT],
        lambda a, _: a.c_move(QUERY, destination="THERE", **STUDIES),
        lambda steps: (steps[-1].status, steps[-1].completed) == (0, 2),
        many=True,
        classes=(StudyRoot,),
    ),
    "C-CANCEL": Case(
        "c_find",
        endless,
        lambda a, _: a.c_find(QUERY, **STUDIES),
        lambda found: 3 <= len(found) < 10**6,
        many=True,
        classes=(StudyRoot,),
    ),
    "N-EVENT-REPORT": Case(
        "n_event_report",
        lambda r: None if r.event_type == 2 else 0x0113,
        lambda a, _: a.n_event_report(2, {"PrinterName": "x"}, **INSTANCE),
        lambda response: response.status == 0,
    ),
    "N-GET": Case(
        "n_get",
        lambda r: printer() if r.attributes == (0x21100010,) else 0x0107,
        lambda a, _: a.n_get(["PrinterStatus"], **INSTANCE),
        lambda response: response.dataset.PrinterStatus == "NORMAL",
    ),
    "N-SET": Case(
        "n_set",
        lambda r: r.modifications,
        lambda a, _: a.n_set({"PrinterName": "x"}, **INSTANCE),
        lambda response: response.dataset.PrinterName == "x",
        classes=(CLASS,),
    ),
    "N-ACTION": Case(
        "n_action",
        lambda r: (0, r.dataset),
        lambda a, _: a.n_action(7, {"PrinterName": "x"}, **INSTANCE),
        lambda response: response.action_type == 7 and response.dataset.PrinterName == "x",
        classes=(CLASS,),
    ),
    "N-CREATE": Case(
        "n_create",
        lambda r: r.dataset,
        lambda a, _: a.n_create({"PatientID": "x"}, sop_class=ModalityPerformedProcedureStep),
        lambda response: response.instance_uid.startswith("2.25."),
    ),
    "N-DELETE": Case(
        "n_delete",
        lambda r: None if r.instance_uid == UID else 0x0112,
        lambda a, _: a.n_delete(**INSTANCE),
        lambda response: response.status == 0,
        classes=(CLASS,),
    ),
}


def loop_handler(case: Case) -> Callable[[Any], Any]:
    """Give what an `AsyncServer` calls."""
    if case.gives is endless or case.handler == "c_find":

        async def find(request: Any) -> Any:
            for found in case.gives(request):
                await asyncio.sleep(0)
                yield found

        return find

    async def handle(request: Any) -> Any:
        await asyncio.sleep(0)
        return case.gives(request)

    return handle


def performing(loop: bool, case: Case, there: Server) -> Any:
    """Make the server that performs, not started."""
    kind = AsyncServer if loop else Server
    server = kind(
        AE("SCP", timeouts=PATIENT), port=0, destinations={"THERE": f"127.0.0.1:{there.port}"}
    )
    decorate = getattr(server, case.handler)
    handler = loop_handler(case) if loop else case.gives
    (decorate(*case.classes) if case.classes else decorate)(handler)
    return server


def invoke(server: Any, name: str, case: Case) -> Any:
    """Do it, blocking."""
    with SCU.associate(at(server), contexts=CONTEXTS) as association:
        outcome = case.call(association, [])
        if not case.many:
            return outcome
        taken = []
        for value in outcome:
            taken.append(value)
            if name == "C-CANCEL" and len(taken) == 3:
                outcome.cancel()
        assert name != "C-CANCEL" or outcome.status == 0xFE00
        return taken


async def invoke_on_loop(server: Any, name: str, case: Case) -> Any:
    """Do it on an event loop."""
    async with SCU.associate_async(at(server), contexts=CONTEXTS) as association:
        outcome = case.call(association, [])
        if not case.many:
            return await outcome
        taken = []
        async for value in outcome:
            taken.append(value)
            if name == "C-CANCEL" and len(taken) == 3:
                outcome.cancel()
        assert name != "C-CANCEL" or outcome.status == 0xFE00
        return taken


@pytest.mark.parametrize("performer", ["blocking", "asyncio"])
@pytest.mark.parametrize("invoker", ["blocking", "asyncio"])
@pytest.mark.parametrize("name", CASES)
def test_service(name, invoker, performer, tmp_path):
    case = CASES[name]

    async def main(server):
        async with server:
            if invoker == "blocking":
                return await asyncio.to_thread(invoke, server, name, case)
            return await invoke_on_loop(server, name, case)

    with scp(tmp_path, any_called=True) as there:
        server = performing(performer == "asyncio", case, there)
        if performer == "asyncio":
            outcome = asyncio.run(main(server))
        else:
            with server:
                if invoker == "blocking":
                    outcome = invoke(server, name, case)
                else:
                    outcome = asyncio.run(invoke_on_loop(server, name, case))
    assert case.expected(outcome), outcome
