"""Attribute matching, rule by rule of PS3.4 C.2.2.2, and against identifiers meant to harm."""

from __future__ import annotations

import fnmatch
import re
import time
import warnings

import pytest
from hypothesis import given, strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dimse_rs import sop_class as uids
from dimse_rs.datasets import from_bytes, to_bytes
from dimse_rs.errors import DecodeError, StatusError
from dimse_rs.services import _values
from dimse_rs.services.matching import (
    QUERY,
    WORKLIST,
    IdentifierError,
    Matcher,
    Rules,
    matches,
    respond,
)
from tests.support.datasets import data_set


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decide(keyword, key, stored, rules=QUERY):
    return matches(data_set(**{keyword: key}), data_set(**{keyword: stored}), rules=rules)


@pytest.mark.parametrize(
    ("keyword", "key", "stored", "expected"),
    [
        # single value, C.2.2.2.1
        ("PatientID", "A1", "A1", True),
        ("PatientID", "A1", "a1", False),
        ("PatientID", "A1", "A12", False),
        ("PatientID", " A1 ", "A1", True),
        ("AccessionNumber", "[a]", "[a]", True),
        ("InstanceNumber", "7", "007", True),
        ("InstanceNumber", "7", "8", False),
        ("SliceThickness", "1.50", "1.5", True),
        ("Rows", 512, 512, True),
        ("Rows", 512, 256, False),
        ("PatientAge", "042Y", "042Y", True),
        # list of UID, C.2.2.2.2
        ("StudyInstanceUID", "1.2.3", "1.2.3", True),
        ("StudyInstanceUID", ["1.2.3", "1.2.4"], "1.2.4", True),
        ("StudyInstanceUID", ["1.2.3", "1.2.4"], "1.2.5", False),
        ("StudyInstanceUID", "1.2.*", "1.2.3", False),
        ("StudyInstanceUID", "1.2.?", "1.2.3", False),
        ("StudyInstanceUID", "*", "1.2.3", False),
        # universal, C.2.2.2.3
        ("PatientID", "", "A1", True),
        ("PatientID", "*", "A1", True),
        ("PatientID", "***", "", True),
        ("StudyDate", "", "20200101", True),
        ("StudyDate", "*", "20200101", True),
        ("StudyInstanceUID", "", "1.2.3", True),
        ("Rows", None, 512, True),
        # wild card, C.2.2.2.4
        ("PatientID", "A*", "A1", True),
        ("PatientID", "A*", "A", True),
        ("PatientID", "A?", "A", False),
        ("PatientID", "A?", "A1", True),
        ("PatientID", "A?", "A12", False),
        ("PatientID", "a*", "A1", False),
        ("PatientID", "*1*3", "123", True),
        ("PatientID", "*1*2", "123", False),
        ("PatientID", "12*21", "121", False),
        ("PatientID", "*ab?d*", "xxabababcdyy", True),
        ("PatientID", "a.c", "abc", False),
        ("StudyDescription", "?*", "CT", True),
        ("StudyDescription", "???*", "CT", False),
        ("Modality", "C?", "CT", True),
        ("InstanceNumber", "", "1", True),
        ("PatientAge", "04?Y", "042Y", False),
        # person names: case, component groups, empty components
        ("PatientName", "doe^JOHN", "Doe^John", True),
        ("PatientName", "doe", "Doe^John", False),
        ("PatientName", "doe*", "Doe^John", True),
        ("PatientName", "Doe^John^^^", "Doe^John", True),
        ("PatientName", "Doe^John", "Doe^John^^", True),
        ("PatientName", "Doe ^John", "Doe^John", True),
        ("PatientName", "Yamada^Tarou", "Yamada^Tarou=山田^太郎", True),
        ("PatientName", "山田*", "Yamada^Tarou=山田^太郎", True),
        ("PatientName", "=山田^太郎", "Yamada^Tarou=山田^太郎", True),
        ("PatientName", "Yamada*=山本*", "Yamada^Tarou=山田^太郎", False),
        ("PatientName", "Yamada*=*", "Yamada^Tarou", True),
        ("PatientName", "Yamada*=山*", "Yamada^Tarou", False),
        ("PatientName", "MÜLLER*", "Müller^Eva", True),
        ("PatientName", "MULLER*", "Müller^Eva", False),
        # range, C.2.2.2.5
        ("StudyDate", "20200101", "20200101", True),
        ("StudyDate", "20200101", "2020.01.01", True),
        ("StudyDate", "20200101-20200131", "20200115", True),
        ("StudyDate", "20200101-20200131", "20200101", True),
        ("StudyDate", "20200101-20200131", "20200131", True),
        ("StudyDate", "20200101-20200131", "20200201", False),
        ("StudyDate", "20200101 - 20200131", "20200115", True),
        ("StudyDate", "-20200131", "19000101", True),
        ("StudyDate", "-20200131", "20200201", False),
        ("StudyDate", "20200101-", "20991231", True),
        ("StudyDate", "20200101-", "20191231", False),
        ("StudyDate", "-", "20191231", True),
        ("StudyDate", "99999999-", "20200101", False),
        ("StudyDate", "20200201-20200101", "20200115", False),
        ("StudyDate", "2020*", "20200101", False),
        ("StudyDate", "tomorrow", "20200101", False),
        ("StudyDate", "٢٠٢٠٠١٠١", "20200101", False),
        ("StudyDate", "-20200101", "unknown", False),
        ("StudyTime", "2230", "223000", True),
        ("StudyTime", "22:30", "223000.000000", True),
        ("StudyTime", "2230", "223001", False),
        ("StudyTime", "10-12", "125959.9", True),
        ("StudyTime", "10-12", "130000", False),
        ("StudyTime", "1000-1200", "0959", False),
        ("StudyTime", "2200-0200", "2300", False),
        ("AcquisitionDateTime", "20200101120000", "20200101120000", True),
        ("AcquisitionDateTime", "20200101-20200102", "20200102235959", True),
        ("AcquisitionDateTime", "202002-202002", "20200229120000", True),
        ("AcquisitionDateTime", "202002-202002", "20200301000000", False),
        ("AcquisitionDateTime", "20200101120000+0100", "20200101110000+0000", True),
        ("AcquisitionDateTime", "20200101120000-0500-20200101130000-0500", "20200101173000", True),
        ("AcquisitionDateTime", "20200101120000-0500-20200101130000-0500", "20200101123000", False),
        ("AcquisitionDateTime", "20200101120000-0500-", "20200101165959", False),
        ("AcquisitionDateTime", "20200101120000-0500-", "20200101170000", True),
        ("AcquisitionDateTime", "-20200101120000-0500", "20200101170000", True),
        ("AcquisitionDateTime", "20200101120000-0500", "20200101170000", False),
        ("AcquisitionDateTime", "00010101+1400", "00010101", False),
        ("AcquisitionDateTime", "20209999120000+0100", "20200101", False),
        # several values, on either side
        ("ImageType", "PRIMARY", ["ORIGINAL", "PRIMARY"], True),
        ("ImageType", "PRIM*", ["ORIGINAL", "PRIMARY"], True),
        ("ImageType", "DERIVED", ["ORIGINAL", "PRIMARY"], False),
        ("ModalitiesInStudy", ["MR", "CT"], ["CT", "SR"], True),
        ("ModalitiesInStudy", ["M?", "C?"], ["CT", "SR"], True),
        # unknown values match in Query/Retrieve, C.2.2.1.2
        ("PatientID", "A1", "", True),
        ("StudyDate", "20200101-", "", True),
        ("StudyInstanceUID", "1.2", "", True),
    ],
)
def test_one_attribute(keyword, key, stored, expected):
    assert decide(keyword, key, stored) is expected


