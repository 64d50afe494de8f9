"""The command line against a fake AE and a fake Server: options, output, exit codes."""

from __future__ import annotations

import io
import json
import re
import signal
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

import dimse_rs
from dimse_rs import errors, sop_class as uids
from dimse_rs.cli import main
from dimse_rs.cli.exits import CliError, ExitCode, exit_code, report_code, table
from dimse_rs.cli.main import VERBS
from dimse_rs.cli.output import Output, Progress, size_text
from dimse_rs.identity import Jwt, Kerberos, Saml, UserIdentity, Username, UsernamePasscode
from dimse_rs.status import SUCCESS, Status


@dataclass
class Result:
    path: Path = Path("a.dcm")
    sop_instance: str = "1.2.3"
    status: Status | None = SUCCESS
    comment: str = ""
    error: errors.DimseError | None = None
    bytes: int = 100
    category: str = "ok"
    repaired: tuple[str, ...] = ()


@dataclass
class Report:
    results: list[Result]
    seconds: float = 0.5
    skipped: tuple[Any, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(result.bytes for result in self.results)


class FakeAssociation:
    def __init__(self, world: Any) -> None:
        self.world = world
        self.accepted = [
            SimpleNamespace(
                sop_class=uids.Verification, transfer_syntax=uids.ExplicitVRLittleEndian
            )
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.world.calls.append("exit")

    def c_echo(self, *, repeat: int = 1) -> Status:
        self.world.calls.extend(["echo"] * repeat)
        if isinstance(self.world.echo, BaseException):
            raise self.world.echo
        return Status(0)

    def release(self) -> None:
        self.world.calls.append("release")

    def abort(self) -> None:
        self.world.calls.append("abort")


class FakeServer:
    def __init__(self, world: Any, ae: Any, **options: Any) -> None:
        self.world, self.ae, self.options = world, ae, options
        self.host, self.port = options["host"], options["port"] or 40123
        self.handlers: list[Any] = []
        world.server = self

    def c_store(self, handler: Any) -> Any:
        self.handlers.append(handler)
        return handler

    def start(self) -> None:
        if self.world.listen is not None:
            raise self.world.listen
        self.world.calls.append("start")

    def stop(self) -> None:
        self.world.calls.append("stop")

    def events(self, timeout: float | None = None) -> Any:
        for event in self.world.events:
            if isinstance(event, BaseException):
                raise event
            if callable(event):
                event()
            else:
                yield event

    def wait(self) -> None:
        assert not list(self.events())


@dataclass
class World:
    """What the fakes were given and what they answer."""

    calls: list[str] = field(default_factory=list)
    echo: BaseException | None = None
    associate: BaseException | None = None
    results: list[Result] = field(default_factory=lambda: [Result()])
    send: BaseException | None = None
    send_events: list[dict[str, Any]] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    listen: BaseException | None = None
    ae: Any = None
    peer: Any = None
    identity: UserIdentity | None = None
    sent: dict[str, Any] = field(default_factory=dict)
    paths: list[Path] = field(default_factory=list)
    server: Any = None
    storage: dict[str, Any] | None = None


@pytest.fixture
def world(monkeypatch):
    world = World()

    class FakeAE:
        def __init__(self, title: str, **options: Any) -> None:
            self.title, self.options = title, options
            world.ae = self

        def associate(
            self, peer: str, *, contexts: Any, identity: UserIdentity | None
        ) -> FakeAssociation:
            world.peer, world.identity = peer, identity
            if world.associate is not None:
                raise world.associate
            return FakeAssociation(world)

        def send(self, peer: str, paths: Any, **options: Any) -> Report:
            world.peer, world.paths, world.sent = peer, list(paths), options
            for event in world.send_events:
                options["on_event"](event)
            for result in world.results:
                options["on_result"](result)
            if world.send is not None:
                raise world.send
            return Report(world.results)

    def storage(folder: Path, **options: Any) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        world.storage = {"folder": folder, **options}
        return "storage"

    monkeypatch.setattr(dimse_rs, "AE", FakeAE, raising=False)
    monkeypatch.setattr(dimse_rs, "Storage", storage, raising=False)
    monkeypatch.setattr(
        dimse_rs, "Server", lambda ae, **options: FakeServer(world, ae, **options), raising=False
    )
    return world


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# The command itself


def test_help_names_every_verb_and_help_on_a_verb_names_every_exit_code(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in VERBS)
    for verb in VERBS:
        assert main([verb, "--help"]) == 0
        out = capsys.readouterr().out
        assert "examples:" in out
        assert table() in out
        assert all(str(code.value) in out for code in ExitCode)


def test_the_readme_lists_every_verb():
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert re.findall(r"^\| `dimse (\w+)`", readme, re.M) == list(VERBS)


@pytest.mark.parametrize("argv", [[], ["nosuch"], ["-v"]])
def test_no_verb_is_a_usage_error_on_stderr(argv, capsys):
    assert main(argv) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "verbs:" in err


@pytest.mark.parametrize("argv", [["--version"], ["echoscu", "--version"]])
def test_version(argv, capsys):
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith("dimse_rs ")


@pytest.mark.parametrize(
    "argv",
    [
        ["echoscu"],
        ["echoscu", "host"],
        ["echoscu", "host", "abc"],
        ["echoscu", "host", "70000"],
        ["echoscu", "A@host:104", "extra"],
        ["echoscu", "-aet", "SEVENTEEN_LETTERS", "host:104"],
        ["echoscu", "-pdu", "100", "host:104"],
        ["echoscu", "-ta", "soon", "host:104"],
        ["echoscu", "-ta", "-5", "host:104"],
        ["echoscu", "--repeat", "0", "host:104"],
        ["echoscu", "--rep", "2", "host:104"],
        ["echoscu", "-ll", "loud", "host:104"],
        ["storescu", "host:104"],
        ["storescu", "-c", "A@host:104"],
        ["storescu", "-xi", "-xb", "host:104", "."],
        ["storescp"],
        ["storescp", "abc"],
        ["storescp", "1", "2"],
        ["storescp", "70000"],
        ["storescp", "--mode", "slow", "0"],
    ],
)
def test_usage_errors_exit_1_and_point_to_the_help(argv, world, capsys):
    assert main(argv) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("E: ")
    assert "--help" in err
    assert world.ae is None


# The mapping of outcomes to exit codes


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConnectFailed("x"), 60),
        (errors.AssociationRejected(1, 1, 3), 61),
        (errors.AssociationAborted(2, 0), 61),
        (errors.AssociationReleased(), 61),
        (errors.ConnectionLost("x"), 61),
        (errors.RemoteProtocolError("x"), 61),
        (errors.NoPresentationContext("1.2"), 65),
        (errors.StatusError(0x0122), 69),
        (errors.TlsError("x"), 70),
        (errors.DimseTimeout("connect", 10), 71),
        (errors.DimseTimeout("dimse", 60), 71),
        (errors.DecodeError("x"), 20),
        (FileNotFoundError(2, "no"), 20),
        (PermissionError(13, "no"), 20),
        (BrokenPipeError(), 40),
        (ValueError("x"), 1),
        (KeyboardInterrupt(), 130),
        (CliError(ExitCode.LISTEN, "x"), 64),
        (ZeroDivisionError(), None),
    ],
)
def test_exit_code_of_every_error(error, code):
    assert exit_code(error) == code


