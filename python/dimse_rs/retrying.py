"""Which failures of a sending are worth another try, and how long to wait before that."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from .errors import (
    AssociationAborted,
    AssociationRejected,
    AssociationReleased,
    ConnectFailed,
    ConnectionLost,
    DimseTimeout,
    RemoteProtocolError,
    SendingCancelled,
)

if TYPE_CHECKING:
    from .errors import DimseError
    from .status import Status

__all__ = ["RETRYABLE", "Backoff", "delay_before", "is_retryable"]

RETRYABLE: Final[tuple[tuple[type[DimseError] | range, str], ...]] = (
    (ConnectFailed, "no connection"),
    (AssociationRejected, "rejected, if the rejection is transient"),
    (AssociationAborted, "aborted"),
    (ConnectionLost, "lost"),
    (RemoteProtocolError, "aborted by us, since the peer broke the protocol"),
    (DimseTimeout, "timed out"),
    (AssociationReleased, "released before the answer"),
    (SendingCancelled, "cancelled before it was sent"),
    (range(0xA700, 0xA800), "refused: out of resources"),
    (range(0x0213, 0x0214), "refused: resource limitation"),
)
"""The failures that may pass by themselves: errors, or statuses of the answer, and what they mean.

All others are for good: the same file would fail again. A warning is no failure: the instance is
stored. `SendResult.retryable` looks here, and `AE.send(retries=)` follows it.
"""

MOST: Final = 3600.0
"""Seconds that a number for `backoff` comes to at most."""

Backoff: TypeAlias = float | Callable[[int], float]
"""Seconds before the first retry, doubled for each further one; or a function of its number, 1 for
the first, that gives the seconds."""


def is_retryable(status: Status | None, error: DimseError | None) -> bool:
    """Whether a failure is in the table.

    Args:
        status: of the answer; None without an answer.
        error: why there is no answer.
    """
    if status is not None:
        return any(isinstance(row, range) and int(status) in row for row, _ in RETRYABLE)
    if isinstance(error, AssociationRejected):
        return error.result == 2  # rejected-transient (PS3.8 9.3.4)
    return any(isinstance(row, type) and isinstance(error, row) for row, _ in RETRYABLE)


def delay_before(retry: int, backoff: Backoff) -> float:
    """Give the seconds to wait before a retry.

    With a number the wait is a random part of it (full jitter), so that senders whose peer was down
    do not come back all at once.
    """
    if callable(backoff):
        return max(0.0, float(backoff(retry)))
    # The exponent is bounded: 2 ** 5000 is no float.
    most = min(MOST, backoff * 2.0 ** min(retry - 1, 64))
    return random.uniform(0.0, most)  # noqa: S311 - spreads load, guards nothing
