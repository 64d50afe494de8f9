//! The user's end of an association.

pub(crate) mod handle;
pub(crate) mod invocation;

pub use handle::{Association, Established, Received, Response, Settings};
pub use invocation::Invocation;
