//! Instances that are stored and wait for the user's verdict: pulled like everything else that the user decides.
//!
//! ```text
//! Tentative -> Arrival, in the queue -> accept, refuse, or dropped -> Verdict -> the association answers
//!                 `-- overdue, or the server stops: the association answers A700 without it
//! ```
//! The [`Ticket`] can be taken once, and the taker decides: a verdict that comes too late changes nothing.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use crate::error::Error;
use crate::facts::{AssociationId, Titles};
use crate::limits::Charge;
use crate::queue::Sender;
use crate::receive::refusal::{OUT_OF_RESOURCES, Refusal};
use crate::receive::sink::Stored;
use crate::receive::undo::Undo;

/// Where instances of a folder go when they are stored, and how long a verdict may take; `None` is for ever.
#[derive(Clone, Debug)]
pub struct OnStored {
    /// Pulled by the user.
    pub queue: Sender<Arrival>,
    /// From the moment when the instance was stored.
    pub within: Option<Duration>,
}

/// A stored instance that is not answered. Dropped without a verdict it stays, and is answered as a failure.
#[derive(Debug)]
pub struct Arrival {
    /// What was stored, and where.
    pub stored: Arc<Stored>,
    /// The association that brought the instance.
    pub association: AssociationId,
    /// AE titles of the association.
    pub titles: Titles,
    /// Address of the peer.
    pub peer: Option<SocketAddr>,
    /// Why the association is over, once it is.
    pub(crate) ended: watch::Receiver<Option<Error>>,
    pub(crate) key: u64,
    pub(crate) ticket: Ticket,
    pub(crate) answer: UnboundedSender<(u64, Verdict)>,
    /// Against the byte budget, until it is decided.
    pub(crate) charge: Charge,
}

/// The outcome of a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Met {
    /// The peer gets the verdict as its answer.
    InTime,
    /// The association is over: the verdict holds, but the peer gets no answer.
    Gone,
    /// The instance was answered before, and stays stored.
    TooLate,
    /// The peer gets the refusal, but the former version could not be restored.
    NotPutBack(Refusal),
}

/// The verdict as the association gets it.
#[derive(Debug)]
pub(crate) enum Verdict {
    Accepted,
    Refused(Refusal),
    /// There will be no decision.
    None,
}

/// The right to decide, once.
#[derive(Clone, Debug)]
pub(crate) struct Ticket(Arc<Mutex<Option<Undo>>>);

impl Ticket {
    pub(crate) fn new(undo: Undo) -> Self {
        Self(Arc::new(Mutex::new(Some(undo))))
    }

    /// Takes the decision, if it is open. Dropped, the instance stays and the next one of its UID has its turn.
    pub(crate) fn take(&self) -> Option<Undo> {
        self.0.lock().take()
    }
}

impl Arrival {
    /// The instance stays, and the answer is Success.
    #[must_use]
    pub fn accept(mut self) -> Met {
        // Taking the ticket is the decision: the deadline and the end of the server take it the same way, and one of
        // all of them gets it. What it holds, the turn of the UID, is given back here.
        let Some(undo) = self.ticket.take() else {
            return Met::TooLate;
        };
        drop(undo);
        self.settle();
        self.tell(Verdict::Accepted)
    }

    /// Restores the former version, and answers with the refusal. Blocks while files are moved and synced.
    #[must_use]
    pub fn refuse(mut self, mut refusal: Refusal) -> Met {
        let Some(undo) = self.ticket.take() else {
            return Met::TooLate;
        };
        // A panic there is an error of this crate: the peer gets its answer nevertheless.
        let put_back =
            catch_unwind(AssertUnwindSafe(|| undo.put_back())).unwrap_or_else(|_panic| {
                let detail = "a fault of this node: the thread that puts back panicked";
                Err(Refusal::new(OUT_OF_RESOURCES, "cannot store", detail))
            });
        drop(undo);
        if let Err(failure) = &put_back {
            refusal.detail = format!("{}; it may still be there: {failure}", refusal.detail);
        }
        self.settle();
        let met = self.tell(Verdict::Refused(refusal));
        put_back.map_or_else(Met::NotPutBack, |()| met)
    }

    /// Gives the budget back before the answer leaves: a peer that has its answer must not find the node still busy.
    fn settle(&mut self) {
        drop(self.charge.take());
    }

    fn tell(&self, verdict: Verdict) -> Met {
        // Asked before: behind an answer that was sent at once the association may be over as well.
        let over = self.ended.borrow().is_some();
        if self.answer.send((self.key, verdict)).is_err() || over {
            Met::Gone
        } else {
            Met::InTime
        }
    }

    /// Bytes that it takes while it waits, about.
    pub(crate) fn cost(stored: &Stored) -> usize {
        const REST: usize = 1024;
        stored.collected.packed.len().saturating_add(REST)
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if self.ticket.take().is_some() {
            let _gone = self.answer.send((self.key, Verdict::None));
        }
        drop(self.charge.take());
    }
}
