"""What handlers written for pynetdicom give is taken where it is clear, and else named."""

from __future__ import annotations

import asyncio

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    AsyncServer,
    CTImageStorage,
    ModalityPerformedProcedureStep,
    Schedule,
    StatusError,
    StudyRoot,
    Verification,
    for_retrieve,
    worklist,
)
from dimse_rs.sop_class import ModalityWorklist
from tests.data.generate import series
from tests.support.nodes import CT, SCU, at, link, scp

MPPS = ModalityPerformedProcedureStep
OF_MPPS = {"sop_class": MPPS, "instance_uid": "1.2"}


def match(number=1) -> Dataset:
    found = Dataset()
    found.PatientID = str(number)
    return found


def status(code, comment="") -> Dataset:
    given = Dataset()
    given.Status = code
    if comment:
        given.ErrorComment = comment
    return given


def failing(call):
    """Give the status and the comment of what fails."""
    with pytest.raises(StatusError) as caught:
        call()
    return int(caught.value.status), caught.value.comment


# ---- C-FIND

FOUND = {
    "pairs": [(0xFF00, match(1)), (0xFF01, match(2)), (0x0000, None), (0xFF00, match(3))],
    "statuses in data sets": [(status(0xFF00), match(1)), (status(0xFF01), match(2))],
    "mappings": [{"PatientID": "1"}, (0xFF00, {"PatientID": "2"})],
    "a cancel": [(0xFF00, match(1)), match(2), (0xFE00, None), match(3)],
}


@pytest.mark.parametrize("how", FOUND)
def test_matches_come_in_pairs_as_mappings_and_end_with_a_status(how):
    server = scp()
    server.c_find(StudyRoot)(lambda request: iter(FOUND[how]))
    with link(server, StudyRoot) as association:
        found = association.c_find({"PatientID": ""}, model=StudyRoot, level="STUDY")
        assert [next(found).PatientID, next(found).PatientID] == ["1", "2"]
        if how == "a cancel":
            assert failing(lambda: next(found))[0] == 0xFE00
        else:
            assert list(found) == []
            assert found.status == 0


def test_a_failure_and_none_is_the_answer_behind_what_was_given():
    server = scp()
    server.c_find(StudyRoot)(
        lambda request: iter([(0xFF00, match()), (status(0xA700, "füll"), None), match(2)])
    )
    with link(server, StudyRoot) as association:
        found = association.c_find({"PatientID": ""}, model=StudyRoot, level="STUDY")
        assert next(found).PatientID == "1"
        assert failing(lambda: next(found)) == (0xA700, "f?ll")


def test_a_mapping_has_items_and_one_that_is_none_is_a_failure_by_name(caplog):
    step = {"Modality": "CT", "ScheduledProtocolCodeSequence": [{"CodeValue": "7"}]}
    server = scp()
    server.c_find(StudyRoot)(
        lambda r: [{"ScheduledProcedureStepSequence": [step]}, {"Nonsense": 1}]
    )
    with link(server, StudyRoot) as association:
        found = association.c_find({"PatientID": ""}, model=StudyRoot, level="STUDY")
        [item] = next(found).ScheduledProcedureStepSequence
        assert item.ScheduledProtocolCodeSequence[0].CodeValue == "7"
        assert failing(lambda: next(found)) == (0xC000, "response cannot be sent")
    assert "Nonsense is not a keyword" in caplog.text


WRONG = {
    "True": True,
    "a dict": {"PatientName": "SECRET"},
    "a Dataset": match(),
    "a str": "SECRET",
    "a coroutine": None,  # made where it is wanted
    "0xFF00": 0xFF00,
}
NOT_MATCHES = {
    "(0xFF00, None)": (0xFF00, None),
    "(0x0000, a Dataset)": (0x0000, match()),
    "(True, a Dataset)": (True, match()),
    "(a str, a Dataset)": ("SECRET", match()),
    "(0xFF00, a Dataset, None)": (0xFF00, match(), None),
    "0x0000": 0x0000,
    "a str": "SECRET",
}


async def coroutine():
    return None


