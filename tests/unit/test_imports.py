"""What an import costs: the tools run every minute on monitoring hosts."""

from __future__ import annotations

import ast
import subprocess
import sys
import warnings
from importlib import import_module, metadata
from pathlib import Path

import pytest

import dimse_rs
from dimse_rs import errors

HEAVY = "pydicom", "pynetdicom", "numpy", "asyncio", "ssl", "unittest", "email"


@pytest.mark.parametrize(
    "code",
    [
        "import dimse_rs",
        "import dimse_rs, importlib, pkgutil\n"
        "for found in pkgutil.walk_packages(dimse_rs.__path__, 'dimse_rs.'):\n"
        "    loop = 'aio', 'async', 'completer', 'testing.plugin'\n"
        "    if not any(part in found.name for part in (*loop, '__main__', 'library')):\n"
        "        importlib.import_module(found.name)",
        "import dimse_rs.cli; dimse_rs.cli.main(['--help'])",
        "import dimse_rs.cli; dimse_rs.cli.main(['echoscu', '--help'])",
        "import dimse_rs.cli; dimse_rs.cli.main(['storescu', '--help'])",
        "import dimse_rs.cli; dimse_rs.cli.main(['storescp', '--help'])",
    ],
)
def test_import_loads_nothing_heavy(code):
    check = f"{code}\nimport sys\nfound = [m for m in {HEAVY} if m in sys.modules]\n"
    run = subprocess.run(
        [sys.executable, "-c", check + "sys.exit(','.join(found) or 0)"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert run.returncode == 0, run.stderr


def test_a_requestor_loads_what_it_uses():
    # Each of these costs a monitoring script some milliseconds at every start.
    unused = ("dataclasses", "inspect", "pathlib", "dimse_rs.perform", "dimse_rs.observe.events")
    code = (
        "import sys\nfrom dimse_rs import AE\nAE('HERE')\n"
        f"sys.exit(','.join(m for m in {unused} if m in sys.modules) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert run.returncode == 0, run.stderr


def test_a_debug_build_is_warned_of():
    with pytest.warns(RuntimeWarning, match="debug build.*--release"):
        dimse_rs._check_build(debug=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dimse_rs._check_build(debug=False)


def test_what_checkers_see_is_what_is_loaded():
    tree = ast.parse(Path(dimse_rs.__file__).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = [
        (node.module, tuple(name.name for name in node.names))
        for node in block.body
        if isinstance(node, ast.ImportFrom)
    ]
    seen.remove(("sop_class", ("*",)))
    assert dict(seen) == dimse_rs._NAMES


def test_names_are_loaded_when_they_are_asked_for():
    code = (
        "import sys, dimse_rs\n"
        "assert 'dimse_rs.ae' not in sys.modules\n"
        "dimse_rs.AE, dimse_rs.errors.DimseError, dimse_rs.CTImageStorage\n"
        "assert 'AE' in vars(dimse_rs) and 'AsyncServer' in dir(dimse_rs)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    name = "Nonsense"
    with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
        getattr(dimse_rs, name)
    with pytest.raises(ImportError, match="_UID"):
        from dimse_rs import _UID  # noqa: F401


def test_what_checkers_see_of_a_package_is_what_its_loader_gives():
    found = 0
    for name, _, tree in modules():
        calls = [
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("loader(")
        ]
        for call in calls:
            given = {module: {*names} for module, names in ast.literal_eval(call.args[1]).items()}
            seen = {}
            for block in filter(is_for_checkers, tree.body):
                for node in block.body:
                    module = "." * node.level + node.module
                    seen[module] = {alias.name for alias in node.names}
            assert given == seen, name
            assert {one for names in given.values() for one in names} == {
                *import_module(name).__all__
            }
            found += 1
    assert found == 4


@pytest.mark.parametrize("package", [".aio", ".server", ".services", ".testing"])
def test_help_and_completion_show_names_that_are_not_loaded(package):
    code = (
        "import importlib, pydoc, sys\n"
        f"package = importlib.import_module('dimse_rs{package}')\n"
        "assert set(package.__all__) <= set(dir(package))\n"
        "shown = pydoc.render_doc(package, renderer=pydoc.plaintext)\n"
        "missing = [name for name in package.__all__ if name.strip('_') not in shown]\n"
        "assert not missing, missing\n"
        "try:\n"
        "    package.Nonsense\n"
        "except AttributeError as error:\n"
        "    assert error.name == 'Nonsense' and package.__name__ in str(error)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=30)


def test_every_public_name_is_there_and_listed_once():
    assert len(set(dimse_rs.__all__)) == len(dimse_rs.__all__)
    assert all(hasattr(dimse_rs, name) for name in dimse_rs.__all__)
    assert set(errors.__all__) - {"from_core"} <= set(dimse_rs.__all__)
    assert dimse_rs.__version__ == metadata.version("dimse_rs")


PACKAGE = Path(dimse_rs.__file__).parent


def modules():
    """Give our modules by name, with what each imports where it stands."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        package = name if is_package else name.rpartition(".")[0]
        yield name, package, ast.parse(path.read_text())


def is_for_checkers(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imported_by(tree, package, known):
    """Give which of our modules a module imports while it is imported itself."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if is_for_checkers(node) or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            yield from {base, *(f"{base}.{alias.name}" for alias in node.names)} & known
        elif isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & known
        waiting.extend(ast.iter_child_nodes(node))


def test_our_modules_are_imported_in_no_circle():
    # Each waits for its package, and for what it imports: were there a circle, two threads that
    # begin at different modules of it would get one that is half there. (The tools begin on one.)
    known = {name for name, _, _ in modules()}
    waits_for = {
        name: {*imported_by(tree, package, known), *([package] if package != name else [])}
        - {name, "dimse_rs", *(["dimse_rs.cli.main"] if name == "dimse_rs.cli" else [])}
        for name, package, tree in modules()
    }
    done: set[str] = set()
    while ready := {name for name, others in waits_for.items() if others <= done} - done:
        done |= ready
    assert {name: others - done for name, others in waits_for.items() if name not in done} == {}


def test_pydicom_is_imported_in_one_place():
    # Its modules import each other in circles: see `dimse_rs.encoding.library`.
    found = []
    for name, _, tree in modules():
        checked = {
            id(part) for node in ast.walk(tree) if is_for_checkers(node) for part in ast.walk(node)
        }
        for node in ast.walk(tree):
            names = [getattr(node, "module", "") or ""]
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            is_import = isinstance(node, (ast.Import, ast.ImportFrom)) and id(node) not in checked
            if is_import and any(one.split(".")[0] == "pydicom" for one in names):
                found.append(f"{name}:{node.lineno}")
    assert [where for where in found if not where.startswith("dimse_rs.encoding.library:")] == []
