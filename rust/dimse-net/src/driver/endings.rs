//! How an association ends: release, abort, faults, and the callers that learn of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dimse_proto::connection::Role;
use dimse_proto::connection::output::PAbortOrigin;
use dimse_proto::ul::State;
use tokio::time::{Instant, sleep_until};

use super::{Driver, Hold};
use crate::association::mailbox::Command;
use crate::error::{Deadline, Error};
use crate::events::event::{Event, Kinds};
use crate::service::HeldRelease;
use crate::transport::tls;

impl Driver {
    /// A command that came when all was over, or about to be.
    pub(super) fn too_late(&mut self, command: Command, why: Error) {
        match command {
            Command::Invoke(invoke) => {
                invoke.responses.give(Err(why));
            }
            Command::Release(done) => {
                let _gone = done.send(released(&why));
            }
            Command::Send { done, .. } => {
                let _gone = done.map(|done| done.send(Err(why)));
            }
            Command::Bulk(transfer) => transfer.fail(&why),
            Command::Close(_) => {
                self.closed = true;
                self.exchange.undecided.hurried = true;
            }
            Command::Admit(_) | Command::LetGo | Command::Abort | Command::Shutdown => {}
        }
    }

    /// Both halves of a release wait for what is outstanding (PS3.7 A.5, E-23).
    pub(super) fn finish_release(&mut self) {
        // A peer may ask for a release while answers to it are under way: they leave first, and its A-RELEASE-RP behind
        // them, so that the peer never loses an answer that it waited for.
        // In a collision the acceptor's turn comes only after the requestor's (Sta10, R-214).
        if self.line.release_asked
            && self.exchange.owes_nothing()
            && !self.holds_release()
            && self.line.connection.release_response().is_ok()
        {
            self.deadlines.clear(Deadline::Hold);
            self.line.release_asked = false;
            self.line.end_with(Error::Released);
            self.carry_out();
        }
        if !self.releasing.is_empty()
            && self.exchange.asks_nothing()
            && self.line.connection.state() == State::Sta6
            && self.line.connection.release().is_ok()
        {
            let release = self.line.settings.timeouts.release;
            self.deadlines.set(Deadline::Release, release);
            self.carry_out();
        }
    }

    /// Asks the user to let the answer to a release leave, where a user wants to be asked.
    fn holds_release(&mut self) -> bool {
        if let Some(releases) = &self.line.settings.service.releases
            && self.hold == Hold::NotAsked
        {
            // A closed queue drops the release, which lets the answer go.
            self.hold = Hold::Waiting;
            let _closed = releases.send(HeldRelease(self.line.handle()));
            let release = self.line.settings.timeouts.release;
            self.deadlines.set(Deadline::Hold, release);
        }
        self.hold == Hold::Waiting
    }

    /// The socket failed.
    pub(super) fn lost(&mut self, error: std::io::Error) {
        let why = tls::of_stream(&error);
        self.line
            .end_with(why.unwrap_or_else(|| Error::Lost(Some(Arc::new(error)))));
        self.line.connection.transport_closed();
    }

    /// Nothing can be sent or answered any more: every call that waits fails with the cause (PS3.7 A.6).
    pub(super) fn conclude(&mut self) {
        if self.line.life.is_over() {
            return;
        }
        let why = self.line.why();
        let _watchers = self.line.life.ended.send_replace(Some(why.clone()));
        if let Some(opened) = self.opened.take() {
            let _gone = opened.send(Err(why.clone()));
        }
        for done in self.releasing.drain(..) {
            let _gone = done.send(released(&why));
        }
        self.exchange.fail_all(&why);
        self.line.count(|metrics| metrics.over(self.since, &why));
    }

    /// Instances that came whole are stored although the association is over, and the user decides on them.
    async fn finish_storing(&mut self) {
        // What came whole may be the peer's only copy: a scanner that has sent its images and dropped the connection
        // will not send them again. The response has no way to the peer, but the file does to the disk.
        self.exchange.give_up_unfinished();
        while self.exchange.is_storing() {
            let due = self.exchange.undecided.due().map(|(at, _)| at);
            tokio::select! {
                biased;
                Some(command) = self.commands.recv() => self.too_late(*command, self.line.why()),
                progress = self.exchange.progress(false) => self.exchange.carry_on(&mut self.line, progress),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.exchange.overdue(&mut self.line, Instant::now());
                }
            }
            self.exchange.give_up_undecided(&mut self.line);
        }
    }

    /// The connection is closed.
    pub(super) async fn finish(mut self: Box<Self>) {
        self.carry_out();
        self.conclude();
        self.exchange.give_up_undecided(&mut self.line);
        self.finish_storing().await;
        // Closed before it is emptied: a command is either refused by the channel or answered here.
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            self.too_late(*command, self.line.why());
        }
        let why = self.line.why();
        let (stored, messages) = (self.exchange.stored, self.exchange.messages);
        let ours = self.line.connection.role() == Role::Acceptor;
        let told = match &why {
            // Reported when it happened, or the user did it.
            Error::Remote(_) | Error::LocalAbort | Error::Shutdown | Error::Evicted => true,
            Error::Rejected(_) => ours,
            // A connection without a byte: a look at whether the port is open.
            Error::PAborted(PAbortOrigin::Transport, _) | Error::Lost(_) => {
                ours && self.received == 0
            }
            _ => false,
        };
        let error = (!matches!(why, Error::Released)).then_some(why);
        let kinds = Kinds::ENDED.problem_if(error.is_some() && !told);
        self.line.event(kinds, || Event::Ended {
            error,
            told,
            stored,
            messages,
        });
        self.line.life.reported.store(true, Ordering::SeqCst);
        self.line.life.events.over(self.line.life.id);
    }
}

/// The outcome of a release that was asked for.
fn released(why: &Error) -> Result<(), Error> {
    match why {
        Error::Released => Ok(()),
        other => Err(other.clone()),
    }
}
