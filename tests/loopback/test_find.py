"""C-FIND: what is asked, what a handler gives, and what comes of it at the other end."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from threading import Event

import pytest
from pydicom.dataset import Dataset

from dimse_rs import (
    Context,
    DecodeError,
    DimseTimeout,
    ImplicitVRLittleEndian,
    LocalProtocolError,
    ModalityWorklistInformationModelFind,
    NoPresentationContext,
    PatientRoot,
    StatusError,
    StudyRoot,
    Timeouts,
    Verification,
)
from dimse_rs.datasets import from_bytes, to_bytes
from tests.support import wire
from tests.support.ids import shown
from tests.support.nodes import AE, SCU, at, link, scp
from tests.support.scripted_scp import ScriptedScp

FIND = StudyRoot.find


def match(number=0, **more):
    found = Dataset()
    found.QueryRetrieveLevel = "STUDY"
    found.PatientID = str(number)
    for keyword, value in more.items():
        setattr(found, keyword, value)
    return found


def archive(answer):
    """Make a server whose C-FIND handler gives this, or calls it."""
    server = scp()
    server.c_find(StudyRoot)(answer if callable(answer) else lambda request: answer)
    return server


def query(association, **options):
    return association.c_find({"PatientID": ""}, model=StudyRoot, level="STUDY", **options)


def ids(results):
    return [found.PatientID for found in results]


# ---- what is asked


def test_the_handler_gets_what_was_asked():
    seen = []

    def find(request):
        seen.append(request)
        return [match()]

    with link(archive(find), StudyRoot) as association:
        keys = {"PatientName": "Doe*", "StudyDate": "20260101-", "StudyInstanceUID": ""}
        list(association.c_find(keys, model=StudyRoot, level="STUDY", priority=1))
        identifier = match(7)
        identifier.QueryRetrieveLevel = "PATIENT"
        list(association.c_find(identifier, model=FIND, level="SERIES"))
        assert identifier.QueryRetrieveLevel == "PATIENT", "the user's is not touched"
        list(association.c_find(identifier, model=FIND))
    first, second, third = seen
    assert first.identifier.PatientName == "Doe*"
    assert first.identifier.StudyDate == "20260101-"
    assert first.identifier["StudyInstanceUID"].is_empty
    assert first.level == "STUDY"
    assert (first.command["Priority"], second.command["Priority"]) == (1, 0)
    assert first.sop_class == first.context.sop_class == FIND
    assert (second.level, third.level) == ("SERIES", "PATIENT")
    assert (first.message_id, second.message_id) == (1, 2)
    assert first.peer.ae_title == "SCU"


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"]
)
def test_identifiers_are_in_the_syntax_of_the_context(syntax):
    sent = match(3, StudyDescription="Thorax", NumberOfStudyRelatedInstances=12)

    def find(request):
        assert request.context.transfer_syntax == syntax
        return [request.identifier, to_bytes(sent, syntax)]

    with link(archive(find), Context(FIND, [syntax])) as association:
        asked = match(9, StudyDescription="")
        back, encoded = association.c_find(asked, model=StudyRoot)
        [raw, _] = association.c_find(asked, model=StudyRoot, raw=True)
    assert back == asked
    assert encoded == sent
    assert isinstance(bytes(raw), bytes)
    assert from_bytes(raw, syntax) == asked


def test_text_keeps_its_character_set():
    sent = match(PatientName="Æbler^Ærlig", SpecificCharacterSet="ISO_IR 192")
    with link(archive([sent]), StudyRoot) as association:
        asked = {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Æ*"}
        [found] = association.c_find(asked, model=StudyRoot, level="STUDY")
    assert found.PatientName == "Æbler^Ærlig"


def test_a_model_without_levels():
    server = scp()

    @server.c_find(ModalityWorklistInformationModelFind)
    def worklist(request):
        assert request.level == ""
        [step] = request.identifier.ScheduledProcedureStepSequence
        found = Dataset()
        found.ScheduledProcedureStepSequence = [step]
        return [found]

    step = Dataset()
    step.Modality = "CT"
    with link(server, ModalityWorklistInformationModelFind) as association:
        asked = {"ScheduledProcedureStepSequence": [step]}
        [found] = association.c_find(asked, model=ModalityWorklistInformationModelFind)
    assert found.ScheduledProcedureStepSequence[0].Modality == "CT"


def test_what_cannot_be_asked():
    with link(archive([]), [FIND, Verification]) as association:
        for keys in ({"NoSuchKeyword": "x"}, {"StudyDate": object()}):
            with pytest.raises(DecodeError):
                list(association.c_find(keys, model=StudyRoot, level="STUDY"))
        with pytest.raises(NoPresentationContext) as caught:
            list(association.c_find({}, model=PatientRoot, level="STUDY"))
        assert caught.value.sop_class == PatientRoot.find
        assert association.c_echo() == 0


def test_a_model_that_cannot_be_queried():
    from dimse_rs import WithoutBulkData

    with link(archive([]), [FIND]) as association, pytest.raises(LocalProtocolError):
        association.c_find({}, model=WithoutBulkData)


# ---- what a handler gives


@pytest.mark.parametrize("count", [0, 1, 2, 700])
@pytest.mark.parametrize("shape", [list, tuple, iter])
def test_every_match_is_one_response(count, shape):
    matches = [match(number) for number in range(count)]
    with link(archive(lambda request: shape(matches)), StudyRoot) as association:
        results = query(association)
        assert results.status is None
        assert ids(results) == [str(number) for number in range(count)]
        assert results.status == 0x0000
        assert results.response.command["CommandField"] == 0x8020
        assert results.response.dataset is None
        assert list(results) == []


def test_no_match_at_all_may_be_none():
    with link(archive(None), StudyRoot) as association:
        results = query(association)
        assert list(results) == []
        assert results.status == 0x0000


def test_a_generator_is_asked_as_it_goes():
    given = []

    def find(request):
        for number in range(3):
            given.append(number)
            yield match(number)

    with link(archive(find), StudyRoot) as association:
        assert ids(query(association)) == ["0", "1", "2"]
    assert given == [0, 1, 2]


def test_pending_with_keys_that_are_not_supported():
    mixed = [match(0), (0xFF01, match(1)), (0xFF00, match(2)), (0xFF01, match(3))]
    with link(archive(mixed), StudyRoot) as association:
        results = query(association)
        told = [(found.PatientID, results.pending) for found in results]
        assert results.status == 0
    assert told == [("0", 0xFF00), ("1", 0xFF01), ("2", 0xFF00), ("3", 0xFF01)]


def test_raw_gives_buffers():
    with link(archive([match(number) for number in range(300)]), StudyRoot) as association:
        found = list(query(association, raw=True))
        syntax = association.accepted[0].transfer_syntax
    assert len(found) == 300
    assert from_bytes(found[7], syntax) == match(7)
    assert memoryview(found[7]).readonly


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC001, 0x0122])
def test_a_status_alone_is_the_answer(status):
    with link(archive(status), StudyRoot) as association:
        results = query(association)
        with pytest.raises(StatusError) as caught:
            list(results)
        assert caught.value.status == status
        assert results.response is caught.value.response
        assert list(results) == []
        with pytest.raises(StatusError):
            list(query(association))


def failing(error):
    def find(request):
        yield match(0)
        yield match(1)
        raise error

    return find


def test_a_status_error_in_the_middle_comes_after_what_was_found():
    error = StatusError(
        0xA900, "no such key", elements={"OffendingElement": [0x00100020, 0x0020000D]}
    )
    with link(archive(failing(error)), StudyRoot) as association:
        results = query(association)
        found = []
        with pytest.raises(StatusError) as caught:
            found.extend(results)
        assert ids(found) == ["0", "1"]
        assert caught.value.comment == "no such key"
        assert caught.value.response.offending_elements == (0x00100020, 0x0020000D)


def test_an_exception_in_the_middle_is_c000(caplog):
    with link(archive(failing(ZeroDivisionError("secret"))), StudyRoot) as association:
        results = query(association)
        assert [next(results).PatientID, next(results).PatientID] == ["0", "1"]
        with pytest.raises(StatusError) as caught:
            next(results)
        assert (caught.value.status, caught.value.comment) == (0xC000, "handler failed")
        with pytest.raises(StatusError):
            list(query(association))
    assert [r.exc_info[0] for r in caplog.records if r.levelno == logging.ERROR] == [
        ZeroDivisionError,
        ZeroDivisionError,
    ]


class _Unsendable:
    """Looks like a data set, until it is encoded."""

    def to_json_dict(self):
        return {}


@pytest.mark.parametrize(
    "nonsense",
    [
        0xFF00,
        True,
        object(),
        match(5),
        "STUDY",
        [None],
        ["text"],
        [17],
        [(0x0000, match())],
        [("FF00", match())],
        [(0xFF00, match(), 3)],
        [(0xFF00,)],
        [_Unsendable()],
    ],
    ids=shown,
)
def test_nonsense_is_c000_and_the_association_lives(nonsense, caplog):
    with link(archive(lambda request: nonsense), [StudyRoot, Verification]) as association:
        with pytest.raises(StatusError) as caught:
            list(query(association))
        assert caught.value.status == 0xC000
        assert caught.value.comment
        assert association.c_echo() == 0
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1


@pytest.mark.parametrize(
    "elements",
    [{"NoSuchElement": 1}, {"ErrorID": "text"}, {"OffendingElement": 5}, {"ErrorID": 1 << 16}],
    ids=repr,
)
def test_elements_that_cannot_be_sent_do_not_cost_the_answer(elements, caplog):
    def find(request):
        raise StatusError(0xA900, "bad", elements=elements)

    with link(archive(find), StudyRoot) as association:
        with pytest.raises(StatusError) as caught:
            list(query(association))
        assert caught.value.status == 0xC000
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1


def test_nobody_serves_it():
    server = scp()
    server.c_find(StudyRoot)(lambda request: [])
    server.c_move(lambda request: [])
    with link(server, [PatientRoot]) as association, pytest.raises(NoPresentationContext):
        list(association.c_find({}, model=PatientRoot))


# ---- what a peer may do


def scripted(*answers, contexts=(FIND,), ae=SCU):
    """Answer one C-FIND with these (status, identifier), then release."""

    def script(peer):
        peer.accept((1, 0, [wire.IMPLICIT]))
        elements, _ = peer.message()
        for status, identifier in answers:
            peer.send(find_response(elements, status, identifier))
        peer.release()

    return ScriptedScp(script), ae


def find_response(elements, status, identifier):
    command = wire.command(
        wire.us(0x0100, 0x8020),
        wire.us(0x0120, wire.number_of(elements, 0x0110)),
        wire.us(0x0800, wire.NO_DATA if identifier is None else 1),
        wire.us(0x0900, status),
    )
    data = b"" if identifier is None else wire.as_data(1, identifier)
    return wire.as_commands(1, command) + data


def played(*answers, final=None):
    """Give what iterating over such an answer gives, with its exception."""
    scp_, ae = scripted(*answers)
    found = []
    with scp_, ae.associate(scp_.address, contexts=FIND) as association:
        results = query(association)
        try:
            found.extend(results)
        except Exception as error:
            return found, error
        finally:
            if final is not None:
                final.append(results.final)
    return found, results.status


ONE = to_bytes(match(1), ImplicitVRLittleEndian)


def test_pending_without_identifier_is_passed_over():
    found, status = played((0xFF00, None), (0xFF00, ONE), (0xFF01, None), (0x0000, None))
    assert ids(found) == ["1"]
    assert status == 0


def test_a_final_response_with_an_identifier_is_none_of_the_matches():
    found, status = played((0xFF00, ONE), (0x0000, ONE))
    assert ids(found) == ["1"]
    assert status == 0


@pytest.mark.parametrize("status", [0xB000, 0x0001])
def test_a_warning_is_no_exception_but_the_final_response_says_so(status):
    final = []
    assert played((0xFF00, ONE), (status, None), final=final)[1] == status
    [response] = final
    assert (response.status, response.status.category) == (status, "warning")


def test_cancel_that_nobody_asked_for_is_an_error():
    """A search that the peer gave up has not found all there is."""
    final = []
    found, error = played((0xFF00, ONE), (0xFE00, None), final=final)
    assert ids(found) == ["1"]
    assert isinstance(error, StatusError)
    assert error.status == 0xFE00
    assert final == [error.response]


def test_asyncio_tells_of_an_end_before_the_end():
    async def ask(status):
        scp_, ae = scripted((0xFF00, ONE), (status, None))
        with scp_:
            async with ae.associate_async(scp_.address, contexts=FIND) as association:
                results = query(association)
                try:
                    found = [one async for one in results]
                except StatusError as error:
                    return results.final is error.response and error.status
                assert len(found) == 1
                return results.final.status.category

    assert asyncio.run(ask(0xFE00)) == 0xFE00
    assert asyncio.run(ask(0xB000)) == "warning"


@pytest.mark.parametrize("status", [0xD000, 0x1234, 0xFF02, 0xFFFF])
def test_a_status_outside_the_table_is_a_failure(status):
    found, error = played((0xFF00, ONE), (status, None))
    assert ids(found) == ["1"]
    assert isinstance(error, StatusError)
    assert error.status == status


def test_an_identifier_that_is_none_names_itself():
    def script(peer):
        peer.accept((1, 0, [wire.IMPLICIT]))
        elements, _ = peer.message()
        peer.send(find_response(elements, 0xFF00, ONE[:-1]))
        cancel, _ = peer.message()
        assert wire.number_of(cancel, 0x0100) == 0x0FFF
        peer.send(find_response(elements, 0xFE00, None))
        peer.release()

    with (
        ScriptedScp(script) as scp_,
        SCU.associate(scp_.address, contexts=FIND) as association,
        pytest.raises(DecodeError),
    ):
        list(query(association))


@pytest.mark.slow
def test_a_stream_without_end_is_read_in_constant_memory_and_left_in_time():
    """H05: the peer goes on after C-CANCEL too."""
    ae = AE("SCU", timeouts=Timeouts(dimse=1, artim=2))
    sent = 0

    def script(peer):
        nonlocal sent
        peer.accept((1, 0, [wire.IMPLICIT]))
        elements, _ = peer.message()
        pending = find_response(elements, 0xFF00, ONE) * 100
        try:
            while True:
                peer.send(pending)
                sent += 100
        except OSError:
            return

    with ScriptedScp(script) as scp_:
        association = ae.associate(scp_.address, contexts=FIND)
        results = query(association)
        for number, _ in enumerate(results):
            if number == 5000:
                break
        results.close()
        with pytest.raises(DimseTimeout) as caught:
            association.release()
        assert caught.value.which == "dimse"
    assert sent > 5000


@pytest.mark.slow
def test_a_slow_reader_stops_the_peer():
    ahead, over = [], Event()

    def script(peer):
        peer.accept((1, 0, [wire.IMPLICIT]))
        elements, _ = peer.message()
        pending = find_response(elements, 0xFF00, ONE) * 1000
        peer._socket.settimeout(1)
        with suppress(TimeoutError):
            for _ in range(1000):
                peer.send(pending)
                ahead.append(1000)
        peer.close()
        over.set()

    ae = AE("SCU", timeouts=Timeouts(dimse=0.3, idle=0.3, progress=0.3))
    with ScriptedScp(script) as scp_:
        association = ae.associate(scp_.address, contexts=FIND)
        results = query(association)
        next(results)
        assert over.wait(15)
        assert sum(ahead) < 200_000, "what the sockets hold, and some"
        # None of the deadlines passed: what was read is there.
        for _ in range(1000):
            next(results)
        association.abort()


def test_the_connection_ends_in_the_middle():
    from dimse_rs import ConnectionLost

    def script(peer):
        peer.accept((1, 0, [wire.IMPLICIT]))
        elements, _ = peer.message()
        peer.send(find_response(elements, 0xFF00, ONE))
        peer.close()

    with ScriptedScp(script) as scp_:
        association = SCU.associate(scp_.address, contexts=FIND)
        results = query(association)
        assert next(results).PatientID == "1"
        with pytest.raises(ConnectionLost):
            next(results)
        assert list(results) == []


def test_the_calling_side_may_be_served_at_once():
    """The address helper and the default level: nothing but the identifier is needed."""
    server = archive([match(1)])
    with server, SCU.associate(at(server), contexts=StudyRoot) as association:
        assert ids(association.c_find(match(), model=StudyRoot)) == ["1"]
