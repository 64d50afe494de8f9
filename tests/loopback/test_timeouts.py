"""Every wait ends at its deadline, and the error names which: against peers that fall silent."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from dimse_rs import (
    AE,
    AssociationAborted,
    CTImageStorage,
    DimseError,
    DimseTimeout,
    RemoteProtocolError,
    Timeouts,
    Verification,
)
from tests.data.generate import series
from tests.support.nodes import CT, SCU, Puppet, at, link, scp

pytestmark = pytest.mark.slow  # waits, or whole interpreters

SHORT = 0.3
LONG_AGO = 8.0


def ae(**timeouts):
    patient = {"connect": 8, "acse": 8, "release": 8, "write": 8, "dimse": 8, "store": 8}
    return AE("SCU", timeouts=Timeouts(**{**patient, **timeouts}))


@contextlib.contextmanager
def times_out(which, seconds=SHORT):
    started = time.monotonic()
    with pytest.raises(DimseTimeout) as caught:
        yield
    taken = time.monotonic() - started
    assert caught.value.which == which
    assert caught.value.seconds == seconds
    assert isinstance(caught.value, TimeoutError)
    assert f"after {seconds:g} s" in str(caught.value)
    assert f"Timeouts.{which}" in str(caught.value)
    assert seconds <= taken < LONG_AGO


def accept(puppet):
    puppet.accept()


def accept_and_hear(puppet):
    puppet.accept()
    puppet.until("command")
    puppet.until("aborted")


def test_connect():
    with contextlib.ExitStack() as sockets:
        full = sockets.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(8):  # as many as the kernel takes: further ones are not answered
            knock = sockets.enter_context(socket.socket())
            knock.setblocking(False)
            knock.connect_ex(full.getsockname())
        with times_out("connect"):
            ae(connect=SHORT).associate(("127.0.0.1", full.getsockname()[1]))


def test_acse():
    with Puppet() as peer, times_out("acse"):
        ae(acse=SHORT).associate(at(peer))


def test_dimse_and_the_peer_is_told():
    with Puppet(accept_and_hear) as peer:
        association = ae(dimse=SHORT).associate(at(peer))
        with times_out("dimse"):
            association.c_echo()
        assert not association.is_established
        with pytest.raises(DimseTimeout):  # what comes later says why
            association.c_echo()
        assert peer.reached.wait(10)


@pytest.mark.parametrize("form", ["path", "data set"])
def test_store(form):
    import pydicom

    with Puppet(accept, [CTImageStorage]) as peer:
        association = ae(store=SHORT).associate(at(peer), contexts=CTImageStorage)
        with times_out("dimse"):
            association.c_store(CT if form == "path" else pydicom.dcmread(CT))


def test_store_of_many():
    with Puppet(accept, [CTImageStorage]) as peer:
        report = ae(store=SHORT).send(at(peer), [CT])
    [result] = report.results
    assert result.category == "failed"  # it left, and nobody knows what became of it
    assert result.error.which == "dimse"


def test_release():
    with Puppet(accept) as peer:
        association = ae(release=SHORT).associate(at(peer))
        with times_out("release"):
            association.release()
        assert not association.is_established


def test_leaving_a_with_block_reports_a_release_that_failed():
    with Puppet(accept) as peer, times_out("release"), ae(release=SHORT).associate(at(peer)):
        pass


def test_write(tmp_path):
    [large] = series(tmp_path, "large", 1, (64, 512, 512))  # more than the kernel buffers
    with Puppet(accept, ["1.2.840.10008.5.1.4.1.1.2.1"]) as peer:
        association = ae(write=SHORT).associate(at(peer), contexts="1.2.840.10008.5.1.4.1.1.2.1")
        with times_out("write"):
            association.c_store(large)


def test_the_rest_of_a_message():
    def begin_a_response(puppet):
        puppet.accept()
        message = puppet.until("command")["message"]
        from dimse_rs import _core

        answer = _core.Message(
            message.context_id,
            {
                "CommandField": 0x8030,
                "AffectedSOPClassUID": Verification,
                "MessageIDBeingRespondedTo": message.message_id,
                "Status": 0,
            },
        )
        puppet.core.send(answer)
        [(_, bytes_)] = puppet.core.outputs()
        puppet.socket.sendall(bytes_[:-10])

    with Puppet(begin_a_response) as peer:
        association = ae(progress=SHORT).associate(at(peer))
        with pytest.raises(RemoteProtocolError, match=r"rest of a message came for 0\.3 s"):
            association.c_echo()


@pytest.mark.slow
def test_idle_ends_a_forgotten_association_from_either_side():
    with scp(timeouts=Timeouts(idle=SHORT)) as server:
        events = server.events()
        association = SCU.associate(at(server))
        ended = next(event for event in events if event["event"] == "error")
        assert "idle" in ended["message"]
        with pytest.raises(AssociationAborted):
            association.c_echo()
    with Puppet(lambda puppet: (puppet.accept(), puppet.until("aborted"))) as peer:
        association = ae(idle=SHORT).associate(at(peer))
        assert peer.reached.wait(10)
        with pytest.raises(DimseTimeout) as caught:
            association.c_echo()
        assert caught.value.which == "idle"


@pytest.mark.slow
def test_idle_does_not_run_while_a_handler_works():
    server = scp(timeouts=Timeouts(idle=SHORT))
    server.c_store(lambda request: time.sleep(4 * SHORT))  # the work itself, not a wait for it
    with link(server, CTImageStorage, ae(idle=SHORT)) as association:
        assert association.c_store(CT) == 0


def test_artim_closes_a_connection_that_says_nothing():
    with (
        scp(timeouts=Timeouts(artim=SHORT)) as server,
        socket.create_connection(("127.0.0.1", server.port), 10) as raw,
    ):
        raw.settimeout(10)
        started = time.monotonic()
        assert raw.recv(100) == b""
        assert time.monotonic() - started >= SHORT / 2


@pytest.mark.slow
def test_zero_is_for_ever():
    server = scp()
    server.c_store(lambda request: time.sleep(2 * SHORT))  # the work itself
    forever = AE(timeouts=Timeouts(**dict.fromkeys(Timeouts.__dataclass_fields__, 0)))
    with link(server, CTImageStorage, forever) as association:
        assert association.c_store(CT) == 0


@pytest.mark.slow
def test_progress_keeps_a_slow_answer_alive():
    """The wait begins anew with every byte: many slow steps are not a timeout."""

    def dribble(puppet):
        puppet.accept()
        message = puppet.until("command")["message"]
        from dimse_rs import _core

        answer = {
            "CommandField": 0x8030,
            "AffectedSOPClassUID": Verification,
            "MessageIDBeingRespondedTo": message.message_id,
            "Status": 0,
        }
        puppet.core.send(_core.Message(message.context_id, answer))
        [(_, bytes_)] = puppet.core.outputs()
        for at_ in range(0, len(bytes_), 10):
            puppet.socket.sendall(bytes_[at_ : at_ + 10])
            time.sleep(SHORT / 4)  # the case is: a response that dribbles
        with contextlib.suppress(AssertionError, OSError, DimseError):
            puppet.until("release-requested")
            puppet.core.release_response()
            puppet.flush()

    with Puppet(dribble) as peer, ae(dimse=SHORT).associate(at(peer)) as association:
        started = time.monotonic()
        assert association.c_echo() == 0
        assert time.monotonic() - started > SHORT
