"""How associations and servers begin and end, and what threads and children may do with them."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from dimse_rs import (
    AE,
    AssociationAborted,
    AssociationReleased,
    CTImageStorage,
    DimseError,
    LocalProtocolError,
    Server,
    StatusError,
    Verification,
)
from tests.data.generate import series
from tests.support.nodes import CT, SCU, Puppet, at, link, scp
from tests.support.process import Process

# ---- the end of an association


def heard(until):
    """Make a script that establishes the association and then waits for an indication."""

    def script(puppet):
        puppet.accept()
        puppet.until(until)
        if until == "release-requested":
            puppet.core.release_response()
            puppet.flush()

    return script


def test_leaving_a_with_block_releases():
    with Puppet(heard("release-requested")) as peer:
        with SCU.associate(at(peer)) as association:
            assert association.is_established
        assert not association.is_established
        assert peer.reached.wait(10)


def test_leaving_by_an_exception_with_nothing_outstanding_releases():
    with Puppet(heard("release-requested")) as peer:
        with pytest.raises(ZeroDivisionError), SCU.associate(at(peer)):
            raise ZeroDivisionError
        assert peer.reached.wait(10)


def test_leaving_by_a_status_error_releases():
    server = scp()
    server.c_store(lambda request: 0xA700)
    events = server.events()
    with pytest.raises(StatusError), link(server, CTImageStorage) as association:
        association.c_store(CT)
    assert [event["event"] for event in events] == ["associated", "released"]


def test_leaving_by_an_exception_with_an_operation_outstanding_aborts():
    def script(puppet):
        puppet.accept()
        puppet.until("command")
        puppet.reached.set()
        puppet.until("aborted")

    with Puppet(script) as peer:
        failures = []
        association = SCU.associate(at(peer))

        def call():
            try:
                association.c_echo()
            except DimseError as error:
                failures.append(error)

        other = threading.Thread(target=call)
        other.start()
        assert peer.reached.wait(10)
        with pytest.raises(ZeroDivisionError), association:
            raise ZeroDivisionError
        other.join(10)
        [error] = failures
        assert isinstance(error, AssociationAborted)
        assert error.local


def test_a_released_association_says_so():
    server = scp()
    server.c_store(lambda request: None)
    with server:
        association = SCU.associate(at(server), contexts=[Verification, CTImageStorage])
        association.release()
        association.release()  # harmless
        association.abort()
        with pytest.raises(AssociationReleased):
            association.c_echo()
        with pytest.raises(AssociationReleased):
            association.c_store(CT)
        with association:  # nothing to do any more
            pass


def test_an_aborted_association_says_so_on_both_sides():
    server = scp()
    events = server.events()
    with server:
        association = SCU.associate(at(server))
        association.abort()
        with pytest.raises(AssociationAborted) as caught:
            association.c_echo()
        assert caught.value.local
        with pytest.raises(AssociationAborted):
            association.release()
        ended = next(event for event in events if event["event"] == "error")
    assert ended["code"] == "aborted-by-peer"
    assert ended["calling"] == "SCU"
    assert "aborted" in ended["message"]


def test_an_association_that_is_forgotten_is_aborted():
    with Puppet(heard("aborted")) as peer:
        SCU.associate(at(peer))  # nobody keeps it
        assert peer.reached.wait(10)


def test_the_peer_aborts_while_we_wait():
    def script(puppet):
        puppet.accept()
        puppet.until("command")
        puppet.core.abort()
        puppet.flush()

    with Puppet(script) as peer:
        association = SCU.associate(at(peer))
        with pytest.raises(AssociationAborted) as caught:
            association.c_echo()
        assert not caught.value.local
        assert (caught.value.source, caught.value.reason) == (0, 0)
        assert not association.is_established


# ---- threads


def test_many_threads_share_an_association(tmp_path):
    files = series(tmp_path, "many", 24, (1, 32, 32))
    with link(
        scp(tmp_path / "in", max_ops_performed=4),
        [Verification, CTImageStorage],
        max_ops_invoked=4,
    ) as association:
        assert association.window == (4, 1)
        statuses = []

        def work(part):
            for path in part:
                statuses.append(association.c_store(path))
                statuses.append(association.c_echo())

        threads = [threading.Thread(target=work, args=(files[n::8],)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert statuses == [0] * 48
    assert len(list((tmp_path / "in").glob("*.dcm"))) == 24


def test_many_associations_at_once():
    with scp() as server:
        failures = []

        def work():
            try:
                for _ in range(5):
                    with SCU.associate(at(server)) as association:
                        assert association.c_echo() == 0
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(25)
    assert failures == []


def test_an_ae_is_shared_and_cannot_change():
    ae = AE("SHARED")
    with pytest.raises(AttributeError):
        ae.title = "OTHER"
    assert ae == AE("SHARED")


# ---- the end of a server


def test_stop_ends_idle_associations_and_tells_followers():
    server = scp().start()
    events = server.events()
    association = SCU.associate(at(server))
    started = time.monotonic()
    server.stop()
    assert time.monotonic() - started < 4  # not the grace: nothing was in progress
    with pytest.raises(DimseError):
        association.c_echo()
    assert [event["event"] for event in events] == ["associated", "aborted"]
    server.stop()  # harmless
    with pytest.raises(LocalProtocolError, match="starts once"):
        server.start()


def test_stop_leaves_peers_their_time_to_release():
    server = scp().start()
    events = server.events()
    association = SCU.associate(at(server))
    stop = threading.Thread(target=server.stop, kwargs={"patience": 30})
    stop.start()
    assert server._stopping.wait(10)
    assert association.c_echo() == 0
    association.release()
    stop.join(15)
    assert not stop.is_alive()
    assert [event["event"] for event in events] == ["associated", "released"]


def test_stop_lets_a_request_in_progress_be_answered():
    server = scp()
    entered, leave = threading.Event(), threading.Event()

    @server.c_store
    def slow(request):
        entered.set()
        assert leave.wait(10)
        return 0xB000

    server.start()
    association = SCU.associate(at(server), contexts=CTImageStorage)
    statuses = []
    call = threading.Thread(target=lambda: statuses.append(association.c_store(CT)))
    call.start()
    assert entered.wait(10)
    stop = threading.Thread(target=server.stop, args=(20.0,))
    stop.start()
    assert server._stopping.wait(10)
    leave.set()
    call.join(15)
    stop.join(15)
    assert statuses == [0xB000]
    assert not stop.is_alive()


def test_stop_aborts_what_does_not_end_within_the_grace():
    server = scp()
    entered, leave = threading.Event(), threading.Event()

    @server.c_store
    def stuck(request):
        entered.set()
        leave.wait(20)

    server.start()
    association = SCU.associate(at(server), contexts=CTImageStorage)
    failures = []

    def call():
        try:
            association.c_store(CT)
        except DimseError as error:
            failures.append(error)

    calling = threading.Thread(target=call)
    calling.start()
    assert entered.wait(10)
    started = time.monotonic()
    server.stop(grace=0.2)
    assert time.monotonic() - started < 8
    calling.join(10)
    leave.set()
    assert isinstance(failures[0], AssociationAborted)


def test_what_was_stored_before_the_stop_is_told(tmp_path):
    server = scp(tmp_path)
    events = server.events()
    with link(server, CTImageStorage) as association:
        association.c_store(CT)
    assert [event["event"] for event in events] == ["associated", "stored", "released"]


def test_two_followers_see_the_same_and_a_timeout_ends_one():
    with scp() as server:
        one, other = server.events(timeout=0.3), server.events()
        SCU.associate(at(server)).release()
        seen = list(one)
        assert [event["event"] for event in seen] == ["associated", "released"]
        assert [next(other), next(other)] == seen


def test_wait_ends_with_stop_and_needs_a_start():
    server = scp()
    with pytest.raises(LocalProtocolError, match="not started"):
        server.wait()
    with server:
        waiting = threading.Thread(target=server.wait)
        waiting.start()
        server.stop()
        waiting.join(10)
        assert not waiting.is_alive()


def test_defaults_are_careful():
    server = Server()
    assert (server.host, server.port) == ("127.0.0.1", 11112)
    assert server.ae.title == "DIMSE_RS"
    assert repr(server) == "<Server DIMSE_RS on 127.0.0.1:11112>"


# ---- children

FORK = """
import multiprocessing, sys
import dimse_rs
server = dimse_rs.Server(port=0)
def child(queue):
    try:
        dimse_rs.AE().associate(("127.0.0.1", server.port)).c_echo()
    except BaseException as error:
        queue.put(f"{type(error).__name__}: {error}")
    else:
        queue.put("fine")
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    queue = context.SimpleQueue()
    with server:
        dimse_rs.AE().associate(("127.0.0.1", server.port), called="DIMSE_RS").release()
        process = context.Process(target=child, args=(queue,))
        process.start()
        print(queue.get(), flush=True)
        process.join()
"""


@pytest.mark.slow
def test_a_forked_child_is_told_clearly(tmp_path):
    script = tmp_path / "forks.py"
    script.write_text(FORK)
    with Process([sys.executable, str(script), "fork"]) as parent:
        line = parent.wait_for_line(bool)
        assert parent.wait() == 0
    assert line.startswith("RuntimeError: dimse_rs was used before this process was forked")
    assert "spawn" in line


@pytest.mark.slow
def test_a_script_that_ends_with_a_server_running_ends(tmp_path):
    script = tmp_path / "leaves.py"
    script.write_text(
        "import dimse_rs\n"
        "server = dimse_rs.Server(port=0)\n"
        "server.c_store(lambda request: None)\n"
        "server.start()\n"
        "association = dimse_rs.AE().associate(('127.0.0.1', server.port), called='DIMSE_RS')\n"
        "association.c_echo()\n"
        "print('leaving', flush=True)\n"
    )
    with Process([sys.executable, "-W", "error", str(script)]) as child:
        child.wait_for_line(lambda line: line == "leaving")
        assert child.wait() == 0, child.story("failed")
    assert child.errors() == ""
