//! What happened, for whoever pulls it: logs, progress, `--json`. Nothing is recorded when nobody listens.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dimse_proto::ul::negotiate::Negotiated;
use dimse_proto::ul::reason::AssociateRj;
use dimse_proto::{AeTitle, DecodeError, Uid};

use crate::error::Error;
use crate::queue::{Queue, Sender};

/// Number of an association, unique in the process.
pub type AssociationId = u64;

/// One thing that happened on an association.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A transport connection was accepted.
    Connected {
        /// Where from.
        peer: SocketAddr,
    },
    /// An association was established.
    Associated {
        /// Its titles.
        titles: Titles,
        /// Where the peer is.
        peer: Option<SocketAddr>,
        /// What was agreed.
        negotiated: Arc<Negotiated>,
    },
    /// We rejected an association.
    Rejected {
        /// The titles asked with.
        titles: Titles,
        /// Where the peer is.
        peer: Option<SocketAddr>,
        /// What we answered.
        rj: AssociateRj,
        /// Stable name of the cause.
        code: &'static str,
        /// What was asked, what this node is, and what would accept it.
        detail: String,
    },
    /// A C-STORE was received into the folder, or refused.
    Stored(Box<StoredEvent>),
    /// The peer broke the protocol; it was answered with A-ABORT.
    Violation {
        /// Titles of the association, as far as they are known.
        titles: Titles,
        /// Where the peer is.
        peer: Option<SocketAddr>,
        /// What it did.
        error: DecodeError,
    },
    /// The association is over: released when there is no error.
    Ended {
        /// Titles of the association, as far as they are known.
        titles: Titles,
        /// Where the peer is.
        peer: Option<SocketAddr>,
        /// Why, unless it was released.
        error: Option<Error>,
        /// An event before this one said so already (a rejection of ours, a fault of the peer's), the user did it,
        /// or there is nothing to say: a connection that closed before its first byte.
        told: bool,
        /// C-STOREs stored on it.
        stored: u64,
        /// Messages received on it.
        messages: u64,
    },
    /// Connections could not be accepted.
    AcceptFailed(String),
}

/// Both AE titles of an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Titles {
    /// Called AE title.
    pub called: AeTitle,
    /// Calling AE title.
    pub calling: AeTitle,
}

/// What became of one received instance.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// Titles of the association.
    pub titles: Titles,
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
}

/// Whether an event is worth a line by itself, or only for those who follow everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Somebody should look: a rejection, a refusal, a fault.
    Problem,
    /// The ordinary course.
    Detail,
}

/// Where events go.
#[derive(Clone, Debug, Default)]
pub struct Events {
    sender: Option<Sender<(AssociationId, Event)>>,
    /// Somebody follows the ordinary course too.
    details: Arc<AtomicBool>,
}

/// Most events kept for a slow listener; more are dropped and counted by the gap in what it sees.
const KEPT: usize = 100_000;

impl Events {
    /// A listener and its source.
    #[must_use]
    pub fn channel() -> (Self, Queue<(AssociationId, Event)>) {
        let (sender, queue) = Queue::new(KEPT);
        let events = Self {
            sender: Some(sender),
            details: Arc::default(),
        };
        (events, queue)
    }

    /// Whether to tell of the ordinary course, or of problems alone.
    pub fn set_details(&self, wanted: bool) {
        self.details.store(wanted, Ordering::Relaxed);
    }

    pub(crate) fn emit(
        &self,
        association: AssociationId,
        weight: Weight,
        event: impl FnOnce() -> Event,
    ) {
        if weight == Weight::Detail && !self.details.load(Ordering::Relaxed) {
            return;
        }
        if let Some(sender) = &self.sender {
            let _unheard = sender.send((association, event()));
        }
    }
}
