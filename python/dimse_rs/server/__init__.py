"""Servers: blocking ones, those of asyncio, and what they admit."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dimse_rs.lazy import loader

if TYPE_CHECKING:
    from .asynchronous import AsyncServer
    from .blocking import Server
    from .settings import AsyncServerSettings, ServerSettings

__all__ = ["AsyncServer", "AsyncServerSettings", "Server", "ServerSettings"]

__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__getattr__, __dir__ = loader(
    __name__,
    {
        ".asynchronous": ["AsyncServer"],
        ".blocking": ["Server"],
        ".settings": ["AsyncServerSettings", "ServerSettings"],
    },
)
