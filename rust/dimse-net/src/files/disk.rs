//! The file operations of the sink, behind one trait so that tests can make the Nth one fail.
//!
//! Every name is a single component resolved in an open folder and never through a symbolic link, so nothing
//! planted inside a folder can lead out of it. [`Disk`] adds no policy: order, retries and statuses are the
//! sink's.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, retry_on_intr};

/// File operations on names in open folders. None is ever interrupted by a signal.
///
/// # Errors
/// Each operation reports the operating system's error, with its number.
#[expect(
    clippy::missing_errors_doc,
    reason = "one sentence on the trait holds for all"
)]
pub trait Files: Send + Sync + fmt::Debug {
    /// Opens the folder at an operator's path; symbolic links are followed.
    fn open_root(&self, path: &Path) -> io::Result<OwnedFd>;
    /// Opens a folder of ours, and makes it for its owner alone if it is missing. One that is another's, or a
    /// symbolic link, is refused: another file took the name of what was removed.
    fn make_private(&self, path: &Path) -> io::Result<OwnedFd>;
    /// Opens a folder inside a folder.
    fn open_folder(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd>;
    /// Makes a folder inside a folder.
    fn make_folder(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_folder(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<()>;
    /// Locks the folder for this handle alone, if no other open handle shares it; whether it did.
    fn lock_alone(&self, folder: &OwnedFd) -> io::Result<bool>;
    /// Shares the folder until this handle is closed; waits for one that has it alone.
    fn lock_shared(&self, folder: &OwnedFd) -> io::Result<()>;
    /// The names in a folder, without `.` and `..`.
    fn list(&self, folder: &OwnedFd) -> io::Result<Vec<OsString>>;
    /// Creates a file that must not exist, for writing and reading.
    fn create(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd>;
    /// Opens a file for reading.
    fn open(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd>;
    /// The device and inode of an open folder: which one it is, while it is open.
    fn identity(&self, folder: &OwnedFd) -> io::Result<(u64, u64)>;
    /// The bytes that are free for us on the file system of a folder, and all that it has.
    fn space(&self, folder: &OwnedFd) -> io::Result<(u64, u64)>;
    /// The size of an open file in bytes.
    fn size(&self, file: &OwnedFd) -> io::Result<u64>;
    /// Reads at an offset; fewer bytes than asked for are possible, none means the end.
    fn read_at(&self, file: &OwnedFd, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Appends slices, of any number, in one system call; fewer bytes than given may be written.
    fn write(&self, file: &OwnedFd, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Makes the contents of a file durable.
    fn sync(&self, file: &OwnedFd) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &OwnedFd) -> io::Result<()>;
    /// Moves a file to a name that must be free.
    fn publish(&self, from: (&OwnedFd, &OsStr), to: (&OwnedFd, &OsStr)) -> io::Result<()>;
    /// Moves a file over a name that may be taken.
    fn replace(&self, from: (&OwnedFd, &OsStr), to: (&OwnedFd, &OsStr)) -> io::Result<()>;
    /// Gives a file a second name in its folder, which must be free.
    fn link(&self, folder: &OwnedFd, from: &OsStr, to: &OsStr) -> io::Result<()>;
    /// Removes a file's name.
    fn remove(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn open_root(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        done(|| rustix::fs::openat(CWD, path, flags, Mode::empty()))
    }

    fn make_private(&self, path: &Path) -> io::Result<OwnedFd> {
        match done(|| rustix::fs::mkdirat(CWD, path, Mode::from(0o700))) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = done(|| rustix::fs::openat(CWD, path, flags, Mode::empty()))?;
        let found = done(|| rustix::fs::fstat(&handle))?;
        let ours = found.st_uid == rustix::process::geteuid().as_raw();
        if !ours || Mode::from_raw_mode(found.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(handle)
    }

    fn open_folder(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        done(|| rustix::fs::openat(folder, name, flags, Mode::empty()))
    }

    fn make_folder(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
        done(|| rustix::fs::mkdirat(folder, name, Mode::from(0o777)))
    }

    fn remove_folder(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
        done(|| rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR))
    }

    fn lock_alone(&self, folder: &OwnedFd) -> io::Result<bool> {
        // A lock of the kernel and not a lock file: it ends with the process, however that ends.
        match retry_on_intr(|| rustix::fs::flock(folder, FlockOperation::NonBlockingLockExclusive))
        {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn lock_shared(&self, folder: &OwnedFd) -> io::Result<()> {
        done(|| rustix::fs::flock(folder, FlockOperation::LockShared))
    }

    fn list(&self, folder: &OwnedFd) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_os_string());
            }
        }
        Ok(names)
    }

    fn create(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
        // EXCL: a file, or a link, that stands under the name already is another one's. RDWR: it is read again when an
        // earlier version is compared with it.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        done(|| rustix::fs::openat(folder, name, flags, Mode::from(0o666)))
    }

    fn open(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
        // NONBLOCK: a pipe planted under the name must not hold the thread.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        done(|| rustix::fs::openat(folder, name, flags, Mode::empty()))
    }

    fn identity(&self, folder: &OwnedFd) -> io::Result<(u64, u64)> {
        let facts = rustix::fs::fstat(folder)?;
        Ok((facts.st_dev, facts.st_ino))
    }

    fn space(&self, folder: &OwnedFd) -> io::Result<(u64, u64)> {
        let facts = retry_on_intr(|| rustix::fs::fstatvfs(folder))?;
        let bytes = |blocks: u64| blocks.saturating_mul(facts.f_frsize);
        Ok((bytes(facts.f_bavail), bytes(facts.f_blocks)))
    }

    fn size(&self, file: &OwnedFd) -> io::Result<u64> {
        Ok(u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0))
    }

    fn read_at(&self, file: &OwnedFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        done(|| rustix::io::pread(file, &mut *buffer, offset))
    }

    fn write(&self, file: &OwnedFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        done(|| rustix::io::writev(file, slices))
    }

    fn sync(&self, file: &OwnedFd) -> io::Result<()> {
        // Without the times of the file, which no reader needs: its length is metadata that fdatasync does write.
        done(|| rustix::fs::fdatasync(file))
    }

    fn sync_folder(&self, folder: &OwnedFd) -> io::Result<()> {
        done(|| rustix::fs::fsync(folder))
    }

    fn publish(&self, from: (&OwnedFd, &OsStr), to: (&OwnedFd, &OsStr)) -> io::Result<()> {
        match retry_on_intr(|| {
            // NOREPLACE makes the look and the rename one step: two stores of one name cannot both find it free.
            rustix::fs::renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE)
        }) {
            // File systems that cannot rename so (NFS, older FUSE) can link, which never replaces either.
            Err(Errno::INVAL | Errno::NOSYS) => {
                done(|| rustix::fs::linkat(from.0, from.1, to.0, to.1, AtFlags::empty()))?;
                // The file has its name: an old name that stays does no harm, and is swept like any other.
                let _ = self.remove(from.0, from.1);
                Ok(())
            }
            result => Ok(result?),
        }
    }

    fn replace(&self, from: (&OwnedFd, &OsStr), to: (&OwnedFd, &OsStr)) -> io::Result<()> {
        done(|| rustix::fs::renameat(from.0, from.1, to.0, to.1))
    }

    fn link(&self, folder: &OwnedFd, from: &OsStr, to: &OsStr) -> io::Result<()> {
        done(|| rustix::fs::linkat(folder, from, folder, to, AtFlags::empty()))
    }

    fn remove(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
        done(|| rustix::fs::unlinkat(folder, name, AtFlags::empty()))
    }
}

/// Repeats an operation that a signal interrupted, and gives its error the standard library's type.
fn done<T>(operation: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    Ok(retry_on_intr(operation)?)
}
