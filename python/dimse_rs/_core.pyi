# ruff: noqa: PYI021 - the module is native: this is where its docstrings can be read.
"""The native core of `dimse_rs`, as types. Private: its users are the modules of this package.

Blocking calls release the interpreter and answer Ctrl-C within 0.2 s. Errors are those of
`dimse_rs.errors`. In a forked child they raise RuntimeError: its threads did not come along.

Every call that waits takes `then`: completions of an event loop and a number. With `then` the call
does not wait, whatever its type says. If the outcome is there at once, the call gives it in a tuple
or raises it; otherwise the call gives None, and the outcome comes out of the completions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, final

from typing_extensions import Buffer

from .errors import DimseError

__all__ = [
    "TLS",
    "AddressFacts",
    "Arrivals",
    "AssociateRequest",
    "Association",
    "Bounds",
    "Bulk",
    "Cancellation",
    "CertificateFacts",
    "Collect",
    "CommonExtended",
    "Completions",
    "Config",
    "Connection",
    "ContextFacts",
    "Credentials",
    "Dictionary",
    "EventFacts",
    "Events",
    "ExtendedAnswer",
    "FileFacts",
    "FileResult",
    "FixedLimits",
    "Folder",
    "Follower",
    "Groups",
    "HeaderFacts",
    "Headers",
    "HeldRelease",
    "HistogramFacts",
    "Identity",
    "ImplementationFacts",
    "Invocation",
    "Limits",
    "Listener",
    "Message",
    "MetricsFacts",
    "MoveOriginator",
    "Operation",
    "Payload",
    "Permit",
    "Policy",
    "Proposal",
    "ProposedContext",
    "ReceivedFacts",
    "Refusal",
    "RefusedFacts",
    "Reserved",
    "SavedFacts",
    "Scan",
    "Service",
    "Sink",
    "StoredFacts",
    "SupportedContext",
    "TLSFacts",
    "Timeouts",
    "TitlesFacts",
    "UnknownClasses",
    "WindowFacts",
    "__version__",
    "alive_tasks",
    "associate",
    "check_process",
    "command_fields",
    "context_results",
    "encode_elements",
    "event_kinds",
    "fixed_limits",
    "followed_kinds",
    "implementation",
    "is_debug_build",
    "panics",
    "probe",
    "raw_elements",
    "scan",
    "scan_file",
    "status_codes",
]

_Path: TypeAlias = str | PathLike[str]
# (SOP class, application information)
_Extended: TypeAlias = tuple[str, bytes]
_Then: TypeAlias = tuple[Completions, int]
_Output: TypeAlias = (
    tuple[Literal["connect", "close", "start-artim", "stop-artim"], None]
    | tuple[Literal["transmit"], bytes]
    | tuple[Literal["indicate"], tuple[str, dict[str, Any]]]
)

__version__: Final[str]

def check_process() -> None:
    """Check that this is the process in which the core runs.

    Raises:
        RuntimeError: this process was forked after the core had started.
    """

def fixed_limits() -> FixedLimits:
    """The limits that no setting changes."""

def implementation() -> ImplementationFacts:
    """What implements this node (PS3.7 D.3.3.2)."""

def alive_tasks() -> int:
    """Tasks of the core that are alive in this process; tests check that none is left over."""

def is_debug_build() -> bool:
    """Whether the core was built without optimisation, which makes it many times slower."""

def panics() -> int:
    """Faults of the core in this process, since its threads were started."""

def event_kinds() -> list[str]:
    """Every kind of event that comes out of a `Follower`."""

def followed_kinds() -> list[str]:
    """Every name by which `follow` is asked for events."""

def command_fields() -> list[tuple[int, str]]:
    """The Command Fields with the standard's names of the messages (PS3.7 E.1)."""

def status_codes() -> list[tuple[str, int]]:
    """The status codes that the core knows by name (PS3.7 C)."""

def context_results() -> list[tuple[int, str]]:
    """The results of presentation contexts and their names (PS3.8 Table 9-18)."""

def probe(path: _Path) -> FileFacts:
    """Read the beginning of a Part 10 file, and give what it is.

    Raises:
        DecodeError: the file is no instance that can be sent.
        OSError: the file cannot be opened.
    """

@final
class FileFacts:
    """What the beginning of a Part 10 file shows of it."""

    @property
    def sop_class(self) -> str: ...
    @property
    def sop_instance(self) -> str: ...
    @property
    def transfer_syntax(self) -> str: ...
    @property
    def size(self) -> int:
        """Length of the data set in bytes."""

@final
class TitlesFacts:
    """The AE titles of an association or of a proposal; empty before the titles are known."""

    @property
    def calling(self) -> str: ...
    @property
    def called(self) -> str: ...

@final
class AddressFacts:
    """Where a peer, or a listener, is."""

    @property
    def host(self) -> str:
        """The IP address."""
    @property
    def port(self) -> int:
        """The TCP port."""

@final
class ImplementationFacts:
    """What implements a node (PS3.7 D.3.3.2); empty where a peer did not name it."""

    @property
    def class_uid(self) -> str:
        """Implementation Class UID."""
    @property
    def version(self) -> str:
        """Implementation Version Name."""

@final
class FixedLimits:
    """The limits that no setting changes."""

    @property
    def contexts(self) -> int:
        """Presentation contexts of a proposal."""
    @property
    def transfer_syntaxes(self) -> int:
        """Transfer syntaxes of a presentation context."""
    @property
    def sequence_depth(self) -> int:
        """Sequences inside each other in a data set."""
    @property
    def empty_fragments(self) -> int:
        """Fragments without bytes in a message."""

