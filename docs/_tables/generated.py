"""A Sphinx extension: tables of the reference, made from the code when the pages are built.

A page has ```` ```{generated} NAME ```` where the function NAME of this file gives Markdown.
"""

from __future__ import annotations

import argparse
import builtins
import inspect
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from importlib import import_module
from typing import Any, get_args, get_type_hints

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

import dimse_rs
from dimse_rs import (
    AE,
    SOP_CLASSES,
    TRANSFER_SYNTAXES,
    DimseError,
    Limits,
    Model,
    Timeouts,
    _core,
    status,
)
from dimse_rs.cli.exits import _MEANINGS, ExitCode
from dimse_rs.cli.main import VERBS
from dimse_rs.observe import events


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(head)]
    lines += [["---"] * len(lines[0])]
    lines += [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _described(owner: type) -> dict[str, str]:
    """Give the `Attributes:` of a docstring by name, each as one line."""
    text = (owner.__doc__ or "").partition("Attributes:\n")[2]
    found = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", text, re.M)
    return {name: " ".join(about.split()).rstrip(".") for name, about in found}


# ---- what can be negotiated


def sop_classes() -> str:
    """All SOP Classes, by service."""
    known = sorted(SOP_CLASSES.values(), key=lambda found: (found.service, found.keyword))
    parts = []
    for service, group in itertools.groupby(known, key=lambda found: found.service):
        rows = [[f"`{one.keyword}`", one.name, f"`{one!s}`"] for one in group]
        parts.append(f"## {service}\n\n{_table(['name in Python', 'SOP Class', 'UID'], rows)}")
    return "\n\n".join(parts)


def models() -> str:
    """The models of queries, each with the SOP Classes that it stands for."""
    rows = []
    for name in dimse_rs.__all__:
        if isinstance(model := getattr(dimse_rs, name), Model):
            found = (getattr(model, operation, None) for operation in ("find", "get", "move"))
            rows.append([f"`{name}`", *(f"`{one.keyword}`" if one else "" for one in found)])
    return _table(["name in Python", "C-FIND", "C-GET", "C-MOVE"], rows)


def instances() -> str:
    """The well-known SOP Instances."""
    found = {name: getattr(dimse_rs, name) for name in dimse_rs.__all__ if name[0].isupper()}
    rows = [
        [f"`{name}`", f"`{value}`"]
        for name, value in found.items()
        if type(value) is str and name.endswith("Instance")
    ]
    return _table(["name in Python", "UID"], rows)


def transfer_syntaxes() -> str:
    """All transfer syntaxes, and what is done with each."""
    rows = []
    for one in sorted(TRANSFER_SYNTAXES.values(), key=lambda found: found.keyword):
        what = "converted among these" if one.convertible else "passed on as it is"
        rows.append([f"`{one.keyword}`", one.name, f"`{one!s}`", what])
    return _table(["name in Python", "transfer syntax", "UID", "data sets"], rows)


def services() -> str:
    """The service classes, with the number of SOP Classes and who answers."""
    ready = {
        "storage": "`Storage`",
        "query-retrieve": "`QueryRetrieve`",
        "worklist": "`Worklist`",
        "procedure-step": "`Mpps`",
        "storage-commitment": "`Commitment`",
        "instance-availability": "`InstanceAvailability`",
        "verification": "built in",
    }
    rows = []
    known = sorted(SOP_CLASSES.values(), key=lambda found: found.service)
    for service, group in itertools.groupby(known, key=lambda found: found.service):
        rows.append([service, len(list(group)), "yes", "yes", ready.get(service, "handlers")])
    return _table(["service class", "SOP Classes", "SCU", "SCP", "the SCP's answers"], rows)


# ---- numbers


def timers() -> str:
    """The deadlines, with their defaults."""
    about = _described(Timeouts)
    rows = [[f"`{one.name}`", one.default, about[one.name]] for one in fields(Timeouts)]
    return _table(["`Timeouts`", "default, seconds", "what it bounds"], rows)


def limits() -> str:
    """The limits, with their defaults."""
    about = _described(Limits)
    rows = [[f"`{one.name}`", f"{one.default:,}", about[one.name]] for one in fields(Limits)]
    return _table(["`Limits`", "default", "what it bounds"], rows)


def statuses() -> str:
    """The statuses of the standard: those of any service, then those of each."""
    general = [
        [f"{code:04X}", dimse_rs.Status(code).category, meaning]
        for code, meaning in status._GENERAL.items()
    ]
    parts = [f"## any service\n\n{_table(['status', 'category', 'meaning'], general)}"]
    for service, found in sorted(status._SERVICES.items()):
        rows = []
        for code, mask, meaning in found:
            shown = "".join(
                digit if kept == "F" else "x"
                for digit, kept in zip(f"{code:04X}", f"{mask:04X}", strict=True)
            )
            rows.append([shown, dimse_rs.Status(code, service).category, meaning])
        parts.append(f"## {service}\n\n{_table(['status', 'category', 'meaning'], rows)}")
    return "\n\n".join(parts)


def exceptions() -> str:
    """The tree of exceptions, each with the first sentence about it."""

    def below(parent: type[BaseException], depth: int) -> Iterator[str]:
        for one in [parent] if depth == 0 else parent.__subclasses__():
            if one.__name__ not in dimse_rs.__all__:
                continue
            others = [base for base in one.__bases__ if base.__module__ == "builtins"]
            also = "".join(f", an `{base.__name__}`" for base in others if base is not Exception)
            first = (one.__doc__ or "").split("\n")[0]
            yield f"{'  ' * depth}- {{py:exc}}`~dimse_rs.{one.__name__}`{also}: {first}"
            if depth == 0 or one is not parent:
                yield from below(one, depth + 1)

    return "\n".join(below(DimseError, 0))


def association_policies() -> str:
    """How many associations, contexts and bytes there can be."""
    bounds, most = Limits(), _core.fixed_limits()
    rows = [
        ["Application Context Name", "`1.2.840.10008.3.1.1.1`"],
        [
            "associations at once, as an acceptor",
            f"{bounds.max_associations:,} by default, configurable",
        ],
        ["associations at once, as a requestor", "no limit"],
        ["presentation contexts of a proposal", str(most.contexts)],
        ["transfer syntaxes of a presentation context", str(most.transfer_syntaxes)],
        ["A-ASSOCIATE-RQ or -AC received", f"{bounds.associate:,} bytes by default, configurable"],
        ["maximum PDU length received", f"{AE('NODE').max_pdu:,} bytes by default, configurable"],
    ]
    return _table(["policy", "value"], rows)


def exit_codes() -> str:
    """The exit codes of the tools."""
    rows = [[code.value, _MEANINGS[code]] for code in ExitCode]
    return _table(["code", "meaning"], rows)


def implementation() -> str:
    """How this implementation identifies itself."""
    found: Any = _core.implementation()
    uid, name = getattr(found, "class_uid", None), getattr(found, "version_name", None)
    uid, name = (uid, name) if uid else tuple(found)
    rows = [
        ["Implementation Class UID", f"`{uid}`"],
        ["Implementation Version Name", f"`{name}`"],
        ["DICOM edition of the tables", dimse_rs.EDITION],
    ]
    return _table(["item", "value"], rows)


# ---- what happens


def event_kinds() -> str:
    """Each kind of event: what happened, and its keys with their types."""
    parts = []
    for shape in get_args(events.Event):
        hints = get_type_hints(shape)
        names = get_args(hints.pop("event"))
        rows = [[f"`{key}`", f"`{_type(value)}`"] for key, value in hints.items()]
        usual = ", one of the usual ones" if names[0] in events.USUAL else ""
        about = inspect.getdoc(shape) or ""
        parts.append(
            f"## {', '.join(names)}\n\n{about}\n\nKeys{usual}:\n\n{_table(['key', 'type'], rows)}"
        )
    return "\n\n".join(parts)


def _type(hint: object) -> str:
    """Show a type as an annotation would be written."""
    return hint.__name__ if isinstance(hint, type) else re.sub(r"\w+\.(?=\w)", "", str(hint))


# ---- the command


def command_line() -> str:
    """The help of each verb, option by option."""
    parts = []
    for verb, what in VERBS.items():
        parser = import_module(f"dimse_rs.cli.{verb}").parser()
        parts.append(f"## dimse {verb}\n\n{what[0].upper()}{what[1:]}.\n")
        parts.append(f"```text\n{parser.format_usage().strip()}\n```\n")
        for group in parser._action_groups:
            shown = [one for one in group._group_actions if one.help != argparse.SUPPRESS]
            if not shown:
                continue
            rows = []
            for one in shown:
                names = one.option_strings or [one.dest if one.metavar is None else one.metavar]
                value = parser._get_formatter()._format_args(one, one.dest.upper())
                names = [
                    " ".join(filter(None, [n, value if one.option_strings else ""])) for n in names
                ]
                about = parser._get_formatter()._expand_help(one) if one.help else ""
                rows.append([", ".join(f"`{name}`" for name in names), about])
            parts.append(f"{group.title}\n\n{_table(['option', 'meaning'], rows)}\n")
        examples = (parser.epilog or "").partition("\n\nexit codes:")[0].partition("\n")[2]
        if examples.strip():
            parts.append(f"```text\n{examples}\n```\n")
    return "\n".join(parts)


class Generated(SphinxDirective):
    """Puts the Markdown of a function of this file into a page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table anew, and read it as Markdown."""
        return self.parse_text_to_nodes(globals()[self.arguments[0]](), allow_section_headings=True)


def unlink_builtins(app: Sphinx, doctree: nodes.document) -> None:
    """Leave built-in types without a link: Sphinx would guess `SendReport.bytes` for `bytes`."""
    for one in list(doctree.findall(addnodes.pending_xref)):
        if hasattr(builtins, one.get("reftarget", "")):
            one.replace_self(one.children)


def keep_foreign_types(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, shown: nodes.TextElement
) -> nodes.TextElement | None:
    """Show a type of a signature that has no page as text; an author's role must lead somewhere."""
    return None if "refwarn" in node else shown


def read_as_markdown(
    app: Sphinx, what: str, name: str, owner: object, options: object, lines: list[str]
) -> None:
    """Let docstrings be read as they are meant: stars are stars, "`Context`s" a name with an s."""
    for at, line in enumerate(lines):
        parts = re.split(r"(``.*?``|`.*?`)", line)
        parts[::2] = [re.sub(r"^(?=\w)", r"\\ ", part.replace("*", r"\*")) for part in parts[::2]]
        parts[0] = parts[0].removeprefix("\\ ")
        lines[at] = "".join(parts)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive, and what makes references of signatures come out right."""
    app.add_directive("generated", Generated)
    app.connect("doctree-read", unlink_builtins)
    app.connect("missing-reference", keep_foreign_types)
    app.connect("autodoc-process-docstring", read_as_markdown, priority=400)  # before napoleon
    return {"parallel_read_safe": True}
