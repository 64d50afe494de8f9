"""Ready-made services, the rules that they stand on, and the SCU side where that takes more.

`Server(services=[...])` takes the services; `Handlers([...])` does so for an association that this
side asks for. They use public names alone: a service of yours can do all that they do.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dimse_rs.lazy import loader

if TYPE_CHECKING:
    from dimse_rs.storage import Storage, StoredInstance, StoredValue

    from .availability import (
        InstanceAvailability,
        notify_availability,
        notify_availability_async,
    )
    from .commitment import Commitment, CommitmentReport, CommitmentReports, commit, commit_async
    from .index import Index
    from .matching import IdentifierError, Matcher, Rules, matches, respond
    from .mpps import Mpps, MppsEvent, PerformedStep, from_worklist
    from .query import QueryRetrieve, Schedule
    from .worklist import Worklist

__all__ = [
    "Commitment",
    "CommitmentReport",
    "CommitmentReports",
    "IdentifierError",
    "Index",
    "InstanceAvailability",
    "Matcher",
    "Mpps",
    "MppsEvent",
    "PerformedStep",
    "QueryRetrieve",
    "Rules",
    "Schedule",
    "Storage",
    "StoredInstance",
    "StoredValue",
    "Worklist",
    "commit",
    "commit_async",
    "from_worklist",
    "matches",
    "notify_availability",
    "notify_availability_async",
    "respond",
]

# Most programs want one service or none.
__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__getattr__, __dir__ = loader(
    __name__,
    {
        ".availability": (
            "InstanceAvailability",
            "notify_availability",
            "notify_availability_async",
        ),
        ".commitment": (
            "Commitment",
            "CommitmentReport",
            "CommitmentReports",
            "commit",
            "commit_async",
        ),
        ".index": ("Index",),
        ".matching": ("IdentifierError", "Matcher", "Rules", "matches", "respond"),
        ".mpps": ("Mpps", "MppsEvent", "PerformedStep", "from_worklist"),
        ".query": ("QueryRetrieve", "Schedule"),
        ".worklist": ("Worklist",),
        "dimse_rs.storage": ("Storage", "StoredInstance", "StoredValue"),
    },
)
