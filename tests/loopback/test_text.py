"""Letters beyond what a data set declares arrive, through every service and in both directions."""

from __future__ import annotations

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    Context,
    CTImageStorage,
    Handlers,
    Index,
    ModalityPerformedProcedureStep,
    Printer,
    QueryRetrieve,
    Server,
    StudyRoot,
    for_retrieve,
)
from dimse_rs.errors import DecodeError, StatusError
from tests.support.nodes import CT, PATIENT, link, scp

NAME = "山田^太郎"
LATIN = "Müller^Jo"
INSTANCE = {"sop_class": Printer, "instance_uid": "1.2.3.4"}
STUDIES = {"model": StudyRoot, "level": "STUDY"}


def named(name: str = NAME, **others: str) -> Dataset:
    found = Dataset()
    found.PatientName = name
    for keyword, value in others.items():
        setattr(found, keyword, value)
    return found


def instance(name: str, charset: str | None = None) -> Dataset:
    dataset = dcmread(CT)
    if charset is None:
        del dataset.SpecificCharacterSet
    else:
        dataset.SpecificCharacterSet = charset
    dataset.PatientName = name
    return dataset


@pytest.mark.parametrize("name", [NAME, LATIN])
def test_a_key_finds_the_patient_of_that_name_and_nobody_else(name):
    index = Index("SCP")
    for number, stored in enumerate(["DOE^JANE", NAME, LATIN]):
        dataset = named(stored, SpecificCharacterSet="ISO_IR 192", PatientID=f"P{number}")
        dataset.SOPClassUID = CTImageStorage
        for level, keyword in enumerate(("StudyInstanceUID", "SeriesInstanceUID")):
            setattr(dataset, keyword, f"1.2.{number}.{level}")
        dataset.SOPInstanceUID = f"1.2.{number}.9"
        index.add(f"/nowhere/{number}.dcm", dataset)
    server = Server(AE("SCP", timeouts=PATIENT), port=0, services=[QueryRetrieve(index)])
    with link(server, [StudyRoot]) as association:
        for key in ({"PatientName": name}, named(name), named(name[:2] + "*")):
            found = [str(match.PatientName) for match in association.c_find(key, **STUDIES)]
            assert found == [name]
        assert list(association.c_find({"PatientName": "鈴木*"}, **STUDIES)) == []


@pytest.mark.parametrize("name", [NAME, LATIN])
@pytest.mark.parametrize("charset", [None, "ISO_IR 144"])
def test_a_stored_name_has_its_letters(tmp_path, name, charset):
    with link(scp(tmp_path), [CTImageStorage]) as association:
        assert association.c_store(instance(name, charset)) == 0
    [path] = tmp_path.glob("*.dcm")
    assert dcmread(path).PatientName == name
    assert dcmread(path).SpecificCharacterSet == "ISO_IR 192"


def test_what_handlers_give_has_its_letters(tmp_path):
    server = scp()
    server.c_find(StudyRoot)(lambda request: [named(), named(LATIN)])
    server.n_set(Printer)(lambda request: request.modifications)
    server.n_action(Printer)(lambda request: (0, named()))
    server.n_get(Printer)(lambda request: named(LATIN))
    server.n_create(ModalityPerformedProcedureStep)(lambda request: request.dataset)
    contexts = [StudyRoot, Printer, ModalityPerformedProcedureStep]
    with link(server, contexts) as association:
        found = [str(match.PatientName) for match in association.c_find({}, **STUDIES)]
        assert found == [NAME, LATIN]
        responses = [
            association.n_set({"PatientName": NAME}, **INSTANCE),
            association.n_action(1, named(LATIN), **INSTANCE),
            association.n_get([], **INSTANCE),
            association.n_create(named(), sop_class=ModalityPerformedProcedureStep),
        ]
    names = [str(response.dataset.PatientName) for response in responses]
    assert names == [NAME, NAME, LATIN, NAME]
    assert {response.dataset.SpecificCharacterSet for response in responses} == {"ISO_IR 192"}


def test_events_of_a_server_have_their_letters():
    seen = []
    handlers = Handlers()

    @handlers.n_event_report
    def told(request):
        seen.append(str(request.dataset.PatientName))

    server = scp()

    @server.n_action(Printer)
    def act(request):
        request.association.n_event_report(2, named(), **INSTANCE)

    with link(server, [Context(Printer, scu=True, scp=True)], handlers=handlers) as association:
        association.n_action(1, None, **INSTANCE)
    assert seen == [NAME]


@pytest.mark.parametrize("operation", ["c_get", "c_move"])
def test_a_retrieval_names_the_patient_by_letters(tmp_path, operation):
    seen = []
    with scp(any_called=True) as there:
        server = scp(destinations={"THERE": f"127.0.0.1:{there.port}"})
        register = getattr(server, operation)
        register(StudyRoot)(lambda request: seen.append(str(request.identifier.PatientID)) or [])
        options = {"into": tmp_path} if operation == "c_get" else {"destination": "THERE"}
        with link(server, for_retrieve(StudyRoot)) as association:
            key = {"PatientID": NAME, "StudyInstanceUID": "1.2"}
            list(getattr(association, operation)(key, **STUDIES, **options))
    assert seen == [NAME]


def test_what_cannot_be_sent_is_refused_before_anything_is(tmp_path):
    asked = []
    server = scp(tmp_path)
    server.c_find(StudyRoot)(lambda request: asked.append(request) or [])
    server.n_set(Printer)(lambda request: asked.append(request))
    wrong = instance("DOE")
    wrong.Modality = "CÄ"
    with link(server, [CTImageStorage, StudyRoot, Printer]) as association:
        with pytest.raises(DecodeError, match=r"\(0008,0060\) Modality"):
            association.c_store(wrong)
        with pytest.raises(DecodeError, match=r"\(0008,0061\) ModalitiesInStudy"):
            list(association.c_find({"ModalitiesInStudy": "Ä"}, **STUDIES))
        with pytest.raises(DecodeError, match=r"\(2110,0020\) PrinterStatusInfo"):
            association.n_set({"PrinterStatusInfo": "Ä"}, **INSTANCE)
        assert association.is_established
    assert asked == []
    assert list(tmp_path.glob("*.dcm")) == []


def test_a_match_that_cannot_be_sent_is_a_failure_and_not_another_match():
    server = scp()
    wrong = named("DOE")
    wrong.ModalitiesInStudy = ["CT", "Ä"]
    server.c_find(StudyRoot)(lambda request: [wrong])
    with link(server, [StudyRoot]) as association:
        with pytest.raises(StatusError) as caught:
            list(association.c_find({}, **STUDIES))
        assert caught.value.status == 0xC000
