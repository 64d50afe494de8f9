"""A network that loses, delays and reorders packets, in a namespace of its own: K01."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import run

ROOT = Path(__file__).parents[2]
CONDITIONS = ["loss 3% delay 5ms 2ms reorder 25%", "rate 2mbit delay 20ms limit 20"]

# A server and eight sessions with it, over the loopback device of the namespace.
SESSIONS = """
import sys, tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from dimse_rs import AE, Server, Storage, StudyRoot
from pydicom.dataset import Dataset
from tests.hostile.test_proxy import MATCHES, PATIENT, check_stored, session

with tempfile.TemporaryDirectory() as folder:
    services = [Storage(folder, mode="fast")]
    server = Server(AE("SCP", timeouts=PATIENT), port=0, services=services)

    @server.c_find(StudyRoot)
    def find(request):
        for number in range(MATCHES):
            match = Dataset()
            match.PatientID = str(number)
            yield match

    with server, ThreadPoolExecutor(8) as pool:
        ae = AE("SCU", timeouts=PATIENT)
        done = [[] for _ in range(8)]
        list(pool.map(lambda n: session(ae, server.port, n, done[n]), range(8)))
        assert all(one[-1] == "released" for one in done), done
    check_stored(Path(folder), set(range(8)), range(8))
print("all done")
"""


def namespace(condition: str) -> list[str]:
    """A command that runs another in a network namespace with this on its loopback device."""
    unshare, tc = shutil.which("unshare"), shutil.which("tc", path="/usr/sbin:/sbin:/usr/bin")
    if unshare is None or tc is None:
        pytest.skip("unshare (util-linux) and tc (iproute2) are not installed")
    up = 'ip link set lo up && exec "$@"'
    if condition:
        up = f"ip link set lo up && tc qdisc add dev lo root netem {condition} && exec " + '"$@"'
    return [unshare, "--map-root-user", "--net", "sh", "-c", up, "sh"]


@pytest.mark.parametrize("condition", ["", *CONDITIONS])
def test_a_bad_network_costs_time_and_nothing_else(condition):
    inside = namespace(condition)
    probe = subprocess.run([*inside, "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no such network here: {probe.stderr.strip() or probe.returncode}")
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    outcome = run([*inside, sys.executable, "-c", SESSIONS], env=environment)
    assert outcome.stdout.splitlines()[-1:] == ["all done"], outcome.stderr