@pytest.mark.parametrize(("key", "expected"), [("A1", False), ("A*", False), ("*", True)])
def test_unknown_matches_only_universal_keys_in_worklists(key, expected):
    assert decide("PatientID", key, "", WORKLIST) is expected
    assert matches(data_set(PatientID=key), Dataset(), rules=WORKLIST) is expected


def test_absent_attribute_is_unknown():
    assert matches(data_set(PatientID="A1", Rows=5), Dataset())


@pytest.mark.parametrize(
    ("rules", "key", "stored", "expected"),
    [
        (Rules(empty_values=True), '""', "", True),
        (Rules(empty_values=True), '"" ', "", True),
        (Rules(empty_values=True), '""', "A1", False),
        (Rules(), '""', '""', True),
        (Rules(), '""', "A1", False),
    ],
)
def test_empty_value_matching_is_negotiated(rules, key, stored, expected):
    assert decide("PatientID", key, stored, rules) is expected


@pytest.mark.parametrize(
    ("keyword", "key", "stored", "expected"),
    [
        ("ModalitiesInStudy", ["CT", "MR"], ["MR", "SR", "CT"], True),
        ("ModalitiesInStudy", ["CT", "MR"], ["CT", "SR"], False),
        ("ModalitiesInStudy", ["CT"], ["CT", "SR"], True),
        ("ModalitiesInStudy", ["*", "CT"], ["SR"], False),
        ("ModalitiesInStudy", "*", ["SR"], True),
        ("OtherPatientNames", ["a^b", "C^D"], ["c^d", "A^B"], True),
        ("OtherPatientNames", ["a^b", "C^D"], ["c^d"], False),
        ("StudyInstanceUID", ["1.2", "1.3"], "1.3", True),
    ],
)
def test_multiple_value_matching_wants_them_all(keyword, key, stored, expected):
    assert decide(keyword, key, stored, Rules(multiple_values=True)) is expected


