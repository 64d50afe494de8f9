"""What tests of DICOM programs need: instances, an archive, a receiver, bad peers, a bad network.

With the extra `test` (`pip install "dimse_rs[test]"`) pytest finds the fixtures by itself; without
pytest the classes are context managers. Everything listens on a free port of 127.0.0.1. The package
itself never imports this module, and this module imports pytest nowhere but in `plugin`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dimse_rs.lazy import loader

if TYPE_CHECKING:
    from .connection import Connection, Heard
    from .instances import make_instance, make_study, write_files
    from .pacs import Pacs
    from .peer import Proposed, ScriptedPeer
    from .proxy import Proxy
    from .receiver import Arrival, Receiver
    from .toxics import Toxic
    from .worklist import WorklistServer

__all__ = [
    "Arrival",
    "Connection",
    "Heard",
    "Pacs",
    "Proposed",
    "Proxy",
    "Receiver",
    "ScriptedPeer",
    "Toxic",
    "WorklistServer",
    "make_instance",
    "make_study",
    "write_files",
]

__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__getattr__, __dir__ = loader(
    __name__,
    {
        ".connection": ("Connection", "Heard"),
        ".instances": ("make_instance", "make_study", "write_files"),
        ".pacs": ("Pacs",),
        ".peer": ("Proposed", "ScriptedPeer"),
        ".proxy": ("Proxy",),
        ".receiver": ("Arrival", "Receiver"),
        ".toxics": ("Toxic",),
        ".worklist": ("WorklistServer",),
    },
)
