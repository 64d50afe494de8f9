"""Which way the modules of the Rust crates point, and how long their files and functions are.

A room is a file of `src/`, or a folder of it. `FLOORS` names the rooms of a crate from the ground
up: a room uses only rooms of lower floors, and two rooms of one floor do not use each other. What
stands under `#[cfg(test)]` is left out. `lib.rs` is the door of a crate: it may name every room.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RUST = Path(__file__).parents[2] / "rust"

FLOORS: dict[str, list[tuple[str, ...]]] = {
    "dimse-proto": [
        ("state",),
        ("error",),
        ("wire",),
        ("ae_title", "uid"),
        ("dataset",),
        ("dimse", "ul"),
        ("connection",),
    ],
    "dimse-py": [
        ("blocking", "errors"),
        ("bytes", "completions", "facts", "metrics", "pdu"),
        ("items", "message", "scan", "tls"),
        ("bulk", "connection", "elements", "event", "header"),
        ("events", "folder", "verdict"),
        ("association",),
        ("service",),
        ("config", "proposal"),
        ("policy",),
        ("listener", "open"),
    ],
    "dimse-net": [
        ("error", "facts", "limits", "queue", "runtime", "terms"),
        ("deadline", "files", "metrics"),
        ("receive",),
        ("events",),
        ("life", "transport"),
        ("send",),
        ("association",),
        ("admission", "service"),
        ("settings",),
        ("exchange",),
        ("driver",),
        ("listener",),
    ],
}

MOST_LINES_OF_A_FILE = 600
MOST_LINES_OF_A_FUNCTION = 60
MOST_PARAMETERS = 8
"""A line of code has more than blanks, a comment or a test on it; `self` is no parameter here."""

EXCEPTIONS: dict[tuple[str, str], str] = {}
"""What may pass a ceiling, `crate/file` or `crate/file:function`; in what (lines of code or
parameters); and why."""


@dataclass(frozen=True)
class Arrow:
    """The first use of another file of the crate."""

    source: str
    target: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line}: {self.text}"


@dataclass
class Module:
    """A file of a crate."""

    name: str
    """Path below `src/`."""
    path: tuple[str, ...]
    """Path as Rust says it: `("ul", "pdu")`."""
    lines: list[str]
    code: str
    """The text without comments, strings and tests; line breaks stand where they stood."""
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What `use` brings into the file: name to path, as written."""

    @property
    def is_door(self) -> bool:
        """`lib.rs` and `mod.rs` hand on what their folder has; that alone is no use of it."""
        return self.name.rsplit("/", 1)[-1] in {"lib.rs", "mod.rs"}


COMMENT_OR_TEXT = re.compile(
    r'//[^\n]*|/\*.*?\*/|b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?\'(?:\\[^\n]*?|[^\\\n])\'', re.S
)
TEST_ONLY = re.compile(r"#\[cfg\((?:test|all\(test\b[^\]]*)\)\]")
USE = re.compile(r"(?P<pub>pub(?:\([^)]*\))?\s+)?\buse\s+(?P<tree>[^;]+);")
PATH = re.compile(r"(?<![\w:])[A-Za-z_]\w*(?:\s*::\s*[A-Za-z_]\w*)+")
FUNCTION = re.compile(r"\bfn\s+(\w+)\s*")


def blank(text: str, by: str = " ") -> str:
    return re.sub(r"[^\n]", by, text)


def without_comments(text: str) -> str:
    """Comments become blanks; strings become quotes, so that their lines still count as code."""
    return COMMENT_OR_TEXT.sub(lambda found: blank(found[0], ' "'[found[0][0] != "/"]), text)


def closing(text: str, opening: int) -> int:
    """Where the bracket that opens at `opening` is closed."""
    pair = {"(": ")", "[": "]", "{": "}", "<": ">"}[text[opening]]
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == text[opening]) - (text[at] == pair and text[at - 1] not in "-=")
        if depth == 0:
            return at
    raise ValueError(text[opening : opening + 80])


