"""Every negotiation item between us and pynetdicom, both ways; user identity from DCMTK too."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dimse_rs import (
    AE,
    AssociationRejected,
    Context,
    CTImageStorage,
    Jwt,
    Kerberos,
    Proposal,
    QueryRetrieveOptions,
    Saml,
    Server,
    Supported,
    UserIdentity,
    Username,
    UsernamePasscode,
    Verification,
    any_storage,
)
from dimse_rs.sop_class import StudyRootQueryRetrieveInformationModelFind as StudyFind
from tests.data.files import SAMPLES
from tests.interop.conftest import Matrix
from tests.peers.scu import DCMTK_ENV, HERE
from tests.support.process import LOOPBACK, Process, run

PRIVATE = "1.3.6.1.4.1.99999.1"
SCU = AE("SCU")

IDENTITIES: list[UserIdentity] = [
    Username("bob", response_requested=True),
    UsernamePasscode("bob", "pass", response_requested=True, in_clear=True),
    Kerberos(b"\x00ticket", response_requested=True),
    Saml("<assertion/>", response_requested=True),
    Jwt("a.b.c", response_requested=True),
]
BY_NAME = pytest.mark.parametrize("identity", IDENTITIES, ids=lambda one: type(one).__name__)


class Acceptor:
    """pynetdicom's acceptor: where it is, and what it saw."""

    def __init__(self, process: Process, port: int) -> None:
        """Keep where it is."""
        self._process = process
        self._seen = 0
        self.address = f"NEGOTIATOR@{LOOPBACK}:{port}"

    def asked(self) -> dict[str, Any]:
        """Wait for what it tells of the next association."""
        self._seen += 1
        told: list[str] = []

        def wanted(line: str) -> bool:
            told.append(line) if '"asked"' in line else None
            return len(told) == self._seen

        facts: dict[str, Any] = json.loads(self._process.wait_for_line(wanted))
        return facts


@contextmanager
def pynetdicom(need: Callable[..., None], *arguments: str) -> Iterator[Acceptor]:
    """Run the acceptor."""
    need("module:pynetdicom")
    argv = [sys.executable, str(HERE / "pynetdicom_negotiator.py"), *arguments]
    with Process(argv) as process:
        line = process.wait_for_line(lambda line: '"listening"' in line)
        yield Acceptor(process, json.loads(line)["port"])


@pytest.fixture(scope="module")
def acceptor(request: pytest.FixtureRequest) -> Iterator[Acceptor]:
    """Run an acceptor that believes everybody."""
    with pynetdicom(request.getfixturevalue("need"), "yes", b"server's".hex()) as running:
        yield running


# ---- we ask pynetdicom


@BY_NAME
def test_pynetdicom_verifies_us(identity: UserIdentity, acceptor: Acceptor, matrix: Matrix) -> None:
    """It answers types 3 to 5 alone, whatever the standard says of the others."""
    with SCU.associate(acceptor.address, identity=identity) as association:
        assert association.c_echo() == 0
        assert association.identity_response == (b"server's" if identity.type > 2 else None)
    sent = identity.fields
    wanted = [sent.type, sent.primary.hex(), sent.secondary.hex()]
    assert acceptor.asked()["identity"] == wanted
    matrix.add("dimse", "pynetdicom", "user identity", type(identity).__name__, "verified")


@BY_NAME
def test_pynetdicom_refuses_us(identity: UserIdentity, need: Callable[..., None]) -> None:
    """It calls that transient."""
    with pynetdicom(need, "no") as acceptor:
        with pytest.raises(AssociationRejected) as caught:
            SCU.associate(acceptor.address, identity=identity)
        assert (caught.value.source, caught.value.reason) == (2, 1)


def test_pynetdicom_reads_our_items(acceptor: Acceptor, matrix: Matrix) -> None:
    """Roles, extended and common extended negotiation, and the window, in one proposal."""
    offer = QueryRetrieveOptions(relational=True, fuzzy_names=True)
    contexts = [
        StudyFind,
        Context(CTImageStorage, scp=True),
        Context(PRIVATE, related=[CTImageStorage]),
    ]
    with SCU.associate(
        acceptor.address,
        contexts=contexts,
        extended={StudyFind: offer},
        max_ops_invoked=8,
        max_ops_performed=3,
    ) as association:
        assert association.extended == {StudyFind: QueryRetrieveOptions(relational=True)}
        assert association.window == (1, 1)
        roles = {context.sop_class: (context.scu, context.scp) for context in association.accepted}
        assert roles == {StudyFind: (True, False), CTImageStorage: (True, True)}
        assert [context.sop_class for context in association.rejected] == [PRIVATE]
    asked = acceptor.asked()
    assert asked["extended"] == {StudyFind: "010001"}
    assert asked["common"] == {PRIVATE: ["1.2.840.10008.4.2", [str(CTImageStorage)]]}
    assert asked["window"] == [8, 3]
    assert asked["roles"] == {CTImageStorage: [True, True]}
    matrix.add("dimse", "pynetdicom", "all items", "-", "understood")


# ---- pynetdicom asks us


@contextmanager
def ours(**options: Any) -> Iterator[tuple[Server, list[Proposal]]]:
    """Run a server of ours that keeps what was proposed."""
    seen: list[Proposal] = []

    def accept(proposal: Proposal) -> bool:
        seen.append(proposal)
        return True

    with Server(AE("SCP"), port=0, accept=accept, passcode_in_clear=True, **options) as server:
        yield server, seen


def their_identity(identity: UserIdentity) -> Any:
    """Say it in pynetdicom's words."""
    from pynetdicom.pdu_primitives import UserIdentityNegotiation

    item = UserIdentityNegotiation()
    sent = identity.fields
    item.positive_response_requested = sent.response_requested
    item.user_identity_type, item.primary_field = sent.type, sent.primary
    if sent.secondary:
        item.secondary_field = sent.secondary
    return item


