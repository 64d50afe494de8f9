"""Our own server as a process that can be watched: it prints what it logs, as lines of JSON.

usage: ours.py KIND CALLED FOLDER TIMEOUTS    TIMEOUTS: JSON, as in `Timeouts`

The first line is {"event": "listening", "port": N}; it serves until it is terminated. At SIGUSR1 it
prints {"event": "tasks", "tasks": N, "panics": N}: how many of its core are alive, and how often
that failed. KIND is what a case `needs`, or plain, or hasty where timeouts are short, or quiet; the
last two do not log messages and PDUs.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pydicom import Dataset

from dimse_rs import (
    AE,
    ActionRequest,
    AttributesRequest,
    Commitment,
    FindRequest,
    Index,
    InstanceAvailability,
    Limits,
    Mpps,
    Printer,
    Proposal,
    QueryRetrieve,
    RetrieveRequest,
    Schedule,
    SecondaryCaptureImageStorage,
    Server,
    StatusError,
    Storage,
    StudyRoot,
    Timeouts,
    _core,
)

SILENT = 32
"""Connections of one address that may be silent at once."""
INSTANCE = 16 << 20
"""Longest instance in bytes that it takes, unless it is there for enormous ones."""
DATASET = 1 << 20
"""The same of data sets that are kept in memory."""
ELEMENTS = 20_000
"""Elements and items of a data set that its ready-made services take."""
STEP = "1.2.3.9"
"""A performed procedure step in progress."""
PATIENTS = 2_000
"""Those whom the index of the ready-made services knows."""
HANGS = 60.0
"""Seconds of a handler that does not heed its deadline: longer than any case."""
ACSE = 2.0
"""Seconds for who decides on a proposal."""


def say(**what: object) -> None:
    """Print a line of JSON, whole."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Lines(logging.Handler):
    """Prints each record as a line of JSON."""

    def emit(self, record: logging.LogRecord) -> None:
        facts = {name: getattr(record, name, "") for name in ("event", "code", "association")}
        say(**facts, level=record.levelno, text=record.getMessage())


def find(request: FindRequest) -> Iterator[Dataset | int]:
    """Do what the query names: fail, hang, answer nonsense, wait, or never come to an end."""
    list(request.identifier.iterall())
    match request.identifier.get("PatientID"):
        case "raises":
            raise RuntimeError("a handler of the user's")
        case "hangs":
            threading.Event().wait(HANGS)
        case "nonsense":
            yield 0xDEAD
        case "wait":
            while not request.cancelled:
                threading.Event().wait(0.005)
        case "endless":
            match_ = Dataset()
            match_.PatientComments = "1" * 10_000
            while not request.cancelled:
                yield match_
        case "nobody":
            return
        case _:
            yield request.identifier


def retrieve(request: RetrieveRequest) -> list[Path]:
    """Have nothing for anybody."""
    list(request.identifier.iterall())
    return []


def attributes(request: AttributesRequest) -> None:
    """Know no printer."""
    raise StatusError(0x0112)


def act(request: ActionRequest) -> int:
    """Know one action, and no printer to do it; fail at others."""
    match request.action_type:
        case 1:
            raise StatusError(0x0112)
        case 66:
            raise RuntimeError("a handler of the user's")
        case 67:
            return 0xDEAD
    raise StatusError(0x0123)


def accept(proposal: Proposal) -> bool:
    """Do what the calling AE title says."""
    if proposal.calling == "RAISES":
        raise RuntimeError("a predicate of the user's")
    if proposal.calling == "HANGS":
        threading.Event().wait(HANGS)
    return True


def ready_made(ae: AE) -> Server:
    """Make a server of ready-made services, with `PATIENTS` patients of one instance each."""
    index = Index()
    for number in range(PATIENTS):
        instance = Dataset()
        instance.PatientID, instance.PatientName = str(number), f"Nobody^{number}"
        instance.StudyInstanceUID = f"1.2.3.{number}"
        instance.SeriesInstanceUID = f"1.2.3.{number}.1"
        instance.SOPInstanceUID = f"1.2.3.{number}.1.1"
        instance.SOPClassUID = SecondaryCaptureImageStorage
        index.add(f"/nowhere/{number}", instance)
    item = Dataset()
    item.PatientID, item.PatientName = "1", "Nobody^1"
    item.ScheduledProcedureStepSequence = [Dataset()]
    step = Dataset()
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    return Server(
        ae,
        port=0,
        services=[
            QueryRetrieve(index),
            Schedule([item]),
            Mpps({STEP: step}),
            Commitment(lambda _class, _instance: True),
            InstanceAvailability(lambda uid, notice: None),
        ],
        destinations={"STORE": ("127.0.0.1", 1)},
    )


def server(kind: str, called: str, folder: Path, timeouts: dict[str, float]) -> Server:
    """Make the server of a kind."""
    # Fewer than by default may be silent, so that crowds of 40 are too many.
    limits = Limits(max_pending_per_address=SILENT)
    if kind != "enormous":
        limits = replace(limits, instance=INSTANCE, dataset=DATASET)
    ae = AE(called, timeouts=Timeouts(**timeouts, acse=ACSE), limits=limits)
    if kind == "ready":
        return ready_made(replace(ae, limits=replace(limits, elements=ELEMENTS)))
    made = Server(
        ae,
        port=0,
        services=[
            Storage(folder, mode="fast", layout="study" if kind == "study" else "flat"),
            Mpps(),
            Commitment(lambda _class, _instance: True),
        ],
        calling=["PROBE"] if kind == "calling" else None,
        accept=accept if kind == "accept" else None,
        verify_identity=(lambda _: False) if kind == "accept" else None,
        max_associations=1 if kind == "full" else None,
        max_handlers=80,
    )
    made.c_find(StudyRoot)(find)
    made.c_get(StudyRoot)(retrieve)
    made.c_move(StudyRoot)(retrieve)
    made.n_get(Printer)(attributes)
    made.n_action(Printer)(act)
    return made


def main() -> None:
    """Serve until told to stop."""
    kind, called, folder, timeouts = sys.argv[1:]
    logger = logging.getLogger("dimse_rs")
    logger.addHandler(Lines())
    logger.setLevel(logging.INFO if kind in ("hasty", "quiet", "enormous") else logging.DEBUG)
    logging.getLogger("dimse_rs.server").setLevel(logging.DEBUG)
    # Before there are threads, as they inherit it. A handler could come just before we wait again.
    signals = {signal.SIGTERM, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with server(kind, called, Path(folder), json.loads(timeouts)) as running:
        say(event="listening", port=running.port)
        while signal.sigwait(signals) == signal.SIGUSR1:
            say(event="tasks", tasks=_core.alive_tasks(), panics=_core.panics())


if __name__ == "__main__":
    main()
