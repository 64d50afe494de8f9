//! The DICOM Upper Layer protocol for TCP/IP (PS3.8), without the association end that runs it
//! ([`crate::connection`]).
//!
//! | file | carries |
//! |---|---|
//! | [`fsm`] | the state machine, Table 9-10 |
//! | [`pdu`] | the seven PDUs and their header, 9.3 |
//! | [`associate`], [`user_info`], `item` | the bodies of A-ASSOCIATE-RQ and -AC, and their items |
//! | [`data`] | presentation data values: fragments of messages, 9.3.5 |
//! | [`reason`] | code values of -AC, -RJ and A-ABORT |
//! | [`negotiate`] | proposals, answers and what they agree on, 7.1.1 |

pub mod associate;
pub mod data;
pub mod fsm;
mod item;
pub mod negotiate;
pub mod pdu;
pub mod reason;
pub mod user_info;

pub use crate::state::State;
