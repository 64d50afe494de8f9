"""Ready-made performers: what a `Server` does by itself."""

from .storage import Storage

__all__ = ["Storage"]
