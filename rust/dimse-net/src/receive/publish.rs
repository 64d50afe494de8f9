//! How a written file gets the name of its instance: never in place of another one that is not kept.

// name is free        publish (a rename that never replaces), sync the folder
// same data set       make the earlier file durable, drop the new one
// other data set      link the earlier one to `~1~`, sync, replace it by a rename, sync; or refuse
// After each step the folder holds what it held before or what it is to hold, whole: a crash at any point loses no
// instance that was answered with Success.

use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use dimse_proto::Uid;
use parking_lot::{Mutex, MutexGuard};
use rustix::io::Errno;

use crate::files::disk::Files;
use crate::files::part10::Meta;
use crate::receive::folder::{Duplicates, Durability, Folder, TRIES, Temporary};
use crate::receive::refusal::{DUPLICATE, Refusal};

/// Earlier versions of one instance, at most: what a peer that re-sends without end can cost in names and time.
const VERSION_LIMIT: u32 = 10_000;

/// Series folders remembered as durable, at most; then all are forgotten and synced once more when met.
const SETTLED_LIMIT: usize = 4096;

const COMPARE_BUFFER: usize = 128 * 1024;

const META_READ: usize = 16 * 1024;

impl Folder {
    /// Gives a written and synced temporary file the name of its instance.
    pub(crate) fn publish(
        &self,
        mut temporary: Temporary,
        instance: &Instance<'_>,
    ) -> Result<Published, Refusal> {
        for _ in 0..TRIES {
            let published = self.place(&temporary, instance.series).and_then(|place| {
                let published = self.publish_in(&place, &mut temporary, instance);
                if published.is_err() {
                    place.undo(&*self.files);
                }
                published
            });
            match published {
                Ok(published) => return Ok(published),
                Err(Trouble::Gone) => {}
                Err(Trouble::Refused(refusal)) => return Err(refusal),
            }
        }
        let error = io::ErrorKind::NotFound.into();
        Err(Refusal::io("name the file", &error))
    }

    /// Opens or makes the folder an instance belongs in.
    fn place(&self, temporary: &Temporary, series: Option<(&Uid, &Uid)>) -> Result<Place, Trouble> {
        let mut place = Place {
            handle: Arc::clone(&temporary.name.handle),
            path: self.root.clone(),
            made: Vec::new(),
        };
        let Some((study, series)) = series else {
            return Ok(place);
        };
        match self.descend(&mut place, study, series) {
            Ok(()) => Ok(place),
            Err(trouble) => {
                place.undo(&*self.files);
                Err(trouble)
            }
        }
    }

    fn descend(&self, place: &mut Place, study: &Uid, series: &Uid) -> Result<(), Trouble> {
        let removals = self.removals.load(Ordering::SeqCst);
        let parents = [Arc::clone(&place.handle), self.step(place, study)?];
        let _series = self.step(place, series)?;
        if self.durability == Durability::Durable && !self.settled.lock().contains(&place.path) {
            for parent in &parents {
                self.sync_names(parent)?;
            }
            let mut settled = self.settled.lock();
            if settled.len() >= SETTLED_LIMIT {
                settled.clear();
            }
            // One that was removed meanwhile may be there again, made by another store whose name is not durable.
            if self.removals.load(Ordering::SeqCst) == removals {
                settled.insert(place.path.clone());
            }
        }
        Ok(())
    }

