"""What blocking and asyncio associations share: their facts, and their calls as generators."""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, cast

from dimse_rs import log
from dimse_rs.contexts import AcceptedContext, RejectedContext, _accepted, any_storage
from dimse_rs.datasets import in_a_file, tags_of
from dimse_rs.errors import DimseError, LocalProtocolError
from dimse_rs.extended import Extended, answered
from dimse_rs.observe._narrate import catch_up
from dimse_rs.responses import Received
from dimse_rs.settings import Limits, Peer, check_ae_title, check_count
from dimse_rs.sop_class import Model, SOPClass
from dimse_rs.status import Status
from dimse_rs.tls import TLSFacts
from dimse_rs.user_identity import UserIdentity, identity_of

from . import scu
from .steps import Step

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

    from dimse_rs import _core
    from dimse_rs.observe.events import Event, Events, Kind
    from dimse_rs.responses import Response
    from dimse_rs.settings import Timeouts

__all__ = [
    "AcceptedContext",
    "AssociationFacts",
    "Performs",
    "RejectedContext",
    "in_a_file",
    "tags_of",
]

_logger = log.get(log.ASSOCIATION)


class Performs(Protocol):
    """The performer that answers the peer, as its association uses it.

    Attributes:
        lenient_roles: whether a C-GET takes instances without the SCP role too.
    """

    lenient_roles: bool


