"""An SCP that does what a script says, byte by byte, and remembers what it heard."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.support import wire

PATIENCE = 10.0


class Connection:
    """The SCP's end of one connection."""

    def __init__(self, socket_: socket.socket) -> None:
        self._socket = socket_
        socket_.settimeout(PATIENCE)
        socket_.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, *parts: bytes) -> None:
        self._socket.sendall(b"".join(parts))

    def close(self, *, reset: bool = False) -> None:
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def read(self, count: int) -> bytes:
        """So many bytes; fewer at the end of the stream."""
        found = b""
        while len(found) < count:
            try:
                more = self._socket.recv(count - len(found))
            except ConnectionResetError:
                more = b""
            if not more:
                break
            found += more
        return found

    def pdu(self) -> tuple[int, bytes]:
        """The next PDU; type 0 at the end of the stream."""
        header = self.read(6)
        if len(header) < 6:
            return 0, header
        kind, _, length = struct.unpack(">BBI", header)
        return kind, self.read(length)

    def expect(self, kind: int, body: bytes | None = None) -> bytes:
        found = self.pdu()
        assert found[0] == kind, f"PDU {found[0]} instead of {kind}: {found[1][:40]!r}"
        assert body is None or found[1] == body, found[1]
        return found[1]

    def expect_abort(self, source: int, reason: int) -> None:
        """A-ABORT, behind whatever P-DATA was on its way."""
        kind, body = self.pdu()
        while kind == wire.DATA:
            kind, body = self.pdu()
        assert (kind, body) == (wire.ABORT, bytes([0, 0, source, reason])), (kind, body)

    def expect_end(self) -> None:
        assert self.pdu() == (0, b"")

    def accept(self, *answers: tuple[int, int, list[bytes]], max_length: int = 16384) -> None:
        """Take the proposal and answer it; by default Verification in Implicit VR is accepted."""
        self.expect(wire.RQ)
        contexts = answers or ((1, 0, [wire.IMPLICIT]),)
        self.send(wire.associate_ac(contexts, max_length=max_length))

    def message(self) -> tuple[dict[int, bytes], bytes]:
        """The next message: command elements and data set."""
        command, data, expected = b"", b"", True
        elements: dict[int, bytes] = {}
        while True:
            for _, control, value in wire.pdvs(self.expect(wire.DATA)):
                if control & wire.COMMAND:
                    command += value
                    if control & wire.LAST:
                        elements = wire.read_command(command)
                        expected = wire.number_of(elements, 0x0800) != wire.NO_DATA
                        if not expected:
                            return elements, data
                else:
                    data += value
                    if control & wire.LAST:
                        return elements, data

    def answer(self, elements: dict[int, bytes], status: int | None, *, context: int = 1) -> None:
        field = wire.number_of(elements, 0x0100)
        message_id = wire.number_of(elements, 0x0110)
        assert field is not None
        assert message_id is not None
        self.send(wire.as_commands(context, wire.response(field, message_id, status)))

    def release(self) -> None:
        """Take part in an ordinary release."""
        self.expect(wire.RELEASE_RQ)
        self.send(wire.pdu(wire.RELEASE_RP, bytes(4)))
        self.expect_end()


class ScriptedScp:
    """Plays a script for each connection, in order; what goes wrong in it is raised at the end.

    `receive_buffer` is what the kernel keeps of what a script has not read, 0 its own choice.
    """

    def __init__(self, *scripts: Callable[[Connection], None], receive_buffer: int = 0) -> None:
        self._scripts = scripts
        self._listener = socket.create_server(("127.0.0.1", 0))
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failure: BaseException | None = None
        self.port = self._listener.getsockname()[1]

    @property
    def address(self) -> str:
        return f"ANY-SCP@127.0.0.1:{self.port}"

    def _run(self) -> None:
        try:
            for script in self._scripts:
                self._listener.settimeout(PATIENCE)
                accepted, _ = self._listener.accept()
                with accepted:
                    script(Connection(accepted))
        except BaseException as failure:
            self._failure = failure

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.join(PATIENCE)
        self._listener.close()
        if self._failure is not None:
            raise self._failure
        assert not self._thread.is_alive(), "the script is not over"
