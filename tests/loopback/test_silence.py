"""No value of a data set comes out: not in logs at any level, output, warnings, or errors' texts.

Each service is run in both roles, blocking and on an event loop, with data sets that have one
marked value each (`tests.data.marked`); then everything that came out is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    AsyncServer,
    Commitment,
    CommitmentReports,
    Context,
    CTImageStorage,
    Handlers,
    Index,
    InstanceAvailability,
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
    ModalityWorklist,
    Mpps,
    PatientRoot,
    Printer,
    QueryRetrieve,
    Schedule,
    Server,
    Storage,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRoot,
    Timeouts,
    WithoutBulkData,
    for_retrieve,
    log,
)
from dimse_rs.datasets import from_bytes
from dimse_rs.sop_class import ExplicitVRLittleEndian
from tests.data.marked import MARK, data_sets, element, marked
from tests.mutants.wires import Peer
from tests.support import wire
from tests.support.nodes import PATIENT, at

pytestmark = pytest.mark.slow

CLIENT = AE("SCU", timeouts=PATIENT)
INSTANCE = {"sop_class": Printer, "instance_uid": "1.2.3.4"}
QUERY_CLASSES = (PatientRoot, StudyRoot, ModalityWorklist)
MPPS_BASE = {
    0x00080060: ("CS", b"CT"),
    0x00400241: ("AE", b"CT1"),
    0x00400244: ("DA", b"20240101"),
    0x00400245: ("TM", b"10"),
    0x00400252: ("CS", b"IN PROGRESS"),
    0x00400253: ("SH", b"1"),
    0x00400270: ("SQ", b"\xfe\xff\x00\xe0\x0e\0\0\0" + element(0x0020000D, "UI", b"1.2.3\0")),
}
STORED = {
    0x00080016: ("UI", CTImageStorage.encode()),
    0x0020000D: ("UI", b"1.2.3"),
    0x0020000E: ("UI", b"1.2.3.4"),
}


class Ears(logging.Handler):
    """Keeps every record, as a user's most curious handler would write it."""

    def __init__(self) -> None:
        super().__init__(0)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(code)s"))

    def emit(self, record: logging.LogRecord) -> None:
        record.__dict__.setdefault("code", "")
        kept = {name: value for name, value in vars(record).items() if name != "exc_info"}
        self.lines.append(self.format(record) + repr(kept))


@contextlib.contextmanager
def listening(capfd: Any) -> Iterator[Ears]:
    """Hear everything at every level; afterwards nothing of it has the mark."""
    names = [None, "dimse_rs", "pydicom", "asyncio", "py.warnings"]
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    ears = Ears()
    loggers[0].addHandler(ears)
    for logger in loggers:
        logger.setLevel(log.TRACE)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield ears
    finally:
        loggers[0].removeHandler(ears)
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
    out = capfd.readouterr()
    said = [*ears.lines, *(str(one.message) for one in warned), out.out, out.err]
    assert [around_mark(text) for text in said if MARK.casefold() in text.casefold()][:5] == []
    assert remembered() == []


def around_mark(text: str) -> str:
    at = text.casefold().index(MARK.casefold())
    return text[max(0, at - 300) : at + 30]


def remembered() -> list[str]:
    """Give what Python's warnings have kept of texts with the mark."""
    import sys

    found = []
    for module in list(sys.modules.values()):
        for key in getattr(module, "__warningregistry__", None) or ():
            found += [str(key)] if MARK in str(key) else []
    return found


def quietly(call: Any, *arguments: Any, **options: Any) -> None:
    """Make a call, whatever comes of it, and look at the error as logs would show it."""
    try:
        outcome = call(*arguments, **options)
        if hasattr(outcome, "__next__"):
            list(outcome)
    except Exception as error:
        look_at(error)


