"""Extended and common extended negotiation, and what contexts a server accepts."""

from __future__ import annotations

import pydicom
import pytest

from dimse_rs import (
    AssociationRejected,
    Context,
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
    NoPresentationContext,
    QueryRetrieveOptions,
    Storage,
    StorageOptions,
    StudyRoot,
    Supported,
    Verification,
    any_storage,
)
from tests.support.nodes import CT, link, scp

PRIVATE = "1.3.6.1.4.1.99999.1"
STORE = Supported([CTImageStorage, StudyRoot.find, StudyRoot.move, PRIVATE])


def negotiated(offer, answer, contexts=None):
    server = scp(supported=[STORE], extended=answer)
    contexts = contexts or [CTImageStorage, StudyRoot.find, StudyRoot.move, PRIVATE]
    with link(server, contexts, extended=offer) as association:
        return dict(association.extended)


# ---- SOP class extended negotiation


def test_options_are_agreed_to_one_by_one():
    offer = QueryRetrieveOptions(relational=True, fuzzy_names=True, timezone=True)
    ours = QueryRetrieveOptions(relational=True, timezone=True, empty_values=True)
    agreed = QueryRetrieveOptions(relational=True, timezone=True)
    assert negotiated({StudyRoot: offer}, {StudyRoot: ours}) == {
        StudyRoot.find: agreed,
        StudyRoot.move: QueryRetrieveOptions(relational=True),
    }


def test_nothing_is_answered_unasked_or_without_an_answer():
    ours = QueryRetrieveOptions(relational=True)
    assert negotiated(None, {StudyRoot: ours}) == {}
    assert negotiated({StudyRoot.find: ours}, None) == {}
    assert negotiated({StudyRoot.find: ours}, {StudyRoot.move: ours}) == {}


def test_a_class_that_is_not_accepted_is_not_answered():
    ours = QueryRetrieveOptions(relational=True)
    contexts = [Verification, StudyRoot.get]
    assert negotiated({StudyRoot.get: ours}, {StudyRoot: ours}, contexts) == {}


def test_storage_is_declared():
    declared = StorageOptions(level=2, signatures=3, coercion=0)
    assert negotiated({CTImageStorage: StorageOptions()}, {CTImageStorage: declared}) == {
        CTImageStorage: declared
    }


def test_other_classes_speak_bytes():
    assert negotiated({PRIVATE: b"\x01\x02\x03"}, {PRIVATE: b"\xff" * 9}) == {PRIVATE: b"\xff" * 9}


def test_functions_answer_by_class_or_for_all():
    asked = []

    def answer(sop_class, offered):
        asked.append((sop_class, offered))
        if sop_class == StudyRoot.find:
            return QueryRetrieveOptions(relational=True, fuzzy_names=True)
        return None if sop_class == CTImageStorage else bytes(offered)[::-1]

    offer = {
        StudyRoot.find: QueryRetrieveOptions(fuzzy_names=True),
        CTImageStorage: StorageOptions(),
        PRIVATE: b"abc",
    }
    agreed = {StudyRoot.find: QueryRetrieveOptions(fuzzy_names=True), PRIVATE: b"cba"}
    assert negotiated(offer, answer) == agreed
    assert asked == list(offer.items())
    assert negotiated(offer, {PRIVATE: answer}) == {PRIVATE: b"cba"}


def test_wrong_options_are_an_error_before_anything_is_sent():
    with pytest.raises(ValueError, match="give bytes"):
        scp(extended={Verification: StorageOptions()})
    with link(scp()) as association:
        pass
    assert association.extended == {}
    with pytest.raises(ValueError, match="not proposed"):
        negotiated({MRImageStorage: b""}, None)


def test_handlers_see_what_was_agreed():
    server = scp(extended={Verification: b"\x01"})
    seen = []
    server.c_echo(lambda request: seen.append(dict(request.association.extended)))
    with link(server, extended={Verification: b"\x00"}) as association:
        association.c_echo()
    assert seen == [{Verification: b"\x01"}]


# ---- which contexts are accepted


def private_instance(tmp_path):
    """Write an instance of a class that nobody knows."""
    dataset = pydicom.dcmread(CT)
    dataset.SOPClassUID = PRIVATE
    dataset.file_meta.MediaStorageSOPClassUID = PRIVATE
    path = tmp_path / "private.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


ANNOUNCED = Context(PRIVATE, related=[CTImageStorage])


