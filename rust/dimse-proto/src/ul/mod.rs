//! The DICOM Upper Layer protocol for TCP/IP (PS3.8).

mod actions;
pub mod associate;
pub mod connection;
pub mod data;
pub mod fsm;
pub mod negotiate;
pub mod output;
pub mod pdu;
pub mod reason;
pub mod trace;
pub mod user_info;

pub use fsm::State;
