//! What happened, and those who follow it.

pub(crate) mod event;
pub(crate) mod hub;

pub use event::*;
pub use hub::{Events, Follower};
