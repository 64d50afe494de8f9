"""What is written in Rust and in Python is the same: each test names both places."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import pytest

from dimse_rs import Limits, RejectedContext, Timeouts, _core, errors, fields, sop_class, status
from dimse_rs.dimse import steps
from dimse_rs.observe._kinds import KINDS
from dimse_rs.observe._translate import SOURCES, wanted_by_logs
from dimse_rs.observe.events import Kind
from dimse_rs.settings import IN_PYTHON, for_core

ROOT = Path(__file__).parents[2]

RENAMED = {
    "ATTRIBUTES_NOT_SUPPORTED": "OPTIONAL_ATTRIBUTES_NOT_SUPPORTED",
    "CANNOT_UNDERSTAND": "CANNOT_PROCESS",
    "PENDING_WARNING": "PENDING_WITH_WARNING",
}

OF_SERVICES = {"DUPLICATE_TRANSACTION_UID"}
"""Codes that services in Python answer, and the core never does."""


def test_deadlines():
    # settings.py Timeouts, rust/dimse-net/src/deadline.rs Timeouts
    assert dict(_core.Timeouts().values()) == for_core(Timeouts())


def test_limits():
    # settings.py Limits; rust/dimse-net/src/limits.rs Limits and BYTE_BUDGET, listener.rs Capacity
    assert dict(_core.Limits().values()) == for_core(Limits())


def test_settings_are_known_to_the_core_or_of_python_alone():
    known = {name for name, _ in (*_core.Timeouts().values(), *_core.Limits().values())}
    assert known.isdisjoint(IN_PYTHON)
    assert known | IN_PYTHON == {*asdict(Timeouts()), *asdict(Limits())}


def test_settings_arrive_by_their_names():
    seconds = {name: float(number) for number, name in enumerate(for_core(Timeouts()), 7)}
    assert dict(_core.Timeouts(**seconds).values()) == seconds
    numbers = {name: number for number, name in enumerate(for_core(Limits()), 7)}
    assert dict(_core.Limits(**numbers).values()) == numbers


@pytest.mark.parametrize("kind", [_core.Timeouts, _core.Limits])
def test_an_unknown_setting_is_refused_by_its_name(kind):
    with pytest.raises(TypeError, match="handlr"):
        kind(handlr=5)


def test_command_fields():
    # fields.py, rust/dimse-proto/src/dimse/field.rs
    numbers = {name: number for number, name in _core.command_fields()}
    ours = {name: number for name, number in vars(fields).items() if name.endswith("_RQ")}
    assert ours == {
        name.replace("-", "_"): number for name, number in numbers.items() if name.endswith("-RQ")
    }
    for number, service in fields.SERVICE_OF.items():
        assert numbers[f"{service}-RQ"] == number


def test_results_of_contexts():
    # rust/dimse-proto/src/ul/reason.rs; contexts.py and observe/_kinds.py read it
    assert [number for number, _ in _core.context_results()] == [0, 1, 2, 3, 4]
    for number, text in _core.context_results():
        assert RejectedContext(1, sop_class.Verification, number).reason == text
    assert RejectedContext(1, sop_class.Verification, 9).reason == "result 9"


def test_status_codes():
    # status.py, rust/dimse-proto/src/dimse/status.rs
    codes = dict(_core.status_codes())
    ours = {name: int(code) for name, code in vars(status).items() if is_status(code)}
    assert len(ours) > 20
    shared = ours.keys() - OF_SERVICES
    assert {name: ours[name] for name in shared} == {
        name: codes[RENAMED.get(name, name)] for name in shared
    }


def is_status(value):
    return isinstance(value, status.Status)


def test_results_are_waited_for_once():
    # dimse/steps.py; send.py waits by it
    assert steps.Results.__dataclass_fields__["within"].default == steps.WAKE


# ---- kinds of events: observe/_kinds.py, rust/dimse-py/src/event.rs


def test_both_sides_know_the_same_kinds():
    assert set(KINDS) == set(_core.event_kinds())


def test_the_core_can_be_asked_for_what_kinds_follow():
    names = {name for kind in KINDS.values() for name in kind.follow}
    # "problem" is of any kind: what a log at WARNING wants.
    assert names | {"problem"} == set(_core.followed_kinds())
    assert {name for server in (False, True) for name in wanted_by_logs(server=server)} <= set(
        _core.followed_kinds()
    )


def test_users_can_ask_for_what_kinds_make():
    assert set(SOURCES) == set(get_args(Kind))


def test_each_advice_of_the_core_has_a_sentence():
    # error.rs TlsAdvice; errors.py _ADVICE
    source = (ROOT / "rust/dimse-net/src/error.rs").read_text()
    table = source[source.index("\nadvice! {") :]
    names = re.findall(r'^    [A-Z]\w+ "([a-z-]+)";$', table[: table.index("\n}")], re.M)
    assert set(names) == set(errors._ADVICE)
