"""Bytes of the Upper Layer and of DIMSE, built and read by hand (PS3.8 9.3, PS3.7 6.3).

Nothing here comes from the core: a mistake in its encoder must not hide one in its decoder. Every
length can be a lie. Nothing here checks what a peer sends: it is for tests.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

__all__ = [
    "ABORT",
    "AC",
    "APPLICATION_CONTEXT",
    "COMMAND",
    "COMMITMENT",
    "C_CANCEL_RQ",
    "C_ECHO_RQ",
    "C_FIND_RQ",
    "C_STORE_RQ",
    "DATA",
    "DEFLATED",
    "EXPLICIT",
    "IMPLICIT",
    "JPEG",
    "LAST",
    "NO_DATA",
    "N_ACTION_RQ",
    "N_CREATE_RQ",
    "N_GET_RQ",
    "N_SET_RQ",
    "PENDING",
    "PERFORMED_STEP",
    "PRINTER",
    "RELEASE_RP",
    "RELEASE_RQ",
    "RESPONSE",
    "RJ",
    "RQ",
    "SECONDARY_CAPTURE",
    "STUDY_ROOT_FIND",
    "VERIFICATION",
    "abort",
    "as_commands",
    "as_data",
    "associate_ac",
    "associate_rq",
    "cancel_rq",
    "command",
    "context",
    "data_element",
    "data_set",
    "echo_rq",
    "element",
    "find_rq",
    "item",
    "items",
    "n_rq",
    "number_of",
    "pdu",
    "pdv",
    "pdvs",
    "read_command",
    "response",
    "store_rq",
    "title",
    "ui",
    "us",
    "user_information",
]

APPLICATION_CONTEXT: Final = b"1.2.840.10008.3.1.1.1"
VERIFICATION: Final = b"1.2.840.10008.1.1"
SECONDARY_CAPTURE: Final = b"1.2.840.10008.5.1.4.1.1.7"
STUDY_ROOT_FIND: Final = b"1.2.840.10008.5.1.4.1.2.2.1"
PERFORMED_STEP: Final = b"1.2.840.10008.3.1.2.3.3"
COMMITMENT: Final = b"1.2.840.10008.1.20.1"
PRINTER: Final = b"1.2.840.10008.5.1.1.16"
IMPLICIT: Final = b"1.2.840.10008.1.2"
EXPLICIT: Final = b"1.2.840.10008.1.2.1"
DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
JPEG: Final = b"1.2.840.10008.1.2.4.50"

RQ, AC, RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)

# Message control header (PS3.8 E.2).
COMMAND, LAST = 1, 2

C_STORE_RQ, C_FIND_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0001, 0x0020, 0x0030, 0x0FFF
N_GET_RQ, N_SET_RQ, N_ACTION_RQ, N_CREATE_RQ = 0x0110, 0x0120, 0x0130, 0x0140
RESPONSE: Final = 0x8000
PENDING: Final = (0xFF00, 0xFF01)
NO_DATA: Final = 0x0101


def pdu(kind: int, body: bytes = b"", *, length: int | None = None) -> bytes:
    """A PDU; `length` is what it claims."""
    return struct.pack(">BBI", kind, 0, len(body) if length is None else length) + body


def item(kind: int, body: bytes, *, length: int | None = None, reserved: int = 0) -> bytes:
    """An item or sub-item of an A-ASSOCIATE PDU."""
    return struct.pack(">BBH", kind, reserved, len(body) if length is None else length) + body


def context(
    id_: int,
    abstract: bytes | Iterable[bytes] = VERIFICATION,
    transfer: Iterable[bytes] = (IMPLICIT,),
) -> bytes:
    """A proposed presentation context (20H)."""
    abstracts = [abstract] if isinstance(abstract, bytes) else abstract
    syntaxes = b"".join(item(0x30, uid) for uid in abstracts)
    syntaxes += b"".join(item(0x40, uid) for uid in transfer)
    return item(0x20, bytes([id_, 0, 0, 0]) + syntaxes)


def user_information(*more: bytes, max_length: int | None = 16384) -> bytes:
    """User information (50H) with a maximum length and an implementation class."""
    maximum = b"" if max_length is None else item(0x51, struct.pack(">I", max_length))
    return item(0x50, maximum + item(0x52, b"1.2.3.4") + b"".join(more))


def title(text: bytes) -> bytes:
    """An AE title on the wire: 16 bytes, padded with spaces."""
    return text.ljust(16)[:16]


def associate_rq(
    called: bytes,
    *items: bytes,
    calling: bytes = b"BADPEER",
    version: int = 1,
    reserved: bytes = bytes(32),
    kind: int = RQ,
    length: int | None = None,
) -> bytes:
    """An A-ASSOCIATE-RQ; without items it proposes Verification in context 1."""
    if not items:
        items = (item(0x10, APPLICATION_CONTEXT), context(1), user_information())
    body = struct.pack(">HH", version, 0) + title(called) + title(calling) + reserved
    return pdu(kind, body + b"".join(items), length=length)


def associate_ac(
    answers: Iterable[tuple[int, int, Iterable[bytes]]] = ((1, 0, (IMPLICIT,)),),
    *,
    called: bytes = b"ANY-SCP",
    calling: bytes = b"DIMSE_RS",
    max_length: int = 16384,
    application: bytes = APPLICATION_CONTEXT,
    user: Iterable[bytes] = (),
) -> bytes:
    """An A-ASSOCIATE-AC: (context id, result, transfer syntaxes) each; `user` are sub-items."""
    contexts = b"".join(
        item(0x21, bytes([id_, 0, result, 0]) + b"".join(item(0x40, uid) for uid in syntaxes))
        for id_, result, syntaxes in answers
    )
    items = item(0x10, application) + contexts + user_information(*user, max_length=max_length)
    body = struct.pack(">HH", 1, 0) + title(called) + title(calling) + bytes(32)
    return pdu(AC, body + items)


def abort(source: int, reason: int) -> bytes:
    """An A-ABORT."""
    return pdu(ABORT, bytes([0, 0, source, reason]))


def pdv(id_: int, control: int, fragment: bytes = b"", *, length: int | None = None) -> bytes:
    """A presentation data value."""
    claimed = len(fragment) + 2 if length is None else length
    return struct.pack(">IBB", claimed, id_, control) + fragment


def element(number: int, value: bytes) -> bytes:
    """A command element (0000,number): Implicit VR Little Endian always."""
    return struct.pack("<HHI", 0, number, len(value)) + value


def us(number: int, value: int) -> bytes:
    """A command element of VR US."""
    return element(number, struct.pack("<H", value))


def ui(number: int, uid: bytes) -> bytes:
    """A command element of VR UI, padded."""
    return element(number, uid + bytes(len(uid) % 2))


def command(*elements: bytes) -> bytes:
    """A command set with its group length."""
    rest = b"".join(elements)
    return element(0x0000, struct.pack("<I", len(rest))) + rest


def echo_rq(message_id: int = 1, *, data: int = NO_DATA) -> bytes:
    """The command set of a C-ECHO-RQ."""
    return command(
        ui(0x0002, VERIFICATION), us(0x0100, C_ECHO_RQ), us(0x0110, message_id), us(0x0800, data)
    )


def store_rq(
    uid: bytes, message_id: int = 1, *, sop_class: bytes = SECONDARY_CAPTURE, data: int = 1
) -> bytes:
    """The command set of a C-STORE-RQ."""
    return command(
        ui(0x0002, sop_class),
        us(0x0100, C_STORE_RQ),
        us(0x0110, message_id),
        us(0x0700, 0),
        us(0x0800, data),
        ui(0x1000, uid),
    )


def find_rq(message_id: int = 1, *, sop_class: bytes = STUDY_ROOT_FIND) -> bytes:
    """The command set of a C-FIND-RQ."""
    return command(
        ui(0x0002, sop_class),
        us(0x0100, C_FIND_RQ),
        us(0x0110, message_id),
        us(0x0700, 0),
        us(0x0800, 1),
    )


def cancel_rq(message_id: int) -> bytes:
    """The command set of a C-CANCEL-RQ."""
    return command(us(0x0100, C_CANCEL_RQ), us(0x0120, message_id), us(0x0800, NO_DATA))


def n_rq(
    field: int,
    sop_class: bytes,
    instance: bytes,
    message_id: int = 1,
    *,
    data: int = 1,
    type_: int = 0,
) -> bytes:
    """A request of an N-service on an instance; `type_` is the action's."""
    created = field == N_CREATE_RQ
    return command(
        *([ui(0x0002, sop_class)] if created else [ui(0x0003, sop_class)]),
        us(0x0100, field),
        us(0x0110, message_id),
        us(0x0800, data),
        *([ui(0x1000, instance)] if created else [ui(0x1001, instance)]),
        *([us(0x1008, type_)] if field == N_ACTION_RQ else []),
    )


