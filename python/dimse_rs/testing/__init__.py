"""What tests of DICOM programs need: instances, an archive, a receiver, bad peers, a bad network.

With the extra `test` (`pip install "dimse_rs[test]"`) pytest finds the fixtures by itself; without
pytest the classes are context managers. Everything listens on a free port of 127.0.0.1. The package
itself never imports this module, and this module imports pytest nowhere but in `plugin`.
"""

from typing import TYPE_CHECKING

from dimse_rs.lazy import loader

if TYPE_CHECKING:
    from .instances import make_instance, make_study, write_files
    from .pacs import Pacs
    from .receiver import Arrival, Receiver
    from .worklist import WorklistServer

__all__ = [
    "Arrival",
    "Pacs",
    "Receiver",
    "WorklistServer",
    "make_instance",
    "make_study",
    "write_files",
]

__getattr__, __dir__ = loader(
    __name__,
    {
        ".instances": ("make_instance", "make_study", "write_files"),
        ".pacs": ("Pacs",),
        ".receiver": ("Arrival", "Receiver"),
        ".worklist": ("WorklistServer",),
    },
)
