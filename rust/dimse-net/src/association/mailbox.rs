//! What the handles of an association ask of its driver.

// Handles live on any thread, the driver is one task: a channel is the only way between them, and it is unbounded, so
// that no call of a user waits for the driver.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dimse_proto::dimse::CommandSet;
use tokio::sync::{mpsc, oneshot};

use crate::association::invocation::Responses;
use crate::error::Error;
use crate::receive::folder::Folder;
use crate::send::bulk;
use crate::terms::Decision;

/// The way to the driver. A driver that is gone takes nothing any more.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox(
    /// Boxed: a channel has room for many from the first, and most associations have none on their way.
    mpsc::UnboundedSender<Box<Command>>,
);

/// The driver's end of a [`Mailbox`].
pub(crate) type Commands = mpsc::UnboundedReceiver<Box<Command>>;

impl Mailbox {
    pub(crate) fn new() -> (Self, Commands) {
        let (sender, commands) = mpsc::unbounded_channel();
        (Self(sender), commands)
    }

    /// Whether a driver lives that will take the command.
    pub(crate) fn send(&self, command: Command) -> bool {
        self.0.send(Box::new(command)).is_ok()
    }
}

/// What a handle asks of its driver.
#[derive(Debug)]
pub(crate) enum Command {
    Invoke(Invoke),
    Send {
        context_id: u8,
        command: CommandSet,
        data: Option<Bytes>,
        done: Option<oneshot::Sender<Result<(), Error>>>,
    },
    Bulk(bulk::Transfer),
    /// The user's decision on the proposal.
    Admit(Decision),
    Release(oneshot::Sender<Result<(), Error>>),
    /// The answer to the peer's release may leave.
    LetGo,
    Abort,
    /// Close the connection, without a word.
    Close(Error),
    Shutdown,
}

/// A request to be sent and its responses delivered.
#[derive(Debug)]
pub(crate) struct Invoke {
    pub(crate) message_id: u16,
    pub(crate) context_id: u8,
    pub(crate) command: CommandSet,
    pub(crate) data: Option<Bytes>,
    pub(crate) responses: Responses,
    pub(crate) options: InvokeOptions,
}

/// How a request is carried out.
#[derive(Clone, Debug, Default)]
pub struct InvokeOptions {
    /// How long each response may take; `None` is for ever.
    pub within: Option<Duration>,
    /// How many times more it is sent, with Message IDs of their own: the next leaves as soon as the one before it is
    /// answered with Success or a warning, without the caller. The invocation gives the last response, or the first
    /// other one.
    pub again: u64,
    /// Of a C-GET: where the instances go that come for it, before any handler, until the invocation is closed.
    pub into: Option<Arc<Folder>>,
}
