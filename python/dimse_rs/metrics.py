"""What a server counted: a snapshot, and its text for Prometheus.

    server.metrics().rejected["called-ae-title"]
    print(server.metrics().prometheus())

Nothing that a peer says becomes a name here: neither AE titles nor UIDs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

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


def _metric(name: str, text: str, label: str = "") -> Any:
    """Make a field with what Prometheus is told of it; a `label` names the keys of its dict."""
    return field(metadata={"name": name, "text": text, "label": label})


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

    associations: int = _metric("associations", "Established associations.")
    pending: int = _metric("pending_connections", "Connections without an A-ASSOCIATE-RQ yet.")
    buffered_bytes: int = _metric("buffered_bytes", "Bytes received and not yet disposed of.")
    operations: int = _metric("operations", "Requests that are not finally answered.")
    handlers: int = _metric("handlers", "Handlers that run.")
    connections: int = _metric("connections_total", "TCP connections that came.")
    accept_failures: int = _metric(
        "accept_failures_total", "Times that a connection could not be taken."
    )
    accepted: int = _metric("associations_accepted_total", "Associations established.")
    rejected: dict[str, int] = _metric(
        "associations_rejected_total", "Associations rejected.", "code"
    )
    failed: dict[str, int] = _metric(
        "connections_failed_total", "Connections that ended before an association.", "code"
    )
    ended: dict[str, int] = _metric("associations_ended_total", "Associations over.", "code")
    received: dict[str, int] = _metric("messages_received_total", "Messages received.", "message")
    sent: dict[str, int] = _metric("messages_sent_total", "Messages sent.", "message")
    statuses: dict[str, int] = _metric("responses_sent_total", "Responses sent.", "category")
    received_bytes: int = _metric("received_bytes_total", "Bytes received.")
    sent_bytes: int = _metric("sent_bytes_total", "Bytes sent.")
    instances: dict[str, int] = _metric("instances_total", "C-STORE requests answered.", "outcome")
    overdue: int = _metric("handlers_overdue_total", "Handlers past their deadline.")
    events_lost: int = _metric("events_lost_total", "Events that a slow follower did not get.")
    panics: int = _metric("panics_total", "Faults of the core in this process.")
    association_seconds: Histogram = _metric(
        "association_duration_seconds", "From acceptance to the end of an association."
    )
    answer_seconds: dict[str, Histogram] = _metric(
        "answer_seconds", "From the last byte of a request to its final response.", "service"
    )
    store_bytes: Histogram = _metric("store_size_bytes", "Data sets of C-STORE requests.")
    sync_seconds: dict[str, Histogram] = _metric("sync_seconds", "Syncs to disk.", "what")
    sync_stores: Histogram = _metric("sync_stores", "Stores that shared a sync of a folder.")
    limits: dict[str, int] = _metric("limit", "Limits of this node.", "name")
    timeouts: dict[str, float] = _metric(
        "timeout_seconds", "Deadlines of this node; 0 is none.", "name"
    )

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
        for metric in fields(self):
            value = getattr(self, metric.name)
            name, label = f"dimse_{metric.metadata['name']}", metric.metadata["label"]
            samples = value.items() if label else [("", value)]
            one = next((sample for _, sample in samples), None)
            if isinstance(one, Histogram):
                kind = "histogram"
            else:
                kind = "counter" if name.endswith("_total") else "gauge"
            yield f"# HELP {name} {metric.metadata['text']}"
            yield f"# TYPE {name} {kind}"
            for key, sample in samples:
                # Keys are names of ours: nothing in them is to be escaped.
                labels = [f'{label}="{key}"'] if label else []
                if isinstance(sample, Histogram):
                    yield from _buckets(name, labels, sample)
                else:
                    yield _sample(name, labels, sample)


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