    /// Goes one folder down.
    fn step(&self, place: &mut Place, uid: &Uid) -> Result<Arc<OwnedFd>, Trouble> {
        let name = OsStr::from_bytes(uid.as_bytes());
        place.path.push(name);
        let opened = match self.files.open_folder(&place.handle, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Forgotten before it is made: a store that finds the new folder must not believe its name is durable.
                self.settled.lock().remove(&place.path);
                match self.files.make_folder(&place.handle, name) {
                    Ok(()) => place
                        .made
                        .push((Arc::clone(&place.handle), name.to_owned())),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(Trouble::on("make a folder", &error)),
                }
                self.files.open_folder(&place.handle, name)
            }
            opened => opened,
        };
        let opened = opened.map_err(|error| Trouble::on("open a folder", &error))?;
        place.handle = Arc::new(opened);
        Ok(Arc::clone(&place.handle))
    }

    fn publish_in(
        &self,
        place: &Place,
        temporary: &mut Temporary,
        instance: &Instance<'_>,
    ) -> Result<Published, Trouble> {
        let name = file_name(instance.uid);
        let target = (&*place.handle, &*name);
        let path = place.path.join(&name);
        let _turn = turn_of(&name);
        // Each attempt is undone by another process at worst: a name that was taken is free again, an earlier version
        // is gone when it is looked at. Then the next attempt sees the new state. Stores of this process take turns.
        for _ in 0..TRIES {
            match self.files.publish(temporary.name.full(), target) {
                Ok(()) => {
                    temporary.name.disarm();
                    if let Err(refusal) = self.sync_names(&place.handle) {
                        // Not a Success, so not an instance. No other store has seen it under its name: the turn is
                        // ours.
                        let _ = self.files.remove(&place.handle, &name);
                        return Err(refusal.into());
                    }
                    return Ok(Published {
                        path,
                        kept: None,
                        identical: false,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Trouble::on("name the file", &error)),
            }
            let kept = match self.compare(place, &name, temporary, instance)? {
                Earlier::Gone => continue,
                Earlier::Same(earlier) => {
                    self.settle(&earlier, target, temporary)?;
                    return Ok(Published {
                        path,
                        kept: None,
                        identical: true,
                    });
                }
                Earlier::Different if self.duplicates == Duplicates::Reject => {
                    return Err(Refusal::new(
                        DUPLICATE,
                        "instance is stored already with other content",
                        format!("{} is stored already with other content", path.display()),
                    )
                    .into());
                }
                Earlier::Different => match self.keep(place, &name)? {
                    Some(kept) => kept,
                    None => continue,
                },
            };
            self.supersede(place, &name, &kept, temporary)?;
            return Ok(Published {
                path,
                kept: Some(place.path.join(kept)),
                identical: false,
            });
        }
        let busy = io::ErrorKind::ResourceBusy.into();
        Err(Refusal::io("name the file", &busy).into())
    }

    /// The same instance is stored already, under the name `target`: its bytes and its name become as durable as
    /// the mode promises.
    fn settle(
        &self,
        earlier: &OwnedFd,
        target: (&OwnedFd, &OsStr),
        temporary: &mut Temporary,
    ) -> Result<(), Refusal> {
        // It may come from a mode that promises less, or from a store that has not synced yet.
        if self.sync_contents(earlier).is_err() {
            // What was read may never have reached the disk, and a second sync would not say so. The same bytes that
            // came just now did: they take its place.
            let replaced = self.files.replace(temporary.name.full(), target);
            replaced.map_err(|error| Refusal::io("replace a bad copy", &error))?;
            temporary.name.disarm();
        }
        self.sync_names(target.0)
    }

    fn compare(
        &self,
        place: &Place,
        name: &OsStr,
        temporary: &Temporary,
        instance: &Instance<'_>,
    ) -> Result<Earlier, Refusal> {
        let earlier = match self.files.open(&place.handle, name) {
            Ok(earlier) => earlier,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Earlier::Gone),
            // A symbolic link is nothing we stored: it is kept like any earlier version, and never followed.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
                return Ok(Earlier::Different);
            }
            Err(error) => return Err(Refusal::io("open the earlier version", &error)),
        };
        match self.is_same(&earlier, temporary, instance) {
            Ok(true) => Ok(Earlier::Same(earlier)),
            Ok(false) => Ok(Earlier::Different),
            Err(error) => Err(Refusal::io("compare with the earlier version", &error)),
        }
    }

    /// Whether a stored file holds the same data set in the same transfer syntax; its file meta may differ.
    fn is_same(
        &self,
        earlier: &OwnedFd,
        temporary: &Temporary,
        instance: &Instance<'_>,
    ) -> io::Result<bool> {
        let size = self.files.size(earlier)?;
        if size < instance.data_length {
            return Ok(false);
        }
        let mut head = vec![0; META_READ];
        let length = self.read_full(earlier, &mut head, 0)?;
        head.truncate(length);
        let Ok(meta) = Meta::parse(Bytes::from(head)) else {
            return Ok(false);
        };
        // A stray element of group 0002 in front of a data set has been taken for the file's.
        let ends_at = u64::try_from(meta.data_offset).unwrap_or(u64::MAX);
        let Some(mut earlier_at) = size.checked_sub(instance.data_length) else {
            return Ok(false);
        };
        let begins = earlier_at == ends_at || (instance.stray_meta && earlier_at < ends_at);
        if meta.transfer_syntax != *instance.transfer_syntax || !begins {
            return Ok(false);
        }
        // Both files are read once: no hash is kept of what is stored, which may have been written by other software.
        let mut at = instance.data_offset;
        let mut ours = vec![0; COMPARE_BUFFER];
        let mut theirs = vec![0; COMPARE_BUFFER];
        loop {
            let length = self.read_full(&temporary.file, &mut ours, at)?;
            let other = self.read_full(earlier, &mut theirs, earlier_at)?;
            if ours.get(..length) != theirs.get(..other) {
                return Ok(false);
            }
            if length == 0 {
                return Ok(true);
            }
            let step = u64::try_from(length).unwrap_or(u64::MAX);
            at = at.saturating_add(step);
            earlier_at = earlier_at.saturating_add(step);
        }
    }

    /// Reads until the buffer is full or the file ends.
    fn read_full(&self, file: &OwnedFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
            match self.files.read_at(file, rest, at)? {
                0 => break,
                length => filled = filled.saturating_add(length),
            }
        }
        Ok(filled)
    }

    /// Gives the earlier version its next free name beside its own. `None` when it was taken away meanwhile.
    fn keep(&self, place: &Place, name: &OsStr) -> Result<Option<OsString>, Refusal> {
        for number in 1..=VERSION_LIMIT {
            let mut kept = name.to_owned();
            kept.push(format!("~{number}~"));
            match self.files.link(&place.handle, name, &kept) {
                Ok(()) => return Ok(Some(kept)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(Refusal::io("keep the earlier version", &error)),
            }
        }
        Err(Refusal::io(
            "keep yet another earlier version",
            &io::ErrorKind::AlreadyExists.into(),
        ))
    }

    /// Puts the new version in the place of the earlier one, which has its second name already. On failure the
    /// earlier one is current again.
    fn supersede(
        &self,
        place: &Place,
        name: &OsStr,
        kept: &OsStr,
        temporary: &mut Temporary,
    ) -> Result<(), Refusal> {
        let target = (&*place.handle, name);
        // Two names for the earlier version must be durable before one of them is given to the new one.
        let replaced = self.sync_names(&place.handle).and_then(|()| {
            let replaced = self.files.replace(temporary.name.full(), target);
            replaced.map_err(|error| Refusal::io("replace the earlier version", &error))
        });
        if let Err(refusal) = replaced {
            let _ = self.files.remove(&place.handle, kept);
            return Err(refusal);
        }
        temporary.name.disarm();
        self.sync_names(&place.handle).inspect_err(|_| {
            let _ = self.files.replace((&place.handle, kept), target);
        })
    }
}

