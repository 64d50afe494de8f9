"""Seeds of the fuzz targets: what DCMTK, pynetdicom, GDCM and Orthanc say to each other.

`python -m tests.peers.seeds` records conversations, takes them apart, and adds what is short enough
to the archives in `fuzz/corpus`. Pictures and names in them are those of pydicom's bundled files
and our own.
"""

from __future__ import annotations

import hashlib
import struct
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.data.files import BUNDLED
from tests.peers.archive import ARCHIVES
from tests.peers.record import Conversation, recording
from tests.peers.scp import SCPS
from tests.peers.scu import SCUS, Target
from tests.support import corpus, wire
from tests.support.process import LOOPBACK, MissingPeerError, require, run

LONGEST = 4096
"""Bytes of a seed: a fuzzer goes through short ones faster, and learns as much from them."""
IMPLICIT, EXPLICIT, BIG_ENDIAN = 0, 1, 2


def pdus(stream: bytes) -> Iterator[bytes]:
    """Yield the whole PDUs of one direction."""
    at = 0
    while at + 6 <= len(stream):
        end = at + 6 + struct.unpack_from(">I", stream, at + 2)[0]
        yield stream[at:end]
        at = end


def user_information(pdu: bytes) -> Iterator[bytes]:
    """Yield the 50H of an A-ASSOCIATE-RQ or -AC."""
    if pdu[0] in (1, 2):
        yield from (content for kind, content in wire.items(pdu[74:]) if kind == 0x50)


def messages(stream: bytes) -> Iterator[tuple[int, bool, bytes]]:
    """Yield context id, whether it is a command, and the bytes of each part of a message."""
    parts: dict[bool, bytes] = {True: b"", False: b""}
    for pdu in pdus(stream):
        if pdu[0] != 4:
            continue
        for context, control, fragment in wire.pdvs(pdu[6:]):
            command = bool(control & 1)
            parts[command] += fragment
            if control & 2:
                yield context, command, parts[command]
                parts[command] = b""


def encodings(answers: bytes) -> dict[int, int]:
    """Return the encoding of each accepted context, as `dataset_scan` numbers it."""
    known = {b"1.2.840.10008.1.2": IMPLICIT, b"1.2.840.10008.1.2.2": BIG_ENDIAN}
    accepted = {}
    for pdu in pdus(answers):
        if pdu[0] == 2:
            for kind, content in wire.items(pdu[74:]):
                if kind == 0x21 and content[2] == 0:
                    syntax = dict(wire.items(content[4:]))[0x40].rstrip(b"\0")
                    if syntax != b"1.2.840.10008.1.2.1.99":
                        accepted[content[0]] = known.get(syntax, EXPLICIT)
    return accepted


def seeds(conversation: Conversation) -> Iterator[tuple[str, bytes]]:
    """Yield (target, input) of all that one conversation is good for."""
    streams = {end: b"".join(c for e, c in conversation if e == end) for end in "IO"}
    encoding = encodings(streams["O"])
    for stream in streams.values():
        for pdu in pdus(stream):
            yield "pdu_decode", pdu
            yield "pdu_roundtrip", pdu[:1] + pdu[6:]
            for content in user_information(pdu):
                yield "user_info", content
            # An acceptor whose connection is open, and a PDU.
            if len(pdu) < 256:
                yield "fsm_walk", bytes([0, 0, 7, 12, len(pdu)]) + pdu
        for context, is_command, part in messages(stream):
            if is_command:
                yield "command_set", part
            elif context in encoding:
                yield "dataset_scan", bytes([encoding[context], 7]) + part


def conversations(folder: Path) -> Iterator[Conversation]:
    """Have everybody that is installed talk to everybody else."""
    sample = BUNDLED / "test_files" / "MR_small_implicit.dcm"
    small = BUNDLED / "test_files" / "rtplan.dcm"
    for scp in SCPS.values():
        if scp.name == "dimse":
            continue
        for scu in SCUS.values():
            if scu.name == "dimse":
                continue
            with ExitStack() as stack:
                try:
                    require(*scp.tools, *scu.tools)
                except MissingPeerError as missing:
                    print(missing, file=sys.stderr)
                    continue
                stored = Path(tempfile.mkdtemp(dir=folder))
                running = stack.enter_context(scp.start(stored))
                recorder = stack.enter_context(recording(running.target.port))
                to = Target(recorder.port, running.target.title)
                scu.echo(to)
                for path in (sample, small):
                    scu.store(to, path, "implicit LE")
            yield from recorder.conversations
    for archive in ARCHIVES.values():
        if archive.name == "dimse":
            continue
        with ExitStack() as stack:
            try:
                require(*archive.tools)
            except MissingPeerError as missing:
                print(missing, file=sys.stderr)
                continue
            kept = Path(tempfile.mkdtemp(dir=folder))
            to = stack.enter_context(archive.start(kept, 11113))
            recorder = stack.enter_context(recording(to.port))
            here = [LOOPBACK, str(recorder.port)]
            titles = ["-aet", "DIMSE_RS", "-aec", to.title]
            run(["storescu", *titles, *here, str(sample)])
            for level, keys in (
                ("STUDY", ["PatientID", "StudyInstanceUID", "PatientName=*"]),
                ("SERIES", ["StudyInstanceUID=1.2.*", "SeriesInstanceUID", "Modality=MR"]),
                ("NONE", ["PatientID=nobody"]),
            ):
                wanted = [f"QueryRetrieveLevel={level}", *keys]
                argv = ["findscu", "-S", *titles, *(f"-k{key}" for key in wanted), *here]
                run([*argv])
            move = ["-S", *titles, "-aem", "NOBODY", "-kQueryRetrieveLevel=STUDY"]
            run(["movescu", *move, "-kStudyInstanceUID=1.2.3", *here])
            get = ["-S", *titles, "-od", str(kept), "-kQueryRetrieveLevel=STUDY"]
            run(["getscu", *get, "-kStudyInstanceUID=1.2.3", *here])
        yield from recorder.conversations


def main() -> None:
    """Record, and say how many seeds there are of each target."""
    made: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
    with tempfile.TemporaryDirectory() as folder:
        for conversation in conversations(Path(folder)):
            for target, seed in seeds(conversation):
                if len(seed) <= LONGEST:
                    name = f"seed-{hashlib.sha1(seed).hexdigest()[:16]}"
                    made[target][name] = seed
    for target, found in sorted(made.items()):
        archive = corpus.CORPUS / f"{target}.tar"
        known = corpus.read(archive)
        corpus.write(archive, known | found)
        print(f"{target}: {len(found.keys() - known.keys())} new")


if __name__ == "__main__":
    main()