def parts_of(text: str) -> list[str]:
    """What commas outside brackets part."""
    text = text.replace("->", "  ").replace("=>", "  ")
    depth, found = 0, [""]
    for sign in text:
        depth += (sign in "([{<") - (sign in ")]}>")
        if sign == "," and depth == 0:
            found.append("")
        else:
            found[-1] += sign
    return [part.strip() for part in found if part.strip()]


def end_of_item(code: str, start: int) -> int:
    """Where the item, field or statement that begins at `start` ends."""
    is_use = re.match(r"\s*(?:pub(?:\([^)]*\))? )?use ", code[start:]) is not None
    at = start
    while at < len(code) and code[at] not in ";,)]}":
        if code[at] in "([{":
            block = code[at] == "{" and not is_use
            at = closing(code, at)
            if block:
                return at + 1
        at += 1
    return min(at + (code[at : at + 1] in {";", ","}), len(code))


def without_tests(code: str) -> tuple[str, set[str]]:
    """The code without what stands under `#[cfg(test)]`, and the modules declared there."""
    dropped: set[str] = set()
    while found := TEST_ONLY.search(code):
        end = end_of_item(code, found.end())
        item = code[found.start() : end]
        dropped.update(re.findall(r"\bmod (\w+);", item))
        code = code[: found.start()] + blank(item) + code[end:]
    return code, dropped


