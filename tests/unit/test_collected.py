"""What the core collects of files is what pydicom reads in them, or the same refusal.

An index keeps what the core collected and decodes it on request. Each test compares this way with
the reading of the whole file by pydicom, over bundled files and over files made of them.
"""

from __future__ import annotations

import random
import struct
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from dimse_rs import DecodeError, Index, LimitExceeded, Limits, sop_class as uids
from dimse_rs.datasets import Collected, Decoder, Groups, headers, read
from dimse_rs.services._headers import by_level, element_of, header_of
from dimse_rs.services._tree import Instance
from dimse_rs.services.hierarchy import LEVELS
from dimse_rs.services.index import _NOT_KEPT, _instance
from tests.data.files import bundled_files, meta_end
from tests.support.datasets import instance, query, save as save_as

KEYS = Index.keys()
FILES = list(bundled_files())
SMALL = [path for path in FILES if path.stat().st_size < 20_000]


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def save(made, path: Path) -> Path:
    save_as(made, path)
    return path


def said(made: Instance) -> list[object]:
    """Everything that an instance of an index says, to the letter."""
    found: list[object] = []
    for depth in range(len(LEVELS)):
        header = made.header(depth)
        for tag in KEYS:
            element = element_of(header, tag, made.decoder)
            if element is not None:
                text = [str(item) for item in element.value] if element.VR == "SQ" else None
                found.append((depth, tag, element.VR, repr(element.value), text))
            found.append(made.text(depth, tag))
    return found


def by_pydicom(path: Path) -> object:
    try:
        whole = read(path, only=KEYS)
    except (DecodeError, OSError) as error:
        return type(error), str(error)
    return said(Instance("", str(path), by_level(header_of(whole, _NOT_KEPT))))


def by_core(path: Path) -> tuple[object, bool]:
    """Give what the core says, and whether pydicom did not have to read the file."""
    [found] = headers([path], KEYS)
    if isinstance(found, Exception):
        return (type(found), str(found)), True
    try:
        made = _instance(str(path), found)
    except (DecodeError, OSError) as error:
        return (type(error), str(error)), False
    return said(made), made.decoder is not None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_bundled_file_says_the_same(path):
    assert by_core(path)[0] == by_pydicom(path)


def test_most_bundled_files_need_no_second_reading():
    plain = [isinstance(f, Collected) and f.is_plain for f in headers(FILES, KEYS)]
    read_at_all = [isinstance(found, Collected) for found in headers(FILES, KEYS)]
    assert sum(plain) > 0.9 * sum(read_at_all)


def mutated(content: bytes, seed: int) -> bytes:
    """Change some bytes of the beginning: one, several, a cut, or a piece in another place."""
    chance = random.Random(seed)
    start = meta_end(content)
    made = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4))):
        end = min(len(made), start + 2000)
        if end <= start:
            break
        at, other = chance.randrange(start, end), chance.randrange(start, end)
        what = chance.randrange(6)
        if what == 0:
            made[at] = chance.randrange(256)
        elif what == 1:
            made[at : at + 4] = struct.pack("<I", chance.choice((0, 1, 8, 0x10000, 0xFFFFFFFF)))
        elif what == 2:
            made[at : at + 2] = chance.choice((b"SQ", b"UN", b"OB", b"ZZ", b"LO", b"\0\0"))
        elif what == 3:
            del made[at : at + chance.choice((1, 2, 8))]
        elif what == 4:
            made[at:at] = made[other : other + chance.choice((2, 8, 40))]
        elif other > at:
            del made[other:]
    return bytes(made)


@pytest.mark.slow
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SMALL), st.integers(0, 1 << 32))
def test_a_mutated_file_says_the_same_or_is_refused_alike(tmp_path_factory, path, seed):
    made = tmp_path_factory.getbasetemp() / "mutated.dcm"
    made.write_bytes(mutated(path.read_bytes(), seed))
    assert by_core(made)[0] == by_pydicom(made)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SMALL), st.integers(0, 1 << 32))
def test_a_mutated_file_without_preamble_says_the_same(tmp_path_factory, path, seed):
    made = tmp_path_factory.getbasetemp() / "bare.dcm"
    content = mutated(path.read_bytes(), seed) if seed % 4 else path.read_bytes()
    made.write_bytes(content[132 if seed % 2 else meta_end(content) :])
    assert by_core(made)[0] == by_pydicom(made)


def test_it_is_one_data_set_of_pydicom():
    for path in FILES:
        [found] = headers([path], KEYS)
        if isinstance(found, Exception) or not found.is_plain:
            continue
        made, whole = found.dataset(), read(path, only=KEYS)
        assert made.file_meta.TransferSyntaxUID == found.transfer_syntax
        assert made == whole
        assert [e.is_undefined_length for e in made] == [e.is_undefined_length for e in whole]


def test_files_come_in_order_and_failures_among_them(tmp_path):
    paths = []
    for number in range(1200):
        paths.append(tmp_path / f"{number}")
        if number % 3 == 0:
            save(instance("A", 1, 1, number), paths[-1])
        elif number % 3 == 1:
            paths[-1].write_bytes(b"no DICOM")
    found = list(headers(paths, KEYS))
    assert len(found) == len(paths)
    for number, one in enumerate(found):
        kinds = (Collected, DecodeError, OSError)
        assert isinstance(one, kinds[number % 3])
        if isinstance(one, Collected):
            assert one.dataset().InstanceNumber == number
        else:
            assert str(paths[number]) in str(one)


def test_limits_hold_for_each_file(tmp_path):
    made = instance("A", 1, 1, 1)
    made.OtherPatientIDsSequence = [instance("A", 1, 1, n) for n in range(30)]
    made.OtherPatientIDsSequence[0].OtherPatientIDsSequence = [instance("A", 1, 1, 1)]
    path = save(made, tmp_path / "a.dcm")
    for limits in (Limits(elements=30), Limits(depth=1)):
        [found] = headers([path], KEYS, limits=limits)
        assert isinstance(found, LimitExceeded)
        with pytest.raises(LimitExceeded) as caught:
            read(path, limits=limits)
        assert str(found) == str(caught.value)


def test_what_is_longer_than_the_core_keeps_is_read_from_the_file(tmp_path):
    made = instance("A", 1, 1, 1)
    made.ImageComments = "x" * 5000
    path = save(made, tmp_path / "a.dcm")
    [found] = headers([path], KEYS)
    assert not found.is_plain
    assert 0x00204000 not in found.values()
    index = Index()
    index.add(path)
    asked = query("IMAGE", StudyInstanceUID="1.1", SeriesInstanceUID="1.1.1", ImageComments="")
    [one] = index.find(asked, uids.StudyRoot)
    assert one.ImageComments == "x" * 5000


def test_groups_part_what_was_collected(tmp_path):
    path = save(instance("A", 1, 1, 7, SpecificCharacterSet="ISO_IR 100"), tmp_path / "a.dcm")
    [found] = headers([path], KEYS)
    shared, patient, rest = found.parts(Groups([[0x00080005], [0x00100020], [0x00200013]]))
    decoder = Decoder.of(found.transfer_syntax, shared)
    assert decoder is Decoder.of(found.transfer_syntax, bytes(bytearray(shared)))
    assert decoder.element(patient).value == "A"
    assert decoder.element(rest).value == 7
    assert decoder.find(rest, 0x00100020) == b""
    assert "A" not in repr(found)
