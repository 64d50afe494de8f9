//! A message to be sent (PS3.7 6.3): a command set, and a data set if the command announces one.

use bytes::Bytes;

use super::command::CommandSet;
use crate::LocalError;

/// A complete message, ready for fragmentation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Presentation context id: an odd number.
    pub context_id: u8,
    /// The command; its (0000,0800) agrees with `data`.
    pub command: CommandSet,
    /// The data set in the context's transfer syntax, never empty.
    pub data: Option<Bytes>,
}

impl Message {
    /// A message. Sets (0000,0800) of the command according to `data`.
    ///
    /// An empty data set counts as none: PS3.8 E.1 forbids empty fragments, so it could not be sent, and a peer that
    /// was promised one would wait for it.
    ///
    /// # Errors
    /// `InvalidValue` for an even context id, and for commands that [`CommandSet::check_sendable`] refuses, such as one
    /// whose mandatory data set is missing or empty.
    pub fn new(
        context_id: u8,
        mut command: CommandSet,
        data: Option<Bytes>,
    ) -> Result<Self, LocalError> {
        if context_id.is_multiple_of(2) {
            return Err(LocalError::invalid(
                alloc::format!("presentation context id {context_id} is not odd"),
                "PS3.8 9.3.2.2",
            ));
        }
        let data = data.filter(|data| !data.is_empty());
        command.set_has_data_set(data.is_some());
        command.check_sendable()?;
        Ok(Self {
            context_id,
            command,
            data,
        })
    }
}
