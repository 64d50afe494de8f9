"""Echo and store over TLS on pynetdicom, with the TLS of Python's own ssl module.

usage: pynetdicom_tls.py scp VERSION KEY CERT CA FOLDER     prints {"event": "listening", "port": N}
       pynetdicom_tls.py scu VERSION KEY CERT CA PORT FILE  exit code 1 on anything but Success
VERSION is 1.2 or 1.3: the only one that it speaks.
"""

from __future__ import annotations

import json
import signal
import ssl
import sys
from pathlib import Path

from pydicom import dcmread
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

from tests.peers.pynetdicom_scp import keep
from tests.peers.pynetdicom_scu import expect_success

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def context(protocol: int, version: str, key: str, cert: str, ca: str) -> ssl.SSLContext:
    """Make what authenticates both sides, in one version."""
    made = ssl.SSLContext(protocol)
    made.minimum_version = made.maximum_version = VERSIONS[version]
    made.load_cert_chain(cert, key)
    made.load_verify_locations(ca)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def serve(tls: ssl.SSLContext, folder: Path) -> None:
    """Store until terminated."""
    ae = AE(ae_title="PYNETDICOM")
    for storage in AllStoragePresentationContexts:
        ae.add_supported_context(storage.abstract_syntax, ALL_TRANSFER_SYNTAXES)
    ae.add_supported_context(Verification)
    handlers = [(evt.EVT_C_STORE, keep, [folder])]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=tls)
    port = server.socket.getsockname()[1]
    print(json.dumps({"event": "listening", "port": port}), flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ae.shutdown()


def send(tls: ssl.SSLContext, port: int, path: Path) -> None:
    """Echo and store."""
    dataset = dcmread(path)
    ae = AE(ae_title="PYNETDICOM")
    ae.add_requested_context(Verification)
    ae.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = ae.associate("127.0.0.1", port, ae_title="ANY-SCP", tls_args=(tls, "127.0.0.1"))
    if not association.is_established:
        sys.exit("no association")
    expect_success(association.send_c_echo())
    expect_success(association.send_c_store(dataset))
    association.release()


def main() -> None:
    """Be one of the two."""
    role, version, key, cert, ca, *rest = sys.argv[1:]
    if role == "scp":
        serve(context(ssl.PROTOCOL_TLS_SERVER, version, key, cert, ca), Path(rest[0]))
    else:
        send(context(ssl.PROTOCOL_TLS_CLIENT, version, key, cert, ca), int(rest[0]), Path(rest[1]))


if __name__ == "__main__":
    if sys.argv[1] == "scp":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
