"""The DICOM network stack for Python.

Import costs little: pydicom and NumPy are loaded by the calls that need them.
"""

from . import sop_class
from ._uids import Model, SOPClass, TransferSyntax
from .contexts import Context, for_retrieve
from .errors import (
    AssociationAborted,
    AssociationError,
    AssociationRejected,
    AssociationReleased,
    ConnectFailed,
    ConnectionLost,
    DecodeError,
    DimseError,
    DimseTimeout,
    LocalProtocolError,
    NoPresentationContext,
    ProtocolError,
    RemoteProtocolError,
    StatusError,
    TlsError,
    TransportError,
)
from .settings import Limits, Peer, Timeouts, parse_peer
from .sop_class import *  # noqa: F403 - every generated constant is public
from .status import Status

__all__ = [
    "AssociationAborted",
    "AssociationError",
    "AssociationRejected",
    "AssociationReleased",
    "ConnectFailed",
    "ConnectionLost",
    "Context",
    "DecodeError",
    "DimseError",
    "DimseTimeout",
    "Limits",
    "LocalProtocolError",
    "Model",
    "NoPresentationContext",
    "Peer",
    "ProtocolError",
    "RemoteProtocolError",
    "SOPClass",
    "Status",
    "StatusError",
    "Timeouts",
    "TlsError",
    "TransferSyntax",
    "TransportError",
    "for_retrieve",
    "parse_peer",
]
__all__ += sop_class.__all__
