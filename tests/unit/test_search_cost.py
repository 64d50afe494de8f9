"""What a search costs, counted: the list that is asked for plus what is walked, and no lock."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from pydicom.dataset import Dataset

from dimse_rs import sop_class as uids
from dimse_rs.services import Mpps, Schedule, Worklist, _headers as module, matching
from dimse_rs.services.hierarchy import check_find
from dimse_rs.services.index import Index
from dimse_rs.services.matching import QUERY, IdentifierError, Matcher
from dimse_rs.services.query import QueryRetrieve
from tests.support.datasets import data_set, instance, item, query, save

pytestmark = pytest.mark.slow  # waits, or counts long work

STUDIES = 30


@pytest.fixture
def index() -> Index:
    """Each of so many patients has one study, with three series of three instances."""
    made = Index()
    for study in range(1, STUDIES + 1):
        for series in range(3):
            for number in range(3):
                one = instance(f"P{study}", study, series, number, StudyDate="20200101")
                made.add(f"{study}.{series}.{number}", one)
    return made


class Counting(dict):
    """A dictionary that counts how often it is looked into, and what is listed of it."""

    looked = 0

    def __getitem__(self, key):
        type(self).looked += 1
        return super().__getitem__(key)

    def __contains__(self, key):
        type(self).looked += 1
        return super().__contains__(key)

    def get(self, key, default=None):
        type(self).looked += 1
        return super().get(key, default)

    def values(self):
        type(self).looked += len(self)
        return super().values()

    def items(self):
        type(self).looked += len(self)
        return super().items()


@pytest.fixture
def looked(index, monkeypatch):
    """Count the look-ups in every list of the index."""
    monkeypatch.setattr(Counting, "looked", 0)
    index._tree.studies = Counting(index._tree.studies)
    index._tree.patients = Counting((k, Counting(v)) for k, v in index._tree.patients.items())
    for study in dict(index._tree.studies).values():
        for series in study.children.values():
            series.children = Counting(series.children)
        study.children = Counting(study.children)
        study.above.children = Counting(study.above.children)
    return lambda: Counting.looked


MANY = [f"9.{number}" for number in range(5000)]


@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
def test_a_list_of_uids_costs_the_list_and_what_is_walked(index, looked, level):
    keyword = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID"}.get(
        level, "SOPInstanceUID"
    )
    asked = query(level, **{keyword: [*MANY, "1.1", "1.1.1", "1.1.1.1"]})
    before = looked()  # making it reads no list
    found = list(index.find(asked, uids.StudyRoot, relational=True))
    assert len(found) == 1
    everything = STUDIES * (1 + 3 + 9)
    assert looked() - before <= 2 * len(MANY) + 4 * everything


def test_a_list_of_uids_is_retrieved_at_its_own_cost(index, looked):
    asked = query("STUDY", StudyInstanceUID=[*MANY, "1.1"])
    assert len(index.retrieve(asked, uids.StudyRoot)) == 9
    assert looked() <= 2 * (len(MANY) + 1) + 4 * 13


COUNTS = [f"NumberOfPatientRelated{what}" for what in ("Studies", "Series", "Instances")]
COUNTS += ["NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"]
COUNTS += ["NumberOfSeriesRelatedInstances", "ModalitiesInStudy", "SOPClassesInStudy"]


def test_counts_are_not_counted_anew_for_each_match(index, looked):
    plain = query("IMAGE", SOPInstanceUID="")
    list(index.find(plain, uids.PatientRoot, relational=True))
    without = looked()
    asked = query("IMAGE", SOPInstanceUID="", **dict.fromkeys(COUNTS, None))
    found = list(index.find(asked, uids.PatientRoot, relational=True))
    assert len(found) == STUDIES * 9
    assert all(one.NumberOfPatientRelatedInstances == 9 for one in found)
    assert looked() - without == without


def test_no_lock_is_held_while_there_is_matching(index, monkeypatch):
    held = []
    matches, respond = Matcher.matches, Matcher.respond

    def watched(function):
        def call(self, source):
            held.append(index._lock.locked())
            return function(self, source)

        return call

    monkeypatch.setattr(Matcher, "matches", watched(matches))
    monkeypatch.setattr(Matcher, "respond", watched(respond))
    keys = dict.fromkeys(COUNTS, None)
    assert len(list(index.find(query("STUDY", PatientID="", **keys), uids.StudyRoot))) == STUDIES
    assert held == [False] * 2 * STUDIES


def test_an_instance_is_stored_in_the_middle_of_a_search(index):
    found = index.find(query("STUDY", StudyInstanceUID=""), uids.StudyRoot)
    next(found)
    storing = threading.Thread(target=index.add, args=("new", instance("N", 99, 1, 1)))
    storing.start()
    storing.join(10)
    assert not storing.is_alive()
    assert len(list(found)) == STUDIES - 1


# ---- a search that nobody wants any more


@pytest.mark.parametrize("level", ["PATIENT", "STUDY", "SERIES", "IMAGE"])
def test_a_search_is_ended_although_nothing_matches(index, monkeypatch, level):
    asked = query(level, PatientName="nobody")
    find = check_find(asked, uids.PatientRoot, relational=True)
    compared = []
    monkeypatch.setattr(Matcher, "matches", lambda self, source: compared.append(1))
    found = index.found(replace(find, cancelled=lambda: len(compared) >= 5))
    assert list(found) == []
    assert len(compared) == 5


def test_a_walk_that_leads_nowhere_is_ended(index, monkeypatch):
    asked = query("IMAGE", SeriesInstanceUID="9")
    find = check_find(asked, uids.StudyRoot, relational=True)
    walked = []
    children = Index.children
    monkeypatch.setattr(
        Index, "children", lambda self, *args: walked.append(1) or children(self, *args)
    )
    assert list(index.found(replace(find, cancelled=lambda: len(walked) >= 5))) == []
    assert len(walked) == 5


class Asked(SimpleNamespace):
    """A request that is cancelled once so many data sets were compared."""

    def __init__(self, identifier, compared, after):
        super().__init__(identifier=identifier, association=None, sop_class="")
        self.compared, self.after = compared, after

    @property
    def cancelled(self):
        return len(self.compared) >= self.after


@pytest.fixture
def compared(monkeypatch):
    found = []
    monkeypatch.setattr(Matcher, "matches", lambda self, source: found.append(source))
    return found


def test_query_retrieve_looks_at_the_request(index, compared):
    request = Asked(query("STUDY", PatientName="nobody"), compared, 4)
    assert list(QueryRetrieve(index)._find(uids.StudyRoot, request)) == []
    assert len(compared) == 4


def test_a_schedule_looks_at_the_request(compared):
    items = [data_set(PatientName="A^B")] * 10
    assert list(Schedule(items)._find(Asked(data_set(PatientName="X"), compared, 4))) == []
    assert len(compared) == 4


def test_a_worklist_reads_no_more_of_its_folder_than_is_wanted(tmp_path, compared, monkeypatch):
    from dimse_rs.services import worklist

    for number in range(10):
        save(item("Doe^John", "202001011000", "CT"), tmp_path / f"{number}.wl")
    read, reading = [], worklist._read
    monkeypatch.setattr(worklist, "_read", lambda path: read.append(path) or reading(path))
    handlers = SimpleNamespace(c_find=lambda _: lambda handler: find.append(handler))
    find: list = []
    Worklist(tmp_path).register(handlers)
    assert list(find[0](Asked(data_set(PatientName="X"), compared, 4))) == []
    assert (len(compared), len(read)) == (4, 5)


def test_none_among_the_items_of_a_schedule_is_passed_over():
    request = Asked(data_set(PatientName=""), [], 1)
    [(status, _)] = Schedule([None, data_set(PatientName="A^B"), None])._find(request)
    assert status == 0xFF00


# ---- what an identifier, and an instance, may make us do


def keys(count) -> Dataset:
    step = Dataset()
    for group in range(0x0010, 0x0010 + 8):
        step.add_new((group << 16) + 0x20, "LO", "")
    made = Dataset()
    made.ScheduledProcedureStepSequence = [step]
    from pydicom.datadict import DicomDictionary

    for tag, (vr, *_) in DicomDictionary.items():
        if len(made) > count:
            break
        if tag > 0x00080100 and vr == "LO":
            made.add_new(tag, vr, "")
    return made


def test_an_identifier_has_so_many_keys_and_no_more(monkeypatch):
    monkeypatch.setattr(matching, "_MOST_KEYS", 40)
    size = Matcher(keys(30))._size
    assert 31 <= size <= 40
    monkeypatch.setattr(matching, "_MOST_KEYS", size)
    Matcher(keys(30))
    monkeypatch.setattr(matching, "_MOST_KEYS", size - 1)
    with pytest.raises(IdentifierError, match="more than"):
        Matcher(keys(30))
    monkeypatch.setattr(matching, "_MOST_KEYS", 40)
    with pytest.raises(IdentifierError, match="more than 40 keys") as caught:
        Matcher(keys(60))
    assert caught.value.status == 0xC000
    nested = Dataset()
    nested.ScheduledProcedureStepSequence = [keys(30)]
    nested.RequestAttributesSequence = [keys(30)]
    with pytest.raises(IdentifierError, match="more than 40 keys"):
        Matcher(nested)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientID", "a*"), ("PatientName", "a"), ("StudyDate", "20200101-")],
)
def test_values_that_are_compared_one_by_one_are_few(keyword, value):
    most = matching._MOST_PATTERNS
    half = Dataset()
    half.RequestAttributesSequence = [data_set(**{keyword: [value] * (most // 2)})]
    for more, fits in ((most // 2, True), (most // 2 + 1, False)):
        half.update(data_set(**{keyword: [value] * more}))
        if fits:
            Matcher(half)
            continue
        with pytest.raises(IdentifierError, match="patterns") as caught:
            Matcher(half)
        assert caught.value.status == 0xC000


def test_groups_of_a_name_are_three():
    find = Matcher(data_set(PatientName="x*"))
    name = {"PatientName": "a=b=x"}
    assert find.matches(data_set(**name))
    assert not find.matches(SimpleElements(0x00100010, "PN", "a=b=c=x" + "=" * 10_000))


class SimpleElements(dict):
    """A stored element as it may come from a peer."""

    def __init__(self, tag, vr, value):
        super().__init__({tag: SimpleNamespace(VR=vr, value=value)})


def test_a_list_without_wild_cards_is_looked_up_however_long():
    asked = Matcher(data_set(SOPInstanceUID=MANY, PatientID=MANY), QUERY)
    assert asked.matches(data_set(SOPInstanceUID=MANY[-1], PatientID=MANY[0]))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("OtherPatientIDs", ["x"] * 1025),
        ("ProcedureCodeSequence", [Dataset() for _ in range(1025)]),
        ("ProcedureCodeSequence", [data_set(CodeMeaning="x" * 5000) for _ in range(4)]),
    ],
)
def test_what_is_longer_than_anybody_needs_is_unknown_to_the_index(keyword, value):
    assert keyword in module_header(instance("A", 1, 1, 1, **{keyword: value[:2]}))
    assert keyword not in module_header(instance("A", 1, 1, 1, **{keyword: value}))


def module_header(made) -> set[str]:
    return {element.keyword for element in module.header_of(made, ()).values()}


def test_a_step_is_decoded_while_nobody_waits_for_it():
    mpps = Mpps()

    class Request(SimpleNamespace):
        instance_uid = "1.2.3"

        @property
        def dataset(self):
            assert not mpps._lock._is_owned()
            raise ZeroDivisionError

        modifications = dataset

    with pytest.raises(ZeroDivisionError):
        mpps._create(Request())
    mpps.steps["1.2.3"] = Dataset()
    with pytest.raises(ZeroDivisionError):
        mpps._set(Request())
