"""Logging for programs: lines like DCMTK's, on stderr, only when asked for."""

from __future__ import annotations

import logging

from dimse_rs import log


def test_library_prints_nothing_by_itself(capsys):
    assert [type(h) for h in logging.getLogger(log.ROOT).handlers] == [logging.NullHandler]
    log.get(log.SERVER).debug("quiet")
    assert capsys.readouterr() == ("", "")


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
