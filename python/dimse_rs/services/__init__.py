"""Ready-made performers and what they are made of: storage, matching, an index, a worklist."""

from .index import Index
from .matching import IdentifierError, Matcher, Rules, matches, respond
from .storage import Storage
from .worklist import Worklist

__all__ = [
    "IdentifierError",
    "Index",
    "Matcher",
    "Rules",
    "Storage",
    "Worklist",
    "matches",
    "respond",
]