@final
class WindowFacts:
    """The asynchronous operations window (PS3.7 D.3.3.3), from this end's view."""

    @property
    def invoked(self) -> int:
        """Operations that this end may have outstanding; 0 is no limit."""
    @property
    def performed(self) -> int:
        """Operations that the peer may have outstanding; 0 is no limit."""

@final
class ContextFacts:
    """What was agreed on one presentation context (PS3.8 9.3.3.2), from this end's view."""

    @property
    def id(self) -> int: ...
    @property
    def sop_class(self) -> str: ...
    @property
    def result(self) -> int:
        """A number of PS3.8 Table 9-18."""
    @property
    def reason(self) -> str:
        """The same in the words of the standard."""
    @property
    def accepted(self) -> bool:
        """Whether it can carry messages."""
    @property
    def transfer_syntax(self) -> str | None:
        """The transfer syntax that the acceptor picked; None when the context was not accepted."""
    @property
    def scu(self) -> bool:
        """Whether this end may invoke operations on it."""
    @property
    def scp(self) -> bool:
        """Whether this end may perform operations on it."""

@final
class ProposedContext:
    """A presentation context that a requestor proposes (PS3.8 9.3.2.2)."""

    def __new__(
        cls, sop_class: str, transfer_syntaxes: Sequence[str], scu: bool = True, scp: bool = False
    ) -> ProposedContext: ...
    @property
    def sop_class(self) -> str: ...
    @property
    def transfer_syntaxes(self) -> list[str]: ...
    @property
    def scu(self) -> bool:
        """Whether the requestor may invoke operations on it."""
    @property
    def scp(self) -> bool:
        """Whether the requestor may perform operations on it."""

@final
class SupportedContext:
    """A presentation context that an acceptor takes (PS3.8 9.3.3.2).

    Args:
        sop_class: the abstract syntax.
        transfer_syntaxes: accepted ones; an empty sequence accepts any.
        own_order: this order decides, not the requestor's.
        scu: the requestor may be SCU.
        scp: the requestor may be SCP.
    """

    def __new__(
        cls,
        sop_class: str,
        transfer_syntaxes: Sequence[str] = ...,
        *,
        own_order: bool = False,
        scu: bool = True,
        scp: bool = False,
    ) -> SupportedContext: ...
    @property
    def sop_class(self) -> str: ...
    @property
    def transfer_syntaxes(self) -> list[str]: ...
    @property
    def own_order(self) -> bool: ...
    @property
    def scu(self) -> bool: ...
    @property
    def scp(self) -> bool: ...

@final
class CommonExtended:
    """Common extended negotiation of one SOP class (PS3.7 D.3.3.6)."""

    def __new__(
        cls, sop_class: str, service_class: str, related: Sequence[str]
    ) -> CommonExtended: ...
    @property
    def sop_class(self) -> str: ...
    @property
    def service_class(self) -> str: ...
    @property
    def related(self) -> list[str]: ...

@final
class Identity:
    """A user identity (PS3.7 D.3.3.7); its `repr` shows no field."""

    def __new__(
        cls, type: int, response_requested: bool, primary: bytes, secondary: bytes
    ) -> Identity: ...
    @property
    def type(self) -> int: ...
    @property
    def response_requested(self) -> bool: ...
    @property
    def primary(self) -> bytes: ...
    @property
    def secondary(self) -> bytes: ...

@final
class ReceivedFacts:
    """The results of C-STORE requests that came during a C-GET of this end."""

    @property
    def stored(self) -> int: ...
    @property
    def refused(self) -> list[RefusedFacts]: ...

@final
class RefusedFacts:
    """Instances that were refused for the same reason."""

    @property
    def status(self) -> int: ...
    @property
    def comment(self) -> str: ...
    @property
    def count(self) -> int: ...

@final
class Cancellation:
    """Whether an operation is cancelled; the core reads it while it sends files."""

    @property
    def cancelled(self) -> bool: ...

@final
class Dictionary:
    """VRs by tag, for `scan` of elements that are encoded without VR.

    Args:
        standard: of elements.
        repeated: of repeating groups and elements, by a tag and the bits of it that count.
        private: of private ones, by group and last byte of the element.
    """

    def __new__(
        cls,
        standard: Sequence[tuple[int, str]],
        repeated: Sequence[tuple[int, int, str]],
        private: Sequence[tuple[int, str]],
    ) -> Dictionary: ...

@final
class Scan:
    """What is known of a whole data set before it is decoded."""

    @property
    def transfer_syntax(self) -> str:
        """Of a file: (0002,0010)."""
    @property
    def data_offset(self) -> int:
        """Of a file: where the data set starts."""
    @property
    def size(self) -> int:
        """Length, inflated, in bytes."""
    @property
    def elements(self) -> int:
        """Data elements and items, at every level."""
    @property
    def depth(self) -> int:
        """Sequences inside sequences, at most."""
    @property
    def values(self) -> int:
        """Bytes of memory that the single values of multi-valued elements take."""

@final
class Bounds:
    """What decoding one data set may take.

    Args:
        inflated: bytes.
        elements: with items, at every level.
        depth: of sequences inside sequences.
    """

    def __new__(cls, *, inflated: int, elements: int, depth: int) -> Bounds: ...

