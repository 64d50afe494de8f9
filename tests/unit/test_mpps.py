"""The rules of performed procedure steps: every state, every event, and what each one lacks."""

from __future__ import annotations

from functools import partial
from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from dimse_rs import DecodeError, StatusError
from dimse_rs.datasets import from_bytes, to_bytes
from dimse_rs.services._step_rules import _FIXED, _TYPE_1, TYPE_2
from dimse_rs.services.mpps import changed, created, from_worklist, selected
from dimse_rs.sop_class import ExplicitVRLittleEndian
from tests.support.datasets import attributes, data_set, ending

STATES = ("IN PROGRESS", "COMPLETED", "DISCONTINUED")
STATUS_TAG = 0x00400252


def refused(function, *args) -> StatusError:
    with pytest.raises(StatusError) as caught:
        function(*args)
    return caught.value


# ---- N-CREATE


def test_what_is_left_out_of_type_2_is_there_and_empty():
    step = created(attributes())
    assert all(step[keyword].is_empty for keyword in TYPE_2)


@pytest.mark.parametrize("keyword", _TYPE_1)
def test_a_step_without_an_attribute_of_type_1_is_not_created(keyword):
    lacking = attributes()
    tag = lacking[keyword].tag
    del lacking[keyword]
    error = refused(created, lacking)
    assert error.status == 0x0120
    assert error.elements == {"AttributeIdentifierList": [tag]}


@pytest.mark.parametrize("keyword", _TYPE_1)
def test_a_step_with_an_empty_attribute_of_type_1_is_not_created(keyword):
    empty = attributes(**{keyword: [] if keyword.endswith("Sequence") else ""})
    error = refused(created, empty)
    assert error.status == 0x0121
    assert keyword in error.dataset


def no_sequence(keyword):
    """Give an element as a peer can send it in Explicit VR: text where items belong."""
    dataset = Dataset()
    dataset.add_new(keyword, "LO", "ZQMARK")
    return dataset


def test_what_should_be_a_sequence_and_is_none_is_refused():
    wrong = attributes()
    wrong.update(no_sequence("ScheduledStepAttributesSequence"))
    error = refused(created, wrong)
    assert (error.status, error.comment) == (
        0x0106,
        "ScheduledStepAttributesSequence is no sequence, its VR is LO",
    )
    wrong = ending("COMPLETED")
    wrong.update(no_sequence("PerformedSeriesSequence"))
    assert refused(changed, created(attributes()), wrong).status == 0x0106


def test_a_scheduled_step_names_its_study():
    assert refused(created, attributes(ScheduledStepAttributesSequence=[Dataset()])).status == 0x120


@pytest.mark.parametrize("state", ["COMPLETED", "DISCONTINUED", "SCHEDULED"])
def test_a_step_is_created_in_progress(state):
    error = refused(created, attributes(PerformedProcedureStepStatus=state))
    assert error.status == 0x0106
    assert error.dataset.PerformedProcedureStepStatus == state


# ---- N-SET


@pytest.mark.parametrize("now", STATES)
@pytest.mark.parametrize("then", [*STATES, None, "SCHEDULED", ""])
def test_the_state_table(now, then):
    step = created(attributes())
    if now != "IN PROGRESS":
        step = changed(step, ending(now))
    before = step.to_json()
    wanted = Dataset() if then is None else ending(then)
    if now != "IN PROGRESS":
        error = refused(changed, step, wanted)
        assert error.status == 0x0110
        assert error.elements == {"ErrorID": 0xA710}
        assert error.comment == "Performed Procedure Step Object may no longer be updated"
    elif then in (*STATES, None):
        after = changed(step, wanted)
        assert after.PerformedProcedureStepStatus == (then or now)
    else:
        assert refused(changed, step, wanted).status == 0x0106
    assert step.to_json() == before


@pytest.mark.parametrize("state", ["COMPLETED", "DISCONTINUED"])
@pytest.mark.parametrize(
    "lack",
    [
        {"PerformedProcedureStepEndDate": ""},
        {"PerformedProcedureStepEndTime": ""},
        {"PerformedSeriesSequence": []},
        {"PerformedSeriesSequence": [data_set(SeriesInstanceUID="1.2", ProtocolName="")]},
    ],
)
def test_a_final_state_requires_values(state, lack):
    assert refused(changed, created(attributes()), ending(state, **lack)).status == 0x0121


@pytest.mark.parametrize("keyword", ["SeriesInstanceUID", "ProtocolName"])
def test_a_final_state_requires_attributes_of_each_series(keyword):
    series = data_set(SeriesInstanceUID="1.2.3", ProtocolName="HEAD")
    del series[keyword]
    end = ending(
        "COMPLETED", PerformedSeriesSequence=[ending("").PerformedSeriesSequence[0], series]
    )
    error = refused(changed, created(attributes()), end)
    assert error.status == 0x0120
    assert keyword in error.comment


def test_without_a_series_nothing_is_completed_however_lenient():
    end = ending("COMPLETED", PerformedSeriesSequence=[])
    lenient = partial(changed, lenient=True)
    assert refused(lenient, created(attributes()), end).status == 0x0121


@pytest.mark.parametrize("state", ["COMPLETED", "DISCONTINUED"])
def test_a_series_that_is_named_is_whole_however_lenient(state):
    end = ending(state, PerformedSeriesSequence=[data_set(SeriesInstanceUID="1.2")])
    error = refused(partial(changed, lenient=True), created(attributes()), end)
    assert error.status == 0x0120
    assert "ProtocolName" in error.comment


