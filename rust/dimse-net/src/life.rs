//! The life of an association: what its handles, its driver and the threads that read files for it share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use dimse_proto::dimse::Status;
use dimse_proto::ul::associate::Associate;
use dimse_proto::ul::negotiate::Negotiated;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::error::Error;
use crate::events::hub::Events;
use crate::facts::{AssociationId, Titles, TlsFacts};

// Counted in the process, not in a server: logs of several servers and requestors name each association once. 0 stands
// in events that concern none.
static NEXT_ASSOCIATION: AtomicU64 = AtomicU64::new(1);

/// What was agreed, and with whom.
#[derive(Debug)]
pub struct Established {
    /// Result of the negotiation, from this end's point of view.
    pub negotiated: Arc<Negotiated>,
    /// The A-ASSOCIATE-RQ.
    pub request: Associate,
    /// Both titles.
    pub titles: Titles,
    /// Where the peer is.
    pub peer: Option<SocketAddr>,
    /// Where we are.
    pub local: Option<SocketAddr>,
    /// What the TLS handshake agreed on; `None` over plain TCP.
    pub tls: Option<Arc<TlsFacts>>,
}

/// What this end answered to the C-STOREs that came while a C-GET of its own was outstanding.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Success, or a warning.
    pub stored: u64,
    /// Failures: the status, the first Error Comment that went with it, and how many.
    pub refused: Vec<(u16, String, u64)>,
}

impl Received {
    pub(crate) fn count(&mut self, status: Status, comment: String) {
        if !status.is_failure() {
            self.stored = self.stored.saturating_add(1);
            return;
        }
        let known = self.refused.iter_mut().find(|(code, ..)| *code == status.0);
        if let Some((_, _, count)) = known {
            *count = count.saturating_add(1);
        } else {
            self.refused.push((status.0, comment, 1));
        }
    }
}

/// How the association stands, for all who hold it: handles, the driver, reading threads, invocations.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) id: AssociationId,
    pub(crate) established: OnceLock<Established>,
    pub(crate) ended: watch::Sender<Option<Error>>,
    pub(crate) events: Events,
    /// Its end is reported: no event of it comes any more.
    pub(crate) reported: AtomicBool,
    /// Invocations whose end is not taken yet: to their users they are not over.
    pub(crate) unfinished: AtomicUsize,
    /// A caller took responses that others waited behind: the driver may read on.
    pub(crate) taken: Notify,
    /// What became of the instances of our C-GETs.
    pub(crate) received: Mutex<Received>,
    next_message_id: AtomicU16,
}

impl Life {
    pub(crate) fn new(events: Events) -> Arc<Self> {
        Arc::new(Self {
            id: NEXT_ASSOCIATION.fetch_add(1, Ordering::Relaxed),
            established: OnceLock::new(),
            ended: watch::channel(None).0,
            events,
            reported: AtomicBool::new(false),
            unfinished: AtomicUsize::new(0),
            taken: Notify::new(),
            received: Mutex::default(),
            next_message_id: AtomicU16::new(1),
        })
    }

    /// Nothing can be sent any more.
    pub(crate) fn is_over(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Why it is over; `None` while it lives.
    pub(crate) fn ended(&self) -> Option<Error> {
        self.ended.borrow().clone()
    }

    /// Message IDs count up and wrap around (PS3.7 9.1.1.1.1: unique among the operations outstanding, no more). The
    /// exchange refuses one that is outstanding.
    pub(crate) fn next_message_id(&self) -> u16 {
        self.next_message_id.fetch_add(1, Ordering::Relaxed)
    }
}
