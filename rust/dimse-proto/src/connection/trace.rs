//! What went by, for whoever looks on: told beside the outputs, and never needed to carry them out.

use alloc::collections::VecDeque;
use core::fmt;

use crate::ul::State;
use crate::ul::fsm::{Action, Event};
use crate::ul::pdu::{Header, Pdu};

/// How much of it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Detail {
    /// Nothing; costs nothing.
    #[default]
    Off,
    /// Everything but data transfer: P-DATA-TF PDUs and the transitions that they cause.
    Signals,
    /// Everything.
    All,
}

/// One thing that went by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trace {
    /// A PDU of the peer, good or bad.
    Received(Seen),
    /// A PDU of ours, on its way.
    Sent(Seen),
    /// A step of the protocol machine.
    Step(Step),
}

/// A PDU that went by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its type and length.
    pub header: Header,
    /// What it says. `None` for P-DATA-TF, which is told as messages, and for what could not be decoded.
    pub pdu: Option<Pdu>,
}

/// A cell of PS3.8 Table 9-10 that was reached. Shown as `Sta5 + Evt3 -> AE-3 -> Sta6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The state before.
    pub from: State,
    /// What happened.
    pub event: Event,
    /// What was done.
    pub action: Action,
    /// The state after.
    pub to: State,
}

impl Step {
    /// It only carries data.
    #[must_use]
    pub const fn is_data(&self) -> bool {
        matches!(
            self.action,
            Action::DT1 | Action::DT2 | Action::AR6 | Action::AR7
        )
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from,
            event,
            action,
            to,
        } = self;
        write!(f, "{from} + {event:?} -> {action} -> {to}")
    }
}

/// Traces that wait for the outputs before them.
#[derive(Debug, Default)]
pub(super) struct Tape {
    /// Whether data transfer is told too.
    pub(super) data: bool,
    /// Each with the number of outputs that come before it.
    entries: VecDeque<(u64, Trace)>,
    /// Outputs that were polled.
    polled: u64,
    /// Bytes to come of a P-DATA-TF of ours whose beginning was told.
    sending: usize,
}

/// A place on the tape.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    index: usize,
    due: u64,
}

impl Tape {
    /// Here, with so many outputs waiting.
    pub(super) fn mark(&self, waiting: usize) -> Mark {
        Mark {
            index: self.entries.len(),
            due: self.polled.saturating_add(waiting as u64),
        }
    }

    /// Tells something at a place: what a step says comes before what the step causes.
    pub(super) fn note(&mut self, at: Mark, trace: Trace) {
        let data = match &trace {
            Trace::Received(seen) | Trace::Sent(seen) => seen.header.pdu_type == 0x04,
            Trace::Step(step) => step.is_data(),
        };
        if self.data || !data {
            self.entries.insert(at.index, (at.due, trace));
        }
    }

    /// Finds the P-DATA-TF PDUs in bytes that leave. A slice begins with a header, or where the last one ended.
    pub(super) fn note_sent(&mut self, mut at: Mark, mut rest: &[u8]) {
        loop {
            let skipped = self.sending.min(rest.len());
            self.sending = self.sending.saturating_sub(skipped);
            rest = rest.get(skipped..).unwrap_or_default();
            let Some(header) = rest.first_chunk().map(Header::read) else {
                return;
            };
            self.sending = (header.length as usize).saturating_add(Header::LENGTH);
            self.note(at, Trace::Sent(Seen { header, pdu: None }));
            at.index = self.entries.len();
        }
    }

    pub(super) fn output_polled(&mut self) {
        self.polled = self.polled.saturating_add(1);
    }

    /// The next that no output comes before.
    pub(super) fn poll(&mut self) -> Option<Trace> {
        let (due, _) = self.entries.front()?;
        if *due > self.polled {
            return None;
        }
        self.entries.pop_front().map(|(_, trace)| trace)
    }
}
