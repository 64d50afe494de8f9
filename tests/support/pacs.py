"""A PACS by hand that answers a C-GET, in order or as some do."""

from __future__ import annotations

import struct
from threading import Event

from tests.support import wire
from tests.support.scripted_scp import Connection

MODEL = b"1.2.840.10008.5.1.4.1.2.2.3"
ROLE = wire.item(
    0x54,
    struct.pack(">H", len(wire.SECONDARY_CAPTURE)) + wire.SECONDARY_CAPTURE + bytes([0, 1]),
)


class Pacs:
    """Answers one C-GET with instances on a context, and counts what it says it counts.

    Args:
        role: whether it gives us the SCP role.
        on: the context of its C-STOREs: 1 that of the C-GET, 3 that of the storage class.
        instances: how many it sends.
        status: its final status.
        counts: completed, failed, warning in its final response; None leaves them out.
    """

    def __init__(
        self,
        *,
        role: bool = True,
        on: int = 3,
        instances: int = 2,
        status: int = 0,
        counts: tuple[int, int, int] | None = (2, 0, 0),
    ) -> None:
        self._role = role
        self._on = on
        self._instances = instances
        self._status = status
        self._counts = counts
        self.answers: list[int] = []
        self.asked = Event()

    def __call__(self, peer: Connection) -> None:
        peer.expect(wire.RQ)
        accepted = ((1, 0, [wire.EXPLICIT]), (3, 0, [wire.EXPLICIT]))
        peer.send(wire.associate_ac(accepted, user=[ROLE] if self._role else []))
        kind, body = peer.pdu()
        if kind == wire.RELEASE_RQ:
            peer.send(wire.pdu(wire.RELEASE_RP, bytes(4)))
            return
        self.asked.set()
        message_id = self._request(peer, body)
        for number in range(self._instances):
            self._store(peer, number)
            if self._counts is not None:
                self._respond(peer, message_id, 0xFF00, (number + 1, 0, 0))
        self._respond(peer, message_id, self._status, self._counts)
        peer.release()

    @staticmethod
    def _request(peer: Connection, body: bytes) -> int:
        length = struct.unpack_from(">I", body)[0]
        elements = wire.read_command(body[6 : 4 + length])
        if len(body) == 4 + length:
            peer.expect(wire.DATA)
        message_id = wire.number_of(elements, 0x0110)
        assert message_id is not None
        return message_id

    def _store(self, peer: Connection, number: int) -> None:
        uid = b"1.2.3.%d" % number
        peer.send(wire.as_commands(self._on, wire.store_rq(uid, 100 + number)))
        peer.send(wire.as_data(self._on, wire.data_set(uid)))
        elements, _ = peer.message()
        status = wire.number_of(elements, 0x0900)
        assert status is not None
        self.answers.append(status)

    @staticmethod
    def _respond(
        peer: Connection, message_id: int, status: int, counts: tuple[int, int, int] | None
    ) -> None:
        counters = [] if counts is None else zip((0x1021, 0x1022, 0x1023), counts, strict=True)
        peer.send(
            wire.as_commands(
                1,
                wire.command(
                    wire.ui(0x0002, MODEL),
                    wire.us(0x0100, 0x8010),
                    wire.us(0x0120, message_id),
                    wire.us(0x0800, wire.NO_DATA),
                    wire.us(0x0900, status),
                    *(wire.us(number, count) for number, count in counters),
                ),
            )
        )
