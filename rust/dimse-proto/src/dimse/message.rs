//! A message to be sent (PS3.7 6.3): a command set, and a data set if the command says so.

use bytes::Bytes;

use super::command::CommandSet;
use crate::LocalError;

/// A whole message, ready to be cut into fragments.
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
    /// A message with the data set there is, which (0000,0800) is made to say.
    ///
    /// An empty data set is none: a fragment must not be empty (PS3.8 E.1), so it could not be sent.
    ///
    /// # Errors
    /// `InvalidValue` for an even context id, for what [`CommandSet::check_sendable`] refuses, and so for a
    /// mandatory data set that is missing or empty.
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
