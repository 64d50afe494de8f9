//! What two ends agreed, and what their A-ASSOCIATE PDUs say about it (PS3.8 7.1.1).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::Uid;
use crate::ul::associate::Associate;
use crate::ul::reason::ContextResult;
use crate::ul::user_info::{Secret, UserItem};
use crate::wire::Shown;

/// The DICOM application context name (PS3.7 A.2.1).
pub const APPLICATION_CONTEXT: Uid = Uid::from_static("1.2.840.10008.3.1.1.1");

/// Our implementation class UID (PS3.7 D.3.3.2).
pub const IMPLEMENTATION_CLASS_UID: Uid =
    Uid::from_static("2.25.195513326440569407913189262547238008728");

/// Our implementation version name, with major and minor version: `DIMSE_RS_01`.
pub const IMPLEMENTATION_VERSION_NAME: &str = concat!(
    "DIMSE_RS_",
    env!("CARGO_PKG_VERSION_MAJOR"),
    env!("CARGO_PKG_VERSION_MINOR")
);

/// What a peer that announces no maximum length is sent at most.
pub(super) const ASSUMED_MAX_LENGTH: u32 = 16384;

/// What an association can do, seen from this end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Every proposed context, in the order of the proposal.
    pub contexts: Vec<NegotiatedContext>,
    /// Largest P-DATA-TF the peer receives, in bytes; 0 is no limit; 16384 when it did not say.
    pub peer_max_length: u32,
    /// Operations we may have outstanding at the peer, at least 1; 65535 stands for no limit.
    pub invoked: u16,
    /// Operations the peer may have outstanding here, at least 1; 65535 stands for no limit.
    pub performed: u16,
    /// 52H of the peer.
    pub peer_implementation_class: Option<Uid>,
    /// 55H of the peer, escaped where it is not ASCII.
    pub peer_implementation_version: Option<String>,
    /// Extended negotiation as answered, one entry for a SOP class. What is not agreed here must not be used.
    pub extended: Vec<(Uid, Bytes)>,
    /// The 59H of the answer: present when an identity was verified and the requestor asked to know.
    pub identity_response: Option<Secret>,
    /// Mistakes of the peer that were let through.
    pub warnings: Vec<String>,
}

/// A presentation context after negotiation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegotiatedContext {
    /// Presentation context id.
    pub id: u8,
    /// Abstract syntax proposed.
    pub abstract_syntax: Uid,
    /// Acceptance or why not. An acceptance that cannot be used is shown as `NO_REASON`, with a warning.
    pub result: ContextResult,
    /// The transfer syntax, when accepted.
    pub transfer_syntax: Option<Uid>,
    /// We may be SCU.
    pub scu: bool,
    /// We may be SCP.
    pub scp: bool,
}

impl Negotiated {
    /// The context with this id, whatever its result.
    #[must_use]
    pub fn by_id(&self, id: u8) -> Option<&NegotiatedContext> {
        // Contexts are usually numbered 1, 3, 5: look there first.
        self.contexts
            .get(usize::from(id >> 1))
            .filter(|context| context.id == id)
            .or_else(|| self.contexts.iter().find(|context| context.id == id))
    }

    /// Contexts that can carry messages.
    pub fn accepted(&self) -> impl Iterator<Item = &NegotiatedContext> {
        self.contexts.iter().filter(|context| context.is_accepted())
    }

    /// What an A-ASSOCIATE says about its sender, with nothing else settled yet.
    pub(super) fn about(peer: &Associate) -> Self {
        let mut warnings = Vec::new();
        let announced = first(peer, |item| match item {
            UserItem::MaximumLength(length) => Some(*length),
            _ => None,
        });
        if announced.is_none() {
            warnings.push("no maximum length announced, 16384 assumed (PS3.8 D.1)".to_string());
        }
        Self {
            contexts: Vec::new(),
            peer_max_length: announced.unwrap_or(ASSUMED_MAX_LENGTH),
            invoked: 1,
            performed: 1,
            peer_implementation_class: first(peer, |item| match item {
                UserItem::ImplementationClassUid(uid) => Some(detached(uid)),
                _ => None,
            }),
            peer_implementation_version: first(peer, |item| match item {
                UserItem::ImplementationVersion(name) => Some(Shown(name).to_string()),
                _ => None,
            }),
            extended: Vec::new(),
            identity_response: None,
            warnings,
        }
    }
}

impl NegotiatedContext {
    /// It can carry messages.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.result == ContextResult::ACCEPTANCE
    }
}

/// The first user information sub-item that `pick` wants; what is allowed once and came twice counts once.
pub(super) fn first<'a, T>(
    associate: &'a Associate,
    pick: impl FnMut(&'a UserItem) -> Option<T>,
) -> Option<T> {
    associate.user_items().find_map(pick)
}

/// The offered or answered 53H, as it stands.
pub(super) fn async_window(associate: &Associate) -> Option<(u16, u16)> {
    first(associate, |item| match item {
        UserItem::AsyncWindow { invoked, performed } => Some((*invoked, *performed)),
        _ => None,
    })
}

/// SCU and SCP role of the 54H for a class. Any other value than 1 is a 0.
pub(super) fn role(associate: &Associate, class: &Uid) -> Option<(bool, bool)> {
    first(associate, |item| match item {
        UserItem::Role {
            sop_class,
            scu,
            scp,
        } if sop_class == class => Some((*scu == 1, *scp == 1)),
        _ => None,
    })
}

/// The smaller of two numbers of operations, where 0 is no limit.
pub(super) const fn smaller_window(a: u16, b: u16) -> u16 {
    match (a, b) {
        (0, n) | (n, 0) => n,
        _ if a < b => a,
        _ => b,
    }
}

/// A number of operations to count with.
pub(super) const fn counted_window(operations: u16) -> u16 {
    if operations == 0 {
        u16::MAX
    } else {
        operations
    }
}

/// A copy that does not keep the received PDU alive. Past 64 characters it is no UID, and is cut.
pub(super) fn detached(uid: &Uid) -> Uid {
    let text = uid.as_bytes();
    Uid::from_wire(Bytes::copy_from_slice(text.get(..64).unwrap_or(text)))
}