def not_sent(error: errors.DimseError) -> Result:
    return Result(status=None, error=error, bytes=0, category="not-sent")


FAILED = Result(status=Status(0xA700, "storage"), category="failed")
WARNED = Result(status=Status(0xB000, "storage"), category="warning")


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([Result()], 0),
        ([Result(), WARNED], 68),
        ([WARNED, FAILED], 69),
        ([FAILED], 69),
        ([not_sent(errors.ConnectFailed("x"))] * 2, 60),
        ([not_sent(errors.AssociationRejected(1, 1, 7))], 61),
        ([not_sent(errors.NoPresentationContext("1.2"))], 65),
        ([not_sent(errors.DecodeError("x"))], 20),
        ([not_sent(errors.DimseTimeout("acse"))], 71),
        ([Result(), not_sent(errors.ConnectFailed("x"))], 69),
        ([not_sent(errors.ConnectFailed("x")), not_sent(errors.DecodeError("x"))], 69),
    ],
)
def test_exit_code_of_a_transfer(results, code):
    assert report_code(Report(results)) == code


# echoscu


@pytest.mark.parametrize(
    ("argv", "peer"),
    [
        (["PACS@10.0.0.1:104"], "PACS@10.0.0.1:104"),
        (["10.0.0.1:104"], "ANY-SCP@10.0.0.1:104"),
        (["10.0.0.1", "104"], "ANY-SCP@10.0.0.1:104"),
        (["-aec", "PACS", "10.0.0.1", "104"], "PACS@10.0.0.1:104"),
        (["PACS@10.0.0.1", "104"], "PACS@10.0.0.1:104"),
        (["::1", "104"], "ANY-SCP@[::1]:104"),
        (["PACS@[::1]:104"], "PACS@[::1]:104"),
        (["-c", "PACS@10.0.0.1:104"], "PACS@10.0.0.1:104"),
        (["--connect", "PACS@10.0.0.1:104", "-aec", "OTHER"], "OTHER@10.0.0.1:104"),
    ],
)
def test_echoscu_takes_the_peer_in_every_form(argv, peer, world):
    assert main(["echoscu", *argv]) == 0
    assert world.peer == peer
    assert world.calls == ["echo", "release", "exit"]


