"""Logging for programs: lines like DCMTK's, on stderr, only when asked for."""

from __future__ import annotations

import contextlib
import io
import logging

import pytest

from dimse_rs import log


@pytest.fixture
def unconfigured():
    """Give a context in which what pytest has configured is away."""

    @contextlib.contextmanager
    def away():
        root = logging.getLogger()
        handlers, root.handlers = root.handlers, []
        try:
            yield root
        finally:
            root.handlers = handlers

    return away


def test_without_configuration_warnings_and_errors_are_printed(unconfigured, capsys):
    logger = log.get(log.SERVER)
    with unconfigured():
        logger.info("quiet")
        logger.warning("loud")
        try:
            raise ZeroDivisionError("mine")
        except ZeroDivisionError:
            logger.exception("failed")
    out, err = capsys.readouterr()
    assert out == ""
    first, second, *trace = err.splitlines()
    assert first == "WARNING dimse_rs.server: loud"
    assert second == "ERROR dimse_rs.server: failed"
    assert trace[0].startswith("Traceback")
    assert trace[-1] == "ZeroDivisionError: mine"


@pytest.mark.parametrize("name", ["", log.ROOT, log.SERVER])
@pytest.mark.parametrize("kind", [logging.NullHandler, logging.StreamHandler])
def test_with_a_handler_of_the_applications_nothing_is_printed_besides(
    name, kind, unconfigured, capsys
):
    stream = io.StringIO()
    handler = kind() if kind is logging.NullHandler else kind(stream)
    with unconfigured():
        logging.getLogger(name).addHandler(handler)
        try:
            log.get(log.SERVER).error("failed")
        finally:
            logging.getLogger(name).removeHandler(handler)
    assert capsys.readouterr() == ("", "")
    assert stream.getvalue() == ("failed\n" if kind is logging.StreamHandler else "")


def test_a_record_that_goes_no_further_is_not_seen_by_the_root(unconfigured, capsys, monkeypatch):
    """Its handlers do not count, then."""
    monkeypatch.setattr(logging.getLogger(log.ROOT), "propagate", False)
    with unconfigured() as root:
        root.addHandler(logging.NullHandler())
        log.get(log.SERVER).error("failed")
    assert capsys.readouterr().err == "ERROR dimse_rs.server: failed\n"


def test_without_pythons_last_resort_there_is_none(unconfigured, capsys, monkeypatch):
    monkeypatch.setattr(logging, "lastResort", None)
    with unconfigured():
        log.get(log.SERVER).error("failed")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("level", "number"), [("Warning", 30), ("critical", 50), ("TRACE", 5)])
def test_levels_have_the_names_of_dcmtk_and_of_python(level, number):
    assert log.to_stderr(level).level == number


def test_a_level_that_is_none_is_refused_by_name():
    with pytest.raises(ValueError, match="no such level: 'loud'; there are fatal, error, warn"):
        log.to_stderr("loud")


def test_lines_have_the_letter_of_their_level(capsys):
    log.to_stderr("trace")
    for level, name in (("info", "one"), ("debug", "two"), ("warning", "three"), ("error", "a\nb")):
        getattr(log.get(log.UL), level)(name)
    log.get(log.UL).log(log.TRACE, "state")
    log.get().critical("end")
    expected = "I: one\nD: two\nW: three\nE: a\nE: b\nT: state\nF: end\n"
    assert capsys.readouterr().err == expected


def test_level_quiet_and_a_second_call(capsys):
    log.to_stderr("debug")
    log.to_stderr("warn")
    log.get().info("hidden")
    log.get().warning("shown once")
    assert capsys.readouterr().err == "W: shown once\n"
    log.to_stderr("trace", quiet=True)
    log.get().critical("hidden")
    assert capsys.readouterr().err == ""
