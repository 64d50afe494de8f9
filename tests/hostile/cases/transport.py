"""A: before A-ASSOCIATE-RQ."""

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
    Crowd,
    Drip,
    HangUp,
    Released,
    case,
)
from tests.support.wire import (
    C_ECHO_RQ,
    RELEASE_RP,
    RELEASE_RQ,
    abort,
    as_commands,
    associate_rq,
    echo_rq,
    pdu,
)

NOT_DICOM = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(190),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "MLLP": b"\x0bMSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\r\x1c\r",
}
PROXY = b"PROXY TCP4 10.0.0.1 10.0.0.2 1 104\r\n"
PROXY_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)


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
            for kind in (0, *range(8, 256))
            for length, trailing in (
                [(length, trailing) for length in (0, 4, 0xFFFFFFFF) for trailing in (0, 1, 5)]
                if kind in (0x00, 0x08, 0x0A, 0xFF)
                else [(4, 3)]
            )
        ],
        code="unknown-pdu|tls-alert",
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
        scripts=[(rq[:at], HangUp.RST) for at in range(1, len(rq))],
        noise=True,
    )
    yield case(
        "A11",
        "connects and goes, 55 times",
        scripts=[(HangUp.RST,)] * 50 + [(HangUp.FIN, Closed())] * 5,
        noise=True,
    )
    yield case(
        "A11-many",
        "connects and goes, 10,000 times",
        scripts=[(HangUp.RST,)] * 10_000,
        noise=True,
        needs={"enormous"},
        memory=24 << 20,
        slow=True,
    )
    yield case("A12", "comes when 12 others say nothing", Crowd(12), rq, Accepted(), Alive())
    yield case(
        "A12-flood",
        "comes when 40 others say nothing",
        Crowd(40),
        rq,
        Accepted(),
        Alive(),
        noise=True,
    )
    yield case(
        "A12-established",
        "has an association when 40 others come and say nothing",
        rq,
        Accepted(),
        Crowd(40, behind=True),
        Alive(),
        noise=True,
    )
    yield case(
        "A13-PROXY",
        "puts a proxy's line before its request",
        PROXY + rq,
        Aborted(0, 0),
        code="unknown-pdu",
        hint="PROXY",
    )
    yield case(
        "A13",
        "puts a proxy's header or an empty line before its request",
        scripts=[(prefix + rq, Aborted(0, 0)) for prefix in (PROXY_2, b"\r\n", bytes(1))],
        code="unknown-pdu",
    )
