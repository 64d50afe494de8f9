"""Names of pynetdicom, and what to write instead: for the errors about unknown names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

__all__ = ["absent", "refuse", "unexpected"]

_MINUTES: Final = "settings are made with AE(timeouts=Timeouts({}=...))"
_STATUS: Final = "association.{} gives the Status"
_RESPONSE: Final = "association.{} gives a Response with .status and .dataset"
_CONTEXTS: Final = "ae.associate(peer, contexts=[CTImageStorage, Context(MRImageStorage, [...])])"
_SUPPORTED: Final = "Server(ae, services=[...], supported=[Supported(...)])"
_CALLED: Final = "Server(ae, called=[...]), or any_called=True"
_IMPLEMENTATION: Final = "it is that of this package"

_AE: Final = {
    "ae_title": "ae.title",
    "add_requested_context": _CONTEXTS,
    "requested_contexts": _CONTEXTS,
    "remove_requested_context": _CONTEXTS,
    "add_supported_context": _SUPPORTED,
    "supported_contexts": _SUPPORTED,
    "remove_supported_context": _SUPPORTED,
    "start_server": "Server(ae, host, port, services=[...]).start(), or `with Server(...)`",
    "make_server": "Server(ae, host, port, services=[...])",
    "shutdown": "server.stop()",
    "acse_timeout": _MINUTES.format("acse"),
    "dimse_timeout": _MINUTES.format("dimse"),
    "network_timeout": _MINUTES.format("idle"),
    "connection_timeout": _MINUTES.format("connect"),
    "maximum_pdu_size": "AE(max_pdu=...)",
    "maximum_associations": "AE(limits=Limits(max_associations=...))",
    "require_called_aet": _CALLED,
    "require_calling_aet": "Server(ae, calling=[...]), or allow=[Allow(...)]",
    "active_associations": "server.metrics()",
    "implementation_class_uid": _IMPLEMENTATION,
    "implementation_version_name": _IMPLEMENTATION,
}

# Calls of an association that are looked for on an `AE`.
_CALLS: Final = (
    *("c_echo", "c_store", "c_find", "c_get", "c_move"),
    *("send_c_echo", "send_c_store", "send_c_find", "send_c_get", "send_c_move"),
)
_AE.update(dict.fromkeys(_CALLS, "ae.associate(peer) gives an association, which has it"))

_SENT: Final = {
    "send_c_echo": _STATUS.format("c_echo()"),
    "send_c_store": _STATUS.format("c_store(path)"),
    "send_c_find": "association.c_find(keys, model=StudyRoot, level='STUDY') gives the matches",
    "send_c_get": "association.c_get(keys, model=StudyRoot, into=folder) gives the responses",
    "send_c_move": "association.c_move(keys, model=StudyRoot, destination=title) gives them",
    "send_c_cancel": "responses.cancel(), of what c_find, c_get and c_move give",
    "send_n_event_report": _RESPONSE.format("n_event_report(...)"),
    "send_n_get": _RESPONSE.format("n_get(...)"),
    "send_n_set": _RESPONSE.format("n_set(...)"),
    "send_n_action": _RESPONSE.format("n_action(...)"),
    "send_n_create": _RESPONSE.format("n_create(...)"),
    "send_n_delete": _RESPONSE.format("n_delete(...)"),
}

_ASSOCIATION: Final = {
    **_SENT,
    "accepted_contexts": "association.accepted",
    "rejected_contexts": "association.rejected",
    "is_rejected": "ae.associate raises AssociationRejected",
    "is_aborted": "calls raise AssociationAborted; see association.is_established",
    "is_released": "association.is_established",
    "is_alive": "association.is_established",
    "kill": "association.abort()",
    "requestor": "association.titles and association.peer",
    "acceptor": "association.titles and association.peer",
    "ae": "association.titles and association.peer",
}

_SERVER: Final = {
    "shutdown": "server.stop()",
    "bind": "handlers are added by decorators, @server.c_store; server.events() reports the rest",
    "unbind": "handlers are added by decorators, before the server starts",
    "serve_forever": "server.start() and server.wait()",
    "active_associations": "server.metrics()",
    "server_address": "server.host and server.port",
}

# Keywords of both servers: those of pynetdicom's `AE.start_server`, and settings of an `AE` here.
_SETTINGS: Final = {
    "address": "Server(ae, host, port)",
    "block": "server.start() and server.wait()",
    "ssl_context": "AE(tls=TLS(...))",
    "evt_handlers": "handlers are added by decorators, @server.c_store",
    "ae_title": "AE(title)",
    "contexts": _SUPPORTED,
    "storage": "services=[Storage(folder)]",
    "title": "AE(title)",
    "timeouts": "AE(timeouts=Timeouts(...))",
    "limits": "AE(limits=Limits(...))",
    "max_pdu": "AE(max_pdu=...)",
    "tls": "AE(tls=TLS(...))",
}

_REQUEST: Final = {
    "assoc": "request.association",
    "request": "the request is the argument itself: request.command has its elements",
    "is_cancelled": "request.cancelled",
    "move_destination": "request.destination",
    "modification_list": "request.modifications",
    "attribute_list": "request.dataset",
    "attribute_identifiers": "request.attributes",
    "action_information": "request.dataset",
    "event_information": "request.dataset",
    "file_meta": "request.dataset.file_meta; request.save(folder) writes a Part 10 file",
    "encoded_dataset": "request.data; request.save(folder) writes a Part 10 file",
    "dataset_path": "request.path",
}

_MODULE: Final = {
    "evt": "handlers are added by decorators, @server.c_store; server.events() reports the rest",
    "build_context": "Context(sop_class, transfer_syntaxes)",
    "build_role": "Context(sop_class, scu=True, scp=True)",
    "debug_logger": "log.to_stderr('debug')",
    "ALL_TRANSFER_SYNTAXES": "Supported(sop_class) takes all; Context(sop_class, [...]) names some",
    "DEFAULT_TRANSFER_SYNTAXES": "Context(sop_class) proposes the usual ones",
    "presentation": "Context, PRESETS and Supported",
    "StoragePresentationContexts": "contexts=PRESETS[...], or contexts planned by ae.send",
    "AllStoragePresentationContexts": "Storage(folder) takes all; ae.send plans from the files",
    "VerificationPresentationContexts": "contexts=[Verification]",
    "QueryRetrievePresentationContexts": "contexts=[PatientRoot, StudyRoot]",
    "BasicWorklistManagementPresentationContexts": "contexts=[ModalityWorklist]",
}

_STATUS_ELEMENTS: Final = {
    "Status": "a Status is the number itself, `status == 0x0000`",
    "ErrorComment": "StatusError.comment, or the response's",
    "OffendingElement": "the response's",
    "AffectedSOPInstanceUID": "the response's",
}

_NAMES: Final = {
    "AE": _AE,
    "Association": _ASSOCIATION,
    "Server": _SERVER,
    "Request": _REQUEST,
    "Status": _STATUS_ELEMENTS,
    "dimse_rs": _MODULE,
}


def absent(of: str, name: str, kind: str | None = None) -> str:
    """Make the message that an object has no such attribute, with what to use if that is known.

    Args:
        of: which table of names: AE, Association, Server, Request, or the package.
        name: the attribute.
        kind: the name of the class, if it is another.
    """
    text = f"{kind or of!r} has no attribute {name!r}"
    text = f"{'module' if of == 'dimse_rs' else 'object'} {text}"
    # In the text itself, not as a note: a traceback shows it, and so do the messages of tools.
    instead = _NAMES[of].get(name)
    return f"{text}: {instead}" if instead else text


def unexpected(of: str, name: str, keywords: Iterable[str]) -> str:
    """Make the message that a class has no such keyword, with what to write if that is known.

    Args:
        of: the name of the class.
        name: the keyword.
        keywords: those that the class has; a similar one is named.
    """
    text = f"{of}.__init__() got an unexpected keyword argument {name!r}"
    if instead := _SETTINGS.get(name):
        return f"{text}: {instead}"
    from difflib import get_close_matches  # here: only a mistake takes it

    near = get_close_matches(name.lower(), keywords, 1)
    return f"{text}: did you mean {near[0]!r}?" if near else text


def refuse(thing: object, of: str, name: str) -> Any:
    """Refuse an attribute that an object does not have.

    Raises:
        AttributeError: always; the original one, when a property of that name has raised it.
    """
    # Python calls `__getattr__` also when a property raises AttributeError: raise that one again.
    if hasattr(type(thing), name):
        return object.__getattribute__(thing, name)
    raise AttributeError(absent(of, name, type(thing).__name__), name=name, obj=thing)
