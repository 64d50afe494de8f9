//! Messages out of fragments (PS3.8 9.3.5 and Annex E, PS3.7 6.3).
//!
//! An [`Assembler`] holds no data set: it hands each fragment on as a slice of the PDU that brought it. A command set
//! in one fragment, the usual case, is not copied either.

use alloc::format;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::DecodeError;
use crate::dimse::CommandSet;
use crate::ul::data::Pdv;
use crate::ul::reason::{Abort, AbortReason};

// Theory. PS3.8 E.1 lets a message travel as any number of fragments, in any number of P-DATA-TF PDUs, and demands
// three things of the sender: fragments of one message follow each other, on one presentation context, command before
// data set. So the receiver needs to remember only what the next fragment must belong to (`Expecting`), and a message
// needs no number on the wire. Everything else that arrives is a fault with a reason of its own.
//
// What a peer can cost is bounded: a command set is collected up to `command_bytes` (real ones have a few hundred
// bytes), a data set is not collected at all, and fragments without bytes, which cost the peer 6 bytes and this end a
// step each, are counted. Whether data sets are too long is for the layer above to judge, which knows the disk.
//
// A fault of the fragments is the provider's (PS3.8): A-ABORT (2,x). A fault inside a command set is the user's
// (PS3.7): A-ABORT (0,0). `AssemblyError` carries which.

/// The limits of what a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssemblyLimits {
    /// Length of a command set, in bytes, at most. Default 64 KiB.
    pub command_bytes: usize,
    /// Empty fragments in a row, at most. Default 64. PS3.8 E.1 forbids to send them, but lets receivers accept them.
    pub empty_fragments: u32,
    /// Abort for faults that are accepted otherwise: odd fragments, two messages in one P-DATA-TF, command elements
    /// out of order, of another group, twice or of several values.
    pub strict: bool,
}

impl Default for AssemblyLimits {
    fn default() -> Self {
        Self {
            command_bytes: 0x1_0000,
            empty_fragments: 64,
            strict: false,
        }
    }
}

/// A complete part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssemblyEvent {
    /// The command set, with the elements needed to answer it. Fragments of a data set follow if the command
    /// [announces](CommandSet::has_data_set) one, even in a message that has none by the standard.
    Command {
        /// Presentation context id.
        context_id: u8,
        /// The command.
        command: CommandSet,
    },
    /// A fragment of the data set; empty only if it is the last.
    Data {
        /// Presentation context id.
        context_id: u8,
        /// The fragment, as received.
        fragment: Bytes,
        /// Whether the data set, and with it the message, ends here.
        last: bool,
    },
}

/// The peer broke the rules for messages: the association must be aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssemblyError {
    /// The A-ABORT to send.
    pub abort: Abort,
    /// The fault.
    pub cause: DecodeError,
}

impl fmt::Display for AssemblyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl core::error::Error for AssemblyError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// How often the peer sent what the standard forbids and this end accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Irregularities {
    /// Fragments with an odd number of bytes (PS3.8 E.1).
    pub odd_fragments: u64,
    /// Fragments without bytes (PS3.8 E.1).
    pub empty_fragments: u64,
    /// Messages that began in the P-DATA-TF in which another had ended (PS3.8 E.1).
    pub shared_pdus: u64,
}

#[derive(Debug)]
enum Expecting {
    /// The first fragment of a command set.
    Message,
    /// The next fragment of a command set.
    Command { context_id: u8, so_far: Vec<u8> },
    /// The next fragment of a data set.
    Data { context_id: u8 },
}

/// Assembles the messages that arrive on one association.
#[derive(Debug)]
pub struct Assembler {
    limits: AssemblyLimits,
    expecting: Expecting,
    empty_in_a_row: u32,
    ended_in_this_pdu: bool,
    irregularities: Irregularities,
}

impl Assembler {
    /// An assembler between messages.
    #[must_use]
    pub fn new(limits: AssemblyLimits) -> Self {
        Self {
            limits,
            expecting: Expecting::Message,
            empty_in_a_row: 0,
            ended_in_this_pdu: false,
            irregularities: Irregularities::default(),
        }
    }

    /// Whether a message has begun and not ended.
    #[must_use]
    pub fn mid_message(&self) -> bool {
        !matches!(self.expecting, Expecting::Message)
    }

    /// The faults accepted so far.
    #[must_use]
    pub fn irregularities(&self) -> Irregularities {
        self.irregularities
    }

    /// The next fragment is the first of another P-DATA-TF.
    pub fn begin_pdu(&mut self) {
        self.ended_in_this_pdu = false;
    }

    /// Takes the next fragment. The caller has checked that its presentation context was accepted.
    ///
    /// # Errors
    /// A fault for which the association must be aborted. The assembler must not be used any more.
    pub fn feed(&mut self, pdv: Pdv) -> Result<Option<AssemblyEvent>, AssemblyError> {
        self.check_sequence(&pdv)?;
        self.check_size(&pdv)?;
        if pdv.command {
            self.feed_command(pdv)
        } else {
            Ok(self.feed_data(pdv))
        }
    }

