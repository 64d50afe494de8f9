"""The Python boundary: what functions of the user do and keep hurts no server (J01, J04-J06)."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import re
import sys
import threading
import time
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    AssociationAborted,
    AssociationRejected,
    AsyncServer,
    CTImageStorage,
    DimseError,
    Printer,
    StatusError,
    StudyRoot,
    Timeouts,
    Username,
    Verification,
    _core,
)
from tests.data.files import data_set
from tests.data.generate import series
from tests.support import wire
from tests.support.nodes import CT, PATIENT, SCU, at, link, scp
from tests.support.process import Process
from tests.support.runner import Accepted, Answered, Peer, Target
from tests.support.scripted_scp import ScriptedScp

pytestmark = pytest.mark.slow  # waits, or counts long work

SOURCES = Path(__file__).parents[2] / "rust" / "dimse-py" / "src"
MODEL = {"model": StudyRoot, "level": "STUDY"}
EVERYTHING = [CTImageStorage, Printer, *StudyRoot, Verification]


class Theirs(BaseException):
    """What no `except Exception` catches."""


ODD = [Theirs("x"), GeneratorExit(), asyncio.CancelledError(), StopIteration(1), SystemExit(3)]
NAMES = [type(error).__name__ for error in ODD]


def match(text="1"):
    found = Dataset()
    found.PatientID = text
    return found


# ---- J01: what functions raise

ASK = {
    "c_store": lambda a: a.c_store(CT),
    "c_find": lambda a: list(a.c_find({"PatientID": ""}, **MODEL)),
    "c_get": lambda a: list(a.c_get({"PatientID": "1"}, **MODEL)),
    "n_get": lambda a: a.n_get(sop_class=Printer, instance_uid="1.2.3"),
}


def raising(server, service, error, how):
    """Add a handler that raises once, and then does as it should."""
    raised = []

    def plain(request):
        if not raised:
            raised.append(request)
            raise error
        return match() if service == "n_get" else None

    async def awaited(request):
        return plain(request)

    def generator(request):
        yield match()
        plain(request)

    async def stream(request):
        yield match()
        plain(request)

    handler = {"plain": plain, "async": awaited, "generator": generator, "stream": stream}[how]
    add = getattr(server, service)
    add(handler) if service == "c_store" else add(Printer if service == "n_get" else StudyRoot)(
        handler
    )


def check_served(address, service):
    """The request failed, the association lives, and the one thread there is serves the next."""
    with SCU.associate(address, contexts=EVERYTHING) as association:
        with pytest.raises(StatusError) as caught:
            ASK[service](association)
        assert caught.value.status == (0x0110 if service == "n_get" else 0xC000)
        assert caught.value.comment == "handler failed"
        ASK[service](association)
        assert association.c_echo() == 0


@pytest.mark.parametrize(
    ("service", "how"),
    [(service, "plain") for service in ASK] + [("c_find", "generator")],
)
@pytest.mark.parametrize("error", ODD, ids=NAMES)
def test_what_a_handler_raises_ends_no_thread(service, how, error, caplog):
    if how == "generator" and isinstance(error, (GeneratorExit, StopIteration)):
        error = Theirs("these end a generator")
    server = scp(max_handlers=1)
    raising(server, service, error, how)
    with server:
        check_served(at(server), service)
    assert [record.code for record in caplog.records if record.exc_info] == ["handler-failed"]


@pytest.mark.parametrize(
    ("service", "how"),
    [
        ("c_store", "plain"),
        ("c_store", "async"),
        ("n_get", "plain"),
        ("c_find", "generator"),
        ("c_find", "stream"),
    ],
)
@pytest.mark.parametrize("error", [ODD[0], *ODD[3:]], ids=[NAMES[0], *NAMES[3:]])
def test_what_a_handler_raises_ends_no_loop(service, how, error, caplog):
    async def main():
        server = AsyncServer(AE("SCP", timeouts=PATIENT), port=0, max_handlers=1)
        raising(server, service, error, how)
        async with server:
            await asyncio.to_thread(check_served, at(server), service)

    asyncio.run(main())
    assert [record.code for record in caplog.records if record.exc_info] == ["handler-failed"]


def test_a_handler_that_cancels_itself_is_answered_for():
    async def main():
        server = AsyncServer(AE("SCP", timeouts=PATIENT), port=0, max_handlers=1)

        @server.c_store
        async def store(request):
            asyncio.current_task().cancel()
            await asyncio.sleep(0)

        async with server, SCU.associate_async(at(server), contexts=CTImageStorage) as association:
            for _ in range(2):
                with pytest.raises(StatusError) as caught:
                    await association.c_store(CT)
                assert caught.value.status == 0xC000

    asyncio.run(main())


@pytest.mark.parametrize("hook", ["accept", "verify_identity"])
@pytest.mark.parametrize("error", ODD, ids=NAMES)
def test_what_decides_on_proposals_may_raise_anything(hook, error):
    raised = []

    def decide(proposal):
        if not raised:
            raised.append(proposal)
            raise error
        return True

    with scp(max_handlers=1, **{hook: decide}) as server:
        with pytest.raises(AssociationRejected):
            SCU.associate(at(server), identity=Username("x"))
        with SCU.associate(at(server), identity=Username("x")) as association:
            assert association.c_echo() == 0


def test_what_logs_may_raise_anything(caplog):
    class Broken:
        """A filter, which nothing guards as `Handler.handleError` does."""

        count = 0

        def filter(self, record):
            if threading.current_thread().name.startswith("dimse-worker"):
                self.count += 1
                raise Theirs("in a log")
            return True

    broken = Broken()
    server = scp(max_handlers=1)
    server.c_store(lambda request: 0xC000)
    caplog.handler.addFilter(broken)
    caplog.set_level("DEBUG", "dimse_rs")
    with link(server, [CTImageStorage, Verification]) as association:
        for _ in range(3):
            with pytest.raises(StatusError) as caught:
                association.c_store(CT)
            assert caught.value.comment == "handler failed"  # before it was asked
    assert broken.count >= 3
    caplog.handler.removeFilter(broken)


# ---- J01: handlers that do not come back, or keep the interpreter


@pytest.mark.slow
def test_a_handler_that_keeps_the_interpreter_does_not_keep_the_server():
    """C code may hold the GIL for as long as it likes: the core goes on without it."""
    held = 3  # seconds
    keep = ctypes.PyDLL(None).sleep  # without letting go of the interpreter
    server = scp()
    inside = threading.Event()

    @server.c_store
    def hold(request):
        inside.set()
        keep(held)

    # In a process of its own, which is not kept: how long echoes wait while nobody may run here.
    code = (
        "import sys, time\n"
        "from dimse_rs import AE\n"
        "with AE('SCU').associate(sys.argv[1]) as association:\n"
        "    association.c_echo()\n"
        "    print('ready', flush=True)\n"
        "    worst = 0.0\n"
        "    end = time.monotonic() + 2.5\n"
        "    while time.monotonic() < end:\n"
        "        begun = time.monotonic()\n"
        "        association.c_echo()\n"
        "        worst = max(worst, time.monotonic() - begun)\n"
        "    print('worst', worst, flush=True)\n"
    )
    with (
        server,
        SCU.associate(at(server), contexts=CTImageStorage) as association,
        Process([sys.executable, "-c", code, at(server)]) as child,
    ):
        child.wait_for_line(lambda line: line == "ready")
        call = threading.Thread(target=association.c_store, args=(CT,))
        call.start()
        assert inside.wait(10)
        worst = child.wait_for_line(lambda line: line.startswith("worst"))
        call.join(15)
        assert float(worst.split()[1]) < held / 2


def test_handlers_that_never_come_back_keep_no_loop():
    """Their threads are nobody's: others are called, and stopping does not wait for them."""
    forever = threading.Event()
    timeouts = Timeouts(handler=0.3)

    async def main():
        server = AsyncServer(AE("SCP", timeouts=timeouts), port=0, max_handlers=40)

        @server.c_store
        def store(request):
            forever.wait(60)

        async with server:
            # More than the default executor has threads.
            stuck = [
                await SCU.associate_async(at(server), contexts=[CTImageStorage, Verification])
                for _ in range(40)
            ]
            outcomes = await asyncio.gather(
                *(association.c_store(CT) for association in stuck), return_exceptions=True
            )
            assert {error.comment for error in outcomes} == {"handler timed out"}
            with pytest.raises(StatusError) as caught:
                await stuck[0].c_store(CT)
            assert (caught.value.status, caught.value.comment) == (0xA700, "no handler is free")
            forever.set()
            assert await stuck[0].c_echo() == 0
            for association in stuck:
                await association.release()

    try:
        asyncio.run(main())
    finally:
        forever.set()


