//! Sending many files without leaving Rust: a thread reads and frames ahead, the driver writes what the window
//! allows, one result a file comes out.

// Three places hold a file on its way: the reading thread, the channel of batches, the driver. Whatever ends the
// sending (the user's stop, a cancelled operation, the end of the association), each place gives up what it has with
// a result of its own, so that the caller counts as many results as it gave files.
//
// The driver cannot take back what it has begun: a message in P-DATA fragments ends with its last fragment or with the
// association. When the peer answers a file before it has all of it (an early failure, R-161), the driver says so
// through `cut`, and the thread closes the message with two zero bytes.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dimse_proto::AeTitle;
use dimse_proto::dimse::{CommandField, CommandSet, element};
use dimse_proto::ul::data::{frame, max_fragment};
use dimse_proto::ul::negotiate::Negotiated;
use tokio::sync::mpsc::{self, error::TryRecvError};

use crate::error::Error;
use crate::files::source_error::{SourceError, SourceErrorKind};
use crate::life::Life;
use crate::queue::{Queue, Sender};
use crate::runtime;
use crate::send::source::{FileInfo, Outgoing};

/// Bytes framed at a time: one write of the socket.
const CHUNK: usize = 1 << 20;

/// From this size on a buffer is used again, and has room for a whole chunk.
const REUSED: usize = 64 << 10;

/// Batches that may wait for the socket.
const AHEAD: usize = 2;

/// Most files handed to the driver at once: waking it, and being woken, costs more than a small file.
const BATCH: usize = 64;

/// A file to be sent.
#[derive(Clone, Debug)]
pub struct ToSend {
    /// Given back with the result.
    pub index: usize,
    /// A Part 10 file.
    pub path: PathBuf,
}

/// What goes into each C-STORE-RQ, and how long they are sent.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// (0000,0700): 0 medium, 1 high, 2 low.
    pub priority: u16,
    /// The AE that asked by C-MOVE, and its Message ID.
    pub move_originator: Option<(AeTitle, u16)>,
    /// How long a response may take, from the last byte sent.
    pub within: Option<Duration>,
    /// Set when the operation that they are part of is cancelled: files not begun are not sent then.
    pub cancelled: Option<Arc<AtomicBool>>,
    /// Files are sent whether they are whole or not.
    pub unchecked: bool,
}

/// Whether files that are not begun are still to be sent.
#[derive(Clone, Debug, Default)]
struct Halt {
    stopped: Arc<AtomicBool>,
    cancelled: Option<Arc<AtomicBool>>,
}

impl Halt {
    fn is_set(&self) -> bool {
        let is_set = |flag: &Arc<AtomicBool>| flag.load(Ordering::Relaxed);
        is_set(&self.stopped) || self.cancelled.as_ref().is_some_and(is_set)
    }
}

/// What became of one file.
#[derive(Debug)]
pub struct BulkResult {
    /// As given.
    pub index: usize,
    /// What the file is, if it could be read.
    pub info: Option<FileInfo>,
    /// The request was given to the association: the peer may have got some of it, or all.
    pub begun: bool,
    /// The response's command set, or why there is none.
    pub outcome: Result<CommandSet, Error>,
}

/// The user's end: files on their way.
#[derive(Debug)]
pub struct Sending {
    results: Queue<BulkResult>,
    /// How many are still to be taken.
    left: AtomicUsize,
    stopped: Arc<AtomicBool>,
}

impl Sending {
    /// The results there are, one at least and one a file; `None` after the last. While many are to come, company
    /// is waited for so long: being woken for each costs more than a small file. Nothing is lost when it is
    /// dropped while it waits.
    pub async fn next(&self, gather: Duration) -> Option<Vec<BulkResult>> {
        // Results are woken for in groups: the caller is Python, where a wake-up costs more than a small file does.
        match self.left.load(Ordering::Relaxed) {
            0 => return None,
            1 => {}
            _ if gather.is_zero() => {}
            _ => tokio::time::sleep(gather).await,
        }
        let mut taken = vec![self.results.next().await?];
        while let Some(result) = self.results.try_next() {
            taken.push(result);
        }
        self.left.fetch_sub(taken.len(), Ordering::Relaxed);
        Some(taken)
    }

