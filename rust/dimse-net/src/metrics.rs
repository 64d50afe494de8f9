//! What a server counts: relaxed atomics, a few for a message and none for a fragment. Nothing a peer says becomes a
//! name here, so that no peer can make the list long.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dimse_proto::dimse::field::MESSAGES;
use dimse_proto::dimse::{Category, CommandField, Status};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::Error;

/// One metric as it stands: what a snapshot is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// A number.
    Number(u64),
    /// Numbers by code, message or the like.
    Numbers(Vec<(Cow<'static, str>, u64)>),
    /// How values were spread.
    Spread(Spread),
    /// The same by service or the like.
    Spreads(Vec<(&'static str, Spread)>),
}

/// Readings by name.
pub type Readings = Vec<(&'static str, Reading)>;

/// A histogram as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// Upper bounds of the buckets, each included.
    pub bounds: Vec<f64>,
    /// Values in each bucket; the last is for what is above all bounds.
    pub counts: Vec<u64>,
    /// Sum of all values.
    pub sum: f64,
}

/// Up to ten minutes for an answer, in microseconds.
const ANSWER: &[u64] = &[
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    60_000_000,
    600_000_000,
];

/// Up to a day for an association, in microseconds.
const LIFE: &[u64] = &[
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    60_000_000,
    600_000_000,
    3_600_000_000,
    86_400_000_000,
];

/// From 1 KiB to 16 GiB, each four times the one before.
const SIZE: &[u64] = &[
    1 << 10,
    1 << 12,
    1 << 14,
    1 << 16,
    1 << 18,
    1 << 20,
    1 << 22,
    1 << 24,
    1 << 26,
    1 << 28,
    1 << 30,
    1 << 32,
    1 << 34,
];

/// Stores that share a sync.
const SHARERS: &[u64] = &[1, 2, 4, 8, 16, 32, 64];

const MICROSECONDS: f64 = 1e6;

/// A number that only grows.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts of values between fixed bounds.
#[derive(Debug)]
struct Histogram {
    bounds: &'static [u64],
    /// What a value is divided by to be shown.
    scale: f64,
    counts: Box<[Counter]>,
    sum: Counter,
}

impl Histogram {
    fn new(bounds: &'static [u64], scale: f64) -> Self {
        Self {
            bounds,
            scale,
            counts: (0..=bounds.len()).map(|_| Counter::default()).collect(),
            sum: Counter::default(),
        }
    }

    fn of_times(bounds: &'static [u64]) -> Self {
        Self::new(bounds, MICROSECONDS)
    }

    fn observe(&self, value: u64) {
        // Two relaxed adds without a lock: a reader in between may see the count without the sum, which the next
        // reading mends.
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.add(1);
        }
        self.sum.add(value);
    }

    fn observe_time(&self, time: Duration) {
        self.observe(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "shown, and exact up to 2 to the power of 53"
    )]
    fn read(&self) -> Spread {
        let shown = |value: u64| value as f64 / self.scale;
        Spread {
            bounds: self.bounds.iter().map(|bound| shown(*bound)).collect(),
            counts: self.counts.iter().map(Counter::read).collect(),
            sum: shown(self.sum.read()),
        }
    }
}

/// Counts by a code of ours.
#[derive(Debug, Default)]
struct Codes(Mutex<BTreeMap<Cow<'static, str>, u64>>);

impl Codes {
    fn add(&self, code: Cow<'static, str>) {
        let mut counts = self.0.lock();
        let count = counts.entry(code).or_default();
        *count = count.saturating_add(1);
    }

    fn read(&self) -> Reading {
        let counts = self.0.lock();
        Reading::Numbers(
            counts
                .iter()
                .map(|(code, count)| (code.clone(), *count))
                .collect(),
        )
    }
}

/// Counts by message; the last is for messages that the standard does not know.
#[derive(Debug)]
struct ByMessage(Box<[Counter]>);

impl Default for ByMessage {
    fn default() -> Self {
        Self((0..=MESSAGES.len()).map(|_| Counter::default()).collect())
    }
}

impl ByMessage {
    fn add(&self, field: CommandField) {
        let known = MESSAGES.iter().position(|row| row.field == field);
        if let Some(count) = self.0.get(known.unwrap_or(MESSAGES.len())) {
            count.add(1);
        }
    }

    fn read(&self) -> Reading {
        let names = MESSAGES.iter().map(|row| row.name).chain(["unknown"]);
        numbers(names.zip(self.0.iter().map(Counter::read)))
    }
}

fn numbers(counts: impl IntoIterator<Item = (&'static str, u64)>) -> Reading {
    let owned = |(name, count)| (Cow::Borrowed(name), count);
    Reading::Numbers(counts.into_iter().map(owned).collect())
}

/// The services, as their requests have them, and what is none of them.
const SERVICES: [(CommandField, &str); 12] = [
    (CommandField::C_STORE_RQ, "C-STORE"),
    (CommandField::C_ECHO_RQ, "C-ECHO"),
    (CommandField::C_FIND_RQ, "C-FIND"),
    (CommandField::C_GET_RQ, "C-GET"),
    (CommandField::C_MOVE_RQ, "C-MOVE"),
    (CommandField::N_EVENT_REPORT_RQ, "N-EVENT-REPORT"),
    (CommandField::N_GET_RQ, "N-GET"),
    (CommandField::N_SET_RQ, "N-SET"),
    (CommandField::N_ACTION_RQ, "N-ACTION"),
    (CommandField::N_CREATE_RQ, "N-CREATE"),
    (CommandField::N_DELETE_RQ, "N-DELETE"),
    (CommandField(0), "unknown"),
];

const CATEGORIES: [(Category, &str); 5] = [
    (Category::Success, "success"),
    (Category::Warning, "warning"),
    (Category::Failure, "failure"),
    (Category::Cancel, "cancel"),
    (Category::Pending, "pending"),
];

/// What one server counts.
#[derive(Debug)]
pub struct Metrics {
    connections: Counter,
    accept_failures: Counter,
    accepted: Counter,
    rejected: Codes,
    failed: Codes,
    ended: Codes,
    received: ByMessage,
    sent: ByMessage,
    statuses: [Counter; CATEGORIES.len()],
    received_bytes: Counter,
    sent_bytes: Counter,
    stored: Counter,
    refused: Counter,
    operations: AtomicU64,
    association_times: Histogram,
    answer_times: [Histogram; SERVICES.len()],
    store_sizes: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            connections: Counter::default(),
            accept_failures: Counter::default(),
            accepted: Counter::default(),
            rejected: Codes::default(),
            failed: Codes::default(),
            ended: Codes::default(),
            received: ByMessage::default(),
            sent: ByMessage::default(),
            statuses: Default::default(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            stored: Counter::default(),
            refused: Counter::default(),
            operations: AtomicU64::new(0),
            association_times: Histogram::of_times(LIFE),
            answer_times: std::array::from_fn(|_| Histogram::of_times(ANSWER)),
            store_sizes: Histogram::new(SIZE, 1.0),
        }
    }
}

impl Metrics {
    /// A TCP connection came.
    pub(crate) fn connected(&self) {
        self.connections.add(1);
    }

    /// One could not be taken.
    pub(crate) fn accept_failed(&self) {
        self.accept_failures.add(1);
    }

    /// An association is established.
    pub(crate) fn established(&self) {
        self.accepted.add(1);
    }

    /// A proposal is rejected.
    pub(crate) fn rejected(&self, code: &'static str) {
        self.rejected.add(Cow::Borrowed(code));
    }

    /// A connection is over: the association that was established on it then, or what did not become one.
    pub(crate) fn over(&self, established: Option<Instant>, why: &Error) {
        match established {
            Some(since) => {
                self.ended.add(why.code());
                self.association_times.observe_time(since.elapsed());
            }
            None if matches!(why, Error::Rejected(_)) => {}
            None => self.failed.add(why.code()),
        }
    }

    /// Bytes came.
    pub(crate) fn received_bytes(&self, count: u64) {
        self.received_bytes.add(count);
    }

    /// Bytes left.
    pub(crate) fn sent_bytes(&self, count: u64) {
        self.sent_bytes.add(count);
    }

    /// A command set came.
    pub(crate) fn received(&self, field: CommandField) {
        self.received.add(field);
    }

    /// A message is on its way.
    pub(crate) fn sent(&self, field: CommandField, status: Option<Status>) {
        self.sent.add(field);
        let Some(status) = status.filter(|_| field.is_response()) else {
            return;
        };
        let category = status.category();
        let index = CATEGORIES.iter().position(|(one, _)| *one == category);
        if let Some(count) = index.and_then(|index| self.statuses.get(index)) {
            count.add(1);
        }
    }

    /// A C-STORE of the peer's has its final response.
    fn answered_store(&self, status: Status) {
        if status.is_failure() {
            self.refused.add(1);
        } else {
            self.stored.add(1);
        }
    }

    /// The data set of a C-STORE came whole.
    pub(crate) fn store_came(&self, bytes: u64) {
        self.store_sizes.observe(bytes);
    }

    /// All of it, as it stands.
    #[must_use]
    pub fn read(&self) -> Readings {
        let statuses = CATEGORIES.iter().map(|(_, name)| *name);
        let answered = SERVICES.iter().zip(&self.answer_times);
        let answered = answered
            .map(|((_, name), times)| (*name, times.read()))
            .filter(|(_, times)| times.counts.iter().any(|count| *count > 0));
        let number = |counter: &Counter| Reading::Number(counter.read());
        vec![
            ("connections", number(&self.connections)),
            ("accept_failures", number(&self.accept_failures)),
            ("accepted", number(&self.accepted)),
            ("rejected", self.rejected.read()),
            ("failed", self.failed.read()),
            ("ended", self.ended.read()),
            ("received", self.received.read()),
            ("sent", self.sent.read()),
            (
                "statuses",
                numbers(statuses.zip(self.statuses.iter().map(Counter::read))),
            ),
            ("received_bytes", number(&self.received_bytes)),
            ("sent_bytes", number(&self.sent_bytes)),
            (
                "instances",
                numbers([
                    ("stored", self.stored.read()),
                    ("refused", self.refused.read()),
                ]),
            ),
            (
                "operations",
                Reading::Number(self.operations.load(Ordering::Relaxed)),
            ),
            (
                "association_seconds",
                Reading::Spread(self.association_times.read()),
            ),
            ("answer_seconds", Reading::Spreads(answered.collect())),
            ("store_bytes", Reading::Spread(self.store_sizes.read())),
        ]
    }
}

// The time begins when the request is whole, so that a slow line of the peer's is not counted as slowness of this node,
// and ends with the final response given to the write queue.
/// An operation of the peer's that is not finally answered; counted as in progress while this lives.
#[derive(Debug)]
pub(crate) struct Running {
    metrics: Arc<Metrics>,
    field: CommandField,
    since: Instant,
}

impl Running {
    /// Begins now, with the command set.
    pub(crate) fn new(metrics: &Arc<Metrics>, field: CommandField) -> Self {
        metrics.operations.fetch_add(1, Ordering::Relaxed);
        Self {
            metrics: Arc::clone(metrics),
            field,
            since: Instant::now(),
        }
    }

    /// The data set is here too: it begins now.
    pub(crate) fn is_whole(&mut self) {
        self.since = Instant::now();
    }

    /// It has its final response.
    pub(crate) fn answered(&self, status: Status) {
        let known = SERVICES.iter().position(|(field, _)| *field == self.field);
        let times = &self.metrics.answer_times;
        let last = SERVICES.len().saturating_sub(1);
        if let Some(times) = times.get(known.unwrap_or(last)) {
            times.observe_time(self.since.elapsed());
        }
        if self.field == CommandField::C_STORE_RQ {
            self.metrics.answered_store(status);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.operations.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a folder of instances counts.
#[derive(Debug)]
pub(crate) struct Syncs {
    files: Histogram,
    folders: Histogram,
    sharers: Histogram,
}

impl Default for Syncs {
    fn default() -> Self {
        Self {
            files: Histogram::of_times(ANSWER),
            folders: Histogram::of_times(ANSWER),
            sharers: Histogram::new(SHARERS, 1.0),
        }
    }
}

impl Syncs {
    /// A file was synced.
    pub(crate) fn file(&self, time: Duration) {
        self.files.observe_time(time);
    }

    /// A folder was, for so many stores at once.
    pub(crate) fn folder(&self, time: Duration, sharers: usize) {
        self.folders.observe_time(time);
        self.sharers.observe(sharers as u64);
    }

    /// All of it, as it stands.
    pub(crate) fn read(&self) -> Readings {
        vec![
            (
                "sync_seconds",
                Reading::Spreads(vec![
                    ("file", self.files.read()),
                    ("folder", self.folders.read()),
                ]),
            ),
            ("sync_stores", Reading::Spread(self.sharers.read())),
        ]
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "no arithmetic on them")]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::new(SHARERS, 1.0);
        for value in [0, 1, 2, 3, 4, 64, 65, 1000] {
            histogram.observe(value);
        }
        let Spread {
            bounds,
            counts,
            sum,
        } = histogram.read();
        assert_eq!(bounds, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]);
        assert_eq!(counts, [2, 1, 2, 0, 0, 0, 1, 2]);
        assert_eq!(sum, 1139.0);
    }

    #[test]
    fn times_are_shown_in_seconds() {
        let histogram = Histogram::of_times(LIFE);
        histogram.observe_time(Duration::from_millis(10));
        histogram.observe_time(Duration::from_millis(1500));
        let read = histogram.read();
        assert_eq!(read.counts, [1, 0, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!((read.bounds[0], read.sum), (0.01, 1.51));
    }

    #[test]
    fn bounds_grow() {
        for bounds in [ANSWER, LIFE, SIZE, SHARERS] {
            assert!(bounds.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn each_message_has_a_count_and_each_request_a_service() {
        let counts = ByMessage::default();
        for row in MESSAGES {
            counts.add(row.field);
            let known = SERVICES.iter().any(|(field, _)| *field == row.field);
            let asks = row.field.response().is_some();
            assert_eq!(known, asks, "{}", row.name);
        }
        counts.add(CommandField(0x0777));
        let Reading::Numbers(read) = counts.read() else {
            panic!("numbers");
        };
        assert!(read.iter().all(|(_, count)| *count == 1), "{read:?}");
    }
}
