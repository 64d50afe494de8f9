"""The kinds of events of the core, each in one place: the events for programs, and the log records.

There is a class for each kind of `_core.event_kinds()`; `KINDS` finds it by name. Events are flat
dicts with the key `event`, described in `events`. Records carry `code`, `association` and `peer`.
Neither holds values of data sets beyond UIDs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from dimse_rs import log
from dimse_rs.errors import AssociationAborted, AssociationRejected
from dimse_rs.fields import SERVICE_OF
from dimse_rs.sop_class import SOPClass
from dimse_rs.tls import TLSFacts

from ._dump import message_text, pdu_text

if TYPE_CHECKING:
    from dimse_rs import _core

__all__ = ["KINDS", "Kind"]

Facts: TypeAlias = dict[str, Any]

_HINTS: Final = {
    "called-ae-title": "answer to it with -aet or Server(called=...),"
    " to any with --any-called or Server(any_called=True)",
    "calling-ae-title": "admit it with Server(calling=...)",
    "passcode-in-clear": "have the peer use TLS, or allow it: Server(passcode_in_clear=True)",
    "not-allowed": "admit it with Server(allow=[...]) or --allow",
    "no-user-identity": "Server(require_identity=True) requires one",
    "undecided": "its functions must return within Timeouts.acse",
    "too-many-associations": "allow more with --max-associations or Server(max_associations=...)",
}
"""What to change here, by the cause of a rejection."""

_server = log.get(log.SERVER)
_pdu = log.get(log.PDU)
_ul = log.get(log.UL)
_dimse = log.get(log.DIMSE)


class Kind:
    """A kind of event; one without methods of its own is logged in one plain line.

    Attributes:
        name: the name of the kind in the core.
        follow: the names by which a follower of the core asks for it.
        makes: the names of the events for programs that are made of it.
        audited: whether an `Auditor` uses it.
    """

    name: ClassVar[str] = ""
    follow: ClassVar[tuple[str, ...]] = ()
    makes: ClassVar[tuple[str, ...]] = ()
    audited: ClassVar[bool] = False

    def __init__(self, event: _core.EventFacts) -> None:
        """Take an event of the core."""
        self.association = event.association
        self.facts: Facts = event.facts
        self.where = log.address(self.facts.get("peer")) or ""

    def events(self) -> Iterator[Facts]:
        """Make the events for programs."""
        yield from ()

    def record(self) -> None:
        """Log the event in one record, and tolerated mistakes of the peer in further ones.

        Records carry `code`, `event` (the kind), `association` (its number) and `peer`.
        """
        self.line(logging.DEBUG, self.name, "%s %s %s", self.who, self.name, self.where)

    # ---- what several kinds need

    @property
    def about(self) -> Facts:
        """The association and the peer, as most events have them."""
        return {"association": self.association, "peer": self.where}

    @property
    def titles(self) -> Facts:
        """Both AE titles."""
        return self.some("calling", "called")

    @property
    def who(self) -> str:
        """The association, as records show it."""
        if not self.facts.get("calling"):
            return f"({self.association})"
        return f"{self.facts['called']}<-{self.facts['calling']}({self.association})"

    @property
    def arrow(self) -> str:
        """The direction of a PDU or a message."""
        return "<<" if self.facts["direction"] == "sent" else ">>"

    def some(self, *names: str) -> Facts:
        """Give the facts of these names."""
        return {name: self.facts[name] for name in names}

    def line(self, level: int, code: str, text: str, *args: object, to: log.Log = _server) -> None:
        """Log one record."""
        about = {"association": self.association, "peer": self.where or None}
        to.log(level, text, *args, extra={"code": code, "event": self.name, **about})

    # From two kinds: `rejected`, when this node rejects, and `ended`, when the peer did.
    def rejection(self, result: int, source: int, reason: int, why: str, hint: str) -> Facts:
        """Make an event of an A-ASSOCIATE-RJ, ours or the peer's."""
        return {
            "event": "rejected",
            "result": result,
            "source": source,
            "reason": reason,
            "hint": hint,
            "code": self.facts["code"],
            "why": why,
            **self.titles,
            "peer": self.where,
        }

    def error(self, code: str, message: str) -> Facts:
        """Make an event of an error of the association."""
        return {
            "event": "error",
            "code": code,
            "message": message,
            **self.some("calling"),
            "peer": self.where,
        }