    /// Files not begun are not sent: their result is [`Error::Stopped`]. What is begun goes on.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// The driver's end.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// What will read the files, until it does.
    unread: Option<(FileReader, Vec<ToSend>)>,
    batches: mpsc::Receiver<Vec<Item>>,
    taken: std::vec::IntoIter<Item>,
    halt: Halt,
    /// The message being taken is not to be sent.
    skipping: bool,
    results: Sender<BulkResult>,
    /// Message ID of a message to be ended early, or `NOT_CUT`.
    pub(crate) cut: Arc<AtomicU32>,
    pub(crate) within: Option<Duration>,
}

impl Transfer {
    /// Where results go.
    pub(crate) fn results(&self) -> Sender<BulkResult> {
        self.results.clone()
    }

    /// Starts to read ahead.
    pub(crate) fn begin(&mut self) {
        if let Some((reader, files)) = self.unread.take() {
            runtime::handle().spawn_blocking(move || reader.run(files));
        }
    }

    /// The next item; `None` after the last. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Item> {
        self.begin();
        loop {
            if let Some(item) = self.next_taken() {
                return Some(item);
            }
            self.taken = self.batches.recv().await?.into_iter();
        }
    }

    /// The same if it is there: else whether it is still to come.
    pub(crate) fn try_next(&mut self) -> Result<Item, TryRecvError> {
        self.begin();
        loop {
            if let Some(item) = self.next_taken() {
                return Ok(item);
            }
            self.taken = self.batches.try_recv()?.into_iter();
        }
    }

    fn next_taken(&mut self) -> Option<Item> {
        while let Some(item) = self.taken.next() {
            if let Some(item) = self.unless_stopped(item) {
                return Some(item);
            }
        }
        None
    }

    /// A message just taken cannot be begun: all of it is passed over.
    pub(crate) fn refuse(&mut self, item: Item, why: &Error) {
        self.skipping = true;
        self.not_begun(item, why);
    }

    /// A message that was read ahead is given up when the user stopped before it was begun.
    fn unless_stopped(&mut self, item: Item) -> Option<Item> {
        // Looked at when a message begins and never within: what has begun to leave has to be ended.
        if matches!(item, Item::Start { .. }) {
            self.skipping = self.halt.is_set();
        }
        if self.skipping {
            self.not_begun(item, &Error::Stopped);
            return None;
        }
        Some(item)
    }

    fn not_begun(&self, item: Item, why: &Error) {
        if let Item::Start { index, info, .. } = item {
            tell(
                &self.results,
                BulkResult {
                    index,
                    info: Some(*info),
                    begun: false,
                    outcome: Err(why.clone()),
                },
            );
        }
    }

    /// The association is over: what was read ahead and not begun gets its result all the same.
    pub(crate) fn fail(mut self, why: &Error) {
        if let Some((reader, files)) = self.unread.take() {
            for file in files {
                reader.fail(file.index, None, why.clone());
            }
        }
        // Closed before it is emptied: the thread's next batch is refused, and the thread fails it itself.
        self.batches.close();
        loop {
            while let Some(item) = self.taken.next() {
                self.not_begun(item, why);
            }
            match self.batches.try_recv() {
                Ok(batch) => self.taken = batch.into_iter(),
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
impl Transfer {
    /// One that gets what a test gives it, in place of a reading thread.
    pub(crate) fn by_hand() -> (mpsc::Sender<Vec<Item>>, Self, Queue<BulkResult>) {
        Self::by_hand_of(Arc::default())
    }

    /// The same, for an operation that may be cancelled.
    pub(crate) fn by_hand_of(
        cancelled: Arc<AtomicBool>,
    ) -> (mpsc::Sender<Vec<Item>>, Self, Queue<BulkResult>) {
        let (items, batches) = mpsc::channel(AHEAD);
        let (results, receiver) = Queue::new(usize::MAX);
        let transfer = Self {
            unread: None,
            batches,
            taken: Vec::new().into_iter(),
            halt: Halt {
                stopped: Arc::default(),
                cancelled: Some(cancelled),
            },
            skipping: false,
            results,
            cut: Arc::new(AtomicU32::new(NOT_CUT)),
            within: None,
        };
        (items, transfer, receiver)
    }
}

/// Gives a result to the caller of the sending, if it is still there.
pub(crate) fn tell(results: &Sender<BulkResult>, result: BulkResult) {
    let _unheard = results.send(result);
}

/// No message is to be ended early.
pub(crate) const NOT_CUT: u32 = u32::MAX;

/// Framed bytes from the reading thread, in the order in which they are to be written.
#[derive(Debug)]
pub(crate) enum Item {
    /// Command set and the first of the data set.
    Start {
        index: usize,
        info: Box<FileInfo>,
        message_id: u16,
        bytes: Bytes,
        end: bool,
    },
    /// More of the data set.
    More { bytes: Bytes, end: bool },
    /// The file changed under our hands: the message cannot be completed.
    Broken(Error),
}

/// Both ends of a sending. A thread reads the files when their turn comes near.
pub(crate) fn start(
    life: Arc<Life>,
    negotiated: Arc<Negotiated>,
    files: Vec<ToSend>,
    options: Options,
) -> (Transfer, Sending) {
    let (items, transfer) = mpsc::channel(AHEAD);
    let (results, receiver) = Queue::new(usize::MAX);
    let left = AtomicUsize::new(files.len());
    let cut = Arc::new(AtomicU32::new(NOT_CUT));
    let halt = Halt {
        stopped: Arc::default(),
        cancelled: options.cancelled.clone(),
    };
    let stopped = Arc::clone(&halt.stopped);
    let within = options.within;
    let reader = FileReader {
        life,
        negotiated,
        options,
        batch: Vec::new(),
        batch_bytes: 0,
        batch_most: 1,
        batches: items,
        results: results.clone(),
        cut: Arc::clone(&cut),
        halt: halt.clone(),
        buffers: Buffers::default(),
    };
    let transfer = Transfer {
        unread: Some((reader, files)),
        batches: transfer,
        taken: Vec::new().into_iter(),
        halt,
        skipping: false,
        results,
        cut,
        within,
    };
    let sending = Sending {
        results: receiver,
        left,
        stopped,
    };
    (transfer, sending)
}

/// Why a file is not sent.
fn unsendable(error: SourceError) -> Error {
    match error.kind {
        SourceErrorKind::NotWhole {
            what,
            offset,
            section,
        } => Error::NotWhole {
            what: format!("{}: {what}", error.path.display()),
            offset,
            section,
        },
        SourceErrorKind::Io(cause) => Error::Unreadable(error.path, Arc::new(cause)),
        _ => Error::Input(error.to_string()),
    }
}

#[derive(Debug)]
struct FileReader {
    life: Arc<Life>,
    negotiated: Arc<Negotiated>,
    options: Options,
    batch: Vec<Item>,
    batch_bytes: usize,
    /// Grows from one: the first file is not kept waiting for company.
    batch_most: usize,
    batches: mpsc::Sender<Vec<Item>>,
    results: Sender<BulkResult>,
    cut: Arc<AtomicU32>,
    halt: Halt,
    buffers: Buffers,
}

/// Large buffers come back when the driver has written them: memory that was used before costs half of what new
/// memory does.
#[derive(Debug, Default)]
struct Buffers {
    /// Oldest first.
    lent: VecDeque<Bytes>,
}

impl Buffers {
    /// A buffer of at least `size` bytes, `CHUNK` at most. What it holds is of no interest.
    fn take(&mut self, size: usize) -> BytesMut {
        if size < REUSED {
            return BytesMut::zeroed(size);
        }
        match self.lent.pop_front().map(Bytes::try_into_mut) {
            // The driver has written it, and no slice of it is left: its pages are mapped already.
            Some(Ok(back)) => back,
            Some(Err(lent)) => {
                self.lent.push_front(lent);
                BytesMut::zeroed(CHUNK)
            }
            None => BytesMut::zeroed(CHUNK),
        }
    }

    /// The first bytes of a buffer, to be given away.
    fn lend(&mut self, buffer: BytesMut, used: usize) -> Bytes {
        let whole = buffer.freeze();
        let bytes = whole.slice(..used);
        if whole.len() == CHUNK {
            self.lent.push_back(whole);
        }
        bytes
    }
}

/// What is known of a file that is not sent, and why.
type Unsendable = (Option<Box<FileInfo>>, Error);

/// The driver is gone: nothing more will be sent.
struct Gone;

impl FileReader {
    fn run(mut self, files: Vec<ToSend>) {
        let mut files = files.into_iter();
        let mut sent = Ok(());
        for file in files.by_ref() {
            if self.halt.is_set() {
                self.fail(file.index, None, Error::Stopped);
                continue;
            }
            sent = self.send(file.index, &file.path);
            if sent.is_err() {
                break;
            }
        }
        let _told = sent.and_then(|()| self.hand_over());
        for item in std::mem::take(&mut self.batch) {
            if let Item::Start { index, info, .. } = item {
                self.fail(index, Some(*info), self.end_reason());
            }
        }
        for file in files {
            self.fail(file.index, None, self.end_reason());
        }
    }

    /// Reads a file, frames it and hands it over, piece by piece. A file that cannot be sent has its result at once.
    fn send(&mut self, index: usize, path: &Path) -> Result<(), Gone> {
        let (mut file, info, context_id) = match self.open(path) {
            Ok(opened) => opened,
            Err((info, error)) => {
                self.fail(index, info.map(|info| *info), error);
                return Ok(());
            }
        };
        let message_id = self.life.next_message_id();
        // Message IDs come again; an early answer to the last bearer of this one must not cut this message.
        self.cut.store(NOT_CUT, Ordering::Relaxed);
        let command = match self.command(message_id, &info) {
            Ok(command) => command,
            Err(error) => {
                self.fail(index, Some(info), error);
                return Ok(());
            }
        };
        let max_fragment = max_fragment(self.negotiated.peer_max_length).unwrap_or(2);
        let estimate = usize::try_from(info.data_length)
            .unwrap_or(CHUNK)
            .saturating_add(4096)
            .min(CHUNK);
        let mut framed = BytesMut::new();
        frame(&mut framed, context_id, true, &command, max_fragment);
        let mut info = Some(Box::new(info));
        loop {
            let cut = self.cut.load(Ordering::Relaxed) == u32::from(message_id);
            let filled = if cut {
                file.end_early(context_id, &mut framed);
                Ok(framed.split().freeze())
            } else {
                self.fill(&mut file, (context_id, max_fragment), estimate, &mut framed)
            };
            let bytes = match filled {
                Ok(bytes) => bytes,
                Err(error) => {
                    let error = Error::Input(format!("{}: {error}", path.display()));
                    match info {
                        // Nothing of it has left: only this file fails.
                        Some(info) => self.fail(index, Some(*info), error),
                        None => self.give(Item::Broken(error))?,
                    }
                    return Ok(());
                }
            };
            let end = file.is_done();
            self.give(match info.take() {
                Some(info) => Item::Start {
                    index,
                    info,
                    message_id,
                    bytes,
                    end,
                },
                None => Item::More { bytes, end },
            })?;
            if end {
                return Ok(());
            }
        }
    }

    /// Opens a file, and finds the context to send it in.
    fn open(&self, path: &Path) -> Result<(Outgoing, FileInfo, u8), Unsendable> {
        let opened = if self.options.unchecked {
            Outgoing::open(path)
        } else {
            Outgoing::open_whole(path)
        };
        let (file, info) = opened.map_err(|error| (None, unsendable(error)))?;
        let Some(context_id) = self.context_for(&info) else {
            let error = Error::NoContext(format!(
                "no accepted presentation context for {} in {}",
                info.sop_class, info.transfer_syntax
            ));
            return Err((Some(Box::new(info)), error));
        };
        Ok((file, info, context_id))
    }

    /// The next bytes of a message: what is framed already, and as much of the file as fits behind it into so many.
    fn fill(
        &mut self,
        file: &mut Outgoing,
        (context_id, max_fragment): (u8, usize),
        estimate: usize,
        framed: &mut BytesMut,
    ) -> io::Result<Bytes> {
        let size = framed.len().saturating_add(estimate).min(CHUNK);
        let mut buffer = self.buffers.take(size);
        let (head, free) = buffer.split_at_mut(framed.len());
        head.copy_from_slice(framed);
        framed.clear();
        let head = head.len();
        file.fill(context_id, max_fragment, free)
            .map(|used| self.buffers.lend(buffer, head.saturating_add(used)))
    }

    fn command(&self, message_id: u16, info: &FileInfo) -> Result<Bytes, Error> {
        let mut command =
            CommandSet::request(CommandField::C_STORE_RQ, message_id, &info.sop_class)?;
        command.set_uid(element::AFFECTED_SOP_INSTANCE_UID, &info.sop_instance)?;
        command.set_us(element::PRIORITY, self.options.priority);
        command.set_has_data_set(true);
        if let Some((originator, originator_id)) = self.options.move_originator {
            command.set_ae(element::MOVE_ORIGINATOR_AE_TITLE, originator)?;
            command.set_us(element::MOVE_ORIGINATOR_MESSAGE_ID, originator_id);
        }
        Ok(command.encode())
    }

    fn context_for(&self, info: &FileInfo) -> Option<u8> {
        // In the transfer syntax of the file and no other: the data set is sent as it stands. The front end converts
        // a file that finds no context here, and hands it over again.
        self.negotiated
            .contexts
            .iter()
            .find(|context| {
                context.is_accepted()
                    && context.scu
                    && context.abstract_syntax == info.sop_class
                    && context.transfer_syntax.as_ref() == Some(&info.transfer_syntax)
            })
            .map(|context| context.id)
    }

    fn give(&mut self, item: Item) -> Result<(), Gone> {
        let whole = matches!(item, Item::Start { end: true, .. });
        if let Item::Start { bytes, .. } | Item::More { bytes, .. } = &item {
            self.batch_bytes = self.batch_bytes.saturating_add(bytes.len());
        }
        self.batch.push(item);
        if whole && self.batch.len() < self.batch_most && self.batch_bytes < CHUNK / 2 {
            return Ok(());
        }
        self.hand_over()
    }

    fn hand_over(&mut self) -> Result<(), Gone> {
        if self.batch.is_empty() {
            return Ok(());
        }
        // Batches double: the first file leaves at once, and thousands of small ones wake the driver once in 64.
        self.batch_most = self.batch_most.saturating_mul(2).min(BATCH);
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        self.batches.blocking_send(batch).map_err(|refused| {
            // `run` gives these up, and their results say that they were not sent.
            self.batch = refused.0;
            Gone
        })
    }

    fn fail(&self, index: usize, info: Option<FileInfo>, error: Error) {
        tell(
            &self.results,
            BulkResult {
                index,
                info,
                begun: false,
                outcome: Err(error),
            },
        );
    }

    fn end_reason(&self) -> Error {
        let ended = self.life.ended();
        ended.unwrap_or(Error::Released)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_comes_back_when_nothing_holds_it_and_not_before() {
        let mut buffers = Buffers::default();
        let mut first = buffers.take(REUSED);
        first.fill(1);
        let lent = buffers.lend(first, 10);
        assert_eq!(lent, [1; 10].as_slice());
        let second = buffers.take(CHUNK);
        assert_ne!(second.as_ptr(), lent.as_ptr());
        let _second = buffers.lend(second, CHUNK);
        let place = lent.as_ptr();
        drop(lent);
        assert_eq!(buffers.take(CHUNK).as_ptr(), place);
    }

    #[test]
    fn a_small_buffer_is_not_kept() {
        let mut buffers = Buffers::default();
        let small = buffers.take(REUSED - 1);
        assert_eq!(small.len(), REUSED - 1);
        let _lent = buffers.lend(small, 1);
        assert!(buffers.lent.is_empty());
    }
}