# ---- J05: handlers that end what they are on


@pytest.mark.parametrize("service", ASK)
def test_a_handler_may_abort_its_own_association(service, caplog):
    server = scp()

    def handler(request):
        request.association.abort()

    add = getattr(server, service)
    add(handler) if service == "c_store" else add(Printer if service == "n_get" else StudyRoot)(
        handler
    )
    with server:
        association = SCU.associate(at(server), contexts=EVERYTHING)
        with pytest.raises(AssociationAborted):
            ASK[service](association)
        with SCU.associate(at(server)) as other:
            assert other.c_echo() == 0
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("how", ["plain", "generator"])
def test_a_handler_may_stop_its_own_server(how):
    server = scp()
    back = threading.Event()

    def plain(request):
        server.stop(grace=0.2)
        back.set()

    def generator(request):
        yield match()
        plain(request)

    server.c_find(StudyRoot)(generator if how == "generator" else plain)
    server.start()
    association = SCU.associate(at(server), contexts=StudyRoot)
    with pytest.raises(DimseError):
        list(association.c_find({"PatientID": ""}, **MODEL))
    assert back.wait(10)
    server.stop()
    server.wait()


def test_a_task_may_stop_its_own_server():
    async def main():
        server = AsyncServer(AE("SCP", timeouts=PATIENT), port=0)
        back = asyncio.Event()

        @server.c_store
        async def store(request):
            await server.stop(grace=0.2)
            back.set()

        await server.start()
        association = await SCU.associate_async(at(server), contexts=CTImageStorage)
        with pytest.raises(DimseError):
            await association.c_store(CT)
        await asyncio.wait_for(back.wait(), 10)
        await server.wait()

    asyncio.run(main())


