"""`StudyWatcher`: tells of studies that are complete, judged by silence or the end of associations.

DICOM has no message that ends a study: a study is taken for complete when nothing of it came for a
while, or when the associations that brought it are over. All is in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Condition, current_thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, cast

from dimse_rs import log, threads
from dimse_rs.callables import check_function, described
from dimse_rs.received import OpenStudies, ReceivedInstance, ReceivedStudy
from dimse_rs.sop_class import SOPClass
from dimse_rs.storage import StoredInstance

if TYPE_CHECKING:
    import asyncio
    from threading import Thread

    from dimse_rs.dimse.requests import StoreRequest
    from dimse_rs.observe.events import Event, Events

__all__ = ["StudyWatcher"]

_logger = log.get(log.SERVER)

Told: TypeAlias = "StoredInstance | StoreRequest | Event | Mapping[str, Any]"
"""What a watcher takes."""

_UIDS: Final = ("StudyInstanceUID", "SeriesInstanceUID")


class StudyWatcher:
    """Tells of complete studies, to `for`, to `async for` or to a function.

    A study is complete when nothing of it came for `quiet` seconds; with `after_end`, also so many
    seconds after its last association has ended. What comes later begins the study anew, and the
    next `ReceivedStudy` has only that. Any thread may use the watcher; each study goes to one
    receiver. Studies that are open, or complete and not taken, when the process ends, are lost.

    Attributes:
        without_study: instances without a Study Instance UID, such as hanging protocols.
    """

    def __init__(
        self,
        quiet: float = 60.0,
        *,
        after_end: float | None = None,
        on_complete: Callable[[ReceivedStudy], object] | None = None,
        longest: float = 86_400.0,
        most: int = 100_000,
    ) -> None:
        """Watch nothing yet: `add` and `follow` have instances counted.

        Args:
            quiet: seconds without an instance after which a study is complete.
            after_end: seconds after the end of the last association that brought a part of the
                study; 0 for senders that use one association for all of it. Needs the events
                `ended`, see `follow`. Default None: ends of associations do not count.
            on_complete: called with each study on a thread of its own, one after the other. What
                the function raises is logged.
            longest: seconds after the first instance when a study that never falls silent is given
                all the same. Default a day.
            most: instances and studies that are remembered at once, including those that are
                complete and not taken yet. Beyond it instances of open studies are counted without
                being listed, and further studies are `lost`, with a warning in the log.

        Raises:
            ValueError: a number is not allowed.
            TypeError: `on_complete` does not take one argument, or is asynchronous.
        """
        for name, seconds in (("quiet", quiet), ("after_end", after_end), ("longest", longest)):
            if seconds is not None and not seconds >= 0:
                raise ValueError(f"{name} is a number of seconds, not {seconds!r}")
        if most < 1:
            raise ValueError(f"most is at least 1, not {most}")
        if on_complete is not None:
            check_function("on_complete", on_complete, "a study")
        self._studies = OpenStudies(quiet, after_end, longest, most)
        self._on_complete = on_complete
        self._caller: Thread | None = None
        self._complete: deque[ReceivedStudy] = deque()
        self._changed = Condition()
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._sources: set[Events[Any]] = set()
        self._followed = False
        self._closed = False
        self.without_study: int = 0

    @property
    def lost(self) -> int:
        """Instances that belong to no study here, because `most` was reached."""
        return self._studies.lost

    @property
    def open(self) -> tuple[ReceivedStudy, ...]:
        """The studies that are not complete, as they are now."""
        with self._changed:
            return tuple(study.so_far("open") for study in self._studies.by_last.values())

    def __repr__(self) -> str:
        """Show how many studies are open, and how many wait to be taken."""
        counts = f"{len(self._studies.by_last)} open, {len(self._complete)} complete"
        return f"<StudyWatcher {counts}>"

    # ---- what comes in

    def add(self, what: Told | Iterable[Told]) -> None:
        """Count instances; returns at once. After `close` it does nothing.

        Args:
            what: instances as `Storage(on_stored=)` has them, so that `on_stored=watcher.add` will
                do; or an event of a server or an association, of which `stored` and `ended` count;
                or a `StoreRequest`, in a handler; or any number of them.

        Raises:
            TypeError: it is none of these.
            DecodeError: the data set of a `StoreRequest` cannot be read.
        """
        if isinstance(what, Mapping) or not isinstance(what, Iterable):
            what = [cast("Told", what)]
        for one in what:
            if isinstance(one, Mapping):
                self._take_event(one)
            else:
                self._take_instance(one)

    def follow(self, events: Events[Any]) -> Self:
        """Count the instances of events, on a thread, until the events are over.

        Args:
            events: such as `server.events("stored", "ended")`, or `server.events("ended")` where
                `on_stored` adds the instances. When all that is followed is over and the last study
                is complete, iterating ends.

        Returns:
            The watcher: `for study in StudyWatcher(60).follow(server.events("stored"))`.

        Raises:
            RuntimeError, MemoryError: the system has no thread left.
        """
        with self._changed:
            self._sources.add(events)
            self._followed = True
            if self._closed:
                events.close()
        try:
            threads.start("dimse-studies", self._pull, events)
        except BaseException:
            self._leave(events)
            raise
        return self

    def _pull(self, events: Events[Any]) -> None:
        try:
            for event in events:
                self._take_event(event)
        except Exception:
            _logger.exception("events are followed no more", extra={"code": "studies"})
        finally:
            self._leave(events)

    def _leave(self, events: Events[Any]) -> None:
        with self._changed:
            self._sources.discard(events)
            self._wake()

    def _take_event(self, event: Event | Mapping[str, Any]) -> None:
        facts: Mapping[str, Any] = event
        match facts.get("event"):
            case "stored":
                self._count(
                    facts["study"] or "",
                    ReceivedInstance(
                        facts["uid"],
                        SOPClass.of(facts["class"]),
                        facts["series"] or "",
                        None if facts["path"] is None else Path(facts["path"]),
                        facts["bytes"],
                        facts["calling"],
                        facts["peer"],
                        facts["association"],
                        bool(facts.get("identical")),
                    ),
                )
            case "ended":
                with self._changed:
                    self._studies.end(facts["association"], monotonic())
                    self._wake()
            case "lost":
                text = "%d events are lost: instances may be missing in studies"
                _logger.warning(text, facts["count"], extra={"code": "studies"})

    def _take_instance(self, one: StoredInstance | StoreRequest) -> None:
        if isinstance(one, StoredInstance):
            uid, series, path, number = one.study_uid, one.series_uid, one.path, one.association
            identical = one.identical
        elif hasattr(one, "header"):
            found = one.header(_UIDS)
            uid, series = (str(found.get(keyword) or "") for keyword in _UIDS)
            path, number, identical = None, one.association.number, False
        else:
            what = "a StudyWatcher takes stored instances, events and StoreRequests"
            raise TypeError(f"{what}, not {described(one)}")
        peer = one.peer
        address = log.address(peer) or ""
        about = (path, one.size, peer.ae_title, address, number, identical)
        self._count(uid, ReceivedInstance(one.instance_uid, one.sop_class, series, *about))

    def _count(self, uid: str, one: ReceivedInstance) -> None:
        with self._changed:
            if self._closed:
                return
            if not uid:
                self.without_study += 1
                return
            now = monotonic()
            self._settle(now)  # a study that was complete by now is another one
            first_lost = self._studies.lost == 0
            none_open = self._studies.when() is None
            kept = self._studies.add(uid, one, now)
            # An instance puts the next end off: receivers that wait need not look for that.
            if none_open or self._complete:
                self._wake()
        if not kept and first_lost:
            text = "studies are not watched: %d instances are remembered, as many as may be"
            _logger.warning(text, self._studies.most, extra={"code": "studies"})
        if self._on_complete is not None:
            threads.keep_trying(self._has_caller)

    def _wake(self) -> None:
        """Have receivers look again; the lock is held."""
        self._changed.notify_all()
        for loop, event in self._waiters:
            with suppress(RuntimeError):  # that loop was closed
                loop.call_soon_threadsafe(event.set)

    def _settle(self, now: float) -> None:
        self._complete.extend(self._studies.due(now))

    # ---- what goes out

    def take(self) -> list[ReceivedStudy]:
        """Give the studies that are complete now, without waiting."""
        with self._changed:
            self._settle(monotonic())
            taken = list(self._complete)
            self._complete.clear()
            for study in taken:
                self._studies.forget(study)
        return taken

    def _next(self) -> tuple[ReceivedStudy | None, float | None]:
        """Give a complete study, or the seconds to wait: None for as long as it takes.

        The lock is held.

        Raises:
            StopIteration: no study will come any more.
        """
        now = monotonic()
        self._settle(now)
        if self._complete:
            study = self._complete.popleft()
            self._studies.forget(study)
            return study, None
        when = self._studies.when()
        if when is not None:
            return None, max(0.0, when - now)
        if self._closed or (self._followed and not self._sources):
            raise StopIteration
        return None, None

    def _check_iterated(self) -> None:
        if self._on_complete is not None:
            raise TypeError("the studies of this StudyWatcher go to on_complete=")

    def __iter__(self) -> Self:
        """Give itself.

        Raises:
            TypeError: the studies go to `on_complete`.
        """
        self._check_iterated()
        return self

    def __next__(self) -> ReceivedStudy:
        """Wait for the next complete study."""
        with self._changed:
            while True:
                study, wait = self._next()
                if study is not None:
                    return study
                self._changed.wait(wait)

    def __aiter__(self) -> Self:
        """Give itself.

        Raises:
            TypeError: the studies go to `on_complete`.
        """
        self._check_iterated()
        return self

    async def __anext__(self) -> ReceivedStudy:
        """Wait for the next complete study."""
        import asyncio

        waiter = asyncio.get_running_loop(), asyncio.Event()
        try:
            while True:
                with self._changed:
                    waiter[1].clear()
                    self._waiters.add(waiter)
                    try:
                        study, wait = self._next()
                    except StopIteration:
                        raise StopAsyncIteration from None
                if study is not None:
                    return study
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await waiter[1].wait()
        finally:
            with self._changed:
                self._waiters.discard(waiter)

    def _has_caller(self) -> bool:
        """See that a thread calls `on_complete`; False when none can be started now."""
        with self._changed:
            if self._caller is not None or not (self._studies.by_last or self._complete):
                return True
            try:
                self._caller = threads.start("dimse-studies", self._call)
            except (RuntimeError, MemoryError):
                return False
            return True

    def _call(self) -> None:
        """Call the function with each study, until none is open."""
        function = cast("Callable[[ReceivedStudy], object]", self._on_complete)
        while True:
            with self._changed:
                while True:
                    try:
                        study, wait = self._next()
                    except StopIteration:
                        study, wait = None, None
                    if study is not None:
                        break
                    if wait is None:  # no study is open: the next one starts another thread
                        self._caller = None
                        self._changed.notify_all()
                        return
                    self._changed.wait(wait)
            try:
                function(study)
            except Exception:
                _logger.exception("on_complete failed", extra={"code": "handler-failed"})
            del study  # this frame would keep it until the next is complete

    # ---- the end

    def close(self, *, flush: bool = False) -> None:
        """Count nothing more. Receivers get the studies that are complete, and then the end.

        With `on_complete` this returns when the function has had them.

        Args:
            flush: take the open studies for complete too, for the reason "closed". Otherwise they
                are dropped; `open` has them until then.
        """
        with self._changed:
            self._closed = True
            self._settle(monotonic())
            for uid in tuple(self._studies.by_last):
                study = self._studies.take(uid, "closed")
                if flush:
                    self._complete.append(study)
                else:
                    self._studies.forget(study)
            sources = tuple(self._sources)
            self._wake()
        for events in sources:
            events.close()
        if self._on_complete is None:
            return
        threads.keep_trying(self._has_caller)
        with self._changed:
            while self._caller is not None and self._caller is not current_thread():
                self._changed.wait(0.1)

    def __enter__(self) -> Self:
        """Use the watcher in a `with` block, which closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()
