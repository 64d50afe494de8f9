"""From events of the core to the auditable events of PS3.15 A.5.3: see `audit`.

The two do not correspond one to one. The standard wants one event for all instances of a study that
an association transferred, with their number; the core reports each operation by itself, without
what others reported. So an `Auditor` keeps what it has seen of every association that is open
(`_Open`): the user, named by the proposal alone; instances counted by study, patient, action and
outcome; and the C-GETs and C-MOVEs in progress. Counts become events when their operation or their
association ends. They are flushed early in two cases: at 1000 different counts, so that a peer
cannot fill the memory; and when events were lost, since the end itself may be among those.
"""

from __future__ import annotations

import os
import socket
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dimse_rs.encoding.quiet import quietly
from dimse_rs.fields import (
    C_FIND_RQ,
    C_GET_RQ,
    C_MOVE_RQ,
    C_STORE_RQ,
    N_ACTION_RQ,
    N_CREATE_RQ,
    N_DELETE_RQ,
    N_GET_RQ,
    N_SET_RQ,
    SERVICE_OF,
)
from dimse_rs.records import dataclass, field
from dimse_rs.status import Status

from .audit import (
    ACCESSED,
    ACTIVITY,
    ALERT,
    APPLICATION,
    AUTHENTICATION,
    BEGIN_TRANSFERRING,
    DESTINATION,
    LOGIN,
    LOGOUT,
    NODE_AUTHENTICATION,
    NODE_ID,
    PATIENT_NUMBER,
    QUERY,
    RECORDING_STOPPED,
    RESTRICTED_FUNCTION,
    SOP_CLASS,
    SOURCE,
    START,
    STOP,
    STUDY,
    TRANSFERRED,
    Action,
    Audit,
    Code,
    Participant,
    Subject,
)

if TYPE_CHECKING:
    from dimse_rs import _core

__all__ = ["Auditor"]

Facts: TypeAlias = dict[str, Any]

# EventOutcomeIndicator (PS3.15 A.5.3). Of an alert it is the gravity: FAILED is a serious one, here
# an attempt that was averted.
DONE: Final = 0
RETRY: Final = 4  # such as a wrong passcode, which may be right the next time
FAILED: Final = 8
NOT_AVERTED: Final = 12

# The causes of rejection that concern security; the others are shortages and faulty peers.
_ALARMING: Final = frozenset(
    (
        "called-ae-title",
        "calling-ae-title",
        "not-allowed",
        "not-let-in",
        "no-user-identity",
        "passcode-in-clear",
    )
)

_ACTION_OF: Final[Mapping[int, Action]] = {
    N_CREATE_RQ: "C",
    N_GET_RQ: "R",
    N_SET_RQ: "U",
    N_DELETE_RQ: "D",
    N_ACTION_RQ: "E",
}

_MOST: Final = 1000
"""Counts kept of one association; at this number they become events at once."""


@dataclass(slots=True)
class _Counted:
    """Instances of one study, or of one retrieval."""

    classes: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Retrieval(_Counted):
    """A C-GET or C-MOVE that is being performed."""

    subjects: list[Subject] = field(default_factory=list)


_Outcome: TypeAlias = tuple[int, str]
"""EventOutcomeIndicator, and the text of a failure."""

_Key: TypeAlias = tuple[str | None, str | None, Action, int]
"""Study, patient, action and outcome of instances that share an event."""


@dataclass(slots=True)
class _Open:
    """The state of an association that is open, from its events so far."""

    facts: Facts
    user: str | None = None
    stored: dict[_Key, _Counted] = field(default_factory=dict)
    retrievals: dict[int, _Retrieval] = field(default_factory=dict)


