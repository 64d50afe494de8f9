"""Associations on an event loop of asyncio, and what work beside its tasks stands on."""

from typing import TYPE_CHECKING

from dimse_rs.lazy import loader

if TYPE_CHECKING:
    from .association import AsyncAssociation, AsyncResponses, Connecting
    from .background import Background
    from .threads import Threads

__all__ = ["AsyncAssociation", "AsyncResponses", "Background", "Connecting", "Threads"]

__getattr__, __dir__ = loader(
    __name__,
    {
        ".association": ("AsyncAssociation", "AsyncResponses", "Connecting"),
        ".background": ("Background",),
        ".threads": ("Threads",),
    },
)
