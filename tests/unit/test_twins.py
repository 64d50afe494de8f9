"""Whatever waits for a peer has a twin for event loops: one rule (docs/services.md, "Calling").

What waits is found in the source, so that a new name is asked for its twin as well: a function that
calls a method of an association, `associate`, `send`, or a function that does so.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dimse_rs
from dimse_rs import AE, Association, AsyncAssociation, AsyncServer, Server, services
from dimse_rs.aio import Connecting
from dimse_rs.aio.association import AsyncResponses
from dimse_rs.association import Responses
from dimse_rs.services import mpps

ROOT = Path(dimse_rs.__file__).parent
DOCS = (ROOT.parents[1] / "docs/services.md").read_text()

# Each pair is one thing with two faces: the names of both are the same.
FACES = [(Association, AsyncAssociation), (Responses, AsyncResponses), (Server, AsyncServer)]
RENAMED = {"close": "aclose"}

WAITS = {name for name in vars(Association) if name.startswith(("c_", "n_"))}
WAITS |= {"associate", "send"}

# The register of a service calls decorators, which have the names of services.
PASSED_OVER = {"register"}


def public() -> Iterator[tuple[str, Any]]:
    """Give every public function, and every public method of a class without another face."""
    faces = {face for pair in FACES for face in pair}
    places: list[tuple[Any, list[str]]] = [
        (module, list(module.__all__)) for module in (dimse_rs, services, mpps)
    ]
    for module, names in places:
        for name in names:
            thing = getattr(module, name)
            if inspect.isfunction(thing):
                yield name, thing
            elif inspect.isclass(thing) and thing not in faces:
                for attribute, value in vars(thing).items():
                    function = getattr(value, "__func__", value)
                    if inspect.isfunction(function) and not attribute.startswith("_"):
                        yield f"{name}.{attribute}", function


def called(function: ast.AST) -> set[str]:
    """List the names that a function calls, of functions and of methods; not `socket.send`."""
    return {
        target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and (target := node.func)
        if getattr(target, "attr", "") != "send"
    }


def waiting(path: str) -> set[str]:
    """List the functions of a file that wait."""
    functions = [
        node for node in ast.walk(ast.parse(Path(path).read_text()))
        if isinstance(node, ast.FunctionDef) and node.name not in PASSED_OVER
    ]  # fmt: skip
    found: set[str] = {"wait"}  # a public method of that name says so itself
    while True:
        more = {one.name for one in functions if called(one) & (WAITS | found - {"wait"})} - found
        if not more:
            return found
        found |= more


def blocking() -> dict[str, Any]:
    """Give all that blocks, by its public name."""
    return {
        name: function
        for name, function in public()
        if not inspect.iscoroutinefunction(function)
        and not name.endswith("_async")
        and function.__code__.co_filename.startswith(str(ROOT))
        and name.rpartition(".")[2] in waiting(function.__code__.co_filename)
    }


BLOCKING = blocking()


def twin_of(name: str) -> Any:
    owner, _, attribute = f"{name}_async".rpartition(".")
    for module in (dimse_rs, services, mpps):
        holder = getattr(module, owner, None) if owner else module
        if hasattr(holder, attribute):
            return getattr(holder, attribute)
    return None


def test_what_waits_is_found():
    expected = {"AE.associate", "AE.send", "commit", "notify", "notify_availability", "worklist"}
    expected |= {f"CommitmentReports.{name}" for name in ("ask", "wait")}
    steps = ("start", "update", "complete", "discontinue")
    expected |= {f"PerformedStep.{name}" for name in steps}
    assert set(BLOCKING) == expected, "a new name that waits belongs here and into the docs"


@pytest.mark.parametrize("name", BLOCKING)
def test_what_waits_has_a_twin_with_the_same_arguments(name):
    twin = twin_of(name)
    assert twin is not None, f"there is no {name}_async"
    awaited = inspect.iscoroutinefunction(twin) or twin is AE.associate_async
    assert awaited
    same = inspect.signature(BLOCKING[name]).parameters
    ours = inspect.signature(getattr(twin, "__func__", twin)).parameters
    assert [(p.name, p.kind, p.default) for p in ours.values()] == [
        (p.name, p.kind, p.default) for p in same.values()
    ]
    assert name.split(".")[-1] in (twin.__doc__ or ""), "its docstring names the other one"


@pytest.mark.parametrize("name", BLOCKING)
def test_the_docs_name_the_twin(name):
    if name == "notify":  # of a module that few need
        return
    assert f"{name.rpartition('.')[2]}_async" in DOCS


def names_of(face: type) -> set[str]:
    return {name for name in dir(face) if not name.startswith("_")}


@pytest.mark.parametrize("pair", FACES, ids=[pair[0].__name__ for pair in FACES])
def test_both_faces_have_the_same_names(pair):
    one, other = map(names_of, pair)
    assert {RENAMED.get(name, name) for name in one} >= other - {"of"}
    only_blocking = {name for name in one if RENAMED.get(name, name) not in other}
    assert only_blocking <= ({"close"} if pair[0] is Responses else set())


@pytest.mark.parametrize("name", sorted(names_of(Association) & names_of(AsyncAssociation)))
def test_a_method_of_both_faces_takes_the_same(name):
    one, other = getattr(Association, name), getattr(AsyncAssociation, name)
    if inspect.isfunction(one):
        assert list(inspect.signature(one).parameters) == list(inspect.signature(other).parameters)


def test_what_is_being_connected_can_be_awaited():
    assert hasattr(Connecting, "__await__")
