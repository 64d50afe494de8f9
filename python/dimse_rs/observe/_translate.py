"""What the core tells: as events for users, and as records for the log.

Events are flat dicts with the key `event`: `events` says what they hold. Records carry `code`,
`association` and `peer`. Neither holds values of data sets beyond UIDs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dimse_rs import log
from dimse_rs.errors import AssociationAborted, AssociationRejected
from dimse_rs.fields import SERVICE_OF
from dimse_rs.sop_class import SOPClass
from dimse_rs.tls import TLSFacts

from ._dump import message_text, pdu_text

if TYPE_CHECKING:
    from dimse_rs import _core

__all__ = ["SOURCES", "events_of", "log_event", "wanted_by_logs"]

Facts: TypeAlias = dict[str, Any]

_HINTS: Final = {
    "called-ae-title": "answer to it with -aet or Server(called=...),"
    " to any with --any-called or Server(any_called=True)",
    "calling-ae-title": "let it in with Server(calling=...)",
    "passcode-in-clear": "have the peer use TLS, or allow it: Server(passcode_in_clear=True)",
    "not-allowed": "let it in with Server(allow=[...]) or --allow",
    "no-user-identity": "Server(require_identity=True) wants one",
    "undecided": "its functions must return within Timeouts.acse",
    "too-many-associations": "allow more with --max-associations or Server(max_associations=...)",
}
"""What to change here, by the cause of a rejection."""

SOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    "connected": ("connected",),
    "associated": ("associated",),
    "negotiated": ("associated",),
    "rejected": ("rejected", "ended"),
    "pdu": ("pdu", "data-pdu"),
    "state": ("state", "data-state"),
    "message": ("message",),
    "suboperation": ("suboperation",),
    "stored": ("stored",),
    "refused": ("stored",),
    "denied": ("denied",),
    "released": ("ended",),
    "aborted": ("ended",),
    "error": ("violation", "ended", "accept-failed", "evicted", "tls-files"),
    "ended": ("ended",),
    "audit": (
        *("serving", "rejected", "identity", "denied", "performed", "suboperation", "ended"),
    ),
    "lost": (),
}
"""What the core calls that of which an event is made."""


def events_of(association: int, kind: str, facts: Facts) -> Iterator[Facts]:
    """Turn what the core tells into events."""
    about = {"association": association, "peer": _where(facts)}
    titles = {"calling": facts["calling"], "called": facts["called"]}
    match kind:
        case "connected":
            yield {"event": "connected", **about, "tls": _secured(facts["tls"])}
        case "associated":
            yield {
                "event": "associated",
                "peer": _where(facts),
                **titles,
                "contexts": [
                    {"class": context.sop_class, "syntax": context.transfer_syntax}
                    for context in facts["contexts"]
                    if context.result == 0  # acceptance
                ],
            }
            agreed = ("max_length", "window", "implementation", "warnings")
            contexts = [_context(context) for context in facts["contexts"]]
            event = {"event": "negotiated", **about, **titles, "contexts": contexts}
            yield event | {name: facts[name] for name in agreed}
        case "pdu":
            pdu = _some(facts, "direction", "type", "length")
            yield {"event": kind, **about, **pdu, "items": _readable(facts.get("items"))}
        case "state":
            yield {"event": kind, **about, **_some(facts, "from", "on", "action", "to")}
        case "message":
            message = _some(facts, "direction", "type", "context", "command", "bytes")
            yield {"event": kind, **about, **message}
        case "suboperation":
            part = _some(facts, "direction", "of", "class", "uid", "status")
            yield {"event": kind, **about, **part, "why": facts["detail"]}
        case "stored":
            yield _stored(facts)
        case "denied":
            yield {
                "event": kind,
                "service": SERVICE_OF[facts["field"]],
                **_some(facts, "class", "uid", "status", "calling"),
                "peer": _where(facts),
            }
        case "rejected":
            hint = _HINTS.get(facts["code"], "")
            yield _rejected(facts, facts["result"], facts["source"], facts["reason"], hint)
        case "violation":
            yield _error(facts["code"], facts["detail"], facts)
        case "ended":
            if (end := _end(facts)) is not None:
                yield end
            error = facts["error"]
            how = {"code": facts["code"] or "released", "why": "" if error is None else str(error)}
            yield {"event": kind, **about, **titles, **how, **_some(facts, "stored", "messages")}
        case "accept-failed" | "evicted" | "tls-files":
            yield {"event": "error", "code": kind, "message": facts["detail"]}
        case "lost":
            yield {"event": kind, "count": facts["count"]}


def _some(facts: Facts, *names: str) -> Facts:
    return {name: facts[name] for name in names}


def _context(context: _core.ContextFacts) -> Facts:
    return {
        "id": context.id,
        "class": context.sop_class,
        "result": context.reason,
        "syntax": context.transfer_syntax,
        "scu": context.scu,
        "scp": context.scp,
    }


def _secured(facts: _core.TLSFacts | None) -> Facts | None:
    if (agreed := TLSFacts._of(facts)) is None:
        return None
    by, shown = {"version": agreed.version, "cipher_suite": agreed.cipher_suite}, agreed.certificate
    if shown is None:
        return by | {"subject": None, "sha256": None}
    return by | {"subject": shown.subject, "sha256": shown.sha256}


def _readable(items: Facts | None) -> Facts | None:
    """Write the bytes of extended negotiation as digits, as events can be printed."""
    if items is None or "extended" not in items:
        return items
    return items | {"extended": [(uid, info.hex(" ")) for uid, info in items["extended"]]}


def _stored(facts: Facts) -> Facts:
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
    if facts["oddities"]:
        event["oddities"] = facts["oddities"]
    return event


def _rejected(facts: Facts, result: int, source: int, reason: int, hint: str) -> Facts:
    return {
        "event": "rejected",
        "result": result,
        "source": source,
        "reason": reason,
        "hint": hint,
        "code": facts["code"],
        "why": facts["detail"] if "detail" in facts else str(facts["error"]),
        "calling": facts["calling"],
        "called": facts["called"],
        "peer": _where(facts),
    }


def _end(facts: Facts) -> Facts | None:
    """Give what is told of an end, unless something before it said all."""
    error = facts["error"]
    if error is None or _by_us(facts):
        return {
            "event": "released" if error is None else "aborted",
            "stored": facts["stored"],
            "calling": facts["calling"],
            "peer": _where(facts),
        }
    if facts["told"]:
        return None
    if isinstance(error, AssociationRejected):
        return _rejected(facts, error.result, error.source, error.reason, error.hint)
    return _error(facts["code"], str(error), facts)


def _error(code: str, message: str, facts: Facts) -> Facts:
    return {
        "event": "error",
        "code": code,
        "message": message,
        "calling": facts["calling"],
        "peer": _where(facts),
    }


# ---- the log

# Below the level, and what is wanted for it.
_DEBUGGING: Final = (
    (log.PDU, logging.DEBUG, ("pdu",)),
    (log.PDU, log.TRACE, ("data-pdu",)),
    (log.UL, logging.DEBUG, ("state",)),
    (log.UL, log.TRACE, ("data-state",)),
    (log.DIMSE, logging.DEBUG, ("message",)),
)
_SERVING: Final = (
    (log.SERVER, logging.WARNING, ("problem",)),
    (log.SERVER, logging.INFO, ("associated", "stored", "ended")),
    (log.SERVER, logging.DEBUG, ("connected", "suboperation")),
)


def wanted_by_logs(*, server: bool = False) -> list[str]:
    """Give what the core has to tell for the levels at which its loggers stand now."""
    table = (*_SERVING, *_DEBUGGING) if server else _DEBUGGING
    return [
        name
        for logger, level, names in table
        if logging.getLogger(logger).isEnabledFor(level)
        for name in names
    ]


_server = log.get(log.SERVER)
_pdu = log.get(log.PDU)
_ul = log.get(log.UL)
_dimse = log.get(log.DIMSE)


def log_event(association: int, kind: str, facts: Facts) -> None:
    """Log what the core tells, in one record, and the peer's mistakes that were let through.

    Records carry `code`, `event` (the core's name of it), `association` (its number) and `peer`.
    """
    who = _who(association, facts)
    where = _where(facts)

    def line(level: int, code: str, text: str, *args: object, to: log.Log = _server) -> None:
        extra = {"code": code, "event": kind, "association": association, "peer": where or None}
        to.log(level, text, *args, extra=extra)

    match kind:
        case "pdu":
            level = log.TRACE if facts["type"] == "P-DATA-TF" else logging.DEBUG
            facts = facts | {"items": _readable(facts.get("items"))}
            line(level, kind, "%s %s %s", who, _arrow(facts), pdu_text(facts), to=_pdu)
        case "state":
            level = log.TRACE if facts["data"] else logging.DEBUG
            step = f"{facts['from']} + {facts['on']} -> {facts['action']} -> {facts['to']}"
            line(level, kind, "%s %s", who, step, to=_ul)
        case "message":
            text = message_text(facts)
            line(logging.DEBUG, kind, "%s %s %s", who, _arrow(facts), text, to=_dimse)
            if facts.get("passed_over"):
                over = f"of {facts['type']} passed over: {facts['passed_over']}"
                line(logging.DEBUG, "passed-over", "%s %s", who, over, to=_dimse)
        case "suboperation":
            status, of, uid = facts["status"], facts["of"], facts["uid"]
            how = facts["detail"] if status is None else f"{status:04X}"
            line(logging.DEBUG, kind, "%s %s %s of %d: %s", who, _arrow(facts), uid, of, how)
        case "lost":
            line(
                logging.WARNING, kind, "%d events are not logged: too many at once", facts["count"]
            )
        case "connected" if (tls := _secured(facts["tls"])) is not None:
            how = " ".join(f"{name} {said!r}" for name, said in tls.items())
            line(logging.DEBUG, kind, "%s connected %s over TLS: %s", who, where, how)
        case "associated":
            accepted = sum(context.result == 0 for context in facts["contexts"])
            of = f"{accepted} of {len(facts['contexts'])} presentation contexts"
            line(logging.INFO, kind, "%s established from %s: %s", who, where, of)
            for warning in facts["warnings"]:
                line(logging.WARNING, "negotiation", "%s %s", who, warning)
        case "stored" if facts["status"]:
            why = f"{facts['status']:04X}, {facts['detail']}"
            line(logging.WARNING, "refused", "%s refused %s: %s", who, facts["uid"], why)
        case "stored":
            line(logging.INFO, kind, "%s stored %s, %s", who, facts["path"], _how(facts))
        case "denied":
            what = SERVICE_OF[facts["field"]], SOPClass.of(facts["class"]), facts["status"]
            line(logging.WARNING, kind, "%s may not ask for %s of %r: %04X", who, *what)
        case "rejected":
            codes = f"({facts['result']},{facts['source']},{facts['reason']})"
            hint = _HINTS.get(facts["code"])
            why = facts["detail"] + (f" (hint: {hint})" if hint else "")
            code = facts["code"]
            line(logging.WARNING, code, "%s rejected %s, %s: %s", who, where, codes, why)
        case "violation":
            code, why = facts["code"], facts["detail"]
            line(logging.WARNING, code, "%s %s broke the protocol: %s", who, where, why)
        case "ended" if facts["error"] is None:
            line(logging.INFO, "released", "%s released, %d stored", who, facts["stored"])
        case "ended":
            level, code = _level(facts), facts["code"]
            line(level, code, "%s %s ended: %s", who, where, facts["error"])
        case "tls-files":
            line(logging.ERROR, kind, "%s; going on with what was read before", facts["detail"])
        case "evicted":
            line(logging.WARNING, kind, "%s", facts["detail"])
        case "accept-failed":
            line(logging.ERROR, kind, "cannot accept connections: %s", facts["detail"])
        case _:
            line(logging.DEBUG, kind, "%s %s %s", who, kind, where)


def _arrow(facts: Facts) -> str:
    return "<<" if facts["direction"] == "sent" else ">>"


def _who(association: int, facts: Facts) -> str:
    if not facts.get("calling"):
        return f"({association})"
    return f"{facts['called']}<-{facts['calling']}({association})"


def _where(facts: Facts) -> str:
    return log.address(facts.get("peer")) or ""


def _by_us(facts: Facts) -> bool:
    """Whether this node aborted because it was told to: by a handler, or by `stop`."""
    error = facts["error"]
    return isinstance(error, AssociationAborted) and error.local and error.source == 0


def _level(facts: Facts) -> int:
    if facts["code"] == "evicted":  # many are told of together
        return logging.DEBUG
    if _by_us(facts):
        return logging.INFO
    return logging.DEBUG if facts["told"] else logging.WARNING


def _how(facts: Facts) -> str:
    if facts["identical"]:
        how = "the same bytes as before"
    else:
        kept = f", earlier version kept as {facts['kept']}" if facts["kept"] else ""
        how = f"{facts['bytes']} bytes{kept}"
    odd = "; ".join(facts["oddities"])
    return f"{how}, not well formed: {odd}" if odd else how
