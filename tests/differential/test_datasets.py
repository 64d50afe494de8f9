"""Data sets, whole and with faults, as our scanner judges them and as pydicom reads them."""

from __future__ import annotations

import io
import random
import warnings

import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from dimse_rs import _core
from tests.data.files import BUNDLED, data_set
from tests.differential.triage import READ, Triage
from tests.support.nodes import SCU, scp

SHORT = 12_000
"""Bytes of the files that are changed; most of a longer one is a single value."""
FAULTS = 12
"""Changed versions of each."""
C_STORE_RQ = 0x0001
UNDEFINED = 0xFFFFFFFF
REFUSED = {"SC_rgb_jpeg.dcm", "MR_truncated.dcm", "rtplan_truncated.dcm"}
"""Broken as they come: implicit VR under a transfer syntax with explicit VR, and cut short."""
IDENTITY = ("SOPClassUID", "SOPInstanceUID")


def readable() -> list:
    """Return the bundled files that are short, in a stable order, and in an encoding we scan."""
    found = []
    for path in sorted((BUNDLED / "test_files").glob("*.dcm")):
        if path.stat().st_size > SHORT:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                meta = dcmread(path, stop_before_pixels=True)
        except Exception:  # some are broken on purpose, from the first byte on
            continue
        syntax = getattr(meta.file_meta, "TransferSyntaxUID", None)
        if syntax and not syntax.is_deflated and all(name in meta for name in IDENTITY):
            found.append((path, syntax, meta))
    assert len(found) >= 10
    return found


def faults(content: bytes, name: str) -> list[bytes]:
    """Change bytes, lengths and the end, the same way every time."""
    chance = random.Random(name)
    made = [content]
    for number in range(FAULTS):
        changed = bytearray(content)
        at = chance.randrange(len(changed))
        match number % 4:
            case 0:
                changed[at] = chance.randrange(256)
            case 1:
                del changed[at:]
            case 2:
                del changed[at : at + chance.randrange(1, 5)]
            case _:
                changed[at:at] = chance.randbytes(chance.randrange(1, 5))
        made.append(bytes(changed))
    return made


def theirs(content: bytes, syntax) -> tuple[str, Dataset | None]:
    """Read every element; "read" means to the last byte of it."""
    buffer = io.BytesIO(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = read_dataset(buffer, syntax.is_implicit_VR, syntax.is_little_endian)
            # It takes what is left for a value that is cut short, and says nothing.
            raw = [one for one in read._dict.values() if isinstance(one, RawDataElement)]
            if any(len(one.value or b"") != one.length for one in raw if one.length != UNDEFINED):
                return "short", read
            for _ in read.iterall():
                pass
    except Exception as error:  # whatever they raise is what is compared
        return type(error).__name__, None
    if buffer.tell() != len(content):
        return "stopped", read
    return READ, read


def store(association: _core.Association, context_id: int, uids: list[str], content: bytes) -> str:
    """Send it as the instance of these UIDs; return "read", or the Error Comment."""
    command = {
        "CommandField": C_STORE_RQ,
        "MessageID": association.next_message_id(),
        "AffectedSOPClassUID": uids[0],
        "AffectedSOPInstanceUID": uids[1],
        "Priority": 0,
    }
    invocation = association.invoke(_core.Message(context_id, command, content), 15)
    response = invocation.next()
    return READ if response.status == 0 else response.get("ErrorComment")


@pytest.mark.timeout(120)
def test_the_scanner_and_pydicom_agree(tmp_path):
    triage = Triage("dataset")
    judged = 0
    with scp(tmp_path) as server:
        for path, syntax, meta in readable():
            uids = [str(meta[name].value) for name in IDENTITY]
            context = _core.ProposedContext(uids[0], [syntax])
            request = _core.AssociateRequest("SCU", "SCP", [context])
            config = SCU._config(_core.Service())
            association = _core.associate("127.0.0.1", server.port, request, config)
            for content in faults(data_set(path), path.name):
                told, read = theirs(content, syntax)
                ours = store(association, 1, uids, content)
                judged += 1
                triage.check(ours, told, content)
                if content == data_set(path):
                    assert (ours == READ) == (path.name not in REFUSED), path.name
                if ours == READ and told == READ:
                    assert [str(read.get(name, "")) for name in IDENTITY] == uids
            association.release()
    assert judged > 100
