# ruff: noqa: PYI021 - the module is native: this is where its docstrings can be read.
"""The native core of `dimse_rs`, as types. Private: its users are the modules of this package.

Blocking calls release the interpreter and answer Ctrl-C within 0.2 s. Errors are those of
`dimse_rs.errors`. In a forked child they raise RuntimeError: its threads did not come along.

Every call that waits takes `then`: completions of an event loop and a number. It does not wait
then, whatever its type says: it gives None, and what it would have given or raised comes out of the
completions; or, if that is there at once, it gives it in a tuple, or raises it.
"""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, final

from typing_extensions import Buffer

from .errors import DimseError

__all__ = [
    "TLS",
    "Arrivals",
    "Association",
    "Bulk",
    "Completions",
    "Connection",
    "Dictionary",
    "Events",
    "Folder",
    "Follower",
    "Invocation",
    "Listener",
    "Message",
    "Operation",
    "Payload",
    "Permit",
    "Proposal",
    "Reserved",
    "Scan",
    "Service",
    "__version__",
    "alive_tasks",
    "check_process",
    "fixed_limits",
    "implementation",
    "is_debug_build",
    "panics",
    "probe",
    "scan",
    "scan_file",
]

_Path: TypeAlias = str | PathLike[str]
# (SOP class, transfer syntaxes, SCU, SCP)
_Proposal: TypeAlias = tuple[str, Sequence[str], bool, bool]
# (SOP class, transfer syntaxes or none for any, our order counts, requestor SCU, requestor SCP)
_Supported: TypeAlias = tuple[str, Sequence[str], bool, bool, bool]
# (id, SOP class, result, transfer syntax, SCU, SCP)
_ContextFacts: TypeAlias = tuple[int, str, int, str | None, bool, bool]
# (type, response requested, primary field, secondary field)
_Identity: TypeAlias = tuple[int, bool, bytes, bytes]
# (version, cipher suite, the peer's certificate: DER, distinguished name, names)
_TLSFacts: TypeAlias = tuple[str, str, tuple[bytes, str, list[str]] | None]
# (SOP class, application information)
_Extended: TypeAlias = tuple[str, bytes]
# (SOP class, service class, related general SOP classes)
_Common: TypeAlias = tuple[str, str, Sequence[str]]
# (SOP class, SOP instance, transfer syntax, bytes)
_FileFacts: TypeAlias = tuple[str, str, str, int]
# (index, file or None when it did not begin to leave, response, error)
_BulkResult: TypeAlias = tuple[int, _FileFacts | None, Message | None, DimseError | None]
# (association, kind, facts)
_Told: TypeAlias = tuple[int, str, dict[str, Any]]
_Then: TypeAlias = tuple[Completions, int]
_Output: TypeAlias = (
    tuple[Literal["connect", "close", "start-artim", "stop-artim"], None]
    | tuple[Literal["transmit"], bytes]
    | tuple[Literal["indicate"], tuple[str, dict[str, Any]]]
)

__version__: Final[str]

def check_process() -> None:
    """See that this is the process in which the core runs.

    Raises:
        RuntimeError: it was forked since.
    """

def fixed_limits() -> list[tuple[str, int]]:
    """What no setting changes, by name."""

def implementation() -> tuple[str, str]:
    """Implementation Class UID and version name (PS3.7 D.3.3.2)."""

def alive_tasks() -> int:
    """Tasks of the core that are alive in this process, to see that none is left behind."""

def is_debug_build() -> bool:
    """Whether the core was built without optimisation, and is many times slower than it is."""

def panics() -> int:
    """Faults of the core in this process, since its threads were started."""

def probe(path: _Path) -> _FileFacts:
    """What a Part 10 file is: (SOP class, SOP instance, transfer syntax, bytes of the data set).

    Reads its beginning only.

    Raises:
        DecodeError: it is no instance that can be sent.
        OSError: it cannot be opened.
    """

