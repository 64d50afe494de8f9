"""D, with handlers of the user's: they are asked twice, too much, or for what they do not have."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.support.script import Aborted, Accepted, Alive, Answered, Case, Step, Within, case
from tests.support.wire import (
    APPLICATION_CONTEXT,
    C_ECHO_RQ,
    C_FIND_RQ,
    COMMITMENT,
    EXPLICIT,
    N_ACTION_RQ,
    N_CREATE_RQ,
    N_SET_RQ,
    NO_DATA,
    PERFORMED_STEP,
    PRINTER,
    RELEASE_RQ,
    STUDY_ROOT_FIND,
    as_commands,
    as_data,
    associate_rq,
    cancel_rq,
    context,
    data_element,
    echo_rq,
    find_rq,
    item,
    n_rq,
    pdu,
    user_information,
)

NEEDS = frozenset({"handlers"})
FIND, STEP, COMMIT, PRINT = 3, 5, 7, 9


def with_handlers(called: bytes) -> Iterator[Case]:
    """D: operations of a node with handlers."""
    request = associate_rq(
        called,
        item(0x10, APPLICATION_CONTEXT),
        context(1),
        context(FIND, STUDY_ROOT_FIND, [EXPLICIT]),
        context(STEP, PERFORMED_STEP, [EXPLICIT]),
        context(COMMIT, COMMITMENT, [EXPLICIT]),
        context(PRINT, PRINTER, [EXPLICIT]),
        user_information(),
    )
    begin: tuple[Step, Step] = request, Accepted(tuple((id_, 0) for id_ in (1, 3, 5, 7, 9)))

    def find(what: bytes, message_id: int = 1) -> bytes:
        keys = data_element(0x0008, 0x0052, b"CS", b"STUDY")
        keys += data_element(0x0010, 0x0020, b"LO", what)
        return as_commands(FIND, find_rq(message_id)) + as_data(FIND, keys)

    def found(
        status: int, message_id: int = 1, *, pending: bool = False, within: Within = "now"
    ) -> Answered:
        return Answered(status, message_id, C_FIND_RQ, FIND, pending, within)

    def started(uid: bytes, message_id: int) -> bytes:
        """A performed procedure step."""
        study = data_element(0x0020, 0x000D, b"UI", b"1.2.3")
        scheduled = struct.pack("<HHI", 0xFFFE, 0xE000, len(study)) + study
        attributes = [
            data_element(0x0008, 0x0060, b"CS", b"OT"),
            data_element(0x0040, 0x0241, b"AE", b"BADPEER"),
            data_element(0x0040, 0x0244, b"DA", b"20260101"),
            data_element(0x0040, 0x0245, b"TM", b"120000"),
            data_element(0x0040, 0x0252, b"CS", b"IN PROGRESS"),
            data_element(0x0040, 0x0253, b"SH", b"1"),
            data_element(0x0040, 0x0270, b"SQ", scheduled),
        ]
        request_ = n_rq(N_CREATE_RQ, PERFORMED_STEP, uid, message_id)
        return as_commands(STEP, request_) + as_data(STEP, b"".join(attributes))

    changed = n_rq(N_SET_RQ, PERFORMED_STEP, b"1.10.9", 3)
    acted = n_rq(N_ACTION_RQ, COMMITMENT, COMMITMENT + b".1", 4, type_=99)
    yield case(
        "D10-step",
        "creates twice, changes what is not there, and asks for an unknown action",
        *begin,
        started(b"1.10.1", 1),
        Answered(0, 1, N_CREATE_RQ, STEP),
        started(b"1.10.1", 2),
        Answered(0x0111, 2, N_CREATE_RQ, STEP),
        as_commands(STEP, changed) + as_data(STEP, data_element(0x0040, 0x0252, b"CS", b"X")),
        Answered(0x0112, 3, N_SET_RQ, STEP),
        as_commands(COMMIT, acted) + as_data(COMMIT, b""),
        Answered(0x0123, 4, N_ACTION_RQ, COMMIT),
        Alive(),
        needs=NEEDS,
    )
    yield case(
        "D14-endless",
        "cancels a query that never ends, and once more when it is over",
        *begin,
        find(b"endless"),
        found(0xFF00),
        as_commands(FIND, cancel_rq(1)),
        found(0xFE00, pending=True),
        as_commands(FIND, cancel_rq(1)),
        Alive(),
        needs=NEEDS,
    )
    yield case(
        "D17",
        "asks what the handler does not survive",
        *begin,
        find(b"raises"),
        found(0xC000),
        find(b"nonsense", 2),
        found(0xC000, 2),
        Alive(),
        code="handler-failed+handler-status",
        needs=NEEDS,
    )
    fails = n_rq(N_ACTION_RQ, PRINTER, b"1.2.3", data=NO_DATA, type_=66)
    nonsense = n_rq(N_ACTION_RQ, PRINTER, b"1.2.3", 2, data=NO_DATA, type_=67)
    yield case(
        "D17-action",
        "asks for actions that the handler does not survive",
        *begin,
        as_commands(PRINT, fails),
        Answered(0x0110, 1, N_ACTION_RQ, PRINT),
        as_commands(PRINT, nonsense),
        Answered(0x0110, 2, N_ACTION_RQ, PRINT),
        Alive(),
        code="handler-failed+handler-status",
        needs=NEEDS,
    )
    yield case(
        "D18",
        "asks what the handler never answers",
        *begin,
        find(b"hangs"),
        as_commands(1, echo_rq(2)),
        Answered(0, 2, C_ECHO_RQ),
        found(0xC000, within="handler"),
        Alive(),
        code="handler",
        needs=NEEDS,
    )
    yield case(
        "G03-open",
        "goes on after its release, with a query open",
        *begin,
        find(b"hangs") + pdu(RELEASE_RQ, bytes(4)) + as_commands(1, echo_rq(2)),
        Aborted(2, 2),
        code="unexpected-pdu",
        needs=NEEDS,
    )
