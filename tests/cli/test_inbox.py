"""`dimse inbox`, end to end."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time

import pydicom
import pytest

from dimse_rs import AE, CTImageStorage, StudyRoot
from dimse_rs.cli.exits import ExitCode
from dimse_rs.testing import Connection, make_instance, make_study, wire, write_files
from tests.support.process import Process
from tests.support.tools import DIMSE, dimse, events

ME = AE("ME")


@contextlib.contextmanager
def inbox(*options):
    """Run the tool on a free port."""
    with Process([*DIMSE, "inbox", "0", *map(str, options)]) as tool:
        line = tool.wait_for_line(lambda line: "listening" in line)
        port = json.loads(line)["port"] if line[0] == "{" else re.search(r":(\d+);", line)[1]
        yield tool, f"ANYTHING@127.0.0.1:{port}"


def send(peer, instances, folder):
    return ME.send(peer, write_files(instances, folder))


def test_lines_say_who_and_what_and_nothing_of_patients(tmp_path):
    with inbox() as (tool, peer):
        send(peer, make_study(series=1, instances=2), tmp_path).raise_for_failures()
        tool.wait_for_line(lambda line: "released" in line)
        tool.interrupt()
        assert tool.wait() == ExitCode.INTERRUPTED
        lines = [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in tool.lines]
        assert tool.errors() == "interrupted\n"
    assert "the last 100 are kept in" in lines[0]
    assert re.fullmatch(
        r"ME@127\.0\.0\.1:\d+ -> ANYTHING: CT Image Storage \(Explicit VR Little Endian\)", lines[1]
    )
    assert re.fullmatch(r"#1  CT Image Storage  2\.25\.\d+  1\.2 kB  0000", lines[2])
    assert lines[3].startswith("#2 ")
    assert lines[4].endswith(" released, 2 instances")
    assert "Test" not in "\n".join(tool.lines)


def test_json_has_a_line_for_each_and_a_file_until_the_end(tmp_path):
    with inbox("--json", "--report", tmp_path / "report") as (tool, peer):
        study = make_study(series=1, instances=2)
        send(peer, study, tmp_path / "out").raise_for_failures()
        tool.wait_for_line(lambda line: '"released"' in line)
        told = events(tool.lines)
        kinds = ["listening", "negotiated", "received", "received", "released"]
        assert [event["event"] for event in told] == kinds
        first = told[2]
        assert (first["number"], first["calling"], first["status"]) == (1, "ME", 0)
        assert first["uid"] == study[0].SOPInstanceUID
        assert first["class"] == CTImageStorage
        assert pydicom.dcmread(first["path"]) == study[0]
        assert told[4]["stored"] == 2
        assert not {"patient_name", "patient_id"} & first.keys()
        tool._child.terminate()
        assert tool.wait() == 0
    assert (tmp_path / "report").read_text().splitlines() == tool.lines
    with pytest.raises(FileNotFoundError):
        pydicom.dcmread(first["path"])


def test_names_are_shown_on_demand(tmp_path):
    with inbox("--names") as (tool, peer):
        send(peer, [make_instance(PatientName="Doe^Jane\x1b[31m")], tmp_path).raise_for_failures()
        line = tool.wait_for_line(lambda line: "#1" in line)
    assert line.endswith("0000  Doe^Jane\\x1b[31m [TEST]")


def test_the_last_ones_are_kept_where_one_says(tmp_path):
    folder = tmp_path / "in"
    with inbox("-od", folder, "--keep", 2) as (tool, peer):
        send(peer, make_study(series=1, instances=3), tmp_path / "out").raise_for_failures()
        tool.wait_for_line(lambda line: "released" in line)
    assert sorted(path.name for path in folder.iterdir()) == ["000002", "000003"]
    with inbox("-od", folder) as (tool, peer):  # a second run goes on, and takes nothing away
        send(peer, [make_instance()], tmp_path / "out").raise_for_failures()
        tool.wait_for_line(lambda line: "#4" in line)
    assert sorted(path.name for path in folder.iterdir()) == ["000002", "000003", "000004"]


def test_a_status_for_every_third(tmp_path):
    with inbox("--status", "A700", "--every", 3) as (tool, peer):
        report = send(peer, make_study(series=1, instances=4), tmp_path)
        line = tool.wait_for_line(lambda line: "#3" in line)
        assert [result.status for result in report.results] == [0, 0, 0xA700, 0]
        assert "A700 refused: out of resources" in line
        tool.wait_for_line(lambda line: "released, 3 instances" in line)


def test_a_delay(tmp_path):
    with inbox("--delay", "0.3") as (_, peer), ME.associate(peer, contexts=CTImageStorage) as slow:
        begun = time.monotonic()
        assert slow.c_store(make_instance()) == 0
        assert time.monotonic() - begun >= 0.3


def test_a_delay_does_not_hold_up_the_end(tmp_path):
    with inbox("--delay", "600", "--json") as (tool, peer):
        association = ME.associate(peer, contexts=CTImageStorage, max_ops_invoked=1)
        with Process([*DIMSE, "storescu", peer, *write_files([make_instance()], tmp_path)]):
            tool.wait_for_line(lambda line: '"received"' in line)
            tool.interrupt()
            assert tool.wait() == ExitCode.INTERRUPTED
        assert association


def test_it_takes_private_classes_and_says_what_it_refuses(tmp_path):
    with inbox() as (tool, peer):
        private = "1.2.840.99999.7"
        with ME.associate(peer, contexts=[private, *StudyRoot]) as association:
            assert association.c_store(make_instance(private)) == 0
        line = tool.wait_for_line(lambda line: "->" in line)
        tool.wait_for_line(lambda line: f"#1  {private}  " in line)
    assert f"{private} (Explicit VR Little Endian)" in line
    assert "FIND (abstract-syntax-not-supported)" in line


def test_what_a_peer_calls_itself_cannot_write_on_the_terminal():
    with inbox() as (tool, peer):
        port = int(peer.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as bad:
            bad.sendall(wire.associate_rq(b"X\x1b[2J", calling=b"EVIL\x1b[31m"))
            bad.settimeout(10)
            bad.recv(1)
            bad.sendall(wire.abort(0, 0))
            tool.wait_for_line(lambda line: "EVIL" in line)
        tool.interrupt()
        tool.wait()
    assert not [line for line in tool.lines if "\x1b" in line]


def test_no_uid_of_a_peer_is_a_path(tmp_path):
    with inbox("-od", tmp_path / "in") as (tool, peer):
        with socket.create_connection(("127.0.0.1", int(peer.rpartition(":")[2]))) as made:
            bad = Connection(made)
            context = wire.context(1, wire.SECONDARY_CAPTURE, [wire.EXPLICIT])
            items = [wire.item(0x10, wire.APPLICATION_CONTEXT), context, wire.user_information()]
            bad.send(wire.associate_rq(b"X", *items))
            bad.expect(wire.AC)
            bad.send(wire.as_commands(1, wire.store_rq(b"../../1.2.3")))
            bad.send(wire.as_data(1, wire.data_set(b"../../1.2.3")))
            elements, _ = bad.message()
            assert wire.number_of(elements, 0x0900) != 0
        with ME.associate(peer, contexts=CTImageStorage) as association:
            assert association.c_store(make_instance()) == 0
        tool.wait_for_line(lambda line: line.endswith("0000"))
    assert len(list(tmp_path.rglob("*.dcm"))) == 1


@pytest.mark.parametrize(
    "options", [["--status", "A7"], ["--every", "0"], ["--delay", "3600"], ["1", "2"]]
)
def test_options_that_make_no_sense(options):
    done = dimse("inbox", "0", *options)
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.startswith("E: ")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    done = dimse("inbox", "0", "-od", tmp_path / "file" / "in")
    assert done.returncode == ExitCode.OUTPUT
    assert "cannot store into" in done.stderr


def test_a_port_that_is_taken():
    with inbox() as (_, peer):
        done = dimse("inbox", peer.rpartition(":")[2])
    assert done.returncode == ExitCode.LISTEN
