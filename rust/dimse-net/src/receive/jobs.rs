//! Instances on their way from the socket to the disk: the association's task collects slices, writer threads scan and
//! write, at most one batch of an instance at a time.

// The writer of an instance is in one place at a time: with the task (`WriterState::Idle`) or with a thread
// (`WriterState::Busy`), which brings it back with its report. So a writer needs no lock, its writes are in order,
// and a slow disk shows as slices that pile up here, until the association reads no more from its socket.
//
// The task itself writes only what `SMALL` and `WriterState::is_quick` allow, inside `block_in_place`.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use dimse_proto::Uid;
use dimse_proto::dimse::CommandSet;
use tokio::runtime::RuntimeFlavor;
use tokio::task::JoinSet;

use crate::limits::Charge;
use crate::receive::folder::Folder;
use crate::receive::refusal::{OUT_OF_RESOURCES, Refusal};
use crate::receive::sink::{
    Spooled, StoreRequest, Stored, Tentative, Writer, store_tentatively, store_whole,
};
use crate::receive::undo::Hold;
use crate::receive::verdict::OnStored;
use crate::runtime;

/// Bytes that are worth waking a writer thread for. A smaller instance is handed over once, whole.
const BATCH: usize = 256 << 10;

/// Bytes that may wait for a writer thread that is busy; then the socket waits too.
const PENDING_LIMIT: usize = 1 << 20;

/// Writes in progress on one association.
const JOBS_LIMIT: usize = 64;

/// A whole instance up to this size that is not synced is written where it was received: it goes to the page
/// cache in less time than it takes to wake a writer thread.
const SMALL: usize = 64 << 10;

/// What a slice takes beside its bytes: itself, and the headers that it keeps from being reused. A peer may send
/// two bytes at a time.
const SLICE_COST: usize = 64;

/// What a received instance is for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// To be published in the folder.
    Publish(Arc<Folder>, StoreRequest),
    /// To be handed to the user as a file.
    Spool(Arc<Folder>, StoreRequest),
}

impl Purpose {
    pub(crate) fn publish(folder: Arc<Folder>, request: StoreRequest) -> Result<Self, Refusal> {
        request.check()?;
        Ok(Self::Publish(folder, request))
    }

    pub(crate) fn spool(folder: Arc<Folder>, request: StoreRequest) -> Result<Self, Refusal> {
        request.check()?;
        Ok(Self::Spool(folder, request))
    }

    fn writer(self) -> Result<(Writer, Ending), Refusal> {
        match self {
            Self::Publish(folder, request) => {
                Writer::new(folder, request).map(|writer| (writer, Ending::Publish))
            }
            Self::Spool(folder, request) => {
                Writer::new(folder, request).map(|writer| (writer, Ending::Spool))
            }
        }
    }