# ---- J04: garbage


def test_finalizers_run_on_threads_of_pythons():
    """The core drops what Python gave it on threads of its own, which must not run Python."""
    ran = []

    class Bytes(bytes):
        def __del__(self):
            ran.append(threading.current_thread().name)
            ended.append(core.ended)  # a call of the core, from wherever this is

    ended = []
    server = scp()
    server.c_find(StudyRoot)(lambda request: None)
    with link(server, StudyRoot) as association:
        core = association._core
        [context] = [c.id for c in association.accepted if c.sop_class == StudyRoot.find]
        calls = 50
        for _ in range(calls):
            command = {
                "AffectedSOPClassUID": str(StudyRoot.find),
                "CommandField": 0x0020,
                "MessageID": core.next_message_id(),
                "Priority": 0,
            }
            data = Bytes(b"\x10\0\x20\0\0\0\0\0")
            invocation = core.invoke(_core.Message(context, command, data))
            del data
            assert invocation.next().status == 0
        deadline = time.monotonic() + 10
        while len(ran) < calls:
            assert time.monotonic() < deadline
            core.next_message_id()
            gc.collect()
    assert not [name for name in ran if name.startswith("Dummy")]  # as others are called
    assert ended == [None] * calls


def test_garbage_may_call_what_is_being_called():
    """A collection can come anywhere, and what it finds may call the very object in use."""

    class Cycle:
        def __init__(self, call):
            self.me, self.call = self, call

        def __del__(self):
            self.call()

    server = scp()
    seen = []

    @server.c_store
    def store(request):
        for _ in range(20):
            Cycle(lambda: seen.append(server.association_of(request.association._core)))

    threshold = gc.get_threshold()
    with link(server, [CTImageStorage, Verification]) as association:
        gc.set_threshold(1, 1, 1)
        try:
            for _ in range(10):
                Cycle(lambda: association.c_echo())
                association.c_store(CT)
        finally:
            gc.set_threshold(*threshold)
    gc.collect()
    assert len(seen) == 200


# ---- threads


def test_no_class_is_bound_to_a_thread():
    sources = list(SOURCES.glob("**/*.rs"))
    classes = [
        text for path in sources for text in re.findall(r"#\[pyclass[^]]*\]", path.read_text())
    ]
    assert len(classes) >= 13
    assert not [text for text in classes if "unsendable" in text]
    assert not [text for text in classes if "frozen" not in text]


