"""Entries of an allow-list: which peers they mean, and what is no entry."""

from __future__ import annotations

import re

import pytest

from dimse_rs import Allow, CTImageStorage, StudyRoot, Verification, load_allow
from dimse_rs.tls import Certificate


@pytest.mark.parametrize(
    ("calling", "title", "meant"),
    [
        (None, "ANY", True),
        ("MOD1", "MOD1", True),
        ("MOD1", "mod1", False),
        ("MOD1", "MOD10", False),
        ("MOD*", "MOD", True),
        ("MOD*", "MOD10", True),
        ("MOD?", "MOD10", False),
        ("MOD?", "MOD1", True),
        ("A.C", "ABC", False),
        ("[AB]", "A", False),
        (("ONE", "TWO"), "TWO", True),
        (("ONE", "TWO"), "ONETWO", False),
    ],
)
def test_titles(calling, title, meant):
    assert Allow(calling=calling).is_for(title, "10.1.2.3") is meant


@pytest.mark.parametrize(
    ("network", "address", "meant"),
    [
        ("10.1.0.0/16", "10.1.255.1", True),
        ("10.1.0.0/16", "10.2.0.1", False),
        ("10.1.0.0/16", "::ffff:10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.4", False),
        ("fd00::/8", "fd12::1", True),
        ("fd00::/8", "fe80::1", False),
        ("fd00::/8", "10.1.2.3", False),
        ("0.0.0.0/0", "::1", False),
        (("10.1.2.3", "::1"), "::1", True),
        ("10.1.2.3", "", False),
    ],
)
def test_networks(network, address, meant):
    assert Allow(network=network).is_for("ANY", address) is meant


def shown(der=b"CT1", *names):
    return Certificate(der, "CN=CT1", names)


DIGEST = shown().sha256
OTHER = shown(b"CT2")


def test_certificates():
    entry = Allow(certificate=":".join(re.findall("..", DIGEST.upper())))
    assert entry.is_for("ANY", "10.1.2.3", shown())
    assert not entry.is_for("ANY", "10.1.2.3", OTHER)
    assert not entry.is_for("ANY", "10.1.2.3")


def test_names_in_certificates():
    entry = Allow(certificate=["CT1.hospital.example", DIGEST])
    assert entry.is_for("ANY", "10.1.2.3", shown(b"CT2", "10.1.2.3", "ct1.Hospital.example"))
    assert entry.is_for("ANY", "10.1.2.3", shown())
    assert not entry.is_for("ANY", "10.1.2.3", shown(b"CT2", "ct2.hospital.example"))
    assert not entry.is_for("ANY", "10.1.2.3")


def test_a_name_that_looks_like_a_digest_is_none():
    entry = Allow(certificate=DIGEST)
    assert not entry.is_for("ANY", "10.1.2.3", shown(b"CT2", DIGEST))
    assert not entry.is_for("ANY", "10.1.2.3", shown(b"CT2", DIGEST.upper()))


def test_all_that_is_said_has_to_hold():
    entry = Allow(calling="MOD*", network="10.0.0.0/8", certificate=DIGEST)
    assert entry.is_for("MOD1", "10.1.2.3", shown())
    assert not entry.is_for("ODD1", "10.1.2.3", shown())
    assert not entry.is_for("MOD1", "11.1.2.3", shown())
    assert not entry.is_for("MOD1", "10.1.2.3", OTHER)


def test_classes_are_named_in_every_way():
    entry = Allow(sop_classes=["CTImageStorage", "StudyRoot", Verification, "1.2.3"])
    assert entry.sop_classes == (CTImageStorage, *StudyRoot, Verification, "1.2.3")
    assert Allow(sop_classes=StudyRoot).sop_classes == tuple(StudyRoot)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"calling": "SEVENTEEN LETTERS"}, "1 to 16"),
        ({"calling": []}, "calling is empty"),
        ({"network": "10.1.2.3/16"}, "host bits"),
        ({"network": "hospital"}, "hospital"),
        ({"certificate": "ab"}, "SHA-256"),
        ({"services": ["C-SHOP"]}, "C-SHOP"),
        ({"services": ()}, "services is empty"),
        ({"sop_classes": ["CTImage"]}, "CTImage"),
        ({"sop_classes": ["ALL_STORAGE"]}, "ALL_STORAGE"),
    ],
)
def test_what_is_no_entry(said, what):
    with pytest.raises(ValueError, match=what):
        Allow(**said)


def test_a_file_of_entries(tmp_path):
    file = tmp_path / "allow.toml"
    file.write_text(
        f"""
        [[allow]]  # the scanners store, and see whether we are there
        calling = ["CT*", "MR*"]
        network = "10.1.0.0/16"
        services = ["C-ECHO", "C-STORE"]
        sop_classes = ["CTImageStorage", "Verification"]

        [[allow]]
        certificate = "{DIGEST}"
        """
    )
    first, second = load_allow(file)
    assert (first.calling, first.network) == (("CT*", "MR*"), ("10.1.0.0/16",))
    assert first.services == ("C-ECHO", "C-STORE")
    assert first.sop_classes == (CTImageStorage, Verification)
    assert second.certificate == (DIGEST,)
    assert "certificate" in repr(second)
    assert "calling" not in repr(second)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[[allow]", "line 1"),
        ("", r"\[\[allow\]\]"),
        ("allow = 3", r"\[\[allow\]\]"),
        ("[[deny]]\n", r"\[\[allow\]\]"),
        ('[[allow]]\n[[allow]]\ncaling = "A"', "entry 2: caling"),
        ("[[allow]]\ncalling = 3", "entry 1: calling"),
        ("[[allow]]\ncalling = [3]", "entry 1: calling"),
        ('[[allow]]\nservices = "C-SHOP"', "entry 1: .*C-SHOP"),
    ],
)
def test_a_file_that_is_none(tmp_path, text, what):
    file = tmp_path / "allow.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=what):
        load_allow(file)
