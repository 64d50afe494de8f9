"""Processes at the Python boundary: forked, interrupted and ended at any moment (J01-J03)."""

from __future__ import annotations

import contextlib
import random
import socket
import sys
import time

import pytest

from dimse_rs import StudyRoot, Verification
from tests.data.generate import series
from tests.support import wire
from tests.support.nodes import CT, SCU, scp, until_idle
from tests.support.process import PeerError, Process
from tests.support.runner import Accepted, Peer, Target

pytestmark = pytest.mark.slow

# A server of every kind of handler, and an association with it, in one process.
PROGRAM = """
import asyncio, gc, os, signal, sys, threading, time
from pathlib import Path
import dimse_rs
from dimse_rs import *
from pydicom.dataset import Dataset

forever = threading.Event()
server = Server(AE("SCP", timeouts=Timeouts(idle=20, dimse=15)), port=0, max_ops_performed=0)
kept = []

@server.c_find(StudyRoot)
def find(request):
    for number in range(100_000):
        # Not too many at a time: both ends share one interpreter.
        if request.cancelled or (number > 9 and forever.wait(0.003)):
            return
        match = Dataset()
        match.PatientID = str(number)
        yield match

@server.c_store(CTImageStorage)
def store(request):
    kept.append(request)

@server.c_store(MRImageStorage)
def stuck(request):
    forever.wait(60)

def say(*words):  # in one piece: several threads speak
    sys.stdout.write(" ".join(map(str, words)) + "\\n")
    sys.stdout.flush()

ae = AE("SCU", timeouts=Timeouts(dimse=15, store=15))
every = [Verification, CTImageStorage, MRImageStorage, *StudyRoot]
query = {"identifier": {"PatientID": ""}, "model": StudyRoot, "level": "STUDY"}
small, large = sys.argv[1:3]

def associate(**options):
    where = ("127.0.0.1", server.port)
    return ae.associate(where, called="SCP", contexts=every, max_ops_invoked=8, **options)

def background(function, count=1):
    for _ in range(count):
        threading.Thread(target=function, daemon=True).start()
"""


@pytest.fixture
def program(tmp_path):
    """Give a function that runs the program with more code, on a small and a large instance."""
    [large] = series(tmp_path, "large", 1, (1, 1024, 1024))
    script = tmp_path / "program.py"

    def run(code, *options):
        script.write_text(PROGRAM + code)
        return Process([sys.executable, *options, str(script), str(CT), str(large)])

    return run


# ---- J02: fork

USES = """
async def later():
    async with ae.associate_async(("127.0.0.1", server.port), called="SCP") as made:
        await made.c_echo()

idle = Server(port=0)
server.start()
association = associate()
association.c_store(large)
association.c_store(small)
results, others = association.c_find(**query), association.c_find(**query)
next(results), next(others)
events, told = server.events(), association.events("message")
bulk = association.send_files([small] * 3)
bulk.next(10)
asyncio.run(later())

USES = {
    "c_echo": association.c_echo,
    "c_store": lambda: association.c_store(small),
    "c_find": lambda: list(association.c_find(**query)),
    "the other matches": lambda: list(results),
    "close the matches": others.close,
    "next result": lambda: bulk.next(1),
    "send_files": lambda: association.send_files([small]),
    "release": association.release,
    "abort": association.abort,
    "is_established": lambda: association.is_established,
    "follow": lambda: association.events("message"),
    "next event": lambda: next(told),
    "next event of a server": lambda: next(events),
    "answer": lambda: kept[0]._operation.respond({"Status": 0}, wait=False),
    "save": lambda: kept[1].save("kept"),
    "associate": associate,
    "associate_async": lambda: asyncio.run(later()),
    "send": lambda: ae.send(("127.0.0.1", server.port), [small], called="SCP"),
    "metrics": server.metrics,
    "stop": server.stop,
    "wait": server.wait,
    "start": idle.start,
}
"""