/// What is to be published.
#[derive(Debug)]
pub(crate) struct Instance<'a> {
    pub(crate) uid: &'a Uid,
    pub(crate) transfer_syntax: &'a Uid,
    /// Study and Series Instance UID, in layout `study`.
    pub(crate) series: Option<(&'a Uid, &'a Uid)>,
    pub(crate) data_offset: u64,
    pub(crate) data_length: u64,
    /// The data set begins with elements of group 0002.
    pub(crate) stray_meta: bool,
}

#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) path: PathBuf,
    pub(crate) kept: Option<PathBuf>,
    pub(crate) identical: bool,
}

/// Why an instance is not published.
enum Trouble {
    /// A folder on its way was removed meanwhile, perhaps by a refusal that left it empty: it is made anew.
    Gone,
    Refused(Refusal),
}

impl Trouble {
    fn on(doing: &str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone,
            _ => Self::Refused(Refusal::io(doing, error)),
        }
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

enum Earlier {
    /// Taken away between our attempt to use its name and our look at it.
    Gone,
    Same(OwnedFd),
    Different,
}

/// The folder an instance goes into.
pub(super) struct Place {
    pub(super) handle: Arc<OwnedFd>,
    pub(super) path: PathBuf,
    /// What had to be made: parent and name.
    pub(super) made: Vec<(Arc<OwnedFd>, OsString)>,
}

impl Place {
    /// Removes the folders that were made, where they are still empty.
    fn undo(self, files: &dyn Files) {
        for (parent, name) in self.made.iter().rev() {
            let _ = files.remove_folder(parent, name);
        }
    }
}

/// Under which name an instance is stored.
pub(super) fn file_name(uid: &Uid) -> OsString {
    format!("{uid}.dcm").into()
}

/// Stores of one name take turns within the process, whichever [`Folder`] they go through.
pub(super) fn turn_of(name: &OsStr) -> MutexGuard<'static, ()> {
    // A turn is held while a disk syncs. So many slots, a byte each, that two names hardly ever share one.
    static TURNS: [Mutex<()>; 1 << 16] = [const { Mutex::new(()) }; 1 << 16];
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let [low, high, ..] = hasher.finish().to_le_bytes();
    #[expect(clippy::indexing_slicing, reason = "a u16 indexes 65,536 slots")]
    TURNS[usize::from(u16::from_le_bytes([low, high]))].lock()
}
