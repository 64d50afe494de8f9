"""Audit: which user did what to the instances of which patient, as PS3.15 A.5 has it.

`server.events("audit")` gives dicts; `audit_xml` makes the message for an audit repository of one,
and sending it is the task of the program. Only these events name patients and users.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["Action", "Audit", "Code", "Participant", "Subject", "audit_xml"]

Code: TypeAlias = tuple[str, str]
"""Value and meaning in the coding scheme DCM (PS3.16 CID 400 to 405); but see `PATIENT_NUMBER`."""
Action: TypeAlias = Literal["C", "R", "U", "D", "E"]

ACTIVITY: Final = "110100", "Application Activity"
BEGIN_TRANSFERRING: Final = "110102", "Begin Transferring DICOM Instances"
ACCESSED: Final = "110103", "DICOM Instances Accessed"
TRANSFERRED: Final = "110104", "DICOM Instances Transferred"
QUERY: Final = "110112", "Query"
ALERT: Final = "110113", "Security Alert"
AUTHENTICATION: Final = "110114", "User Authentication"

START: Final = "110120", "Application Start"
STOP: Final = "110121", "Application Stop"
LOGIN: Final = "110122", "Login"
LOGOUT: Final = "110123", "Logout"
NODE_AUTHENTICATION: Final = "110126", "Node Authentication"
RESTRICTED_FUNCTION: Final = "110132", "Use of Restricted Function"
RECORDING_STOPPED: Final = "110133", "Audit Recording Stopped"

APPLICATION: Final = "110150", "Application"
DESTINATION: Final = "110152", "Destination Role ID"
SOURCE: Final = "110153", "Source Role ID"

STUDY: Final = "110180", "Study Instance UID"
SOP_CLASS: Final = "110181", "SOP Class UID"
NODE_ID: Final = "110182", "Node ID"
PATIENT_NUMBER: Final = "2", "Patient Number"
"""In the coding scheme RFC-3881."""


class Participant(TypedDict):
    """A participant: this node, or a peer.

    Attributes:
        user_id: an AE title; a user's name in `User Authentication`.
        alternative_user_id: AE titles as PS3.15 A.5.2.2 writes them; this node's process id.
        user_name: the user that the requestor named.
        requestor: whether the participant initiated the event.
        role: its role; None when the standard has none for it.
        address: its network address; empty when unknown.
    """

    user_id: str
    alternative_user_id: str
    user_name: str | None
    requestor: bool
    role: Code | None
    address: str


class Subject(TypedDict):
    """An object of an event: a study with its instances, a patient, a query, a node.

    Attributes:
        type: 1 person, 2 system object.
        role: 1 patient, 3 report, 13 security resource.
        id_type: the kind of identifier.
        id: the identifier.
        sop_classes: the number of instances, by SOP class.
        instances: SOP Instance UIDs, where there are few.
        query: the identifier of a query in base64, with its transfer syntax in `detail`.
        detail: text by name.
    """

    type: int
    role: int
    id_type: Code
    id: str
    sop_classes: dict[str, int]
    instances: list[str]
    query: str | None
    detail: dict[str, str]


class Audit(TypedDict):
    """An auditable event (PS3.15 A.5).

    Attributes:
        event_id: the kind of event.
        event_type: the subtype; None where there is only one.
        action: C create, R read, U update, D delete, E execute.
        outcome: 0 success, 4 minor failure, 8 serious failure, 12 major failure.
        outcome_text: the failure in words; empty for success.
        date_time: the time in UTC (ISO 8601).
        association: the number of the association; 0 when the event concerns none.
        participants: this node and its peers.
        source: the node that reports the event: `AET@host`.
        objects: studies, patients, queries and nodes that the event concerns.
    """

    event: Literal["audit"]
    event_id: Code
    event_type: Code | None
    action: Action
    outcome: int
    outcome_text: str
    date_time: str
    association: int
    participants: list[Participant]
    source: str
    objects: list[Subject]


def audit_xml(event: Mapping[str, Any]) -> bytes:
    """Write an auditable event as an AuditMessage, for a repository (RFC 5425, RFC 5426).

    Args:
        event: one of `server.events("audit")`.

    Returns:
        XML in UTF-8, with a declaration.

    Source: PS3.15 A.5.1.
    """
    from xml.etree.ElementTree import Element, SubElement, tostring

    message = Element("AuditMessage")
    what = SubElement(
        message,
        "EventIdentification",
        EventActionCode=event["action"],
        EventDateTime=event["date_time"],
        EventOutcomeIndicator=str(event["outcome"]),
    )
    _code(what, "EventID", event["event_id"])
    if event["event_type"]:
        _code(what, "EventTypeCode", event["event_type"])
    if event["outcome_text"]:
        SubElement(what, "EventOutcomeDescription").text = _text(event["outcome_text"])
    for participant in event["participants"]:
        _participant(message, participant)
    title = event["source"]
    source = SubElement(message, "AuditSourceIdentification", AuditSourceID=_text(title))
    SubElement(source, "AuditSourceTypeCode", {"csd-code": "4"})  # application server
    for subject in event["objects"]:
        _object(message, subject)
    text: bytes = tostring(message, encoding="utf-8", xml_declaration=True)
    return text


def _code(parent: Element, name: str, code: Code) -> None:
    from xml.etree.ElementTree import SubElement

    value, meaning = code
    scheme = "RFC-3881" if tuple(code) == PATIENT_NUMBER else "DCM"
    attributes = {"csd-code": value, "codeSystemName": scheme, "originalText": meaning}
    SubElement(parent, name, attributes)


def _participant(message: Element, participant: Participant) -> None:
    from xml.etree.ElementTree import SubElement

    fields = {
        "UserID": participant["user_id"],
        "AlternativeUserID": participant["alternative_user_id"],
        "UserName": participant["user_name"],
        "UserIsRequestor": "true" if participant["requestor"] else "false",
    }
    if participant["address"]:
        fields |= {
            "NetworkAccessPointID": participant["address"],
            "NetworkAccessPointTypeCode": "2",  # an IP address
        }
    attributes = {name: _text(value) for name, value in fields.items() if value}
    # UserID is required, even if it is empty: a peer that failed in TLS has given no AE title.
    who = SubElement(message, "ActiveParticipant", {"UserID": "", **attributes})
    if participant["role"]:
        _code(who, "RoleIDCode", participant["role"])


def _object(message: Element, subject: Subject) -> None:
    from xml.etree.ElementTree import SubElement

    about = SubElement(
        message,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_text(subject["id"]),
        ParticipantObjectTypeCode=str(subject["type"]),
        ParticipantObjectTypeCodeRole=str(subject["role"]),
    )
    _code(about, "ParticipantObjectIDTypeCode", subject["id_type"])
    if subject["query"] is not None:
        SubElement(about, "ParticipantObjectQuery").text = subject["query"]
    else:
        SubElement(about, "ParticipantObjectName").text = _text(subject["id"])
    for name, value in subject["detail"].items():
        # The attribute is base64 in the schema of PS3.15 A.5.1.
        encoded = b64encode(value.encode("utf-8", "backslashreplace")).decode()
        SubElement(about, "ParticipantObjectDetail", type=name, value=encoded)
    for uid, number in subject["sop_classes"].items():
        listed = SubElement(about, "SOPClass", UID=_text(uid), NumberOfInstances=str(number))
        for instance in subject["instances"]:
            SubElement(listed, "Instance", UID=_text(instance))


def _text(value: str) -> str:
    """Escape the characters that XML cannot hold: a peer may have sent any."""
    return "".join(
        sign
        if sign in "\t\n\r"
        or " " <= sign < "\ud800"
        or "\ue000" <= sign < "\ufffe"
        or sign >= "\U00010000"
        else f"\\x{ord(sign):02x}"
        for sign in value
    )
