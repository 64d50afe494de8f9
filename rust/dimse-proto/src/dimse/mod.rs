//! DIMSE messages (PS3.7): a command set, a data set that may follow, and how both come out of fragments.
//!
//! | file | carries |
//! |---|---|
//! | [`element`] | the command dictionary, PS3.7 Annex E |
//! | [`field`] | the 23 messages, one row each, PS3.7 9.3 and 10.3 |
//! | [`command`] | command sets, PS3.7 6.3.1 |
//! | [`status`] | status codes, PS3.7 Annex C |
//! | [`message`] | a message to be sent |
//! | [`assembler`] | messages received, PS3.8 Annex E |

pub mod assembler;
mod check;
pub mod command;
pub mod element;
pub mod field;
pub mod message;
pub mod status;

pub use assembler::{Assembler, AssemblyError, AssemblyEvent, AssemblyLimits};
pub use check::CommandError;
pub use command::{CommandSet, PassedOver};
pub use field::{CommandField, DataSetUsage, Row};
pub use message::Message;
pub use status::{Category, Status};
