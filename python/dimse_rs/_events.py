"""What the core tells of a server: as events for users, and as one line each for the log.

Events are flat dicts with the key `event`, as `dimse storescp --json` prints them. Lines carry a
stable `record.code`. Neither holds values of data sets beyond UIDs.
"""

from __future__ import annotations

import logging
from typing import Any, Final, TypeAlias

from . import log
from .errors import AssociationAborted

__all__ = ["Event", "event_of", "log_event"]

Event: TypeAlias = dict[str, Any]

_logger = log.get(log.SERVER)

_HINTS: Final = {
    "called-ae-title": "answer to it with -aet or Server(called=...),"
    " to any with --any-called or Server(any_called=True)",
    "calling-ae-title": "let it in with Server(calling=...)",
    "no-user-identity": "Server(require_identity=True) wants one",
    "undecided": "its functions must return within Timeouts.acse",
    "too-many-associations": "allow more with --max-associations or Server(max_associations=...)",
}
"""What to change here, by the cause of a rejection."""


def event_of(kind: str, facts: Event) -> Event | None:
    """Turn what the core tells into an event for users; None for what is only logged."""
    match kind:
        case "associated":
            return {
                "event": "associated",
                "peer": _where(facts),
                "calling": facts["calling"],
                "called": facts["called"],
                "contexts": [
                    {"class": uid, "syntax": syntax}
                    for _, uid, result, syntax, _, _ in facts["contexts"]
                    if result == 0
                ],
            }
        case "stored":
            return _stored(facts)
        case "rejected":
            return {
                "event": "rejected",
                "result": facts["result"],
                "source": facts["source"],
                "reason": facts["reason"],
                "hint": _HINTS.get(facts["code"], ""),
                "code": facts["code"],
                "why": facts["detail"],
                "calling": facts["calling"],
                "called": facts["called"],
                "peer": _where(facts),
            }
        case "violation":
            return _error(facts["code"], facts["detail"], facts)
        case "ended" if facts["error"] is None or _by_us(facts):
            return {
                "event": "released" if facts["error"] is None else "aborted",
                "stored": facts["stored"],
                "calling": facts["calling"],
                "peer": _where(facts),
            }
        case "ended" if facts["told"]:
            return None
        case "ended":
            return _error(facts["code"], str(facts["error"]), facts)
        case "accept-failed":
            return {"event": "error", "code": kind, "message": facts["detail"]}
        case _:
            return None


def _stored(facts: Event) -> Event:
    event = {
        "event": "refused" if facts["status"] else "stored",
        "uid": facts["uid"],
        "class": facts["class"],
        "syntax": facts["syntax"],
        "path": None if facts["path"] is None else str(facts["path"]),
        "bytes": facts["bytes"],
        "calling": facts["calling"],
        "status": facts["status"],
    }
    if facts["status"]:
        event["why"] = facts["detail"]
    if facts["kept"] is not None:
        event["kept"] = str(facts["kept"])
    if facts["identical"]:
        event["identical"] = True
    return event


def _error(code: str, message: str, facts: Event) -> Event:
    return {
        "event": "error",
        "code": code,
        "message": message,
        "calling": facts["calling"],
        "peer": _where(facts),
    }


def log_event(association: int, kind: str, facts: Event) -> None:
    """Log what the core tells, in one line, and the peer's mistakes that were let through.

    Records carry `code`, `event` (the core's name of it) and `association` (its number).
    """
    who = _who(association, facts)

    def line(level: int, code: str, text: str, *args: object) -> None:
        extra = {"code": code, "event": kind, "association": association}
        _logger.log(level, text, *args, extra=extra)

    match kind:
        case "associated":
            accepted = sum(1 for context in facts["contexts"] if context[2] == 0)
            of = f"{accepted} of {len(facts['contexts'])} presentation contexts"
            line(logging.INFO, kind, "%s established from %s: %s", who, _where(facts), of)
            for warning in facts["warnings"]:
                line(logging.WARNING, "negotiation", "%s %s", who, warning)
        case "stored" if facts["status"]:
            why = f"{facts['status']:04X}, {facts['detail']}"
            line(logging.WARNING, "refused", "%s refused %s: %s", who, facts["uid"], why)
        case "stored":
            line(logging.INFO, kind, "%s stored %s, %s", who, facts["path"], _how(facts))
        case "rejected":
            codes = f"({facts['result']},{facts['source']},{facts['reason']})"
            hint = _HINTS.get(facts["code"])
            why = facts["detail"] + (f" (hint: {hint})" if hint else "")
            code = facts["code"]
            line(logging.WARNING, code, "%s rejected %s, %s: %s", who, _where(facts), codes, why)
        case "violation":
            code, why = facts["code"], facts["detail"]
            line(logging.WARNING, code, "%s %s broke the protocol: %s", who, _where(facts), why)
        case "ended" if facts["error"] is None:
            line(logging.INFO, "released", "%s released, %d stored", who, facts["stored"])
        case "ended":
            level, code = _level(facts), facts["code"]
            line(level, code, "%s %s ended: %s", who, _where(facts), facts["error"])
        case "accept-failed":
            line(logging.ERROR, kind, "cannot accept connections: %s", facts["detail"])
        case _:
            line(logging.DEBUG, kind, "%s %s %s", who, kind, _where(facts))


def _who(association: int, facts: Event) -> str:
    if not facts.get("calling"):
        return f"({association})"
    return f"{facts['called']}<-{facts['calling']}({association})"


def _where(facts: Event) -> str:
    peer = facts.get("peer")
    if not peer:
        return ""
    host, port = peer
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _by_us(facts: Event) -> bool:
    """Whether this node aborted because it was told to: by a handler, or by `stop`."""
    error = facts["error"]
    return isinstance(error, AssociationAborted) and error.local and error.source == 0


def _level(facts: Event) -> int:
    if _by_us(facts):
        return logging.INFO
    return logging.DEBUG if facts["told"] else logging.WARNING


def _how(facts: Event) -> str:
    if facts["identical"]:
        return "the same bytes as before"
    kept = f", earlier version kept as {facts['kept']}" if facts["kept"] else ""
    return f"{facts['bytes']} bytes{kept}"
