"""P: data sets that Python decodes: identifiers, steps, requests, notices, for ready-made services.

The node has `QueryRetrieve` over an index of a few thousand instances, `Schedule`, `Mpps`,
`Commitment`, `CommitmentReports` and `InstanceAvailability`. What a data set inflates to, how many
elements it has and how deep it goes is the peer's choice; what that costs the node is not.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import cache

from tests.support.script import Accepted, Alive, Answered, Case, Step, case
from tests.support.wire import (
    APPLICATION_CONTEXT,
    C_FIND_RQ,
    COMMITMENT,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    N_ACTION_RQ,
    N_CREATE_RQ,
    N_SET_RQ,
    PERFORMED_STEP,
    STUDY_ROOT_FIND,
    as_commands,
    as_data,
    associate_rq,
    command,
    context,
    data_element,
    item,
    n_rq,
    ui,
    us,
    user_information,
)

NEEDS = {"ready"}
GET = b"1.2.840.10008.5.1.4.1.2.2.3"
MOVE = b"1.2.840.10008.5.1.4.1.2.2.2"
WORKLIST = b"1.2.840.10008.5.1.4.31"
NOTICE = b"1.2.840.10008.5.1.4.33"
COMMITMENT_INSTANCE = b"1.2.840.10008.1.20.1.1"
C_GET_RQ, C_MOVE_RQ = 0x0010, 0x0021

INFLATED = 256 << 20
"""Bytes that a bomb becomes."""
ITEMS = 30_000
"""Empty items or elements: within the bytes of an identifier, more than the node's elements."""

# Name -> presentation context, Command Field, SOP class, instance; the answer when it is too much.
_SERVICES = {
    "find": (3, C_FIND_RQ, STUDY_ROOT_FIND, b"", 0xA700),
    "get": (5, C_GET_RQ, GET, b"", 0xA700),
    "move": (7, C_MOVE_RQ, MOVE, b"", 0xA700),
    "worklist": (9, C_FIND_RQ, WORKLIST, b"", 0xA700),
    "create": (11, N_CREATE_RQ, PERFORMED_STEP, b"1.2.3.8", 0x0213),
    "set": (11, N_SET_RQ, PERFORMED_STEP, b"1.2.3.9", 0x0213),
    "commit": (13, N_ACTION_RQ, COMMITMENT, COMMITMENT_INSTANCE, 0x0213),
    "notice": (15, N_CREATE_RQ, NOTICE, b"1.2.3.10", 0x0213),
}
_CLASSES = (STUDY_ROOT_FIND, GET, MOVE, WORKLIST, PERFORMED_STEP, COMMITMENT, NOTICE)


def established(called: bytes, syntax: bytes) -> tuple[Step, Step]:
    """Verification in context 1, the services from 3 on in one transfer syntax."""
    contexts = [context(3 + 2 * at, uid, [syntax]) for at, uid in enumerate(_CLASSES)]
    request = associate_rq(
        called, item(0x10, APPLICATION_CONTEXT), context(1), *contexts, user_information()
    )
    return request, Accepted(((1, 0), *((3 + 2 * at, 0) for at in range(len(_CLASSES)))))


def asked(service: str, content: bytes) -> bytes:
    """A request of a service with its data set, whole messages."""
    id_, field, sop_class, instance, _ = _SERVICES[service]
    if field < 0x0100:
        destination = [item_of(0x0600, b"STORE ")] if field == C_MOVE_RQ else []
        request = command(
            ui(0x0002, sop_class),
            us(0x0100, field),
            us(0x0110, 1),
            *destination,
            us(0x0700, 0),
            us(0x0800, 1),
        )
    else:
        request = n_rq(field, sop_class, instance, type_=1)
    return as_commands(id_, request) + as_data(id_, content)


def item_of(number: int, value: bytes) -> bytes:
    """An element of the command set."""
    return struct.pack("<HHI", 0, number, len(value)) + value


def answered(service: str, status: int) -> Answered:
    """The response of a service, on its context."""
    id_, field, _, _, _ = _SERVICES[service]
    return Answered(status, field=field, context=id_, pending=field < 0x0100)


def sequence(group: int, number: int, content: bytes, *, syntax: bytes = EXPLICIT) -> bytes:
    """A sequence of defined length."""
    if syntax == IMPLICIT:
        return struct.pack("<HHI", group, number, len(content)) + content
    return data_element(group, number, b"SQ", content)


def nested(levels: int) -> bytes:
    """Sequences in sequences, so deep."""
    inner = b""
    for _ in range(levels):
        inner = sequence(0x0040, 0xA730, struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner)
    return inner


