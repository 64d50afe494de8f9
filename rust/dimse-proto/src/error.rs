//! The two errors, by who is at fault: the peer for a [`DecodeError`], the caller for a [`LocalError`].

use alloc::borrow::Cow;
use core::fmt;

use crate::state::State;

/// Received bytes that break a rule of the standard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Stable, kebab-case name of the fault, for logs and tests: `pdu-too-long`.
    pub code: &'static str,
    /// What is wrong, with the numbers: `P-DATA-TF of 20 bytes exceeds the limit 16`.
    pub what: Cow<'static, str>,
    /// Byte offset of the fault from the start of the decoded unit (PDU body, command set, data set).
    pub offset: usize,
    /// The clause that the bytes break: `PS3.8 9.3.2`.
    pub section: &'static str,
}

impl DecodeError {
    /// A fault at `offset`.
    pub fn new(
        code: &'static str,
        what: impl Into<Cow<'static, str>>,
        offset: usize,
        section: &'static str,
    ) -> Self {
        Self {
            code,
            what: what.into(),
            offset,
            section,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at offset {} ({})",
            self.what, self.offset, self.section
        )
    }
}

impl core::error::Error for DecodeError {}

/// A request of the local user that cannot be carried out. Nothing is sent for it and no state changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalError {
    /// The service primitive is not allowed in this state (a blank cell of PS3.8 Table 9-10).
    NotInState {
        /// Name of the primitive: `P-DATA request`.
        primitive: &'static str,
        /// The state of the protocol machine.
        state: State,
    },
    /// A value that the standard does not allow a sender to send.
    InvalidValue {
        /// What is wrong with the value.
        what: Cow<'static, str>,
        /// The clause that forbids the value.
        section: &'static str,
    },
}

impl LocalError {
    /// A value that must not be sent.
    pub fn invalid(what: impl Into<Cow<'static, str>>, section: &'static str) -> Self {
        Self::InvalidValue {
            what: what.into(),
            section,
        }
    }
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInState { primitive, state } => {
                write!(
                    f,
                    "{primitive} is not allowed in {state} (PS3.8 Table 9-10)"
                )
            }
            Self::InvalidValue { what, section } => write!(f, "{what} ({section})"),
        }
    }
}

impl core::error::Error for LocalError {}
