"""Ready-made performers, what they are made of, and the other side where that is awkward.

`Server(services=[...])` takes them, and `Handlers([...])` for an association of ours.
"""

from .availability import InstanceAvailability, notify_availability
from .commitment import Commitment, CommitmentReport, CommitmentReports, commit
from .index import Index
from .matching import IdentifierError, Matcher, Rules, matches, respond
from .mpps import Mpps, MppsEvent, PerformedStep
from .query import QueryRetrieve, Schedule
from .storage import Storage
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
    "Worklist",
    "commit",
    "matches",
    "notify_availability",
    "respond",
]
