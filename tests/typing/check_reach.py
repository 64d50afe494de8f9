"""Checked by mypy and pyright, never run: complete studies, sendings, and what is awaited."""

from __future__ import annotations

import io
from pathlib import Path
from threading import Event
from typing import assert_type

from pydicom import Dataset

from dimse_rs import (
    AE,
    RETRYABLE,
    Association,
    AsyncAssociation,
    AsyncServer,
    CommitmentReport,
    DimseError,
    PerformedStep,
    Proposal,
    ReceivedInstance,
    ReceivedStudy,
    Response,
    SendInterrupted,
    SendReport,
    SendResult,
    Server,
    Storage,
    StoreRequest,
    StudyWatcher,
    commit_async,
    notify_availability_async,
    worklist,
    worklist_async,
)

ae = AE()


def studies(server: Server) -> None:
    watcher = StudyWatcher(quiet=60, after_end=5, on_complete=print)
    Storage("in", on_stored=watcher.add)
    assert_type(watcher.follow(server.events("stored", "ended")), StudyWatcher)
    for study in watcher:
        assert_type(study, ReceivedStudy)
        assert_type(study.instances, tuple[ReceivedInstance, ...])
        assert_type(study.paths, tuple[Path, ...])
        assert_type(study.senders, dict[str, int])
    assert_type(watcher.take(), list[ReceivedStudy])
    watcher.add(5)  # type: ignore[arg-type]
    StudyWatcher(quiet="60")  # type: ignore[arg-type]


def request(asked: StoreRequest[Association], watcher: StudyWatcher) -> None:
    watcher.add(asked)
    assert_type(asked.header(["PatientID", 0x0020000D]), Dataset)
    assert_type(asked.part10(), bytes)
    asked.write_to(io.BytesIO())
    asked.write_to("path")  # type: ignore[arg-type]
    assert_type(asked.association.number, int)


def sending(stop: Event) -> None:
    try:
        report = ae.send("A@h:1", "study", retries=3, backoff=lambda n: n * 2.0, cancel=stop)
    except SendInterrupted as interrupted:
        report = interrupted.report
    assert_type(ae.send("A@h:1", report.left, resume=report, backoff=5), SendReport)
    assert_type(report.sent, tuple[SendResult, ...])
    assert_type(report.sent[0].retryable, bool)
    assert_type(RETRYABLE[0], tuple[type[DimseError] | range, str])
    ae.send("A@h:1", "study", cancel=True)  # type: ignore[arg-type]


async def awaited(association: AsyncAssociation, blocking: Association) -> None:
    assert_type(await ae.send_async("A@h:1", "study", retries=1), SendReport)
    assert_type(await worklist_async(association, Modality="CT"), list[Dataset])
    assert_type(await commit_async(ae, "A@h:1", []), CommitmentReport)
    step = await PerformedStep.start_async(association, {})
    assert_type(step, PerformedStep)
    assert_type(await step.complete_async({}), Response)
    assert_type(
        await notify_availability_async(association, "1.2", [], retrieve_ae_title="A"), Response
    )
    await worklist_async(blocking)  # type: ignore[arg-type]
    worklist(association)  # type: ignore[arg-type]
    PerformedStep.start(association, {})  # type: ignore[arg-type]
    async for study in StudyWatcher():
        assert_type(study, ReceivedStudy)


def held(association: Association) -> None: ...


async def held_async(association: AsyncAssociation) -> None: ...


def accept(proposal: Proposal) -> bool:
    assert_type(proposal.max_length, int)
    return proposal.implementation_version.startswith("OFFIS")


def servers() -> None:
    Server(ae, on_release=held, accept=accept)
    AsyncServer(ae, on_release=held_async)
    Server(ae, on_release="held")  # type: ignore[arg-type]
