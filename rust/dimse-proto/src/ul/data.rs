//! P-DATA-TF: presentation data values and fragmentation (PS3.8 9.3.5, Annexes D and E).

use bytes::Bytes;

/// A presentation data value: one fragment of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdv {
    /// Presentation context id.
    pub context_id: u8,
    /// Bit 0 of the message control header: command set (else data set).
    pub command: bool,
    /// Bit 1: the last fragment of the command set or data set.
    pub last: bool,
    /// The fragment, a slice of the received PDU.
    pub fragment: Bytes,
}
