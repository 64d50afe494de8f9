"""Storage and Verification SCP on pynetdicom, as a careful user writes it: no decoding.

usage: pynetdicom_scp.py FOLDER    prints {"event": "listening", "port": N} like our own storescp
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification


def keep(event: evt.Event, folder: Path) -> int:
    """Write the instance with file meta information, undecoded."""
    name = str(event.request.AffectedSOPInstanceUID)
    (folder / f"{name}.dcm").write_bytes(event.encoded_dataset())
    return 0x0000


def main() -> None:
    """Serve until terminated."""
    folder = Path(sys.argv[1])
    ae = AE(ae_title="PYNETDICOM")
    ae.maximum_pdu_size = 0
    ae.maximum_associations = 100
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
    ae.add_supported_context(Verification)
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep, [folder])]
    )
    port = server.socket.getsockname()[1]
    print(json.dumps({"event": "listening", "host": "127.0.0.1", "port": port}), flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ae.shutdown()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