def scan(
    data: Buffer,
    encoding: Literal["implicit", "explicit", "big"],
    deflated: bool,
    limits: Bounds,
    dictionary: Dictionary,
    *,
    lenient: bool = False,
) -> Scan:
    """Walk a data set in memory.

    `lenient`: pass over what is out of place where that is possible; the decoder judges it.

    Raises:
        DecodeError: it is not whole.
        LimitExceeded: decoding it takes more than a limit.
    """

def scan_file(path: _Path, limits: Bounds, dictionary: Dictionary) -> Scan:
    """Walk the data set of a Part 10 file; large values are not read.

    Raises:
        DecodeError: it is no Part 10 file, or not whole.
        LimitExceeded: decoding it takes more than a limit.
        OSError: it cannot be opened, or read.
    """

def encode_elements(
    elements: dict[Any, Any], encoding: Literal["implicit", "explicit", "big"], utf8: bool
) -> list[Any]:
    """Encode the elements of pydicom whose values are plain, in ascending order of their tags.

    Without groups 0000 and 0002, and group lengths. `elements`: by tag. `utf8`: whether text is
    encoded in UTF-8, of a data set that was made in this process; otherwise ASCII alone is.

    Returns:
        Bytes, and the tag of each element that is not among them in its place.
    """

def raw_elements(
    data: bytes,
    encoding: Literal["implicit", "explicit", "big"],
    tag: Callable[[int], Any],
    element: Callable[[tuple[Any, ...]], Any],
    common: tuple[Any, ...],
) -> dict[Any, Any] | None:
    """Split a whole data set into elements of pydicom, by tag; None when only pydicom can read it.

    `tag` makes a tag of a number, `element` an element of a tuple: of its tag, VR, length, value
    and the offset of the value, and of what is in `common`.
    """

@final
class Headers:
    """Which elements of the top level are collected, and the limits of decoding what has them.

    An element is collected up to 4 KiB; of two with the same tag the first.

    Args:
        tags: of the elements.
        limits: of decoding the whole data set.
        dictionary: of pydicom.
    """

    def __new__(cls, tags: Sequence[int], limits: Bounds, dictionary: Dictionary) -> Headers: ...
    def read(self, paths: Sequence[str]) -> list[HeaderFacts | Exception]:
        """Read files, on a few threads. Each is walked to its end as by `scan_file`.

        Gives the facts of each file, or the exception that `scan_file` raises.
        """

@final
class HeaderFacts:
    """Elements that were collected of one data set."""

    @property
    def transfer_syntax(self) -> str:
        """(0002,0010), or what the file turned out to be in."""
    @property
    def packed(self) -> bytes:
        """The elements in the order of tags, undecoded.

        Each is `struct` "<I2sH" and the value: tag; VR, zeros in Implicit VR; length, of which the
        highest bit says that the data set leaves the length undefined. Values are as encoded, those
        of sequences without the delimiter.
        """
    @property
    def plain(self) -> bool:
        """Whether decoders read the data set as the core does.

        And no element was left out because it is too long, and decoding takes no more than the
        limits.
        """

@final
class Groups:
    """Groups of tags."""

    def __new__(cls, groups: Sequence[Sequence[int]]) -> Groups: ...
    def split(self, packed: bytes) -> tuple[bytes, ...]:
        """Give the packed elements of each group; those without a value are left out."""

@final
class Reserved:
    """Bytes of the byte budget, reserved until `release` or until this object is deleted."""

    def release(self) -> None:
        """Give it back."""

@final
class Payload:
    """The bytes of a data set: read-only, of the format "B", valid after the association too.

    `bytes(payload)` copies, `memoryview(payload)` does not.
    """

    def __len__(self) -> int: ...
    def __bytes__(self) -> bytes: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def write_to(self, file: Any) -> int:
        """Write all of it to a binary file object, piece by piece; give the number of bytes."""

@final
class Message:
    """A DIMSE message (PS3.7 6.3): to be sent, or received.

    `command` maps keywords of PS3.7 Annex E to values: UIDs, AE titles and text as `str`, numbers
    as `int`, tags as lists of `int`. (0000,0000) and (0000,0800) are filled in.

    Raises:
        KeyError: no such command element.
        LocalProtocolError: a value that cannot be sent.
    """

    def __new__(
        cls, context_id: int, command: dict[str, Any], data: Buffer | None = None
    ) -> Message: ...
    @property
    def context_id(self) -> int: ...
    @property
    def field(self) -> int:
        """(0000,0100)."""
    @property
    def name(self) -> str | None:
        """Such as "C-ECHO-RQ"; None for an unknown Command Field."""
    @property
    def message_id(self) -> int | None:
        """(0000,0110), in requests."""
    @property
    def responding_to(self) -> int | None:
        """(0000,0120), in responses and C-CANCEL."""
    @property
    def status(self) -> int | None:
        """(0000,0900), in responses."""
    @property
    def sop_class(self) -> str | None:
        """Affected or Requested SOP Class UID."""
    @property
    def sop_instance(self) -> str | None:
        """Affected or Requested SOP Instance UID."""
    @property
    def command(self) -> dict[str, Any]:
        """All elements by keyword; unknown ones by tag, as bytes."""
    def get(self, keyword: str) -> Any:
        """The value of one element by keyword; None when it is absent."""
    @property
    def data(self) -> Payload | None:
        """The data set of a received message, when it is in memory."""
    @property
    def path(self) -> Path | None:
        """The same in a Part 10 file, which goes with this message."""
    @property
    def data_offset(self) -> int | None:
        """Where the data set starts in that file, in bytes."""
    def encode_command(self) -> bytes:
        """The command set, encoded (PS3.7 6.3.1)."""

