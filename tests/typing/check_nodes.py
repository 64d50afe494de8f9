"""Checked by mypy and pyright, never run: programs that send and receive, as users write them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

from pydicom import Dataset

from dimse_rs import (
    AE,
    AcceptedContext,
    Association,
    AsyncAssociation,
    AsyncServer,
    Context,
    CTImageStorage,
    DimseError,
    DimseTimeout,
    Event,
    Events,
    Limits,
    MRImageStorage,
    Peer,
    RejectedContext,
    Request,
    Response,
    SendReport,
    SendResult,
    Server,
    ServerSettings,
    SOPClass,
    Status,
    StatusError,
    Storage,
    StoredInstance,
    StoredValue,
    StoreRequest,
    StudyRoot,
    Timeouts,
    TransferSyntax,
    Verification,
    for_retrieve,
)

ae = AE("MYAE", timeouts=Timeouts(dimse=30), limits=Limits(operations=8), max_pdu=65536)
AE()
AE("A", Timeouts())  # type: ignore[call-arg]
ae.title = "OTHER"  # type: ignore[misc]


def verify() -> Status:
    with ae.associate("PACS@10.1.2.3:11112") as association:
        assert_type(association, Association)
        assert_type(association.accepted, tuple[AcceptedContext, ...])
        assert_type(association.rejected, tuple[RejectedContext, ...])
        assert_type(association.accepted[0].transfer_syntax, TransferSyntax)
        assert_type(association.peer, Peer)
        assert_type(association.window, tuple[int, int])
        assert_type(association.is_established, bool)
        return association.c_echo()


def store(dataset: Dataset, path: Path) -> None:
    with ae.associate(
        ("10.1.2.3", 104),
        contexts=[Verification, Context(CTImageStorage), "1.2.3", for_retrieve(StudyRoot)],
        called="PACS",
    ) as association:
        assert_type(association.c_store(path), Status)
        association.c_store("slice.dcm", priority=1)
        association.c_store(dataset)
        association.c_store(path.read_bytes())
        association.c_store(memoryview(b""))
        association.c_store(io.BytesIO(b""))
        with path.open("rb") as file:
            association.c_store(file)
        association.c_store(12)  # type: ignore[arg-type]
    ae.associate(12)  # type: ignore[arg-type]
    ae.associate(("h", 104))
    ae.associate(("h", 104, "A"))
    ae.associate(("h", "104"))  # type: ignore[arg-type]
    ae.add_requested_context("1.2")  # type: ignore[attr-defined]
    ae.associate("A@h:1", contexts=CTImageStorage)
    ae.associate("A@h:1", contexts=[12])  # type: ignore[list-item]


def show(result: SendResult) -> None:
    assert_type(result.path, Path)
    assert_type(result.status, Status | None)
    assert_type(result.error, DimseError | None)
    assert_type(result.ok, bool)


def follow(event: Mapping[str, Any]) -> None:
    print(event["event"])


def send() -> None:
    report = ae.send("A@h:1", ["study/"], associations=2, on_result=show, on_event=follow)
    assert_type(report, SendReport)
    assert_type(report.failures, tuple[SendResult, ...])
    report.raise_for_failures()
    ae.send("A@h:1", Path("study"), on_result=print)
    ae.send("A@h:1", ["study/"], on_result=follow)  # type: ignore[arg-type]


server = Server(ae, port=0, services=[Storage("in/", mode="fast", layout="study")])
Storage("in/", mode="slow")  # type: ignore[arg-type]


def decide(items: list[StoredInstance]) -> None:
    for item in items:
        assert_type(item.path, Path)
        assert_type(item.sop_class, SOPClass)
        assert_type(item.digest, bytes | None)
        assert_type(item.replaces, Path | None)
        assert_type(item.oddities, tuple[str, ...])
        assert_type(item.values[0x00100010], StoredValue)
        assert_type(item.values[0x00100010].data, bytes)
        item.refuse(0xA700, "no room")
        item.size = 3  # type: ignore[misc]


async def decide_later(items: list[StoredInstance]) -> None:
    decide(items)


def decide_one(item: StoredInstance) -> None: ...


Storage("in/", on_stored=decide, on_stored_timeout=5, collect=["PatientID", 0x00091001])
Storage("in/", on_stored=decide_later, digest=True)
Storage("in/", on_stored=decide_one)  # type: ignore[arg-type]


@server.c_echo
def echo(request: Request) -> None:
    print(request.peer.ae_title)


@server.c_store
def everything(request: StoreRequest) -> int:
    assert_type(request.sop_class, SOPClass)
    assert_type(request.path, Path | None)
    assert_type(memoryview(request.data).nbytes, int)
    assert_type(request.dataset.PatientName, Any)
    assert_type(request.save("in/"), Path)
    if request.cancelled:
        raise StatusError(0xA700, "no room")
    return Status(0xB000)


@server.c_store(CTImageStorage, MRImageStorage)
def some(request: StoreRequest) -> None:
    request.association.abort()


@server.c_store(CTImageStorage)
def with_its_association(request: StoreRequest[Association]) -> None:
    assert_type(request.association, Association)


def on_a_loop(request: StoreRequest[AsyncAssociation]) -> None:
    assert_type(request.association, AsyncAssociation)


assert_type(everything(NotImplemented), int)  # a decorated handler stays what it was


@server.c_store  # type: ignore[type-var]
def wrong(request: StoreRequest) -> str:
    return "0"


def serve() -> None:
    with server:
        assert_type(server.port, int)
        assert_type(server.events(timeout=1), Events[Event])
        for event in server.events("stored"):
            if event["event"] != "lost":
                assert_type(event["uid"], str)
                print(event["status"])
                print(event["pdu"])  # type: ignore[typeddict-item]
        server.events("store")  # type: ignore[call-overload]
        server.wait()


def retrieve(association: Association) -> None:
    for found in association.c_find({"PatientID": "1"}, model=StudyRoot, level="STUDY"):
        assert_type(found, Dataset)
    for step in association.c_get({"PatientID": "1"}, model=StudyRoot, level="SERIES", into="in/"):
        assert_type(step, Response)
    association.c_find({"PatientID": "1"}, model=StudyRoot, level="study")  # type: ignore[call-overload]


settings: ServerSettings = {"any_called": True, "max_associations": 8, "called": ["A"]}
Server(ae, "0.0.0.0", 104, **settings)
AsyncServer(ae, "0.0.0.0", 104, **settings)
Server(ae, max_associations="x")  # type: ignore[arg-type]
AsyncServer(ae, max_associations="x")  # type: ignore[arg-type]
AsyncServer(ae, max_handlers="x")  # type: ignore[arg-type]
AsyncServer(ae, require_identity="x")  # type: ignore[arg-type]
AsyncServer(ae, services=[12])  # type: ignore[list-item]
Server(ae, most=1)  # type: ignore[call-arg]
AsyncServer(ae, most=1)  # type: ignore[call-arg]


async def locate(title: str) -> Peer | None:
    return None


AsyncServer(ae, destinations=locate)
AsyncServer(ae, destinations={"A": "A@h:1"})
Server(ae, destinations=locate)  # type: ignore[arg-type]


def explain(error: DimseError) -> str:
    match error:
        case DimseTimeout():
            return error.which
        case StatusError():
            response: Response | None = error.response
            return response.comment if response else error.comment
    return error.hint
