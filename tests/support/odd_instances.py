"""Instances with what PACS find in archives and no standard has, and a C-STORE of any bytes."""

from __future__ import annotations

import socket
import struct

from dimse_rs import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from tests.support import wire

UID = "1.2.826.0.1.3680043.10.999.12"
IMPLICIT, EXPLICIT = False, True
PIXELS = bytes(range(16))


def element(group, number, vr, value, *, explicit=EXPLICIT, length=None):
    """Write one element."""
    value = value.encode() if isinstance(value, str) else value
    if len(value) % 2 and length is None:
        value += b"\0" if vr == "UI" else b" "
    length = len(value) if length is None else length
    head = struct.pack("<HH", group, number)
    if not explicit:
        return head + struct.pack("<I", length) + value
    if vr in {"OB", "OW", "SQ", "UN"}:
        return head + struct.pack("<2sHI", vr.encode(), 0, length) + value
    return head + struct.pack("<2sH", vr.encode(), length) + value


def item(value, *, defined=False):
    if defined:
        return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value
    return struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + value + END_OF_ITEM


END_OF_ITEM = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
END_OF_SEQUENCE = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def instance(middle=b"", behind=b"", *, explicit=EXPLICIT, uid=UID, pixels=PIXELS, length=None):
    """A data set with something in the middle and something behind."""

    def one(*facts, **how):
        return element(*facts, explicit=explicit, **how)

    return (
        one(8, 0x16, "UI", SecondaryCaptureImageStorage)
        + one(8, 0x18, "UI", uid)
        + one(0x10, 0x10, "PN", "Odd^Instance")
        + one(0x10, 0x20, "LO", "ODD1")
        + one(0x20, 0x0D, "UI", "1.2.3.10")
        + one(0x20, 0x0E, "UI", "1.2.3.11")
        + middle
        + one(0x7FE0, 0x10, "OW", pixels, length=length)
        + behind
    )


def undefined(vr, *items, explicit=EXPLICIT):
    body = b"".join(items) + END_OF_SEQUENCE
    return element(0x0021, 0x1001, vr, body, explicit=explicit, length=0xFFFFFFFF)


INNER = element(0x0021, 0x1002, "SH", "AB")
INNER_IMPLICIT = element(0x0021, 0x1002, "SH", "AB", explicit=IMPLICIT)
DELIMITED = element(0x0021, 0x1001, "SQ", item(INNER) + END_OF_SEQUENCE)
ITEM_DELIMITED = element(0x0021, 0x1001, "SQ", item(INNER + END_OF_ITEM, defined=True))

ODD = {
    "zeros behind": (instance(behind=bytes(374)), "trailing-zeros"),
    "two zeros behind": (instance(behind=bytes(2)), "trailing-zeros"),
    "zeros behind implicit": (
        instance(behind=bytes(20), explicit=IMPLICIT),
        "trailing-zeros",
    ),
    "sequence delimiter": (instance(DELIMITED), "sequence-delimiter"),
    "item delimiter": (instance(ITEM_DELIMITED), "item-delimiter"),
    "group 0002": (
        instance(element(2, 0x10, "UI", ExplicitVRLittleEndian)),
        "file-meta",
    ),
    "group 0002 in front": (
        element(2, 0x10, "UI", ExplicitVRLittleEndian) + instance(),
        "file-meta",
    ),
    "Patient ID again": (instance(element(0x10, 0x20, "LO", "ODD2")), "repeated-element"),
    "explicit in UN": (instance(undefined("UN", item(INNER))), "explicit-un"),
    "pixels of odd length, padded": (
        instance(pixels=PIXELS[:15], length=15, behind=b"\0"),
        "trailing-zeros",
    ),
}


def bring(server, data, syntax=ExplicitVRLittleEndian):
    """Store the bytes as they are, over a socket of our own; gives the status."""
    with (
        socket.create_connection(("127.0.0.1", server.port), 10) as peer,
        peer.makefile("rb") as pdus,
    ):

        def message():
            kind, length = struct.unpack(">BxI", pdus.read(6))
            return kind, pdus.read(length)

        proposed = wire.context(1, wire.SECONDARY_CAPTURE, [syntax.encode()])
        application = wire.item(0x10, wire.APPLICATION_CONTEXT)
        rq = wire.associate_rq(b"SCP", application, proposed, wire.user_information())
        peer.sendall(rq)
        assert message()[0] == 2
        rq = wire.store_rq(UID.encode(), sop_class=wire.SECONDARY_CAPTURE)
        peer.sendall(wire.as_commands(1, rq) + wire.as_data(1, data))
        kind, body = message()
        assert kind == 4
        status = wire.number_of(wire.read_command(body[6:]), 0x0900)
        peer.sendall(wire.pdu(5, bytes(4)))
        assert message()[0] == 6
    return status