    /// All of an instance at once.
    fn store(self, data: &[Bytes], hold: Option<Hold>) -> Result<Outcome, Refusal> {
        match (self, hold) {
            (Self::Publish(folder, request), Some(hold)) => {
                store_tentatively(folder, request, data, hold).map(Outcome::Tentative)
            }
            (Self::Publish(folder, request), None) => {
                store_whole(folder, request, data).map(Outcome::Stored)
            }
            (spool @ Self::Spool(..), _) => {
                let (mut writer, ending) = spool.writer()?;
                writer.write(data)?;
                ending.apply(writer, None)
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Publish,
    Spool,
}

impl Ending {
    fn apply(self, writer: Writer, hold: Option<Hold>) -> Result<Outcome, Refusal> {
        match (self, hold) {
            (Self::Publish, Some(hold)) => writer.commit_tentatively(hold).map(Outcome::Tentative),
            (Self::Publish, None) => writer.commit().map(Outcome::Stored),
            (Self::Spool, _) => writer.finish_spooled().map(Outcome::Spooled),
        }
    }
}

/// How an instance ended well.
#[derive(Debug)]
pub(crate) enum Outcome {
    Stored(Stored),
    /// Until the user has decided.
    Tentative(Tentative),
    Spooled(Spooled),
}

/// What a writer thread reports.
#[derive(Debug)]
pub(crate) struct Done {
    key: u64,
    result: Result<Stage, Refusal>,
}

#[derive(Debug)]
enum Stage {
    /// A batch is written; here is the writer for the next.
    Wrote(Box<Writer>, Ending),
    /// The instance is complete.
    Finished(Box<Outcome>),
}

/// An instance that is stored, spooled or refused.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) key: u64,
    pub(crate) context_id: u8,
    pub(crate) command: CommandSet,
    pub(crate) bytes: u64,
    pub(crate) on_stored: Option<OnStored>,
    pub(crate) outcome: Result<Outcome, Refusal>,
}

/// Instances in progress on one association.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    open: HashMap<u64, Job>,
    threads: JoinSet<Done>,
    /// Done without a thread of its own.
    ready: VecDeque<Done>,
    next_key: u64,
}

#[derive(Debug)]
struct Job {
    context_id: u8,
    command: CommandSet,
    pending: Vec<Bytes>,
    pending_bytes: usize,
    bytes: u64,
    charge: Charge,
    writer_state: WriterState,
    /// Who decides on it when it is stored, and whose turn that has to be.
    deciding: Option<Deciding>,
    /// Nothing more comes.
    ended: bool,
}

/// Of an instance that the user decides on.
#[derive(Debug)]
struct Deciding {
    on_stored: OnStored,
    folder: Arc<Folder>,
    uid: Uid,
}

/// Where the writer of an instance is.
#[derive(Debug)]
enum WriterState {
    Fresh(Purpose),
    Idle(Box<Writer>, Ending),
    Busy,
}

impl WriterState {
    /// Nothing written yet, and nothing to be synced.
    fn is_quick(&self) -> bool {
        matches!(self, Self::Fresh(Purpose::Publish(folder, _)) if !folder.syncs())
    }
}

/// Only workers of a multi-threaded runtime can hand their other tasks over while one blocks.
fn can_block_in_place() -> bool {
    tokio::runtime::Handle::try_current()
        .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
}

impl Jobs {
    /// Begins an instance.
    pub(crate) fn open(
        &mut self,
        purpose: Purpose,
        context_id: u8,
        command: CommandSet,
        charge: Charge,
        on_stored: Option<OnStored>,
    ) -> u64 {
        let deciding = match (&purpose, on_stored) {
            (Purpose::Publish(folder, request), Some(on_stored)) => Some(Deciding {
                on_stored,
                folder: Arc::clone(folder),
                uid: request.sop_instance.clone(),
            }),
            _ => None,
        };
        let key = self.next_key;
        self.next_key = self.next_key.wrapping_add(1);
        let job = Job {
            context_id,
            command,
            pending: Vec::new(),
            pending_bytes: 0,
            bytes: 0,
            charge,
            writer_state: WriterState::Fresh(purpose),
            deciding,
            ended: false,
        };
        self.open.insert(key, job);
        key
    }

    /// Takes the next slice.
    pub(crate) fn push(&mut self, key: u64, fragment: Bytes, last: bool) {
        if let Some(job) = self.open.get_mut(&key) {
            job.bytes = job.bytes.saturating_add(fragment.len() as u64);
            job.pending_bytes = job
                .pending_bytes
                .saturating_add(fragment.len())
                .saturating_add(SLICE_COST);
            // A C-STORE that moved to a file was charged while it was collected in memory: only the rest is missing.
            job.charge.cover(job.pending_bytes);
            if !fragment.is_empty() {
                job.pending.push(fragment);
            }
            job.ended = last;
            if last || job.pending_bytes >= BATCH {
                self.hand_over(key);
            }
        }
    }

    /// Gives what is pending to a writer thread, unless one is at work.
    fn hand_over(&mut self, key: u64) {
        let Some(job) = self.open.get_mut(&key) else {
            return;
        };
        let writer_state = std::mem::replace(&mut job.writer_state, WriterState::Busy);
        if matches!(writer_state, WriterState::Busy) {
            return;
        }
        let batch = std::mem::take(&mut job.pending);
        let small = std::mem::take(&mut job.pending_bytes) <= SMALL;
        let charge = job.charge.take();
        let ended = job.ended;
        let mut hold = None;
        // While the verdict on an instance is open, another one of its UID waits before it is published, as a task: a
        // writer thread that waited for a user would be lost to all other instances.
        if let Some(deciding) = job.deciding.as_ref().filter(|_| ended) {
            hold = deciding.folder.try_hold(&deciding.uid);
            if hold.is_none() {
                let turn = deciding.turn();
                self.threads.spawn_on(
                    async move {
                        let result = match turn.await {
                            Ok(hold) => finish_on_a_thread(writer_state, batch, hold).await,
                            Err(refusal) => Err(refusal),
                        };
                        drop(charge);
                        Done { key, result }
                    },
                    runtime::handle(),
                );
                return;
            }
        }
        if ended && small && writer_state.is_quick() && can_block_in_place() {
            // The runtime moves the other tasks of this worker to another thread meanwhile. A write to the page cache
            // takes microseconds, two context switches take more.
            let result = tokio::task::block_in_place(|| guarded(writer_state, &batch, ended, hold));
            self.ready.push_back(Done { key, result });
            return;
        }
        self.threads.spawn_blocking_on(
            move || {
                let result = guarded(writer_state, &batch, ended, hold);
                drop(batch);
                drop(charge);
                Done { key, result }
            },
            runtime::handle(),
        );
    }

