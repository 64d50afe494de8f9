"""Bad input that needs a hand on this side too: full disks, planted links, many connections."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dimse_rs import AE, Limits, Server, Storage
from tests.support import wire
from tests.support.nodes import scp
from tests.support.runner import Peer, Target, probe
from tests.support.script import Aborted, Accepted, Alive, Answered, Closed, HangUp, Rejected

pytestmark = pytest.mark.timeout(60)

CALLED = "TARGET"
REQUEST = wire.associate_rq(
    CALLED.encode(),
    wire.item(0x10, wire.APPLICATION_CONTEXT),
    wire.context(1),
    wire.context(3, wire.SECONDARY_CAPTURE, [wire.EXPLICIT]),
    wire.user_information(),
)
BOTH = Accepted(((1, 0), (3, 0)))


def serve(folder: Path, *, layout: str = "flat", mode: str = "fast", **limits: int) -> Server:
    return Server(
        AE(CALLED, limits=Limits(**limits)),
        port=0,
        services=[Storage(folder, layout=layout, mode=mode)],
    )


def target(server: Server) -> Target:
    return Target("127.0.0.1", server.port, CALLED.encode(), 30, 60, 60, slack=20)


def store(uid: bytes, size: int = 100) -> bytes:
    pixels = wire.data_element(0x7FE0, 0x0010, b"OB", bytes(size))
    return wire.as_commands(3, wire.store_rq(uid)) + wire.as_data(3, wire.data_set(uid, pixels))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting a small file system needs root")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=128k", "tmpfs", folder], capture_output=True, text=True
    )
    if done.returncode:
        story = f"cannot mount a small file system: {done.stderr.strip()}"
        if os.environ.get("CI") == "true":
            pytest.fail(story, pytrace=False)
        pytest.skip(story)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("mode", ["fast", "durable"])
@pytest.mark.parametrize("size", [100_000, 300_000, 3_000_000])
def test_full_disk_refuses_and_goes_on(small_disk, mode, size):
    """E23: A700, the association lives, nothing is left, and what fits is stored later."""
    with serve(small_disk, mode=mode) as server, Peer(target(server)) as peer:
        filler = small_disk / "filler"
        filler.write_bytes(bytes(64 << 10))
        peer.step(REQUEST)
        peer.step(BOTH)
        for _ in range(3):
            peer.step(store(b"1.23.1", size))
            peer.step(Answered(0xA700, context=3))
            assert os.listdir(small_disk) == ["filler"]
        filler.unlink()
        peer.step(store(b"1.23.2", 64 << 10))
        peer.step(Answered(0, context=3))
        assert os.listdir(small_disk) == ["1.23.2.dcm"]
        peer.step(Alive())


@pytest.mark.parametrize("free", range(0, 44 << 10, 4 << 10))
def test_disk_that_is_full_after_any_page(small_disk, free):
    """V4: stored whole or refused, wherever in 40,000 bytes the space ends."""
    with serve(small_disk, mode="durable") as server, Peer(target(server)) as peer:
        filler = small_disk / "filler"
        filler.write_bytes(bytes((128 << 10) - free))
        fits = free >= 40 << 10
        peer.step(REQUEST)
        peer.step(BOTH)
        peer.step(store(b"1.23.1", 39_000))
        peer.step(Answered(0 if fits else 0xA700, context=3))
        assert (small_disk / "1.23.1.dcm").exists() is fits
        filler.unlink()
        peer.step(store(b"1.23.1", 39_000))
        peer.step(Answered(0, context=3))
        assert os.listdir(small_disk) == ["1.23.1.dcm"]


def test_full_disk_keeps_the_earlier_version(small_disk):
    """E19: a failed re-send leaves the stored copy as it was."""
    with serve(small_disk) as server, Peer(target(server)) as peer:
        peer.step(REQUEST)
        peer.step(BOTH)
        peer.step(store(b"1.23.1", 50_000))
        peer.step(Answered(0, context=3))
        before = (small_disk / "1.23.1.dcm").read_bytes()
        peer.step(store(b"1.23.1", 200_000))
        peer.step(Answered(0xA700, context=3))
        assert os.listdir(small_disk) == ["1.23.1.dcm"]
        assert (small_disk / "1.23.1.dcm").read_bytes() == before


def test_links_planted_in_the_folder_are_not_followed(tmp_path):
    """E04: neither as a file nor as a folder of the layout."""
    outside = tmp_path / "outside"
    outside.mkdir()
    victim = outside / "victim"
    victim.write_text("untouched")
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "1.4.1.dcm").symlink_to(victim)
    (folder / "1.4.2.dcm").symlink_to(outside / "new")
    by_study = tmp_path / "by-study"
    by_study.mkdir()
    (by_study / "1.2.3.10").symlink_to(outside, target_is_directory=True)
    with serve(folder) as flat, serve(by_study, layout="study") as study:
        for server, uids, status in ((flat, [b"1.4.1", b"1.4.2"], 0), (study, [b"1.4.3"], 0xA700)):
            for uid in uids:
                with Peer(target(server)) as peer:
                    peer.step(REQUEST)
                    peer.step(BOTH)
                    peer.step(store(uid))
                    peer.step(Answered(status, context=3))
                    peer.step(Alive())
    # The link was what was stored before: it is kept as that, and replaced.
    assert not (folder / "1.4.1.dcm").is_symlink()
    assert (folder / "1.4.1.dcm~1~").is_symlink()
    assert victim.read_text() == "untouched"
    assert os.listdir(outside) == ["victim"]


def test_silent_connections_make_room_for_others(tmp_path, caplog):
    """A12: past the limit the oldest goes, one line in the log tells of many; associations stay."""
    caplog.set_level(logging.INFO, "dimse_rs.server")
    with serve(tmp_path, max_pending=8, max_pending_per_address=4) as server:
        where = target(server)
        with Peer(where) as established, ExitStack() as open_:
            established.step(REQUEST)
            established.step(BOTH)
            silent = [open_.enter_context(Peer(where)) for _ in range(10)]
            for gone in silent[:6]:
                gone.step(Closed())
            for kept in silent[6:]:
                kept.step(REQUEST)
                kept.step(BOTH)
            probe(where)
            established.step(Alive())
    said = [r.getMessage() for r in caplog.records if r.code == "evicted"]
    assert sum(int(text.split()[0]) for text in said) == 6
    assert len(said) < 4
    assert (
        "there may be 4 of an address (max_pending_per_address), 8 in all (max_pending)" in said[0]
    )


def test_five_hundred_associations_of_one_address_at_once_are_let_in(tmp_path, caplog):
    """A proxy or a load balancer is one address: by default nobody behind it is closed."""
    caplog.set_level(logging.INFO, "dimse_rs.server")
    with scp(max_associations=500) as server, ExitStack() as open_:
        where = ("127.0.0.1", server.port)
        peers = [open_.enter_context(socket.create_connection(where, 10)) for _ in range(500)]
        request = wire.associate_rq(b"SCP")
        for peer in peers:
            peer.sendall(request)
        assert [peer.recv(1) for peer in peers] == [b"\x02"] * 500  # A-ASSOCIATE-AC
    assert "evicted" not in {record.code for record in caplog.records}


def test_one_association_too_many_is_rejected(tmp_path):
    """B23: (2,3,2), and the next is served once there is room."""
    with serve(tmp_path, max_associations=2) as server:
        where = target(server)
        with Peer(where) as first, Peer(where) as second, Peer(where) as third:
            for peer in (first, second):
                peer.step(REQUEST)
                peer.step(BOTH)
            third.step(REQUEST)
            third.step(Rejected(2, 3, 2))
            first.step(Alive())
        probe(where)


@pytest.mark.slow
def test_server_that_stops_ends_what_is_open(tmp_path):
    """A-ABORT for the idle, a close for the silent, and a port that is free again."""
    server = serve(tmp_path).start()
    where = target(server)
    with Peer(where) as idle, Peer(where) as silent:
        idle.step(REQUEST)
        idle.step(BOTH)
        server.stop(grace=1)
        idle.step(Aborted(0, 0))
        silent.step(Closed())
        with pytest.raises(OSError, match="refused"):
            Peer(where)


OUT_OF_FILES = """
import resource, sys
from dimse_rs import AE, Limits, Server
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
with Server(AE("TARGET", limits=Limits(max_pending_per_address=200)), port=0) as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""


def test_no_descriptors_left_is_survived(tmp_path):
    """A11: accepting rests, without spinning, and goes on when there is room."""
    process = subprocess.Popen(
        [sys.executable, "-c", OUT_OF_FILES], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        where = Target(
            "127.0.0.1", int(process.stdout.readline()), CALLED.encode(), 30, 60, 60, slack=20
        )
        with ExitStack() as open_:
            crowd = [open_.enter_context(Peer(where)) for _ in range(100)]
            for peer in crowd[:30]:
                peer.step(wire.associate_rq(where.called))
                peer.step(Accepted())
        probe(where)
        process.stdin.close()
        assert process.wait(20) == 0


def test_connections_that_reset_leave_no_descriptor(tmp_path):
    """A10: as many descriptors as before, when they are gone."""
    with serve(tmp_path) as server:
        where = target(server)
        probe(where)
        before = len(os.listdir("/proc/self/fd"))
        for at in (0, 6, 50, len(REQUEST)):
            for _ in range(25):
                with Peer(where) as peer:
                    peer.step(REQUEST[:at])
                    peer.step(HangUp.RST)
        probe(where)
        server.stop(grace=2)
        assert len(os.listdir("/proc/self/fd")) <= before
