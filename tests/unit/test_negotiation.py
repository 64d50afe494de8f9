"""What is said of identities, options and contexts: pure values, no sockets."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, strategies as st
from pynetdicom import presentation

from dimse_rs import (
    PRESETS,
    CTImageStorage,
    Jwt,
    Kerberos,
    QueryRetrieveOptions,
    Saml,
    SOPClass,
    StorageOptions,
    StudyRoot,
    Supported,
    Username,
    UsernamePasscode,
    Verification,
    _core,
    any_storage,
    sop_class,
)
from dimse_rs.ae import _common
from dimse_rs.contexts import STORAGE_SERVICE_CLASS, Context, expand
from dimse_rs.extended import agree, decode, encode, offer, proposed
from dimse_rs.identity import identity_of

IDENTITIES = [
    (Username("bob"), (1, False, b"bob", b"")),
    (UsernamePasscode("bob", "pass", response_requested=True), (2, True, b"bob", b"pass")),
    (UsernamePasscode("Zoë", ""), (2, False, "Zoë".encode(), b"")),
    (Kerberos(b"\x00\xff"), (3, False, b"\x00\xff", b"")),
    (Saml("<saml/>"), (4, False, b"<saml/>", b"")),
    (Jwt("a.b.c", response_requested=True), (5, True, b"a.b.c", b"")),
]


# ---- user identity


def parts(said):
    return said.type, said.response_requested, said.primary, said.secondary


@pytest.mark.parametrize(("identity", "fields"), IDENTITIES)
def test_identities_there_and_back(identity, fields):
    assert parts(identity.fields) == fields
    assert identity_of(_core.Identity(*fields)) == identity
    assert pickle.loads(pickle.dumps(identity)) == identity


@pytest.mark.parametrize(
    "identity",
    [
        UsernamePasscode("bob", "s3cret"),
        Kerberos(b"s3cret"),
        Saml("s3cret"),
        Jwt("s3cret"),
    ],
)
def test_no_repr_shows_a_secret(identity):
    assert "s3cret" not in repr(identity) + str(identity) + f"{identity}"


def test_reserved_types_are_as_good_as_none():
    assert identity_of(None) is None
    for reserved in (0, 6, 255):
        assert identity_of(_core.Identity(reserved, True, b"bob", b"")) is None


def test_the_secondary_field_counts_for_names_with_passcode_only():
    assert identity_of(_core.Identity(1, False, b"bob", b"junk")) == Username("bob")


@given(st.binary(), st.binary())
def test_different_bytes_never_are_the_same_name(one, other):
    names = [identity_of(_core.Identity(1, False, name, b"")) for name in (one, other)]
    same = names[0] == names[1]
    assert same == (one == other)
    both = identity_of(_core.Identity(2, False, one, other))
    assert parts(both.fields) == (2, False, one, other)


# ---- extended negotiation

FIND, GET, MOVE = StudyRoot.find, StudyRoot.get, StudyRoot.move
EVERY = QueryRetrieveOptions(
    relational=True,
    combined_datetime=True,
    fuzzy_names=True,
    timezone=True,
    enhanced_conversion=True,
    empty_values=True,
    multiple_values=True,
)
COMPOSITE = sop_class.CompositeInstanceRootRetrieveGet


@pytest.mark.parametrize(
    ("uid", "options", "info"),
    [
        (FIND, QueryRetrieveOptions(), "00"),
        (FIND, QueryRetrieveOptions(relational=True), "01"),
        (FIND, QueryRetrieveOptions(fuzzy_names=True), "000001"),
        (FIND, QueryRetrieveOptions(multiple_values=True), "00000000000001"),
        (FIND, EVERY, "01010101010101"),
        (GET, QueryRetrieveOptions(fuzzy_names=True), "00"),
        (MOVE, QueryRetrieveOptions(relational=True, fuzzy_names=True), "01"),
        (MOVE, EVERY, "0101"),
        (COMPOSITE, EVERY, "0001"),
        (COMPOSITE, QueryRetrieveOptions(), "0000"),
        (sop_class.RepositoryQuery, EVERY, "01010101010101"),
        (CTImageStorage, StorageOptions(), "030000000200"),
        (CTImageStorage, StorageOptions(level=2, signatures=3, coercion=1), "020003000100"),
        (sop_class.ModalityWorklist.find, b"\x01\x01\x01", "010101"),
    ],
)
def test_options_are_offered_as_the_class_says(uid, options, info):
    assert offer(uid, options).hex() == info
    known = decode(uid, offer(uid, options))
    assert encode(uid, known) == encode(uid, options)


def test_vector_13_is_read():
    """The golden vector: bytes 3 and 5 of seven are off."""
    assert decode(FIND, bytes.fromhex("01010001000101")) == QueryRetrieveOptions(
        relational=True,
        combined_datetime=True,
        timezone=True,
        empty_values=True,
        multiple_values=True,
    )


@pytest.mark.parametrize("info", [b"", b"\x01", b"\x09\0\0\0\0\0", b"\0\0\x04\0\0\0", b"\0" * 7])
def test_storage_information_that_is_none_stays_bytes(info):
    assert decode(CTImageStorage, info) == info


@given(st.sampled_from([FIND, GET, COMPOSITE, CTImageStorage, Verification]), st.binary())
def test_whatever_a_peer_says_is_read(uid, info):
    decode(uid, info)


@given(st.sampled_from([FIND, GET, COMPOSITE]), st.binary(max_size=10), st.booleans())
def test_no_more_is_agreed_to_than_was_offered(uid, offered, relational):
    answer = agree(uid, offered, QueryRetrieveOptions(relational=relational, fuzzy_names=True))
    assert len(answer) <= len(offered)
    assert all(ours <= theirs for ours, theirs in zip(answer, offered, strict=False))
    assert set(answer) <= {0, 1}


def test_options_belong_to_their_service():
    for uid, options in ((FIND, StorageOptions()), (CTImageStorage, EVERY), (Verification, EVERY)):
        with pytest.raises(ValueError, match="give bytes"):
            encode(uid, options)
    for wrong in ({"level": 4}, {"signatures": -1}, {"coercion": 3}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            StorageOptions(**wrong)


def test_a_model_stands_for_those_of_its_classes_that_are_proposed():
    options = QueryRetrieveOptions(relational=True)
    assert proposed({StudyRoot: options}, {FIND, MOVE, Verification}) == [
        (FIND, b"\x01"),
        (MOVE, b"\x01"),
    ]
    with pytest.raises(ValueError, match="not proposed"):
        proposed({StudyRoot: options}, {Verification})
    with pytest.raises(ValueError, match="not proposed"):
        proposed({"1.2.3": b""}, {Verification})


# ---- common extended negotiation


def test_what_a_class_specialises_is_said_once():
    related = Context("1.2.3", related=[CTImageStorage])
    assert related.service_class == STORAGE_SERVICE_CLASS
    contexts = expand([related, Context("1.2.3", "1.2.840.10008.1.2.4.70"), Verification])
    assert all(c.related == (CTImageStorage,) for c in contexts if c.sop_class == "1.2.3")
    (said,) = _common(contexts)
    assert (said.sop_class, said.service_class) == ("1.2.3", STORAGE_SERVICE_CLASS)
    assert said.related == [str(CTImageStorage)]
    other = Context("1.2.3", service_class="1.2.840.10008.4.9")
    (said,) = _common(expand(other))
    assert (said.sop_class, said.service_class, said.related) == (
        "1.2.3",
        "1.2.840.10008.4.9",
        [],
    )
    assert _common(expand(["1.2.3"])) == []
    with pytest.raises(ValueError, match="not a UID"):
        Context("1.2.3", related="x")


# ---- presets

# Not one association's worth, and classes that no DIMSE service carries.
NOT_TO_PROPOSE = {"AllStoragePresentationContexts", "MediaStoragePresentationContexts"}
THEIRS = {
    name: contexts
    for name, contexts in vars(presentation).items()
    if name.endswith("Contexts") and isinstance(contexts, list) and name not in NOT_TO_PROPOSE
}


@pytest.mark.parametrize("theirs", THEIRS)
def test_every_group_of_pynetdicom_has_a_preset(theirs):
    named = {SOPClass.of(str(context.abstract_syntax)) for context in THEIRS[theirs]}
    if theirs != "StoragePresentationContexts":  # DCMTK's choice, retired ones and all
        named = {uid for uid in named if not uid.retired}
    assert named in [set(preset) for preset in PRESETS.values()]


@pytest.mark.parametrize("group", PRESETS)
def test_every_preset_fits_into_an_association(group):
    contexts = expand(PRESETS[group])
    assert 1 <= len(contexts) <= 128
    assert group == "storage" or not any(context.sop_class.retired for context in contexts)
    assert {context.sop_class.service for context in contexts} == {group}


def test_too_many_contexts_say_so():
    with pytest.raises(ValueError, match=r"presentation contexts do not fit .* several"):
        expand([PRESETS["storage"], PRESETS["print"]])


# ---- what a server supports


def test_supported_takes_what_users_write():
    assert Supported(StudyRoot).sop_classes == tuple(StudyRoot)
    assert Supported("1.2.3", "1.2.840.10008.1.2").transfer_syntaxes == ("1.2.840.10008.1.2",)
    assert Supported(any_storage).predicate is any_storage
    for wrong in ((), ("x",)):
        with pytest.raises(ValueError, match=r"no SOP Class|not a UID"):
            Supported(wrong)
    with pytest.raises(ValueError, match="role"):
        Supported("1.2.3", scu=False)


@pytest.mark.parametrize(
    ("uid", "taken"),
    [
        (CTImageStorage, True),
        (Verification, False),
        (FIND, False),
        ("1.2.840.10008.5.1.4.1.1.99999", True),
        ("1.2.840.10008.99999", False),
        ("1.3.6.1.4.1.99999.1", True),
    ],
)
def test_any_storage(uid, taken):
    assert any_storage(SOPClass.of(uid)) is taken