@final
class Credentials:
    """The files with the certificate and the key that this node shows.

    Args:
        cert: the certificate.
        key: its key, None for one that is in the file of the certificate.
        password: the key's pass phrase.
    """

    def __new__(cls, cert: _Path, key: _Path | None, password: bytes | None) -> Credentials: ...

@final
class TLS:
    """The TLS settings of a node. The core reads the files when needed, and when they change.

    Args:
        own: the certificate of this node; None to show none.
        ca: certificates of CAs.
        crl: their revocation lists.
        pinned: SHA-256 of certificates.
        verify: "required", "optional" or "off".
        server_name: what an acceptor's certificate is to be for, "*" for any.
        tls13_only: no TLS 1.2.
    """

    def __new__(
        cls,
        own: Credentials | None,
        *,
        ca: Sequence[_Path],
        crl: Sequence[_Path],
        pinned: Sequence[bytes],
        verify: str,
        server_name: str | None,
        tls13_only: bool,
    ) -> TLS: ...

@final
class TLSFacts:
    """What a TLS handshake agreed on."""

    @property
    def version(self) -> str: ...
    @property
    def cipher_suite(self) -> str: ...
    @property
    def certificate(self) -> CertificateFacts | None:
        """The peer's certificate; None when the peer showed none."""

@final
class CertificateFacts:
    """A peer's certificate."""

    @property
    def der(self) -> bytes: ...
    @property
    def subject(self) -> str:
        """Its distinguished name."""
    @property
    def names(self) -> list[str]:
        """Subject alternative names (hosts, addresses, mail, URIs), then common names."""

@final
class Timeouts:
    """Deadlines by name, in seconds; 0 is none. A deadline not named has the core's default.

    Raises:
        TypeError: no such deadline; the message names it.
    """

    def __new__(cls, **seconds: float) -> Timeouts: ...
    def values(self) -> list[tuple[str, float]]:
        """Seconds by name."""

@final
class Limits:
    """Limits by name: of one association, and of all associations of a server together.

    Raises:
        TypeError: no such limit; the message names it.
    """

    def __new__(cls, **values: int) -> Limits: ...
    def values(self) -> list[tuple[str, int]]:
        """Every limit by name."""

@final
class Config:
    """Settings of the associations of a node, as requestor and as acceptor.

    Args:
        timeouts: deadlines.
        limits: what peers may use.
        max_length: largest P-DATA-TF announced, in bytes.
        max_ops_invoked: operations this end may have outstanding: what a requestor proposes, and
            the widest that an acceptor agrees to; 0 is no limit.
        max_ops_performed: the same for the peer's.
        service: what is done with requests of the peer; by default C-ECHO is answered.
        tls: what secures the connections.
    """

    def __new__(
        cls,
        timeouts: Timeouts,
        limits: Limits,
        *,
        max_length: int,
        max_ops_invoked: int = 1,
        max_ops_performed: int = 1,
        service: Service | None = None,
        tls: TLS | None = None,
    ) -> Config: ...

@final
class AssociateRequest:
    """The contents of one A-ASSOCIATE-RQ (PS3.8 9.3.2) that `Config` does not have.

    Args:
        calling: calling AE title.
        called: called AE title.
        contexts: what is proposed.
        identity: the user identity.
        extended: SOP class and application information.
        common: common extended negotiation.
    """

    def __new__(
        cls,
        calling: str,
        called: str,
        contexts: Sequence[ProposedContext],
        *,
        identity: Identity | None = None,
        extended: Sequence[_Extended] = ...,
        common: Sequence[CommonExtended] = ...,
    ) -> AssociateRequest: ...

def associate(
    host: str, port: int, request: AssociateRequest, config: Config, *, then: _Then | None = None
) -> Association:
    """Connect and ask for an association; return when it is established."""

