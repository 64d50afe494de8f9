//! What one association, and one server, may use. A peer cannot make us exceed these by asking.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Limits of one association.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest P-DATA-TF we announce, in bytes.
    pub max_length: u32,
    /// Largest A-ASSOCIATE-RQ or -AC, in bytes.
    pub associate: usize,
    /// Largest command set, in bytes.
    pub command: usize,
    /// Largest data set of an N-service kept in memory, in bytes.
    pub dataset: usize,
    /// Largest identifier of a query or retrieval, in bytes.
    pub identifier: usize,
    /// A C-STORE data set for a handler that is longer than this goes to a file, in bytes.
    pub spool_above: usize,
    /// Requests of the peer that wait beyond the negotiated window.
    pub queued: usize,
    /// Requests of one association that are answered although no service could be meant.
    pub errors: usize,
    /// Longest data set of a C-STORE, wherever it goes, in bytes.
    pub instance: u64,
    /// Bytes per second that a message must make on average while it arrives; 0 is any.
    pub read_rate: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_length: 131_072,
            associate: 1 << 20,
            command: 65_536,
            dataset: 64 << 20,
            identifier: 1 << 20,
            spool_above: 1 << 20,
            queued: 64,
            errors: 64,
            instance: 64 << 30,
            read_rate: 1024,
        }
    }
}

/// How many bytes a budget has by default.
pub const BYTE_BUDGET: usize = 256 << 20;

/// Bytes received and not yet disposed of, over all associations that share it. When it is full, sockets wait.
#[derive(Clone, Debug)]
pub struct Budget(Arc<BudgetState>);

// One number for a whole server, without an order between its users: relaxed operations are enough, since the number
// bounds memory and guards none.
#[derive(Debug)]
struct BudgetState {
    limit: usize,
    used: AtomicUsize,
    room: Notify,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(BudgetState {
            limit,
            used: AtomicUsize::new(0),
            room: Notify::new(),
        }))
    }

    /// Bytes in use now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.used() >= self.0.limit
    }

    /// Charges what is about to be made of the bytes, if there is room for it.
    ///
    /// # Errors
    /// The limit, when there is not.
    pub fn reserve(&self, bytes: usize) -> Result<Reserved, usize> {
        // What is still to be made can be refused, so it is: this is the only charge that fails.
        let limit = self.0.limit;
        let room = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= limit);
        self.0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .map_err(|_| limit)?;
        let charge = Charge {
            budget: self.clone(),
            bytes,
        };
        Ok(Reserved { _charge: charge })
    }

    /// An account on which nothing is charged yet.
    pub(crate) fn account(&self) -> Charge {
        Charge {
            budget: self.clone(),
            bytes: 0,
        }
    }

    /// Resolves when something was given back after the call.
    pub(crate) async fn room(&self) {
        // In this order: what is given back between looking and waiting must not be missed.
        let room = self.0.room.notified();
        if self.is_exhausted() {
            room.await;
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(BYTE_BUDGET)
    }
}

/// Room in a budget; given back when dropped.
#[derive(Debug)]
pub struct Reserved {
    _charge: Charge,
}

/// Bytes charged to a budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Budget,
    bytes: usize,
}

impl Charge {
    pub(crate) fn add(&mut self, bytes: usize) {
        // What has come is charged even above the limit, since it is in memory already: the association stops reading,
        // and waits for room before it takes more.
        self.bytes = self.bytes.saturating_add(bytes);
        self.budget.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Charges what is missing up to `bytes`.
    pub(crate) fn cover(&mut self, bytes: usize) {
        self.add(bytes.saturating_sub(self.bytes));
    }

    /// Splits everything charged so far off into an account of its own.
    pub(crate) fn take(&mut self) -> Self {
        Self {
            budget: self.budget.clone(),
            bytes: std::mem::take(&mut self.bytes),
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
            // All of them: each looks again whether there is room for it.
            self.budget.0.room.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_fits_or_is_refused_and_goes_back() {
        let budget = Budget::new(100);
        let mut received = budget.account();
        received.add(30);
        let first = budget.reserve(70).unwrap();
        assert_eq!(budget.reserve(1).unwrap_err(), 100);
        assert_eq!(budget.used(), 100);
        drop(first);
        assert_eq!(budget.reserve(71).unwrap_err(), 100);
        assert!(budget.reserve(usize::MAX).is_err());
        assert_eq!(budget.used(), 30);
    }
}
