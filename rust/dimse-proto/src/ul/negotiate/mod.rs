//! Negotiation as pure functions (PS3.8 7.1.1, PS3.7 Annex D.3).
//!
//! [`Request::build`] writes a proposal, [`answer`] judges one, [`outcome`] reads the answer. Both ends come out
//! with a [`Negotiated`], told from their own side.

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
