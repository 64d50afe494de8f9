"""The six N-services: every field on the wire, in both directions, and what handlers answer."""

from __future__ import annotations

import logging
import socket
import threading

import pytest
from pydicom.dataset import Dataset

from dimse_rs import (
    ActionRequest,
    AttributesRequest,
    BasicColorImageBox,
    BasicColorPrintManagementMeta,
    BasicFilmBox,
    BasicFilmSession,
    BasicGrayscaleImageBox,
    BasicGrayscalePrintManagementMeta,
    Context,
    DatasetRequest,
    DecodeError,
    EventRequest,
    Handlers,
    LocalProtocolError,
    ModalityPerformedProcedureStep,
    NoPresentationContext,
    Printer,
    PrinterInstance,
    Request,
    StatusError,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    UnifiedProcedureStepPull,
    UnifiedProcedureStepPush,
    UnifiedProcedureStepWatch,
    Verification,
)
from tests.support import wire
from tests.support.ids import shown
from tests.support.nodes import SCU, at, link, scp
from tests.support.scripted_scp import Connection, ScriptedScp

MPPS = ModalityPerformedProcedureStep
COMMITMENT = StorageCommitmentPushModel
PRIVATE = "1.2.3.4.5.6"
UID = "1.2.3.4"
SOON = 10.0

CALLS = {
    "n_event_report": lambda a, **o: a.n_event_report(7, **o),
    "n_get": lambda a, **o: a.n_get(**o),
    "n_set": lambda a, **o: a.n_set({"PatientID": "X"}, **o),
    "n_action": lambda a, **o: a.n_action(7, **o),
    "n_create": lambda a, **o: a.n_create(**o),
    "n_delete": lambda a, **o: a.n_delete(**o),
}
KINDS = {
    "n_event_report": EventRequest,
    "n_get": AttributesRequest,
    "n_set": DatasetRequest,
    "n_action": ActionRequest,
    "n_create": DatasetRequest,
    "n_delete": Request,
}
FIELDS = {
    "n_event_report": 0x0100,
    "n_get": 0x0110,
    "n_set": 0x0120,
    "n_action": 0x0130,
    "n_create": 0x0140,
    "n_delete": 0x0150,
}


def attributes(**values):
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def performer(service, answer, *classes):
    """Make a server whose handler of a service gives this, or calls it."""
    server = scp()
    handler = answer if callable(answer) else lambda request: answer
    getattr(server, service)(*(classes or (MPPS,)))(handler)
    return server


def contexts(service, sop_class=MPPS):
    # Notifications come from the provider of the service.
    role = {"scu": True, "scp": True} if service == "n_event_report" else {}
    return [Context(sop_class, **role), Context(Verification)]


def call(association, service, **options):
    return CALLS[service](association, **{"sop_class": MPPS, "instance_uid": UID, **options})


OPERATIONS = sorted(CALLS.keys() - {"n_event_report"})


# ---- fields


def test_n_event_report_fields():
    information = attributes(TransactionUID="1.2.3.9")
    handlers = Handlers()
    seen, responses = [], []

    @handlers.n_event_report
    def notice(request):
        seen.append(request)
        return attributes(PatientID="reply")

    @(server := scp()).n_create(MPPS)
    def create(request):
        # The provider notifies its user, who is the requestor of the association here.
        responses.append(
            request.association.n_event_report(3, information, sop_class=MPPS, instance_uid=UID)
        )

    with link(server, [MPPS], handlers=handlers) as association:
        association.n_create(sop_class=MPPS)
    [request], [response] = seen, responses
    assert isinstance(request, EventRequest)
    assert request.event_type == 3
    assert request.dataset == information
    assert request.instance_uid == UID
    assert request.command["AffectedSOPClassUID"] == MPPS
    assert request.command["AffectedSOPInstanceUID"] == UID
    assert "RequestedSOPClassUID" not in request.command
    assert response.command["CommandField"] == 0x8100
    assert response.event_type == 3
    assert response.dataset.PatientID == "reply"
    assert response.instance_uid == UID
    assert response.sop_class == MPPS


