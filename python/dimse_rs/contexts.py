"""Presentation contexts: what is proposed, and the plan for sending files (PS3.8 7.1.1.13).

Pure: it opens no file and no socket. Context ids are given out where the A-ASSOCIATE-RQ is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from ._uids import Model, SOPClass, TransferSyntax, is_uid
from .sop_class import (
    MOST_USED_STORAGE,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    Verification,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "DEFAULT_TRANSFER_SYNTAXES",
    "MAX_CONTEXTS",
    "Context",
    "Contexts",
    "FileInfo",
    "Plan",
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
"""What a bare class proposes; Implicit VR Little Endian is not optional (PS3.5 10.1)."""


@dataclass(frozen=True, slots=True, init=False)
class Context:
    """One presentation context to propose: a SOP Class, its transfer syntaxes and our roles in it.

    Attributes:
        sop_class: the abstract syntax.
        transfer_syntaxes: in order of preference; the acceptor picks one.
        scu: whether we may invoke operations. Both roles default as PS3.7 D.3.3.4 does.
        scp: whether we may perform operations; True adds a role selection item.

    Source: PS3.8 9.3.2.2, PS3.7 D.3.3.4.
    """

    sop_class: SOPClass
    transfer_syntaxes: tuple[TransferSyntax, ...]
    scu: bool
    scp: bool

    def __init__(
        self,
        sop_class: str,
        transfer_syntaxes: Iterable[str] | None = None,
        scu: bool = True,
        scp: bool = False,
    ) -> None:
        """Check and name the UIDs.

        Args:
            sop_class: a constant of `sop_class`, or any UID.
            transfer_syntaxes: UIDs in order of preference, or one UID; default Explicit and
                Implicit VR Little Endian.
            scu: propose to be the user of the service.
            scp: propose to be the provider of the service.

        Raises:
            ValueError: a malformed UID, no transfer syntax, or neither role.
        """
        if transfer_syntaxes is None:
            transfer_syntaxes = DEFAULT_TRANSFER_SYNTAXES
        elif isinstance(transfer_syntaxes, str):
            transfer_syntaxes = (transfer_syntaxes,)
        syntaxes = tuple(
            dict.fromkeys(TransferSyntax.of(_checked(uid)) for uid in transfer_syntaxes)
        )
        if not syntaxes:
            raise ValueError("a presentation context needs a transfer syntax (PS3.8 9.3.2.2)")
        if not (scu or scp):
            raise ValueError("a presentation context needs the SCU or the SCP role (PS3.7 D.3.3.4)")
        object.__setattr__(self, "sop_class", SOPClass.of(_checked(sop_class)))
        object.__setattr__(self, "transfer_syntaxes", syntaxes)
        object.__setattr__(self, "scu", scu)
        object.__setattr__(self, "scp", scp)

    @property
    def needs_role_selection(self) -> bool:
        """Whether the roles differ from the default, SCU only (PS3.7 D.3.3.4)."""
        return self.scp or not self.scu


def _checked(uid: str) -> str:
    if not is_uid(uid):
        raise ValueError(f"not a UID: {uid!r} (PS3.5 9.1)")
    return uid


Contexts: TypeAlias = str | Context | Model | Iterable["Contexts"]
"""What `contexts=` takes: a class, a `Context`, a model, or any nesting of them."""


def expand(contexts: Contexts | None = None) -> tuple[Context, ...]:
    """Turn what a user writes into the contexts to propose.

    Equal contexts are proposed once. One SOP Class has one pair of roles in an association (PS3.7
    D.3.3.4), so contexts of the same class get the union of the roles asked for.

    Args:
        contexts: SOP Classes, `Context`s and models; default Verification.

    Raises:
        ValueError: nothing to propose, or more than 128 contexts.
    """
    listed = tuple(_flatten(Verification if contexts is None else contexts))
    if not listed:
        raise ValueError("an association needs a presentation context (PS3.8 9.3.2)")
    scu = {context.sop_class for context in listed if context.scu}
    scp = {context.sop_class for context in listed if context.scp}
    united = tuple(
        dict.fromkeys(
            Context(c.sop_class, c.transfer_syntaxes, c.sop_class in scu, c.sop_class in scp)
            for c in listed
        )
    )
    if len(united) > MAX_CONTEXTS:
        raise ValueError(
            f"{len(united)} presentation contexts do not fit into one association: "
            f"at most {MAX_CONTEXTS} (PS3.8 9.3.2.2)"
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
    """Add to a model what C-GET needs: storage classes in which we are the provider.

    Args:
        model: such as `StudyRoot`.
        storage: the classes that may come back; default the 120 most used.
        transfer_syntaxes: for those classes; default Explicit and Implicit VR Little Endian.

    Raises:
        ValueError: more than 128 contexts.

    Source: PS3.4 C.5.3.
    """
    syntaxes = None if transfer_syntaxes is None else tuple(transfer_syntaxes)
    return expand((model, [Context(uid, syntaxes, scu=False, scp=True) for uid in storage]))


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What the planner has to know of an instance to be sent.

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


@dataclass(frozen=True, slots=True)
class Plan:
    """One association to make: what to propose, and which files it then carries, in given order."""

    contexts: tuple[Context, ...]
    files: tuple[FileInfo, ...]

    @property
    def size(self) -> int:
        """The data set bytes that it carries."""
        return sum(file.size for file in self.files)


def plan(
    files: Iterable[FileInfo],
    fallback: Iterable[str] = DEFAULT_TRANSFER_SYNTAXES,
) -> list[Plan]:
    """Plan the associations that carry these files.

    For each SOP Class: one context for each transfer syntax that its files are stored in, so that
    each can go out as it is, plus one with `fallback`, which every peer has to be offered (PS3.5
    10.1). What does not fit into 128 contexts goes into further associations.

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

    bins: list[list[Context]] = [[]]
    where: dict[tuple[str, str], int] = {}
    for sop_class, syntaxes in stored.items():
        for chunk in _chunks(tuple(syntaxes), MAX_CONTEXTS - 1):
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
