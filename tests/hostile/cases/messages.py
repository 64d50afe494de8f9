"""C: fragments and their order. D: command sets. G: endings."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.support.script import (
    Aborted,
    Accepted,
    Alive,
    Answered,
    Case,
    Closed,
    Deaf,
    Drip,
    Echoes,
    Flood,
    Gone,
    Released,
    Repeat,
    Step,
    Wait,
    case,
)
from tests.support.wire import (
    APPLICATION_CONTEXT,
    C_ECHO_RQ,
    C_FIND_RQ,
    COMMAND,
    DATA,
    EXPLICIT,
    IMPLICIT,
    LAST,
    N_GET_RQ,
    NO_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    SECONDARY_CAPTURE,
    VERIFICATION,
    abort,
    as_commands,
    as_data,
    associate_rq,
    cancel_rq,
    command,
    context,
    data_element,
    data_set,
    echo_rq,
    element,
    find_rq,
    item,
    n_rq,
    pdu,
    pdv,
    response,
    store_rq,
    ui,
    us,
    user_information,
)


def established(called: bytes) -> tuple[Step, Step]:
    """Verification in context 1, Secondary Capture in 3, a class nobody knows, rejected, in 5."""
    request_ = associate_rq(
        called,
        item(0x10, APPLICATION_CONTEXT),
        context(1),
        context(3, SECONDARY_CAPTURE, [EXPLICIT]),
        context(5, b"1.2.3.4.5.6", [IMPLICIT]),
        user_information(),
    )
    return request_, Accepted(((1, 0), (3, 0), (5, 3)))


def fragments(called: bytes) -> Iterator[Case]:
    """C: fragments and their order (Sta6)."""
    begin = established(called)
    echo = echo_rq()

    def bad(
        id_: str, what: str, *tries: bytes, abort_: tuple[int, int] = (2, 6), code: str
    ) -> Case:
        scripts = [(*begin, one, Aborted(*abort_)) for one in tries]
        return case(id_, what, scripts=scripts, code=code)

    def data(*values: bytes) -> bytes:
        return pdu(DATA, b"".join(values))

    yield bad(
        "C01", "claims more than we take", struct.pack(">BBI", 4, 0, 1 << 24), code="pdu-too-long"
    )
    yield bad(
        "C02",
        "has no room for a fragment",
        *(pdu(DATA, bytes(length)) for length in range(6)),
        code="pdu-too-short",
    )
    yield bad(
        "C03",
        "has a fragment shorter than its header",
        *(data(pdv(1, 3, echo, length=length)) for length in (0, 1)),
        code="pdv-too-short",
    )
    yield bad(
        "C04",
        "has a fragment longer than its PDU",
        *(
            data(pdv(1, 3, echo, length=length))
            for length in (len(echo) + 3, 0x7FFFFFFF, 0xFFFFFFFF)
        ),
        code="pdv-overrun",
    )
    yield bad(
        "C05",
        "has bytes behind its last fragment",
        *(data(pdv(1, 3, echo), bytes(stray)) for stray in (1, 2, 3)),
        code="stray-bytes",
    )
    yield bad("C06", "claims 4 GiB", bytes.fromhex("0400ffffffff"), code="pdu-too-long")
    yield case(
        "C07-some",
        "sends empty fragments",
        *begin,
        data(pdv(1, COMMAND), pdv(1, COMMAND, echo[:10]), pdv(1, COMMAND), pdv(1, 3, echo[10:])),
        Answered(0, field=C_ECHO_RQ),
        as_commands(3, store_rq(b"1.7.1")),
        as_data(3, data_set(b"1.7.1"), last=False) + data(pdv(3, LAST)),
        Answered(0, context=3),
        Alive(),
        stores={b"1.7.1": data_set(b"1.7.1")},
    )
    yield bad(
        "C07-many",
        "sends 65 empty fragments",
        data(*[pdv(1, COMMAND)] * 65),
        code="empty-fragments",
    )
    yield case(
        "C08",
        "sends odd fragments",
        *begin,
        as_commands(3, store_rq(b"1.8.1")) + as_data(3, data_set(b"1.8.1"), step=7),
        Answered(0, context=3),
        Alive(),
        stores={b"1.8.1": data_set(b"1.8.1")},
    )
    yield bad(
        "C09",
        "uses a context that was not accepted",
        *(as_commands(id_, echo) for id_ in (0, 2, 5, 7, 255)),
        code="unknown-context",
    )
    yield bad(
        "C10",
        "changes context inside a message",
        data(pdv(1, COMMAND, echo[:10]), pdv(3, 3, echo[10:])),
        as_commands(3, store_rq(b"1.10.1")) + data(pdv(1, LAST, data_set(b"1.10.1"))),
        abort_=(2, 5),
        code="context-changed",
    )
    yield case(
        "C11",
        "sets reserved bits",
        *begin,
        data(pdv(1, 0xFF, echo)),
        Answered(0, field=C_ECHO_RQ),
        Alive(),
    )
    yield bad(
        "C12",
        "sends data without a command",
        data(pdv(3, LAST, data_set(b"1.12.1"))),
        abort_=(2, 5),
        code="data-without-command",
    )
    store = as_commands(3, store_rq(b"1.13.1"))
    yield bad(
        "C13",
        "sends a command where data must come",
        store + as_commands(3, echo),
        store + as_data(3, data_set(b"1.13.1"), last=False) + as_commands(3, echo),
        abort_=(2, 5),
        code="command-inside-data",
    )
    yield case(
        "C14",
        "sends data that its command did not announce",
        *begin,
        as_commands(1, echo) + data(pdv(1, LAST, b"data")),
        Aborted(2, 5),
        code="data-without-command",
    )
    yield bad(
        "C15",
        "sends an A-ASSOCIATE PDU where data must come",
        *(store + pdu(kind, associate_rq(called)[6:]) for kind in (1, 2)),
        store + pdu(3, bytes([0, 1, 1, 1])),
        abort_=(2, 2),
        code="unexpected-pdu",
    )
    yield bad(
        "C16",
        "releases in the middle of a message",
        store + pdu(RELEASE_RQ, bytes(4)),
        data(pdv(1, COMMAND, echo[:10])) + pdu(RELEASE_RQ, bytes(4)),
        abort_=(2, 2),
        code="release-mid-message",
    )
    crumbs = data_set(b"1.17.1", data_element(0x7FE0, 0x0010, b"OB", bytes(10_000)))
    yield case(
        "C17",
        "puts 10,000 single bytes into one PDU",
        *begin,
        as_commands(3, store_rq(b"1.17.1")),
        data(*(pdv(3, 0, crumbs[at : at + 1]) for at in range(len(crumbs)))) + data(pdv(3, LAST)),
        Answered(0, context=3),
        Alive(),
        stores={b"1.17.1": crumbs},
    )
    yield case(
        "C18-one",
        "puts two messages into one PDU",
        *begin,
        data(pdv(1, 3, echo), pdv(1, 3, echo_rq(2))),
        Answered(0, field=C_ECHO_RQ),
        Answered(0, 2, field=C_ECHO_RQ),
        Alive(),
    )
    pixels = data_element(0x7FE0, 0x0010, b"OB", b"", length=2_000_002)
    yield case(
        "C18-many",
        "cuts one message into a million PDUs",
        *begin,
        as_commands(3, store_rq(b"1.18.1")) + as_data(3, data_set(b"1.18.1", pixels), last=False),
        Repeat(data(pdv(3, 0, b"\0\0")) * 1000, 1000),
        as_data(3, b"\0\0"),
        Answered(0, context=3),
        Alive(),
        stores={b"1.18.1": data_set(b"1.18.1", pixels) + bytes(2_000_002)},
        memory=24 << 20,
    )
    yield case(
        "C19",
        "never ends its command",
        *begin,
        Flood(data(pdv(1, COMMAND, bytes(8_000))), 64 << 20),
        Aborted(0, 0),
        code="command-too-long",
    )
    more = data(pdv(1, 0, bytes(16_000)))
    yield case(
        "C20",
        "never ends its identifier",
        *begin,
        as_commands(1, find_rq()),
        Flood(more, 32 << 20),
        Answered(0x0122, field=C_FIND_RQ),
        Flood(more, 32 << 20),
        Aborted(0, 0),
        code="endless-data-set",
    )
    yield case(
        "C20-echo",
        "never ends the data set of a C-ECHO",
        *begin,
        as_commands(1, echo_rq(data=1)),
        Flood(more, 32 << 20),
        Aborted(0, 0),
        code="endless-data-set",
    )
    endless = data_set(b"1.21.1", data_element(0x7FE0, 0x0010, b"OB", b"", length=0xFFFFFFF0))
    zeros = data(pdv(3, 0, bytes(100_000)))
    yield case(
        "C21",
        "never ends its instance",
        *begin,
        as_commands(3, store_rq(b"1.21.1")) + as_data(3, endless, last=False),
        Flood(zeros, 64 << 20),
        Answered(0xA700, context=3),
        Flood(zeros, 64 << 20),
        Aborted(0, 0),
        code="refused+endless-data-set",
        needs={"instance-limit"},
        memory=24 << 20,
    )
    stalled = {
        "command": data(pdv(1, COMMAND, echo[:10])),
        "data": store + as_data(3, data_set(b"1.22.1"), last=False),
        "fragment": store + data(pdv(3, 0, data_set(b"1.22.1")))[:-1],
        "header": as_commands(1, echo)[:3],
    }
    yield case(
        "C22-stall",
        "stops in the middle of a message",
        scripts=[(*begin, one, Aborted(2, 0, "progress")) for one in stalled.values()],
        code="stalled-message",
    )
    yield case(
        "C22-drip",
        "drips a message",
        *begin,
        store,
        Drip(as_data(3, data_set(b"1.22.2")), every=0.1),
        Aborted(2, 0, "progress"),
        code="stalled-message",
    )
    yield bad(
        "C23",
        "begins another store inside the first",
        store
        + as_data(3, data_set(b"1.23.1"), last=False)
        + as_commands(3, store_rq(b"1.23.2", 2)),
        abort_=(2, 5),
        code="command-inside-data",
    )
    whole = data_set(b"1.24.1", data_element(0x7FE0, 0x0010, b"OB", bytes(1000)))
    yield case(
        "C24",
        "flags the last fragment inside an element",
        scripts=[
            (
                *begin,
                as_commands(3, store_rq(b"1.24.1")) + as_data(3, whole[:cut]),
                Answered(0xC000, context=3),
                Alive(),
            )
            for cut in (4, 9, len(whole) - 1001, len(whole) - 1)
        ],
        code="refused",
    )
    yield case(
        "C25",
        "aborts with odd lengths and codes",
        scripts=[
            (*begin, bytes_, Closed())
            for bytes_ in (
                pdu(7, b""),
                pdu(7, bytes(5)),
                abort(1, 0),
                abort(3, 255),
                abort(255, 3),
                pdu(7, length=0xFFFFFFFF),
            )
        ],
        noise=True,
    )
    yield bad(
        "C26",
        "releases with an odd length",
        *(pdu(kind, bytes(length)) for kind in (5, 6) for length in (0, 5)),
        code="pdu-length",
    )
    yield bad(
        "C27",
        "confirms a release that nobody asked",
        pdu(RELEASE_RP, bytes(4)),
        abort_=(2, 2),
        code="unexpected-pdu",
    )


def commands(called: bytes) -> Iterator[Case]:
    """D: command sets."""
    begin = established(called)

    def bad(id_: str, what: str, *tries: bytes, code: str) -> Case:
        scripts = [(*begin, as_commands(1, one), Aborted(0, 0)) for one in tries]
        return case(id_, what, scripts=scripts, code=code)

    echo = echo_rq()
    big_endian = struct.pack(">HHI", 0, 2, 18) + VERIFICATION + b"\0"
    big_endian += b"".join(
        struct.pack(">HHIH", 0, number, 2, value)
        for number, value in ((0x0100, C_ECHO_RQ), (0x0110, 1), (0x0800, NO_DATA))
    )
    rest = [ui(0x0002, VERIFICATION), us(0x0100, C_ECHO_RQ), us(0x0110, 1), us(0x0800, 0x0101)]
    yield bad(
        "D01",
        "sends what is no command set",
        echo[:-1],
        echo + b"\0\0",
        b"\xff" * 40,
        data_set(b"1.2"),
        big_endian,
        code="truncated|command-undefined-length",
    )
    yield bad(
        "D02",
        "leaves out what it takes to answer",
        *(command(*rest[:index], *rest[index + 1 :]) for index in (1, 2, 3)),
        code="command-unusable",
    )
    yield case(
        "D03",
        "asks for an unknown operation",
        *begin,
        as_commands(1, command(rest[0], us(0x0100, 0x0777), *rest[2:])),
        Answered(0x0211, field=0x0777),
        Alive(),
    )
    yield bad(
        "D04",
        "answers what nobody asked, or what nobody can ask",
        response(C_ECHO_RQ, 1, 0),
        response(0x0001, 7, 0),
        response(0x0777, 1, 0),
        code="unexpected-response|command-unusable",
    )
    yield bad("D02-empty", "sends an empty command set", b"", command(), code="command-unusable")
    yield case(
        "D02-class",
        "leaves out the class",
        *begin,
        as_commands(1, command(*rest[1:])),
        Answered(0x0122, field=C_ECHO_RQ),
        Alive(),
    )
    yield bad(
        "D05",
        "has values of a length that their type has not",
        *(
            command(*rest[:2], element(0x0110, bytes(length)), rest[3])
            for length in (0, 1, 3, 60_001)
        ),
        code="command-value-length",
    )
    endless = command(element(0x0002, b"1" * 1_000_000), *rest[1:])
    yield case(
        "D05-long",
        "names a class in a million characters",
        *begin,
        b"".join(
            pdu(DATA, pdv(1, COMMAND, endless[at : at + 16_000]))
            for at in range(0, len(endless), 16_000)
        ),
        Aborted(0, 0),
        code="command-too-long",
    )
    yield case(
        "D05-uid",
        "names what is no class",
        *begin,
        as_commands(1, command(element(0x0002, b"1" * 60_000), *rest[1:])),
        Answered(0x0122, field=C_ECHO_RQ),
        Alive(),
    )
    foreign = struct.pack("<HHI", 8, 0x58, 8) + b"1.2.3.4\0"
    twice = element(0x0110, struct.pack("<HH", 1, 2))
    yield bad(
        "D06",
        "has an element twice",
        command(*rest[:3], *rest[2:]),
        command(rest[0], *rest, rest[0]),
        code="command-duplicate",
    )
    for id_, what, odd in (
        ("D06-group", "has an element of another group", command(*rest, foreign)),
        ("D06-value", "has two values of its message id", command(*rest[:2], twice, rest[3])),
    ):
        yield case(
            id_,
            what,
            *begin,
            as_commands(1, odd),
            Answered(0, field=C_ECHO_RQ),
            Alive(),
        )
    yield case(
        "D06-order",
        "has its elements in descending order",
        *begin,
        as_commands(1, command(*reversed(rest))),
        Answered(0, field=C_ECHO_RQ),
        Alive(),
    )
    yield case(
        "D07",
        "lies about its group length",
        *begin,
        *(
            step
            for length in (0, 1, 0xFFFFFFFF)
            for step in (
                as_commands(1, element(0, struct.pack("<I", length)) + b"".join(rest)),
                Answered(0, field=C_ECHO_RQ),
            )
        ),
        Alive(),
    )
    yield case(
        "D08",
        "stores in a context of another class",
        *begin,
        as_commands(1, store_rq(b"1.8.8")) + as_data(1, data_set(b"1.8.8")),
        Answered(0x0122),
        Alive(),
    )
    yield case(
        "D09",
        "queries, and gets attributes, in a context of Verification",
        *begin,
        as_commands(1, find_rq(sop_class=VERIFICATION)) + as_data(1, data_set(b"1.9.9")),
        Answered(0x0122, field=C_FIND_RQ),
        as_commands(1, n_rq(N_GET_RQ, VERIFICATION, b"1.2.3", 2, data=NO_DATA)),
        Answered(0x0211, 2, field=N_GET_RQ),
        Alive(),
    )
    yield case(
        "D13",
        "cancels 10,000 times what was never asked",
        *begin,
        Repeat(b"".join(as_commands(1, cancel_rq(id_)) for id_ in range(100)), 100),
        Alive(),
        many=True,
    )
    yield case(
        "D15",
        "sends a C-ECHO with a data set",
        *begin,
        as_commands(1, echo_rq(data=0x0102)) + as_data(1, b"surplus!"),
        Answered(0, field=C_ECHO_RQ),
        Alive(),
    )
    yield case(
        "D15-never",
        "announces a data set with a C-ECHO and sends none",
        *begin,
        as_commands(1, echo_rq(data=0x0102)),
        Aborted(2, 0, "progress"),
        code="stalled-message",
    )
    yield case(
        "D16",
        "asks and asks and never reads an answer",
        *begin,
        Deaf(as_commands(1, echo) * 1000),
        Gone("write"),
        code="timeout-write",
        memory=24 << 20,
    )
    yield case("D19", "sends 66,000 messages", *begin, Echoes(66_000), Alive(), many=True)


def endings(called: bytes) -> Iterator[Case]:
    """G: release, abort, timers."""
    begin = established(called)
    yield case(
        "G04",
        "goes on after our abort",
        *begin,
        pdu(0x0A),
        Aborted(2, 1, we_close=False),
        associate_rq(called) * 3 + as_commands(1, echo_rq()) + pdu(0x0B),
        Closed("artim"),
        code="unknown-pdu",
    )
    yield case(
        "G04-drip",
        "drips on after our abort",
        *begin,
        pdu(0x0A),
        Aborted(2, 1, we_close=False),
        Drip(bytes(600), every=0.1),
        Closed("artim"),
        code="unknown-pdu",
    )
    yield case(
        "G05",
        "never closes after our abort",
        *begin,
        pdu(0x0A),
        Aborted(2, 1, we_close=False),
        Closed("artim"),
        code="unknown-pdu",
    )
    yield case(
        "G03",
        "goes on after its release",
        *begin,
        pdu(RELEASE_RQ, bytes(4)) + as_commands(1, echo_rq()),
        Aborted(2, 2),
        code="unexpected-pdu",
    )
    yield case("G07", "sleeps", *begin, Wait(0.2), Aborted(0, 0, "idle"), code="timeout-idle")
    yield case(
        "G11",
        "never closes after its release",
        *begin,
        pdu(RELEASE_RQ, bytes(4)),
        Released(we_close=False),
        Closed("artim"),
    )
