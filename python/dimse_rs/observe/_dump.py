"""PDUs and messages as text for the log, like DCMTK's with -d, but without user identities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dimse_rs.sop_class import SOPClass, TransferSyntax

__all__ = ["message_text", "pdu_text"]

_IDENTITIES: Final = {
    1: "username",
    2: "username and passcode",
    3: "Kerberos ticket",
    4: "SAML assertion",
    5: "JSON Web Token",
}
"""PS3.7 Table D.3-14."""


_SAID: Final = ("CommandField", "CommandDataSetType")
"""Elements that the first line of a message expresses."""


def pdu_text(facts: Mapping[str, Any]) -> str:
    """Describe a PDU in one line, and each of its fields and items in one more."""
    first = f"{facts['type']}, {facts['length']} bytes"
    items = facts.get("items")
    if items is None:
        return first
    lines = _associate(items) if "contexts" in items else _codes(items)
    return "\n".join((first, *lines))


def message_text(facts: Mapping[str, Any]) -> str:
    """Describe a message in one line, and each element of its command set in one more."""
    length = facts["bytes"]
    data = f"data set of {length} bytes" if length else "no data set"
    lines = [f"{facts['type']} in context {facts['context']}, {data}"]
    for keyword, value in facts["command"].items():
        if keyword in _SAID:
            continue
        lines.append(f"  {keyword + ':':<41} {_value(keyword, value)}")
    return "\n".join(lines)


def _value(keyword: str, value: Any) -> str:
    if keyword.endswith("ClassUID"):
        return _named(value)
    if keyword == "Status":
        return f"0x{value:04X}"
    return str(value)


def _codes(items: Mapping[str, Any]) -> Iterator[str]:
    for name, value in items.items():
        yield f"  {name.capitalize() + ':':<24} {value}"


def _associate(items: Mapping[str, Any]) -> Iterator[str]:
    def line(name: str, value: object) -> str:
        return f"  {name + ':':<24} {value}"

    yield line("Called AE Title", items["called"])
    yield line("Calling AE Title", items["calling"])
    yield line("Application Context", items.get("application_context", "none"))
    yield line("Maximum Length", items.get("max_length", "not said"))
    yield line("Implementation Class", items.get("implementation_class", "not said"))
    yield line("Implementation Version", items.get("implementation_version", "not said"))
    if "window" in items:
        invoked, performed = items["window"]
        yield line("Asynchronous Window", f"{invoked} invoked, {performed} performed")
    yield "  Presentation Contexts:"
    for context in items["contexts"]:
        yield from _context(context)
    for uid, scu, scp in items.get("roles", ()):
        roles = " and ".join(role for role, has in (("SCU", scu), ("SCP", scp)) if has)
        yield line("Role", f"{roles or 'none'} of {_named(uid)}")
    for uid, info in items.get("extended", ()):
        yield line("Extended Negotiation", f"{info} for {_named(uid)}")
    for uid, service, related in items.get("common", ()):
        more = f", related to {', '.join(map(_named, related))}" if related else ""
        yield line("Common Extended", f"{_named(uid)} of service {service}{more}")
    if "identity" in items:
        kind, asked = items["identity"]
        answer = ", response requested" if asked else ""
        yield line("User Identity", f"{_IDENTITIES.get(kind, f'type {kind}')}{answer}")
    if "identity_response" in items:
        yield line("User Identity", "response")


def _context(context: Mapping[str, Any]) -> Iterator[str]:
    result = context.get("result")
    answer = "" if result is None else f": {result}"
    yield f"    {context['id']:>3} {_named(context['class'])}{answer}"
    if result in (None, "acceptance"):  # of others it is not significant (PS3.8 9.3.3.2)
        for uid in context["syntaxes"]:
            syntax = TransferSyntax.of(uid)
            yield f"        {syntax.name} ({uid})" if syntax.name else f"        {uid}"


def _named(uid: str) -> str:
    name = SOPClass.of(uid).name
    return f"{name} ({uid})" if name else uid
