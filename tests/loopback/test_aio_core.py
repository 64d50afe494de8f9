"""From the core to an event loop: order, few wakes, cancellation, loops and processes that end."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import weakref

import pytest

from dimse_rs import AssociationAborted, ConnectFailed, Verification, _core
from dimse_rs.completer import Completer
from tests.support.nodes import SCU, Puppet, scp
from tests.support.process import Process

pytestmark = [pytest.mark.usefixtures("either_mode"), pytest.mark.slow]

C_ECHO_RQ = 0x0030
WITHIN = 15


def proposal(**options):
    contexts = [_core.ProposedContext(Verification, ["1.2.840.10008.1.2"])]
    config = SCU._config(_core.Service(), **options)
    return _core.AssociateRequest("SCU", "SCP", contexts), config


async def associate(port, **options):
    asked = proposal(**options)
    return await Completer.here().wait(
        lambda then: _core.associate("127.0.0.1", port, *asked, then=then)
    )


def invoke(association):
    request = {
        "CommandField": C_ECHO_RQ,
        "AffectedSOPClassUID": str(Verification),
        "MessageID": association.next_message_id(),
    }
    return association.invoke(_core.Message(1, request), WITHIN)


async def echo(association):
    invocation = invoke(association)
    response = await Completer.here().wait(lambda then: invocation.next(then=then))
    assert await Completer.here().wait(lambda then: invocation.next(then=then)) is None
    return response.status


def run(main):
    """Run it as users do, with everything that asyncio has to complain about."""
    complaints = []

    async def watched():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        return await asyncio.wait_for(main(), 25)

    result = asyncio.run(watched(), debug=True)
    gc.collect()
    assert complaints == []
    return result


class Loop:
    """In place of an event loop: counts how often it is woken, and takes when it is told to."""

    def __init__(self):
        self.wakes = 0
        self.woken = threading.Event()
        self.service = _core.Service()
        self.completions = _core.Completions(self.call_soon_threadsafe, lambda: None)

    def call_soon_threadsafe(self, drain):
        assert drain() is None
        self.wakes += 1
        self.woken.set()

    def later(self, token):
        """Have something completed soon, by a thread of the core."""
        at_once = True
        while at_once:  # when this thread was held up for so long
            at_once = self.service.next_operation(0.001, then=(self.completions, token))

    def take(self, count):
        """Take so many outcomes; give them and how often some were there."""
        taken, times = [], 0
        until = time.monotonic() + WITHIN
        while len(taken) < count and time.monotonic() < until:
            some = self.completions.take()
            taken += some
            times += bool(some)
        return taken, times


# ---- outcomes


def test_calls_give_what_they_give_when_they_block():
    async def main():
        with scp() as server:
            association = await associate(server.port)
            assert isinstance(association, _core.Association)
            assert await echo(association) == 0x0000
            assert await Completer.here().wait(lambda then: association.release(then=then)) is None
            with pytest.raises(type(association.ended)):
                await Completer.here().wait(lambda then: association.release(then=then))
            other = await associate(server.port)
            assert await Completer.here().wait(lambda then: other.abort(then=then)) is None
            assert isinstance(other.ended, AssociationAborted)

    run(main)


def test_calls_raise_what_they_raise_when_they_block():
    with scp() as server:
        port = server.port

    async def main():
        with pytest.raises(ConnectFailed):
            await associate(port)

    run(main)


def test_requests_are_pulled_and_answered():
    hub = _core.Events()
    service = _core.Service(handled={C_ECHO_RQ: None}, events=hub)
    follower = hub.follow(["connected", "associated"], 100)
    listener = _core.Listener(
        "127.0.0.1",
        0,
        _core.Policy([_core.SupportedContext(Verification)]),
        SCU._config(service),
    )

    async def main():
        wait = Completer.here().wait
        association = await associate(listener.address.port)
        asked = asyncio.ensure_future(echo(association))
        operation = await wait(lambda then: service.next_operation(then=then))
        await wait(lambda then: operation.respond({"Status": 0x0001}, then=then))
        assert await asked == 0x0001
        assert await wait(lambda then: service.next_operation(0, then=then)) is None
        events = await wait(lambda then: follower.next(WITHIN, then=then))
        assert [event.kind for event in events] == ["connected", "associated"]
        await wait(lambda then: listener.stop(0.0, then=then))
        assert association.ended is not None

    run(main)


# ---- the queue


def test_outcomes_come_in_the_order_in_which_they_were_there():
    loop = Loop()
    loop.later(1)
    assert loop.woken.wait(WITHIN)
    loop.later(2)
    assert loop.take(2)[0] == [(1, None, None), (2, None, None)]


def test_what_is_there_is_given_at_once():
    loop = Loop()
    assert loop.service.next_operation(0, then=(loop.completions, 1)) == (None,)
    hub = _core.Events()
    follower = hub.follow(["pdu"], 10)
    assert follower.next(0, then=(loop.completions, 2)) == ([],)
    loop.later(3)
    assert loop.take(1)[0] == [(3, None, None)]


def test_a_loop_is_woken_once_for_all_that_waits_for_it():
    loop = Loop()
    for token in range(1000):
        loop.later(token)
    assert loop.woken.wait(WITHIN)
    taken, times = loop.take(1000)
    assert sorted(token for token, _, _ in taken) == list(range(1000))
    assert loop.wakes <= times


@pytest.mark.slow
def test_a_thousand_echos_at_once_wake_the_loop_a_few_times():
    wakes = 0

    async def main():
        nonlocal wakes
        loop = asyncio.get_running_loop()
        call_soon = loop.call_soon_threadsafe

        def counted(*args):
            nonlocal wakes
            wakes += 1
            return call_soon(*args)

        loop.call_soon_threadsafe = counted
        with scp(max_ops_performed=16) as server:
            association = await associate(server.port, max_ops_invoked=16)
            window = association.window
            assert (window.invoked, window.performed) == (16, 1)
            invocations = [invoke(association) for _ in range(1000)]
            wait = Completer.here().wait
            responses = await asyncio.gather(
                *(wait(lambda then, of=of: of.next(then=then)) for of in invocations)
            )
            assert [response.status for response in responses] == [0] * 1000
            await wait(lambda then: association.release(then=then))

    run(main)
    assert wakes < 200


# ---- cancellation


def test_an_invocation_outlives_whoever_stopped_waiting_for_it():
    answer = threading.Event()

    def script(puppet):
        puppet.accept()
        puppet.until("command")
        assert answer.wait(WITHIN)
        puppet.core.send(
            _core.Message(
                1,
                {
                    "CommandField": 0x8030,
                    "MessageIDBeingRespondedTo": 1,
                    "AffectedSOPClassUID": str(Verification),
                    "Status": 0,
                },
            )
        )
        puppet.flush()

    async def main():
        association = await associate(peer.port)
        invocation = invoke(association)
        wait = Completer.here().wait
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(wait(lambda then: invocation.next(then=then)), 0.05)
        answer.set()
        assert (await wait(lambda then: invocation.next(then=then))).status == 0
        assert await wait(lambda then: invocation.next(then=then)) is None
        await wait(lambda then: association.abort(then=then))

    with Puppet(script) as peer:
        run(main)


def test_cancelling_aborts_an_association_that_is_being_made():
    asked, ended = threading.Event(), []

    def script(puppet):
        puppet.until("associate-requested")
        asked.set()
        ended.append(puppet.until("aborted"))

    async def main():
        making = asyncio.ensure_future(associate(peer.port))
        assert await asyncio.to_thread(asked.wait, WITHIN)
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
        assert await asyncio.to_thread(peer.reached.wait, WITHIN)

    with Puppet(script) as peer:
        run(main)
    assert ended


def test_what_was_cancelled_does_not_come_out():
    loop = Loop()
    loop.service.next_operation(then=(loop.completions, 1))
    loop.completions.cancel(1)
    loop.later(2)
    assert loop.take(1)[0] == [(2, None, None)]
    loop.completions.cancel(2)
    assert loop.completions.take() == []


# ---- loops that end


def test_a_loop_that_was_closed_with_calls_pending_is_left_in_peace(capfd):
    async def leave_behind():
        association = await associate(peer.port)
        completer, invocation = Completer.here(), invoke(association)
        pending = completer.wait(lambda then: invocation.next(then=then))
        pending.send(None)
        return completer, association, pending

    with Puppet(Puppet.accept) as peer:
        loop = asyncio.new_event_loop()
        completer, association, pending = loop.run_until_complete(leave_behind())
        loop.close()
        association.abort()  # what pends fails, and the loop is not there to be told
        pending.close()
        gone = weakref.ref(loop)
        del loop, completer, pending, association
        until = time.monotonic() + WITHIN
        while gone() is not None:
            assert time.monotonic() < until, gc.get_referrers(gone())
            gc.collect()
    with scp() as server:  # others are served as before
        run(lambda: associate(server.port))
    assert capfd.readouterr().err == ""


def test_completions_that_are_closed_take_nothing_more():
    loop = Loop()
    loop.service.next_operation(then=(loop.completions, 1))
    loop.completions.close()
    assert loop.completions.take() == []
    with pytest.raises(RuntimeError, match="closed"):
        loop.service.next_operation(then=(loop.completions, 2))


def test_a_completer_serves_one_loop_and_goes_with_it():
    async def here():
        completer = Completer.here()
        assert completer is Completer.here()
        return weakref.ref(completer), weakref.ref(asyncio.get_running_loop())

    references = asyncio.run(here()) + asyncio.run(here())
    gc.collect()
    assert [reference() for reference in references] == [None] * 4


def test_what_an_interrupt_came_between_is_delivered_all_the_same():
    async def main():
        completer = Completer.here()
        first, second = (asyncio.get_running_loop().create_future() for _ in range(2))

        class Interrupted:
            def done(self):
                raise KeyboardInterrupt

        completer._waiting |= {-1: Interrupted(), -2: first, -3: second}
        completer._taken.extend([(-1, "lost", None), (-2, "one", None), (-3, "two", None)])
        with pytest.raises(KeyboardInterrupt):
            completer._drain()
        assert (await first, await second) == ("one", "two")

    run(main)


# ---- processes that end

PROGRAM = """
import asyncio, os, sys, threading
from dimse_rs import _core
from dimse_rs.completer import Completer
service = _core.Service()
async def forever():
    print("ready", flush=True)
    await Completer.here().wait(lambda then: service.next_operation(then=then))
