"""`ServerSettings` and `AsyncServerSettings`: the keywords of both servers, as one typed thing.

`Server` and `AsyncServer` declare `**settings: Unpack[...]` with these classes, so that editors
complete every keyword and type checkers check it. `DEFAULTS` has the values of those left out.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final, TypeAlias, TypedDict, cast

from dimse_rs.access import Allow
from dimse_rs.callables import described, fault_of_arguments
from dimse_rs.contexts import Supported
from dimse_rs.extended import Extended
from dimse_rs.handlers import Service
from dimse_rs.hints import unexpected
from dimse_rs.proposal import Proposal
from dimse_rs.settings import PeerLike, PeersByTitle, check_ae_title
from dimse_rs.sop_class import Model, SOPClass
from dimse_rs.storage import Storage
from dimse_rs.uids import several

__all__ = [
    "DEFAULTS",
    "AllowList",
    "AsyncServerSettings",
    "ExtendedAnswer",
    "ExtendedAnswers",
    "ServerSettings",
    "complete",
    "decider",
    "titles",
]

AllowList: TypeAlias = Iterable[Allow] | Callable[[Proposal], Allow | None]
"""Which peers are admitted: entries, of which the first that matches decides, or a function."""

ExtendedAnswer: TypeAlias = Extended | Callable[[SOPClass, Extended], Extended | None]
"""Options that we support, what we declare, or a function of the class and what is offered."""

ExtendedAnswers: TypeAlias = (
    Mapping[str | Model, ExtendedAnswer] | Callable[[SOPClass, Extended], Extended | None]
)
"""Answers to extended negotiation by class or model, or one function for all classes."""


# A TypedDict cannot redefine a key of its base with a wider type. So the keys that differ between
# the servers, functions that may be `async` or not, are in each class; all others are in this one.
class _Values(TypedDict, total=False):
    """The settings that are the same for both servers: all but the user's functions."""

    any_called: bool
    called: Iterable[str] | None
    calling: Iterable[str] | None
    require_identity: bool
    passcode_in_clear: bool

    services: Iterable[Storage | Service]
    supported: Iterable[Supported]
    unknown: bool

    any_destination: bool

    max_associations: int | None
    max_ops_performed: int
    max_handlers: int


class ServerSettings(_Values, total=False):
    """The keywords of `Server`, by what they are for.

    An A-ASSOCIATE-RQ is examined by the settings of admission in their order here.

    Admission:
        called: the called AE titles that the server answers to. Default the title of its AE.
        any_called: answer to any called AE title. Default False.
        calling: the calling AE titles that are admitted. Default any.
        passcode_in_clear: accept a `UsernamePasscode` without TLS. Default False: where identities
            are verified or required, a passcode in clear is rejected. For networks on which no
            one can listen, such as that to a TLS proxy on the same machine.
        require_identity: reject requestors without a user identity. Default False: such requestors
            are admitted, with a verifier too.
        allow: the peers that are admitted, each with what it may ask for: the first entry that
            matches a peer decides, and a peer that no entry matches is rejected with (1,1,3). The
            list is read for each `Proposal`, so that a change counts from the next association on.
            Or a function that gives the entry for a `Proposal`, or None. Default any peer, for
            everything.
        accept: a function of each `Proposal` that the settings so far admit. False or an exception
            rejects the proposal with (1,1,1), an `AssociationRejected` with its own codes.
        verify_identity: a function of each `Proposal` that has an `identity`. True, or the server's
            response of Kerberos and SAML, admits the requestor; the A-ASSOCIATE-AC confirms the
            identity if the requestor asked for that. False, an exception, or no result within
            `Timeouts.acse` rejects the proposal, an `AssociationRejected` does so with its own
            codes. Without a verifier every identity is admitted, and none is confirmed.

    Services:
        services: ready-made performers: at most one `Storage`, and any number that add handlers.
        supported: presentation contexts to accept, instead of and beyond those that services and
            handlers imply; of two entries that list a SOP class the first counts.
        unknown: accept storage classes that are not in the tables too, for handlers of C-STORE for
            every class. Default False; a `Storage` has a setting of its own.
        extended: answers to extended negotiation by SOP class or model: the `QueryRetrieveOptions`
            that handlers support, `StorageOptions` to declare, bytes for other classes, or a
            function of the class and the offer. Or one function for all classes. Default none:
            no option is agreed to.

    Destinations:
        destinations: addresses by AE title, or a function that gives the address of a title, or
            None. Looked up for each C-MOVE; a title without an address is answered A801, before
            a handler is called.
        any_destination: call handlers of C-MOVE for other titles too. They give the address with
            `Retrieve(..., destination=)`, and without one the answer is A801. Default False.

    At the end of an association:
        on_release: a function of the association, called when the peer asks for its release and
            everything that it asked for is answered. The peer gets its answer when the function has
            returned, or at the latest after `Timeouts.release`; a function that raises, or is late,
            is logged. Not called for an association that is aborted or lost.

    Concurrency:
        max_associations: established associations. Default the limit of the AE.
        max_ops_performed: operations that a peer may have outstanding on one association; 0 is no
            limit. Default 1.
        max_handlers: handlers that run at once, each on a thread; 1 for handlers that must not run
            side by side. Further requests wait. When all handlers are past `Timeouts.handler`,
            requests are refused with A700 or 0213. Default 64.

    `allow`, `accept`, `verify_identity` and `extended` are called on threads of their own, at most
    `max_handlers` of them. They are plain functions; `AsyncServerSettings` takes `async` ones too.
    """

    allow: AllowList | None
    accept: Callable[[Proposal], bool] | None
    verify_identity: Callable[[Proposal], bool | bytes] | None
    extended: ExtendedAnswers | None
    destinations: PeersByTitle | None
    on_release: Callable[[Any], object] | None


