//! Files become C-STORE requests.

pub(crate) mod bulk;
pub(crate) mod source;

pub use bulk::{BulkResult, Options, Sending, ToSend};
pub use source::{FileInfo, Outgoing, probe};
