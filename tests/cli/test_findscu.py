"""`dimse findscu` and `dimse mwlscu`, end to end."""

from __future__ import annotations

import os
import pty
import subprocess
import time

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dimse_rs import (
    ModalityWorklist,
    PatientRoot,
    PatientStudyOnly,
    QueryRetrieveOptions,
    StudyRoot,
    datasets,
)
from tests.support import wire
from tests.support.nodes import Puppet, at, picky, scp, silent_after
from tests.support.process import Process, run
from tests.support.scripted_scp import ScriptedScp
from tests.support.tools import DIMSE, dimse, events

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
EXPLICIT = "1.2.840.10008.1.2.1"
STUDIES = ["-S", "-L", "STUDY", "-k", "PatientID"]


def match(number, request):
    found = Dataset()
    found.PatientName = f"Doe^{number}"
    found.PatientID = str(number)
    if request.level:
        found.QueryRetrieveLevel = request.level
    return found


def finder(answer=lambda request: (match(number, request) for number in range(3)), **options):
    """Make a server with these answers; `asked` are the identifiers."""
    server = scp(**options)
    server.asked = []

    @server.c_find(ModalityWorklist, PatientRoot, StudyRoot, PatientStudyOnly)
    def find(request):
        server.asked.append((request.sop_class, request.identifier))
        return answer(request)

    return server


def test_matches_are_printed():
    with finder() as server:
        done = dimse("findscu", *STUDIES, "-k", "PatientName=D*", at(server))
    assert (done.returncode, done.stderr) == (0, "")
    one, two, three = done.stdout.rstrip("\n").split("\n\n")
    assert one.splitlines()[0] == "# match 1"
    assert "(0010,0010) Patient's Name                      PN: 'Doe^0'" in one
    assert "'Doe^1'" in two
    assert "'Doe^2'" in three
    [(sop_class, asked)] = server.asked
    assert sop_class == StudyRoot.find
    assert (asked.QueryRetrieveLevel, asked.PatientName, asked.PatientID) == ("STUDY", "D*", "")


def test_a_dcmtk_command_line(tmp_path):
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.PatientName = "OVERRIDDEN"
    query.StudyID = "KEPT"
    datasets.write_encoded(tmp_path / "q.dcm", datasets.to_bytes(query, EXPLICIT), EXPLICIT, FIND)
    with finder() as server:
        done = dimse(
            *("findscu", "-v", "-P", "-aet", "ME", "-aec", "SCP", "-to", 5, "-ta", 5, "-td", 5),
            *("-pdu", 16384, "-xi", "-k", "(0010,0010)=HEWETT*", "127.0.0.1", server.port),
            *("-sr", tmp_path / "q.dcm"),
        )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[-1] == "I: 3 matches"
    [(sop_class, asked)] = server.asked
    assert sop_class == PatientRoot.find
    assert (asked.PatientName, asked.StudyID) == ("HEWETT*", "KEPT")


@pytest.mark.parametrize(
    ("option", "model"),
    [
        ("-W", ModalityWorklist),
        (None, ModalityWorklist),
        ("-P", PatientRoot),
        ("-S", StudyRoot),
        ("-O", PatientStudyOnly),
    ],
)
def test_models(option, model):
    with finder() as server:
        options = ["-L", "PATIENT"] if option not in (None, "-W") else []
        keys = ["-k", "(0040,0100)[0].Modality=CT"]
        done = dimse("findscu", *filter(None, [option]), *options, *keys, at(server))
    assert (done.returncode, done.stderr) == (0, "")
    [(sop_class, asked)] = server.asked
    assert sop_class == model.find
    assert asked.ScheduledProcedureStepSequence[0].Modality == "CT"


