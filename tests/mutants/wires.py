"""Both ends of the wire by hand: a requestor that sends any data set, an SCP that answers any."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from tests.mutants.seeds import TRANSACTION
from tests.mutants.values import Finding
from tests.support import wire
from tests.support.scripted_scp import Connection

PATIENCE = 10.0
"""Seconds within which everything is answered."""
COMMITMENT_INSTANCE = b"1.2.840.10008.1.20.1.1"


@dataclass
class Answer:
    """What a request came to.

    Attributes:
        status: of the final response; None for an abort.
        data: data sets that came with responses.
        instances: SOP Instance UID and data set of each C-STORE of the node's own.
    """

    status: int | None = None
    data: list[bytes] = field(default_factory=list)
    instances: list[tuple[str, bytes]] = field(default_factory=list)


class Peer:
    """A requestor with one association: abstract syntaxes in one transfer syntax each.

    Attributes:
        accepted: whether the first context was.
        is_open: whether the association lives.
    """

    def __init__(self, port: int, sop_classes: list[str], syntax: str, *, scp: bool) -> None:
        """Associate; `scp` for the role of an SCP, in all contexts but that of a C-GET."""
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = Connection(self._socket)
        uids = [uid.encode() for uid in sop_classes]
        roles = uids if scp else uids[1:]
        items = (
            wire.item(0x10, wire.APPLICATION_CONTEXT),
            *(wire.context(2 * at + 1, uid, (syntax.encode(),)) for at, uid in enumerate(uids)),
            wire.user_information(
                *(wire.item(0x54, struct.pack(">H", len(uid)) + uid + b"\0\1") for uid in roles)
            ),
        )
        self._socket.sendall(wire.associate_rq(b"SCP", *items))
        kind, body = self._connection.pdu()
        # The result of the first context (PS3.8 9.3.3.2): behind the fixed part and its own header.
        at = body.find(b"\x21\0") if kind == wire.AC else -1
        self.accepted = at >= 0 and body[at + 6] == 0
        self.is_open = kind == wire.AC

    def ask(self, command: bytes, content: bytes, code: int, number: int) -> Answer:
        """Send a request with a data set, and take everything up to the final response.

        Raises:
            Finding: neither that nor an abort came in time, or what came answers nothing.
        """
        answer = Answer()
        try:
            self._socket.sendall(wire.as_commands(1, command) + wire.as_data(1, content))
            for context, elements, data in self._messages():
                asked = wire.number_of(elements, 0x0100) or 0
                if not asked & wire.RESPONSE:
                    uid = elements.get(0x1000, b"").rstrip(b"\0").decode("ascii", "replace")
                    answer.instances.append((uid, data))
                    self._take(context, elements, asked)
                    continue
                if (asked, wire.number_of(elements, 0x0120)) != (code | wire.RESPONSE, number):
                    raise Finding(f"a response {asked:04X} to what is answered, or was not asked")
                if data:
                    answer.data.append(data)
                status = wire.number_of(elements, 0x0900)
                if status not in wire.PENDING:
                    answer.status = status
                    return answer
        except TimeoutError:
            raise Finding(f"no final response and no abort within {PATIENCE:g} s") from None
        except OSError:  # it was aborted while we sent
            pass
        self.is_open = False
        return answer

    def _messages(self) -> Iterator[tuple[int, dict[int, bytes], bytes]]:
        """Give context, command set and data set of each message, until the association ends."""
        command, data = b"", b""
        elements: dict[int, bytes] = {}
        while True:
            kind, body = self._connection.pdu()
            if kind != wire.DATA:
                return
            for context, control, value in wire.pdvs(body):
                if control & wire.COMMAND:
                    command += value
                else:
                    data += value
                if not control & wire.LAST:
                    continue
                if control & wire.COMMAND:
                    elements, command = wire.read_command(command), b""
                    if wire.number_of(elements, 0x0800) != wire.NO_DATA:
                        continue
                yield context, elements, data
                data = b""

    def _take(self, context: int, elements: dict[int, bytes], code: int) -> None:
        """Answer a request of the node's own, such as a report or a C-STORE, with Success."""
        number = wire.number_of(elements, 0x0110) or 0
        self._socket.sendall(wire.as_commands(context, wire.response(code, number, 0)))

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Self:
        """Use the association in a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self.close()


class Answering:
    """An SCP that answers requests of ours with a data set that it was given.

    C-GET: with a C-STORE of it. N-ACTION of storage commitment: with an N-EVENT-REPORT of it. All
    others: with a response that has it.

    Attributes:
        port: where it listens.
        content: the data set.
        instance: its SOP Instance UID.
        syntax: the transfer syntax that it accepts, of those proposed; the first of them if none.
    """

    def __init__(self) -> None:
        """Listen, on a thread of its own."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.content = b""
        self.syntax = ""
        self.instance = ""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[accepted], daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        connection = Connection(accepted)
        try:
            kind, body = connection.pdu()
            if kind == wire.RQ:
                answers, classes, roles = _all_of(body, self.syntax.encode())
                connection.send(wire.associate_ac(answers, max_length=0, user=roles))
                while True:
                    self._answer(connection, classes)
        except AssertionError:  # no message: A-RELEASE-RQ, or an abort, to which nothing is due
            with suppress(OSError):
                connection.send(wire.pdu(wire.RELEASE_RP, bytes(4)))
        except (OSError, struct.error, ValueError):
            pass  # the requestor says what it thinks of it
        finally:
            accepted.close()

    def _answer(self, connection: Connection, classes: dict[bytes, int]) -> None:
        elements, asked = connection.message()
        code = wire.number_of(elements, 0x0100) or 0
        number = wire.number_of(elements, 0x0110) or 0
        sop_class = (elements.get(0x0002) or elements.get(0x0003) or b"").rstrip(b"\0")
        context = classes.get(sop_class, 1)
        data = wire.as_data(context, self.content)
        named = [wire.ui(0x0002, sop_class)]
        head = [wire.us(0x0100, code | wire.RESPONSE), wire.us(0x0120, number)]
        bare = wire.command(*named, *head, wire.us(0x0800, wire.NO_DATA), wire.us(0x0900, 0))
        if code == 0x0020:  # C-FIND
            pending = wire.command(*named, *head, wire.us(0x0800, 1), wire.us(0x0900, 0xFF00))
            connection.send(wire.as_commands(context, pending), data)
            connection.send(wire.as_commands(context, bare))
        elif code == 0x0010:  # C-GET
            stored = next(uid for uid in classes if uid != sop_class)
            store = wire.store_rq(self.instance.encode(), 1, sop_class=stored)
            at = classes[stored]
            connection.send(wire.as_commands(at, store), wire.as_data(at, self.content))
            connection.message()
            counts = [wire.us(0x1021, 1), wire.us(0x1022, 0), wire.us(0x1023, 0)]
            last = [*named, *head, wire.us(0x0800, wire.NO_DATA), wire.us(0x0900, 0), *counts]
            connection.send(wire.as_commands(context, wire.command(*last)))
        elif sop_class == wire.COMMITMENT:  # N-ACTION
            report = wire.command(
                *named,
                wire.us(0x0100, 0x0100),
                wire.us(0x0110, 1),
                wire.us(0x0800, 1),
                wire.ui(0x1000, COMMITMENT_INSTANCE),
                wire.us(0x1002, 1),
            )
            connection.send(wire.as_commands(context, bare))
            told = self.content.replace(TRANSACTION.encode(), _transaction(asked))
            connection.send(wire.as_commands(context, report), wire.as_data(context, told))
            elements, _ = connection.message()
            if wire.number_of(elements, 0x0900):
                raise ConnectionError("the report was refused: nobody need wait for another")
        else:
            whole = wire.command(*named, *head, wire.us(0x0800, 1), wire.us(0x0900, 0))
            connection.send(wire.as_commands(context, whole), data)

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()


def _transaction(asked: bytes) -> bytes:
    """Find the UID that a request of commitment begins with, as long as the one it replaces."""
    found = re.search(rb"2\.25\.[0-9]+", asked)
    return b"" if found is None else found[0].ljust(len(TRANSACTION), b"\0")


_Contexts = list[tuple[int, int, Iterable[bytes]]]


def _all_of(body: bytes, wanted: bytes) -> tuple[_Contexts, dict[bytes, int], list[bytes]]:
    """Accept everything that is proposed: contexts, each in one transfer syntax, and roles."""
    answers: _Contexts = []
    classes: dict[bytes, int] = {}
    roles: list[bytes] = []
    for kind, value in wire.items(body[68:]):
        if kind == 0x50:
            roles += [wire.item(0x54, role) for of, role in wire.items(value) if of == 0x54]
        if kind != 0x20:
            continue
        inside = list(wire.items(value[4:]))
        syntaxes = [uid for of, uid in inside if of == 0x40]
        answers.append((value[0], 0, [wanted if wanted in syntaxes else syntaxes[0]]))
        classes.update((uid, value[0]) for of, uid in inside if of == 0x30)
    return answers, classes, roles