def test_echoscu_is_silent_by_default_and_talks_like_dcmtk_with_v(world, capsys):
    assert main(["echoscu", "PACS@h:104"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["echoscu", "-v", "PACS@h:104"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "I: requesting association with PACS@h:104"
    assert all(line.startswith("I: ") for line in err.splitlines())


@pytest.mark.parametrize(
    ("verb", "meant"),
    [("echo", "echoscu"), ("storscu", "storescu"), ("FINDSCU", "findscu"), ("scpp", "scp")],
)
def test_a_misspelt_verb_gets_a_hint(verb, meant, capsys):
    assert main([verb]) == 1
    err = capsys.readouterr().err.splitlines()
    assert err[:2] == [f"E: no such verb: {verb}", f"hint: did you mean {meant}?"]
    assert err[2].startswith("usage: ")


def test_a_verb_that_is_like_none_gets_none(capsys):
    assert main(["xyzzy"]) == 1
    assert "hint" not in capsys.readouterr().err


def test_the_deadline_for_progress_can_be_chosen(world):
    assert main(["echoscu", "--progress-timeout", "90", "PACS@h:104"]) == 0
    assert world.ae.options["timeouts"].progress == 90


def test_echoscu_settings_reach_the_ae(world):
    argv = ["-aet", "ME", "-pdu", "16384", "-to", "1", "-ts", "2.5", "-ta", "3", "-td", "0"]
    assert main(["echoscu", *argv, "PACS@h:104"]) == 0
    assert world.ae.title == "ME"
    assert world.ae.options["max_pdu"] == 16384
    timeouts = world.ae.options["timeouts"]
    assert (timeouts.connect, timeouts.write, timeouts.acse, timeouts.release) == (1, 2.5, 3, 3)
    assert (timeouts.artim, timeouts.dimse, timeouts.store, timeouts.retrieve) == (3, 0, 0, 0)


@pytest.mark.parametrize(
    ("argv", "identity"),
    [
        ([], None),
        (["-usr", "bob"], Username("bob")),
        (["--user", "bob", "-rsp"], Username("bob", response_requested=True)),
        (["-usr", "bob", "-pwd", "s3cret"], UsernamePasscode("bob", "s3cret")),
        (["-usr", "bob", "-epw"], UsernamePasscode("bob", "")),
        (["-kt", "FILE"], Kerberos(b"from a \xff file\n")),
        (["--saml", "FILE"], Saml("from a \udcff file\n")),
        (["--jwt", "FILE", "--pos-response"], Jwt("from a \udcff file", response_requested=True)),
    ],
)
def test_user_identity(world, tmp_path, argv, identity):
    file = tmp_path / "identity"
    file.write_bytes(b"from a \xff file\n")
    argv = [str(file) if part == "FILE" else part for part in argv]
    assert main(["echoscu", *argv, "PACS@h:104"]) == 0
    assert world.identity == identity
    (tmp_path / "a.dcm").write_bytes(b"")
    assert main(["storescu", *argv, "PACS@h:104", str(tmp_path)]) == 0
    assert world.sent.get("identity") == identity


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["-pwd", "x"], "--password goes with --user"),
        (["-rsp"], "--pos-response goes with"),
        (["-usr", "bob", "--jwt", "x"], "one user identity only"),
        (["-usr", "bob", "-pwd", "x", "-epw"], "not allowed with"),
    ],
)
def test_user_identity_that_makes_no_sense(world, capsys, argv, why):
    assert main(["echoscu", *argv, "PACS@h:104"]) == 1
    assert why in capsys.readouterr().err