class _Connected(Kind):
    name = "connected"
    follow = ("connected",)
    makes = ("connected",)

    def events(self) -> Iterator[Facts]:
        yield {"event": self.name, **self.about, "tls": self._secured}

    def record(self) -> None:
        if (tls := self._secured) is None:
            super().record()
            return
        how = " ".join(f"{name} {value!r}" for name, value in tls.items())
        what = self.who, self.where, how
        self.line(logging.DEBUG, self.name, "%s connected %s over TLS: %s", *what)

    @property
    def _secured(self) -> Facts | None:
        if (agreed := TLSFacts._of(self.facts["tls"])) is None:
            return None
        shown = agreed.certificate
        return {
            "version": agreed.version,
            "cipher_suite": agreed.cipher_suite,
            "subject": None if shown is None else shown.subject,
            "sha256": None if shown is None else shown.sha256,
        }


class _Associated(Kind):
    name = "associated"
    follow = ("associated",)
    makes = ("associated", "negotiated")

    def events(self) -> Iterator[Facts]:
        contexts: list[_core.ContextFacts] = self.facts["contexts"]
        yield {
            "event": "associated",
            "peer": self.where,
            **self.titles,
            "contexts": [
                {"class": context.sop_class, "syntax": context.transfer_syntax}
                for context in contexts
                if context.result == 0  # acceptance
            ],
        }
        yield {
            "event": "negotiated",
            **self.about,
            **self.titles,
            "contexts": [_context(context) for context in contexts],
            **self.some("max_length", "window", "implementation", "warnings"),
        }

    def record(self) -> None:
        contexts = self.facts["contexts"]
        accepted = sum(context.result == 0 for context in contexts)
        of = f"{accepted} of {len(contexts)} presentation contexts"
        what = self.who, self.where, of
        self.line(logging.INFO, self.name, "%s established from %s: %s", *what)
        for warning in self.facts["warnings"]:
            self.line(logging.WARNING, "negotiation", "%s %s", self.who, warning)


class _Rejected(Kind):
    name = "rejected"
    follow = ("rejected",)
    makes = ("rejected",)
    audited = True

    def events(self) -> Iterator[Facts]:
        facts = self.facts
        codes = facts["result"], facts["source"], facts["reason"]
        yield self.rejection(*codes, facts["detail"], _HINTS.get(facts["code"], ""))

    def record(self) -> None:
        facts, code = self.facts, self.facts["code"]
        codes = f"({facts['result']},{facts['source']},{facts['reason']})"
        hint = _HINTS.get(code)
        why = facts["detail"] + (f" (hint: {hint})" if hint else "")
        what = self.who, self.where, codes, why
        self.line(logging.WARNING, code, "%s rejected %s, %s: %s", *what)


class _Pdu(Kind):
    name = "pdu"
    follow = ("pdu", "data-pdu")
    makes = ("pdu",)

    def events(self) -> Iterator[Facts]:
        pdu = self.some("direction", "type", "length")
        yield {"event": self.name, **self.about, **pdu, "items": self._items}

    def record(self) -> None:
        # A study has thousands of P-DATA-TFs, and each line shows no more than a length.
        level = log.TRACE if self.facts["type"] == "P-DATA-TF" else logging.DEBUG
        text = pdu_text(self.facts | {"items": self._items})
        self.line(level, self.name, "%s %s %s", self.who, self.arrow, text, to=_pdu)

    @property
    def _items(self) -> Facts | None:
        """The items, with the bytes of extended negotiation as digits: events can be printed."""
        items: Facts | None = self.facts.get("items")
        if items is None or "extended" not in items:
            return items
        return items | {"extended": [(uid, info.hex(" ")) for uid, info in items["extended"]]}


