//! Responses on their way from the driver to whoever asked: a queue that tells when nobody empties it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::association::message::Data;
use crate::association::message::Response;
use crate::error::Error;
use crate::life::Life;

type Outcome = Result<Response, Error>;

/// Bytes that wait for a slow taker; past this nothing more is read for it.
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
    /// Says whether there is still somebody to take it.
    pub(crate) fn give(&self, outcome: Outcome) -> bool {
        self.waiting.fetch_add(cost(&outcome), Ordering::Relaxed);
        self.queue.send(outcome).is_ok()
    }

    /// Nobody waits for a response any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.queue.is_closed()
    }

    /// Whoever asked is far behind, and has not left.
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
    /// The end, met while looking for what is ready: told after everything before it was dealt with.
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

    /// What the user has taken is the user's: it weighs on nobody's budget any more.
    fn taken(&self, mut outcome: Outcome) -> Outcome {
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

    fn tell_over(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.life.unfinished.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Invocation {
    fn drop(&mut self) {
        self.tell_over();
        if self.waiting.load(Ordering::Relaxed) > LOW {
            // Perhaps the driver waits for this very queue.
            self.queue.close();
            self.life.taken.notify_one();
        }
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
