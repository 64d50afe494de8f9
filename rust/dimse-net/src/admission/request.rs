//! A proposal that waits for the user's decision: the association stays in Sta3 until it is there (PS3.8 9.2.1).

use std::net::SocketAddr;
use std::sync::Arc;

use dimse_proto::ul::associate::Associate;
use dimse_proto::ul::reason::AssociateRj;
use parking_lot::Mutex;

use crate::association::handle::Association;
use crate::facts::{AssociationId, TlsFacts};
use crate::terms::{Decision, Rejection};

/// A proposal to be decided on, once. One that is dropped undecided is rejected.
#[derive(Debug)]
pub struct AdmissionRequest {
    association: Association,
    request: Associate,
    peer: Option<SocketAddr>,
    tls: Option<Arc<TlsFacts>>,
    open: Mutex<bool>,
}

impl AdmissionRequest {
    pub(crate) fn new(
        association: Association,
        request: Associate,
        peer: Option<SocketAddr>,
        tls: Option<Arc<TlsFacts>>,
    ) -> Self {
        Self {
            association,
            request,
            peer,
            tls,
            open: Mutex::new(true),
        }
    }

    /// Number of the association that may come of it.
    #[must_use]
    pub fn association(&self) -> AssociationId {
        self.association.id()
    }

    /// The A-ASSOCIATE-RQ.
    #[must_use]
    pub fn request(&self) -> &Associate {
        &self.request
    }

    /// Where it came from.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// What the TLS handshake agreed on; `None` without TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_deref()
    }

    /// The decision is still waited for.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self.open.lock() && !self.association.is_over()
    }

    /// Decides. Only the first word counts, and none that comes after the deadline.
    pub fn decide(&self, decision: Decision) {
        if std::mem::take(&mut *self.open.lock()) {
            self.association.admit(decision);
        }
    }
}

// A request that is dropped is an answer too: whatever happens to the reader of the queue, no peer waits for ever.
impl Drop for AdmissionRequest {
    fn drop(&mut self) {
        self.decide(Err(Rejection {
            rj: AssociateRj::CONGESTION,
            code: "undecided",
            detail: "the proposal was not decided on".to_owned(),
        }));
    }
}
