//! PDUs and transitions of a connection, for logs and followers of events. No output depends on a trace.

use alloc::collections::VecDeque;
use core::fmt;

use crate::ul::State;
use crate::ul::fsm::{Action, Event};
use crate::ul::pdu::{Header, Pdu};

// Traces and outputs are two queues of one history. A trace must reach the log before the effects of its step and
// after the effects of the step before, but the driver polls outputs one by one and acts on each. So every trace notes
// how many outputs come before it, counted from the beginning of the connection, and `poll` gives it out only when the
// driver has polled that many. Where nothing is traced there is no queue, and no cost.

/// How much a connection traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Detail {
    /// Nothing; no trace is made.
    #[default]
    Off,
    /// All PDUs and transitions but those of data transfer.
    Signals,
    /// All PDUs and transitions.
    All,
}

/// One PDU or transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trace {
    /// A PDU of the peer, valid or not.
    Received(Seen),
    /// A PDU of this end, about to be written.
    Sent(Seen),
    /// A transition of the protocol machine.
    Step(Step),
}

/// A PDU received or sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Type and length.
    pub header: Header,
    /// The decoded PDU. `None` for P-DATA-TF, whose messages are traced by the layer above, and for a PDU that could
    /// not be decoded.
    pub pdu: Option<Pdu>,
}

/// A transition: a cell of PS3.8 Table 9-10 that an event reached. Printed as `Sta5 + Evt3 -> AE-3 -> Sta6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The state before.
    pub from: State,
    /// The event.
    pub event: Event,
    /// The action of the cell.
    pub action: Action,
    /// The state after.
    pub to: State,
}

impl Step {
    /// Whether the transition is one of data transfer.
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
pub(super) struct TraceQueue {
    /// Whether data transfer is traced too.
    pub(super) data: bool,
    /// Each trace with the number of outputs that come before it, counted from the beginning.
    entries: VecDeque<(u64, Trace)>,
    /// Number of outputs polled.
    polled: u64,
    /// Bytes to come of a P-DATA-TF being sent whose header was traced.
    sending: usize,
}

/// A place between the traces: before which entry, and after how many outputs.
#[derive(Clone, Copy)]
pub(super) struct Place {
    index: usize,
    due: u64,
}

impl TraceQueue {
    /// The place behind the last trace and the last output, of which `waiting` are not yet polled.
    pub(super) fn mark(&self, waiting: usize) -> Place {
        Place {
            index: self.entries.len(),
            due: self.polled.saturating_add(waiting as u64),
        }
    }

    /// Inserts a trace at a place. A step marks its place before its action runs and is noted afterwards, when the
    /// next state is known: so the step comes before the PDUs that its action sends.
    pub(super) fn note(&mut self, at: Place, trace: Trace) {
        let data = match &trace {
            Trace::Received(seen) | Trace::Sent(seen) => seen.header.pdu_type == 0x04,
            Trace::Step(step) => step.is_data(),
        };
        if self.data || !data {
            self.entries.insert(at.index, (at.due, trace));
        }
    }

    /// Traces the P-DATA-TF PDUs in bytes to be sent. The bytes begin with a header, or inside the PDU with which the
    /// bytes before ended.
    pub(super) fn note_sent(&mut self, mut at: Place, mut rest: &[u8]) {
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

    /// The next trace, unless an output that was not yet polled comes before it.
    pub(super) fn poll(&mut self) -> Option<Trace> {
        let (due, _) = self.entries.front()?;
        if *due > self.polled {
            return None;
        }
        self.entries.pop_front().map(|(_, trace)| trace)
    }
}
