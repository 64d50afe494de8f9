//! Messages of one association: requests matched to responses by Message ID, requests of the peer routed, data
//! sets collected in memory or given to a writer thread.

// Both directions have a window (PS3.7 D.3.3.3). Ours bounds `invoked`: what does not fit waits in `waiting` (calls)
// or `transfers` (files), which take turns. The peer's bounds `performing`; a peer that passes it is served up to
// what this end tolerates, and then aborted.
//
// A file is sent in pieces as the socket takes them, and messages must not interleave. While one is half
// sent (`mid_file`), other messages are framed at once, so that their order and their errors are known, and their
// bytes wait in `deferred` until the file's last piece is written.
//
// Responses have no window of their own: a peer that asks and does not read could make this end frame answers
// without bound. `owed` counts the bytes of responses since the write queue was empty; past a limit the driver reads
// nothing more from that peer.

mod arriving;
mod inbound;
pub(crate) mod line;
mod outbound;
pub(crate) mod reports;
mod undecided;
mod verdicts;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dimse_proto::Uid;
use dimse_proto::dimse::CommandField;
use dimse_proto::ul::negotiate::Negotiated;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::Instant;

use crate::association::mailbox::Invoke;
use crate::association::message::Response;
use crate::error::Error;
use crate::events::event::Performed;
use crate::limits::Budget;
use crate::metrics::Running;
use crate::queue::Sender;
use crate::receive::jobs::{Done, Jobs};
use crate::receive::verdict::Verdict;
use crate::send::bulk::{self, BulkResult, Item, Transfer};
use crate::send::source::FileInfo;
use crate::service::Retrieving;
use crate::settings::Settings;
use crate::terms::Permit;

use arriving::{Arriving, Fate};
use line::Line;
use undecided::Undecided;

/// Transfers that read ahead of their turn: a user may have a thousand, and each takes a thread and memory.
const TRANSFERS_AHEAD: usize = 4;

/// Message-level state of an association.
pub(crate) struct Exchange {
    /// Requests that wait for the window.
    pub(crate) waiting: VecDeque<Invoke>,
    /// Files to be sent. Each transfer has its turn: one file, and it goes to the end.
    pub(crate) transfers: VecDeque<Transfer>,
    /// The message being written by the first transfer is not complete.
    mid_file: Option<u16>,
    /// The last to have its turn was a single request: a file is next.
    files_next: bool,
    /// Framed messages that wait for the end of that one.
    deferred: Vec<Bytes>,
    /// What the responses take that were framed since everything had been written, in bytes.
    owed: usize,
    /// Our operations outstanding, by Message ID.
    invoked: HashMap<u16, Invoked>,
    /// The peer's operations not finally answered, by Message ID.
    performing: HashMap<u16, Performing>,
    arriving: Arriving,
    /// What the peer may ask for; `None` is all that is served.
    pub(crate) permit: Option<Arc<Permit>>,
    /// Requests that no service could be meant by.
    errors: usize,
    jobs: Jobs,
    /// What is stored and not answered: the user decides.
    pub(crate) undecided: Undecided,
    budget: Budget,
    /// Operations we may have outstanding.
    window: usize,
    /// Operations that the peer may have outstanding before this end aborts.
    tolerated: usize,
    pub(crate) stored: u64,
    pub(crate) messages: u64,
}

struct Invoked {
    field: CommandField,
    within: Option<Duration>,
    recipient: Recipient,
    /// It was cancelled, or its caller has left: only its end is waited for.
    leaving: bool,
    /// By when that must be there, however much comes before it, and how long that is.
    due: Option<(Instant, Duration)>,
}

impl Invoked {
    fn new(field: CommandField, within: Option<Duration>, recipient: Recipient) -> Self {
        Self {
            field,
            within,
            recipient,
            leaving: false,
            due: None,
        }
    }

    /// Its user is far behind, and it is not to end early.
    fn is_behind(&self) -> bool {
        match &self.recipient {
            Recipient::Caller(invoke) => !self.leaving && invoke.responses.is_full(),
            Recipient::Bulk { .. } => false,
        }
    }
}

/// Where a response goes.
enum Recipient {
    Caller(Box<Invoke>),
    Bulk {
        index: usize,
        info: Box<FileInfo>,
        results: Sender<BulkResult>,
    },
}

struct Performing {
    cancelled: Arc<AtomicBool>,
    /// Of a C-STORE: see [`Operation::retrievals`](crate::service::Operation::retrievals).
    retrievals: Vec<u16>,
    /// Message ID of the retrieval that this is a sub-operation of, while that has a follower.
    part_of: Option<u16>,
    /// How long it takes, where that is counted.
    running: Option<Running>,
    /// How the data set of the request, and those of its responses, are encoded.
    transfer_syntax: Uid,
    /// What followers learn of it when it is over, while that is wanted.
    report: Option<Box<Performed>>,
}

