"""SCP of the six N-services on pynetdicom: instances in memory, of any class that it accepts.

usage: pynetdicom_n_scp.py REPORT_PORT    prints {"event": "listening", "port": N}

Storage commitment is reported over the same association, or for transactions whose UID ends in .2
over another one, to DIMSE_RS at REPORT_PORT. What is told and what it answers is printed as JSON.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    BasicGrayscalePrintManagementMeta,
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepRetrieve,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

NO_SUCH_INSTANCE = 0x0112
INSTANCES: dict[str, Dataset] = {}


def create(event: evt.Event) -> tuple[int, Dataset]:
    """Keep the attributes, under a new UID when none is given."""
    item = event.attribute_list
    uid = event.request.AffectedSOPInstanceUID or generate_uid()
    INSTANCES[uid] = item
    if event.request.AffectedSOPInstanceUID is None:
        item.AffectedSOPInstanceUID = uid
    return 0x0000, item


def change(event: evt.Event) -> tuple[int, Dataset | None]:
    """Change the attributes."""
    item = INSTANCES.get(event.request.RequestedSOPInstanceUID)
    if item is None:
        return NO_SUCH_INSTANCE, None
    item.update(event.modification_list)
    return 0x0000, item


def get(event: evt.Event) -> tuple[int, Dataset | None]:
    """Give the attributes that are asked for."""
    item = INSTANCES.get(event.request.RequestedSOPInstanceUID)
    if item is None:
        return NO_SUCH_INSTANCE, None
    wanted = Dataset()
    for tag in event.attribute_identifiers:
        if tag in item:
            wanted[tag] = item[tag]
    return 0x0000, wanted


def delete(event: evt.Event) -> int:
    """Forget the instance."""
    known = INSTANCES.pop(event.request.RequestedSOPInstanceUID, None)
    return NO_SUCH_INSTANCE if known is None else 0x0000


def act(event: evt.Event, report_port: int) -> tuple[int, Dataset | None]:
    """Print: give the action information back. Commit: report later."""
    information = event.action_information
    if event.request.RequestedSOPClassUID != StorageCommitmentPushModel:
        return 0x0000, information
    arguments = (event.assoc, information, report_port)
    threading.Thread(target=report, args=arguments, daemon=True).start()
    return 0x0000, None


def report(association: Association, information: Dataset, port: int) -> None:
    """Tell the requestor that all is committed."""
    own = None
    if information.TransactionUID.endswith(".2"):
        ae = AE(ae_title="PYNETDICOM")
        ae.add_requested_context(StorageCommitmentPushModel)
        role = build_role(StorageCommitmentPushModel, scu_role=False, scp_role=True)
        own = association = ae.associate("127.0.0.1", port, ae_title="DIMSE_RS", ext_neg=[role])
    status, reply = association.send_n_event_report(
        information, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    tell(event="reported", status=status.get("Status"), reply=reply and reply.to_json_dict())
    if own is not None:
        own.release()


def tell(**facts: Any) -> None:
    """Print a line of JSON at once: other threads print too."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until terminated."""
    ae = AE(ae_title="PYNETDICOM")
    for sop_class in (
        BasicGrayscalePrintManagementMeta,
        ModalityPerformedProcedureStep,
        ModalityPerformedProcedureStepRetrieve,
        StorageCommitmentPushModel,
    ):
        ae.add_supported_context(sop_class)
    handlers = [
        (evt.EVT_N_CREATE, create),
        (evt.EVT_N_SET, change),
        (evt.EVT_N_GET, get),
        (evt.EVT_N_DELETE, delete),
        (evt.EVT_N_ACTION, act, [int(sys.argv[1])]),
    ]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    tell(event="listening", host="127.0.0.1", port=server.socket.getsockname()[1])
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ae.shutdown()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
