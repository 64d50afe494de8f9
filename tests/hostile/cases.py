"""What bad peers do to an acceptor, and what it must do then: one table.

A is what comes before an A-ASSOCIATE-RQ, B its contents, C fragments and their order, D command
sets, E instances, G endings. An id stands for the same input wherever it is used.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.hostile.runner import (
    Aborted,
    Accepted,
    Alive,
    Answered,
    Case,
    Closed,
    Drip,
    Flood,
    HangUp,
    Largest,
    Rejected,
    Released,
    Step,
    Wait,
    case,
)
from tests.hostile.wire import (
    APPLICATION_CONTEXT,
    C_ECHO_RQ,
    C_FIND_RQ,
    COMMAND,
    DATA,
    EXPLICIT,
    IMPLICIT,
    LAST,
    RELEASE_RP,
    RELEASE_RQ,
    SECONDARY_CAPTURE,
    VERIFICATION,
    abort,
    as_commands,
    as_data,
    associate_rq,
    command,
    context,
    data_element,
    data_set,
    echo_rq,
    find_rq,
    item,
    pdu,
    pdv,
    response,
    store_rq,
    ui,
    us,
    user_information,
)

NOT_DICOM = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(190),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "MLLP": b"\x0bMSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\r\x1c\r",
    "PROXY": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 104\r\n",
}

BAD_UIDS = {
    "parent": b"../x",
    "absolute": b"/etc/passwd",
    "two dots": b"..",
    "dot": b".",
    "empty": b"",
    "65 long": b"1." + b"2" * 63,
    "NUL inside": b"1.2\0.3",
    "device name": b"con",
    "colon": b"a:b",
    "255 long": b"1." + b"3" * 253,
    "empty component": b"1..2",
    "not ASCII": b"1.2.\xff",
}


def cases(called: bytes) -> Iterator[Case]:
    """The table, for a node of this AE title that stores Secondary Capture in any syntax."""
    yield from before_request(called)
    yield from request(called)
    yield from fragments(called)
    yield from commands(called)
    yield from instances(called)
    yield from endings(called)


def before_request(called: bytes) -> Iterator[Case]:
    """A: transport, before A-ASSOCIATE-RQ (Sta2)."""
    rq = associate_rq(called)
    yield case("A01", "says nothing", Closed("artim"), code="timeout-artim")
    yield case(
        "A02", "drips its request", Drip(rq, every=0.1), Closed("artim"), code="timeout-artim"
    )
    yield case(
        "A03",
        "claims 4 GiB",
        bytes.fromhex("0100ffffffff"),
        Aborted(0, 0),
        code="pdu-too-long",
    )
    yield case(
        "A04-long",
        "claims more than a request may have",
        struct.pack(">BBI", 1, 0, (1 << 20) + 1),
        Aborted(0, 0),
        code="pdu-too-long",
    )
    yield case(
        "A04-short",
        "claims less than a request must have",
        scripts=[(struct.pack(">BBI", 1, 0, length), Aborted(0, 0)) for length in (0, 1, 67)],
        code="pdu-too-short",
    )
    yield case(
        "A05",
        "begins with another PDU",
        scripts=[
            (pdu(2, rq[6:]), Aborted(0, 0)),
            (pdu(3, bytes([0, 1, 1, 1])), Aborted(0, 0)),
            (as_commands(1, echo_rq()), Aborted(0, 0)),
            (pdu(RELEASE_RQ, bytes(4)), Aborted(0, 0)),
            (pdu(RELEASE_RP, bytes(4)), Aborted(0, 0)),
        ],
        code="unexpected-pdu",
    )
    yield case("A05-abort", "begins with A-ABORT", abort(0, 0), Closed(), code="connection-lost")
    yield case(
        "A06",
        "begins with an unknown PDU",
        scripts=[
            (struct.pack(">BBI", kind, 0, length) + bytes(trailing), Aborted(0, 0))
            for kind in (0x00, 0x08, 0x0A, 0x7F, 0xFF)
            for length in (0, 4, 0xFFFFFFFF)
            for trailing in (0, 1, 5)
        ],
        code="unknown-pdu",
    )
    for name, hello in NOT_DICOM.items():
        yield case(
            f"A07-{name}",
            "speaks something else",
            hello,
            Aborted(0, 0),
            code="unknown-pdu",
            hint=name,
        )
    echo = as_commands(1, echo_rq())
    yield case(
        "A08-request",
        "cuts its request in two, at every byte",
        scripts=[(rq[:at], rq[at:], Accepted(), Alive()) for at in range(1, len(rq))],
    )
    yield case(
        "A08-bytes", "sends single bytes", Drip(rq, every=0.0), Accepted(), Alive(), noise=False
    )
    yield case(
        "A08-echo",
        "cuts its message in two, at every byte",
        rq,
        Accepted(),
        *(
            step
            for at in range(1, len(echo))
            for step in (echo[:at], echo[at:], Answered(0, field=C_ECHO_RQ))
        ),
        Alive(),
    )
    yield case(
        "A08-together",
        "sends a message and its release in one segment",
        rq,
        Accepted(),
        echo + pdu(RELEASE_RQ, bytes(4)),
        Answered(0, field=C_ECHO_RQ),
        Released(),
    )
    yield case(
        "A09",
        "half-closes after its request",
        rq,
        HangUp.FIN,
        Accepted(),
        Closed(),
        code="connection-lost",
    )
    yield case(
        "A10",
        "resets at every byte of its request",
        scripts=[(rq[:at], HangUp.RST) for at in range(1, len(rq), 3)],
        noise=True,
    )
    yield case("A11", "connects and goes", scripts=[(HangUp.RST,)] * 25 + [(HangUp.FIN, Closed())])


def request(called: bytes) -> Iterator[Case]:
    """B: contents of A-ASSOCIATE-RQ."""
    app = item(0x10, APPLICATION_CONTEXT)
    user = user_information()
    good = context(3)

    def rq(*items: bytes, **more: bytes) -> bytes:
        return associate_rq(called, *items, calling=more.get("calling", b"BADPEER"))

    def contexts(id_: str, what: str, *proposed: bytes, results: dict[int, int]) -> Case:
        last = max(id_ for id_, result in results.items() if result == 0)
        accepted = Accepted(tuple(results.items()))
        return case(id_, what, rq(app, *proposed, user), accepted, Alive(last))

    no_reason = Rejected(1, 2, 1)
    yield case(
        "B01-none",
        "speaks no version 1",
        scripts=[(associate_rq(called, version=v), Rejected(1, 2, 2)) for v in (0, 2, 0xFFFE)],
        code="protocol-version",
    )
    yield case(
        "B01-all", "speaks every version", associate_rq(called, version=0xFFFF), Accepted(), Alive()
    )
    yield case(
        "B02-missing",
        "names no application context",
        rq(context(1), user),
        Rejected(1, 1, 2),
        code="application-context",
    )
    yield case(
        "B02-unknown",
        "names another application context",
        rq(item(0x10, b"1.2.3"), context(1), user),
        Rejected(1, 1, 2),
        code="application-context",
    )
    yield case(
        "B02-twice",
        "names two application contexts",
        rq(app, app, context(1), user),
        no_reason,
        code="application-context-twice",
    )
    wrong = [b"NOBODY", b" " * 16, bytes(16), called.lower()]
    hostile = [
        b"A\0B",
        b"A\nB\x1b[31m",
        b"A\\B",
        b"../../x",
        b"/etc/passwd",
        b"\x80\xff\xfe",
        b"%s%n",
    ]
    for id_, titles in (("B03-called", wrong), ("B04-called", hostile)):
        yield case(
            id_,
            "calls for somebody else",
            scripts=[(associate_rq(called_), Rejected(1, 1, 7)) for called_ in titles],
            code="called-ae-title",
        )
    yield case(
        "B03-nobody",
        "has no AE title",
        associate_rq(called, calling=b" " * 16),
        Rejected(1, 1, 3),
        code="calling-ae-title",
    )
    yield case(
        "B03-calling",
        "has an AE title that is not let in",
        scripts=[(rq(calling=one), Rejected(1, 1, 3)) for one in (b"STRANGER", *hostile)],
        code="calling-ae-title",
        needs={"calling"},
    )
    yield case(
        "B04-calling",
        "has a hostile AE title",
        scripts=[(rq(calling=one), Accepted(), Alive()) for one in hostile],
    )
    yield case("B05", "proposes nothing", rq(app, user), no_reason, code="no-context")
    all_ids = [context(id_) for id_ in range(1, 256, 2)]
    yield case(
        "B06",
        "proposes 129 contexts",
        rq(app, *all_ids, context(1), user),
        no_reason,
        code="context-id-twice",
    )
    yield case(
        "B07",
        "proposes two classes in one context id",
        rq(app, context(1), context(1, SECONDARY_CAPTURE), user),
        no_reason,
        code="context-id-twice",
    )
    yield case(
        "B08",
        "proposes an even context id",
        scripts=[(rq(app, context(id_), user), no_reason) for id_ in (0, 2, 254)],
        code="context-id-even",
    )
    yield contexts(
        "B09-empty",
        "packs 16,000 empty transfer syntaxes",
        context(1, transfer=[b""] * 15_900),
        good,
        results={1: 4, 3: 0},
    )
    yield contexts(
        "B09-64",
        "puts a good transfer syntax behind 63 bad ones, and behind 64",
        context(1, transfer=[b"x"] * 63 + [IMPLICIT]),
        context(3, transfer=[b"x"] * 64 + [IMPLICIT]),
        results={1: 0, 3: 4},
    )
    yield case(
        "B09-claims",
        "has sub-items that claim 64 KiB each",
        rq(app, item(0x20, bytes([1, 0, 0, 0]) + bytes.fromhex("4000ffff") * 16_000), user),
        Aborted(0, 0),
        code="truncated",
    )
    yield contexts(
        "B10",
        "proposes no class, two classes, no transfer syntax",
        context(1, []),
        context(5, [VERIFICATION, SECONDARY_CAPTURE]),
        context(7, transfer=[]),
        good,
        results={1: 2, 5: 2, 7: 4, 3: 0},
    )
    yield contexts(
        "B11",
        "proposes what is no UID",
        *(
            context(5 + 2 * index, uid)
            for index, uid in enumerate(
                [b"", VERIFICATION + b"." + b"1" * 50, b"1" * 65_000, b"VERIFICATION", b"1.2\0.840"]
            )
        ),
        context(1, VERIFICATION + b"\0", [IMPLICIT + b"\0"]),
        context(3, VERIFICATION + b" ", [IMPLICIT + b" "]),
        results={5: 3, 7: 3, 9: 3, 11: 3, 13: 3, 1: 0, 3: 0},
    )
    overrun = item(0x10, APPLICATION_CONTEXT, length=len(APPLICATION_CONTEXT) + 1)
    yield case(
        "B12",
        "has an item that ends outside the PDU, or bytes that are no item",
        scripts=[
            (rq(app, context(1), user, item(0x10, b"1.2", length=4)), Aborted(0, 0)),
            (rq(app, context(1), user, item(0x10, b"1.2", length=0xFFFF)), Aborted(0, 0)),
            (rq(overrun), Aborted(0, 0)),
            *((rq(app, context(1), user, bytes(stray)), Aborted(0, 0)) for stray in (1, 2, 3)),
        ],
        code="truncated",
    )
    yield case(
        "B13",
        "has a sub-item that ends outside its item",
        scripts=[
            (
                rq(app, item(0x20, bytes([1, 0, 0, 0]) + item(0x30, b"1.2", length=40)), user),
                Aborted(0, 0),
            ),
            (rq(app, context(1), item(0x50, item(0x51, bytes(4), length=5))), Aborted(0, 0)),
            (
                rq(app, context(1), item(0x50, item(0x52, b"1.2", length=0xFFFF)), user),
                Aborted(0, 0),
            ),
        ],
        code="truncated",
    )
    unknown = item(0x7A, b"whatever")
    yield case(
        "B14",
        "has items nobody knows, everywhere",
        rq(
            unknown,
            app,
            unknown,
            item(
                0x20,
                bytes([1, 0, 0, 0]) + unknown + item(0x30, VERIFICATION) + item(0x40, IMPLICIT),
            ),
            user_information(item(0x5F, b"?"), item(0xFF, b"")),
            unknown,
        ),
        Accepted(),
        Alive(),
    )
    yield case(
        "B15-order",
        "has its items in another order",
        rq(user, context(1), app),
        Accepted(),
        Alive(),
    )
    yield case(
        "B15-none",
        "has no user information",
        rq(app, context(1)),
        Accepted(),
        Alive(),
        code="negotiation",
    )
    yield case(
        "B15-two",
        "has two user information items",
        rq(app, context(1), user, user),
        no_reason,
        code="user-information-twice",
    )

    def takes(length: int | None) -> bytes:
        return rq(app, context(1), user_information(max_length=length))

    yield case(
        "B16-none",
        "takes nobody knows how much",
        takes(None),
        Accepted(),
        Largest(16384),
        Alive(),
        code="negotiation",
    )
    yield case(
        "B16-tiny",
        "takes less than a fragment",
        scripts=[(takes(length), no_reason) for length in range(1, 8)],
        code="maximum-length-too-small",
    )
    yield case(
        "B16-any",
        "takes little, or any length",
        scripts=[
            (takes(length), Accepted(), Largest(length or 131_072), Alive())
            for length in (8, 9, 13, 127, 0xFFFFFFFF, 0)
        ],
    )
    yield case(
        "B17",
        "has a maximum length of 3 or 5 bytes",
        scripts=[
            (rq(app, context(1), item(0x50, item(0x51, bytes(n)))), Aborted(0, 0)) for n in (3, 5)
        ],
        code="truncated|stray-bytes",
    )
    yield case(
        "B18",
        "offers a window without limit, or an enormous one",
        scripts=[
            (rq(app, context(1), user_information(item(0x53, window * 2))), Accepted(), Alive())
            for window in (b"\0\0", b"\xff\xff")
        ],
    )
    role = struct.pack(">H", len(VERIFICATION)) + VERIFICATION
    yield case(
        "B19",
        "asks for roles: neither, and 2,000 times one of an unknown class",
        scripts=[
            (
                rq(app, context(1), good, user_information(item(0x54, role + b"\0\0"))),
                Accepted(((1, 1), (3, 1))),
                pdu(RELEASE_RQ, bytes(4)),
                Released(),
            ),
            (
                rq(app, context(1), user_information(item(0x54, b"\0\x031.2\1\1") * 2_000)),
                Accepted(),
                Alive(),
            ),
        ],
    )
    yield case(
        "B20",
        "has negotiation items whose parts end outside them",
        scripts=[
            (rq(app, context(1), user_information(item(kind, body))), Aborted(0, 0))
            for kind, body in [
                (0x54, b"\xff\xff1.2\1\0"),
                (0x56, b"\0\x401.2"),
                (0x57, b"\0\x031.2\0\xff1.2\0\0"),
                (0x57, b"\0\x031.2\0\x031.2\0\x04\0\xff1."),
                (0x58, b"\1\0\0\xff" + b"me"),
            ]
        ],
        code="truncated",
    )
    yield case(
        "B24",
        "has ones in all that is reserved",
        associate_rq(called, reserved=b"\xff" * 32),
        Accepted(),
        Alive(),
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
        stores=[b"1.7.1"],
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
        stores=[b"1.8.1"],
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
        stores=[b"1.17.1"],
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
    whole = data_set(b"1.18.1", data_element(0x7FE0, 0x0010, b"OB", bytes(400_000)))
    yield case(
        "C18-many",
        "cuts one message into 200,000 PDUs",
        *begin,
        as_commands(3, store_rq(b"1.18.1")) + as_data(3, whole, step=2),
        Answered(0, context=3),
        Alive(),
        stores=[b"1.18.1"],
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
        Flood(more, 3 << 20),
        Answered(0x0122, field=C_FIND_RQ),
        Flood(more, 3 << 20),
        Aborted(0, 0),
        code="endless-data-set",
    )
    yield case(
        "C20-echo",
        "never ends the data set of a C-ECHO",
        *begin,
        as_commands(1, echo_rq(data=1)),
        Flood(more, 3 << 20),
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
    rest = [ui(0x0002, VERIFICATION), us(0x0100, C_ECHO_RQ), us(0x0110, 1), us(0x0800, 0x0101)]
    yield bad(
        "D01",
        "sends what is no command set",
        echo[:-1],
        echo + b"\0\0",
        b"\xff" * 40,
        data_set(b"1.2"),
        code="truncated|command-group",
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
        "answers what nobody asked",
        response(C_ECHO_RQ, 1, 0),
        response(0x0001, 7, 0),
        code="unexpected-response",
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
        "D15",
        "sends a C-ECHO with a data set",
        *begin,
        as_commands(1, echo_rq(data=0x0102)) + as_data(1, b"surplus!"),
        Answered(0, field=C_ECHO_RQ),
        Alive(),
    )


def instances(called: bytes) -> Iterator[Case]:
    """E: instances."""
    begin = established(called)

    def store(announced: bytes, bytes_: bytes, **more: bytes) -> bytes:
        return as_commands(3, store_rq(announced, **more)) + as_data(3, bytes_)

    def refused(
        id_: str, what: str, status: int, *tries: bytes, needs: tuple[str, ...] = ()
    ) -> Case:
        scripts = [(*begin, one, Answered(status, context=3), Alive()) for one in tries]
        return case(id_, what, scripts=scripts, code="refused", needs=needs)

    for name, uid in BAD_UIDS.items():
        yield refused(f"E01-{name}", "names no UID", 0x0117, store(uid, data_set(uid)))
        yield refused(
            f"E02-{name}", "hides it in the data set", 0xA900, store(b"1.2.1", data_set(uid))
        )
    yield refused(
        "E02-differ", "means another instance", 0xA900, store(b"1.2.2", data_set(b"1.2.3"))
    )
    yield refused(
        "E03",
        "has a hostile Study or Series Instance UID",
        0xC000,
        *(store(b"1.3.1", data_set(b"1.3.1", study=uid)) for uid in (b"..", b"../x", b"/x", b"")),
        *(store(b"1.3.1", data_set(b"1.3.1", series=uid)) for uid in (b"..", b"../x", b"/x", b"")),
        needs=("study",),
    )
    yield refused(
        "E05",
        "has another class inside",
        0xA900,
        store(b"1.5.1", data_set(b"1.5.1", sop_class=b"1.2.3")),
    )
    without = data_set(b"1.6.1").replace(data_element(8, 0x18, b"UI", b"1.6.1"), b"")
    yield refused("E06", "has no SOP Instance UID inside", 0xC000, store(b"1.6.1", without))
    meta = data_element(0x0002, 0x0010, b"UI", EXPLICIT)
    yield refused(
        "E07",
        "is a file, or begins like one",
        0xC000,
        store(b"1.7.7", bytes(128) + b"DICM" + meta + data_set(b"1.7.7")),
        store(b"1.7.7", meta + data_set(b"1.7.7")),
    )
    names = [b"../../x", b"a\nb\x1b[2J", b"x" * 60_000, b"\xff\xfe\x80", b"$(reboot)`;|"]
    yield case(
        "E08",
        "has a hostile patient",
        scripts=[
            (
                *begin,
                store(
                    b"1.8.%d" % (100 + index),
                    data_set(b"1.8.%d" % (100 + index), data_element(0x0040, 0xA123, b"PN", name)),
                ),
                Answered(0, context=3),
                Alive(),
            )
            for index, name in enumerate(names)
        ],
        stores=[b"1.8.%d" % (100 + index) for index in range(len(names))],
    )
    yield refused(
        "E09",
        "has an element longer than its data set",
        0xC000,
        *(
            store(
                b"1.9.1",
                data_set(b"1.9.1", data_element(0x7FE0, 0x10, b"OW", b"12", length=length)),
            )
            for length in (4, 0xFFFFFFF0, 0xFFFFFFFE)
        ),
    )
    yield refused(
        "E10",
        "has an undefined length where there is none",
        0xC000,
        *(
            store(
                b"1.10.1",
                data_set(b"1.10.1", data_element(0x0040, 0xA123, vr, b"", length=0xFFFFFFFF)),
            )
            for vr in (b"UT", b"OW")
        ),
    )
    nested = b"".join(
        data_element(0x0040, 0xA730, b"SQ", b"", length=0xFFFFFFFF)
        + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        for _ in range(2_000)
    )
    yield refused(
        "E11", "nests 2,000 sequences", 0xC000, store(b"1.11.1", data_set(b"1.11.1", nested))
    )
    yield refused("E17", "is empty", 0xC000, store(b"1.17.7", b""))


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
        "G05",
        "never closes after our abort",
        *begin,
        pdu(0x0A),
        Aborted(2, 1, we_close=False),
        Closed("artim"),
        code="unknown-pdu",
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
