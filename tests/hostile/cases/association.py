"""B: what A-ASSOCIATE-RQ says."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.support.script import (
    Aborted,
    Accepted,
    Alive,
    Beside,
    Case,
    Largest,
    Rejected,
    Released,
    case,
)
from tests.support.wire import (
    APPLICATION_CONTEXT,
    IMPLICIT,
    RELEASE_RQ,
    SECONDARY_CAPTURE,
    VERIFICATION,
    associate_rq,
    context,
    item,
    pdu,
    user_information,
)


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
        "B16-two",
        "has two maximum lengths",
        rq(app, context(1), user_information(item(0x51, struct.pack(">I", 16384)))),
        no_reason,
        code="maximum-length-twice",
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
            (
                rq(app, context(1), user_information(item(0x53, window * 2))),
                Accepted(window=64),
                Alive(),
            )
            for window in (b"\0\0", b"\xff\xff")
        ],
    )
    role = struct.pack(">H", len(VERIFICATION)) + VERIFICATION
    yield case(
        "B19",
        "asks for roles: neither, and 5,900 times one of an unknown class",
        scripts=[
            (
                rq(app, context(1), good, user_information(item(0x54, role + b"\0\0"))),
                Accepted(((1, 1), (3, 1))),
                pdu(RELEASE_RQ, bytes(4)),
                Released(),
            ),
            (
                rq(app, context(1), user_information(item(0x54, b"\0\x031.2\1\1") * 5_900)),
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
    yield from identities(called)
    syntaxes = item(0x30, VERIFICATION, reserved=0xFF) + item(0x40, IMPLICIT, reserved=0xFF)
    ones = associate_rq(
        called,
        item(0x10, APPLICATION_CONTEXT, reserved=0xFF),
        item(0x20, b"\1\xff\xff\xff" + syntaxes, reserved=0xFF),
        item(0x50, item(0x51, struct.pack(">I", 16384), reserved=0xFF), reserved=0xFF),
        reserved=b"\xff" * 32,
    )
    yield case(
        "B24",
        "has ones in all that is reserved",
        ones[:1] + b"\xff" + ones[2:8] + b"\xff\xff" + ones[10:],
        Accepted(),
        Alive(),
    )
    yield from decisions(called)


def identities(called: bytes) -> Iterator[Case]:
    """B21, B22: user identities, where nobody asks for them and where none is good enough."""

    def rq(kind: int, primary: bytes, secondary: bytes = b"", *, respond: bool = False) -> bytes:
        lengths = [struct.pack(">H", len(part)) for part in (primary, secondary)]
        head = bytes([kind, respond])
        identity = item(0x58, head + lengths[0] + primary + lengths[1] + secondary)
        application = item(0x10, APPLICATION_CONTEXT)
        return associate_rq(called, application, context(1), user_information(identity))

    ordinary = [
        rq(1, b"\xff\xfe\0\n"),
        rq(1, b""),
        rq(2, b"me"),
        rq(2, b"me", b"\xffsecret", respond=True),
        rq(4, b"<" * 60_000, respond=True),
        rq(5, b"." * 60_000, respond=True),
    ]
    yield case(
        "B21",
        "has an odd identity that nobody asks for",
        scripts=[(one, Accepted(absent=0x59), Alive()) for one in ordinary],
    )
    yield case(
        "B21-type",
        "has an identity of a type nobody knows",
        scripts=[(rq(kind, b"me"), Accepted(absent=0x59), Alive()) for kind in (0, 6, 255)],
    )
    yield case(
        "B21-verified",
        "has an identity that is not good enough",
        scripts=[(one, Rejected(1, 2, 1)) for one in ordinary],
        code="user-identity|passcode-in-clear",
        needs={"accept"},
    )
    yield case(
        "B22",
        "wants an answer to an identity that nobody verifies",
        rq(1, b"me", respond=True),
        Accepted(absent=0x59),
        Alive(),
    )


def decisions(called: bytes) -> Iterator[Case]:
    """B23, B25, B26: while the node, or its user, makes up its mind."""
    rq = associate_rq(called)
    yield case(
        "B23",
        "is one association too many",
        rq,
        Accepted(),
        Beside((rq, Rejected(2, 3, 2))),
        Alive(),
        code="too-many-associations",
        needs={"full"},
    )
    yield case("B25", "asks twice at once", rq * 2, Aborted(2, 2), code="unexpected-pdu")
    hangs = associate_rq(called, calling=b"HANGS")
    yield case(
        "B25-undecided",
        "asks again before it is decided",
        hangs + rq,
        Aborted(2, 2),
        code="unexpected-pdu",
        needs={"accept"},
    )
    yield case(
        "B26-raises",
        "is what the user's function does not survive",
        associate_rq(called, calling=b"RAISES"),
        Rejected(1, 1, 1),
        code="not-let-in+not-let-in",
        needs={"accept"},
    )
    yield case(
        "B26-hangs",
        "is what the user's function never decides on",
        hangs,
        Rejected(2, 3, 1),
        code="undecided",
        needs={"accept"},
    )
