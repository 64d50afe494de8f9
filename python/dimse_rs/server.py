"""`Server`: accepts associations and answers what comes on them."""

from __future__ import annotations

import logging
import queue
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from types import TracebackType
from typing import Any, Final, Self

from . import _core, _scp, log
from ._drive import run
from ._uids import SOPClass
from .ae import AE
from .association import Association
from .errors import DimseError, LocalProtocolError
from .handlers import C_STORE_RQ, Handlers, Request, StoreRequest
from .services import Storage
from .settings import Peer, Timeouts, check_ae_title
from .sop_class import ALL_STORAGE, Verification

__all__ = ["Server"]

_logger = log.get(log.SERVER)

Event = dict[str, Any]

_MAX_WORKERS: Final = 64
_IDLE_TURN: Final = 0.5
_EVENT_TURN: Final = 0.2


class Server(Handlers):
    """A node that accepts associations on a port.

    It binds to 127.0.0.1 unless told otherwise, and only answers to its own AE title: both are
    choices to be made, not surprises. C-ECHO is answered by itself.

    Use it as a context manager, or call `start` and `stop`. Handlers are added before it starts, by
    the decorators of `Handlers`.
    """

    def __init__(
        self,
        ae: AE | None = None,
        host: str = "127.0.0.1",
        port: int = 11112,
        *,
        services: Iterable[Storage] = (),
        any_called: bool = False,
        called: Iterable[str] | None = None,
        calling: Iterable[str] | None = None,
        max_associations: int | None = None,
        max_ops_performed: int = 1,
    ) -> None:
        """Keep the settings; nothing is bound until `start`.

        Args:
            ae: title, timeouts, limits and PDU size.
            host: address or name to bind to; "0.0.0.0" or "::" for every interface.
            port: 0 takes a free one, see `port` after `start`.
            services: what is done without handlers: at most one `Storage`.
            any_called: answer to any called AE title.
            called: answer to these called AE titles; default the AE's own.
            calling: let only these calling AE titles in; default any.
            max_associations: how many may be established; default the limit of the AE.
            max_ops_performed: operations a peer may have outstanding on one association.

        Raises:
            ValueError: a title, a port or a number is not allowed, or there are two `Storage`s.
        """
        super().__init__()
        self.ae = ae if ae is not None else AE()
        self._bind = (host, port)
        storages = list(services)
        if len(storages) > 1:
            raise ValueError("one Storage at most: a C-STORE can go to one folder only")
        self._storage = storages[0] if storages else None
        self._called = None if any_called else _titles(called, self.ae.title)
        self._calling = None if calling is None else [check_ae_title(title) for title in calling]
        self._max_associations = max_associations or self.ae.limits.max_associations
        self._max_ops_performed = max_ops_performed
        self._listener: _core.Listener | None = None
        self._service: _core.Service | None = None
        self._spool: tempfile.TemporaryDirectory[str] | None = None
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._workers = _Workers(self)
        self._followers: list[queue.SimpleQueue[Event | None]] = []
        self._lock = threading.Lock()

    @property
    def host(self) -> str:
        """Where it listens, once started; until then what it was told."""
        return self._bind[0] if self._listener is None else self._listener.address[0]

    @property
    def port(self) -> int:
        """The port, once started; until then what it was told."""
        return self._bind[1] if self._listener is None else self._listener.address[1]

    def start(self) -> Self:
        """Bind and accept.

        Raises:
            OSError: the address cannot be bound.
            LocalProtocolError: it was started before.
        """
        if self._listener is not None:
            raise LocalProtocolError("a server starts once; make another one")
        handled = {field: self._classes_of(field) for field in self.fields()}
        if C_STORE_RQ in handled:
            self._spool = tempfile.TemporaryDirectory(prefix="dimse-rs-")
        self._service = _core.Service(
            folder=None if self._storage is None else self._storage.core,
            store=None
            if self._storage is None or self._storage.unknown
            else _plain(self._storage.sop_classes),
            handled=handled,
            spool=None if self._spool is None else _core.Folder(self._spool.name, "fast"),
            events=True,
        )
        self._follow()
        host, port = self._bind
        self._listener = _core.Listener(
            host,
            port,
            contexts=self._supported(),
            service=self._service,
            called=self._called,
            calling=self._calling,
            max_length=self.ae.max_pdu,
            timeouts=asdict(self.ae.timeouts),
            limits=asdict(self.ae.limits) | {"max_associations": self._max_associations},
            unknown="no" if self._storage is None else self._storage.unknown_policy,
            max_ops_performed=self._max_ops_performed,
        )
        threading.Thread(target=self._pump, name="dimse-events", daemon=True).start()
        if handled:
            self._workers.start()
        _logger.info("listening on %s:%d as %s", self.host, self.port, self._titles_text())
        return self

    def stop(self, grace: float = 5.0) -> None:
        """Stop accepting, let what is being received finish within `grace` seconds, abort the rest."""
        if self._listener is None or self._stopping.is_set():
            return
        self._stopping.set()
        self._listener.stop(grace)
        self._stopped.wait(grace)
        if self._spool is not None:
            self._spool.cleanup()
        _logger.info("stopped")

    def wait(self) -> None:
        """Wait until `stop` is called, from another thread or a signal handler; Ctrl-C ends it too."""
        while not self._stopping.wait(0.2):
            pass

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Follow what happens: dicts as `dimse storescp --json` prints them, each with key `event`.

        Args:
            timeout: end when nothing happened for so many seconds; default never.

        Returns:
            An iterator that ends when the server stops. Each call follows from now on.
        """
        follower: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        with self._lock:
            self._followers.append(follower)
        self._follow()
        return self._events(follower, timeout)

    def _events(
        self, follower: queue.SimpleQueue[Event | None], timeout: float | None
    ) -> Iterator[Event]:
        try:
            last = time.monotonic()
            while True:
                try:
                    event = follower.get(timeout=_EVENT_TURN)  # in turns, for Ctrl-C
                except queue.Empty:
                    if timeout is not None and time.monotonic() - last >= timeout:
                        return
                    if self._stopped.is_set():
                        return
                    continue
                if event is None:
                    return
                last = time.monotonic()
                yield event
        finally:
            with self._lock:
                if follower in self._followers:
                    self._followers.remove(follower)
            self._follow()

    def __enter__(self) -> Self:
        """Start, unless it was."""
        return self if self._listener is not None else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def __repr__(self) -> str:
        """Show where it listens and as whom."""
        return f"<Server {self._titles_text()} on {self.host}:{self.port}>"

    # ---- what is told to the core

    def _classes_of(self, field: int) -> list[str] | None:
        classes = self.classes(field)
        return None if classes is None else _plain(classes)

    def _supported(self) -> list[tuple[str, list[str], bool, bool, bool]]:
        """Contexts to accept: SOP class, transfer syntaxes, whose order counts, requestor's roles.

        Storage takes any transfer syntax in the sender's order: an opaque store must not turn
        senders of compressed instances into senders of raw ones (E-36).
        """
        classes: dict[str, None] = {str(Verification): None}
        if self._storage is not None:
            classes.update(dict.fromkeys(_plain(self._storage.sop_classes)))
        if C_STORE_RQ in self.fields():
            of_handlers = self.classes(C_STORE_RQ)
            stored = ALL_STORAGE if of_handlers is None else of_handlers
            classes.update(dict.fromkeys(_plain(stored)))
        return [(uid, [], False, True, False) for uid in classes]

    def _titles_text(self) -> str:
        return "any AE title" if self._called is None else ", ".join(self._called)

    # ---- what comes from the core

    def _follow(self) -> None:
        """Ask the core for the ordinary course only while somebody follows it."""
        if self._service is not None:
            with self._lock:
                wanted = bool(self._followers) or _logger.isEnabledFor(logging.INFO)
            self._service.follow(wanted)

    def _pump(self) -> None:
        service = self._service
        if service is None:
            return
        while True:
            stopping = self._stopping.is_set()
            batch = service.next_events(_EVENT_TURN)
            for association, kind, facts in batch:
                event = _event(kind, facts)
                _log(association, kind, facts)
                if event is not None:
                    for follower in tuple(self._followers):
                        follower.put(event)
            if stopping and not batch:
                break
        self._stopped.set()
        for follower in tuple(self._followers):
            follower.put(None)

    def serve_one(self, operation: _core.Operation) -> None:
        """Answer one request; called on a worker thread."""
        message = operation.message
        timeouts: Timeouts = self.ae.timeouts
        host, port = operation.association.peer or ("unknown", 1)
        calling, _ = operation.association.titles
        association = Association(operation.association, timeouts, Peer(calling, host, port))
        kind = StoreRequest if message.field == C_STORE_RQ else Request
        request = kind(operation, association)
        handler = self.find(message.field, message.sop_class or "")
        if handler is None:
            return
        try:
            run(operation.association, _scp.one_answer(operation, request, handler))
        except DimseError as error:
            # The association ended before the answer left: there is nobody to tell but the log.
            _logger.warning("%s: not answered, %s", request, error)


class _Workers:
    """Threads that pull operations: one more than are busy, up to a cap."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    def start(self) -> None:
        with self._lock:
            self._threads += 1
            self._idle += 1
            name = f"dimse-worker-{self._threads}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        server = self._server
        service = server._service
        while service is not None and not server._stopping.is_set():
            operation = service.next_operation(_IDLE_TURN)
            if operation is None:
                continue
            with self._lock:
                self._idle -= 1
                more = self._idle == 0 and self._threads < _MAX_WORKERS
            if more:
                self.start()
            try:
                server.serve_one(operation)
            except Exception:
                _logger.exception("a request could not be served")
            finally:
                with self._lock:
                    self._idle += 1