@final
class Association:
    """One end of an association. Any thread may use it.

    An association that this node requested is aborted when its last handle is deleted.
    """

    @property
    def id(self) -> int:
        """Unique in the process."""
    @property
    def tls(self) -> TLSFacts | None:
        """What the TLS handshake agreed on; None without TLS."""
    @property
    def contexts(self) -> list[ContextFacts]:
        """Every presentation context, in the order proposed."""
    def context(self, id: int) -> ContextFacts | None:
        """One presentation context; None for an id that was not proposed."""
    @property
    def peer_max_length(self) -> int:
        """The peer's Maximum Length in bytes; 0 is no limit."""
    @property
    def window(self) -> WindowFacts:
        """Operations this end may have outstanding, and the peer may."""
    @property
    def peer_implementation(self) -> ImplementationFacts:
        """The peer's Implementation Class UID and version name."""
    @property
    def warnings(self) -> list[str]:
        """Mistakes of the peer in the negotiation that this end tolerated."""
    @property
    def extended(self) -> list[_Extended]:
        """Extended negotiation as answered."""
    @property
    def identity(self) -> Identity | None:
        """The user identity that the requestor sent."""
    @property
    def identity_response(self) -> bytes | None:
        """The server's response to it."""
    @property
    def titles(self) -> TitlesFacts:
        """Calling and called AE title."""
    @property
    def peer(self) -> AddressFacts | None:
        """Host and port of the peer."""
    @property
    def ended(self) -> DimseError | None:
        """The cause of the end, as an exception; None while the association lives."""
    def follow(self, names: list[str], most: int) -> Follower:
        """Follow the events of the association from now on; at most `most` of them wait."""
    @property
    def received(self) -> ReceivedFacts:
        """The results of the instances that C-GETs of this end brought."""
    def next_message_id(self) -> int: ...
    def invoke(
        self, message: Message, within: float = 0.0, again: int = 0, into: Folder | None = None
    ) -> Invocation:
        """Send a request. `within`: seconds that a response may take, 0 for ever.

        `again`: how many times more it is sent, each with a Message ID of its own, as long as the
        answer is Success or a warning. The invocation gives the last answer.

        `into`: of a C-GET, the folder of the instances that come for it, before any handler, until
        the invocation is closed or deleted. The core emits a `stored` event before it answers the
        peer: when the final response is there, the events of its sub-operations are too.
        """
    def send(self, message: Message, *, wait: bool = True, then: _Then | None = None) -> None:
        """Send a response or a C-CANCEL; with `wait` return when it has left."""
    def send_files(
        self,
        paths: Sequence[_Path],
        *,
        priority: int = 0,
        within: float = 0.0,
        move_originator: MoveOriginator | None = None,
        part_of: Cancellation | None = None,
        check: bool = True,
    ) -> Bulk:
        """Send files, undecoded, as many at a time as were negotiated.

        `part_of`: the request whose cancellation stops the sending. `check`: send no file that is
        not whole; its result has a DecodeError with the offset.
        """
    def release(self, *, then: _Then | None = None) -> None:
        """Release the association when every outstanding operation has its response."""
    def abort(self, *, then: _Then | None = None) -> None:
        """Abort the association and wait until the connection is closed, at most a second."""

@final
class MoveOriginator:
    """The C-MOVE that files are sent for (PS3.7 9.1.1.1).

    Args:
        title: AE title of the node that asked for the C-MOVE; checked when files are sent.
        message_id: Message ID of the C-MOVE.
    """

    def __new__(cls, title: str, message_id: int) -> MoveOriginator: ...
    @property
    def title(self) -> str: ...
    @property
    def message_id(self) -> int: ...

@final
class Invocation:
    """An operation that the peer performs for this end."""

    def close(self) -> None:
        """Leave the operation: its folder takes no further instance. Twice does no harm."""
    def next(self, *, then: _Then | None = None) -> Message | None:
        """The next response; None after the final one. Each response goes to one caller."""
    def next_many(self, *, then: _Then | None = None) -> list[Message]:
        """The responses there are, waiting for the first; empty after the final one.

        The final response, or an error, comes alone, when the responses before it were taken.
        """

@final
class Bulk:
    """Files that are being sent; each has one result."""

    def next(
        self, within: float = 0.1, *, gather: bool = True, then: _Then | None = None
    ) -> list[FileResult] | None:
        """The results there are, waiting at most `within` seconds; None when all were given.

        `gather`: wait a moment for further results, which costs fewer calls; otherwise give the
        first at once.
        """
    def last(self) -> list[FileResult]:
        """The results that `next` gave last: Python drops a result when Ctrl-C comes with it."""
    def stop(self) -> None:
        """Begin no further file; the result of each file not begun is an error."""

@final
class FileResult:
    """The result of one file: either a response or an error.

    Unpacks as (index, file or None when it was not begun, response, error), `file` being SOP class,
    SOP instance, transfer syntax and size.
    """

    @property
    def index(self) -> int:
        """Its place in the list that was given."""
    @property
    def info(self) -> FileFacts | None:
        """What the file is; None when it was not read, or could not be."""
    @property
    def begun(self) -> bool:
        """Whether the peer may have received a part of the file, or all of it."""
    @property
    def response(self) -> Message | None:
        """The peer's answer."""
    @property
    def status(self) -> int | None:
        """(0000,0900) of the answer."""
    @property
    def comment(self) -> str | None:
        """(0000,0902) of the answer."""
    @property
    def error(self) -> DimseError | None:
        """The error, when there is no response."""
    @property
    def unreadable(self) -> OSError | None:
        """The error of the operating system, when that is why."""
    def __iter__(self) -> Iterator[Any]: ...

@final
class SavedFacts:
    """An instance that a handler has saved."""

    @property
    def path(self) -> Path:
        """The Part 10 file."""
    @property
    def oddities(self) -> list[str]:
        """What is odd in its data set."""

@final
class Collect:
    """What a folder keeps of each instance, for a function that decides on it.

    Args:
        headers: says which elements of the data set; None for no element.
        digest: its BLAKE3.
    """

    def __new__(cls, headers: Headers | None = None, *, digest: bool = False) -> Collect: ...

@final
class Folder:
    """A folder that receives instances. In mode "temporary" it is made anew when it is removed.

    Raises:
        OSError: it cannot be made.
        ValueError: unknown mode, layout or duplicates.
    """

    def __new__(
        cls,
        path: _Path,
        mode: str = "durable",
        layout: str = "flat",
        duplicates: str = "keep-both",
        *,
        reserve: int | None = None,
        strict: bool = False,
        collect: Collect | None = None,
    ) -> Folder: ...

