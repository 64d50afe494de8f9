//! The DICOM Upper Layer (PS3.8) and DIMSE (PS3.7) as values and state machines, without I/O.
//!
//! | room | carries |
//! |---|---|
//! | [`ul`] | PS3.8: PDUs, the state machine of Table 9-10, one association end, negotiation |
//! | [`dimse`] | PS3.7: command sets, messages and their assembly from fragments, statuses |
//! | [`dataset`] | PS3.5 section 7: is a data set structurally whole, and the values of a few tags |
//!
//! No socket, clock, thread or Python can be named here: the crate is `no_std`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod ae_title;
pub mod dataset;
pub mod dimse;
mod error;
mod uid;
pub mod ul;
pub mod wire;

pub use ae_title::AeTitle;
pub use error::{DecodeError, LocalError};
pub use uid::Uid;