class Auditor:
    """Makes auditable events: one for all instances of a study that an association transferred."""

    def __init__(self, titles: Sequence[str], address: Callable[[], str]) -> None:
        """Keep what names this node.

        Args:
            titles: the AE titles that it answers to; the first names it as the source of events.
            address: gives the address that it listens on, once known.
        """
        self._titles = titles
        self._address = address
        self._open: dict[int, _Open] = {}

    def take(self, event: _core.EventFacts) -> Iterator[Audit]:
        """Take an event of the core; give the auditable events that are complete with it."""
        association, facts = event.association, event.facts
        match event.kind:
            case "serving":
                yield self._activity(facts)
            case "identity":
                yield self._login(association, facts)
            case "rejected" if facts["code"] in _ALARMING:
                yield self._alert(association, facts, NODE_AUTHENTICATION, facts["detail"])
            case "denied":
                what = f"{SERVICE_OF[facts['field']]} of {facts['class']}: {facts['status']:04X}"
                yield self._alert(association, facts, RESTRICTED_FUNCTION, what)
            case "performed":
                yield from self._performed(association, facts)
            # Received ones, at the destination of a C-MOVE, are counted when they are stored.
            case "suboperation" if facts["direction"] == "sent":
                self._sent(association, facts)
            case "ended":
                yield from self._ended(association, facts)
            case "lost":
                yield from self._lost(facts)

    # ---- one kind each

    def _activity(self, facts: Facts) -> Audit:
        kind, who = START if facts["begun"] else STOP, self._node(None, APPLICATION)
        return self._event(0, facts, ACTIVITY, "E", [who], event_type=kind)

    def _login(self, association: int, facts: Facts) -> Audit:
        user = facts["name"] or f"user identity of type {facts['type']}"
        accepted = facts["accepted"]
        # Kept for the events to come: facts of operations do not repeat the user.
        if accepted:
            self._of(association, facts).user = user
        why = "" if accepted else "the user identity is not verified"
        return self._authentication(association, facts, user, LOGIN, why)

    def _authentication(
        self, association: int, facts: Facts, user: str, kind: Code, why: str = ""
    ) -> Audit:
        who = self._peer(facts, None) | {"user_id": user, "user_name": None}
        return self._event(
            association,
            facts,
            AUTHENTICATION,
            "E",
            [who, self._node(facts, None)],
            event_type=kind,
            outcome=(RETRY if why else DONE, why),
        )

    def _alert(self, association: int, facts: Facts, kind: Code, why: str) -> Audit:
        # The reporting node is the requestor of an alert, and the peer is what the alert is about.
        who = [self._node(facts, None, requestor=True), self._peer(facts, None, requestor=False)]
        about = _subject(NODE_ID, facts["calling"] or _host(facts), role=13)
        about["detail"]["Alert Description"] = why
        return self._event(
            association, facts, ALERT, "E", who, [about], event_type=kind, outcome=(FAILED, why)
        )

    def _performed(self, association: int, facts: Facts) -> Iterator[Audit]:
        # The core reports an operation twice: when it has come, and with its final status. PS3.15
        # wants a query at its beginning, with the identifier; a retrieval at both; and instances
        # that were stored or accessed at the end, with the outcome.
        field_, final = facts["field"], facts["status"] is not None
        if field_ == C_STORE_RQ:
            if final:
                yield from self._stored(association, facts)
        elif field_ == C_FIND_RQ:
            if not final:
                yield self._query(association, facts)
        elif field_ in (C_GET_RQ, C_MOVE_RQ):
            if final:
                yield self._retrieved(association, facts)
            else:
                retrieval = _Retrieval(subjects=_asked_for(facts))
                self._of(association, facts).retrievals[facts["message_id"]] = retrieval
                who = self._retrieving(association, facts)
                yield self._event(
                    association, facts, BEGIN_TRANSFERRING, "E", who, retrieval.subjects
                )
        elif field_ in _ACTION_OF and final:
            yield self._accessed(association, facts)

    def _stored(self, association: int, facts: Facts) -> Iterator[Audit]:
        state = self._of(association, facts)
        outcome, why = _outcome(facts["status"])
        # Read: the same bytes were there already. Update: other bytes of the instance were.
        action: Action = "R" if facts["identical"] else "U" if facts["changed"] else "C"
        patient = facts["patient"]
        # The Specific Character Set of the instance is not known here: other bytes become escapes.
        text = (
            None if patient is None else patient.strip(b" \0").decode("ascii", "backslashreplace")
        )
        counted = state.stored.setdefault((facts["study"], text, action, outcome), _Counted())
        counted.classes[facts["class"]] += 1
        if why:
            counted.failures[why] += 1
        if len(state.stored) >= _MOST:
            yield from self._flush(association)

    def _flush(self, association: int) -> Iterator[Audit]:
        """Make events of the instances that were counted."""
        state = self._open[association]
        stored, state.stored = state.stored, {}
        who = [
            self._peer(state.facts, SOURCE, state.user),
            self._node(state.facts, DESTINATION),
        ]
        for (study, patient, action, outcome), counted in stored.items():
            about = _studies([study] if study else [], counted.classes)
            if patient:
                about.append(_patient(patient))
            why = _counted_text(counted.failures)
            yield self._event(
                association,
                state.facts,
                TRANSFERRED,
                action,
                who,
                about,
                outcome=(outcome, why),
            )

    def _query(self, association: int, facts: Facts) -> Audit:
        about = _subject(SOP_CLASS, facts["class"])
        about["query"] = b64encode(facts["identifier"]).decode()
        about["detail"]["TransferSyntax"] = facts["syntax"]
        user = self._of(association, facts).user
        who = [self._peer(facts, SOURCE, user), self._node(facts, DESTINATION)]
        return self._event(association, facts, QUERY, "E", who, [about])

    def _sent(self, association: int, facts: Facts) -> None:
        """Count an instance that a retrieval has sent."""
        state = self._open.get(association)
        retrieval = state and state.retrievals.get(facts["of"])
        if not retrieval:
            return
        if facts["status"] is None:
            retrieval.failures[facts["detail"]] += 1
        elif why := _outcome(facts["status"])[1]:
            retrieval.failures[why] += 1
        else:
            retrieval.classes[facts["class"]] += 1

    def _retrieved(self, association: int, facts: Facts) -> Audit:
        state = self._of(association, facts)
        retrieval = state.retrievals.pop(facts["message_id"], None) or _Retrieval()
        outcome = _outcome(facts["status"])
        # The final status may be a warning when some sub-operations failed; for those instances the
        # transfer has failed.
        if retrieval.failures:
            outcome = FAILED, _counted_text(retrieval.failures)
        studies = [about["id"] for about in retrieval.subjects if about["id_type"] == STUDY]
        patients = [about for about in retrieval.subjects if about["id_type"] == PATIENT_NUMBER]
        about = _studies(studies, retrieval.classes) + patients
        who = self._retrieving(association, facts)
        return self._event(association, facts, TRANSFERRED, "R", who, about, outcome=outcome)

    def _accessed(self, association: int, facts: Facts) -> Audit:
        about = _subject(SOP_CLASS, facts["class"])
        about["sop_classes"][facts["class"]] = 1
        if facts["uid"]:
            about["instances"].append(facts["uid"])
        outcome = _outcome(facts["status"])
        user = self._of(association, facts).user
        who = [self._peer(facts, None, user), self._node(facts, None)]
        action = _ACTION_OF[facts["field"]]
        return self._event(association, facts, ACCESSED, action, who, [about], outcome=outcome)

    def _ended(self, association: int, facts: Facts) -> Iterator[Audit]:
        code = facts["code"] or ""
        if code.startswith("tls-"):
            yield self._alert(association, facts, NODE_AUTHENTICATION, str(facts["error"]))
        if (state := self._open.get(association)) is None:
            return  # nothing to report happened: a C-ECHO, or a peer that was rejected
        state.facts |= {"at": facts["at"]}  # the instances are reported with the time of the end
        yield from self._flush(association)
        if state.user is not None:
            yield self._authentication(association, facts, state.user, LOGOUT)
        del self._open[association]

    def _lost(self, facts: Facts) -> Iterator[Audit]:
        """Report the loss, and flush every count: the event that ends it may be lost as well."""
        for number in tuple(self._open):
            yield from self._flush(number)
        self._open.clear()
        why = f"{facts['count']} events were lost: the follower was too slow"
        yield self._event(
            0,
            facts,
            ALERT,
            "E",
            [self._node(None, None, requestor=True)],
            event_type=RECORDING_STOPPED,
            outcome=(NOT_AVERTED, why),
        )

    # ---- parts of events

    def _of(self, association: int, facts: Facts) -> _Open:
        about = {name: facts[name] for name in ("peer", "calling", "called", "at")}
        state = self._open.setdefault(association, _Open(about))
        state.facts = about
        return state

    def _event(
        self,
        association: int,
        facts: Facts,
        event_id: Code,
        action: Action,
        participants: list[Participant],
        objects: Sequence[Subject] = (),
        *,
        event_type: Code | None = None,
        outcome: _Outcome = (DONE, ""),
    ) -> Audit:
        return {
            "event": "audit",
            "event_id": event_id,
            "event_type": event_type,
            "action": action,
            "outcome": outcome[0],
            "outcome_text": outcome[1],
            "date_time": datetime.fromtimestamp(facts["at"], UTC).isoformat(),
            "association": association,
            "participants": participants,
            "source": f"{self._titles[0]}@{socket.gethostname()}",
            "objects": list(objects),
        }

    def _node(
        self, facts: Facts | None, role: Code | None, *, requestor: bool = False
    ) -> Participant:
        """Describe this node, by the AE title that the peer called."""
        titles = self._titles if facts is None else [facts["called"] or self._titles[0]]
        return {
            "user_id": titles[0],
            "alternative_user_id": f"{_aetitles(*titles)};PID={os.getpid()}",
            "user_name": None,
            "requestor": requestor,
            "role": role,
            "address": self._address(),
        }

    @staticmethod
    def _peer(
        facts: Facts, role: Code | None, user: str | None = None, *, requestor: bool = True
    ) -> Participant:
        """Describe the requestor of the association."""
        title = facts["calling"]
        return {
            "user_id": title or _host(facts),
            "alternative_user_id": _aetitles(title) if title else "",
            "user_name": user or None,
            "requestor": requestor,
            "role": role,
            "address": _host(facts),
        }

    def _retrieving(self, association: int, facts: Facts) -> list[Participant]:
        """List the sender and the receiver, and the requestor of a C-MOVE to a third node."""
        user = self._of(association, facts).user
        # A C-GET has two participants, a C-MOVE to a third node three. Of that node the title alone
        # is known here: the address is that of another association.
        who = [self._node(facts, SOURCE)]
        if facts["field"] == C_GET_RQ:
            return [*who, self._peer(facts, DESTINATION, user)]
        title = (facts["destination"] or "").strip()
        if title == facts["calling"]:
            return [*who, self._peer(facts, DESTINATION, user)]
        receiving: Participant = {
            "user_id": title,
            "alternative_user_id": _aetitles(title),
            "user_name": None,
            "requestor": False,
            "role": DESTINATION,
            "address": "",
        }
        return [*who, receiving, self._peer(facts, None, user)]


