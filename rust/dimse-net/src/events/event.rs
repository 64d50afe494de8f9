//! What happened, for followers: logs, progress, `--json`. Each follower names the kinds that it wants; an event
//! without a follower is not built, and costs one atomic load.

use std::fmt;
use std::net::SocketAddr;
use std::ops::BitOr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use dimse_proto::connection::trace::{Seen, Step};
use dimse_proto::dataset::Oddity;
use dimse_proto::dimse::{CommandField, CommandSet};
use dimse_proto::ul::negotiate::Negotiated;
use dimse_proto::ul::reason::AssociateRj;
use dimse_proto::{DecodeError, Uid};

use crate::error::Error;
use crate::facts::{AssociationId, Titles, TlsFacts};
use crate::receive::sink::PatientStudy;

/// An event with its association, its peer and its time.
#[derive(Clone, Debug)]
pub struct EventRecord {
    /// The association; 0 for what concerns none.
    pub association: AssociationId,
    /// Its titles, as far as they are known.
    pub titles: Titles,
    /// Address of the peer.
    pub peer: Option<SocketAddr>,
    /// Time of the event.
    pub at: SystemTime,
    /// The event itself.
    pub event: Event,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A transport connection is open; with TLS, after the handshake, and with what the handshake agreed on.
    Connected(Option<Arc<TlsFacts>>),
    /// An association was established: what was agreed.
    Associated(Arc<Negotiated>),
    /// We rejected an association.
    Rejected {
        /// What we answered.
        rj: AssociateRj,
        /// Stable name of the cause.
        code: &'static str,
        /// What was asked, what this node is, and what would accept it.
        detail: String,
    },
    /// A PDU was sent or received.
    Pdu {
        /// Ours, or the peer's.
        sent: bool,
        /// Its type and, unless it carries data, its items.
        seen: Seen,
        /// Of an A-ASSOCIATE-AC: the classes that its context ids were proposed for.
        classes: Vec<(u8, Uid)>,
    },
    /// The protocol machine took a step.
    State(Step),
    /// A message was sent, or received whole.
    Message {
        /// Ours, or the peer's.
        sent: bool,
        /// Presentation context.
        context_id: u8,
        /// Command set.
        command: CommandSet,
        /// Bytes of the data set.
        bytes: u64,
    },
    /// A C-STORE of a C-GET or C-MOVE has its response, or will get none.
    SubOperation(Box<SubOperation>),
    /// A C-STORE was received into the folder, or refused.
    Stored(Box<StoredEvent>),
    /// A request that its peer may not make was answered with a failure.
    Denied(Box<Denied>),
    /// A request of the peer: one with an identifier when it came, and each when it was answered.
    Performed(Box<Performed>),
    /// The requestor sent a user identity.
    Identity {
        /// User identity type (PS3.7 D.3.3.7).
        identity_type: u8,
        /// The user's name, where the type has one that is no secret.
        name: Option<String>,
        /// The user of this crate has verified it.
        verified: bool,
        /// The association was established; otherwise it was rejected because of this.
        accepted: bool,
    },
    /// The server listens, or has stopped.
    Serving(bool),
    /// The peer broke the protocol; it was answered with A-ABORT.
    Violation(DecodeError),
    /// The association is over: released when there is no error.
    Ended {
        /// The cause, unless the association was released.
        error: Option<Error>,
        /// The log needs no warning for this end: an earlier event has the cause (a rejection by this node, a fault
        /// of the peer), the user ended the association, or the connection closed before its first byte.
        told: bool,
        /// C-STOREs answered with Success or a warning on it, from the folder or by the user.
        stored: u64,
        /// Messages received on it.
        messages: u64,
    },
    /// Connections could not be accepted.
    AcceptFailed(String),
    /// Connections were closed to make room for others.
    Evicted(String),
    /// The files of TLS were changed and are not in order: their former contents stay in use.
    TlsFiles(String),
    /// The follower was slow, and so many events were dropped.
    Lost(u64),
}

/// A sub-operation (PS3.4 C.4.2, C.4.3): performed for a retrieval of the peer, or received in one of this node.
#[derive(Clone, Debug)]
pub struct SubOperation {
    /// This node sent the instance.
    pub sent: bool,
    /// Message ID of the C-GET or C-MOVE; of a C-MOVE of another association when the instance was received.
    pub of: u16,
    /// SOP class, as far as it is known.
    pub sop_class: String,
    /// SOP instance, as far as it is known.
    pub sop_instance: String,
    /// Status of the response; `None` without a response.
    pub status: Option<u16>,
    /// Why there was no response.
    pub detail: String,
}

/// A request that the peer has no permission for.
#[derive(Clone, Debug)]
pub struct Denied {
    /// Command Field of the request.
    pub field: CommandField,
    /// SOP class of the command.
    pub sop_class: Uid,
    /// SOP instance of the command, if it has one.
    pub sop_instance: Option<Uid>,
    /// Status answered.
    pub status: u16,
}

