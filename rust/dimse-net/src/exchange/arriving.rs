//! The one record of the message that is arriving: messages do not interleave, so there is at most one.

use std::borrow::Cow;

use bytes::Bytes;
use dimse_proto::dimse::{CommandField, CommandSet, Status};

use super::line::Line;
use crate::association::message::{Data, Parts, field_of, is_composite};
use crate::events::event::{Event, Kinds};
use crate::limits::Charge;

/// A data set may keep read buffers of so many times its size alive.
const PINNED: usize = 4;

/// The message whose command set has arrived and whose data set is arriving. One count of bytes feeds the bounds,
/// the metrics and the event of the message.
pub(super) struct Arriving {
    context_id: u8,
    /// Bytes of the data set so far.
    pub(super) bytes: u64,
    /// Most bytes of the data set that are taken.
    pub(super) bound: u64,
    /// Bytes that were passed over: no part of this node has a use for them.
    pub(super) passed: u64,
    pub(super) fate: Fate,
    /// A request of the peer's, as the metrics see it.
    pub(super) measured: Option<Measured>,
    /// The command set, while messages have a follower.
    followed: Option<Box<CommandSet>>,
}

/// A request whose time to answer begins when its data set is whole.
#[derive(Clone, Copy)]
pub(super) struct Measured {
    pub(super) message_id: u16,
    pub(super) is_store: bool,
}

/// What becomes of a message when its data set is complete.
pub(super) enum Fate {
    /// No message is arriving.
    None,
    /// A response to one of our requests.
    Response(Collected),
    /// A request for the user.
    Request(Collected),
    /// A C-STORE on its way to a file: the key of its job.
    Store(u64),
    /// Answered with this status and comment.
    Answered(CommandSet, u8, Status, Cow<'static, str>),
    /// Answered already, or to be forgotten.
    Discard,
}

/// A message whose data set is kept in memory.
pub(super) struct Collected {
    pub(super) context_id: u8,
    pub(super) command: CommandSet,
    pub(super) fragments: Vec<Bytes>,
    pub(super) charge: Charge,
}

impl Arriving {
    /// Between messages.
    pub(super) fn none() -> Self {
        Self {
            context_id: 0,
            bytes: 0,
            bound: 0,
            passed: 0,
            fate: Fate::None,
            measured: None,
            followed: None,
        }
    }

    /// A command set has arrived: with it the message, if no data set follows.
    pub(super) fn begin(line: &Line, context_id: u8, command: &CommandSet) -> Self {
        let limits = &line.settings.limits;
        let mut arriving = Self {
            context_id,
            bound: match field_of(command) {
                CommandField::C_STORE_RQ => limits.instance,
                field if is_composite(field) => limits.identifier as u64,
                _ => limits.dataset as u64,
            },
            followed: line
                .wants(Kinds::MESSAGE)
                .then(|| Box::new(command.clone())),
            ..Self::none()
        };
        if !command.has_data_set() {
            arriving.tell(line);
        }
        arriving
    }

    /// Counts what has arrived of the data set; `last` for the end of it.
    pub(super) fn count(&mut self, line: &Line, bytes: usize, last: bool) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if last {
            self.tell(line);
        }
    }

    /// The message is whole.
    fn tell(&mut self, line: &Line) {
        if let Some(command) = self.followed.take() {
            let (context_id, bytes) = (self.context_id, self.bytes);
            line.event(Kinds::MESSAGE, || Event::Message {
                sent: false,
                context_id,
                command: *command,
                bytes,
            });
        }
    }

    /// What arrives now takes memory.
    pub(super) fn keeps(&self) -> bool {
        match self.fate {
            Fate::Response(_) | Fate::Request(_) | Fate::Store(_) => true,
            Fate::None | Fate::Answered(..) | Fate::Discard => false,
        }
    }

    /// Takes what was to become of the message; the rest of it is discarded.
    pub(super) fn discard(&mut self) -> Fate {
        std::mem::replace(&mut self.fate, Fate::Discard)
    }
}

impl Collected {
    /// The message with its data set of so many bytes. A data set that is small beside the read buffers which its
    /// slices would keep alive is copied out: how long its user keeps it is not known here.
    pub(super) fn into_data(self, bytes: u64, read_size: usize) -> (u8, CommandSet, Data) {
        // A slice keeps the whole read buffer alive, half a megabyte for an identifier of a hundred bytes. The budget
        // counts the slice: without the copy a user that keeps its requests would hold far more than is charged.
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let fragments = if bytes.saturating_mul(PINNED) < read_size {
            vec![Bytes::from(self.fragments.concat())]
        } else {
            self.fragments
        };
        let parts = Parts {
            fragments,
            charge: self.charge,
        };
        (self.context_id, self.command, Data::Memory(parts))
    }
}