def test_user_identity_from_a_file_that_is_not_there(world, capsys, tmp_path):
    assert main(["echoscu", "-kt", str(tmp_path / "none"), "PACS@h:104"]) == 20
    assert "No such file" in capsys.readouterr().err


def test_echoscu_repeat_and_abort(world):
    assert main(["echoscu", "--repeat", "3", "--abort", "PACS@h:104"]) == 0
    assert world.calls == ["echo", "echo", "echo", "abort", "exit"]


def test_echoscu_json_events(world, capsys):
    assert main(["echoscu", "--json", "PACS@h:104"]) == 0
    associated, summary = events_of(capsys.readouterr().out)
    assert associated == {
        "event": "associated",
        "peer": "PACS@h:104",
        "contexts": [{"class": "1.2.840.10008.1.1", "syntax": "1.2.840.10008.1.2.1"}],
    }
    assert (summary["event"], summary["operations"], summary["status"]) == ("summary", 1, 0)


def test_rejection_is_one_line_with_a_hint_and_two_events(world, capsys):
    world.associate = errors.AssociationRejected(1, 1, 3, calling="ME", called="PACS")
    assert main(["echoscu", "--json", "PACS@h:104"]) == 61
    out, err = capsys.readouterr()
    line, hint = err.splitlines()
    assert line.startswith("E: association rejected permanently")
    assert "calling AE title not recognized (1,1,3" in line
    assert hint == f"hint: {world.associate.hint}"
    rejected, error = events_of(out)
    assert rejected == {
        "event": "rejected",
        "result": 1,
        "source": 1,
        "reason": 3,
        "hint": world.associate.hint,
    }
    assert (error["event"], error["code"]) == ("error", 61)
    assert "hint" not in error["message"]


def test_quiet_prints_nothing_at_all(world, capsys):
    world.associate = errors.AssociationRejected(1, 1, 3)
    assert main(["echoscu", "-q", "PACS@h:104"]) == 61
    assert capsys.readouterr() == ("", "")


def test_failure_status_and_interrupt(world, capsys):
    world.echo = errors.StatusError(0x0122)
    assert main(["echoscu", "PACS@h:104"]) == 69
    assert "SOP class not supported" in capsys.readouterr().err
    world.echo = KeyboardInterrupt()
    assert main(["echoscu", "--json", "PACS@h:104"]) == 130
    out, err = capsys.readouterr()
    assert err == "interrupted\n"
    assert events_of(out)[-1] == {"event": "error", "code": 130, "message": "interrupted"}


def test_bugs_are_not_hidden(world):
    world.echo = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        main(["echoscu", "PACS@h:104"])


# storescu


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a.dcm", "b.txt", "sub/c.dcm"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_storescu_hands_files_and_settings_to_send(world, folder):
    argv = ["-aet", "ME", "--associations", "3", "PACS@h:104", str(folder), str(folder / "a.dcm")]
    assert main(["storescu", *argv]) == 0
    assert (world.ae.title, world.peer) == ("ME", "PACS@h:104")
    assert world.paths == [folder, folder / "a.dcm"]
    assert (world.sent["associations"], world.sent["recurse"]) == (3, True)
    assert world.sent["contexts"] is None
    assert "max_ops_invoked" not in world.sent


