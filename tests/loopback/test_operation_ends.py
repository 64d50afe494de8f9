"""Every operation ends in exactly one final response or an abort, whatever fails on the way."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    AssociationError,
    AsyncServer,
    Context,
    CTImageStorage,
    ImplicitVRLittleEndian,
    ModalityPerformedProcedureStep,
    MRImageStorage,
    Server,
    StatusError,
    StudyRoot,
    Timeouts,
    TransportError,
    Verification,
    _core,
    datasets,
    errors,
    log,
)
from dimse_rs.dimse import retrieve as _retrieve, scp as _scp
from dimse_rs.dimse.steps import Run
from dimse_rs.perform import performer
from tests.support import wire
from tests.support.nodes import CT, MR_IMPLICIT, PATIENT, SCU, at, scp

pytestmark = pytest.mark.slow

MPPS = ModalityPerformedProcedureStep
KEYS = {"StudyInstanceUID": "1.2.3"}
OF_MPPS = {"sop_class": MPPS, "instance_uid": "1.2.3"}
SOON = 10.0
PARTS = 2  # of what would take long in one

# One of each class of the tree, what the system and libraries raise, and what nobody expects.
FAULTS = [
    errors.DimseError("a fault"),
    errors.AssociationError("a fault"),
    errors.AssociationRejected(1, 1, 3),
    errors.AssociationAborted(0),
    errors.AssociationReleased(),
    errors.NoPresentationContext("1.2.3"),
    errors.TransportError("a fault"),
    errors.ConnectFailed("a fault"),
    errors.ConnectionLost("a fault"),
    errors.TlsError("a fault"),
    errors.DimseTimeout("write", 1.0),
    errors.ProtocolError("a fault"),
    errors.LocalProtocolError("a fault"),
    errors.RemoteProtocolError("a fault"),
    errors.DecodeError("a fault", 7, "PS3.5 7.1"),
    errors.LimitExceeded("elements", 1),
    errors.SendingCancelled(),
    StatusError(0xA700, "a fault"),
    OSError("a fault"),
    ValueError("a fault"),
    TimeoutError("a fault"),
    MemoryError(),
    RuntimeError("a fault that is unknown"),
    KeyboardInterrupt(),
    SystemExit(3),
]


def test_the_faults_are_the_whole_tree():
    def below(kind: type[BaseException]) -> Iterator[type[BaseException]]:
        yield kind
        for one in kind.__subclasses__():
            if one.__module__ == errors.__name__:
                yield from below(one)

    assert set(below(errors.DimseError)) <= {type(fault) for fault in FAULTS}


# ---- the two servers, with a handler for everything


def a_match() -> Dataset:
    found = Dataset()
    found.PatientID = "1"
    return found


def plain_handlers(server: Server | AsyncServer) -> None:
    server.c_echo(lambda request: None)
    server.c_store(CTImageStorage)(lambda request: None)
    for add in (server.n_event_report, server.n_get, server.n_set, server.n_action):
        add(MPPS)(lambda request: a_match())
    server.n_create(MPPS)(lambda request: a_match())
    server.n_delete(MPPS)(lambda request: None)

    @server.c_find(StudyRoot)
    def find(request):
        yield a_match()

    @server.c_get(StudyRoot)
    @server.c_move(StudyRoot)
    def retrieve(request):
        yield CT
        yield MR_IMPLICIT
        yield pydicom_instance()


def async_handlers(server: AsyncServer) -> None:
    async def nothing(request):
        await asyncio.sleep(0)

    async def attributes(request):
        return a_match()

    server.c_echo(nothing)
    server.c_store(CTImageStorage)(nothing)
    for add in (server.n_event_report, server.n_get, server.n_set, server.n_action):
        add(MPPS)(attributes)
    server.n_create(MPPS)(attributes)
    server.n_delete(MPPS)(nothing)

    @server.c_find(StudyRoot)
    async def find(request):
        await asyncio.sleep(0)
        yield a_match()

    @server.c_get(StudyRoot)
    @server.c_move(StudyRoot)
    async def retrieve(request):
        yield CT
        yield MR_IMPLICIT
        yield pydicom_instance()


def pydicom_instance() -> Dataset:
    from pydicom import dcmread

    return dcmread(CT)


@contextlib.contextmanager
def blocking(**options) -> Iterator[Server]:
    server = scp(**options)
    plain_handlers(server)
    with server:
        yield server


@contextlib.contextmanager
def on_a_loop(**options) -> Iterator[AsyncServer]:
    server = AsyncServer(AE("SCP", timeouts=PATIENT), port=0, **options)
    async_handlers(server)
    with running(server):
        yield server


@contextlib.contextmanager
def running(server: AsyncServer) -> Iterator[None]:
    """Run an asyncio server, its loop on a thread."""
    started = threading.Event()
    over: list[asyncio.Event] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def main():
        loops.append(asyncio.get_running_loop())
        over.append(asyncio.Event())
        async with server:
            started.set()
            await over[0].wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert started.wait(SOON)
    try:
        yield
    finally:
        loops[0].call_soon_threadsafe(over[0].set)
        thread.join(SOON)
        assert not thread.is_alive()


SERVERS = {"blocking": blocking, "asyncio": on_a_loop}


@pytest.fixture(params=SERVERS)
def server(request, tmp_path):
    """Give a server of either sort whose C-MOVEs go to a sink."""
    with (
        scp(tmp_path) as sink,
        SERVERS[request.param](destinations={"SCP": f"127.0.0.1:{sink.port}"}) as server,
    ):
        yield server


@pytest.fixture(autouse=True)
def _quiet():
    """Tens of thousands of tracebacks are of no use to anybody."""
    logging.getLogger("dimse_rs").setLevel(logging.CRITICAL + 1)


# ---- the one who asks


CONTEXTS = [
    Context(Verification),
    Context(CTImageStorage, scu=True),
    Context(CTImageStorage, [ImplicitVRLittleEndian], scp=True, scu=False),
    Context(MRImageStorage, scp=True, scu=False),
    *StudyRoot,
    Context(MPPS, scu=True, scp=True),
]

CALLS = {
    "C-ECHO": lambda a: a.c_echo(),
    "C-STORE": lambda a: a.c_store(CT),
    "C-FIND": lambda a: list(a.c_find(KEYS, model=StudyRoot, level="STUDY")),
    "C-GET": lambda a: list(a.c_get(KEYS, model=StudyRoot, level="STUDY", into=lambda _: None)),
    "C-MOVE": lambda a: list(a.c_move(KEYS, model=StudyRoot, level="STUDY", destination="SCP")),
    "N-EVENT-REPORT": lambda a: a.n_event_report(1, {"PatientID": "1"}, **OF_MPPS),
    "N-GET": lambda a: a.n_get(**OF_MPPS),
    "N-SET": lambda a: a.n_set({"PatientID": "1"}, **OF_MPPS),
    "N-ACTION": lambda a: a.n_action(1, {"PatientID": "1"}, **OF_MPPS),
    "N-CREATE": lambda a: a.n_create({"PatientID": "1"}, **OF_MPPS),
    "N-DELETE": lambda a: a.n_delete(**OF_MPPS),
}


class Asking:
    """A peer that asks again and again, over a new association when one was aborted."""

    def __init__(self, server):
        self._server = server
        self._association = None

    def ask(self, call) -> str:
        """Ask, and see that the operation ended in one final response, or an abort."""
        if self._association is None or not self._association.is_established:
            self._association = SCU.associate(at(self._server), contexts=CONTEXTS)
        try:
            call(self._association)
        except StatusError as error:
            return f"{error.status:04X}"
        except (AssociationError, TransportError):
            assert not self._association.is_established
            return "abort"
        return "0000"

    def close(self) -> None:
        """A second response to anything would have aborted it: see that it has not."""
        if self._association is not None and self._association.is_established:
            self._association.release()


@pytest.fixture
def asking(server):
    asking = Asking(server)
    yield asking
    asking.close()


# ---- each step


@dataclass
class Plan:
    """Which step fails, and how; none while `at` is 0."""

    fault: BaseException
    at: int
    after: bool
    steps: int = 0

    @property
    def happened(self) -> bool:
        return self.steps >= self.at


def faulty(steps, plan):
    """Pass steps on, and let one fail, in place of what it does or once that is done."""
    outcome = failure = None
    while True:
        try:
            step = steps.send(outcome) if failure is None else steps.throw(failure)
        except StopIteration as stop:
            return stop.value
        outcome = failure = None
        plan.steps += 1
        fails = plan.steps == plan.at
        if isinstance(step, Run):
            step.steps = faulty(step.steps, plan)
        if not fails or plan.after:
            try:
                outcome = yield step
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as error:
                failure = error
        if fails:
            failure = plan.fault


@pytest.mark.parametrize("after", [False, True], ids=["in place of it", "after it"])
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("service", CALLS)
def test_an_operation_ends_whichever_step_fails(service, part, after, server, asking, monkeypatch):
    real = performer.Performer.steps
    plan = Plan(FAULTS[0], 0, after)
    monkeypatch.setattr(
        performer.Performer,
        "steps",
        lambda self, operation: faulty(real(self, operation), plan),
    )
    assert asking.ask(CALLS[service]) in ("0000", "B000")
    outcomes = set()
    for fault in FAULTS[part::PARTS]:
        at = 1
        while True:
            plan = Plan(fault, at, after)
            outcomes.add(asking.ask(CALLS[service]))
            if not plan.happened:
                break
            at += 1
        assert at > 2, "no step failed"
    assert outcomes != {"0000"}


# ---- each call


OF_EACH = ("C-ECHO", "C-FIND", "C-GET", "N-GET")  # one of each way to be answered
OF_MANY = ("C-GET", "C-MOVE")
LIBRARY = {
    "the request": (performer, "request_of", OF_EACH),
    "the pair of classes": (performer, "allows", OF_EACH),
    "the log of a message": (performer, "log_message", OF_EACH),
    "a record": (log, "of", OF_EACH),
    "a response": (_scp, "response", OF_EACH),
    "the status": (_scp, "is_defined", OF_EACH),
    "the association": (Server, "association_of", OF_EACH),
    "the destination": (Server, "dial", ("C-MOVE",)),
    "a look at a file": (_core, "probe", OF_MANY),
    "the plan": (_retrieve, "plan", ("C-MOVE",)),
    "the facts of a file": (_retrieve, "FileInfo", ("C-MOVE",)),
    "encoding": (datasets, "to_bytes", (*OF_MANY, "C-FIND", "N-GET")),
    "converting": (datasets, "convert", ("C-GET",)),
    "writing": (datasets, "write", OF_MANY),
}
CASES = [(call, service) for call, (*_, services) in LIBRARY.items() for service in services]


@pytest.mark.parametrize(("call", "service"), CASES)
def test_an_operation_ends_whichever_library_fails(call, service, server, asking, monkeypatch):
    """Of the second and later calls too: the first may be made where the others are not."""
    holder, name, _ = LIBRARY[call]
    real = getattr(holder, name)
    state = {"left": 0, "fault": FAULTS[0], "active": False}

    def failing(*args, **options):
        if state["active"] and not in_the_test():
            state["left"] -= 1
            if state["left"] < 0:
                raise state["fault"]
        return real(*args, **options)

    def in_the_test() -> bool:
        return threading.current_thread() is threading.main_thread()

    monkeypatch.setattr(holder, name, failing)
    for fault in FAULTS:
        for passed in (0, 1):
            state.update(left=passed, fault=fault, active=True)
            asking.ask(CALLS[service])
            state["active"] = False


# ---- handlers' generators are closed as soon as the peer goes


class Waiting:
    """A generator handler that has given one match, and waits; it knows when it was closed."""

    def __init__(self):
        self.waits = threading.Event()
        self.closed = threading.Event()

    async def asynchronous(self, request):
        try:
            yield a_match()
            self.waits.set()
            await asyncio.sleep(3600)
            yield a_match()
        finally:
            await asyncio.sleep(0)  # cleaning up may wait, too
            self.closed.set()

    def plain(self, request):
        try:
            yield a_match()
            self.waits.set()
            while not request.cancelled:
                yield a_match()
        finally:
            self.closed.set()


GOING = {
    "aborts": lambda association, results: association.abort(),
    "cancels": lambda association, results: results.cancel(),
    "leaves": lambda association, results: results.close(),
}


LEAVING = [
    (service, way)
    for service in ("c_find", "c_get", "c_move")
    for way in GOING
    if service == "c_find" or way != "leaves"  # the others' first response is their last
]


@pytest.mark.parametrize("kind", ["asynchronous", "plain"])
@pytest.mark.parametrize(("service", "way"), LEAVING)
@pytest.mark.usefixtures("_no_garbage")
def test_a_generator_is_closed_as_soon_as_the_peer_goes(service, kind, way):
    handler = Waiting()
    server = AsyncServer(AE("SCP", timeouts=PATIENT), port=0, destinations={"SCP": "127.0.0.1:1"})
    getattr(server, service)(StudyRoot)(getattr(handler, kind))
    with running(server):
        association = SCU.associate(at(server), contexts=CONTEXTS)
        more = {"destination": "SCP"} if service == "c_move" else {}
        results = getattr(association, service)(KEYS, model=StudyRoot, level="STUDY", **more)
        asking = threading.Thread(target=lambda: drained(results), daemon=True)
        if way == "leaves":  # by who has asked
            next(results)
        else:
            asking.start()
        assert handler.waits.wait(SOON)
        GOING[way](association, results)
        assert handler.closed.wait(SOON)
        association.abort()


@pytest.mark.parametrize("kind", ["asynchronous", "plain"])
@pytest.mark.usefixtures("_no_garbage")
def test_a_generator_is_closed_as_soon_as_the_connection_is_lost(kind):
    handler = Waiting()
    server = AsyncServer(AE("SCP", timeouts=PATIENT), port=0)
    server.c_find(StudyRoot)(getattr(handler, kind))
    with running(server):
        with socket.create_connection(("127.0.0.1", server.port)) as peer:
            user, context = wire.user_information(), wire.context(3, wire.STUDY_ROOT_FIND)
            application = wire.item(0x10, wire.APPLICATION_CONTEXT)
            peer.sendall(wire.associate_rq(b"SCP", application, context, user))
            assert peer.recv(1)
            identifier = b"\x10\0\x20\0" + bytes(4)
            peer.sendall(wire.as_commands(3, wire.find_rq()) + wire.as_data(3, identifier))
            assert handler.waits.wait(SOON)
        assert handler.closed.wait(SOON)


def drained(results) -> None:
    with contextlib.suppress(errors.DimseError):
        for _ in results:
            pass


@pytest.fixture
def _no_garbage():
    """A generator that is only closed as garbage is not closed here."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_generator_that_is_closed_late_is_closed_where_it_runs():
    """A plain one, still running on a thread when the deadline of handlers has passed."""
    go_on, closed = threading.Event(), threading.Event()
    server = AsyncServer(AE("SCP", timeouts=Timeouts(handler=0.2)), port=0)

    @server.c_find(StudyRoot)
    def find(request):
        try:
            go_on.wait(SOON)
            yield a_match()
            yield a_match()
        finally:
            closed.set()

    with running(server), SCU.associate(at(server), contexts=CONTEXTS) as association:
        with pytest.raises(StatusError, match="timed out"):
            CALLS["C-FIND"](association)
        assert not closed.is_set()
        go_on.set()
        assert closed.wait(SOON)


def test_a_match_that_is_waited_for_ends_with_the_cancel():
    """The final response says so."""
    handler = Waiting()
    server = AsyncServer(AE("SCP", timeouts=PATIENT), port=0)
    server.c_find(StudyRoot)(handler.asynchronous)
    with running(server), SCU.associate(at(server), contexts=CONTEXTS) as association:
        results = association.c_find(KEYS, model=StudyRoot, level="STUDY")
        assert next(results).PatientID == "1"
        assert handler.waits.wait(SOON)
        results.cancel()
        assert list(results) == []
        assert results.status == 0xFE00
