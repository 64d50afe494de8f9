"""What a server counted: a snapshot, and its text for Prometheus.

    server.metrics().rejected["called-ae-title"]
    print(server.metrics().prometheus())

Nothing that a peer says becomes a name here: neither AE titles nor UIDs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

__all__ = ["Histogram", "Metrics"]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How values were spread.

    Attributes:
        bounds: upper bounds of the buckets, each included in its bucket.
        counts: values in each bucket; one more than bounds, for what is above them all.
        sum: of all values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        """How many values."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """The mean of all values; 0.0 when there are none."""
        return self.sum / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What a server does now, and what it did since it started.

    Each number is exact; they are not all of the same instant.

    Attributes:
        associations: established now.
        pending: connections that have not sent their A-ASSOCIATE-RQ.
        buffered_bytes: received and not yet disposed of, of `Limits.byte_budget`.
        operations: requests of peers that are not finally answered.
        handlers: that run now, those past their deadline included.
        connections: TCP connections that came.
        accept_failures: times that the system could not give one, for want of descriptors.
        accepted: associations that were established.
        rejected: associations that were rejected, by the code that the log has.
        failed: connections that ended before anything was accepted or rejected, by code.
        ended: associations that are over, by code: "released", "aborted-by-peer", "timeout-idle"...
        received: messages that came, by name.
        sent: messages that left, by name.
        statuses: responses that left, by the category of their status.
        received_bytes: that came, of whatever kind.
        sent_bytes: that left.
        instances: C-STORE requests finally answered: "stored" with Success or a warning, "refused".
        overdue: handlers that did not answer within `Timeouts.handler`.
        events_lost: that a follower was too slow for.
        panics: of the core in this process, whatever server it was for. Each is a fault of ours.
        association_seconds: from acceptance to the end.
        answer_seconds: from the last byte of a request to its final response, by service.
        store_bytes: data sets of C-STORE requests that came whole.
        sync_seconds: of "file" and "folder", by the server's `Storage`.
        sync_stores: stores that shared a sync of a folder.
        limits: by name: `Limits`, `max_pdu`, `max_handlers`, and those that no setting changes.
        timeouts: `Timeouts`, in seconds; 0 is none.
    """

    associations: int
    pending: int
    buffered_bytes: int
    operations: int
    handlers: int
    connections: int
    accept_failures: int
    accepted: int
    rejected: dict[str, int]
    failed: dict[str, int]
    ended: dict[str, int]
    received: dict[str, int]
    sent: dict[str, int]
    statuses: dict[str, int]
    received_bytes: int
    sent_bytes: int
    instances: dict[str, int]
    overdue: int
    events_lost: int
    panics: int
    association_seconds: Histogram
    answer_seconds: dict[str, Histogram]
    store_bytes: Histogram
    sync_seconds: dict[str, Histogram]
    sync_stores: Histogram
    limits: dict[str, int]
    timeouts: dict[str, float]

    @classmethod
    def _of(cls, core: Mapping[str, Any], **others: Any) -> Self:
        """Make one of what the core counted, and what else there is."""
        return cls(**{name: _shaped(value) for name, value in core.items()}, **others)

    def as_dict(self) -> dict[str, Any]:
        """Give it as dicts, lists and numbers, as `json.dumps` takes them."""
        return asdict(self)

    def prometheus(self) -> str:
        """Give it in Prometheus' text format 0.0.4; docs/metrics.md lists the names."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        for attribute, (suffix, label, text) in _EXPOSED.items():
            name, value = f"dimse_{suffix}", getattr(self, attribute)
            # Keys are names of ours: nothing in them is to be escaped.
            samples = [
                ([f'{label}="{key}"'] if label else [], sample)
                for key, sample in (value.items() if label else [("", value)])
            ]
            if not samples:
                continue  # it did not happen yet
            yield f"# HELP {name} {text}"
            yield f"# TYPE {name} {_kind(name, samples[0][1])}"
            for labels, sample in samples:
                if isinstance(sample, Histogram):
                    yield from _buckets(name, labels, sample)
                else:
                    yield _sample(name, labels, sample)


_EXPOSED: Final = {
    "associations": ("associations", "", "Established associations."),
    "pending": ("pending_connections", "", "Connections without an A-ASSOCIATE-RQ yet."),
    "buffered_bytes": ("buffered_bytes", "", "Bytes received and not yet disposed of."),
    "operations": ("operations", "", "Requests that are not finally answered."),
    "handlers": ("handlers", "", "Handlers that run."),
    "connections": ("connections_total", "", "TCP connections that came."),
    "accept_failures": ("accept_failures_total", "", "Times that a connection could not be taken."),
    "accepted": ("associations_accepted_total", "", "Associations established."),
    "rejected": ("associations_rejected_total", "code", "Associations rejected."),
    "failed": ("connections_failed_total", "code", "Connections that ended before an association."),
    "ended": ("associations_ended_total", "code", "Associations over."),
    "received": ("messages_received_total", "message", "Messages received."),
    "sent": ("messages_sent_total", "message", "Messages sent."),
    "statuses": ("responses_sent_total", "category", "Responses sent."),
    "received_bytes": ("received_bytes_total", "", "Bytes received."),
    "sent_bytes": ("sent_bytes_total", "", "Bytes sent."),
    "instances": ("instances_total", "outcome", "C-STORE requests answered."),
    "overdue": ("handlers_overdue_total", "", "Handlers past their deadline."),
    "events_lost": ("events_lost_total", "", "Events that a slow follower did not get."),
    "panics": ("panics_total", "", "Faults of the core in this process."),
    "association_seconds": (
        "association_duration_seconds",
        "",
        "From acceptance to the end of an association.",
    ),
    "answer_seconds": (
        "answer_seconds",
        "service",
        "From the last byte of a request to its final response.",
    ),
    "store_bytes": ("store_size_bytes", "", "Data sets of C-STORE requests."),
    "sync_seconds": ("sync_seconds", "what", "Syncs to disk."),
    "sync_stores": ("sync_stores", "", "Stores that shared a sync of a folder."),
    "limits": ("limit", "name", "Limits of this node."),
    "timeouts": ("timeout_seconds", "name", "Deadlines of this node; 0 is none."),
}
"""How Prometheus is told of each attribute: name, label of the keys, help."""


def _kind(name: str, sample: Any) -> str:
    if isinstance(sample, Histogram):
        return "histogram"
    return "counter" if name.endswith("_total") else "gauge"


def _shaped(value: Any) -> Any:
    if isinstance(value, tuple):
        bounds, counts, total = value
        return Histogram(tuple(bounds), tuple(counts), total)
    if isinstance(value, dict):
        return {key: _shaped(one) for key, one in value.items()}
    return value


def _sample(name: str, labels: list[str], value: float) -> str:
    inside = f"{{{','.join(labels)}}}" if labels else ""
    return f"{name}{inside} {value}"


def _buckets(name: str, labels: list[str], histogram: Histogram) -> Iterator[str]:
    below = 0
    for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts, strict=True):
        below += count
        yield _sample(f"{name}_bucket", [*labels, f'le="{bound}"'], below)
    yield _sample(f"{name}_sum", labels, histogram.sum)
    yield _sample(f"{name}_count", labels, below)
