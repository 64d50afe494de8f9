"""The rooms of the Python package: imports point downwards, files and functions stay small.

An import under TYPE_CHECKING or inside a function is an import: its reader has to know the
other file too. What `from dimse_rs import X` gives counts as the module that has X.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import dimse_rs

ROOT = Path(dimse_rs.__file__).parent

# From the ground up. A room is a file or a folder of the package; rooms of one floor may import
# each other as long as there is no circle. `node`, `compat` and `testing` have a place already.
FLOORS = (
    ("_core",),
    ("fields", "hints", "lazy", "uids", "status", "callables", "errors", "faults"),
    ("log", "threads", "completer", "sop_class", "extended", "settings", "tls"),
    ("contexts", "registry", "user_identity", "proposal", "passcodes", "access", "send_report"),
    ("encoding", "datasets", "responses", "storage"),
    ("observe",),
    ("dimse",),
    ("handlers",),
    ("perform",),
    ("association",),
    ("send",),
    ("aio",),
    ("ae",),
    ("server",),
    ("services",),
    ("node", "compat", "testing"),
    ("cli", "__main__"),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# Former paths and the package itself: they hand names on, and no file of ours imports them.
FACES = {"", "aio_server", "audit", "events", "identity", "metrics", "metrics_endpoint"} | {
    "services.storage"
}

MOST_LINES, MOST_OF_A_FUNCTION, MOST_PARAMETERS = 600, 60, 8

# What is over a ceiling, and why.
EXCEPTIONS = {
    "sop_class": "the table of the registry, generated",
    "ae:associate": "each keyword is public, and has its line in help()",
    "ae:associate_async": "as associate",
    "ae:send": "as associate",
}


class Arrow(NamedTuple):
    """An import, where it stands."""

    importer: str
    line: str
    imported: str


parse = cache(ast.parse)


def read() -> dict[str, str]:
    """Give the source of each module of the package, by its name below the package."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def room_of(module: str) -> str:
    return module.partition(".")[0]


def arrows(sources: Mapping[str, str]) -> Iterator[Arrow]:
    """List the imports of our own modules; those of faces, which hand names on, are left out."""
    known = {*sources, "_core"}
    folders = {module.rpartition(".")[0] for module in sources} | {"services", "cli"}

    def home(base: str, name: str) -> str:
        inside = f"{base}.{name}" if base else name
        if inside in known:
            return inside
        if not base:  # a name that the package hands on
            return dimse_rs._MODULE.get(name, "sop_class")
        return base

    for module, source in sources.items():
        if module in FACES:
            continue
        lines = source.splitlines()
        package = module if module in folders else module.rpartition(".")[0]
        for node in ast.walk(parse(source)):
            if not isinstance(node, ast.ImportFrom):
                continue
            if node.level:
                above = package.split(".")[: len(package.split(".")) + 1 - node.level]
                base = ".".join(filter(None, [*above, node.module]))
            elif node.module == "dimse_rs" or (node.module or "").startswith("dimse_rs."):
                base = (node.module or "").removeprefix("dimse_rs").removeprefix(".")
            else:
                continue
            for alias in node.names:
                if (to := home(base, alias.name)) != module:
                    yield Arrow(module, f"{module}:{node.lineno}: {lines[node.lineno - 1]}", to)


def wrong(sources: Mapping[str, str]) -> list[str]:
    """List the imports that point upwards, or at a face."""
    return [
        line
        for importer, line, imported in arrows(sources)
        if imported in FACES or FLOOR_OF[room_of(importer)] < FLOOR_OF[room_of(imported)]
    ]


def circle(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Give a circle among importers and imported, or nothing."""
    graph: dict[str, set[str]] = {}
    for importer, imported in pairs:
        if importer != imported:
            graph.setdefault(importer, set()).add(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as found:
        return list(found.args[1])
    return []


def test_every_module_has_a_floor():
    assert {room_of(module) for module in read() if module not in FACES} <= {*FLOOR_OF}


def test_imports_point_downwards():
    assert wrong(read()) == []


def test_the_kit_for_tests_is_loaded_by_the_command_alone():
    importers = {arrow.importer for arrow in arrows(read()) if room_of(arrow.imported) == "testing"}
    assert {room_of(importer) for importer in importers} <= {"cli", "testing"}


def test_there_is_no_circle_of_files():
    assert circle((arrow.importer, arrow.imported) for arrow in arrows(read())) == []


def test_there_is_no_circle_of_folders():
    pairs = ((room_of(arrow.importer), room_of(arrow.imported)) for arrow in arrows(read()))
    assert circle(pairs) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("errors", "from .association import Association"),
        ("dimse.scu", "    from dimse_rs.perform.performer import Performer"),
        ("observe.events", "from dimse_rs.server.blocking import Server"),
        ("handlers", "from dimse_rs import AE"),
        ("ae", "from .services.query import worklist"),
        ("association", "from .events import Events"),
    ],
)
def test_an_import_that_is_turned_is_found(module, line):
    sources = read()
    block = f"if TYPE_CHECKING:\n{line}\n" if line.startswith(" ") else f"{line}\n"
    sources[module] += f"\n{block}"
    [found] = wrong(sources)
    assert found.startswith(f"{module}:")
    assert found.endswith(line)


def test_a_circle_that_is_made_is_found():
    sources = read()
    sources["status"] += "\nfrom .errors import DimseError\n"  # of one floor
    assert wrong(sources) == []
    assert {"status", "errors"} <= {
        *circle((arrow.importer, arrow.imported) for arrow in arrows(sources))
    }


def code_lines(source: str) -> set[int]:
    """Give the numbers of the lines with code: no docstring, no comment, nothing blank."""
    texts = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    found = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (*texts, tokenize.ENDMARKER):
            found.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str):
            found -= {*range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return found


def functions(source: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.walk(parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count parameters: what the object brings is none, `**settings` is one."""
    args = function.args
    named = [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
    own = named[:1] in (["self"], ["cls"])
    return len(named) - own + (args.vararg is not None) + (args.kwarg is not None)


def test_files_and_functions_are_below_their_ceilings():
    over = {}
    for module, source in read().items():
        lines = code_lines(source)
        if len(lines) > MOST_LINES:
            over[module] = f"{len(lines)} lines of code"
        for name, node in functions(source):
            inside = lines & {*range(node.lineno, (node.end_lineno or node.lineno) + 1)}
            where = f"{module}:{name}"
            if len(inside) > MOST_OF_A_FUNCTION:
                over[where] = f"{len(inside)} lines of code"
            if (count := parameters(node)) > MOST_PARAMETERS:
                over[where] = f"{count} parameters"
    assert {where: what for where, what in over.items() if where not in EXCEPTIONS} == {}
    assert [where for where in EXCEPTIONS if where not in over] == []
