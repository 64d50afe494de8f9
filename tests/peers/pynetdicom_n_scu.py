"""SCU of the six N-services on pynetdicom: runs one session and prints what came of each request.

usage: pynetdicom_n_scu.py step PORT TITLE      a performed procedure step: N-CREATE, N-SET, N-GET
       pynetdicom_n_scu.py film PORT TITLE      a film session: N-CREATE, N-SET, N-ACTION, N-DELETE
       pynetdicom_n_scu.py commit PORT TITLE    N-ACTION; waits for N-EVENT-REPORT on the same
                                                association
       pynetdicom_n_scu.py await PORT TITLE     N-ACTION; prints {"listening": PORT} first and waits
                                                for N-EVENT-REPORT on a second association
prints one JSON object a line: request, status, and the data set that came back.
"""

from __future__ import annotations

import json
import sys
import threading

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    BasicFilmSession,
    BasicGrayscalePrintManagementMeta,
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepRetrieve,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

UID = "1.2.826.0.1.3680043.8.498.7"


def tell(fact: object) -> None:
    """Print a line of JSON at once: other threads print too."""
    sys.stdout.write(json.dumps(fact) + "\n")
    sys.stdout.flush()


def show(request: str, status: Dataset, item: Dataset | None = None) -> None:
    """Print what came of a request."""
    tell([request, status.get("Status"), None if item is None else item.to_json_dict()])


def attributes(**values: object) -> Dataset:
    """Make a data set."""
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def step(association: Association) -> None:
    """Start, complete and look at a performed procedure step; and ask for one that is not there."""
    sop_class = ModalityPerformedProcedureStep
    begin = attributes(PerformedProcedureStepStatus="IN PROGRESS", PatientID="1")
    show("N-CREATE", *association.send_n_create(begin, sop_class, UID))
    end = attributes(PerformedProcedureStepStatus="COMPLETED")
    show("N-SET", *association.send_n_set(end, sop_class, UID))
    wanted = [0x00400252, 0x00100020]
    sop_class = ModalityPerformedProcedureStepRetrieve
    show("N-GET", *association.send_n_get(wanted, sop_class, UID))
    show("N-GET of another", *association.send_n_get(wanted, sop_class, UID + ".9"))


def film(association: Association) -> None:
    """Make, change, print and delete a film session; and delete it again."""
    meta = {"meta_uid": BasicGrayscalePrintManagementMeta}
    begin = attributes(NumberOfCopies="1")
    show("N-CREATE", *association.send_n_create(begin, BasicFilmSession, UID, **meta))
    more = attributes(NumberOfCopies="2")
    show("N-SET", *association.send_n_set(more, BasicFilmSession, UID, **meta))
    job = attributes(OwnerID="ME")
    show("N-ACTION", *association.send_n_action(job, 1, BasicFilmSession, UID, **meta))
    show("N-DELETE", association.send_n_delete(BasicFilmSession, UID, **meta))
    show("N-DELETE again", association.send_n_delete(BasicFilmSession, UID, **meta))


def commit(association: Association, transaction: str) -> None:
    """Ask for a storage commitment."""
    item = attributes(TransactionUID=transaction, ReferencedSOPSequence=[])
    item.ReferencedSOPSequence.append(
        attributes(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=UID)
    )
    answer = association.send_n_action(
        item, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    show("N-ACTION", *answer)


def main() -> None:
    """Run one session."""
    what, port, title = sys.argv[1:]
    reported = threading.Event()

    def report(event: evt.Event) -> tuple[int, Dataset | None]:
        item = event.event_information
        tell(["N-EVENT-REPORT", event.event_type, item.to_json_dict()])
        reported.set()
        return 0x0000, item

    handlers = [(evt.EVT_N_EVENT_REPORT, report)]
    ae = AE(ae_title="PYNETDICOM")
    for sop_class in (
        BasicGrayscalePrintManagementMeta,
        ModalityPerformedProcedureStep,
        ModalityPerformedProcedureStepRetrieve,
        StorageCommitmentPushModel,
    ):
        ae.add_requested_context(sop_class)
    if what == "await":
        own = AE(ae_title="PYNETDICOM")
        own.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
        server = own.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        tell({"listening": server.socket.getsockname()[1]})
    association = ae.associate("127.0.0.1", int(port), ae_title=title, evt_handlers=handlers)
    if not association.is_established:
        sys.exit("no association")
    if what == "step":
        step(association)
    elif what == "film":
        film(association)
    else:
        commit(association, "1.2.1" if what == "commit" else "1.2.2")
        if not reported.wait(20):
            sys.exit("no report")
    association.release()


if __name__ == "__main__":
    main()