def one(service, ask, answer=None):
    seen = []

    def handle(request):
        seen.append(request)
        return answer

    with link(performer(service, handle), [MPPS]) as association:
        response = ask(association)
    [request] = seen
    return request, response


def test_n_get_fields():
    request, response = one(
        "n_get",
        lambda a: a.n_get(["PatientID", 0x00080060], sop_class=MPPS, instance_uid=UID),
        attributes(PatientID="X", Modality="CT"),
    )
    assert isinstance(request, AttributesRequest)
    assert request.attributes == (0x00100020, 0x00080060)
    assert request.command["RequestedSOPClassUID"] == MPPS
    assert request.command["RequestedSOPInstanceUID"] == UID
    assert "AffectedSOPClassUID" not in request.command
    assert response.command["CommandField"] == 0x8110
    assert response.dataset == attributes(PatientID="X", Modality="CT")
    assert response.instance_uid == UID
    assert response.sop_class == MPPS


def test_n_get_of_everything():
    request, _ = one(
        "n_get", lambda a: a.n_get(sop_class=MPPS, instance_uid=UID), attributes(PatientID="X")
    )
    assert request.attributes == ()
    assert "AttributeIdentifierList" not in request.command


def test_n_set_fields():
    modifications = attributes(PerformedProcedureStepStatus="COMPLETED")
    request, response = one(
        "n_set",
        lambda a: a.n_set(modifications, sop_class=MPPS, instance_uid=UID),
        (0x0116, attributes(PatientID="Y")),
    )
    assert isinstance(request, DatasetRequest)
    assert request.modifications == request.dataset == modifications
    assert request.instance_uid == UID
    assert response.status == 0x0116
    assert response.status.category == "warning"
    assert response.dataset.PatientID == "Y"


def test_n_action_fields():
    request, response = one(
        "n_action",
        lambda a: a.n_action(2, {"TransactionUID": "1.9"}, sop_class=MPPS, instance_uid=UID),
        attributes(PatientID="reply"),
    )
    assert isinstance(request, ActionRequest)
    assert request.action_type == 2
    assert request.dataset.TransactionUID == "1.9"
    assert response.action_type == 2
    assert response.dataset.PatientID == "reply"


def test_n_action_without_information_or_reply():
    request, response = one("n_action", lambda a: call(a, "n_action"))
    assert request.dataset == Dataset()
    assert response.status == 0
    assert response.dataset is None
    assert response.data is None


@pytest.mark.parametrize("information", [None, {}, Dataset()])
def test_an_empty_data_set_is_none(information):
    """E-53: it could not be sent."""
    request, _ = one(
        "n_action",
        lambda a: a.n_action(2, information, sop_class=MPPS, instance_uid=UID),
        Dataset(),
    )
    assert request._message.data is None


def test_n_create_fields():
    request, response = one(
        "n_create",
        lambda a: a.n_create({"PatientID": "X"}, sop_class=MPPS, instance_uid=UID),
        attributes(PatientID="X", Modality="CT"),
    )
    assert request.instance_uid == UID
    assert request.assigned_uid == ""
    assert request.dataset.PatientID == "X"
    assert request.command["AffectedSOPInstanceUID"] == UID
    assert response.instance_uid == UID
    assert response.dataset.Modality == "CT"


def test_n_create_without_a_uid_gets_one():
    """R-361: the performer makes it, and the response has it."""
    request, response = one("n_create", lambda a: a.n_create(sop_class=MPPS))
    assert "AffectedSOPInstanceUID" not in request.command
    assert request.instance_uid == response.instance_uid != ""
    assert response.instance_uid.startswith("2.25.")


