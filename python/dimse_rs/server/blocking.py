"""`Server`: accepts associations and answers what comes on them."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from weakref import WeakValueDictionary

from dimse_rs import _core, log, threads
from dimse_rs.ae import AE
from dimse_rs.association import Association
from dimse_rs.callables import is_asynchronous
from dimse_rs.contexts import Supported, any_storage
from dimse_rs.dimse.calls import AssociationFacts
from dimse_rs.dimse.requests import Handler
from dimse_rs.errors import LocalProtocolError
from dimse_rs.fields import C_GET_RQ, C_STORE_RQ, N_EVENT_REPORT_RQ, SERVICE_OF
from dimse_rs.handlers import Handlers, Service, listed_services, register_service
from dimse_rs.observe._translate import log_event, wanted_by_logs
from dimse_rs.observe.events import MOST, Events, Kind
from dimse_rs.observe.metrics import Metrics
from dimse_rs.perform.deciding import Deciding
from dimse_rs.perform.performer import Performer
from dimse_rs.proposal import Proposal
from dimse_rs.registry import classes_of
from dimse_rs.settings import Peer, PeersByTitle, check_ae_title, check_peers
from dimse_rs.sop_class import (
    ALL_STORAGE,
    MEMBERS,
    SOP_CLASSES,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SOPClass,
    Verification,
)
from dimse_rs.storage import Storage

from ._admission import Admission, AllowList, ExtendedAnswers

if TYPE_CHECKING:
    from dimse_rs.contexts import Contexts

__all__ = ["Server"]

_logger = log.get(log.SERVER)

# Commands and queries carry no pixel data that would be worth another one.
_UNCOMPRESSED: Final = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)

_HURRY: Final = 1.0
"""Seconds that the end of a server may take to be logged after Ctrl-C."""

_TURN: Final = 0.1
"""Seconds between two looks at the levels of the loggers."""


class Server(Handlers):
    """A node that accepts associations on a port.

    It binds to 127.0.0.1 unless told otherwise, and only answers to its own AE title: both are
    choices to be made, not surprises. C-ECHO is answered by itself.

    Use it as a context manager, or call `start` and `stop`. Handlers are added before it starts, by
    the decorators of `Handlers`. One that nobody keeps any more closes its port, as a socket does,
    with a ResourceWarning.
    """

    # What serves requests, and what handlers see of an association: others in `AsyncServer`.
    _performer_kind: type[Performer] = Performer
    _asynchronous = False
    _association_kind: type[AssociationFacts] = Association
    _deciding: Deciding | None = None

    _listener: _core.Listener | None = None
    _pumping: threading.Thread | None = None

    def __init__(
        self,
        ae: AE | None = None,
        host: str = "127.0.0.1",
        port: int = 11112,
        *,
        services: Iterable[Storage | Service] = (),
        any_called: bool = False,
        called: Iterable[str] | None = None,
        calling: Iterable[str] | None = None,
        allow: AllowList | None = None,
        max_associations: int | None = None,
        max_ops_performed: int = 1,
        max_handlers: int = 64,
        destinations: PeersByTitle | None = None,
        any_destination: bool = False,
        verify_identity: Callable[[Proposal], bool | bytes] | None = None,
        require_identity: bool = False,
        passcode_in_clear: bool = False,
        accept: Callable[[Proposal], bool] | None = None,
        extended: ExtendedAnswers | None = None,
        supported: Iterable[Supported] = (),
    ) -> None:
        """Keep the settings; nothing is bound until `start`.

        Args:
            ae: title, timeouts, limits, PDU size and TLS.
            host: address or name to bind to; "0.0.0.0" or "::" for every interface.
            port: 0 takes a free one, see `port` after `start`.
            services: ready-made performers: at most one `Storage`, and any that add handlers.
            any_called: answer to any called AE title.
            called: answer to these called AE titles; default the AE's own.
            calling: let only these calling AE titles in; default any.
            allow: let only these in, each with what it may ask for: the first entry that means a
                peer decides. Whom none means is rejected with (1,1,3). A list is looked at for
                each `Proposal`, so that changes count from the next association on; or a function
                that gives the entry for a `Proposal`, or None. Default any, for all.
            max_associations: how many may be established; default the limit of the AE.
            max_ops_performed: operations a peer may have outstanding on one association; 0 is no
                limit.
            max_handlers: handlers that run at once, each on a thread; 1 for handlers that cannot
                stand company. Requests wait for a free one. When all are past `Timeouts.handler`,
                requests are refused with A700 or 0213.
            destinations: where C-MOVE may send to: addresses by AE title, or a function that gives
                the address of a title, or None. Asked for each C-MOVE. Any other is A801, before
                a handler is asked.
            any_destination: ask C-MOVE handlers about other titles too. They say where those are,
                `Retrieve(..., destination=)`; without that it is A801.
            verify_identity: asked of each `Proposal` that has an `identity`. True or the server's
                response (Kerberos, SAML) lets it in; the answer says so if that was asked for.
                False, an exception or no word within `Timeouts.acse` rejects it; an
                `AssociationRejected` with its own codes. Without a verifier
                every identity is let in, and the answer says nothing. This and the functions below
                run on threads of their own, as many as handlers.
            require_identity: reject requestors that do not say who they are; else they are let in,
                verifier or not.
            passcode_in_clear: take a `UsernamePasscode` without TLS too; else, where identities are
                verified or required, it is rejected. For networks that nobody can listen on, such
                as that to a TLS proxy on the same machine.
            accept: asked of each `Proposal` that the settings let in, before the identity. False or
                an exception rejects it with (1,1,1); an `AssociationRejected` with its own codes.
            extended: answers to extended negotiation by SOP class or model: the
                `QueryRetrieveOptions` that handlers support, `StorageOptions` to declare, bytes for
                other classes, or a function of the class and what is offered. Or one function for
                all classes. Default none: nothing is agreed to.
            supported: contexts to accept, in place of and beyond what services and handlers imply;
                of two that list a class the first counts.

        Raises:
            ValueError: a title, a number or an option is not allowed, there are two `Storage`s, or
                two services for the same.
            TypeError: `Storage(on_stored=)` or `destinations` is `async`, which an `AsyncServer`
                can call, or a function takes something else.
        """
        super().__init__()
        self.ae = ae if ae is not None else AE()
        if not isinstance(port, int) or not 0 <= port <= 65535:
            raise ValueError(f"not a port: {port!r} (0 to 65535; 0 takes a free one)")
        self._bind = (host, port)
        services = listed_services(services)
        storages = [service for service in services if isinstance(service, Storage)]
        if len(storages) > 1:
            raise ValueError("one Storage at most: a C-STORE can go to one folder only")
        self._storage = storages[0] if storages else None
        if self._storage is not None:
            self._check_on_stored(self._storage)
        self._called = None if any_called else _titles(called, self.ae.title)
        self._calling = None if calling is None else [check_ae_title(title) for title in calling]
        self._max_associations = max_associations or self.ae.limits.max_associations
        self._max_ops_performed = max_ops_performed
        if max_handlers < 1:
            raise ValueError(f"max_handlers is at least 1, not {max_handlers}")
        self._max_handlers = max_handlers
        self.destinations = check_peers(
            {} if destinations is None else destinations,
            "destinations",
            asynchronous=self._asynchronous,
        )
        self.any_destination = any_destination
        self._admission = Admission(
            verify_identity=verify_identity,
            require_identity=require_identity,
            refuse_passcode=self.ae.tls is None and not passcode_in_clear,
            accept=accept,
            allow=allow,
            extended=extended,
            supported=supported,
        )
        if self._storage is not None and self._storage.predicate is not None:
            self._admission.add_predicate(self._storage.predicate)
        self._performer: Performer | None = None
        self._associations: WeakValueDictionary[int, AssociationFacts] = WeakValueDictionary()
        self._stopping = threading.Event()  # somebody said stop
        self._told = threading.Event()  # the last association has ended, and it is logged
        self._ending = threading.RLock()  # a signal handler may stop what is being stopped
        self._stopped = False
        self._events = _core.Events()
        self._closing = ExitStack()  # what goes when the server has stopped
        self._lock = threading.RLock()  # garbage that is collected meanwhile may come back here
        for service in services:
            if not isinstance(service, Storage):
                register_service(service, self)

    @property
    def host(self) -> str:
        """Where it listens, once started; until then what it was told."""
        return self._bind[0] if self._listener is None else self._listener.address[0]

    @property
    def port(self) -> int:
        """The port, once started; until then what it was told."""
        return self._bind[1] if self._listener is None else self._listener.address[1]

    @property
    def is_started(self) -> bool:
        """Whether it was; also when it has stopped since."""
        return self._listener is not None

    def start(self) -> Self:
        """Bind and accept.

        Raises:
            OSError: the address cannot be bound.
            TlsError: the certificate, its key or another file of `AE.tls` is not in order.
            LocalProtocolError: it was started before.
            RuntimeError, MemoryError: there are no threads to be had now.
        """
        if self._listener is not None:
            raise LocalProtocolError("a server starts once; make another one")
        self._load()
        try:
            self._listen()
        except BaseException:
            self._fall_silent()
            raise
        _logger.info(
            "listening on %s:%d as %s",
            self.host,
            self.port,
            self._titles_text(),
            extra={"code": "listening"},
        )
        return self

    def _load(self) -> None:
        """Import what requests will need, while none can come that would wait for it, or race."""
        if self.fields():
            from dimse_rs import datasets  # noqa: F401 - it is the loading that counts
            from dimse_rs.encoding import library  # noqa: F401 - likewise

    def _listen(self) -> None:
        self._performer = self._performer_kind(
            self,
            self.ae.timeouts,
            self._max_handlers,
            node=self,
            storage=self._storage,
            events=self._events,
        )
        if self._storage is not None and self._storage.on_stored is not None:
            self._deciding = self._make_deciding(self._performer.service, self._storage)
            self._deciding.start()
        self._log_follower = self._events.follow(wanted_by_logs(server=True), MOST)
        host, port = self._bind
        self._listener = _core.Listener(
            host,
            port,
            service=self._performer.service,
            called=self._called,
            calling=self._calling,
            max_length=self.ae.max_pdu,
            timeouts=asdict(self.ae.timeouts),
            limits=asdict(self.ae.limits) | {"max_associations": self._max_associations},
            max_ops_performed=self._max_ops_performed,
            tls=None if self.ae.tls is None else self.ae.tls._native,
            **self._admission.options(self._supported(), self._unknown()),
        )
        self._admission.start(self._listener, self._max_handlers)
        self._performer.start()
        self._pumping = threads.start("dimse-events", _pump, self._log_follower, self._told)

    def _fall_silent(self) -> None:
        """Have nothing left of what was begun: neither a port, nor threads, nor files."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop(0.0)
        self._admission.stop()
        if self._performer is not None:
            self._performer.stop()
        self._clean_up()

    def _check_on_stored(self, storage: Storage) -> None:
        if storage.on_stored is not None and is_asynchronous(storage.on_stored):
            raise TypeError(
                "Storage(on_stored=) is `async def`, which only an AsyncServer can call; a Server "
                "calls a plain function on a thread"
            )

    def _make_deciding(self, service: _core.Service, storage: Storage) -> Deciding:
        return Deciding(service, storage)

    def _clean_up(self) -> None:
        if self._deciding is not None:
            self._deciding.stop()
        if self._performer is not None:
            self._performer.clean_up()

    def stop(self, grace: float = 5.0, patience: float = 0.0) -> None:
        """Stop accepting, let requests in progress be answered, then abort what is left.

        Returns when everything is over and told, whoever called it first. Harmless when the server
        was never started.

        Args:
            grace: how many seconds requests in progress have. Handlers that do not return by then
                keep their thread.
            patience: before that, how many seconds peers may go on and release by themselves.

        Raises:
            RuntimeError: it was started before this process was forked, and runs in the parent.
        """
        if self._listener is None:
            return
        _core.check_process()
        self._stopping.set()
        try:
            self._listener.stop(grace, patience)
        except BaseException:  # Ctrl-C: what is left is not left alone
            self._listener.stop(0.0)
            self._finish(_HURRY)
            raise
        self._finish(None)

    def _finish(self, within: float | None) -> None:
        """End what is left when nobody is inside. What Ctrl-C leaves undone is done by the next."""
        is_pump = threading.current_thread() is self._pumping  # by a log handler of the user's
        if not self._ending.acquire(blocking=not is_pump):
            return
        try:
            if self._stopped:
                return
            self._quieten()
            if not is_pump and not self._told.wait(within):
                return
            self._clean_up()
            self._closing.close()
            _logger.info("stopped", extra={"code": "stopped"})
            self._stopped = True
        finally:
            self._ending.release()

    def _quieten(self) -> None:
        """Let the threads go; waits for nothing."""
        if self._deciding is not None:
            self._deciding.stop()
        self._events.close()
        self._admission.stop()
        if self._performer is not None:
            self._performer.stop()

    def __del__(self) -> None:
        """Close the port, if nobody did: at once, and whatever else holds a lock meanwhile."""
        listener = self._listener
        if listener is None or self._stopped or sys.is_finalizing():
            return
        with suppress(RuntimeError):
            _core.check_process()  # a forked child leaves it to its parent
            what = f"{self!r} was never stopped"
            listener.stop(0.0)
            self._quieten()
            self._clean_up()
            if not self._stopping.is_set():
                warnings.warn(what, ResourceWarning, stacklevel=2, source=self)

    def wait(self) -> None:
        """Wait until `stop` is called, from another thread or a signal handler, or for Ctrl-C.

        Raises:
            LocalProtocolError: it was not started.
            RuntimeError: it was started before this process was forked, and runs in the parent.
        """
        if self._listener is None:
            raise LocalProtocolError("the server was not started")
        _core.check_process()
        while not self._stopping.wait(0.2):
            pass

    def events(self, *kinds: Kind, timeout: float | None = None) -> Events:
        """Follow what happens: dicts as `dimse storescp --json` prints them, each with key `event`.

        Args:
            kinds: names of events, see `Kind`; default associated, stored, refused, denied,
                rejected, released, aborted (by this node) and error. What is not named here is not
                made.
            timeout: end when nothing came for so many seconds; default never.

        Returns:
            An iterator that ends when the server has stopped. Each call follows from now on; before
            `start` it misses nothing. One that falls 100,000 events behind loses the newest, and
            is told how many.

        Raises:
            ValueError: no such kind.
        """
        auditor = None
        if "audit" in kinds:
            from dimse_rs.observe._auditor import Auditor

            auditor = Auditor(self._called or [self.ae.title], lambda: self.host)
        return Events._of(self._events.follow, kinds, timeout, auditor)

    def metrics(self) -> Metrics:
        """Give what the server does now, and what it counted since it started; also afterwards.

        Cheap: it may be asked for every second. `serve_metrics` gives it to Prometheus.

        Raises:
            LocalProtocolError: it was not started.
        """
        if self._listener is None or self._performer is None:
            raise LocalProtocolError("the server was not started")
        limits = {
            **asdict(self.ae.limits),
            "max_associations": self._max_associations,
            "max_handlers": self._max_handlers,
            "max_ops_performed": self._max_ops_performed,
            "max_pdu": self.ae.max_pdu,
            **dict(_core.fixed_limits()),
        }
        return Metrics._of(
            self._listener.metrics(),
            handlers=self._performer.busy,
            overdue=self._performer.overdue,
            limits=limits,
            timeouts=asdict(self.ae.timeouts),
        )

    def _check_running(self) -> None:
        if self._listener is None or self._stopping.is_set():
            raise LocalProtocolError("the server was not started, or has stopped")

    def _on_stop(self, close: Callable[[], object]) -> None:
        self._closing.callback(close)

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

    if not TYPE_CHECKING:  # for checkers there is no such name

        def __getattr__(self, name: str) -> Any:
            """Name what pynetdicom's attributes are called here."""
            from dimse_rs.hints import refuse

            return refuse(self, "Server", name)

    def __repr__(self) -> str:
        """Show where it listens and as whom."""
        return f"<{type(self).__name__} {self._titles_text()} on {self.host}:{self.port}>"

    def _add(self, field: int, sop_classes: tuple[str, ...], handler: Handler) -> Handler:
        if self._listener is not None:
            raise LocalProtocolError("handlers are added before the server starts")
        if field == C_STORE_RQ and self._storage is not None:
            _check_alone(self._storage, sop_classes)
        return super()._add(field, sop_classes, handler)

    # ---- what is told to the core

    def _supported(self) -> list[tuple[str, list[str], bool, bool, bool]]:
        """Contexts to accept: SOP class, transfer syntaxes, whose order counts, requestor's roles.

        Storage takes any transfer syntax in the sender's order: an opaque store must not turn
        senders of compressed instances into senders of raw ones. For the rest ours decides (E-36).
        """
        classes: dict[str, None] = {str(Verification): None}
        # A C-GET SCP is the user of storage: requestors may take the other role (PS3.4 C.5.3.1).
        reversed_: set[str] = set()
        if C_GET_RQ in self.fields():
            reversed_.update(_plain(ALL_STORAGE))
            classes.update(dict.fromkeys(_plain(ALL_STORAGE)))
        if self._storage is not None:
            classes.update(dict.fromkeys(_plain(self._storage.sop_classes)))
        for field in self.fields():
            of_handlers = self.classes(field)
            if of_handlers is None:
                of_handlers = [*classes_of(SERVICE_OF[field]), *self.named(field)]
            classes.update(dict.fromkeys(_plain(of_handlers)))
            classes.update(dict.fromkeys(_print_meta(of_handlers)))
            # The provider of a service may associate to tell of an event (PS3.4 J.3.3).
            if field == N_EVENT_REPORT_RQ:
                reversed_.update(_plain(of_handlers))
        return [
            (uid, [], False, True, uid in reversed_)
            if any_storage(uid)
            else (uid, _plain(_UNCOMPRESSED), True, True, uid in reversed_)
            for uid in classes
        ]

    def _unknown(self) -> str:
        """What becomes of storage classes that are not supported by name (PS3.4 B.4.1.2)."""
        if self._storage is not None:
            return self._storage.unknown_policy
        every = C_STORE_RQ in self.fields() and self.classes(C_STORE_RQ) is None
        return "announced" if every else "no"

    def _titles_text(self) -> str:
        return "any AE title" if self._called is None else ", ".join(self._called)

    # ---- what the performer wants

    def dial(self, peer: Peer, contexts: Contexts, wait: bool) -> Any:
        """Associate with a destination of C-MOVE."""
        if wait:
            return self.ae.associate(peer, contexts=contexts)
        return self.ae.associate_async(peer, contexts=contexts)

    def association_of(self, core: _core.Association) -> AssociationFacts:
        """Give the association as handlers see it: the same one for every request on it."""
        with self._lock:
            known = self._associations.get(core.id)
            if known is None:
                host, port = core.peer or ("", 0)
                calling, _ = core.titles
                peer = Peer.received(calling, host, port)
                known = self._association_kind(core, self.ae.timeouts, peer)
                known._limits = self.ae.limits
                self._associations[core.id] = known
            return known


