"""Deadlines, limits and peer addresses."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import given, strategies as st

from dimse_rs import AE, Allow, AsyncServer, Commitment, Server, Storage, Supported, for_retrieve
from dimse_rs.server.settings import DEFAULTS, AsyncServerSettings, ServerSettings
from dimse_rs.settings import Limits, Peer, Timeouts, check_ae_title, parse_peer, peer_of
from dimse_rs.sop_class import CTImageStorage, ImplicitVRLittleEndian, Verification


def test_timeouts_default_to_finite_except_the_handler():
    values = dataclasses.asdict(Timeouts())
    assert values.pop("handler") == 0
    assert values == {
        "connect": 10,
        "tls": 10,
        "acse": 30,
        "release": 10,
        "write": 60,
        "idle": 60,
        "dimse": 60,
        "store": 300,
        "retrieve": 600,
        "artim": 30,
        "progress": 60,
    }


@pytest.mark.parametrize("value", [-1, float("inf"), float("nan"), "5", None])
def test_timeouts_reject_and_name_the_field(value):
    with pytest.raises(ValueError, match=r"Timeouts\.acse"):
        Timeouts(acse=value)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "9", None])
def test_limits_reject_and_name_the_field(value):
    with pytest.raises(ValueError, match=r"Limits\.command"):
        Limits(command=value)


def test_limits_default_and_may_be_replaced():
    limits = Limits()
    assert limits.byte_budget == 256 * 1024 * 1024
    assert dataclasses.replace(limits, spool_above=0).spool_above == 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        limits.command = 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PACS@10.1.2.3:11112", Peer("PACS", "10.1.2.3", 11112)),
        ("host:104", Peer("ANY-SCP", "host", 104)),
        ("PACS@[::1]:11112", Peer("PACS", "::1", 11112)),
        ("[fe80::1%eth0]:104", Peer("ANY-SCP", "fe80::1%eth0", 104)),
        ("A@B@host:104", Peer("A@B", "host", 104)),
        (" PACS @host:104", Peer("PACS", "host", 104)),
        (("host", 104), Peer("ANY-SCP", "host", 104)),
        (("::1", 104), Peer("ANY-SCP", "::1", 104)),
        (("[::1]", 104), Peer("ANY-SCP", "::1", 104)),
        (("PACS@host", 104), Peer("PACS", "host", 104)),
        (("host", 104, "PACS"), Peer("PACS", "host", 104)),
        (("::1", 104, "A@B"), Peer("A@B", "::1", 104)),
        (Peer("PACS", "host", 104), Peer("PACS", "host", 104)),
    ],
)
def test_parse_peer_accepts(text, expected):
    assert parse_peer(text) == expected
    assert parse_peer(text, called="OTHER").ae_title == "OTHER"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("host", "no port"),
        ("PACS@host", "no port"),
        ("PACS@host:", "no port"),
        ("PACS@host:abc", "no port"),
        ("PACS@host:\uff11", "no port"),
        ("host:0", "not a port"),
        ("host:65536", "not a port"),
        ("@host:104", "no AE title"),
        ("  @host:104", "no AE title"),
        ("PACS@:104", "not a host"),
        ("PACS@ho st:104", "not a host"),
        ("::1:104", "brackets"),
        ("SEVENTEEN_LETTERS@host:104", "1 to 16"),
        ("A\\B@host:104", "backslash"),
        ("Ä@host:104", "ASCII"),
        (("host", 0), "not a port"),
        (("host",), r"\(host, port\) or \(host, port, AET\)"),
        (("PACS", "host", 104), r"\(host, port\) or \(host, port, AET\)"),
        ({"host": "h", "port": 104}, r"\(host, port\) or \(host, port, AET\)"),
        (None, r"\(host, port\) or \(host, port, AET\)"),
        (("host", 104, "PACS", 1), r"\(host, port\) or \(host, port, AET\)"),
    ],
)
def test_parse_peer_rejects_and_says_why(text, why):
    with pytest.raises(ValueError, match=why):
        parse_peer(text)


async def look_up_later(title):
    return None


@pytest.mark.parametrize(
    ("peers", "why"),
    [
        (["PACS"], "a mapping or a function, not a list"),
        ("PACS@host:104", "a mapping or a function, not a str"),
        (lambda: None, "one argument, an AE title: too many"),
        (lambda title, host: None, "one argument, an AE title: missing.*'host'"),
    ],
)
def test_what_can_never_give_a_peer_is_refused_when_it_is_given(peers, why):
    with pytest.raises(TypeError, match=f"destinations= is .*{why}"):
        Server(destinations=peers)
    with pytest.raises(TypeError, match=f"peers= is .*{why}"):
        Commitment(lambda sop_class, instance: True, peers=peers)


def test_an_async_function_of_titles_is_for_the_async_server():
    with pytest.raises(TypeError, match="AsyncServer"):
        Server(destinations=look_up_later)
    AsyncServer(destinations=look_up_later)
    for function in ({}.get, lambda title, *more: None):
        Server(destinations=function)


@pytest.mark.parametrize("found", [55, ["host"], ("PACS", "host", 104), {"host": "h"}])
def test_what_is_no_address_of_a_title_is_named(found):
    with pytest.raises(ValueError, match="peer of 'PACS' has no address: got "):
        peer_of(found, "PACS")


@pytest.mark.parametrize(
    ("allow", "why"),
    [
        (Allow(calling="CT"), r"write allow=\[Allow"),
        (lambda: None, "one argument, the proposal"),
    ],
)
def test_what_can_let_nobody_in_is_refused_when_it_is_given(allow, why):
    with pytest.raises(TypeError, match=why):
        Server(allow=allow)


@pytest.mark.parametrize("port", [-1, 65536, "11112", None])
def test_a_server_refuses_what_is_no_port(port):
    with pytest.raises(ValueError, match="not a port"):
        Server(port=port)


TITLES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(TITLES)
def test_ae_title_is_trimmed_valid_or_refused(title):
    try:
        checked = check_ae_title(title)
    except ValueError:
        assert not 1 <= len(title.strip(" ")) <= 16 or "\\" in title
    else:
        assert checked == title.strip(" ")


@given(
    TITLES.filter(lambda t: 1 <= len(t.strip()) <= 16 and "\\" not in t),
    st.sampled_from(["host", "10.0.0.1", "::1"]),
    st.integers(1, 65535),
)
def test_peer_prints_as_it_parses(title, host, port):
    peer = Peer(title, host, port)
    assert parse_peer(str(peer)) == peer


SETTINGS = {
    "any_called": True,
    "called": ["A"],
    "calling": ["B"],
    "allow": [Allow(calling="B")],
    "accept": lambda proposal: True,
    "verify_identity": lambda proposal: True,
    "require_identity": True,
    "passcode_in_clear": True,
    "services": [],
    "supported": [],
    "unknown": True,
    "extended": lambda sop_class, offered: None,
    "destinations": {"A": "A@127.0.0.1:104"},
    "any_destination": True,
    "on_release": lambda association: None,
    "max_associations": 3,
    "max_ops_performed": 2,
    "max_handlers": 1,
}


def test_what_is_declared_is_what_both_servers_take():
    assert get_type_hints(ServerSettings).keys() == SETTINGS.keys() == DEFAULTS.keys()
    assert get_type_hints(AsyncServerSettings).keys() == SETTINGS.keys()
    for server in (Server, AsyncServer):
        for name, value in SETTINGS.items():
            server(**{name: value})
            server(**{name: DEFAULTS[name]})
        server(**SETTINGS)


def test_unknown_classes_of_a_storage_are_its_own_setting(tmp_path):
    with pytest.raises(ValueError, match=r"Storage\(\.\.\., unknown=True\)"):
        Server(services=[Storage(tmp_path)], unknown=True)


def test_every_setting_is_explained_once():
    explained = re.findall(r"^ {8}(\w+): ", ServerSettings.__doc__, re.MULTILINE)
    assert sorted(explained) == sorted(SETTINGS)
    listed = " ".join(Server.__init__.__doc__.split())
    assert [name for name in SETTINGS if not re.search(rf"\b{name}\b", listed)] == []
    page = (Path(__file__).parents[2] / "docs" / "access.md").read_text()
    _, _, section = page.partition("## Settings of a server")
    rows = re.findall(r"^\|[^|]+\|(.*)\|$", section.partition("\n## ")[0], re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(SETTINGS)


@pytest.mark.parametrize("server", [Server, AsyncServer])
def test_a_setting_that_is_none_is_named(server):
    kind = server.__name__
    message = rf"{kind}\.__init__\(\) got an unexpected keyword argument 'max_association': "
    with pytest.raises(TypeError, match=f"{message}did you mean 'max_associations'"):
        server(max_association=1)
    with pytest.raises(TypeError, match="argument 'Callng': did you mean 'calling'"):
        server(Callng=["X"])
    with pytest.raises(TypeError, match=r"argument 'zzz'$"):
        server(zzz=1)
    with pytest.raises(TypeError, match=r"argument 'timeouts': AE\(timeouts=Timeouts"):
        server(timeouts=Timeouts())
    with pytest.raises(TypeError, match=r"argument 'evt_handlers': .*@server\.c_store"):
        server(evt_handlers=[])


# What was taken, and failed later or not at all: each proposal was rejected, or the server did not
# start, with an error that named no setting.
@pytest.mark.parametrize(
    "wrong",
    [
        {"called": 5},
        {"calling": [b"X"]},
        {"allow": 5},
        {"accept": "yes"},
        {"accept": lambda: True},
        {"verify_identity": True},
        {"verify_identity": lambda proposal, more: True},
        {"services": None},
        {"supported": None},
        {"supported": Supported(CTImageStorage)},
        {"supported": [CTImageStorage]},
        {"extended": 5},
        {"destinations": 5},
        {"max_associations": -1},
        {"max_associations": "5"},
        {"max_ops_performed": -1},
        {"max_ops_performed": 1 << 16},
        {"max_ops_performed": None},
        {"max_handlers": 0},
        {"max_handlers": 1.5},
        {"max_handlers": None},
        {"ae": "PACS"},
        {"host": None},
        {"port": "104"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
@pytest.mark.parametrize("server", [Server, AsyncServer])
def test_a_wrong_value_is_refused_with_the_name_of_its_setting(server, wrong):
    [name] = wrong
    with pytest.raises((TypeError, ValueError), match=rf"\b{name}\b"):
        server(**wrong)


@pytest.mark.parametrize("server", [Server, AsyncServer])
def test_a_title_alone_is_a_list_of_one(server):
    chosen = server(called="PACS", calling="MODALITY")
    assert chosen._called == ["PACS"]
    assert chosen._calling == ["MODALITY"]


def test_a_class_alone_is_a_list_of_one(tmp_path):
    assert Storage(tmp_path, sop_classes=CTImageStorage).sop_classes == (CTImageStorage,)
    with pytest.raises(ValueError, match="not a UID: 'CTImageStorage'"):
        Storage(tmp_path / "none", sop_classes="CTImageStorage")
    assert not (tmp_path / "none").exists()
    _, *storage = for_retrieve(Verification, CTImageStorage, ImplicitVRLittleEndian)
    assert [(one.sop_class, one.transfer_syntaxes) for one in storage] == [
        (CTImageStorage, (ImplicitVRLittleEndian,))
    ]


@pytest.mark.parametrize(
    "wrong", [{"timeouts": 5}, {"limits": None}, {"tls": "x.pem"}, {"max_pdu": "16384"}], ids=repr
)
def test_a_wrong_value_of_an_ae_is_refused_with_its_name(wrong):
    [name] = wrong
    with pytest.raises(TypeError, match=f"^{name}= is "):
        AE("X", **wrong)


@pytest.mark.parametrize("name", ["max_ops_invoked", "max_ops_performed"])
@pytest.mark.parametrize("value", [-1, 1 << 16, None, "2", 1.5, True])
def test_a_window_that_cannot_be_negotiated_is_refused_with_its_name(name, value):
    with pytest.raises(ValueError, match=f"^{name}= is an integer from 0 to 65535, not "):
        AE("X").associate("Y@127.0.0.1:9", **{name: value})


def test_numbers_that_the_core_cannot_keep_are_refused():
    for name in (field.name for field in dataclasses.fields(Limits)):
        with pytest.raises(ValueError, match=rf"Limits\.{name} is \d+ at most"):
            Limits(**{name: 1 << 64})
    with pytest.raises(ValueError, match=r"Limits\.read_rate"):
        Limits(read_rate=1 << 32)
    with pytest.raises(ValueError, match=r"Timeouts\.idle"):
        Timeouts(idle=10**400)


@pytest.mark.parametrize("server", [Server, AsyncServer])
def test_a_server_is_shown_as_what_it_is(server):
    class Mine(server):
        pass

    assert repr(Mine(port=104)) == "<Mine DIMSE_RS on 127.0.0.1:104>"
