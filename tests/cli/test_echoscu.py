"""`dimse echoscu`, end to end."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from dimse_rs import StatusError, Verification, _core
from tests.support.nodes import Puppet, at, link, picky, scp, silent_after
from tests.support.process import Process
from tests.support.tools import DIMSE, dimse, events

IMPLEMENTATION = _core.implementation()
CLASS, VERSION = IMPLEMENTATION.class_uid, IMPLEMENTATION.version


@pytest.fixture(scope="module")
def server():
    with scp() as running:
        yield running


def test_the_peer_in_every_form(server):
    port = server.port
    for peer in (
        [at(server)],
        ["-aec", "SCP", f"127.0.0.1:{port}"],
        ["-aec", "SCP", "127.0.0.1", port],
        ["SCP@127.0.0.1", port],
        ["-c", at(server)],
        ["--call", "SCP", "--connect", f"127.0.0.1:{port}"],
    ):
        done = dimse("echoscu", *peer)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_all_options_at_once(server):
    done = dimse(
        *("echoscu", "-v", "-aet", "ME", "-aec", "SCP", "-pdu", 16384, "-to", 5, "-ts", 5),
        *("-ta", 5, "-td", 5, "--repeat", 3, "127.0.0.1", server.port),
    )
    assert (done.returncode, done.stdout) == (0, "")
    lines = done.stderr.splitlines()
    assert lines[0] == f"I: requesting association with {at(server)}"
    assert lines[1].startswith("I: SCP<-ME(1) established: 1 of 1 presentation contexts")
    assert [line.split(" ", 2)[2] for line in lines[2:]] == [
        *(
            text
            for number in (1, 2, 3)
            for text in (f"<< C-ECHO-RQ {number}", f">> C-ECHO-RSP {number} 0x0000 (success)")
        ),
        "released",
    ]


def test_debug_shows_the_negotiation_the_states_and_the_command_sets(server):
    done = dimse("echoscu", "-aet", "ME", "-d", at(server))
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert all(line.startswith(("I: ", "D: ")) for line in lines)
    rq = next(
        i for i, line in enumerate(lines) if line.startswith("D: SCP<-ME(1) << A-ASSOCIATE-RQ")
    )
    ac = next(
        i for i, line in enumerate(lines) if line.startswith("D: SCP<-ME(1) >> A-ASSOCIATE-AC")
    )
    assert rq < ac
    assert [line.removeprefix("D: ").split() for line in lines[rq + 1 : rq + 11]] == [
        ["Called", "AE", "Title:", "SCP"],
        ["Calling", "AE", "Title:", "ME"],
        ["Application", "Context:", "1.2.840.10008.3.1.1.1"],
        ["Maximum", "Length:", "131072"],
        ["Implementation", "Class:", CLASS],
        ["Implementation", "Version:", VERSION],
        ["Presentation", "Contexts:"],
        ["1", "Verification", f"({Verification})"],
        ["Explicit", "VR", "Little", "Endian", "(1.2.840.10008.1.2.1)"],
        ["Implicit", "VR", "Little", "Endian", "(1.2.840.10008.1.2)"],
    ]
    accepted = ["1", "Verification", f"({Verification}):", "acceptance"]
    assert accepted in [line.removeprefix("D: ").split() for line in lines[ac:]]
    steps = [line.split(") ")[1] for line in lines if "Evt" in line]
    assert steps[2] == "Sta5 + Evt3 -> AE-3 -> Sta6"
    assert not any("P-DATA-TF" in line for line in lines), "that is for -ll trace"
    message = next(i for i, line in enumerate(lines) if "<< C-ECHO-RQ in context 1" in line)
    assert [line.split()[1] for line in lines[message + 1 : message + 3]] == [
        "AffectedSOPClassUID:",
        "MessageID:",
    ]
    same = dimse("echoscu", "-aet", "ME", "-ll", "debug", at(server)).stderr
    assert same.count("D: ") == done.stderr.count("D: ")


def test_trace_shows_every_pdu_and_step(server):
    done = dimse("echoscu", "-ll", "trace", at(server))
    assert "T: SCP<-ECHOSCU(1) << P-DATA-TF, " in done.stderr
    assert "T: SCP<-ECHOSCU(1) Sta6 + Evt10 -> DT-2 -> Sta6" in done.stderr


def test_debug_shows_a_rejection_and_what_was_asked(server):
    done = dimse("echoscu", "-d", f"WRONG@127.0.0.1:{server.port}")
    assert done.returncode == 61
    lines = [line.strip() for line in done.stderr.splitlines()]
    rj = lines.index("D: WRONG<-ECHOSCU(1) >> A-ASSOCIATE-RJ, 4 bytes")
    assert [line.split()[1:] for line in lines[rj + 1 : rj + 4]] == [
        ["Result:", "1"],
        ["Source:", "1"],
        ["Reason:", "7"],
    ]
    assert any("<< A-ASSOCIATE-RQ" in line for line in lines[:rj])


def test_json(server):
    done = dimse("echoscu", "--json", "--repeat", 2, at(server))
    associated, summary = events(done.stdout)
    assert associated == {
        "event": "associated",
        "peer": at(server),
        "contexts": [{"class": Verification, "syntax": "1.2.840.10008.1.2.1"}],
    }
    assert summary.pop("seconds") > 0
    assert summary == {"event": "summary", "operations": 2, "status": 0}


def test_abort_in_place_of_release():
    server = scp()
    told = server.events()
    with server:
        assert dimse("echoscu", "--abort", at(server)).returncode == 0
        assert [next(told)["event"], next(told)["event"]] == ["associated", "error"]


def test_help_and_version():
    for arguments in (["--help"], ["echoscu", "--help"], ["-h"]):
        done = dimse(*arguments)
        assert done.returncode == 0
        assert done.stdout.startswith("usage: dimse")
        assert done.stderr == ""
    for arguments in (["--version"], ["echoscu", "--version"]):
        done = dimse(*arguments)
        assert done.returncode == 0
        assert done.stdout.startswith("dimse_rs 0.")


def test_1_for_a_wrong_command_line():
    for arguments in ([], ["echoscu"], ["echoscu", "-aet"], ["nosuch"], ["echoscu", "a", "b"]):
        done = dimse(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("E: ")


def test_60_when_nobody_listens():
    with scp() as gone:
        address = at(gone)
    done = dimse("echoscu", "--json", address)
    assert done.returncode == 60
    [line] = done.stderr.splitlines()
    assert line.startswith("E: cannot connect to 127.0.0.1:")
    [error] = events(done.stdout)
    assert (error["event"], error["code"]) == ("error", 60)


def test_61_when_rejected_says_why_in_one_line_with_a_hint(server):
    done = dimse("echoscu", "--json", f"WRONG@127.0.0.1:{server.port}")
    assert done.returncode == 61
    line, hint = done.stderr.splitlines()
    assert line.startswith("E: association rejected permanently by WRONG@127.0.0.1:")
    assert "called AE title not recognized (1,1,7" in line
    assert hint.startswith("hint: the peer does not go by the called AE title 'WRONG'")
    rejected, error = events(done.stdout)
    assert rejected == {
        "event": "rejected",
        "result": 1,
        "source": 1,
        "reason": 7,
        "hint": hint.removeprefix("hint: "),
    }
    assert error["code"] == 61


def test_61_when_the_peer_aborts():
    def abort(puppet):
        puppet.accept()
        puppet.until("command")
        puppet.core.abort()
        puppet.flush()

    with Puppet(abort) as peer:
        done = dimse("echoscu", at(peer))
    assert done.returncode == 61
    assert "aborted by the peer" in done.stderr


def test_65_when_verification_is_not_accepted(tmp_path):
    with picky(tmp_path, {"1.2.3": []}) as peer:
        done = dimse("echoscu", peer)
    assert done.returncode == 65
    assert "Verification" in done.stderr


def test_69_when_an_answer_is_a_failure():
    server = scp()
    statuses = iter([0, 0xB000, 0x0122, 0])

    @server.c_echo
    def echo(request):  # raised, as a C-ECHO has no warnings to give back (PS3.4 A.4)
        raise StatusError(next(statuses))

    with server:
        done = dimse("echoscu", "--repeat", 1000, at(server))
    assert done.returncode == 69
    assert "0x0122" in done.stderr
    assert list(statuses) == [0]


@pytest.mark.parametrize("option", ["-ta", "-td"])
def test_71_when_the_peer_is_silent(option):
    with Puppet(None if option == "-ta" else silent_after("command")) as peer:
        started = time.monotonic()
        done = dimse("echoscu", option, 1, at(peer))
    assert done.returncode == 71
    assert "timed out after 1 s" in done.stderr
    assert time.monotonic() - started < 10


def test_130_on_ctrl_c():
    with Puppet(silent_after("command")) as peer, Process([*DIMSE, "echoscu", at(peer)]) as tool:
        assert peer.reached.wait(20)
        started = time.monotonic()
        tool.interrupt()
        assert tool.wait() == 130
        assert time.monotonic() - started < 2
        assert tool.errors() == "interrupted\n"


def test_130_on_ctrl_c_between_repeated_requests():
    server = scp()
    well_under_way = threading.Event()
    count = itertools.count()
    server.c_echo(lambda request: 0 if next(count) < 10 else well_under_way.set() or 0)
    with server, Process([*DIMSE, "echoscu", "--repeat", str(10**18), at(server)]) as tool:
        assert well_under_way.wait(20)
        started = time.monotonic()
        tool.interrupt()
        assert tool.wait() == 130
        assert time.monotonic() - started < 2
        assert tool.errors() == "interrupted\n"


def test_quiet_says_nothing_whatever_happens(server):
    done = dimse("echoscu", "-q", f"WRONG@127.0.0.1:{server.port}")
    assert (done.returncode, done.stdout, done.stderr) == (61, "", "")


def test_the_association_is_what_was_asked_for():
    server = scp()
    seen = []
    server.c_echo(lambda request: seen.append(str(request.peer.ae_title)))
    with link(server, None):
        dimse("echoscu", "-aet", "MY NAME", at(server))
    assert seen == ["MY NAME"]
