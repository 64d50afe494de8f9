//! Stored instances that the user has not decided on: each is answered by a verdict, by its deadline, or when the
//! server stops.

use std::sync::Arc;

use dimse_proto::dimse::CommandSet;
use tokio::time::Instant;

use super::Exchange;
use super::line::Line;
use super::undecided::Waiting;
use crate::receive::refusal::{OUT_OF_RESOURCES, Refusal};
use crate::receive::sink::Tentative;
use crate::receive::verdict::{Arrival, OnStored, Ticket, Verdict};

impl Exchange {
    /// An instance is stored; the user decides.
    pub(super) fn ask(
        &mut self,
        line: &Line,
        context_id: u8,
        command: CommandSet,
        tentative: Tentative,
        on_stored: &OnStored,
    ) {
        let stored = Arc::new(tentative.stored);
        let ticket = Ticket::new(tentative.undo);
        let mut charge = self.budget.account();
        let undecided = &mut self.undecided;
        let key = undecided.next_key;
        undecided.next_key = key.wrapping_add(1);
        charge.add(Arrival::cost(&stored));
        let answer = undecided.answers();
        let arrival = Arrival {
            stored: Arc::clone(&stored),
            association: line.life.id,
            titles: line.titles,
            peer: line.peer,
            ended: line.life.ended.subscribe(),
            key,
            ticket: ticket.clone(),
            answer,
            charge,
        };
        let within = on_stored.within;
        let waiting = Waiting {
            context_id,
            command,
            stored,
            ticket,
            // A duration beyond the clock's range is for ever.
            due: within.and_then(|within| Some((Instant::now().checked_add(within)?, within))),
        };
        self.undecided.waiting.insert(key, waiting);
        // A closed queue gives it back: then it answers for itself when it is dropped.
        drop(on_stored.queue.send(arrival));
    }

    /// The user has decided, or never will.
    pub(crate) fn verdict_came(&mut self, line: &mut Line, key: u64, verdict: Verdict) {
        let Some(waiting) = self.undecided.waiting.remove(&key) else {
            return; // it was answered before
        };
        match verdict {
            Verdict::Accepted => {
                self.answer_stored(line, waiting.context_id, &waiting.command, &waiting.stored);
            }
            Verdict::Refused(refusal) => self.answer_unstored(line, &waiting, &refusal),
            Verdict::None => {
                let why = "on_stored gave no verdict, and will not; the file stays";
                self.answer_unstored(line, &waiting, &undecided(why));
            }
        }
    }

    fn answer_unstored(&mut self, line: &mut Line, waiting: &Waiting, refusal: &Refusal) {
        let Waiting {
            context_id,
            command,
            stored,
            ..
        } = waiting;
        self.answer_refused(line, *context_id, command, stored.bytes, refusal);
    }

    /// Answers for those whose time is over. Their files stay, since the verdict may be on its way.
    pub(crate) fn overdue(&mut self, line: &mut Line, now: Instant) {
        let mut passed = Vec::new();
        // Taking the ticket is the decision: a verdict that is being carried out has it already, and is waited for.
        for (key, waiting) in &mut self.undecided.waiting {
            if let Some((_, within)) = waiting.due.take_if(|(at, _)| *at <= now)
                && waiting.ticket.take().is_some()
            {
                passed.push((*key, within));
            }
        }
        for (key, within) in passed {
            if let Some(waiting) = self.undecided.waiting.remove(&key) {
                let within = within.as_secs_f64();
                let why = format!("on_stored gave no verdict within {within} s; the file stays");
                self.answer_unstored(line, &waiting, &undecided(why));
            }
        }
    }

    /// When the server's time is over it waits for no verdict any more, only for those that are being carried out.
    pub(crate) fn give_up_undecided(&mut self, line: &mut Line) {
        if !self.undecided.hurried {
            return;
        }
        let waiting = &self.undecided.waiting;
        let open = waiting
            .iter()
            .filter_map(|(key, waiting)| waiting.ticket.take().map(|_stays| *key));
        for key in open.collect::<Vec<_>>() {
            if let Some(waiting) = self.undecided.waiting.remove(&key) {
                let why = "the server stopped before on_stored gave a verdict; the file stays";
                self.answer_unstored(line, &waiting, &undecided(why));
            }
        }
    }
}

fn undecided(why: impl Into<String>) -> Refusal {
    Refusal::new(OUT_OF_RESOURCES, "not processed in time", why)
}
