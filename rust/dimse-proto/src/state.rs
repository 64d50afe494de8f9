//! The states of the DICOM Upper Layer protocol machine (PS3.8 9.2.1).
//!
//! The transitions are in [`crate::ul::fsm`]. The states stand below it because an error names the state in which a
//! request was refused.

use core::fmt;

/// States of the protocol machine (PS3.8 9.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// Idle.
    Sta1 = 1,
    /// Transport connection open, awaiting A-ASSOCIATE-RQ.
    Sta2,
    /// Awaiting the local A-ASSOCIATE response.
    Sta3,
    /// Awaiting the transport connection.
    Sta4,
    /// Awaiting A-ASSOCIATE-AC or -RJ.
    Sta5,
    /// Association established, ready for data transfer.
    Sta6,
    /// Awaiting A-RELEASE-RP.
    Sta7,
    /// Awaiting the local A-RELEASE response.
    Sta8,
    /// Release collision, requestor side; awaiting the local A-RELEASE response.
    Sta9,
    /// Release collision, acceptor side; awaiting A-RELEASE-RP.
    Sta10,
    /// Release collision, requestor side; awaiting A-RELEASE-RP.
    Sta11,
    /// Release collision, acceptor side; awaiting the local A-RELEASE response.
    Sta12,
    /// Awaiting the close of the transport connection; the association has ended.
    Sta13,
}

impl State {
    /// All states in the standard's order.
    pub const ALL: [Self; 13] = [
        Self::Sta1,
        Self::Sta2,
        Self::Sta3,
        Self::Sta4,
        Self::Sta5,
        Self::Sta6,
        Self::Sta7,
        Self::Sta8,
        Self::Sta9,
        Self::Sta10,
        Self::Sta11,
        Self::Sta12,
        Self::Sta13,
    ];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
