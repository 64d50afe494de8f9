"""What the tests of the relay share."""

import pytest
from relay import Relay

from dimse_rs import AE, SendReport
from dimse_rs.testing import make_study, write_files


@pytest.fixture
def modality(tmp_path):
    """Give a function that sends a study of six images to a relay, and gives the study."""

    def send(relay: Relay):
        study = make_study(series=2, instances=3, PatientID="42")
        files = write_files(study, tmp_path / "scanner")
        report: SendReport = AE("CT1").send(f"RELAY@127.0.0.1:{relay.server.port}", files)
        report.raise_for_failures()
        return study

    return send


@pytest.fixture
def relay_to(tmp_path):
    """Give a function that makes a relay to an archive."""
    return lambda archive: Relay(tmp_path / "relay", archive.address, port=0, pause=0.05)
