"""The rooms of the Python package: imports point downwards, files and functions stay small.

An import under TYPE_CHECKING or inside a function is an import: its reader has to know the
other file too. What `from dimse_rs import X` gives counts as the module that has X.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

import dimse_rs

ROOT = Path(dimse_rs.__file__).parent

# From the ground up. A room is a file or a folder of the package; rooms of one floor may import
# each other as long as there is no circle. `node`, `compat` and `testing` have a place already.
FLOORS = (
    ("_core",),
    ("fields", "hints", "lazy", "records", "uids", "status", "callables", "errors", "faults"),
    ("log", "threads", "completer", "sop_class", "extended", "settings", "tls"),
    (
        "contexts",
        "registry",
        "user_identity",
        "proposal",
        "passcodes",
        "access",
        "send_report",
        "retrying",
        "received",
    ),
    ("encoding", "datasets", "responses", "storage"),
    ("observe",),
    ("dimse",),
    ("handlers", "studies"),
    ("perform",),
    ("association",),
    ("finding", "accounting", "send"),
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

# What loads a module by its path, and the files that compute such a path.
LOADS = ("import_module", "__import__")
COMPUTE = {"lazy", "cli.main"}

MOST_LINES, MOST_OF_A_FUNCTION, MOST_PARAMETERS = 600, 60, 8

# What is over a ceiling, in what, and why.
EXCEPTIONS = {
    ("sop_class", "lines"): "the table of the registry, generated",
    ("ae:associate", "parameters"): "each keyword is public, and has its line in help()",
    ("ae:associate_async", "parameters"): "as associate",
    ("ae:send", "parameters"): "as associate",
    ("ae:send_async", "parameters"): "as associate",
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
    for module, source in sources.items():
        if module in FACES:
            continue
        lines = source.splitlines()
        package = module if module in folders else module.rpartition(".")[0]
        for number, path in imports(source, package):
            to = home(path, known)
            if to is not None and to != module:
                yield Arrow(module, f"{module}:{number}: {lines[number - 1]}", to)


@cache
def imports(source: str, package: str) -> list[tuple[int, str]]:
    """Give the line and the absolute path of each name that is imported, however that is done."""
    return list(each_import(parse(source), package))


def each_import(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    ours = set()  # names that the package has here, by `import dimse_rs as ...`
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = absolute("." * node.level + (node.module or ""), package)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
                if alias.name == "dimse_rs" or not alias.asname:
                    ours.add(alias.asname or "dimse_rs")
        elif isinstance(node, ast.Call) and last_name(node.func) in LOADS:
            first = node.args[0] if node.args else None
            is_text = isinstance(first, ast.Constant) and isinstance(first.value, str)
            yield node.lineno, absolute(first.value, package) if is_text else "dimse_rs.?"
    for node in ast.walk(tree) if ours else ():
        if isinstance(node, ast.Attribute):
            first, _, rest = ast.unparse(node).partition(".")
            if first in ours:
                yield node.lineno, f"dimse_rs.{rest}"


def last_name(function: ast.expr) -> str:
    return getattr(function, "attr", None) or getattr(function, "id", "")


def absolute(path: str, package: str) -> str:
    """Give the absolute path of a module that is named from inside of a package of ours."""
    name = path.lstrip(".")
    if name == path:
        return path
    above = ["dimse_rs", *filter(None, package.split("."))]
    above = above[: len(above) + 1 - (len(path) - len(name))]
    return ".".join(filter(None, [*above, name]))


def home(path: str, known: set[str]) -> str | None:
    """Give the module of ours that a path leads to; None for a path of somebody else."""
    first, _, inside = path.partition(".")
    if first != "dimse_rs" or not inside:
        return None  # the package alone: its names are looked at where they are used
    if inside == "*":
        return ""
    parts = inside.split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in known:
            return ".".join(parts[:length])
    if inside == "?":
        return inside
    return dimse_rs._MODULE.get(parts[0], "sop_class")  # a name that the package hands on


def wrong(sources: Mapping[str, str]) -> list[str]:
    """List the imports that point upwards, or at a face."""
    return [
        line
        for importer, line, imported in arrows(sources)
        if (imported == "?" and importer not in COMPUTE)
        or imported in FACES
        or FLOOR_OF[room_of(importer)] < FLOOR_OF.get(room_of(imported), 0)
    ]


def circle(found: Iterable[Arrow], node: Callable[[str], str] = str) -> list[str]:
    """Give the lines of a circle of imports among modules, or among their rooms; or nothing."""
    graph: dict[str, dict[str, str]] = {}
    for importer, line, imported in found:
        if node(importer) != node(imported):
            graph.setdefault(node(importer), {}).setdefault(node(imported), line)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:  # its nodes are in the order in which they are imported
        return [graph[after][before] for before, after in pairwise(error.args[1])]
    return []


def test_every_module_has_a_floor():
    assert {room_of(module) for module in read() if module not in FACES} <= {*FLOOR_OF}


def test_imports_point_downwards():
    assert wrong(read()) == []


def test_the_kit_for_tests_is_loaded_by_the_command_alone():
    importers = {arrow.importer for arrow in arrows(read()) if room_of(arrow.imported) == "testing"}
    assert {room_of(importer) for importer in importers} <= {"cli", "testing"}


def test_there_is_no_circle_of_files():
    assert circle(arrows(read())) == []


def test_there_is_no_circle_of_folders():
    assert circle(arrows(read()), room_of) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("errors", "from .association import Association"),
        ("dimse.scu", "    from dimse_rs.perform.performer import Performer"),
        ("observe.events", "from dimse_rs.server.blocking import Server"),
        ("handlers", "from dimse_rs import AE"),
        ("ae", "from .services.query import worklist"),
        ("association", "from .events import Events"),
        ("errors", "import dimse_rs.association"),
        ("dimse.scu", "    import dimse_rs.server.blocking as blocking"),
        ("dimse.scu", "from .. import server"),
        ("dimse.scu", "from ..perform import performer as p"),
        ("dimse", "from ..perform import performer"),
        ("status", "from . import ae"),
        ("handlers", "from dimse_rs import *"),
        ("handlers", 'importlib.import_module("dimse_rs.ae")'),
        ("perform.routes", 'x = import_module("..server", __package__)'),
        ("handlers", '__import__("dimse_rs.ae")'),
        ("handlers", 'import_module(f"dimse_rs.{name}")'),
        ("handlers", "import dimse_rs; dimse_rs.AE()"),
        ("handlers", "import dimse_rs as d; x = d.server.base.BaseServer"),
    ],
)
def test_an_import_that_is_turned_is_found(module, line):
    sources = read()
    block = f"if TYPE_CHECKING:\n{line}\n" if line.startswith(" ") else f"{line}\n"
    sources[module] += f"\n{block}"
    [found] = set(wrong(sources))  # a line may name two modules
    assert found.startswith(f"{module}:")
    assert found.endswith(line)


def test_a_circle_that_is_made_is_found():
    sources = read()
    sources["status"] += "\nfrom .errors import DimseError\n"  # of one floor
    assert wrong(sources) == []
    found = [line.partition(":")[0] for line in circle(arrows(sources))]
    assert {"status", "errors"} == {*found}


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


def over(sources: Mapping[str, str]) -> dict[tuple[str, str], int]:
    """Give what is over a ceiling: where, and lines or parameters, with the largest number."""
    found: dict[tuple[str, str], int] = {}

    def measure(where: str, what: str, count: int, most: int) -> None:
        if count > most:
            found[where, what] = max(count, found.get((where, what), 0))

    for module, source in sources.items():
        lines = code_lines(source)
        measure(module, "lines", len(lines), MOST_LINES)
        for name, node in functions(source):
            inside = lines & {*range(node.lineno, (node.end_lineno or node.lineno) + 1)}
            measure(f"{module}:{name}", "lines", len(inside), MOST_OF_A_FUNCTION)
            measure(f"{module}:{name}", "parameters", parameters(node), MOST_PARAMETERS)
    return found


def test_files_and_functions_are_below_their_ceilings():
    found = over(read())
    assert {what: count for what, count in found.items() if what not in EXCEPTIONS} == {}
    assert [what for what in EXCEPTIONS if what not in found] == []  # one that is over no more


@pytest.mark.parametrize(
    "head",
    [
        "def grown(self):",
        "async def grown():",
        "@decorated\n@twice(\n    1\n)\ndef grown():",
        "def small():\n  def grown():",
        "class Small:\n  @property\n  def grown(self):",
    ],
)
def test_a_function_that_grows_is_found(head):
    indent = " " * (len(head.splitlines()[-1]) - len(head.splitlines()[-1].lstrip()) + 1)
    body = f'{indent}"""Say."""\n' + f"{indent}# why\n{indent}x = 1\n\n" * 59
    source = f"{head}\n{body}"
    assert ("m:grown", "lines") not in over({"m": source})
    assert over({"m": f"{source}{indent}y = 2\n"})["m:grown", "lines"] == 61


def test_a_parameter_list_that_grows_is_found():
    head = "def f(self, a, b, /, c, *, d, e, f, **settings: Unpack[S]): ..."
    assert over({"m": head}) == {}
    assert over({"m": head.replace("d,", "d, g, h,")}) == {("m:f", "parameters"): 9}