class _State(Kind):
    name = "state"
    follow = ("state", "data-state")
    makes = ("state",)

    def events(self) -> Iterator[Facts]:
        yield {"event": self.name, **self.about, **self.some("from", "on", "action", "to")}

    def record(self) -> None:
        facts = self.facts
        level = log.TRACE if facts["data"] else logging.DEBUG
        step = f"{facts['from']} + {facts['on']} -> {facts['action']} -> {facts['to']}"
        self.line(level, self.name, "%s %s", self.who, step, to=_ul)


class _Message(Kind):
    name = "message"
    follow = ("message",)
    makes = ("message",)

    def events(self) -> Iterator[Facts]:
        message = self.some("direction", "type", "context", "command", "bytes")
        yield {"event": self.name, **self.about, **message}

    def record(self) -> None:
        text = message_text(self.facts)
        self.line(logging.DEBUG, self.name, "%s %s %s", self.who, self.arrow, text, to=_dimse)
        if self.facts.get("passed_over"):
            over = f"of {self.facts['type']} passed over: {self.facts['passed_over']}"
            self.line(logging.DEBUG, "passed-over", "%s %s", self.who, over, to=_dimse)


class _SubOperation(Kind):
    name = "suboperation"
    follow = ("suboperation",)
    makes = ("suboperation",)
    audited = True

    def events(self) -> Iterator[Facts]:
        part = self.some("direction", "of", "class", "uid", "status")
        yield {"event": self.name, **self.about, **part, "why": self.facts["detail"]}

    def record(self) -> None:
        status = self.facts["status"]
        how = self.facts["detail"] if status is None else f"{status:04X}"
        what = self.who, self.arrow, self.facts["uid"], self.facts["of"], how
        self.line(logging.DEBUG, self.name, "%s %s %s of %d: %s", *what)


class _Stored(Kind):
    name = "stored"
    follow = ("stored",)
    makes = ("stored", "refused")

    def events(self) -> Iterator[Facts]:
        facts = self.facts
        event = {
            "event": "refused" if facts["status"] else "stored",
            **self.some("uid", "class", "syntax"),
            "path": None if facts["path"] is None else str(facts["path"]),
            **self.some("bytes", "calling", "status"),
            **self.about,
            **self.some("study", "series"),
        }
        if facts["status"]:
            event["why"] = facts["detail"]
        if facts["kept"] is not None:
            event["kept"] = str(facts["kept"])
        if facts["identical"]:
            event["identical"] = True
        if facts["oddities"]:
            event["oddities"] = facts["oddities"]
        yield event

    def record(self) -> None:
        facts = self.facts
        if facts["status"]:
            why = f"{facts['status']:04X}, {facts['detail']}"
            what = self.who, facts["uid"], why
            self.line(logging.WARNING, "refused", "%s refused %s: %s", *what)
        else:
            what = self.who, facts["path"], self._how
            self.line(logging.INFO, self.name, "%s stored %s, %s", *what)

    @property
    def _how(self) -> str:
        facts = self.facts
        if facts["identical"]:
            how = "the same bytes as before"
        else:
            kept = f", earlier version kept as {facts['kept']}" if facts["kept"] else ""
            how = f"{facts['bytes']} bytes{kept}"
        odd = "; ".join(facts["oddities"])
        return f"{how}, not well formed: {odd}" if odd else how


class _Denied(Kind):
    name = "denied"
    follow = ("denied",)
    makes = ("denied",)
    audited = True

    def events(self) -> Iterator[Facts]:
        yield {
            "event": self.name,
            "service": SERVICE_OF[self.facts["field"]],
            **self.some("class", "uid", "status", "calling"),
            "peer": self.where,
        }

    def record(self) -> None:
        service, sop_class = SERVICE_OF[self.facts["field"]], SOPClass.of(self.facts["class"])
        what = self.who, service, sop_class, self.facts["status"]
        self.line(logging.WARNING, self.name, "%s may not ask for %s of %r: %04X", *what)


class _Performed(Kind):
    name = "performed"
    follow = ("performed",)
    audited = True


class _Identity(Kind):
    name = "identity"
    follow = ("identity",)
    audited = True


class _Serving(Kind):
    name = "serving"
    follow = ("serving",)
    audited = True


