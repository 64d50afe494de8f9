"""Presentation contexts: what is proposed, and the plan for sending files (PS3.8 7.1.1.13).

Nothing here opens a file or a socket. The core numbers the contexts when it builds the
A-ASSOCIATE-RQ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from . import _core
from .records import dataclass
from .sop_class import (
    MOST_USED_STORAGE,
    SOP_CLASSES,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    Model,
    SOPClass,
    TransferSyntax,
    Verification,
)
from .uids import check_uid, several

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "DEFAULT_TRANSFER_SYNTAXES",
    "MAX_CONTEXTS",
    "PRESETS",
    "STORAGE_SERVICE_CLASS",
    "AcceptedContext",
    "Context",
    "Contexts",
    "FileInfo",
    "Plan",
    "RejectedContext",
    "Supported",
    "any_storage",
    "expand",
    "for_retrieve",
    "plan",
]

MAX_CONTEXTS: Final = 128
"""As many as one A-ASSOCIATE-RQ can propose: ids are the odd numbers up to 255 (PS3.8 9.3.2.2)."""

DEFAULT_TRANSFER_SYNTAXES: Final[tuple[TransferSyntax, ...]] = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
"""What a SOP Class alone proposes; Implicit VR Little Endian is not optional (PS3.5 10.1)."""

STORAGE_SERVICE_CLASS: Final = "1.2.840.10008.4.2"
"""The service class UID of storage, for common extended negotiation (PS3.6 A)."""

_REASONS: Final = dict(_core.context_results())
"""Results of contexts in the words of PS3.8 Table 9-18."""

_STORAGE_ROOT: Final = "1.2.840.10008.5.1.4.1.1."


@dataclass(frozen=True, slots=True, init=False)
class Context:
    """One presentation context to propose: a SOP Class, its transfer syntaxes and our roles in it.

    Attributes:
        sop_class: the abstract syntax.
        transfer_syntaxes: in order of preference; the acceptor picks one.
        scu: whether we may invoke operations. Both roles default as PS3.7 D.3.3.4 does.
        scp: whether we may perform operations; True adds a role selection item.
        service_class: for a SOP Class that the peer may not know: the service class of it.
        related: likewise, the SOP Classes that it is a specialisation of. Either attribute adds a
            common extended negotiation item.

    Source: PS3.8 9.3.2.2, PS3.7 D.3.3.4, D.3.3.6.
    """

    sop_class: SOPClass
    transfer_syntaxes: tuple[TransferSyntax, ...]
    scu: bool
    scp: bool
    service_class: str | None
    related: tuple[SOPClass, ...]

    def __init__(
        self,
        sop_class: str,
        transfer_syntaxes: Iterable[str] | None = None,
        scu: bool = True,
        scp: bool = False,
        *,
        service_class: str | None = None,
        related: Iterable[str] = (),
    ) -> None:
        """Check the UIDs, and keep each as a constant with its name.

        Args:
            sop_class: a constant of `sop_class`, or any UID.
            transfer_syntaxes: UIDs in order of preference, or one UID; default Explicit and
                Implicit VR Little Endian.
            scu: propose to be the user of the service.
            scp: propose to be the provider of the service.
            service_class: its UID; default `STORAGE_SERVICE_CLASS` when there are related classes.
            related: general SOP Classes, at most 64: a peer that knows one of them can take the
                instances for its own.

        Raises:
            ValueError: a malformed UID, no transfer syntax, or neither role.
        """
        if transfer_syntaxes is None:
            transfer_syntaxes = DEFAULT_TRANSFER_SYNTAXES
        syntaxes = _syntaxes(transfer_syntaxes)
        if not syntaxes:
            raise ValueError("a presentation context needs a transfer syntax (PS3.8 9.3.2.2)")
        if not (scu or scp):
            raise ValueError("a presentation context needs the SCU or the SCP role (PS3.7 D.3.3.4)")
        object.__setattr__(self, "sop_class", SOPClass.of(check_uid(sop_class)))
        object.__setattr__(self, "transfer_syntaxes", syntaxes)
        object.__setattr__(self, "scu", scu)
        object.__setattr__(self, "scp", scp)
        general = tuple(dict.fromkeys(SOPClass.of(check_uid(uid)) for uid in several(related)))
        # An acceptor that knows no related class either can still decide by the service class.
        if service_class is None and general:
            service_class = STORAGE_SERVICE_CLASS
        elif service_class is not None:
            service_class = str(check_uid(service_class))
        object.__setattr__(self, "service_class", service_class)
        object.__setattr__(self, "related", general)

    @property
    def needs_role_selection(self) -> bool:
        """Whether the roles differ from the default, SCU only (PS3.7 D.3.3.4)."""
        return self.scp or not self.scu


def _syntaxes(uids: Iterable[str]) -> tuple[TransferSyntax, ...]:
    return tuple(dict.fromkeys(TransferSyntax.of(check_uid(uid)) for uid in several(uids)))


Contexts: TypeAlias = str | Context | Model | Iterable["Contexts"]
"""What `contexts=` takes: a class, a `Context`, a model, or any nesting of them."""


def expand(contexts: Contexts | None = None) -> tuple[Context, ...]:
    """Make the contexts to propose from what a user wrote.

    Equal contexts are proposed once. One SOP Class has one pair of roles in an association (PS3.7
    D.3.3.4), so contexts of the same class get the union of the roles asked for. In the same way
    they share what the class is a specialisation of (PS3.7 D.3.3.6).

    Args:
        contexts: SOP Classes, `Context`s and models; default Verification.

    Raises:
        ValueError: nothing to propose, or more than 128 contexts.
    """
    listed = tuple(_flatten(Verification if contexts is None else contexts))
    if not listed:
        raise ValueError("an association needs a presentation context (PS3.8 9.3.2)")
    # Roles and related classes are negotiated for each SOP Class, not for each context: items that
    # differ between two contexts of a class would contradict each other.
    scu = {context.sop_class for context in listed if context.scu}
    scp = {context.sop_class for context in listed if context.scp}
    service = {c.sop_class: c.service_class for c in listed if c.service_class}
    related: dict[SOPClass, list[SOPClass]] = {}
    for context in listed:
        related.setdefault(context.sop_class, []).extend(context.related)
    united = tuple(
        dict.fromkeys(
            Context(
                c.sop_class,
                c.transfer_syntaxes,
                c.sop_class in scu,
                c.sop_class in scp,
                service_class=service.get(c.sop_class),
                related=related[c.sop_class],
            )
            for c in listed
        )
    )
    if len(united) > MAX_CONTEXTS:
        raise ValueError(
            f"{len(united)} presentation contexts do not fit into one association: "
            f"at most {MAX_CONTEXTS} (PS3.8 9.3.2.2); use several associations"
        )
    return united


def _flatten(contexts: Contexts) -> Iterator[Context]:
    if isinstance(contexts, str):
        yield Context(contexts)
    elif isinstance(contexts, Context):
        yield contexts
    else:
        for inner in contexts:
            yield from _flatten(inner)


def for_retrieve(
    model: Contexts,
    storage: Iterable[str] = MOST_USED_STORAGE,
    transfer_syntaxes: Iterable[str] | None = None,
) -> tuple[Context, ...]:
    """Add the contexts to a model that C-GET needs: storage classes, in the SCP role.

    Args:
        model: such as `StudyRoot`.
        storage: the classes that may come back, or one; default the 120 most used.
        transfer_syntaxes: for those classes, or one UID; default Explicit and Implicit VR Little
            Endian.

    Raises:
        ValueError: more than 128 contexts.

    Source: PS3.4 C.5.3.
    """
    # A C-GET turns the roles around: its SCP sends the instances, so that its SCU is the SCP of the
    # C-STORE sub-operations.
    syntaxes = None if transfer_syntaxes is None else tuple(several(transfer_syntaxes))
    classes = several(storage)
    return expand((model, [Context(uid, syntaxes, scu=False, scp=True) for uid in classes]))


def any_storage(sop_class: str) -> bool:
    """Whether a class is a storage class, or may be one that is not known here; for `Supported`.

    True for the storage classes of the registry, for every private class, and for UIDs under the
    root of storage that DICOM may define later.
    """
    # Vendors store instances of private classes: a UID outside of DICOM's root may be one of these.
    known = SOPClass.of(sop_class)
    if known.service:
        return known.is_storage
    return not sop_class.startswith("1.2.840.10008.") or sop_class.startswith(_STORAGE_ROOT)


@dataclass(frozen=True, slots=True, init=False)
class Supported:
    """SOP Classes that a server accepts, with their terms; for `Server(supported=...)`.

    Attributes:
        sop_classes: the classes; empty when there is a predicate.
        predicate: a function that decides on each proposed class that no entry lists. The core
            itself decides by `any_storage`, without a call.
        transfer_syntaxes: the preferred first; empty means any.
        own_order: whether our order of transfer syntaxes decides, or that of the requestor.
        scu: whether the requestor may be SCU.
        scp: whether the requestor may be SCP, if it asks for the role.

    Source: PS3.8 9.3.3.2, PS3.7 D.3.3.4.
    """

    sop_classes: tuple[SOPClass, ...]
    predicate: Callable[[SOPClass], bool] | None
    transfer_syntaxes: tuple[TransferSyntax, ...]
    own_order: bool
    scu: bool
    scp: bool

    def __init__(
        self,
        sop_classes: str | Iterable[str] | Callable[[SOPClass], bool],
        transfer_syntaxes: Iterable[str] = (),
        *,
        own_order: bool = False,
        scu: bool = True,
        scp: bool = False,
    ) -> None:
        """Check the UIDs, and keep each as a constant with its name.

        Args:
            sop_classes: one, several, a model, or a predicate on the class.
            transfer_syntaxes: UIDs, the preferred first; default any.
            own_order: our order decides, which suits queries. By default the order of the requestor
                does, which suits storage: compressed instances are sent compressed.
            scu: let the requestor be SCU.
            scp: let the requestor be SCP.

        Raises:
            ValueError: a malformed UID, no class, or neither role.
        """
        predicate = sop_classes if callable(sop_classes) else None
        listed = () if callable(sop_classes) else several(sop_classes)
        classes = tuple(dict.fromkeys(SOPClass.of(check_uid(uid)) for uid in listed))
        if predicate is None and not classes:
            raise ValueError("no SOP Class to support")
        if not (scu or scp):
            raise ValueError("a requestor needs the SCU or the SCP role (PS3.7 D.3.3.4)")
        object.__setattr__(self, "sop_classes", classes)
        object.__setattr__(self, "predicate", predicate)
        object.__setattr__(self, "transfer_syntaxes", _syntaxes(transfer_syntaxes))
        object.__setattr__(self, "own_order", own_order)
        object.__setattr__(self, "scu", scu)
        object.__setattr__(self, "scp", scp)


_IN_USE: Final = tuple(uid for uid in SOP_CLASSES.values() if uid.dimse and not uid.retired)

PRESETS: Final[Mapping[str, tuple[SOPClass, ...]]] = MappingProxyType(
    {
        service: MOST_USED_STORAGE
        if service == "storage"
        else tuple(uid for uid in _IN_USE if uid.service == service)
        for service in dict.fromkeys(uid.service for uid in _IN_USE)
    }
)
"""The SOP Classes in use of each service group, to be proposed: `contexts=PRESETS["print"]`.