def _aetitles(*titles: str) -> str:
    return f"AETITLES={';'.join(titles)}"


def _host(facts: Facts) -> str:
    return facts["peer"].host if facts["peer"] else ""


def _outcome(status: int) -> _Outcome:
    """Give the outcome of a final status, and the text of a failure."""
    final = Status(status)
    done = final.category in ("success", "warning")
    return (DONE, "") if done else (FAILED, str(final))


def _counted_text(failures: Counter[str]) -> str:
    return ", ".join(f"{number} x {why}" for why, number in failures.items())


def _subject(id_type: Code, id_: str, *, type_: int = 2, role: int = 3) -> Subject:
    return {
        "type": type_,
        "role": role,
        "id_type": id_type,
        "id": id_,
        "sop_classes": {},
        "instances": [],
        "query": None,
        "detail": {},
    }


def _patient(id_: str) -> Subject:
    return _subject(PATIENT_NUMBER, id_, type_=1, role=1)


def _studies(studies: Sequence[str], classes: Mapping[str, int]) -> list[Subject]:
    """List studies with the number of instances; of several, the counts stand by SOP class.

    The sub-operations of a retrieval name no study: with more than one, a count has no owner.
    """
    about = [_subject(STUDY, study) for study in studies]
    if len(about) == 1:
        about[0]["sop_classes"].update(classes)
        return about
    for uid, number in classes.items():
        about.append(_subject(SOP_CLASS, uid))
        about[-1]["sop_classes"][uid] = number
    return about


@quietly
def _asked_for(facts: Facts) -> list[Subject]:
    """Read the studies and patients that the identifier of a retrieval names."""
    from dimse_rs.datasets import from_bytes
    from dimse_rs.encoding.library import MultiValue

    def texts(keyword: str) -> list[str]:
        value = identifier.get(keyword)
        several = value if isinstance(value, (MultiValue, list, tuple)) else [value]
        return [str(one) for one in several if one]

    try:
        identifier = from_bytes(facts["identifier"], facts["syntax"])
        studies, patients = texts("StudyInstanceUID"), texts("PatientID")
    except Exception:  # an identifier that cannot be read is answered by the handler, not here
        return []
    return [_subject(STUDY, uid) for uid in studies] + [_patient(id_) for id_ in patients]
