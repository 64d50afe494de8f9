"""`Proposal`: an A-ASSOCIATE-RQ, for the functions that decide on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from . import extended as ext
from .contexts import Context
from .extended import Extended
from .records import dataclass
from .settings import Peer, peer_at
from .sop_class import SOPClass
from .tls import TLSFacts
from .user_identity import UserIdentity, identity_of

if TYPE_CHECKING:
    from . import _core

__all__ = ["Proposal", "proposal_of"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """An A-ASSOCIATE-RQ that passed the checks of the core (PS3.8 9.3.2).

    Attributes:
        peer: the requestor, with the calling AE title.
        called: the called AE title.
        contexts: the proposed presentation contexts.
        identity: the user; None when there is no identity, or one of an undefined type.
        extended: the options of SOP class extended negotiation that are offered.
        tls: the result of the TLS handshake, with the peer's certificate; None without TLS.
        implementation_class_uid: the requestor's Implementation Class UID; empty without one.
        implementation_version: its Implementation Version Name, such as "OFFIS_DCMTK_368", with
            other than printable ASCII characters escaped; empty without one.
        max_length: largest P-DATA-TF that the requestor takes, in bytes; 0 is no limit. 16384 when
            the requestor announced nothing.
    """

    peer: Peer
    called: str
    contexts: tuple[Context, ...]
    identity: UserIdentity | None
    extended: Mapping[SOPClass, Extended]
    tls: TLSFacts | None = None
    implementation_class_uid: str = ""
    implementation_version: str = ""
    max_length: int = 0

    @property
    def calling(self) -> str:
        """The calling AE title."""
        return self.peer.ae_title


def proposal_of(core: _core.Proposal) -> Proposal:
    """Make the proposal; contexts with malformed UIDs, which are never accepted, are left out."""
    titles = core.titles
    max_length, implementation_class, version = core.about
    common = {item.sop_class: item for item in core.common}
    contexts = []
    for proposed in core.contexts:
        item = common.get(proposed.sop_class)
        try:
            context = Context(
                proposed.sop_class,
                proposed.transfer_syntaxes,
                proposed.scu,
                proposed.scp,
                service_class=item and item.service_class,
                related=item.related if item else (),
            )
        except ValueError:
            continue  # the core rejects this context, whatever the functions decide
        contexts.append(context)
    return Proposal(
        peer_at(titles.calling, core.peer),
        titles.called,
        tuple(contexts),
        identity_of(core.identity),
        ext.answered(core.extended),
        TLSFacts._of(core.tls),
        implementation_class or "",
        version or "",
        max_length,
    )
