//! One end of an association: the room above PS3.8 ([`crate::ul`]) and PS3.7 ([`crate::dimse`]).
//!
//! | file | carries |
//! |---|---|
//! | `connection` | [`Connection`]: its inputs, and the step from an event to the next state |
//! | `actions` | what each action of Tables 9-6 to 9-9 does |
//! | `assembler` | [`Assembler`]: messages from fragments, PS3.8 Annex E |
//! | [`output`] | what a connection asks of its driver |
//! | [`trace`] | PDUs and transitions, for logs |

mod actions;
mod assembler;
#[expect(
    clippy::module_inception,
    reason = "the room is named after what stands in it"
)]
mod connection;
pub mod output;
pub mod trace;

pub use assembler::{Assembler, AssemblyError, AssemblyEvent, AssemblyLimits, Irregularities};
pub use connection::{Config, Connection, Role};