def test_n_delete_fields():
    request, response = one("n_delete", lambda a: call(a, "n_delete"))
    assert type(request) is Request
    assert request.command["RequestedSOPInstanceUID"] == UID
    assert response.status == 0
    assert response.instance_uid == UID


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_data_sets_are_in_the_syntax_of_the_context(syntax):
    sent = attributes(PatientID="X", NumberOfStudyRelatedInstances=7)
    server = performer("n_set", lambda request: request.dataset)
    with link(server, [Context(MPPS, [syntax])]) as association:
        response = association.n_set(sent, sop_class=MPPS, instance_uid=UID)
    assert response.transfer_syntax == syntax
    assert response.dataset == sent


# ---- statuses


@pytest.mark.parametrize("service", ["n_action", "n_create", "n_delete", "n_set"])
@pytest.mark.parametrize("status", [0x0000, 0x0001, 0x0107, 0xB305])
def test_success_and_warnings_are_given_back(service, status):
    # A private class has no list of what it may answer.
    with link(performer(service, status, PRIVATE), contexts(service, PRIVATE)) as association:
        assert call(association, service, sop_class=PRIVATE).status == status


def test_a_warning_that_a_service_does_not_define_is_named(caplog):
    with (
        link(performer("n_delete", 0xB305), contexts("n_delete")) as association,
        pytest.raises(StatusError, match="no valid status"),
    ):
        call(association, "n_delete")
    assert "0xB305" in caplog.text


@pytest.mark.parametrize("service", OPERATIONS)
@pytest.mark.parametrize("status", [0x0110, 0x0112, 0x0119, 0x0213, 0xC307])
def test_failures_are_raised_with_everything_on_them(service, status):
    elements = {"ErrorID": 0xA710, "OffendingElement": [0x00400252, 0x00100010]}

    def handle(request):
        raise StatusError(status, "no longer", elements=elements)

    with link(performer(service, handle), contexts(service)) as association:
        with pytest.raises(StatusError) as caught:
            call(association, service)
        error = caught.value
        assert (error.status, error.comment) == (status, "no longer")
        assert error.response.error_id == 0xA710
        assert error.response.offending_elements == (0x00400252, 0x00100010)
        assert association.is_established


def test_a_failure_with_a_data_set_and_a_list_of_attributes():
    bad = attributes(PatientID="bad")

    def handle(request):
        elements = {"AttributeIdentifierList": [0x00100020]}
        raise StatusError(0x0106, dataset=bad, elements=elements)

    with link(performer("n_set", handle), [MPPS]) as association:
        with pytest.raises(StatusError) as caught:
            call(association, "n_set")
        assert caught.value.response.dataset == bad
        assert caught.value.response.attribute_identifiers == (0x00100020,)


class _Unsendable(Dataset):
    """A data set that cannot be encoded."""

    def __init__(self):
        super().__init__()
        self.add_new(0x00280010, "US", "text")


@pytest.mark.parametrize("service", OPERATIONS)
@pytest.mark.parametrize(
    "nonsense",
    [True, "0", 0xFF00, 0xFE00, -1, 0x10000, object(), (0, "text"), (None, None), _Unsendable()],
    ids=shown,
)
def test_nonsense_is_0110_and_the_association_lives(service, nonsense, caplog):
    with link(performer(service, lambda r: nonsense), contexts(service)) as association:
        with pytest.raises(StatusError) as caught:
            call(association, service)
        assert caught.value.status == 0x0110
        assert caught.value.comment
        assert association.c_echo() == 0
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1


@pytest.mark.parametrize("service", OPERATIONS)
def test_an_exception_is_0110(service, caplog):
    def handle(request):
        raise ZeroDivisionError

    with link(performer(service, handle), contexts(service)) as association:
        with pytest.raises(StatusError) as caught:
            call(association, service)
        assert (caught.value.status, caught.value.comment) == (0x0110, "handler failed")
        assert association.c_echo() == 0


@pytest.mark.parametrize("nothing", [None, 0, Dataset(), 0x0107])
def test_n_get_without_a_data_set_is_0110(nothing, caplog):
    """R-312: mandatory in success, and in the warnings."""
    with link(performer("n_get", lambda r: nothing), [MPPS]) as association:
        with pytest.raises(StatusError) as caught:
            call(association, "n_get")
        assert caught.value.status == 0x0110


