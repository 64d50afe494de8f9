"""D, F: requests of every service, to a node whose handlers read what they are given.

The node has handlers for C-FIND, C-GET and C-MOVE of the study root and for N-GET and N-ACTION of
the printer. They decode what they are given. A C-FIND for the patient "wait" is answered when it
is cancelled.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.support.script import Aborted, Accepted, Alive, Answered, Case, Flood, Step, case
from tests.support.wire import (
    APPLICATION_CONTEXT,
    C_ECHO_RQ,
    C_FIND_RQ,
    DATA,
    EXPLICIT,
    IMPLICIT,
    N_GET_RQ,
    PRINTER,
    VERIFICATION,
    as_commands,
    as_data,
    associate_rq,
    command,
    context,
    data_element,
    echo_rq,
    element,
    find_rq,
    item,
    pdu,
    pdv,
    ui,
    us,
    user_information,
)

NEEDS = {"handlers"}
FIND = b"1.2.840.10008.5.1.4.1.2.2.1"
MOVE = b"1.2.840.10008.5.1.4.1.2.2.2"
GET = b"1.2.840.10008.5.1.4.1.2.2.3"
C_GET_RQ, C_MOVE_RQ, C_CANCEL_RQ, N_ACTION_RQ = 0x0010, 0x0021, 0x0FFF, 0x0130


def established(called: bytes) -> tuple[Step, Step]:
    """Verification in context 1, the study root in 3, 5 and 7, the printer in 9."""
    request = associate_rq(
        called,
        item(0x10, APPLICATION_CONTEXT),
        context(1),
        context(3, FIND, [EXPLICIT]),
        context(5, GET, [EXPLICIT]),
        context(7, MOVE, [EXPLICIT]),
        context(9, PRINTER, [IMPLICIT]),
        user_information(),
    )
    return request, Accepted(((1, 0), (3, 0), (5, 0), (7, 0), (9, 0)))


def retrieve_rq(field: int, sop_class: bytes, *more: bytes) -> bytes:
    return command(ui(0x0002, sop_class), us(0x0100, field), us(0x0110, 1), *more, us(0x0800, 1))


def move_to(title: bytes) -> bytes:
    """A C-MOVE with its identifier, whole messages on context 7."""
    destination = element(0x0600, title + b" " * (len(title) % 2))
    request = retrieve_rq(C_MOVE_RQ, MOVE, destination, us(0x0700, 0))
    return as_commands(7, request) + as_data(7, PATIENT)


def cancel_rq(message_id: int) -> bytes:
    return command(us(0x0100, C_CANCEL_RQ), us(0x0120, message_id), us(0x0800, 0x0101))


def n_rq(field: int, *more: bytes, sop_class: bytes = PRINTER, message_id: int = 1) -> bytes:
    return command(
        ui(0x0003, sop_class),
        us(0x0100, field),
        us(0x0110, message_id),
        us(0x0800, 0x0101),
        ui(0x1001, b"1.2.3"),
        *more,
    )


def query(*elements: bytes, message_id: int = 1) -> bytes:
    """A C-FIND with its identifier, whole messages on context 3."""
    return as_commands(3, find_rq(message_id, sop_class=FIND)) + as_data(3, b"".join(elements))


PATIENT = data_element(0x0010, 0x0020, b"LO", b"1")
WAIT = data_element(0x0010, 0x0020, b"LO", b"wait")
FOUND = Answered(0, field=C_FIND_RQ, context=3)


def operations(called: bytes) -> Iterator[Case]:
    """D and F: everything but C-STORE."""
    yield from commands(called)
    yield from outstanding(called)
    yield from identifiers(called)


def commands(called: bytes) -> Iterator[Case]:
    """D: command sets, and services where they do not belong."""
    begin = established(called)
    no_class = command(us(0x0100, C_FIND_RQ), us(0x0110, 1), us(0x0700, 0), us(0x0800, 1))
    yield case(
        "D02-classes",
        "leaves out the SOP class of other services",
        *begin,
        as_commands(3, no_class) + as_data(3, PATIENT),
        Answered(0x0122, field=C_FIND_RQ, context=3),
        as_commands(9, n_rq(N_GET_RQ, sop_class=b"")),
        Answered(0x0118, field=N_GET_RQ, context=9),
        Alive(),
        needs=NEEDS,
    )
    yield case(
        "D09-services",
        "asks for a service where it does not belong",
        *begin,
        as_commands(1, find_rq(sop_class=VERIFICATION)) + as_data(1, PATIENT),
        Answered(0x0122, field=C_FIND_RQ),
        as_commands(1, find_rq(sop_class=FIND)) + as_data(1, PATIENT),
        Answered(0x0122, field=C_FIND_RQ),
        as_commands(3, echo_rq()),
        Answered(0x0122, field=C_ECHO_RQ, context=3),
        as_commands(5, find_rq(sop_class=FIND)) + as_data(5, PATIENT),
        Answered(0x0122, field=C_FIND_RQ, context=5),
        as_commands(1, n_rq(N_GET_RQ, sop_class=VERIFICATION)),
        Answered(0x0211, field=N_GET_RQ),
        as_commands(1, n_rq(N_GET_RQ)),
        Answered(0x0118, field=N_GET_RQ),
        as_commands(9, n_rq(0x0150)),
        Answered(0x0211, field=0x0150, context=9),
        Alive(),
        needs=NEEDS,
    )
    yield case(
        "D10",
        "asks for an action or an instance that there is not",
        *begin,
        as_commands(9, n_rq(N_ACTION_RQ, us(0x1008, 77))),
        Answered(0x0123, field=N_ACTION_RQ, context=9),
        as_commands(9, n_rq(N_ACTION_RQ, us(0x1008, 1))),
        Answered(0x0112, field=N_ACTION_RQ, context=9),
        as_commands(9, n_rq(N_ACTION_RQ)),
        Answered(0x0212, field=N_ACTION_RQ, context=9),
        Alive(),
        needs=NEEDS,
    )
    yield case(
        "D19-ids",
        "uses the first and the last Message ID",
        *begin,
        *(
            step
            for id_ in (0, 65535, 0, 1, 65535)
            for step in (as_commands(1, echo_rq(id_)), Answered(0, id_, field=C_ECHO_RQ))
        ),
        Alive(),
        needs=NEEDS,
    )


def outstanding(called: bytes) -> Iterator[Case]:
    """D: requests that wait for their answers, and C-CANCEL."""
    begin = established(called)
    yield case(
        "D11",
        "uses a Message ID that is outstanding",
        *begin,
        query(WAIT),
        query(PATIENT),
        Answered(0x0210, field=C_FIND_RQ, context=3),
        as_commands(1, echo_rq(1)),
        Answered(0x0210, field=C_ECHO_RQ),
        as_commands(3, cancel_rq(1)),
        Answered(0xFE00, field=C_FIND_RQ, context=3),
        as_commands(1, echo_rq(1)),
        Answered(0, field=C_ECHO_RQ),
        Alive(),
        needs=NEEDS,
    )
    yield case(
        "D12",
        "has more requests outstanding than it may",
        *begin,
        b"".join(query(WAIT, message_id=id_) for id_ in range(1, 67)),
        Aborted(0, 0),
        code="window-overrun",
        noise=True,
        needs=NEEDS,
    )
    yield case(
        "D12-queued",
        "has as many requests waiting as are tolerated",
        *begin,
        b"".join(query(WAIT, message_id=id_) for id_ in range(1, 65)),
        *(
            step
            for id_ in range(1, 65)
            for step in (
                as_commands(3, cancel_rq(id_)),
                Answered(0xFE00, id_, field=C_FIND_RQ, context=3),
            )
        ),
        Alive(),
        needs=NEEDS,
    )
    yield case(
        "D13-open",
        "cancels 20,000 times what was never asked, with a query open",
        *begin,
        b"".join(as_commands(3, cancel_rq(id_)) for id_ in range(10_000)),
        query(WAIT),
        b"".join(as_commands(3, cancel_rq(id_)) for id_ in range(10_000)),
        Answered(0xFE00, field=C_FIND_RQ, context=3),
        Alive(),
        needs=NEEDS,
        many=True,
    )
    yield case(
        "D14",
        "cancels what is over",
        *begin,
        query(data_element(0x0010, 0x0020, b"LO", b"nobody")),
        FOUND,
        as_commands(3, cancel_rq(1)) * 3,
        as_commands(1, cancel_rq(1)),
        Alive(),
        needs=NEEDS,
    )
    yield case(
        "D14-release",
        "releases while its query waits",
        *begin,
        query(WAIT),
        as_commands(3, cancel_rq(1)),
        Answered(0xFE00, field=C_FIND_RQ, context=3),
        Alive(),
        needs=NEEDS,
    )


def identifiers(called: bytes) -> Iterator[Case]:
    """F: identifiers, levels, destinations."""
    begin = established(called)

    def refused(id_: str, what: str, *tries: bytes, status: int = 0xC000, code: str) -> Case:
        scripts = [
            (*begin, one, Answered(status, field=C_FIND_RQ, context=3), Alive()) for one in tries
        ]
        return case(id_, what, scripts=scripts, code=code, needs=NEEDS)

    def taken(id_: str, what: str, *tries: bytes) -> Case:
        nobody = data_element(0x0010, 0x0020, b"LO", b"nobody")
        scripts = [(*begin, query(one, nobody), FOUND, Alive()) for one in tries]
        return case(id_, what, scripts=scripts, needs=NEEDS)

    yield refused(
        "F01-cut",
        "sends an identifier that is cut short",
        query(PATIENT[:-1]),
        query(data_element(0x0010, 0x0020, b"LO", b"1", length=40)),
        query(struct.pack("<HH2sHI", 0x40, 0x100, b"SQ", 0, 0xFFFFFFFF)),
        code="undecodable",
    )
    yield refused(
        "F01-numbers",
        "sends numbers that are none",
        query(data_element(0x0028, 0x0010, b"FD", b"abc")),
        query(data_element(0x0028, 0x0010, b"UL", b"ab")),
        query(data_element(0x0008, 0x0050, b"ZZ", b"what")),
        code="undecodable",
    )
    yield taken(
        "F01-kinds",
        "sends keys of another kind, and empty ones",
        data_element(0x0008, 0x0020, b"LO", b"a\\b"),
        data_element(0x0008, 0x0052, b"CS", b""),
        data_element(0x0010, 0x0010, b"PN", b""),
        data_element(0x0008, 0x0060, b"UN", b"\xff" * 9),
    )
    yield case(
        "F01-none",
        "sends no identifier at all",
        *begin,
        as_commands(
            3,
            command(
                ui(0x0002, FIND),
                us(0x0100, C_FIND_RQ),
                us(0x0110, 1),
                us(0x0700, 0),
                us(0x0800, 0x0101),
            ),
        ),
        Answered(0xC000, field=C_FIND_RQ, context=3),
        Alive(),
        needs=NEEDS,
    )
    yield case(
        "F03-size",
        "sends an identifier of more than 1 MiB",
        *begin,
        as_commands(3, find_rq(sop_class=FIND)),
        as_data(3, bytes(1_100_000), last=False),
        Answered(0xA700, field=C_FIND_RQ, context=3),
        pdu(DATA, pdv(3, 2, bytes(2))),
        Alive(),
        needs=NEEDS,
    )
    more = pdu(DATA, pdv(3, 0, bytes(16_000)))
    yield case(
        "C20-find",
        "never ends the identifier of a query",
        *begin,
        as_commands(3, find_rq(sop_class=FIND)),
        Flood(more, 32 << 20),
        Answered(0xA700, field=C_FIND_RQ, context=3),
        Flood(more, 32 << 20),
        Aborted(0, 0),
        code="endless-data-set",
        needs=NEEDS,
    )
    action = command(
        ui(0x0003, PRINTER),
        us(0x0100, N_ACTION_RQ),
        us(0x0110, 1),
        us(0x0800, 1),
        ui(0x1001, b"1.2.3"),
        us(0x1008, 1),
    )
    more = pdu(DATA, pdv(9, 0, bytes(16_000)))
    yield case(
        "C20-action",
        "never ends the data set of an action",
        *begin,
        as_commands(9, action),
        Flood(more, 32 << 20),
        Answered(0x0213, field=N_ACTION_RQ, context=9),
        Flood(more, 32 << 20),
        Aborted(0, 0),
        code="endless-data-set",
        needs=NEEDS,
    )
    yield case(
        "F07",
        "moves to where nobody is known",
        *begin,
        *(
            step
            for title in (b"NOWHERE", b"127.0.0.1:1", b"../../etc", b"A" * 16, b"\x00\xff", b"")
            for step in (
                move_to(title),
                Answered(0xA801, field=C_MOVE_RQ, context=7),
            )
        ),
        Alive(),
        needs=NEEDS,
    )
    yield case(
        "F07-none",
        "moves without saying where",
        *begin,
        as_commands(7, retrieve_rq(C_MOVE_RQ, MOVE, us(0x0700, 0))) + as_data(7, PATIENT),
        Answered(0x0212, field=C_MOVE_RQ, context=7),
        Alive(),
        needs=NEEDS,
    )
    yield case(
        "F01-get",
        "retrieves by an identifier that is cut short",
        *begin,
        as_commands(5, retrieve_rq(C_GET_RQ, GET, us(0x0700, 0))) + as_data(5, PATIENT[:-1]),
        Answered(0xC000, field=C_GET_RQ, context=5),
        Alive(),
        code="undecodable",
        needs=NEEDS,
    )
