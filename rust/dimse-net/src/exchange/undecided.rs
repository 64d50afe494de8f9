//! The stored instances of one association whose verdict is open.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dimse_proto::dimse::CommandSet;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::receive::sink::Stored;
use crate::receive::verdict::{Ticket, Verdict};

/// Those of one association, in the order in which they were stored.
#[derive(Default)]
pub(crate) struct Undecided {
    pub(super) waiting: BTreeMap<u64, Waiting>,
    pub(super) next_key: u64,
    /// Made for the first: most associations have none.
    channel: Option<Channel>,
    /// The server stops, and its time for the rest is over.
    pub(crate) hurried: bool,
}

/// Both ends of where verdicts come.
type Channel = (
    UnboundedSender<(u64, Verdict)>,
    UnboundedReceiver<(u64, Verdict)>,
);

pub(super) struct Waiting {
    pub(super) context_id: u8,
    pub(super) command: CommandSet,
    pub(super) stored: Arc<Stored>,
    pub(super) ticket: Ticket,
    /// By when it is to be decided, and how long that is; none any more when it is being taken back.
    pub(super) due: Option<(Instant, Duration)>,
}

impl Undecided {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The next verdict; never resolves when none is waited for.
    pub(crate) async fn next(&mut self) -> (u64, Verdict) {
        match &mut self.channel {
            Some((_, verdicts)) => match verdicts.recv().await {
                Some(verdict) => verdict,
                None => std::future::pending().await, // we have a sender ourselves
            },
            None => std::future::pending().await,
        }
    }

    /// When the first is overdue.
    pub(crate) fn due(&self) -> Option<(Instant, Duration)> {
        // The deadlines are not in order: a later instance may come from a folder with another time. There are few.
        self.waiting
            .values()
            .filter_map(|waiting| waiting.due)
            .min()
    }

    pub(super) fn answers(&mut self) -> UnboundedSender<(u64, Verdict)> {
        let (sender, _) = self.channel.get_or_insert_with(unbounded_channel);
        sender.clone()
    }
}