def test_n_delete_cannot_answer_with_a_data_set(caplog):
    with link(performer("n_delete", attributes(PatientID="X")), [MPPS]) as association:
        with pytest.raises(StatusError) as caught:
            call(association, "n_delete")
        assert caught.value.status == 0x0110


# ---- what cannot be asked


def test_what_cannot_be_asked():
    with link(performer("n_get", attributes(PatientID="X")), [MPPS]) as association:
        with pytest.raises(DecodeError):
            association.n_get(["NoSuchKeyword"], sop_class=MPPS, instance_uid=UID)
        with pytest.raises(NoPresentationContext) as caught:
            association.n_get(sop_class=Printer, instance_uid=UID)
        assert caught.value.sop_class == Printer
        with pytest.raises(NoPresentationContext):
            association.n_get(sop_class=MPPS, instance_uid=UID, context=Printer)
        with pytest.raises(NoPresentationContext):
            call(association, "n_event_report")  # we are no provider here
        for dataset in ({}, Dataset()):
            with pytest.raises(Exception, match="data set") as caught:
                association.n_set(dataset, sop_class=MPPS, instance_uid=UID)
        with pytest.raises(LocalProtocolError, match="UID"):
            association.n_get(sop_class=MPPS, instance_uid="not a UID")
        assert call(association, "n_get").status == 0


# ---- who is asked


@pytest.mark.parametrize("service", OPERATIONS)
def test_what_nobody_serves_is_0211(service):
    other = "n_get" if service != "n_get" else "n_set"
    with link(performer(other, attributes(PatientID="X")), contexts(service)) as association:
        with pytest.raises(StatusError) as caught:
            call(association, service)
        assert caught.value.status == 0x0211
        assert association.is_established


def test_a_class_that_the_context_does_not_allow_is_0118():
    asked = []
    server = scp()
    server.n_get(MPPS, Printer)(asked.append)
    with link(server, [MPPS, Printer]) as association:
        with pytest.raises(StatusError) as caught:
            association.n_get(sop_class=Printer, instance_uid=UID, context=MPPS)
        assert caught.value.status == 0x0118
    assert asked == []


def test_print_by_a_meta_class():
    """R-651: the context is of the meta class, the messages name its members."""
    meta = BasicGrayscalePrintManagementMeta
    server = scp()
    made = []

    @server.n_create(BasicFilmSession, BasicFilmBox)
    def create(request):
        made.append((request.context.sop_class, request.sop_class, request.instance_uid))
        return request.dataset

    @server.n_set(meta)
    def of_any_member(request):
        made.append((request.context.sop_class, request.sop_class, request.instance_uid))

    server.n_get(lambda request: attributes(PrinterStatus="NORMAL"))
    server.n_delete(lambda request: None)
    with link(server, [meta]) as association:
        session = association.n_create({"NumberOfCopies": "1"}, sop_class=BasicFilmSession)
        box = association.n_create(
            {"ImageDisplayFormat": r"STANDARD\1,1"}, sop_class=BasicFilmBox, context=meta
        )
        association.n_set(
            {"ImageBoxPosition": 1}, sop_class=BasicGrayscaleImageBox, instance_uid="1.9"
        )
        printer = association.n_get(
            ["PrinterStatus"], sop_class=Printer, instance_uid=PrinterInstance
        )
        association.n_delete(sop_class=BasicFilmSession, instance_uid=session.instance_uid)
        with pytest.raises(NoPresentationContext):
            association.n_get(sop_class=MPPS, instance_uid=UID)
        with pytest.raises(StatusError) as caught:
            association.n_get(sop_class=MPPS, instance_uid=UID, context=meta)
        assert caught.value.status == 0x0118
    assert printer.dataset.PrinterStatus == "NORMAL"
    assert made == [
        (meta, BasicFilmSession, session.instance_uid),
        (meta, BasicFilmBox, box.instance_uid),
        (meta, BasicGrayscaleImageBox, "1.9"),
    ]


