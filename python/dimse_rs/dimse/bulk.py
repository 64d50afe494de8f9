"""Part 10 files that are sent undecoded, and the outcome of each.

`c_store` of a file, `AE.send` and the performing side of C-GET and C-MOVE stand on this. The core
reads the files, and an outcome has the facts that it has read.
"""

from __future__ import annotations

from collections.abc import Generator
from os import PathLike
from typing import TYPE_CHECKING, Any

from dimse_rs.errors import NoPresentationContext
from dimse_rs.records import dataclass
from dimse_rs.status import Status

from .steps import WAKE, Results, SendFiles, Step

if TYPE_CHECKING:
    from dimse_rs import _core
    from dimse_rs.errors import DimseError

__all__ = ["Outcome", "Sending"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one file: a response or an error.

    Attributes:
        index: the place of the file among those given.
        info: the facts of the file; None when it was not read, or could not be.
        begun: whether the peer may have received a part of the file.
        response: of the peer.
        status: of the response.
        comment: Error Comment of the response.
        error: why there is no response.
        unreadable: the error of the operating system that `error` stands for.
    """

    index: int
    info: _core.FileFacts | None
    begun: bool
    response: _core.Message | None
    status: Status | None
    comment: str
    error: DimseError | None
    unreadable: OSError | None

    @classmethod
    def of(cls, result: _core.FileResult) -> Outcome:
        """Make the outcome of a result of the core."""
        return cls(
            result.index,
            result.info,
            result.begun,
            result.response,
            None if result.response is None else Status(result.status or 0, "C-STORE"),
            result.comment or "",
            result.error,
            result.unreadable,
        )

    @property
    def convertible(self) -> bool:
        """Whether no context takes the file as it is: a conversion may help."""
        return isinstance(self.error, NoPresentationContext)


class Sending:
    """Files on their way over one association.

    Args:
        step: the files, and how they are sent.

    Attributes:
        left: the files without an outcome so far, by index.
    """

    def __init__(self, step: SendFiles) -> None:
        """Keep the files; `begin` or the first `outcomes` begins to send."""
        self.left: dict[int, str | PathLike[str]] = dict(enumerate(step.paths))
        self._step = step
        self._bulk: _core.Bulk | None = None

    def begin(self) -> Generator[Step, Any, _core.Bulk]:
        """Begin to send.

        Raises:
            AssociationError, TransportError: the association is over.
        """
        bulk: _core.Bulk = yield self._step
        self._bulk = bulk
        return bulk

    def outcomes(self, within: float = WAKE) -> Generator[Step, Any, list[Outcome] | None]:
        """Wait at most so many seconds for outcomes; None once every file has had one."""
        bulk = self._bulk or (yield from self.begin())
        results: list[_core.FileResult] | None = yield Results(bulk, within)
        if results is None:
            return None
        for result in results:
            del self.left[result.index]
        return [Outcome.of(result) for result in results]

    def last(self) -> list[Outcome]:
        """Give the last outcomes once more, which Ctrl-C may have kept from the caller."""
        return [] if self._bulk is None else [Outcome.of(one) for one in self._bulk.last()]

    def stop(self) -> None:
        """Begin no more files."""
        if self.left and self._bulk is not None:
            self._bulk.stop()