def response(
    field: int, message_id: int, status: int | None, *, sop_class: bytes = VERIFICATION
) -> bytes:
    """A response; `status` None leaves it out."""
    statuses = b"" if status is None else us(0x0900, status)
    return command(
        ui(0x0002, sop_class),
        us(0x0100, field | RESPONSE),
        us(0x0120, message_id),
        us(0x0800, NO_DATA),
        statuses,
    )


def data_element(
    group: int, number: int, vr: bytes, value: bytes, *, length: int | None = None
) -> bytes:
    """An element of a data set, Explicit VR Little Endian, padded."""
    value += (b"\0" if vr in (b"UI", b"OB") else b" ") * (len(value) % 2)
    claimed = len(value) if length is None else length
    tag = struct.pack("<HH", group, number) + vr
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
        return tag + struct.pack("<HI", 0, claimed) + value
    return tag + struct.pack("<H", claimed) + value


def data_set(
    uid: bytes,
    *more: bytes,
    sop_class: bytes = SECONDARY_CAPTURE,
    study: bytes = b"1.2.3.10",
    series: bytes = b"1.2.3.11",
    patient: bytes = b"Nobody",
) -> bytes:
    """A data set, Explicit VR Little Endian, with what a stored instance must have."""
    parts = [
        data_element(0x0008, 0x0016, b"UI", sop_class),
        data_element(0x0008, 0x0018, b"UI", uid),
        data_element(0x0010, 0x0010, b"PN", patient),
        data_element(0x0010, 0x0020, b"LO", patient),
        data_element(0x0020, 0x000D, b"UI", study),
        data_element(0x0020, 0x000E, b"UI", series),
        *more,
    ]
    return b"".join(parts)


