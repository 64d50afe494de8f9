"""Associations on an event loop of asyncio, and what work beside its tasks stands on."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dimse_rs.lazy import loader

if TYPE_CHECKING:
    from .association import AsyncAssociation, AsyncResponses, Connecting
    from .background import Background
    from .threads import Threads

__all__ = ["AsyncAssociation", "AsyncResponses", "Background", "Connecting", "Threads"]

__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__getattr__, __dir__ = loader(
    __name__,
    {
        ".association": ("AsyncAssociation", "AsyncResponses", "Connecting"),
        ".background": ("Background",),
        ".threads": ("Threads",),
    },
)