class AssociationFacts:
    """The facts of an association, and its calls as generators.

    `Association` carries the generators out on the calling thread, `AsyncAssociation` on an event
    loop.
    """

    _limits = Limits()
    """Those of its application entity."""

    def __init__(
        self,
        core: _core.Association,
        timeouts: Timeouts,
        peer: Peer,
        performer: Performs | None = None,
    ) -> None:
        """Wrap an established association of the core; private, use `AE.associate`."""
        self._core = core
        self._timeouts = timeouts
        self._peer = peer
        self._performer = performer
        # Calls that have not ended, and those that were interrupted: the peer still performs them.
        self._outstanding: set[object] = set()
        self._receiving = threading.Lock()  # held by the C-GET whose instances come now

    @cached_property
    def accepted(self) -> tuple[AcceptedContext, ...]:
        """Presentation contexts that were accepted, in the order proposed."""
        return tuple(_accepted(facts) for facts in self._core.contexts if facts.accepted)

    @cached_property
    def rejected(self) -> tuple[RejectedContext, ...]:
        """Presentation contexts that were not accepted, with the reason."""
        return tuple(
            RejectedContext(facts.id, SOPClass.of(facts.sop_class), facts.result)
            for facts in self._core.contexts
            if facts.result != 0  # acceptance
        )

    def context(self, context_id: int) -> AcceptedContext:
        """Find an accepted context by its id.

        Raises:
            KeyError: there is none.
        """
        facts = self._core.context(context_id)
        if facts is None or not facts.accepted:
            raise KeyError(context_id)
        return _accepted(facts)

    def _announce(self) -> None:
        """Log the outcome of the negotiation."""
        _logger.info(
            "%s established: %d of %d presentation contexts, peer takes %s bytes",
            self,
            len(self.accepted),
            len(self.accepted) + len(self.rejected),
            self._core.peer_max_length or "any number of",
            extra=log.of(self._core, "established"),
        )
        extra = log.of(self._core, "negotiation")
        for context in self.accepted:
            facts = (self, context.sop_class, context.transfer_syntax)
            _logger.debug("%s accepted %r in %r", *facts, extra=extra)
        for refused in self.rejected:
            why = (self, refused.sop_class, refused.reason)
            _logger.debug("%s not accepted: %r, %s", *why, extra=extra)
        for warning in self._core.warnings:
            _logger.warning("%s %s", self, warning, extra=extra)
        identity = self.identity
        if identity is not None and identity.response_requested and self.identity_response is None:
            missing = "the peer does not confirm that it verified the user identity"
            _logger.warning("%s %s", self, missing, extra=log.of(self._core, "identity-unanswered"))

    def _log_end(self, how: str) -> None:
        """Log that the association was ended from this side."""
        catch_up(self._core.id)
        _logger.info("%s %s", self, how, extra=log.of(self._core, how))

    def _follow(self, kinds: tuple[Kind, ...], timeout: float | None) -> Events[Event]:
        from dimse_rs.observe.events import Events

        return Events._of(self._core.follow, kinds, timeout)

    @property
    def number(self) -> int:
        """The number of the association, as `association` in events and log records."""
        return self._core.id

    @property
    def peer(self) -> Peer:
        """The peer: its AE title and address."""
        return self._peer

    @property
    def titles(self) -> tuple[str, str]:
        """Calling and called AE title."""
        titles = self._core.titles
        return titles.calling, titles.called

    @property
    def max_length_peer(self) -> int:
        """Largest P-DATA-TF that the peer takes, in bytes; 0 is no limit (PS3.8 D.1)."""
        return self._core.peer_max_length

    def next_message_id(self) -> int:
        """Give the next Message ID, which no outstanding operation has (PS3.7 9.1.1.1.1)."""
        return self._core.next_message_id()

    @property
    def window(self) -> tuple[int, int]:
        """How many operations this side, and the peer, may have outstanding (PS3.7 D.3.3.3)."""
        window = self._core.window
        return window.invoked, window.performed

    @cached_property
    def extended(self) -> Mapping[SOPClass, Extended]:
        """The answers to extended negotiation; options that are not agreed must not be used.

        `StorageOptions`, `QueryRetrieveOptions`, or bytes, by SOP class (PS3.7 D.3.3.5).
        """
        return MappingProxyType(answered(self._core.extended))

    @property
    def identity(self) -> UserIdentity | None:
        """The user that the requestor named; verified only if the acceptor verifies identities."""
        return identity_of(self._core.identity)

    @property
    def identity_response(self) -> bytes | None:
        """The acceptor's answer to a verified identity; None without one (PS3.7 D.3.3.7.2).

        Empty for names; the server's ticket for Kerberos, a SAML response for SAML.
        """
        return self._core.identity_response

    @property
    def tls(self) -> TLSFacts | None:
        """The outcome of the TLS handshake; None without TLS."""
        return TLSFacts._of(self._core.tls)

    @property
    def is_established(self) -> bool:
        """Whether the association has not ended."""
        return self._core.ended is None

    @property
    def ended(self) -> DimseError | None:
        """The error that ended it, `AssociationReleased` after a release; None before its end."""
        return self._core.ended

    # ---- the invoking side of the services, as generators

    def _outgoing(self) -> scu.Outgoing:
        message_id = self._core.next_message_id()
        return scu.Outgoing(self.accepted, message_id, self._timeouts, self._limits)

    def _echo(self, repeat: int) -> Generator[Step, Any, Status]:
        check_count("repeat", repeat, 1, sys.maxsize)
        return scu.c_echo(self._outgoing(), repeat - 1)

    def _store(
        self, instance: Path | Dataset, priority: int, check: bool
    ) -> Generator[Step, Any, Status]:
        how = scu.Storing(priority, check)
        if isinstance(instance, PathLike):
            return scu.c_store_file(cast("Path", instance), self._outgoing(), how)
        scu.check_data_set(instance, "a path, a Part 10 file as bytes, ")
        if isinstance(instance, Mapping):
            instance = scu.data_set_of(instance)
        return scu.c_store_data_set(instance, self._outgoing(), how)

    def _find(
        self,
        call: scu.Call,
        identifier: Dataset | Mapping[str, Any],
        model: Model | str,
        level: scu.Level | None,
        priority: int,
        raw: bool,
    ) -> Generator[Step, Any, None]:
        return scu.c_find(
            call,
            self._outgoing(),
            identifier,
            sop_class=_class_of(model, "find"),
            level=level,
            priority=priority,
            raw=raw,
        )

    def _get(
        self,
        call: scu.Call,
        identifier: Dataset | Mapping[str, Any],
        model: Model | str,
        level: scu.Level | None,
        priority: int,
    ) -> Generator[Step, Any, None]:
        self._warn_without_role()
        return scu.c_retrieve(
            call,
            self._outgoing(),
            identifier,
            sop_class=_class_of(model, "get"),
            level=level,
            priority=priority,
            received=self._received,
        )

    def _move(
        self,
        call: scu.Call,
        identifier: Dataset | Mapping[str, Any],
        model: Model | str,
        level: scu.Level | None,
        priority: int,
        destination: str,
    ) -> Generator[Step, Any, None]:
        return scu.c_retrieve(
            call,
            self._outgoing(),
            identifier,
            sop_class=_class_of(model, "move"),
            level=level,
            priority=priority,
            destination=check_ae_title(destination),
        )

    # A C-STORE of a C-GET names no C-GET: only that of a C-MOVE names its Message ID (PS3.7
    # 9.1.1.1). The core says which C-GETs were under way when an instance came: sent, and not left.
    # The instance is taken to be of the one of them that has a receiver, so there may be one.
    def _receiver(self, retrievals: Sequence[int]) -> scu.Receiver | None:
        """Where an instance goes that came during these C-GETs; None leaves it to the handlers."""
        if retrievals:
            for call in tuple(self._outstanding):
                if (
                    isinstance(call, scu.Call)
                    and call.receiver is not None
                    and call.request is not None
                    and call.request.message_id in retrievals
                ):
                    return call.receiver
        return None

    def _warn_without_role(self) -> None:
        """Warn before a C-GET that by the agreed roles no instance can come (PS3.4 C.5.3).

        The request is sent nevertheless: the peer's answer may give the reason.
        """
        if self._performer is None or self._performer.lenient_roles:
            return
        storage = [context for context in self.accepted if any_storage(context.sop_class)]
        proposed = storage or any(any_storage(context.sop_class) for context in self.rejected)
        if not proposed or any(context.scp for context in storage):
            return
        _logger.warning(
            "%s C-GET: no storage class was accepted with the SCP role for this side, %d without"
            " (PS3.7 D.3.3.4), so every instance will be refused; from a peer that answers no role"
            " selection lenient_roles=True / --lenient-roles takes them nevertheless",
            self,
            len(storage),
            extra=log.of(self._core, "no-role"),
        )

    def _received(self) -> Received:
        received = self._core.received
        why: dict[str, int] = {}
        for refused in received.refused:
            status = str(Status(refused.status, "C-STORE"))
            why[f"{status}: {refused.comment}" if refused.comment else status] = refused.count
        return Received(received.stored, why)

    def _service(
        self,
        field: int,
        sop_class: str,
        instance_uid: str | None,
        dataset: Dataset | Mapping[str, Any] | None = None,
        *,
        context: str | None = None,
        **values: Any,
    ) -> Generator[Step, Any, Response]:
        return scu.n_service(
            field,
            self._outgoing(),
            sop_class=sop_class,
            instance_uid=instance_uid,
            dataset=dataset,
            values=values,
            context_class=context,
        )

    def _cancel(self, call: scu.Call) -> None:
        """Send the C-CANCEL of a call, at most once; do nothing when it has ended."""
        if call.request is None or call.final is not None or call.cancelled:
            return
        call.cancelled = True
        with suppress(DimseError):  # the association is over, and the operation with it
            self._core.send(scu.cancel_of(call.request), wait=False)

    def _cancel_kept(self) -> None:
        """Cancel the calls whose iterators were not left when the association is."""
        for call in tuple(self._outstanding):
            if isinstance(call, scu.Call):
                self._cancel(call)

    if not TYPE_CHECKING:  # for checkers there is no such name

        def __getattr__(self, name: str) -> Any:
            """Raise an error that names what stands for an attribute of pynetdicom."""
            from dimse_rs.hints import refuse

            return refuse(self, "Association", name)

    def __str__(self) -> str:
        """Show the association as logs do: `CALLED<-CALLING(7)`."""
        titles = self._core.titles
        return f"{titles.called}<-{titles.calling}({self._core.id})"

    def __repr__(self) -> str:
        """Show the titles, the peer, and whether the association has ended."""
        life = "established" if self.is_established else "ended"
        return f"<{type(self).__name__} {self} with {self._peer}, {life}>"


def _class_of(model: Model | str, operation: str) -> str:
    if isinstance(model, str):
        return model
    sop_class: SOPClass | None = getattr(model, operation)
    if sop_class is None:
        raise LocalProtocolError(f"the model {model.name} has no C-{operation.upper()} (PS3.4 C.6)")
    return sop_class
