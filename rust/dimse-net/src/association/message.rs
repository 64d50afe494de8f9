//! Received messages: the command set, and the data set in memory or in a file.

use bytes::Bytes;
use dimse_proto::dimse::{CommandField, CommandSet};

use crate::limits::Charge;
use crate::receive::sink::Spooled;

/// A received response.
#[derive(Debug)]
pub struct Response {
    /// Presentation context.
    pub context_id: u8,
    /// Command set.
    pub command: CommandSet,
    /// Data set.
    pub data: Data,
}

/// The data set of a received message.
#[derive(Debug, Default)]
pub enum Data {
    /// There is none.
    #[default]
    None,
    /// Slices of the received PDUs, in order.
    Memory(Parts),
    /// A scanned Part 10 file, removed when this is dropped.
    File(Spooled),
}

/// Fragments of a data set, charged to the server's byte budget while they live.
#[derive(Debug)]
pub struct Parts {
    pub(crate) fragments: Vec<Bytes>,
    pub(crate) charge: Charge,
}

impl Parts {
    /// Gives back what they are charged to.
    pub(crate) fn settle(&mut self) {
        drop(self.charge.take());
    }

    /// The slices, in order.
    #[must_use]
    pub fn fragments(&self) -> &[Bytes] {
        &self.fragments
    }

    /// Length of all of them, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fragments
            .iter()
            .fold(0, |sum, part| sum.saturating_add(part.len()))
    }

    /// No bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The Command Field, which no command set without it gets this far.
pub(crate) fn field_of(command: &CommandSet) -> CommandField {
    command.field().unwrap_or(CommandField(0))
}

/// DIMSE-C requests have Command Fields below 0100H; so does C-CANCEL with 0FFFH, but it is no service.
pub(crate) fn is_composite(field: CommandField) -> bool {
    field.0 < 0x0100
}
