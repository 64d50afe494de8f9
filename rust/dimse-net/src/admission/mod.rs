//! Proposals of associations: what judges them, and those that wait for the user's decision.

pub(crate) mod gate;
pub(crate) mod request;

pub use request::AdmissionRequest;
