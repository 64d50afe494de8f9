"""Every error that this package raises on purpose: one tree.

```
DimseError                                      .message .hint
|-- AssociationError
|   |-- AssociationRejected(result, source, reason)
|   |-- AssociationAborted(source, reason)
|   |-- AssociationReleased
|   `-- NoPresentationContext                   .sop_class .transfer_syntax
|-- TransportError(OSError)
|   |-- ConnectFailed
|   |-- ConnectionLost
|   `-- TlsError
|-- DimseTimeout(TimeoutError)                  .which in connect | tls | acse | dimse | idle
|                                                         | write | release | artim | handler
|-- ProtocolError
|   |-- LocalProtocolError                      this program asked for what the standard forbids
|   `-- RemoteProtocolError                     the peer broke a rule; already answered with A-ABORT
|-- DecodeError(ValueError)                     .offset .section
|   `-- LimitExceeded                           .limit .most: decoding would take too much
|-- SendingCancelled                            in results of `AE.send`: this file was not sent
`-- StatusError(status, comment, response)      a failure status: raised by calls, and by handlers
                                                to answer one
```

A message states the fact, the numbers and the clause; a hint, if any, says what to change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .status import Status

__all__ = [
    "AssociationAborted",
    "AssociationError",
    "AssociationRejected",
    "AssociationReleased",
    "ConnectFailed",
    "ConnectionLost",
    "DecodeError",
    "DimseError",
    "DimseTimeout",
    "LimitExceeded",
    "LocalProtocolError",
    "NoPresentationContext",
    "ProtocolError",
    "RemoteProtocolError",
    "SendingCancelled",
    "StatusError",
    "TlsError",
    "TransportError",
    "from_core",
]


class DimseError(Exception):
    """The root of the tree: every error that this package raises on purpose is one.

    Attributes:
        message: the fact, its numbers and the clause of the standard; one line.
        hint: what to change, or an empty string.
    """

    message: str
    hint: str

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        """Keep the message and the hint; subclasses add attributes."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Give the message, with the hint in brackets."""
        return f"{self.message} (hint: {self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by state: constructors of this tree take other arguments than `args`."""
        return _restore, (type(self), self.args, self.__dict__.copy())


def _restore(cls: type[DimseError], args: tuple[Any, ...], state: dict[str, Any]) -> DimseError:
    # Without `__init__`, which takes other arguments and would make the message anew.
    error = cls.__new__(cls)
    error.args = args
    for name, value in state.items():
        setattr(error, name, value)
    return error


class AssociationError(DimseError):
    """The association does not exist, no longer exists, or cannot carry the request."""


_RESULTS: Final = {1: "permanently", 2: "for now"}
_SOURCES: Final = {
    1: "its service user",
    2: "its service provider (ACSE)",
    3: "its service provider (presentation)",
}
_REASONS: Final = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


class AssociationRejected(AssociationError):
    """The peer answered A-ASSOCIATE-RJ.

    Attributes:
        result: 1 permanent, 2 transient.
        source: 1 service user, 2 provider (ACSE), 3 provider (presentation).
        reason: the code, whose meaning depends on the source; raw, also when reserved.
        calling: the AE title that was sent as calling, if known.
        called: the AE title that was asked for, if known.
        peer: who rejected, if known.

    Source: PS3.8 9.3.4, Table 9-21.
    """

    def __init__(
        self,
        result: int,
        source: int,
        reason: int,
        *,
        calling: str = "",
        called: str = "",
        peer: str = "",
    ) -> None:
        """Make the message from the three codes, and the hint that fits most often."""
        self.result = result
        self.source = source
        self.reason = reason
        self.calling = calling
        self.called = called
        self.peer = peer
        message = (
            f"association rejected {_RESULTS.get(result, f'(result {result})')}"
            f" by {peer or 'the peer'}, {_SOURCES.get(source, f'source {source}')}:"
            f" {self.reason_text}"
            f" ({result},{source},{reason}; PS3.8 9.3.4)"
        )
        super().__init__(message, hint=_rejection_hint(result, source, reason, calling, called))

    @property
    def reason_text(self) -> str:
        """The reason in the words of the standard."""
        return _REASONS.get((self.source, self.reason), f"reserved reason {self.reason}")

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.result == 2


