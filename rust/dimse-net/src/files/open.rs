//! Opens a Part 10 file, or a data set without the preamble, and reads its beginning. Blocks.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::retry_on_intr;

use crate::files::bare;
use crate::files::part10::{META_LIMIT, Meta};
use crate::files::source_error::SourceErrorKind;

/// What is read to know a file; one that is no larger is read once.
const HEAD: usize = 16 * 1024;

/// Bytes of a file read at a time, and inflated at a time.
pub(crate) const CHUNK: usize = 64 * 1024;

/// A Part 10 file whose beginning was read.
pub(crate) struct Opened {
    pub(crate) file: OwnedFd,
    pub(crate) size: u64,
    /// At least up to the data set.
    pub(crate) head: Bytes,
    pub(crate) meta: Meta,
}

/// Opens a Part 10 file.
pub(crate) fn open(path: &Path) -> Result<Opened, SourceErrorKind> {
    // NONBLOCK: opening a pipe must not wait for its writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()));
    let file = file.map_err(io::Error::from)?;
    let stat = rustix::fs::fstat(&file).map_err(io::Error::from)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(SourceErrorKind::NotAFile);
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);

    // One read for most files; a private group 0002 of a megabyte takes a second one.
    let mut head = read_head(&file, shorter(size, HEAD))?;
    let mut meta = Meta::parse(head.clone());
    if size > widen(head.len()) && meta.as_ref().is_err_and(|error| error.code == "truncated") {
        head = read_head(&file, shorter(size, META_LIMIT))?;
        meta = Meta::parse(head.clone());
    }
    let meta = match meta {
        Err(error) if error.code == "not-part10" => bare::look(&file, &head)?,
        meta => meta.map_err(SourceErrorKind::BadMeta)?,
    };
    Ok(Opened {
        file,
        size,
        head,
        meta,
    })
}

/// The first bytes of a file, fewer than `length` only if it ends before.
fn read_head(file: &OwnedFd, length: usize) -> io::Result<Bytes> {
    let mut head = Vec::with_capacity(length);
    while head.len() < length {
        let at = widen(head.len());
        if retry_on_intr(|| rustix::io::pread(file, spare_capacity(&mut head), at))? == 0 {
            break;
        }
    }
    Ok(Bytes::from(head))
}

/// Reads the next chunk of a file; none at its end.
pub(crate) fn read_at(file: &OwnedFd, at: u64) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(CHUNK);
    retry_on_intr(|| rustix::io::pread(file, spare_capacity(&mut chunk), at))?;
    Ok(chunk)
}

pub(crate) fn shorter(length: u64, limit: usize) -> usize {
    usize::try_from(length).map_or(limit, |length| length.min(limit))
}

pub(crate) fn widen(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