def test_a_forked_child_is_refused_whatever_it_does(program, tmp_path):
    code = USES + (
        "child = os.fork()\n"
        "if child == 0:\n"
        "    for name, use in USES.items():\n"
        "        signal.alarm(5)\n"  # a child that hangs dies, and says nothing
        "        try:\n"
        "            use()\n"
        "        except RuntimeError as error:\n"
        "            say(name, 'forked' in str(error))\n"
        "        except BaseException as error:\n"
        "            say(name, repr(error))\n"
        "        else:\n"
        "            say(name, 'done')\n"
        "    signal.alarm(5)\n"
        "    del association, results, others, events, told, bulk, USES, idle\n"
        "    kept.clear()\n"
        "    gc.collect()\n"
        "    sys.exit(7)\n"  # with all that is done at exit
        "say('child', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "assert Path(kept[0].path).is_file()\n"
        "assert kept[0].save('kept').is_file()\n"
        "assert association.c_echo() == 0\n"
        "association.c_store(large)\n"
        "next(results), next(others)\n"
        "results.close(), others.close()\n"
        "association.release()\n"
        "server.stop()\n"
        "say('parent is well')\n"
    )
    with contextlib.chdir(tmp_path), program(code, "-W", "ignore::DeprecationWarning") as parent:
        parent.wait_for_line(lambda line: line.startswith("child"))
        assert parent.wait() == 0, parent.story("failed")
    refused = dict(line.rsplit(" ", 1) for line in parent.lines)
    assert refused.pop("child") == "7"
    assert refused.pop("parent is") == "well"
    assert refused == dict.fromkeys(refused, "True")
    assert len(refused) == 22
    assert "Traceback" not in parent.errors()


def test_forks_at_any_moment_harm_nobody(program):
    """Whatever the other threads are in the middle of: children end, and the parent goes on."""
    code = (
        "import multiprocessing, subprocess\n"
        "def double(number):\n"
        "    return 2 * number\n"
        "server.start()\n"
        "def busy():\n"
        "    while True:\n"
        "        with associate() as association:\n"
        "            for _ in range(20):\n"
        "                association.c_store(small)\n"
        "                kept.clear()\n"
        "                with association.c_find(**query) as results:\n"
        "                    next(results)\n"
        "def follow():\n"
        "    for _ in server.events('pdu', 'state'):\n"
        "        pass\n"
        "background(busy, 2)\n"
        "background(follow)\n"
        "mine = associate()\n"
        "for number in range(6):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        signal.alarm(15)\n"
        "        kept.clear()\n"
        "        del mine\n"
        "        gc.collect()\n"
        "        sys.exit(3)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3\n"
        "    assert mine.c_echo() == 0\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    assert pool.map(double, range(50)) == [2 * n for n in range(50)]\n"
        "assert subprocess.run([sys.executable, '-c', 'exit(5)']).returncode == 5\n"
        "assert mine.c_echo() == 0\n"
        "say('well')\n"
    )
    with program(code, "-W", "ignore::DeprecationWarning") as parent:
        parent.wait_for_line(lambda line: line == "well", 28)
        assert parent.wait() == 0, parent.story("failed")
    assert "Traceback" not in parent.errors(), parent.errors()


def test_a_child_keeps_neither_connections_nor_the_port(program):
    code = (
        "associated = server.events('associated')\n"
        "server.start()\n"
        "say('port', server.port)\n"
        "sys.stdin.close()\n"
        "next(associated)\n"
        "reading, writing = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.close(writing)\n"
        "    os.read(reading, 1)\n"  # as long as the parent lives
        "    os._exit(0)\n"
        "server.stop()\n"
        "say('stopped')\n"
        "time.sleep(60)\n"  # the parent lives until the test ends it
    )
    with program(code, "-W", "ignore::DeprecationWarning") as parent:
        line = parent.wait_for_line(lambda line: line.startswith("port"))
        port = int(line.split()[1])
        with Peer(Target("127.0.0.1", port, b"SCP", 1, 1, 1)) as peer:
            peer.step(wire.associate_rq(b"SCP"))
            peer.step(Accepted())
            kind, _ = peer._pdu(15)
            assert kind == wire.ABORT
            peer._closes_after_us()
        parent.wait_for_line(lambda line: line == "stopped")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)


# ---- J03: the end of the interpreter

