"""Ready-made performers, what they are made of, and the other side where that is awkward.

`Server(services=[...])` takes them, and `Handlers([...])` for an association of ours.
"""

from .commitment import Commitment, CommitmentReport, CommitmentReports, commit
from .index import Index
from .matching import IdentifierError, Matcher, Rules, matches, respond
from .mpps import Mpps, MppsEvent, PerformedStep
from .storage import Storage
from .worklist import Worklist

__all__ = [
    "Commitment",
    "CommitmentReport",
    "CommitmentReports",
    "IdentifierError",
    "Index",
    "Matcher",
    "Mpps",
    "MppsEvent",
    "PerformedStep",
    "Rules",
    "Storage",
    "Worklist",
    "commit",
    "matches",
    "respond",
]
