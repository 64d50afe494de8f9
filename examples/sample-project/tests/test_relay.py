"""The relay against an archive that works, is full, aborts, is behind a bad line, or is away."""

from dimse_rs.testing import Receiver


def uids(instances):
    return sorted(str(instance.SOPInstanceUID) for instance in instances)


def test_the_archive_gets_what_the_modality_sent(relay_to, modality, dicom_pacs):
    with relay_to(dicom_pacs) as relay:
        study = modality(relay)
        dicom_pacs.wait_for(6)
    assert uids(dicom_pacs.instances) == uids(study)
    assert list(relay.folder.glob("*.dcm")) == []


def test_what_a_full_archive_refuses_is_sent_again(relay_to, modality, dicom_receiver):
    dicom_receiver.answer(0xA700, every=2)
    with relay_to(dicom_receiver) as relay:
        study = modality(relay)
        assert uids(dicom_receiver.wait_for(6)) == uids(study)
    assert [arrival.status for arrival in dicom_receiver.arrivals].count(0xA700) >= 3


def test_an_archive_that_aborts_gets_the_rest_afterwards(relay_to, modality, dicom_peer):
    dicom_peer.reject(2, 3, 2, times=1)
    dicom_peer.abort(at=3)
    with relay_to(dicom_peer) as relay:
        study = modality(relay)
        heard = dicom_peer.wait_for(7)  # the third twice
    assert {one.instance_uid for one in heard} == set(uids(study))


def test_a_line_that_breaks_loses_nothing(relay_to, modality, dicom_receiver, dicom_proxy):
    proxy = dicom_proxy(dicom_receiver)
    proxy.truncated_pdu(at=2)  # the archive's second answer
    proxy.limit_data(9000, stream="upstream")
    with relay_to(proxy) as relay:
        study = modality(relay)
        count = 6  # what was answered and not heard is sent twice
        while set(uids(study)) - set(uids(dicom_receiver.wait_for(count))):
            count += 1


def test_what_could_not_be_sent_is_sent_by_the_next_run(relay_to, modality):
    with Receiver("ARCHIVE") as archive:
        pass  # nothing listens there any more
    with relay_to(archive) as relay:
        study = modality(relay)
    assert sorted(path.stem for path in relay.folder.glob("*.dcm")) == uids(study)

    with Receiver("ARCHIVE") as archive, relay_to(archive):
        assert uids(archive.wait_for(6)) == uids(study)
