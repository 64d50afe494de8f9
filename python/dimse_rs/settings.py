"""The settings of an application entity: deadlines, limits, and addresses of peers.

Frozen values that are checked when they are made. Nothing here reads a file or the environment.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from .callables import described, fault_of_arguments, is_asynchronous
from .records import dataclass, names_of

if TYPE_CHECKING:
    from . import _core

__all__ = [
    "DEFAULT_CALLED_AE",
    "Limits",
    "Peer",
    "PeerLike",
    "PeersByTitle",
    "Timeouts",
    "check_ae_title",
    "check_count",
    "check_peers",
    "find_peer",
    "for_core",
    "look_up",
    "parse_peer",
    "peer_at",
    "peer_of",
]

KIB: Final = 1024
MIB: Final = 1024 * KIB

DEFAULT_CALLED_AE: Final = "ANY-SCP"
"""The called AE title when none is given, as DCMTK has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Deadlines in seconds; 0 means none. A `DimseTimeout` names the one that has passed.

    Attributes:
        connect: for the TCP connection.
        tls: for the TLS handshake.
        acse: for the answer to A-ASSOCIATE-RQ.
        release: for the answer to A-RELEASE-RQ.
        write: for the peer to accept any byte of what is being sent.
        idle: for the next message, only while no operation is open.
        handler: for a handler; past it the request is answered with a failure.
        dimse: for a response; begins with the last byte sent, and again with any progress.
        store: for a C-STORE response, likewise.
        retrieve: between two responses of C-GET and C-MOVE, likewise.
        artim: for A-ASSOCIATE-RQ on a new connection, and for the peer to close (PS3.8 9.1.5).
        progress: for the next byte of a message that has begun to arrive; also the time over which
            `Limits.read_rate` is measured.
    """

    # A response takes as long as the work behind it: a C-STORE waits for a disk, a C-GET or C-MOVE
    # perhaps for a tape, hence three deadlines. Only the program knows how long its handlers take.
    connect: float = 10.0
    tls: float = 10.0
    acse: float = 30.0
    release: float = 10.0
    write: float = 60.0
    idle: float = 60.0
    handler: float = 0.0
    dimse: float = 60.0
    store: float = 300.0
    retrieve: float = 600.0
    artim: float = 30.0
    progress: float = 60.0

    def __post_init__(self) -> None:
        """Check that every deadline is a finite number, not negative.

        Raises:
            ValueError: one is out of range; the message names it.
        """
        for name in names_of(self):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 <= value <= sys.float_info.max:
                raise ValueError(
                    f"Timeouts.{name} is a number of seconds, 0 for none: not {value!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The resources that peers may use, in bytes where no other unit is named.

    Attributes:
        max_associations: established associations; one more is rejected (2,3,2).
        max_pending: connections that have not sent their A-ASSOCIATE-RQ yet; one more and the
            oldest is closed, which is logged once a second at most.
        max_pending_per_address: the same from one address, which may be that of a proxy.
        byte_budget: all buffers of a server together, with the decoded data sets of handlers;
            beyond it sockets are not read, and then A700 is answered.
        associate: an A-ASSOCIATE-RQ or -AC.
        command: a command set.
        identifier: the identifier of a query or a retrieval.
        dataset: any other data set that is kept in memory.
        spool_above: a longer data set of a C-STORE for a handler goes to a file.
        operations: requests of a peer beyond the negotiated window; one more aborts the
            association.
        errors: requests on one association that fit no service, such as for a SOP Class that is not
            the one of the context. Each is answered; one more aborts the association.
        read_rate: bytes per second of a message in transit, on average over `Timeouts.progress`;
            a slower peer is aborted.
        instance: the data set of a C-STORE, in memory or in a file.
        inflated: a deflated data set after inflating, where Python decodes it; `identifier` and
            `dataset` hold for inflated ones as well.
        elements: elements and items of a data set that Python decodes, at every level.
        depth: sequences inside sequences of one; 64 at most.
    """

    # One address gets half of the pending connections: it may be that of a proxy, with many peers
    # behind it, but a single attacker must not take the places of all others.
    max_associations: int = 1000
    max_pending: int = 1024
    max_pending_per_address: int = 512
    byte_budget: int = 256 * MIB
    associate: int = 1 * MIB
    command: int = 64 * KIB
    identifier: int = 1 * MIB
    dataset: int = 64 * MIB
    spool_above: int = 1 * MIB
    operations: int = 64
    errors: int = 64
    read_rate: int = 1 * KIB
    instance: int = 64 * 1024 * MIB
    inflated: int = 128 * MIB
    elements: int = 200_000
    depth: int = 64

    def __post_init__(self) -> None:
        """Check that every limit is a positive integer (`spool_above` and `read_rate` may be 0).

        Raises:
            ValueError: one is out of range; the message names it.
        """
        for name in names_of(self):
            value = getattr(self, name)
            least = 0 if name in ("spool_above", "read_rate") else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"Limits.{name} is an integer from {least} up: not {value!r}")
            most = _MOST.get(name, sys.maxsize)
            if value > most:
                raise ValueError(f"Limits.{name} is {most} at most: not {value}")


