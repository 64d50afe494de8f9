"""Verifying passcodes without telling anything by the time it takes."""

from __future__ import annotations

import hmac
import threading

import pytest

from dimse_rs import (
    AssociationRejected,
    Passcodes,
    Peer,
    Proposal,
    Username,
    UsernamePasscode,
    check_passcode,
    hash_passcode,
    passcodes,
    same_secret,
)
from tests.support.waiting import until

# What RFC 7914 section 12 has for "password" and "NaCl", with fewer bytes of it.
NACL = "TmFDbA"
DIGEST = "/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWI"
KNOWN = f"$scrypt$ln=10,r=8,p=16${NACL}${DIGEST}"


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    monkeypatch.setattr(passcodes, "_LOG_N", 4)


def proposal(said, host="10.1.2.3"):
    return Proposal(Peer("MOD", host, 104), "SCP", (), said, {})


def test_the_hash_is_scrypt():
    assert check_passcode("password", KNOWN)
    assert not check_passcode("Password", KNOWN)


def test_a_hash_is_salted_and_says_nothing():
    one, other = hash_passcode("s3cret"), hash_passcode("s3cret")
    assert one != other
    assert "s3cret" not in one
    assert check_passcode("s3cret", one)
    assert check_passcode("s3cret", other)
    assert not check_passcode("s3cre", one)
    assert not check_passcode("", one)


def test_any_text_is_a_passcode():
    for text in ("", "pässwörd", "\udcff\udcfe", "\0", "x" * 10_000):
        assert check_passcode(text, hash_passcode(text))
    assert not check_passcode("\udcff", hash_passcode("\udcfe"))


@pytest.mark.parametrize(
    "stored",
    [
        "s3cret",
        "",
        "$scrypt$",
        KNOWN.replace("scrypt", "argon2"),
        KNOWN.replace("ln=10", "ln=40"),
        KNOWN.replace("ln=10", "ln=0"),
        KNOWN.replace("r=8", "r=x"),
        KNOWN.replace(NACL, "Tm*"),
        KNOWN[:-30],
    ],
)
def test_what_is_no_hash_is_not_shown(stored):
    with pytest.raises(ValueError, match="hash_passcode") as caught:
        check_passcode("s3cret", stored)
    assert stored == "" or stored not in str(caught.value)
    with pytest.raises(ValueError, match="hash_passcode"):
        Passcodes({"bob": stored})


def test_names_are_verified_with_their_own_passcode():
    verify = Passcodes({"bob": hash_passcode("s3cret"), "eve": hash_passcode("apple")})
    assert verify(proposal(UsernamePasscode("bob", "s3cret")))
    assert verify(proposal(UsernamePasscode("eve", "apple")))
    assert not verify(proposal(UsernamePasscode("bob", "apple")))
    assert not verify(proposal(UsernamePasscode("mal", "s3cret")))
    assert not verify(proposal(Username("bob")))
    assert not verify(proposal(None))
    assert "s3cret" not in repr(verify)
    assert "bob" not in repr(verify)


def test_nobody_is_known_to_an_empty_table():
    assert not Passcodes({})(proposal(UsernamePasscode("bob", "")))


def test_a_name_that_is_not_known_costs_as_much(monkeypatch):
    costs = []
    scrypt = passcodes._scrypt
    counted = lambda *args: costs.append(args[1:4]) or scrypt(*args)  # noqa: E731
    monkeypatch.setattr(passcodes, "_scrypt", counted)
    verify = Passcodes({"bob": hash_passcode("s3cret")})
    costs.clear()
    verify(proposal(UsernamePasscode("bob", "wrong")))
    verify(proposal(UsernamePasscode("mal", "wrong")))
    assert len(costs) == 2
    assert costs[0] == costs[1]