Of storage the 120 most used: all of them do not fit into one association. The groups are those of
`SOPClass.service`: verification, storage, query-retrieve, worklist, procedure-step,
storage-commitment, print, ups and so on.
"""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """The facts of an instance that `plan` needs.

    Attributes:
        path: where the file is.
        sop_class: its SOP Class UID, from the data set.
        sop_instance: its SOP Instance UID, from the data set.
        transfer_syntax: how the data set is stored.
        size: of the data set, in bytes.
    """

    path: Path
    sop_class: str
    sop_instance: str
    transfer_syntax: str
    size: int = 0

    @classmethod
    def _of(cls, path: Path, facts: _core.FileFacts) -> FileInfo:
        """Put the path beside what the core read."""
        return cls(path, facts.sop_class, facts.sop_instance, facts.transfer_syntax, facts.size)


@dataclass(frozen=True, slots=True)
class Plan:
    """One association to make: the contexts to propose, and the files to send, in their order."""

    contexts: tuple[Context, ...]
    files: tuple[FileInfo, ...]

    @property
    def size(self) -> int:
        """Length of all data sets together, in bytes."""
        return sum(file.size for file in self.files)


def plan(
    files: Iterable[FileInfo],
    fallback: Iterable[str] = DEFAULT_TRANSFER_SYNTAXES,
) -> list[Plan]:
    """Plan the associations that carry these files.

    For each SOP Class: one context for each transfer syntax of its files, so that each file can be
    sent unconverted, and one with `fallback`, which every peer must be offered (PS3.5 10.1). When
    128 contexts do not suffice, the rest goes into further associations.

    Args:
        files: in the order in which they should be sent.
        fallback: the transfer syntaxes of the extra context, in order of preference.

    Returns:
        The plans: no files, no plans. Every file is in exactly one, in the order given.
    """
    listed = tuple(files)
    spare = tuple(fallback)
    stored: dict[str, dict[str, None]] = {}
    for file in listed:
        stored.setdefault(file.sop_class, {})[file.transfer_syntax] = None

    # First fit in order: a SOP Class with all its syntaxes goes into the current association, or
    # begins another one. Only a class with more syntaxes than an association has contexts is split.
    bins: list[list[Context]] = [[]]
    where: dict[tuple[str, str], int] = {}
    for sop_class, syntaxes in stored.items():
        for chunk in _chunks(tuple(syntaxes), MAX_CONTEXTS - 1):  # and one for `spare`
            group = dict.fromkeys(
                (*(Context(sop_class, uid) for uid in chunk), Context(sop_class, spare))
            )
            if len(bins[-1]) + len(group) > MAX_CONTEXTS:
                bins.append([])
            bins[-1].extend(group)
            where.update(((sop_class, uid), len(bins) - 1) for uid in chunk)

    loads: list[list[FileInfo]] = [[] for _ in bins]
    for file in listed:
        loads[where[file.sop_class, file.transfer_syntax]].append(file)
    return [
        Plan(tuple(contexts), tuple(load))
        for contexts, load in zip(bins, loads, strict=True)
        if load
    ]


def _chunks(items: tuple[str, ...], size: int) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """A presentation context that was accepted (PS3.8 9.3.3.2).

    Attributes:
        id: the presentation context id, odd.
        sop_class: the abstract syntax.
        transfer_syntax: the one that the acceptor picked.
        scu: whether this side may invoke operations in it.
        scp: whether this side may perform operations in it.
    """

    id: int
    sop_class: SOPClass
    transfer_syntax: TransferSyntax
    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True)
class RejectedContext:
    """A presentation context that was not accepted.

    Attributes:
        id: the presentation context id.
        sop_class: the abstract syntax.
        result: 1 user rejection, 2 no reason, 3 abstract syntax, 4 transfer syntaxes not supported.
    """

    id: int
    sop_class: SOPClass
    result: int

    @property
    def reason(self) -> str:
        """The result in the words of the standard."""
        return _REASONS.get(self.result, f"result {self.result}")


def _accepted(facts: _core.ContextFacts) -> AcceptedContext:
    syntax = TransferSyntax.of(facts.transfer_syntax or "")
    return AcceptedContext(facts.id, SOPClass.of(facts.sop_class), syntax, facts.scu, facts.scp)
