"""Our SCP of the six N-services: instances in memory, of any class."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pydicom.dataset import Dataset

from dimse_rs import (
    AE,
    ActionRequest,
    AttributesRequest,
    DatasetRequest,
    Request,
    Server,
    StatusError,
)
from dimse_rs.sop_class import StorageCommitmentPushModel

NO_SUCH_INSTANCE = 0x0112


class Instances(Server):
    """Keeps instances, and reports storage commitments from a thread of its own.

    Attributes:
        items: the instances by UID.
        requests: what was asked of instances that were there or not.
        report: what is done about a request for storage commitment.
    """

    def __init__(self) -> None:
        super().__init__(AE("SCP"), port=0)
        self.items: dict[str, Dataset] = {}
        self.requests: list[Request] = []
        self.report: Callable[[ActionRequest], None] = lambda request: None
        self.n_create(self._create)
        self.n_set(self._set)
        self.n_get(self._get)
        self.n_delete(self._delete)
        self.n_action(self._act)

    def _known(self, request: Request) -> Dataset:
        self.requests.append(request)
        if request.instance_uid not in self.items:
            raise StatusError(NO_SUCH_INSTANCE, "not here")
        return self.items[request.instance_uid]

    def _create(self, request: DatasetRequest) -> Dataset:
        self.items[request.instance_uid] = request.dataset
        return request.dataset

    def _set(self, request: DatasetRequest) -> Dataset:
        item = self._known(request)
        item.update(request.modifications)
        return item

    def _get(self, request: AttributesRequest) -> Dataset:
        item, wanted = self._known(request), Dataset()
        for tag in request.attributes:
            wanted[tag] = item[tag]
        return wanted

    def _delete(self, request: Request) -> None:
        self._known(request)
        del self.items[request.instance_uid]

    def _act(self, request: ActionRequest) -> Dataset | None:
        if request.sop_class != StorageCommitmentPushModel:
            self._known(request)
            return request.dataset
        threading.Thread(target=self.report, args=[request], daemon=True).start()
        return None
