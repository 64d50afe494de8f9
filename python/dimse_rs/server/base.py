"""`BaseServer`: all that `Server` and `AsyncServer` share; they differ in how calls wait."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from dimse_rs import _core, log, threads
from dimse_rs.ae import AE
from dimse_rs.callables import check_function, described
from dimse_rs.dimse.calls import AssociationFacts
from dimse_rs.dimse.requests import Handler
from dimse_rs.errors import LocalProtocolError
from dimse_rs.fields import C_STORE_RQ
from dimse_rs.handlers import Handlers, Service, listed_services, register_service
from dimse_rs.observe._translate import MOST, log_event, wanted_by_logs
from dimse_rs.observe.events import Event, Events, Kind
from dimse_rs.observe.metrics import Metrics
from dimse_rs.perform.deciding import Deciding
from dimse_rs.perform.performer import Performer
from dimse_rs.perform.releasing import Releasing
from dimse_rs.perform.routes import routes_of
from dimse_rs.settings import (
    MOST_OPERATIONS,
    Peer,
    PeersByTitle,
    check_count,
    check_peers,
    peer_at,
)
from dimse_rs.sop_class import SOPClass
from dimse_rs.storage import Storage

from ._admission import Admission
from .settings import AsyncServerSettings, ServerSettings, complete, decider, titles
from .supported import implied_contexts, policy_for_unknown

if TYPE_CHECKING:
    from dimse_rs.contexts import Contexts
    from dimse_rs.observe.events import follows
else:
    from dimse_rs.callables import unchanged as follows

__all__ = ["BaseServer"]

_logger = log.get(log.SERVER)

_WAIT_AFTER_INTERRUPT: Final = 1.0
"""Seconds for which `stop` waits for the last log records after Ctrl-C."""

_LEVEL_CHECK: Final = 0.1
"""Seconds between two looks at the levels of the loggers, which the user may change."""


class BaseServer(Handlers):
    """The state of a server, from its settings to its end; subclasses add `start` and `stop`.

    Three kinds of threads work for a server: those of `Performer` call handlers, those of
    `Admission` call the functions that decide on proposals, and one follows the events of the core
    and logs them. None of them keeps the server alive: a server that is garbage closes its port.
    """

    _performer_kind: type[Performer]
    _association_kind: type[AssociationFacts]
    _releasing_kind: type[Releasing] = Releasing

    _listener: _core.Listener | None = None
    _logging: threading.Thread | None = None
    _deciding: Deciding | None = None
    _releasing: Releasing | None = None

    def __init__(
        self,
        ae: AE | None,
        host: str,
        port: int,
        settings: ServerSettings | AsyncServerSettings,
    ) -> None:
        """Check and keep the settings."""
        super().__init__()
        chosen = complete(settings, type(self).__name__)
        self.ae: AE = _own(ae, type(self).__name__)
        if not isinstance(host, str):
            raise TypeError(f"host is an address or a name, not {described(host)}")
        if not isinstance(port, int) or not 0 <= port <= 65535:
            raise ValueError(f"not a port: {port!r} (0 to 65535; 0 takes a free one)")
        self._bind = (host, port)
        services = listed_services(chosen["services"])
        self._storage = self._storage_among(services)
        self._keep(chosen)
        self._admission = Admission(chosen, secured=self.ae.tls is not None)
        if self._storage is not None and self._storage.predicate is not None:
            self._admission.add_predicate(self._storage.predicate)
        self._prepare()
        for service in services:
            if not isinstance(service, Storage):
                register_service(service, self)

    def _storage_among(self, services: Iterable[Storage | Service]) -> Storage | None:
        storages = [service for service in services if isinstance(service, Storage)]
        if len(storages) > 1:
            raise ValueError("one Storage at most: a C-STORE can go to one folder only")
        if storages:
            self._check_on_stored(storages[0])
            return storages[0]
        return None

    def _keep(self, chosen: AsyncServerSettings) -> None:
        """Keep the settings that are not of `Admission`."""
        called, calling = chosen["called"], chosen["calling"]
        answers_to = [self.ae.title] if called is None else titles("called", called)
        if not answers_to:
            raise ValueError("called= names no AE title: any_called=True answers to all")
        self._called = None if chosen["any_called"] else answers_to
        self._calling = None if calling is None else titles("calling", calling)
        self._unknown = chosen["unknown"]
        if self._unknown and self._storage is not None:
            raise ValueError("unknown=True is for handlers: write Storage(..., unknown=True)")
        most = chosen["max_associations"]
        most = 0 if most is None else check_count("max_associations", most, 0)
        self._max_associations = most or self.ae.limits.max_associations
        performed = chosen["max_ops_performed"]
        self._max_ops_performed = check_count("max_ops_performed", performed, 0, MOST_OPERATIONS)
        self._max_handlers = check_count("max_handlers", chosen["max_handlers"], 1)
        for name, function in (
            ("accept", chosen["accept"]),
            ("verify_identity", chosen["verify_identity"]),
        ):
            decider(name, function)
        destinations: Any = chosen["destinations"]
        self.destinations: PeersByTitle = check_peers(
            {} if destinations is None else destinations,
            "destinations",
            asynchronous=self._asynchronous,
        )
        self.any_destination: bool = chosen["any_destination"]
        self._on_release: Callable[[Any], object] | None = chosen["on_release"]
        if self._on_release is not None:
            check_function(
                "on_release", self._on_release, "an association", asynchronous=self._asynchronous
            )

    def _prepare(self) -> None:
        """Make the state of a server; nothing is bound and no thread runs yet."""
        self._performer: Performer | None = None
        self._associations: WeakValueDictionary[int, AssociationFacts] = WeakValueDictionary()
        self._stopping = threading.Event()  # `stop` was called
        self._logged = threading.Event()  # the end of the last association is in the log
        # Reentrant: a signal handler of the thread that stops the server may call `stop` as well.
        self._ending = threading.RLock()
        self._stopped = False
        self._events = _core.Events()
        self._closing = ExitStack()  # what other modules asked to be closed with the server
        # Reentrant: a garbage collection inside `association_of` may run code that calls it again.
        self._lock = threading.RLock()

    @property
    def host(self) -> str:
        """The address that the server listens on; before the start, that of the settings."""
        return self._bind[0] if self._listener is None else self._listener.address.host

    @property
    def port(self) -> int:
        """The port that the server listens on; before the start, that of the settings."""
        return self._bind[1] if self._listener is None else self._listener.address.port

    @property
    def is_started(self) -> bool:
        """Whether the server was started; also when it has stopped since."""
        return self._listener is not None

    # ---- the beginning

    def _load(self) -> None:
        """Import what requests will need, before a request can come that would wait for it."""
        if self.fields():
            from dimse_rs import datasets  # noqa: F401 - imported for its loading
            from dimse_rs.encoding import library  # noqa: F401 - so is pydicom by this

    def _start(self) -> None:
        """Bind and accept; a start that fails releases all that it had taken."""
        if self._listener is not None:
            raise LocalProtocolError("a server starts once; make another one")
        self._load()
        try:
            self._listen()
        except BaseException:
            self._undo_start()
            raise
        _logger.info(
            "listening on %s:%d as %s",
            self.host,
            self.port,
            self._titles_text(),
            extra={"code": "listening"},
        )

    def _listen(self) -> None:
        # The listener accepts as soon as it was made. The log follower and the thread of
        # `on_stored` start before it, since they must not miss an event or an instance. The threads
        # that take from the listener's queues start after it: an early request waits there.
        hold = self._on_release is not None
        routes = routes_of(self, storage=self._storage, events=self._events, hold_releases=hold)
        self._performer = self._performer_kind(
            self, routes, self.ae.timeouts, self._max_handlers, node=self
        )
        if self._storage is not None and self._storage.on_stored is not None:
            self._deciding = self._make_deciding(self._performer.service, self._storage)
            self._deciding.start()
        self._log_follower = self._events.follow(wanted_by_logs(server=True), MOST)
        host, port = self._bind
        contexts = implied_contexts(self, self._storage)
        unknown = policy_for_unknown(self, self._storage, any_=self._unknown)
        self._listener = _core.Listener(
            host,
            port,
            self._admission.policy(contexts, unknown, self._called, self._calling),
            self.ae._config(
                self._performer.service,
                max_ops_performed=self._max_ops_performed,
                max_associations=self._max_associations,
            ),
            ask=self._admission.ask,
        )
        self._admission.start(self._listener, self._max_handlers)
        self._performer.start()
        if self._on_release is not None:
            self._releasing = self._releasing_kind(
                self._performer.service,
                self._on_release,
                self.association_of,
                within=self.ae.timeouts.release,
                most=self._max_handlers,
            )
            self._releasing.start()
        self._logging = threads.start("dimse-events", _log_events, self._log_follower, self._logged)

    def _undo_start(self) -> None:
        """Leave neither a port, nor threads, nor files of a start that failed."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop(0.0)
        self._admission.stop()
        if self._releasing is not None:
            self._releasing.stop()
        if self._performer is not None:
            self._performer.stop()
        self._clean_up()

    def _check_on_stored(self, storage: Storage) -> None:
        """Refuse a function that this kind of server cannot call."""
        raise NotImplementedError

    def _make_deciding(self, service: _core.Service, storage: Storage) -> Deciding:
        return Deciding(service, storage)

    # ---- the end

    def _stop(self, grace: float, patience: float) -> None:
        """Stop, on the thread that calls this; see `Server.stop`."""
        if self._listener is None:
            return
        _core.check_process()
        self._stopping.set()
        try:
            self._listener.stop(grace, patience)
        except BaseException:  # Ctrl-C: the remaining associations are aborted at once
            self._listener.stop(0.0)
            self._finish(_WAIT_AFTER_INTERRUPT)
            raise
        self._finish(None)

    def _finish(self, within: float | None) -> None:
        """Release everything when all associations have ended, and log that.

        Several threads may call `stop`: the first does the work, and the others wait until it is
        done. A call that Ctrl-C ended leaves `_stopped` unset, so that the next one does the work.
        A log handler of the user's, on the thread that logs, may call `stop` too: it can wait
        neither for another caller, which waits for that thread, nor for the log to be complete.
        """
        is_log_thread = threading.current_thread() is self._logging
        if not self._ending.acquire(blocking=not is_log_thread):
            return
        try:
            if self._stopped:
                return
            self._release_threads()
            if not is_log_thread and not self._logged.wait(within):
                return
            self._clean_up()
            self._closing.close()
            _logger.info("stopped", extra={"code": "stopped"})
            self._stopped = True
        finally:
            self._ending.release()

    def _release_threads(self) -> None:
        """Let the threads end; this waits for none of them."""
        if self._deciding is not None:
            self._deciding.stop()
        self._events.close()
        self._admission.stop()
        if self._releasing is not None:
            self._releasing.stop()
        if self._performer is not None:
            self._performer.stop()

    def _clean_up(self) -> None:
        if self._deciding is not None:
            self._deciding.stop()
        if self._performer is not None:
            self._performer.clean_up()

    def __del__(self) -> None:
        """Close the port of a server that was never stopped.

        Garbage is collected on any thread, at any time, perhaps while that thread holds a lock: so
        nothing here waits.
        """
        listener = self._listener
        if listener is None or self._stopped or sys.is_finalizing():
            return
        with suppress(RuntimeError):
            _core.check_process()  # a forked child leaves the server to its parent
            what = f"{self!r} was never stopped"
            listener.stop(0.0)
            self._release_threads()
            self._clean_up()
            if not self._stopping.is_set():
                warnings.warn(what, ResourceWarning, stacklevel=2, source=self)

    # ---- for programs: events and metrics

    @follows
    def events(self, *kinds: Kind, timeout: float | None = None) -> Events[Event]:
        """Follow what happens: dicts as `dimse storescp --json` prints them, each with key `event`.

        Args:
            kinds: names of events, see `Kind`; default associated, stored, refused, denied,
                rejected, released, aborted (by this node) and error. Other events are not made for
                this iterator.
            timeout: end when no event came for so many seconds; default never.

        Returns:
            An iterator that ends when the server has stopped; of an `AsyncServer` for `async for`.
            Each call follows from now on; before `start` no event is missed. An iterator that is
            100,000 events behind loses the newest ones, and `lost` says how many.

        Raises:
            ValueError: no such kind.
        """
        # Imported on demand: audit is rare, and each follower counts for itself.
        auditor = None
        if "audit" in kinds:
            from dimse_rs.observe._auditor import Auditor

            auditor = Auditor(self._called or [self.ae.title], lambda: self.host)
        return Events._of(self._events.follow, kinds, timeout, auditor)

    def metrics(self) -> Metrics:
        """Give what the server does now, and what it counted since it started; also afterwards.

        Cheap enough to be called every second. `serve_metrics` gives the metrics to Prometheus.

        Raises:
            LocalProtocolError: the server was not started.
        """
        if self._listener is None or self._performer is None:
            raise LocalProtocolError("the server was not started")
        fixed = _core.fixed_limits()
        limits = {
            **asdict(self.ae.limits),
            "max_associations": self._max_associations,
            "max_handlers": self._max_handlers,
            "max_ops_performed": self._max_ops_performed,
            "max_pdu": self.ae.max_pdu,
            "contexts": fixed.contexts,
            "transfer_syntaxes": fixed.transfer_syntaxes,
            "sequence_depth": fixed.sequence_depth,
            "empty_fragments": fixed.empty_fragments,
        }
        return Metrics._of(
            self._listener.metrics(),
            handlers=self._performer.busy,
            overdue=self._performer.overdue,
            limits=limits,
            timeouts=asdict(self.ae.timeouts),
        )

    if not TYPE_CHECKING:  # for checkers there is no such name

        def __getattr__(self, name: str) -> Any:
            """Refuse an attribute; of pynetdicom's names say what is used here instead."""
            from dimse_rs.hints import refuse

            return refuse(self, "Server", name)

    def __repr__(self) -> str:
        """Show the AE titles, the address and the port."""
        return f"<{type(self).__name__} {self._titles_text()} on {self.host}:{self.port}>"

    def _titles_text(self) -> str:
        return "any AE title" if self._called is None else ", ".join(self._called)

    def _add(self, field: int, sop_classes: tuple[str, ...], handler: Handler) -> Handler:
        if self._listener is not None:
            raise LocalProtocolError("handlers are added before the server starts")
        if field == C_STORE_RQ and self._storage is not None:
            _check_alone(self._storage, sop_classes)
        return super()._add(field, sop_classes, handler)

    # ---- for other modules of the package

    def _check_running(self) -> None:
        if self._listener is None or self._stopping.is_set():
            raise LocalProtocolError("the server was not started, or has stopped")

    def _on_stop(self, close: Callable[[], object]) -> None:
        self._closing.callback(close)

    def dial(self, peer: Peer, contexts: Contexts, wait: bool) -> Any:
        """Associate with a destination of C-MOVE; see `dimse.retrieve.Node`."""
        if wait:
            return self.ae.associate(peer, contexts=contexts)
        return self.ae.associate_async(peer, contexts=contexts)

    def association_of(self, core: _core.Association) -> AssociationFacts:
        """Give the association as handlers see it: the same object for every request on it."""
        # Weak references: an association that no request uses any more is made again for the next
        # one, and the server does not collect thousands.
        with self._lock:
            known = self._associations.get(core.id)
            if known is None:
                peer = peer_at(core.titles.calling, core.peer)
                known = self._association_kind(core, self.ae.timeouts, peer)
                known._limits = self.ae.limits
                self._associations[core.id] = known
            return known


