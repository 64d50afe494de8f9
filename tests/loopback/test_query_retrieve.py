"""Query/Retrieve and worklist services over storage of the user's, asked by our own SCU."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pydicom import dcmread

from dimse_rs import (
    AE,
    Context,
    CTImageStorage,
    ModalityWorklist,
    PatientRoot,
    StatusError,
    StudyRoot,
    WithoutBulkData,
    for_retrieve,
)
from dimse_rs.datasets import write
from dimse_rs.services import Index, QueryRetrieve, Schedule, Worklist
from dimse_rs.services.matching import QUERY, WORKLIST
from dimse_rs.services.query import _agreed, _rules, without_bulk_data, worklist
from tests.support.datasets import data_set
from tests.support.nodes import CT, JPEG_2000, MR_IMPLICIT, PATIENT, link, scp

FILES = (CT, MR_IMPLICIT, JPEG_2000)
HEADERS = {path: dcmread(path, stop_before_pixels=True) for path in FILES}


@pytest.fixture
def index():
    made = Index("SCP")
    for path in FILES:
        made.add(path)
    return made


def uids(found):
    return sorted(str(one.StudyInstanceUID) for one in found)


# ---- find


def test_studies_are_found(index):
    with link(scp(services=[QueryRetrieve(index)]), StudyRoot) as association:
        everything = list(
            association.c_find(
                {"StudyInstanceUID": "", "PatientName": ""}, model=StudyRoot, level="STUDY"
            )
        )
        ct = HEADERS[CT]
        matches = association.c_find(
            {"StudyInstanceUID": "", "PatientID": ct.PatientID}, model=StudyRoot, level="STUDY"
        )
        one = list(matches)
    assert uids(everything) == uids(HEADERS.values())
    assert uids(one) == [ct.StudyInstanceUID]
    assert one[0].QueryRetrieveLevel == "STUDY"
    assert one[0].RetrieveAETitle == "SCP"
    assert matches.status == 0


def test_a_key_that_is_not_supported_is_told_by_the_pending_status(index):
    """FF01, which our SCU takes as a match (PS3.4 C.4.1.1.4)."""
    seen = []
    service = QueryRetrieve(index)
    find = service._find
    service._find = lambda model, request: (
        seen.append(s) or (s, d) for s, d in find(model, request)
    )
    with link(scp(services=[service]), StudyRoot) as association:
        for key in ("PatientName", "TimezoneOffsetFromUTC", "PixelSpacing"):
            keys = {"StudyInstanceUID": HEADERS[CT].StudyInstanceUID, key: None}
            assert len(list(association.c_find(keys, model=StudyRoot, level="STUDY"))) == 1
    assert seen == [0xFF00, 0xFF00, 0xFF01]


@pytest.mark.parametrize(
    ("identifier", "level", "offending"),
    [
        ({"PatientID": "1"}, None, 0x00080052),
        ({"PatientID": "1"}, "PATIENT", 0x00080052),
        ({"SeriesInstanceUID": ""}, "SERIES", 0x0020000D),
    ],
)
def test_an_identifier_that_cannot_be_served_is_named(index, identifier, level, offending):
    with (
        link(scp(services=[QueryRetrieve(index)]), StudyRoot) as association,
        pytest.raises(StatusError) as caught,
    ):
        list(association.c_find(identifier, model=StudyRoot, level=level))
    assert caught.value.status == 0xA900
    assert caught.value.response.offending_elements == (offending,)


def test_only_the_models_that_were_asked_for_are_served(index):
    with link(scp(services=[QueryRetrieve(index, [PatientRoot])]), [PatientRoot, StudyRoot]) as a:
        assert {c.sop_class for c in a.accepted} == set(PatientRoot)
        found = list(a.c_find({"PatientID": ""}, model=PatientRoot, level="PATIENT"))
    assert len(found) == len({header.PatientID for header in HEADERS.values()})


# ---- get and move


def test_a_study_is_got(index):
    got = []
    with link(scp(services=[QueryRetrieve(index)]), for_retrieve(StudyRoot)) as association:
        uid = HEADERS[CT].StudyInstanceUID
        *_, last = association.c_get(
            {"StudyInstanceUID": uid}, model=StudyRoot, level="STUDY", into=got
        )
    assert (last.status, last.completed, last.failed) == (0, 1, 0)
    assert got[0].SOPInstanceUID == HEADERS[CT].SOPInstanceUID


def test_instances_are_moved(index, tmp_path):
    with scp(tmp_path, ae=AE("KEEP", timeouts=PATIENT)) as keeper:
        server = scp(
            services=[QueryRetrieve(index)], destinations={"KEEP": f"127.0.0.1:{keeper.port}"}
        )
        with link(server, StudyRoot) as association:
            uids = [header.StudyInstanceUID for header in HEADERS.values()]
            *_, last = association.c_move(
                {"StudyInstanceUID": uids}, model=StudyRoot, level="STUDY", destination="KEEP"
            )
    assert (last.status, last.completed, last.failed) == (0, len(FILES), 0)
    names = {f"{header.SOPInstanceUID}.dcm" for header in HEADERS.values()}
    assert {path.name for path in tmp_path.glob("*.dcm")} == names


def test_what_is_not_there_is_no_failure(index):
    with link(scp(services=[QueryRetrieve(index)]), for_retrieve(StudyRoot)) as association:
        *_, last = association.c_get(
            {"StudyInstanceUID": "1.2.3"}, model=StudyRoot, level="STUDY", into=[]
        )
    assert (last.status, last.completed) == (0, 0)


def test_a_retrieval_without_a_unique_key_is_refused(index):
    with (
        link(scp(services=[QueryRetrieve(index)]), for_retrieve(StudyRoot)) as association,
        pytest.raises(StatusError) as caught,
    ):
        list(association.c_get({"PatientID": "1"}, model=StudyRoot, level="STUDY", into=[]))
    assert caught.value.status == 0xA900
    assert caught.value.response.offending_elements == (0x0020000D,)


@pytest.mark.parametrize("path", FILES)
def test_instances_are_got_without_bulk_data(index, path):
    got = []
    header = HEADERS[path]
    contexts = [WithoutBulkData, Context(header.SOPClassUID, scu=False, scp=True)]
    with link(scp(services=[QueryRetrieve(index)]), contexts) as association:
        *_, last = association.c_get(
            {"SOPInstanceUID": header.SOPInstanceUID},
            model=WithoutBulkData,
            level="IMAGE",
            into=got,
        )
    assert (last.status, last.completed) == (0, 1)
    assert "PixelData" not in got[0]
    assert got[0].Rows == header.Rows
    assert got[0].PatientName == header.PatientName


def test_bulk_data_is_left_out_wherever_it_is():
    whole = dcmread(CT)
    whole.add_new(0x60003000, "OW", b"\0\0")
    whole.add_new(0x60023000, "OW", b"\0\0")
    whole.add_new(0x60020010, "US", 1)
    whole.EncapsulatedDocument = b"xx"
    whole.WaveformSequence = [data_set(WaveformData=b"\0\0", NumberOfWaveformChannels=1)]
    small = without_bulk_data(whole)
    left = {int(element.tag) for element in small}
    assert not left & {0x7FE00010, 0x60003000, 0x60023000, 0x00420011}
    assert 0x60020010 in left
    assert small.WaveformSequence[0].NumberOfWaveformChannels == 1
    assert "WaveformData" not in small.WaveformSequence[0]
    assert "PixelData" in whole, "the user's own was changed"
    assert "WaveformData" in whole.WaveformSequence[0], "the user's own was changed"


@pytest.mark.parametrize("service", ["get", "move"])
@pytest.mark.parametrize("named", ["by-uid", "otherwise"])
def test_instances_of_files_that_are_gone_are_listed(tmp_path, service, named):
    """(0008,0058) names them: what the index knew of them is all there is (PS3.4 C.4.3.1.3.2)."""
    index, uids = Index("SCP"), []
    for number in range(4):
        made = dcmread(CT)
        made.SOPInstanceUID = f"1.2.3.{number}"
        uids.append(made.SOPInstanceUID)
        name = f"{made.SOPInstanceUID}.dcm" if named == "by-uid" else f"image-{number}"
        write(tmp_path / name, made)
        index.add(tmp_path / name)
    for path in sorted(tmp_path.iterdir())[1:3]:
        path.unlink()
    keys = {"StudyInstanceUID": HEADERS[CT].StudyInstanceUID}
    with scp(tmp_path / "kept", ae=AE("KEEP", timeouts=PATIENT)) as keeper:
        peers = {"KEEP": f"127.0.0.1:{keeper.port}"}
        server = scp(services=[QueryRetrieve(index)], destinations=peers)
        with link(server, [for_retrieve(StudyRoot), StudyRoot]) as association:
            if service == "get":
                steps = association.c_get(keys, model=StudyRoot, level="STUDY", into=[])
            else:
                steps = association.c_move(keys, model=StudyRoot, level="STUDY", destination="KEEP")
            *_, last = steps
    assert (last.status, last.completed, last.failed) == (0xB000, 2, 2)
    assert sorted(last.failed_uids) == uids[1:3]


@pytest.mark.parametrize("give", [list, iter])
def test_files_of_a_handler_that_are_gone_are_listed_by_their_names(tmp_path, give):
    """`Storage` names files so; a name that is no UID says nothing."""
    names = ["1.2.3.dcm", "image.dcm", "00001.dcm", "1.2.4"]
    server = scp()
    server.c_get(StudyRoot)(lambda request: give([str(tmp_path / name) for name in names]))
    with link(server, for_retrieve(StudyRoot)) as association:
        steps = association.c_get(
            {"StudyInstanceUID": "1"}, model=StudyRoot, level="STUDY", into=[]
        )
        with pytest.raises(StatusError):
            list(steps)
    assert steps.response.failed == 4
    assert sorted(steps.response.failed_uids) == ["1.2.3", "1.2.4"]


def test_one_file_that_is_gone_fails_alone_without_bulk_data(tmp_path):
    index = Index("SCP")
    for number in range(3):
        made = dcmread(CT)
        made.SOPInstanceUID = f"1.2.3.{number}"
        write(tmp_path / f"{number}.dcm", made)
        index.add(tmp_path / f"{number}.dcm")
    (tmp_path / "1.dcm").unlink()
    got = []
    contexts = [WithoutBulkData, Context(CTImageStorage, scu=False, scp=True)]
    with link(scp(services=[QueryRetrieve(index)]), contexts) as association:
        *_, last = association.c_get(
            {"SOPInstanceUID": ["1.2.3.0", "1.2.3.1", "1.2.3.2"]},
            model=WithoutBulkData,
            level="IMAGE",
            into=got,
        )
    assert (last.status, last.completed, last.failed) == (0xB000, 2, 1)
    assert list(last.failed_uids) == ["1.2.3.1"]
    assert not any("PixelData" in one for one in got)


# ---- what was negotiated


def test_agreed_options_become_rules():
    options = SimpleNamespace(
        relational=True,
        combined_datetime=True,
        timezone=True,
        empty_values=True,
        multiple_values=True,
    )
    association = SimpleNamespace(extended={StudyRoot.find: options})
    request = SimpleNamespace(association=association, sop_class=StudyRoot.find)
    rules = _rules(_agreed(request), QUERY)
    assert rules.timezone
    assert rules.empty_values
    assert rules.multiple_values
    assert rules.combined_datetime
    assert rules.unknown_matches
    assert _rules(None, WORKLIST) == WORKLIST
    assert _rules(b"\1", WORKLIST) == WORKLIST


# ---- worklist


def item(patient, modality="CT", date="20260101"):
    step = data_set(
        Modality=modality,
        ScheduledStationAETitle="CT1",
        ScheduledProcedureStepStartDate=date,
        ScheduledProcedureStepStartTime="1000",
        ScheduledProcedureStepID="S" + patient,
    )
    return data_set(
        PatientID=patient,
        PatientName="A^" + patient,
        StudyInstanceUID="1.2." + patient,
        ScheduledProcedureStepSequence=[step],
    )


ITEMS = [item("1"), item("2", "MR"), item("3", date="20260201")]


@pytest.mark.parametrize("items", [ITEMS, lambda: iter(ITEMS)])
def test_scheduled_steps_are_found(items):
    with link(scp(services=[Schedule(items)]), ModalityWorklist) as association:
        for keys, expected in (
            ({}, ["1", "2", "3"]),
            ({"PatientID": "2"}, ["2"]),
            ({"Modality": "CT"}, ["1", "3"]),
            ({"Modality": "CT", "ScheduledProcedureStepStartDate": "20260115-"}, ["3"]),
            ({"PatientName": "a^*", "ScheduledStationAETitle": "CT2"}, []),
        ):
            found = worklist(association, **keys)
            assert sorted(one.PatientID for one in found) == expected


def test_the_usual_keys_are_returned():
    with link(scp(services=[Schedule(ITEMS)]), ModalityWorklist) as association:
        [found] = worklist(association, PatientID="1")
    step = found.ScheduledProcedureStepSequence[0]
    assert (step.ScheduledProcedureStepID, step.Modality) == ("S1", "CT")
    assert found.StudyInstanceUID == "1.2.1"
    assert found["RequestedProcedureID"].is_empty


def test_a_folder_of_items_is_a_service(tmp_path):
    server = scp(services=[Worklist(tmp_path)])
    with link(server, ModalityWorklist) as association:
        assert worklist(association) == []
        made = item("7")
        made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, "1.2"
        made.set_original_encoding(False, True, "ISO_IR 6")
        write(tmp_path / "one.wl", made)
        assert [one.PatientID for one in worklist(association)] == ["7"]


def test_two_services_for_the_same_are_refused(index):
    with pytest.raises(ValueError, match="already"):
        scp(services=[QueryRetrieve(index), QueryRetrieve(index)])
