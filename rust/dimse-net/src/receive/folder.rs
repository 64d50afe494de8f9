//! A folder of stored instances: names, temporary files, and the one way a file gets its name.

mod undo;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use dimse_proto::Uid;
use dimse_proto::dataset::Tag;
use parking_lot::{Mutex, MutexGuard};
use rustix::io::Errno;

use crate::files::disk::Files;
use crate::files::part10::Meta;
use crate::metrics::Syncs;
use crate::receive::group::Group;
use crate::receive::refusal::{DUPLICATE, NO_SPACE, OUT_OF_RESOURCES, Refusal};

pub use undo::Hold;
pub(crate) use undo::Undo;

/// What a Success promises about power cuts. Every mode survives the end of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// The file and its name are on the disk.
    #[default]
    Durable,
    /// The contents are on the disk; the name may be lost.
    FileOnly,
    /// Nothing is promised.
    Fast,
}

/// Where in the folder an instance goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Layout {
    /// `<SOPInstanceUID>.dcm`
    #[default]
    Flat,
    /// `<StudyInstanceUID>/<SeriesInstanceUID>/<SOPInstanceUID>.dcm`
    Study,
}

/// What happens to an instance that is there already with other bytes. Identical bytes are always a Success that
/// changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Duplicates {
    /// The new version becomes current, the earlier one is kept as `<SOPInstanceUID>.dcm~1~`, `~2~`, ...
    #[default]
    KeepBoth,
    /// The new version is refused (C111).
    Reject,
}

const TEMPORARY_PREFIX: &str = ".dimse-";
const TEMPORARY_SUFFIX: &str = ".part";

/// Earlier versions of one instance, at most: what a peer that re-sends without end can cost in names and time.
const VERSION_LIMIT: u32 = 10_000;

/// How often a name that others take or remove at the same time is tried again.
const TRIES: u32 = 100;

/// Series folders remembered as durable, at most; then all are forgotten and synced once more when met.
const SETTLED_LIMIT: usize = 4096;

/// What is left free unless told otherwise: 2 % of the file system, but no more than this.
const RESERVE: u64 = 1 << 30;

const COMPARE_BUFFER: usize = 128 * 1024;
const META_READ: usize = 16 * 1024;

/// A folder that instances are received into, shared by everything that stores there.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    durability: Durability,
    layout: Layout,
    duplicates: Duplicates,
    strict: bool,
    reserve: Option<u64>,
    /// Elements of the top level that are kept of what is stored.
    collected: Vec<Tag>,
    /// Whether data sets are hashed.
    digest: bool,
    /// Nobody else's, and made anew when it is removed.
    private: bool,
    files: Arc<dyn Files>,
    handle: Mutex<Arc<OwnedFd>>,
    /// Series folders whose own names are known to be durable.
    settled: Mutex<HashSet<PathBuf>>,
    /// How often series folders were removed by us.
    removals: AtomicU64,
    /// Folder syncs that stores share.
    group: Group,
    /// Instances that the user has not decided on.
    holds: undo::Holds,
    pub(crate) syncs: Syncs,
}

impl Folder {
    /// Opens the folder at `root`, makes it if it is missing, and removes the temporary files a crash left there,
    /// unless another process is using it.
    ///
    /// On a file system without locks those stay; they are hidden and never mistaken for instances.
    ///
    /// # Errors
    /// When the folder can be neither opened nor made, or is not writable.
    pub fn open(
        root: impl AsRef<Path>,
        durability: Durability,
        layout: Layout,
        duplicates: Duplicates,
        files: Arc<dyn Files>,
    ) -> io::Result<Self> {
        let root = root.as_ref();
        let root = std::path::absolute(root)?;
        let synced = durability == Durability::Durable;
        let handle = open_or_make(&*files, &root, synced)?;
        if files.lock_alone(&handle).unwrap_or(false) {
            sweep(&*files, &handle)?;
        }
        share(&*files, &handle);
        let trial = temporary_name();
        files.create(&handle, &trial)?;
        files.remove(&handle, &trial)?;
        Ok(Self {
            root,
            durability,
            layout,
            duplicates,
            strict: false,
            reserve: None,
            collected: Vec::new(),
            digest: false,
            private: false,
            files,
            handle: Mutex::new(Arc::new(handle)),
            settled: Mutex::default(),
            removals: AtomicU64::default(),
            group: Group::default(),
            holds: undo::Holds::default(),
            syncs: Syncs::default(),
        })
    }

