//! DIMSE messages (PS3.7): a command set, and the data set that may follow. Fragments become messages in
//! [`crate::connection::Assembler`].
//!
//! | file | carries |
//! |---|---|
//! | [`element`] | the command dictionary, PS3.7 Annex E |
//! | [`field`] | the 23 messages, one row each, PS3.7 9.3 and 10.3 |
//! | [`command`] | command sets, PS3.7 6.3.1 |
//! | [`status`] | status codes, PS3.7 Annex C |
//! | `check` | which commands can be answered, and which may be sent |
//! | [`message`] | a message to be sent |

mod check;
pub mod command;
pub mod element;
pub mod field;
pub mod message;
pub mod status;

pub use check::CommandError;
pub use command::{CommandSet, PassedOver};
pub use field::{CommandField, DataSetUsage, Row};
pub use message::Message;
pub use status::{Category, Status};