@pytest.mark.parametrize(
    ("combined", "date", "time_", "expected"),
    [
        # the key: from the 1st, 10:00, to the 3rd, 12:00
        (True, "20200102", "2300", True),
        (False, "20200102", "2300", False),
        (True, "20200101", "0959", False),
        (True, "20200101", "1000", True),
        (True, "20200103", "1200", True),
        (True, "20200103", "1201", False),
        (True, "20200102", "", True),
        (True, "20200104", "", False),
        (True, "", "1100", True),
    ],
)
def test_date_and_time_ranges_are_one_when_combined(combined, date, time_, expected):
    key = data_set(StudyDate="20200101-20200103", StudyTime="1000-1200")
    stored = data_set(StudyDate=date, StudyTime=time_)
    assert matches(key, stored, rules=Rules(combined_datetime=combined)) is expected


def test_combined_open_ranges_and_different_forms():
    rules = Rules(combined_datetime=True)
    late = data_set(StudyDate="20200102", StudyTime="0100")
    assert matches(data_set(StudyDate="20200101-", StudyTime="1000-"), late, rules=rules)
    assert matches(data_set(StudyDate="-20200103", StudyTime="-0000"), late, rules=rules)
    # Different forms are two keys: C.2.2.2.5.4.
    assert not matches(data_set(StudyDate="20200101-", StudyTime="-0030"), late, rules=rules)
    assert not matches(data_set(StudyDate="20200102", StudyTime="1000-"), late, rules=rules)
    # Only a date pairs with its own time.
    assert not matches(
        data_set(StudyDate="20200101-", SeriesTime="1000-"),
        data_set(StudyDate="20200102", SeriesTime="0100"),
        rules=rules,
    )


