"""Ready-made performers, what they are made of, and the other side where that is awkward.

`Server(services=[...])` takes them, and `Handlers([...])` for an association of ours.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .availability import InstanceAvailability, notify_availability
    from .commitment import Commitment, CommitmentReport, CommitmentReports, commit
    from .index import Index
    from .matching import IdentifierError, Matcher, Rules, matches, respond
    from .mpps import Mpps, MppsEvent, PerformedStep, from_worklist
    from .query import QueryRetrieve, Schedule
    from .storage import Storage, StoredInstance, StoredValue
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
    "from_worklist",
    "matches",
    "notify_availability",
    "respond",
]

_WHERE: Final = {
    "availability": ("InstanceAvailability", "notify_availability"),
    "commitment": ("Commitment", "CommitmentReport", "CommitmentReports", "commit"),
    "index": ("Index",),
    "matching": ("IdentifierError", "Matcher", "Rules", "matches", "respond"),
    "mpps": ("Mpps", "MppsEvent", "PerformedStep", "from_worklist"),
    "query": ("QueryRetrieve", "Schedule"),
    "storage": ("Storage",),
    "worklist": ("Worklist",),
}
_MODULE: Final = {name: module for module, names in _WHERE.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a service when it is asked for: most programs want one or none."""
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE[name]}"), name)
