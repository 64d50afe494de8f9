"""An association acceptor on pynetdicom that answers every negotiation item and tells what it saw.

usage: pynetdicom_negotiator.py VERDICT [RESPONSE]   VERDICT yes or no, RESPONSE in hex
prints {"event": "listening", "port": N}, then {"event": "asked", ...} for each association
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

SEEN: dict[str, Any] = {}


def tell(**facts: Any) -> None:
    """Print one line."""
    print(json.dumps(facts), flush=True)


def verify(event: evt.Event, verdict: bool, response: bytes | None) -> tuple[bool, bytes | None]:
    """Say yes or no to whoever it is."""
    SEEN["identity"] = [
        event.user_id_type,
        event.primary_field.hex(),
        (event.secondary_field or b"").hex(),
    ]
    return verdict, response


def extended(event: evt.Event) -> dict[str, bytes]:
    """Agree to the first option of each class."""
    SEEN["extended"] = {str(uid): info.hex() for uid, info in event.app_info.items()}
    return {uid: info[:1] for uid, info in event.app_info.items()}


def common(event: evt.Event) -> dict[str, Any]:
    """Note what classes specialise."""
    SEEN["common"] = {
        str(uid): [
            str(item.service_class_uid),
            [str(general) for general in item.related_general_sop_class_identification],
        ]
        for uid, item in event.items.items()
    }
    return event.items


def window(event: evt.Event) -> tuple[int, int]:
    """Note the window; pynetdicom answers 1,1 whatever is said here."""
    SEEN["window"] = [event.nr_invoked, event.nr_performed]
    return 1, 1


def requested(event: evt.Event) -> None:
    """Note the roles, and tell."""
    SEEN["roles"] = {
        str(uid): [item.scu_role, item.scp_role]
        for uid, item in event.assoc.requestor.role_selection.items()
    }
    tell(event="asked", **SEEN)
    SEEN.clear()


def main() -> None:
    """Serve until terminated."""
    verdict = sys.argv[1] == "yes"
    response = bytes.fromhex(sys.argv[2]) if len(sys.argv) > 2 else None
    ae = AE(ae_title="NEGOTIATOR")
    ae.add_supported_context(Verification)
    ae.add_supported_context(CTImageStorage, scu_role=True, scp_role=True)
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    handlers = [
        (evt.EVT_USER_ID, verify, [verdict, response]),
        (evt.EVT_SOP_EXTENDED, extended),
        (evt.EVT_SOP_COMMON, common),
        (evt.EVT_ASYNC_OPS, window),
        (evt.EVT_ACCEPTED, requested),
        (evt.EVT_REJECTED, requested),
    ]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    tell(event="listening", host="127.0.0.1", port=server.socket.getsockname()[1])
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ae.shutdown()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
