"""Instance Availability Notification, both ways."""

from __future__ import annotations

import copy

import pytest

from dimse_rs import CTImageStorage, InstanceAvailabilityNotification, StatusError
from dimse_rs.services import InstanceAvailability, notify_availability
from tests.support.datasets import data_set
from tests.support.nodes import link, scp


def notice():
    instance = data_set(
        ReferencedSOPClassUID=CTImageStorage,
        ReferencedSOPInstanceUID="1.2.3.4",
        InstanceAvailability="ONLINE",
        RetrieveAETitle="PACS",
    )
    series = data_set(SeriesInstanceUID="1.2.3", ReferencedSOPSequence=[instance])
    return data_set(StudyInstanceUID="1.2", ReferencedSeriesSequence=[series])


def send(association, dataset):
    return association.n_create(
        dataset, sop_class=InstanceAvailabilityNotification, instance_uid="1.9"
    )


def test_a_peer_is_told_what_is_available():
    told = []
    server = scp(services=[InstanceAvailability(lambda uid, said: told.append((uid, said)))])
    instances = [(f"1.2.{n % 2}", CTImageStorage, f"1.2.3.{n}") for n in range(4)]
    with link(server, InstanceAvailabilityNotification) as association:
        answer = notify_availability(
            association, "1.2", instances, retrieve_ae_title="PACS", performed_step="1.7"
        )
    assert answer.status == 0
    [(uid, said)] = told
    assert uid == answer.instance_uid
    assert said.StudyInstanceUID == "1.2"
    assert said.ReferencedPerformedProcedureStepSequence[0].ReferencedSOPInstanceUID == "1.7"
    found = [
        (series.SeriesInstanceUID, item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID)
        for series in said.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
        if (item.InstanceAvailability, item.RetrieveAETitle) == ("ONLINE", "PACS")
    ]
    assert sorted(found) == sorted(instances)


@pytest.mark.parametrize(
    ("path", "keyword"),
    [
        ((), "StudyInstanceUID"),
        ((), "ReferencedSeriesSequence"),
        (("ReferencedSeriesSequence",), "SeriesInstanceUID"),
        (("ReferencedSeriesSequence",), "ReferencedSOPSequence"),
        (("ReferencedSeriesSequence", "ReferencedSOPSequence"), "ReferencedSOPClassUID"),
        (("ReferencedSeriesSequence", "ReferencedSOPSequence"), "ReferencedSOPInstanceUID"),
        (("ReferencedSeriesSequence", "ReferencedSOPSequence"), "InstanceAvailability"),
        (("ReferencedSeriesSequence", "ReferencedSOPSequence"), "RetrieveAETitle"),
    ],
)
def test_what_is_required_has_to_be_there_with_a_value(path, keyword):
    told = []
    server = scp(services=[InstanceAvailability(lambda *said: told.append(said))])
    statuses = []
    with link(server, InstanceAvailabilityNotification) as association:
        for empty in (False, True):
            wrong = copy.deepcopy(notice())
            item = wrong
            for step in path:
                item = item[step].value[0]
            if empty:
                setattr(item, keyword, [] if keyword.endswith("Sequence") else "")
            else:
                delattr(item, keyword)
            with pytest.raises(StatusError) as caught:
                send(association, wrong)
            statuses.append(int(caught.value.status))
    assert statuses == [0x0120, 0x0121]
    assert told == []


def test_what_should_be_a_sequence_and_is_none_is_refused():
    server = scp(services=[InstanceAvailability(lambda *_: None)])
    outer, inner = notice(), notice()
    outer.add_new("ReferencedSeriesSequence", "LO", "ZQMARK")
    inner.ReferencedSeriesSequence[0].add_new("ReferencedSOPSequence", "LO", "ZQMARK")
    with link(server, InstanceAvailabilityNotification) as association:
        for wrong in (outer, inner):
            with pytest.raises(StatusError, match="is no sequence") as caught:
                send(association, wrong)
            assert caught.value.status == 0x0106


def test_an_availability_is_one_of_four():
    server = scp(services=[InstanceAvailability(lambda *_: None)])
    wrong = notice()
    wrong.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].InstanceAvailability = "MAYBE"
    with link(server, InstanceAvailabilityNotification) as association:
        assert send(association, notice()).status == 0
        with pytest.raises(StatusError) as caught:
            send(association, wrong)
        for given, match in (("MAYBE", "MAYBE"), ("ONLINE", "no instances")):
            with pytest.raises(ValueError, match=match):
                notify_availability(
                    association, "1.2", [], retrieve_ae_title="PACS", availability=given
                )
    assert caught.value.status == 0x0106
