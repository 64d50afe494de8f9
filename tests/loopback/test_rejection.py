"""Who is let in, and what is said on both sides when somebody is not."""

from __future__ import annotations

import logging
import socket

import pytest

from dimse_rs import (
    AE,
    AssociationAborted,
    AssociationRejected,
    ConnectFailed,
    ConnectionLost,
    CTImageStorage,
    ImplicitVRLittleEndian,
    RemoteProtocolError,
    Verification,
    _core,
)
from tests.support.nodes import PATIENT, SCU, Puppet, at, scp, until_idle


def rejected(address, ae=SCU):
    with pytest.raises(AssociationRejected) as caught:
        ae.associate(address)
    return caught.value


def rejections(records):
    return [record for record in records if "rejected" in record.getMessage()]


def test_another_called_title_is_rejected_with_hints_on_both_sides(caplog):
    with scp() as server:
        events = server.events()
        error = rejected(f"PACS@127.0.0.1:{server.port}")
    assert (error.result, error.source, error.reason) == (1, 1, 7)
    assert "called AE title not recognized" in error.message
    assert (error.called, error.calling) == ("PACS", "SCU")
    assert "'PACS'" in error.hint
    assert "-aec" in error.hint
    [line] = rejections(caplog.records)
    assert line.code == "called-ae-title"
    assert line.levelno == logging.WARNING
    told = line.getMessage()
    assert told.startswith("PACS<-SCU(")
    assert "this node is SCP" in told
    assert "any_called=True" in told
    [event] = [event for event in events if event["event"] == "rejected"]
    assert (event["result"], event["source"], event["reason"]) == (1, 1, 7)
    assert (event["code"], event["calling"], event["called"]) == ("called-ae-title", "SCU", "PACS")
    assert "--any-called" in event["hint"]
    assert "this node is SCP" in event["why"]


def test_any_called_and_further_titles():
    with scp(any_called=True) as server:
        SCU.associate(f"WHATEVER@127.0.0.1:{server.port}").release()
    with scp(called=["ONE", "TWO"]) as server:
        SCU.associate(f"TWO@127.0.0.1:{server.port}").release()
        assert rejected(at(server)).reason == 7
    with pytest.raises(ValueError, match="any_called=True"):
        scp(called=[])


def test_calling_titles():
    with scp(calling=["SCU"]) as server:
        SCU.associate(at(server)).release()
        error = rejected(at(server), AE("STRANGER"))
    assert (error.result, error.source, error.reason) == (1, 1, 3)
    assert "'STRANGER'" in error.hint


def test_one_association_too_many():
    with scp(max_associations=1) as server, SCU.associate(at(server)) as first:
        error = rejected(at(server))
        assert (error.result, error.source, error.reason) == (2, 3, 2)
        assert error.transient
        assert first.c_echo() == 0
        first.release()
        until_idle(server)  # the place is free once the server has seen the connection close
        SCU.associate(at(server)).release()


def test_nothing_accepted_is_an_association_without_contexts():
    with scp() as server, SCU.associate(at(server), contexts=CTImageStorage) as association:
        assert association.accepted == ()
        assert [context.result for context in association.rejected] == [3]


@pytest.mark.parametrize("codes", [(1, 1, 1), (2, 3, 1), (1, 2, 2), (1, 1, 9)])
def test_whatever_the_peer_says_comes_through(codes):
    def reject(puppet):
        puppet.until("associate-requested")
        puppet.core.reject(*codes)
        puppet.flush()

    with Puppet(reject) as peer:
        error = rejected(at(peer))
    assert (error.result, error.source, error.reason) == codes
    assert f"{codes[0]},{codes[1]},{codes[2]}" in str(error)
    assert error.hint


def test_nobody_listens():
    with scp() as server:
        address = at(server)
    with pytest.raises(ConnectFailed) as caught:
        SCU.associate(address)
    assert caught.value.errno
    assert isinstance(caught.value, OSError)
    assert "refused" in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


def test_a_name_that_is_none():
    with pytest.raises(ConnectFailed, match=r"nosuch\.invalid"):
        SCU.associate("PACS@nosuch.invalid:11112")


def test_the_peer_hangs_up_or_aborts_instead_of_answering():
    def hang_up(puppet):
        puppet.until("associate-requested")
        puppet.socket.close()

    def abort(puppet):
        puppet.until("associate-requested")
        puppet.core.abort()
        puppet.flush()

    with Puppet(hang_up) as peer, pytest.raises(ConnectionLost):
        SCU.associate(at(peer))
    with Puppet(abort) as peer, pytest.raises(AssociationAborted):
        SCU.associate(at(peer))


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH\r\n"])
def test_a_peer_that_is_no_dicom_node(answer):
    def speak(puppet):
        puppet.socket.recv(65536)
        puppet.socket.sendall(answer)

    with Puppet(speak) as peer, pytest.raises(RemoteProtocolError):
        SCU.associate(at(peer))


def test_a_title_that_we_would_not_send_is_served(caplog):
    """A peer whose calling title holds a backslash or Latin-1 exists, and is to be answered."""
    server = scp(timeouts=PATIENT)
    seen = []
    server.c_echo(lambda request: seen.append(str(request.peer)))
    with server, socket.create_connection(("127.0.0.1", server.port), 10) as raw:
        raw.settimeout(10)
        client = _core.Connection.requestor(
            calling="A?B",
            called="SCP",
            contexts=[_core.ProposedContext(Verification, [ImplicitVRLittleEndian])],
        )

        def flush(change=lambda data: data):
            told = []
            for what, value in client.outputs():
                if what == "transmit":
                    raw.sendall(change(value))
                elif what == "indicate":
                    told.append(value)
            return told

        client.associate()
        flush()
        client.transport_connected()
        flush(lambda data: data.replace(b"A?B ", b"A\\\xe4 ", 1))
        told = []
        while not told:
            client.receive(raw.recv(65536))
            told = flush()
        assert told[0][0] == "associate-accepted"
        request = {"CommandField": 0x30, "AffectedSOPClassUID": Verification, "MessageID": 7}
        client.send(_core.Message(1, request))
        told = flush()
        while not told:
            client.receive(raw.recv(65536))
            told = flush()
        assert told[0][0] == "command"
        assert told[0][1]["message"].status == 0
    [peer] = seen
    assert peer.isascii()
    assert peer.isprintable()


def test_a_port_that_is_taken_or_no_host():
    with scp() as server:
        other = scp()
        other._bind = ("127.0.0.1", server.port)
        with pytest.raises(OSError, match="in use") as caught:
            other.start()
        assert caught.value.errno
        assert caught.value.filename == f"127.0.0.1:{server.port}"
    other._bind = ("nosuch.invalid", 0)
    with pytest.raises(OSError, match=r"nosuch\.invalid"):
        other.start()
    other._bind = ("::1", 0)
    with other:
        SCU.associate(f"SCP@[::1]:{other.port}").release()
