//! What happened, and those who follow it.

pub(crate) mod hub;
pub(crate) mod told;

pub use hub::{Events, Follower};
pub use told::*;
