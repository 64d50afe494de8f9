//! What a [`Connection`](super::connection::Connection) asks of its driver: six outputs are the whole contract.

use alloc::boxed::Box;

use bytes::Bytes;

use crate::DecodeError;
use crate::dimse::CommandSet;
use crate::ul::associate::Associate;
use crate::ul::negotiate::Negotiated;
use crate::ul::reason::{Abort, AbortReason, AssociateRj};

/// One thing for the driver to do. Outputs are carried out in the order in which they are polled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open the transport connection; then report `transport_connected` or `transport_closed`.
    Connect,
    /// Write these bytes.
    Transmit(Bytes),
    /// Close the transport connection after what was written has left. Nothing is transmitted after this.
    Close,
    /// Start the ARTIM timer, or start it anew; report `artim_expired` when it runs out.
    StartArtim,
    /// Stop the ARTIM timer if it runs.
    StopArtim,
    /// Tell the user.
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
    /// P-DATA indication: a command set is complete. Its data set follows if it says so.
    Command {
        /// Presentation context of the message.
        context_id: u8,
        /// Decoded and with its mandatory elements.
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
    /// A-P-ABORT indication: the peer's provider, ours, or the transport ended it.
    PAborted {
        /// Who noticed.
        origin: PAbortOrigin,
        /// Why; not specified when the transport was lost.
        reason: AbortReason,
    },
    /// What the peer did wrong. Not a primitive of the standard: it precedes the A-ABORT (or, for the protocol
    /// version, the A-ASSOCIATE-RJ) that answers it, which in Sta2 and for DIMSE faults comes with no indication
    /// of its own.
    Violation(DecodeError),
}

/// Who issued an A-P-ABORT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PAbortOrigin {
    /// Our provider, because of a [`Indication::Violation`] or an unexpected PDU.
    Local,
    /// The peer's provider, by an A-ABORT PDU.
    Peer,
    /// The transport connection closed.
    Transport,
}