@pytest.mark.parametrize(
    ("agreed", "key", "expected"),
    [
        # stored: 2020-01-01 23:30 in UTC+1, which is 22:30 UTC and 2020-01-02 07:30 in UTC+9
        (True, {"StudyDate": "20200102", "TimezoneOffsetFromUTC": "+0900"}, True),
        (True, {"StudyTime": "0700-0800", "TimezoneOffsetFromUTC": "+0900"}, True),
        (True, {"StudyTime": "2230", "TimezoneOffsetFromUTC": "+0000"}, True),
        (True, {"StudyTime": "2330", "TimezoneOffsetFromUTC": "+0100"}, True),
        (True, {"StudyTime": "2330"}, True),
        (True, {"StudyTime": "2330", "TimezoneOffsetFromUTC": "nowhere"}, True),
        (False, {"StudyTime": "2330", "TimezoneOffsetFromUTC": "+0900"}, True),
        (False, {"StudyDate": "20200102", "TimezoneOffsetFromUTC": "+0900"}, False),
        (True, {"AcquisitionDateTime": "202001020730", "TimezoneOffsetFromUTC": "+0900"}, True),
        (True, {"AcquisitionDateTime": "202001012230", "TimezoneOffsetFromUTC": "+0000"}, True),
        (True, {"AcquisitionDateTime": "202001012330", "TimezoneOffsetFromUTC": "+0000"}, False),
    ],
)
def test_timezone_adjusts_when_agreed(agreed, key, expected):
    stored = data_set(
        StudyDate="20200101",
        StudyTime="2330",
        AcquisitionDateTime="202001012330",
        TimezoneOffsetFromUTC="+0100",
    )
    rules = Rules(timezone=agreed)
    assert matches(data_set(**key), stored, rules=rules) is expected
    response = respond(data_set(**key), stored, rules=rules)
    assert ("TimezoneOffsetFromUTC" in response) is agreed


def step(**values) -> Dataset:
    return data_set(**values)


def scheduled(*steps: Dataset) -> Dataset:
    return data_set(PatientID="A1", ScheduledProcedureStepSequence=list(steps))


STORED = scheduled(
    step(Modality="CT", ScheduledStationAETitle="ONE", ScheduledProcedureStepID="1"),
    step(Modality="MR", ScheduledStationAETitle="TWO", ScheduledProcedureStepID="2"),
)


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (step(Modality="CT"), ["1"]),
        (step(Modality="CT", ScheduledStationAETitle="ONE"), ["1"]),
        (step(Modality="CT", ScheduledStationAETitle="TWO"), None),
        (step(Modality="", ScheduledStationAETitle=""), ["1", "2"]),
        (step(Modality="?*"), ["1", "2"]),
    ],
)
def test_all_item_keys_match_within_one_item(key, found):
    key.ScheduledProcedureStepID = ""
    identifier = scheduled(key)
    assert matches(identifier, STORED, rules=WORKLIST) is (found is not None)
    if found is not None:
        answer = respond(identifier, STORED, rules=WORKLIST)
        items = answer.ScheduledProcedureStepSequence
        assert [item.ScheduledProcedureStepID for item in items] == found
        assert all(sorted(item.keys()) == sorted(key.keys()) for item in items)


@pytest.mark.parametrize("identifier", [scheduled(), scheduled(Dataset())])
def test_empty_sequence_key_asks_for_the_whole_sequence(identifier):
    assert matches(identifier, STORED)
    answer = respond(identifier, STORED)
    assert answer.ScheduledProcedureStepSequence == STORED.ScheduledProcedureStepSequence


def test_sequence_that_is_not_there():
    identifier = scheduled(step(Modality="CT"))
    assert matches(identifier, data_set(PatientID="A1"))
    assert not matches(identifier, data_set(PatientID="A1"), rules=WORKLIST)
    assert len(respond(identifier, Dataset()).ScheduledProcedureStepSequence) == 0


def test_response_has_what_was_requested_and_nothing_else():
    identifier = data_set(
        QueryRetrieveLevel="STUDY",
        SpecificCharacterSet="ISO_IR 100",
        PatientID="A*",
        StudyDate="",
        Rows=None,
        StudyDescription="",
    )
    identifier.add_new(0x00091001, "LO", "private")
    identifier.add_new(0x00041130, "CS", "FILESET")
    stored = data_set(PatientID="A1", StudyDate="20200101", PatientName="X", StudyDescription=None)
    matcher = Matcher(identifier)
    answer = matcher.respond(stored)
    assert {element.keyword: element.value for element in answer} == {
        "QueryRetrieveLevel": "STUDY",
        "PatientID": "A1",
        "StudyDate": "20200101",
        "StudyDescription": None,
        "Rows": None,
    }
    assert matcher.unsupported == (0x00091001,)


