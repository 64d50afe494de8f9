//! Followers of events, and the hub that hands events to them.

// `wanted` is the union of what all followers want, read without a lock before an event is built: a server that no
// program follows pays one atomic load for each place where something happens. A follower has a bounded queue of its
// own; one that is slow loses the newest events and learns how many, and delays neither the others nor a driver.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::events::event::{Event, EventRecord, Kinds};
use crate::facts::{AssociationId, no_titles};
use crate::queue::{Queue, Sender};

/// The hub of events of a node, or of one association that this node requested. Clones share one hub.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Hub>);

#[derive(Debug, Default)]
struct Hub {
    /// What any follower wants.
    wanted: AtomicU32,
    /// Events that a follower did not get, counted from the start.
    lost: AtomicU64,
    followers: Mutex<Followers>,
}

#[derive(Debug, Default)]
struct Followers {
    next: u64,
    list: Vec<Entry>,
    /// No more events will come.
    closed: bool,
    /// How many events were ever built.
    #[cfg(test)]
    built: usize,
}

/// The giving end of a follower.
#[derive(Debug)]
struct Entry {
    number: u64,
    kinds: Kinds,
    /// Of this association only.
    association: Option<AssociationId>,
    sender: Sender<Arc<EventRecord>>,
    lost: Arc<AtomicU64>,
}

/// The reading end of events. When it is dropped, events that only it wanted are not built any more.
#[derive(Debug)]
pub struct Follower {
    number: u64,
    queue: Queue<Arc<EventRecord>>,
    lost: Arc<AtomicU64>,
    hub: Weak<Hub>,
}

impl Events {
    /// Adds a follower. At most `most` events wait for it; the newest ones beyond are lost, and counted.
    #[must_use]
    pub fn follow(
        &self,
        kinds: Kinds,
        association: Option<AssociationId>,
        most: usize,
    ) -> Follower {
        let (sender, queue) = Queue::new(most);
        let lost = Arc::new(AtomicU64::new(0));
        let mut followers = self.0.followers.lock();
        let number = followers.next;
        followers.next = number.wrapping_add(1);
        if !followers.closed {
            followers.list.push(Entry {
                number,
                kinds,
                association,
                sender,
                lost: Arc::clone(&lost),
            });
        }
        self.0.update(&followers);
        drop(followers);
        Follower {
            number,
            queue,
            lost,
            hub: Arc::downgrade(&self.0),
        }
    }

    /// Binds the followers without an association to this one: they end with it.
    pub(crate) fn adopt(&self, association: AssociationId) {
        // A requestor's followers exist before its association has a number: they follow a hub that is its own.
        for entry in &mut self.0.followers.lock().list {
            entry.association = entry.association.or(Some(association));
        }
    }

    /// The association has ended and its last event is out: its followers end too.
    pub(crate) fn over(&self, association: AssociationId) {
        let mut followers = self.0.followers.lock();
        followers
            .list
            .retain(|entry| entry.association != Some(association));
        self.0.update(&followers);
    }

    /// Ends all followers: no more events will come, of any association.
    pub fn close(&self) {
        let mut followers = self.0.followers.lock();
        followers.list.clear();
        followers.closed = true;
        self.0.update(&followers);
    }

    /// How many events were dropped because a follower was slow.
    pub(crate) fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Whether one of these kinds has a follower.
    pub(crate) fn wants(&self, kinds: Kinds) -> bool {
        kinds.meets(Kinds(self.0.wanted.load(Ordering::Relaxed)))
    }