def hammer(work, threads=8):
    """Run it on several threads; give what they raised."""
    failures = []

    def guarded():
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    running = [threading.Thread(target=guarded) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(25)
        assert not thread.is_alive()
    return failures


def test_threads_share_messages_and_events():
    server = scp(max_ops_performed=0)
    kept = []
    server.c_store(lambda request: kept.append(request))
    events = server.events("stored", "message", "ended")
    with link(server, [CTImageStorage, Verification], max_ops_invoked=8) as association:
        association.c_store(CT)
        [request] = kept
        message = request._operation.message
        data = bytes(request.data)

        def work():
            for _ in range(50):
                assert bytes(request.data) == data
                assert memoryview(request.data).nbytes == len(data)
                assert request.command["CommandField"] == 1
                assert message.name == "C-STORE-RQ"
                assert association.c_echo() == 0
                assert association.context(association.accepted[0].id)
                association.events("ended").close()
                repr(association), repr(request), association.is_established

        assert hammer(work) == []
    told = []
    assert hammer(lambda: told.extend(events)) == []
    assert len([event for event in told if event["event"] == "ended"]) == 1


@pytest.mark.slow
def test_threads_share_the_responses_of_a_query():
    count = 500
    server = scp()

    @server.c_find(StudyRoot)
    def find(request):
        for number in range(count):
            yield match(str(number))

    with link(server, [*StudyRoot, Verification]) as association:
        results = association.c_find({"PatientID": ""}, raw=True, **MODEL)
        given = []

        def work():
            while True:
                try:
                    given.append(bytes(next(results)))
                except StopIteration:
                    return
                except ValueError:
                    continue  # as any generator says that is at it for another thread

        assert hammer(work, 4) == []
        assert len(given) == len(set(given)) == count
        assert results.status == 0


def test_threads_may_end_what_others_use():
    for end in ("abort", "release", "stop"):
        server = scp()
        server.c_store(lambda request: None)
        with server:
            association = SCU.associate(at(server), contexts=[CTImageStorage, Verification])
            ready = threading.Barrier(9)

            def work(association=association, ready=ready):
                ready.wait(10)
                try:
                    while True:
                        association.c_echo()
                        association.c_store(CT)
                except DimseError:
                    pass

            def enough(association=association, ready=ready, end=end, server=server):
                ready.wait(10)
                association.c_echo()
                server.stop(grace=0.1) if end == "stop" else getattr(association, end)()

            ending = threading.Thread(target=enough)
            ending.start()
            assert hammer(work) == []
            ending.join(15)
            assert not ending.is_alive()


# ---- what is kept of received bytes

KEEPING = """
import gc, sys
from pathlib import Path
from dimse_rs import AE, CTImageStorage, Server
server, kept = Server(AE("SCP"), port=0), []

@server.c_store
def store(request):
    if request.size < 2000:
        kept.append(memoryview(request.data))

def rss():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

with server:
    where = ("127.0.0.1", server.port)
    with AE("SCU").associate(where, called="SCP", contexts=CTImageStorage) as association:
        before = 0
        for number in range(440):
            association.c_store(sys.argv[1])  # small
            association.c_store(sys.argv[2])  # fills the buffers that the small one is part of
            if number == 39:
                before = rss()
        print("grown", rss() - before, sum(map(len, kept[40:])), flush=True)
"""


@pytest.mark.slow
def test_what_is_kept_of_a_small_data_set_is_small(tmp_path):
    """400 data sets of some hundred bytes, each a slice of a read buffer of up to 512 KiB."""
    small, large = (tmp_path / name for name in ("small.dcm", "large.dcm"))
    instance = pydicom.dcmread(CT)
    instance.PixelData = bytes(400_000)
    instance.save_as(large)
    for element in list(instance):
        if element.tag.group > 0x0010:
            del instance[element.tag]
    instance.SOPInstanceUID += ".1"
    instance.file_meta.MediaStorageSOPInstanceUID += ".1"
    instance.save_as(small)
    with Process([sys.executable, "-c", KEEPING, str(small), str(large)]) as child:
        line = child.wait_for_line(lambda line: line.startswith("grown"))
        assert child.wait() == 0, child.story("failed")
    grown, held = map(int, line.split()[1:])
    assert 400 * 100 < held < 400 * 2000
    assert grown < 40 << 20  # and not 400 * 512 KiB


@pytest.mark.slow
def test_what_is_kept_outlives_its_association(tmp_path):
    [large] = series(tmp_path, "large", 1, (1, 1024, 1024))
    server = scp()
    kept = []
    server.c_store(lambda request: kept.append(request))

    @server.c_find(StudyRoot)
    def find(request):
        yield from (match(str(number)) for number in range(100))

    with server:
        with SCU.associate(at(server), contexts=[CTImageStorage, *StudyRoot]) as association:
            association.c_store(CT)
            association.c_store(large)
            found = association.c_find({"PatientID": ""}, raw=True, **MODEL)
            raw = [memoryview(match) for match in found]
        del association, found
        gc.collect()
        small, spooled = kept
        path = spooled.path
        assert data_set(path) == data_set(large)
        kept.clear()
        del spooled
        gc.collect()
        assert not path.exists()
    assert bytes(small.data) == data_set(CT)
    assert len({bytes(view) for view in raw}) == 100


# ---- J06: text of the peer's

BYTES = b"\xff\xfe\x80\x00\x1b[31m\xc3\x28\n\xed\xa0\x80"


def test_names_in_no_encoding_are_text_all_the_same(caplog):
    """Titles, version, identity and UIDs of a requestor: in events, logs, `repr`, and functions."""
    caplog.set_level(1, "dimse_rs")
    shown = []

    def accept(proposal):
        shown.append(f"{proposal!r} {proposal.identity!r} {proposal.calling} {proposal.called}")
        return True

    options = {"any_called": True, "passcode_in_clear": True}
    server = scp(accept=accept, verify_identity=lambda proposal: True, **options)

    @server.c_find(StudyRoot)
    def find(request):
        shown.append(f"{request!r} {request.peer} {request.association!r} {request.command}")
        with pytest.raises(DimseError):
            shown.append(repr(request.identifier))
        raise StatusError(0xC000, BYTES.decode("latin-1"))

    events = server.events(*EVENTS)
    identity = wire.item(
        0x58, b"\x02\x01" + len(BYTES).to_bytes(2, "big") + BYTES + b"\0\x02\xff\xfe"
    )
    version = wire.item(0x55, BYTES[:16])
    with server:
        target = Target("127.0.0.1", server.port, b"SCP", 1, 1, 1)
        with Peer(target) as peer:
            peer.step(
                wire.associate_rq(
                    BYTES[:16],
                    wire.item(0x10, wire.APPLICATION_CONTEXT),
                    wire.context(1, wire.STUDY_ROOT_FIND),
                    wire.context(3, BYTES),
                    wire.user_information(version, identity),
                    calling=BYTES[2:18],
                )
            )
            peer.step(Accepted(((1, 0), (3, 3))))
            command = wire.command(
                wire.ui(0x0002, wire.STUDY_ROOT_FIND),
                wire.us(0x0100, wire.C_FIND_RQ),
                wire.us(0x0110, 1),
                wire.us(0x0700, 0),
                wire.us(0x0800, 1),
                wire.element(0x0902, BYTES + b"\0" * (len(BYTES) % 2)),
                wire.element(0x1000, BYTES + b"\0" * (len(BYTES) % 2)),
            )
            garbage = b"\x08\0\x05\0" + b"\x04\0\0\0" + BYTES[:4] + BYTES * 9
            peer.step(wire.as_commands(1, command) + wire.as_data(1, garbage))
            peer.step(Answered(0xC000, 1, wire.C_FIND_RQ, 1))
    told = list(events)
    assert len(shown) >= 2
    assert {"connected", "negotiated", "message", "ended"} <= {event["event"] for event in told}
    for text in [*shown, *map(repr, told), *(record.getMessage() for record in caplog.records)]:
        assert "\x1b" not in text
        assert "\0" not in text
        text.encode("utf-8", "surrogatepass")
    assert not [record for record in caplog.records if record.exc_info]


EVENTS = ("connected", "associated", "negotiated", "rejected", "pdu", "state", "message", "ended")


def test_answers_in_no_encoding_are_text_all_the_same(caplog):
    """Error Comment, version and UIDs of an acceptor."""
    caplog.set_level(1, "dimse_rs")

    def script(peer):
        accept = wire.associate_ac(user=[wire.item(0x55, BYTES[:16])], called=BYTES, calling=BYTES)
        peer.expect(wire.RQ)
        peer.send(accept)
        elements, _ = peer.message()
        answer = wire.command(
            wire.ui(0x0002, BYTES),
            wire.us(0x0100, 0x8030),
            wire.us(0x0120, wire.number_of(elements, 0x0110)),
            wire.us(0x0800, wire.NO_DATA),
            wire.us(0x0900, 0x0210),
            wire.element(0x0902, BYTES + b"\0" * (len(BYTES) % 2)),
            wire.element(0x1000, BYTES + b"\0" * (len(BYTES) % 2)),
        )
        peer.send(wire.as_commands(1, answer))
        peer.release()

    with ScriptedScp(script) as peer, SCU.associate(peer.address) as association:
        with pytest.raises(StatusError) as caught:
            association.c_echo()
        response = caught.value.response
        implementation = association._core.peer_implementation
        shown = [
            *(str(caught.value), repr(caught.value), caught.value.comment),
            *(repr(response), response.instance_uid, str(response.sop_class)),
            *(repr(association), implementation.class_uid, implementation.version),
        ]
    for text in [*shown, *(record.getMessage() for record in caplog.records)]:
        text.encode("utf-8", "surrogatepass")
        assert "\x1b" not in text, repr(text)
