"""Associations on an event loop of asyncio."""

from typing import TYPE_CHECKING

from dimse_rs.lazy import loader

if TYPE_CHECKING:
    from .association import AsyncAssociation, AsyncResponses, Connecting

__all__ = ["AsyncAssociation", "AsyncResponses", "Connecting"]

__getattr__ = loader(__name__, {".association": __all__})
