//! Stored instances that the user has not decided on: each is answered by a verdict, by its deadline, or when the
//! server stops.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dimse_proto::dimse::CommandSet;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::driver::Driver;
use crate::receive::refusal::{OUT_OF_RESOURCES, Refusal};
use crate::receive::sink::{Stored, Tentative};
use crate::verdict::{Arrival, Desk, Ticket, Verdict};

/// Those of one association, in the order in which they were stored.
#[derive(Default)]
pub(crate) struct Undecided {
    waiting: BTreeMap<u64, Waiting>,
    next_key: u64,
    /// Made for the first: most associations have none.
    line: Option<Line>,
    /// The server stops, and its time for the rest is over.
    pub(crate) hurried: bool,
}

/// Both ends of where verdicts come.
type Line = (
    UnboundedSender<(u64, Verdict)>,
    UnboundedReceiver<(u64, Verdict)>,
);

struct Waiting {
    context_id: u8,
    command: CommandSet,
    stored: Arc<Stored>,
    ticket: Ticket,
    /// By when it is to be decided, and how long that is; none any more when it is being taken back.
    due: Option<(Instant, Duration)>,
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
        match &mut self.line {
            Some((_, verdicts)) => match verdicts.recv().await {
                Some(verdict) => verdict,
                None => std::future::pending().await, // we have a sender ourselves
            },
            None => std::future::pending().await,
        }
    }

    /// When the first is overdue.
    pub(crate) fn due(&self) -> Option<(Instant, Duration)> {
        self.waiting
            .values()
            .filter_map(|waiting| waiting.due)
            .min()
    }

    fn answers(&mut self) -> UnboundedSender<(u64, Verdict)> {
        let (sender, _) = self.line.get_or_insert_with(unbounded_channel);
        sender.clone()
    }
}

impl Driver {
    /// An instance is stored; the user decides.
    pub(super) fn ask(
        &mut self,
        context_id: u8,
        command: CommandSet,
        tentative: Tentative,
        desk: &Desk,
    ) {
        let stored = Arc::new(tentative.stored);
        let ticket = Ticket::new(tentative.undo);
        let undecided = &mut self.exchange.undecided;
        let key = undecided.next_key;
        undecided.next_key = key.wrapping_add(1);
        let mut charge = self.exchange.budget.account();
        charge.add(Arrival::cost(&stored));
        let answer = undecided.answers();
        let arrival = Arrival {
            stored: Arc::clone(&stored),
            association: self.life.id,
            titles: self.titles,
            peer: self.peer(),
            of: self.handle(),
            key,
            ticket: ticket.clone(),
            answer,
            charge,
        };
        let within = desk.within;
        let waiting = Waiting {
            context_id,
            command,
            stored,
            ticket,
            // A duration beyond the clock's range is for ever.
            due: within.and_then(|within| Some((Instant::now().checked_add(within)?, within))),
        };
        self.exchange.undecided.waiting.insert(key, waiting);
        // Nobody pulls any more: then it answers for itself when it is dropped.
        drop(desk.queue.send(arrival));
    }

    /// The user has decided, or never will.
    pub(crate) fn verdict_came(&mut self, key: u64, verdict: Verdict) {
        let Some(waiting) = self.exchange.undecided.waiting.remove(&key) else {
            return; // it was answered before
        };
        match verdict {
            Verdict::Accepted => {
                self.stored(waiting.context_id, &waiting.command, &waiting.stored);
            }
            Verdict::Refused(refusal) => self.unstored(&waiting, &refusal),
            Verdict::None => {
                let why = "on_stored gave no verdict, and will not; the file stays";
                self.unstored(&waiting, &undecided(why));
            }
        }
    }

    fn unstored(&mut self, waiting: &Waiting, refusal: &Refusal) {
        let Waiting {
            context_id,
            command,
            stored,
            ..
        } = waiting;
        self.store_event(*context_id, command, stored.bytes, Err(refusal));
        self.respond(*context_id, command, refusal.status, &refusal.comment);
    }

    /// Answers for those whose time is over. Their files stay, since the verdict may be on its way.
    pub(crate) fn overdue(&mut self, now: Instant) {
        let mut passed = Vec::new();
        for (key, waiting) in &mut self.exchange.undecided.waiting {
            if let Some((_, within)) = waiting.due.take_if(|(at, _)| *at <= now)
                && waiting.ticket.take().is_some()
            {
                passed.push((*key, within));
            }
        }
        for (key, within) in passed {
            if let Some(waiting) = self.exchange.undecided.waiting.remove(&key) {
                let within = within.as_secs_f64();
                let why = format!("on_stored gave no verdict within {within} s; the file stays");
                self.unstored(&waiting, &undecided(why));
            }
        }
    }

    /// When the server's time is over nobody waits for verdicts any more: only for those that are being carried out.
    pub(crate) fn give_up_undecided(&mut self) {
        if !self.exchange.undecided.hurried {
            return;
        }
        let waiting = &self.exchange.undecided.waiting;
        let open = waiting
            .iter()
            .filter_map(|(key, waiting)| waiting.ticket.take().map(|_stays| *key));
        for key in open.collect::<Vec<_>>() {
            if let Some(waiting) = self.exchange.undecided.waiting.remove(&key) {
                let why = "the server stopped before on_stored gave a verdict; the file stays";
                self.unstored(&waiting, &undecided(why));
            }
        }
    }
}

fn undecided(why: impl Into<String>) -> Refusal {
    Refusal::new(OUT_OF_RESOURCES, "not processed in time", why)
}
