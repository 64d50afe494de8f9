"""Who may invoke: roles other than the default, and N-EVENT-REPORT in both directions."""

from __future__ import annotations

import pytest

from dimse_rs import Context, NoPresentationContext
from dimse_rs.sop_class import (
    CTImageStorage,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)
from tests.loopback.nodes import CT, link, scp

COMMITMENT = {
    "sop_class": StorageCommitmentPushModel,
    "instance_uid": StorageCommitmentPushModelInstance,
}


def test_provider_associates_to_report_an_event():
    told = []
    server = scp()
    server.n_event_report(StorageCommitmentPushModel)(
        lambda request: told.append((request.event_type, request.dataset.TransactionUID))
    )
    provider = Context(StorageCommitmentPushModel, scu=False, scp=True)
    with link(server, provider) as association:
        (context,) = association.accepted
        assert (context.scu, context.scp) == (False, True)
        response = association.n_event_report(1, {"TransactionUID": "1.2.3"}, **COMMITMENT)
        assert response.status == 0
        with pytest.raises(NoPresentationContext):
            association.n_action(1, {"TransactionUID": "1.2.3"}, **COMMITMENT)
    assert told == [(1, "1.2.3")]


def test_role_that_nobody_performs_is_not_granted():
    server = scp()
    server.c_store(CTImageStorage)(lambda _: None)
    with link(server, Context(CTImageStorage, scu=True, scp=True)) as association:
        (context,) = association.accepted
        assert (context.scu, context.scp) == (True, False)
        assert association.c_store(CT) == 0