_MOST: Final = {"read_rate": 0xFFFFFFFF}
"""What the core keeps in fewer bits than an address has."""

MOST_OPERATIONS: Final = 0xFFFF
"""The largest asynchronous operations window (PS3.7 D.3.3.3)."""

IN_PYTHON: Final = frozenset(("handler", "inflated", "elements", "depth"))
"""Settings that the core does not have: Python calls handlers, and Python decodes."""


def for_core(settings: Timeouts | Limits) -> dict[str, Any]:
    """Give the deadlines or limits of the core, by name."""
    return {name: getattr(settings, name) for name in names_of(settings) if name not in IN_PYTHON}


@dataclass(frozen=True, slots=True)
class Peer:
    """The AE title and the address of a peer; prints as `AET@host:port`.

    Attributes:
        ae_title: the called AE title.
        host: a name or an address, IPv6 without brackets.
        port: the TCP port.
    """

    ae_title: str
    host: str
    port: int

    def __post_init__(self) -> None:
        """Check the parts.

        Raises:
            ValueError: a bad AE title, an empty host, or a port out of range.
        """
        # The host is not resolved here: a name may change its address between two associations.
        object.__setattr__(self, "ae_title", check_ae_title(self.ae_title))
        if not self.host or any(c.isspace() or c in "[]@/" for c in self.host):
            raise ValueError(f"not a host: {self.host!r}")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"not a port: {self.port} (1 to 65535)")

    @classmethod
    def received(cls, ae_title: str, host: str, port: int) -> Self:
        """Make the peer of an A-ASSOCIATE-RQ, whose title may be one that we never send."""
        # Past `__post_init__`, which would refuse such a title.
        self = cls.__new__(cls)
        for name, value in (("ae_title", ae_title), ("host", host), ("port", port)):
            object.__setattr__(self, name, value)
        return self

    def __str__(self) -> str:
        """Give `AET@host:port`, with brackets around an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.ae_title}@{host}:{self.port}"


PeerLike: TypeAlias = str | tuple[str, int] | tuple[str, int, str] | Peer
"""A peer as a user writes it: "AET@host:port", "host:port", (host, port), (host, port, AET), or a
`Peer`."""


def parse_peer(peer: PeerLike, *, called: str | None = None) -> Peer:
    """Parse the address of a peer.

    Args:
        peer: "AET@host:port", "host:port", "AET@[::1]:11112", (host, port), (AET@host, port),
            (host, port, AET), or a `Peer`.
        called: the called AE title; wins over one in the address. Without either it is ANY-SCP.

    Raises:
        ValueError: the address cannot be understood; the message says what is wrong.
    """
    if isinstance(peer, Peer):
        return Peer(called or peer.ae_title, peer.host, peer.port)
    if isinstance(peer, str):
        title, address = _split_title(peer)
        host, port = _split_port(peer, address)
    else:
        if not _is_address(peer):
            raise ValueError(f"a peer is (host, port) or (host, port, AET), not {peer!r}")
        title, host = _split_title(peer[0])
        if len(peer) == 3:
            title = peer[2]
        host, port = host.removeprefix("[").removesuffix("]"), int(peer[1])
    return Peer(called or title or DEFAULT_CALLED_AE, host, port)


PeersByTitle: TypeAlias = Mapping[str, PeerLike] | Callable[[str], PeerLike | None]
"""Peers by AE title: a mapping, or a function that gives the peer of a title or None.

