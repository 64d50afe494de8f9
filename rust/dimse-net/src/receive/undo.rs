//! Instances that are in the folder until the user has decided: whose turn it is, and how a refusal puts back what was
//! there before.

// While the verdict on an instance is open, another one with the same SOP Instance UID is not published: it waits.
// So what is there before a store is always decided, and there is one thing to put back.
//
// The turn of a UID is a semaphore with one permit, in a map that holds it only while a store has or wants the turn:
// a server that stores millions of UIDs keeps as many entries as it has open verdicts.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dimse_proto::Uid;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::receive::folder::Folder;
use crate::receive::group::Identity;
use crate::receive::publish::{Place, file_name, turn_of};
use crate::receive::refusal::Refusal;

/// The right to publish instances of a UID, for one of them at a time.
#[derive(Debug)]
pub struct Hold {
    folder: Arc<Folder>,
    uid: Uid,
    permit: Option<OwnedSemaphorePermit>,
}

impl Folder {
    /// Takes the turn of a UID if it is free.
    #[must_use]
    pub fn try_hold(self: &Arc<Self>, uid: &Uid) -> Option<Hold> {
        let mut hold = self.unheld(uid);
        let permit = self.turns_of(uid).try_acquire_owned().ok()?;
        hold.permit = Some(permit);
        Some(hold)
    }

    /// Waits for the turn of a UID, in the order of those who ask.
    pub(crate) async fn hold(self: &Arc<Self>, uid: &Uid) -> Hold {
        let mut hold = self.unheld(uid);
        // It is never closed.
        hold.permit = self.turns_of(uid).acquire_owned().await.ok();
        hold
    }

    /// Made before the turn is asked for, so that a wait that is given up leaves nothing behind.
    fn unheld(self: &Arc<Self>, uid: &Uid) -> Hold {
        Hold {
            folder: Arc::clone(self),
            uid: uid.clone(),
            permit: None,
        }
    }

    fn turns_of(&self, uid: &Uid) -> Arc<Semaphore> {
        let mut holds = self.holds.lock();
        let turns = holds.entry(uid.clone());
        Arc::clone(turns.or_insert_with(|| Arc::new(Semaphore::new(1))))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // The permit holds the semaphore too: without it the count says whether another store has or wants the turn.
        self.permit = None;
        let mut holds = self.folder.holds.lock();
        if holds
            .get(&self.uid)
            .is_some_and(|turns| Arc::strong_count(turns) == 1)
        {
            holds.remove(&self.uid);
        }
    }
}

/// How a published instance is taken back. Dropped, the instance stays.
#[derive(Debug)]
pub(crate) struct Undo {
    pub(crate) hold: Hold,
    /// Study and Series Instance UID, in layout `study`.
    pub(crate) series: Option<(Uid, Uid)>,
    /// The file that was published.
    pub(crate) file: Identity,
    /// The name that the earlier version got.
    pub(crate) kept: Option<OsString>,
    /// It was there already: nothing was published.
    pub(crate) identical: bool,
}

impl Undo {
    /// Puts back what was there before, as durable as the folder's mode promises: a new file goes, an earlier version
    /// takes its place again, an identical one stays. What is under the name by now and was not published by this
    /// store is left alone.
    ///
    /// # Errors
    /// When that fails; then the refused instance may still be there, whole, and an earlier version beside it.
    pub(crate) fn put_back(&self) -> Result<(), Refusal> {
        if self.identical {
            return Ok(());
        }
        let folder = &self.hold.folder;
        let Some(place) = folder.existing(self.series.as_ref())? else {
            return Ok(());
        };
        folder.take_back(&place, self)?;
        if let Some((study, series)) = &self.series {
            folder.leave(study, series);
        }
        Ok(())
    }
}

impl Folder {
    /// The folder of a series, unless it was removed.
    fn existing(&self, series: Option<&(Uid, Uid)>) -> Result<Option<Place>, Refusal> {
        let mut place = Place {
            handle: Arc::clone(&self.handle.lock()),
            path: self.root.clone(),
            made: Vec::new(),
        };
        for uid in series
            .into_iter()
            .flat_map(|(study, series)| [study, series])
        {
            let name = OsStr::from_bytes(uid.as_bytes());
            place.path.push(name);
            match self.files.open_folder(&place.handle, name) {
                Ok(handle) => place.handle = Arc::new(handle),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(Refusal::io("open a folder", &error)),
            }
        }
        Ok(Some(place))
    }

    fn take_back(&self, place: &Place, undo: &Undo) -> Result<(), Refusal> {
        let name = file_name(&undo.hold.uid);
        let target = (&*place.handle, &*name);
        let _turn = turn_of(&name);
        let current = match self.files.open(&place.handle, &name) {
            Ok(current) => self.files.identity(&current),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => Err(error),
        };
        match current {
            // Inode and device: a name that was taken over by another store, or by other software, is left alone.
            Ok(file) if file == undo.file => {}
            Ok(_another) => return Ok(()),
            Err(error) => return Err(Refusal::io("look at the refused instance", &error)),
        }
        // One step: at every moment the name has the refused instance or the earlier version.
        // A rename puts the earlier version in the place of the refused one. Without an earlier version, or when it
        // was taken away meanwhile, the refused one is removed.
        let returned = match &undo.kept {
            Some(kept) => match self.files.replace((&place.handle, kept), target) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                replaced => Some(replaced),
            },
            None => None,
        };
        returned
            .unwrap_or_else(|| self.files.remove(&place.handle, &name))
            .map_err(|error| Refusal::io("put back what was there before", &error))?;
        self.sync_names(&place.handle)
    }

    /// Removes the folders of a series, where they are empty. Another store that is on its way there makes them anew.
    fn leave(&self, study: &Uid, series: &Uid) {
        let root = Arc::clone(&self.handle.lock());
        // Before the removal: a store that is on its way must not note the folder as durable behind it.
        self.removals.fetch_add(1, Ordering::SeqCst);
        let (study, series) = (study.as_bytes(), series.as_bytes());
        let (study, series) = (OsStr::from_bytes(study), OsStr::from_bytes(series));
        if let Ok(parent) = self.files.open_folder(&root, study)
            && self.files.remove_folder(&parent, series).is_ok()
        {
            let _not_empty = self.files.remove_folder(&root, study);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::files::disk::Disk;
    use crate::receive::folder::{Duplicates, Durability, Layout};

    #[tokio::test(start_paused = true)]
    async fn instances_of_a_uid_take_turns_and_leave_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let (mode, layout) = (Durability::Fast, Layout::Flat);
        let folder = Folder::open(
            root.path(),
            mode,
            layout,
            Duplicates::KeepBoth,
            Arc::new(Disk),
        );
        let folder = Arc::new(folder.unwrap());
        let (one, two) = (Uid::from_static("1.2"), Uid::from_static("1.3"));
        let hold = folder.try_hold(&one).unwrap();
        assert!(folder.try_hold(&one).is_none());
        let other = folder.try_hold(&two).unwrap();
        let short = Duration::from_millis(1);
        assert!(
            tokio::time::timeout(short, folder.hold(&one))
                .await
                .is_err()
        );
        let (next, ()) = tokio::join!(folder.hold(&one), async { drop(hold) });
        assert!(folder.try_hold(&one).is_none());
        drop((next, other));
        assert!(folder.holds.lock().is_empty());
    }
}