def _rejection_hint(result: int, source: int, reason: int, calling: str, called: str) -> str:
    ours = f"our calling AE title '{calling}'" if calling else "our calling AE title"
    theirs = f"the called AE title '{called}'" if called else "the called AE title"
    # Implementations use these codes loosely: each hint names the cause that is most frequent.
    match (source, reason):
        case (1, 3):
            return f"the peer does not know {ours}: register it there, or use -aet / AE(title)"
        case (1, 7):
            return f"the peer does not go by {theirs}: use its own title, AET@host:port or -aec"
        case (1, 2):
            return "the peer speaks another application context: it may not be a DICOM node"
        case (1, 1):
            return (
                f"the peer gives no reason; peers that check titles often mean {ours} or {theirs}"
            )
        case (2, 1):
            return (
                "the peer refuses without a reason: often the user identity, or no usable context"
            )
        case (2, 2):
            return "the peer does not speak version 1 of the Upper Layer protocol"
        case (3, 1):
            return "the peer is overloaded: try again later"
        case (3, 2):
            return "the peer has all the associations it allows: use fewer, or try again later"
        case _ if result == 2:
            return "the peer calls it transient: try again later"
        case _:
            return "the code is reserved by the standard: the peer's log should say more"


_ABORT_REASONS: Final = {
    0: "reason not specified",
    1: "unrecognized PDU",
    2: "unexpected PDU",
    4: "unrecognized PDU parameter",
    5: "unexpected PDU parameter",
    6: "invalid PDU parameter value",
}


class AssociationAborted(AssociationError):
    """The association ended by A-ABORT, sent or received.

    Attributes:
        source: 0 service user, 2 service provider; 1 is reserved.
        reason: why, when the source is the provider; raw, also when reserved.
        local: whether this side sent the A-ABORT.

    Source: PS3.8 9.3.8, Table 9-26.
    """

    def __init__(
        self,
        source: int,
        reason: int = 0,
        *,
        local: bool = False,
        message: str = "",
        hint: str = "",
    ) -> None:
        """Make the message from the two codes, unless one is given."""
        self.source = source
        self.reason = reason
        self.local = local
        if not message:
            who = "by us" if local else "by the peer"
            why = _ABORT_REASONS.get(reason, f"reserved reason {reason}")
            part = "its application" if source == 0 else f"its protocol machine: {why}"
            # A-ABORT has no field for the side: the text says whose application or machine it was.
            if local:
                part = part.replace("its", "our", 1)
            message = f"association aborted {who}, {part} ({source},{reason}; PS3.8 9.3.8)"
        super().__init__(message, hint=hint)


class AssociationReleased(AssociationError):
    """The association was released in good order, and can carry nothing more (PS3.8 7.2)."""

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        """Use the standard sentence unless a message is given."""
        super().__init__(message or "the association has been released (PS3.8 7.2)", hint=hint)


class NoPresentationContext(AssociationError):
    """No accepted context has this SOP Class and transfer syntax (PS3.8 7.1.1.13).

    Attributes:
        sop_class: the abstract syntax that was needed, or an empty string.
        transfer_syntax: the transfer syntax that was needed, or an empty string.
    """

    def __init__(
        self,
        sop_class: str = "",
        transfer_syntax: str = "",
        *,
        message: str = "",
        hint: str = "",
    ) -> None:
        """Name the class and the syntax, unless a message is given."""
        self.sop_class = sop_class
        self.transfer_syntax = transfer_syntax
        if not message:
            what = _named(sop_class) or "this request"
            syntax = f" in {_named(transfer_syntax)}" if transfer_syntax else ""
            message = f"no accepted presentation context for {what}{syntax} (PS3.8 7.1.1.13)"
        super().__init__(message, hint=hint)


def _named(uid: str) -> str:
    name = getattr(uid, "name", "")
    return f"{name} ({uid})" if name else str(uid)