Looked up each time that a peer is wanted: a change of the mapping counts from then on.
"""


def check_peers(
    peers: PeersByTitle, name: str = "peers", *, asynchronous: bool = True
) -> PeersByTitle:
    """Check the titles and addresses that a mapping has now, or the signature of a function.

    Args:
        peers: the mapping or function.
        name: the name of the setting, for the message.
        asynchronous: whether there is an event loop for an `async` function.

    Raises:
        ValueError: a title or an address is not valid, or has spaces around it; the message says
            which.
        TypeError: neither a mapping nor a function of one argument, or an `async` function without
            an event loop.
    """
    # A mistake in the settings is an error now: later it would fail a C-MOVE, with A801.
    if not isinstance(peers, Mapping):
        if not callable(peers):
            raise TypeError(f"{name}= is a mapping or a function, not {described(peers)}")
        if fault := fault_of_arguments(peers):
            raise TypeError(f"{name}= is called with one argument, an AE title: {fault}")
        if not asynchronous and is_asynchronous(peers):
            raise TypeError(f"{name}= is `async def`, which only an AsyncServer can call")
    else:
        for title, where in peers.items():
            if check_ae_title(title) != title:
                raise ValueError(f"an AE title that is looked up has no padding: {title!r}")
            parse_peer(where, called=title)
    return peers


def find_peer(peers: PeersByTitle, title: str) -> Peer | None:
    """Look up the peer of an AE title, which becomes the called one; None when there is none.

    Raises:
        ValueError: the address cannot be understood.
        Exception: any that the mapping or the function raises.
    """
    return peer_of(look_up(peers, title), title)


def look_up(peers: PeersByTitle, title: str) -> PeerLike | None:
    """Look up an AE title; of an `async` function this gives a coroutine to be awaited."""
    return peers.get(title) if isinstance(peers, Mapping) else peers(title)


def peer_at(ae_title: str, address: _core.AddressFacts | None) -> Peer:
    """Make the peer of an A-ASSOCIATE-RQ from what the core knows of it."""
    if address is None:
        return Peer.received(ae_title, "", 0)
    return Peer.received(ae_title, address.host, address.port)


def peer_of(found: PeerLike | None, title: str) -> Peer | None:
    """Parse the address that was looked up for an AE title.

    Raises:
        ValueError: the address cannot be understood, or is of another type.
    """
    if found is None:
        return None
    # A user's function may give anything; the message must not quote what it gave.
    if not isinstance(found, str | Peer) and not _is_address(found):
        raise ValueError(f"the peer of {title!r} has no address: got {described(found)}")
    return parse_peer(found, called=title)


def _is_address(what: object) -> bool:
    """Whether an object is a pair of host and port, perhaps with a title."""
    if not isinstance(what, tuple | list) or not 2 <= len(what) <= 3:
        return False
    host, port = what[:2]
    digits = isinstance(port, str) and port.isascii() and port.isdigit()
    return isinstance(host, str) and (isinstance(port, int) or digits)


def _split_title(text: str) -> tuple[str, str]:
    # An AE title may hold an '@' (PS3.5 6.2), a host cannot: the last one separates.
    title, at, address = text.rpartition("@")
    if at and not title.strip():
        raise ValueError(f"no AE title before '@' in {text!r}")
    return title, address


def _split_port(text: str, address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        raise ValueError(f"no port in {text!r}: write AET@host:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"write an IPv6 address in brackets: [{host}]:{port}")
    return host, int(port)


def check_count(name: str, value: int, least: int, most: int | None = None) -> int:
    """Check a keyword that is a number.

    Raises:
        ValueError: no integer, or out of range; the message names the keyword.
    """
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if is_integer and least <= value and (most is None or value <= most):
        return value
    bounds = f"{least} up" if most is None else f"{least} to {most}"
    raise ValueError(f"{name}= is an integer from {bounds}, not {value!r}")


def check_ae_title(title: str) -> str:
    """Trim an AE title and check it: 1 to 16 characters of ISO 646, no control, no backslash.

    Raises:
        TypeError: the title is not a `str`.
        ValueError: the title is not valid.

    Source: PS3.5 6.2, PS3.8 9.3.2.
    """
    if not isinstance(title, str):
        hint = f": write {title.decode('ascii', 'replace')!r}" if isinstance(title, bytes) else ""
        raise TypeError(f"an AE title is a str, not {type(title).__name__}{hint}")
    trimmed = title.strip(" ")
    if not 1 <= len(trimmed) <= 16:
        raise ValueError(f"an AE title has 1 to 16 characters: {title!r} (PS3.5 6.2)")
    if any(not " " <= c <= "~" or c == "\\" for c in trimmed):
        raise ValueError(f"an AE title is plain ASCII without backslash: {title!r} (PS3.5 6.2)")
    return trimmed
