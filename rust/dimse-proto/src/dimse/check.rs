//! Whether a received command set can be carried out, and whether one may be sent (PS3.7 9.3, 10.3).

use alloc::format;
use core::fmt;

use super::command::CommandSet;
use super::element::{self, check_value, name_of};
use super::field::{CommandField, DataSetUsage};
use super::status::Status;
use crate::LocalError;

// The two checks differ on purpose: what arrives is checked for what is needed to act on it, what is sent for all that
// the standard demands. A strict receiver would abort associations for faults without consequence; a lenient
// sender would leave the interpretation of its faults to the peer.

/// Elements without which a response cannot be used: the request it belongs to, and the outcome.
const RESPONSE_IDENTIFIERS: [u16; 2] = [element::MESSAGE_ID_BEING_RESPONDED_TO, element::STATUS];

impl CommandSet {
    /// Whether a received command can be dispatched: its message is known, and the elements to answer it are present.
    ///
    /// Priority may be missing: a missing one counts as medium, and no service depends on it.
    ///
    /// # Errors
    /// The first fault; [`CommandError::answer`] is the status to answer with.
    pub fn validate(&self) -> Result<(), CommandError> {
        let unusable = |element| CommandError::Unusable { element };
        let field = self
            .field()
            .ok_or_else(|| unusable(element::COMMAND_FIELD))?;
        let identifiers: &[u16] = if field == CommandField::C_CANCEL_RQ {
            &[element::MESSAGE_ID_BEING_RESPONDED_TO]
        } else if field.is_response() {
            &RESPONSE_IDENTIFIERS
        } else {
            &[element::MESSAGE_ID]
        };
        let dispatch = [element::COMMAND_DATA_SET_TYPE];
        for needed in dispatch.iter().chain(identifiers) {
            self.us(*needed).ok_or_else(|| unusable(*needed))?;
        }
        let row = field.row().ok_or(CommandError::UnknownField { field })?;
        for needed in row.required.iter().copied() {
            let there = match needed {
                element::AFFECTED_SOP_CLASS_UID | element::REQUESTED_SOP_CLASS_UID => {
                    self.sop_class().is_some_and(|uid| !uid.is_empty())
                }
                // An empty UID is present. The service refuses it, like any other UID that it cannot accept, with
                // the status of its own service class.
                element::AFFECTED_SOP_INSTANCE_UID | element::REQUESTED_SOP_INSTANCE_UID => {
                    self.sop_instance().is_some()
                }
                element::PRIORITY => true,
                other => self.get(other).is_some(),
            };
            if !there {
                return Err(CommandError::Missing {
                    field,
                    element: needed,
                });
            }
        }
        Ok(())
    }

    /// Whether the command may be sent: a known message with its mandatory elements, without unknown or retired
    /// elements, with values that the standard allows, and a data set announced or not as the message demands.
    ///
    /// # Errors
    /// `InvalidValue` for the first fault.
    pub fn check_sendable(&self) -> Result<(), LocalError> {
        let field = self.field();
        let (name, required, data_set) = match field.and_then(CommandField::row) {
            Some(row) => (row.name, row.required, row.data_set),
            // The response to a request of an unknown kind: no row has it, but PS3.7 C.5 demands an answer.
            None if field.is_some_and(CommandField::is_response)
                && self.status() == Some(Status::UNRECOGNIZED_OPERATION) =>
            {
                ("a response", &RESPONSE_IDENTIFIERS[..], DataSetUsage::None)
            }
            None => return Err(LocalError::invalid("no known command field", "PS3.7 E.1")),
        };
        let always = [element::COMMAND_DATA_SET_TYPE];
        for needed in always.iter().chain(required) {
            if self.get(*needed).is_none() {
                return Err(LocalError::invalid(
                    format!("{name} without {}", name_of(*needed)),
                    "PS3.7 9.3, 10.3",
                ));
            }
        }
        for (number, value) in self.iter() {
            check_value(number, value)?;
        }
        let pending = self.status().is_some_and(Status::is_pending);
        let wrong = match (data_set, self.has_data_set()) {
            (DataSetUsage::None, true) => "has no data set",
            (DataSetUsage::Mandatory, false) => "needs a data set",
            (DataSetUsage::WhenPending, has) if has != pending => {
                "has a data set if and only if its status is pending"
            }
            _ => return Ok(()),
        };
        Err(LocalError::invalid(
            format!("{name} {wrong}"),
            "PS3.7 9.3, 10.3",
        ))
    }
}

/// Why a command set that could be decoded cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// An element is missing without which no answer is possible.
    Unusable {
        /// The missing element.
        element: u16,
    },
    /// (0000,0100) has a value that PS3.7 Annex E does not define.
    UnknownField {
        /// The value.
        field: CommandField,
    },
    /// A mandatory element is missing, or an empty SOP class.
    Missing {
        /// The message.
        field: CommandField,
        /// The missing element.
        element: u16,
    },
}

impl CommandError {
    /// The status to answer with; `None` when no answer is possible, and the association is aborted by A-ABORT (0,0).
    #[must_use]
    pub fn answer(self) -> Option<Status> {
        match self {
            Self::Unusable { .. } => None,
            Self::UnknownField { field } => {
                field.response().map(|_| Status::UNRECOGNIZED_OPERATION)
            }
            Self::Missing { field, .. } if field.response().is_none() => None,
            Self::Missing { field, element } => Some(match element {
                // PS3.7 lists 0118H for DIMSE-N alone, and 0122H for DIMSE-C alone.
                element::AFFECTED_SOP_CLASS_UID | element::REQUESTED_SOP_CLASS_UID => {
                    if field.is_normalized() {
                        Status::NO_SUCH_SOP_CLASS
                    } else {
                        Status::SOP_CLASS_NOT_SUPPORTED
                    }
                }
                element::AFFECTED_SOP_INSTANCE_UID | element::REQUESTED_SOP_INSTANCE_UID => {
                    Status::INVALID_SOP_INSTANCE
                }
                _ => Status::MISTYPED_ARGUMENT,
            }),
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable { element } => {
                write!(
                    f,
                    "a command without {} (PS3.7 9.3, 10.3)",
                    name_of(*element)
                )
            }
            Self::UnknownField { field } => write!(f, "unknown {field} (PS3.7 E.1)"),
            Self::Missing { field, element } => {
                write!(f, "{field} without {} (PS3.7 9.3, 10.3)", name_of(*element))
            }
        }
    }
}

impl core::error::Error for CommandError {}
