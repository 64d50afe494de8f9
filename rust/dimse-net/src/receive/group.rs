//! One folder sync for all stores that wait for one (group commit).

// A sync takes a disk's round trip and makes every name durable that was there when it began. So a store
// that comes while one runs waits for the next, which one of the waiting does for all. There is no timer: a store that
// is alone does not wait.
//
// A sync that runs is no use to a store that comes now: its name may have been written after the sync began. That is
// why there are two rounds for each folder, the one that runs and the next. When the running one has ended, one of those
// who wait for the next becomes its leader, and closes the round before it calls `sync`: later ones open another. All
// of a round get the leader's outcome, also when its sync fails or panics.
//
// Nobody is woken for nothing: those whose round has ended, all at once, and one to lead the next. With one condition
// for all, every end of a sync woke every store of every folder, to look and to sleep again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::mem;
use std::sync::{Arc, Condvar, Mutex as StdMutex, MutexGuard, PoisonError};

use parking_lot::Mutex;

use crate::receive::refusal::{OUT_OF_RESOURCES, Refusal};

/// Which folder: device and inode.
pub(crate) type Identity = (u64, u64);

type Outcome = Result<(), Refusal>;

/// The syncs in progress, folder by folder.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// The round after the one that runs. A folder without a running sync is not here.
    next: Mutex<HashMap<Identity, Arc<Round>>>,
}

/// One sync, and those who wait for it.
#[derive(Debug, Default)]
struct Round {
    // Not parking_lot's condition: that wakes one after the other, and here all have the same to do.
    stage: StdMutex<Stage>,
    changed: Condvar,
}

#[derive(Clone, Debug, Default)]
enum Stage {
    /// Another sync runs, or this one does.
    #[default]
    Waiting,
    /// One of those who wait is to lead.
    Due,
    Ended(Outcome),
}

impl Round {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outcome, or `None` for one that is to lead.
    fn wait(&self) -> Option<Outcome> {
        let mut stage = self.stage();
        loop {
            match &*stage {
                Stage::Waiting => {
                    stage = self
                        .changed
                        .wait(stage)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                Stage::Due => {
                    *stage = Stage::Waiting;
                    return None;
                }
                Stage::Ended(outcome) => return Some(outcome.clone()),
            }
        }
    }

    fn appoint(&self) {
        *self.stage() = Stage::Due;
        self.changed.notify_one();
    }

    fn end(&self, outcome: Outcome) {
        *self.stage() = Stage::Ended(outcome);
        self.changed.notify_all();
    }
}

impl Group {
    /// Returns when a sync that began after this call has ended, as it ended. `sync` is called if it is this
    /// caller's turn to sync for all, with the number of stores. The caller holds the folder open, so that nothing else
    /// gets its identity.
    pub(crate) fn sync(&self, folder: Identity, sync: impl FnOnce(usize) -> Outcome) -> Outcome {
        let round = match self.next.lock().entry(folder) {
            Entry::Occupied(next) => Some(Arc::clone(next.get())),
            Entry::Vacant(none) => {
                none.insert(Arc::default());
                None
            }
        };
        let round = match round {
            None => Arc::default(),
            Some(round) => {
                if let Some(outcome) = round.wait() {
                    return outcome;
                }
                // Closed: who comes now waits for the round after this one.
                self.next.lock().insert(folder, Arc::default());
                round
            }
        };
        let mut leader = Leader {
            group: self,
            folder,
            round,
            outcome: Err(Refusal::new(
                OUT_OF_RESOURCES,
                "cannot store",
                "a fault of this node: the thread that syncs the folder panicked",
            )),
        };
        // Every waiting store holds this round; one that comes now holds the next.
        let sharers = Arc::strong_count(&leader.round);
        leader.outcome = sync(sharers);
        leader.outcome.clone()
    }
}

/// Runs one sync; hands its outcome to the others when dropped, even by a panic.
struct Leader<'a> {
    group: &'a Group,
    folder: Identity,
    round: Arc<Round>,
    outcome: Outcome,
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let mut folders = self.group.next.lock();
        if let Some(next) = folders.get_mut(&self.folder) {
            if self.outcome.is_err() {
                // The system may have given up names that came while it ran, and reports that only once: a second
                // sync would succeed and prove nothing. They fail with this one.
                mem::take(next).end(self.outcome.clone());
            }
            // One that waits holds the round; none can come while the folders are locked.
            if Arc::strong_count(next) > 1 {
                next.appoint();
            } else {
                folders.remove(&self.folder);
            }
        }
        drop(folders);
        self.round.end(self.outcome.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    const FOLDER: Identity = (1, 2);

    fn failure() -> Refusal {
        Refusal::new(0xa701, "storage failed", "the disk said no")
    }

    /// One leads and is held in its sync until eight more wait; gives how all ended, and how many syncs ran.
    fn crowd(first: impl FnOnce() -> Result<(), Refusal> + Send) -> (Vec<bool>, usize) {
        let group = Group::default();
        let syncs = AtomicUsize::new(0);
        let gate = Barrier::new(2);
        let ended = thread::scope(|scope| {
            let (group, syncs, gate) = (&group, &syncs, &gate);
            let leader = scope.spawn(move || {
                group.sync(FOLDER, |_| {
                    syncs.fetch_add(1, Ordering::Relaxed);
                    gate.wait();
                    gate.wait();
                    first()
                })
            });
            gate.wait();
            let others: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(move || {
                        group.sync(FOLDER, |sharers| {
                            assert_eq!(sharers, 8);
                            syncs.fetch_add(1, Ordering::Relaxed);
                            Ok(())
                        })
                    })
                })
                .collect();
            while Arc::strong_count(&group.next.lock()[&FOLDER]) < 9 {
                thread::yield_now();
            }
            group.sync((1, 3), |_| Ok(())).unwrap(); // another folder does not wait
            gate.wait();
            std::iter::once(leader)
                .chain(others)
                .map(|thread| thread.join().is_ok_and(|outcome| outcome.is_ok()))
                .collect()
        });
        assert!(group.next.lock().is_empty());
        (ended, syncs.into_inner())
    }

    #[test]
    fn all_who_wait_share_the_next_sync() {
        assert_eq!(crowd(|| Ok(())), (vec![true; 9], 2));
    }

    #[test]
    fn all_who_wait_fail_with_the_sync_that_fails() {
        assert_eq!(crowd(|| Err(failure())), (vec![false; 9], 1));
    }

    #[test]
    fn a_panic_fails_those_who_wait_and_holds_nobody() {
        assert_eq!(crowd(|| panic!("on demand")), (vec![false; 9], 1));
    }

    #[test]
    fn whoever_comes_after_a_failure_has_a_sync_of_its_own() {
        let group = Group::default();
        assert_eq!(group.sync(FOLDER, |_| Err(failure())), Err(failure()));
        assert_eq!(group.sync(FOLDER, |_| Ok(())), Ok(()));
    }
}
