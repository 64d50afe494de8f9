"""`dimse storescp`, end to end."""

from __future__ import annotations

import signal
import time

import pytest

from dimse_rs import (
    AssociationAborted,
    AssociationRejected,
    CTImageStorage,
    MRImageStorage,
    StatusError,
)
from dimse_rs.testing import make_instance
from tests.data.files import data_set
from tests.data.generate import series
from tests.support.nodes import CT, MR_IMPLICIT, SCU
from tests.support.process import Process
from tests.support.tools import DIMSE, dimse, events, storescp


def at(port, title="ANY-SCP"):
    return f"{title}@127.0.0.1:{port}"


def test_it_prints_its_port_and_stores_every_byte(tmp_path):
    with storescp(tmp_path / "new" / "in") as (tool, port):
        report = SCU.send(at(port), [CT, MR_IMPLICIT])
        report.raise_for_failures()
        assert tool.lines == [str(port)]
    stored = {data_set(path) for path in (tmp_path / "new" / "in").glob("*.dcm")}
    assert stored == {data_set(CT), data_set(MR_IMPLICIT)}


def test_json_has_one_event_for_each_file(tmp_path):
    files = series(tmp_path, "in", 12, (1, 32, 32))
    with storescp(tmp_path / "out", "--json", "--report", tmp_path / "report") as (tool, port):
        SCU.send(at(port), [*files, CT]).raise_for_failures()
        tool.wait_for_line(lambda line: '"released"' in line)
        with SCU.associate(at(port), contexts=CTImageStorage) as association:
            import pydicom

            instance = pydicom.dcmread(CT)
            instance.PatientName = "Another"
            association.c_store(instance)
        tool.wait_for_line(lambda line: '"kept"' in line)
        tool.interrupt()
        assert tool.wait() == 130
    told = events(tool.lines)
    assert told[0] == {"event": "listening", "host": "127.0.0.1", "port": port}
    stored = [event for event in told if event["event"] == "stored"]
    assert len(stored) == 14
    assert {event["calling"] for event in stored} == {"SCU"}
    first = stored[0]
    assert first.keys() == {
        *("event", "uid", "class", "syntax", "path", "bytes", "calling", "status"),
        *("association", "peer", "study", "series"),
    }
    assert first["class"] == CTImageStorage
    assert first["bytes"] == len(data_set(files[0]))
    assert stored[-1]["kept"].endswith(".dcm~1~")
    assert (tmp_path / "report").read_text().splitlines() == tool.lines


def last_words(tool):
    """Stop a tool; give what it logged until then."""
    tool.interrupt()
    assert tool.wait() == 130
    *lines, interrupted = tool.errors().splitlines()
    assert interrupted == "interrupted"
    return lines


def test_refusals_and_broken_peers_are_events_and_one_line_each(tmp_path):
    import socket

    with storescp(tmp_path, "--json", "--duplicates", "reject") as (tool, port):
        with SCU.associate(at(port), contexts=CTImageStorage) as association:
            import pydicom

            instance = pydicom.dcmread(CT)
            association.c_store(instance)
            instance.PatientName = "Another"
            with pytest.raises(StatusError):
                association.c_store(instance)
        tool.wait_for_line(lambda line: '"released"' in line)
        with socket.create_connection(("127.0.0.1", port), 10) as raw:
            raw.settimeout(10)
            raw.sendall(b"GET / HTTP/1.0\r\n\r\n")
            raw.recv(1000)
        tool.wait_for_line(lambda line: '"error"' in line)
        told = events(tool.lines)
        lines = last_words(tool)
    names = [event["event"] for event in told]
    assert names == ["listening", "associated", "stored", "refused", "released", "error"]
    refused = told[3]
    assert refused["status"] == 0xC111
    assert refused["why"]
    assert [line[:3] for line in lines] == ["W: ", "W: "]
    assert "refused" in lines[0]
    assert "127.0.0.1" in lines[1]


def test_a_rejection_is_one_line_with_a_hint_on_this_side_too(tmp_path):
    with storescp(tmp_path, "--json") as (tool, port):
        with pytest.raises(AssociationRejected):
            SCU.associate(at(port, "PACS"))
        tool.wait_for_line(lambda line: '"rejected"' in line)
        _, rejected = events(tool.lines)
        [line] = last_words(tool)
    assert line.startswith("W: PACS<-SCU(")
    assert "(1,1,7)" in line
    assert "this node is ANY-SCP" in line
    assert "--any-called" in line
    assert (rejected["calling"], rejected["called"], rejected["reason"]) == ("SCU", "PACS", 7)
    assert "--any-called" in rejected["hint"]


def test_verbose_says_each_thing_once(tmp_path):
    with storescp(tmp_path, "-v") as (tool, port):
        SCU.send(at(port), [CT]).raise_for_failures()
        tool.interrupt()
        assert tool.wait() == 130
        lines = tool.errors().splitlines()
    expected = ["listening on", "established from", "stored", "released", "stopped", "interrupted"]
    assert len(lines) == len(expected)
    assert all(what in line for what, line in zip(expected, lines, strict=True))