def test_unsupported_keys_are_ignored_and_named():
    identifier = data_set(PatientID="A1", BodyPartExamined="HEAD")
    matcher = Matcher(identifier, supported=lambda tag: tag != 0x00180015)
    stored = data_set(PatientID="A1", BodyPartExamined="FOOT")
    assert matcher.matches(stored)
    assert "BodyPartExamined" not in matcher.respond(stored)
    assert matcher.unsupported == (0x00180015,)
    assert (matcher.pending, Matcher(data_set(PatientID="")).pending) == (0xFF01, 0xFF00)
    assert matcher.tags == (0x00100020,)


def test_query_level_view_and_zone_are_no_keys():
    identifier = data_set(QueryRetrieveLevel="STUDY", TimezoneOffsetFromUTC="+0100")
    identifier.QueryRetrieveView = "CLASSIC"
    matcher = Matcher(identifier)
    assert matcher.is_universal
    assert matcher.unsupported == ()


@pytest.mark.parametrize(
    ("declared", "name", "expected"),
    [
        ("ISO_IR 100", "Doe", None),
        ("ISO_IR 100", "Müller", "ISO_IR 100"),
        ("ISO_IR 192", "山田", "ISO_IR 192"),
        (["", "ISO 2022 IR 87"], "Yamada=山田", ["", "ISO 2022 IR 87"]),
        (None, "Müller", "ISO_IR 192"),
        ("ISO_IR 6", "Müller", "ISO_IR 192"),
        ("ISO_IR 100", "山田", "ISO_IR 192"),
        ("KLINGON", "Müller", "ISO_IR 192"),
    ],
)
def test_character_set_is_declared_when_it_is_needed(declared, name, expected):
    stored = data_set(PatientName=name)
    if declared is not None:
        stored.SpecificCharacterSet = declared
    answer = respond(data_set(PatientName="", SpecificCharacterSet="ISO_IR 144"), stored)
    assert answer.get("SpecificCharacterSet") == expected
    syntax = uids.ExplicitVRLittleEndian
    assert str(from_bytes(to_bytes(answer, syntax), syntax).PatientName) == name


def test_response_encodes_what_was_read_from_the_wire():
    syntax = uids.ImplicitVRLittleEndian
    made = data_set(SpecificCharacterSet="ISO_IR 144", PatientName="Дом", Rows=5)
    made.RequestAttributesSequence = [data_set(RequestedProcedureDescription="Грудь")]
    stored = from_bytes(to_bytes(made, syntax), syntax)
    identifier = data_set(PatientName="ДОМ*", Rows=None, RequestAttributesSequence=[])
    assert matches(identifier, stored)
    back = from_bytes(to_bytes(respond(identifier, stored), syntax), syntax)
    assert back == made


# ---- identifiers meant to harm


def wire(*elements: tuple[int, str, bytes]) -> Dataset:
    """A data set in Explicit VR Little Endian, as a peer may make it up."""
    data = b""
    for tag, vr, value in elements:
        head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
        long = vr in ("SQ", "UN", "UT", "OB")
        size = b"\0\0" + len(value).to_bytes(4, "little") if long else None
        data += head + vr.encode() + (size or len(value).to_bytes(2, "little")) + value
    return from_bytes(data, uids.ExplicitVRLittleEndian)


@pytest.mark.parametrize(
    ("element", "tag"),
    [
        ((0x00400100, "LO", b"CT"), 0x00400100),
        ((0x00100010, "SQ", b""), 0x00100010),
        ((0x00100010, "SQ", b"abcdefgh"), 0x00100010),
        ((0x00280010, "US", b"abc"), 0x00280010),
        ((0x00400100, "SQ", b"\xfe\xff\x00\xe0\x00\x00\x00\x00" * 2), 0x00400100),
    ],
)
def test_elements_that_cannot_be_keys_are_refused_by_name(element, tag):
    with pytest.raises(IdentifierError) as refused:
        Matcher(wire(element))
    assert refused.value.status == 0xA900
    assert refused.value.offending == (tag,)
    assert refused.value.elements == {"OffendingElement": [tag]}
    assert f"({tag >> 16:04X},{tag & 0xFFFF:04X})" in refused.value.comment
    assert len(refused.value.comment) <= 64
    assert isinstance(refused.value, StatusError)