LAST = """
class Slow:
    def __del__(self):
        time.sleep(0.5)  # others want the interpreter meanwhile, and may not have it
slow = Slow()
"""

ENDINGS = {
    "iterators": (
        "server.start()\n"
        "association = associate()\n"
        "results, raw = association.c_find(**query), association.c_find(**query, raw=True)\n"
        "next(results), next(raw)\n"
        "bulk = association.send_files([large] * 50)\n"
        "bulk.next(10)\n"
        "events, told = server.events('pdu', 'state'), association.events('message')\n"
        "next(told)\n"
        "say('leaving')\n"
    ),
    "threads": (
        "server.start()\n"
        "def echo():\n"
        "    association = associate()\n"
        "    while True:\n"
        "        association.c_echo()\n"
        "def follow():\n"
        "    for _ in server.events('pdu', 'state'): pass\n"
        "def find():\n"
        "    for _ in associate().c_find(**query): pass\n"
        "def send():\n"
        "    while True:\n"
        "        ae.send(('127.0.0.1', server.port), [large] * 9, called='SCP')\n"
        "        kept.clear()\n"
        "def wait():\n"
        "    server.wait()\n"
        "async def storm():\n"
        "    where = ('127.0.0.1', server.port)\n"
        "    async with ae.associate_async(where, called='SCP') as association:\n"
        "        while True:\n"
        "            await association.c_echo()\n"
        "background(echo, 3)\n"
        "for function in (follow, find, send, wait, lambda: asyncio.run(storm())):\n"
        "    background(function)\n"
        "time.sleep(0.3)\n"  # so that each is at it: no more than that hangs on it
        "say('leaving')\n"
    ),
    "a handler that does not come back": (
        "entered = threading.Event()\n"
        "@server.c_echo\n"
        "def echo(request):\n"
        "    entered.set()\n"
        "    forever.wait(60)\n"
        "server.start()\n"
        "background(lambda: associate().c_echo())\n"
        "assert entered.wait(10)\n"
        "say('leaving')\n"
    ),
    "one of a loop": (
        "import contextlib\n"
        "async def main():\n"
        "    entered = asyncio.Event()\n"
        "    loop = asyncio.get_running_loop()\n"
        "    node = AsyncServer(AE('SCP'), port=0)\n"
        "    @node.c_echo\n"
        "    def echo(request):\n"
        "        loop.call_soon_threadsafe(entered.set)\n"
        "        forever.wait(60)\n"
        "    async with node:\n"
        "        where = ('127.0.0.1', node.port)\n"
        "        association = await ae.associate_async(where, called='SCP')\n"
        "        call = asyncio.create_task(association.c_echo())\n"
        "        await entered.wait()\n"
        "        await node.stop(grace=0.1)\n"
        "        with contextlib.suppress(DimseError):\n"
        "            await call\n"
        "asyncio.run(main())\n"
        "say('leaving')\n"
    ),
    "a loop that is left": (
        "async def main():\n"
        "    global node, association, matches\n"
        "    node = AsyncServer(AE('SCP'), port=0)\n"
        "    @node.c_find(StudyRoot)\n"
        "    async def find(request):\n"
        "        while True:\n"
        "            yield Dataset.from_json({'00100020': {'vr': 'LO', 'Value': ['1']}})\n"
        "    await node.start()\n"
        "    where = ('127.0.0.1', node.port)\n"
        "    association = await ae.associate_async(where, called='SCP', contexts=every)\n"
        "    matches = association.c_find(**query)\n"
        "    await anext(matches)\n"
        "asyncio.run(main())\n"
        "say('leaving')\n"
    ),
    "finalizers": (
        "server.start()\n"
        "class Last:\n"
        "    def __init__(self):\n"
        "        self.association = associate()\n"
        "        self.results = self.association.c_find(**query)\n"
        "        next(self.results)\n"
        "    def __del__(self):\n"
        "        self.association.c_echo()\n"
        "        next(self.results)\n"
        "        self.association.abort()\n"
        "last = Last()\n"
        "say('leaving')\n"
    ),
    "an exception in the blocks": (
        "with server, associate() as association:\n"
        "    next(association.c_find(**query))\n"
        "    say('leaving')\n"
        "    sys.exit(0)\n"
    ),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_the_interpreter_ends(how, program):
    with program(LAST + ENDINGS[how], "-X", "faulthandler") as child:
        child.wait_for_line(lambda line: line == "leaving")
        assert child.wait() == 0, child.story("failed")
    assert child.errors() == ""


# ---- Ctrl-C


def test_ctrl_c_reaches_the_end_of_a_server(program):
    code = (
        "entered = threading.Event()\n"
        "@server.c_echo\n"
        "def echo(request):\n"
        "    entered.set()\n"
        "    forever.wait(60)\n"
        "server.start()\n"
        "association = associate()\n"
        "def call():\n"
        "    try:\n"
        "        association.c_echo()\n"
        "    except DimseError as error:\n"
        "        say(type(error).__name__)\n"
        "calling = threading.Thread(target=call)\n"
        "calling.start()\n"
        "assert entered.wait(10)\n"
        "try:\n"
        "    say('stopping')\n"
        "    server.stop(grace=60, patience=60)\n"
        "except KeyboardInterrupt:\n"
        "    say('interrupted')\n"
        "server.stop()\n"  # which has nothing to wait for any more
        "server.wait()\n"
        "calling.join(10)\n"
    )
    with program(code) as child:
        child.wait_for_line(lambda line: line == "stopping")
        started = time.monotonic()
        child.interrupt()
        child.wait_for_line(lambda line: line == "interrupted")
        assert child.wait() == 0, child.story("failed")
        assert time.monotonic() - started < 8
        assert "AssociationAborted" in child.lines


def test_ctrl_c_at_any_moment_leaves_nothing_behind(program):
    """Wherever it comes: what was begun ends, and the next begins."""
    times = 15
    code = (
        "server.start()\n"
        "def work():\n"
        "    while True:\n"
        "        with associate() as association:\n"
        "            association.c_echo()\n"
        "            association.c_store(small)\n"
        "            kept.clear()\n"
        "            for number, _ in enumerate(association.c_find(**query)):\n"
        "                if number == 5:\n"
        "                    break\n"
        "            ae.send(('127.0.0.1', server.port), [small], called='SCP')\n"
        f"for number in range({times}):\n"
        "    try:\n"
        "        say('go', number)\n"
        "        work()\n"
        "    except KeyboardInterrupt:\n"
        "        pass\n"
        "gc.collect()\n"
        "with associate() as association:\n"
        "    association.c_echo()\n"
        "end = time.monotonic() + 10\n"
        "while server._listener.associations and time.monotonic() < end:\n"
        "    time.sleep(0.01)\n"  # no event says that the last has ended
        "say('left', len(server._listener.associations))\n"
        "server.stop()\n"
    )
    with program(code) as child:
        for number in range(times):
            child.wait_for_line(lambda line, number=number: line == f"go {number}")
            time.sleep(random.uniform(0, 0.06))  # the case is: any moment
            child.interrupt()
            # Python itself drops the one that comes while it collects garbage.
            while not child.lines[-1].startswith((f"go {number + 1}", "left")):
                with contextlib.suppress(PeerError):
                    child.wait_for_line(lambda line, n=number: line == f"go {n + 1}", 1.5)
                    break
                if not child.lines[-1].startswith("left"):
                    child.interrupt()
        assert child.wait() == 0, child.story("failed")
        assert child.lines[-1] == "left 0"


def test_a_peer_that_crashes_is_noticed():
    server = scp()
    code = (
        "import os, sys\n"
        "from dimse_rs import AE\n"
        "association = AE('SCU').associate(sys.argv[1], contexts=sys.argv[2:])\n"
        "association.c_echo()\n"
        "os.abort()\n"
    )
    with server:
        address = f"SCP@127.0.0.1:{server.port}"
        with Process([sys.executable, "-c", code, address, Verification, StudyRoot.find]) as child:
            assert child.wait() == -6
        with SCU.associate(address) as association:
            assert association.c_echo() == 0
        until_idle(server)