def _titles(called: Iterable[str] | None, own: str) -> list[str]:
    titles = [own] if called is None else [check_ae_title(title) for title in called]
    if not titles:
        raise ValueError("called= names no AE title: any_called=True answers to all")
    return titles


def _plain(uids: Iterable[SOPClass]) -> list[str]:
    return [str(uid) for uid in uids]


def _where(facts: Event) -> str:
    peer = facts.get("peer")
    return f"{peer[0]}:{peer[1]}" if peer else ""


def _event(kind: str, facts: Event) -> Event | None:
    """Turn an event of the core into one for users; None for what is only logged."""
    match kind:
        case "associated":
            contexts = [
                {"class": uid, "syntax": syntax}
                for _, uid, result, syntax, _, _ in facts["contexts"]
                if result == 0
            ]
            return {
                "event": "associated",
                "peer": _where(facts),
                "calling": facts["calling"],
                "called": facts["called"],
                "contexts": contexts,
            }
        case "stored":
            kept = facts["kept"]
            path = facts["path"]
            event = {
                "event": "stored",
                "uid": facts["uid"],
                "class": facts["class"],
                "syntax": facts["syntax"],
                "path": None if path is None else str(path),
                "bytes": facts["bytes"],
                "calling": facts["calling"],
                "status": facts["status"],
            }
            if kept is not None:
                event["kept"] = str(kept)
            if facts["identical"]:
                event["identical"] = True
            if facts["status"]:
                event["event"] = "refused"
                event["why"] = facts["detail"]
            return event
        case "rejected":
            return {
                "event": "rejected",
                "result": facts["result"],
                "source": facts["source"],
                "reason": facts["reason"],
                "hint": facts["detail"],
                "code": facts["code"],
                "calling": facts["calling"],
                "called": facts["called"],
                "peer": _where(facts),
            }
        case "ended":
            error = facts["error"]
            if facts["told"]:
                return None
            if error is None:
                return {"event": "released", "stored": facts["stored"]}
            return {"event": "error", "code": facts["code"], "message": str(error)}
        case "accept-failed":
            return {"event": "error", "code": kind, "message": facts["detail"]}
        case _:
            return None


