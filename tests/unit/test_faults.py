"""What the log says of an exception: the user's own text, and none of a library's."""

from __future__ import annotations

import io
import logging
from datetime import datetime
from types import FunctionType

import pytest
from pydicom.dataset import Dataset

from dimse_rs import DecodeError, DimseError, log
from dimse_rs.faults import told

MARK = "MARKED^VALUE"


def raised(function) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever it is
        function()
    return caught.value


class OwnError(Exception):
    pass


def own():
    raise OwnError("the disk is full")


def library():
    datetime.strptime(MARK, "%Y%m%d")


def of_pydicom():
    Dataset().add_new(0x00100020, "XX", MARK)
    Dataset.from_json('{"00100010": {"vr": "PN", "Value": "' + MARK + '"}}')


def chained():
    try:
        library()
    except ValueError as error:
        raise OwnError("no date") from error


def in_between():
    try:
        library()
    except ValueError:
        own()


def grouped():
    raise ExceptionGroup("two", [raised(own), raised(library)])


def test_the_text_of_the_users_own_code_is_shown_with_its_traceback():
    text = told(raised(own))
    assert text.startswith("Traceback (most recent call last):\n")
    assert 'raise OwnError("the disk is full")' in text
    assert text.endswith("OwnError: the disk is full")
    assert __file__ in text


@pytest.mark.parametrize("function", [library, of_pydicom])
def test_the_text_of_a_library_is_not_shown(function):
    text = told(raised(function))
    assert MARK not in text.replace(f'"{MARK}"', "")
    assert text.endswith("(text not shown: it may hold values of a data set)")
    assert f"in {function.__name__}" in text


@pytest.mark.parametrize("function", [chained, in_between])
def test_of_what_it_was_raised_from_only_the_type_and_the_place_are_shown(function):
    text = told(raised(function))
    assert "OwnError: " in text
    assert MARK not in text
    assert "caused by ValueError, " in text
    assert "_strptime.py:" in text


def elsewhere(function, module, path="/nowhere/file.py"):
    """Make a function of another module of one of this."""
    code = function.__code__.replace(co_filename=path)
    return FunctionType(code, function.__globals__ | {"__name__": module})


def as_called_by_us(function) -> BaseException:
    """Have it raised without a frame of this module around."""
    error = raised(function)
    return error.with_traceback(error.__traceback__.tb_next)


def test_frames_of_this_package_above_the_users_are_left_out():
    text = told(as_called_by_us(elsewhere(in_between, "dimse_rs.above", "/nowhere/above.py")))
    assert "above.py" not in text
    assert "in own" in text


def test_the_text_of_an_installed_library_is_not_shown():
    failing = elsewhere(own, "database.driver", "/usr/lib/python3/site-packages/driver.py")
    assert told(raised(failing)).endswith(
        "OwnError (text not shown: it may hold values of a data set)"
    )


def test_the_text_of_the_users_code_is_shown_although_it_is_installed():
    handler = elsewhere(own, "archive.handlers", "/usr/lib/python3/site-packages/handlers.py")
    assert told(as_called_by_us(handler)).endswith("OwnError: the disk is full")


def test_errors_of_this_package_and_of_the_system_are_shown():
    assert told(DimseError("a fact")).endswith("DimseError: a fact")
    assert "No such file" in told(raised(lambda: open("/no/such/file")))  # noqa: SIM115
    from pathlib import Path

    assert "No such file" in told(raised(Path("/no/such/file").read_bytes))
    assert told(raised(lambda: own() if own else None)).endswith("the disk is full")


def test_each_of_a_group_is_shown_as_it_would_be_alone():
    text = told(raised(grouped))
    assert "  | test_faults.OwnError: the disk is full" in text or "OwnError: the disk" in text
    assert MARK not in text


def test_causes_that_go_in_a_ring_come_to_an_end():
    first, second = OwnError("1"), OwnError("2")
    first.__cause__, second.__cause__ = second, first
    assert told(first).count("caused by") == 1


def test_every_handler_prints_it_so_and_the_record_keeps_the_exception():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger(log.SERVER)
    logger.addHandler(handler)
    kept = []
    handler.addFilter(lambda record: kept.append(record.exc_info[1]) or True)
    error = DecodeError("a value cannot be read")
    error.__cause__ = raised(library)
    try:
        log.get(log.SERVER).error("failed", exc_info=error)
    finally:
        logger.removeHandler(handler)
    assert "a value cannot be read" in stream.getvalue()
    assert MARK not in stream.getvalue()
    assert kept == [error]