def test_the_end_may_be_said_before_the_final_state():
    step = changed(created(attributes()), ending("IN PROGRESS"))
    done = changed(step, data_set(PerformedProcedureStepStatus="COMPLETED"))
    assert done.PerformedProcedureStepStatus == "COMPLETED"


def test_what_was_not_created_cannot_be_set():
    error = refused(
        changed, created(attributes()), data_set(CommentsOnThePerformedProcedureStep="x")
    )
    assert error.status == 0x0105
    assert error.elements == {"AttributeIdentifierList": [0x00400280]}


def test_what_was_created_empty_can_be_set():
    step = created(attributes(CommentsOnThePerformedProcedureStep=""))
    step = changed(step, data_set(CommentsOnThePerformedProcedureStep="x"))
    assert step.CommentsOnThePerformedProcedureStep == "x"


@pytest.mark.parametrize("keyword", _FIXED)
def test_patient_and_schedule_stay_as_they_were_created(keyword):
    other = [data_set(StudyInstanceUID="9")] if keyword.endswith("Sequence") else "19990101"
    step = created(attributes())
    assert refused(changed, step, data_set(**{keyword: other})).status == 0x0106
    same = Dataset()
    same.add(step[keyword])
    assert changed(step, same) == step


def test_sequences_are_replaced_whole():
    one, two, three = (data_set(SeriesInstanceUID=f"1.{n}", ProtocolName="P") for n in range(3))
    step = changed(created(attributes()), data_set(PerformedSeriesSequence=[one, two]))
    step = changed(step, data_set(PerformedSeriesSequence=[three]))
    assert [item.SeriesInstanceUID for item in step.PerformedSeriesSequence] == ["1.2"]


# ---- character sets


def received(charset: str | None, **values) -> Dataset:
    """Give what a peer sent in a character set."""
    made = data_set(**values)
    if charset:
        made.SpecificCharacterSet = charset
    return from_bytes(to_bytes(made, ExplicitVRLittleEndian), ExplicitVRLittleEndian)


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ("ISO_IR 100", "ISO_IR 100", "ISO_IR 100"),
        ("ISO_IR 100", None, "ISO_IR 100"),
        (None, "ISO_IR 144", "ISO_IR 144"),
        ("ISO_IR 100", "ISO_IR 144", "ISO_IR 192"),
        ("ISO_IR 192", "ISO_IR 144", "ISO_IR 192"),
    ],
)
def test_character_sets_combine(first, second, both):
    texts = {"ISO_IR 100": "Müller", "ISO_IR 144": "Иванов", "ISO_IR 192": "山田", None: "Smith"}
    name, text = texts[first], texts[second]
    base = attributes(PatientName=name)
    old = created(received(first, **{e.keyword: e.value for e in base}))
    before = old.to_json()
    step = changed(old, received(second, PerformedProcedureStepDescription=text))
    assert old.to_json() == before
    again = from_bytes(to_bytes(step, ExplicitVRLittleEndian), ExplicitVRLittleEndian)
    assert again.SpecificCharacterSet == both
    assert again.PatientName == name
    assert again.PerformedProcedureStepDescription == text


# ---- N-GET


def test_n_get_gives_all_or_what_is_asked_for():
    step = created(attributes())
    assert selected(step, ()) == (0, step)
    status, found = selected(step, [STATUS_TAG, 0x00080060])
    assert status == 0
    assert sorted(found.dir()) == ["Modality", "PerformedProcedureStepStatus"]


def test_n_get_of_an_attribute_that_is_not_there_is_a_warning():
    status, found = selected(created(attributes()), [STATUS_TAG, 0x00400280])
    assert status == 0x0001
    assert found.dir() == ["PerformedProcedureStepStatus"]


# ---- the modality's side


@pytest.mark.parametrize(
    ("encoded", "named"),
    [
        (b"\x20\0\x0d\0ZZ\x06\0ZQMARK", "StudyInstanceUID"),
        (b"\x10\0\x10\0FD\x06\0ZQMARK", "PatientName"),
        (b"\x40\0\0\1SQ\0\0\x06\0\0\0ZQMARK", "ScheduledProcedureStepSequence"),
        (b"\x40\0\0\1IS\2\0007 ", "ScheduledProcedureStepSequence"),
        (
            b"\x40\0\0\1SQ\0\0\x16\0\0\0\xfe\xff\0\xe0\x0e\0\0\0\x08\0\x60\0FD\x06\0ZQMARK",
            "ScheduledProcedureStepSequence",
        ),
    ],
)
def test_what_cannot_be_taken_from_a_worklist_is_named_without_its_value(encoded, named):
    item = read_dataset(BytesIO(encoded), False, True)
    with pytest.raises(DecodeError, match=rf"{named} cannot be decoded") as told:
        from_worklist(item)
    assert told.value.__context__ is None
    assert "ZQMARK" not in str(told.value)


def test_what_is_taken_from_a_worklist_keeps_its_character_set():
    item = data_set(SpecificCharacterSet="ISO_IR 100", PatientName="Größe^Zoë")
    taken = from_worklist(item)
    assert taken.SpecificCharacterSet == "ISO_IR 100"
    assert taken.PatientName == "Größe^Zoë"