@pytest.mark.parametrize(
    "element",
    [
        (0x00100010, "LO", b"Doe*"),
        (0x00100010, "UN", b"Doe*"),
        (0x00100010, "US", b"ab"),
        (0x00100010, "OB", b"\xff\0\xfe"),
        (0x00100010, "PN", b"\xff\xfe=\x1b$B"),
        (0x00100010, "ZZ", b"ab"),
        (0x00080020, "DA", b"-"),
        (0x00080020, "DA", b"--------"),
        (0x00080020, "PN", b"^^=^^"),
        (0x0020000D, "UI", b"\0\0"),
        (0x0020000D, "UI", b"not a uid"),
        (0x00080201, "SH", b"+9999"),
        (0x00200013, "IS", b"x1"),
        (0x00200013, "IS", b"9" * 5000),
        (0x00180050, "DS", b"1.2.3 "),
        (0x00180050, "DS", b"1e999 "),
    ],
)
def test_odd_elements_match_something_or_nothing(element):
    try:
        matcher = Matcher(wire(element), Rules(timezone=True, combined_datetime=True))
    except (IdentifierError, DecodeError):
        return  # refused, and with a name
    stored = data_set(PatientName="Doe^John", StudyDate="20200101", StudyInstanceUID="1.2")
    assert matcher.matches(stored) in (True, False)
    assert len(matcher.respond(stored)) <= 1


def test_stored_values_that_cannot_be_read_are_unknown():
    stored = wire((0x00280010, "US", b"abc"), (0x00400100, "LO", b"CT"), (0x00100020, "SQ", b""))
    identifier = data_set(Rows=1, PatientID="A", ScheduledProcedureStepSequence=[])
    assert matches(identifier, stored)
    assert all(element.is_empty for element in respond(identifier, stored))


def nested(depth: int) -> Dataset:
    inner = data_set(PatientID="A1")
    for _ in range(depth):
        inner = data_set(RequestAttributesSequence=Sequence([inner]))
    return inner


def test_nesting_is_followed_to_a_limit():
    assert matches(nested(60), nested(60))
    assert not matches(nested(60), nested(59), rules=WORKLIST)
    for depth in (65, 300):
        with pytest.raises(IdentifierError) as refused:
            Matcher(nested(depth))
        assert refused.value.status == 0xC000


@pytest.mark.parametrize(
    "pattern",
    ["*?" * 2000 + "b", "****?*?*" * 1000, "*a" * 4000 + "*b", "?a" * 5000 + "*", "*a?" * 3000],
)
def test_wild_card_bombs_take_linear_time(pattern):
    text = "a" * 10000
    started = time.process_time()
    stored = data_set(TextValue=text)
    assert matches(data_set(TextValue=pattern), stored) is (not pattern.endswith("b"))
    assert time.process_time() - started < 2


