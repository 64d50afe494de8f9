"""TLS on the command line: DCMTK's spelling and ours, and what the tools end with."""

from __future__ import annotations

import pytest

from dimse_rs import AE, TLS
from dimse_rs.cli.exits import ExitCode
from dimse_rs.cli.main import VERBS, main
from tests.data.certificates import Authority, self_signed
from tests.support.nodes import CT, PATIENT, at, scp
from tests.support.tools import dimse, events, storescp


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server(ca):
    issued = ca.issue("server")
    tls = TLS(issued.cert, issued.key, ca.ca, verify="optional")
    with scp(ae=AE("SCP", timeouts=PATIENT, tls=tls)) as running:
        yield running


@pytest.mark.parametrize("spelling", ["dcmtk", "ours"])
def test_a_tool_serves_and_a_tool_sends(ca, tmp_path, spelling):
    issued = ca.issue("tool")
    if spelling == "dcmtk":
        options = ["+tls", issued.key, issued.cert, "+cf", ca.ca]
    else:
        options = ["--tls-cert", issued.cert, "--tls-key", issued.key, "--tls-ca", ca.ca]
    with storescp(tmp_path, *options) as (_, port):
        assert dimse("echoscu", *options, "127.0.0.1", port).returncode == 0
        assert dimse("storescu", *options, "127.0.0.1", port, CT).returncode == 0
        bare = dimse("echoscu", "+tla", "+cf", ca.ca, "127.0.0.1", port)
    assert len(list(tmp_path.glob("*.dcm"))) == 1
    assert bare.returncode == 70
    assert "wants a certificate" in bare.stderr


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["+cf", "CA"], 0, ""),
        (["+cd", "FOLDER", "+py", "-pem"], 0, ""),
        (["-ic"], 0, ""),
        (["+cf", "CA", "--tls-min", "1.3"], 0, ""),
        (["--tls-pin", "PIN"], 0, ""),
        (["--tls-pin", "0" * 64], 70, "is of a CA that this node does not trust"),
        (["+cf", "OTHER"], 70, "is of a CA that this node does not trust"),
        (["+cf", "CA", "--tls-name", "pacs.example"], 70, "not for pacs.example"),
        (["+cf", "CA", "--tls-name", "*"], 0, ""),
        (["+cf", "missing.pem"], 70, "missing.pem"),
        ([], 70, "the peer speaks TLS on this port"),
        (["+tla"], 1, "no certificate would be trusted"),
        (["+cf", "CA", "--tls-cert", "a", "+tls", "k", "c"], 1, "not both"),
        (["--tls-pin", "12"], 1, "not a SHA-256"),
    ],
)
def test_who_is_believed(ca, server, tmp_path, options, code, text):
    other = self_signed(tmp_path, "other")
    words = {
        "CA": ca.ca,
        "FOLDER": ca.folder,
        "OTHER": other.cert,
        "PIN": _fingerprint(server),
    }
    done = dimse("echoscu", *(words.get(word, word) for word in options), at(server))
    assert done.returncode == code, done.stderr
    assert text in done.stderr


def _fingerprint(server):
    with AE("SCU", tls=TLS(verify="off")).associate(at(server)) as association:
        return association.tls.certificate.sha256


def test_errors_are_events_too(server):
    done = dimse("echoscu", "--json", "--tls-pin", "0" * 64, at(server))
    error = next(event for event in events(done.stdout) if event["event"] == "error")
    assert error["code"] == 70


def test_a_pass_phrase_on_the_command_line(ca, server):
    issued = ca.issue("locked", password="s3cret")
    options = ["+tls", issued.key, issued.cert, "+cf", ca.ca]
    assert dimse("echoscu", *options, "+pw", "s3cret", at(server)).returncode == 0
    done = dimse("echoscu", *options, "-pw", at(server))
    assert done.returncode == 70
    assert "pass phrase is wrong" in done.stderr


def test_a_pass_phrase_that_is_asked_for(ca, server, monkeypatch):
    issued = ca.issue("asked", password="s3cret")
    asked = []
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or "s3cret")
    argv = ["echoscu", "+tls", issued.key, issued.cert, "+cf", ca.ca, "+ps", at(server)]
    assert main(list(map(str, argv))) == 0
    assert len(asked) == 1


@pytest.mark.parametrize("spelling", [[], ["--passcode-in-clear"], ["+cf", "CA"]])
def test_a_passcode_goes_over_tls_or_where_it_is_allowed(ca, server, spelling):
    """The server without TLS takes it too: it does not look at it."""
    options = [ca.ca if word == "CA" else word for word in spelling]
    with scp() as plain:
        to = at(server if "+cf" in spelling else plain)
        done = dimse("echoscu", "-usr", "bob", "-pwd", "s3cret", *options, to)
    assert done.returncode == (0 if spelling else ExitCode.USAGE), done.stderr
    assert ("--passcode-in-clear" in done.stderr) is not bool(spelling)


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_tool_has_it(verb):
    text = dimse(verb, "--help").stdout
    assert "+tls" in text
    assert "--tls-pin" in text
