//! Negotiation as pure functions (PS3.8 7.1.1, PS3.7 Annex D.3).
//!
//! [`Request::build`] writes a proposal, [`answer`] judges one, [`outcome`] reads the answer. Each end gets a
//! [`Negotiated`], seen from its own side.

// Theory. Negotiation is one question and one answer. What an association may do is the intersection of both PDUs: the
// acceptor knows it when it writes the answer, the requestor when it has read the answer. Both must come to the same
// result, because no message names its transfer syntax or role: the presentation context id does.
//
// So both sides are functions of the two PDUs (and, for the acceptor, of a policy), without state, clock or socket, and
// tests compare the results of both. What a peer gets wrong falls into three classes. A proposal that contradicts
// itself is rejected; an answer that leaves nothing usable is a fault, and aborts; anything smaller makes one context
// or one option unusable, and leaves a line in `Negotiated::warnings`.
//
// UIDs and options are copied out of the PDU. A slice would keep the whole PDU, up to 1 MiB, in memory for as long as
// the association lives.

mod acceptor;
mod negotiated;
mod requestor;

pub use acceptor::{
    AcceptorPolicy, CalledTitles, ExtendedAnswer, Preference, SupportedContext, UnknownClasses,
    UnknownStorage, Verdict, answer,
};
pub use negotiated::{
    APPLICATION_CONTEXT, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, Negotiated,
    NegotiatedContext,
};
pub use requestor::{CommonExtended, ProposedContext, Request, UserIdentity, outcome};
