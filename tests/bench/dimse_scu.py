"""Our SCU from Python; the loop alone is timed, as in the script for pynetdicom.

usage: dimse_scu.py echo  PORT TITLE COUNT      COUNT C-ECHOs on one association
       dimse_scu.py assoc PORT TITLE COUNT      COUNT times associate + echo + release
       dimse_scu.py store PORT TITLE FILE...    ae.send: plan, associate, send, release
prints {"seconds": S, "count": N}
"""

from __future__ import annotations

import json
import sys
import time

from dimse_rs import AE


def main() -> None:
    """Run one of the three loops."""
    what, port, title, *rest = sys.argv[1:]
    ae = AE("BENCH")
    peer = f"{title}@127.0.0.1:{port}"
    if what == "store":
        start = time.perf_counter()
        report = ae.send(peer, rest)
        seconds, count = time.perf_counter() - start, len(report.results)
        report.raise_for_failures()
    elif what == "assoc":
        count = int(rest[0])
        start = time.perf_counter()
        for _ in range(count):
            with ae.associate(peer) as association:
                association.c_echo()
        seconds = time.perf_counter() - start
    else:
        count = int(rest[0])
        with ae.associate(peer) as association:
            start = time.perf_counter()
            for _ in range(count):
                association.c_echo()
            seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "count": count}))


if __name__ == "__main__":
    main()
