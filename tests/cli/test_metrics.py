"""`--metrics` of the tools that listen."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

import pytest

from dimse_rs import CTImageStorage, StudyRoot
from tests.support.exposition import parse
from tests.support.nodes import CT, SCU
from tests.support.process import Process
from tests.support.tools import DIMSE, dimse, events


def value(families, name, **labels):
    return families[name].samples[name, tuple(labels.items())]


@pytest.mark.parametrize("tool", ["storescp", "scp"])
def test_a_tool_serves_its_metrics_until_it_stops(tool, tmp_path):
    options = ["0", "-od", str(tmp_path), "--mode", "fast", "--metrics", "0", "--json"]
    with Process([*DIMSE, tool, *options]) as process:
        [told] = events([process.wait_for_line(lambda line: "listening" in line)])
        with SCU.associate(
            f"ANY-SCP@127.0.0.1:{told['port']}", contexts=[CTImageStorage, *StudyRoot]
        ) as association:
            association.c_store(CT)
            with urllib.request.urlopen(told["metrics"], timeout=10) as response:
                families = parse(response.read().decode())
        assert value(families, "dimse_associations") == 1
        assert value(families, "dimse_instances_total", outcome="stored") == 1
        assert value(families, "dimse_panics_total") == 0
        process.interrupt()
        assert process.wait() == 130
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(told["metrics"], timeout=10)


def test_a_port_that_is_taken_is_64():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = dimse("storescp", "0", "--ignore", "--metrics", port)
    assert done.returncode == 64
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr


@pytest.mark.parametrize("wrong", ["9104x", "127.0.0.1", "127.0.0.1:70000", ":"])
def test_what_is_no_port_is_a_usage_error(wrong):
    done = dimse("storescp", "0", "--ignore", "--metrics", wrong)
    assert done.returncode == 1
    assert "[address:]port" in done.stderr
