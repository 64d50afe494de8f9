"""Servers: blocking ones, those of asyncio, and what they admit."""

from typing import TYPE_CHECKING

from dimse_rs.lazy import loader

if TYPE_CHECKING:
    from .asynchronous import AsyncServer
    from .blocking import Server

__all__ = ["AsyncServer", "Server"]

__getattr__ = loader(__name__, {".asynchronous": ["AsyncServer"], ".blocking": ["Server"]})