def test_storescu_takes_dcmtk_command_lines(world, folder):
    argv = ["-v", "-aec", "PACS", "h", "104", "+sd", "+r", "-R", "-nh", str(folder), "-xs", "-d"]
    assert main(["storescu", *argv]) == 0
    assert (world.peer, world.paths) == ("PACS@h:104", [folder])


def test_storescu_with_connect_takes_all_parameters_as_files(world, folder):
    assert main(["storescu", "-c", "PACS@h:104", str(folder / "a.dcm"), str(folder)]) == 0
    assert world.paths == [folder / "a.dcm", folder]


def test_storescu_pattern_and_no_recurse(world, folder):
    assert main(["storescu", "PACS@h:104", str(folder), "+sp", "*.dcm"]) == 0
    assert world.paths == [folder / "a.dcm", folder / "sub" / "c.dcm"]
    assert main(["storescu", "--no-recurse", "PACS@h:104", str(folder), "+sp", "*.dcm"]) == 0
    assert world.paths == [folder / "a.dcm"]
    assert world.sent["recurse"] is False
    assert main(["storescu", "PACS@h:104", str(folder), "+sp", "*.xyz"]) == 20


@pytest.mark.parametrize(
    ("option", "first", "count"),
    [
        ("-x=", uids.ExplicitVRLittleEndian, 3),
        ("-xe", uids.ExplicitVRLittleEndian, 3),
        ("-xb", uids.ExplicitVRBigEndian, 3),
        ("-xi", uids.ImplicitVRLittleEndian, 1),
        ("--propose-implicit", uids.ImplicitVRLittleEndian, 1),
        ("-xd", uids.DeflatedExplicitVRLittleEndian, 4),
    ],
)
def test_storescu_proposals(option, first, count, world, folder):
    assert main(["storescu", option, "PACS@h:104", str(folder)]) == 0
    contexts = world.sent["contexts"]
    assert len(contexts) == 120
    assert {c.transfer_syntaxes[0] for c in contexts} == {first}
    assert {len(c.transfer_syntaxes) for c in contexts} == {count}


def test_storescu_max_ops(world, folder):
    assert main(["storescu", "--max-ops", "8", "PACS@h:104", str(folder)]) == 0
    assert world.sent["max_ops_invoked"] == 8


def test_storescu_missing_input_ends_before_connecting(world, tmp_path, capsys):
    assert main(["storescu", "PACS@h:104", str(tmp_path / "none.dcm")]) == 20
    assert "no such file" in capsys.readouterr().err
    assert world.ae is None


def test_storescu_without_any_dicom_file_is_an_input_error(world, folder):
    world.results = []
    assert main(["storescu", "PACS@h:104", str(folder)]) == 20


def test_storescu_tells_failures_and_warnings_and_the_summary(world, folder, capsys):
    world.results = [
        Result(Path("ok.dcm")),
        Result(Path("w.dcm"), status=Status(0xB000, "storage"), category="warning"),
        Result(Path("f.dcm"), status=Status(0xA700, "storage"), comment="full", category="failed"),
        not_sent(errors.NoPresentationContext("1.2")),
    ]
    assert main(["storescu", "PACS@h:104", str(folder)]) == 69
    out, err = capsys.readouterr()
    assert out == ""
    warned, failed, unsent = err.splitlines()
    assert warned == "W: w.dcm: warning, 0xB000 (coercion of data elements)"
    assert failed == "E: f.dcm: failed, 0xA700 (refused: out of resources): full"
    assert unsent.startswith("E: a.dcm: not-sent, no accepted presentation context")
    assert main(["storescu", "-v", "PACS@h:104", str(folder)]) == 69
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "I: sent 2 of 4 files, 300 B in 0.5 s (600 B/s), 1 warning, 1 failed, 1 not-sent"


