"""Contexts and the send planner. The planner's rules are properties: they hold for any files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from dimse_rs import sop_class as uids
from dimse_rs.contexts import (
    DEFAULT_TRANSFER_SYNTAXES,
    MAX_CONTEXTS,
    Context,
    FileInfo,
    expand,
    for_retrieve,
    plan,
)


def test_bare_class_gets_explicit_and_implicit_little_endian():
    context = Context(uids.CTImageStorage)
    assert context.transfer_syntaxes == ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
    assert (context.scu, context.scp, context.needs_role_selection) == (True, False, False)


def test_context_names_plain_strings_and_drops_repeats():
    context = Context("1.2.840.10008.1.1", ["1.2.840.10008.1.2", "1.2.840.10008.1.2"])
    assert context.sop_class is uids.Verification
    assert context.transfer_syntaxes == (uids.ImplicitVRLittleEndian,)
    assert Context("1.2.840.10008.1.1", "1.2.840.10008.1.2") == context
    assert hash(Context("1.2.840.10008.1.1", "1.2.840.10008.1.2")) == hash(context)


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("",), "not a UID"),
        (("1.2.x",), "not a UID"),
        (("1." * 40 + "1",), "not a UID"),
        (("1.2", ["1..2"]), "not a UID"),
        (("1.2\n",), "not a UID"),
        (("1.2", []), "transfer syntax"),
        (("1.2", None, False, False), "role"),
    ],
)
def test_context_rejects(args, why):
    with pytest.raises(ValueError, match=why):
        Context(*args)


def test_context_is_immutable():
    with pytest.raises(AttributeError):
        Context("1.2").scu = False


def test_expand_takes_everything_users_write():
    found = expand([uids.Verification, "1.2.3", uids.StudyRoot, Context("1.2.4", scp=True)])
    assert [context.sop_class for context in found] == [
        uids.Verification,
        "1.2.3",
        *uids.StudyRoot,
        "1.2.4",
    ]
    assert expand() == expand(uids.Verification) == (Context(uids.Verification),)
    assert len(expand(uids.PatientRoot)) == 3


def test_expand_proposes_equal_contexts_once_and_unites_roles():
    ct, jpeg = uids.CTImageStorage, uids.JPEGBaseline8Bit
    found = expand([ct, ct, Context(ct, [jpeg]), Context(ct, scu=False, scp=True)])
    assert [c.transfer_syntaxes for c in found] == [DEFAULT_TRANSFER_SYNTAXES, (jpeg,)]
    assert all(c.scu and c.scp for c in found)


def test_expand_rejects_none_and_too_many():
    with pytest.raises(ValueError, match="needs a presentation context"):
        expand([])
    assert len(expand([f"1.2.{n}" for n in range(128)])) == 128
    with pytest.raises(ValueError, match="129 presentation contexts"):
        expand([f"1.2.{n}" for n in range(129)])


def test_for_retrieve_adds_storage_classes_as_provider():
    found = for_retrieve(uids.StudyRoot)
    assert len(found) == 123
    assert [c.sop_class for c in found[:3]] == list(uids.StudyRoot)
    assert not any(c.scp for c in found[:3])
    assert all(c.scp and not c.scu and c.needs_role_selection for c in found[3:])
    few = for_retrieve(uids.StudyRoot, [uids.CTImageStorage], [uids.JPEG2000])
    assert few[-1] == Context(uids.CTImageStorage, [uids.JPEG2000], scu=False, scp=True)


def info(sop_class: str, syntax: str, number: int = 0, size: int = 10) -> FileInfo:
    return FileInfo(Path(f"{number}.dcm"), sop_class, f"1.9.{number}", syntax, size)


def test_plan_of_one_compressed_series():
    files = [info(uids.CTImageStorage, uids.JPEG2000, n) for n in range(3)]
    [only] = plan(files)
    assert only.contexts == (
        Context(uids.CTImageStorage, [uids.JPEG2000]),
        Context(uids.CTImageStorage),
    )
    assert only.files == tuple(files)
    assert only.size == 30


def test_plan_of_nothing_is_nothing():
    assert plan([]) == []


def test_plan_takes_another_fallback_and_proposes_nothing_twice():
    syntax = uids.ImplicitVRLittleEndian
    [only] = plan([info("1.2", syntax)], fallback=[syntax])
    assert only.contexts == (Context("1.2", [syntax]),)


def test_plan_splits_a_class_stored_in_more_syntaxes_than_fit():
    files = [info("1.2", f"1.3.{n}", n) for n in range(200)]
    plans = plan(files)
    assert [len(p.contexts) for p in plans] == [128, 74]
    assert [len(p.files) for p in plans] == [127, 73]


FILES = st.lists(
    st.builds(
        info,
        st.integers(0, 150).map(lambda n: f"1.2.{n}"),
        st.sampled_from([*DEFAULT_TRANSFER_SYNTAXES, uids.JPEG2000, uids.RLELossless]),
        st.integers(0, 10**6),
    ),
    max_size=300,
)


@pytest.mark.slow
@given(FILES)
def test_plan_puts_every_file_into_exactly_one_association_in_order(files):
    plans = plan(files)
    assert sorted(f.path for p in plans for f in p.files) == sorted(f.path for f in files)
    for p in plans:
        places = iter(files)
        assert all(any(f is given for given in places) for f in p.files)  # a subsequence


@given(FILES)
def test_plan_fits_every_association_and_proposes_nothing_twice_or_unused(files):
    for p in plan(files):
        assert 1 <= len(p.contexts) <= MAX_CONTEXTS
        assert len(set(p.contexts)) == len(p.contexts)
        assert {c.sop_class for c in p.contexts} == {f.sop_class for f in p.files}
        assert expand(p.contexts) == p.contexts


@pytest.mark.slow
@given(FILES)
def test_plan_proposes_each_file_as_it_is_and_implicit_little_endian_too(files):
    for p in plan(files):
        exact = {(c.sop_class, c.transfer_syntaxes) for c in p.contexts}
        for f in p.files:
            assert (f.sop_class, (f.transfer_syntax,)) in exact
            assert (f.sop_class, DEFAULT_TRANSFER_SYNTAXES) in exact


@pytest.mark.slow
@given(FILES)
def test_plan_uses_no_more_associations_than_needed_for_small_sets(files):
    classes = {f.sop_class for f in files}
    pairs = {(f.sop_class, f.transfer_syntax) for f in files}
    needed = len(pairs) + len(classes)
    if files and needed <= MAX_CONTEXTS:
        assert len(plan(files)) == 1
    # A bin is left only when the next class, of at most five contexts, does not fit.
    assert len(plan(files)) <= needed // (MAX_CONTEXTS - 4) + 1
