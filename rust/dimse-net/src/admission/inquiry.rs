//! A proposal that waits for the user's word: the A-ASSOCIATE-RQ stays in Sta3 until it is there.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dimse_proto::Uid;
use dimse_proto::ul::associate::Associate;
use dimse_proto::ul::negotiate::{AcceptorPolicy, ExtendedAnswer, SupportedContext};
use dimse_proto::ul::reason::AssociateRj;
use dimse_proto::ul::user_info::Secret;
use parking_lot::Mutex;

use crate::association::handle::{Command, Shared};
use crate::events::told::AssociationId;
use crate::service::Permit;
use crate::transport::tls::Facts;

/// Which proposals the user is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ask {
    /// None: the policy alone decides.
    #[default]
    Never,
    /// Those that say a user identity of a type that the standard defines.
    Identities,
    /// All that the policy lets in.
    Always,
}

/// What the user adds to the policy, for one proposal.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Contexts, in place of what the policy says of their abstract syntaxes.
    pub contexts: Vec<SupportedContext>,
    /// Answers to extended negotiation.
    pub extended: Vec<(Uid, Bytes)>,
    /// The 59H for a requestor whose identity was verified and who asks to know.
    pub identity_response: Option<Secret>,
    /// What the requestor may ask for; `None` is all that is served.
    pub permit: Option<Arc<Permit>>,
}

/// Why a proposal is rejected.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What is answered.
    pub rj: AssociateRj,
    /// Stable name of the cause.
    pub code: &'static str,
    /// For the log.
    pub detail: String,
}

/// The user's word.
pub type Decision = Result<Box<Terms>, Refusal>;

/// A proposal to be decided on, once. One that is dropped undecided is rejected.
#[derive(Debug)]
pub struct Inquiry {
    shared: Arc<Shared>,
    request: Associate,
    peer: Option<SocketAddr>,
    tls: Option<Arc<Facts>>,
    open: Mutex<bool>,
}

impl Inquiry {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        request: Associate,
        peer: Option<SocketAddr>,
        tls: Option<Arc<Facts>>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            request,
            peer,
            tls,
            open: Mutex::new(true),
        }
    }

    /// Number of the association that may come of it.
    #[must_use]
    pub fn association(&self) -> AssociationId {
        self.shared.id
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
    pub fn tls(&self) -> Option<&Facts> {
        self.tls.as_deref()
    }

    /// Somebody still waits for the word.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self.open.lock() && self.shared.ended.borrow().is_none()
    }

    /// Decides. Only the first word counts, and none that comes after the deadline.
    pub fn decide(&self, decision: Decision) {
        if std::mem::take(&mut *self.open.lock()) {
            // A driver that is gone needs no answer.
            let command = Box::new(Command::Admit(decision));
            let _gone = self.shared.commands.send(command);
        }
    }
}

impl Drop for Inquiry {
    fn drop(&mut self) {
        self.decide(Err(Refusal {
            rj: AssociateRj::CONGESTION,
            code: "undecided",
            detail: "nobody decided on the proposal".to_owned(),
        }));
    }
}

impl Terms {
    /// The policy with these terms in it.
    pub(crate) fn apply(&self, policy: &AcceptorPolicy) -> AcceptorPolicy {
        let mut policy = policy.clone();
        for context in &self.contexts {
            let class = context.abstract_syntax.clone();
            policy.contexts.insert(class, context.clone());
        }
        for (class, info) in &self.extended {
            let answer = ExtendedAnswer::Declare(info.clone());
            policy.extended.insert(class.clone(), answer);
        }
        policy.identity_response.clone_from(&self.identity_response);
        policy
    }
}
