"""pynetdicom's habits: taken where they are clear, else refused with what to write."""

from __future__ import annotations

import functools
import re
import subprocess
import sys

import pytest
from pydicom.dataset import Dataset

import dimse_rs
from dimse_rs import (
    AE,
    Association,
    AsyncServer,
    Commitment,
    CTImageStorage,
    Handlers,
    InstanceAvailability,
    QueryRetrieve,
    Retrieve,
    Schedule,
    Server,
    Storage,
    StudyRoot,
    hints,
)
from dimse_rs.callables import described, status_and_elements
from dimse_rs.dimse.scu import data_set_of

# ---- names


@pytest.mark.parametrize("name", hints._AE)
def test_an_attribute_of_pynetdicoms_ae_names_what_to_use(name):
    ae = AE("X")
    with pytest.raises(AttributeError, match=name) as caught:
        getattr(ae, name)
    assert str(caught.value).endswith(f": {hints._AE[name]}")
    with pytest.raises(AttributeError) as set_:
        setattr(ae, name, 5)
    assert str(set_.value) == str(caught.value)
    assert not hasattr(ae, name)
    assert name not in dir(ae)


def test_other_names_are_refused_as_ever():
    ae = AE("X")
    with pytest.raises(AttributeError, match=r"^object 'AE' has no attribute 'nonsense'$"):
        ae.nonsense  # noqa: B018
    with pytest.raises(AttributeError, match="cannot assign to field 'title'"):
        ae.title = "Y"


@pytest.mark.parametrize("kind", [Server, AsyncServer])
def test_an_attribute_of_pynetdicoms_server_names_what_to_use(kind):
    with pytest.raises(AttributeError, match=r"no attribute 'shutdown': server\.stop\(\)"):
        kind(AE("X"), port=0).shutdown  # noqa: B018


@pytest.mark.parametrize("name", ["send_c_store", "send_c_find", "accepted_contexts", "kill"])
def test_an_attribute_of_pynetdicoms_association_names_what_to_use(name):
    association = object.__new__(Association)
    with pytest.raises(AttributeError) as caught:
        getattr(association, name)
    told = f"object 'Association' has no attribute {name!r}: {hints._ASSOCIATION[name]}"
    assert str(caught.value) == told


def test_what_a_property_raises_is_not_taken_for_a_name_that_is_not_there():
    class Broken(Handlers):
        __getattr__ = Server.__getattr__

        @property
        def shutdown(self):
            raise AttributeError("of its own")

    with pytest.raises(AttributeError, match=r"^of its own$"):
        Broken().shutdown  # noqa: B018


@pytest.mark.parametrize("name", hints._MODULE)
def test_a_name_of_pynetdicoms_package_says_what_to_import(name):
    assert not hasattr(dimse_rs, name)
    with pytest.raises(AttributeError) as caught:
        getattr(dimse_rs, name)
    with pytest.raises(ImportError) as imported:
        exec(f"from dimse_rs import {name}", {})
    assert str(imported.value) == str(caught.value)
    assert str(imported.value).endswith(f": {hints._MODULE[name]}")


def test_a_name_that_nobody_has_is_not_imported_either():
    with pytest.raises(ImportError, match="cannot import name 'Nonsense'"):
        exec("from dimse_rs import Nonsense", {})


@pytest.mark.parametrize("name", sorted(hints._STATUS_ELEMENTS))
def test_an_element_of_pynetdicoms_status_names_what_to_use(name):
    with pytest.raises(AttributeError, match=re.escape(hints._STATUS_ELEMENTS[name])):
        getattr(dimse_rs.Status(0), name)
    assert not hasattr(dimse_rs.Status(0), "nonsense")


def test_what_the_hints_name_is_there():
    """Every attribute of ours that a hint spells out."""
    import re

    kinds = {
        "ae": AE,
        "association": Association,
        "server": Server,
        "request": dimse_rs.StoreRequest,
        "responses": dimse_rs.Responses,
    }
    others = {
        "association",
        "destination",
        "modifications",
        "attributes",
    }  # of instances, or other services
    missing = []
    for names in hints._NAMES.values():
        for told in names.values():
            for holder, name in re.findall(r"\b(\w+)\.(\w+)", told):
                if holder in kinds and name not in others and not hasattr(kinds[holder], name):
                    missing.append(f"{holder}.{name}")
    assert not missing


# ---- what is refused when a handler is added


async def coroutine(request):
    return None


async def asynchronous_generator(request):
    yield None


class Callable:
    async def __call__(self, request):
        return None


@pytest.mark.parametrize(
    "handler",
    [
        coroutine,
        asynchronous_generator,
        Callable(),
        functools.partial(coroutine),
        Callable().__call__,
    ],
    ids=["function", "generator", "object", "partial", "method"],
)
def test_an_asynchronous_handler_is_for_an_event_loop(handler):
    with pytest.raises(
        TypeError, match="is asynchronous: such handlers of C-FIND are for an Async"
    ):
        Server(AE("X")).c_find(StudyRoot)(handler)
    AsyncServer(AE("X")).c_find(StudyRoot)(handler)
    handlers = Handlers()  # of an association, of either sort
    handlers.c_find(handler)
    with pytest.raises(TypeError, match="is asynchronous"):
        AE("X").associate("127.0.0.1:1", handlers=handlers)


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (lambda: None, "too many positional arguments"),
        (lambda event, extra: None, "missing a required argument: 'extra'"),
        (lambda *, request: None, "too many positional arguments"),
    ],
)
def test_a_handler_with_other_parameters_is_refused(handler, why):
    server = Server(AE("X"))
    with pytest.raises(TypeError, match=f"C-STORE is called with one argument, .*{why}"):
        server.c_store(handler)
    with pytest.raises(TypeError, match="one argument, the request"):
        server.c_store(CTImageStorage)(handler)


