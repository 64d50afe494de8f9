//! Who decides whether a proposal is accepted: what the driver asks, and what it is answered.

use dimse_proto::ul::associate::Associate;
use dimse_proto::ul::negotiate::Negotiated;

use crate::admission::request::AdmissionRequest;
use crate::facts::AssociationId;
use crate::queue::Sender;
use crate::terms::{Rejection, Terms};

/// What the node says to an A-ASSOCIATE-RQ.
#[derive(Debug)]
pub(crate) enum Judgement {
    Accept(Box<Associate>, Box<Negotiated>),
    Reject(Rejection),
    /// Ask the user there; its place is kept.
    Ask(Sender<AdmissionRequest>),
}

// A trait, and not the listener itself: the driver stands below the listener, asks it about a proposal and reports the
// end, and knows nothing else of it. Tests of the driver judge by themselves.
/// Judges proposals.
pub(crate) trait Admission: Send + Sync + std::fmt::Debug {
    /// Judges a proposal: `terms` are the user's, once it was asked.
    fn judge(
        &self,
        request: &Associate,
        association: AssociationId,
        terms: Option<&Terms>,
    ) -> Judgement;

    /// The association, or what was to become one, is over.
    fn over(&self, association: AssociationId);
}
