//! Which deadlines run, and what happens when one passes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use dimse_proto::DecodeError;
use dimse_proto::ul::State;
use dimse_proto::ul::reason::AbortReason;
use tokio::time::Instant;

use super::{BUDGET_WAIT, COOLING, Driver, Hold, READ_SMALLEST};
use crate::error::{Deadline, Error};
use crate::transport::stream::LEAST_BUFFER;

impl Driver {
    /// Bytes came: waits that count from the last progress begin anew. The peer has to read as well, though.
    pub(super) fn bytes_came(&mut self) {
        for which in [
            Deadline::Dimse,
            Deadline::Idle,
            Deadline::Progress,
            Deadline::Cooling,
        ] {
            self.deadlines.clear(which);
        }
    }

    /// Bytes left.
    pub(super) fn bytes_left(&mut self) {
        for which in [Deadline::Dimse, Deadline::Idle, Deadline::Write] {
            self.deadlines.clear(which);
        }
    }

    /// Sets the deadlines that this moment calls for.
    pub(super) fn arm(&mut self) {
        // Derived anew before each wait, from what the association is waiting for now, in place of set and cleared
        // where the state changes: a path that forgets one would leave an association without an end. A deadline that
        // runs is left alone, and what counts as progress clears it (`bytes_came`, `bytes_left`).
        let timeouts = self.line.settings.timeouts;
        let established = self.line.connection.state() == State::Sta6;
        self.keep(Deadline::Write, !self.line.write.is_empty(), timeouts.write);
        let receiving = established && self.is_receiving() && self.wants_read();
        self.keep(Deadline::Progress, receiving, timeouts.progress);
        // Progress catches a peer that stops in the middle of a message; pace one that sends a byte now and then, which
        // is progress each time and keeps the association for ever (slow loris).
        if self.keep(Deadline::Pace, receiving, timeouts.progress) {
            self.paced = self.received;
        }
        // While we are the slow side, no response is late.
        let asked =
            established && self.exchange.asks() && self.line.write.is_empty() && !self.is_behind();
        let within = self.exchange.response_within();
        self.keep(Deadline::Dimse, asked, within);
        match self.exchange.drained_by().filter(|_| established) {
            Some((at, after)) => self.deadlines.at(Deadline::Drain, at, after),
            None => self.deadlines.clear(Deadline::Drain),
        }
        match self.exchange.undecided.due() {
            Some((at, after)) => self.deadlines.at(Deadline::Verdict, at, after),
            None => self.deadlines.clear(Deadline::Verdict),
        }
        let idle = established && self.exchange.is_quiet() && !self.is_receiving();
        self.keep(Deadline::Idle, idle, timeouts.idle);
        self.keep(Deadline::Budget, self.is_starved(), Some(BUDGET_WAIT));
        let warm = self.read.capacity() > LEAST_BUFFER;
        self.keep(Deadline::Cooling, warm, Some(COOLING));
    }

    /// Has a deadline run if and only if it is wanted. Gives whether it was started.
    pub(super) fn keep(&mut self, which: Deadline, wanted: bool, after: Option<Duration>) -> bool {
        if !wanted {
            self.deadlines.clear(which);
        }
        wanted && self.deadlines.ensure(which, after)
    }

    pub(super) fn expire(&mut self) {
        while let Some((which, after)) = self.deadlines.pop_expired(Instant::now()) {
            let timeout = Error::Timeout(which, after);
            match which {
                Deadline::Artim => {
                    self.line.end_with(timeout);
                    self.line.connection.artim_expired();
                }
                Deadline::Cooling => {
                    if self.read.is_empty() {
                        self.read = BytesMut::new();
                        self.line.read_size = READ_SMALLEST;
                    }
                }
                Deadline::Hold => self.hold = Hold::Over,
                Deadline::Verdict => self.exchange.overdue(&mut self.line, Instant::now()),
                Deadline::Budget => self
                    .exchange
                    .refuse_arriving(&mut self.line, "no room in the byte budget"),
                Deadline::Progress => self.stalled(format!(
                    "nothing of the rest of a message came for {} s",
                    after.as_secs_f64()
                )),
                Deadline::Pace => {
                    let came = self.received.saturating_sub(self.paced);
                    let least =
                        f64::from(self.line.settings.limits.read_rate) * after.as_secs_f64();
                    if Duration::from_secs(came).as_secs_f64() < least {
                        self.stalled(format!(
                            "{came} bytes of a message came within {} s",
                            after.as_secs_f64()
                        ));
                    }
                }
                Deadline::Write => {
                    // A peer that reads nothing will not read an A-ABORT either.
                    self.line.abort(timeout);
                    self.closed = true;
                }
                Deadline::Acse if self.asking.is_some() => self.undecided(after),
                Deadline::Connect
                | Deadline::Tls
                | Deadline::Acse
                | Deadline::Dimse
                | Deadline::Release => {
                    self.line.abort(timeout);
                }
                Deadline::Drain => self.line.abort(Error::Timeout(Deadline::Dimse, after)),
                // A caller is still busy with responses that came before: not idle, and it begins anew.
                Deadline::Idle if self.line.life.unfinished.load(Ordering::Relaxed) > 0 => {}
                Deadline::Idle => self.line.abort(timeout),
            }
        }
    }

    pub(super) fn stalled(&mut self, what: String) {
        let error = DecodeError::new("stalled-message", what, 0, "PS3.8 E.1");
        self.line.end_with(Error::Remote(error.clone()));
        self.line.write.cut();
        self.line
            .connection
            .provider_violation(error, AbortReason::NOT_SPECIFIED);
    }
}