@pytest.mark.slow
def test_long_lists_of_uids_are_looked_up_and_long_patterns_refused():
    many = [f"1.2.{n}" for n in range(100_000)]
    identifier = Dataset()
    identifier.add_new(0x0020000D, "UI", many)
    matcher = Matcher(identifier)
    started = time.process_time()
    stored = data_set(StudyInstanceUID="1.2.99999"), data_set(StudyInstanceUID="1.3")
    assert [matcher.matches(stored[n % 2]) for n in range(1000)] == [True, False] * 500
    assert time.process_time() - started < 1
    with pytest.raises(IdentifierError) as refused:
        Matcher(data_set(TextValue="*" * 8 + "a*" * (_values.LONGEST // 2)))
    assert (refused.value.status, refused.value.offending) == (0xC000, (0x0040A160,))


letters = st.text(alphabet="ab*?", max_size=12)


@pytest.mark.slow
@given(pattern=letters, text=st.text(alphabet="ab", max_size=14))
def test_wild_cards_agree_with_fnmatch(pattern, text):
    assert _values.wildcard(pattern)(text) == fnmatch.fnmatchcase(text, pattern)


@given(
    vr=st.sampled_from(["DA", "TM", "DT"]),
    key=st.text(alphabet="0129-+.: x", max_size=30),
    stored=st.text(alphabet="0129-+.: x", max_size=26),
)
def test_moments_of_any_text_do_no_harm(vr, key, stored):
    first, last = _values.interval(vr, key)
    at = _values.low(vr, stored)
    assert re.fullmatch(r"[0-9]*|~", first)
    assert not at or len(at) == {"DA": 8, "TM": 12, "DT": 20}[vr]
    assert not _values.within([(first, last)])([""])


@given(
    st.dictionaries(
        st.sampled_from([0x00100010, 0x00100020, 0x00080020, 0x0020000D, 0x00080061, 0x00400100]),
        st.tuples(
            st.sampled_from(("PN", "LO", "DA", "UI", "CS", "SQ", "UN", "US")),
            st.binary(max_size=24),
        ),
        max_size=4,
    )
)
def test_identifiers_of_random_bytes_are_served_or_refused(elements):
    stored = data_set(PatientName="Doe^John", PatientID="A1", StudyDate="20200101")
    try:
        identifier = wire(*((tag, vr, value) for tag, (vr, value) in sorted(elements.items())))
        matcher = Matcher(identifier, Rules(combined_datetime=True, timezone=True))
    except (IdentifierError, DecodeError):
        return
    matcher.matches(stored)
    assert set(matcher.respond(stored).keys()) <= set(elements)


def stored_raw(*elements: bytes) -> Dataset:
    return from_bytes(b"".join(elements), uids.ExplicitVRLittleEndian)


def test_a_match_never_has_values_that_cannot_be_sent():
    item = b"\x40\x00\x07\x00LO\x04\x00M\xfcl " + b"\x40\x00\x09\x00SH\x02\x00ID"
    within = b"\xfe\xff\x00\xe0" + len(item).to_bytes(4, "little") + item
    stored = stored_raw(
        b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 192",
        b"\x08\x00\x60\x00CS\x02\x00\xc4 ",
        b"\x10\x00\x10\x00PN\x04\x00M\xfcl ",
        b"\x10\x00\x20\x00LO\x02\x00P1",
        b"\x40\x00\x00\x01SQ\x00\x00" + len(within).to_bytes(4, "little") + within,
    )
    wanted = data_set(PatientName="", PatientID="P1", Modality="")
    wanted.ScheduledProcedureStepSequence = []
    answer = respond(wanted, stored)
    sent = from_bytes(to_bytes(answer, uids.ExplicitVRLittleEndian), uids.ExplicitVRLittleEndian)
    assert (sent.PatientID, sent.PatientName, sent.Modality) == ("P1", "", "")
    [step] = sent.ScheduledProcedureStepSequence
    assert (step.ScheduledProcedureStepDescription, step.ScheduledProcedureStepID) == ("", "ID")


@pytest.mark.parametrize("charset", ["", "ISO_IR 100", "ISO_IR 144", "no such set"])
def test_a_match_is_declared_as_what_it_is_sent_in(charset):
    stored = data_set(SpecificCharacterSet=charset, PatientName="Müller", StudyDescription="Люк")
    answer = respond(data_set(PatientName="", StudyDescription=""), stored)
    sent = from_bytes(to_bytes(answer, uids.ExplicitVRLittleEndian), uids.ExplicitVRLittleEndian)
    assert (str(sent.PatientName), sent.StudyDescription) == ("Müller", "Люк")
    assert sent.SpecificCharacterSet == "ISO_IR 192"
