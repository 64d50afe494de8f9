"""`Association`: one association, blocking (PS3.8 7.1, PS3.7 8)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self, cast

from . import _scu, log
from ._drive import Step, run
from ._uids import SOPClass, TransferSyntax
from .errors import AssociationReleased, DimseError
from .settings import Peer

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from . import _core
    from .settings import Timeouts
    from .status import Status

__all__ = ["AcceptedContext", "Association", "RejectedContext", "Response"]

_logger = log.get(log.ASSOCIATION)


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """A presentation context that was accepted (PS3.8 9.3.3.2).

    Attributes:
        id: the presentation context id, odd.
        sop_class: the abstract syntax.
        transfer_syntax: the one that the acceptor picked.
        scu: whether this side may invoke operations in it.
        scp: whether this side may perform operations in it.
    """

    id: int
    sop_class: SOPClass
    transfer_syntax: TransferSyntax
    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True)
class RejectedContext:
    """A presentation context that was not accepted.

    Attributes:
        id: the presentation context id.
        sop_class: the abstract syntax.
        result: 1 user rejection, 2 no reason, 3 abstract syntax, 4 transfer syntaxes not supported.
    """

    id: int
    sop_class: SOPClass
    result: int

    @property
    def reason(self) -> str:
        """The result in the words of the standard."""
        return {
            1: "user-rejection",
            2: "no-reason",
            3: "abstract-syntax-not-supported",
            4: "transfer-syntaxes-not-supported",
        }.get(self.result, f"result {self.result}")


def _accepted(facts: tuple[int, str, int, str | None, bool, bool]) -> AcceptedContext:
    id_, uid, _, syntax, scu, scp = facts
    return AcceptedContext(id_, SOPClass.of(uid), TransferSyntax.of(syntax or ""), scu, scp)


@contextmanager
def _in_a_file(content: bytes | IO[bytes]) -> Iterator[Path]:
    """Put a Part 10 file into the file system, where the core can read it."""
    from shutil import copyfileobj
    from tempfile import NamedTemporaryFile

    with NamedTemporaryFile(suffix=".dcm") as spool:
        if isinstance(content, (bytes, bytearray, memoryview)):
            spool.write(content)
        else:
            copyfileobj(content, spool)
        spool.flush()
        yield Path(spool.name)


class Response:
    """A response as it came, everything on the wire included (PS3.7 9.3, 10.3)."""

    def __init__(self, message: _core.Message) -> None:
        """Look at a received message."""
        self.message = message

    @property
    def status(self) -> int:
        """(0000,0900)."""
        return self.message.status or 0

    @property
    def comment(self) -> str:
        """Error Comment (0000,0902), or an empty string."""
        return self.message.get("ErrorComment") or ""

    @property
    def command(self) -> Mapping[str, Any]:
        """Every command element by keyword."""
        return self.message.command

    def __repr__(self) -> str:
        """Show the command set."""
        return f"Response({dict(self.command)})"


class Association:
    """An association, made by `AE.associate`. Any thread may call it; calls wait their turn.

    Leaving the `with` block releases it. Leaving it by an exception while an operation is
    outstanding, as Ctrl-C in a call does, aborts it.
    """

    def __init__(self, core: _core.Association, timeouts: Timeouts, peer: Peer) -> None:
        """Wrap an established association of the core; private, use `AE.associate`."""
        self._core = core
        self._timeouts = timeouts
        self._peer = peer
        # Calls that have not ended, and those that were interrupted: the peer is still at them.
        self._outstanding: set[object] = set()

    @cached_property
    def accepted(self) -> tuple[AcceptedContext, ...]:
        """Presentation contexts that were accepted, in the order proposed."""
        return tuple(
            _accepted(facts) for facts in self._core.contexts if facts[2] == 0 and facts[3]
        )

    @cached_property
    def rejected(self) -> tuple[RejectedContext, ...]:
        """Presentation contexts that were not accepted, and why."""
        return tuple(
            RejectedContext(id_, SOPClass.of(uid), result)
            for id_, uid, result, _, _, _ in self._core.contexts
            if result != 0
        )

    def context(self, context_id: int) -> AcceptedContext:
        """Find an accepted context by its id.

        Raises:
            KeyError: there is none.
        """
        facts = self._core.context(context_id)
        if facts is None or not facts[3]:
            raise KeyError(context_id)
        return _accepted(facts)

    def _announce(self) -> None:
        """Log what was agreed."""
        _logger.info(
            "%s established: %d of %d presentation contexts, peer takes %s bytes",
            self,
            len(self.accepted),
            len(self.accepted) + len(self.rejected),
            self._core.peer_max_length or "any number of",
        )
        for context in self.accepted:
            _logger.debug("%s accepted %r in %r", self, context.sop_class, context.transfer_syntax)
        for refused in self.rejected:
            _logger.debug("%s not accepted: %r, %s", self, refused.sop_class, refused.reason)
        for warning in self._core.warnings:
            _logger.warning("%s %s", self, warning)

    @property
    def peer(self) -> Peer:
        """Whom this association is with."""
        return self._peer

    @property
    def max_length_peer(self) -> int:
        """Largest P-DATA-TF that the peer takes, in bytes; 0 is no limit (PS3.8 D.1)."""
        return self._core.peer_max_length

    @property
    def window(self) -> tuple[int, int]:
        """Operations that we, and that the peer, may have outstanding (PS3.7 D.3.3.3)."""
        return self._core.window

    @property
    def is_established(self) -> bool:
        """Whether it still lives."""
        return self._core.ended is None

    def c_echo(self) -> Status:
        """Verify that the peer answers.

        Returns:
            Success, or a warning.

        Raises:
            NoPresentationContext: Verification was not accepted.
            StatusError: the peer answered with a failure.
            AssociationError, TransportError, DimseTimeout: it ended while we waited.

        Source: PS3.7 9.1.5, PS3.4 A.
        """
        steps = _scu.c_echo(self.accepted, self._core.next_message_id(), self._timeouts)
        return self._run(steps)

    def c_store(
        self,
        instance: str | PathLike[str] | Dataset | bytes | bytearray | memoryview | IO[bytes],
        *,
        priority: int = 0,
    ) -> Status:
        """Send one SOP Instance and wait for its response.

        A path is streamed, undecoded, in the file's own transfer syntax. If the peer did not accept
        that one, uncompressed syntaxes are converted among each other.

        Args:
            instance: a Part 10 file by path, as bytes, or as a binary file object, which is read
                from where it stands; or a pydicom data set.
            priority: value of (0000,0700): 0 medium, 1 high, 2 low.

        Returns:
            Success or a warning.

        Raises:
            NoPresentationContext: nothing accepted for this SOP Class and transfer syntax.
            DecodeError: the instance is not one that can be sent; the message says why.
            OSError: the file cannot be opened.
            StatusError: the peer refused the instance; `.response` is its whole response.
            AssociationError, TransportError, DimseTimeout: it ended while we waited.

        Source: PS3.7 9.1.1, PS3.4 B.
        """
        if isinstance(instance, (str, PathLike)):
            return self._c_store_file(Path(instance), priority)
        if isinstance(instance, (bytes, bytearray, memoryview)) or hasattr(instance, "read"):
            with _in_a_file(cast("bytes | IO[bytes]", instance)) as path:
                return self._c_store_file(path, priority)
        dataset = cast("Dataset", instance)
        return self._run(
            _scu.c_store_data_set(
                dataset, self.accepted, self._core.next_message_id(), self._timeouts, priority
            )
        )

    def _c_store_file(self, path: Path, priority: int) -> Status:
        return self._run(
            _scu.c_store_file(
                path, self.accepted, self._core.next_message_id(), self._timeouts, priority
            )
        )

    def _run(self, steps: Generator[Step, Any, Status]) -> Status:
        call = object()
        self._outstanding.add(call)
        try:
            status = run(self._core, steps)
        except Exception:
            # Refused, answered, or over with the association: nothing more will come.
            self._outstanding.discard(call)
            raise
        self._outstanding.discard(call)
        return status

    def send_files(self, paths: Sequence[str | PathLike[str]]) -> _core.Bulk:
        """Send Part 10 files undecoded, as many at a time as were negotiated.

        What `AE.send` stands on: it neither plans contexts nor converts. Pull results with
        `next(within)`: a list of (index, file, response, error), None after the last.

        Raises:
            AssociationError, TransportError: the association is over.
        """
        bulk = self._core.send_files(paths, within=self._timeouts.store)
        self._outstanding.add(bulk)
        return bulk

    def release(self) -> None:
        """Release the association in good order, after what is outstanding is confirmed.

        Harmless when it was released before.

        Raises:
            AssociationError, TransportError, DimseTimeout: it ended otherwise.

        Source: PS3.8 7.2, PS3.7 A.5.
        """
        if isinstance(self._core.ended, AssociationReleased):
            return
        self._core.release()
        _logger.info("%s released", self)

    def abort(self) -> None:
        """Abort the association at once: outstanding operations fail on both sides (PS3.8 7.3)."""
        if self.is_established:
            self._core.abort()
            _logger.info("%s aborted", self)

    def __enter__(self) -> Self:
        """Use the association; it is established already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release; abort when the block was left by an exception with operations outstanding."""
        if not self.is_established:
            return
        if error is not None and self._outstanding:
            self.abort()
            return
        try:
            self.release()
        except DimseError:
            if error is None:  # else the first error is the one to be seen
                raise

    def __str__(self) -> str:
        """Show it as logs do: `CALLED<-CALLING(7)`."""
        calling, called = self._core.titles
        return f"{called}<-{calling}({self._core.id})"

    def __repr__(self) -> str:
        """Show the titles, the peer and whether it lives."""
        life = "established" if self.is_established else "ended"
        return f"<Association {self} with {self._peer}, {life}>"
