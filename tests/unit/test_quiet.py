"""pydicom says nothing where we call it, and goes on saying what it says to everybody else."""

from __future__ import annotations

import asyncio
import logging
import threading
import warnings

import pytest
from pydicom import charset
from pydicom.dataset import Dataset

from dimse_rs import datasets
from dimse_rs.encoding import quiet as quiet_module
from dimse_rs.encoding.quiet import hush, quiet, quietly
from dimse_rs.sop_class import ExplicitVRLittleEndian


def odd() -> str:
    """Have pydicom warn, with a value."""
    made = Dataset()
    made.StudyInstanceUID = "Secret value"
    return made.StudyInstanceUID


@pytest.fixture
def heard(caplog):
    """Hear warnings and pydicom's log."""
    caplog.set_level(logging.INFO)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield lambda: [*(str(one.message) for one in said), *caplog.messages]


def test_pydicom_says_nothing_inside_and_everything_outside(heard):
    with quiet():
        with quiet():
            odd()
        odd()
        warnings.simplefilter("always")  # by another thread, say
        with quiet():
            odd()
    assert heard() == []
    odd()
    assert len(heard()) == 2
    assert all("Secret value" in text for text in heard())


def test_it_is_loud_again_after_an_error(heard):
    @quietly
    def fail() -> None:
        odd()
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert heard() == []
    odd()
    assert heard()


def test_warnings_of_others_are_heard_inside(heard):
    with quiet():
        warnings.warn("ours", UserWarning, stacklevel=1)
    assert heard() == ["ours"]


def test_other_threads_are_not_silenced(heard):
    with quiet():
        thread = threading.Thread(target=odd)
        thread.start()
        thread.join()
    assert heard()


def test_a_task_is_silenced_alone(heard):
    async def main() -> tuple[int, int]:
        async def silent() -> None:
            hush()
            await asyncio.sleep(0)
            odd()

        await asyncio.create_task(silent())
        before = len(heard())
        odd()
        return before, len(heard())

    before, after = asyncio.run(main())
    assert (before, after) == (0, 2)


def test_warnings_as_errors_are_no_errors_inside():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with quiet():
            odd()
        with pytest.raises(UserWarning):
            odd()


def test_the_filter_is_never_away_while_it_moves_to_the_front():
    class Watched(list):
        def __delitem__(self, place):
            super().__delitem__(place)
            assert self[0] is quiet_module._FILTER

        def remove(self, value):
            super().remove(value)
            assert value in self

    with warnings.catch_warnings():
        with quiet():
            warnings.simplefilter("always")
        warnings.filters = Watched(warnings.filters)
        with quiet():
            assert warnings.filters.count(quiet_module._FILTER) == 1
            assert warnings.filters[0] is quiet_module._FILTER


def test_python_remembers_no_text():
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        for number in range(20):
            raw = b"\x08\x00\x05\x00CS\x08\x00Secret%02d" % number
            raw += b"\x10\x00\x10\x00PN\x02\x00\xc4 "
            dataset = datasets.from_bytes(raw, ExplicitVRLittleEndian)
            datasets.decode(dataset)
            datasets.to_bytes(dataset, ExplicitVRLittleEndian)
        kept = getattr(charset, "__warningregistry__", {})
        assert [key for key in kept if "Secret" in str(key)] == []
        filters = [entry for entry in warnings.filters if entry[0] == "ignore" and entry[3]]
        ours = [
            entry for entry in filters if type(entry[3]).__module__ == "dimse_rs.encoding.quiet"
        ]
        assert len(ours) == 1
