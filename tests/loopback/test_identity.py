"""User identity, verified by the acceptor; and other functions that decide on proposals."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time

import pytest

from dimse_rs import (
    AE,
    AssociationRejected,
    AsyncServer,
    CTImageStorage,
    Jwt,
    Kerberos,
    LocalProtocolError,
    Passcodes,
    Saml,
    Server,
    Timeouts,
    Username,
    UsernamePasscode,
    Verification,
    _core,
    hash_passcode,
)
from tests.support import wire
from tests.support.nodes import CT, PATIENT, SCU, at, link, scp, until_idle

ALL = [
    Username("bob"),
    UsernamePasscode("bob", "s3cret", in_clear=True),
    Kerberos(b"\x00s3cret"),
    Saml("<s3cret/>"),
    Jwt("s3cret.s3cret.s3cret"),
]


def asking(identity):
    """Give the same identity with a positive response requested."""
    kind, primary, secondary = type(identity), *(*identity._values(), "")[:2]
    if kind is UsernamePasscode:
        return kind(primary, secondary, response_requested=True, in_clear=True)
    return kind(primary, response_requested=True)


def codes(server, **options):
    with pytest.raises(AssociationRejected) as caught:
        SCU.associate(at(server), **options)
    return caught.value.result, caught.value.source, caught.value.reason


def lines(caplog, code):
    return [record for record in caplog.records if getattr(record, "code", "") == code]


@pytest.mark.parametrize("identity", ALL, ids=lambda identity: type(identity).__name__)
@pytest.mark.parametrize("response", [False, True], ids=["unasked", "asked"])
def test_the_verifier_sees_what_was_said(identity, response):
    if response:
        identity = asking(identity)
    seen = []

    def verify(proposal):
        seen.append(proposal)
        return b"the server's"

    server = scp(verify_identity=verify, passcode_in_clear=True)
    with link(server, identity=identity) as association:
        assert association.c_echo() == 0
        assert association.identity == identity
        has_response = identity.type >= 3
        answer = b"the server's" if has_response else b""
        assert association.identity_response == (answer if response else None)
    [proposal] = seen
    assert proposal.identity == identity
    assert (proposal.calling, proposal.called) == ("SCU", "SCP")
    assert proposal.peer.host == "127.0.0.1"
    assert [context.sop_class for context in proposal.contexts] == [Verification]


def test_a_verified_name_is_answered_with_nothing_but_the_item():
    with link(scp(verify_identity=lambda proposal: True), identity=asking(ALL[0])) as association:
        assert association.identity_response == b""


@pytest.mark.parametrize("identity", ALL, ids=lambda identity: type(identity).__name__)
def test_what_is_not_verified_is_rejected_for_good_by_acse(identity, caplog):
    """PS3.7 D.3.3.7.3: permanent, and the source is 2."""
    with scp(verify_identity=lambda proposal: False, passcode_in_clear=True) as server:
        events = server.events()
        assert codes(server, identity=identity) == (1, 2, 1)
        SCU.associate(at(server)).release()  # who says nothing is let in
    [line] = lines(caplog, "user-identity")
    assert f"type {identity.type}" in line.getMessage()
    assert "bob" not in caplog.text
    assert "s3cret" not in caplog.text
    [event] = [event for event in events if event["event"] == "rejected"]
    assert event["code"] == "user-identity"


@pytest.mark.parametrize(
    "verify",
    [
        lambda proposal: 1 // 0,
        lambda proposal: None,
        lambda proposal: "yes",
        lambda proposal: proposal.identity,
    ],
    ids=["raises", "none", "text", "object"],
)
def test_a_verifier_that_fails_verifies_nobody(verify, caplog):
    caplog.set_level(logging.DEBUG)
    with scp(verify_identity=verify, passcode_in_clear=True) as server:
        assert codes(server, identity=ALL[1]) == (1, 2, 1)
        SCU.associate(at(server)).release()
    first, second = lines(caplog, "user-identity")
    assert first.exc_info or second.exc_info
    assert "s3cret" not in caplog.text


def test_without_a_verifier_everybody_is_let_in_and_told_nothing(caplog):
    for identity in ALL:
        with link(scp(), identity=identity) as association:
            assert association.identity_response is None
    assert not lines(caplog, "identity-unanswered")
    with link(scp(), identity=asking(ALL[0])) as association:
        assert association.identity_response is None
    assert lines(caplog, "identity-unanswered")


def test_who_has_to_say_who_it_is(caplog):
    server = scp(verify_identity=lambda proposal: True, require_identity=True)
    with server:
        assert codes(server) == (1, 2, 1)
        SCU.associate(at(server), identity=ALL[0]).release()
    [line] = lines(caplog, "no-user-identity")
    assert "require_identity" in line.getMessage()


@pytest.mark.parametrize(
    "policy", [{"verify_identity": lambda proposal: True}, {"require_identity": True}]
)
def test_a_passcode_in_clear_is_refused_where_identities_count(policy, caplog):
    with scp(**policy) as server:
        assert codes(server, identity=ALL[1]) == (1, 2, 1)
        SCU.associate(at(server), identity=ALL[0]).release()
    [line] = lines(caplog, "passcode-in-clear")
    assert "passcode_in_clear" in line.getMessage()
    assert "s3cret" not in caplog.text


def test_a_passcode_is_not_sent_in_clear_unless_told_so():
    identity = UsernamePasscode("bob", "s3cret")
    with scp() as server:
        events = server.events("associated", "connected")
        with pytest.raises(LocalProtocolError, match="without TLS") as caught:
            SCU.associate(at(server), identity=identity)
        assert "in_clear" in caught.value.hint
        with pytest.raises(LocalProtocolError):
            SCU.send(at(server), [CT], identity=identity)
        with pytest.raises(LocalProtocolError):
            SCU.associate_async(at(server), identity=identity)
    assert list(events) == []


def test_handlers_see_who_asks():
    server = scp()
    seen = []
    server.c_echo(lambda request: seen.append(request.association.identity))
    with link(server, identity=Username("bob")) as association:
        association.c_echo()
    assert seen == [Username("bob")]


def test_a_slow_verifier_holds_up_nobody_else():
    begun, go = threading.Event(), threading.Event()

    def verify(proposal):
        if proposal.identity == Username("slow"):
            begun.set()
            assert go.wait(20)
        return True

    with scp(verify_identity=verify) as server:
        slow = []
        thread = threading.Thread(
            target=lambda: slow.append(SCU.associate(at(server), identity=Username("slow")))
        )
        thread.start()
        assert begun.wait(10)
        for identity in (None, Username("quick")):
            with SCU.associate(at(server), identity=identity) as association:
                assert association.c_echo() == 0
        assert not slow
        go.set()
        thread.join(10)
        with slow[0] as association:
            assert association.c_echo() == 0


def test_no_word_in_time_is_a_transient_rejection(caplog):
    go = threading.Event()
    server = scp(
        verify_identity=lambda proposal: go.wait(20),
        timeouts=Timeouts(acse=0.3),
    )
    with server:
        began = time.monotonic()
        assert codes(server, identity=Username("bob")) == (2, 3, 1)
        assert 0.25 < time.monotonic() - began < 5
        SCU.associate(at(server)).release()
        go.set()  # the late word is heard by nobody
        SCU.associate(at(server), identity=Username("bob")).release()
    [line] = lines(caplog, "undecided")
    assert "Timeouts.acse" in line.getMessage()


def test_a_requestor_that_gives_up_is_forgotten():
    begun, go = threading.Event(), threading.Event()

    def verify(proposal):
        begun.set()
        return go.wait(20)

    with scp(verify_identity=verify, max_associations=1) as server:
        impatient = AE("SCU", timeouts=Timeouts(acse=0.2))
        with pytest.raises(TimeoutError):
            impatient.associate(at(server), identity=Username("bob"))
        assert begun.is_set()
        until_idle(server)  # its place is free once the server has seen it go
        SCU.associate(at(server)).release()
        go.set()


def test_a_server_that_stops_does_not_wait_for_a_verifier():
    begun, go = threading.Event(), threading.Event()

    def verify(proposal):
        begun.set()
        return go.wait(20)

    server = scp(verify_identity=verify)
    server.start()
    failure = []

    def ask():
        try:
            SCU.associate(at(server), identity=Username("bob"))
        except Exception as error:
            failure.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert begun.wait(10)
    began = time.monotonic()
    server.stop(grace=0.2)
    assert time.monotonic() - began < 5
    thread.join(10)
    assert failure
    go.set()


# ---- a predicate on the whole proposal


def test_accept_sees_the_proposal_and_decides():
    seen = []

    def accept(proposal):
        seen.append(proposal)
        return proposal.calling != "STRANGER"

    with scp(accept=accept) as server:
        SCU.associate(at(server), contexts=[Verification, CTImageStorage]).release()
        with pytest.raises(AssociationRejected) as caught:
            AE("STRANGER", timeouts=PATIENT).associate(at(server))
    error = caught.value
    assert (error.result, error.source, error.reason) == (1, 1, 1)
    assert [c.sop_class for c in seen[0].contexts] == [Verification, CTImageStorage]
    assert seen[0].identity is None


@pytest.mark.parametrize("server", [Server, AsyncServer])
def test_a_proposal_says_what_the_requestor_is(server):
    ours, seen = _core.implementation(), []
    node = server(AE("SCP", timeouts=PATIENT), port=0, accept=lambda one: seen.append(one) or True)

    def ask():
        AE("SCU", timeouts=PATIENT, max_pdu=20000).associate(at(node)).release()
        version = wire.item(0x55, b"ODD\nNAME")
        for user in (wire.user_information(version, max_length=0), wire.item(0x50, b"")):
            items = wire.item(0x10, wire.APPLICATION_CONTEXT), wire.context(1), user
            with socket.create_connection(("127.0.0.1", node.port), 15) as peer:
                peer.settimeout(15)
                peer.sendall(wire.associate_rq(b"SCP", *items))
                assert peer.recv(1) == b"\x02"

    async def serve():
        async with node:
            await call(ask)

    if server is AsyncServer:
        asyncio.run(serve())
    else:
        with node:
            ask()
    assert [
        (one.implementation_class_uid, one.implementation_version, one.max_length) for one in seen
    ] == [
        (ours.class_uid, ours.version, 20000),
        ("1.2.3.4", "ODD\\nNAME", 0),
        ("", "", 16384),
    ]


def test_accept_rejects_in_its_own_words(caplog):
    def accept(proposal):
        raise AssociationRejected(2, 3, 1)

    with scp(accept=accept) as server:
        assert codes(server) == (2, 3, 1)
    assert lines(caplog, "not-let-in")
    assert not any(record.exc_info for record in caplog.records)


def test_accept_that_fails_lets_nobody_in(caplog):
    with scp(accept=lambda proposal: 1 // 0) as server:
        assert codes(server) == (1, 1, 1)
    assert any(record.exc_info for record in lines(caplog, "not-let-in"))


def test_accept_goes_before_the_verifier_and_settings_before_both():
    asked = []
    server = scp(
        accept=lambda proposal: asked.append("accept"),
        verify_identity=lambda proposal: asked.append("verify"),
        calling=["SCU"],
    )
    with server:
        assert codes(server, identity=Username("bob")) == (1, 1, 1)
        with pytest.raises(AssociationRejected):
            AE("OTHER").associate(at(server), identity=Username("bob"))
    assert asked == ["accept"]


async def call(function, *arguments, **options):
    """Wait for a blocking call without holding up the loop."""
    return await asyncio.to_thread(function, *arguments, **options)


def test_on_an_event_loop_functions_may_be_async(caplog):
    seen = []

    async def accept(proposal):
        await asyncio.sleep(0)
        return proposal.calling == "SCU"

    async def verify(proposal):
        seen.append(threading.current_thread())
        return await asyncio.sleep(0, b"ticket")

    async def main():
        server = AsyncServer(AE("SCP"), port=0, accept=accept, verify_identity=verify)
        async with server:
            identity = Kerberos(b"x", response_requested=True)
            association = await call(SCU.associate, at(server), identity=identity)
            assert association.identity_response == b"ticket"
            await call(association.release)
            with pytest.raises(AssociationRejected):
                await call(AE("OTHER").associate, at(server))

    asyncio.run(main())
    assert seen == [threading.current_thread()]


def test_an_async_function_without_a_loop_lets_nobody_in(caplog):
    async def verify(proposal):
        return True

    with scp(verify_identity=verify) as server:
        assert codes(server, identity=Username("bob")) == (1, 2, 1)
    assert "use AsyncServer" in caplog.text


def test_accept_has_to_say_yes_or_no(caplog):
    with scp(accept=lambda proposal: "yes") as server:
        assert codes(server) == (1, 1, 1)
    assert "accept gives bool, not str" in caplog.text


def test_a_flood_of_silent_connections_does_not_evict_who_is_being_verified():
    begun, go = threading.Event(), threading.Event()

    def verify(proposal):
        begun.set()
        return go.wait(20)

    with scp(verify_identity=verify) as server:
        admitted = []
        thread = threading.Thread(
            target=lambda: admitted.append(SCU.associate(at(server), identity=Username("bob")))
        )
        thread.start()
        assert begun.wait(10)
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
        SCU.associate(at(server)).release()  # the flood has been seen
        go.set()
        thread.join(10)
        for connection in silent:
            connection.close()
        with admitted[0] as association:
            assert association.c_echo() == 0


@pytest.mark.slow
def test_many_right_passcodes_at_once_are_all_let_in():
    verify = Passcodes({"bob": hash_passcode("right")}, most_wrong=2)
    said = UsernamePasscode("bob", "right", in_clear=True)
    statuses = []

    def one():
        with SCU.associate(at(server), identity=said) as association:
            statuses.append(association.c_echo())

    with scp(verify_identity=verify, passcode_in_clear=True) as server:
        threads = [threading.Thread(target=one) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert statuses == [0] * 30


def test_a_verifier_may_reject_for_the_moment(caplog):
    def verify(proposal):
        raise AssociationRejected(2, 3, 1)

    full = Passcodes({}, most_waiting=0)
    full._in_check["127.0.0.1"] = 10
    said = UsernamePasscode("bob", "right", in_clear=True)
    for verifier, why in (
        (verify, "rejected by the verify_identity function"),
        (full, "0 identities wait for their turn"),
    ):
        with (
            scp(verify_identity=verifier, passcode_in_clear=True) as server,
            pytest.raises(AssociationRejected) as caught,
        ):
            SCU.associate(at(server), identity=said)
        assert (caught.value.result, caught.value.source, caught.value.reason) == (2, 3, 1)
        assert f"user identity of type 2 not verified: {why}" in caplog.text
