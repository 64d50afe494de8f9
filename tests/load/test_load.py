"""That the load and the soak run, in seconds; what they measure is for `make bench-load` to say."""

import pytest

from tests.load import faults, soak
from tests.load.run import ROWS, Length, LoadReport, Server, Sizes, ours


@pytest.mark.timeout(180)  # a few seconds where nothing else runs
@pytest.mark.parametrize("row", ROWS)
def test_each_row_is_measured(row, tmp_path):
    report = LoadReport()
    few = Server("ours", ours, Sizes(idle=8, store=4, hostile=4, rate_seconds=1))
    ROWS[row](report, few, tmp_path, Length(idle=0.1, store=1, hostile=1, settle=0.1))
    assert len(report.rows) == 1
    assert report.aims


@pytest.mark.timeout(180)
def test_what_is_acknowledged_among_faults_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(faults, "STALL", 0.5)
    report = soak.run(tmp_path, 3.0, seed=4)
    assert report.holds(soak.DISK), str(report)
    assert report.holds(soak.PANICS), str(report)