def associate(server: Server, items: list[Any], *contexts: str) -> Any:
    """Have pynetdicom ask us."""
    import pynetdicom as theirs

    ae = theirs.AE("PYNETDICOM")
    for uid in contexts or (Verification,):
        ae.add_requested_context(uid)
    return ae.associate(LOOPBACK, server.port, ae_title="SCP", ext_neg=items)


@BY_NAME
def test_we_verify_pynetdicom(
    identity: UserIdentity, need: Callable[..., None], matrix: Matrix
) -> None:
    """The answer is there for every type, empty for names."""
    need("module:pynetdicom")
    with ours(verify_identity=lambda proposal: b"ours") as (server, seen):
        association = associate(server, [their_identity(identity)])
        assert association.is_established
        response = association.acceptor.user_identity
        assert response is not None
        assert response.server_response == (b"ours" if identity.type > 2 else b"")
        assert association.send_c_echo().Status == 0
        association.release()
    assert seen[0].identity == identity
    matrix.add("pynetdicom", "dimse", "user identity", type(identity).__name__, "verified")


@BY_NAME
def test_we_refuse_pynetdicom(identity: UserIdentity, need: Callable[..., None]) -> None:
    """Permanently, by ACSE (PS3.7 D.3.3.7.3)."""
    need("module:pynetdicom")
    with ours(verify_identity=lambda proposal: False) as (server, _):
        association = associate(server, [their_identity(identity)])
        assert association.is_rejected
        answer = association.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == (1, 2, 1)


def test_we_read_pynetdicoms_items(need: Callable[..., None], matrix: Matrix) -> None:
    """Roles, extended and common extended negotiation, and the window."""
    need("module:pynetdicom")
    from pynetdicom import build_role
    from pynetdicom.pdu_primitives import (
        AsynchronousOperationsWindowNegotiation,
        SOPClassCommonExtendedNegotiation,
        SOPClassExtendedNegotiation,
    )

    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = 8
    window.maximum_number_operations_performed = 1
    options = SOPClassExtendedNegotiation()
    options.sop_class_uid = StudyFind
    options.service_class_application_information = bytes([1, 0, 1, 1])
    common = SOPClassCommonExtendedNegotiation()
    common.sop_class_uid = PRIVATE
    common.service_class_uid = "1.2.840.10008.4.2"
    common.related_general_sop_class_identification = [str(CTImageStorage)]
    role = build_role(CTImageStorage, scu_role=True, scp_role=True)
    with ours(
        max_ops_performed=5,
        extended={StudyFind: QueryRetrieveOptions(relational=True, timezone=True)},
        supported=[
            Supported(CTImageStorage, scp=True),
            Supported(StudyFind),
            Supported(lambda uid: uid == PRIVATE),
        ],
    ) as (server, seen):
        items = [window, options, common, role]
        association = associate(server, items, StudyFind, CTImageStorage, PRIVATE)
        assert association.is_established
        accepted = {
            str(context.abstract_syntax): (context.as_scu, context.as_scp)
            for context in association.accepted_contexts
        }
        assert accepted == {
            StudyFind: (True, False),
            CTImageStorage: (True, True),
            PRIVATE: (True, False),
        }
        assert association.acceptor.asynchronous_operations == (5, 1)
        assert association.acceptor.sop_class_extended == {StudyFind: bytes([1, 0, 0, 1])}
        association.release()
    [proposal] = seen
    assert proposal.extended == {
        StudyFind: QueryRetrieveOptions(relational=True, fuzzy_names=True, timezone=True)
    }
    by_class = {context.sop_class: context for context in proposal.contexts}
    assert by_class[PRIVATE].related == (CTImageStorage,)
    assert by_class[CTImageStorage].scp
    matrix.add("pynetdicom", "dimse", "all items", "-", "understood")


# ---- DCMTK asks us: its storescu alone can say who it is


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-usr", "bob"], Username("bob")),
        (["-usr", "bob", "-pwd", "pass"], UsernamePasscode("bob", "pass")),
        (["-usr", "bob", "-epw"], UsernamePasscode("bob", "")),
        (["-kt", "FILE"], Kerberos(b"from a file")),
        (["--saml", "FILE"], Saml("from a file")),
        (["--jwt", "FILE"], Jwt("from a file")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
@pytest.mark.parametrize("verdict", [True, False], ids=["verified", "refused"])
def test_we_verify_dcmtk(
    options: list[str],
    expected: UserIdentity,
    verdict: bool,
    tmp_path: Any,
    need: Callable[..., None],
    matrix: Matrix,
) -> None:
    """What it says is what we see, and our no is heard."""
    need("storescu")
    file = tmp_path / "identity"
    file.write_bytes(b"from a file")
    options = [str(file) if option == "FILE" else option for option in options]
    with ours(verify_identity=lambda proposal: verdict, supported=[Supported(any_storage)]) as (
        server,
        seen,
    ):
        argv = ["storescu", "-v", *options, "-rsp", "-aec", "SCP", LOOPBACK, str(server.port)]
        done = run([*argv, str(SAMPLES[0].path)], env=DCMTK_ENV)
    assert seen[0].identity is not None
    assert type(seen[0].identity) is type(expected)
    came, sent = seen[0].identity.fields, expected.fields
    assert (came.primary, came.secondary) == (sent.primary, sent.secondary)
    said = done.stdout + done.stderr
    assert ("Association Accepted" in said) is verdict, said
    assert ("Rejected" in said) is not verdict, said
    if verdict:
        matrix.add("DCMTK", "dimse", "user identity", type(expected).__name__, "verified")
