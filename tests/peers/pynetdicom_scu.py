"""Verification and Storage SCU on pynetdicom; the loop alone is timed.

usage: pynetdicom_scu.py echo  PORT TITLE COUNT      COUNT C-ECHOs on one association
       pynetdicom_scu.py assoc PORT TITLE COUNT      COUNT times associate + echo + release
       pynetdicom_scu.py store PORT TITLE FILE...    every file on one association, unchanged
prints {"seconds": S, "count": N}; exit code 1 on anything but Success.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification


def associate(ae: AE, port: int, title: str) -> Association:
    """Open an association or end the program."""
    association = ae.associate("127.0.0.1", port, ae_title=title, max_pdu=0)
    if not association.is_established:
        sys.exit("no association")
    return association


def expect_success(status: object) -> None:
    """End the program unless `status` is 0000H."""
    if getattr(status, "Status", None) != 0x0000:
        sys.exit(f"status {status}")


def main() -> None:
    """Run one of the three loops."""
    what, port, title, *rest = sys.argv[1:]
    ae = AE(ae_title="PYNETDICOM")
    if what == "store":
        paths = [Path(name) for name in rest]
        for path in paths:
            meta = dcmread(path, specific_tags=["SOPClassUID"], stop_before_pixels=True)
            wanted = (meta.SOPClassUID, meta.file_meta.TransferSyntaxUID)
            if wanted not in {
                (c.abstract_syntax, c.transfer_syntax[0]) for c in ae.requested_contexts
            }:
                ae.add_requested_context(*wanted)
        association = associate(ae, int(port), title)
        start = time.perf_counter()
        for path in paths:
            expect_success(association.send_c_store(path))
        seconds, count = time.perf_counter() - start, len(paths)
        association.release()
    else:
        ae.add_requested_context(Verification)
        count = int(rest[0])
        if what == "assoc":
            start = time.perf_counter()
            for _ in range(count):
                association = associate(ae, int(port), title)
                expect_success(association.send_c_echo())
                association.release()
            seconds = time.perf_counter() - start
        else:
            association = associate(ae, int(port), title)
            start = time.perf_counter()
            for _ in range(count):
                expect_success(association.send_c_echo())
            seconds = time.perf_counter() - start
            association.release()
    print(json.dumps({"seconds": seconds, "count": count}))


if __name__ == "__main__":
    main()
