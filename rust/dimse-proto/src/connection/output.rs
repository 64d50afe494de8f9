//! What a [`Connection`](super::Connection) asks of its driver: the six outputs are the whole contract.

use alloc::boxed::Box;

use bytes::Bytes;

use crate::DecodeError;
use crate::dimse::CommandSet;
use crate::ul::associate::Associate;
use crate::ul::negotiate::Negotiated;
use crate::ul::reason::{Abort, AbortReason, AssociateRj};

// The order of outputs is part of the contract. `Indicate` before `Transmit` means that the user learns of a request
// before its answer leaves; `Transmit` before `Close` means that the bytes must leave before the connection closes. A
// driver that writes in the background therefore puts `Close` into the same queue as the bytes.

/// One thing for the driver to do. The driver carries outputs out in the order in which it polls them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open the transport connection; then report `transport_connected` or `transport_closed`.
    Connect,
    /// Write these bytes to the transport connection.
    Transmit(Bytes),
    /// Close the transport connection once the bytes before this output have left. No `Transmit` follows.
    Close,
    /// Start or restart the ARTIM timer; report `artim_expired` when the timer runs out.
    StartArtim,
    /// Stop the ARTIM timer if one runs.
    StopArtim,
    /// Hand this to the user of the association.
    Indicate(Indication),
}

/// Indications and confirmations to the user of the association.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Indication {
    /// A-ASSOCIATE indication: answer with `accept` or `reject`.
    AssociateRequested(Associate),
    /// A-ASSOCIATE confirmation, accepted.
    AssociateAccepted(Associate, Box<Negotiated>),
    /// A-ASSOCIATE confirmation, rejected.
    AssociateRejected(AssociateRj),
    /// P-DATA indication: a command set is complete. Its data set follows if the command announces one.
    Command {
        /// Presentation context of the message.
        context_id: u8,
        /// The decoded command. It has the elements needed to answer it; others may be missing.
        command: CommandSet,
    },
    /// P-DATA indication: the next fragment of the data set.
    Data {
        /// Presentation context of the message.
        context_id: u8,
        /// A slice of the received PDU.
        fragment: Bytes,
        /// The message is complete.
        last: bool,
    },
    /// A-RELEASE indication: answer with `release_response`.
    ReleaseRequested,
    /// A-RELEASE confirmation.
    ReleaseConfirmed,
    /// A-ABORT indication: the peer's user aborted.
    Aborted(Abort),
    /// A-P-ABORT indication: the peer's provider, ours, or the transport ended the association.
    PAborted {
        /// Which of the three.
        origin: PAbortOrigin,
        /// Why; `NOT_SPECIFIED` when the transport connection was lost.
        reason: AbortReason,
    },
    /// What the peer did wrong. No primitive of the standard: the cause of the A-ABORT that follows (for a wrong
    /// protocol version, of the A-ASSOCIATE-RJ). In Sta2 and for DIMSE faults the standard has no indication for
    /// that abort, and this one is all that the user learns.
    Violation(DecodeError),
}

/// The origin of an A-P-ABORT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PAbortOrigin {
    /// Our provider, because of a [`Indication::Violation`] or an unexpected PDU.
    Local,
    /// The peer's provider, by an A-ABORT PDU.
    Peer,
    /// The transport connection closed.
    Transport,
}
