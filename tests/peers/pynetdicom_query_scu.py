"""Query/Retrieve SCU on pynetdicom.

usage: pynetdicom_query_scu.py find PORT TITLE LEVEL IDENTIFIER ""        prints each match as JSON
       pynetdicom_query_scu.py get  PORT TITLE LEVEL IDENTIFIER FOLDER    retrieves into the folder
       pynetdicom_query_scu.py move PORT TITLE LEVEL IDENTIFIER AET       has it moved there
IDENTIFIER is in the DICOM JSON model; LEVEL chooses the information model, also WORKLIST.
Exit code 1 on anything but pending responses and a final Success.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydicom.dataset import Dataset
from pynetdicom import AE, StoragePresentationContexts, build_role, evt, sop_class


def keep(event: evt.Event, folder: Path) -> int:
    """Write the instance with file meta information, undecoded."""
    name = str(event.request.AffectedSOPInstanceUID)
    (folder / f"{name}.dcm").write_bytes(event.encoded_dataset())
    return 0x0000


def main() -> None:
    """Run one operation."""
    what, port, title, level, text, argument = sys.argv[1:]
    identifier = Dataset.from_json(text)
    root = "Patient" if level == "PATIENT" else "Study"
    model = getattr(sop_class, f"{root}RootQueryRetrieveInformationModel{what.capitalize()}")
    if level == "WORKLIST":
        model = sop_class.ModalityWorklistInformationFind
    ae = AE(ae_title="DIMSE_RS")
    ae.add_requested_context(model)
    options = {}
    if what == "get":
        roles = []
        for context in StoragePresentationContexts:
            ae.add_requested_context(context.abstract_syntax)
            roles.append(build_role(context.abstract_syntax, scp_role=True))
        handlers = [(evt.EVT_C_STORE, keep, [Path(argument)])]
        options = {"ext_neg": roles, "evt_handlers": handlers}
    association = ae.associate("127.0.0.1", int(port), ae_title=title, max_pdu=0, **options)
    if not association.is_established:
        sys.exit("no association")
    if what == "move":
        responses = association.send_c_move(identifier, argument, model)
    else:
        send = association.send_c_find if what == "find" else association.send_c_get
        responses = send(identifier, model)
    statuses = []
    for status, match in responses:
        statuses.append(status.get("Status"))
        if what == "find" and match is not None:
            print(match.to_json())
    association.release()
    if statuses[-1:] != [0x0000] or {*statuses[:-1]} - {0xFF00, 0xFF01}:
        sys.exit(f"statuses {statuses}")


if __name__ == "__main__":
    main()
