"""Who may come to the tools that listen."""

from __future__ import annotations

import pytest

from dimse_rs import AE, AssociationRejected, CTImageStorage, StatusError
from tests.support.nodes import CT, PATIENT, SCU
from tests.support.tools import dimse, events, storescp

MOD = AE("MOD1", timeouts=PATIENT)


def at(port):
    return f"ANY-SCP@127.0.0.1:{port}"


def test_a_file_says_who_may_do_what(tmp_path):
    file = tmp_path / "allow.toml"
    file.write_text(
        """
        [[allow]]
        calling = "MOD*"
        network = ["10.0.0.0/8", "127.0.0.0/8"]
        services = ["C-ECHO"]
        """
    )
    with storescp(tmp_path / "in", "--allow", file, "--json") as (tool, port):
        with pytest.raises(AssociationRejected) as caught:
            SCU.associate(at(port), contexts=CTImageStorage)
        assert (caught.value.source, caught.value.reason) == (1, 3)
        tool.wait_for_line(lambda line: '"rejected"' in line)
        with MOD.associate(at(port), contexts=CTImageStorage) as association:
            with pytest.raises(StatusError) as failed:
                association.c_store(CT)
            assert failed.value.status == 0x0124
        tool.wait_for_line(lambda line: '"released"' in line)
        tool.interrupt()
        assert tool.wait() == 130
    assert list((tmp_path / "in").glob("*.dcm")) == []
    told = {event["event"]: event for event in events(tool.lines)}
    assert told["rejected"]["code"] == "not-allowed"
    assert told["denied"]["service"] == "C-STORE"
    assert told["denied"]["status"] == 0x0124


@pytest.mark.parametrize(
    ("options", "codes"),
    [
        (["--allow-calling", "MOD*"], {"MOD1": 0, "SCU": 1}),
        (["--allow-calling", "MOD1", "--allow-calling", "SCU"], {"MOD1": 0, "SCU": 0}),
        (["--allow-network", "127.0.0.1"], {"MOD1": 0, "SCU": 0}),
        (["--allow-network", "10.0.0.0/8"], {"MOD1": 1, "SCU": 1}),
        (["--allow-network", "10.0.0.0/8", "--allow-calling", "MOD1"], {"MOD1": 1, "SCU": 1}),
    ],
)
def test_options_for_the_simple_cases(tmp_path, options, codes):
    with storescp(tmp_path, *options) as (_, port):
        for ae in (MOD, SCU):
            if codes[ae.title]:
                with pytest.raises(AssociationRejected):
                    ae.associate(at(port))
            else:
                ae.associate(at(port)).release()


@pytest.mark.parametrize(
    ("options", "code", "what"),
    [
        (["--allow-network", "hospital"], 1, "hospital"),
        (["--allow-calling", "SEVENTEEN LETTERS"], 1, "16 characters"),
        (["--allow", "/nowhere.toml"], 20, "/nowhere.toml"),
        (["--allow", "/nowhere.toml", "--allow-calling", "A"], 1, "--allow-calling"),
    ],
)
def test_options_that_are_wrong(options, code, what):
    done = dimse("storescp", "0", *options)
    assert done.returncode == code, done.stderr
    assert what in done.stderr


def test_a_file_that_is_wrong(tmp_path):
    file = tmp_path / "allow.toml"
    file.write_text('[[allow]]\nservices = ["C-SHOP"]\n')
    done = dimse("scp", "0", "-od", tmp_path / "in", "--allow", file)
    assert done.returncode == 20, done.stderr
    assert "entry 1" in done.stderr
    assert "C-SHOP" in done.stderr
