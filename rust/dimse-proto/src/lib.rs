//! The DICOM Upper Layer (PS3.8) and DIMSE (PS3.7) as values and state machines, without I/O.
//!
//! The rooms, from the top. A room uses only rooms below its own row; [`ul`] and [`dimse`] do not use each other.
//!
//! | room | carries |
//! |---|---|
//! | [`connection`] | one end of an association: PDUs and requests in, outputs out; messages from fragments |
//! | [`ul`] | PS3.8: PDUs, the state machine of Table 9-10, negotiation |
//! | [`dimse`] | PS3.7: command sets, messages to be sent, statuses |
//! | [`dataset`] | PS3.5 section 7: is a data set structurally whole, and the values of a few tags |
//! | [`wire`], [`Uid`], [`AeTitle`], [`DecodeError`] | cursors over bytes, the two identifiers, the errors |
//!
//! No socket, clock, thread or Python can be named here: the crate is `no_std`. Clauses of the standard are cited
//! as `PS3.8 9.3.2`; a letter with two digits (`case C25`) names an attack in `docs/threats.md` and its tests.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod ae_title;
pub mod connection;
pub mod dataset;
pub mod dimse;
mod error;
mod state;
mod uid;
pub mod ul;
pub mod wire;

pub use ae_title::AeTitle;
pub use error::{DecodeError, LocalError};
pub use uid::Uid;
