"""The two ends of a loopback test: our servers, peers that do as they are told, and instances."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from dimse_rs import AE, Association, Server, Storage, Timeouts, _core
from dimse_rs.contexts import Contexts
from dimse_rs.sop_class import Verification
from tests.data.files import BUNDLED
from tests.support.waiting import until

FILES = BUNDLED / "test_files"
CT = FILES / "CT_small.dcm"  # explicit little endian
MR_IMPLICIT = FILES / "MR_small_implicit.dcm"
MR_BIG_ENDIAN = FILES / "MR_small_bigendian.dcm"
DEFLATED = FILES / "image_dfl.dcm"
JPEG_2000 = FILES / "JPEG2000.dcm"

# Long enough for a busy machine, short enough for a test that hangs to say where.
PATIENT = Timeouts(connect=8, acse=8, release=8, write=8, dimse=15, store=15, artim=8)
SCU = AE("SCU", timeouts=PATIENT)


def scp(folder: Path | None = None, *, timeouts: Timeouts = PATIENT, **options: Any) -> Server:
    """Make a server called SCP on a free port, with a sink when a folder is given."""
    services = [] if folder is None else [Storage(folder, mode="fast")]
    ae = options.pop("ae", None) or AE("SCP", timeouts=timeouts)
    return Server(ae, port=0, **{"services": services, **options})


def at(server: Server | Puppet) -> str:
    """Give the address of a server as users write it."""
    return f"SCP@127.0.0.1:{server.port}"


@contextlib.contextmanager
def link(
    server: Server, contexts: Contexts | None = None, ae: AE = SCU, **options: Any
) -> Iterator[Association]:
    """Run a server, and an association with it."""
    with server, ae.associate(at(server), contexts=contexts, **options) as association:
        yield association


def until_idle(server: Server) -> None:
    """Wait until the server has seen every connection close: no event says that of the last."""
    until(lambda: not server._listener.associations and not server._listener.pending)


@contextlib.contextmanager
def picky(folder: Path, accepts: dict[str, Sequence[str]]) -> Iterator[str]:
    """Run a sink that accepts these SOP classes in these transfer syntaxes only."""
    service = _core.Service(sink=_core.Sink(_core.Folder(folder, "fast")))
    listener = _core.Listener(
        "127.0.0.1",
        0,
        _core.Policy([_core.SupportedContext(uid, syntaxes) for uid, syntaxes in accepts.items()]),
        SCU._config(service),
    )
    try:
        yield f"SCP@127.0.0.1:{listener.address.port}"
    finally:
        listener.stop(0.0)


class Puppet:
    """A peer on a socket that says only what its script says; then it is silent, and stays."""

    def __init__(
        self,
        script: Callable[[Puppet], object] | None = None,
        accepts: Sequence[str] = (Verification,),
    ) -> None:
        """Listen on a free port and follow the script on a thread of its own."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.core = _core.Connection.acceptor(contexts=[(uid, []) for uid in accepts])
        self.socket: socket.socket | None = None
        self.indications: list[tuple[str, dict[str, Any]]] = []
        self.reached = threading.Event()
        self._script = script
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="puppet", daemon=True)

    def _run(self) -> None:
        try:
            self.socket, _ = self._listening.accept()
            self.socket.settimeout(20)
            self.core.transport_connected()
            self.flush()
            if self._script is not None:
                self._script(self)
            self.reached.set()
        except BaseException as failure:  # shown where the test ends
            self._failure = failure

    def flush(self) -> None:
        """Send what the core wants sent, and keep what it tells."""
        for what, value in self.core.outputs():
            if what == "transmit":
                self.socket.sendall(value)
            elif what == "indicate":
                self.indications.append(value)

    def until(self, name: str) -> dict[str, Any]:
        """Read until the core tells this."""
        while True:
            for seen, facts in self.indications:
                if seen == name:
                    self.indications.clear()
                    return facts
            data = self.socket.recv(65536)
            assert data, f"the connection closed before {name}"
            self.core.receive(data)
            self.flush()

    def accept(self) -> None:
        """Establish the association."""
        self.until("associate-requested")
        self.core.answer()
        self.flush()

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close everything; say what went wrong in the script."""
        self._listening.close()
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        if self.socket is not None:
            self.socket.close()
        if self._failure is not None:
            raise AssertionError("the puppet's script failed") from self._failure


def silent_after(name: str) -> Callable[[Puppet], None]:
    """Give a script that accepts, reads until the core tells this, and says no more."""

    def script(puppet: Puppet) -> None:
        if name != "associate-requested":
            puppet.accept()
        puppet.until(name)

    return script