# This one, `DimseTimeout` and `DecodeError` are exceptions of Python's as well: code that knows no
# DICOM can catch them by `OSError`, `TimeoutError` and `ValueError`.
class TransportError(DimseError, OSError):
    """The connection under the association failed. `errno` is set when the system gave one."""

    def __init__(self, message: str = "", *, errno: int | None = None, hint: str = "") -> None:
        """Keep the system's error number beside the message."""
        super().__init__(message, hint=hint)
        self.errno = errno

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle `errno` too: OSError keeps it outside `__dict__`."""
        return _restore, (type(self), self.args, self.__dict__ | {"errno": self.errno})


class ConnectFailed(TransportError):
    """No connection to the peer could be made."""


class ConnectionLost(TransportError):
    """The connection closed or broke without A-RELEASE or A-ABORT (A-P-ABORT, PS3.8 7.4)."""


class TlsError(TransportError):
    """The TLS handshake failed, or one side speaks TLS and the other does not."""


class DimseTimeout(DimseError, TimeoutError):
    """A wait ended at its deadline.

    Attributes:
        which: connect, tls, acse, dimse, idle, write, release, artim or handler.
        seconds: the deadline that ran out, or None when unknown.
    """

    def __init__(
        self, which: str, seconds: float | None = None, *, message: str = "", hint: str = ""
    ) -> None:
        """Say which wait and how long, unless a message is given."""
        self.which = which
        self.seconds = seconds
        if not message:
            after = "" if seconds is None else f" after {seconds:g} s"
            # The core has one deadline for responses; the request decides which setting it is.
            others = ", .store or .retrieve" if which == "dimse" else ""
            message = f"{_WAITS.get(which, which)} timed out{after} (Timeouts.{which}{others})"
        super().__init__(message, hint=hint)


_WAITS: Final = {
    "connect": "connecting",
    "tls": "the TLS handshake",
    "acse": "waiting for the answer to A-ASSOCIATE-RQ",
    "dimse": "waiting for a response",
    "idle": "the idle association",
    "write": "sending to a peer that does not read",
    "release": "waiting for A-RELEASE-RP",
    "artim": "ARTIM, waiting for A-ASSOCIATE-RQ or for the peer to close,",
    "handler": "the handler",
}


class ProtocolError(DimseError):
    """A rule of the standard was broken, by the side that the subclass names."""


class LocalProtocolError(ProtocolError):
    """This side asked for something that the standard forbids; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule, and was answered with A-ABORT."""


class DecodeError(DimseError, ValueError):
    """Bytes could not be decoded.

    Attributes:
        offset: where in the input, in bytes from its start, or None when unknown.
        section: the clause that was broken, such as "PS3.5 7.1".
    """

    def __init__(
        self, message: str = "", offset: int | None = None, section: str = "", *, hint: str = ""
    ) -> None:
        """Put the offset and the section into the text."""
        self.offset = offset
        self.section = section
        text = message if offset is None else f"{message} at byte {offset}"
        super().__init__(f"{text} ({section})" if section else text, hint=hint)


class LimitExceeded(DecodeError):
    """A data set is not decoded, because that would take more than `Limits` allow.

    A handler that raises this error answers the peer with A700, or 0213 to an N-service.

    Attributes:
        limit: the field of `Limits`.
        most: its value.
    """

    def __init__(self, limit: str, most: int, *, what: str = "") -> None:
        """Say which limit, and of what."""
        self.limit = limit
        self.most = most
        how = _MEASURES.get(limit, "takes more than {} bytes once it is inflated")
        super().__init__(
            f"{what or 'the data set'} {how.format(most)} (Limits.{limit})",
            hint=f"raise it: Limits({limit}=...)",
        )


_MEASURES: Final = {
    "elements": "has more than {} elements and items",
    "depth": "has sequences nested deeper than {}",
    "byte_budget": "takes more memory decoded than is left of {} bytes",
}


class SendingCancelled(DimseError):
    """The sending was cancelled, or interrupted by Ctrl-C, before this file was sent."""

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        """Use the one sentence unless a message is given."""
        super().__init__(message or "not sent: the sending was cancelled before", hint=hint)


class StatusError(DimseError):
    """A failure status: raised by calls, and raised by handlers to answer one.

    Attributes:
        status: the value of (0000,0900).
        comment: the Error Comment (0000,0902), at most 64 characters on the wire.
        response: the whole response, when a call raised this; None in a handler.
        dataset: in a handler, a data set to be sent with the status, where its service allows one.
        elements: in a handler, command elements to be sent with it by keyword, such as
            `{"ErrorID": 0xA710, "OffendingElement": [0x00100020]}` (PS3.7 C.4).

    Source: PS3.7 Annex C.
    """

    def __init__(
        self,
        status: int,
        comment: str | None = "",
        response: Any = None,
        *,
        dataset: Any = None,
        elements: Mapping[str, Any] | None = None,
        hint: str = "",
    ) -> None:
        """Make a `Status` of the code, and put its meaning into the message."""
        self.status: Status = status if isinstance(status, Status) else Status(status)
        self.comment: str = comment or ""
        self.response = response
        self.dataset = dataset
        self.elements: dict[str, Any] = dict(elements or {})
        text = f"status 0x{self.status:04X}, {self.status.meaning}"
        super().__init__(f"{text}: {self.comment}" if self.comment else text, hint=hint)


def from_core(kind: str, fields: dict[str, Any]) -> DimseError:
    """Build the exception for an error that the core reports.

    Args:
        kind: rejected, aborted, released, no-context, connect, lost, transport, tls, timeout,
            local, remote, decode, over, status or limit. Anything else gives a plain `DimseError`.
        fields: the facts. Every kind takes `message` and `hint`; besides, rejected takes result,
            source, reason, calling, called, peer; aborted takes source, reason, local; no-context
            takes sop_class, transfer_syntax; connect, lost, transport and tls take errno; timeout
            takes which, seconds; decode takes offset, section; over takes limit, most, what; status
            takes status, comment, response; tls takes advice, the name of a hint. Missing fields
            have defaults, unknown ones are ignored.

    Returns:
        The exception, to be raised by the caller.
    """
    # Conversions and defaults: an incomplete report of an error must not hide it by another one.
    get = fields.get
    message = str(get("message") or "")
    hint = str(get("hint") or _ADVICE.get(get("advice"), ""))
    match kind:
        case "rejected":
            rejected = AssociationRejected(
                int(get("result", 1)),
                int(get("source", 1)),
                int(get("reason", 1)),
                calling=str(get("calling") or ""),
                called=str(get("called") or ""),
                peer=str(get("peer") or ""),
            )
            # The constructor has made a hint from the codes; one of the core is more precise.
            rejected.hint = hint or rejected.hint
            return rejected
        case "aborted":
            return AssociationAborted(
                int(get("source", 0)),
                int(get("reason", 0)),
                local=bool(get("local", False)),
                message=message,
                hint=hint,
            )
        case "no-context":
            return NoPresentationContext(
                get("sop_class") or "", get("transfer_syntax") or "", message=message, hint=hint
            )
        case "connect" | "lost" | "tls" | "transport":
            return _TRANSPORT[kind](message or _TEXTS[kind], errno=get("errno"), hint=hint)
        case "timeout":
            return DimseTimeout(
                str(get("which") or "dimse"), get("seconds"), message=message, hint=hint
            )
        case "decode" | "input":
            return DecodeError(message, get("offset"), str(get("section") or ""), hint=hint)
        case "over":
            return LimitExceeded(
                str(get("limit") or ""), int(get("most") or 0), what=str(get("what") or "")
            )
        case "status":
            return StatusError(
                int(get("status", 0x0110)),
                str(get("comment") or ""),
                get("response"),
                hint=hint,
            )
        case _:
            return _PLAIN.get(kind, DimseError)(message or _TEXTS.get(kind, ""), hint=hint)


_ADVICE: Final[dict[str | None, str]] = {
    "use-tls": "use TLS: AE(tls=...), or --tls-ca and its kin",
    "peer-should-use-tls": "have it use TLS, or a port without",
    "port-may-be-plain": "its port may be one without TLS",
    "may-be-distrusted": "it may not trust this node's certificate",
    "give-another-port": "give the port where it does, or none of the TLS settings",
    "peer-needs-certificate": "give the peer a certificate,"
    ' or accept it without: verify="optional"',
    "spoken-here": "this node speaks TLS 1.2 with ECDHE and AES-GCM or ChaCha20,"
    " and TLS 1.3 (PS3.15 B.12)",
    "give-certificate": "give one: cert= and key=, or --tls-cert and --tls-key",
    "tell-peer-of-ca": "have the peer trust the CA, or send the intermediate certificates too",
    "renew-certificate": "renew it, or look at the peer's clock",
    "give-server-name": "give the right one: server_name=, or --tls-name",
    "pin-certificate": "if it is the right one nevertheless, pin it: pinned=, or --tls-pin",
    "look-at-clocks": "look at both clocks",
    "name-ca": "name its CA: ca=, or --tls-ca; or pin it: pinned=, or --tls-pin",
    "say-server-name": "name the host in it: server_name=, or --tls-name ('*' is any); or pin it",
    "give-crl": "give the list of the CA that signed it: crl=, or --tls-crl",
}
"""What to change when TLS fails: by the name of a `TlsAdvice` in rust/dimse-net/src/error.rs."""

_TRANSPORT: Final[dict[str, type[TransportError]]] = {
    "connect": ConnectFailed,
    "lost": ConnectionLost,
    "tls": TlsError,
    "transport": TransportError,
}
_PLAIN: Final[dict[str, type[DimseError]]] = {
    "released": AssociationReleased,
    "local": LocalProtocolError,
    "remote": RemoteProtocolError,
    # A limit stops the peer: it sent more than this side is set to take.
    "limit": RemoteProtocolError,
}
_TEXTS: Final = {
    "connect": "cannot connect",
    "lost": "the connection was lost",
    "tls": "TLS failed",
    "transport": "the transport failed",
    "local": "not allowed in this state",
    "remote": "the peer broke the protocol",
    "limit": "a limit of this node was exceeded",
}
