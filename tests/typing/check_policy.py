"""Checked by mypy and pyright, never run: what users write type-checks, and mistakes do not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, assert_type

from dimse_rs import (
    AssociationRejected,
    CTImageStorage,
    JPEG2000Lossless,
    Limits,
    Model,
    Peer,
    SOPClass,
    Status,
    StatusError,
    StudyRoot,
    Timeouts,
    TransferSyntax,
    parse_peer,
)
from dimse_rs.contexts import Context, FileInfo, Plan, expand, for_retrieve, plan
from dimse_rs.datasets import convert, from_bytes, to_bytes
from dimse_rs.status import Category

if TYPE_CHECKING:
    from pydicom import Dataset

assert_type(CTImageStorage, SOPClass)
assert_type(JPEG2000Lossless, TransferSyntax)
assert_type(StudyRoot, Model)
assert_type(StudyRoot.find, SOPClass | None)
uid: str = CTImageStorage

assert_type(Status(0).category, Category)
code: int = Status(0xA700, "storage")

assert_type(expand([CTImageStorage, "1.2.3", StudyRoot, Context("1.2.4")]), tuple[Context, ...])
assert_type(for_retrieve(StudyRoot), tuple[Context, ...])
assert_type(plan([FileInfo(Path("a"), "1.2", "1.3", "1.4")]), list[Plan])
assert_type(parse_peer("PACS@host:104"), Peer)
parse_peer(("host", 104))
Timeouts(connect=1, acse=2.5)
Limits(command=1024)

Timeouts(1)  # type: ignore[call-arg]
Limits(commands=1)  # type: ignore[call-arg]
Context(12)  # type: ignore[arg-type]
parse_peer(104)  # type: ignore[arg-type]


def handle(error: AssociationRejected | StatusError) -> int:
    if isinstance(error, AssociationRejected):
        return error.result
    return assert_type(error.status, Status)


def bridge(dataset: Dataset, path: Path) -> Dataset:
    raw = assert_type(to_bytes(dataset, JPEG2000Lossless), bytes)
    assert_type(convert(path, "1.2.840.10008.1.2"), bytes)
    return from_bytes(memoryview(raw), "1.2.840.10008.1.2")