def branches(tree: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The paths of a `use` tree, and the name that each has in the file."""
    head, brace, rest = tree.partition("{")
    if brace:
        for part in parts_of(rest[: rest.rindex("}")]):
            yield from branches(head + part)
        return
    path, _, alias = re.sub(r"\s+", " ", tree.strip()).partition(" as ")
    parts = tuple(part.strip() for part in path.split("::"))
    if parts[-1] == "self" and len(parts) > 1:
        parts = parts[:-1]
    yield parts, alias.strip() or parts[-1]


def uses(module: Module) -> Iterator[tuple[tuple[str, ...], str, int, bool]]:
    """Each path that `use` brings into a file: path, name, line, and whether it is handed on."""
    for found in USE.finditer(module.code):
        for path, alias in branches(found["tree"]):
            named = re.search(rf"(?<!\w){re.escape(path[-1])}(?!\w)", found["tree"])
            at = found.start("tree") + (named.start() if named else 0)
            yield path, alias, module.code.count("\n", 0, at) + 1, bool(found["pub"])


class Crate:
    """The files of a crate, tests left out, and what a path in one of them means."""

    def __init__(self, source: Path) -> None:
        self.modules: dict[str, Module] = {}
        tests: set[tuple[str, ...]] = set()
        for file in sorted(source.rglob("*.rs")):
            name = file.relative_to(source).as_posix()
            text = file.read_text()
            code, dropped = without_tests(without_comments(text))
            path = tuple(name.removesuffix(".rs").split("/"))
            path = path[:-1] if path[-1] in {"lib", "mod"} else path
            tests.update((*path, test) for test in dropped)
            self.modules[name] = Module(name, path, text.splitlines(), code)
        for name, module in list(self.modules.items()):
            if any(module.path[: len(test)] == test for test in tests):
                del self.modules[name]
        self.by_path = {module.path: module for module in self.modules.values()}
        for module in self.modules.values():
            module.names = {alias: path for path, alias, _, _ in uses(module)}

    def resolve(self, module: Module, path: Iterable[str], depth: int = 0) -> list[Module]:
        """The files that the path leads to: where the thing is defined, and doors on the way.

        Nothing for a path into another crate.
        """
        parts = list(path)
        at: Module | None = module
        if parts[0] in {"crate", "super", "self"}:
            here = module.path
            while parts and parts[0] in {"crate", "super", "self"}:
                first = parts.pop(0)
                here = {"crate": (), "super": here[:-1], "self": here}[first]
            at = self.by_path.get(here)
        elif (*module.path, parts[0]) not in self.by_path:
            # A name that the file has by `use`, or one of another crate.
            brought = module.names.get(parts[0])
            if brought is None or brought[0] == parts[0] or depth > 8:
                return []
            at = next(iter(self.resolve(module, brought, depth + 1)), None)
            parts = parts[1:]
        for part in parts:
            if at is None:
                return []
            child = self.by_path.get((*at.path, part))
            if child is not None:
                at = child
            elif at is not module and part in at.names and depth <= 8:
                inside = at.name == "lib.rs" or module.path[: len(at.path)] == at.path
                return self.resolve(at, at.names[part], depth + 1) + ([] if inside else [at])
            else:
                break
        return [] if at is None else [at]

    @cache  # noqa: B019 - a crate is read once and lives as long as the tests
    def arrows(self) -> list[Arrow]:
        found: dict[tuple[str, str], Arrow] = {}
        for module in self.modules.values():
            for path, line, handed_on in self.paths(module):
                for target in self.resolve(module, path):
                    child = target.path[: len(module.path)] == module.path
                    handed_down = handed_on and child and module.is_door
                    if target is not module and not handed_down and module.name != "lib.rs":
                        text = module.lines[line - 1].strip()
                        arrow = Arrow(module.name, target.name, line, text)
                        found.setdefault((module.name, target.name), arrow)
        return list(found.values())

    def paths(self, module: Module) -> Iterator[tuple[tuple[str, ...], int, bool]]:
        """The paths that a file names, by `use` or where they are needed, and their lines."""
        for path, _, line, handed_on in uses(module):
            yield path, line, handed_on
        rest = USE.sub(lambda found: blank(found[0]), module.code)
        for found in PATH.finditer(re.sub(r"\bpub\s*\([^)]*\)", lambda it: blank(it[0]), rest)):
            yield (
                tuple(re.split(r"\s*::\s*", found[0])),
                rest.count("\n", 0, found.start()) + 1,
                False,
            )

    def folder_of(self, name: str) -> str:
        """The folder of a file; a file that stands in none is one of its own, `x.rs` is in `x/`."""
        path = name.removesuffix(".rs").removesuffix("/mod")
        if path != name.removesuffix(".rs") or "/" not in path:
            return path
        has_folder = any(other.startswith(f"{path}/") for other in self.modules)
        return path if has_folder else path.rsplit("/", 1)[0]


@cache
def crate(name: str) -> Crate:
    return Crate(RUST / name / "src")


def room_of(name: str, rooms: Iterable[str]) -> str | None:
    """The room that a file belongs to: itself, or the folder nearest to it."""
    path = name.removesuffix(".rs").removesuffix("/mod")
    return max((room for room in rooms if f"{path}/".startswith(f"{room}/")), key=len, default=None)


def climbs(crate: Crate, floors: list[tuple[str, ...]]) -> Iterator[str]:
    """What is used upwards or on the same floor, and files without a floor."""
    floor = {room: level for level, rooms in enumerate(floors) for room in rooms}
    for name in crate.modules:
        if name != "lib.rs" and room_of(name, floor) is None:
            yield f"{name}: no floor has this file"
    for arrow in crate.arrows():
        source, target = room_of(arrow.source, floor), room_of(arrow.target, floor)
        if source is None or source == target:
            continue
        if target is None or floor[target] >= floor[source]:
            yield f"{arrow}\n    {source} stands below or beside {target or arrow.target}"


def circles(arrows: list[tuple[str, str, Arrow]]) -> Iterator[str]:
    """One circle, with its lines, for each node that reaches itself and is in no circle before."""
    graph: dict[str, dict[str, Arrow]] = defaultdict(dict)
    for source, target, arrow in arrows:
        if source != target:
            graph[source].setdefault(target, arrow)
    done: set[str] = set()
    for start in sorted(set(graph)):
        ways, queue = {start: [start]}, [start]
        while queue and start not in done:
            node = queue.pop(0)
            if start in graph[node]:
                circle = [*ways[node], start]
                done.update(circle)
                lines = [f"    {graph[one][other]}" for one, other in pairwise(circle)]
                yield "\n".join([" -> ".join(circle), *lines])
            for after in sorted(set(graph[node]) - set(ways)):
                ways[after] = [*ways[node], after]
                queue.append(after)


def circles_of_files(crate: Crate) -> list[str]:
    return list(circles([(arrow.source, arrow.target, arrow) for arrow in crate.arrows()]))


def circles_of_folders(crate: Crate) -> list[str]:
    folder = crate.folder_of
    arrows = [(folder(arrow.source), folder(arrow.target), arrow) for arrow in crate.arrows()]
    return list(circles(arrows))


def lines_of_code(code: str) -> int:
    return sum(1 for line in code.splitlines() if line.strip())


def functions(module: Module) -> Iterator[tuple[str, int, int, int]]:
    """The functions of a file: name, line, lines of code from `fn` to the end, parameters."""
    code = module.code
    for found in FUNCTION.finditer(code):
        at = found.end()
        at = closing(code, at) + 1 if code[at] == "<" else at
        at = code.index("(", at)
        end = closing(code, at)
        parameters = parts_of(code[at + 1 : end])
        count = sum(1 for one in parameters if not re.search(r"^[&'\w\s]*\bself\b", one))
        while code[end] not in ";{":
            end = closing(code, end) + 1 if code[end] == "[" else end + 1
        end = closing(code, end) + 1 if code[end] == "{" else end
        line = code.count("\n", 0, found.start()) + 1
        yield found[1], line, lines_of_code(code[found.start() : end]), count


@pytest.mark.parametrize("name", FLOORS)
def test_no_room_uses_what_stands_on_its_floor_or_higher(name):
    wrong = list(climbs(crate(name), FLOORS[name]))
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("name", FLOORS)
def test_no_files_and_no_folders_use_each_other_in_a_circle(name):
    found = circles_of_files(crate(name)) + circles_of_folders(crate(name))
    assert not found, "\n" + "\n".join(found)


def over(name: str, crate: Crate) -> dict[tuple[str, str], str]:
    """What passes a ceiling, and in what: a line that says where and by how much."""
    found = {}
    for module in crate.modules.values():
        file = f"{name}/{module.name}"
        counts = [(file, file, "lines of code", lines_of_code(module.code), MOST_LINES_OF_A_FILE)]
        for function, line, lines, parameters in functions(module):
            what, where = f"{file}:{function}", f"{file}:{line}: fn {function}"
            counts.append((what, where, "lines of code", lines, MOST_LINES_OF_A_FUNCTION))
            counts.append((what, where, "parameters", parameters, MOST_PARAMETERS))
        for what, where, unit, count, most in counts:
            if count > most:
                found[what, unit] = f"{where}: {count} {unit}, at most {most}"
    return found


@pytest.mark.parametrize("name", FLOORS)
def test_files_functions_and_parameter_lists_stay_below_their_ceilings(name):
    wrong = [line for what, line in over(name, crate(name)).items() if what not in EXCEPTIONS]
    assert not wrong, "\n" + "\n".join(wrong)


def test_every_exception_is_of_something_that_passes_a_ceiling():
    found = {what for name in FLOORS for what in over(name, crate(name))}
    assert [what for what, reason in EXCEPTIONS.items() if what not in found or not reason] == []


SMALL_CRATE = {
    "lib.rs": "mod low;\nmod mid;\nmod top;\npub use top::Top;\npub use low::Low;\n",
    "low.rs": "pub struct Low;\n",
    "mid/mod.rs": "mod one; mod two;\npub use crate::Low as Base;\npub use {one::One, two::Two};\n",
    "mid/one.rs": "use crate::Low;\npub struct One(Low);\n",
    "mid/two.rs": "use super::One;\npub struct Two(One);\n",
    "top.rs": "use crate::mid::{self, Two};\npub struct Top(Two, mid::One);\n",
}
SMALL_FLOORS = [("low",), ("mid",), ("top",)]


def small_crate(folder: Path, **more: str) -> Crate:
    for name, text in SMALL_CRATE.items():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text + more.get(file.stem, ""))
    return Crate(folder)


def test_a_crate_whose_arrows_point_down_passes(tmp_path):
    quiet = (
        "// crate::Top\n#[cfg(test)]\nmod tests { use crate::Top; }\n"
        'const A: &str = "crate::Top";\n'
    )
    found = small_crate(tmp_path, low=quiet)
    assert {(arrow.source, arrow.target) for arrow in found.arrows()} == {
        ("mid/mod.rs", "low.rs"),
        ("mid/one.rs", "low.rs"),
        ("mid/two.rs", "mid/one.rs"),
        ("top.rs", "mid/mod.rs"),
        ("top.rs", "mid/one.rs"),
        ("top.rs", "mid/two.rs"),
    }
    assert not list(climbs(found, SMALL_FLOORS))
    assert not circles_of_files(found)
    assert not circles_of_folders(found)


@pytest.mark.parametrize(
    ("file", "line", "shown", "circle"),
    [
        ("low", "use crate::top::Top;", "low.rs:2: use crate::top::Top;", "low.rs -> top.rs"),
        ("low", "use crate::{\n    Top,\n};", "low.rs:3: Top,", "low.rs -> top.rs"),
        ("low", "fn f(it: crate::mid::Two) {}", "low.rs:2: fn f(it", "low.rs -> mid/two.rs"),
        ("low", "use crate::mid::Base;", "low.rs:2: use crate::mid::Base;", "low.rs -> mid/mod.rs"),
        ("one", "use super::super::top::Top as T;", "mid/one.rs:3:", "mid/one.rs -> top.rs"),
        ("one", "use super::two::Two;", "mid/one.rs:3:", "mid/one.rs -> mid/two.rs"),
        ("low", "pub(crate) use crate::top::Top;", "low.rs:2: pub(crate)", "low.rs -> top.rs"),
        ("low", "use super::{mid, top as t};", "low.rs:2: use super", "low.rs -> top.rs"),
        ("low", "fn f() { crate::top::g::<u8>() }", "low.rs:2: fn f()", "low.rs -> top.rs"),
        ("low", "fn f(it: crate ::\n    top::Top) {}", "low.rs:2: fn f(it", "low.rs -> top.rs"),
        ("low", "mod a { use super::super::top::Top; }", "low.rs:2: mod a", "low.rs -> top.rs"),
        ("one", "fn f() { super::super::top::g() }", "mid/one.rs:3:", "mid/one.rs -> top.rs"),
    ],
)
def test_an_import_that_is_turned_is_shown_with_its_line(tmp_path, file, line, shown, circle):
    found = small_crate(tmp_path, **{file: line + "\n"})
    knots = "\n".join(circles_of_files(found))
    assert shown in knots
    assert circle in knots
    if "two::Two" not in line:
        assert shown in "\n".join(climbs(found, SMALL_FLOORS))
        assert circles_of_folders(found)


def test_a_file_without_a_floor_and_what_is_too_long_are_shown(tmp_path):
    body = "fn f(&mut self, a: A<B, C>, b: [u8; 4]) -> Option<(A, B)> {\n    a();\n\n    // b\n}\n"
    found = small_crate(tmp_path, top=body)
    assert next(climbs(found, SMALL_FLOORS[:2])) == "top.rs: no floor has this file"
    assert list(functions(found.modules["top.rs"])) == [("f", 3, 3, 2)]
    assert lines_of_code(found.modules["top.rs"].code) == 5


@pytest.mark.parametrize("head", ["fn grown()", "pub(crate) async fn grown<T: A<B>>(a: T) -> B"])
def test_a_function_that_grows_is_found(tmp_path, head):
    inner = "    // why\n    x();\n\n" * (MOST_LINES_OF_A_FUNCTION - 2)
    small = small_crate(tmp_path, top=f"#[attribute]\n{head} {{\n{inner}}}\n")
    assert over("small", small) == {}
    found = over("small", small_crate(tmp_path, top=f"{head} {{\n{inner}    y();\n}}\n"))
    assert found == {
        ("small/top.rs:grown", "lines of code"): (
            "small/top.rs:3: fn grown: 61 lines of code, at most 60"
        )
    }
    many = ", ".join(f"{name}: u8" for name in "abcdefghi")
    found = over("small", small_crate(tmp_path, top=f"fn f(&self, {many}) {{}}\n"))
    assert [*found] == [("small/top.rs:f", "parameters")]
