"""`Metrics`: the counters of a server as a snapshot, and their text for Prometheus.

    server.metrics().rejected["called-ae-title"]
    print(server.metrics().prometheus())

No label holds a value that a peer chooses, such as an AE title or a UID: otherwise a peer could
make any number of time series.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Self

from dimse_rs import _core
from dimse_rs.records import dataclass, names_of

__all__ = ["Histogram", "Metrics"]


@dataclass(frozen=True, slots=True)
class Histogram:
    """The distribution of values.

    Attributes:
        bounds: upper bounds of the buckets, each included in its bucket.
        counts: values in each bucket; the last one is for values above all bounds.
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
    """The state of a server now, and its counts since it started.

    Each number is exact, but they are not all taken at the same instant.

    Attributes:
        associations: established now.
        pending: connections that have not sent their A-ASSOCIATE-RQ.
        buffered_bytes: received, or decoded, and still in memory; bounded by `Limits.byte_budget`.
        operations: requests of peers without a final response yet.
        handlers: handlers that run now, those past their deadline included.
        connections: TCP connections that peers opened.
        accept_failures: connections that could not be accepted, for want of descriptors.
        accepted: associations that were established.
        rejected: associations that were rejected, by the code of the log.
        failed: connections that ended before an association was accepted or rejected, by code.
        ended: associations that are over, by code: "released", "aborted-by-peer", "timeout-idle"...
        received: messages received, by name.
        sent: messages sent, by name.
        statuses: responses sent, by the category of their status.
        received_bytes: bytes received, of any kind.
        sent_bytes: bytes sent.
        instances: C-STORE requests answered: "stored" with Success or a warning, "refused".
        overdue: handlers that did not return within `Timeouts.handler`.
        events_lost: events that a follower was too slow for.
        panics: faults of the core in this process, of all servers. Each is a defect to report.
        association_seconds: from acceptance to the end.
        answer_seconds: from the last byte of a request to its final response, by service.
        store_bytes: data sets of C-STORE requests that were received completely.
        sync_seconds: syncs by the server's `Storage`, of "file" and "folder".
        sync_stores: stores that shared a sync of a folder.
        limits: `Limits`, `max_pdu`, `max_handlers`, and those that no setting changes, by name.
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
    def _of(cls, core: _core.MetricsFacts, **others: Any) -> Self:
        """Make a snapshot of the counters of the core and of other numbers."""
        names = [name for name in names_of(cls) if name not in others]
        return cls(**{name: _shaped(getattr(core, name)) for name in names}, **others)

    def as_dict(self) -> dict[str, Any]:
        """Give the metrics as dicts, lists and numbers, as `json.dumps` takes them."""
        from dataclasses import asdict

        return asdict(self)

    def prometheus(self) -> str:
        """Write the metrics in Prometheus' text format 0.0.4; docs/metrics.md lists the names."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        for attribute, (suffix, label, text) in _EXPOSED.items():
            name, value = f"dimse_{suffix}", getattr(self, attribute)
            # Keys are names of this package: no character in them needs an escape.
            samples = [
                ([f'{label}="{key}"'] if label else [], sample)
                for key, sample in (value.items() if label else [("", value)])
            ]
            if not samples:
                continue  # there is no key yet, and so no line
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
"""For Prometheus, by attribute: the name, the label of the keys, the help text."""


def _kind(name: str, sample: Any) -> str:
    if isinstance(sample, Histogram):
        return "histogram"
    return "counter" if name.endswith("_total") else "gauge"


def _shaped(value: Any) -> Any:
    if isinstance(value, _core.HistogramFacts):
        return Histogram(tuple(value.bounds), tuple(value.counts), value.sum)
    if isinstance(value, dict):
        return {key: _shaped(one) for key, one in value.items()}
    return value


def _sample(name: str, labels: list[str], value: float) -> str:
    inside = f"{{{','.join(labels)}}}" if labels else ""
    return f"{name}{inside} {value}"


def _buckets(name: str, labels: list[str], histogram: Histogram) -> Iterator[str]:
    # Buckets of Prometheus are cumulative: each counts all values up to its bound.
    below = 0
    for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts, strict=True):
        below += count
        yield _sample(f"{name}_bucket", [*labels, f'le="{bound}"'], below)
    yield _sample(f"{name}_sum", labels, histogram.sum)
    yield _sample(f"{name}_count", labels, below)