@pytest.mark.parametrize(
    ("served", "metas"),
    [
        (BasicFilmBox, [BasicGrayscalePrintManagementMeta, BasicColorPrintManagementMeta]),
        (BasicGrayscaleImageBox, [BasicGrayscalePrintManagementMeta]),
        (BasicColorImageBox, [BasicColorPrintManagementMeta]),
        (MPPS, []),
    ],
)
def test_a_handler_of_a_print_class_has_its_meta_class_accepted(served, metas):
    """Printers are asked for by the meta classes alone (PS3.4 H.3)."""
    seen = []

    def set_(request):
        seen.append((request.context.sop_class, request.sop_class))

    proposed = [BasicGrayscalePrintManagementMeta, BasicColorPrintManagementMeta]
    with link(performer("n_set", set_, served), proposed) as association:
        assert [context.sop_class for context in association.accepted] == metas
        for meta in metas:
            association.n_set(
                {"NumberOfCopies": "1"}, sop_class=served, instance_uid=UID, context=meta
            )
    assert seen == [(meta, served) for meta in metas]


@pytest.mark.parametrize("data", [None, b""], ids=["none", "empty"])
def test_an_n_set_without_modification_list_fails_by_name(data):
    seen = []
    request = wire.n_rq(
        wire.N_SET_RQ, wire.PERFORMED_STEP, b"1.2.3", data=wire.NO_DATA if data is None else 1
    )
    with (
        performer("n_set", seen.append, MPPS) as server,
        socket.create_connection(("127.0.0.1", server.port)) as link_,
    ):
        peer = Connection(link_)
        peer.send(
            wire.associate_rq(
                b"SCP",
                wire.item(0x10, wire.APPLICATION_CONTEXT),
                wire.context(1, wire.PERFORMED_STEP),
                wire.user_information(),
            )
        )
        peer.expect(wire.AC)
        peer.send(wire.as_commands(1, request))
        if data is not None:
            peer.send(wire.as_data(1, data))
        answer, _ = peer.message()
    assert wire.number_of(answer, 0x0900) == 0x0110
    assert answer[0x0902].strip() == b"no Modification List (PS3.7 10.1.3)"
    assert seen == []


@pytest.mark.parametrize("context", [UnifiedProcedureStepWatch, UnifiedProcedureStepPull])
def test_procedure_steps_are_of_class_push_on_any_context(context):
    """R-641."""
    seen = []

    def act(request):
        seen.append((request.context.sop_class, request.sop_class, request.action_type))

    server = performer("n_action", act, UnifiedProcedureStepPush, context)
    with link(server, [context]) as association:
        association.n_action(3, sop_class=UnifiedProcedureStepPush, instance_uid=UID)
    assert seen == [(context, UnifiedProcedureStepPush, 3)]


# ---- N-EVENT-REPORT to the requestor


def notified(handlers, steps):
    """Let a server do `steps` with the association of an N-ACTION."""
    server = scp()
    server.n_action(COMMITMENT)(steps)
    return link(server, [COMMITMENT, Verification], handlers=handlers)


def act(association):
    return association.n_action(
        1, sop_class=COMMITMENT, instance_uid=StorageCommitmentPushModelInstance
    )


def report(association, event_type=1, **options):
    return association.n_event_report(
        event_type,
        {"TransactionUID": "1.2.3"},
        sop_class=COMMITMENT,
        instance_uid=StorageCommitmentPushModelInstance,
        **options,
    )


def test_a_notification_comes_while_the_answer_is_waited_for():
    """R-341, R-624: even before the response to the N-ACTION."""
    handlers = Handlers()
    events, responses = [], []
    handlers.n_event_report(COMMITMENT)(events.append)
    with notified(handlers, lambda request: responses.append(report(request.association))) as a:
        assert act(a).status == 0
        assert len(events) == 1, "it was served before the response came"
    assert responses[0].status == 0
    assert events[0].dataset.TransactionUID == "1.2.3"
    assert events[0].association is a
    assert events[0].context.scu


