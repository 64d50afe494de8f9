"""Our server for thousands of associations, none of which is too idle for it.

usage: node.py FOLDER [MODE]    Storage and Verification; MODE as in `Storage`, default fast
prints {"event": "listening", "port": N}
"""

from __future__ import annotations

import json
import resource
import sys

from dimse_rs import AE, Limits, Server, Storage, Timeouts

MANY = 16_384
LIMITS = Limits(max_associations=MANY, max_pending=MANY, max_pending_per_address=MANY)


def all_descriptors() -> None:
    """Raise the soft limit of open files to the hard one: an association is a descriptor."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    """Serve until killed."""
    folder, mode = [*sys.argv[1:], "fast"][:2]
    all_descriptors()
    ae = AE("LOAD", timeouts=Timeouts(idle=0), limits=LIMITS)
    with Server(ae, port=0, services=[Storage(folder, mode=mode)]) as server:
        print(json.dumps({"event": "listening", "port": server.port}), flush=True)
        server.wait()


if __name__ == "__main__":
    main()