@final
class Sink:
    """A folder with the SOP classes whose instances go there.

    Args:
        folder: where to.
        classes: which; None for all that were negotiated.
        but: in place of `classes`: all negotiated classes except these.
        verdict_within: what is stored comes out of `Service.next_arrivals`, and is answered when it
            is settled, or after so many seconds; 0 is no limit.
    """

    def __new__(
        cls,
        folder: Folder,
        classes: Sequence[str] | None = None,
        *,
        but: Sequence[str] | None = None,
        verdict_within: float | None = None,
    ) -> Sink: ...

@final
class Service:
    """The requests that the core answers itself, and the queues from which Python pulls the rest.

    Args:
        echo: answer C-ECHO.
        sink: the folder of the instances.
        handled: Command Field to SOP classes of the requests that Python pulls as operations.
        spool: the folder where large instances wait for handlers.
        events: the followers of events.
        lenient_roles: take the instances of a C-GET of this end without the SCP role too, and on
            the context of the C-GET itself.
    """

    def __new__(
        cls,
        *,
        echo: bool = True,
        sink: Sink | None = None,
        handled: Mapping[int, Sequence[str] | None] | None = None,
        spool: Folder | None = None,
        events: Events | None = None,
        lenient_roles: bool = False,
        hold_releases: bool = False,
    ) -> Service: ...
    def next_operation(
        self, within: float | None = None, *, then: _Then | None = None
    ) -> Operation | None:
        """The next request; None when none came within so many seconds."""
    def next_arrivals(
        self, within: float | None = None, *, then: _Then | None = None
    ) -> Arrivals | None:
        """Stored instances that wait for a verdict; None when none came in time, or none will."""
    def close_arrivals(self) -> None:
        """End `next_arrivals`; the instances that wait there are answered with a failure."""
    def next_release(
        self, within: float | None = None, *, then: _Then | None = None
    ) -> HeldRelease | None:
        """The next release to be answered; None when none came within so many seconds."""
    def close_releases(self) -> None:
        """Hold no release any more: those that wait are answered."""

@final
class StoredFacts:
    """What is known of one stored instance."""

    @property
    def path(self) -> Path: ...
    @property
    def sop_class(self) -> str: ...
    @property
    def sop_instance(self) -> str: ...
    @property
    def transfer_syntax(self) -> str: ...
    @property
    def study(self) -> str:
        """Study Instance UID; empty when the data set has none."""
    @property
    def series(self) -> str:
        """Series Instance UID; empty when the data set has none."""
    @property
    def size(self) -> int:
        """Length of the data set in bytes."""
    @property
    def digest(self) -> bytes | None:
        """BLAKE3 of the data set, when that was asked for."""
    @property
    def association(self) -> int:
        """Number of the association that it came over."""
    @property
    def calling(self) -> str: ...
    @property
    def called(self) -> str: ...
    @property
    def peer(self) -> AddressFacts | None:
        """Host and port of the sender."""
    @property
    def identical(self) -> bool:
        """Whether the same bytes were there already."""
    @property
    def kept(self) -> Path | None:
        """The path to which an earlier version with other bytes was moved."""
    @property
    def oddities(self) -> list[str]: ...
    @property
    def packed(self) -> bytes:
        """The elements that `Collect` names, as in `HeaderFacts`."""
    @property
    def plain(self) -> bool:
        """As in `HeaderFacts`."""

@final
class Refusal:
    """The verdict that an instance is not to be kept.

    Args:
        status: the failure status that answers its C-STORE.
        comment: the Error Comment beside it; may be empty.
    """

    def __new__(cls, status: int, comment: str) -> Refusal: ...
    @property
    def status(self) -> int: ...
    @property
    def comment(self) -> str: ...

@final
class Arrivals:
    """Up to 256 stored instances without an answer; deleted unsettled, they stay stored."""

    def facts(self) -> list[StoredFacts]:
        """What is known of each."""
    def settle(self, verdicts: Sequence[Refusal | None], *, then: _Then | None = None) -> list[str]:
        """Give a verdict on each: a refusal restores the former version, then the peer is answered.

        A verdict is None for Success, or a refusal. The result of each is empty when the
        peer gets the verdict, "late" after another answer, "gone" when the association was over, or
        the reason why the former version could not be restored.
        """

@final
class Events:
    """The hub of events of a server, or of one association that this node requests."""

    def __new__(cls) -> Events: ...
    def follow(self, names: list[str], most: int) -> Follower:
        """Follow these kinds from now on; at most `most` events wait for the follower.

        A follower that exists when this node requests an association ends with the association.

        Raises:
            ValueError: no such kind.
        """
    def close(self) -> None:
        """End all followers: no more events will come."""

@final
class EventFacts:
    """Something that happened."""

    @property
    def association(self) -> int:
        """Number of the association; 0 for what concerns none."""
    @property
    def kind(self) -> str:
        """One of `event_kinds()`."""
    @property
    def facts(self) -> dict[str, Any]:
        """The facts by name; every kind has `peer`, `calling`, `called` and `at`."""

@final
class Follower:
    """A queue of events; the core makes no event for a follower that was deleted."""

    def want(self, names: list[str]) -> None:
        """Follow these kinds instead, from now on."""
    def close(self) -> None:
        """End following; events from before can still be taken."""
    @property
    def over(self) -> bool:
        """Whether the queue is empty and no event will come."""
    def next(
        self, within: float | None = None, *, then: _Then | None = None
    ) -> list[EventFacts] | None:
        """The events that wait, after at most `within` seconds; None when no more will come."""
    def take(self) -> list[EventFacts]:
        """The events that wait in the queue now."""
    def ready(self, within: float | None = None, *, then: _Then | None = None) -> bool:
        """Wait for an event or the end of events; False when neither came in time."""

