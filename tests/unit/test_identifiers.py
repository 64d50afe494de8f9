"""What a call makes of an identifier: the caller's own stays as it was."""

from __future__ import annotations

from pydicom.dataset import Dataset

from dimse_rs.dimse.scu import data_set_of


def test_a_copy_has_elements_of_its_own():
    own = Dataset()
    own.PatientID = "1"
    copied = data_set_of(own)
    copied.QueryRetrieveLevel = "STUDY"
    copied.PatientID = "2"
    assert own.dir() == ["PatientID"]
    assert own.PatientID == "1"