    /// The next report of a writer thread; never resolves when none is at work.
    pub(crate) async fn next(&mut self) -> Done {
        loop {
            if let Some(done) = self.ready.pop_front() {
                return done;
            }
            match self.threads.join_next().await {
                Some(Ok(done)) => return done,
                // The runtime goes away.
                Some(Err(_cancelled)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Takes a report: the writer goes back to work or the instance is finished.
    pub(crate) fn done(&mut self, done: Done) -> Option<Finished> {
        let Done { key, result } = done;
        let outcome = match result {
            Ok(Stage::Wrote(writer, ending)) => {
                let job = self.open.get_mut(&key)?;
                job.writer_state = WriterState::Idle(writer, ending);
                if job.ended || job.pending_bytes >= BATCH {
                    self.hand_over(key);
                }
                return None;
            }
            Ok(Stage::Finished(outcome)) => Ok(*outcome),
            Err(refusal) => Err(refusal),
        };
        let job = self.open.remove(&key)?;
        Some(Finished {
            key,
            context_id: job.context_id,
            command: job.command,
            bytes: job.bytes,
            on_stored: job.deciding.map(|deciding| deciding.on_stored),
            outcome,
        })
    }

    /// Gives up what will never be whole.
    pub(crate) fn give_up_unfinished(&mut self) {
        // Dropped writers remove their files. A writer that is with a thread is dropped when that thread reports.
        self.open.retain(|_, job| job.ended);
    }

    /// No instance is in progress.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Gives an instance up; the writer's end removes what it wrote.
    pub(crate) fn forget(&mut self, key: u64) -> Option<(u8, CommandSet)> {
        self.open
            .remove(&key)
            .map(|job| (job.context_id, job.command))
    }

    /// The instance arrives faster than it is written.
    pub(crate) fn is_congested(&self, key: u64) -> bool {
        self.open
            .get(&key)
            .is_some_and(|job| job.pending_bytes >= PENDING_LIMIT)
    }

    /// As many writes are in progress, or stored instances undecided, as one association gets.
    pub(crate) fn is_full(&self, undecided: usize) -> bool {
        self.open.len().saturating_add(undecided) >= JOBS_LIMIT
    }
}

impl Deciding {
    /// Waits until the verdict on the instance before it is known, no longer than that may take.
    fn turn(&self) -> impl Future<Output = Result<Hold, Refusal>> + Send + 'static {
        let (folder, uid, within) = (
            Arc::clone(&self.folder),
            self.uid.clone(),
            self.on_stored.within,
        );
        async move {
            let turn = folder.hold(&uid);
            match within {
                None => Ok(turn.await),
                Some(within) => tokio::time::timeout(within, turn).await.map_err(|_passed| {
                    let within = within.as_secs_f64();
                    let detail = format!(
                        "on_stored has not decided on the same instance, sent before, within {within} s"
                    );
                    Refusal::new(OUT_OF_RESOURCES, "not processed in time", detail)
                }),
            }
        }
    }
}

async fn finish_on_a_thread(
    writer_state: WriterState,
    batch: Vec<Bytes>,
    hold: Hold,
) -> Result<Stage, Refusal> {
    let work = move || guarded(writer_state, &batch, true, Some(hold));
    // The runtime goes away.
    let stopped = |_| Refusal::new(OUT_OF_RESOURCES, "cannot store", "this node is stopping");
    let work = runtime::handle().spawn_blocking(work);
    work.await.unwrap_or_else(|error| Err(stopped(error)))
}

/// The writer thread's part. A panic there, an error of this crate, refuses this one instance and harms no other.
fn guarded(
    writer_state: WriterState,
    batch: &[Bytes],
    ended: bool,
    hold: Option<Hold>,
) -> Result<Stage, Refusal> {
    catch_unwind(AssertUnwindSafe(|| write(writer_state, batch, ended, hold))).unwrap_or_else(
        |_panic| {
            let detail = "a fault of this node: the thread that stores it panicked";
            Err(Refusal::new(OUT_OF_RESOURCES, "cannot store", detail))
        },
    )
}

fn write(
    writer_state: WriterState,
    batch: &[Bytes],
    ended: bool,
    hold: Option<Hold>,
) -> Result<Stage, Refusal> {
    let (mut writer, ending) = match writer_state {
        WriterState::Fresh(purpose) if ended => {
            let stored = purpose.store(batch, hold);
            return stored.map(Box::new).map(Stage::Finished);
        }
        WriterState::Fresh(purpose) => {
            let (writer, ending) = purpose.writer()?;
            (Box::new(writer), ending)
        }
        WriterState::Idle(writer, ending) => (writer, ending),
        WriterState::Busy => unreachable!("a writer is never handed over twice"),
    };
    writer.write(batch)?;
    if ended {
        let stored = ending.apply(*writer, hold);
        stored.map(Box::new).map(Stage::Finished)
    } else {
        Ok(Stage::Wrote(writer, ending))
    }
}