def test_titles(tmp_path):
    with storescp(tmp_path, "-aet", "STORE") as (_, port):
        SCU.associate(at(port, "STORE")).release()
        with pytest.raises(AssociationRejected):
            SCU.associate(at(port))
    with storescp(tmp_path, "--any-called") as (_, port):
        SCU.associate(at(port, "WHATEVER")).release()


def test_the_study_layout_by_either_option(tmp_path):
    for number, options in enumerate((["--layout", "study"], ["-su", ""])):
        folder = tmp_path / str(number)
        with storescp(folder, *options) as (_, port):
            SCU.send(at(port), CT).raise_for_failures()
        assert len(list(folder.glob("*/*/*.dcm"))) == 1


def test_ignore_receives_and_stores_nothing(tmp_path):
    with storescp(tmp_path / "in", "--ignore", "--unknown") as (_, port):
        SCU.send(at(port), CT).raise_for_failures()
        with SCU.associate(at(port), contexts="1.2.840.99999.7") as association:
            assert association.c_store(make_instance("1.2.840.99999.7")) == 0
    assert not (tmp_path / "in").exists()


def test_limits(tmp_path):
    options = ["--max-associations", 1, "-pdu", 16384]
    with storescp(tmp_path, *options) as (_, port), SCU.associate(at(port)) as association:
        assert association.max_length_peer == 16384
        with pytest.raises(AssociationRejected, match="local limit"):
            SCU.associate(at(port))


def test_idle_peers_are_let_go(tmp_path):
    with storescp(tmp_path, "-td", "0.3", "--json") as (tool, port):
        association = SCU.associate(at(port))
        line = tool.wait_for_line(lambda line: '"error"' in line)
        assert "idle" in line
        with pytest.raises(AssociationAborted):
            association.c_echo()


def test_unknown_classes_only_when_asked(tmp_path):
    for options, accepted in (([], 0), (["-pm"], 1), (["--unknown"], 1)):
        with (
            storescp(tmp_path, *options) as (_, port),
            SCU.associate(at(port), contexts="1.2.826.0.1.3680043.9.1") as association,
        ):
            assert len(association.accepted) == accepted


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)], ids=["Ctrl-C", "SIGTERM"]
)
def test_it_stops_in_order_with_associations_open(number, code, tmp_path):
    with storescp(tmp_path, "--json") as (tool, port):
        association = SCU.associate(at(port), contexts=[CTImageStorage, MRImageStorage])
        association.c_store(CT)
        started = time.monotonic()
        tool._child.send_signal(number)
        assert tool.wait() == code
        assert time.monotonic() - started < 2
        tool._reader.join(5)
        assert tool.errors() == ("interrupted\n" if code else "")
        names = [event["event"] for event in events(tool.lines)]
        assert names[:4] == ["listening", "associated", "stored", "aborted"]
        assert names[4:] == (["error"] if code else [])  # of the tool: interrupted
        assert not association.is_established


def test_help_names_what_it_takes():
    done = dimse("storescp", "--help")
    assert done.returncode == 0
    for option in ("-aet", "-od", "--any-called", "--mode", "--layout", "--json", "-ba"):
        assert option in done.stdout


def test_1_for_a_wrong_command_line():
    for arguments in (["storescp"], ["storescp", "x"], ["storescp", "1", "2"]):
        done = dimse(*arguments)
        assert (done.returncode, done.stdout) == (1, "")


def test_40_when_the_folder_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    done = dimse("storescp", "-od", tmp_path / "file" / "in", 0)
    assert done.returncode == 40
    assert done.stderr.startswith(f"E: cannot store into {tmp_path / 'file' / 'in'}: ")
    assert len(done.stderr.splitlines()) == 1


def test_64_when_the_port_is_taken(tmp_path):
    with storescp(tmp_path) as (_, port):
        done = dimse("storescp", "-od", tmp_path, port)
    assert done.returncode == 64
    assert done.stderr == f"E: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_the_three_tools_work_together(tmp_path):
    with storescp(tmp_path / "in") as (tool, port):
        assert dimse("echoscu", "127.0.0.1", port).returncode == 0
        done = dimse("storescu", "127.0.0.1", port, CT)
        assert done.returncode == 0, done.stderr
        tool._child.terminate()
        assert tool.wait() == 0
    assert len(list((tmp_path / "in").glob("*.dcm"))) == 1


def test_the_command_is_installed():
    import shutil
    import sys
    from pathlib import Path

    command = shutil.which("dimse", path=str(Path(sys.executable).parent))
    assert command
    with Process([command, "--version"]) as tool:
        assert tool.wait() == 0
        tool._reader.join(5)
        assert tool.lines[0].startswith("dimse_rs ")
    assert DIMSE[-1] == "dimse_rs"