    /// Hands an event to every follower that wants it.
    pub(crate) fn emit(
        &self,
        association: AssociationId,
        kinds: Kinds,
        told: impl FnOnce() -> EventRecord,
    ) {
        if !self.wants(kinds) {
            return;
        }
        // Under the lock, so that all followers get events in one order. The queues do not wait for their readers.
        let mut followers = self.0.followers.lock();
        let followers = &mut *followers;
        let mut wanting = followers
            .list
            .iter()
            .filter(|entry| {
                kinds.meets(entry.kinds) && entry.association.is_none_or(|id| id == association)
            })
            .peekable();
        if wanting.peek().is_none() {
            return;
        }
        #[cfg(test)]
        {
            followers.built = followers.built.saturating_add(1);
        }
        let told = Arc::new(told());
        for entry in wanting {
            if !entry.give(&told) {
                self.0.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn built(&self) -> usize {
        self.0.followers.lock().built
    }
}

impl Hub {
    fn update(&self, followers: &Followers) {
        let all = followers.list.iter().fold(0, |all, one| all | one.kinds.0);
        self.wanted.store(all, Ordering::Relaxed);
    }

    fn with(&self, change: impl FnOnce(&mut Followers)) {
        let mut followers = self.followers.lock();
        change(&mut followers);
        self.update(&followers);
    }
}

impl Entry {
    /// Whether the queue had room for the event.
    fn give(&self, told: &Arc<EventRecord>) -> bool {
        // The count goes where the gap is: before the first event that fits again. It takes a place of its own, and
        // when that is the last one, this event is lost as well.
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 && self.sender.send(lost_event(lost)).is_err() {
            self.lost
                .fetch_add(lost.saturating_add(1), Ordering::Relaxed);
            return false;
        }
        let kept = self.sender.send(Arc::clone(told)).is_ok();
        if !kept {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        kept
    }
}

impl Follower {
    /// Replaces the kinds that the follower wants.
    pub fn want(&self, kinds: Kinds) {
        if let Some(hub) = self.hub.upgrade() {
            hub.with(|followers| {
                for entry in &mut followers.list {
                    if entry.number == self.number {
                        entry.kinds = kinds;
                    }
                }
            });
        }
    }

    /// Ends following; events from before can still be taken.
    pub fn close(&self) {
        if let Some(hub) = self.hub.upgrade() {
            hub.with(|followers| followers.list.retain(|entry| entry.number != self.number));
        }
    }

    /// The next event; `None` when there will be none. Nothing is lost when it is dropped while it waits.
    pub async fn next(&self) -> Option<Arc<EventRecord>> {
        match self.queue.next().await {
            Some(told) => Some(told),
            None => self.last_lost(),
        }
    }

    /// The next event if there is one now.
    #[must_use]
    pub fn try_next(&self) -> Option<Arc<EventRecord>> {
        self.queue.try_next()
    }

    /// The events there are, so many at most.
    #[must_use]
    pub fn take(&self, most: usize) -> Vec<Arc<EventRecord>> {
        let mut taken = self.queue.take(most);
        if taken.is_empty() && self.queue.is_over() {
            taken.extend(self.last_lost());
        }
        taken
    }

    /// Waits until there is something to take, or there will be nothing.
    pub async fn ready(&self) {
        self.queue.ready().await;
    }

    /// There is nothing to take, and there will be nothing.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.queue.is_over() && self.lost.load(Ordering::Relaxed) == 0
    }

    /// What was lost behind the last event that was kept.
    fn last_lost(&self) -> Option<Arc<EventRecord>> {
        match self.lost.swap(0, Ordering::Relaxed) {
            0 => None,
            lost => Some(lost_event(lost)),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.close();
    }
}

fn lost_event(lost: u64) -> Arc<EventRecord> {
    Arc::new(EventRecord {
        association: 0,
        titles: no_titles(),
        peer: None,
        at: SystemTime::now(),
        event: Event::Lost(lost),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    const OTHER: AssociationId = 8;
    const OURS: AssociationId = 7;

    fn emit(events: &Events, association: AssociationId, kinds: Kinds) {
        events.emit(association, kinds, || EventRecord {
            association,
            titles: no_titles(),
            peer: None,
            at: SystemTime::now(),
            event: Event::Connected(None),
        });
    }

    /// Of which associations there are events now; 1000 and more for what was lost.
    fn all(follower: &Follower) -> Vec<AssociationId> {
        std::iter::from_fn(|| follower.try_next())
            .map(|told| match told.event {
                Event::Lost(count) => count.saturating_add(1000),
                _ => told.association,
            })
            .collect()
    }

    #[test]
    fn what_nobody_wants_is_not_built() {
        let events = Events::default();
        emit(&events, OURS, Kinds::PDU);
        let follower = events.follow(Kinds::STATE | Kinds::ENDED, Some(OURS), 10);
        emit(&events, OURS, Kinds::PDU);
        emit(&events, OTHER, Kinds::STATE);
        assert_eq!(events.built(), 0);
        emit(&events, OURS, Kinds::STATE);
        assert_eq!((events.built(), all(&follower)), (1, vec![OURS]));
        drop(follower);
        emit(&events, OURS, Kinds::STATE);
        assert_eq!(events.built(), 1);
    }

    #[test]
    fn each_follower_gets_what_it_wants_and_an_event_is_built_once() {
        let events = Events::default();
        let pdus = events.follow(Kinds::PDU, None, 10);
        let problems = events.follow(Kinds::PROBLEM, None, 10);
        let both = events.follow(Kinds::PDU | Kinds::ENDED, Some(OURS), 10);
        emit(&events, OURS, Kinds::PDU);
        emit(&events, OTHER, Kinds::PDU);
        emit(&events, OURS, Kinds::ENDED.problem_if(true));
        emit(&events, OTHER, Kinds::ENDED.problem_if(false));
        assert_eq!(all(&pdus), [OURS, OTHER]);
        assert_eq!(all(&problems), [OURS]);
        assert_eq!(all(&both), [OURS, OURS]);
        assert_eq!(events.built(), 3);
        pdus.want(Kinds::NONE);
        both.want(Kinds::NONE);
        emit(&events, OURS, Kinds::PDU);
        assert_eq!(events.built(), 3);
    }

    #[tokio::test]
    async fn a_slow_follower_loses_the_newest_and_is_told_how_many() {
        let events = Events::default();
        let follower = events.follow(Kinds::PDU, None, 2);
        for association in 1..=5 {
            emit(&events, association, Kinds::PDU);
        }
        assert_eq!(all(&follower), [1, 2]);
        emit(&events, 6, Kinds::PDU);
        emit(&events, 7, Kinds::PDU);
        assert_eq!(
            all(&follower),
            [1003, 6],
            "three, and there is room for one"
        );
        events.close();
        assert_eq!(events.lost(), 4);
        let last = follower.next().await.unwrap();
        assert!(matches!(last.event, Event::Lost(1)));
        assert!(follower.next().await.is_none());
    }

    #[tokio::test]
    async fn following_ends_with_the_association_or_with_the_node() {
        let events = Events::default();
        let all_there_is = events.follow(Kinds::PDU, None, 9);
        let one = events.follow(Kinds::PDU, Some(OURS), 9);
        events.over(OURS);
        assert!(one.next().await.is_none());
        emit(&events, OURS, Kinds::PDU);
        events.close();
        assert!(all_there_is.next().await.is_some());
        assert!(all_there_is.next().await.is_none());
        assert!(events.follow(Kinds::PDU, None, 9).next().await.is_none());
    }

    #[tokio::test]
    async fn who_came_before_the_association_follows_it() {
        let events = Events::default();
        let follower = events.follow(Kinds::PDU, None, 9);
        events.adopt(OURS);
        emit(&events, OTHER, Kinds::PDU);
        emit(&events, OURS, Kinds::PDU);
        events.over(OURS);
        assert_eq!(follower.next().await.unwrap().association, OURS);
        assert!(follower.next().await.is_none());
    }
}
