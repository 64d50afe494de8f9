"""`StudyWatcher` by its rules, on a clock of its own: what is complete, and what is kept."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from dimse_rs import CTImageStorage, Peer, StoredInstance, StudyWatcher, studies
from dimse_rs.sop_class import SOPClass, TransferSyntax


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(studies, "monotonic", made)
    return made


def instance(uid: str, study: str = "1.2", association: int = 7, **more: object) -> StoredInstance:
    """Give a stored instance."""
    sender = str(more.pop("sender", "CT"))
    return StoredInstance(
        path=Path("/in", f"{uid}.dcm"),
        sop_class=SOPClass.of(CTImageStorage),
        instance_uid=uid,
        transfer_syntax=TransferSyntax.of("1.2.840.10008.1.2.1"),
        study_uid=study,
        series_uid=str(more.pop("series", "1.2.1")),
        size=10,
        peer=Peer(sender, "127.0.0.1", 4000 + association),
        association=association,
        **more,  # type: ignore[arg-type]
    )


def ended(association: int) -> dict[str, object]:
    return {"event": "ended", "association": association}


def test_a_study_is_complete_when_it_has_been_quiet(clock):
    watcher = StudyWatcher(quiet=60)
    watcher.add([instance("1"), instance("2", series="1.2.2")])
    clock.now += 59
    watcher.add(instance("3", sender="MR", association=8))
    clock.now += 59
    assert watcher.take() == []
    [so_far] = watcher.open
    assert (so_far.uid, so_far.count, so_far.reason) == ("1.2", 3, "open")
    clock.now += 1
    [study] = watcher.take()
    assert [one.uid for one in study.instances] == ["1", "2", "3"]
    assert (study.uid, study.count, study.seconds, study.reason) == ("1.2", 3, 59, "quiet")
    assert study.senders == {"CT": 2, "MR": 1}
    assert {uid: len(of) for uid, of in study.series.items()} == {"1.2.1": 2, "1.2.2": 1}
    assert study.paths[0] == Path("/in/1.dcm")
    assert study.instances[0].address == "127.0.0.1:4007"
    assert study.changed
    assert watcher.take() == []
    assert watcher.open == ()


def test_studies_come_in_the_order_in_which_they_fell_silent(clock):
    watcher = StudyWatcher(quiet=60)
    for number in range(5):
        watcher.add(instance(str(number), study=f"1.{number}"))
        clock.now += 1
    watcher.add(instance("9", study="1.0"))
    clock.now += 100
    assert [study.uid for study in watcher.take()] == ["1.1", "1.2", "1.3", "1.4", "1.0"]


def test_what_comes_after_a_study_was_given_begins_it_anew(clock):
    watcher = StudyWatcher(quiet=60)
    watcher.add(instance("1"))
    # Nobody has looked in between: the second instance is 10 minutes late all the same.
    clock.now += 600
    watcher.add(instance("2"))
    [first] = watcher.take()
    clock.now += 60
    [second] = watcher.take()
    assert [[one.uid for one in study.instances] for study in (first, second)] == [["1"], ["2"]]


def test_an_instance_that_comes_twice_is_listed_once_and_counts_as_a_sign_of_life(clock):
    watcher = StudyWatcher(quiet=60)
    watcher.add([instance("1"), instance("2")])
    clock.now += 50
    watcher.add(instance("1", identical=True))
    clock.now += 50
    assert watcher.take() == []
    clock.now += 10
    [study] = watcher.take()
    assert [(one.uid, one.identical) for one in study.instances] == [("2", False), ("1", True)]
    assert study.count == 2


def test_a_study_that_was_there_already_has_not_changed(clock):
    watcher = StudyWatcher(quiet=60)
    watcher.add([instance("1", identical=True), instance("2", identical=True)])
    clock.now += 60
    assert [study.changed for study in watcher.take()] == [False]


def test_with_after_end_a_study_is_complete_when_all_its_associations_are_over(clock):
    watcher = StudyWatcher(quiet=60, after_end=0)
    watcher.add([instance("1", association=7), instance("2", association=8)])
    watcher.add(ended(7))
    assert watcher.take() == []
    watcher.add(ended(9))
    assert watcher.take() == []
    watcher.add(ended(8))
    [study] = watcher.take()
    assert study.reason == "ended"
    assert watcher._studies.remembered == 0


def test_after_end_leaves_time_for_the_next_association(clock):
    watcher = StudyWatcher(quiet=60, after_end=5)
    watcher.add([instance("1", association=7), ended(7)])
    clock.now += 4
    watcher.add(instance("2", association=8))
    clock.now += 10
    assert watcher.take() == []
    watcher.add(ended(8))
    clock.now += 5
    assert [(study.count, study.reason) for study in watcher.take()] == [(2, "ended")]


def test_an_association_that_does_not_end_leaves_the_quiet_time(clock):
    watcher = StudyWatcher(quiet=60, after_end=0)
    watcher.add([instance("1", association=7), instance("2", association=8), ended(8)])
    clock.now += 60
    assert [study.reason for study in watcher.take()] == ["quiet"]
    watcher.add(ended(7))
    assert watcher._studies.remembered == 0
    assert watcher._studies._of_association == {}


def test_without_after_end_the_end_of_an_association_says_nothing(clock):
    watcher = StudyWatcher(quiet=60)
    watcher.add([instance("1"), ended(7)])
    assert watcher.take() == []


def test_a_study_that_never_falls_silent_is_given_after_its_longest_time(clock):
    watcher = StudyWatcher(quiet=60, longest=600)
    for number in range(100):
        watcher.add(instance(str(number)))
        clock.now += 10
    study = watcher.take()[0]
    assert (study.reason, study.count, study.seconds) == ("longest", 60, 590)
    assert watcher.open[0].count == 40


def test_instances_without_a_study_are_counted_and_left_out(clock):
    watcher = StudyWatcher(quiet=60)
    watcher.add([instance("1", study=""), instance("2")])
    assert (watcher.without_study, watcher.open[0].count) == (1, 1)


def test_memory_is_bounded_and_what_is_not_kept_is_counted(clock, caplog):
    watcher = StudyWatcher(quiet=60, most=4)
    watcher.add([instance(str(number)) for number in range(10)])
    assert (watcher.open[0].count, len(watcher.open[0].instances)) == (10, 3)
    watcher.add([instance(f"9.{number}", study=f"9.{number}") for number in range(5)])
    assert watcher.lost == 5
    assert len(watcher.open) == 1
    assert [record.message for record in caplog.records] == [
        "studies are not watched: 4 instances are remembered, as many as may be"
    ]
    clock.now += 60
    [study] = watcher.take()
    assert study.changed
    watcher.add(instance("1", study="2.1"))
    assert len(watcher.open) == 1, "what was given is forgotten, and has made room"


def test_what_is_complete_and_not_taken_counts_as_remembered(clock):
    watcher = StudyWatcher(quiet=1, most=4)
    for number in range(10):
        watcher.add(instance("1", study=f"1.{number}"))
        clock.now += 2
    assert (len(watcher.take()), watcher.lost) == (2, 8)


def test_associations_count_as_remembered_and_one_that_is_not_leaves_the_quiet_time(clock):
    watcher = StudyWatcher(quiet=60, after_end=0, most=5)
    for number in range(10):
        watcher.add(instance(str(number), association=number))
    for number in range(10):
        watcher.add(ended(number))
    assert watcher.take() == [], "some of its associations were not followed"
    clock.now += 60
    assert [(study.count, study.reason) for study in watcher.take()] == [(10, "quiet")]
    assert watcher._studies.remembered == 0


def test_refused_and_other_events_are_passed_over(clock):
    watcher = StudyWatcher(quiet=60)
    watcher.add([{"event": "refused", "uid": "1"}, {"event": "released"}])
    assert watcher.open == ()


def test_lost_events_are_logged(clock, caplog):
    StudyWatcher().add({"event": "lost", "count": 3})
    assert [record.message for record in caplog.records] == [
        "3 events are lost: instances may be missing in studies"
    ]


def test_what_is_no_instance_is_refused_by_its_type():
    with pytest.raises(TypeError, match="takes stored instances, events and StoreRequests, not"):
        StudyWatcher().add(object())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"quiet": -1}, ValueError, "quiet is a number of seconds, not -1"),
        ({"after_end": -1}, ValueError, "after_end is a number of seconds"),
        ({"longest": float("nan")}, ValueError, "longest is a number of seconds"),
        ({"most": 0}, ValueError, "most is at least 1"),
        ({"on_complete": 5}, TypeError, "on_complete= is a function, not"),
        ({"on_complete": lambda: None}, TypeError, "on_complete= is called with a study"),
    ],
)
def test_settings_are_checked(arguments, error, text):
    with pytest.raises(error, match=text):
        StudyWatcher(**arguments)


def test_an_asynchronous_function_is_refused():
    async def told(study: object) -> None: ...

    with pytest.raises(TypeError, match="on_complete= is asynchronous"):
        StudyWatcher(on_complete=told)


# ---- the three receivers; their times are real and short


def test_for_waits_and_ends_with_close():
    watcher = StudyWatcher(quiet=0.05)
    watcher.add([instance("1"), instance("2", study="1.3")])
    assert {next(watcher).uid, next(watcher).uid} == {"1.2", "1.3"}
    threading.Timer(0.05, watcher.close).start()
    assert list(watcher) == []


def test_close_gives_what_is_open_when_asked_to_and_drops_it_otherwise(clock):
    dropped, given = StudyWatcher(), StudyWatcher()
    for watcher, flush in ((dropped, False), (given, True)):
        watcher.add([instance("1"), instance("2")])
        watcher.close(flush=flush)
        watcher.add(instance("3"))
    assert list(dropped) == []
    assert [(study.reason, study.count) for study in given] == [("closed", 2)]
    assert given._studies.remembered == dropped._studies.remembered == 0


def test_a_with_block_closes(clock):
    with StudyWatcher() as watcher:
        watcher.add(instance("1"))
    assert list(watcher) == []


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_async_for_waits_is_woken_by_another_thread_and_ends_with_close(debug):
    watcher = StudyWatcher(quiet=0.05)

    async def take() -> list[str]:
        threading.Timer(0.05, watcher.add, [instance("1")]).start()
        taken = []
        async for study in watcher:
            taken.append(study.uid)
            threading.Timer(0.05, watcher.close).start()
        return taken

    assert asyncio.run(take(), debug=debug) == ["1.2"]
    assert watcher._waiters == set()


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_a_task_that_is_cancelled_takes_no_study_along(debug):
    watcher = StudyWatcher(quiet=0.05)

    async def cancelled() -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(watcher)
        assert watcher._waiters == set()
        watcher.add(instance("1"))
        return (await anext(watcher)).uid

    assert asyncio.run(cancelled(), debug=debug) == "1.2"


def test_a_function_gets_each_study_on_a_thread_that_goes_when_none_is_open(caplog):
    told: list[tuple[str, str]] = []
    come = threading.Semaphore(0)

    def tell(study: object) -> None:
        told.append((study.uid, threading.current_thread().name))
        come.release()
        if len(told) == 1:
            raise RuntimeError("of the user")

    watcher = StudyWatcher(quiet=0.02, on_complete=tell)
    for uid in ("1.1", "1.2"):
        watcher.add(instance("1", study=uid))
        assert come.acquire(timeout=10)
    assert told == [("1.1", "dimse-studies"), ("1.2", "dimse-studies")]
    assert [record.message for record in caplog.records] == ["on_complete failed"]
    watcher.close()
    assert watcher._caller is None


def test_close_returns_when_the_function_has_had_all(clock):
    told: list[str] = []
    watcher = StudyWatcher(on_complete=lambda study: told.append(study.uid))
    watcher.add([instance("1", study="1.1"), instance("1", study="1.2")])
    watcher.close(flush=True)
    assert told == ["1.1", "1.2"]


def test_the_function_may_close():
    closed = threading.Event()

    def tell(study: object) -> None:
        watcher.close()
        closed.set()

    watcher = StudyWatcher(quiet=0.01, on_complete=tell)
    watcher.add(instance("1"))
    assert closed.wait(10)


def test_studies_that_go_to_a_function_cannot_be_iterated_over():
    watcher = StudyWatcher(on_complete=print)
    with pytest.raises(TypeError, match="go to on_complete="):
        iter(watcher)
    with pytest.raises(TypeError, match="go to on_complete="):
        watcher.__aiter__()


def test_receivers_that_share_a_watcher_get_each_study_once():
    watcher = StudyWatcher(quiet=0.05)
    taken: list[str] = []

    def take() -> None:
        for study in watcher:
            taken.append(study.uid)

    takers = [threading.Thread(target=take) for _ in range(4)]
    for taker in takers:
        taker.start()
    expected = [f"1.{number}" for number in range(50)]
    watcher.add([instance("1", study=uid) for uid in expected])
    watcher.close(flush=True)
    for taker in takers:
        taker.join(10)
    assert sorted(taken) == sorted(expected)


def test_the_repr_has_the_counts(clock):
    watcher = StudyWatcher(quiet=60)
    watcher.add([instance("1"), instance("2", study="1.3")])
    assert repr(watcher) == "<StudyWatcher 2 open, 0 complete>"
    clock.now += 60
    study = watcher.take()[0]
    assert repr(study) == "<ReceivedStudy 1.2, 1 instances from CT, quiet>"
