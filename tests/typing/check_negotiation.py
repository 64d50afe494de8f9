"""Checked by mypy and pyright, never run: what users write of negotiation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_type

from dimse_rs import (
    AE,
    PRESETS,
    Allow,
    AsyncServer,
    Context,
    CTImageStorage,
    Kerberos,
    Proposal,
    QueryRetrieveOptions,
    Server,
    SOPClass,
    Storage,
    StorageOptions,
    StudyRoot,
    Supported,
    UserIdentity,
    Username,
    any_storage,
)


def verify(proposal: Proposal) -> bool | bytes:
    match proposal.identity:
        case Username(name):
            assert_type(name, str)
            return name == "bob"
        case Kerberos(ticket):
            assert_type(ticket, bytes)
            return ticket
    return False


def answer(
    sop_class: SOPClass, offered: StorageOptions | QueryRetrieveOptions | bytes
) -> StorageOptions | QueryRetrieveOptions | bytes | None:
    return offered if sop_class.is_storage else None


server = Server(
    services=[Storage("in", unknown=lambda uid: uid.startswith("1.3."))],
    verify_identity=verify,
    accept=lambda proposal: proposal.calling != "X",
    extended={StudyRoot: QueryRetrieveOptions(relational=True), CTImageStorage: answer},
    supported=[Supported(any_storage), Supported(StudyRoot, own_order=True)],
)
Server(extended=answer)
Server(verify_identity=lambda proposal: "yes")  # type: ignore[arg-type,return-value]


async def admit(proposal: Proposal) -> bool:
    return proposal.calling != "X"


async def entry(proposal: Proposal) -> Allow | None:
    return None


AsyncServer(
    services=[Storage("in")],
    allow=entry,
    accept=admit,
    verify_identity=verify,
    extended={StudyRoot: QueryRetrieveOptions(relational=True), CTImageStorage: answer},
)
AsyncServer(verify_identity=admit, extended=answer, allow=[Allow(calling="A")])
AsyncServer(accept=entry)  # type: ignore[arg-type]
AsyncServer(verify_identity=lambda proposal: "yes")  # type: ignore[arg-type,return-value]
Server(accept=admit)  # type: ignore[arg-type]
Username(b"bob")  # type: ignore[arg-type]

with AE().associate(
    ("host", 104),
    contexts=[PRESETS["print"], Context("1.2.3", related=[CTImageStorage])],
    identity=Username("bob", response_requested=True),
    extended={StudyRoot: QueryRetrieveOptions(fuzzy_names=True), "1.2.3": b"\x01"},
) as association:
    assert_type(
        association.extended, Mapping[SOPClass, StorageOptions | QueryRetrieveOptions | bytes]
    )
    assert_type(association.identity, UserIdentity | None)
    assert_type(association.identity_response, bytes | None)