class _Violation(Kind):
    name = "violation"
    follow = ("violation",)
    makes = ("error",)

    def events(self) -> Iterator[Facts]:
        yield self.error(self.facts["code"], self.facts["detail"])

    def record(self) -> None:
        what = self.who, self.where, self.facts["detail"]
        self.line(logging.WARNING, self.facts["code"], "%s %s broke the protocol: %s", *what)


class _Ended(Kind):
    name = "ended"
    follow = ("ended",)
    makes = ("rejected", "released", "aborted", "error", "ended")
    audited = True

    def events(self) -> Iterator[Facts]:
        # Two events: the first names the outcome, for followers of outcomes; `ended` always comes,
        # for followers that keep count of connections.
        if (end := self._end()) is not None:
            yield end
        facts, error = self.facts, self.facts["error"]
        how = {"code": facts["code"] or "released", "why": "" if error is None else str(error)}
        counted = self.some("stored", "messages")
        yield {"event": self.name, **self.about, **self.titles, **how, **counted}

    def _end(self) -> Facts | None:
        """Make the event of the end; None when an earlier event reported the cause."""
        error = self.facts["error"]
        if error is None or self._by_us:
            return {
                "event": "released" if error is None else "aborted",
                **self.some("stored", "calling"),
                "peer": self.where,
            }
        if self.facts["told"]:
            return None
        if isinstance(error, AssociationRejected):
            codes = error.result, error.source, error.reason
            return self.rejection(*codes, str(error), error.hint)
        return self.error(self.facts["code"], str(error))

    def record(self) -> None:
        error = self.facts["error"]
        if error is None:
            stored = self.facts["stored"]
            self.line(logging.INFO, "released", "%s released, %d stored", self.who, stored)
        else:
            what = self.who, self.where, error
            self.line(self._level, self.facts["code"], "%s %s ended: %s", *what)

    @property
    def _by_us(self) -> bool:
        """Whether this node aborted: a handler did, or `stop`."""
        error = self.facts["error"]
        return isinstance(error, AssociationAborted) and error.local and error.source == 0

    @property
    def _level(self) -> int:
        if self.facts["code"] == "evicted":  # one record reports many together
            return logging.DEBUG
        if self._by_us:
            return logging.INFO
        # `told`: a warning about the cause is in the log already, such as the violation.
        return logging.DEBUG if self.facts["told"] else logging.WARNING


class _OfServer(Kind):
    """A fault that concerns the whole server."""

    makes = ("error",)

    def events(self) -> Iterator[Facts]:
        yield {"event": "error", "code": self.name, "message": self.facts["detail"]}


class _AcceptFailed(_OfServer):
    name = "accept-failed"
    follow = ("accept-failed",)

    def record(self) -> None:
        detail = self.facts["detail"]
        self.line(logging.ERROR, self.name, "cannot accept connections: %s", detail)


class _Evicted(_OfServer):
    name = "evicted"
    follow = ("evicted",)

    def record(self) -> None:
        self.line(logging.WARNING, self.name, "%s", self.facts["detail"])


class _TlsFiles(_OfServer):
    name = "tls-files"
    follow = ("tls-files",)

    def record(self) -> None:
        text = "%s; going on with what was read before"
        self.line(logging.ERROR, self.name, text, self.facts["detail"])


class _Lost(Kind):
    # Every follower gets this kind without asking: a gap must not pass for silence.
    name = "lost"
    makes = ("lost",)

    def events(self) -> Iterator[Facts]:
        yield {"event": self.name, **self.some("count")}

    def record(self) -> None:
        text = "%d events are not logged: too many at once"
        self.line(logging.WARNING, self.name, text, self.facts["count"])


def _context(context: _core.ContextFacts) -> Facts:
    return {
        "id": context.id,
        "class": context.sop_class,
        "result": context.reason,
        "syntax": context.transfer_syntax,
        "scu": context.scu,
        "scp": context.scp,
    }


def _named(kind: type[Kind]) -> Iterator[tuple[str, type[Kind]]]:
    for below in kind.__subclasses__():
        if below.name:
            yield below.name, below
        yield from _named(below)


KINDS: Final[Mapping[str, type[Kind]]] = dict(_named(Kind))
"""The kinds by their names in the core."""
