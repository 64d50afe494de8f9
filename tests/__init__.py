"""Tests of dimse_rs. A package, so that no installed `tests` package can shadow it."""
