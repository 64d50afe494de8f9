"""The two runners of the services: they carry out the same generators alike."""

from __future__ import annotations

import asyncio
import gc
from weakref import ref

import pytest

from dimse_rs.aio import Threads, _run as asynchronous
from dimse_rs.completer import Completer
from dimse_rs.dimse import run as blocking
from dimse_rs.dimse.steps import END, Ask, Close, Emit, Next, Run


def on_a_loop(steps):
    async def main():
        return await asynchronous.run(None, steps, Completer.here())

    return asyncio.run(main())


def on_this_thread(steps):
    return blocking.run(None, steps)


runners = pytest.mark.parametrize("run", [on_this_thread, on_a_loop])


@runners
def test_an_outcome_is_sent_and_the_result_given(run):
    def steps():
        first = yield Ask(lambda argument: argument + 1, 1)
        items = iter([first])
        seen = [(yield Next(None, items)), (yield Next(None, items))]
        yield Close(items)
        return seen

    assert run(steps()) == [2, END]


@runners
def test_a_failure_is_raised_where_its_step_is(run):
    def steps():
        try:
            yield Ask(lambda argument: 1 // argument, 0)
        except ZeroDivisionError:
            return "handled"
        return "not raised"

    assert run(steps()) == "handled"


@runners
def test_a_failure_that_is_not_handled_is_the_callers(run):
    def steps():
        yield Ask(lambda argument: 1 // argument, 0)

    with pytest.raises(ZeroDivisionError):
        run(steps())


@runners
def test_steps_of_another_association_give_their_result(run):
    def inner():
        return (yield Ask(str, 7))

    def outer():
        return (yield Run(None, inner()))

    assert run(outer()) == "7"


@runners
def test_a_value_without_a_caller_is_refused(run):
    def steps():
        yield Emit(1)

    with pytest.raises(TypeError, match="no caller"):
        run(steps())


def test_values_come_between_steps():
    done = []

    def steps():
        for number in range(3):
            yield Ask(done.append, number)
            yield Emit(number)

    values = blocking.emitted(None, steps())
    assert next(values) == 0
    assert done == [0]
    assert list(values) == [1, 2]


def test_leaving_the_values_closes_the_generator():
    closed = []

    def steps():
        try:
            yield Emit(1)
            yield Emit(2)
        finally:
            closed.append(True)

    values = blocking.emitted(None, steps())
    next(values)
    values.close()
    assert closed == [True]


class Request:
    """What handlers get, and a spooled file hangs on."""


def failing(request):
    yield Ask(lambda _: 1 // 0, request)


@pytest.fixture
def request_of_a_peer():
    """Give a request; see that it goes by reference counting alone, its spooled file with it."""
    request = Request()
    kept = ref(request)
    gc.collect()
    gc.disable()
    try:
        yield [request]
        del request
        assert kept() is None
    finally:
        gc.enable()


def test_an_error_keeps_no_request(request_of_a_peer):
    with pytest.raises(ZeroDivisionError):
        blocking.run(None, failing(request_of_a_peer.pop()))


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_an_error_keeps_no_request_on_a_loop(request_of_a_peer, kind):
    async def fails(_):
        await asyncio.sleep(0)
        return 1 // 0

    def failing_async(request):
        yield Ask(fails, request)

    made = failing if kind == "plain" else failing_async

    async def main():
        threads = Threads()
        steps = made(request_of_a_peer.pop())
        with pytest.raises(ZeroDivisionError):
            await asynchronous.run(None, steps, Completer.here(), threads)
        await threads.call(int)  # by the same thread, which is then done with the request

    asyncio.run(main())
