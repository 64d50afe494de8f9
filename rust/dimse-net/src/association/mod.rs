//! The user's end of an association: the handle, what it asks of the driver, and what comes back.

pub(crate) mod handle;
pub(crate) mod invocation;
pub(crate) mod mailbox;
pub(crate) mod message;

pub use handle::Association;
pub use invocation::Invocation;
pub use mailbox::InvokeOptions;
pub use message::{Data, Parts, Response};
