//! The DICOM Upper Layer protocol for TCP/IP (PS3.8).

pub mod associate;
pub mod data;
pub mod fsm;
mod item;
pub mod negotiate;
pub mod pdu;
pub mod reason;
pub mod user_info;

pub use crate::state::State;