def _pump(follower: _core.Follower, told: threading.Event) -> None:
    """Log what happens, as far as the loggers want it. The server is not kept alive for that."""
    wanted: list[str] = []
    try:
        while True:
            if wanted != (now := wanted_by_logs(server=True)):
                follower.want(now)
                wanted = now
            batch = follower.next(_TURN)
            if batch is None:
                return
            for association, kind, facts in batch:
                try:
                    log_event(association, kind, facts)
                except Exception:  # of a log handler of the user's: the rest is logged all the same
                    _logger.exception("an event could not be logged", extra={"code": "log"})
    finally:
        told.set()


def _check_alone(storage: Storage, sop_classes: tuple[str, ...]) -> None:
    """Refuse a handler of C-STORE for what goes to a folder: the folder would get nothing.

    One that names classes is meant to be asked for them, beside a folder for every other class.

    Raises:
        ValueError: the handler is for every class, or both name the same.
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


def _titles(called: Iterable[str] | None, own: str) -> list[str]:
    titles = [own] if called is None else [check_ae_title(title) for title in called]
    if not titles:
        raise ValueError("called= names no AE title: any_called=True answers to all")
    return titles


def _print_meta(classes: Iterable[str]) -> list[str]:
    """List the print meta classes with one of these as a member: peers propose them (PS3.4 H.3)."""
    served = set(classes)
    return [
        str(meta)
        for meta, members in MEMBERS.items()
        if SOP_CLASSES[meta].service == "print" and served.intersection(members)
    ]


def _plain(uids: Iterable[str]) -> list[str]:
    return [str(uid) for uid in uids]