    /// Refuses instances while fewer bytes than these are free. Default: 2 % of the file system, at most 1 GiB.
    #[must_use]
    pub fn with_reserve(mut self, bytes: u64) -> Self {
        self.reserve = Some(bytes);
        self
    }

    /// Refuses instances that are whole but not well formed.
    #[must_use]
    pub fn strictly(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.strict
    }

    /// Keeps these elements of the top level of each data set, up to 4 KiB each, in [`Stored::values`].
    ///
    /// [`Stored::values`]: crate::receive::sink::Stored::values
    #[must_use]
    pub fn with_collected(mut self, tags: Vec<Tag>) -> Self {
        self.collected = tags;
        self
    }

    /// Hashes each data set as it is received, for [`Stored::digest`].
    ///
    /// [`Stored::digest`]: crate::receive::sink::Stored::digest
    #[must_use]
    pub fn with_digest(mut self) -> Self {
        self.digest = true;
        self
    }

    pub(crate) fn collected(&self) -> &[Tag] {
        &self.collected
    }

    pub(crate) fn digests(&self) -> bool {
        self.digest
    }

    /// Makes the folder anew, for its owner alone, when somebody removes it: for temporary ones, which are cleared
    /// away by age.
    #[must_use]
    pub fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// The folder's absolute path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether anything is synced before Success is said.
    pub(crate) fn syncs(&self) -> bool {
        self.durability != Durability::Fast
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) fn files(&self) -> &dyn Files {
        &*self.files
    }