@pytest.mark.parametrize("got", [*WRONG, *NOT_MATCHES])
def test_what_is_none_is_named_with_what_is_wanted(got, caplog):
    server = scp()
    answer = WRONG.get(got) if got in WRONG else iter([NOT_MATCHES[got]])
    if got == "a coroutine":
        answer = coroutine()
    server.c_find(StudyRoot)(lambda request: answer)
    with link(server, [StudyRoot, Verification]) as association:
        found = association.c_find({"PatientID": ""}, model=StudyRoot, level="STUDY")
        assert failing(lambda: list(found)) == (0xC000, "handler gave no valid status")
        assert association.c_echo() == 0
    [line] = [r.getMessage() for r in caplog.records if getattr(r, "code", "") == "handler-status"]
    assert f": got {got}; a handler of C-FIND gives an iterable of data sets" in line
    assert "SECRET" not in caplog.text


# ---- C-GET and C-MOVE


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return series(tmp_path_factory.mktemp("habits"), "HABIT", 3, (1, 16, 16))


def as_pynetdicom_does(paths, *end, count=3):
    yield count
    for path in paths:
        yield 0xFF00, dcmread(path)
    yield from end


def get(association):
    steps = association.c_get({}, model=StudyRoot, level="STUDY", into=lambda request: None)
    try:
        return list(steps)[-1]
    except StatusError as error:
        return error.response


@pytest.mark.parametrize("end", [(), ((0x0000, None),), ((0xFE00, None), CT)])
def test_instances_come_in_pairs_behind_their_count(end, paths):
    server = scp()
    server.c_get(StudyRoot)(lambda request: as_pynetdicom_does(paths, *end))
    with link(server, for_retrieve(StudyRoot, [CTImageStorage])) as association:
        last = get(association)
    assert (last.status, last.completed, last.failed) == (0, 3, 0)


def test_instances_that_were_announced_and_do_not_come_have_failed(paths):
    server = scp()
    server.c_get(StudyRoot)(lambda request: as_pynetdicom_does(paths, count=5))
    with link(server, for_retrieve(StudyRoot, [CTImageStorage])) as association:
        last = get(association)
    assert (last.status, last.completed, last.failed) == (0xB000, 3, 2)


def test_a_failure_and_none_is_the_answer(paths):
    server = scp()
    server.c_get(StudyRoot)(lambda request: as_pynetdicom_does(paths, (0xA701, None)))
    with link(server, for_retrieve(StudyRoot, [CTImageStorage])) as association:
        assert get(association).status == 0xA701


def test_an_instance_may_be_a_mapping(paths):
    file = dcmread(paths[0])
    mapping = {element.keyword: element.value for element in file if element.keyword}
    server = scp()
    server.c_get(StudyRoot)(lambda request: [mapping])
    with link(server, for_retrieve(StudyRoot, [CTImageStorage])) as association:
        into = []
        list(association.c_get({}, model=StudyRoot, level="STUDY", into=into))
    assert into[0].PixelData == file.PixelData


def test_a_move_goes_to_the_address_that_comes_first(paths, tmp_path):
    with scp(tmp_path) as sink:
        server = scp(any_destination=True)

        @server.c_move(StudyRoot)
        def move(request):
            if request.destination != "SCP":
                yield None, None
            yield "127.0.0.1", sink.port
            yield from as_pynetdicom_does(paths, (0x0000, None))

        with link(server, StudyRoot) as association:
            ask = {"model": StudyRoot, "level": "STUDY"}
            *_, last = association.c_move({}, destination="SCP", **ask)
            assert (last.status, last.completed) == (0, 3)
            unknown = association.c_move({}, destination="OTHER", **ask)
            assert failing(lambda: list(unknown))[0] == 0xA801
    assert len(list(tmp_path.glob("*.dcm"))) == 3


# ---- the others


def test_a_status_in_a_data_set_is_a_status():
    server = scp()
    server.c_store(lambda request: status(0xA700, "full"))
    server.n_set(MPPS)(lambda request: (status(0x0107), {"PatientID": "1"}))
    server.n_action(MPPS)(lambda request: status(0x0112, "none"))
    with link(server, [CTImageStorage, MPPS]) as association:
        assert failing(lambda: association.c_store(CT)) == (0xA700, "full")
        changed = association.n_set({"PatientID": "1"}, **OF_MPPS)
        assert failing(lambda: association.n_action(1, **OF_MPPS)) == (0x0112, "none")
    assert changed.status == 0x0107
    assert changed.dataset.PatientID == "1"