@pytest.mark.parametrize(
    "handler", [lambda request: None, lambda event, extra=1: None, lambda *args: None, [].append]
)
def test_a_handler_that_takes_a_request_is_taken(handler):
    Server(AE("X")).c_store(handler)


def test_what_is_no_function_is_refused():
    server = Server(AE("X"))
    with pytest.raises(TypeError, match="got 0x0005; a handler of C-STORE is a function"):
        server.c_store()(5)
    with pytest.raises(
        TypeError, match="c_store takes a function, SOP Classes or models, not None"
    ):
        server.c_store(None)
    with pytest.raises(ValueError, match="'CT' is no SOP Class UID"):
        server.c_store("CT")


@pytest.mark.parametrize("kind", [Server, AsyncServer])
def test_a_service_alone_in_place_of_a_list_says_how_it_is_written(kind, tmp_path):
    for services in (Storage(tmp_path), Storage):
        with pytest.raises(TypeError, match=r"services= is a list: write services=\[Storage\(\.\."):
            kind(services=services)


async def asks_later(*arguments):
    return True


@pytest.mark.parametrize("function", [None, "yes", lambda one: True, asks_later])
@pytest.mark.parametrize(
    ("service", "name"), [(Commitment, "is_stored"), (InstanceAvailability, "on_notice")]
)
def test_a_service_refuses_a_function_that_can_never_answer(service, name, function):
    with pytest.raises(TypeError, match=f"{name}= is "):
        service(function)
    service(lambda first, second: True)
    service(lambda *arguments: True)


@pytest.mark.parametrize("items", [None, 5, lambda query: [], asks_later])
def test_a_schedule_refuses_what_never_gives_items(items):
    with pytest.raises(TypeError, match="items= is "):
        Schedule(items)


def test_what_finds_nothing_is_no_archive():
    for archive in ("archive/", None, lambda identifier: []):
        with pytest.raises(TypeError, match="archive= finds and retrieves"):
            QueryRetrieve(archive)


def test_a_list_is_no_data_set_of_a_step():
    with pytest.raises(TypeError, match="got a list; give a data set or a mapping"):
        data_set_of([{"PatientID": "SECRET"}])


def test_a_class_in_place_of_a_service_is_refused_by_name():
    for make in (lambda s: Server(AE("X"), services=s), lambda s: AsyncServer(services=s)):
        with pytest.raises(
            TypeError, match=r"services=\[Storage\] names a class: write .*\(\.\.\."
        ):
            make([Storage])
        with pytest.raises(TypeError, match=r"services=\[QueryRetrieve\] names a class"):
            make([QueryRetrieve])
        with pytest.raises(TypeError, match="services takes ready-made services, not a str"):
            make(["folder"])


# ---- what a handler gives


def test_a_count_is_a_number():
    with pytest.raises(TypeError, match=r"Retrieve\.count is a number, not a list"):
        Retrieve([], 3)
    with pytest.raises(ValueError, match=r"Retrieve\.count is 0 or more, not -1"):
        Retrieve(-1, [])


def test_a_status_may_be_in_a_data_set():
    status = Dataset()
    status.Status = 0xA700
    status.ErrorComment = "full"
    assert status_and_elements(status) == (0xA700, {"ErrorComment": "full"})
    assert status_and_elements(0xA700) == (0xA700, {})
    assert status_and_elements(True) is None
    status.PatientID = "1"
    assert status_and_elements(status) is None


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (None, "None"),
        (False, "False"),
        (0xFF00, "0xFF00"),
        ("SECRET", "a str"),
        ((0, "SECRET"), "(0x0000, a str)"),
        ({"PatientName": "SECRET"}, "a dict"),
        (Dataset(), "a Dataset"),
        (object(), "an object"),
    ],
)
def test_what_was_given_is_named_without_its_values(what, text):
    assert described(what) == text


def test_a_mapping_becomes_a_data_set_with_its_sequences():
    code = {"CodeValue": "1", "CodingSchemeDesignator": "99X"}
    nested = data_set_of(
        {
            "PatientID": "1",
            "ScheduledProcedureStepSequence": [
                {"Modality": "CT", "ScheduledProtocolCodeSequence": [code, data_set_of(code)]},
                {},
            ],
            "ReferencedStudySequence": [],
            "OtherPatientNames": ["A^B", "C^D"],
        }
    )
    first, second = nested.ScheduledProcedureStepSequence
    assert first.Modality == "CT"
    assert [c.CodeValue for c in first.ScheduledProtocolCodeSequence] == ["1", "1"]
    assert len(second) == 0
    assert len(nested.ReferencedStudySequence) == 0
    assert len(nested.OtherPatientNames) == 2


# ---- what is asked of the wrong one


def test_help_is_not_hidden_by_the_hints():
    """`dir`, copies and pickles know nothing of them."""
    code = (
        "import copy, pickle; from dimse_rs import AE;"
        "ae = AE('X'); assert copy.deepcopy(ae) == pickle.loads(pickle.dumps(ae)) == ae;"
        "assert not any('timeout' in name for name in dir(ae) if name != 'timeouts')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=25)


def test_a_title_in_bytes_says_how_it_is_written():
    with pytest.raises(TypeError, match=r"^an AE title is a str, not bytes: write 'ECHO'$"):
        AE(b"ECHO")
    with pytest.raises(TypeError, match=r"^an AE title is a str, not int$"):
        AE(5)


def test_with_without_async_says_what_to_write():
    making = AE("X").associate_async("127.0.0.1:1")
    with pytest.raises(TypeError, match=r"use `async with ae\.associate_async"), making:
        pass