def _log_events(follower: _core.Follower, done: threading.Event) -> None:
    """Log events until the server has stopped, then set `done`.

    A function, not a method: its thread holds the follower alone, so that a server that no program
    refers to any more is garbage. The core makes only the events that a logger takes at its present
    level; levels change at any time and report it to no one, hence the look at them in between.
    """
    wanted: list[str] = []
    try:
        while True:
            if wanted != (now := wanted_by_logs(server=True)):
                follower.want(now)
                wanted = now
            batch = follower.next(_LEVEL_CHECK)
            if batch is None:
                return
            for event in batch:
                try:
                    log_event(event)
                except Exception:  # of a log handler of the user's: the other events are logged
                    _logger.exception("an event could not be logged", extra={"code": "log"})
    finally:
        done.set()


def _check_alone(storage: Storage, sop_classes: tuple[str, ...]) -> None:
    """Refuse a C-STORE handler for instances that go to a folder: the folder would get none.

    A handler that names classes is called for them, beside a folder for every other class.

    Raises:
        ValueError: the handler is for every class, or the handler and the folder name the same.
    """
    named = storage.sop_classes if storage.is_selective else ()
    taken = [repr(SOPClass.of(uid)) for uid in sop_classes if uid in named]
    if sop_classes and not taken:
        return
    both = taken[0] if taken else "every class"
    raise ValueError(
        f"a handler of C-STORE for {both} and {storage!r} are for the same instances, of which the "
        "folder would get none: use Storage(folder, on_stored=function) to hear of what is stored, "
        "or no Storage and request.save(folder) in the handler, or let each name its classes"
    )


def _own(ae: object, server: str) -> AE:
    if isinstance(ae, AE):
        return ae
    if ae is None:
        return AE()
    hint = f": write {server}(AE({ae!r}))" if isinstance(ae, str) else ""
    raise TypeError(f"ae is an AE, not {described(ae)}{hint}")