async def once():
    await Completer.here().wait(lambda then: service.next_operation(0.001, then=then))
"""


def test_ctrl_c_ends_an_await():
    code = PROGRAM + (
        "try:\n    asyncio.run(forever())\n"
        "except KeyboardInterrupt:\n    print('interrupted', flush=True)\n"
    )
    with Process([sys.executable, "-X", "dev", "-c", code]) as child:
        child.wait_for_line(lambda line: line == "ready")
        started = time.monotonic()
        child.interrupt()
        child.wait_for_line(lambda line: line == "interrupted")
        assert time.monotonic() - started < 2
        assert child.wait() == 0, child.story("failed")
    assert child.errors() == ""


def test_a_process_may_end_while_outcomes_come():
    code = PROGRAM + (
        "async def storm():\n    while True:\n"
        "        await asyncio.gather(*(once() for _ in range(50)))\n"
        "threading.Thread(target=asyncio.run, args=(storm(),), daemon=True).start()\n"
        "asyncio.run(once())\n"
        "print('leaving', flush=True)\n"
    )
    for _ in range(3):
        with Process([sys.executable, "-X", "dev", "-c", code]) as child:
            child.wait_for_line(lambda line: line == "leaving")
            assert child.wait() == 0, child.story("failed")
        assert child.errors() == ""


def test_a_forked_child_is_refused_and_ends_well():
    code = PROGRAM + (
        "asyncio.run(once())\n"
        "completions = _core.Completions(print, print)\n"
        "assert service.next_operation(then=(completions, 1)) is None\n"
        "if os.fork():\n"
        "    print('child ended', os.waitstatus_to_exitcode(os.wait()[1]), flush=True)\n"
        "else:\n"
        "    completions.cancel(1)\n"
        "    completions.close()\n"
        "    try:\n"
        "        asyncio.run(once())\n"
        "    except RuntimeError as error:\n"
        "        print('forked' in str(error), flush=True)\n"
        "    sys.exit(7)\n"
    )
    with Process([sys.executable, "-c", code]) as parent:
        parent.wait_for_line(lambda line: line == "True")
        parent.wait_for_line(lambda line: line == "child ended 7")
        assert parent.wait() == 0, parent.story("failed")
    assert parent.errors() == ""