@final
class HeldRelease:
    """A release of the peer, answered by `let_go` or at the deadline of releases."""

    @property
    def association(self) -> Association:
        """What is to be released."""
    def let_go(self) -> None:
        """Answer it."""

@final
class Operation:
    """A request of the peer that Python answers."""

    @property
    def message(self) -> Message: ...
    @property
    def association(self) -> Association: ...
    @property
    def cancelled(self) -> bool:
        """The peer sent C-CANCEL, or the association ended."""
    @property
    def cancellation(self) -> Cancellation:
        """The same flag as an object, for a sending that has to stop with the operation."""
    @property
    def retrievals(self) -> list[int]:
        """Of a C-STORE: Message IDs of this node's C-GETs that were under way when it came."""
    def store(self, folder: Folder) -> SavedFacts:
        """Store the instance of a C-STORE request in a folder, as a sink would."""
    def file_head(self) -> bytes:
        """Preamble and File Meta Information of a Part 10 file of a C-STORE's instance.

        Raises:
            StatusError: a UID of the request is none.
        """
    def reserve(self, bytes: int) -> Reserved:
        """Reserve bytes of the budget for the objects that decoding the data set will make.

        Raises:
            LimitExceeded: there is not enough.
        """
    def respond(
        self,
        command: dict[str, Any],
        data: Buffer | None = None,
        *,
        wait: bool = True,
        then: _Then | None = None,
    ) -> None:
        """Send a response: `command` has Status and what goes with it; identifiers are filled in.

        Args:
            command: by keyword.
            data: its data set, encoded.
            wait: return when the response has left.
            then: completes when the response has left; without `wait` never.

        Raises:
            LocalProtocolError: the final response was sent before.
        """
    def tell_sub_operation(
        self, sop_class: str, sop_instance: str, status: int | None, detail: str
    ) -> None:
        """Emit the event of a C-STORE of this retrieval: its status, or why it has none."""
    @property
    def answered(self) -> bool:
        """A final response was sent."""

@final
class UnknownClasses:
    """The storage classes that are accepted although no list has them (PS3.4 B.4.1.2).

    Args:
        which: "announced" (PS3.7 D.3.3.6) or "any" of them is accepted.
        transfer_syntaxes: accepted ones; an empty sequence accepts any.
        own_order: this order decides, not the requestor's.
    """

    def __new__(
        cls, which: str, transfer_syntaxes: Sequence[str] = ..., *, own_order: bool = False
    ) -> UnknownClasses: ...

@final
class ExtendedAnswer:
    """The answer to extended negotiation of one SOP class (PS3.7 D.3.3.5).

    Args:
        sop_class: the SOP class.
        info: the application information.
        declared: answer with `info` as it is; otherwise with the smaller of each two bytes.
    """

    def __new__(cls, sop_class: str, info: bytes, *, declared: bool = False) -> ExtendedAnswer: ...

@final
class Policy:
    """What a server accepts without asking Python.

    Args:
        contexts: what is accepted.
        called: AE titles that the server answers to, None for any.
        calling: AE titles that it admits, None for any.
        unknown: storage classes beyond `contexts`, None for none.
        extended: answers to extended negotiation.
        require_identity: reject requestors without user identity.
        refuse_passcode: reject user identities of type 2.
    """

    def __new__(
        cls,
        contexts: Sequence[SupportedContext],
        *,
        called: Sequence[str] | None = None,
        calling: Sequence[str] | None = None,
        unknown: UnknownClasses | None = None,
        extended: Sequence[ExtendedAnswer] = ...,
        require_identity: bool = False,
        refuse_passcode: bool = False,
    ) -> Policy: ...

@final
class Listener:
    """A listening server; it accepts connections as soon as it was made.

    Args:
        host: an address, or a name whose first address is taken.
        port: 0 takes a free one.
        policy: what it accepts.
        config: how its associations are run; the files of its TLS are read now.
        ask: "never", "identities" or "always": which proposals come out of `next_proposal`.

    Raises:
        OSError: it cannot be bound.
        TlsError: the files of TLS are not in order.
    """

    def __new__(
        cls, host: str, port: int, policy: Policy, config: Config, *, ask: str = "never"
    ) -> Listener: ...
    @property
    def address(self) -> AddressFacts:
        """Host and port it listens on."""
    @property
    def associations(self) -> list[Association]:
        """The established associations."""
    @property
    def pending(self) -> int:
        """Connections that have not sent their A-ASSOCIATE-RQ."""
    def metrics(self) -> MetricsFacts:
        """What the server holds and what it counted since it started."""
    def next_proposal(
        self, within: float | None = None, *, then: _Then | None = None
    ) -> Proposal | None:
        """The next proposal to be decided on; None when none came within so many seconds."""
    def stop(self, grace: float = 5.0, patience: float = 0.0, *, then: _Then | None = None) -> None:
        """Stop accepting; abort associations after `patience` to release and `grace` to finish."""