def look_at(error: BaseException | None) -> None:
    """Look at what an error says, and all that it is chained to."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        texts = [str(one), repr(one), *getattr(one, "__notes__", ())]
        texts += [str(getattr(one, name, "")) for name in ("message", "hint", "comment")]
        assert [text for text in texts if MARK in text] == []
        waiting += [one.__cause__, one.__context__]
    lines = traceback.format_exception(error)
    # Lines of source code are ours; the mark is in none of them.
    assert [line for line in lines if MARK in line] == []


def read_all(request: Any) -> Any:
    """Read everything of a request, as a handler that trusts its peers does."""
    dataset = getattr(request, "identifier", None) or request.dataset
    return str(dataset)


def stocked(tmp_path: Any) -> Index:
    """Make an index of instances with marked values."""
    index = Index("SCP")
    for number, (_, dataset) in enumerate(data_sets(STORED)):
        if 0x00080018 not in dataset:
            dataset.SOPInstanceUID = f"1.2.3.4.{number}"
        quietly(index.add, tmp_path / f"{number}.dcm", dataset)
    quietly(index.add_folder, tmp_path)
    return index


def services(tmp_path: Any) -> list[Any]:
    """Make every service, over what is marked."""
    items = [dataset for _, dataset in data_sets({0x00400100: ("SQ", b"")})]
    return [
        QueryRetrieve(stocked(tmp_path), pending=0.0),
        Schedule(items),
        Storage(tmp_path, mode="fast"),
        Mpps(on_change=lambda uid, step, event: str(step)),
        Commitment(lambda sop_class, uid: True),
        CommitmentReports(lambda report: None),
        InstanceAvailability(lambda uid, notice: str(notice)),
    ]


def contexts() -> list[Any]:
    return [
        *for_retrieve(PatientRoot)[:3],
        *(Context(sop_class.find, ExplicitVRLittleEndian) for sop_class in QUERY_CLASSES),
        Context(WithoutBulkData.get, ExplicitVRLittleEndian),
        *(Context(StudyRoot.get, ExplicitVRLittleEndian), Context(StudyRoot.move)),
        Context(CTImageStorage, ExplicitVRLittleEndian, scu=True, scp=True),
        ModalityPerformedProcedureStep,
        InstanceAvailabilityNotification,
        Context(StorageCommitmentPushModel, scu=True, scp=True),
        Context(Printer, ExplicitVRLittleEndian, scu=True, scp=True),
    ]


def ask_everything(association: Any, dataset: Dataset, tmp_path: Any) -> None:
    """Call every service with one data set, and with its values as keywords."""
    for model in QUERY_CLASSES:
        level = None if model is ModalityWorklist else "IMAGE"
        quietly(association.c_find, dataset, model=model, level=level)
        quietly(association.c_find, dataset, model=model, level=level, raw=True)
    quietly(association.c_get, dataset, model=StudyRoot, level="IMAGE", into=tmp_path)
    bulk = {"model": WithoutBulkData, "level": "IMAGE", "into": tmp_path}
    quietly(association.c_get, dataset, **bulk)
    quietly(association.c_move, dataset, model=StudyRoot, level="IMAGE", destination="THERE")
    quietly(association.c_store, dataset)
    commitment = {
        "sop_class": StorageCommitmentPushModel,
        "instance_uid": StorageCommitmentPushModelInstance,
    }
    for keywords in (INSTANCE, commitment):
        quietly(association.n_action, 1, dataset, **keywords)
        quietly(association.n_event_report, 1, dataset, **keywords)
    quietly(association.n_set, dataset, **INSTANCE)
    quietly(association.n_get, [], **INSTANCE)
    for sop_class in (ModalityPerformedProcedureStep, InstanceAvailabilityNotification):
        quietly(association.n_create, dataset, sop_class=sop_class, instance_uid="1.2.3.9")
    step = {"sop_class": ModalityPerformedProcedureStep, "instance_uid": "1.2.3.9"}
    quietly(association.n_set, dataset, **step)


@pytest.mark.parametrize("half", [0, 1])
def test_ready_made_services_tell_no_values(half, tmp_path, capfd):
    with listening(capfd):
        options: dict[str, Any] = {"destinations": {"THERE": "127.0.0.1:1"}}
        ae = AE("SCP", timeouts=Timeouts(connect=2))
        server = Server(ae, port=0, services=services(tmp_path), **options)
        with server, CLIENT.associate(at(server), contexts=contexts()) as association:
            for _, dataset in [*data_sets()][half::2]:
                ask_everything(association, dataset, tmp_path)
            for _, dataset in [*data_sets(MPPS_BASE)][half::2]:
                step = {"sop_class": ModalityPerformedProcedureStep, "instance_uid": "1.2.3.9"}
                quietly(association.n_create, dataset, **step)
                quietly(association.n_set, dataset, **step)


def misbehaving(server: Any) -> None:
    """Have handlers read everything, and give marked data sets back, good and bad ones."""
    answers = [dataset for _, dataset in data_sets({})]
    turn = iter(range(10**9))

    def one(request: Any) -> Any:
        read_all(request)
        return answers[next(turn) % len(answers)]

    @server.c_find(*QUERY_CLASSES)
    def find(request: Any) -> Iterator[Dataset]:
        yield one(request)

    for name in ("c_get", "c_move"):
        getattr(server, name)(StudyRoot)(lambda request: [one(request)])
    server.c_store(lambda request: read_all(request) and 0)
    for name in ("n_set", "n_action"):
        getattr(server, name)(Printer)(one)
    server.n_get(Printer)(lambda request: answers[next(turn) % len(answers)])
    server.n_create(one)
    server.n_event_report(one)


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("performer", [Server, AsyncServer])
def test_handlers_and_what_they_give_tell_no_values(performer, half, tmp_path, capfd):
    handlers = Handlers()
    handlers.n_event_report(lambda request: read_all(request) and None)
    with listening(capfd):
        server = performer(AE("SCP", timeouts=PATIENT), port=0, destinations={"THERE": "h:1"})
        misbehaving(server)

        def ask() -> None:
            with CLIENT.associate(
                at(server), contexts=contexts(), handlers=handlers
            ) as association:
                for _, dataset in [*data_sets()][half::2]:
                    ask_everything(association, dataset, tmp_path)

        async def serve() -> None:
            async with server:
                await asyncio.to_thread(ask)

        if performer is AsyncServer:
            asyncio.run(serve())
        else:
            with server:
                ask()


def test_an_event_loop_asks_and_tells_no_values(tmp_path, capfd):
    with listening(capfd):
        server = Server(AE("SCP", timeouts=PATIENT), port=0)
        misbehaving(server)

        async def quietly_there(call: Any, *arguments: Any, **options: Any) -> None:
            try:
                outcome = call(*arguments, **options)
                if hasattr(outcome, "__anext__"):
                    async for _ in outcome:
                        pass
                else:
                    await outcome
            except Exception as error:
                look_at(error)

        async def main() -> None:
            link = CLIENT.associate_async(at(server), contexts=contexts())
            async with link as association:
                for _, dataset in data_sets():
                    query = {"model": StudyRoot, "level": "IMAGE"}
                    await quietly_there(association.c_find, dataset, **query)
                    await quietly_there(association.c_store, dataset)
                    await quietly_there(association.n_set, dataset, **INSTANCE)
                    await quietly_there(association.n_action, 1, dataset, **INSTANCE)

        with server:
            asyncio.run(main())


def test_keywords_with_values_that_cannot_be_tell_no_values(capfd):
    server = Server(AE("SCP", timeouts=PATIENT), port=0)
    server.c_find(StudyRoot)(lambda request: [])
    values = [
        {"Rows": MARK},
        {"PatientWeight": MARK},
        {"SeriesNumber": MARK},
        {"PatientName": [MARK, object()]},
        {"StudyDate": {MARK: 1}},
        {"ReferencedStudySequence": MARK},
        {"Modality": MARK + "é"},
        {"StudyInstanceUID": MARK + "é"},
        {"PatientID": MARK + "\udcff"},
        {"PatientSize": MARK * 3},
    ]
    client = CLIENT.associate
    with listening(capfd), server, client(at(server), contexts=[StudyRoot]) as association:
        for keys in values:
            quietly(association.c_find, keys, model=StudyRoot, level="STUDY")


def test_what_cannot_be_read_tells_no_values(tmp_path, capfd):
    from dimse_rs.datasets import convert, decode, read, write_encoded
    from dimse_rs.services.worklist import Worklist

    with listening(capfd):
        for number, (_, raw) in enumerate(marked()):
            path = tmp_path / f"{number}.wl"
            write_encoded(path, raw, ExplicitVRLittleEndian, CTImageStorage)
            quietly(read, path)
            quietly(convert, path, "1.2.840.10008.1.2")
            quietly(from_bytes, raw[:-3], ExplicitVRLittleEndian)
            quietly(from_bytes, raw, "1.2.840.10008.1.2")
            with contextlib.suppress(ValueError):
                quietly(decode, read(path))
        quietly(Worklist(tmp_path).items)


@pytest.mark.parametrize("tag", [0x00080016, 0x00080018])
def test_what_stands_in_place_of_a_uid_tells_no_values(tag, tmp_path, capfd):
    """A refusal names the UIDs that differ: what is none is not shown."""
    elements = STORED | {0x00080018: ("UI", b"1.2.3.4.5\0"), tag: ("UI", MARK.encode())}
    content = b"".join(element(at, *elements[at]) for at in sorted(elements))
    command = wire.store_rq(b"1.2.3.4.5", sop_class=CTImageStorage.encode())
    with listening(capfd), Server(AE("SCP"), port=0, services=[Storage(tmp_path)]) as server:
        events = server.events("refused", timeout=10.0)
        with Peer(
            server.port, [str(CTImageStorage)], str(ExplicitVRLittleEndian), scp=False
        ) as peer:
            answer = peer.ask(command, content, wire.C_STORE_RQ, 1)
        assert answer.status == 0xA900
        why = next(events)["why"]
    assert MARK not in why
    assert "what is no UID in the data set" in why
