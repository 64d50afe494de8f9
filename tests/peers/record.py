"""Record what two programs say to each other over TCP, and have Wireshark's dissector read it.

A proxy rather than a live capture: it needs no privilege and loses nothing.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.process import LOOPBACK, PeerError, run

CHUNK = 16384
"""Bytes read at once: below the 64 KiB that fit into one IP packet of the capture."""
CAPTURE_PORT = 11112
"""The acceptor's port in the capture, whatever it was on the wire."""


Conversation = list[tuple[str, bytes]]
"""("I", bytes) towards the acceptor, ("O", bytes) from it, in order."""


class Recorder:
    """A TCP proxy on a port of its own that keeps every byte, in order, with its direction."""

    def __init__(self, port: int) -> None:
        """Listen; forward every connection to `port` on the loopback interface."""
        self._target = port
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self.conversations: list[Conversation] = []
        """One for every connection, in the order in which they were made."""
        self._lock = threading.Lock()
        self._pumps: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                requestor, _ = self._listener.accept()
            except OSError:  # closed: the recording is over
                return
            acceptor = socket.create_connection((LOOPBACK, self._target), 10)
            acceptor.settimeout(None)
            self._open += [requestor, acceptor]
            kept: Conversation = []
            self.conversations.append(kept)
            for one, other, direction in [(requestor, acceptor, "I"), (acceptor, requestor, "O")]:
                pump = threading.Thread(
                    target=self._pump, args=(one, other, direction, kept), daemon=True
                )
                pump.start()
                self._pumps.append(pump)

    def _pump(
        self, source: socket.socket, sink: socket.socket, direction: str, kept: Conversation
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK):
                with self._lock:
                    kept.append((direction, chunk))
                sink.sendall(chunk)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def finish(self) -> None:
        """Stop listening and wait until both ends have closed."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(10)
        for pump in self._pumps:
            pump.join(10)
        for end in self._open:
            end.close()


@contextlib.contextmanager
def recording(port: int) -> Iterator[Recorder]:
    """Record connections to `port` made through the recorder's own port."""
    recorder = Recorder(port)
    try:
        yield recorder
    finally:
        recorder.finish()


def _hex_dump(chunks: Conversation) -> str:
    """Write chunks as text2pcap reads them: direction, then a block from offset 0, per packet."""
    lines = []
    for direction, chunk in chunks:
        lines.append(direction)
        lines.extend(f"{at:06x} {chunk[at : at + 16].hex(' ')}" for at in range(0, len(chunk), 16))
    return "\n".join(lines) + "\n"


def dissect(chunks: Conversation, folder: Path) -> list[dict[str, Any]]:
    """Return what tshark makes of a recorded conversation: one dict per packet.

    Raises:
        PeerError: text2pcap or tshark failed.
    """
    text, capture = folder / "conversation.txt", folder / "conversation.pcap"
    text.write_text(_hex_dump(chunks))
    # -D swaps the ports of the packets marked O; text2pcap names the source of the I packets first.
    made = run(["text2pcap", "-D", "-T", f"49152,{CAPTURE_PORT}", str(text), str(capture)])
    if made.returncode != 0:
        raise PeerError(f"text2pcap: {made.stderr}")
    argv = [
        "tshark",
        "-r",
        str(capture),
        "-d",
        f"tcp.port=={CAPTURE_PORT},dicom",
        "-T",
        "json",
        "--no-duplicate-keys",
    ]
    read = run(argv)
    if read.returncode != 0:
        raise PeerError(f"tshark: {read.stderr}")
    packets: list[dict[str, Any]] = json.loads(read.stdout)
    return packets


def walk(node: object) -> Iterator[tuple[str, object]]:
    """Yield every (field name, value) of a dissection, depth first."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)
