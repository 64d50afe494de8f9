"""`AE.send_async`: a sending by threads, which an event loop awaits and cancels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from os import PathLike
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

from dimse_rs.send import Way, send

from .threads import SHARED

if TYPE_CHECKING:
    from dimse_rs.send_report import SendReport, SendResult

__all__ = ["send_async"]

T = TypeVar("T")


async def send_async(
    way: Way,
    paths: Iterable[str | PathLike[str]] | str | PathLike[str],
    on_result: Callable[[SendResult], object] | None,
    on_event: Callable[[Mapping[str, Any]], object] | None,
) -> SendReport:
    """Carry out `AE.send_async`."""
    loop = asyncio.get_running_loop()
    stop = Event()  # of our own: the event of the user's is not ours to set
    failures: list[BaseException] = []

    def guarded(function: Callable[[T], object], value: T) -> None:
        if failures:
            return
        try:
            function(value)
        except BaseException as failure:
            failures.append(failure)
            stop.set()

    def on_loop(function: Callable[[T], object] | None) -> Callable[[T], object] | None:
        if function is None:
            return None
        return lambda value: loop.call_soon_threadsafe(guarded, function, value)

    way = replace(way, cancel=(*way.cancel, stop))
    sending = asyncio.ensure_future(
        SHARED.call(send, way, paths, on_loop(on_result), on_loop(on_event))
    )
    try:
        # The outcome comes to the loop behind all calls of the functions: none of them is missing.
        report = await asyncio.shield(sending)
    except asyncio.CancelledError as cancelled:
        stop.set()
        with suppress(Exception):
            report = await sending
            cancelled.add_note(f"{len(report.sent)} of {len(report.results)} files sent")
        raise
    if failures:
        raise failures[0]
    return report
