"""`dimse storescu`, end to end."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import threading
import time
from pathlib import Path

import pytest

from dimse_rs import CTImageStorage, MRImageStorage, Storage
from dimse_rs.testing import ScriptedPeer
from tests.data.files import data_set
from tests.data.generate import series
from tests.support.nodes import CT, JPEG_2000, MR_IMPLICIT, Puppet, at, picky, scp, silent_after
from tests.support.odd_files import ODD, instance, part10
from tests.support.process import Process
from tests.support.tools import DIMSE, dimse, events
from tests.support.waiting import until


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    series(folder, "one", 6, (1, 32, 32))
    series(folder / "deep", "two", 4, (1, 32, 32))
    (folder / "notes.txt").write_text("not DICOM")
    return folder


def stored(folder):
    return {data_set(path) for path in folder.glob("*.dcm")}


def test_a_folder_and_a_file(study, tmp_path):
    with scp(tmp_path) as server:
        done = dimse("storescu", at(server), study, CT)
    assert (done.returncode, done.stdout) == (0, "")
    [skipped] = done.stderr.splitlines()
    assert skipped.startswith(f"W: 1 skipped (-v names each), first {study / 'notes.txt'}: not a")
    assert stored(tmp_path) == {data_set(path) for path in [*study.rglob("*.dcm"), CT]}


def test_a_dcmtk_command_line(study, tmp_path):
    with scp(tmp_path) as server:
        done = dimse(
            *("storescu", "-v", "-aet", "ME", "-aec", "SCP", "-to", 5, "-ta", 5, "-td", 5),
            *("-pdu", 16384, "127.0.0.1", server.port, "+sd", "+r", "-nh", study),
        )
    assert (done.returncode, done.stdout) == (0, "")
    assert len(stored(tmp_path)) == 10
    lines = done.stderr.splitlines()
    assert [line[:12] for line in lines if not line.startswith("I: ")] == ["W: 1 skipped"]
    assert len([line for line in lines if line.startswith("I: sent ")]) == 11
    assert lines[-1].startswith("I: sent 10 of 10 files, ")


def test_patterns_and_no_recursion(study, tmp_path):
    with scp(tmp_path) as server:
        assert dimse("storescu", at(server), study, "+sp", "00001.dcm").returncode == 0
        assert len(stored(tmp_path)) == 2
        done = dimse("storescu", "--no-recurse", at(server), study / "deep")
        assert (done.returncode, done.stdout) == (20, "")


@pytest.mark.parametrize("options", [["--associations", 3], ["--max-ops", 4]])
def test_side_by_side(options, study, tmp_path):
    server = scp(tmp_path, max_ops_performed=8)
    told = server.events()
    with server:
        assert dimse("storescu", *options, at(server), study).returncode == 0
    assert len(stored(tmp_path)) == 10
    count = [event["event"] for event in told].count("associated")
    assert count == (3 if options[0] == "--associations" else 1)


def test_json_has_one_event_for_each_file(study, tmp_path):
    with scp(tmp_path / "in") as server:
        done = dimse(
            *("storescu", "--json", "--report", tmp_path / "report"),
            *(at(server), study, tmp_path / "in" / "none.dcm"),
        )
    assert done.returncode == 20  # a path that is named and not there: nothing is sent
    assert stored(tmp_path / "in") == set()

    with scp(tmp_path / "in") as server:
        done = dimse(
            *("storescu", "--json", "--report", tmp_path / "report", at(server), study),
            study / "notes.txt",
        )
    assert done.returncode == 69
    assert (tmp_path / "report").read_text() == done.stdout
    progress, associated, *sent, summary = sorted(
        events(done.stdout),
        key=lambda event: ["progress", "associated", "sent", "summary"].index(event["event"]),
    )
    assert progress == {"event": "progress", "total": 11}
    assert associated["peer"] == at(server)
    assert len(sent) == 11
    assert {event["path"] for event in sent} == {
        *map(str, study.rglob("*.dcm")),
        str(study / "notes.txt"),
    }
    [bad] = [event for event in sent if event["status"] is None]
    assert bad["category"] == "not-sent"
    assert "not a DICOM file" in bad["error"]
    good = [event for event in sent if event["status"] == 0]
    assert all(event["uid"] and event["category"] == "ok" for event in good)
    assert (summary["files"], summary["sent"], summary["not_sent"]) == (11, 10, 1)
    assert summary["bytes"] == sum(len(data) for data in stored(tmp_path / "in"))


def test_a_progress_bar_on_a_terminal(study, tmp_path):
    main, terminal = pty.openpty()
    with scp(tmp_path) as server:
        import subprocess

        done = subprocess.run(
            [*DIMSE, "storescu", at(server), str(study)],
            stderr=terminal,
            stdout=subprocess.PIPE,
            env={**os.environ, "TERM": "xterm"},
            timeout=25,
            check=False,
        )
    os.close(terminal)
    shown = os.read(main, 65536).decode()
    os.close(main)
    assert (done.returncode, done.stdout) == (0, b"")
    assert "[" in shown
    assert "/10" in shown
    assert shown.rstrip().splitlines()[-1].startswith("\x1b[Ksent 10 of 10 files, ") or (
        "sent 10 of 10 files, " in shown
    )


def test_proposing_one_syntax_converts(tmp_path):
    with scp(tmp_path) as server:
        assert dimse("storescu", "-xi", at(server), CT).returncode == 0
    import pydicom

    [path] = tmp_path.glob("*.dcm")
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_implicit_VR


def test_1_without_files(tmp_path):
    with scp(tmp_path) as server:
        done = dimse("storescu", at(server))
    assert done.returncode == 1
    assert "no files" in done.stderr


def test_20_when_input_is_missing_or_none_of_it_is_dicom(study, tmp_path):
    with scp(tmp_path / "in") as server:
        for path in (tmp_path / "none", study / "notes.txt"):
            done = dimse("storescu", at(server), path)
            assert done.returncode == 20, done.stderr
            assert str(path) in done.stderr
            assert len(done.stderr.splitlines()) == 1


def test_40_when_the_report_cannot_be_written(tmp_path):
    done = dimse("storescu", "--report", tmp_path / "no" / "r", "A@127.0.0.1:1", CT)
    assert done.returncode == 40


def test_60_when_nobody_listens_is_said_once(study):
    with scp() as gone:
        address = at(gone)
    done = dimse("storescu", address, study)
    assert done.returncode == 60
    first, _, rest = done.stderr.splitlines()
    assert "cannot connect" in first
    assert rest.startswith("E: 9 more not sent, ")


def test_61_when_rejected_says_why_once_with_a_hint(study, tmp_path):
    with scp(tmp_path) as server:
        done = dimse("storescu", f"WRONG@127.0.0.1:{server.port}", study)
    assert done.returncode == 61
    first, hint, _, rest = done.stderr.splitlines()
    assert "called AE title not recognized (1,1,7" in first
    assert hint.startswith("hint: ")
    assert rest.startswith("E: 9 more not sent")


def test_65_when_nothing_fits_the_peer(tmp_path):
    with picky(tmp_path, {str(MRImageStorage): []}) as peer:
        done = dimse("storescu", peer, CT)
    assert done.returncode == 65
    assert "CT Image Storage" in done.stderr


def test_65_for_a_compressed_file_that_the_peer_cannot_take(tmp_path):
    with picky(tmp_path, {"1.2.840.10008.5.1.4.1.1.7": ["1.2.840.10008.1.2"]}) as peer:
        done = dimse("storescu", peer, JPEG_2000)
    assert done.returncode == 65
    line, hint = done.stderr.splitlines()
    assert "only in Implicit VR Little Endian" in line
    assert "decompress" in hint


def test_68_for_warnings_and_69_for_failures(tmp_path):
    server = scp()
    server.c_store(CTImageStorage)(lambda request: 0xB000)
    server.c_store(MRImageStorage)(lambda request: 0xA700)
    with server:
        warned = dimse("storescu", at(server), CT)
        failed = dimse("storescu", at(server), CT, MR_IMPLICIT)
    assert warned.returncode == 68
    assert warned.stderr == f"W: {CT}: warning, 0xB000 (coercion of data elements)\n"
    assert failed.returncode == 69
    assert failed.stderr.splitlines()[1].startswith(f"E: {MR_IMPLICIT}: failed, 0xA700")


def test_69_when_only_some_of_it_went(study, tmp_path):
    server = scp(services=[Storage(tmp_path, mode="fast", sop_classes=[CTImageStorage])])
    with server:
        done = dimse("storescu", at(server), CT, MR_IMPLICIT)
    assert done.returncode == 69


def test_71_when_the_peer_does_not_answer(study):
    with Puppet(silent_after("data"), [CTImageStorage]) as peer:
        started = time.monotonic()
        done = dimse("storescu", "-td", 1, at(peer), CT)
    assert done.returncode == 71
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("options", [[], ["--associations", "2"]])
def test_130_on_ctrl_c(options, study):
    with (
        Puppet(silent_after("data"), [CTImageStorage]) as peer,
        Process([*DIMSE, "storescu", *options, at(peer), str(study)]) as tool,
    ):
        assert peer.reached.wait(20), tool.story("did not get there")
        started = time.monotonic()
        tool.interrupt()
        assert tool.wait() == 130
        assert time.monotonic() - started < 2
        assert tool.errors().splitlines()[-1] == "interrupted: 0 of 10 files sent"


def test_a_reader_that_leaves_is_not_a_crash(study, tmp_path):
    import subprocess

    with scp(tmp_path) as server:
        tool = subprocess.Popen(
            [*DIMSE, "storescu", "--json", at(server), str(study)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        tool.stdout.close()
        assert tool.wait(25) == 40
        assert tool.stderr.read() == ""
        tool.stderr.close()


def test_files_are_found_whatever_they_are_called(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("IM0001", "with space.DCM", "ünï.dcm", "-dash"):
        shutil.copy(CT, folder / name)
    with scp(tmp_path / "out") as server:
        done = dimse("storescu", "--json", at(server), folder)
    assert done.returncode == 0
    paths = {event["path"] for event in events(done.stdout) if event["event"] == "sent"}
    assert paths == {str(path) for path in folder.iterdir()}


def test_what_is_skipped_is_counted_and_told(study, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(CT, folder / "good.dcm")
    (folder / "notes.txt").write_text("not DICOM")
    os.mkfifo(folder / "pipe.dcm")
    with scp(tmp_path / "out") as server:
        done = dimse("storescu", "-v", "--json", at(server), folder)
    assert done.returncode == 0
    told = {
        Path(event["path"]).name: event["reason"]
        for event in events(done.stdout)
        if event["event"] == "skipped"
    }
    assert told.keys() == {"notes.txt", "pipe.dcm"}
    assert told["pipe.dcm"] == "not a regular file"
    assert events(done.stdout)[-1]["skipped"] == 2
    assert done.stderr.rstrip().endswith(", 2 skipped")


def test_an_empty_path_is_refused_by_name(tmp_path):
    with scp(tmp_path) as server:
        done = dimse("storescu", at(server), "")
    assert done.returncode == 1
    assert done.stderr == 'E: "" is no path; the current directory is "."\n'


def test_a_data_set_without_preamble_is_sent(tmp_path):
    data = data_set(CT)
    (tmp_path / "bare").write_bytes(data)
    with scp(tmp_path / "out") as server:
        done = dimse("storescu", at(server), tmp_path / "bare")
    assert (done.returncode, done.stderr) == (0, "")
    assert stored(tmp_path / "out") == {data}


def test_repair_says_what_it_did(tmp_path):
    path = tmp_path / "odd.dcm"
    path.write_bytes(part10(instance(b"1.2.3", ODD["pixels"][0])))
    with scp(tmp_path / "out") as server:
        done = dimse("storescu", at(server), path)
        assert done.returncode == 20
        assert "odd length" in done.stderr
        done = dimse("storescu", "--json", "--repair", at(server), path)
    assert done.returncode == 0
    assert done.stderr == f"W: {path}: repaired, padded (7FE0,0010)\n"
    [sent] = [event for event in events(done.stdout) if event["event"] == "sent"]
    assert sent["repaired"] == ["padded (7FE0,0010)"]


def test_files_behind_one_at_which_the_peer_aborts_are_sent(tmp_path):
    for number in range(6):
        data = instance(b"1.2.3.%d" % number)
        (tmp_path / f"{number}.dcm").write_bytes(part10(data))
    with ScriptedPeer() as peer:
        peer.abort(at=[2, 3, 5])
        done = dimse("storescu", "--json", peer.address, tmp_path)
        assert done.returncode == 69
        assert [one.instance_uid for one in peer.heard] == [f"1.2.3.{n}" for n in range(6)]
        summary = events(done.stdout)[-1]
        assert (summary["sent"], summary["failed"], summary["not_sent"]) == (3, 3, 0)
        peer.clear()
        peer.abort(at=2)
        done = dimse("storescu", "--json", "--reassociate", 0, peer.address, tmp_path)
    assert events(done.stdout)[-1]["not_sent"] == 5 - 1


def test_ctrl_c_says_how_many_were_sent(study, tmp_path):
    came, gate = [], threading.Event()
    server = scp()

    @server.c_store
    def store(request):
        came.append(request.instance_uid)
        if len(came) > 3:
            gate.wait(20)

    report = tmp_path / "report.jsonl"
    with server:
        command = [*DIMSE, "storescu", "--report", str(report), at(server), str(study)]
        with Process(command) as tool:
            until(lambda: len(came) == 4)
            started = time.monotonic()
            tool.interrupt()
            assert tool.wait() == 130
            assert time.monotonic() - started < 5
            gate.set()
            assert re.search(r"interrupted: \d of 10 files sent", tool.errors())
    told = [json.loads(line) for line in report.read_text().splitlines()]
    [summary] = [event for event in told if event["event"] == "summary"]
    assert (summary["files"], summary["sent"] + summary["failed"] >= 4) == (10, True)
    assert told[-1]["code"] == 130


def test_retries_wait_for_a_peer_that_has_no_room(study):
    came = []
    server = scp()

    @server.c_store
    def store(request):
        came.append(request.instance_uid)
        return 0xA700 if len(came) == 1 else 0

    with server:
        done = dimse("storescu", "--json", "--retries", "2", "--backoff", "0", at(server), study)
    assert done.returncode == 0
    told = events(done.stdout)
    [retry] = [event for event in told if event["event"] == "retry"]
    assert (retry["files"], retry["retry"]) == (1, 1)
    assert len([event for event in told if event["event"] == "sent"]) == 10
    assert len([event for event in told if event["event"] == "progress"]) == 1
