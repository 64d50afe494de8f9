"""`Connection`: a scripted peer's end of one connection, byte by byte.

Written for scripts: what the other side does against the script is an AssertionError, which the
peer raises when it stops.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from . import wire

__all__ = ["Connection", "Heard"]

_PATIENCE: Final = 10.0
"""Seconds that a script waits for the other side."""

_MOST: Final = 64 << 20
"""Bytes of a PDU or of a message that are taken: a length of the other side may be wrong."""

_MESSAGE_ID, _FIELD, _DATA_SET = 0x0110, 0x0100, 0x0800


class Heard(NamedTuple):
    """A message that came.

    Attributes:
        context: the presentation context id.
        elements: the command elements by number, as bytes.
        data: the data set, encoded; empty when there is none.
    """

    context: int
    elements: dict[int, bytes]
    data: bytes

    @property
    def message_id(self) -> int:
        """(0000,0110)."""
        return wire.number_of(self.elements, _MESSAGE_ID) or 0

    @property
    def field(self) -> int:
        """(0000,0100), Command Field."""
        return wire.number_of(self.elements, _FIELD) or 0

    @property
    def sop_class(self) -> str:
        """Affected or Requested SOP Class UID; empty when there is none."""
        return self._uid(0x0002) or self._uid(0x0003)

    @property
    def instance_uid(self) -> str:
        """Affected or Requested SOP Instance UID; empty when there is none."""
        return self._uid(0x1000) or self._uid(0x1001)

    def _uid(self, number: int) -> str:
        return self.elements.get(number, b"").rstrip(b"\0 ").decode("ascii", "replace")


class Connection:
    """A peer's end of one connection, for a script to play."""

    def __init__(self, socket_: socket.socket) -> None:
        """Take over an accepted connection."""
        self._socket = socket_
        self._waiting: deque[tuple[int, int, bytes]] = deque()
        socket_.settimeout(_PATIENCE)
        socket_.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # ---- bytes and PDUs

    def send(self, *parts: bytes) -> None:
        """Send bytes: `dimse_rs.testing.wire` makes PDUs, right and wrong ones."""
        self._socket.sendall(b"".join(parts))

    def close(self, *, reset: bool = False) -> None:
        """Close the connection, or reset it."""
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def read(self, count: int) -> bytes:
        """Read so many bytes; fewer at the end of the stream."""
        if count > _MOST:
            raise AssertionError(f"the peer announces {count} bytes")
        found = bytearray()
        while len(found) < count:
            try:
                more = self._socket.recv(min(count - len(found), 1 << 16))
            except ConnectionResetError:
                more = b""
            if not more:
                break
            found += more
        return bytes(found)

    def pdu(self) -> tuple[int, bytes]:
        """Read the next PDU: its type and its content; type 0 at the end of the stream."""
        header = self.read(6)
        if len(header) < 6:
            return 0, header
        kind, _, length = struct.unpack(">BBI", header)
        return kind, self.read(length)

    def expect(self, kind: int, body: bytes | None = None) -> bytes:
        """Read the next PDU, which has this type, and this content if one is given."""
        found = self.pdu()
        if found[0] != kind:
            raise AssertionError(f"PDU {found[0]} instead of {kind}: {found[1][:40]!r}")
        if body is not None and found[1] != body:
            raise AssertionError(f"PDU {kind} has another content: {found[1]!r}")
        return found[1]

    def expect_abort(self, source: int, reason: int) -> None:
        """Read an A-ABORT, behind whatever P-DATA was on its way."""
        kind, body = self.pdu()
        while kind == wire.DATA:
            kind, body = self.pdu()
        if (kind, body) != (wire.ABORT, bytes([0, 0, source, reason])):
            raise AssertionError(f"no A-ABORT ({source}, {reason}): PDU {kind} {body[:40]!r}")

    def expect_end(self) -> None:
        """Read the end of the stream."""
        if (found := self.pdu()) != (0, b""):
            raise AssertionError(f"PDU {found[0]} instead of the end: {found[1][:40]!r}")

    # ---- associations and messages

    def accept(self, *answers: tuple[int, int, Iterable[bytes]], max_length: int = 16384) -> None:
        """Read the proposal and accept it.

        Args:
            answers: context id, result, transfer syntaxes each; default context 1, accepted in
                Implicit VR Little Endian.
            max_length: the longest P-DATA-TF that the peer may send.
        """
        self.expect(wire.RQ)
        contexts = answers or ((1, 0, [wire.IMPLICIT]),)
        self.send(wire.associate_ac(contexts, max_length=max_length))

    def receive(self) -> Heard | tuple[int, bytes]:
        """Read the next message, or the PDU that comes in its place; type 0 at the end."""
        command, data = bytearray(), bytearray()
        context, elements = 0, None
        while True:
            while not self._waiting:
                kind, body = self.pdu()
                if kind != wire.DATA:
                    return kind, body
                self._waiting.extend(wire.pdvs(body))
            context, control, fragment = self._waiting.popleft()
            (command if control & wire.COMMAND else data).extend(fragment)
            if len(command) + len(data) > _MOST:
                raise AssertionError("the peer sends a message without end")
            if not control & wire.LAST:
                continue
            if control & wire.COMMAND:
                elements = wire.read_command(bytes(command))
                if wire.number_of(elements, _DATA_SET) != wire.NO_DATA:
                    continue
            return Heard(context, elements or {}, bytes(data))

    def message(self) -> tuple[dict[int, bytes], bytes]:
        """Read the next message: command elements by number, and the data set."""
        found = self.receive()
        if not isinstance(found, Heard):
            raise AssertionError(f"PDU {found[0]} instead of a message: {found[1][:40]!r}")
        return found.elements, found.data

    def answer(self, elements: dict[int, bytes], status: int | None, *, context: int = 1) -> None:
        """Answer a request without a data set.

        Args:
            elements: the command elements of the request.
            status: (0000,0900); None leaves the element out.
            context: the presentation context id.
        """
        heard = Heard(context, elements, b"")
        command = wire.response(heard.field, heard.message_id, status)
        self.send(wire.as_commands(context, command))

    def release(self) -> None:
        """Take part in an ordinary release."""
        self.expect(wire.RELEASE_RQ)
        self.send(wire.pdu(wire.RELEASE_RP, bytes(4)))
        self.expect_end()
