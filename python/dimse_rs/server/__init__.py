"""Servers: blocking ones, those of asyncio, and what they admit."""

from typing import TYPE_CHECKING

from dimse_rs.lazy import loader

if TYPE_CHECKING:
    from .asynchronous import AsyncServer
    from .blocking import Server
    from .settings import AsyncServerSettings, ServerSettings

__all__ = ["AsyncServer", "AsyncServerSettings", "Server", "ServerSettings"]

__getattr__, __dir__ = loader(
    __name__,
    {
        ".asynchronous": ["AsyncServer"],
        ".blocking": ["Server"],
        ".settings": ["AsyncServerSettings", "ServerSettings"],
    },
)