def test_storescu_tells_a_common_reason_once_with_its_hint(world, folder, capsys):
    error = errors.AssociationRejected(1, 1, 7, called="PACS")
    world.send_events = [{"event": "rejected", "result": 1, "source": 1, "reason": 7, "hint": "x"}]
    world.results = [not_sent(error), not_sent(error), not_sent(error)]
    assert main(["storescu", "--json", "PACS@h:104", str(folder)]) == 61
    out, err = capsys.readouterr()
    first, hint, rest = err.splitlines()
    assert first == f"E: a.dcm: not-sent, {error.message}"
    assert hint == f"hint: {error.hint}"
    assert rest == f"E: 2 more not sent, {error.message}"
    names = [event["event"] for event in events_of(out)]
    assert names == ["sent", "rejected", "sent", "sent", "summary"]


def test_storescu_names_a_file_once_in_a_line(world, folder, capsys):
    world.results = [not_sent(errors.DecodeError("a.dcm: not a DICOM file"))]
    assert main(["storescu", "--json", "PACS@h:104", str(folder)]) == 20
    out, err = capsys.readouterr()
    assert err == "E: a.dcm: not-sent, not a DICOM file\n"
    assert events_of(out)[0]["error"] == "not a DICOM file"


def test_storescu_json_and_report_hold_the_same_events(world, folder, capsys, tmp_path):
    world.send_events = [
        {"event": "associated", "peer": "PACS@h:104", "contexts": []},
        {"event": "sent", "path": "told twice"},
    ]
    world.results = [Result(), not_sent(errors.DecodeError("bad", 4, "PS3.5 7"))]
    report = tmp_path / "report.jsonl"
    argv = ["--json", "--report", str(report), "PACS@h:104", str(folder)]
    assert main(["storescu", *argv]) == 69
    out = capsys.readouterr().out
    assert report.read_text() == out
    associated, first, second, summary = events_of(out)
    assert associated == world.send_events[0]
    assert first == {
        "event": "sent",
        "path": "a.dcm",
        "uid": "1.2.3",
        "status": 0,
        "comment": "",
        "category": "ok",
    }
    assert (second["status"], second["error"]) == (None, "bad at byte 4 (PS3.5 7)")
    assert summary == {
        "event": "summary",
        "files": 2,
        "sent": 1,
        "warnings": 0,
        "failed": 0,
        "skipped": 0,
        "not_sent": 1,
        "bytes": 100,
        "seconds": 0.5,
    }


def test_report_that_cannot_be_written_is_an_output_error(world, folder, capsys):
    argv = ["--report", str(folder / "none" / "r"), "PACS@h:104", str(folder)]
    assert main(["storescu", *argv]) == 40
    assert "cannot write the report" in capsys.readouterr().err
    assert world.ae is None


def test_storescu_interrupted(world, folder):
    world.send = KeyboardInterrupt()
    assert main(["storescu", "PACS@h:104", str(folder)]) == 130


# storescp


def test_storescp_defaults(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["storescp", "11112"]) == 0
    assert (world.calls[0], set(world.calls[1:])) == ("start", {"stop"})
    assert world.ae.title == "ANY-SCP"
    options = world.server.options
    assert (options["host"], options["port"]) == ("127.0.0.1", 11112)
    assert (options["any_called"], options["max_associations"]) == (False, 1000)
    assert options["services"] == ["storage"]
    assert world.storage == {
        "folder": Path(),
        "mode": "durable",
        "layout": "flat",
        "duplicates": "keep-both",
        "unknown": False,
        "reserve": None,
        "strict": False,
        "collect": (),
        "on_stored": None,
    }


def test_storescp_options(world, tmp_path):
    folder = tmp_path / "new" / "in"
    argv = ["-aet", "ME", "-ba", "::", "-od", str(folder), "--mode", "fast", "-td", "5"]
    argv += ["--layout", "study", "--duplicates", "reject", "-pm", "--any-called", "+B", "+xa"]
    argv += ["--fork", "--max-associations", "7", "-pdu", "65536", "--reserve", "1000"]
    argv += ["--strict", "11112"]
    assert main(["storescp", *argv]) == 0
    assert folder.is_dir()
    assert world.ae.title == "ME"
    assert (world.ae.options["timeouts"].idle, world.ae.options["timeouts"].dimse) == (5, 60)
    assert world.ae.options["limits"].max_associations == 7
    options = world.server.options
    assert (options["host"], options["any_called"]) == ("::", True)
    assert options["max_associations"] == 7
    assert world.storage == {
        "folder": folder,
        "mode": "fast",
        "layout": "study",
        "duplicates": "reject",
        "unknown": True,
        "reserve": 1000,
        "strict": True,
        "collect": (),
        "on_stored": None,
    }