@pytest.mark.parametrize(
    ("context", "unknown", "taken"),
    [
        (Context(PRIVATE), False, False),
        (ANNOUNCED, False, True),
        (Context(PRIVATE, service_class="1.2.840.10008.4.2"), False, True),
        (Context(PRIVATE, service_class="1.2.840.10008.4.99"), False, False),
        (Context(PRIVATE, related=[MRImageStorage], service_class="1.2.3"), False, True),
        (Context(PRIVATE), True, True),
        (Context(PRIVATE), lambda uid: uid == PRIVATE, True),
        (Context(PRIVATE), lambda uid: False, False),
        (ANNOUNCED, lambda uid: False, True),
    ],
)
def test_an_unknown_class_is_stored_when_announced_or_told_so(tmp_path, context, unknown, taken):
    folder = tmp_path / "stored"
    server = scp(services=[Storage(folder, mode="fast", unknown=unknown)])
    with link(server, context) as association:
        instance = private_instance(tmp_path)
        if taken:
            assert association.c_store(instance) == 0
        else:
            assert association.accepted == ()
            with pytest.raises(NoPresentationContext):
                association.c_store(instance)
    assert len(list(folder.iterdir())) == taken


def test_a_handler_of_every_storage_class_gets_announced_ones(tmp_path):
    server = scp()
    seen = []
    server.c_store(lambda request: seen.append(request.command["AffectedSOPClassUID"]))
    with link(server, ANNOUNCED) as association:
        association.c_store(private_instance(tmp_path))
    assert seen == [PRIVATE]


def test_a_handler_of_every_storage_class_gets_any_when_the_server_takes_unknown_ones(tmp_path):
    server = scp(unknown=True)
    seen = []
    server.c_store(lambda request: seen.append(request.command["AffectedSOPClassUID"]))
    with link(server, Context(PRIVATE)) as association:
        association.c_store(private_instance(tmp_path))
    assert seen == [PRIVATE]


def test_a_handler_of_some_classes_gets_no_others():
    server = scp()
    server.c_store(MRImageStorage)(lambda request: None)
    with link(server, ANNOUNCED) as association:
        assert association.accepted == ()


def syntaxes(contexts, **options):
    with link(scp(**options), contexts) as association:
        return {context.sop_class: context.transfer_syntax for context in association.accepted}


def test_transfer_syntaxes_by_either_order_and_an_allow_list():
    offer = Context(
        CTImageStorage, [JPEG2000Lossless, ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    )
    allowed = [ImplicitVRLittleEndian, ExplicitVRLittleEndian]
    for supported, chosen in [
        (Supported(CTImageStorage), JPEG2000Lossless),
        (Supported(CTImageStorage, allowed), ExplicitVRLittleEndian),
        (Supported(CTImageStorage, allowed, own_order=True), ImplicitVRLittleEndian),
        (Supported(any_storage, allowed, own_order=True), ImplicitVRLittleEndian),
        (Supported(lambda uid: True, allowed, own_order=True), ImplicitVRLittleEndian),
    ]:
        assert syntaxes(offer, supported=[supported]) == {CTImageStorage: chosen}
    assert syntaxes(offer, supported=[Supported(CTImageStorage, "1.2.3")]) == {}


def test_of_two_the_first_counts_and_both_go_before_what_handlers_imply(tmp_path):
    implicit = Supported(CTImageStorage, ImplicitVRLittleEndian)
    explicit = Supported([CTImageStorage, MRImageStorage], ExplicitVRLittleEndian)
    got = syntaxes(
        [CTImageStorage, MRImageStorage],
        services=[Storage(tmp_path, mode="fast")],
        supported=[implicit, explicit],
    )
    assert got == {CTImageStorage: ImplicitVRLittleEndian, MRImageStorage: ExplicitVRLittleEndian}


def test_any_storage_takes_the_unknown_and_nothing_else():
    offer = [Verification, CTImageStorage, PRIVATE, "1.2.840.10008.5.1.4.1.1.99999", StudyRoot]
    taken = syntaxes(offer, supported=[Supported(any_storage)])
    assert list(taken) == [Verification, CTImageStorage, PRIVATE, "1.2.840.10008.5.1.4.1.1.99999"]


def test_a_predicate_is_asked_of_what_no_list_has():
    asked = []

    def predicate(sop_class):
        asked.append(sop_class)
        return sop_class.service == "query-retrieve"

    taken = syntaxes([Verification, StudyRoot, PRIVATE, PRIVATE], supported=[Supported(predicate)])
    assert list(taken) == [Verification, *StudyRoot]
    assert asked == [*StudyRoot, PRIVATE]


def test_a_predicate_that_fails_is_a_rejection():
    with pytest.raises(AssociationRejected):
        syntaxes(PRIVATE, supported=[Supported(lambda uid: 1 // 0)])


@pytest.mark.parametrize(
    ("asked", "granted", "expected"),
    [
        ((True, False), (True, False), (True, False)),
        ((True, True), (True, True), (True, True)),
        ((True, True), (True, False), (True, False)),
        ((False, True), (True, True), (False, True)),
        ((False, True), (True, False), None),
    ],
)
def test_roles_are_those_that_both_want(asked, granted, expected):
    context = Context(CTImageStorage, None, *asked)
    supported = Supported(CTImageStorage, scu=granted[0], scp=granted[1])
    with link(scp(supported=[supported]), context) as association:
        got = [(context.scu, context.scp) for context in association.accepted]
        rejected = [context.result for context in association.rejected]
    assert got == ([expected] if expected else [])
    assert rejected == ([] if expected else [1])