def _log(association: int, kind: str, facts: Event) -> None:
    """One line for each event, with a stable `record.code`."""

    def line(level: int, code: str, text: str, *args: object) -> None:
        extra = {"code": code, "event": kind, "association": association}
        _logger.log(level, text, *args, extra=extra)

    match kind:
        case "associated":
            accepted = sum(1 for context in facts["contexts"] if context[2] == 0)
            line(
                logging.INFO,
                "associated",
                "%s<-%s(%d) established from %s: %d of %d presentation contexts",
                facts["called"],
                facts["calling"],
                association,
                _where(facts),
                accepted,
                len(facts["contexts"]),
            )
            for warning in facts["warnings"]:
                line(logging.WARNING, "negotiation", "(%d) %s", association, warning)
        case "stored" if facts["status"]:
            line(
                logging.WARNING,
                "refused",
                "%s<-%s(%d) refused %s with status %04X: %s",
                facts["called"],
                facts["calling"],
                association,
                facts["uid"],
                facts["status"],
                facts["detail"],
            )
        case "stored":
            line(
                logging.INFO,
                "stored",
                "%s<-%s(%d) stored %s, %d bytes%s",
                facts["called"],
                facts["calling"],
                association,
                facts["path"],
                facts["bytes"],
                f", earlier version kept as {facts['kept']}" if facts["kept"] else "",
            )
        case "rejected":
            line(
                logging.WARNING,
                str(facts["code"]),
                "%s<-%s(%d) rejected (%d,%d,%d) from %s: %s",
                facts["called"],
                facts["calling"],
                association,
                facts["result"],
                facts["source"],
                facts["reason"],
                _where(facts),
                facts["detail"],
            )
        case "violation":
            line(logging.WARNING, str(facts["code"]), "(%d) %s", association, facts["detail"])
        case "ended" if facts["error"] is not None:
            line(
                logging.DEBUG if facts["told"] else logging.WARNING,
                str(facts["code"]),
                "(%d) ended: %s",
                association,
                facts["error"],
            )
        case "ended":
            line(logging.INFO, "released", "(%d) released, %d stored", association, facts["stored"])
        case "accept-failed":
            line(logging.ERROR, kind, "cannot accept: %s", facts["detail"])
        case _:
            line(logging.DEBUG, kind, "(%d) %s %s", association, kind, _where(facts))