def as_commands(id_: int, bytes_: bytes) -> bytes:
    """A whole command set in one PDU."""
    return pdu(DATA, pdv(id_, COMMAND | LAST, bytes_))


def as_data(id_: int, bytes_: bytes, *, step: int = 16000, last: bool = True) -> bytes:
    """A data set, in PDUs of one fragment each."""
    cuts = range(0, len(bytes_), step) or [0]
    return b"".join(
        pdu(
            DATA,
            pdv(id_, LAST if last and at + step >= len(bytes_) else 0, bytes_[at : at + step]),
        )
        for at in cuts
    )


def items(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of the items of an A-ASSOCIATE PDU, or inside of one."""
    at = 0
    while at + 4 <= len(body):
        kind, _, length = struct.unpack_from(">BBH", body, at)
        yield kind, body[at + 4 : at + 4 + length]
        at += 4 + length


def pdvs(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield context, message control header and fragment of each PDV of a P-DATA-TF."""
    at = 0
    while at < len(body):
        length, context_, control = struct.unpack_from(">IBB", body, at)
        yield context_, control, body[at + 6 : at + 4 + length]
        at += 4 + length


def read_command(bytes_: bytes) -> dict[int, bytes]:
    """Element numbers and values of a command set."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(bytes_):
        group, number, length = struct.unpack_from("<HHI", bytes_, at)
        if group != 0:
            raise ValueError(f"group {group:04X} in a command set")
        found[number] = bytes_[at + 8 : at + 8 + length]
        at += 8 + length
    return found


def number_of(elements: dict[int, bytes], element_: int) -> int | None:
    """Give a command element of VR US as a number; None when it is missing."""
    value = elements.get(element_)
    return None if value is None or len(value) != 2 else int(struct.unpack("<H", value)[0])