@final
class Dictionary:
    """VRs by tag, for `scan` where an encoding leaves them open.

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

# (inflated bytes, elements and items, depth)
_Bounds: TypeAlias = tuple[int, int, int]

def scan(
    data: Buffer,
    encoding: Literal["implicit", "explicit", "big"],
    deflated: bool,
    limits: _Bounds,
    dictionary: Dictionary,
    *,
    lenient: bool = False,
) -> Scan:
    """Walk a data set in memory.

    `lenient`: what is out of place but can be passed over is for the decoder to judge.

    Raises:
        DecodeError: it is not whole.
        LimitExceeded: decoding it takes more than a limit.
    """

def scan_file(path: _Path, limits: _Bounds, dictionary: Dictionary) -> Scan:
    """Walk the data set of a Part 10 file; large values are not read.

    Raises:
        DecodeError: it is no Part 10 file, or not whole.
        LimitExceeded: decoding it takes more than a limit.
        OSError: it cannot be opened, or read.
    """

@final
class Reserved:
    """Room in the byte budget, until it is released or goes."""

    def release(self) -> None:
        """Give it back."""

@final
class Payload:
    """The bytes of a data set: read-only, of the format "B", valid when the association is over.

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
class TLS:
    """What secures the connections of a node. Files are read when needed, and when they change.

    Args:
        cert: our certificate.
        key: its key, None for one that is in the file of the certificate.
        password: the key's pass phrase.
        ca: certificates of CAs.
        crl: their revocation lists.
        pinned: SHA-256 of certificates.
        verify: "required", "optional" or "off".
        server_name: what an acceptor's certificate is to be for, "*" for any.
        tls13_only: no TLS 1.2.
    """

    def __new__(
        cls,
        *,
        cert: str | PathLike[str] | None,
        key: str | PathLike[str] | None,
        password: bytes | None,
        ca: Sequence[str | PathLike[str]],
        crl: Sequence[str | PathLike[str]],
        pinned: Sequence[bytes],
        verify: str,
        server_name: str | None,
        tls13_only: bool,
    ) -> TLS: ...

@final
class Association:
    """One end of an association. Any thread may use it.

    A requestor's is aborted when its last handle goes away.
    """

    @staticmethod
    def request(
        host: str,
        port: int,
        *,
        calling: str,
        called: str,
        contexts: Sequence[_Proposal],
        max_length: int,
        timeouts: dict[str, float],
        limits: dict[str, int],
        max_ops_invoked: int = 1,
        max_ops_performed: int = 1,
        service: Service | None = None,
        identity: _Identity | None = None,
        extended: Sequence[_Extended] = ...,
        common: Sequence[_Common] = ...,
        tls: TLS | None = None,
        then: _Then | None = None,
    ) -> Association:
        """Connect and ask for an association; return when it is established."""
    @property
    def id(self) -> int:
        """Unique in the process."""
    @property
    def tls(self) -> _TLSFacts | None:
        """What the TLS handshake agreed on; None without TLS."""
    @property
    def contexts(self) -> list[_ContextFacts]:
        """Every presentation context, in the order proposed."""
    def context(self, id: int) -> _ContextFacts | None:
        """One presentation context; None for an id that was not proposed."""
    @property
    def peer_max_length(self) -> int:
        """The peer's Maximum Length in bytes; 0 is no limit."""
    @property
    def window(self) -> tuple[int, int]:
        """Operations this end may have outstanding, and the peer may."""
    @property
    def peer_implementation(self) -> tuple[str | None, str | None]:
        """The peer's Implementation Class UID and version name."""
    @property
    def warnings(self) -> list[str]:
        """Mistakes of the peer in the negotiation that were let through."""
    @property
    def extended(self) -> list[_Extended]:
        """Extended negotiation as answered."""
    @property
    def identity(self) -> _Identity | None:
        """The user identity that the requestor said."""
    @property
    def identity_response(self) -> bytes | None:
        """The server's response to it."""
    @property
    def titles(self) -> tuple[str, str]:
        """Calling and called AE title."""
    @property
    def peer(self) -> tuple[str, int] | None:
        """Host and port of the peer."""
    @property
    def ended(self) -> DimseError | None:
        """Why it is over; None while it lives."""
    def follow(self, names: list[str], most: int) -> Follower:
        """Follow what happens on it from now on, at most so many events behind."""
    @property
    def received(self) -> tuple[int, list[tuple[int, str, int]]]:
        """What became of the instances of C-GETs: stored; status, comment and count of others."""
    def next_message_id(self) -> int: ...
    def invoke(self, message: Message, within: float = 0.0, again: int = 0) -> Invocation:
        """Send a request. `within`: seconds that a response may take, 0 for ever.

        `again`: how many times more it is sent, each with a Message ID of its own, as long as the
        answer is Success or a warning. The invocation gives the last answer.
        """
    def send(self, message: Message, *, wait: bool = True, then: _Then | None = None) -> None:
        """Send an answer, or C-CANCEL; `wait`: until it has left."""
    def send_files(
        self,
        paths: Sequence[_Path],
        *,
        priority: int = 0,
        within: float = 0.0,
        move_originator: tuple[str, int] | None = None,
        part_of: Operation | None = None,
        check: bool = True,
    ) -> Bulk:
        """Send files, undecoded, as many at a time as were negotiated.

        `part_of`: of a request whose cancellation stops them. `check`: one that is not whole is not
        sent; its result has a DecodeError with the offset.
        """
    def release(self, *, then: _Then | None = None) -> None:
        """Release it, after what is outstanding is confirmed."""
    def abort(self, *, then: _Then | None = None) -> None:
        """Abort it and wait until the connection is closed, at most a second."""

