"""The ready-made services, and the kit for tests, use what others could use: public names alone."""

from __future__ import annotations

import ast
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

import dimse_rs
from dimse_rs import services, testing

PACKAGE, KIT = Path(services.__file__).parent, Path(testing.__file__).parent
FILES = sorted([*PACKAGE.glob("*.py"), *KIT.glob("*.py")])
NAMES = [f"{path.parent.name}/{path.name}" for path in FILES]
DOCS = (Path(__file__).parents[2] / "docs/services.md").read_text()

# The table of docs/services.md, "Write a service of your own".
PUBLIC = re.findall(r"^\| `(dimse_rs[\w.]*)` \|", DOCS, re.M)

# What is no public name all the same, and why.
EXCEPTIONS = {
    # The names of pydicom, which is imported in one place because its modules form a circle; a
    # service of somebody else imports pydicom itself.
    "dimse_rs.encoding.library": FILES,
    # How this package loads its modules; nothing of a service.
    "dimse_rs.lazy": [PACKAGE / "__init__.py", KIT / "__init__.py"],
    # The protocol of an archive, for type checkers.
    "dimse_rs.services.hierarchy": [KIT / "pacs.py"],
    # Fixtures are of pytest, and nothing else of the package is.
    "pytest": [KIT / "plugin.py"],
}


def imports(tree):
    """Give module, names and line of each import, the names None where a module is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module, [alias.name for alias in node.names], node.lineno


def is_public(module, names):
    """Whether a module is for everybody, and gives these names to everybody."""
    if module.split(".")[0] in sys.stdlib_module_names:
        return True
    if module not in PUBLIC:
        return False
    modules = set() if module != "dimse_rs" else {one.rpartition(".")[2] for one in PUBLIC}
    return {*(names or ()), "*"} <= {*import_module(module).__all__, *modules, "*"}


def test_the_documented_modules_are_public():
    assert "dimse_rs" in PUBLIC
    for module in PUBLIC:
        assert "._" not in module
        assert import_module(module).__all__


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_service_imports_public_names(path):
    found = [
        f"{path.name}:{line}: {module} {names or ''}"
        for module, names, line in imports(ast.parse(path.read_text()))
        if not is_public(module, names)
        and path not in EXCEPTIONS.get(module, ())
        and not module.startswith("pydicom")  # for type checkers: see test_imports.py
    ]
    assert found == []


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_service_asks_no_other_object_for_a_private_name(path):
    tree = ast.parse(path.read_text())
    own = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    own |= {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    found = [
        f"{path.name}:{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and node.attr not in own
    ]
    assert found == []


def test_what_is_not_public_is_found():
    tree = ast.parse("from dimse_rs.dimse.scu import n_service\nfrom dimse_rs import StatusError")
    assert [is_public(module, names) for module, names, _ in imports(tree)] == [False, True]
    assert not is_public("dimse_rs.datasets", ["_decode"])
    assert not is_public("dimse_rs", ["_core"])
    assert set(PUBLIC) <= {f"dimse_rs.{path.stem}" for path in PACKAGE.parent.glob("*")} | {
        dimse_rs.__name__
    }
