"""What C-GET needs of the core: a folder for its instances, a sending that can be stopped."""

from __future__ import annotations

import threading

import pytest

from dimse_rs import CTImageStorage, DimseError, _core
from tests.data.generate import series
from tests.support.nodes import SCU

GET = "1.2.840.10008.5.1.4.1.2.2.3"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
C_GET_RQ = 0x0010


class Archive:
    """An SCP of C-GET that sends the same files to everybody."""

    def __init__(self, paths):
        self.service = _core.Service(handled={C_GET_RQ: None})
        self.listener = _core.Listener(
            "127.0.0.1",
            0,
            _core.Policy(
                [_core.SupportedContext(GET), _core.SupportedContext(CTImageStorage, scp=True)]
            ),
            SCU._config(self.service),
        )
        self.paths = paths
        self.results = []

    @property
    def statuses(self):
        return [response.status for _, _, response, _ in self.results]

    def perform(self, stop=False):
        operation = self.service.next_operation(15)
        # So many that the last is not sent before the call that stops them.
        bulk = operation.association.send_files(self.paths * (50 if stop else 1))
        if stop:
            bulk.stop()
        self.results = []
        while (results := bulk.next(15, gather=not stop)) is not None:
            self.results += results
        operation.respond({"Status": 0x0000})


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return series(tmp_path_factory.mktemp("series"), "GET", 40, (1, 64, 64))


@pytest.fixture
def archive(paths):
    archive = Archive(paths)
    yield archive
    archive.listener.stop(0.0)


def associate(archive, service):
    contexts = [
        _core.ProposedContext(GET, [IMPLICIT]),
        _core.ProposedContext(CTImageStorage, [EXPLICIT], scu=False, scp=True),
    ]
    request = _core.AssociateRequest("SCU", "SCP", contexts)
    to = archive.listener.address
    return _core.associate(to.host, to.port, request, SCU._config(service))


def c_get(archive, association, into=None, **options):
    request = {
        "CommandField": C_GET_RQ,
        "AffectedSOPClassUID": GET,
        "MessageID": association.next_message_id(),
        "Priority": 0,
    }
    performer = threading.Thread(target=archive.perform, kwargs=options, daemon=True)
    performer.start()
    message = _core.Message(1, request, b"\x08\x00\x52\x00\x00\x00\x00\x00")
    invocation = association.invoke(message, into=into)
    response = invocation.next()
    assert invocation.next() is None
    performer.join(15)
    return response.status


def test_all_that_a_get_brought_is_told_when_its_final_response_is_there(archive, paths, tmp_path):
    events = _core.Events()
    follower = events.follow(["stored"], 100_000)
    association = associate(archive, _core.Service(events=events))
    assert c_get(archive, association, _core.Folder(tmp_path / "received", "fast")) == 0x0000
    stored = [event.facts for event in follower.take() if event.kind == "stored"]
    assert len(stored) == len(paths)
    assert sorted(facts["path"] for facts in stored) == sorted((tmp_path / "received").iterdir())
    association.release()


def test_instances_of_a_get_without_a_folder_are_refused(archive, paths, tmp_path):
    association = associate(archive, _core.Service())
    c_get(archive, association, _core.Folder(tmp_path, "fast"))
    assert archive.statuses == [0x0000] * len(paths)
    c_get(archive, association)
    assert archive.statuses == [0x0122] * len(paths)
    association.release()


def test_a_sending_that_is_stopped_says_what_was_not_begun(archive, paths):
    association = associate(archive, _core.Service())
    c_get(archive, association, stop=True)
    assert sorted(index for index, *_ in archive.results) == list(range(50 * len(paths)))
    unsent = [error for _, begun, _, error in archive.results if begun is None]
    assert unsent
    for error in unsent:
        assert type(error) is DimseError
        assert "stopped" in str(error)
    assert c_get(archive, association) == 0x0000, "the association lives on"
    association.release()