@final
class Invocation:
    """An operation at the peer."""

    def next(self, *, then: _Then | None = None) -> Message | None:
        """The next response; None after the final one. Whoever else waits has the one after."""
    def next_many(self, *, then: _Then | None = None) -> list[Message]:
        """The responses there are, waiting for the first; empty after the final one.

        The final one, or an error, comes by itself, when those before it were dealt with.
        """

@final
class Bulk:
    """Files on their way: one result each."""

    def next(
        self, within: float = 0.1, *, gather: bool = True, then: _Then | None = None
    ) -> list[_BulkResult] | None:
        """The results there are, waiting at most `within` seconds; None when all were given.

        `gather`: wait a moment for company, which is cheaper, or give the first at once.
        """
    def stop(self) -> None:
        """Send no file that is not begun; such have a result with an error that says so."""

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
        reserve: int | None = None,
        strict: bool = False,
        *,
        collect: Sequence[int] = ...,
        digest: bool = False,
    ) -> Folder: ...
    def store(self, operation: Operation) -> tuple[Path, list[str]]:
        """Store the instance of a C-STORE request, as a sink would; give path and oddities."""

@final
class Service:
    """What this node answers by itself, and the queues from which the rest is pulled.

    Args:
        echo: answer C-ECHO.
        folder: where instances go.
        store: of which SOP classes; None for all that were negotiated.
        store_not: or for all that were negotiated but these.
        handled: Command Field to SOP classes that are pulled as operations.
        spool: where large instances for handlers wait.
        events: where what happens is told.
        lenient_roles: take the instances of a C-GET of ours without the SCP role too, and on the
            context of the C-GET itself.
        verdict_within: what is stored comes out of `next_arrivals`, and is answered when it is
            settled, or after so many seconds; 0 is no limit.
    """

    def __new__(
        cls,
        *,
        echo: bool = True,
        folder: Folder | None = None,
        store: Sequence[str] | None = None,
        store_not: Sequence[str] | None = None,
        handled: Mapping[int, Sequence[str] | None] | None = None,
        spool: Folder | None = None,
        events: Events | None = None,
        lenient_roles: bool = False,
        verdict_within: float | None = None,
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
        """Take no more for `next_arrivals`, and have what waits there answered as a failure."""
    def receive(self, folder: Folder | None, classes: Sequence[str] | None = None) -> None:
        """From now on, put instances of these SOP classes, default all, into this folder, or none.

        What is being received goes on as it began. `stored` events are there before the peer has
        its answers: when the final response of a C-GET is, so are those of its sub-operations.
        """

@final
class Arrivals:
    """Stored instances that are not answered: 256 at most. Dropped unsettled they stay."""

    def facts(
        self,
    ) -> list[
        tuple[
            Path,
            tuple[str, str, str, str, str],
            int,
            bytes | None,
            tuple[int, str, str, tuple[str, int] | None],
            bool,
            Path | None,
            list[str],
            dict[int, tuple[str | None, bytes]],
        ]
    ]:
        """What is known of each.

        In this order: path; SOP class and instance, transfer syntax, study, series; bytes; digest;
        association, calling and called title, address; identical; where an earlier version went;
        oddities; elements by tag.
        """
    def settle(
        self, verdicts: Sequence[tuple[int, str] | None], *, then: _Then | None = None
    ) -> list[str]:
        """Have each answered, after what was there before is back; say what each verdict met.

        A verdict is None for Success, or status and comment. It met nothing (an empty text), came
        "late", found the association "gone", or what it refused could not be put back: why.
        """

@final
class Events:
    """Where what happens is told: of a server, or of one association of ours."""

    def __new__(cls) -> Events: ...
    def follow(self, names: list[str], most: int) -> Follower:
        """Follow these kinds from now on, at most so many events behind.

        Those who follow when an association of ours is begun follow that, and end with it.

        Raises:
            ValueError: no such kind.
        """
    def close(self) -> None:
        """Tell that no more events will come."""

@final
class Follower:
    """Whoever pulls events; they are no longer made for it when it goes."""

    def want(self, names: list[str]) -> None:
        """Say what is wanted from now on."""
    def close(self) -> None:
        """End following; what was told before can still be taken."""
    @property
    def over(self) -> bool:
        """Whether there is nothing to take, and will be nothing."""
    def next(self, within: float | None = None, *, then: _Then | None = None) -> list[_Told] | None:
        """The events there are, waiting at most `within` seconds; None when no more will come."""
    def take(self) -> list[_Told]:
        """The events there are, without waiting."""
    def ready(self, within: float | None = None, *, then: _Then | None = None) -> bool:
        """Wait until there is something to take, or will be nothing; say whether that came."""

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
    def reserve(self, bytes: int) -> Reserved:
        """Reserve room in the byte budget for what is about to be made of the data set.

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
            wait: until it has left.
            then: where that is told; without `wait` it is not.

        Raises:
            LocalProtocolError: the final response was sent before.
        """
    def tell_sub_operation(
        self, sop_class: str, sop_instance: str, status: int | None, detail: str
    ) -> None:
        """Tell who follows of a C-STORE of this retrieval: its status, or why there is none."""
    @property
    def answered(self) -> bool:
        """A final response was sent."""

@final
class Listener:
    """A listening server; it accepts from the moment it exists.

    Args:
        host: an address, or a name whose first address is taken.
        port: 0 takes a free one.
        contexts: what is accepted.
        service: what is done with requests.
        called: AE titles it answers to, None for any.
        calling: AE titles it lets in, None for any.
        max_length: largest P-DATA-TF announced, in bytes.
        timeouts: seconds by name.
        limits: by name.
        unknown: "no", "announced" (PS3.7 D.3.3.6) or "any" SOP class beyond `contexts`.
        unknown_syntaxes: in which transfer syntaxes, any when there are none.
        unknown_ours: whether our order of them counts.
        max_ops_invoked: widest window agreed to for operations of ours.
        max_ops_performed: the same for the peer's.
        extended: answers to extended negotiation: SOP class, information, and whether it is
            declared, or agreed to byte by byte.
        require_identity: reject requestors without user identity.
        refuse_passcode: reject user identities of type 2.
        ask: "never", "identities" or "always": which proposals come out of `next_proposal`.
        tls: what secures its connections; its files are read now.

    Raises:
        OSError: it cannot be bound.
        TlsError: the files of `tls` are not in order.
    """

    def __new__(
        cls,
        host: str,
        port: int,
        *,
        contexts: Sequence[_Supported],
        service: Service,
        called: Sequence[str] | None,
        calling: Sequence[str] | None,
        max_length: int,
        timeouts: dict[str, float],
        limits: dict[str, int],
        unknown: str = "no",
        unknown_syntaxes: Sequence[str] = ...,
        unknown_ours: bool = False,
        max_ops_invoked: int = 1,
        max_ops_performed: int = 1,
        extended: Sequence[tuple[str, bytes, bool]] = ...,
        require_identity: bool = False,
        refuse_passcode: bool = False,
        ask: str = "never",
        tls: TLS | None = None,
    ) -> Listener: ...
    @property
    def address(self) -> tuple[str, int]:
        """Host and port it listens on."""
    @property
    def associations(self) -> list[Association]:
        """Those that are established."""
    @property
    def pending(self) -> int:
        """Connections that have not sent their A-ASSOCIATE-RQ."""
    def metrics(self) -> dict[str, Any]:
        """What was counted, by the names of `dimse_rs.Metrics`.

        Histograms are tuples: bounds, counts, sum.
        """
    def next_proposal(
        self, within: float | None = None, *, then: _Then | None = None
    ) -> Proposal | None:
        """The next proposal to be decided on; None when none came within so many seconds."""
    def stop(self, grace: float = 5.0, patience: float = 0.0, *, then: _Then | None = None) -> None:
        """Stop accepting; peers may release within `patience` seconds, then `grace` is left."""

@final
class Completions:
    """What the core finished for an event loop.

    When the first outcome lies here the loop is woken once, and takes all that came meanwhile.

    Args:
        call_soon_threadsafe: of the loop. One that is closed is left in peace.
        drain: what it is to call.
    """

    def __new__(
        cls,
        call_soon_threadsafe: Callable[[Callable[[], object]], object],
        drain: Callable[[], object],
    ) -> Completions: ...
    def take(self) -> list[tuple[int, Any, BaseException | None]]:
        """What is done: (number, outcome, exception), in the order in which it was."""
    def cancel(self, token: int) -> None:
        """End the waiting for this, if it is not over. An association half made is aborted."""
    def close(self) -> None:
        """End all waiting. Nothing comes out any more."""

@final
class Proposal:
    """An A-ASSOCIATE-RQ to be decided on, once. One that is dropped undecided is rejected."""

    @property
    def association(self) -> int:
        """Number of the association that may come of it."""
    @property
    def peer(self) -> tuple[str, int] | None:
        """Host and port of the requestor."""
    @property
    def titles(self) -> tuple[str, str]:
        """Calling and called AE title."""
    @property
    def contexts(self) -> list[tuple[str, list[str], bool, bool]]:
        """SOP class, transfer syntaxes, SCU, SCP of each with one valid SOP class."""
    @property
    def tls(self) -> _TLSFacts | None:
        """What the TLS handshake agreed on; None without TLS."""
    @property
    def identity(self) -> _Identity | None:
        """Who asks."""
    @property
    def extended(self) -> list[_Extended]:
        """Extended negotiation as offered."""
    @property
    def common(self) -> list[tuple[str, str, list[str]]]:
        """Common extended negotiation."""
    def admit(
        self,
        *,
        contexts: Sequence[_Supported] = ...,
        extended: Sequence[_Extended] = ...,
        identity_response: bytes | None = None,
        permit: Permit | None = None,
    ) -> None:
        """Let it in, on the listener's policy and these terms, which go before it."""
    def reject(self, result: int, source: int, reason: int, code: str, detail: str) -> None:
        """Reject it. `code`: "user-identity", "not-allowed" or "not-let-in"; `detail` is logged."""

@final
class Permit:
    """What a peer may ask for: Command Fields, and classes of contexts; None for all."""

    def __new__(cls, services: set[int] | None, classes: Sequence[str] | None) -> Permit: ...

@final
class Connection:
    """One end of an association without I/O, for tests and for those who bring their own.

    After every call, take `outputs()` and carry them out in order.

    Source: PS3.8 9.2.
    """

    @staticmethod
    def requestor(
        *, calling: str, called: str, contexts: Sequence[_Proposal], max_length: int = 131072
    ) -> Connection:
        """The end that asks."""
    @staticmethod
    def acceptor(
        *, contexts: Sequence[tuple[str, Sequence[str]]], max_length: int = 131072
    ) -> Connection:
        """The end that is asked: SOP classes with transfer syntaxes, any when there are none."""
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
        """Answer the A-ASSOCIATE indication as the contexts given to `acceptor` say."""
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
        """What is to be done now, in order; each is given once."""
