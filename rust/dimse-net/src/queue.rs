//! What waits for the user: pulled by threads and tasks alike. Each item goes to one of them and wakes no other.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

/// The pulling end. Those who wait have their turns in order.
#[derive(Debug)]
pub struct Queue<T>(Arc<Shared<T>>);

/// The giving end; clones give to the same queue.
#[derive(Debug)]
pub struct Sender<T>(Arc<Closing<T>>);

#[derive(Debug)]
struct Shared<T> {
    items: Mutex<VecDeque<T>>,
    /// A permit an item, or more after [`Queue::take`]; closed when no more will come.
    ready: Semaphore,
    most: usize,
}

/// Closes the queue when the last sender goes.
#[derive(Debug)]
struct Closing<T>(Weak<Shared<T>>);

impl<T> Queue<T> {
    /// A queue of at most so many items.
    #[must_use]
    pub fn new(most: usize) -> (Sender<T>, Self) {
        let shared = Arc::new(Shared {
            items: Mutex::default(),
            ready: Semaphore::new(0),
            most,
        });
        let sender = Sender(Arc::new(Closing(Arc::downgrade(&shared))));
        (sender, Self(shared))
    }

    /// The next item; `None` when there will be none. Nothing is lost when it is dropped while it waits.
    pub async fn next(&self) -> Option<T> {
        // A permit says that there is an item, not which: a reader that is woken may find that `take` was faster, and
        // waits again. The semaphore is closed with the last sender, and what is left is still given out.
        loop {
            let open = self.0.ready.acquire().await.map(SemaphorePermit::forget);
            let item = self.0.items.lock().pop_front();
            if item.is_some() || open.is_err() {
                return item;
            }
        }
    }

    /// Waits until there is an item, without taking it, or there will be none.
    pub async fn ready(&self) {
        while let Ok(permit) = self.0.ready.acquire().await {
            // The permit is only looked at. One without an item is left over from `take`, and used up here.
            if !self.0.items.lock().is_empty() {
                return; // and the permit goes back
            }
            permit.forget();
        }
    }

    /// The items there are, so many at most, also those that a waiting reader is being woken for.
    #[must_use]
    pub fn take(&self, most: usize) -> Vec<T> {
        let mut items = self.0.items.lock();
        let count = most.min(items.len());
        self.0.ready.forget_permits(count);
        items.drain(..count).collect()
    }

    /// There is no item, and there will be none.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.ready.is_closed() && self.0.items.lock().is_empty()
    }

    /// Takes no more, and drops what there is.
    pub fn close(&self) {
        self.0.ready.close();
        // Dropped when it is unlocked: an item may have more to do at its end than a lock should wait for.
        let items = std::mem::take(&mut *self.0.items.lock());
        drop(items);
    }

    /// The next item if there is one now that no reader is being woken for.
    #[must_use]
    pub fn try_next(&self) -> Option<T> {
        match self.0.ready.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::NoPermits) => return None,
            Err(TryAcquireError::Closed) => {}
        }
        self.0.items.lock().pop_front()
    }
}

impl<T> Sender<T> {
    /// Gives an item to the reader that has waited longest.
    ///
    /// # Errors
    /// The item, when the queue is full or has no reader any more.
    pub fn send(&self, item: T) -> Result<(), T> {
        let Some(shared) = self.0.0.upgrade() else {
            return Err(item);
        };
        // The item before its permit: a reader with a permit finds an item.
        let mut items = shared.items.lock();
        if items.len() >= shared.most || shared.ready.is_closed() {
            return Err(item);
        }
        items.push_back(item);
        drop(items);
        shared.ready.add_permits(1);
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Closing<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.ready.close();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn items_come_in_order_and_then_none() {
        let (sender, queue) = Queue::new(usize::MAX);
        let other = sender.clone();
        sender.send(1).unwrap();
        drop(sender);
        other.send(2).unwrap();
        drop(other);
        assert_eq!(queue.next().await, Some(1));
        assert_eq!(queue.try_next(), Some(2));
        assert_eq!(queue.next().await, None);
        assert_eq!(queue.try_next(), None);
    }

    #[tokio::test]
    async fn whoever_waits_is_told_that_no_more_will_come() {
        let (sender, queue) = Queue::<u8>::new(usize::MAX);
        let (last, ()) = tokio::join!(queue.next(), async { drop(sender) });
        assert_eq!(last, None);
    }

    #[tokio::test]
    async fn looking_takes_nothing() {
        let (sender, queue) = Queue::new(usize::MAX);
        tokio::join!(queue.ready(), async { sender.send(1).unwrap() });
        drop(sender);
        assert!(!queue.is_over());
        assert_eq!(queue.try_next(), Some(1));
        queue.ready().await;
        assert!(queue.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_from_those_who_wait_does_not_end_their_wait() {
        let (sender, queue) = Queue::new(usize::MAX);
        let short = Duration::from_millis(1);
        let mut waiting = Box::pin(queue.next());
        let mut looking = Box::pin(queue.ready());
        assert!(timeout(short, &mut waiting).await.is_err());
        assert!(timeout(short, &mut looking).await.is_err());
        for item in 1..=5 {
            sender.send(item).unwrap();
        }
        assert_eq!(queue.take(4), [1, 2, 3, 4]);
        assert_eq!(queue.take(4), [5]);
        assert!(timeout(short, &mut waiting).await.is_err());
        assert!(timeout(short, &mut looking).await.is_err());
        sender.send(6).unwrap();
        assert_eq!(waiting.await, Some(6));
        sender.send(7).unwrap();
        looking.await;
        drop(sender);
        assert_eq!(queue.next().await, Some(7));
        assert_eq!(queue.next().await, None);
    }

    #[tokio::test]
    async fn what_is_not_taken_goes_back_to_who_gives() {
        let (sender, queue) = Queue::new(1);
        sender.send(1).unwrap();
        assert_eq!(sender.send(2), Err(2));
        drop(queue);
        assert_eq!(sender.send(3), Err(3));
    }

    #[tokio::test]
    async fn what_is_closed_takes_nothing_and_gives_nothing() {
        let (sender, queue) = Queue::new(usize::MAX);
        sender.send(1).unwrap();
        queue.close();
        assert_eq!(sender.send(2), Err(2));
        assert_eq!(queue.next().await, None);
        assert!(queue.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_lost_with_those_who_stop_waiting() {
        let (sender, queue) = Queue::new(usize::MAX);
        let short = Duration::from_millis(1);
        assert!(timeout(short, queue.next()).await.is_err());
        {
            let mut waiting = Box::pin(queue.next());
            assert!(timeout(short, &mut waiting).await.is_err());
            sender.send(1).unwrap(); // is on its way to one that does not look any more
        }
        assert_eq!(queue.next().await, Some(1));
    }

    #[tokio::test]
    async fn those_who_wait_have_one_item_each_in_their_order() {
        let (sender, queue) = Queue::new(usize::MAX);
        let give = async {
            for item in 1..=3 {
                sender.send(item).unwrap();
            }
        };
        let all = tokio::join!(biased; queue.next(), queue.next(), queue.next(), give);
        assert_eq!(all, (Some(1), Some(2), Some(3), ()));
    }
}
