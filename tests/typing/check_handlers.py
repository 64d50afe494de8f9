"""Checked by mypy and pyright, never run: handlers of each service, right ones and wrong ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

from dimse_rs import (
    AE,
    ActionRequest,
    Association,
    AsyncAssociation,
    AsyncServer,
    AttributesRequest,
    CTImageStorage,
    DatasetRequest,
    EventRequest,
    FindRequest,
    Handlers,
    ModalityPerformedProcedureStep,
    ModalityWorklist,
    Request,
    Retrieve,
    RetrieveRequest,
    Server,
    Status,
    StorageCommitmentPushModel,
    StoreRequest,
    StudyRoot,
    Verification,
)

if TYPE_CHECKING:
    from pydicom import Dataset

server = Server(AE("A"))
loop_server = AsyncServer(AE("A"))
registry = Handlers()


# ---- functions, on a server without an event loop


@server.c_echo
def echo(request: Request) -> None: ...


@server.c_store(CTImageStorage)
def store(request: StoreRequest[Association]) -> Status:
    return Status(0)


@server.c_find(StudyRoot, ModalityWorklist)
def find(request: FindRequest) -> Iterator[dict[str, Any]]:
    yield {"PatientID": request.identifier.PatientID}


@server.c_find
def find_pairs(request: FindRequest) -> Iterator[tuple[int, Dataset]]:
    yield 0xFF01, request.identifier


@server.c_get(StudyRoot)
@server.c_move(StudyRoot)
def retrieve(request: RetrieveRequest) -> Retrieve:
    return Retrieve(1, [Path("a.dcm")])


@server.c_move
def retrieve_some(request: RetrieveRequest) -> list[Path]:
    return []


@server.n_event_report(StorageCommitmentPushModel)
def notified(request: EventRequest) -> None:
    assert_type(request.event_type, int)


@server.n_get
def attributes(request: AttributesRequest) -> dict[str, str]:
    return {}


@server.n_set(ModalityPerformedProcedureStep)
@server.n_create(ModalityPerformedProcedureStep)
def step(request: DatasetRequest) -> tuple[int, Dataset | None]:
    return 0, None


@server.n_action
def act(request: ActionRequest) -> int:
    return request.action_type


@server.n_delete
def delete(request: Request) -> int | None: ...


# A decorated handler stays what it was.
assert_type(echo(NotImplemented), None)
assert_type(retrieve(NotImplemented), Retrieve)

# ---- asynchronous ones, where there is an event loop


@loop_server.c_store
@registry.c_store
async def store_later(request: StoreRequest[AsyncAssociation]) -> int:
    return 0


@loop_server.c_find(StudyRoot)
@registry.c_find
async def find_later(request: FindRequest) -> AsyncIterator[dict[str, str]]:
    yield {"PatientID": "1"}


@loop_server.c_get(StudyRoot)
async def retrieve_later(request: RetrieveRequest) -> Retrieve:
    return Retrieve(0, [])


@loop_server.n_create(ModalityPerformedProcedureStep)
async def step_later(request: DatasetRequest) -> None: ...


loop_server.c_echo(echo)
loop_server.c_find(StudyRoot)(find)

# ---- mistakes


async def too_late(request: StoreRequest) -> int:
    return 0


def text(request: Request) -> str:
    return "0000"


def two(request: StoreRequest, more: int) -> int:
    return more


server.c_store(too_late)  # type: ignore[type-var]
server.c_store(CTImageStorage)(too_late)  # type: ignore[type-var]
server.c_find(StudyRoot)(find_later)  # type: ignore[type-var]
server.c_echo(text)  # type: ignore[type-var]
server.c_store(CTImageStorage)(text)  # type: ignore[type-var]
loop_server.c_store(CTImageStorage)(text)  # type: ignore[type-var]
loop_server.c_store(two)  # type: ignore[type-var]
server.c_find(store)  # type: ignore[type-var]
server.n_action(Verification)(notified)  # type: ignore[type-var]
server.c_store(12)  # type: ignore[call-overload]
