"""The DICOM network stack for Python.

Import costs little: pydicom and NumPy are loaded by the calls that need them.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from . import _core, sop_class
from ._admission import Proposal
from ._core import Payload, __version__
from ._facts import AcceptedContext, RejectedContext
from ._retrieve import Retrieve
from ._uids import Model, SOPClass, TransferSyntax
from .ae import AE
from .association import Association, Responses
from .contexts import PRESETS, Context, Supported, any_storage, for_retrieve
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
from .events import Event, Events
from .extended import QueryRetrieveOptions, StorageOptions
from .handlers import (
    ActionRequest,
    AttributesRequest,
    DatasetRequest,
    EventRequest,
    FindRequest,
    Handlers,
    Request,
    RetrieveRequest,
    Service,
    StoreRequest,
)
from .identity import Jwt, Kerberos, Saml, UserIdentity, Username, UsernamePasscode
from .registry import classes_of, register
from .responses import Response
from .send import SendReport, SendResult
from .server import Server
from .services.storage import Storage
from .settings import Limits, Peer, Timeouts, parse_peer
from .sop_class import *  # noqa: F403 - every generated constant is public
from .status import Status

if TYPE_CHECKING:
    from .aio import AsyncAssociation, AsyncResponses
    from .aio_server import AsyncServer
    from .services import (
        Commitment,
        CommitmentReport,
        CommitmentReports,
        Index,
        InstanceAvailability,
        Mpps,
        MppsEvent,
        PerformedStep,
        QueryRetrieve,
        Schedule,
        Worklist,
        commit,
        notify_availability,
    )
    from .services.query import worklist

__all__ = [
    "AE",
    "PRESETS",
    "AcceptedContext",
    "ActionRequest",
    "Association",
    "AssociationAborted",
    "AssociationError",
    "AssociationRejected",
    "AssociationReleased",
    "AsyncAssociation",
    "AsyncResponses",
    "AsyncServer",
    "AttributesRequest",
    "Commitment",
    "CommitmentReport",
    "CommitmentReports",
    "ConnectFailed",
    "ConnectionLost",
    "Context",
    "DatasetRequest",
    "DecodeError",
    "DimseError",
    "DimseTimeout",
    "Event",
    "EventRequest",
    "Events",
    "FindRequest",
    "Handlers",
    "Index",
    "InstanceAvailability",
    "Jwt",
    "Kerberos",
    "Limits",
    "LocalProtocolError",
    "Model",
    "Mpps",
    "MppsEvent",
    "NoPresentationContext",
    "Payload",
    "Peer",
    "PerformedStep",
    "Proposal",
    "ProtocolError",
    "QueryRetrieve",
    "QueryRetrieveOptions",
    "RejectedContext",
    "RemoteProtocolError",
    "Request",
    "Response",
    "Responses",
    "Retrieve",
    "RetrieveRequest",
    "SOPClass",
    "Saml",
    "Schedule",
    "SendReport",
    "SendResult",
    "Server",
    "Service",
    "Status",
    "StatusError",
    "Storage",
    "StorageOptions",
    "StoreRequest",
    "Supported",
    "Timeouts",
    "TlsError",
    "TransferSyntax",
    "TransportError",
    "UserIdentity",
    "Username",
    "UsernamePasscode",
    "Worklist",
    "__version__",
    "any_storage",
    "classes_of",
    "commit",
    "for_retrieve",
    "notify_availability",
    "parse_peer",
    "register",
    "worklist",
]
__all__ += sop_class.__all__


_LAZY: Final = {
    "aio": ("AsyncAssociation", "AsyncResponses"),
    "aio_server": ("AsyncServer",),
    "services": (
        "Commitment",
        "CommitmentReport",
        "CommitmentReports",
        "Index",
        "InstanceAvailability",
        "Mpps",
        "MppsEvent",
        "PerformedStep",
        "QueryRetrieve",
        "Schedule",
        "Worklist",
        "commit",
        "notify_availability",
    ),
    "services.query": ("worklist",),
}
_MODULE: Final = {name: module for module, names in _LAZY.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load what not every program wants when it is asked for: asyncio, and ready-made services."""
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE[name]}"), name)


def _check_build(debug: bool) -> None:
    """Warn of a core without optimisation: whoever measures it should know."""
    if debug:
        warnings.warn(
            "dimse_rs._core is a debug build and many times slower than a release build: "
            "build it with `maturin develop --release` or `make build`",
            RuntimeWarning,
            stacklevel=3,
        )


_check_build(_core.is_debug_build())