_AsyncAllowList: TypeAlias = (
    Iterable[Allow] | Callable[[Proposal], Allow | Coroutine[Any, Any, Allow | None] | None]
)
_AsyncExtendedFunction: TypeAlias = Callable[
    [SOPClass, Extended], Extended | Coroutine[Any, Any, Extended | None] | None
]
_AsyncPeersByTitle: TypeAlias = (
    PeersByTitle | Callable[[str], PeerLike | Coroutine[Any, Any, PeerLike | None] | None]
)


class AsyncServerSettings(_Values, total=False):
    """The keywords of `AsyncServer`: those of `ServerSettings`, where they are explained.

    The functions may be `async`: then they run on the loop of the server.
    """

    allow: _AsyncAllowList | None
    accept: Callable[[Proposal], bool | Coroutine[Any, Any, bool]] | None
    verify_identity: Callable[[Proposal], bool | bytes | Coroutine[Any, Any, bool | bytes]] | None
    extended: (
        Mapping[str | Model, Extended | _AsyncExtendedFunction] | _AsyncExtendedFunction | None
    )
    destinations: _AsyncPeersByTitle | None
    on_release: Callable[[Any], object] | None


# Types have no defaults. A test holds the keys of this table equal to those of both classes.
DEFAULTS: Final[ServerSettings] = {
    "any_called": False,
    "called": None,
    "calling": None,
    "require_identity": False,
    "passcode_in_clear": False,
    "allow": None,
    "accept": None,
    "verify_identity": None,
    "services": (),
    "supported": (),
    "unknown": False,
    "extended": None,
    "destinations": None,
    "on_release": None,
    "any_destination": False,
    "max_associations": None,
    "max_ops_performed": 1,
    "max_handlers": 64,
}


def complete(settings: ServerSettings | AsyncServerSettings, server: str) -> AsyncServerSettings:
    """Add the defaults of the settings that are left out.

    Args:
        settings: as the user gave them.
        server: the name of the class, for the message.

    Raises:
        TypeError: there is no such setting; the message names it, and what to write instead.
    """
    for name in settings:
        if name not in DEFAULTS:
            raise TypeError(unexpected(server, name, DEFAULTS))
    # What differs is the types of functions alone, and an AsyncServer calls those of both kinds.
    return cast("AsyncServerSettings", {**DEFAULTS, **settings})


def titles(name: str, value: Iterable[str]) -> list[str]:
    """Check a setting of AE titles; a title alone is a list of one.

    Raises:
        TypeError: no list, or an entry is no `str`.
        ValueError: a title is not valid.
    """
    try:
        return [check_ae_title(title) for title in several(value)]
    except TypeError as error:
        raise TypeError(f"{name}= is a list of AE titles: {error}") from None


def decider(name: str, function: Callable[[Proposal], Any] | None) -> None:
    """Check a setting that is a function of a proposal.

    Raises:
        TypeError: no function, or one of other arguments: it would reject every proposal.
    """
    if function is None:
        return
    if not callable(function):
        raise TypeError(f"{name}= is a function of the proposal, not {described(function)}")
    if fault := fault_of_arguments(function):
        raise TypeError(f"{name}= is called with one argument, the proposal: {fault}")
