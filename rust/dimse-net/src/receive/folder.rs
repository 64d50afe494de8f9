//! A folder of stored instances: names, temporary files, and the one way a file gets its name.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use dimse_proto::Uid;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::files::collected::Reading;
use crate::files::disk::Files;
use crate::metrics::Syncs;
use crate::receive::group::Group;
use crate::receive::refusal::{NO_SPACE, OUT_OF_RESOURCES, Refusal};

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

/// How often a name that others take or remove at the same time is tried again.
pub(super) const TRIES: u32 = 100;

/// What is left free by default: 2 % of the file system, but no more than this.
const RESERVE: u64 = 1 << 30;

/// The SOP Instance UIDs with an open verdict, and whose turn each is.
pub(super) type Holds = Mutex<HashMap<Uid, Arc<Semaphore>>>;

/// A folder that instances are received into, shared by everything that stores there.
#[derive(Debug)]
pub struct Folder {
    pub(super) root: PathBuf,
    pub(super) durability: Durability,
    layout: Layout,
    pub(super) duplicates: Duplicates,
    strict: bool,
    reserve: Option<u64>,
    /// Elements of the top level that are kept of what is stored.
    collected: Option<Arc<Reading>>,
    /// Whether data sets are hashed.
    digest: bool,
    /// For this node alone, and made anew when it is removed.
    private: bool,
    pub(super) files: Arc<dyn Files>,
    pub(super) handle: Mutex<Arc<OwnedFd>>,
    /// Series folders whose own names are known to be durable.
    pub(super) settled: Mutex<HashSet<PathBuf>>,
    /// How often series folders were removed by us.
    pub(super) removals: AtomicU64,
    /// Folder syncs that stores share.
    group: Group,
    /// Instances that the user has not decided on.
    pub(super) holds: Holds,
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
        // The lock of a process that crashed is gone with it, and only then are its temporary files known to be stale.
        if files.lock_alone(&handle).unwrap_or(false) {
            sweep(&*files, &handle)?;
        }
        share(&*files, &handle);
        // Found out now and not by the first instance: whether files can be made here at all.
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
            collected: None,
            digest: false,
            private: false,
            files,
            handle: Mutex::new(Arc::new(handle)),
            settled: Mutex::default(),
            removals: AtomicU64::default(),
            group: Group::default(),
            holds: Holds::default(),
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

    /// Keeps elements of the top level of each data set, up to 4 KiB each, in [`Stored::collected`].
    ///
    /// [`Stored::collected`]: crate::receive::sink::Stored::collected
    #[must_use]
    pub fn with_collected(mut self, reading: Arc<Reading>) -> Self {
        self.collected = Some(reading);
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

    pub(crate) fn collected(&self) -> Option<&Reading> {
        self.collected.as_deref()
    }

    pub(crate) fn digests(&self) -> bool {
        self.digest
    }

    /// Makes the folder anew, for its owner alone, when it is removed: for temporary ones, which are cleared
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
        // By descriptor and not by path: a folder that is renamed is still this one, and a mount that appears over the
        // path does not move it.
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
        // Some room is kept for what is being received already, and for the database and the logs beside the folder.
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

    pub(super) fn sync_names(&self, folder: &OwnedFd) -> Result<(), Refusal> {
        if self.durability != Durability::Durable {
            return Ok(());
        }
        let refused = |error: io::Error| Refusal::io("sync the folder", &error);
        let identity = self.files.identity(folder).map_err(refused)?;
        // By inode and not by path: a folder that was removed and made anew under its name is another one.
        let sync = |sharers| {
            let began = Instant::now();
            let synced = self.files.sync_folder(folder);
            self.syncs.folder(began.elapsed(), sharers);
            synced.map_err(refused)
        };
        self.group.sync(identity, sync)
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
    pub(super) handle: Arc<OwnedFd>,
    name: OsString,
    armed: bool,
}

impl TemporaryName {
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.root.join(&self.name)
    }

    pub(super) fn full(&self) -> (&OwnedFd, &OsStr) {
        (&self.handle, &self.name)
    }

    /// The name is no longer ours.
    pub(super) fn disarm(&mut self) {
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
/// without locks, and never swept.
fn share(files: &dyn Files, handle: &OwnedFd) {
    let _ = files.lock_shared(handle);
}