def test_a_notification_comes_while_nobody_calls():
    handlers = Handlers()
    served, asked = threading.Event(), threading.Event()
    answers = []

    @handlers.n_event_report
    def notice(request):
        served.set()
        return 0x0000

    def later(association):
        asked.wait(SOON)
        answers.append(report(association).status)

    threads = []

    def steps(request):
        threads.append(threading.Thread(target=later, args=[request.association]))
        threads[0].start()

    with notified(handlers, steps) as association:
        act(association)
        asked.set()
        assert served.wait(SOON)
        threads[0].join(SOON)
        assert answers == [0]
        assert association.c_echo() == 0


@pytest.mark.parametrize(
    ("answer", "status"), [(0x0112, 0x0112), (ZeroDivisionError(), 0x0110), ("?", 0x0110)]
)
def test_what_the_requestor_answers_to_a_notification(answer, status, caplog):
    handlers = Handlers()

    @handlers.n_event_report
    def notice(request):
        if isinstance(answer, Exception):
            raise answer
        return answer

    found = []

    def steps(request):
        with pytest.raises(StatusError) as caught:
            report(request.association)
        found.append(caught.value.status)

    with notified(handlers, steps) as association:
        act(association)
    assert found == [status]


@pytest.mark.parametrize("handlers", [None, Handlers()])
def test_a_notification_that_nobody_serves_is_0211(handlers):
    found = []

    def steps(request):
        with pytest.raises(StatusError) as caught:
            report(request.association)
        found.append(caught.value.status)

    with notified(handlers, steps) as association:
        act(association)
        assert association.c_echo() == 0
    assert found == [0x0211]


# ---- what peers do


def test_a_response_without_the_optional_uids(caplog):
    """R-317."""

    def script(peer):
        peer.accept((1, 0, [wire.IMPLICIT]))
        elements, _ = peer.message()
        command = wire.command(
            wire.us(0x0100, 0x8150),
            wire.us(0x0120, wire.number_of(elements, 0x0110)),
            wire.us(0x0800, wire.NO_DATA),
            wire.us(0x0900, 0),
        )
        peer.send(wire.as_commands(1, command))
        peer.release()

    with ScriptedScp(script) as scp_, SCU.associate(scp_.address, contexts=MPPS) as association:
        response = call(association, "n_delete")
    assert response.status == 0
    assert response.instance_uid == ""


@pytest.mark.parametrize("service", OPERATIONS)
def test_the_message_is_what_the_standard_says(service):
    """PS3.7 10.3: which identifiers go into which request."""
    seen = []

    def script(peer):
        peer.accept((1, 0, [wire.IMPLICIT]))
        elements, data = peer.message()
        seen.append((elements, data))
        answer = wire.command(
            wire.us(0x0100, 0x8000 | FIELDS[service]),
            wire.us(0x0120, wire.number_of(elements, 0x0110)),
            wire.us(0x0800, wire.NO_DATA),
            wire.us(0x0900, 0x0001),
        )
        peer.send(wire.as_commands(1, answer))
        peer.release()

    with ScriptedScp(script) as scp_, SCU.associate(scp_.address, contexts=MPPS) as association:
        assert call(association, service).status == 0x0001
    [(elements, data)] = seen
    expected = {0x0000, 0x0100, 0x0110, 0x0800}
    expected |= {0x0002, 0x1000} if service == "n_create" else {0x0003, 0x1001}
    expected |= {0x1008} if service == "n_action" else set()
    assert set(elements) == expected
    assert list(elements) == sorted(elements)
    assert wire.number_of(elements, 0x0100) == FIELDS[service]
    assert bool(data) == (service == "n_set")


@pytest.mark.parametrize("service", OPERATIONS)
def test_either_end_may_leave_out_what_it_need_not_say(service):
    """Every handler's request is of the right kind, on the server's side too."""
    seen = []

    def handle(request):
        seen.append(type(request))
        return attributes(PatientID="X") if service == "n_get" else None

    with performer(service, handle) as server, SCU.associate(at(server), contexts=MPPS) as a:
        call(a, service)
    assert seen == [KINDS[service]]
