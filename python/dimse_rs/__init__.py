"""The DICOM network stack for Python.

An import is cheap: the module of a name is loaded when the name is used first, pydicom and NumPy by
the calls that need them.
"""

import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from . import _core
from ._core import Payload as Payload, __version__ as __version__

if TYPE_CHECKING:
    from .access import Allow as Allow, load_allow as load_allow
    from .ae import AE as AE
    from .aio.association import (
        AsyncAssociation as AsyncAssociation,
        AsyncResponses as AsyncResponses,
    )
    from .association import Association as Association, Responses as Responses
    from .contexts import (
        PRESETS as PRESETS,
        AcceptedContext as AcceptedContext,
        Context as Context,
        RejectedContext as RejectedContext,
        Supported as Supported,
        any_storage as any_storage,
        for_retrieve as for_retrieve,
    )
    from .dimse.requests import (
        ActionRequest as ActionRequest,
        AttributesRequest as AttributesRequest,
        DatasetRequest as DatasetRequest,
        EventRequest as EventRequest,
        FindRequest as FindRequest,
        Request as Request,
        RetrieveRequest as RetrieveRequest,
        StoreRequest as StoreRequest,
    )
    from .dimse.retrieve import Retrieve as Retrieve, Unreadable as Unreadable
    from .errors import (
        AssociationAborted as AssociationAborted,
        AssociationError as AssociationError,
        AssociationRejected as AssociationRejected,
        AssociationReleased as AssociationReleased,
        ConnectFailed as ConnectFailed,
        ConnectionLost as ConnectionLost,
        DecodeError as DecodeError,
        DimseError as DimseError,
        DimseTimeout as DimseTimeout,
        LimitExceeded as LimitExceeded,
        LocalProtocolError as LocalProtocolError,
        NoPresentationContext as NoPresentationContext,
        ProtocolError as ProtocolError,
        RemoteProtocolError as RemoteProtocolError,
        SendingCancelled as SendingCancelled,
        StatusError as StatusError,
        TlsError as TlsError,
        TransportError as TransportError,
    )
    from .extended import (
        QueryRetrieveOptions as QueryRetrieveOptions,
        StorageOptions as StorageOptions,
    )
    from .handlers import Handlers as Handlers, Service as Service
    from .observe.audit import audit_xml as audit_xml
    from .observe.events import Event as Event, Events as Events
    from .observe.metrics import Histogram as Histogram, Metrics as Metrics
    from .observe.prometheus import (
        MetricsEndpoint as MetricsEndpoint,
        serve_metrics as serve_metrics,
    )
    from .passcodes import (
        Passcodes as Passcodes,
        check_passcode as check_passcode,
        hash_passcode as hash_passcode,
        same_secret as same_secret,
    )
    from .proposal import Proposal as Proposal
    from .received import ReceivedInstance as ReceivedInstance, ReceivedStudy as ReceivedStudy
    from .registry import classes_of as classes_of, register as register
    from .responses import Received as Received, Response as Response
    from .retrying import RETRYABLE as RETRYABLE
    from .send_report import (
        SendInterrupted as SendInterrupted,
        SendReport as SendReport,
        SendResult as SendResult,
        Skipped as Skipped,
    )
    from .server.asynchronous import AsyncServer as AsyncServer
    from .server.blocking import Server as Server
    from .server.settings import (
        AsyncServerSettings as AsyncServerSettings,
        ServerSettings as ServerSettings,
    )
    from .services import (
        Commitment as Commitment,
        CommitmentReport as CommitmentReport,
        CommitmentReports as CommitmentReports,
        Index as Index,
        InstanceAvailability as InstanceAvailability,
        Mpps as Mpps,
        MppsEvent as MppsEvent,
        PerformedStep as PerformedStep,
        QueryRetrieve as QueryRetrieve,
        Schedule as Schedule,
        Worklist as Worklist,
        commit as commit,
        commit_async as commit_async,
        from_worklist as from_worklist,
        notify_availability as notify_availability,
        notify_availability_async as notify_availability_async,
    )
    from .services.query import worklist as worklist, worklist_async as worklist_async
    from .settings import (
        Limits as Limits,
        Peer as Peer,
        Timeouts as Timeouts,
        parse_peer as parse_peer,
    )
    from .sop_class import *  # noqa: F403 - every generated constant is public
    from .sop_class import Model as Model, SOPClass as SOPClass, TransferSyntax as TransferSyntax
    from .status import Status as Status
    from .storage import (
        Storage as Storage,
        StoredInstance as StoredInstance,
        StoredValue as StoredValue,
    )
    from .studies import StudyWatcher as StudyWatcher
    from .tls import TLS as TLS, Certificate as Certificate, TLSFacts as TLSFacts
    from .user_identity import (
        Jwt as Jwt,
        Kerberos as Kerberos,
        Saml as Saml,
        UserIdentity as UserIdentity,
        Username as Username,
        UsernamePasscode as UsernamePasscode,
    )