/// What the loop waited for on behalf of the messages.
pub(crate) enum Progress {
    Job(Done),
    Transfer(Option<Item>),
    Verdict(u64, Verdict),
}

impl Exchange {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            waiting: VecDeque::new(),
            transfers: VecDeque::new(),
            mid_file: None,
            files_next: false,
            deferred: Vec::new(),
            owed: 0,
            invoked: HashMap::new(),
            performing: HashMap::new(),
            arriving: Arriving::none(),
            permit: None,
            errors: 0,
            jobs: Jobs::default(),
            undecided: Undecided::default(),
            budget: settings.budget.clone(),
            window: 1,
            tolerated: settings.limits.queued.saturating_add(1),
            stored: 0,
            messages: 0,
        }
    }

    /// The windows of PS3.7 D.3.3.3; 0 is no limit, which 16-bit Message IDs set all the same.
    pub(crate) fn establish(&mut self, negotiated: &Negotiated) {
        // Without the negotiation both windows are one operation (PS3.7 D.3.3.3.1), as they stand until this call. What
        // is tolerated beyond the peer's window is `Limits.queued`: an unlimited window still has an end here, since
        // each open request takes memory.
        let limit = |operations: u16| match operations {
            0 => usize::from(u16::MAX),
            some => usize::from(some),
        };
        self.window = limit(negotiated.invoked);
        self.tolerated = self
            .tolerated
            .saturating_sub(1)
            .saturating_add(limit(negotiated.performed).min(usize::from(u8::MAX)));
    }

    /// The next thing that happens by itself: a writer thread is done, the user has decided, or a file's bytes are
    /// there.
    pub(crate) async fn progress(&mut self, may_send_file: bool) -> Progress {
        let may_send_file = may_send_file && self.may_send_file();
        let (jobs, undecided) = (&mut self.jobs, &mut self.undecided);
        match self.transfers.front_mut() {
            Some(transfer) if may_send_file => tokio::select! {
                biased;
                done = jobs.next() => Progress::Job(done),
                (key, verdict) = undecided.next() => Progress::Verdict(key, verdict),
                item = transfer.next() => Progress::Transfer(item),
            },
            _ => tokio::select! {
                biased;
                done = jobs.next() => Progress::Job(done),
                (key, verdict) = undecided.next() => Progress::Verdict(key, verdict),
            },
        }
    }

    /// The beginning of the next file, if it has been read.
    fn ready_file(&mut self) -> Option<Item> {
        // A transfer starts its thread when its turn is near, so that its first file is read while another one is sent.
        for transfer in self.transfers.iter_mut().take(TRANSFERS_AHEAD) {
            transfer.begin();
        }
        while let Some(transfer) = self.transfers.front_mut() {
            match transfer.try_next() {
                Ok(item) => return Some(item),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => self.transfers.pop_front(),
            };
        }
        None
    }

    fn may_send_file(&self) -> bool {
        self.mid_file.is_some() || self.invoked.len() < self.window
    }

    /// No operation is open on either side and nothing waits.
    pub(crate) fn is_quiet(&self) -> bool {
        self.asks_nothing() && self.owes_nothing() && matches!(self.arriving.fate, Fate::None)
    }

    /// We have operations outstanding.
    pub(crate) fn asks(&self) -> bool {
        !self.invoked.is_empty()
    }

    pub(crate) fn asks_nothing(&self) -> bool {
        self.invoked.is_empty() && self.waiting.is_empty() && self.transfers.is_empty()
    }

    /// The peer's requests are answered, and no message of ours is half sent.
    pub(crate) fn owes_nothing(&self) -> bool {
        self.performing.is_empty() && !self.is_mid_file()
    }

    /// The C-GETs of ours that are outstanding.
    fn retrieving(&self) -> Retrieving {
        let mut retrieving = Retrieving::default();
        for invoked in self.invoked.values() {
            if invoked.field == CommandField::C_GET_RQ
                && let Recipient::Caller(invoke) = &invoked.recipient
            {
                retrieving.contexts.push(invoke.context_id);
                if !invoke.responses.is_abandoned() {
                    retrieving.followed.push(invoke.message_id);
                    if invoke.options.into.is_some() {
                        retrieving.into.clone_from(&invoke.options.into);
                    }
                }
            }
        }
        retrieving
    }

    /// Whether a C-GET of ours was closed that the peer has not ended: its instances may still come.
    fn retrieves_in_vain(&self) -> bool {
        self.invoked.values().any(|invoked| {
            invoked.field == CommandField::C_GET_RQ
                && matches!(&invoked.recipient, Recipient::Caller(invoke) if invoke.responses.is_abandoned())
        })
    }

    /// A file is half sent.
    pub(crate) fn is_mid_file(&self) -> bool {
        self.mid_file.is_some()
    }

    /// What arrives now takes memory.
    pub(crate) fn keeps_inbound(&self) -> bool {
        self.arriving.keeps()
    }

    /// What responses take that the peer has not taken yet, in bytes.
    pub(crate) fn owed(&self) -> usize {
        self.owed
    }

    /// Everything that was sent has left.
    pub(crate) fn all_written(&mut self) {
        if !self.deferred.is_empty() {
            return;
        }
        self.owed = 0;
        // A C-CANCEL has left with the rest: from now on the peer has so long to end the operation, however many
        // pending responses it still sends. Without this deadline each of them would prolong the wait.
        for invoked in self.invoked.values_mut() {
            if let Some(within) = invoked.within.filter(|_| invoked.leaving)
                && invoked.due.is_none()
            {
                // A duration beyond the clock's range is for ever.
                invoked.due = Instant::now().checked_add(within).map(|at| (at, within));
            }
        }
    }

    /// The operation is to end early: from now on only its end counts.
    pub(crate) fn leave(&mut self, message_id: u16) {
        if let Some(invoked) = self.invoked.get_mut(&message_id) {
            invoked.leaving = true;
        }
    }

    /// By when the first of the operations that are to end must have ended.
    pub(crate) fn drained_by(&self) -> Option<(Instant, Duration)> {
        self.invoked
            .values()
            .filter_map(|invoked| invoked.due)
            .min()
    }

    /// No caller takes the responses that are here already, and none waits for another: the socket waits.
    /// A call that waits for its turn gets it only when what is before it is read.
    pub(crate) fn is_behind(&self) -> bool {
        // One caller that is far behind must not stop the others: the socket waits only when each operation outstanding
        // is behind, and no call waits for one of them to end.
        self.asks()
            && self.waiting.is_empty()
            && self.transfers.is_empty()
            && self.invoked.values().all(Invoked::is_behind)
    }

    /// The association is over: what is not whole is given up.
    pub(crate) fn give_up_unfinished(&mut self) {
        self.jobs.give_up_unfinished();
    }

    /// An instance is being stored, or undecided.
    pub(crate) fn is_storing(&self) -> bool {
        !self.jobs.is_empty() || !self.undecided.is_empty()
    }

    /// The writer threads cannot keep up: the socket waits.
    pub(crate) fn is_congested(&self) -> bool {
        match self.arriving.fate {
            // The instance that arrives is bounded by its own pending bytes; a new one by how many are open.
            Fate::Store(key) => self.jobs.is_congested(key),
            _ => self.jobs.is_full(self.undecided.len()),
        }
    }

    /// How long the most patient of our operations outstanding waits; `None` is for ever.
    pub(crate) fn response_within(&self) -> Option<Duration> {
        // One deadline serves all operations, and any byte of the peer's restarts it: only when nothing at all comes
        // for as long as the most patient one waits is the peer taken for dead.
        let mut longest = Some(Duration::ZERO);
        for invoked in self.invoked.values() {
            longest = Some(longest?.max(invoked.within?));
        }
        longest
    }

    /// A writer thread is done, the user has decided, or a file's next bytes are there.
    pub(crate) fn carry_on(&mut self, line: &mut Line, progress: Progress) {
        match progress {
            Progress::Transfer(None) => {
                self.transfers.pop_front();
                if self.is_mid_file() {
                    let why = "the thread that read it failed in the middle of a file";
                    line.abort(Error::Input(why.to_owned()));
                }
            }
            Progress::Transfer(Some(item)) => self.send_piece(line, item),
            Progress::Verdict(key, verdict) => self.verdict_came(line, key, verdict),
            Progress::Job(done) => {
                if let Some(finished) = self.jobs.done(done) {
                    // Refused before all of it came: the rest is not wanted.
                    if matches!(self.arriving.fate, Fate::Store(key) if key == finished.key) {
                        self.arriving.fate = Fate::Discard;
                    }
                    self.job_finished(line, finished);
                }
            }
        }
    }

    /// The association is over.
    pub(crate) fn fail_all(&mut self, why: &Error) {
        for invoke in self.waiting.drain(..) {
            invoke.responses.give(Err(why.clone()));
        }
        for (_, invoked) in self.invoked.drain() {
            invoked.recipient.give(Err(why.clone()));
        }
        // As by a C-CANCEL: what the performers compute has no receiver any more.
        for performing in self.performing.values_mut() {
            performing.cancelled.store(true, Ordering::Relaxed);
            performing.running = None;
        }
        for transfer in self.transfers.drain(..) {
            transfer.fail(why);
        }
    }
}

impl Recipient {
    fn give(self, outcome: Result<Response, Error>) {
        match self {
            Self::Caller(invoke) => {
                invoke.responses.give(outcome);
            }
            Self::Bulk {
                index,
                info,
                results,
            } => {
                bulk::tell(
                    &results,
                    BulkResult {
                        index,
                        info: Some(*info),
                        begun: true,
                        outcome: outcome.map(|response| response.command),
                    },
                );
            }
        }
    }
}