def test_mappings_are_data_sets_of_the_n_services():
    seen = []
    server = scp()
    server.n_get(MPPS)(lambda request: (0, {"PerformedSeriesSequence": [{"Modality": "CT"}]}))
    server.n_create(MPPS)(lambda request: seen.append(request.dataset) or {"PatientID": "1"})
    with link(server, MPPS) as association:
        got = association.n_get(**OF_MPPS).dataset
        made = association.n_create({"PerformedSeriesSequence": [{"Modality": "MR"}]}, **OF_MPPS)
    assert got.PerformedSeriesSequence[0].Modality == "CT"
    assert seen[0].PerformedSeriesSequence[0].Modality == "MR"
    assert made.dataset.PatientID == "1"


def test_a_mapping_may_be_stored():
    seen = []
    server = scp()
    server.c_store(lambda request: seen.append(request.dataset))
    with link(server, CTImageStorage) as association:
        made = {"SOPClassUID": CTImageStorage, "SOPInstanceUID": "1.2.3", "PatientID": "1"}
        assert association.c_store(made) == 0
    assert seen[0].PatientID == "1"


def test_items_of_a_schedule_may_be_mappings():
    step = {"Modality": "CT", "ScheduledStationAETitle": "CT1"}
    item = {"PatientID": "1", "ScheduledProcedureStepSequence": [step]}
    with link(scp(services=[Schedule([item])]), ModalityWorklist) as association:
        [found] = worklist(association, Modality="CT")
        assert worklist(association, Modality="MR") == []
    assert found.PatientID == "1"


# ---- what is given for a data set


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (None, "None"),
        (5, "0x0005"),
        ([("PatientID", "SECRET")], "a list"),
        ([{"PatientID": "SECRET"}], "a list"),
        ("SECRET", "a str"),
    ],
)
@pytest.mark.parametrize("service", ["find", "move", "store", "create", "set", "action"])
def test_what_is_no_data_set_is_named_before_anything_is_sent(service, given, named):
    calls = {
        "find": lambda a: list(a.c_find(given, model=StudyRoot, level="STUDY")),
        "move": lambda a: list(a.c_move(given, model=StudyRoot, level="STUDY", destination="X")),
        "store": lambda a: a.c_store(given),
        "create": lambda a: a.n_create(given, **OF_MPPS),
        "set": lambda a: a.n_set(given, **OF_MPPS),
        "action": lambda a: a.n_action(1, given, **OF_MPPS),
    }
    if (service, given) in [("store", "SECRET"), ("create", None), ("action", None), ("set", None)]:
        return  # a path, and nothing at all
    server = scp()
    server.n_create(MPPS)(lambda request: None)
    server.c_find(StudyRoot)(lambda request: [])
    server.c_move(StudyRoot)(lambda request: [])
    with link(server, [StudyRoot, CTImageStorage, MPPS, Verification]) as association:
        with pytest.raises(TypeError, match=f"got {named}; give .*a data set or a mapping") as told:
            calls[service](association)
        assert "SECRET" not in str(told.value)
        assert association.c_echo() == 0


def test_a_keyword_alone_is_one_attribute():
    asked = []
    server = scp()
    server.n_get(MPPS)(lambda request: asked.append(list(request.attributes)) or {"PatientID": "1"})
    with link(server, [MPPS]) as association:
        association.n_get("PatientID", **OF_MPPS)
    assert asked == [[0x00100020]]


def test_a_move_to_nowhere_is_no_get():
    server = scp()
    server.c_get(StudyRoot)(lambda request: [])
    with link(server, for_retrieve(StudyRoot)) as association:
        with pytest.raises(TypeError, match="AE title is a str, not None"):
            association.c_move(match(), model=StudyRoot, destination=None)
        assert association.is_established


def test_an_async_move_to_nowhere_is_no_get():
    async def ask(server):
        contexts = for_retrieve(StudyRoot)
        async with server, SCU.associate_async(at(server), contexts=contexts) as association:
            with pytest.raises(TypeError, match="AE title is a str, not None"):
                association.c_move(match(), model=StudyRoot, destination=None)

    server = AsyncServer(AE("SCP"), port=0)
    server.c_get(StudyRoot)(lambda request: [])
    asyncio.run(ask(server))