def test_json_has_one_event_for_each_match(tmp_path):
    with finder() as server:
        done = dimse("findscu", "--json", "--report", tmp_path / "r", *STUDIES, at(server))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "r").read_text() == done.stdout
    associated, *matches, summary = events(done.stdout)
    assert associated == {
        "event": "associated",
        "peer": at(server),
        "contexts": [{"class": FIND, "syntax": EXPLICIT}],
    }
    assert matches[1] == {
        "event": "match",
        "dataset": {
            "00080052": {"vr": "CS", "Value": ["STUDY"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^1"}]},
            "00100020": {"vr": "LO", "Value": ["1"]},
        },
    }
    assert summary.pop("seconds") > 0
    assert summary == {
        **{"event": "summary", "operations": 1, "matches": 3, "written": 0, "failed": 0},
    }


def test_extracted_matches_are_files_with_the_bytes_that_came(tmp_path):
    with finder() as server:
        done = dimse("findscu", "-X", "-od", tmp_path / "new", *STUDIES, at(server))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        limited = dimse(
            *("findscu", "-X", "-Xlo", 2, "-od", tmp_path / "two", "--json", *STUDIES, at(server))
        )
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        *("rsp0001.dcm", "rsp0002.dcm", "rsp0003.dcm"),
    ]
    read = dcmread(tmp_path / "new" / "rsp0002.dcm")
    assert (read.PatientID, read.QueryRetrieveLevel) == ("1", "STUDY")
    assert read.file_meta.TransferSyntaxUID == EXPLICIT
    assert read.file_meta.MediaStorageSOPClassUID == FIND
    told = [event for event in events(limited.stdout) if event["event"] == "match"]
    assert [event.get("path") for event in told] == [
        *(str(tmp_path / "two" / name) for name in ("rsp0001.dcm", "rsp0002.dcm")),
        None,
    ]
    assert len(list((tmp_path / "two").iterdir())) == 2


def test_cancel_stops_the_peer_and_is_no_failure():
    seen = []

    def endless(request):
        try:
            for number in range(1_000_000):
                yield match(number, request)
        finally:
            seen.append(request.cancelled)

    with finder(endless) as server:
        done = dimse("findscu", "--cancel", 2, *STUDIES, at(server))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("# match") == 2
    assert seen == [True]


def test_several_requests_over_one_association(tmp_path):
    files = []
    for number in range(4):
        query = Dataset()
        query.QueryRetrieveLevel = "STUDY"
        query.StudyID = str(number)
        files.append(tmp_path / f"{number}.dcm")
        datasets.write_encoded(files[-1], datasets.to_bytes(query, EXPLICIT), EXPLICIT, FIND)
    with finder() as server:
        done = dimse("findscu", "-S", at(server), *files[:2], "-f", files[2], "-f", files[3])
        assert (done.returncode, done.stdout.count("# match")) == (0, 12)
        assert sorted(asked.StudyID for _, asked in server.asked) == ["0", "1", "2", "3"]
        server.asked.clear()
        done = dimse("findscu", "--json", "--repeat", 3, *STUDIES, at(server))
        assert events(done.stdout)[-1]["operations"] == len(server.asked) == 3


def test_max_ops_has_several_outstanding():
    import threading

    together = threading.Barrier(3)

    def wait(request):
        together.wait(15)
        return [match(0, request)]

    with finder(wait, max_ops_performed=3) as server:
        done = dimse("findscu", "--repeat", 3, "--max-ops", 3, "--json", *STUDIES, at(server))
    assert (done.returncode, done.stderr) == (0, "")
    assert events(done.stdout)[-1]["matches"] == 3


def test_1_for_a_wrong_command_line():
    for arguments in (
        [],
        ["host", "104"],
        ["-k", "Nope=1", "host:104"],
        ["-S", "-P", "-k", "PatientID", "host:104"],
        ["-L", "NONE", "-k", "PatientID", "host:104"],
    ):
        done = dimse("findscu", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("E: ")


def test_20_and_40_for_files(tmp_path):
    with finder() as server:
        assert dimse("findscu", at(server), tmp_path / "missing.dcm").returncode == 20
        (tmp_path / "file").touch()
        done = dimse("findscu", "-X", "-od", tmp_path / "file", *STUDIES, at(server))
        assert done.returncode == 40
        assert server.asked == []


def test_the_peer_is_told_who_asks():
    seen = []

    def verify(proposal):
        seen.append(proposal.identity.name)
        return proposal.identity.name == "bob"

    with finder(verify_identity=verify) as server:
        assert dimse("findscu", "-usr", "bob", *STUDIES, at(server)).returncode == 0
        assert dimse("findscu", "-usr", "eve", *STUDIES, at(server)).returncode == 61
    assert seen == ["bob", "eve"]


def test_options_are_agreed_on():
    got = []

    def find(request):
        got.append(request.association.extended[StudyRoot.find])
        return []

    options = QueryRetrieveOptions(relational=True, timezone=True)
    with finder(find, extended={StudyRoot: options}) as server:
        done = dimse("findscu", "--relational", "--datetime", *STUDIES, at(server))
        assert (done.returncode, done.stderr) == (
            0,
            "W: the peer did not agree to --datetime\n",
        )
    assert got == [QueryRetrieveOptions(relational=True)]
    assert dimse("findscu", "-W", "--fuzzy", "-k", "PatientID", "host:104").returncode == 1


def test_61_says_why_in_one_line():
    with finder() as server:
        done = dimse("findscu", *STUDIES, f"WRONG@127.0.0.1:{server.port}")
    assert done.returncode == 61
    line, hint = done.stderr.splitlines()
    assert "called AE title not recognized (1,1,7" in line
    assert hint.startswith("hint: ")


def test_65_when_the_model_is_not_accepted(tmp_path):
    with picky(tmp_path, {"1.2.3": []}) as peer:
        done = dimse("findscu", *STUDIES, peer)
    assert done.returncode == 65
    assert "Study Root" in done.stderr


def test_69_when_a_request_fails_and_the_others_are_made():
    def refuse(request):
        if request.identifier.get("PatientID"):
            return [match(0, request)]
        return 0xA900

    with finder(refuse) as server:
        done = dimse("findscu", "--json", "--repeat", 2, *STUDIES, at(server))
        assert done.returncode == 69
        assert done.stderr.count("0xA900") == 2
        told = events(done.stdout)
        assert [event["event"] for event in told] == ["associated", "error", "error", "summary"]
        assert (told[1]["code"], told[-1]["failed"]) == (69, 2)
        assert (
            dimse("findscu", "-S", "-L", "STUDY", "-k", "PatientID=1", at(server)).returncode == 0
        )


def test_a_bad_value_hides_no_other():
    def odd(request):
        patient, unknown = b"\x10\0\x20\0LO\2\0" + b"7 ", b"\x09\0\x10\x10ZZ\0\0"
        return [unknown + patient + b"\x28\0\x10\0US\3\0" + b"abc"]

    with finder(odd) as server:
        done = dimse("findscu", *STUDIES, at(server))
        assert (done.returncode, done.stderr) == (0, "")
        assert "LO: '7'" in done.stdout
        assert "(0028,0010) cannot be decoded: US b'abc'" in done.stdout
        assert "(0009,1010) cannot be decoded: ZZ None" in done.stdout
        done = dimse("findscu", "--json", *STUDIES, at(server))
        assert (done.returncode, done.stderr) == (0, "")
        assert events(done.stdout)[1]["dataset"] == {"00100020": {"vr": "LO", "Value": ["7"]}}


def test_69_when_a_match_cannot_be_read():
    def broken(request):
        return [b"\x08\0\5\x11SQ\0\0\xff\xff\xff\xff", match(1, request)]

    with finder(broken) as server:
        done = dimse("findscu", *STUDIES, at(server))
    assert done.returncode == 69
    assert done.stderr.startswith("E: the data set is cut short: (0008,1105) at byte 12")
    assert done.stdout.startswith("# match 2\n")


def test_71_when_the_peer_is_silent():
    with Puppet(silent_after("command"), accepts=[FIND]) as peer:
        started = time.monotonic()
        done = dimse("findscu", "-td", 1, *STUDIES, at(peer))
    assert done.returncode == 71
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("options", [[], ["--max-ops", 2, "--repeat", 2]])
def test_130_on_ctrl_c(options):
    arguments = [*map(str, options), *STUDIES]
    with (
        Puppet(silent_after("command"), accepts=[FIND]) as peer,
        Process([*DIMSE, "findscu", *arguments, at(peer)]) as tool,
    ):
        assert peer.reached.wait(20)
        started = time.monotonic()
        tool.interrupt()
        assert tool.wait() == 130
        assert time.monotonic() - started < 2
        assert tool.errors() == "interrupted\n"


def test_a_missing_level_is_warned_of():
    with finder() as server:
        done = dimse("findscu", "-S", "-k", "PatientID", at(server))
    assert (done.returncode, done.stderr) == (
        0,
        "W: no Query/Retrieve Level, which peers require: give it with -L\n",
    )


def test_keys_that_the_peer_does_not_support_are_warned_of():
    with finder(lambda request: [(0xFF01, match(0, request)), match(1, request)]) as server:
        done = dimse("findscu", *STUDIES, at(server))
    assert (done.returncode, done.stdout.count("# match")) == (0, 2)
    assert done.stderr.startswith("W: the peer does not support all of these keys")


def test_mwlscu_asks_for_what_a_modality_wants_and_keys_narrow_it():
    with finder() as server:
        done = dimse("mwlscu", at(server), "-k", "(0040,0100)[0].Modality=CT", "-k", "PatientID=7")
    assert (done.returncode, done.stderr, done.stdout.count("# match")) == (0, "", 3)
    [(sop_class, asked)] = server.asked
    assert sop_class == ModalityWorklist.find
    [step] = asked.ScheduledProcedureStepSequence
    assert (step.Modality, step.ScheduledStationAETitle) == ("CT", "")
    assert (asked.PatientID, asked.PatientName, asked.AccessionNumber) == ("7", "", "")
    assert "QueryRetrieveLevel" not in asked


@pytest.mark.parametrize("tool", ["findscu", "mwlscu"])
@pytest.mark.parametrize(
    ("status", "code", "text"),
    [(0xFE00, 69, "E: status 0xFE00"), (0xB000, 68, "W: there may be more matches")],
)
def test_an_end_before_the_end_is_told(tool, status, code, text):
    """A search that the peer cuts short is not complete: 69 when it gave up, 68 when it warns."""

    def script(peer):
        peer.accept((1, 0, [wire.IMPLICIT]))
        elements, _ = peer.message()
        answer = wire.response(0x0020, wire.number_of(elements, 0x0110), status)
        peer.send(wire.as_commands(1, answer))
        peer.release()

    with ScriptedScp(script) as peer:
        options = ["-k", "PatientID"] if tool == "mwlscu" else STUDIES
        done = dimse(tool, "--json", *options, peer.address)
    assert done.returncode == code
    assert done.stderr.startswith(text)


TERMINALS = [
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "utf-8:strict"},
]


@pytest.mark.parametrize("tool", ["findscu", "mwlscu"])
@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("terminal", TERMINALS)
def test_a_terminal_that_has_not_all_letters_is_survived(terminal, options, tool, tmp_path):
    def answer(request):
        found = match(1, request)
        found.SpecificCharacterSet = "ISO_IR 192"
        found.PatientName = "山田^Łukasz"
        return [found]

    report = tmp_path / "report"
    query = ["-k", "PatientID"] if tool == "mwlscu" else STUDIES
    with finder(answer) as server:
        done = run(
            [*DIMSE, tool, *options, "--report", str(report), *query, at(server)], env=terminal
        )
    assert (done.returncode, done.stderr) == (0, "")
    if options:
        [found] = [event for event in events(done.stdout) if event["event"] == "match"]
        assert found["dataset"]["00100010"]["Value"] == [{"Alphabetic": "山田^Łukasz"}]
    else:
        assert "ukasz" in done.stdout
    assert any(event["event"] == "match" for event in events(report.read_text("utf-8")))


@pytest.mark.parametrize("terminal", TERMINALS)
def test_names_of_files_are_survived_too(terminal, tmp_path):
    """Also those that are no text in any encoding."""
    missing = os.fsencode(tmp_path / "Größe-") + b"\xe4.dcm"
    done = run([*DIMSE, "storescu", "--json", "A@127.0.0.1:1", os.fsdecode(missing)], env=terminal)
    assert done.returncode == 20
    assert "no such file" in done.stderr
    assert "Traceback" not in done.stderr
    assert events(done.stdout)[-1]["event"] == "error"


# ---- a table, for people


def at_a_terminal(*arguments, columns=60):
    """Run a tool whose standard output is a terminal; give what it shows."""
    terminal, end = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "PYTHONUTF8": "1"}
    process = subprocess.Popen([*DIMSE, *map(str, arguments)], stdout=end, env=environment)
    os.close(end)
    shown = b""
    try:
        while more := os.read(terminal, 65536):
            shown += more
    except OSError:  # how Linux tells that the other end is closed
        pass
    os.close(terminal)
    assert process.wait(20) == 0
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("tool", ["findscu", "mwlscu"])
def test_people_get_a_table(tool):
    keys = STUDIES if tool == "findscu" else []
    with finder() as server:
        shown = at_a_terminal(tool, *keys, "-k", "PatientName", at(server))
        piped = dimse(tool, *keys, "-k", "PatientName", at(server)).stdout
        full = at_a_terminal(tool, *keys, "-k", "PatientName", "+sr", at(server))
    head, rule, *rows = shown.rstrip("\n").split("\n")
    assert sorted(head.split()) == ["PatientID", "PatientName"]
    assert set(rule) == {"-", " "}
    assert [sorted(row.split()) for row in rows] == [[str(n), f"Doe^{n}"] for n in range(3)]
    assert piped.startswith("# match 1\n(0")
    assert full == piped


def test_what_a_terminal_would_obey_is_not_sent_to_it():
    evil = b"\x10\0\x20\0\x06\0\0\0" + b"1\x1b[2J "  # implicit: our own encoding refuses it
    with finder(lambda request: [evil]) as server:
        shown = at_a_terminal("findscu", "-xi", *STUDIES, at(server))
    assert "\x1b" not in shown
    assert "1\\x1b[2J" in shown
