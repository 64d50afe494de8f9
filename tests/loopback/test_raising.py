"""A handler that raises is seen by who wrote it, without any logging configured."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import asyncio, sys
from dimse_rs import AE, AsyncServer, Server, StatusError, StudyRoot

def find(request):
    date = request.identifier.StudyDate
    raise ValueError("my own text")

def library(request):
    from datetime import datetime
    datetime.strptime(request.identifier.PatientID, "%Y")

def from_another(request):
    try:
        library(request)
    except ValueError as error:
        raise LookupError("my own text") from error

def matches(request):
    from pydicom.dataset import Dataset
    match = Dataset()
    match.PatientID = "1"
    yield match
    find(request)

handler = globals()[sys.argv[1]]
if sys.argv[2] == "async":
    inner = handler
    async def handler(request):
        return inner(request)

def query(port):
    with AE("A").associate(f"A@127.0.0.1:{port}", contexts=StudyRoot) as association:
        keys = {"PatientID": "MARKED", "StudyDate": ""}
        try:
            list(association.c_find(keys, model=StudyRoot, level="STUDY"))
        except StatusError as error:
            print(f"{error.status:04X}")

if sys.argv[2] == "blocking":
    server = Server(AE("A"), port=0)
    server.c_find(StudyRoot)(handler)
    with server:
        query(server.port)
else:
    async def main():
        server = AsyncServer(AE("A"), port=0)
        server.c_find(StudyRoot)(handler)
        async with server:
            await asyncio.to_thread(query, server.port)
    asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["blocking", "async"])
@pytest.mark.parametrize("handler", ["find", "library", "from_another", "matches"])
def test_a_handler_that_raises_is_seen_with_its_traceback(handler, kind):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, handler, kind],
        capture_output=True,
        text=True,
        timeout=25,
        check=True,
    )
    assert done.stdout == "C000\n"
    lines = done.stderr.splitlines()
    assert lines[0].startswith("ERROR dimse_rs.server: <FindRequest C-FIND-RQ 1 A<-A(")
    assert lines[0].endswith("the handler failed")
    assert lines[1] == "Traceback (most recent call last):"
    assert '  File "<string>", line ' in lines[2]  # not this package's
    kind = {"library": "ValueError", "from_another": "LookupError"}.get(handler, "ValueError")
    text = "(text not shown: it may hold values of a data set)"
    if handler != "library":
        text = "my own text"
    assert any(line.startswith(kind) and line.endswith(text) for line in lines)
    assert "MARKED" not in done.stderr
    assert ("caused by ValueError" in done.stderr) == (handler == "from_another")
