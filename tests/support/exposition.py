"""A strict reader of Prometheus' text format 0.0.4, for what a scraper would trip over."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

_NAME = r"[a-z][a-z0-9_]*"
_COMMENT = re.compile(rf"# (HELP|TYPE) ({_NAME}) (\S.*)")
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.*)\}})? (\S+)")
_LABEL = re.compile(r'([a-z_]+)="([^"\\\n]*)"')


@dataclass
class Family:
    """A metric: its type and its samples by name and labels."""

    kind: str = ""
    text: str = ""
    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)


def parse(text: str) -> dict[str, Family]:
    """Read it all.

    Raises:
        AssertionError: something is not as the format wants it.
    """
    assert text.endswith("\n")
    families: dict[str, Family] = {}
    name = ""
    for line in text.removesuffix("\n").split("\n"):
        if comment := _COMMENT.fullmatch(line):
            what, name, rest = comment.groups()
            if what == "HELP":
                assert name not in families, f"{name} comes twice"
                families[name] = Family(text=rest)
            else:
                assert not families[name].kind, line
                families[name].kind = rest
            continue
        sample = _SAMPLE.fullmatch(line)
        assert sample, line
        _add(families[name], name, *sample.groups())
    for name, family in families.items():
        assert family.samples, f"{name} has no samples"
        if family.kind == "histogram":
            _check_buckets(name, family)
    return families


def _add(family: Family, of: str, name: str, labels: str | None, value: str) -> None:
    if family.kind == "histogram":
        assert name in {f"{of}_bucket", f"{of}_sum", f"{of}_count"}
    else:
        assert name == of, f"{name} among the samples of {of}"
        assert (family.kind == "counter") == name.endswith("_total")
        assert family.kind in {"counter", "gauge"}
    pairs = _LABEL.findall(labels or "")
    assert labels is None or ",".join(f'{key}="{text}"' for key, text in pairs) == labels
    key = (name, tuple(pairs))
    assert key not in family.samples, f"{key} comes twice"
    number = float(value)
    assert number >= 0
    family.samples[key] = number


def _check_buckets(name: str, family: Family) -> None:
    series: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for (sample, labels), value in family.samples.items():
        if sample == f"{name}_bucket":
            *others, (le, bound) = labels
            assert le == "le"
            series.setdefault(tuple(others), []).append((float(bound), value))
    assert len(family.samples) == sum(len(buckets) + 2 for buckets in series.values())
    for labels, buckets in series.items():
        bounds, counts = zip(*buckets, strict=True)
        assert bounds[-1] == math.inf
        assert list(bounds) == sorted(set(bounds))
        assert list(counts) == sorted(counts), "each bucket holds those below it"
        assert counts[-1] == family.samples[f"{name}_count", labels]
        assert (f"{name}_sum", labels) in family.samples
