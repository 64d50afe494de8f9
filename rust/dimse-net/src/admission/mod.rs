//! Proposals of associations: who judges them, and those that wait for the user's decision.

pub(crate) mod inquiry;

pub use inquiry::{Ask, Decision, Inquiry, Refusal, Terms};