# The same names as above for type checkers, which do not see what `__getattr__` gives: a test holds
# both equal.
_NAMES: Final = {
    "access": ("Allow", "load_allow"),
    "ae": ("AE",),
    "aio.association": ("AsyncAssociation", "AsyncResponses"),
    "association": ("Association", "Responses"),
    "contexts": (
        "PRESETS",
        "AcceptedContext",
        "Context",
        "RejectedContext",
        "Supported",
        "any_storage",
        "for_retrieve",
    ),
    "dimse.requests": (
        "ActionRequest",
        "AttributesRequest",
        "DatasetRequest",
        "EventRequest",
        "FindRequest",
        "Request",
        "RetrieveRequest",
        "StoreRequest",
    ),
    "dimse.retrieve": ("Retrieve", "Unreadable"),
    "errors": (
        "AssociationAborted",
        "AssociationError",
        "AssociationRejected",
        "AssociationReleased",
        "ConnectFailed",
        "ConnectionLost",
        "DecodeError",
        "DimseError",
        "DimseTimeout",
        "LimitExceeded",
        "LocalProtocolError",
        "NoPresentationContext",
        "ProtocolError",
        "RemoteProtocolError",
        "SendingCancelled",
        "StatusError",
        "TlsError",
        "TransportError",
    ),
    "extended": ("QueryRetrieveOptions", "StorageOptions"),
    "handlers": ("Handlers", "Service"),
    "observe.audit": ("audit_xml",),
    "observe.events": ("Event", "Events"),
    "observe.metrics": ("Histogram", "Metrics"),
    "observe.prometheus": ("MetricsEndpoint", "serve_metrics"),
    "passcodes": ("Passcodes", "check_passcode", "hash_passcode", "same_secret"),
    "proposal": ("Proposal",),
    "received": ("ReceivedInstance", "ReceivedStudy"),
    "registry": ("classes_of", "register"),
    "responses": ("Received", "Response"),
    "retrying": ("RETRYABLE",),
    "send_report": ("SendInterrupted", "SendReport", "SendResult", "Skipped"),
    "server.asynchronous": ("AsyncServer",),
    "server.blocking": ("Server",),
    "server.settings": ("AsyncServerSettings", "ServerSettings"),
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
        "commit_async",
        "from_worklist",
        "notify_availability",
        "notify_availability_async",
    ),
    "services.query": ("worklist", "worklist_async"),
    "settings": ("Limits", "Peer", "Timeouts", "parse_peer"),
    "sop_class": ("Model", "SOPClass", "TransferSyntax"),
    "status": ("Status",),
    "storage": ("Storage", "StoredInstance", "StoredValue"),
    "studies": ("StudyWatcher",),
    "tls": ("TLS", "Certificate", "TLSFacts"),
    "user_identity": ("Jwt", "Kerberos", "Saml", "UserIdentity", "Username", "UsernamePasscode"),
}
_MODULE: Final = {name: module for module, names in _NAMES.items() for name in names}

# Modules that can be used as attributes of the package without an import of their own.
_MODULES: Final = ("errors", "events", "log", "services", "sop_class", "status")


def __getattr__(name: str) -> Any:
    """Load a name with its module; a name that is not listed may be a constant of `sop_class`."""
    if name == "__all__":
        return ["Payload", "__version__", *_MODULE, *import_module(f"{__name__}.sop_class").__all__]
    if name.startswith("_"):  # asked for by the import of a private module
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    value: Any
    if name in _MODULES:
        value = import_module(f"{__name__}.{name}")
    else:
        module = import_module(f"{__name__}.{_MODULE.get(name, 'sop_class')}")
        if not hasattr(module, name):
            raise _absent(name)
        value = getattr(module, name)
    globals()[name] = value
    return value


def _absent(name: str) -> Exception:
    """Make the error for a name that the package does not have.

    `from dimse_rs import evt` would replace the text of an AttributeError, hint included: an import
    gets an ImportError. Every other access gets an AttributeError, so that `hasattr` works.
    """
    from .hints import absent

    text = absent(__name__, name)
    importing = sys._getframe(2).f_code.co_name == "_handle_fromlist"
    if importing and not text.endswith(repr(name)):
        return ImportError(text, name=name, path=__file__)
    return AttributeError(text, name=name)


def __dir__() -> list[str]:
    """List all public names, loaded or not."""
    return sorted({*globals(), *__getattr__("__all__"), *_MODULES})


def _check_build(debug: bool) -> None:
    """Warn of a core without optimisation: measurements of it would mislead."""
    if debug:
        warnings.warn(
            "dimse_rs._core is a debug build and many times slower than a release build: "
            "build it with `maturin develop --release` or `make build`",
            RuntimeWarning,
            stacklevel=3,
        )


_check_build(_core.is_debug_build())