@final
class MetricsFacts:
    """The counts of a listener, by the names of `dimse_rs.Metrics`."""

    @property
    def associations(self) -> int: ...
    @property
    def pending(self) -> int: ...
    @property
    def buffered_bytes(self) -> int: ...
    @property
    def operations(self) -> int: ...
    @property
    def connections(self) -> int: ...
    @property
    def accept_failures(self) -> int: ...
    @property
    def accepted(self) -> int: ...
    @property
    def rejected(self) -> dict[str, int]: ...
    @property
    def failed(self) -> dict[str, int]: ...
    @property
    def ended(self) -> dict[str, int]: ...
    @property
    def received(self) -> dict[str, int]: ...
    @property
    def sent(self) -> dict[str, int]: ...
    @property
    def statuses(self) -> dict[str, int]: ...
    @property
    def received_bytes(self) -> int: ...
    @property
    def sent_bytes(self) -> int: ...
    @property
    def instances(self) -> dict[str, int]: ...
    @property
    def events_lost(self) -> int: ...
    @property
    def panics(self) -> int: ...
    @property
    def association_seconds(self) -> HistogramFacts: ...
    @property
    def answer_seconds(self) -> dict[str, HistogramFacts]: ...
    @property
    def store_bytes(self) -> HistogramFacts: ...
    @property
    def sync_seconds(self) -> dict[str, HistogramFacts]: ...
    @property
    def sync_stores(self) -> HistogramFacts: ...

@final
class HistogramFacts:
    """A histogram."""

    @property
    def bounds(self) -> list[float]:
        """Upper bounds of the buckets, but for the last one, which has none."""
    @property
    def counts(self) -> list[int]:
        """Observations in each bucket."""
    @property
    def sum(self) -> float:
        """Sum of all observations."""

@final
class Completions:
    """The outcomes of calls, for an event loop.

    The first outcome wakes the loop once, and the loop takes all that have come by then.

    Args:
        call_soon_threadsafe: the method of the loop; the error of a closed loop is ignored.
        drain: the function that the loop calls to take the outcomes.
    """

    def __new__(
        cls,
        call_soon_threadsafe: Callable[[Callable[[], object]], object],
        drain: Callable[[], object],
    ) -> Completions: ...
    def take(self) -> list[tuple[int, Any, BaseException | None]]:
        """Take the outcomes: (number, outcome, exception), in the order of completion."""
    def cancel(self, token: int) -> None:
        """Give up this call, if it is not over; an association half made is aborted."""
    def close(self) -> None:
        """Give up all calls; no outcome comes out any more."""

@final
class Proposal:
    """An A-ASSOCIATE-RQ that needs one decision; deleted without one, it is rejected."""

    @property
    def association(self) -> int:
        """Number that the association has, if the proposal is accepted."""
    @property
    def peer(self) -> AddressFacts | None:
        """Host and port of the requestor."""
    @property
    def titles(self) -> TitlesFacts:
        """Calling and called AE title."""
    @property
    def about(self) -> tuple[int, str | None, str | None]:
        """Maximum length (0: no limit), implementation class UID and version name."""
    @property
    def contexts(self) -> list[ProposedContext]:
        """The contexts with one valid SOP class, in the order proposed."""
    @property
    def tls(self) -> TLSFacts | None:
        """What the TLS handshake agreed on; None without TLS."""
    @property
    def identity(self) -> Identity | None:
        """The user identity; None without one."""
    @property
    def extended(self) -> list[_Extended]:
        """Extended negotiation as offered."""
    @property
    def common(self) -> list[CommonExtended]:
        """Common extended negotiation."""
    def admit(
        self,
        *,
        contexts: Sequence[SupportedContext] = ...,
        extended: Sequence[_Extended] = ...,
        identity_response: bytes | None = None,
        permit: Permit | None = None,
    ) -> None:
        """Accept the proposal; these terms go before the listener's policy."""
    def reject(self, result: int, source: int, reason: int, code: str, detail: str) -> None:
        """Reject. `code`: "user-identity", "not-allowed" or "not-let-in"; `detail` is logged."""

@final
class Permit:
    """The requests that a peer may make: Command Fields and SOP classes; None for all."""

    def __new__(cls, services: set[int] | None, classes: Sequence[str] | None) -> Permit: ...

@final
class Connection:
    """One end of an association without I/O, for tests and for programs with their own I/O.

    After every call, take `outputs()` and carry them out in order.

    Source: PS3.8 9.2.
    """

    @staticmethod
    def requestor(
        *, calling: str, called: str, contexts: Sequence[ProposedContext], max_length: int = 131072
    ) -> Connection:
        """Make the requestor's end."""
    @staticmethod
    def acceptor(
        *, contexts: Sequence[tuple[str, Sequence[str]]], max_length: int = 131072
    ) -> Connection:
        """Make the acceptor's end: SOP classes with transfer syntaxes, any if there are none."""
    @property
    def state(self) -> str:
        """One of "Sta1" to "Sta13"."""
    def associate(self) -> None:
        """A-ASSOCIATE request."""
    def transport_connected(self) -> None: ...
    def transport_closed(self) -> None: ...
    def artim_expired(self) -> None: ...
    def receive(self, data: Buffer) -> None:
        """Bytes arrived."""
    def answer(self) -> None:
        """Answer the A-ASSOCIATE indication by the contexts that `acceptor` got."""
    def reject(self, result: int, source: int, reason: int) -> None:
        """A-ASSOCIATE response, rejecting."""
    def send(self, message: Message) -> None:
        """P-DATA request: a whole message, framed for the peer."""
    def release(self) -> None:
        """A-RELEASE request."""
    def release_response(self) -> None:
        """A-RELEASE response."""
    def abort(self) -> None:
        """A-ABORT request."""
    def outputs(self) -> list[_Output]:
        """Take the outputs to carry out now, in order."""
