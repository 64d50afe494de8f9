"""Studies that are complete, from either server, by `on_stored`, events or handlers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pydicom
import pytest

from dimse_rs import AE, AsyncServer, CTImageStorage, Server, Storage, StudyWatcher
from tests.support.nodes import CT, PATIENT, SCU, at, link, scp
from tests.support.waiting import until

ENOUGH = 15.0
STUDY = "1.2.840.99.1"


def instances(folder: Path, count: int, *, study: str = STUDY, series: int = 1) -> list[Path]:
    """Make files of one study; the empty UID leaves both UIDs out."""
    made = []
    for number in range(count):
        dataset = pydicom.dcmread(CT)
        uid = f"{study or '1.2.840.99.9'}.{series}.{number + 1}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.{series}"
        if not study:
            del dataset.StudyInstanceUID, dataset.SeriesInstanceUID
        made.append(folder / f"{uid}.dcm")
        dataset.save_as(made[-1])
    return made


def test_stored_events_say_to_what_an_instance_belongs_and_on_which_association(tmp_path):
    [path] = instances(tmp_path, 1)
    server = scp(tmp_path / "in")
    events = server.events("stored", "refused", "ended")
    with link(server, [CTImageStorage]) as association:
        association.c_store(path)
        number = association.number
    stored, ended = events
    assert (stored["study"], stored["series"], stored["class"]) == (
        STUDY,
        f"{STUDY}.1",
        CTImageStorage,
    )
    assert stored["association"] == ended["association"]
    assert stored["peer"] == ended["peer"]
    assert isinstance(number, int), "the other end has a number of its own"


def test_an_instance_without_a_study_is_stored_and_its_event_has_none(tmp_path):
    [path] = instances(tmp_path, 1, study="")
    server = scp(tmp_path / "in")
    events = server.events("stored", "refused")
    with server:
        SCU.send(at(server), path).raise_for_failures()
    [stored] = events
    assert (stored["event"], stored["study"], stored["series"]) == ("stored", None, None)


def test_the_end_counts_what_handlers_took_and_not_what_they_refused(tmp_path):
    paths = instances(tmp_path, 3)
    server = scp()
    events = server.events("released", "ended")

    @server.c_store
    def store(request):
        return (
            0xB000
            if request.instance_uid.endswith(".1")
            else 0xA700
            if request.instance_uid.endswith(".2")
            else None
        )

    with server:
        SCU.send(at(server), paths)
    assert [event["stored"] for event in events] == [2, 2]


def test_events_of_a_server_are_followed_to_the_end_of_its_associations(tmp_path):
    server = scp(tmp_path / "in")
    watcher = StudyWatcher(quiet=60, after_end=0).follow(server.events("stored", "ended"))
    with server:
        SCU.send(at(server), instances(tmp_path, 3)).raise_for_failures()
        study = next(watcher)
        assert (study.uid, study.count, study.reason) == (STUDY, 3, "ended")
        assert study.senders == {"SCU": 3}
        assert sorted(study.paths) == sorted((tmp_path / "in").glob("*.dcm"))
        assert study.instances[0].address.startswith("127.0.0.1:")
        SCU.send(at(server), instances(tmp_path, 1, study="1.2.840.99.2")).raise_for_failures()
    assert [study.uid for study in watcher] == ["1.2.840.99.2"], "and then the end"


def test_two_senders_of_one_study_are_waited_for_both(tmp_path):
    server = scp(tmp_path / "in")
    watcher = StudyWatcher(quiet=60, after_end=0).follow(server.events("stored", "ended"))
    first, second = instances(tmp_path, 2)
    with server:
        with AE("OTHER", timeouts=PATIENT).associate(
            at(server), contexts=[CTImageStorage]
        ) as other:
            other.c_store(first)
            SCU.send(at(server), second).raise_for_failures()
            # The end of the first association is followed before that of this one.
            SCU.send(at(server), instances(tmp_path, 1, study="1.2.840.99.2")).raise_for_failures()
            assert next(watcher).uid == "1.2.840.99.2"
        study = next(watcher)
    assert (study.count, study.senders) == (2, {"OTHER": 1, "SCU": 1})


def test_on_stored_adds_to_a_watcher_and_the_ends_come_from_events(tmp_path):
    watcher = StudyWatcher(quiet=60, after_end=0)
    storage = Storage(tmp_path / "in", mode="fast", on_stored=watcher.add)
    server = Server(AE("SCP", timeouts=PATIENT), port=0, services=[storage])
    watcher.follow(server.events("ended"))
    with server:
        SCU.send(at(server), instances(tmp_path, 3)).raise_for_failures()
        study = next(watcher)
    assert (study.count, study.reason, study.changed) == (3, "ended", True)
    assert list(watcher) == []


def test_a_handler_adds_its_requests(tmp_path):
    watcher = StudyWatcher(quiet=0.05)
    server = scp()

    @server.c_store
    def store(request):
        watcher.add(request)

    with server:
        SCU.send(at(server), instances(tmp_path, 2)).raise_for_failures()
        study = next(watcher)
    [first, _] = study.instances
    assert (study.uid, study.count, study.paths) == (STUDY, 2, ())
    assert (first.series, first.sender, first.size > 0) == (f"{STUDY}.1", "SCU", True)


@pytest.mark.usefixtures("either_mode")
@pytest.mark.parametrize("by", ["on_stored", "events"])
def test_studies_of_an_async_server_come_to_async_for(tmp_path, by):
    watcher = StudyWatcher(quiet=60, after_end=0)
    function = watcher.add if by == "on_stored" else None
    storage = Storage(tmp_path / "in", mode="fast", on_stored=function)
    paths = instances(tmp_path, 3)

    async def main():
        server = AsyncServer(AE("SCP", timeouts=PATIENT), port=0, services=[storage])
        watcher.follow(server.events(*(["ended"] if by == "on_stored" else ["stored", "ended"])))
        async with asyncio.timeout(ENOUGH):
            async with server:
                report = await asyncio.to_thread(SCU.send, at(server), paths)
                report.raise_for_failures()
                study = await anext(watcher)
            return study, [study async for study in watcher]

    study, rest = asyncio.run(main())
    assert (study.uid, study.count, study.reason) == (STUDY, 3, "ended")
    assert rest == []


def test_closing_lets_go_of_the_events(tmp_path):
    server = scp(tmp_path / "in")
    watcher = StudyWatcher().follow(server.events("stored"))
    with server:
        watcher.close()
        assert list(watcher) == []
        until(lambda: not watcher._sources)


PROGRAM = """
    from dimse_rs import AE, Server, Storage, StudyWatcher

    watcher = StudyWatcher(quiet=60)
    storage = Storage("in", mode="fast", on_stored=watcher.add)
    with Server(AE("SCP"), port=0, services=[storage]) as server:
        AE("SCU").send(f"SCP@127.0.0.1:{server.port}", "one.dcm").raise_for_failures()
        try:
            print("waiting", flush=True)
            for study in watcher:
                print("too early")
        except KeyboardInterrupt:
            print([study.count for study in watcher.open])
"""


def test_ctrl_c_ends_the_waiting_and_leaves_what_is_open(tmp_path):
    (tmp_path / "one.dcm").write_bytes(CT.read_bytes())
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        cwd=tmp_path, stdout=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        assert program.stdout is not None
        assert program.stdout.readline() == "waiting\n"
        os.kill(program.pid, signal.SIGINT)
        assert program.communicate(timeout=ENOUGH)[0] == "[1]\n"
    assert program.returncode == 0
