"""What `dimse inbox` keeps and shows: numbered folders, and a line for each thing that happens."""

from __future__ import annotations

import shutil
import threading
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from dimse_rs import AE, SOPClass, Status, StatusError, StoreRequest, TransferSyntax, log
from dimse_rs.errors import DecodeError
from dimse_rs.testing import Receiver

from .output import Output, size_text
from .table import visible

__all__ = ["Inbox", "Lines"]

_SHOWN: Final = 4
"""Presentation contexts that a line names."""

_PATIENCE: Final = 2.0
"""Seconds for which an instance waits for the line of its association."""


class Inbox(Receiver):
    """A `Receiver` that writes what comes into numbered folders, and tells of it."""

    def __init__(
        self,
        ae: AE,
        folder: Path,
        lines: Lines,
        *,
        keep: int,
        names: bool,
        **settings: Any,
    ) -> None:
        """Make the server.

        Args:
            ae: title, deadlines, TLS.
            folder: where the instances go.
            lines: what shows them.
            keep: how many instances stay.
            names: whether names and numbers of patients are shown.
            settings: of `Server`.
        """
        super().__init__(ae, **settings)
        self._folder = folder
        self._lines = lines
        self._most = keep
        self._names = names
        self._numbering = threading.Lock()
        taken = (path.name for path in folder.iterdir() if path.name.isdecimal())
        self._number = max(map(int, taken), default=0)
        self._kept: deque[Path] = deque()

    def _arrived(self, request: StoreRequest[Any], status: Status) -> None:
        with self._numbering:
            self._number += 1
            number = self._number
        self._lines.await_association(request.peer.host, request.peer.port)
        facts: dict[str, Any] = {
            "event": "received",
            "number": number,
            "uid": request.instance_uid,
            "class": str(request.sop_class),
            "syntax": str(request.transfer_syntax),
            "bytes": request.size,
            "calling": request.peer.ae_title,
            "association": request.association.number,
            "peer": log.address(request.peer),
        }
        if self._names:
            facts |= _patient_of(request)
        try:
            path = None if status.category == "failure" else self._save(request, number)
        except StatusError as error:  # a malformed UID, a full disk: what the sender is told
            self._lines.tell({**facts, "status": int(error.status), "path": None})
            raise
        where = None if path is None else str(path)
        self._lines.tell({**facts, "status": int(status), "path": where})

    def _save(self, request: StoreRequest[Any], number: int) -> Path:
        folder = self._folder / f"{number:06d}"
        path = request.save(folder, mode="fast")
        with self._numbering:
            self._kept.append(folder)
            old = [self._kept.popleft() for _ in range(len(self._kept) - self._most)]
        for one in old:
            shutil.rmtree(one, ignore_errors=True)
        return path


def _patient_of(request: StoreRequest[Any]) -> dict[str, str]:
    """Give name and id of the patient, as far as pydicom can read them."""
    try:
        dataset = request.dataset
        return {
            "patient_name": str(dataset.get("PatientName", "")),
            "patient_id": str(dataset.get("PatientID", "")),
        }
    except (DecodeError, StatusError):
        return {}
    except Exception:  # pydicom raises exceptions of many kinds while it decodes
        return {}


class Lines:
    """Shows events as lines for people, and tells of instances in the order that people expect."""

    def __init__(self, output: Output, folder: Path, keep: int) -> None:
        """Keep where lines go, and what the first one says."""
        self._output = output
        self._folder = folder
        self._keep = keep
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._open: dict[str, int] = {}

    def tell(self, event: Mapping[str, Any]) -> None:
        """Print an event of the inbox itself."""
        self._output.event(**event)
        with self._changed:
            if Status(event["status"]).category != "failure":
                self._open[event["peer"]] = self._open.get(event["peer"], 0) + 1
        self._print(event)

    def show(self, event: Mapping[str, Any]) -> None:
        """Print an event of the server."""
        if event["event"] in ("released", "aborted"):  # the server has a count for `Storage` alone
            event = {**event, "stored": self._open.get(event["peer"], 0)}
        self._output.event(**event)
        self._print(event)
        with self._changed:
            if event["event"] == "negotiated":
                self._open[event["peer"]] = 0
                self._changed.notify_all()
            elif event["event"] in ("released", "aborted", "error"):
                self._open.pop(event.get("peer", ""), None)

    def await_association(self, host: str, port: int) -> None:
        """Wait until the association of an instance was shown: events come from another thread."""
        where = log.where(host, port)
        with self._changed:
            self._changed.wait_for(lambda: where in self._open, _PATIENCE)

    def _print(self, event: Mapping[str, Any]) -> None:
        text = self._text(event)
        line = f"{datetime.now():%H:%M:%S}  {visible(text)}"
        with self._lock:
            self._output.data(line)

    def _text(self, event: Mapping[str, Any]) -> str:
        match event["event"]:
            case "listening":
                where = log.where(event["host"], event["port"])
                return f"listening on {where}; the last {self._keep} are kept in {self._folder}"
            case "negotiated":
                return f"{_who(event)} -> {event['called']}: {_contexts(event['contexts'])}"
            case "received":
                return _instance(event)
            case "rejected":
                codes = f"({event['result']},{event['source']},{event['reason']})"
                return f"{_who(event)} -> {event['called']} rejected {codes}: {event['why']}"
            case "denied":
                return f"{_who(event)} denied: {event['service']} {_name(event['class'])}"
            case "released" | "aborted" as how:
                return f"{_who(event)} {how}, {event['stored']} instances"
            case "error":
                return f"{_who(event)} {event['code']}: {event['message']}"
            case _:
                return f"{event['event']} {event.get('count', '')}".rstrip()


def _who(event: Mapping[str, Any]) -> str:
    return "@".join(filter(None, (event.get("calling"), event.get("peer"))))


def _name(uid: str) -> str:
    return SOPClass.of(uid).name or uid


def _contexts(contexts: list[Mapping[str, Any]]) -> str:
    """Name contexts, each class once; those that were refused with the reason."""
    named = dict.fromkeys(
        f"{_name(one['class'])} ({TransferSyntax.of(one['syntax']).name or one['syntax']})"
        if one["syntax"]
        else f"{_name(one['class'])} ({one['result']})"
        for one in contexts
    )
    shown = list(named)[:_SHOWN]
    more = len(named) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _instance(event: Mapping[str, Any]) -> str:
    status = Status(event["status"], "storage")
    patient = ""
    if "patient_name" in event:
        patient = f"  {event['patient_name']} [{event['patient_id']}]"
    return (
        f"#{event['number']}  {_name(event['class'])}  {event['uid']}  {size_text(event['bytes'])}"
        f"  {status:04X}{'' if status == 0 else f' {status.meaning}'}{patient}"
    )