/// A request that this node performs for the peer.
#[derive(Clone, Debug)]
pub struct Performed {
    /// Command Field of the request.
    pub field: CommandField,
    /// Its Message ID.
    pub message_id: u16,
    /// SOP class of the command.
    pub sop_class: Uid,
    /// SOP instance of the command, if it has one.
    pub sop_instance: Option<Uid>,
    /// Move Destination (0000,0600), of C-MOVE.
    pub destination: Option<String>,
    /// Encoding of its data set.
    pub transfer_syntax: Uid,
    /// The final status answered; none yet in the event of the `identifier`.
    pub status: Option<u16>,
    /// Of C-FIND, C-GET and C-MOVE, when they came.
    pub identifier: Bytes,
    /// Of C-STORE: what the instance belongs to.
    pub subject: PatientStudy,
    /// Of C-STORE into the folder: the same bytes were there already.
    pub identical: bool,
    /// Of C-STORE into the folder: an earlier version with other bytes was there.
    pub changed: bool,
}

/// The result of one received instance.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// SOP class of the command.
    pub sop_class: Uid,
    /// SOP instance of the command.
    pub sop_instance: Uid,
    /// Encoding of the data set.
    pub transfer_syntax: Uid,
    /// Status answered.
    pub status: u16,
    /// Why it was refused, for the log; may hold what the peer sent, escaped.
    pub detail: String,
    /// Bytes of the data set.
    pub bytes: u64,
    /// The file, when stored.
    pub path: Option<PathBuf>,
    /// Where the earlier version went, when there was one with other bytes.
    pub kept: Option<PathBuf>,
    /// The same bytes were there already.
    pub identical: bool,
    /// The structure was verified; false for an encoding we cannot read.
    pub verified: bool,
    /// What is not well formed in it, the first of each kind.
    pub oddities: Vec<Oddity>,
    /// Study Instance UID (0020,000D), when stored.
    pub study: Option<Uid>,
    /// Series Instance UID (0020,000E), when stored.
    pub series: Option<Uid>,
}

// Bits of one number: what all followers want together is their union, and one look at it answers whether an event has
// to be built.
/// A set of kinds of events.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds(pub(crate) u32);

/// Names the bits.
macro_rules! kinds {
    ($($(#[$meta:meta])* $kind:ident = $bit:literal $name:literal,)+) => {
        impl Kinds {
            $($(#[$meta])* pub const $kind: Self = Self(1 << $bit);)+

            /// The names of all kinds.
            pub const NAMES: &[&'static str] = &[$($name,)+];

            /// The kind of this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$kind),)+
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// [`Event::Connected`].
    CONNECTED = 0 "connected",
    /// [`Event::Associated`].
    ASSOCIATED = 1 "associated",
    /// [`Event::Rejected`].
    REJECTED = 2 "rejected",
    /// [`Event::Stored`].
    STORED = 3 "stored",
    /// [`Event::Violation`].
    VIOLATION = 4 "violation",
    /// [`Event::Ended`].
    ENDED = 5 "ended",
    /// [`Event::AcceptFailed`].
    ACCEPT_FAILED = 6 "accept-failed",
    /// [`Event::Message`].
    MESSAGE = 7 "message",
    /// [`Event::SubOperation`].
    SUB_OPERATION = 8 "suboperation",
    /// [`Event::Pdu`], but for P-DATA-TF.
    PDU = 9 "pdu",
    /// [`Event::Pdu`] of P-DATA-TF.
    DATA_PDU = 10 "data-pdu",
    /// [`Event::State`], but for steps that only carry data.
    STATE = 11 "state",
    /// [`Event::State`] of steps that only carry data.
    DATA_STATE = 12 "data-state",
    /// What an operator should look at, of any kind: a rejection, a refusal, a fault.
    PROBLEM = 13 "problem",
    /// [`Event::TlsFiles`].
    TLS_FILES = 14 "tls-files",
    /// [`Event::Denied`].
    DENIED = 15 "denied",
    /// [`Event::Performed`].
    PERFORMED = 16 "performed",
    /// [`Event::Identity`].
    IDENTITY = 17 "identity",
    /// [`Event::Serving`].
    SERVING = 18 "serving",
    /// [`Event::Evicted`].
    EVICTED = 19 "evicted",
}

impl Kinds {
    /// None.
    pub const NONE: Self = Self(0);

    pub(crate) const DATA: Self = Self(Self::DATA_PDU.0 | Self::DATA_STATE.0);
    pub(crate) const TRACE: Self = Self(Self::PDU.0 | Self::STATE.0 | Self::DATA.0);

    /// The two have a kind in common.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// With [`Self::PROBLEM`], if it is one.
    #[must_use]
    pub(crate) fn problem_if(self, problem: bool) -> Self {
        if problem { self | Self::PROBLEM } else { self }
    }
}

impl BitOr for Kinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kinds({:#b})", self.0)
    }
}