@cache
def bomb(head: bytes) -> bytes:
    """A few hundred kilobytes that inflate to `INFLATED`, in one value of text."""
    squeeze = zlib.compressobj(9, wbits=-15)
    last = struct.pack("<HH2sHI", 0x0010, 0x4000, b"UT", 0, INFLATED)
    out = squeeze.compress(head + last)
    for _ in range(INFLATED >> 20):
        out += squeeze.compress(b" " * (1 << 20))
    out += squeeze.flush()
    return out + bytes(len(out) % 2)


def decoded(called: bytes) -> Iterator[Case]:
    """P: what Python decodes."""
    explicit, deflated = established(called, EXPLICIT), established(called, DEFLATED)
    study = data_element(0x0008, 0x0052, b"CS", b"STUDY")

    def each(id_: str, what: str, begin: tuple[Step, Step], content: bytes, code: str) -> Case:
        """Every service refuses it for lack of resources, and serves the next request."""
        scripts = [
            (*begin, asked(name, content), answered(name, too_much), Alive())
            for name, (*_, too_much) in _SERVICES.items()
        ]
        return case(id_, what, scripts=scripts, code=code, needs=NEEDS, memory=24 << 20)

    items = sequence(0x0008, 0x1110, struct.pack("<HHI", 0xFFFE, 0xE000, 0) * ITEMS)
    yield each("P01", "sends data sets that inflate to 256 MiB", deflated, bomb(study), "limit")
    yield each("P02-items", "sends 30,000 empty items", explicit, study + items, "limit")
    elements = b"".join(
        data_element(0x0011 + 2 * (at // 200), 0x1000 + at % 200, b"LO", b"") for at in range(ITEMS)
    )
    yield each("P02-elements", "sends 30,000 empty elements", explicit, study + elements, "limit")
    yield each("P03-deep", "nests sequences 5,000 deep", explicit, nested(5_000) + study, "limit")
    yield from odd(called)


def odd(called: bytes) -> Iterator[Case]:
    """P: what is within the limits, and still a peer's choice."""
    explicit, implicit = established(called, EXPLICIT), established(called, IMPLICIT)
    study = data_element(0x0008, 0x0052, b"CS", b"STUDY")
    uids = b"\\".join(b"1.2.9.%d" % number for number in range(80_000))
    listed = plain(0x0008, 0x0052, b"STUDY ") + plain(0x0020, 0x000D, uids)
    yield case(
        "P04",
        "asks for 80,000 studies by their UIDs",
        *implicit,
        asked("find", listed),
        answered("find", 0),
        asked("get", listed),
        answered("get", 0),
        Alive(),
        needs=NEEDS,
        memory=64 << 20,
    )
    patterns = (
        b"*a" * 32,
        b"?*" * 32,
        b"*" * 64,
        b"*a" * 31 + b"b",
        b"[a-z]*(a+)+$",
        b"\\".join([b"*a"] * 60),
    )
    yield case(
        "P05",
        "asks with wild cards in wild cards",
        *explicit,
        *(
            step
            for pattern in patterns
            for step in (
                asked("find", study + data_element(0x0010, 0x0010, b"PN", pattern)),
                answered("find", 0),
            )
        ),
        Alive(),
        needs=NEEDS,
        memory=24 << 20,
    )
    sets = (
        b"ISO_IR 999",
        b"ISO_IR 6\\ISO 2022 IR 87",
        b"GB18030\\GB18030",
        b"utf-8",
        b"unicode_escape",
        b"\xff" * 40,
    )
    texts = [
        data_element(0x0008, 0x0005, b"CS", one) + data_element(0x0010, 0x0010, b"PN", text)
        for one in sets
        for text in (b"\xff\xfe\x1b$B\x1b(J", b"\x1b%/1", bytes(range(128, 160)))
    ]
    yield case(
        "P06",
        "says and uses character sets that there are not",
        scripts=[
            (*explicit, asked("find", one[:-1] + one[-1:] + study), answered("find", 0), Alive())
            for one in texts
        ],
        needs=NEEDS,
        noise=True,
    )
    whole = study + data_element(0x0010, 0x0020, b"LO", b"12345678")
    yield case(
        "P07",
        "sends data sets that are cut short",
        scripts=[
            (
                *explicit,
                asked(name, whole[:-3]),
                answered(name, 0xC000 if field < 0x0100 else 0x0110),
                Alive(),
            )
            for name, (_, field, *_) in _SERVICES.items()
        ],
        code="undecodable",
        needs=NEEDS,
    )


def plain(group: int, number: int, value: bytes) -> bytes:
    """An element in Implicit VR."""
    value += bytes(len(value) % 2)
    return struct.pack("<HHI", group, number, len(value)) + value
