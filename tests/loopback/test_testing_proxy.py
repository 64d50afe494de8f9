"""The proxy of `dimse_rs.testing`: each toxic, on plain sockets and on associations."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

import pytest

from dimse_rs import (
    AE,
    AssociationAborted,
    AssociationError,
    ConnectionLost,
    CTImageStorage,
    DimseTimeout,
    RemoteProtocolError,
    StudyRoot,
    Timeouts,
    TransportError,
)
from dimse_rs.testing import Proxy, make_instance, make_study, write_files

ME = AE("ME")
HURRIED = AE("ME", timeouts=Timeouts(acse=0.3, dimse=0.3, store=0.3, release=0.3, progress=2))


class Echo:
    """Sends back what it gets, on one connection after the other."""

    def __init__(self):
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = ("127.0.0.1", self._listening.getsockname()[1])
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with suppress(OSError):
            while True:
                accepted, _ = self._listening.accept()
                with accepted, suppress(OSError):
                    while data := accepted.recv(65536):
                        accepted.sendall(data)

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture
def proxy():
    echo = Echo()
    with Proxy(echo.address) as proxy:
        yield proxy
    echo.close()


def connected(proxy):
    made = socket.create_connection(("127.0.0.1", proxy.port))
    made.settimeout(10)
    return made


def talk(proxy, data=b"x" * 1000):
    """Send, half-close, and read to the end; give what came, and the pieces that it came in."""
    pieces = []
    with connected(proxy) as made:
        made.sendall(data)
        made.shutdown(socket.SHUT_WR)
        while piece := made.recv(65536):
            pieces.append(piece)
    return b"".join(pieces), pieces


def took(function):
    begun = time.monotonic()
    function()
    return time.monotonic() - begun


def test_without_toxics_everything_passes(proxy):
    data = bytes(range(256)) * 4096
    assert talk(proxy, data)[0] == data
    assert proxy.passed == {"upstream": len(data), "downstream": len(data)}
    assert proxy.connections == 1


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_latency_delays_and_is_removed(proxy, stream):
    with proxy.latency(0.2, stream=stream) as toxic:
        assert repr(toxic) == f"<Toxic latency {stream}>"
        assert took(lambda: talk(proxy)) >= 0.2
    assert proxy.toxics == ()


def test_latency_does_not_add_up_over_a_stream(proxy):
    proxy.latency(0.2, jitter=0.05)

    def stream():
        with connected(proxy) as made:
            for _ in range(20):  # so many chunks, read as they come
                made.sendall(b"x")
                threading.Event().wait(0.01)
            made.shutdown(socket.SHUT_WR)
            while made.recv(65536):
                pass

    assert took(stream) < 20 * 0.15  # were each chunk to wait for the one before it


def test_bandwidth_is_bounded(proxy):
    proxy.bandwidth(10_000)
    assert took(lambda: talk(proxy, b"x" * 3000)) >= 0.3


def test_slow_close_delays_the_end_alone(proxy):
    proxy.slow_close(0.3)
    with connected(proxy) as made:
        made.sendall(b"x")
        begun = time.monotonic()
        assert made.recv(1) == b"x"
        made.shutdown(socket.SHUT_WR)
        assert made.recv(1) == b""
        assert time.monotonic() - begun >= 0.3


def test_timeout_lets_nothing_pass_and_closes(proxy):
    proxy.timeout(0.2)
    assert talk(proxy)[0] == b""
    proxy.clear()
    proxy.timeout()
    with connected(proxy) as made:
        made.sendall(b"lost")
        made.settimeout(0.2)
        with pytest.raises(TimeoutError):
            made.recv(1)
        proxy.clear()
        made.settimeout(10)
        made.sendall(b"passes")
        assert made.recv(100) == b"passes"


def test_reset_peer_resets(proxy):
    proxy.reset_peer(0.05)
    with pytest.raises(ConnectionResetError):
        talk(proxy)


def test_slicer_cuts_small(proxy):
    proxy.slicer(10, 3, pause=0.001)
    data, pieces = talk(proxy, bytes(range(200)))
    assert data == bytes(range(200))
    assert len(pieces) > 5


def test_limit_data_ends_each_connection(proxy):
    proxy.limit_data(100)
    assert [len(talk(proxy)[0]) for _ in range(2)] == [100, 100]
    proxy.clear()
    proxy.limit_data(0, stream="upstream")
    assert talk(proxy)[0] == b""


def test_toxics_work_one_behind_the_other(proxy):
    proxy.latency(0.1)
    proxy.slicer(7)
    proxy.limit_data(50)
    data, _ = talk(proxy)
    assert len(data) == 50


def test_what_is_no_dicom_passes_the_toxics_of_dicom(proxy):
    for add in (proxy.truncated_pdu, proxy.wrong_length, proxy.lost_last_fragment):
        add()
        add(stream="upstream")
    text = b"GET / HTTP/1.1\r\n\r\n" + b"\xff" * 100
    assert talk(proxy, text)[0] == text
    for short in (b"\x04\x00", b"\x04\x00\xff\xff\xff\xff" + b"x" * 50):
        assert talk(proxy, short)[0] == short


# ---- associations through it


def test_an_association_through_a_slow_line(dicom_pacs, dicom_proxy, tmp_path):
    proxy = dicom_proxy(dicom_pacs)
    assert proxy.address.startswith("PACS@127.0.0.1:")
    proxy.slicer(100)
    proxy.slicer(100, stream="upstream")
    proxy.latency(0.01, 0.01)
    files = write_files(make_study(series=1, instances=3), tmp_path)
    ME.send(proxy.peer, files).raise_for_failures()
    assert len(dicom_pacs) == 3


def test_a_response_that_is_cut_short_happens_once(dicom_receiver, dicom_proxy, tmp_path):
    proxy = dicom_proxy(dicom_receiver)
    proxy.truncated_pdu(at=2)
    files = write_files(make_study(series=1, instances=3), tmp_path)
    report = ME.send(proxy.peer, files)
    assert [result.ok for result in report.results] == [True, False, True]
    assert isinstance(report.results[1].error, ConnectionLost)
    assert (proxy.connections, len(dicom_receiver)) == (2, 3)


@pytest.mark.parametrize("by", [-2, 100])
def test_a_response_of_a_wrong_length(dicom_receiver, dicom_proxy, by):
    proxy = dicom_proxy(dicom_receiver)
    proxy.wrong_length(by=by)
    expected = RemoteProtocolError if by < 0 else (DimseTimeout, AssociationError, TransportError)
    association = HURRIED.associate(proxy.peer)
    with pytest.raises(expected):
        association.c_echo()


def test_a_data_set_without_its_end_is_not_taken(dicom_receiver, dicom_proxy):
    proxy = dicom_proxy(dicom_receiver)
    proxy.lost_last_fragment(stream="upstream")
    with pytest.raises((DimseTimeout, AssociationAborted)):
        HURRIED.associate(proxy.peer, contexts=CTImageStorage).c_store(make_instance())
    with ME.associate(proxy.peer, contexts=CTImageStorage) as association:
        assert association.c_store(make_instance()) == 0
    assert len(dicom_receiver) == 1


def test_a_match_without_its_end(dicom_pacs, dicom_proxy):
    dicom_pacs.add(make_study(series=1, instances=1))
    proxy = dicom_proxy(dicom_pacs)
    proxy.lost_last_fragment()
    association = HURRIED.associate(proxy.peer, contexts=StudyRoot)
    with pytest.raises((DimseTimeout, RemoteProtocolError)):
        list(association.c_find({"PatientID": ""}, model=StudyRoot, level="STUDY"))


# ---- its life


def test_nothing_is_left_behind():
    echo = Echo()
    with Proxy(echo.address) as proxy:
        proxy.latency(600)
        open_ = connected(proxy)
        open_.sendall(b"x")
        assert (
            repr(proxy) == f"<Proxy {proxy.port} to ANY-SCP@127.0.0.1:{echo.address[1]}, latency>"
        )
    with open_:
        assert open_.recv(1) == b""
    assert not [thread for thread in threading.enumerate() if thread.name == "dicom-proxy"]
    with pytest.raises(OSError, match="refused"):
        connected(proxy)
    with pytest.raises(RuntimeError, match="starts once"):
        proxy.start()
    echo.close()


def test_a_target_that_is_down_is_a_connection_that_closes(dicom_receiver, dicom_proxy):
    proxy = dicom_proxy(dicom_receiver)
    dicom_receiver.stop()
    with connected(proxy) as made, suppress(ConnectionResetError):
        assert made.recv(1) == b""


@pytest.mark.parametrize(
    "add",
    [
        lambda proxy: proxy.latency(-1),
        lambda proxy: proxy.bandwidth(0),
        lambda proxy: proxy.slicer(5, 5),
        lambda proxy: proxy.limit_data(-1),
        lambda proxy: proxy.truncated_pdu(at=0),
        lambda proxy: proxy.latency(1, stream="up"),
    ],
)
def test_toxics_that_make_no_sense_are_refused(proxy, add):
    with pytest.raises(ValueError, match=r"from 0 up|above|from 1|upstream or downstream"):
        add(proxy)
    assert proxy.toxics == ()