    /// Creates a temporary file in the root.
    pub(crate) fn temporary(self: &Arc<Self>) -> Result<Temporary, Refusal> {
        let mut handle = Arc::clone(&self.handle.lock());
        self.check_space(&handle)?;
        let mut reopened = false;
        for _ in 0..TRIES {
            let name = temporary_name();
            match self.files.create(&handle, &name) {
                Ok(file) => {
                    let folder = Arc::clone(self);
                    let name = TemporaryName {
                        folder,
                        handle,
                        name,
                        armed: true,
                    };
                    return Ok(Temporary { name, file });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && !reopened => {
                    reopened = true;
                    handle = self.reopen()?;
                }
                Err(error) => return Err(Refusal::io("create a file", &error)),
            }
        }
        Err(Refusal::io(
            "find a free name",
            &io::ErrorKind::AlreadyExists.into(),
        ))
    }

    /// Refuses early what would take the last of the disk, where the file system can tell.
    fn check_space(&self, folder: &OwnedFd) -> Result<(), Refusal> {
        let Ok((free, total)) = self.files.space(folder) else {
            return Ok(());
        };
        let reserve = self.reserve.unwrap_or_else(|| RESERVE.min(total / 50));
        if free < reserve {
            let detail = format!("{free} bytes free, of which {reserve} are in reserve");
            return Err(Refusal::new(OUT_OF_RESOURCES, NO_SPACE, detail));
        }
        Ok(())
    }

    /// Follows the path again after the folder was removed. It is not made anew, unless it is private: a missing
    /// folder may be a disk that is not mounted.
    fn reopen(&self) -> Result<Arc<OwnedFd>, Refusal> {
        let handle = if self.private {
            self.files.make_private(&self.root)
        } else {
            self.files.open_root(&self.root)
        };
        let handle = handle.map_err(|error| Refusal::io("open the storage folder", &error))?;
        share(&*self.files, &handle);
        let handle = Arc::new(handle);
        *self.handle.lock() = Arc::clone(&handle);
        Ok(handle)
    }

    /// Makes the contents durable, if the mode says so.
    pub(crate) fn sync_contents(&self, file: &OwnedFd) -> Result<(), Refusal> {
        if self.durability == Durability::Fast {
            return Ok(());
        }
        let began = Instant::now();
        let synced = self.files.sync(file);
        self.syncs.file(began.elapsed());
        synced.map_err(|error| Refusal::io("sync the file", &error))
    }

    fn sync_names(&self, folder: &OwnedFd) -> Result<(), Refusal> {
        if self.durability != Durability::Durable {
            return Ok(());
        }
        let refused = |error: io::Error| Refusal::io("sync the folder", &error);
        let identity = self.files.identity(folder).map_err(refused)?;
        let sync = |sharers| {
            let began = Instant::now();
            let synced = self.files.sync_folder(folder);
            self.syncs.folder(began.elapsed(), sharers);
            synced.map_err(refused)
        };
        self.group.sync(identity, sync)
    }

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
                // Forgotten before it is made: whoever finds the new folder must not believe the name is durable.
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
        for _ in 0..TRIES {
            match self.files.publish(temporary.name.full(), target) {
                Ok(()) => {
                    temporary.name.disarm();
                    if let Err(refusal) = self.sync_names(&place.handle) {
                        // Not a Success, so not an instance. Nobody can have been told otherwise: it is our turn.
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
                    // It may come from a mode that promises less, or from somebody who has not synced yet.
                    if self.sync_contents(&earlier).is_err() {
                        // What we read may never have reached the disk, and a second sync would not say so. The
                        // same bytes that came just now did: they take its place.
                        let replaced = self.files.replace(temporary.name.full(), target);
                        replaced.map_err(|error| Refusal::io("replace a bad copy", &error))?;
                        temporary.name.disarm();
                    }
                    self.sync_names(&place.handle)?;
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

    /// Gives the earlier version its next free name beside its own. `None` when somebody took it away meanwhile.
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
struct Place {
    handle: Arc<OwnedFd>,
    path: PathBuf,
    /// What had to be made: parent and name.
    made: Vec<(Arc<OwnedFd>, OsString)>,
}

impl Place {
    /// Removes the folders that were made, where nobody has put anything into them since.
    fn undo(self, files: &dyn Files) {
        for (parent, name) in self.made.iter().rev() {
            let _ = files.remove_folder(parent, name);
        }
    }
}

/// An open temporary file. It is removed when dropped, unless it got a name.
#[derive(Debug)]
pub(crate) struct Temporary {
    pub(crate) name: TemporaryName,
    pub(crate) file: OwnedFd,
}

/// The name of a temporary file. The file is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct TemporaryName {
    folder: Arc<Folder>,
    handle: Arc<OwnedFd>,
    name: OsString,
    armed: bool,
}

impl TemporaryName {
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.root.join(&self.name)
    }

    fn full(&self) -> (&OwnedFd, &OsStr) {
        (&self.handle, &self.name)
    }

    /// The name is no longer ours.
    fn disarm(&mut self) {
        self.armed = false;
    }
}

impl Drop for TemporaryName {
    fn drop(&mut self) {
        if self.armed {
            let _ = self.folder.files.remove(&self.handle, &self.name);
        }
    }
}

/// Under which name an instance is stored.
fn file_name(uid: &Uid) -> OsString {
    format!("{uid}.dcm").into()
}

/// A name no other temporary file of this process has, and hardly one of another.
fn temporary_name() -> OsString {
    static SEED: OnceLock<u64> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let seed = SEED.get_or_init(|| {
        let mut hasher = DefaultHasher::new();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        (std::process::id(), now.unwrap_or_default()).hash(&mut hasher);
        hasher.finish()
    });
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{TEMPORARY_PREFIX}{seed:016x}-{count}{TEMPORARY_SUFFIX}").into()
}

/// Stores of one name take turns within the process, whichever [`Folder`] they go through.
fn turn_of(name: &OsStr) -> MutexGuard<'static, ()> {
    static TURNS: [Mutex<()>; 256] = [const { Mutex::new(()) }; 256];
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let [slot, ..] = hasher.finish().to_le_bytes();
    #[expect(clippy::indexing_slicing, reason = "a u8 indexes 256 slots")]
    TURNS[usize::from(slot)].lock()
}

fn open_or_make(files: &dyn Files, path: &Path, synced: bool) -> io::Result<OwnedFd> {
    match (files.open_root(path), path.parent(), path.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            let parent = open_or_make(files, parent, synced)?;
            match files.make_folder(&parent, name) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            if synced {
                files.sync_folder(&parent)?;
            }
            files.open_root(path)
        }
        (opened, ..) => opened,
    }
}

/// Removes the temporary files of processes that are gone.
fn sweep(files: &dyn Files, handle: &OwnedFd) -> io::Result<()> {
    for name in files.list(handle)? {
        let bytes = name.as_bytes();
        if bytes.starts_with(TEMPORARY_PREFIX.as_bytes())
            && bytes.ends_with(TEMPORARY_SUFFIX.as_bytes())
        {
            // One that cannot be removed is hidden and harmless.
            let _ = files.remove(handle, &name);
        }
    }
    Ok(())
}

/// Tells other processes, for as long as the handle is open, not to sweep. File systems without locks are used
/// without: nobody sweeps there.
fn share(files: &dyn Files, handle: &OwnedFd) {
    let _ = files.lock_shared(handle);
}
