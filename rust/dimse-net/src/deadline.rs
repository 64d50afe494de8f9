//! The deadlines of one association: a small table, the earliest of which the driver sleeps for.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::Deadline;

/// How long each wait may take; `None` is for ever.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// ARTIM (PS3.8 9.1.5): from TCP accept to a complete A-ASSOCIATE-RQ, and for the peer's close at the end.
    pub artim: Option<Duration>,
    /// Opening the TCP connection.
    pub connect: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
    /// Answer to A-ASSOCIATE-RQ.
    pub acse: Option<Duration>,
    /// Answer to A-RELEASE-RQ.
    pub release: Option<Duration>,
    /// A peer that does not read what we write.
    pub write: Option<Duration>,
    /// An association with no operation open and nothing heard.
    pub idle: Option<Duration>,
    /// A response, counted from the last byte sent, anew on any progress.
    pub dimse: Option<Duration>,
    /// The same for a C-STORE response.
    pub store: Option<Duration>,
    /// The same between C-GET and C-MOVE responses.
    pub retrieve: Option<Duration>,
    /// A message whose next byte does not come; also the time over which its rate is measured.
    pub progress: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = |n| Some(Duration::from_secs(n));
        Self {
            artim: seconds(30),
            connect: seconds(10),
            tls: seconds(10),
            acse: seconds(30),
            release: seconds(10),
            write: seconds(60),
            idle: seconds(60),
            dimse: seconds(60),
            store: seconds(300),
            retrieve: seconds(600),
            progress: seconds(60),
        }
    }
}

/// Running deadlines. Each variant's slot holds when it passes and how long it was.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    slots: Vec<(Deadline, Instant, Duration)>,
}

impl Deadlines {
    /// Starts, or starts anew. `None` stops it.
    pub(crate) fn set(&mut self, which: Deadline, after: Option<Duration>) {
        // A duration beyond the clock's range is for ever.
        match after.and_then(|after| Some((Instant::now().checked_add(after)?, after))) {
            Some((at, after)) => self.at(which, at, after),
            None => self.clear(which),
        }
    }

    /// Starts one that passes then, and was so long.
    pub(crate) fn at(&mut self, which: Deadline, at: Instant, after: Duration) {
        // One slot for each kind: the later of two starts counts.
        self.clear(which);
        self.slots.push((which, at, after));
    }

    /// Starts the deadline unless it runs; whether it was started.
    pub(crate) fn ensure(&mut self, which: Deadline, after: Option<Duration>) -> bool {
        let idle = !self.runs(which);
        if idle {
            self.set(which, after);
        }
        idle
    }

    pub(crate) fn clear(&mut self, which: Deadline) {
        self.slots.retain(|(running, ..)| *running != which);
    }

    pub(crate) fn runs(&self, which: Deadline) -> bool {
        self.slots.iter().any(|(running, ..)| *running == which)
    }

    /// When to wake.
    // A handful of slots: a linear search is faster than any heap.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.slots.iter().map(|(_, at, _)| *at).min()
    }

    /// Takes one that has passed.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<(Deadline, Duration)> {
        let index = self.slots.iter().position(|(_, at, _)| *at <= now)?;
        let (which, _, after) = self.slots.swap_remove(index);
        Some((which, after))
    }
}
