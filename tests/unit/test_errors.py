"""The error tree: texts, bases, pickling, and what the core may hand over."""

from __future__ import annotations

import copy
import pickle

import pytest

from dimse_rs import errors
from dimse_rs.status import Status

SAMPLES = [
    errors.DimseError("plain", hint="do this"),
    errors.AssociationRejected(1, 1, 3, calling="ME", called="YOU", peer="10.0.0.1:104"),
    errors.AssociationAborted(2, 6),
    errors.AssociationReleased(),
    errors.NoPresentationContext("1.2.3", "1.2.840.10008.1.2"),
    errors.TransportError("broken", errno=104),
    errors.ConnectFailed("refused", errno=111),
    errors.ConnectionLost("gone"),
    errors.TlsError("bad certificate"),
    errors.DimseTimeout("dimse", 60),
    errors.LocalProtocolError("not now"),
    errors.RemoteProtocolError("bad PDU"),
    errors.DecodeError("length runs out", 12, "PS3.8 9.3.1"),
    errors.SendingCancelled(),
    errors.StatusError(0xA700, "disk full", {"response": True}),
]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("again", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_survives_pickling_with_every_attribute(error, again):
    twin = again(error)
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert twin.args == error.args
    assert twin.__dict__ == error.__dict__
    assert getattr(twin, "errno", None) == getattr(error, "errno", None)


@pytest.mark.parametrize("error", SAMPLES, ids=lambda e: type(e).__name__)
def test_is_caught_as_dimse_error_and_fits_one_line(error):
    assert isinstance(error, errors.DimseError)
    assert "\n" not in str(error)


def test_tree_joins_the_builtin_exceptions_that_users_catch():
    assert issubclass(errors.TransportError, OSError)
    assert issubclass(errors.DimseTimeout, TimeoutError)
    assert issubclass(errors.DecodeError, ValueError)
    assert not issubclass(errors.AssociationError, OSError)


def test_tree_in_the_docstring_names_every_class():
    classes = [name for name in errors.__all__ if isinstance(getattr(errors, name), type)]
    assert len(classes) == 18
    for name in classes:
        assert name in errors.__doc__


@pytest.mark.parametrize(
    ("codes", "words", "hint"),
    [
        ((1, 1, 3), "calling AE title not recognized", "'ME'"),
        ((1, 1, 7), "called AE title not recognized", "'YOU'"),
        ((1, 1, 2), "application context name not supported", "DICOM node"),
        ((1, 1, 1), "no reason given", "'ME'"),
        ((1, 2, 1), "no reason given", "user identity"),
        ((1, 2, 2), "protocol version not supported", "version 1"),
        ((2, 3, 1), "temporary congestion", "later"),
        ((2, 3, 2), "local limit exceeded", "later"),
        ((1, 1, 9), "reserved reason 9", "log"),
        ((2, 1, 9), "reserved reason 9", "later"),
        ((9, 8, 7), "reserved reason 7", "log"),
    ],
)
def test_rejection_says_why_and_what_to_do(codes, words, hint):
    error = errors.AssociationRejected(*codes, calling="ME", called="YOU")
    assert words in str(error)
    assert "({},{},{}; PS3.8 9.3.4)".format(*codes) in str(error)
    assert hint in error.hint
    assert error.hint in str(error)
    assert error.hint not in error.message


def test_abort_says_who_and_why():
    assert "by the peer" in str(errors.AssociationAborted(2, 6))
    assert "invalid PDU parameter value" in str(errors.AssociationAborted(2, 6))
    assert "its application" in str(errors.AssociationAborted(0, 0))
    assert "by us, our application" in str(errors.AssociationAborted(0, 0, local=True))
    assert "reserved reason 77" in str(errors.AssociationAborted(2, 77))


def test_status_error_explains_the_code():
    error = errors.StatusError(0xA700, "disk full")
    assert isinstance(error.status, Status)
    assert error.status == 0xA700
    assert str(error).startswith("status 0xA700, ")
    assert str(error).endswith("disk full")
    stored = errors.StatusError(Status(0xA700, "storage"))
    assert "out of resources" in str(stored)


def test_decode_error_gives_place_and_clause():
    error = errors.DecodeError("length runs out", 12, "PS3.8 9.3.1")
    assert str(error) == "length runs out at byte 12 (PS3.8 9.3.1)"
    assert (error.offset, error.section) == (12, "PS3.8 9.3.1")


@pytest.mark.parametrize(
    ("kind", "fields", "expected", "attributes"),
    [
        (
            "rejected",
            {"result": 2, "source": 3, "reason": 2, "called": "YOU"},
            errors.AssociationRejected,
            {"result": 2, "source": 3, "reason": 2, "called": "YOU"},
        ),
        ("aborted", {"source": 2, "reason": 1}, errors.AssociationAborted, {"reason": 1}),
        ("released", {}, errors.AssociationReleased, {}),
        ("no-context", {"sop_class": "1.2"}, errors.NoPresentationContext, {"sop_class": "1.2"}),
        ("connect", {"message": "refused", "errno": 111}, errors.ConnectFailed, {"errno": 111}),
        ("lost", {}, errors.ConnectionLost, {"errno": None}),
        ("transport", {"message": "x"}, errors.TransportError, {"message": "x"}),
        ("tls", {"hint": "use TLS"}, errors.TlsError, {"hint": "use TLS"}),
        ("timeout", {"which": "acse", "seconds": 30.0}, errors.DimseTimeout, {"which": "acse"}),
        ("local", {"message": "no"}, errors.LocalProtocolError, {"message": "no"}),
        ("remote", {"message": "no"}, errors.RemoteProtocolError, {"message": "no"}),
        ("limit", {"message": "too long"}, errors.RemoteProtocolError, {}),
        ("decode", {"message": "bad", "offset": 4}, errors.DecodeError, {"offset": 4}),
        ("status", {"status": 0x0110, "comment": "c"}, errors.StatusError, {"comment": "c"}),
        ("brand-new", {"message": "what"}, errors.DimseError, {"message": "what"}),
    ],
)
def test_from_core_builds_the_right_class(kind, fields, expected, attributes):
    error = errors.from_core(kind, fields | {"unknown": 1})
    assert type(error) is expected
    for name, value in attributes.items():
        assert getattr(error, name) == value
    assert str(error)


@pytest.mark.parametrize("kind", ["rejected", "aborted", "timeout", "status", "decode", "tls"])
def test_from_core_needs_no_facts(kind):
    assert isinstance(errors.from_core(kind, {}), errors.DimseError)
