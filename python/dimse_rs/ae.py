"""`AE`: the settings of an application entity; it associates and sends with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

from . import _core
from .association import Association
from .callables import described
from .contexts import Context, Contexts, any_storage, expand
from .errors import AssociationRejected
from .extended import Options, proposed as proposed_options
from .fields import C_STORE_RQ
from .observe._narrate import Narrated
from .records import dataclass, field
from .settings import (
    MOST_OPERATIONS,
    Limits,
    Peer,
    PeerLike,
    Timeouts,
    check_ae_title,
    check_count,
    for_core,
    parse_peer,
)
from .tls import TLS
from .user_identity import UserIdentity, fields_of

if TYPE_CHECKING:
    from threading import Event

    from .aio.association import AsyncAssociation, Connecting
    from .handlers import Handlers
    from .observe.events import Events
    from .perform.performer import Performer
    from .retrying import Backoff
    from .send import Way
    from .send_report import SendReport, SendResult

__all__ = ["AE"]

MAX_HANDLERS = 8
"""Handlers that run at once on an association that this side requested."""

MIN_MAX_PDU = 4096
MAX_MAX_PDU = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class AE:
    """An application entity: settings only. Immutable, so that threads and servers share it.

    Attributes:
        title: our AE title, 1 to 16 characters.
        timeouts: how long each wait may take.
        limits: the resources that peers may use.
        max_pdu: largest P-DATA-TF that we announce, in bytes: 0 (no limit) or 4096 to 16777216.
        no_window_for: called AE titles, or patterns such as "OLD*", of peers that fail on the item
            of the asynchronous operations window: it is never sent to them.
        tls: how connections are secured, those to peers and those to a `Server`; default not at
            all.
    """

    title: str = "DIMSE_RS"
    timeouts: Timeouts = field(default_factory=Timeouts, kw_only=True)
    limits: Limits = field(default_factory=Limits, kw_only=True)
    max_pdu: int = field(default=131072, kw_only=True)
    no_window_for: Sequence[str] = field(default=(), kw_only=True)
    tls: TLS | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the title and the PDU size.

        Raises:
            ValueError: one of them is not allowed.
            TypeError: a setting has another type.
        """
        object.__setattr__(self, "title", check_ae_title(self.title))
        for name, kind in (("timeouts", Timeouts), ("limits", Limits), ("tls", TLS)):
            value = getattr(self, name)
            if not isinstance(value, kind) and (value is not None or name != "tls"):
                raise TypeError(f"{name}= is {kind.__name__}(...), not {described(value)}")
        patterns = self.no_window_for
        patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        object.__setattr__(self, "no_window_for", patterns)
        if not isinstance(self.max_pdu, int):
            raise TypeError(f"max_pdu= is a number of bytes, not {described(self.max_pdu)}")
        if self.max_pdu != 0 and not MIN_MAX_PDU <= self.max_pdu <= MAX_MAX_PDU:
            raise ValueError(
                f"max_pdu is 0 or {MIN_MAX_PDU} to {MAX_MAX_PDU}, not {self.max_pdu} (PS3.8 D.1)"
            )

    if not TYPE_CHECKING:  # for checkers there is no such name

        def __getattr__(self, name: str) -> Any:
            """Refuse an attribute; of pynetdicom's names say what is used here instead."""
            from .hints import refuse

            return refuse(self, "AE", name)

    def associate(
        self,
        peer: PeerLike,
        *,
        contexts: Contexts | None = None,
        handlers: Handlers | None = None,
        called: str | None = None,
        max_ops_invoked: int = 1,
        max_ops_performed: int = 1,
        identity: UserIdentity | None = None,
        extended: Options | None = None,
        events: Events[Any] | None = None,
        lenient_roles: bool = False,
    ) -> Association:
        """Connect to a peer and establish an association.

        Args:
            peer: "AET@host:port", "host:port", (host, port), (host, port, AET) or a `Peer`.
            contexts: SOP classes, `Context`s and models to propose; default Verification.
            handlers: functions that answer the peer's requests on this association: the C-STOREs
                of a C-GET, N-EVENT-REPORT. They run on threads, also while no call is waiting.
            called: the called AE title; wins over one in the address. Default ANY-SCP.
            max_ops_invoked: operations to have outstanding at once; 1 is synchronous, 0 no limit.
            max_ops_performed: operations that the peer may have outstanding.
            identity: the user, such as `Username("bob", response_requested=True)`. A peer that does
                not believe the identity rejects with (1,2,1); a peer that does not check identities
                accepts without a confirmation. A `UsernamePasscode` needs TLS, or its `in_clear`.
            extended: extended negotiation by SOP class or model: `StorageOptions`,
                `QueryRetrieveOptions`, bytes for other classes. `Association.extended` has the
                answer.
            events: an `Events("negotiated", "pdu")` that follows this association from its
                beginning, also when it fails; iterate over it on another thread, or afterwards.
            lenient_roles: during a C-GET accept instances that the peer may not send by the
                standard: of a storage class that it accepted without giving us the SCP role, and on
                the presentation context of the C-GET itself. There are PACS that do either.

        Raises:
            ConnectFailed: no connection.
            TlsError: the handshake failed; the message says why.
            AssociationRejected: the peer rejected; the message says why and what may help.
            AssociationAborted, ConnectionLost, DimseTimeout, RemoteProtocolError: the association
                ended before it was established.
            LocalProtocolError: a passcode would be sent in clear.
            ValueError: the address, the title or the contexts are not allowed.

        Source: PS3.8 7.1.1, PS3.7 D.
        """
        target = parse_peer(peer, called=called)
        proposed = expand(contexts)
        request = self._request(target, proposed, identity, extended)
        window = max_ops_invoked, max_ops_performed
        # Inside of `Narrated`: the events of the connection are in the log before this call returns
        # or raises.
        try:
            with Narrated(events) as narrated:
                performer = self._performer(proposed, handlers, narrated, lenient_roles)
                asked = self._asked(target, request, window, performer, narrated)
                core = _core.associate(*asked)
        except AssociationRejected as rejected:
            raise self._explained(rejected, target) from None
        association = Association(core, self.timeouts, target, performer)
        association._limits = self.limits
        if performer is not None:
            performer.serve(association)
        association._announce()
        return association

    def associate_async(
        self,
        peer: PeerLike,
        *,
        contexts: Contexts | None = None,
        handlers: Handlers | None = None,
        called: str | None = None,
        max_ops_invoked: int = 1,
        max_ops_performed: int = 1,
        identity: UserIdentity | None = None,
        extended: Options | None = None,
        events: Events[Any] | None = None,
        lenient_roles: bool = False,
    ) -> Connecting:
        """Connect for asyncio, with the arguments of `associate`: await it, or use `async with`.

        Handlers may be `async` functions and generators; others run on threads.
        """
        from .aio.association import Connecting

        target = parse_peer(peer, called=called)
        proposed = expand(contexts)
        request = self._request(target, proposed, identity, extended)
        window = max_ops_invoked, max_ops_performed
        dial = partial(self._connect, target, proposed, request, window)
        return Connecting(dial(handlers, events, lenient_roles))

    async def _connect(
        self,
        target: Peer,
        proposed: Sequence[Context],
        request: _core.AssociateRequest,
        window: tuple[int, int],
        handlers: Handlers | None,
        events: Events[Any] | None,
        lenient_roles: bool,
    ) -> AsyncAssociation:
        from .aio.association import AsyncAssociation
        from .completer import Completer

        try:
            with Narrated(events) as narrated:
                performer = self._performer(
                    proposed, handlers, narrated, lenient_roles, asynchronous=True
                )
                asked = self._asked(target, request, window, performer, narrated)
                core = await Completer.here().wait(lambda then: _core.associate(*asked, then=then))
        except AssociationRejected as rejected:
            raise self._explained(rejected, target) from None
        association = AsyncAssociation(core, self.timeouts, target, performer)
        association._limits = self.limits
        if performer is not None:
            performer.serve(association)
        association._announce()
        return association

    def _performer(
        self,
        proposed: Sequence[Context],
        handlers: Handlers | None,
        narrated: Narrated,
        lenient_roles: bool,
        *,
        asynchronous: bool = False,
    ) -> Performer | None:
        """Make the performer of the peer's requests; None when no request can be served."""
        if handlers is not None and not asynchronous:
            handlers.check_blocking()
        # C-STOREs come only during a C-GET, on contexts in which this side is the SCP. They go to
        # the queue without a handler too: `c_get(into=...)` names their destination later.
        may_receive = lenient_roles or any(
            context.scp and any_storage(context.sop_class) for context in proposed
        )
        received = (C_STORE_RQ,) if may_receive else ()
        if handlers is None and not received:
            return None
        # Most requestors serve nothing, so what answers requests is imported for those that do.
        from .handlers import Handlers
        from .perform.performer import Performer
        from .perform.routes import routes_of

        kind = Performer
        if asynchronous:
            from .aio._performer import AsyncPerformer

            kind = AsyncPerformer

        handlers = handlers or Handlers()
        routes = routes_of(
            handlers, queued=received, events=narrated.events, lenient_roles=lenient_roles
        )
        return kind(handlers, routes, self.timeouts, MAX_HANDLERS)

    def _config(
        self,
        service: _core.Service,
        *,
        max_ops_invoked: int = 1,
        max_ops_performed: int = 1,
        **limits: int,
    ) -> _core.Config:
        """Make the settings of an association for the core; `limits` replace those of the AE."""
        invoked = check_count("max_ops_invoked", max_ops_invoked, 0, MOST_OPERATIONS)
        performed = check_count("max_ops_performed", max_ops_performed, 0, MOST_OPERATIONS)
        return _core.Config(
            _core.Timeouts(**for_core(self.timeouts)),
            _core.Limits(**for_core(self.limits) | limits),
            max_length=self.max_pdu,
            max_ops_invoked=invoked,
            max_ops_performed=performed,
            service=service,
            tls=None if self.tls is None else self.tls._native,
        )

    def _asked(
        self,
        target: Peer,
        request: _core.AssociateRequest,
        window: tuple[int, int],
        performer: Performer | None,
        narrated: Narrated,
    ) -> tuple[str, int, _core.AssociateRequest, _core.Config]:
        """Give the arguments of `_core.Association.request`: address, request and settings."""
        service = performer.service if performer else _core.Service(events=narrated.events)
        if any(fnmatchcase(target.ae_title, pattern) for pattern in self.no_window_for):
            window = 1, 1  # the default, for which no item is sent: this peer fails on the item
        invoked, performed = window
        config = self._config(service, max_ops_invoked=invoked, max_ops_performed=performed)
        return target.host, target.port, request, config

    def _request(
        self,
        target: Peer,
        proposed: Sequence[Context],
        identity: UserIdentity | None,
        extended: Options | None,
    ) -> _core.AssociateRequest:
        """Make the A-ASSOCIATE-RQ (PS3.8 9.3.2, PS3.7 D.3.3)."""
        return _core.AssociateRequest(
            self.title,
            target.ae_title,
            [_proposal(context) for context in proposed],
            identity=fields_of(identity, secured=self.tls is not None),
            extended=proposed_options(extended or {}, {c.sop_class for c in proposed}),
            common=_common(proposed),
        )

    def _explained(self, rejected: AssociationRejected, target: Peer) -> AssociationRejected:
        """Add both AE titles and the address to a rejection."""
        return AssociationRejected(
            rejected.result,
            rejected.source,
            rejected.reason,
            calling=self.title,
            called=target.ae_title,
            peer=str(target),
        )

    def send(
        self,
        peer: PeerLike,
        paths: Iterable[str | PathLike[str]] | str | PathLike[str],
        *,
        associations: int = 1,
        recurse: bool = True,
        contexts: Contexts | None = None,
        called: str | None = None,
        max_ops_invoked: int = 1,
        identity: UserIdentity | None = None,
        repair: bool = False,
        reassociate: int = 3,
        check: bool = True,
        retries: int = 0,
        backoff: Backoff = 10.0,
        cancel: Event | None = None,
        resume: SendReport | None = None,
        on_result: Callable[[SendResult], object] | None = None,
        on_event: Callable[[Mapping[str, Any]], object] | None = None,
    ) -> SendReport:
        """Send files unconverted, and report the result of each.

        The contexts are planned from the SOP classes and transfer syntaxes of the files; files that
        do not fit into the 128 contexts of one association go over further ones. Every file has one
        result, and a failure never ends the others. When an association ends early, as with a peer
        that aborts at a file, the files on their way are failed, and the files after them go over
        another association. Without `retries` no file is sent twice.

        A file without preamble or File Meta Information is recognised by its data set: Explicit or
        Implicit VR Little Endian, complete, with both SOP UIDs. Other files in a searched folder
        are skipped, and `report.skipped` says why.

        Args:
            peer: as for `associate`.
            paths: files, and folders that are searched for DICOM files, regular ones only; links to
                folders are not followed.
            associations: how many associations to use at once, at most.
            recurse: search folders inside folders.
            contexts: propose these instead of planning from the files.
            called: as for `associate`.
            max_ops_invoked: operations to have outstanding on each association.
            identity: as for `associate`.
            repair: repair files that are refused otherwise: values of odd length are padded, File
                Meta Information without a transfer syntax is made; `SendResult.repaired` lists the
                repairs.
            reassociate: how many associations in a row may end early without an answer to any file
                until the remaining files are given up; 0 never associates again.
            check: refuse files that are cut short, as `Association.c_store` does; False sends them.
            retries: how often the files are sent again whose failure may pass by itself, by the
                table `RETRYABLE`. A file whose answer was lost may come to the peer twice.
            backoff: seconds before the first retry, doubled for each further one up to an hour; the
                wait is a random part of that, so that many senders do not come back together. Or a
                function of the number of the retry, from 1, that gives the seconds.
            cancel: when another thread sets this event, no further file begins. Files on their way
                have five seconds to be answered, then their associations are aborted.
            resume: the report of an earlier sending: files that the peer stored then are not sent,
                and have their result in this report too.
            on_result: called with each result at once, on one thread at a time; a failure that is
                tried again has none yet.
            on_event: called with events: `associated`; `progress`, at the beginning and after each
                result, with `done` and `total`, `bytes` and `total_bytes`; `retry`, with `files`,
                `retry`, `seconds` and `why`.

        Returns:
            One result for each file; `report.raise_for_failures()` turns failures into an error,
            `report.cancelled` says that files were left.

        Raises:
            LocalProtocolError: a passcode would be sent in clear.
            ValueError: the address or a number is not allowed, there are no paths, or one is "".
            SendInterrupted: Ctrl-C, a KeyboardInterrupt with the `report`; the associations are
                aborted.

        Source: PS3.7 9.1.1, PS3.4 B.
        """
        from .send import send

        way = self._way(
            peer,
            (called, max_ops_invoked, identity),
            associations=associations,
            recurse=recurse,
            contexts=contexts,
            repair=repair,
            reassociate=reassociate,
            check=check,
            retries=retries,
            backoff=backoff,
            cancel=() if cancel is None else (cancel,),
            resume=resume,
        )
        return send(way, paths, on_result, on_event)

    async def send_async(
        self,
        peer: PeerLike,
        paths: Iterable[str | PathLike[str]] | str | PathLike[str],
        *,
        associations: int = 1,
        recurse: bool = True,
        contexts: Contexts | None = None,
        called: str | None = None,
        max_ops_invoked: int = 1,
        identity: UserIdentity | None = None,
        repair: bool = False,
        reassociate: int = 3,
        check: bool = True,
        retries: int = 0,
        backoff: Backoff = 10.0,
        cancel: Event | None = None,
        resume: SendReport | None = None,
        on_result: Callable[[SendResult], object] | None = None,
        on_event: Callable[[Mapping[str, Any]], object] | None = None,
    ) -> SendReport:
        """Send files on an event loop: see `send`.

        The files are sent by threads, and `on_result` and `on_event` are called on the loop. When
        the task is cancelled, the sending is cancelled as by `cancel`; the note of the
        CancelledError says how many files were sent.
        """
        from .aio.sending import send_async

        way = self._way(
            peer,
            (called, max_ops_invoked, identity),
            associations=associations,
            recurse=recurse,
            contexts=contexts,
            repair=repair,
            reassociate=reassociate,
            check=check,
            retries=retries,
            backoff=backoff,
            cancel=() if cancel is None else (cancel,),
            resume=resume,
        )
        return await send_async(way, paths, on_result, on_event)

    def _way(
        self,
        peer: PeerLike,
        asked: tuple[str | None, int, UserIdentity | None],
        **options: Any,
    ) -> Way:
        """Make the way of a sending; `asked`: called AE title, operations, and identity."""
        from .send import Way

        called, max_ops_invoked, identity = asked
        fields_of(identity, secured=self.tls is not None)
        target = parse_peer(peer, called=called)
        associate = partial(
            self.associate, target, max_ops_invoked=max_ops_invoked, identity=identity
        )
        return Way(associate, target, **options)


# The data class has made its own `__setattr__`, which says of any name that the field is frozen: of
# pynetdicom's names it would not say what to write instead.
if not TYPE_CHECKING:
    _frozen = AE.__setattr__

    def _set(self: AE, name: str, value: object) -> None:
        """Refuse, as a frozen data class does; of pynetdicom's names say what to set instead."""
        if name not in AE.__slots__:
            getattr(self, name)
        _frozen(self, name, value)

    AE.__setattr__ = _set


def _proposal(context: Context) -> _core.ProposedContext:
    syntaxes = [str(uid) for uid in context.transfer_syntaxes]
    return _core.ProposedContext(str(context.sop_class), syntaxes, context.scu, context.scp)


def _common(proposed: Iterable[Context]) -> list[_core.CommonExtended]:
    """Make the common extended negotiation items, one for each class (PS3.7 D.3.3.6)."""
    items = {c.sop_class: c for c in proposed if c.service_class is not None}
    return [
        _core.CommonExtended(
            str(uid), str(context.service_class), [str(general) for general in context.related]
        )
        for uid, context in items.items()
    ]