def test_storescp_sort_on_study_uid_is_the_study_layout(world, tmp_path, capsys):
    assert main(["storescp", "-od", str(tmp_path), "-su", "", "0"]) == 0
    assert world.storage["layout"] == "study"
    assert capsys.readouterr().err == ""
    assert main(["storescp", "-od", str(tmp_path), "-su", "pre", "0"]) == 0
    assert "without a prefix" in capsys.readouterr().err


def test_storescp_ignore_stores_nothing(world):
    assert main(["storescp", "--ignore", "0"]) == 0
    assert world.storage is None
    assert world.server.options["services"] == []
    [handler] = world.server.handlers
    assert handler(object()) is None


def test_storescp_0_prints_the_bound_port_alone(world, tmp_path, capsys):
    assert main(["storescp", "-od", str(tmp_path), "0"]) == 0
    assert capsys.readouterr().out == "40123\n"
    assert main(["storescp", "-od", str(tmp_path), "11112"]) == 0
    assert capsys.readouterr().out == ""


def test_storescp_json_events(world, tmp_path, capsys):
    stored = {
        "event": "stored",
        "uid": "1.2",
        "class": "1.3",
        "syntax": "1.4",
        "path": "1.2.dcm",
        "bytes": 10,
        "calling": "MOD",
    }
    world.events = [stored]
    assert main(["storescp", "-od", str(tmp_path), "--json", "0"]) == 0
    assert events_of(capsys.readouterr().out) == [
        {"event": "listening", "host": "127.0.0.1", "port": 40123},
        stored,
    ]


def test_storescp_that_cannot_listen(world, tmp_path, capsys):
    world.listen = OSError(98, "Address already in use")
    assert main(["storescp", "-od", str(tmp_path), "11112"]) == 64
    message = "E: cannot listen on 127.0.0.1:11112: Address already in use\n"
    assert capsys.readouterr().err == message


def test_storescp_that_cannot_store(world, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert main(["storescp", "-od", str(tmp_path / "file"), "11112"]) == 40
    assert "cannot store into" in capsys.readouterr().err
    assert world.server is None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_storescp_tells_what_still_happens_after_a_signal(number, code, world, tmp_path, capsys):
    before = signal.getsignal(number)
    last = {"event": "released"}
    world.events = [lambda: signal.raise_signal(number), last]
    assert main(["storescp", "--json", "-od", str(tmp_path), "11112"]) == code
    assert events_of(capsys.readouterr().out)[1] == last
    assert world.calls[0] == "start"
    assert set(world.calls[1:]) == {"stop"}
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_does_not_wait(world, tmp_path):
    world.events = [lambda: signal.raise_signal(signal.SIGINT)] * 2 + [ZeroDivisionError()]
    assert main(["storescp", "--json", "-od", str(tmp_path), "11112"]) == 130


# The progress bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_draws_on_a_terminal_only(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        progress = Progress(Output(), stream)
        progress.step(1000)
        progress.clear()
        assert progress.shown is shown
        assert bool(stream.getvalue()) is shown
    for output in (Output(quiet=True), Output(verbose=True)):
        assert not Progress(output, Terminal()).shown
    monkeypatch.setenv("TERM", "dumb")
    assert not Progress(Output(), Terminal()).shown


def test_progress_text():
    progress = Progress(Output(), io.StringIO())
    progress.step(1_500_000)
    progress.step(500_000, failed=True)
    assert progress.text(2.0) == "2 sent  2.0 MB  1.0 MB/s  1 failed"
    progress.total = 4
    assert progress.text(0) == "[============            ] 2/4  2.0 MB    1 failed"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (3e9, "3.0 GB")],
)
def test_size_text(count, text):
    assert size_text(count) == text