def test_guesses_from_one_address_are_few(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(passcodes.time, "monotonic", lambda: now[0])
    right, wrong = UsernamePasscode("bob", "s3cret"), UsernamePasscode("bob", "guess")
    verify = Passcodes({"bob": hash_passcode("s3cret")}, most_wrong=2)
    for _ in range(5):  # what is right is not counted
        assert verify(proposal(right))
    assert not verify(proposal(wrong))
    assert verify(proposal(right))
    assert not verify(proposal(wrong))
    assert not verify(proposal(right))  # not looked at any more
    assert verify(proposal(right, host="10.1.2.4"))
    now[0] += 59
    assert not verify(proposal(right))
    now[0] += 1
    assert verify(proposal(right))
    no_limit = Passcodes({"bob": hash_passcode("s3cret")}, most_wrong=0)
    assert [no_limit(proposal(said)) for said in [wrong] * 20 + [right]] == [False] * 20 + [True]


def test_what_is_not_in_check_costs_nothing(monkeypatch):
    verify = Passcodes({"bob": hash_passcode("s3cret")}, most_wrong=1)
    assert not verify(proposal(UsernamePasscode("bob", "guess")))
    monkeypatch.setattr(passcodes, "_scrypt", lambda *args: pytest.fail("it was hashed"))
    assert not verify(proposal(UsernamePasscode("bob", "guess")))


def test_addresses_are_not_remembered_without_end(monkeypatch):
    monkeypatch.setattr(passcodes, "_ADDRESSES", 3)
    verify = Passcodes({"bob": hash_passcode("s3cret")})
    for number in range(9):
        verify(proposal(UsernamePasscode("bob", "guess"), host=f"10.1.2.{number}"))
    assert len(verify._wrong) == 3


def looked_at(monkeypatch, **options):
    """Make a verifier whose hashing waits to be let go, and count what it is at."""
    verify = Passcodes({"bob": hash_passcode("s3cret")}, **options)
    begun, go_on = threading.Semaphore(0), threading.Event()
    scrypt = passcodes._scrypt

    def slow(*args):
        begun.release()
        assert go_on.wait(20)
        return scrypt(*args)

    monkeypatch.setattr(passcodes, "_scrypt", slow)
    return verify, begun, go_on


def together(verify, passcodes, outcomes):
    def one(passcode):
        try:
            outcomes.append(verify(proposal(UsernamePasscode("bob", passcode))))
        except AssociationRejected as rejected:
            outcomes.append((rejected.result, rejected.source, rejected.reason))

    threads = [threading.Thread(target=one, args=(passcode,)) for passcode in passcodes]
    for thread in threads:
        thread.start()
    return threads


def test_right_passcodes_wait_while_others_are_hashed(monkeypatch):
    verify, begun, go_on = looked_at(monkeypatch, most_wrong=3)
    outcomes = []
    threads = together(verify, ["s3cret"] * 20, outcomes)
    for _ in range(3):
        assert begun.acquire(timeout=10)
    until(lambda: verify._waiting == 17)
    assert not begun.acquire(blocking=False)  # no more guesses than may still be wrong
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert outcomes == [True] * 20
    assert (verify._waiting, dict(verify._in_check)) == (0, {})  # however often they were woken


def test_those_who_wait_are_refused_once_too_many_were_wrong(monkeypatch):
    verify, begun, go_on = looked_at(monkeypatch, most_wrong=2)
    outcomes = []
    threads = together(verify, ["guess"] * 2, outcomes)
    for _ in range(2):
        assert begun.acquire(timeout=10)
    threads += together(verify, ["s3cret"] * 5, outcomes)
    until(lambda: verify._waiting == 5)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert outcomes == [False] * 7
    assert not begun.acquire(blocking=False)
    assert (verify._waiting, dict(verify._in_check)) == (0, {})


def test_who_finds_too_many_in_line_is_to_come_again(monkeypatch):
    verify, begun, go_on = looked_at(monkeypatch, most_wrong=1, most_waiting=2)
    outcomes = []
    threads = together(verify, ["s3cret"], outcomes)
    assert begun.acquire(timeout=10)
    threads += together(verify, ["s3cret"] * 2, outcomes)
    until(lambda: verify._waiting == 2)
    with pytest.raises(AssociationRejected) as caught:
        verify(proposal(UsernamePasscode("bob", "s3cret")))
    assert caught.value.transient
    assert "2 identities wait" in caught.value.why
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert outcomes == [True] * 3
    assert verify(proposal(UsernamePasscode("bob", "s3cret")))


def test_whose_turn_does_not_come_is_to_come_again(monkeypatch):
    verify, begun, go_on = looked_at(monkeypatch, most_wrong=1, patience=0.01)
    outcomes = []
    threads = together(verify, ["s3cret"], outcomes)
    assert begun.acquire(timeout=10)
    with pytest.raises(AssociationRejected) as caught:
        verify(proposal(UsernamePasscode("bob", "s3cret")))
    assert (caught.value.result, caught.value.source, caught.value.reason) == (2, 3, 1)
    go_on.set()
    threads[0].join(10)
    assert outcomes == [True]


def test_secrets_are_compared_in_constant_time(monkeypatch):
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    assert same_secret("token", "token")
    assert same_secret("token", b"token")
    assert not same_secret("token", "Token")
    assert not same_secret("token", "token ")
    assert [len(one) == len(other) for one, other in compared] == [True] * 4
