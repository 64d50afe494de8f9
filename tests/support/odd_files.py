"""Files whose values are of odd length, and a peer that aborts at some instances."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Self

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.support import wire
from tests.support.scripted_scp import Connection

EXPLICIT, IMPLICIT = str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)


def element(tag: tuple[int, int], value: bytes, vr: bytes = b"") -> bytes:
    """An element whose length is that of its value, odd or even."""
    start = struct.pack("<HH", *tag)
    if not vr:
        return start + struct.pack("<I", len(value)) + value
    if vr in (b"OB", b"SQ", b"UN"):
        return start + vr + struct.pack("<HI", 0, len(value)) + value
    return start + vr + struct.pack("<H", len(value)) + value


def instance(uid: bytes, *more: bytes, explicit: bool = True) -> bytes:
    """A data set, with these elements behind the UIDs."""
    head = [((8, 0x16), wire.SECONDARY_CAPTURE), ((8, 0x18), uid)]
    body = b"".join(
        element(tag, value + b"\0" * (len(value) % 2), b"UI" if explicit else b"")
        for tag, value in head
    )
    return body + b"".join(more)


def part10(data: bytes, syntax: bytes | None = EXPLICIT.encode()) -> bytes:
    """A file with preamble, and a group 0002 as long as a transfer syntax is given."""
    group = element((2, 2), wire.SECONDARY_CAPTURE + b"\0", b"UI")
    if syntax is not None:
        group += element((2, 0x10), syntax + b"\0" * (len(syntax) % 2), b"UI")
    return bytes(128) + b"DICM" + group + data


ODD = {
    "text": (element((0x10, 0x10), b"Nobod", b"PN"), element((0x10, 0x10), b"Nobod ", b"PN")),
    "pixels": (
        element((0x7FE0, 0x10), b"\1\2\3", b"OB"),
        element((0x7FE0, 0x10), b"\1\2\3\0", b"OB"),
    ),
    "in a sequence": (
        element(
            (8, 0x1140),
            element((0xFFFE, 0xE000), element((8, 0x1150), b"1.2", b"UI")),
            b"SQ",
        ),
        element(
            (8, 0x1140),
            element((0xFFFE, 0xE000), element((8, 0x1150), b"1.2\0", b"UI")),
            b"SQ",
        ),
    ),
    "in items of undefined length": (
        b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
        + element((8, 0x1150), b"1.2", b"UI")
        + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0",
        b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
        + element((8, 0x1150), b"1.2\0", b"UI")
        + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0",
    ),
}


class Aborting:
    """A peer that aborts at some instances, by their number; counts what happens."""

    def __init__(self, at_: set[int], *, never: bool = False) -> None:
        self.associations = 0
        self.stored: list[int] = []
        self._at = at_
        self._never = never
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"SCP@127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            with accepted:
                self.associations += 1
                self._serve(Connection(accepted))

    def _serve(self, peer: Connection) -> None:
        count = wire_contexts(peer.expect(wire.RQ))
        peer.send(wire.associate_ac([(2 * n + 1, 0, [wire.EXPLICIT]) for n in range(count)]))
        while True:
            kind, body = peer.pdu()
            if kind == wire.RELEASE_RQ:
                peer.send(wire.pdu(wire.RELEASE_RP, bytes(4)))
            if kind != wire.DATA:
                return
            length, context = struct.unpack_from(">IB", body)
            elements = wire.read_command(body[6 : 4 + length])
            last = len(body) > 4 + length and body[4 + length + 5] & wire.LAST
            while not last:
                _, body = peer.pdu()
                last = body[5] & wire.LAST
            number = int(elements[0x1000].rstrip(b"\0").rsplit(b".")[-1])
            if self._never or number in self._at:
                peer.send(wire.abort(0, 0))
                peer.pdu()
                return
            self.stored.append(number)
            peer.answer(elements, 0, context=context)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()


def wire_contexts(body: bytes) -> int:
    """Count the presentation contexts of an A-ASSOCIATE-RQ."""
    at, count = 68, 0
    while at < len(body):
        kind, _, length = struct.unpack_from(">BBH", body, at)
        count += kind == 0x20
        at += 4 + length
    return count