    fn feed_command(&mut self, pdv: Pdv) -> Result<Option<AssemblyEvent>, AssemblyError> {
        let Pdv {
            context_id,
            last,
            fragment,
            ..
        } = pdv;
        let mut so_far = match core::mem::replace(&mut self.expecting, Expecting::Message) {
            Expecting::Command { so_far, .. } => so_far,
            Expecting::Message | Expecting::Data { .. } => Vec::new(),
        };
        if fragment.len() > self.limits.command_bytes.saturating_sub(so_far.len()) {
            let limit = self.limits.command_bytes;
            let what = format!("a command set of more than {limit} bytes");
            return Err(user_error("command-too-long", what, so_far.len()));
        }
        if !last {
            so_far.extend_from_slice(&fragment);
            self.expecting = Expecting::Command { context_id, so_far };
            return Ok(None);
        }
        let bytes = if so_far.is_empty() {
            fragment
        } else {
            so_far.extend_from_slice(&fragment);
            Bytes::from(so_far)
        };
        let end = bytes.len();
        let command = CommandSet::decode(bytes).map_err(|cause| AssemblyError {
            abort: Abort::USER,
            cause,
        })?;
        if self.limits.strict && command.disordered() {
            let what = "command elements out of order".into();
            return Err(user_error("command-disordered", what, end));
        }
        if self.limits.strict
            && let Some(over) = command.passed_over().filter(|over| over.irregular)
        {
            return Err(user_error("command-irregular", format!("{over}"), end));
        }
        // A faulty command that can be answered is handed on: the answer is a status, and the association goes on. For
        // one that cannot be answered (no message id, or a faulty response) only an abort is left.
        if let Err(error) = command.validate()
            && error.answer().is_none()
        {
            return Err(user_error("command-unusable", format!("{error}"), end));
        }
        if command.has_data_set() {
            self.expecting = Expecting::Data { context_id };
        } else {
            self.ended_in_this_pdu = true;
        }
        Ok(Some(AssemblyEvent::Command {
            context_id,
            command,
        }))
    }

    fn feed_data(&mut self, pdv: Pdv) -> Option<AssemblyEvent> {
        if pdv.last {
            self.expecting = Expecting::Message;
            self.ended_in_this_pdu = true;
        }
        (pdv.last || !pdv.fragment.is_empty()).then_some(AssemblyEvent::Data {
            context_id: pdv.context_id,
            fragment: pdv.fragment,
            last: pdv.last,
        })
    }

    /// Fragments of a message follow each other on one context, command before data set (PS3.8 E.1).
    fn check_sequence(&mut self, pdv: &Pdv) -> Result<(), AssemblyError> {
        let open = match &self.expecting {
            Expecting::Message if pdv.command => {
                // All fragments of a P-DATA-TF belong to one message (PS3.8 E.1). Senders that fill the rest of a
                // PDU with the next message exist, and what they mean is clear.
                if self.ended_in_this_pdu {
                    self.irregularities.shared_pdus =
                        self.irregularities.shared_pdus.saturating_add(1);
                    self.ended_in_this_pdu = false;
                    if self.limits.strict {
                        return Err(unexpected(
                            "pdu-of-two-messages",
                            "fragments of two messages in one P-DATA-TF",
                        ));
                    }
                }
                return Ok(());
            }
            Expecting::Message => {
                return Err(unexpected(
                    "data-without-command",
                    "a data set fragment that no command announced",
                ));
            }
            Expecting::Data { .. } if pdv.command => {
                return Err(unexpected(
                    "command-inside-data",
                    "a command fragment before the end of a data set",
                ));
            }
            Expecting::Command { .. } if !pdv.command => {
                return Err(unexpected(
                    "data-inside-command",
                    "a data set fragment before the end of its command",
                ));
            }
            Expecting::Command { context_id, .. } | Expecting::Data { context_id } => *context_id,
        };
        if open == pdv.context_id {
            Ok(())
        } else {
            let what = format!(
                "context {} inside a message on context {open}",
                pdv.context_id
            );
            Err(unexpected("context-changed", what))
        }
    }

    fn check_size(&mut self, pdv: &Pdv) -> Result<(), AssemblyError> {
        let length = pdv.fragment.len();
        if length == 0 {
            let seen = &mut self.irregularities.empty_fragments;
            *seen = seen.saturating_add(1);
            self.empty_in_a_row = self.empty_in_a_row.saturating_add(1);
            if self.empty_in_a_row > self.limits.empty_fragments {
                let limit = self.limits.empty_fragments;
                let what = format!("more than {limit} empty fragments in a row");
                return Err(invalid("empty-fragments", what));
            }
            return Ok(());
        }
        self.empty_in_a_row = 0;
        if !length.is_multiple_of(2) {
            let seen = &mut self.irregularities.odd_fragments;
            *seen = seen.saturating_add(1);
            if self.limits.strict {
                return Err(invalid(
                    "odd-fragment",
                    format!("a fragment of {length} bytes"),
                ));
            }
        }
        Ok(())
    }
}

/// A fault of the peer's DIMSE user: A-ABORT (0,0).
fn user_error(code: &'static str, what: alloc::string::String, offset: usize) -> AssemblyError {
    AssemblyError {
        abort: Abort::USER,
        cause: DecodeError::new(code, what, offset, "PS3.7 6.3.1"),
    }
}

/// A fragment at the wrong place: A-ABORT (2,5).
fn unexpected(
    code: &'static str,
    what: impl Into<alloc::borrow::Cow<'static, str>>,
) -> AssemblyError {
    AssemblyError {
        abort: Abort::provider(AbortReason::UNEXPECTED_PDU_PARAMETER),
        cause: DecodeError::new(code, what, 0, "PS3.8 E.1"),
    }
}

/// A fragment that no message may have: A-ABORT (2,6).
fn invalid(code: &'static str, what: alloc::string::String) -> AssemblyError {
    AssemblyError {
        abort: Abort::provider(AbortReason::INVALID_PDU_PARAMETER),
        cause: DecodeError::new(code, what, 0, "PS3.8 9.3.5.1"),
    }
}
