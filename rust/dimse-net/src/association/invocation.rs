//! Responses on their way from the driver to the caller: a queue that knows how far its reader is behind.

// The life of an invocation: `Association::invoke` makes both ends of the queue. The driver keeps `Responses`
// with the request, first among those that wait for the window, then among the operations outstanding. Each
// response goes into the queue; the final one, or the error that took its place, is the last. The invocation is over
// for its user when that last one is taken, which may be much later than it came.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::association::message::{Data, Response};
use crate::error::Error;
use crate::life::Life;

type Outcome = Result<Response, Error>;

/// Bytes that wait for a slow caller; past this nothing more is read for it.
const FULL: usize = 4 << 20;

/// It is read again when no more than this are left.
const LOW: usize = FULL / 2;

/// What a response costs besides its data set: no more than 1,024 of them wait.
const OVERHEAD: usize = 4096;

/// The driver's end.
#[derive(Debug)]
pub(crate) struct Responses {
    queue: mpsc::UnboundedSender<Outcome>,
    waiting: Arc<AtomicUsize>,
}

impl Responses {
    /// Whether the caller still holds the invocation.
    pub(crate) fn give(&self, outcome: Outcome) -> bool {
        self.waiting.fetch_add(cost(&outcome), Ordering::Relaxed);
        self.queue.send(outcome).is_ok()
    }

    /// The caller has closed its invocation, or dropped it.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.queue.is_closed()
    }

    /// The caller is far behind, and has not left.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= FULL && !self.is_abandoned()
    }
}

/// An operation in progress at the peer: its responses come here, in order.
#[derive(Debug)]
pub struct Invocation {
    /// Message ID of the request.
    pub message_id: u16,
    queue: mpsc::UnboundedReceiver<Outcome>,
    waiting: Arc<AtomicUsize>,
    life: Arc<Life>,
    /// The end, met while looking for what is ready: given out behind everything before it.
    end: Option<Outcome>,
    /// The end was taken.
    over: bool,
}

impl Invocation {
    pub(crate) fn new(message_id: u16, life: &Arc<Life>) -> (Responses, Self) {
        let (sender, queue) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        life.unfinished.fetch_add(1, Ordering::Relaxed);
        let responses = Responses {
            queue: sender,
            waiting: Arc::clone(&waiting),
        };
        let invocation = Self {
            message_id,
            queue,
            waiting,
            life: Arc::clone(life),
            end: None,
            over: false,
        };
        (responses, invocation)
    }

    /// The next response; `None` after the final one.
    ///
    /// # Errors
    /// Why no more will come.
    pub async fn next(&mut self) -> Option<Result<Response, Error>> {
        let outcome = match self.end.take() {
            Some(end) => end,
            None => self.queue.recv().await?,
        };
        if is_end(&outcome) {
            self.tell_over();
        }
        Some(self.taken(outcome))
    }

    /// The responses there are, waiting for the first: none after the final one. The final one, or an error, comes by
    /// itself. Cancel-safe.
    ///
    /// # Errors
    /// Why no more will come.
    pub async fn next_many(&mut self, most: usize) -> Result<Vec<Response>, Error> {
        let mut responses = Vec::new();
        responses.extend(self.next().await.transpose()?);
        while (1..most).contains(&responses.len())
            && let Some(response) = self.next_ready()
        {
            responses.push(response);
        }
        Ok(responses)
    }

    /// The next response if it is there already and more are to come.
    pub(crate) fn next_ready(&mut self) -> Option<Response> {
        // The end is never given out with others: an error must not hide the responses before it, and `next_many`
        // returns either responses or the error.
        if self.end.is_some() {
            return None;
        }
        let outcome = self.queue.try_recv().ok()?;
        if is_end(&outcome) {
            self.end = Some(outcome);
            return None;
        }
        self.taken(outcome).ok()
    }

    /// What the user has taken is the user's, and is charged to no budget any more.
    fn taken(&self, mut outcome: Outcome) -> Outcome {
        // The driver stops reading at FULL and goes on at LOW. Between the two lies half a queue, so that a slow caller
        // does not wake the driver for each response that it takes.
        let cost = cost(&outcome);
        let before = self.waiting.fetch_sub(cost, Ordering::Relaxed);
        if before > LOW && before.saturating_sub(cost) <= LOW {
            self.life.taken.notify_one();
        }
        if let Ok(Response {
            data: Data::Memory(parts),
            ..
        }) = &mut outcome
        {
            parts.settle();
        }
        outcome
    }

    /// Leaves the operation, as dropping the invocation does: nothing more is kept for its caller, and the folder of a
    /// C-GET takes no further instance.
    pub fn close(&mut self) {
        self.tell_over();
        self.queue.close();
        if self.waiting.load(Ordering::Relaxed) > LOW {
            // Perhaps the driver waits for this very queue.
            self.life.taken.notify_one();
        }
    }

    fn tell_over(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.life.unfinished.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Invocation {
    fn drop(&mut self) {
        self.close();
    }
}

fn is_end(outcome: &Outcome) -> bool {
    outcome.as_ref().map_or(true, |response| {
        !response
            .command
            .status()
            .is_some_and(dimse_proto::dimse::Status::is_pending)
    })
}

fn cost(outcome: &Outcome) -> usize {
    let data = match outcome {
        Ok(Response {
            data: Data::Memory(parts),
            ..
        }) => parts.len(),
        _ => 0,
    };
    data.saturating_add(OVERHEAD)
}
