"""pynetdicom where the benchmark alone wants it; the loop alone is timed.

usage: pynetdicom_node.py scp COUNT                      C-FIND SCP: so many data sets
       pynetdicom_node.py find PORT TITLE                C-FIND, counting the matches
       pynetdicom_node.py crowd PORT TITLE COUNT FILE... COUNT threads with an association each:
                                                         echo, store the files, release
the SCP prints {"event": "listening", "port": N}, the others {"seconds": S, "count": N}
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification

from tests.bench.matches import match, query

FIND = StudyRootQueryRetrieveInformationModelFind


def serve(count: int) -> None:
    """Answer queries with the same data sets each time, until terminated."""
    found = [match(number) for number in range(count)]

    def find(_event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        for item in found:
            yield 0xFF00, item
        yield 0x0000, None

    ae = AE(ae_title="PYNETDICOM")
    ae.maximum_pdu_size = 0
    ae.add_supported_context(FIND)
    handlers = [(evt.EVT_C_FIND, find)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    port = server.socket.getsockname()[1]
    print(json.dumps({"event": "listening", "port": port}), flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ae.shutdown()


def associate(ae: AE, port: int, title: str) -> Association:
    """Open an association or end the program."""
    association = ae.associate("127.0.0.1", port, ae_title=title, max_pdu=0)
    if not association.is_established:
        sys.exit("no association")
    return association


def find(port: int, title: str) -> tuple[float, int]:
    """Count matches."""
    ae = AE(ae_title="PYNETDICOM")
    ae.add_requested_context(FIND)
    association = associate(ae, port, title)
    asked = query()
    start = time.perf_counter()
    statuses = [status.Status for status, _ in association.send_c_find(asked, FIND)]
    seconds = time.perf_counter() - start
    association.release()
    if statuses[-1] != 0:
        sys.exit(f"status {statuses[-1]:04X}")
    return seconds, len(statuses) - 1


def crowd(port: int, title: str, count: int, paths: Sequence[str]) -> tuple[float, int]:
    """Have many associations at once, each on a thread."""
    ae = AE(ae_title="PYNETDICOM")
    ae.add_requested_context(Verification)
    meta = dcmread(paths[0], specific_tags=["SOPClassUID"], stop_before_pixels=True)
    ae.add_requested_context(meta.SOPClassUID, meta.file_meta.TransferSyntaxUID)
    here = threading.Barrier(count)
    done = []

    def one() -> None:
        association = associate(ae, port, title)
        here.wait()  # so that all of them are there at once
        statuses = [association.send_c_echo()]
        statuses += [association.send_c_store(path) for path in paths]
        association.release()
        if all(status.Status == 0 for status in statuses):
            done.append(association)

    threads = [threading.Thread(target=one) for _ in range(count)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    if len(done) != count:
        sys.exit(f"{len(done)} of {count} associations went well")
    return seconds, count


def main() -> None:
    """Run one of them."""
    what, *rest = sys.argv[1:]
    if what == "scp":
        serve(int(rest[0]))
        return
    port, title = int(rest[0]), rest[1]
    if what == "find":
        seconds, count = find(port, title)
    else:
        seconds, count = crowd(port, title, int(rest[2]), rest[3:])
    print(json.dumps({"seconds": seconds, "count": count}))


if __name__ == "__main__":
    if sys.argv[1] == "scp":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
