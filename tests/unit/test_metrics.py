"""`Metrics` as text for Prometheus, as a dict, and as documentation."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from dimse_rs import Histogram, Metrics
from dimse_rs.observe.metrics import _EXPOSED
from tests.support.exposition import parse

TIMES = Histogram((0.5, 1.0), (2, 0, 1), 9.25)
NONE = Histogram((0.5, 1.0), (0, 0, 0), 0.0)


def metrics(**some):
    """Make metrics of a server that did nothing, but for these."""
    empty = {"int": 0, "Histogram": NONE}
    values = {field.name: empty.get(str(field.type), {}) for field in dataclasses.fields(Metrics)}
    return Metrics(**values | some)


def lines(text, name):
    return [
        line
        for line in text.splitlines()
        if line.startswith((f"# TYPE dimse_{name}", f"dimse_{name}"))
    ]


def test_a_number_is_a_gauge_or_a_counter():
    text = metrics(pending=3, connections=7).prometheus()
    assert lines(text, "pending") == [
        "# TYPE dimse_pending_connections gauge",
        "dimse_pending_connections 3",
    ]
    assert lines(text, "connections") == [
        "# TYPE dimse_connections_total counter",
        "dimse_connections_total 7",
    ]


def test_keys_are_values_of_a_label():
    text = metrics(ended={"released": 5, "timeout-idle": 1}).prometheus()
    assert lines(text, "associations_ended") == [
        "# TYPE dimse_associations_ended_total counter",
        'dimse_associations_ended_total{code="released"} 5',
        'dimse_associations_ended_total{code="timeout-idle"} 1',
    ]


def test_buckets_hold_what_is_below_them():
    text = metrics(answer_seconds={"C-ECHO": TIMES}).prometheus()
    assert lines(text, "answer_seconds") == [
        "# TYPE dimse_answer_seconds histogram",
        'dimse_answer_seconds_bucket{service="C-ECHO",le="0.5"} 2',
        'dimse_answer_seconds_bucket{service="C-ECHO",le="1.0"} 2',
        'dimse_answer_seconds_bucket{service="C-ECHO",le="+Inf"} 3',
        'dimse_answer_seconds_sum{service="C-ECHO"} 9.25',
        'dimse_answer_seconds_count{service="C-ECHO"} 3',
    ]


def test_all_of_it_parses_and_nothing_is_left_out():
    every = {
        field.name: {
            "dict[str, int]": {"a-b": 1, "C-STORE-RQ": 2},
            "dict[str, float]": {"artim": 30.0, "idle": 1e-6},
            "dict[str, Histogram]": {"C-STORE": TIMES, "C-ECHO": NONE},
        }.get(str(field.type))
        for field in dataclasses.fields(Metrics)
    }
    text = metrics(**{name: value for name, value in every.items() if value}).prometheus()
    assert parse(text).keys() == {f"dimse_{name}" for name, _, _ in _EXPOSED.values()}
    assert [field.name for field in dataclasses.fields(Metrics)] == list(_EXPOSED)


def test_what_did_not_happen_has_no_lines():
    text = metrics().prometheus()
    assert "dimse_answer_seconds" not in text
    assert "dimse_store_size_bytes_count 0" in text
    parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "dimse_a 1\n",
        "# HELP dimse_a A.\n# TYPE dimse_a gauge\ndimse_a 1",
        "# HELP dimse_a A.\n# TYPE dimse_a gauge\n",
        "# HELP dimse_a A.\n# TYPE dimse_a gauge\ndimse_a 1\ndimse_a 2\n",
        "# HELP dimse_a A.\n# TYPE dimse_a counter\ndimse_a 1\n",
        '# HELP dimse_a A.\n# TYPE dimse_a gauge\ndimse_a{b="x"y"} 1\n',
        '# HELP dimse_a A.\n# TYPE dimse_a histogram\ndimse_a_bucket{le="+Inf"} 1\n',
        '# HELP dimse_a A.\n# TYPE dimse_a histogram\ndimse_a_bucket{le="1"} 2\n'
        'dimse_a_bucket{le="+Inf"} 1\ndimse_a_sum 1\ndimse_a_count 1\n',
    ],
)
def test_the_reader_is_strict(text):
    with pytest.raises((AssertionError, KeyError)):
        parse(text)


def test_a_snapshot_is_json_and_cannot_be_changed():
    snapshot = metrics(rejected={"called-ae-title": 2}, store_bytes=TIMES)
    told = json.loads(json.dumps(snapshot.as_dict()))
    assert told["rejected"] == {"called-ae-title": 2}
    assert told["store_bytes"] == {"bounds": [0.5, 1.0], "counts": [2, 0, 1], "sum": 9.25}
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.pending = 1


def test_a_histogram_has_a_count_and_a_mean():
    assert (TIMES.count, TIMES.mean) == (3, 9.25 / 3)
    assert (NONE.count, NONE.mean) == (0, 0.0)


def test_the_page_lists_every_name_and_no_other():
    page = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `(dimse_\w+)` \| (\w+) \|\s*`?(\w*)`?\s*\| `(\w+)` \|", page, re.M)
    histograms = {
        "association_seconds",
        "answer_seconds",
        "store_bytes",
        "sync_seconds",
        "sync_stores",
    }
    expected = []
    for attribute, (name, label, _) in _EXPOSED.items():
        kind = "counter" if name.endswith("_total") else "gauge"
        kind = "histogram" if attribute in histograms else kind
        expected.append((f"dimse_{name}", kind, label, attribute))
    assert rows == expected
